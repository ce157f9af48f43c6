//! Kubernetes manifests as an inventory: the workloads of a system, their containers, and what leads to them.
//!
//! [`read_manifests`] takes texts of YAML and JSON as `kubectl` does, several documents and lists in one file included, and goes on
//! behind what is broken. Names live in namespaces: `cart` of `shop` and `cart` of `staging` are two. Pure.

mod container;
mod join;
mod parse;
mod pods;
mod read;
mod workload;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::openslo::tree::Path;

pub use container::{Container, EnvValue, EnvVar};
pub use join::Node;
pub use read::read_manifests;
pub use workload::{Volume, Workload, WorkloadKind};

/// The namespace of objects that name none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// What manifests hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inventory {
    /// What runs pods, in the order of the files. What belongs to another workload here (the pods of a Deployment in the
    /// output of `kubectl get`) is not listed again.
    pub workloads: Vec<Workload>,
    /// Services.
    pub services: Vec<KubeService>,
    /// Ingresses.
    pub ingresses: Vec<KubeIngress>,
    /// Namespaces with their annotations.
    pub namespaces: Vec<KubeNamespace>,
    /// The names of config maps.
    pub config_maps: Vec<ObjectName>,
    /// Objects of other kinds, by name.
    pub others: Vec<OtherObject>,
}

/// A name in its namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// Where an object was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The file as it was named, `-` for standard input.
    pub file: String,
    /// Its document in the file, from 0.
    pub document: u32,
    /// Where in the document: below `items` of a list, else the root.
    pub path: Path,
    /// The line on which the object begins, from 1.
    pub line: u32,
}

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeService {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The labels that its pods have, all of them; a Service without a selector leads nowhere by itself.
    pub selector: BTreeMap<String, String>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// The host that it is another name for.
    pub external_name: Option<String>,
    /// Where it was read.
    pub source: Source,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name.
    pub name: Option<String>,
    /// The port that others call.
    pub port: i32,
    /// The port of the container, as a number or by name; the same port if none is said.
    pub target: Option<String>,
}

/// An Ingress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeIngress {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The hosts that it answers for; none for all.
    pub hosts: Vec<String>,
    /// The Services of its namespace that it leads to, each once.
    pub services: Vec<String>,
}

/// A Namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeNamespace {
    /// Its name.
    pub name: String,
    /// Its annotations: those of the OpenTelemetry Operator hold for all its pods.
    pub annotations: BTreeMap<String, String>,
}

/// An object that is known by its name only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherObject {
    /// Its kind.
    pub kind: String,
    /// The version of its API, for example `opentelemetry.io/v1alpha1`.
    pub api_version: String,
    /// Its namespace; of objects of the whole cluster it means nothing.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether containers with images stand somewhere in it: it runs pods in a way that is not known here.
    pub runs_containers: bool,
}
