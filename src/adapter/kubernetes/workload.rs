//! What runs pods, whatever its kind.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Container, Source};

/// A kind of object that runs pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum WorkloadKind {
    /// `apps/v1`.
    Deployment,
    /// `apps/v1`.
    StatefulSet,
    /// `apps/v1`.
    DaemonSet,
    /// `apps/v1`.
    ReplicaSet,
    /// `batch/v1`.
    Job,
    /// `batch/v1`.
    CronJob,
    /// `v1`.
    Pod,
    /// Of Argo Rollouts, `argoproj.io/v1alpha1`.
    Rollout,
}

/// Something that runs pods of one template.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its namespace.
    pub namespace: String,
    /// Whether the manifest names that namespace itself.
    pub names_namespace: bool,
    /// Its name.
    pub name: String,
    /// How many pods are asked for; 1 if nothing is said, none where their number follows from something else.
    pub replicas: Option<i32>,
    /// Labels of the workload itself. Services select by [`Self::pod_labels`].
    pub labels: BTreeMap<String, String>,
    /// Labels of its pods.
    pub pod_labels: BTreeMap<String, String>,
    /// Annotations of its pods.
    pub pod_annotations: BTreeMap<String, String>,
    /// Its containers.
    pub containers: Vec<Container>,
    /// Its init containers, those that stay (native sidecars) included.
    pub init_containers: Vec<Container>,
    /// Its volumes.
    pub volumes: Vec<Volume>,
    /// Whether its pods use the network of their node.
    pub host_network: bool,
    /// Whether its pods ask for nodes of Windows.
    pub runs_windows: bool,
    /// Where it was read.
    pub source: Source,
    /// The whole manifest.
    pub manifest: Value,
}

/// A volume of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// The path on the node, of such volumes.
    pub host_path: Option<String>,
}

/// The annotation that says a resource attribute, less the attribute's key.
const RESOURCE_ANNOTATION: &str = "resource.opentelemetry.io/";

/// The labels that may name a service, in the order of the semantic conventions.
const NAME_LABELS: [&str; 2] = ["app.kubernetes.io/instance", "app.kubernetes.io/name"];

impl WorkloadKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::ReplicaSet,
        Self::Job,
        Self::CronJob,
        Self::Pod,
        Self::Rollout,
    ];

    /// As in manifests.
    pub fn label(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::ReplicaSet => "ReplicaSet",
            Self::Job => "Job",
            Self::CronJob => "CronJob",
            Self::Pod => "Pod",
            Self::Rollout => "Rollout",
        }
    }

    /// The keys that lead from the root of a manifest to the pod template; a Pod is its own.
    pub fn template_path(self) -> &'static [&'static str] {
        match self {
            Self::Pod => &[],
            Self::CronJob => &["spec", "jobTemplate", "spec", "template"],
            Self::Deployment
            | Self::StatefulSet
            | Self::DaemonSet
            | Self::ReplicaSet
            | Self::Job
            | Self::Rollout => &["spec", "template"],
        }
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.label())
    }
}

/// As `kubectl` names it: `Deployment shop/cart`.
impl fmt::Display for Workload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

impl Workload {
    /// The `service.name` that its telemetry has, as far as manifests tell it: the first of [`Self::service_names`].
    pub fn service_name(&self) -> String {
        let names = self.service_names();
        names
            .into_iter()
            .next()
            .unwrap_or_else(|| self.name.clone())
    }

    /// The names under which its telemetry may come, likeliest first, each once:
    ///
    /// 1. `OTEL_SERVICE_NAME`, then `service.name` of `OTEL_RESOURCE_ATTRIBUTES`, of each container: the SDKs and the
    ///    OpenTelemetry Operator leave what is set there;
    /// 2. the annotation `resource.opentelemetry.io/service.name` of its pods, which the Operator reads next;
    /// 3. the name of the workload, which the Operator takes unless its `useLabelsForResourceAttributes` is on;
    /// 4. the labels `app.kubernetes.io/instance` and `app.kubernetes.io/name`, which it takes before 3 if it is on.
    pub fn service_names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let from_env = self.containers.iter().filter_map(Container::service_name);
        let from_labels = NAME_LABELS
            .iter()
            .filter_map(|label| self.pod_labels.get(*label).cloned());
        let all = from_env
            .chain(self.resource_annotation("service.name"))
            .chain([self.name.clone()])
            .chain(from_labels);
        for name in all {
            if !name.is_empty() && !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The `service.namespace` that its telemetry has: as its environment or its annotation says, else the Kubernetes
    /// namespace, which the Operator takes.
    pub fn service_namespace(&self) -> String {
        let mut from_env = self
            .containers
            .iter()
            .filter_map(|container| container.resource_attribute("service.namespace"));
        from_env
            .next()
            .or_else(|| self.resource_annotation("service.namespace"))
            .unwrap_or_else(|| self.namespace.clone())
    }

    fn resource_annotation(&self, key: &str) -> Option<String> {
        let annotation = format!("{RESOURCE_ANNOTATION}{key}");
        self.pod_annotations.get(&annotation).cloned()
    }
}
