//! What simulated faults do to objectives.

use serde::{Deserialize, Serialize};

use crate::model::fault::{Fault, FaultTarget};

/// Fault cases, tried on recorded traces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FaultReport {
    /// Traces that were recorded.
    pub traces: u64,
    /// Their spans.
    pub spans: u64,
    /// Minutes from the first entry span to the last; the alerts see them again and again.
    pub minutes: u64,
    /// Objectives that judge slices of time or calendar periods as no rule of this simulation does.
    pub left_out: Vec<String>,
    /// The cases.
    pub results: Vec<CaseResult>,
}

/// A case and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CaseResult {
    /// The case.
    pub case: CaseFigures,
    /// Services whose figures the fault changed.
    pub services: Vec<ServiceChange>,
    /// Each objective that the fault could touch.
    pub evaluations: Vec<CaseEvaluation>,
    /// The first alerts of all objectives.
    pub noticed: Noticed,
    /// Something is wrong and no objective notices.
    pub is_blind_spot: bool,
    /// What was expected, and whether it came so; null for a case that only reports.
    pub expectation: Option<CaseExpectation>,
}

/// A case in figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CaseFigures {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: String,
    /// Factor on the time of the requests, 1 for none.
    pub latency_multiplier: f64,
    /// Share of the requests that fail beside those that always do.
    pub error_rate_delta: f64,
    /// Share of the requests that are not served, below 0.
    pub availability_delta: f64,
    /// Where the fault is.
    pub target: FaultTarget,
    /// What is wrong.
    pub fault: Fault,
    /// How long it lasts.
    pub lasts_secs: u64,
    /// Requests of the target in the traces; with none, nothing could be simulated.
    pub requests: u64,
}

/// The figures of a service without the fault and with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ServiceChange {
    /// Its name.
    pub service: String,
    /// As recorded.
    pub before: ServiceFigures,
    /// As simulated.
    pub after: ServiceFigures,
}

/// The entry spans of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ServiceFigures {
    /// How many.
    pub requests: u64,
    /// Share of them that failed.
    pub error_ratio: f64,
    /// Median duration in milliseconds, failed ones included.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
}

/// An objective during a fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CaseEvaluation {
    /// Name of the objective.
    pub slo: String,
    /// Its service.
    pub service: String,
    /// Its operation; null for the whole service.
    pub operation: Option<String>,
    /// `availability`, `error-rate` or `latency`.
    pub metric: String,
    /// Wanted ratio of good events.
    pub threshold: f64,
    /// Ratio of good events as recorded; null without events.
    pub healthy_value: Option<f64>,
    /// Ratio of good events with the fault; null without events.
    pub observed_value: Option<f64>,
    /// Whether the ratio with the fault is what is wanted. A case that breaks an objective is no failed test by itself.
    pub passed: bool,
    /// When its alerts fire.
    pub noticed: Noticed,
    /// For people.
    pub details: String,
}

/// What a case expects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CaseExpectation {
    /// As it is written.
    pub expect: String,
    /// The objective that must meet it; null for any.
    pub objective: Option<String>,
    /// Whether it came so.
    pub met: bool,
    /// What came, for people.
    pub text: String,
}

/// When the first alerts fire after the start of a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Noticed {
    /// The first page, in seconds; null if none fires while the fault lasts.
    pub page_secs: Option<u64>,
    /// The first ticket, in seconds.
    pub ticket_secs: Option<u64>,
}

/// A time after the start of a fault, for people.
pub fn time_text(secs: u64) -> String {
    let minutes = secs / 60;
    if minutes < 120 {
        format!("{minutes} min")
    } else {
        format!("{:.1} h", minutes as f64 / 60.0)
    }
}

impl Noticed {
    /// The sooner of both, for each severity.
    #[must_use]
    pub fn or_sooner(self, other: Self) -> Self {
        let sooner = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self {
            page_secs: sooner(self.page_secs, other.page_secs),
            ticket_secs: sooner(self.ticket_secs, other.ticket_secs),
        }
    }

    /// Whether nothing fires.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}
