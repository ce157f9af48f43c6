//! Rule files as data: what Prometheus reads, and what the Prometheus Operator wraps around it.

use std::collections::BTreeMap;

use serde::Serialize;

/// Labels or annotations.
pub(super) type Labels = BTreeMap<String, String>;

/// `groups` of a rule file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Groups {
    /// In the order in which they are written.
    pub(super) groups: Vec<Group>,
}

/// Rules that are evaluated one after the other, so that each sees what those above it recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Group {
    pub(super) name: String,
    /// How often, where it is not left to Prometheus' own setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) interval: Option<String>,
    pub(super) rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Rule {
    Recording(Recording),
    Alert(Alert),
}

impl Rule {
    pub(super) fn expr(&self) -> &str {
        match self {
            Self::Recording(rule) => &rule.expr,
            Self::Alert(rule) => &rule.expr,
        }
    }
}

/// A series that is computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Recording {
    pub(super) record: String,
    pub(super) expr: String,
    pub(super) labels: Labels,
}

/// A condition that somebody is told about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Alert {
    #[serde(rename = "alert")]
    pub(super) name: String,
    pub(super) expr: String,
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub(super) hold: Option<String>,
    pub(super) labels: Labels,
    pub(super) annotations: Labels,
}

/// `PrometheusRule` of the Prometheus Operator.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PrometheusRule<'a> {
    pub(super) api_version: &'static str,
    pub(super) kind: &'static str,
    pub(super) metadata: ObjectMeta<'a>,
    pub(super) spec: &'a Groups,
}

/// `metadata` of a Kubernetes object.
#[derive(Debug, Serialize)]
pub(super) struct ObjectMeta<'a> {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) labels: &'a Labels,
}
