//! Distributions of durations, as models of traffic and simulated faults name them.

use std::time::Duration;

use rand::{Rng, RngExt};
use rand_distr::{Distribution as _, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::model::NANOS_PER_SEC;

/// No sample is longer, since a heavy tail has no end of its own: one hour.
const LONGEST_MS: f64 = 3_600_000.0;

/// A distribution of durations, in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Always the same.
    ConstantMs(f64),
    /// Any duration between two, all as likely.
    Uniform(Uniform),
    /// `median · exp(sigma · z)` with z from the standard normal distribution.
    Lognormal(Lognormal),
    /// A heavy tail: the share that is longer than t falls as `(min / t)^alpha`.
    Pareto(Pareto),
    /// One of several, by their shares: bimodal latency, or a body with a tail.
    Mixture(Vec<MixturePart>),
    /// A table of (share of the samples that are at most so long, milliseconds), both ascending; between two rows the
    /// logarithm of the duration goes straight.
    Quantiles(Vec<(f64, f64)>),
}

/// Any duration between two.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Uniform {
    /// The shortest.
    pub min_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// A lognormal distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Lognormal {
    /// The median.
    pub median_ms: f64,
    /// Standard deviation of the logarithm.
    pub sigma: f64,
}

/// A Pareto distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Pareto {
    /// The shortest duration.
    pub min_ms: f64,
    /// How fast the tail falls; with 1 or less the mean has no bound but the hour that ends every sample.
    pub alpha: f64,
}

/// A part of a mixture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MixturePart {
    /// How often, relative to the other parts.
    pub share: f64,
    /// What then.
    pub of: Distribution,
}

impl Distribution {
    /// No time at all.
    pub const ZERO: Self = Self::ConstantMs(0.0);

    /// A lognormal distribution.
    pub const fn lognormal(median_ms: f64, sigma: f64) -> Self {
        Self::Lognormal(Lognormal { median_ms, sigma })
    }

    /// What is wrong with it, if anything.
    pub fn check(&self) -> Result<(), String> {
        let is_time = |ms: f64| (0.0..=LONGEST_MS).contains(&ms);
        let time = |name: &str, ms: f64| {
            let told = format!("{name} is {ms}, not a time from 0 to {LONGEST_MS} ms");
            is_time(ms).then_some(()).ok_or(told)
        };
        match self {
            Self::ConstantMs(ms) => time("constant_ms", *ms),
            Self::Uniform(Uniform { min_ms, max_ms }) => {
                time("min_ms", *min_ms)?;
                time("max_ms", *max_ms)?;
                told(min_ms <= max_ms, "min_ms is above max_ms")
            }
            Self::Lognormal(Lognormal { median_ms, sigma }) => {
                time("median_ms", *median_ms)?;
                told((0.0..=10.0).contains(sigma), "sigma is not from 0 to 10")
            }
            Self::Pareto(Pareto { min_ms, alpha }) => {
                time("min_ms", *min_ms)?;
                told(
                    (0.1..=100.0).contains(alpha),
                    "alpha is not from 0.1 to 100",
                )
            }
            Self::Mixture(parts) => {
                let shares = || parts.iter().map(|part| part.share);
                let is_good = shares().all(|share| share.is_finite() && share >= 0.0);
                told(
                    is_good && shares().sum::<f64>() > 0.0,
                    "a mixture needs parts with shares of at least 0 that are not all 0",
                )?;
                parts.iter().try_for_each(|part| part.of.check())
            }
            Self::Quantiles(rows) => {
                told(!rows.is_empty(), "quantiles need at least one row")?;
                told(
                    rows.iter()
                        .all(|(share, ms)| (0.0..=1.0).contains(share) && is_time(*ms)),
                    "a row of quantiles is [share from 0 to 1, milliseconds up to an hour]",
                )?;
                let ascends = rows.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1);
                told(
                    ascends,
                    "quantiles ascend, in their shares and in their times",
                )
            }
        }
    }

    /// A sample in milliseconds.
    pub fn sample_ms<R: Rng + ?Sized>(&self, rng: &mut R) -> f64 {
        let ms = match self {
            Self::ConstantMs(ms) => *ms,
            Self::Uniform(Uniform { min_ms, max_ms }) => {
                min_ms + (max_ms - min_ms) * rng.random::<f64>()
            }
            Self::Lognormal(Lognormal { median_ms, sigma }) => {
                let z: f64 = StandardNormal.sample(rng);
                median_ms * (sigma * z).exp()
            }
            Self::Pareto(Pareto { min_ms, alpha }) => {
                let left: f64 = 1.0 - rng.random::<f64>();
                min_ms * left.powf(-1.0 / alpha)
            }
            Self::Mixture(parts) => {
                let shares = parts.iter().map(|part| part.share);
                let part = pick(rng, shares).and_then(|index| parts.get(index));
                part.map_or(0.0, |part| part.of.sample_ms(rng))
            }
            Self::Quantiles(rows) => interpolate(rows, rng.random()),
        };
        ms.clamp(0.0, LONGEST_MS)
    }

    /// A sample in nanoseconds.
    pub fn sample_nanos<R: Rng + ?Sized>(&self, rng: &mut R) -> u64 {
        nanos_of_ms(self.sample_ms(rng))
    }
}

fn told(is_good: bool, wrong: &str) -> Result<(), String> {
    is_good.then_some(()).ok_or_else(|| wrong.to_owned())
}

/// Draws an index by shares, which need not add up to 1; `None` if all are 0.
pub fn pick<R: Rng + ?Sized>(
    rng: &mut R,
    shares: impl Iterator<Item = f64> + Clone,
) -> Option<usize> {
    let whole: f64 = shares.clone().sum();
    if whole <= 0.0 {
        return None;
    }
    let mut left = rng.random::<f64>() * whole;
    let mut last = None;
    for (index, share) in shares.enumerate() {
        if share > 0.0 {
            last = Some(index);
            left -= share;
            if left < 0.0 {
                break;
            }
        }
    }
    last
}

/// The duration below which a share of the samples lies.
fn interpolate(rows: &[(f64, f64)], share: f64) -> f64 {
    let at = rows.partition_point(|row| row.0 < share);
    let above = rows.get(at).or(rows.last()).copied().unwrap_or_default();
    let below = rows.get(at.saturating_sub(1)).copied().unwrap_or(above);
    let width = above.0 - below.0;
    if width <= 0.0 || share <= below.0 {
        return if share <= below.0 { below.1 } else { above.1 };
    }
    let part = (share - below.0) / width;
    if below.1 > 0.0 {
        below.1 * (above.1 / below.1).powf(part)
    } else {
        below.1 + (above.1 - below.1) * part
    }
}

/// Milliseconds to nanoseconds; what does not fit goes to the nearest end of the range, NaN to 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the conversion saturates"
)]
pub fn nanos_of_ms(ms: f64) -> u64 {
    (ms * 1e-3 * NANOS_PER_SEC as f64).round() as u64
}

/// A duration in nanoseconds, as many as there can be.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// So many nanoseconds times a factor.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "the conversion saturates, and 1 is the usual factor"
)]
pub(crate) fn scaled(nanos: u64, factor: f64) -> u64 {
    if factor == 1.0 {
        return nanos;
    }
    (nanos as f64 * factor) as u64
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn samples(distribution: &Distribution) -> Vec<f64> {
        distribution.check().unwrap();
        let mut rng = StdRng::seed_from_u64(5);
        let mut all: Vec<f64> = (0..40_000)
            .map(|_| distribution.sample_ms(&mut rng))
            .collect();
        all.sort_by(f64::total_cmp);
        all
    }

    fn at(sorted: &[f64], percent: usize) -> f64 {
        sorted[sorted.len() * percent / 100]
    }

    #[track_caller]
    fn assert_near(seen: f64, wanted: f64, tolerance: f64) {
        assert!(
            (seen / wanted - 1.0).abs() < tolerance,
            "{seen}, not {wanted}"
        );
    }

    #[test]
    fn samples_have_the_quantiles_that_textbooks_give() {
        // z at 95 % is 1.644854, hence 10·exp(0.5·1.644854)
        let lognormal = samples(&Distribution::lognormal(10.0, 0.5));
        assert_near(at(&lognormal, 50), 10.0, 0.02);
        assert_near(at(&lognormal, 95), 22.759, 0.02);
        // (1 − 0.99)^(−1/2) = 10
        let pareto = samples(&Distribution::Pareto(Pareto {
            min_ms: 2.0,
            alpha: 2.0,
        }));
        assert_near(at(&pareto, 99), 20.0, 0.05);
        let uniform = samples(&Distribution::Uniform(Uniform {
            min_ms: 1.0,
            max_ms: 3.0,
        }));
        assert_near(at(&uniform, 25), 1.5, 0.02);
    }

    #[test]
    fn a_mixture_takes_its_parts_by_their_shares() {
        let part = |share, ms| MixturePart {
            share,
            of: Distribution::ConstantMs(ms),
        };
        let mixed = samples(&Distribution::Mixture(vec![
            part(3.0, 1.0),
            part(1.0, 100.0),
        ]));
        let slow = mixed.iter().filter(|ms| **ms > 50.0).count() as f64 / mixed.len() as f64;
        assert!((slow - 0.25).abs() < 0.01, "{slow}");
    }

    #[test]
    fn a_table_of_quantiles_gives_them_back() {
        let rows = vec![(0.0, 1.0), (0.5, 4.0), (0.99, 9.0), (1.0, 100.0)];
        let drawn = samples(&Distribution::Quantiles(rows));
        assert_near(at(&drawn, 25), 2.0, 0.03);
        assert_near(at(&drawn, 50), 4.0, 0.03);
        // Of 0.49 between the rows at 0.5 and 0.99 there are 0.48: 4·(9/4)^(48/49)
        assert_near(at(&drawn, 98), 8.852, 0.03);
        assert!(drawn[drawn.len() - 1] <= 100.0);
    }

    #[test]
    fn a_wrong_distribution_says_what_is_wrong() {
        for (wrong, said) in [
            (Distribution::ConstantMs(-1.0), "constant_ms is -1"),
            (Distribution::lognormal(1.0, -0.5), "sigma"),
            (Distribution::Mixture(Vec::new()), "a mixture needs parts"),
            (
                Distribution::Quantiles(vec![(0.5, 2.0), (0.4, 3.0)]),
                "ascend",
            ),
            (
                Distribution::Quantiles(vec![(1.5, 2.0)]),
                "share from 0 to 1",
            ),
        ] {
            let error = wrong.check().unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn times_that_fit_nowhere_go_to_the_nearest_end() {
        assert_eq!(nanos_of_ms(f64::INFINITY), u64::MAX);
        assert_eq!(nanos_of_ms(-1.0), 0);
        assert_eq!(nanos_of_ms(f64::NAN), 0);
        assert_eq!(nanos_of_ms(1.5), 1_500_000);
    }
}
