//! Suggested objectives and why they may be believed.

use serde::{Deserialize, Serialize};

use crate::model::report::Severity;
use crate::model::series::ServiceKey;
use crate::model::slo::{Budgeting, Objective, ObjectiveSource, Sli};
use crate::model::window::Window;

/// How far a candidate has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CandidateState {
    /// Shown, but its evidence is not enough to gate on.
    Provisional,
    /// Its evidence is enough.
    Ready,
    /// An objective stands for it.
    Adopted,
    /// A person refused it, or its own evidence does: then `evidence.rejection` says why.
    Rejected,
}

impl CandidateState {
    /// As in JSON and for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Provisional => "provisional",
            Self::Ready => "ready",
            Self::Adopted => "adopted",
            Self::Rejected => "rejected",
        }
    }
}

/// Method of a latency bound that rests on too few events: the largest that was seen.
pub const LARGEST_SEEN: &str = "largest-seen";

/// Why a candidate may be believed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
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
    /// What is known about sampling: `full`, a ratio, `tracestate`, `assumed` (by the share that senders were asked for) or
    /// `unknown`.
    pub sampling: String,
    /// Incidents seen: runs of five-minute slices whose error ratio is above the candidate's budget.
    pub incidents: u64,
    /// Incidents a day that the history cannot exclude, χ²₀.₉₅,₂₍ₖ₊₁₎/2D.
    pub incidents_per_day_upper: f64,
    /// Since when the indicator has had its present level; null where no change of level was found. Older events
    /// are not used.
    pub regime_since: Option<jiff::Timestamp>,
    /// What changed at `regime_since`, in words.
    pub regime_change: Option<String>,
    /// The hour of the week that does worse than the others, if one does week after week. For information.
    pub worst_hour: Option<WorstHour>,
    /// The steps of the ladder that were weighed against each other, the tightest first. Empty where the data carry
    /// no step yet.
    pub considered: Vec<Considered>,
    /// How the objective would have done on the part of the history that came after the part it was fitted on.
    pub replay: Option<Replay>,
    /// Why there is no replay, in words.
    pub replay_missing: Option<String>,
    /// Why the evidence itself refuses the candidate. Null in a rejected candidate that a person refused.
    pub rejection: Option<String>,
}

/// An hour of the week, UTC, whose ratio of good events is below that of the whole history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WorstHour {
    /// For example `Monday 09:00 UTC`.
    pub hour: String,
    /// Its events.
    pub events: u64,
    /// Its ratio of good events.
    pub attained_ratio: f64,
    /// The lower bound of that ratio, at the evidence's confidence.
    pub bound: f64,
}

/// What was found of one step of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum StepVerdict {
    /// The data do not carry it, or promising it would page without end, or one incident would decide.
    TooTight,
    /// It can be promised. The candidate proposes the tightest of these.
    Stands,
    /// It would say next to nothing: hardly any of its budget is used, and a tighter step stands.
    TooLoose,
}

/// One step of the ladder and what was found of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Considered {
    /// What is measured, with the threshold of this step.
    pub sli: Sli,
    /// Ratio of good events.
    pub target: f64,
    /// What was found.
    pub verdict: StepVerdict,
    /// Why, in words.
    pub reason: String,
}

/// What an objective would have done over a part of the history, by the alert rules that `serve` applies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Outcome {
    /// What is measured, with its threshold.
    pub sli: Sli,
    /// Ratio of good events that was asked for.
    pub target: f64,
    /// Start of that part.
    pub from: jiff::Timestamp,
    /// Its length in seconds.
    pub secs: u64,
    /// Events seen in it.
    pub events: u64,
    /// Bad events seen in it.
    pub bad_events: u64,
    /// Ratio of good events, by weight.
    pub attained_ratio: f64,
    /// Whether that ratio reached the target.
    pub attained: bool,
    /// Share of the error budget that was used: over the worst period in that part, or over all of it where it is
    /// shorter than the period. Above 1 when overspent.
    pub budget_consumed_ratio: f64,
    /// Pages: how often a rule of that severity began to fire. What happened is not known, so that no page is called
    /// false.
    pub pages: u64,
    /// Pages in thirty days that the count does not exclude: the upper bound of their rate, χ²₁₋α,₂₍ₖ₊₁₎/2D.
    pub pages_per_30d_upper: f64,
    /// Tickets, counted as pages are.
    pub tickets: u64,
    /// Tickets in thirty days that the count does not exclude.
    pub tickets_per_30d_upper: f64,
}

/// What became of a simulated fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FaultRecall {
    /// `outage`, `partial` or `slow_burn`.
    pub fault: String,
    /// Share of the good events that it turns bad.
    pub error_ratio: f64,
    /// How long it lasts, in seconds.
    pub duration_secs: u64,
    /// The severity that was waited for.
    pub severity: Severity,
    /// Times that the fault was put into the hold-out, those left out at which that severity was firing already.
    pub trials: u64,
    /// Times that the severity fired before the fault was over.
    pub detected: u64,
    /// Share of the trials that were detected; null without trials.
    pub recall: Option<f64>,
    /// Median of the seconds from the fault's start to the alert, whole minutes; null where nothing was detected.
    pub median_secs: Option<u64>,
    /// The longest of them.
    pub worst_secs: Option<u64>,
    /// The theory for steady traffic without other errors: the least k·B·W/e over the rules of that severity. Null
    /// where none of them fires before such a fault is over.
    pub expected_secs: Option<f64>,
}

/// A time-ordered hold-out: fitted on the past, replayed minute by minute on what followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Replay {
    /// Seconds before the hold-out, which the fit was made on.
    pub fitted_secs: u64,
    /// The step that the data before the hold-out suggest by themselves, its target and threshold; null if none.
    pub fitted: Option<Step>,
    /// The candidate's own step over the hold-out.
    pub outcome: Outcome,
    /// One step of the ladder tighter, over the hold-out; null at the ladder's end.
    pub tighter: Option<Outcome>,
    /// One step of the ladder looser, over the hold-out; null at the ladder's end.
    pub looser: Option<Outcome>,
    /// Simulated faults in the hold-out.
    pub faults: Vec<FaultRecall>,
    /// Walk-forward: each of the last weeks with the step that was fitted on what came before it. Empty with less
    /// than four weeks of history.
    pub weeks: Vec<Outcome>,
}

/// A step of the ladder: an indicator with its threshold, and a target.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Step {
    /// What is measured, with its threshold.
    pub sli: Sli,
    /// Ratio of good events.
    pub target: f64,
}

/// A suggested objective with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Candidate {
    /// RFC 1123 label, also the name of the objective once adopted.
    pub name: String,
    /// The service.
    pub service: ServiceKey,
    /// One operation; null means the whole service.
    pub operation: Option<String>,
    /// What is measured.
    pub sli: Sli,
    /// Ratio of good events; for an error rate the highest ratio of bad events.
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

    /// Whether an objective stands for it, whatever both are called and promise.
    pub fn is_covered_by(&self, objective: &Objective) -> bool {
        let kind = |sli: Sli| match sli {
            Sli::Availability | Sli::ErrorRate => Sli::Availability.slug(),
            Sli::Latency { .. } => sli.slug(),
        };
        objective.source != ObjectiveSource::Fitted
            && objective.selects(&self.service)
            && objective.operation == self.operation
            && kind(objective.sli) == kind(self.sli)
    }

    /// Why it had better not be accepted, in words; `None` for one whose evidence is enough.
    pub fn doubt(&self) -> Option<String> {
        match (&self.evidence.rejection, self.missing.as_slice()) {
            (Some(rejection), _) => Some(format!("rejected by its evidence: {rejection}")),
            (None, []) => None,
            (None, missing) => Some(format!("provisional, missing {}", missing.join("; "))),
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
            policy: None,
            required: false,
            weight: 1.0,
            source,
        }
    }
}
