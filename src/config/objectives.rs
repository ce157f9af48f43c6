//! Section `objectives`: what is promised, and how suggestions are made.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::ConfigError;
use crate::evaluator::candidate;
use crate::model::period::Period;
use crate::model::slo::{Budgeting, CompositeMember, Objective, ObjectiveSource, Sli};
use crate::model::slug::{is_rfc1123_label, rfc1123_slug};

/// Section `objectives`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectivesConfig {
    /// `manual`: a person accepts candidates. `auto`: ready candidates are adopted once, then left alone. Default manual.
    pub adopt: Adopt,
    /// OpenSLO files, directories of them and patterns, whose annotated SLOs are adopted from the start. Default none.
    pub files: Vec<PathBuf>,
    /// Objectives that are adopted from the start. Default none.
    pub list: Vec<ObjectiveConfig>,
    /// How candidates are fitted.
    pub candidates: candidate::Settings,
}

/// Who adopts candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Adopt {
    /// A person.
    #[default]
    Manual,
    /// The program, once they are ready.
    Auto,
}

/// One objective of `objectives.list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectiveConfig {
    /// RFC 1123 label, unique.
    pub name: String,
    /// `service.name`.
    pub service: String,
    /// `service.namespace`; any if left out.
    #[serde(default)]
    pub namespace: Option<String>,
    /// `deployment.environment.name`; any if left out.
    #[serde(default)]
    pub environment: Option<String>,
    /// One operation, for example `GET /users/{id}`; the whole service if left out.
    #[serde(default)]
    pub operation: Option<String>,
    /// `availability` or `latency`.
    pub sli: SliKind,
    /// Latency: the slowest that is still good, for example 300ms.
    #[serde(default, with = "humantime_serde")]
    pub threshold: Option<Duration>,
    /// Ratio of good events, above 0 and below 1.
    pub target: f64,
    /// Period of the budget: whole days from 7d to 400d that end now, or `duration`, `start_time` and `time_zone` of one
    /// that the calendar starts. Default 30d.
    #[serde(default = "default_window")]
    pub window: Period,
    /// How good and bad are counted: `method` is occurrences, timeslices or `ratio_timeslices`. Default occurrences.
    #[serde(default)]
    pub budgeting: Budgeting,
    /// The composite that gates in place of this objective. Default none.
    #[serde(default)]
    pub composite: Option<CompositeMember>,
    /// The verdict is inconclusive while this objective is. Default false.
    #[serde(default)]
    pub required: bool,
    /// Weight in the score, above 0. Default 1.
    #[serde(default = "default_weight")]
    pub weight: f64,
}

/// What an objective of the configuration measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SliKind {
    /// Events without an error over all events.
    Availability,
    /// Fast events over all events without an error.
    Latency,
}

fn default_window() -> Period {
    Period::DEFAULT
}

fn default_weight() -> f64 {
    1.0
}

fn not_a_label(name: &str) -> String {
    format!(
        "`{name}` is not an RFC 1123 label (lower-case letters, digits and `-`, at most 63); use `{}`",
        rfc1123_slug(name)
    )
}

impl ObjectiveConfig {
    pub(super) fn objective(&self) -> Objective {
        Objective {
            name: self.name.clone(),
            service: self.service.clone(),
            namespace: self.namespace.clone(),
            environment: self.environment.clone(),
            operation: self.operation.clone(),
            sli: match (self.sli, self.threshold) {
                (SliKind::Latency, Some(threshold)) => Sli::Latency {
                    threshold_micros: u64::try_from(threshold.as_micros()).unwrap_or(u64::MAX),
                },
                (SliKind::Latency | SliKind::Availability, _) => Sli::Availability,
            },
            target: self.target,
            window: self.window.clone(),
            budgeting: self.budgeting,
            composite: self.composite.clone(),
            required: self.required,
            weight: self.weight,
            source: ObjectiveSource::Config,
        }
    }

    pub(super) fn check(&self, key: &str) -> Result<(), ConfigError> {
        let wrong = |field: &str, message: &str| {
            Err(ConfigError::Value {
                key: format!("{key}.{field}"),
                message: message.to_owned(),
            })
        };
        if !is_rfc1123_label(&self.name) {
            return wrong("name", &not_a_label(&self.name));
        }
        if !(self.target > 0.0 && self.target < 1.0) {
            return wrong(
                "target",
                "must be a ratio above 0 and below 1, for example 0.999",
            );
        }
        if let Err(message) = self.window.check() {
            return wrong("window", &message);
        }
        if let Err((field, message)) = self.budgeting.check() {
            return wrong(&format!("budgeting.{field}"), message);
        }
        if let Some(composite) = &self.composite {
            if !is_rfc1123_label(&composite.name) {
                return wrong("composite.name", &not_a_label(&composite.name));
            }
            if composite.weight <= 0.0 || !composite.weight.is_finite() {
                return wrong("composite.weight", "must be above 0");
            }
        }
        if self.weight <= 0.0 || !self.weight.is_finite() {
            return wrong("weight", "must be above 0");
        }
        match (self.sli, self.threshold) {
            (SliKind::Latency, None) => wrong(
                "threshold",
                "is missing; latency needs one, for example 300ms",
            ),
            (SliKind::Availability, Some(_)) => wrong("threshold", "is only for sli: latency"),
            (SliKind::Latency, Some(_)) | (SliKind::Availability, None) => Ok(()),
        }
    }
}
