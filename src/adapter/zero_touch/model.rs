//! What a plan says: `plan.json`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::language::{Evidence, Language};
use crate::adapter::kubernetes::WorkloadKind;

/// Version of the form of `plan.json`.
pub const SCHEMA_VERSION: &str = "slo-copilot/plan/v1";

/// Where Collectors run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One Deployment behind a Service.
    Gateway,
    /// One on every node.
    Daemonset,
    /// One in every pod.
    Sidecar,
}

/// As on the command line.
impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Gateway => "gateway",
            Self::Daemonset => "daemonset",
            Self::Sidecar => "sidecar",
        })
    }
}

/// What becomes of a container or a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The Operator injects an agent of its language.
    Instrument,
    /// Its own SDK is told where to send.
    Configure,
    /// It is instrumented already, and left alone.
    Already,
    /// It could be instrumented once somebody does what the reason says.
    Blocked,
    /// It is an application that nothing is injected into.
    Unsupported,
    /// Nothing tells what it is.
    Unknown,
    /// A database, a queue or another store: its clients tell about it.
    Database,
    /// A proxy, an agent, or a part of the cluster.
    Infrastructure,
}

/// As people read it.
impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Instrument => "instrument",
            Self::Configure => "configure",
            Self::Already => "already",
            Self::Blocked => "blocked",
            Self::Unsupported => "unsupported",
            Self::Unknown => "unknown",
            Self::Database => "database",
            Self::Infrastructure => "infrastructure",
        })
    }
}

/// How a system comes to be traced, and what of it cannot be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Plan {
    /// Always `slo-copilot/plan/v1`.
    pub schema_version: String,
    /// Where Collectors run.
    pub mode: Mode,
    /// Why there.
    pub mode_reasons: Vec<String>,
    /// Whether the OpenTelemetry Operator injects agents; else applications get environment variables only.
    pub uses_operator: bool,
    /// Where applications, Collectors and slo-copilot send.
    pub route: Route,
    /// How many workloads there are of each outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Every workload of the manifests.
    pub workloads: Vec<WorkloadPlan>,
    /// The files beside `plan.json`, in the order in which they are applied.
    pub files: Vec<PlannedFile>,
    /// The commands that carry it out, in order.
    pub steps: Vec<Step>,
    /// What one should know before.
    pub notes: Vec<String>,
}

/// The way of the spans.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Route {
    /// Namespace of the Collector and of the `Instrumentation`.
    pub namespace: String,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` of the applications: OTLP over HTTP.
    pub application_endpoint: String,
    /// Where Collectors send everything: OTLP over gRPC.
    pub slo_copilot: String,
    /// Whether slo-copilot is one of the files.
    pub deploys_slo_copilot: bool,
    /// Where Collectors send the sample.
    pub backend: Option<String>,
    /// How that sample is taken.
    pub backend_sampling: Option<String>,
    /// The remote sampler that applications ask.
    pub remote_sampler: Option<String>,
}

/// What becomes of a workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WorkloadPlan {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The `service.name` that its telemetry will have.
    pub service_name: String,
    /// The best outcome of its containers.
    pub outcome: Outcome,
    /// Why, and what to do.
    pub reason: String,
    /// Its containers.
    pub containers: Vec<ContainerPlan>,
    /// Annotations that its pod template gets.
    pub annotations: BTreeMap<String, String>,
    /// The file that holds its patch.
    pub patch: Option<String>,
    /// The file and line of its manifest.
    pub source: String,
}

/// What becomes of a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ContainerPlan {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Its language, if it is known well enough.
    pub language: Option<Language>,
    /// From 0 to 1.
    pub confidence: f64,
    /// The hints.
    pub evidence: Vec<Evidence>,
    /// What becomes of it.
    pub outcome: Outcome,
    /// Why, and what to do.
    pub reason: String,
    /// Environment variables that it gets.
    pub env: Vec<EnvSetting>,
}

/// An environment variable that a container gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EnvSetting {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Option<String>,
    /// The field of the pod that it is taken from instead.
    pub field: Option<String>,
}

/// A file of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PlannedFile {
    /// Its path below the directory of the plan.
    pub path: String,
    /// What it is.
    pub holds: String,
}

/// A command of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Step {
    /// What it does.
    pub does: String,
    /// The program and its arguments, run in the directory of the plan.
    pub command: Vec<String>,
}

impl EnvSetting {
    /// A variable with this value.
    pub(super) fn text(name: &str, value: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            value: Some(value.into()),
            field: None,
        }
    }

    /// A variable that is taken from a field of the pod.
    pub(super) fn field(name: &str, field: &str) -> Self {
        Self {
            name: name.to_owned(),
            value: None,
            field: Some(field.to_owned()),
        }
    }

    /// As in manifests.
    pub(super) fn manifest(&self) -> Value {
        match &self.field {
            Some(field) => {
                json!({"name": self.name, "valueFrom": {"fieldRef": {"fieldPath": field}}})
            }
            None => json!({"name": self.name, "value": self.value}),
        }
    }
}

impl WorkloadPlan {
    /// Whether its manifest changes.
    pub(super) fn changes(&self) -> bool {
        !self.annotations.is_empty() || self.containers.iter().any(|found| !found.env.is_empty())
    }
}

impl Plan {
    /// Whether there is an application that is traced, or will be.
    pub fn traces_something(&self) -> bool {
        [Outcome::Instrument, Outcome::Configure, Outcome::Already]
            .iter()
            .any(|outcome| self.outcomes.contains_key(outcome))
    }
}
