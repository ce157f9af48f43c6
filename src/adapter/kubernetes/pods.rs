//! Objects that run pods, each kind with its way to the pod template.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Pod, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::Deserialize;

use super::container::{ConfigData, PodFacts};
use super::parse::{Identity, Typed};
use super::{Container, ObjectName, Volume, Workload, WorkloadKind};
use crate::model::finding::Level;
use crate::openslo::tree::Path;

/// What all kinds of workload have.
struct Parts {
    metadata: ObjectMeta,
    replicas: Option<i32>,
    selector: Option<LabelSelector>,
    template: PodTemplateSpec,
}

/// What a Rollout of Argo has in common with a Deployment.
#[derive(Deserialize)]
struct Rollout {
    metadata: ObjectMeta,
    spec: RolloutSpec,
}

#[derive(Deserialize)]
struct RolloutSpec {
    replicas: Option<i32>,
    selector: Option<LabelSelector>,
    template: Option<PodTemplateSpec>,
    #[serde(rename = "workloadRef")]
    workload: Option<WorkloadReference>,
}

#[derive(Deserialize)]
struct WorkloadReference {
    kind: String,
    name: String,
}

impl Typed<'_> {
    /// The workload, and what controls it.
    pub(super) fn workload(
        mut self,
        kind: WorkloadKind,
        config: &ConfigData,
    ) -> Option<(Workload, Option<Identity>)> {
        let parts = self.parts(kind)?;
        let keys = kind.template_path().iter();
        let template = keys.fold(Path::default(), |path, key| path.key(key));
        let metadata = parts.template.metadata.unwrap_or_default();
        let pod_labels = metadata.labels.unwrap_or_default();
        let pod_annotations = metadata.annotations.unwrap_or_default();
        let spec = parts.template.spec.unwrap_or_default();
        if spec.containers.is_empty() {
            let message =
                "it has no containers, which Kubernetes refuses; it is listed without any";
            self.found(("manifest-containers", Level::Warning), message, &template);
        }
        let wanted = parts.selector.and_then(|selector| selector.match_labels);
        let wanted = wanted.unwrap_or_default();
        if let Some((key, value)) = wanted
            .iter()
            .find(|(key, value)| pod_labels.get(*key) != Some(value))
        {
            let message = format!(
                "its selector asks for the label {key}: {value}, which its pods do not have; Kubernetes refuses that: \
                 give both the same labels"
            );
            let path = Path::default().key("spec").key("selector");
            self.found(("manifest-selector", Level::Warning), &message, &path);
        }
        let facts = PodFacts {
            namespace: &self.object.name.namespace,
            labels: &pod_labels,
            annotations: &pod_annotations,
            config,
        };
        let containers = |list: Vec<k8s_openapi::api::core::v1::Container>| -> Vec<Container> {
            let list = list.into_iter();
            list.map(|container| Container::of(container, &facts))
                .collect()
        };
        let owner = controller(&parts.metadata, &self.object.name.namespace);
        let runs_windows = asks_for_windows(&spec);
        let volumes = spec.volumes.unwrap_or_default().into_iter();
        let workload = Workload {
            kind,
            containers: containers(spec.containers),
            init_containers: containers(spec.init_containers.unwrap_or_default()),
            names_namespace: self.object.names_namespace,
            namespace: self.object.name.namespace,
            name: self.object.name.name,
            replicas: parts.replicas,
            labels: parts.metadata.labels.unwrap_or_default(),
            pod_labels,
            pod_annotations,
            volumes: volumes
                .map(|volume| Volume {
                    name: volume.name,
                    host_path: volume.host_path.map(|host| host.path),
                })
                .collect(),
            host_network: spec.host_network.unwrap_or_default(),
            runs_windows,
            source: self.object.source,
            manifest: self.object.value,
        };
        Some((workload, owner))
    }

    fn parts(&mut self, kind: WorkloadKind) -> Option<Parts> {
        let (metadata, replicas, selector, template) = match kind {
            WorkloadKind::Deployment => {
                let Deployment { metadata, spec, .. } = self.typed()?;
                let spec = spec.unwrap_or_default();
                let replicas = spec.replicas.or(Some(1));
                (metadata, replicas, Some(spec.selector), spec.template)
            }
            WorkloadKind::StatefulSet => {
                let StatefulSet { metadata, spec, .. } = self.typed()?;
                let spec = spec.unwrap_or_default();
                let replicas = spec.replicas.or(Some(1));
                (metadata, replicas, Some(spec.selector), spec.template)
            }
            WorkloadKind::DaemonSet => {
                let DaemonSet { metadata, spec, .. } = self.typed()?;
                let spec = spec.unwrap_or_default();
                (metadata, None, Some(spec.selector), spec.template)
            }
            WorkloadKind::ReplicaSet => {
                let ReplicaSet { metadata, spec, .. } = self.typed()?;
                let spec = spec.unwrap_or_default();
                let template = spec.template.unwrap_or_default();
                let replicas = spec.replicas.or(Some(1));
                (metadata, replicas, Some(spec.selector), template)
            }
            WorkloadKind::Job => {
                let Job { metadata, spec, .. } = self.typed()?;
                (metadata, None, None, spec.unwrap_or_default().template)
            }
            WorkloadKind::CronJob => {
                let CronJob { metadata, spec, .. } = self.typed()?;
                let job = spec.unwrap_or_default().job_template.spec;
                (metadata, None, None, job.unwrap_or_default().template)
            }
            WorkloadKind::Pod => {
                let Pod { metadata, spec, .. } = self.typed()?;
                let template = PodTemplateSpec {
                    metadata: Some(metadata.clone()),
                    spec,
                };
                (metadata, Some(1), None, template)
            }
            WorkloadKind::Rollout => return self.rollout(),
        };
        Some(Parts {
            metadata,
            replicas,
            selector,
            template,
        })
    }

    fn rollout(&mut self) -> Option<Parts> {
        let Rollout { metadata, spec } = self.typed()?;
        if let Some(WorkloadReference { kind, name }) = spec.workload {
            let message = format!("its pods are those of {kind} {name}, which counts in its place");
            let path = Path::default().key("spec").key("workloadRef");
            self.found(("manifest-reference", Level::Note), &message, &path);
            return None;
        }
        Some(Parts {
            metadata,
            replicas: Some(spec.replicas.unwrap_or(1)),
            selector: spec.selector,
            template: spec.template.unwrap_or_default(),
        })
    }
}

/// By the system that the pods name, or by the label of nodes that they select.
fn asks_for_windows(spec: &PodSpec) -> bool {
    let named = spec.os.as_ref().map(|os| os.name.as_str());
    let mut selected = spec.node_selector.iter().flatten();
    named == Some("windows")
        || selected.any(|(label, value)| label.ends_with("kubernetes.io/os") && value == "windows")
}

fn controller(metadata: &ObjectMeta, namespace: &str) -> Option<Identity> {
    let mut owners = metadata.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.controller == Some(true))?;
    let name = ObjectName {
        namespace: namespace.to_owned(),
        name: owner.name.clone(),
    };
    Some((owner.kind.clone(), name))
}
