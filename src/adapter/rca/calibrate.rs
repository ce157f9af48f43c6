//! What the signals see when nothing is wrong: between halves of the time before.
//!
//! Whole cells of traces are dealt to two sides, many times: by chance, and by time. Of each deal the largest statistic of
//! each family is kept. It is the largest of many that were looked at, so comparing with it corrects for all of them at
//! once. The largest of many values follows Gumbel's distribution, which is fitted by its moments; its quantile is what a
//! change must exceed to be significant. A half holds half of the traces: what is seen between halves is noisier than what
//! is seen between the whole time before and an incident, and the answer errs on the side of silence.
//!
//! Halves do not tell of what is too rare to be compared in them, nor of a median that jumps between two modes once in a
//! hundred deals. So a change must also be beyond chance by a test of its own, [`Sides::chance`].

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::adapter::rca::cells::{CELLS, Half};
use crate::adapter::rca::settings::Settings;
use crate::adapter::rca::signals::{self, Family, Finding, Sides};
use crate::adapter::rca::summary::Summary;

/// Any number does: the same traces are always dealt in the same ways.
const SEED: u64 = 1;

/// Delays below twice the usual spread are not worth a look.
const DELAY_WORTH: f64 = 2.0;

/// Shares that rose by less than so many deviations are not worth a look.
const RISE_WORTH: f64 = 1.5;

/// Shares must rise by so many deviations to be significant, however quiet the time before was.
const RISE_LEAST: f64 = 3.0;

/// Euler's constant: the mean of Gumbel's distribution with location 0 and scale 1.
const EULER: f64 = 0.577_215_664_901_532_9;

/// What is seen when nothing is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration(BTreeMap<Family, Normal>);

/// The same of one family of signals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normal {
    /// What is worth a look.
    pub worth: f64,
    /// What nearly no deal exceeds.
    pub limit: f64,
    /// The standard deviation of what is seen.
    pub deviation: f64,
}

impl Family {
    fn worth(self) -> f64 {
        match self {
            Self::Time => DELAY_WORTH,
            Self::Errors | Self::ErrorEvents | Self::Missing | Self::Novelty | Self::Repeats => {
                RISE_WORTH
            }
        }
    }

    fn least_limit(self) -> f64 {
        match self {
            Self::Time => DELAY_WORTH,
            Self::Errors | Self::ErrorEvents | Self::Missing | Self::Novelty | Self::Repeats => {
                RISE_LEAST
            }
        }
    }
}

impl Calibration {
    /// Of one family.
    pub fn of(&self, family: Family) -> Normal {
        self.0.get(&family).copied().unwrap_or(Normal {
            worth: family.worth(),
            limit: family.least_limit(),
            deviation: family.least_limit() / 3.0,
        })
    }

    /// Says how surprising a finding is. It must also be beyond chance with the probability `false_alarm`: of durations
    /// and of counts that of any among all, so many are compared; of shares, that of each.
    pub fn judge(&self, finding: &mut Finding, sides: &Sides<'_>, numbers: f64) {
        let probability = match finding.signal.family() {
            Family::Time | Family::Repeats => sides.settings.false_alarm / numbers,
            Family::Errors | Family::ErrorEvents | Family::Missing | Family::Novelty => {
                sides.settings.false_alarm
            }
        };
        let normal = self.of(finding.signal.family());
        let statistic = finding.statistic;
        finding.strength = (statistic / normal.worth).ln().max(0.0);
        finding.deviations = statistic / normal.deviation;
        // What is rare, or has two modes, is seen too seldom in halves to be calibrated; a test tells how often chance does it.
        finding.is_significant = statistic > normal.limit && sides.chance(finding) <= probability;
    }
}

/// Deals a time before into halves and looks what changed between them.
pub fn calibrate(baseline: &Summary, settings: &Settings) -> Calibration {
    let mut largest: BTreeMap<Family, Vec<f64>> = BTreeMap::new();
    let mut squares: BTreeMap<Family, (f64, f64)> = BTreeMap::new();
    for half in deals(settings.deals) {
        if baseline.traces.sum(half) == 0.0 || baseline.traces.sum(half.other()) == 0.0 {
            continue;
        }
        let found = signals::all(&Sides::dealt(baseline, half, settings));
        for family in Family::ALL {
            let of_family = found
                .iter()
                .filter(|finding| finding.signal.family() == family);
            let (mut most, mut sum) = (0.0_f64, squares.get(&family).copied().unwrap_or_default());
            for finding in of_family {
                most = most.max(finding.statistic);
                sum = (sum.0 + finding.statistic * finding.statistic, sum.1 + 1.0);
            }
            squares.insert(family, sum);
            largest.entry(family).or_default().push(most);
        }
    }
    let normal = |family: Family| {
        let most = largest.get(&family).map(Vec::as_slice).unwrap_or_default();
        let (squares, count) = squares.get(&family).copied().unwrap_or_default();
        let limit = gumbel_quantile(most, 1.0 - settings.false_alarm).max(family.least_limit());
        let seen = if count > 0.0 {
            (squares / count).sqrt()
        } else {
            0.0
        };
        Normal {
            worth: family.worth(),
            limit,
            // No finer than what would be significant at least: quiet traces are no reason for huge numbers.
            deviation: seen.max(family.least_limit() / 3.0),
        }
    };
    Calibration(
        Family::ALL
            .into_iter()
            .map(|family| (family, normal(family)))
            .collect(),
    )
}

/// Halves of the cells: by time, and by chance.
fn deals(count: u32) -> Vec<Half> {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut bits: Vec<u16> = (0..CELLS).map(|cell| 1 << cell).collect();
    let mut by_chance = || {
        bits.shuffle(&mut random);
        let chosen = bits.iter().take(CELLS / 2);
        Half::of_bits(chosen.fold(0, |sum, bit| sum | bit))
    };
    let mut deals = Half::by_time().to_vec();
    while deals.len() < count as usize {
        deals.push(by_chance());
    }
    deals
}

/// The quantile of Gumbel's distribution with the mean and the deviation of some values; 0 of none.
fn gumbel_quantile(values: &[f64], quantile: f64) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let scale = (squares / count).sqrt() * 6.0_f64.sqrt() / std::f64::consts::PI;
    let location = mean - EULER * scale;
    location - scale * (-quantile.ln()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scipy 1.16: `gumbel_r(loc, scale).ppf(0.99)` with `scale = std·√6/π = 1.102 658`, `loc = 3 − 0.577 216·scale`.
    #[test]
    fn the_limit_is_a_quantile_of_the_distribution_of_maxima() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0];
        assert!((gumbel_quantile(&values, 0.99) - 7.435_92).abs() < 1e-4);
        assert!(gumbel_quantile(&[], 0.99).abs() < 1e-12);
        assert!((gumbel_quantile(&[2.0, 2.0], 0.99) - 2.0).abs() < 1e-12);
    }

    #[test]
    fn the_deals_are_halves_and_the_same_ones_each_time() {
        let deals = deals(64);
        assert_eq!(deals.len(), 64);
        assert_eq!(deals, super::deals(64));
        assert!(deals.iter().all(|half| half.len() == 8));
    }
}
