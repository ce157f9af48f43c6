//! The kinds that say when to alert, and whom.

use serde::{Deserialize, Serialize};

use crate::openslo::v1::{Metadata, Operator};

/// `spec` of an `AlertPolicy`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertPolicySpec {
    /// At most 1050 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Alert when there is no data.
    #[serde(default)]
    pub alert_when_no_data: bool,
    /// Alert when the condition ends.
    #[serde(default)]
    pub alert_when_resolved: bool,
    /// Alert when the condition begins.
    #[serde(default)]
    pub alert_when_breaching: bool,
    /// Exactly one.
    pub conditions: Vec<ConditionUse>,
    /// At least one.
    pub notification_targets: Vec<TargetUse>,
}

/// An alert policy of an SLO: a reference, or the document inline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyUse {
    /// `metadata.name` of an `AlertPolicy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_policy_ref: Option<String>,
    /// `AlertPolicy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name and annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// What it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<AlertPolicySpec>,
}

/// A condition of a policy: a reference, or the document inline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConditionUse {
    /// `metadata.name` of an `AlertCondition`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition_ref: Option<String>,
    /// `AlertCondition`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name and annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// What it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<AlertConditionSpec>,
}

/// A target of a policy: a reference, or the document inline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetUse {
    /// `metadata.name` of an `AlertNotificationTarget`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<String>,
    /// `AlertNotificationTarget`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name and annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// What it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<AlertNotificationTargetSpec>,
}

/// `spec` of an `AlertCondition`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertConditionSpec {
    /// At most 1050 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// For example `page`.
    pub severity: String,
    /// When it fires.
    pub condition: Condition,
}

/// When an alert fires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Condition {
    /// `burnrate`.
    pub kind: String,
    /// How the burn rate is compared.
    pub op: Operator,
    /// Burn rate.
    pub threshold: f64,
    /// Duration that the burn rate is taken over.
    pub lookback_window: String,
    /// Duration that it must last, by default `0m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_after: Option<String>,
}

/// `spec` of an `AlertNotificationTarget`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertNotificationTargetSpec {
    /// At most 1050 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// For example `slack`.
    pub target: String,
}
