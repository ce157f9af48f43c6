//! Service level indicators, objectives and candidates.

use serde::{Deserialize, Serialize};

use crate::model::series::ServiceKey;
use crate::model::window::Window;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Sli {
    /// Events without an error over all events.
    Availability,
    /// The complement of availability; reported, never counted a second time.
    ErrorRate,
    /// Events without an error and at most this slow, over all events without an error.
    Latency {
        /// Threshold in microseconds, an edge of the latency ladder when we chose it.
        threshold_micros: u64,
    },
}

impl Sli {
    /// As in names and annotations: `availability`, `error-rate`, `latency`.
    pub fn slug(self) -> &'static str {
        match self {
            Self::Availability => "availability",
            Self::ErrorRate => "error-rate",
            Self::Latency { .. } => "latency",
        }
    }
}

/// Who adopted an objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectiveSource {
    /// Written in the configuration.
    Config,
    /// A candidate that a person accepted.
    Accepted,
    /// A ready candidate that `objectives.adopt: auto` adopted.
    Auto,
}

/// An adopted objective. It never moves by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// RFC 1123 label, unique.
    pub name: String,
    /// The service's name.
    pub service: String,
    /// `service.namespace`; `None` means any.
    pub namespace: Option<String>,
    /// `deployment.environment.name`; `None` means any.
    pub environment: Option<String>,
    /// One operation; `None` means the whole service.
    pub operation: Option<String>,
    /// What is measured.
    pub sli: Sli,
    /// Wanted ratio of good events, 0 < target < 1.
    pub target: f64,
    /// Period of the budget.
    pub window: Window,
    /// The verdict is inconclusive while this objective is.
    pub required: bool,
    /// Weight in the score.
    pub weight: f64,
    /// Who adopted it.
    pub source: ObjectiveSource,
}

impl Objective {
    /// The error budget as a ratio: 1 − target.
    pub fn budget(&self) -> f64 {
        1.0 - self.target
    }

    /// Whether the objective speaks of this service.
    pub fn selects(&self, service: &ServiceKey) -> bool {
        *self.service == *service.name
            && self
                .namespace
                .as_deref()
                .is_none_or(|wanted| *wanted == *service.namespace)
            && self
                .environment
                .as_deref()
                .is_none_or(|wanted| *wanted == *service.environment)
    }
}

/// How far a candidate has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CandidateState {
    /// Shown, but its evidence is not enough to gate on.
    Provisional,
    /// Its evidence is enough.
    Ready,
    /// An objective stands for it.
    Adopted,
    /// A person refused it.
    Rejected,
}

/// Why a candidate may be believed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Events seen.
    pub events: u64,
    /// Effective sample size after weights and over-dispersion.
    pub effective_events: f64,
    /// Over-dispersion of the bad events between slices, φ ≥ 1.
    pub over_dispersion: f64,
    /// Slices of five minutes that had traffic.
    pub slices_with_traffic: u64,
    /// Seconds between the first and the last event of the data used.
    pub history_secs: u64,
    /// Share of the slices of that history that had traffic.
    pub coverage_ratio: f64,
    /// How the bound was computed.
    pub method: String,
    /// One-sided confidence of the bound.
    pub confidence: f64,
    /// Point estimate: the quantile in seconds, or the ratio of good events.
    pub measured: f64,
    /// The bound before it was snapped: seconds, or the ratio of good events.
    pub bound: f64,
    /// What is known about sampling: `full`, a ratio, `tracestate` or `unknown`.
    pub sampling: String,
    /// Incidents seen: runs of five-minute slices whose error ratio is above the candidate's budget.
    pub incidents: u64,
    /// Incidents a day that the history cannot exclude, χ²₀.₉₅,₂₍ₖ₊₁₎/2D.
    pub incidents_per_day_upper: f64,
}

/// A suggested objective with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// RFC 1123 label, also the name of the objective once adopted.
    pub name: String,
    /// The service.
    pub service: ServiceKey,
    /// One operation; `None` means the whole service.
    pub operation: Option<String>,
    /// What is measured.
    pub sli: Sli,
    /// Ratio of good events; for [`Sli::ErrorRate`] the highest ratio of bad events.
    pub target: f64,
    /// Period of the budget.
    pub window: Window,
    /// How far it has come.
    pub state: CandidateState,
    /// What is missing until it is ready, in words.
    pub missing: Vec<String>,
    /// Why it may be believed.
    pub evidence: Evidence,
}
