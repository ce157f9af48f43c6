//! Durations in bounded memory, and the distribution that fits them.

use std::collections::BTreeMap;

use crate::model::distribution::{Distribution, Lognormal, MixturePart};

/// Two durations in one bucket differ by at most 1 %.
const GROWTH: f64 = 1.01;

/// Shares of a table of quantiles.
const TABLE: [f64; 20] = [
    0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99,
    0.995, 0.999, 1.0,
];

/// Quantiles by which a formula is held against the samples.
const CHECKED: [f64; 4] = [0.1, 0.5, 0.95, 0.99];

/// How far a quantile of a formula may lie from that of the samples.
const QUANTILE_TOLERANCE: f64 = 0.04;

/// With fewer samples no formula is tried.
const FIT_AT_LEAST: u64 = 50;

/// Steps of the search for a mixture.
const MIXTURE_STEPS: usize = 40;

/// What a formula must be better by, in log-likelihood, for each number that it has more: Schwarz's criterion halves
/// the logarithm of the number of samples.
fn penalty(samples: f64) -> f64 {
    samples.ln() / 2.0
}

/// Durations, counted in buckets of equal width of their logarithm.
#[derive(Clone, Debug, Default)]
pub(super) struct Sketch {
    buckets: BTreeMap<i32, u64>,
    zeros: u64,
    count: u64,
    sum_ms: f64,
}

impl Sketch {
    pub(super) fn add_nanos(&mut self, nanos: u64) {
        self.count += 1;
        let ms = nanos as f64 / 1e6;
        self.sum_ms += ms;
        if nanos == 0 {
            self.zeros += 1;
        } else {
            *self.buckets.entry(bucket(ms)).or_default() += 1;
        }
    }

    pub(super) fn mean_ms(&self) -> f64 {
        if self.count == 0 {
            0.0
        } else {
            self.sum_ms / self.count as f64
        }
    }

    /// The duration below which a share of the samples lies.
    pub(super) fn quantile_ms(&self, share: f64) -> f64 {
        let wanted = share * self.count as f64;
        let mut seen = self.zeros as f64;
        if seen >= wanted && self.zeros > 0 {
            return 0.0;
        }
        let mut last = 0.0;
        for (bucket, count) in &self.buckets {
            last = middle(*bucket);
            let next = seen + *count as f64;
            if next >= wanted {
                // Within a bucket the logarithm goes straight.
                let part = (wanted - seen) / *count as f64;
                return last * GROWTH.powf(part - 0.5);
            }
            seen = next;
        }
        last
    }

    /// The simplest distribution that fits: a lognormal one, a mixture of two, or the table of quantiles.
    pub(super) fn distribution(&self) -> Distribution {
        if self.count == 0 || self.zeros == self.count {
            return Distribution::ZERO;
        }
        if let (Some((first, _)), Some((last, _))) = (
            self.buckets.first_key_value(),
            self.buckets.last_key_value(),
        ) && first == last
            && self.zeros == 0
        {
            return Distribution::ConstantMs(rounded(self.mean_ms()));
        }
        if self.count >= FIT_AT_LEAST && self.zeros == 0 {
            let one = self.lognormal();
            let two = self.mixture();
            let samples = self.count as f64;
            // A mixture has three numbers more.
            let is_two = self.likelihood(&two) - self.likelihood(&[one]) > 3.0 * penalty(samples);
            let best = if is_two { two.to_vec() } else { vec![one] };
            if self.fits(&best) {
                return written(&best);
            }
        }
        self.table()
    }

    fn table(&self) -> Distribution {
        let mut rows: Vec<(f64, f64)> = Vec::with_capacity(TABLE.len() + 1);
        let first = self.quantile_ms(0.0);
        rows.push((0.0, rounded(first)));
        for share in TABLE {
            let ms = rounded(self.quantile_ms(share)).max(rows.last().map_or(0.0, |row| row.1));
            rows.push((share, ms));
        }
        Distribution::Quantiles(rows)
    }

    /// Logarithms of the samples with their counts.
    fn logs(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.buckets
            .iter()
            .map(|(bucket, count)| (middle(*bucket).ln(), *count as f64))
    }

    fn lognormal(&self) -> Part {
        Part::of(self.logs(), self.count as f64)
    }

    /// Two lognormal parts by expectation and maximisation, from the slower half and the faster half.
    fn mixture(&self) -> [Part; 2] {
        let one = self.lognormal();
        let half = one.sigma.max(0.01);
        let mut parts = [
            Part {
                share: 0.5,
                mu: one.mu - half,
                sigma: half,
            },
            Part {
                share: 0.5,
                mu: one.mu + half,
                sigma: half,
            },
        ];
        for _ in 0..MIXTURE_STEPS {
            let [a, b] = parts;
            let part_of_a = |log: f64| {
                let (of_a, of_b) = (a.density(log), b.density(log));
                if of_a + of_b > 0.0 {
                    of_a / (of_a + of_b)
                } else {
                    0.5
                }
            };
            let whole = self.count as f64;
            parts = [
                Part::of(
                    self.logs()
                        .map(|(log, count)| (log, count * part_of_a(log))),
                    whole,
                ),
                Part::of(
                    self.logs()
                        .map(|(log, count)| (log, count * (1.0 - part_of_a(log)))),
                    whole,
                ),
            ];
        }
        parts
    }

    fn likelihood(&self, parts: &[Part]) -> f64 {
        let density = |log| parts.iter().map(|part| part.density(log)).sum::<f64>();
        self.logs()
            .map(|(log, count)| count * density(log).max(1e-300).ln())
            .sum()
    }

    fn fits(&self, parts: &[Part]) -> bool {
        let noise = 1.5 / (self.count as f64).sqrt();
        CHECKED.iter().all(|share| {
            let seen = self.quantile_ms(*share);
            // Where the samples say `share` lies below, so must the formula, within chance; or nearly there.
            let below = |ms: f64| {
                let log = ms.max(1e-9).ln();
                parts
                    .iter()
                    .map(|part| part.share * part.below(log))
                    .sum::<f64>()
            };
            let near = below(seen * (1.0 - QUANTILE_TOLERANCE)) <= *share
                && *share <= below(seen * (1.0 + QUANTILE_TOLERANCE));
            near || (below(seen) - share).abs() < noise * (share * (1.0 - share)).sqrt()
        })
    }
}

/// A lognormal part of a mixture.
#[derive(Clone, Copy, Debug)]
struct Part {
    share: f64,
    mu: f64,
    sigma: f64,
}

impl Part {
    fn of(weighted: impl Iterator<Item = (f64, f64)>, whole: f64) -> Self {
        let (mut sum, mut square, mut weight) = (0.0, 0.0, 0.0);
        for (log, count) in weighted {
            weight += count;
            sum += count * log;
            square += count * log * log;
        }
        if weight <= 0.0 {
            return Self {
                share: 0.0,
                mu: 0.0,
                sigma: 1.0,
            };
        }
        let mu = sum / weight;
        let variance = (square / weight - mu * mu).max(0.0);
        Self {
            share: weight / whole,
            mu,
            sigma: variance.sqrt().max(0.002),
        }
    }

    /// Density of the logarithm, times the share.
    fn density(&self, log: f64) -> f64 {
        let z = (log - self.mu) / self.sigma;
        self.share * (-0.5 * z * z).exp() / (self.sigma * (2.0 * std::f64::consts::PI).sqrt())
    }

    /// Share of the part that lies below.
    fn below(&self, log: f64) -> f64 {
        let z = (log - self.mu) / (self.sigma * std::f64::consts::SQRT_2);
        0.5 * statrs::function::erf::erfc(-z)
    }

    fn written(&self) -> Distribution {
        Distribution::Lognormal(Lognormal {
            median_ms: rounded(self.mu.exp()),
            sigma: rounded(self.sigma),
        })
    }
}

fn written(parts: &[Part]) -> Distribution {
    match parts {
        [one] => one.written(),
        parts => Distribution::Mixture(
            parts
                .iter()
                .map(|part| MixturePart {
                    share: rounded(part.share),
                    of: part.written(),
                })
                .collect(),
        ),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "times up to hours make small numbers"
)]
fn bucket(ms: f64) -> i32 {
    (ms.ln() / GROWTH.ln()).floor() as i32
}

fn middle(bucket: i32) -> f64 {
    GROWTH.powf(f64::from(bucket) + 0.5)
}

/// Four digits: models are read by people.
pub(super) fn rounded(number: f64) -> f64 {
    if number == 0.0 || !number.is_finite() {
        return number;
    }
    let digits = 10_f64.powf(3.0 - number.abs().log10().floor());
    (number * digits).round() / digits
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::model::distribution::Pareto;

    fn learnt(from: &Distribution) -> (Sketch, Distribution) {
        let mut rng = StdRng::seed_from_u64(9);
        let mut sketch = Sketch::default();
        for _ in 0..20_000 {
            sketch.add_nanos(from.sample_nanos(&mut rng));
        }
        let distribution = sketch.distribution();
        distribution.check().unwrap();
        (sketch, distribution)
    }

    #[test]
    fn the_kind_of_a_distribution_is_found_again() {
        let (_, lognormal) = learnt(&Distribution::lognormal(10.0, 0.5));
        let Distribution::Lognormal(Lognormal { median_ms, sigma }) = lognormal else {
            panic!("{lognormal:?}")
        };
        assert!(
            (median_ms - 10.0).abs() < 0.15 && (sigma - 0.5).abs() < 0.01,
            "{median_ms} {sigma}"
        );

        let part = |share, median_ms| MixturePart {
            share,
            of: Distribution::lognormal(median_ms, 0.2),
        };
        let (_, mixture) = learnt(&Distribution::Mixture(vec![
            part(0.8, 2.0),
            part(0.2, 40.0),
        ]));
        let Distribution::Mixture(parts) = &mixture else {
            panic!("{mixture:?}")
        };
        assert!((parts[0].share - 0.8).abs() < 0.02, "{mixture:?}");

        assert_eq!(
            learnt(&Distribution::ConstantMs(3.0)).1,
            Distribution::ConstantMs(3.0)
        );
    }

    #[test]
    fn quantiles_of_what_was_learnt_are_those_of_the_samples() {
        let part = |share, of| MixturePart { share, of };
        for from in [
            Distribution::lognormal(3.0, 0.9),
            Distribution::Pareto(Pareto {
                min_ms: 1.0,
                alpha: 1.5,
            }),
            Distribution::Mixture(vec![
                part(0.9, Distribution::ConstantMs(1.0)),
                part(0.1, Distribution::lognormal(50.0, 0.3)),
            ]),
        ] {
            let (first, distribution) = learnt(&from);
            let (again, _) = learnt(&distribution);
            // Tails of heavy distributions are few samples.
            for (share, tolerance) in [(0.5, 0.04), (0.95, 0.08), (0.99, 0.2)] {
                let (a, b) = (first.quantile_ms(share), again.quantile_ms(share));
                assert!(
                    (a / b - 1.0).abs() < tolerance,
                    "{from:?} at {share}: {a} and {b}"
                );
            }
        }
    }
}
