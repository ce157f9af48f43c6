//! The volume to come, with its uncertainty, by the method that did best on the past.
//!
//! Every method forecasts from several instants of the past (rolling origins); the lowest pinball loss decides. Where what
//! happened then was further off than a method's own deviations say, those are widened by so much: a decomposition knows
//! its past too well.

mod methods;
mod prediction;

use crate::model::recommendation::BacktestScore;

pub use methods::Method;
pub use prediction::{Prediction, Total};

/// Origins of a back-test.
const ORIGINS_MAX: usize = 6;

/// The part of the past that is forecast at once in a back-test.
const TEST_SHARE: usize = 5;

/// Deviations are not widened further: what is further off is another regime.
const WIDENED_MAX: f64 = 4.0;

/// The quantiles whose loss decides.
const QUANTILES: [f64; 3] = [0.1, 0.5, 0.9];

/// Fewer values tell no method from another.
const CONTEST_VALUES: usize = 10;

/// What is forecast, and how.
#[derive(Clone, Debug)]
pub struct Forecasted {
    /// The steps to come.
    pub prediction: Prediction,
    /// The method.
    pub method: Method,
    /// How all methods did, the best first; empty without a back-test.
    pub backtest: Vec<BacktestScore>,
    /// How much further off the method was than it said.
    pub widened: f64,
    /// What people should know.
    pub notes: Vec<String>,
}

impl Forecasted {
    /// The same method on a past that went on since; `None` where it finds nothing.
    #[must_use]
    pub fn again(self, values: &[f64], horizon: usize) -> Option<Self> {
        let prediction = self.method.predict(values, horizon)?.widened(self.widened);
        Some(Self { prediction, ..self })
    }
}

/// Forecasts `horizon` steps of a series, the oldest value first. `None` without values. `step` is what one value is, as
/// in `day`.
pub fn forecast(
    values: &[f64],
    seasons: &[usize],
    horizon: usize,
    step: &str,
) -> Option<Forecasted> {
    let simplest = |notes: Vec<String>| {
        let method = Method::Mean;
        Some(Forecasted {
            prediction: method.predict(values, horizon)?,
            method,
            backtest: Vec::new(),
            widened: 1.0,
            notes,
        })
    };
    if values.len() < CONTEST_VALUES {
        return simplest(vec![format!(
            "only {} of history: the mean is forecast, with wide bounds; from {CONTEST_VALUES} {step}s on, methods are compared",
            counted(values.len(), step)
        )]);
    }
    // All methods are tried from the same instants, so each must be able to start from the earliest.
    let ahead = (values.len() / TEST_SHARE).clamp(1, horizon.max(1));
    let known_last = values.len() - ahead;
    let mut methods = Method::candidates(values.len(), seasons);
    methods.retain(|method| method.values_needed() <= known_last);
    let needed = methods.iter().map(Method::values_needed).max();
    let known_first = needed.unwrap_or(1).max(values.len().div_ceil(2));
    let stride = (known_last.saturating_sub(known_first) / (ORIGINS_MAX - 1)).max(1);
    let origins: Vec<usize> = (0..ORIGINS_MAX)
        .filter_map(|number| known_last.checked_sub(number * stride))
        .filter(|known| *known >= known_first)
        .collect();
    let mut contest: Vec<(Trial, Method)> = methods
        .into_iter()
        .filter_map(|method| Some((trial(&method, values, seasons, (&origins, ahead))?, method)))
        .collect();
    // Of equal ones the first, which is the simplest.
    contest.sort_by(|(a, _), (b, _)| a.score.pinball.total_cmp(&b.score.pinball));
    let backtest: Vec<BacktestScore> = contest
        .iter()
        .map(|(trial, _)| trial.score.clone())
        .collect();
    for (trial, method) in &contest {
        if let Some(prediction) = method.predict(values, horizon) {
            return Some(Forecasted {
                prediction: prediction.widened(trial.widened),
                method: method.clone(),
                backtest,
                widened: trial.widened,
                notes: season_notes(values.len(), seasons, step),
            });
        }
    }
    simplest(vec![
        "no method could be tried on the past: the mean is forecast".to_owned(),
    ])
}

fn counted(count: usize, step: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {step}{plural}")
}

/// Seasons that the past is too short for.
fn season_notes(len: usize, seasons: &[usize], step: &str) -> Vec<String> {
    let missing = seasons.iter().filter(|season| len < 3 * **season);
    missing
        .map(|season| {
            format!(
                "{} of history are less than three times {}: no such season is looked for yet",
                counted(len, step),
                counted(*season, step)
            )
        })
        .collect()
}

/// How one method did.
struct Trial {
    score: BacktestScore,
    /// How much further off it was than it said; 1 at least.
    widened: f64,
}

/// Forecasts `ahead` values after each of the lengths of the past in `origins`.
fn trial(
    method: &Method,
    values: &[f64],
    seasons: &[usize],
    (origins, ahead): (&[usize], usize),
) -> Option<Trial> {
    let level = values.iter().sum::<f64>() / values.len() as f64;
    let (mut tried, mut steps) = (0_u32, 0.0);
    let (mut absolute, mut pinball) = (0.0, 0.0);
    let (mut off_steps, mut off_totals) = (0.0, 0.0);
    for origin in origins {
        let (known, coming) = values.split_at_checked(*origin)?;
        let coming = coming.get(..ahead)?;
        let made = method.predict(known, ahead)?;
        tried += 1;
        for (step, value) in coming.iter().enumerate() {
            let own = made.step(step);
            steps += 1.0;
            absolute += (value - own.mean).abs();
            for quantile in QUANTILES {
                let over = value - own.quantile(quantile);
                pinball += (quantile * over).max((quantile - 1.0) * over) / QUANTILES.len() as f64;
            }
            off_steps += squared_deviations(value - own.mean, own.sd);
        }
        let total = made.total(0..ahead);
        let sum: f64 = coming.iter().sum();
        off_totals += squared_deviations(sum - total.mean, total.sd);
    }
    if tried == 0 {
        return None;
    }
    let widened = (off_steps / steps).max(off_totals / f64::from(tried));
    let scale = baseline_error(values, seasons);
    Some(Trial {
        score: BacktestScore {
            method: method.name(),
            mase: (scale > 0.0).then(|| absolute / steps / scale),
            pinball: pinball / steps / if level > 0.0 { level } else { 1.0 },
            origins: tried,
        },
        widened: widened.sqrt().clamp(1.0, WIDENED_MAX),
    })
}

fn squared_deviations(error: f64, sd: f64) -> f64 {
    if sd > 0.0 {
        (error / sd).powi(2)
    } else if error == 0.0 {
        0.0
    } else {
        WIDENED_MAX * WIDENED_MAX
    }
}

/// Mean absolute error of repeating the shortest season that the past holds, else the value before.
fn baseline_error(values: &[f64], seasons: &[usize]) -> f64 {
    let mut held = seasons
        .iter()
        .copied()
        .filter(|season| values.len() >= 3 * season);
    let season = held.next().unwrap_or(1);
    let changes = values.iter().zip(values.iter().skip(season));
    let count = values.len().saturating_sub(season).max(1);
    changes.map(|(a, b)| (a - b).abs()).sum::<f64>() / count as f64
}

#[cfg(test)]
mod tests;
