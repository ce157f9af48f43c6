//! Whether the telemetry budget will hold, and what to do about sampling.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::sampling::SamplingPlan;

/// What is to change about sampling. More sampling means that more is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SamplingAction {
    /// Keep less.
    DecreaseSampling,
    /// Nothing.
    #[default]
    MaintainSampling,
    /// Keep more.
    IncreaseSampling,
}

impl SamplingAction {
    /// As in JSON.
    pub fn label(self) -> &'static str {
        match self {
            Self::DecreaseSampling => "decrease_sampling",
            Self::MaintainSampling => "maintain_sampling",
            Self::IncreaseSampling => "increase_sampling",
        }
    }
}

/// The telemetry of the coming days against its budget.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TelemetryRecommendation {
    /// What to do.
    pub sampling_action: SamplingAction,
    /// The probability to go over the budget is higher than `adapters.sampling.alert_probability`.
    pub budget_alert: bool,
    /// That the days of the forecast together exceed their budget, were everything kept; null without a budget or a
    /// forecast.
    pub probability_over_budget: Option<f64>,
    /// Of one day, in `unit`; null where none is set.
    pub budget_per_day: Option<f64>,
    /// `spans`, `bytes`, `money`, or `budgets`: multiples of the budget of a day.
    pub unit: String,
    /// The coming days, were everything kept; empty as long as nothing is known.
    pub forecast: Vec<ForecastDay>,
    /// How it was made: the best in the back-test, or the simplest; null without a forecast.
    pub method: Option<String>,
    /// How the methods did on what is known already.
    pub backtest: Vec<BacktestScore>,
    /// For people.
    pub notes: Vec<String>,
    /// The share of all spans that the plan keeps, if everybody follows it; null without a plan.
    pub kept_ratio: Option<f64>,
    /// The shares that are to be sampled; null where nobody asked for any.
    pub plan: Option<Arc<SamplingPlan>>,
}

/// One day of a forecast.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ForecastDay {
    /// 1 for the 24 hours from now on.
    pub day: u32,
    /// Expected volume.
    pub mean: f64,
    /// It is higher with a probability of 90 %.
    pub lower: f64,
    /// It is lower with a probability of 90 %.
    pub upper: f64,
    /// That this day exceeds the budget of a day; null without a budget.
    pub probability_over_budget: Option<f64>,
}

/// How a method would have forecast the past, from several days or hours of it (rolling origins).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BacktestScore {
    /// Its name.
    pub method: String,
    /// Mean absolute error over that of repeating the season before; below 1 is better than that. Null where the past
    /// repeats itself exactly.
    pub mase: Option<f64>,
    /// Mean loss of its 10 %, 50 % and 90 % quantiles, over the mean volume; the lowest one decides.
    pub pinball: f64,
    /// Instants from which it forecast.
    pub origins: u32,
}
