//! What a linear model says about the time to come, and about any part of it together.
//!
//! Step h of such a model misses by `σ·(c₀ε_h + c₁ε_{h−1} + … + c_{h−1}ε₁)` with independent ε of variance 1, so that the
//! errors of a sum are known too: they are not independent from step to step, and treating them so makes the sum of a
//! week look far more certain than it is.

use std::ops::Range;

use statrs::distribution::{ContinuousCDF, StudentsT};

/// The steps to come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prediction {
    /// Expected value of each step.
    pub mean: Vec<f64>,
    /// c: how an error goes on from step to step; the first is 1. Those that are not there are 0.
    pub weights: Vec<f64>,
    /// σ of one step.
    pub sigma: f64,
    /// Standard deviation of an error that all steps share: of the level itself.
    pub level_sigma: f64,
    /// Degrees of freedom of the deviations: few values make wide intervals.
    pub degrees: f64,
}

/// The distribution of a sum of steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Total {
    /// Expected sum.
    pub mean: f64,
    /// Its standard deviation.
    pub sd: f64,
    /// Degrees of freedom of it.
    pub degrees: f64,
}

impl Prediction {
    /// The sum of the steps of a range; of none it is 0.
    pub fn total(&self, steps: Range<usize>) -> Total {
        let end = steps.end.min(self.mean.len());
        let start = steps.start.min(end);
        let mean = self.mean.get(start..end).unwrap_or_default().iter().sum();
        // Cumulated weights: how much an error changes all steps up to a lag together.
        let mut sums = vec![0.0; end + 1];
        let mut sum = 0.0;
        for (lag, cell) in sums.iter_mut().skip(1).enumerate() {
            sum += self.weights.get(lag).copied().unwrap_or(0.0);
            *cell = sum;
        }
        let upto = |lags: usize| sums.get(lags).copied().unwrap_or(sum);
        let variance: f64 = (0..end)
            .map(|at| {
                let own = upto(end - at) - upto(start.saturating_sub(at));
                own * own
            })
            .sum();
        let steps = (end - start) as f64;
        let level = steps * self.level_sigma;
        Total {
            mean,
            sd: (self.sigma * self.sigma * variance + level * level).sqrt(),
            degrees: self.degrees,
        }
    }

    /// One step.
    pub fn step(&self, step: usize) -> Total {
        self.total(step..step + 1)
    }

    /// The same with deviations multiplied by this.
    #[must_use]
    pub fn widened(self, factor: f64) -> Self {
        Self {
            sigma: self.sigma * factor,
            level_sigma: self.level_sigma * factor,
            ..self
        }
    }

    /// The same in another unit.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        for mean in &mut self.mean {
            *mean *= factor;
        }
        self.widened(factor)
    }
}

impl Total {
    /// The value that the sum stays below with this probability; never below 0, as no volume is.
    pub fn quantile(&self, probability: f64) -> f64 {
        let deviations = student(self.degrees).map_or(0.0, |own| own.inverse_cdf(probability));
        (self.mean + self.sd * deviations).max(0.0)
    }

    /// The probability that the sum is above a limit.
    pub fn probability_over(&self, limit: f64) -> f64 {
        if self.sd <= 0.0 {
            return if self.mean > limit { 1.0 } else { 0.0 };
        }
        student(self.degrees).map_or(0.5, |own| own.sf((limit - self.mean) / self.sd))
    }
}

fn student(degrees: f64) -> Option<StudentsT> {
    StudentsT::new(0.0, 1.0, degrees.max(1.0)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9 * b.abs().max(1.0), "{a} {b}");
    }

    fn prediction(weights: Vec<f64>) -> Prediction {
        Prediction {
            mean: vec![10.0; 4],
            weights,
            sigma: 2.0,
            level_sigma: 0.0,
            degrees: 1e6,
        }
    }

    #[test]
    fn independent_errors_add_by_their_squares_and_a_random_walk_by_its_path() {
        close(prediction(vec![1.0]).total(0..4).sd, 2.0 * 2.0);
        let walk = prediction(vec![1.0; 4]);
        close(walk.step(3).sd, 2.0 * 2.0);
        // 1² + 2² + 3² + 4² = 30.
        close(walk.total(0..4).sd, 2.0 * 30.0_f64.sqrt());
        // The last two: ε₁ and ε₂ and ε₃ change both, ε₄ the last alone.
        close(walk.total(2..4).sd, 2.0 * 13.0_f64.sqrt());
        close(walk.total(2..4).mean, 20.0);
    }

    #[test]
    fn an_error_of_the_level_is_shared_by_all_steps() {
        let shared = Prediction {
            level_sigma: 1.0,
            ..prediction(vec![1.0])
        };
        close(shared.total(0..4).sd, (16.0_f64 + 16.0).sqrt());
    }

    /// scipy.stats.t.sf(1, 3) = 0.19550110947788527, t.ppf(0.9, 3) = 1.6377443536962095.
    #[test]
    fn few_values_make_heavy_tails() {
        let total = Total {
            mean: 10.0,
            sd: 2.0,
            degrees: 3.0,
        };
        assert!((total.probability_over(12.0) - 0.195_501_109_477_885_27).abs() < 1e-9);
        assert!((total.quantile(0.9) - (10.0 + 2.0 * 1.637_744_353_696_209_5)).abs() < 1e-6);
        close(total.quantile(1e-6), 0.0);
    }

    #[test]
    fn what_does_not_vary_is_over_a_limit_or_not() {
        let sure = Prediction {
            sigma: 0.0,
            ..prediction(vec![1.0])
        };
        close(sure.total(0..4).probability_over(39.0), 1.0);
        close(sure.total(0..4).probability_over(40.0), 0.0);
    }
}
