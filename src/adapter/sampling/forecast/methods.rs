//! The methods: from the past to a [`Prediction`].
//!
//! ETS and MSTL are those of `augurs`; of their intervals the weights c are recovered (the variance of step h + 1 exceeds
//! that of step h by `σ²·c_h²`), which their intervals alone do not say.

use augurs::ets::AutoETS;
use augurs::mstl::MSTLModel;
use augurs::{Fit, Forecast, Predict};

use crate::adapter::sampling::forecast::prediction::Prediction;

/// The level of augurs' intervals: one standard deviation to either side.
const ONE_SIGMA: f64 = 0.682_689_492_137_085_9;

/// An autocorrelation of 1 would be a random walk, whose level cannot be known.
const PHI_MAX: f64 = 0.99;

/// Values below which a deviation is not estimated from them alone.
const SPREAD_VALUES: usize = 4;

/// The least that is believed of the scatter of so few values, as a share of their mean.
const SPREAD_MIN: f64 = 0.25;

/// How to forecast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// The mean of all values: the simplest, for a few of them.
    Mean,
    /// Each step as a season before: the baseline.
    SeasonalNaive(usize),
    /// AR(1) by moments.
    Ar1,
    /// Exponential smoothing with additive errors; trend and damping by `AICc`.
    Ets,
    /// Seasons and trend apart (MSTL), the trend by ETS.
    Mstl(Vec<usize>),
}

impl Method {
    /// All that a series of this length may be forecast by, the simplest first.
    pub fn candidates(len: usize, seasons: &[usize]) -> Vec<Self> {
        let mut all = vec![Self::Mean, Self::SeasonalNaive(1), Self::Ar1, Self::Ets];
        let repeated: Vec<usize> = seasons
            .iter()
            .copied()
            .filter(|season| *season > 1 && len >= 3 * season)
            .collect();
        all.extend(repeated.iter().copied().map(Self::SeasonalNaive));
        if !repeated.is_empty() {
            all.push(Self::Mstl(repeated));
        }
        all.retain(|method| len >= method.values_needed());
        all
    }

    /// The shortest past that it makes sense with.
    pub fn values_needed(&self) -> usize {
        match self {
            Self::Mean => 1,
            Self::SeasonalNaive(season) => 2 * season + 2,
            Self::Ar1 => 8,
            Self::Ets => 12,
            Self::Mstl(seasons) => 12.max(2 * seasons.iter().max().copied().unwrap_or(1) + 2),
        }
    }

    /// As in reports.
    pub fn name(&self) -> String {
        match self {
            Self::Mean => "mean".to_owned(),
            Self::SeasonalNaive(1) => "naive".to_owned(),
            Self::SeasonalNaive(season) => format!("seasonal naive ({season})"),
            Self::Ar1 => "AR(1)".to_owned(),
            Self::Ets => "ETS".to_owned(),
            Self::Mstl(seasons) => {
                let seasons: Vec<String> = seasons.iter().map(usize::to_string).collect();
                format!("MSTL ({})", seasons.join(", "))
            }
        }
    }

    /// The coming steps; `None` where the values do not suffice, or the method finds nothing.
    pub fn predict(&self, values: &[f64], horizon: usize) -> Option<Prediction> {
        if values.len() < self.values_needed() {
            return None;
        }
        let prediction = match self {
            Self::Mean => mean(values, horizon),
            Self::SeasonalNaive(season) => seasonal_naive(values, *season, horizon),
            Self::Ar1 => ar1(values, horizon),
            Self::Ets => with_scale(values, |scaled| {
                let fitted = ets()?.fit(scaled).ok()?;
                from_augurs(&fitted, scaled, horizon, 1)
            })?,
            Self::Mstl(seasons) => with_scale(values, |scaled| {
                let model = MSTLModel::new(seasons.clone(), ets()?.into_trend_model());
                let fitted = model.fit(scaled).ok()?;
                from_augurs(&fitted, scaled, horizon, 1)
            })?,
        };
        let is_number = prediction.mean.iter().all(|mean| mean.is_finite());
        (is_number && prediction.sigma.is_finite()).then_some(prediction)
    }
}

/// Additive errors alone are linear; seasons are MSTL's matter.
fn ets() -> Option<AutoETS> {
    AutoETS::new(1, "AZN").ok()
}

/// Predicts values around 1: single precision and the steps of optimisers are made for them.
fn with_scale(
    values: &[f64],
    predict: impl FnOnce(&[f64]) -> Option<Prediction>,
) -> Option<Prediction> {
    let scale = average(values).abs();
    if scale <= 0.0 {
        return None;
    }
    let scaled: Vec<f64> = values.iter().map(|value| value / scale).collect();
    Some(predict(&scaled)?.scaled(scale))
}

fn average(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / (values.len().max(1)) as f64
}

/// Σ(v − mean)².
fn squares(values: &[f64], mean: f64) -> f64 {
    values.iter().map(|value| (value - mean).powi(2)).sum()
}

fn mean(values: &[f64], horizon: usize) -> Prediction {
    let count = values.len() as f64;
    let level = average(values);
    let seen = (squares(values, level) / (count - 1.0).max(1.0)).sqrt();
    let sigma = match values.len() {
        // One value says nothing about scatter: as much as it is itself.
        1 => level.abs(),
        few if few < SPREAD_VALUES => seen.max(SPREAD_MIN * level.abs()),
        _ => seen,
    };
    Prediction {
        mean: vec![level; horizon],
        weights: vec![1.0],
        sigma,
        level_sigma: sigma / count.sqrt(),
        degrees: (count - 1.0).max(1.0),
    }
}

fn seasonal_naive(values: &[f64], season: usize, horizon: usize) -> Prediction {
    let last = values
        .get(values.len().saturating_sub(season)..)
        .unwrap_or_default();
    let changes: Vec<f64> = values
        .iter()
        .zip(values.iter().skip(season))
        .map(|(before, after)| after - before)
        .collect();
    let count = changes.len().max(1) as f64;
    let again = |lag: usize| {
        if lag.is_multiple_of(season) { 1.0 } else { 0.0 }
    };
    Prediction {
        mean: last.iter().copied().cycle().take(horizon).collect(),
        weights: (0..horizon).map(again).collect(),
        sigma: (squares(&changes, 0.0) / count).sqrt(),
        level_sigma: 0.0,
        degrees: count,
    }
}

/// y(h) = μ + φʰ(yₙ − μ) with φ the first autocorrelation; the variance of step h is s²(1 − φ²ʰ)/(1 − φ²).
fn ar1(values: &[f64], horizon: usize) -> Prediction {
    let count = values.len() as f64;
    let level = average(values);
    let around = squares(values, level);
    let lagged: f64 = values
        .iter()
        .zip(values.iter().skip(1))
        .map(|(before, after)| (before - level) * (after - level))
        .sum();
    let phi = if around > 0.0 {
        (lagged / around).clamp(-PHI_MAX, PHI_MAX)
    } else {
        0.0
    };
    let off = values.last().copied().unwrap_or(level) - level;
    let powers: Vec<f64> = std::iter::successors(Some(1.0), |power| Some(power * phi))
        .take(horizon + 1)
        .collect();
    Prediction {
        mean: powers
            .iter()
            .skip(1)
            .map(|power| level + power * off)
            .collect(),
        weights: powers.into_iter().take(horizon).collect(),
        sigma: (around / (count - 1.0).max(1.0) * (1.0 - phi * phi)).sqrt(),
        level_sigma: 0.0,
        degrees: (count - 2.0).max(1.0),
    }
}

fn from_augurs(
    fitted: &impl Predict,
    values: &[f64],
    horizon: usize,
    parameters: usize,
) -> Option<Prediction> {
    let mut forecast = Forecast::empty();
    fitted
        .predict_inplace(horizon, Some(ONE_SIGMA), &mut forecast)
        .ok()?;
    let intervals = forecast.intervals?;
    let variances: Vec<f64> = intervals
        .upper
        .iter()
        .zip(&intervals.lower)
        .map(|(upper, lower)| ((upper - lower) / 2.0).powi(2))
        .collect();
    let first = variances.first().copied()?;
    let mut before = 0.0;
    let weights = variances.iter().map(|variance| {
        let more = if first > 0.0 {
            ((variance - before) / first).max(0.0).sqrt()
        } else {
            1.0
        };
        before = *variance;
        more
    });
    Some(Prediction {
        weights: weights.collect(),
        mean: forecast.point,
        sigma: first.sqrt(),
        level_sigma: 0.0,
        // Two states and α at least.
        degrees: values.len().saturating_sub(parameters + 2).max(1) as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests of 28 days in thousands, less at weekends.
    const DAYS: [f64; 28] = [
        100.0, 103.0, 99.0, 104.0, 101.0, 60.0, 55.0, 104.0, 106.0, 103.0, 107.0, 105.0, 62.0,
        58.0, 106.0, 110.0, 108.0, 109.0, 111.0, 65.0, 60.0, 111.0, 112.0, 109.0, 114.0, 112.0,
        67.0, 61.0,
    ];

    fn near(a: f64, b: f64, tolerance: f64) {
        assert!((a - b).abs() <= tolerance * b.abs(), "{a} is not {b}");
    }

    /// statsmodels 0.15: φ by `acf`; mean and deviation of `SARIMAX(order=(1, 0, 0))` with this φ and σ² = γ₀(1 − φ²). Twenty
    /// thousand of its simulated weeks scatter by 75.25 in their sums.
    #[test]
    fn ar1_is_that_of_statsmodels() {
        let made = Method::Ar1.predict(&DAYS, 7).unwrap();
        near(made.weights[1], 0.340_367_996_572_944_3, 1e-12);
        for (step, mean, sd) in [
            (0, 82.532_273_25, 20.139_748_98),
            (1, 89.861_169_96, 21.274_386),
            (6, 93.625_581_7, 21.418_601_38),
        ] {
            near(made.mean[step], mean, 1e-8);
            near(made.step(step).sd, sd, 1e-7);
        }
        near(made.total(0..7).sd, 75.405_391_875_142_68, 1e-9);
        near(made.total(0..7).sd, 75.25, 0.005);
    }

    /// statsmodels 0.15, `ETSModel(error="add", trend="add")`, finds no change of level and trend either: 142.609 to 153.521,
    /// Σe² = 28.826. Its deviation divides that by n, augurs by n less the parameters.
    #[test]
    fn ets_goes_on_with_the_trend_that_statsmodels_finds() {
        let values = [
            100.0, 102.0, 101.0, 105.0, 107.0, 106.0, 110.0, 111.0, 115.0, 114.0, 117.0, 120.0,
            119.0, 123.0, 124.0, 128.0, 127.0, 130.0, 131.0, 135.0, 134.0, 138.0, 139.0, 141.0,
        ];
        let made = Method::Ets.predict(&values, 7).unwrap();
        near(made.mean[0], 142.608_696, 0.003);
        near(made.mean[6], 153.520_870, 0.006);
        let by_n = (28.825_926_f64 / 24.0).sqrt();
        assert!(
            made.sigma > by_n && made.sigma < 1.25 * by_n,
            "{}",
            made.sigma
        );
        // Without carried errors those of a week add by their squares; 2.906 in simulated weeks with σ by n.
        near(made.total(0..7).sd / made.sigma, 2.906_477 / by_n, 0.05);
    }

    #[test]
    fn seasons_come_again() {
        for method in [Method::SeasonalNaive(7), Method::Mstl(vec![7])] {
            let made = method.predict(&DAYS, 14).unwrap();
            for week in made.mean.chunks(7) {
                assert!(week[4] > 100.0 && week[5] < 75.0, "{method:?} {week:?}");
            }
        }
        // y₂₈ − y₂₁ and so on: 21 changes, of which the mean square is known.
        let naive = Method::SeasonalNaive(7).predict(&DAYS, 14).unwrap();
        let squares: f64 = (7..28).map(|day| (DAYS[day] - DAYS[day - 7]).powi(2)).sum();
        near(naive.sigma, (squares / 21.0).sqrt(), 1e-12);
        // The second week repeats the first one, its errors too.
        near(naive.step(7).sd, naive.sigma * 2.0_f64.sqrt(), 1e-12);
    }

    #[test]
    fn one_value_is_as_uncertain_as_it_is_large() {
        let made = Method::Mean.predict(&[0.8], 7).unwrap();
        let week = made.total(0..7);
        near(week.mean, 5.6, 1e-12);
        near(week.sd, 0.8 * 56.0_f64.sqrt(), 1e-12);
        near(week.degrees, 1.0, 1e-12);
        assert_eq!(Method::Ar1.predict(&[0.8; 7], 7), None);
    }

    #[test]
    fn what_never_changes_is_certain_and_breaks_no_method() {
        for method in Method::candidates(28, &[7]) {
            let Some(made) = method.predict(&[5.0; 28], 7) else {
                continue;
            };
            near(made.total(0..7).mean, 35.0, 1e-3);
            assert!(made.total(0..7).sd < 0.1, "{method:?}");
        }
        for method in Method::candidates(28, &[7]) {
            let made = method.predict(&[0.0; 28], 7);
            assert!(
                made.is_none_or(|made| made.mean[6].abs() < 1e-9),
                "{method:?}"
            );
        }
    }
}
