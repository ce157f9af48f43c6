//! Suggested objectives and why they may be believed.

use serde::{Deserialize, Serialize};

use crate::model::series::ServiceKey;
use crate::model::slo::{Budgeting, Objective, ObjectiveSource, Sli};
use crate::model::window::Window;

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

/// Method of a latency bound that rests on too few events: the largest that was seen.
pub const LARGEST_SEEN: &str = "largest-seen";

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

impl Candidate {
    /// Whether there were enough events for the bound to carry the objective, whatever else is missing.
    pub fn is_supported(&self) -> bool {
        match self.sli {
            Sli::Availability => self.evidence.bound >= self.target,
            Sli::ErrorRate => self.evidence.bound >= 1.0 - self.target,
            Sli::Latency { .. } => self.evidence.method != LARGEST_SEEN,
        }
    }

    /// The objective that this candidate becomes when it is adopted.
    pub fn objective(&self, source: ObjectiveSource) -> Objective {
        Objective {
            name: self.name.clone(),
            service: self.service.name.to_string(),
            namespace: Some(self.service.namespace.to_string()),
            environment: Some(self.service.environment.to_string()),
            operation: self.operation.clone(),
            sli: self.sli,
            target: self.target,
            window: self.window.into(),
            budgeting: Budgeting::Occurrences,
            composite: None,
            required: false,
            weight: 1.0,
            source,
        }
    }
}
