//! Which requests a fault meets: evenly spread where a request is met once, by chance where it is tried again.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The golden ratio's fractional part: steps of it fill the unit interval more evenly than chance does, so that of a
/// thousand requests an error ratio of 5 % fails fifty, not between thirty and seventy.
pub(super) const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// What is drawn for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lot {
    Outage,
    Timeout,
    Error,
    Propagation,
}

/// Draws.
#[derive(Debug)]
pub(super) struct Lots {
    rng: StdRng,
    drawn: [f64; 4],
}

impl Lots {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let drawn = rng.random();
        Self { rng, drawn }
    }

    /// Whether this request is met, of those that are met in this share.
    pub(super) fn meets(&mut self, lot: Lot, ratio: f64) -> bool {
        if ratio <= 0.0 || ratio >= 1.0 {
            return ratio >= 1.0;
        }
        let index = match lot {
            Lot::Outage => 0,
            Lot::Timeout => 1,
            Lot::Error => 2,
            Lot::Propagation => 3,
        };
        let Some(drawn) = self.drawn.get_mut(index) else {
            return false;
        };
        *drawn = (*drawn + GOLDEN).fract();
        *drawn < ratio
    }

    /// Whether a request that is tried again is met: independent of the attempts before.
    pub(super) fn meets_again(&mut self, ratio: f64) -> bool {
        self.rng.random_bool(ratio.clamp(0.0, 1.0))
    }

    pub(super) fn rng(&mut self) -> &mut StdRng {
        &mut self.rng
    }
}
