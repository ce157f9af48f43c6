//! Error budget policies: what is agreed on for the time when a budget burns too fast, and which of it applies now.

use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::model::slug::is_rfc1123_label;
use crate::model::window::Window;

/// The action that stops releases. It outranks every other one.
pub const FREEZE: &str = "freeze";
/// The action that asks people to look before each release. Only a freeze outranks it.
pub const REVIEW: &str = "review";

/// The name of the policy that holds where nothing else is said.
pub const DEFAULT_POLICY: &str = "default";
/// The name that means no policy at all.
pub const NO_POLICY: &str = "none";
/// What a policy is called that stands in an objective itself.
pub const INLINE_POLICY: &str = "inline";

/// One step of a policy: over its threshold, its action applies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PolicyStep {
    /// The window that is looked at.
    #[serde(default)]
    pub window: StepWindow,
    /// The step applies from this burn rate on; 1 spends the budget exactly within its period.
    #[serde(default)]
    pub burn_rate: Option<f64>,
    /// The step applies while less than this share of the period's budget is left.
    #[serde(default)]
    pub remaining: Option<f64>,
    /// What is to be done, in a word: `freeze`, `review`, or one of your own.
    pub action: String,
    /// The same in a sentence.
    #[serde(default)]
    pub message: String,
}

/// The window of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum StepWindow {
    /// The whole period of the objective's budget.
    #[default]
    #[serde(rename = "period")]
    Period,
    /// A window that is held, such as `7d`.
    #[serde(untagged)]
    Held(Window),
}

impl PolicyStep {
    /// Whether it can be applied; if not, the field that is wrong and what to write instead.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if !is_rfc1123_label(&self.action) {
            let remedy = "must be a word of lower-case letters, digits and `-`, for example freeze";
            return Err(("action", remedy));
        }
        match (self.burn_rate, self.remaining) {
            (Some(rate), None) if rate > 0.0 && rate.is_finite() => Ok(()),
            (Some(_), None) => Err(("burn_rate", "must be above 0, for example 1.5")),
            (None, Some(_)) if self.window != StepWindow::Period => {
                Err(("window", "must be period, or be left out, for `remaining`"))
            }
            (None, Some(ratio)) if ratio > 0.0 && ratio <= 1.0 => Ok(()),
            (None, Some(_)) => Err((
                "remaining",
                "must be a ratio above 0 and at most 1, for example 0.25",
            )),
            (None, None) => Err(("burn_rate", "is missing; give either this or `remaining`")),
            (Some(_), Some(_)) => Err(("remaining", "cannot stand beside `burn_rate`")),
        }
    }
}

/// Which policy an objective has: one by its name, or steps of its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum PolicyChoice {
    /// `default`, `none`, or one of `objectives.policies`.
    Named(String),
    /// The steps themselves, the strictest first.
    Steps(Vec<PolicyStep>),
}

impl Default for PolicyChoice {
    fn default() -> Self {
        Self::Named(DEFAULT_POLICY.to_owned())
    }
}

/// By hand, since an untagged enum does not say which key of a step is wrong.
impl<'de> Deserialize<'de> for PolicyChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ChoiceVisitor;

        impl<'de> Visitor<'de> for ChoiceVisitor {
            type Value = PolicyChoice;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the name of a policy, or a list of its steps")
            }

            fn visit_str<E>(self, name: &str) -> Result<PolicyChoice, E> {
                Ok(PolicyChoice::Named(name.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, steps: A) -> Result<PolicyChoice, A::Error> {
                let steps = Vec::deserialize(SeqAccessDeserializer::new(steps))?;
                Ok(PolicyChoice::Steps(steps))
            }
        }

        deserializer.deserialize_any(ChoiceVisitor)
    }
}

/// What a step's threshold is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum StepMeasure {
    /// Burn rate over the window, which must not reach the limit.
    BurnRate,
    /// Share of the budget that is left, which must not fall below the limit.
    Remaining,
}

/// One step against what was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PolicyStepStatus {
    /// What is to be done.
    pub action: String,
    /// The same in a sentence; empty if the policy says none.
    pub message: String,
    /// The window, as a label; the period's own label for the whole of it.
    pub window: String,
    /// What is compared.
    pub measure: StepMeasure,
    /// What was measured; null without events.
    pub observed: Option<f64>,
    /// The threshold.
    pub limit: f64,
    /// Whether the step applies now. It does not on one bad event, nor on fewer events than a budget allows a bad one of.
    pub applies: bool,
}

/// An objective's policy against what was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PolicyStatus {
    /// Its name; `inline` where it stands in the objective.
    pub name: String,
    /// Its steps, in their order.
    pub steps: Vec<PolicyStepStatus>,
    /// The action of the strictest step that applies; null if none does.
    pub action: Option<String>,
}
