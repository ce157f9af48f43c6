//! Bad events of two arms: the exact conditional test and the interval of the difference of their ratios.
//!
//! If nothing changed, each bad event belongs to the new version with the probability of its share of the traffic, whatever
//! the error ratio is. So the number of the new version's bad events, given those of both, is a sum of such draws, and the test
//! needs neither the ratio nor large numbers. Draws with different shares are taken as a binomial number with the same mean
//! and variance. Counts are divided by what makes them scatter more (over-dispersion) and by what makes them scatter
//! less (requests that failed cannot fail again).

use statrs::distribution::{ContinuousCDF, Normal};
use statrs::function::beta::checked_beta_reg;

use super::spending::Schedule;
use super::strata::{Slot, blocks, dispersion};
use crate::model::canary::Pairing;

/// Beyond so many bad events their number is as good as normal.
const EXACT_MAX: f64 = 1e6;

/// The bad events of two arms, ready to be tested.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    /// Bad events of the new arm, in effective requests.
    new_bad: f64,
    /// Of both arms.
    bad: f64,
    /// The new arm's share of them if nothing changed.
    share: f64,
    /// Requests of the new arm.
    new_total: f64,
    old_total: f64,
    /// What one bad event is worth in the test.
    worth: f64,
    /// How much more the counts scatter than independent ones.
    pub(super) dispersion: f64,
    pairing: Pairing,
}

impl Counts {
    /// Of both arms minute by minute; `None` where they have no requests to compare.
    pub(super) fn of(slots: &[Slot], pairing: Pairing) -> Option<Self> {
        let dispersion = dispersion(slots, pairing);
        let (mut new_bad, mut bad, mut new_total, mut old_total) = (0.0, 0.0, 0.0, 0.0);
        let (mut mean, mut spread, mut variance) = (0.0, 0.0, 0.0);
        for block in blocks(slots, pairing) {
            let (old, new) = (block.old.total, block.new.total);
            let total = old + new;
            if old <= 0.0 || new <= 0.0 {
                continue;
            }
            let bad_of_block = block.old.bad + block.new.bad;
            let share = new / total;
            new_bad += block.new.bad;
            bad += bad_of_block;
            new_total += new;
            old_total += old;
            mean += bad_of_block * share;
            spread += bad_of_block * share * (1.0 - share);
            variance += bad_of_block * share * (1.0 - share) * (total - bad_of_block).max(0.0)
                / (total - 1.0).max(1.0);
        }
        if new_total <= 0.0 {
            return None;
        }
        let matched = if mean > 0.0 {
            1.0 - spread / mean
        } else {
            new_total / (new_total + old_total)
        };
        let worth = if variance > 0.0 {
            spread / variance / dispersion
        } else {
            0.0
        };
        Some(Self {
            new_bad,
            bad: if mean > 0.0 {
                (mean / matched).max(new_bad)
            } else {
                bad
            },
            share: matched,
            new_total,
            old_total,
            worth,
            dispersion,
            pairing,
        })
    }

    /// Requests of the old and of the new arm in the stretches that are compared.
    pub(super) fn compared(&self) -> (f64, f64) {
        (self.old_total, self.new_total)
    }

    /// Independent requests of the new and of the old arm that the test rests on.
    pub(super) fn effective(&self) -> (f64, f64) {
        let new = self.new_total / self.dispersion;
        (new, new * (1.0 - self.share) / self.share)
    }

    /// The new arm's share of the requests, as its bad events have it.
    pub(super) fn share_of_requests(&self) -> f64 {
        self.share
    }

    /// Bad ratio of the new arm.
    pub(super) fn new_ratio(&self) -> f64 {
        (self.new_bad / self.new_total).min(1.0)
    }

    /// Bad ratio of the old arm in the minutes of the new one.
    pub(super) fn old_ratio(&self) -> f64 {
        (self.new_ratio() - self.difference()).clamp(0.0, 1.0)
    }

    /// New ratio less old ratio.
    pub(super) fn difference(&self) -> f64 {
        self.difference_at(self.new_bad / self.bad)
    }

    /// Variance of the new arm's bad events if nothing changed: what the test knows.
    pub(super) fn information(&self) -> f64 {
        self.bad * self.worth * self.share * (1.0 - self.share)
    }

    /// Probability of so many bad events of the new arm, or more, at one look if nothing changed.
    pub(super) fn p_value(&self) -> f64 {
        self.tail(self.share)
    }

    /// The lower bound of the difference, at this one-sided level: above 0 where the p-value is below the level.
    pub(super) fn lower(&self, level: f64) -> f64 {
        if self.new_bad <= 0.0 || self.worth <= 0.0 || level <= 0.0 {
            // All bad events may be chance: the new arm may fail never.
            return self.difference_at(0.0).min(0.0);
        }
        let seen = (self.new_bad / self.bad).min(1.0 - 1e-12);
        let log = level.ln();
        let share = root(logit(seen) - 60.0, logit(seen), |at| {
            self.tail(logistic(at)).max(1e-300).ln() - log
        });
        self.difference_at(logistic(share))
            .min(self.difference())
            .max(-1.0)
    }

    /// The upper bound of the difference, by Newcombe's hybrid of two Wilson bounds (1998).
    pub(super) fn upper(&self, level: f64) -> f64 {
        let sigmas = sigmas_of(level);
        if sigmas.is_infinite() {
            return 1.0;
        }
        let (new, old) = (self.new_ratio(), self.old_ratio());
        let (new_events, old_events) = self.effective();
        let above = wilson(new, new_events, sigmas) - new;
        let below = old - wilson(old, old_events, -sigmas);
        (self.difference() + above.hypot(below)).min(1.0)
    }

    /// What [`Self::upper`] knows: the variance that counts have at a ratio of at least `tolerance`.
    pub(super) fn information_at(&self, tolerance: f64) -> f64 {
        let (new, old) = self.effective();
        let ratio = f64::midpoint(self.new_ratio(), self.old_ratio()).max(tolerance);
        new * old / (new + old) * ratio * (1.0 - ratio).max(0.0)
    }

    /// The p-value that holds at any look.
    pub(super) fn anytime(&self, schedule: Schedule) -> f64 {
        schedule.anytime(self.p_value(), self.information())
    }

    /// The same after `factor` times as many requests of the new version, if all goes on like this.
    pub(super) fn continued(&self, factor: f64) -> Self {
        let mut later = Self {
            new_bad: self.new_bad * factor,
            bad: self.bad * factor,
            new_total: self.new_total * factor,
            ..*self
        };
        if self.pairing == Pairing::BeforeAfter {
            // The old version takes no more requests.
            let odds = self.share / (1.0 - self.share) * factor;
            later.bad = self.new_bad * factor + (self.bad - self.new_bad);
            later.share = odds / (1.0 + odds);
        }
        later
    }

    /// P(X ≥ the new arm's bad events) of a binomial number with this share.
    fn tail(&self, share: f64) -> f64 {
        let (new, bad) = (self.new_bad * self.worth, self.bad * self.worth);
        if new <= 0.0 {
            return 1.0;
        }
        if bad > EXACT_MAX {
            let deviation = (bad * share * (1.0 - share)).sqrt();
            return above_sigmas((new - bad * share) / deviation);
        }
        checked_beta_reg(new, (bad - new).max(0.0) + 1.0, share).unwrap_or(1.0)
    }

    /// The difference of the ratios if this share of the bad events were the new arm's.
    fn difference_at(&self, share: f64) -> f64 {
        if self.bad <= 0.0 {
            return 0.0;
        }
        let old_total = self.new_total * (1.0 - self.share) / self.share;
        self.bad * (share / self.new_total - (1.0 - share) / old_total)
    }
}

/// Standard deviations of a one-sided level.
pub(super) fn sigmas_of(level: f64) -> f64 {
    if level <= 0.0 {
        return f64::INFINITY;
    }
    -Normal::standard().inverse_cdf(level.min(0.5))
}

/// P(Z ≥ sigmas) of a standard normal number.
pub(super) fn above_sigmas(sigmas: f64) -> f64 {
    Normal::standard().sf(sigmas)
}

/// Wilson's bound of a ratio, above it for positive `sigmas`.
pub(super) fn wilson(ratio: f64, events: f64, sigmas: f64) -> f64 {
    let square = sigmas * sigmas / events;
    let spread = (ratio * (1.0 - ratio) * square + square * square / 4.0).sqrt();
    ((ratio + square / 2.0 + sigmas.signum() * spread) / (1.0 + square)).clamp(0.0, 1.0)
}

fn logit(share: f64) -> f64 {
    (share / (1.0 - share)).ln()
}

fn logistic(at: f64) -> f64 {
    1.0 / (1.0 + (-at).exp())
}

/// Where an increasing function is 0 between two points (Illinois' regula falsi); the nearer end if it is nowhere.
pub(super) fn root(low: f64, high: f64, of: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (low, high);
    let (mut at_low, mut at_high) = (of(low), of(high));
    if at_low >= 0.0 {
        return low;
    }
    if at_high <= 0.0 {
        return high;
    }
    let mut last_side = 0;
    for _ in 0..60 {
        let middle = (low * at_high - high * at_low) / (at_high - at_low);
        let value = of(middle);
        if value.abs() < 1e-7 || high - low < 1e-9 {
            return middle;
        }
        if value < 0.0 {
            (low, at_low) = (middle, value);
            if last_side == -1 {
                at_high /= 2.0;
            }
            last_side = -1;
        } else {
            (high, at_high) = (middle, value);
            if last_side == 1 {
                at_low /= 2.0;
            }
            last_side = 1;
        }
    }
    low
}
