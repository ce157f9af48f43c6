//! Section `objectives`: what is promised, and how suggestions are made.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::ConfigError;
use crate::evaluator::candidate;
use crate::evaluator::error_budget_policy::Policies;
use crate::model::budget_policy::{
    DEFAULT_POLICY, INLINE_POLICY, NO_POLICY, PolicyChoice, PolicyStep,
};
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
    /// Error budget policies by name, which objectives may choose. Default none.
    pub policies: BTreeMap<String, Vec<PolicyStep>>,
    /// The error budget policy of objectives that choose none: `default`, `none`, one of `policies`, or a list of steps.
    pub policy: PolicyChoice,
    /// Actions of policies that make a verdict fail. Default none: an action alone changes no verdict.
    pub fail_on_actions: Vec<String>,
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
    /// The error budget policy: `default`, `none`, one of `objectives.policies`, or a list of steps. Default that of all.
    #[serde(default)]
    pub policy: Option<PolicyChoice>,
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

impl ObjectivesConfig {
    /// The error budget policies.
    pub fn policies(&self) -> Policies {
        Policies {
            global: self.policy.clone(),
            named: self.policies.clone(),
            fail_on_actions: self.fail_on_actions.clone(),
        }
    }

    /// Policies must be known where they are chosen, and their steps be possible.
    pub(super) fn check_policies(&self) -> Result<(), ConfigError> {
        let reserved = [DEFAULT_POLICY, NO_POLICY, INLINE_POLICY];
        for (name, steps) in &self.policies {
            let key = format!("objectives.policies.{name}");
            if !is_rfc1123_label(name) || reserved.contains(&name.as_str()) {
                let message = format!(
                    "the name of a policy must be an RFC 1123 label and none of {}",
                    reserved.join(", ")
                );
                return Err(ConfigError::Value { key, message });
            }
            check_steps(&key, steps)?;
        }
        self.check_choice("objectives.policy", &self.policy)?;
        for (at, objective) in self.list.iter().enumerate() {
            if let Some(choice) = &objective.policy {
                self.check_choice(&format!("objectives.list[{at}].policy"), choice)?;
            }
        }
        Ok(())
    }

    fn check_choice(&self, key: &str, choice: &PolicyChoice) -> Result<(), ConfigError> {
        match choice {
            PolicyChoice::Steps(steps) => check_steps(key, steps),
            PolicyChoice::Named(name) if self.policies().knows(name) => Ok(()),
            PolicyChoice::Named(name) => Err(ConfigError::Value {
                key: key.to_owned(),
                message: unknown_policy(name, &self.policies),
            }),
        }
    }
}

/// Says which policies there are.
pub(crate) fn unknown_policy(name: &str, policies: &BTreeMap<String, Vec<PolicyStep>>) -> String {
    let mut known = vec![DEFAULT_POLICY, NO_POLICY];
    known.extend(policies.keys().map(String::as_str));
    format!(
        "there is no policy `{name}`; define it in objectives.policies, or use one of: {}",
        known.join(", ")
    )
}

fn check_steps(key: &str, steps: &[PolicyStep]) -> Result<(), ConfigError> {
    for (at, step) in steps.iter().enumerate() {
        if let Err((field, message)) = step.check() {
            return Err(ConfigError::Value {
                key: format!("{key}[{at}].{field}"),
                message: message.to_owned(),
            });
        }
    }
    Ok(())
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
            policy: self.policy.clone(),
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
