//! How many different series were refused, estimated in fixed memory.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::series::SeriesId;

const BITS: u64 = 1 << 16;
const WORDS: usize = (BITS / 64) as usize;

/// Linear counting (Whang, Vander-Zanden, Taylor 1990): n ≈ −m·ln(share of empty bits), with m = 65 536 bits.
///
/// Within a few percent up to half a million; beyond that it stays at its greatest value, about 727 000.
#[derive(Debug)]
pub struct Demand(Box<[AtomicU64]>);

impl Default for Demand {
    fn default() -> Self {
        Self((0..WORDS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Demand {
    /// Counts a refused series once.
    pub fn add(&self, id: SeriesId) {
        let bit = (id.0 >> 64) as u64 % BITS;
        if let Some(word) = self.0.get((bit / 64) as usize) {
            word.fetch_or(1 << (bit % 64), Ordering::Relaxed);
        }
    }

    /// The bits, to be kept.
    pub fn words(&self) -> Vec<u64> {
        let words = self.0.iter();
        words.map(|word| word.load(Ordering::Relaxed)).collect()
    }

    /// Adds the series that another one counted.
    pub fn add_words(&self, words: &[u64]) {
        for (mine, theirs) in self.0.iter().zip(words) {
            mine.fetch_or(*theirs, Ordering::Relaxed);
        }
    }

    /// About how many different series were refused.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "below a million"
    )]
    pub fn estimate(&self) -> u64 {
        let set: u64 = self
            .0
            .iter()
            .map(|word| u64::from(word.load(Ordering::Relaxed).count_ones()))
            .sum();
        let empty = (BITS - set).max(1) as f64;
        (-(BITS as f64) * (empty / BITS as f64).ln()).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::series::{SeriesKey, ServiceKey};
    use crate::model::span::SpanKind;

    #[test]
    fn the_estimate_is_within_three_percent() {
        for wanted in [0_u64, 10, 1_000, 100_000] {
            let demand = Demand::default();
            for n in 0..wanted {
                let key =
                    SeriesKey::operation(ServiceKey::named("s"), &n.to_string(), SpanKind::Server);
                demand.add(key.id());
                demand.add(key.id());
            }
            let error = demand.estimate().abs_diff(wanted) as f64;
            assert!(
                error <= 0.03 * wanted as f64,
                "{} for {wanted}",
                demand.estimate()
            );
        }
    }
}
