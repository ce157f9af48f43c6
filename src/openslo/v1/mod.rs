//! The seven kinds of OpenSLO v1, field by field as the specification names them.
//!
//! The types give the shape only. What the shape cannot say (exactly one of two fields, name rules, ranges) is up to
//! those who write and validate documents, which is why alternatives are optional fields instead of enums.
//! Unknown fields are errors. Durations are strings such as `30d`: a positive integer and one of `m h d w M Q Y`.

mod alert;

use std::collections::BTreeMap;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

pub use self::alert::{
    AlertConditionSpec, AlertNotificationTargetSpec, AlertPolicySpec, Condition, ConditionUse,
    PolicyUse, TargetUse,
};

/// `apiVersion` of every document.
pub const API_VERSION: &str = "openslo/v1";

/// Most characters of a `displayName`.
pub const DISPLAY_NAME_CHARS: usize = 63;

/// Most characters of a `description`.
pub const DESCRIPTION_CHARS: usize = 1050;

/// What a document is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Where metrics come from.
    DataSource,
    /// A service level objective.
    Slo,
    /// A service level indicator that stands alone.
    Sli,
    /// When to alert, and whom.
    AlertPolicy,
    /// One condition of an alert.
    AlertCondition,
    /// Who is alerted.
    AlertNotificationTarget,
    /// A service that objectives speak of.
    Service,
}

impl Kind {
    /// All seven.
    pub const ALL: [Self; 7] = [
        Self::DataSource,
        Self::Slo,
        Self::Sli,
        Self::AlertPolicy,
        Self::AlertCondition,
        Self::AlertNotificationTarget,
        Self::Service,
    ];

    /// As documents name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DataSource => "DataSource",
            Self::Slo => "SLO",
            Self::Sli => "SLI",
            Self::AlertPolicy => "AlertPolicy",
            Self::AlertCondition => "AlertCondition",
            Self::AlertNotificationTarget => "AlertNotificationTarget",
            Self::Service => "Service",
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One document: `apiVersion`, `kind`, `metadata`, `spec`.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Name and annotations.
    pub metadata: Metadata,
    /// What it says; decides `kind`.
    pub spec: Spec,
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut document = serializer.serialize_struct("Document", 4)?;
        document.serialize_field("apiVersion", API_VERSION)?;
        document.serialize_field("kind", self.spec.kind().name())?;
        document.serialize_field("metadata", &self.metadata)?;
        document.serialize_field("spec", &self.spec)?;
        document.end()
    }
}

/// `spec` of each kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Spec {
    /// A service that objectives speak of.
    Service(ServiceSpec),
    /// A service level objective.
    Slo(Box<SloSpec>),
    /// A service level indicator that stands alone.
    Sli(Box<SliSpec>),
    /// Where metrics come from.
    DataSource(DataSourceSpec),
    /// When to alert, and whom.
    AlertPolicy(Box<AlertPolicySpec>),
    /// One condition of an alert.
    AlertCondition(AlertConditionSpec),
    /// Who is alerted.
    AlertNotificationTarget(AlertNotificationTargetSpec),
}

impl Spec {
    /// The document's `kind`.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Service(_) => Kind::Service,
            Self::Slo(_) => Kind::Slo,
            Self::Sli(_) => Kind::Sli,
            Self::DataSource(_) => Kind::DataSource,
            Self::AlertPolicy(_) => Kind::AlertPolicy,
            Self::AlertCondition(_) => Kind::AlertCondition,
            Self::AlertNotificationTarget(_) => Kind::AlertNotificationTarget,
        }
    }
}

/// `metadata` of every document and of inline objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// RFC 1123 label, at most 63 characters, unique within its kind.
    pub name: String,
    /// At most 63 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, LabelValue>,
    /// Annotations; the prefix `openslo.com/` is reserved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The value of a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum LabelValue {
    /// One value.
    One(String),
    /// Several values.
    Many(Vec<String>),
}

/// `spec` of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSpec {
    /// At most 1050 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// `spec` of an SLO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SloSpec {
    /// At most 1050 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `metadata.name` of a Service.
    pub service: String,
    /// The indicator, inline; excludes `indicatorRef` and indicators of objectives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indicator: Option<Indicator>,
    /// `metadata.name` of an SLI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indicator_ref: Option<String>,
    /// Exactly one.
    pub time_window: Vec<TimeWindow>,
    /// How good and bad are counted.
    pub budgeting_method: BudgetingMethod,
    /// At least one.
    pub objectives: Vec<ObjectiveSpec>,
    /// Alert policies, by reference or inline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alert_policies: Vec<PolicyUse>,
}

/// An SLI inside an SLO: like the document, without `apiVersion` and `kind`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Indicator {
    /// Name and annotations.
    pub metadata: Metadata,
    /// What is measured.
    pub spec: SliSpec,
}

/// How an SLO counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum BudgetingMethod {
    /// Good events over all events.
    Occurrences,
    /// Good slices of time over all slices.
    Timeslices,
    /// Mean of the slices' ratios.
    RatioTimeslices,
}

/// The period of an SLO's budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimeWindow {
    /// For example `30d`.
    pub duration: String,
    /// Ends now; excludes `calendar`.
    #[serde(default)]
    pub is_rolling: bool,
    /// Where a calendar window starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<Calendar>,
}

/// Start of a calendar window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Calendar {
    /// `YYYY-MM-DD HH:MM:SS`, always quoted in YAML.
    pub start_time: String,
    /// IANA name.
    pub time_zone: String,
}

/// One objective of an SLO.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectiveSpec {
    /// At most 63 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Of threshold metrics only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub op: Option<Operator>,
    /// Of threshold metrics only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Ratio of good, 0 ≤ target < 1; excludes `targetPercent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    /// Percentage of good, 0 ≤ target < 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_percent: Option<f64>,
    /// Ratio that makes a slice good, for Timeslices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_slice_target: Option<f64>,
    /// Length of a slice, a duration, for both timeslice methods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_slice_window: Option<String>,
    /// The indicator of a member of a composite SLO, inline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indicator: Option<Indicator>,
    /// The indicator of a member of a composite SLO, `metadata.name` of an SLI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indicator_ref: Option<String>,
    /// Weight of a member of a composite SLO, above 0, by default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub composite_weight: Option<f64>,
}

/// How a value is compared with a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Operator {
    /// Above.
    Gt,
    /// At or above.
    Gte,
    /// Below.
    Lt,
    /// At or below.
    Lte,
}

/// `spec` of an SLI: exactly one of the two.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SliSpec {
    /// At most 1050 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A value that objectives compare with a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold_metric: Option<Metric>,
    /// Good or bad over all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio_metric: Option<RatioMetric>,
}

/// Good or bad over all: `total` with one of `good` and `bad`, or `raw` with `rawType`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RatioMetric {
    /// The metrics only grow.
    #[serde(default)]
    pub counter: bool,
    /// Good events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good: Option<Metric>,
    /// Bad events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad: Option<Metric>,
    /// All events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Metric>,
    /// What `raw` is a ratio of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_type: Option<RawType>,
    /// A ratio that the source computes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<Metric>,
}

/// What a raw ratio is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawType {
    /// Of good events.
    Success,
    /// Of bad events.
    Failure,
}

/// One metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metric {
    /// Where it comes from and how it is asked for.
    pub metric_source: MetricSource,
}

/// Where a metric comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricSource {
    /// `metadata.name` of a `DataSource`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric_source_ref: Option<String>,
    /// For example `Prometheus`; left out only with a reference.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub source_type: Option<String>,
    /// The question in the source's own language; at least one key.
    pub spec: BTreeMap<String, serde_json::Value>,
}

/// `spec` of a `DataSource`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DataSourceSpec {
    /// At most 1050 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// For example `Prometheus`.
    #[serde(rename = "type")]
    pub source_type: String,
    /// Free of form.
    pub connection_details: serde_json::Value,
}
