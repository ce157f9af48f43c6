//! The durations of both arms as distributions over buckets, and what tells them apart: Mann–Whitney's U and the
//! Hodges–Lehmann shift.
//!
//! Durations are compared by their logarithms: a shift is a factor. The old version's durations lie evenly within their
//! bucket (1/32 of an octave), the new one's in its middle, so that equal buckets are ties that count half.

use super::counts::root;
use super::strata::Slot;
use crate::model::history::MinuteRow;
use crate::window::sketch::{BUCKETS, bucket_bounds_micros};

/// Logarithms of the edges and middles of all buckets.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    /// Lower edge, middle and upper edge.
    buckets: Vec<[f64; 3]>,
}

impl Scale {
    pub(super) fn new() -> Self {
        let buckets = (0..BUCKETS)
            .map(|bucket| {
                let (low, high) = bucket_bounds_micros(u16::try_from(bucket).unwrap_or(u16::MAX));
                // Whole microseconds: each stands for the time around it.
                let (low, high) = ((low as f64 - 0.5).max(0.25), high as f64 + 0.5);
                [low.ln(), f64::midpoint(low, high).ln(), high.ln()]
            })
            .collect();
        Self { buckets }
    }
}

/// An occupied bucket: its logarithms, and the shares of both arms in it.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    number: u16,
    low: f64,
    middle: f64,
    high: f64,
    old: f64,
    new: f64,
}

/// Which arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arm {
    Old,
    New,
}

/// The durations of both arms.
#[derive(Clone, Debug)]
pub(super) struct Durations {
    buckets: Vec<Bucket>,
}

impl Durations {
    /// Of the rows of both arms. Within each block the old version weighs as much as the new one, so that a share of
    /// the traffic that grows while durations change is no shift. `None` if an arm has no durations.
    pub(super) fn of(
        (old, new): (&[MinuteRow], &[MinuteRow]),
        blocks: &[Slot],
        scale: &Scale,
    ) -> Option<Self> {
        let old = Histogram::of(old, blocks, |block| block.new.total / block.old.total)?;
        let new = Histogram::of(new, blocks, |block| {
            f64::from(u8::from(block.old.total > 0.0))
        })?;
        let cells = scale.buckets.iter().zip(old.counts.iter().zip(&new.counts));
        let buckets = (0..)
            .zip(cells)
            .filter(|(_, (_, (old, new)))| **old > 0.0 || **new > 0.0)
            .map(|(number, ([low, middle, high], (in_old, in_new)))| Bucket {
                number,
                low: *low,
                middle: *middle,
                high: *high,
                old: in_old / old.total,
                new: in_new / new.total,
            })
            .collect();
        Some(Self { buckets })
    }

    fn share(bucket: &Bucket, arm: Arm) -> f64 {
        match arm {
            Arm::Old => bucket.old,
            Arm::New => bucket.new,
        }
    }

    /// The logarithm of a quantile of one arm, in microseconds.
    pub(super) fn quantile(&self, arm: Arm, quantile: f64) -> f64 {
        let mut below = 0.0;
        let mut last = f64::NAN;
        for bucket in &self.buckets {
            let share = Self::share(bucket, arm);
            if share > 0.0 {
                if below + share >= quantile {
                    let part = (quantile - below) / share;
                    return bucket.low + part.clamp(0.0, 1.0) * (bucket.high - bucket.low);
                }
                below += share;
                last = bucket.high;
            }
        }
        last
    }

    /// The bucket with the quantile of both arms together, of so many requests each.
    pub(super) fn pooled_bucket(&self, quantile: f64, (new, old): (f64, f64)) -> u16 {
        let wanted = quantile * (new + old);
        let mut below = 0.0;
        for bucket in &self.buckets {
            below += bucket.new * new + bucket.old * old;
            if below >= wanted {
                return bucket.number;
            }
        }
        u16::MAX
    }

    /// Probability that a request of the new version takes longer than one of the old, ties counting half: U/(m·n).
    pub(super) fn superiority(&self) -> f64 {
        let (mut below, mut sum) = (0.0, 0.0);
        for bucket in &self.buckets {
            sum += bucket.new * (below + bucket.old / 2.0);
            below += bucket.old;
        }
        sum
    }

    /// Standard deviation of [`Self::superiority`] if nothing changed, corrected for ties, of so many requests.
    pub(super) fn deviation(&self, (new, old): (f64, f64)) -> f64 {
        let all = new + old;
        let ties: f64 = self
            .buckets
            .iter()
            .map(|bucket| {
                let tied = bucket.new * new + bucket.old * old;
                tied.powi(3) - tied
            })
            .sum();
        let corrected = (all + 1.0) - ties / (all * (all - 1.0)).max(1.0);
        (corrected.max(0.0) / (12.0 * new * old)).sqrt()
    }

    /// The factor, as a logarithm, at which the new version's durations exceed the old one's by less with this
    /// probability: the Hodges–Lehmann shift at one half.
    pub(super) fn shift(&self, probability: f64) -> f64 {
        let (first, last) = match (self.buckets.first(), self.buckets.last()) {
            (Some(first), Some(last)) => (first.low, last.high),
            _ => return 0.0,
        };
        let range = (last - first).max(1e-6);
        root(-range, range, |shift| self.below(shift) - probability)
    }

    /// Probability that log(new) − log(old) is below `shift`.
    fn below(&self, shift: f64) -> f64 {
        let mut old = self
            .buckets
            .iter()
            .filter(|bucket| bucket.old > 0.0)
            .peekable();
        // Of the old version's durations, those that end before the point.
        let (mut before, mut sum) = (0.0, 0.0);
        for bucket in self.buckets.iter().filter(|bucket| bucket.new > 0.0) {
            let point = bucket.middle - shift;
            while let Some(passed) = old.next_if(|other| other.high <= point) {
                before += passed.old;
            }
            let within = old.peek().map_or(0.0, |other| {
                let part = (point - other.low) / (other.high - other.low);
                other.old * part.clamp(0.0, 1.0)
            });
            sum += bucket.new * (1.0 - before - within);
        }
        sum
    }
}

/// Weighted counts of every bucket.
struct Histogram {
    counts: Vec<f64>,
    total: f64,
}

impl Histogram {
    fn of(rows: &[MinuteRow], blocks: &[Slot], weight_of: impl Fn(&Slot) -> f64) -> Option<Self> {
        let mut counts = vec![0.0; BUCKETS];
        let mut total = 0.0;
        let mut blocks = blocks.iter().peekable();
        let mut weight = 0.0;
        for row in rows {
            while let Some(block) = blocks.next_if(|block| block.minute <= row.minute) {
                let of_block = weight_of(block);
                weight = if of_block.is_finite() { of_block } else { 0.0 };
            }
            if weight <= 0.0 {
                continue;
            }
            for (bucket, count) in &row.latency {
                if let Some(cell) = counts.get_mut(usize::from(*bucket)) {
                    let weighted = weight * *count as f64;
                    *cell += weighted;
                    total += weighted;
                }
            }
        }
        (total > 0.0).then_some(Self { counts, total })
    }
}
