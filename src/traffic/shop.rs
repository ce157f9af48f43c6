//! A small shop that is healthy until told otherwise: `examples/traffic/shop.yaml`, built in.

use std::sync::{Arc, OnceLock};

use crate::traffic::generate::{Generator, Plan};
use crate::traffic::model::Model;

const YAML: &str = include_str!("../../examples/traffic/shop.yaml");

/// The model of the shop.
pub fn model() -> Model {
    // A test reads the built-in file, so the default is never seen.
    Model::from_yaml("examples/traffic/shop.yaml", YAML).unwrap_or_default()
}

/// The shop made ready.
pub fn plan() -> Arc<Plan> {
    static PLAN: OnceLock<Arc<Plan>> = OnceLock::new();
    Arc::clone(PLAN.get_or_init(|| Arc::new(Plan::new(&model()))))
}

/// A shop whose visits are determined by `seed` and the order of the calls.
pub fn generator(seed: u64) -> Generator {
    Generator::new(plan(), seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_shop_is_a_good_model() {
        let model = Model::from_yaml("shop", YAML).unwrap();
        assert_eq!(model.services.len(), 6);
        assert!((plan().traces_per_minute() - 1_500.0).abs() < 1e-9);
    }
}
