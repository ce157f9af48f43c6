//! Service level indicators and objectives.

use serde::{Deserialize, Serialize};

use crate::model::period::{Period, Shorthand};
use crate::model::series::ServiceKey;

/// Name of the counter of the good and bad events of each adopted objective.
pub const EVENTS_METRIC: &str = "slo_copilot_slo_events_total";

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
    /// An OpenSLO document of `objectives.files` or `--objectives`.
    File,
}

/// How good and bad are counted against the target (OpenSLO's `budgetingMethod`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "method", deny_unknown_fields)]
pub enum Budgeting {
    /// Good events over all events.
    #[default]
    Occurrences,
    /// Good slices of time over the slices that were expected.
    Timeslices {
        /// Ratio of good events that makes a slice good, above 0 and at most 1.
        slice_target: f64,
        /// Length of a slice.
        slice: Shorthand,
        /// What slices without events count as.
        #[serde(default)]
        empty: EmptySlices,
    },
    /// Mean of the slices' ratios of good events.
    RatioTimeslices {
        /// Length of a slice.
        slice: Shorthand,
        /// What slices without events count as.
        #[serde(default)]
        empty: EmptySlices,
    },
}

/// What a slice without events counts as; the specification leaves it open, so it is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmptySlices {
    /// As good: nobody was let down.
    #[default]
    Good,
    /// As bad: traffic that stays away is an outage.
    Bad,
    /// As not expected; the report says how much was measured.
    Excluded,
}

/// Membership in a composite, which is judged in place of its members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompositeMember {
    /// Name of the composite.
    pub name: String,
    /// OpenSLO's `compositeWeight`, above 0.
    pub weight: f64,
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
    pub window: Period,
    /// How good and bad are counted.
    #[serde(default)]
    pub budgeting: Budgeting,
    /// The composite that it is part of.
    #[serde(default)]
    pub composite: Option<CompositeMember>,
    /// The verdict is inconclusive while this objective is.
    pub required: bool,
    /// Weight in the score.
    pub weight: f64,
    /// Who adopted it.
    pub source: ObjectiveSource,
}

impl Objective {
    /// An objective of a whole service in any namespace and environment: 30 days, by occurrences, weight 1, from the
    /// configuration.
    pub fn new(name: &str, service: &str, sli: Sli, target: f64) -> Self {
        Self {
            name: name.to_owned(),
            service: service.to_owned(),
            namespace: None,
            environment: None,
            operation: None,
            sli,
            target,
            window: Period::DEFAULT,
            budgeting: Budgeting::Occurrences,
            composite: None,
            required: false,
            weight: 1.0,
            source: ObjectiveSource::Config,
        }
    }

    /// The error budget as a ratio: 1 − target.
    pub fn budget(&self) -> f64 {
        exact_ratio(1.0 - self.target)
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

/// A ratio as people write it, without the noise of binary arithmetic: 0.001 for 1 − 0.999. Still above 0 and below 1.
pub fn exact_ratio(ratio: f64) -> f64 {
    let rounded = (ratio * 1e12).round() / 1e12;
    if rounded > 0.0 && rounded < 1.0 {
        rounded
    } else {
        ratio
    }
}
