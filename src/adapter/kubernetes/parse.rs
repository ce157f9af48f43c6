//! Objects as their types: what is kept of them, and what is wrong with their fields.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::container::ConfigData;
use super::read::Findings;
use super::{
    Inventory, KubeIngress, KubeNamespace, KubeService, ObjectName, OtherObject, ServicePort,
    Source, Workload, WorkloadKind,
};
use crate::model::finding::Level;
use crate::openslo::tree::{Node, Path};

/// The version of the API that has each kind which is read by its type.
const API_VERSIONS: [(&str, &str); 12] = [
    ("Deployment", "apps/v1"),
    ("StatefulSet", "apps/v1"),
    ("DaemonSet", "apps/v1"),
    ("ReplicaSet", "apps/v1"),
    ("Job", "batch/v1"),
    ("CronJob", "batch/v1"),
    ("Pod", "v1"),
    ("Service", "v1"),
    ("Namespace", "v1"),
    ("ConfigMap", "v1"),
    ("Ingress", "networking.k8s.io/v1"),
    ("Rollout", "argoproj.io/v1alpha1"),
];

/// Groups that had these kinds in versions which Kubernetes serves no more.
const FORMER_GROUPS: [&str; 4] = ["extensions", "apps", "batch", "networking.k8s.io"];

/// An object with a kind, a version and a name.
pub(super) struct RawObject {
    pub(super) source: Source,
    /// The document that holds it, for the lines of its fields.
    pub(super) root: Rc<Node>,
    pub(super) value: Value,
    pub(super) kind: String,
    pub(super) api_version: String,
    pub(super) name: ObjectName,
    pub(super) names_namespace: bool,
}

/// Kind, namespace and name.
pub(super) type Identity = (String, ObjectName);

impl RawObject {
    fn identity(&self) -> Identity {
        (self.kind.clone(), self.name.clone())
    }

    fn describe(&self) -> String {
        format!("{} {}/{}", self.kind, self.name.namespace, self.name.name)
    }
}

/// The inventory of these objects.
pub(super) fn inventory(objects: Vec<RawObject>, findings: &mut Findings) -> Inventory {
    let objects = last_of_each(objects, findings);
    let config = config_data(&objects, findings);
    let mut inventory = Inventory {
        config_maps: config.keys().cloned().collect(),
        ..Inventory::default()
    };
    let mut owners: Vec<Option<Identity>> = Vec::new();
    for object in objects {
        let mut object = Typed { object, findings };
        let kind = object.kind();
        if kind.is_some() && !object.is_named_well() {
            continue;
        }
        match kind {
            Some(Kind::Workload(kind)) => {
                if let Some((workload, owner)) = object.workload(kind, &config) {
                    inventory.workloads.push(workload);
                    owners.push(owner);
                }
            }
            Some(Kind::Service) => inventory.services.extend(object.service()),
            Some(Kind::Ingress) => inventory.ingresses.extend(object.ingress()),
            Some(Kind::Namespace) => inventory.namespaces.extend(object.namespace()),
            // Read before.
            Some(Kind::ConfigMap) => {}
            None => inventory.others.push(object.other()),
        }
    }
    let known: BTreeSet<Identity> = inventory.workloads.iter().map(identity).collect();
    let mut owners = owners.into_iter();
    inventory.workloads.retain(|_| {
        let owner = owners.next().flatten();
        owner.is_none_or(|owner| !known.contains(&owner))
    });
    inventory
}

/// Whether a list `containers` of what has an `image` stands anywhere in it.
fn runs_containers(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(key, own)| {
            let mut items = own.as_array().into_iter().flatten();
            let has_images = key == "containers"
                && items.any(|item| item.get("image").is_some_and(Value::is_string));
            has_images || runs_containers(own)
        }),
        Value::Array(items) => items.iter().any(runs_containers),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn identity(workload: &Workload) -> Identity {
    let name = ObjectName {
        namespace: workload.namespace.clone(),
        name: workload.name.clone(),
    };
    (workload.kind.label().to_owned(), name)
}

/// Of objects that stand there twice, the last: it is the one that `kubectl apply` leaves.
fn last_of_each(objects: Vec<RawObject>, findings: &mut Findings) -> Vec<RawObject> {
    let mut last = BTreeMap::new();
    for (at, object) in objects.iter().enumerate() {
        let group = object.api_version.split_once('/').map(|(group, _)| group);
        let key = (group.map(str::to_owned), object.identity());
        if last.insert(key, at).is_some() {
            let message = format!(
                "{} stands here twice; this one holds, as it is applied last: take one of them out",
                object.describe()
            );
            let rule = ("manifest-duplicate", Level::Warning);
            findings.add(rule, message, &object.source, None);
        }
    }
    let kept: BTreeSet<usize> = last.into_values().collect();
    let objects = objects.into_iter().enumerate();
    objects
        .filter(|(at, _)| kept.contains(at))
        .map(|(_, object)| object)
        .collect()
}

fn config_data(objects: &[RawObject], findings: &mut Findings) -> ConfigData {
    let mut data = ConfigData::new();
    for object in objects {
        if expected_version(object) != Some("v1") || object.kind != "ConfigMap" {
            continue;
        }
        if let Some(config_map) = typed::<ConfigMap>(object, "v1", findings) {
            data.insert(object.name.clone(), config_map.data.unwrap_or_default());
        }
    }
    data
}

/// The version of the API by which an object is read; none if its kind is not one of ours.
fn expected_version(object: &RawObject) -> Option<&'static str> {
    let mut known = API_VERSIONS.into_iter();
    let (_, version) = known.find(|(kind, _)| *kind == object.kind)?;
    let group = |version: &str| version.split_once('/').map(|(group, _)| group.to_owned());
    let is_former = group(&object.api_version)
        .is_some_and(|group| FORMER_GROUPS.contains(&group.as_str()))
        && group(version).is_some_and(|group| FORMER_GROUPS.contains(&group.as_str()));
    (object.api_version == version || is_former).then_some(version)
}

/// Reads an object by its type; what is wrong is found with its field.
fn typed<T: DeserializeOwned>(
    object: &RawObject,
    version: &str,
    findings: &mut Findings,
) -> Option<T> {
    let mut value = object.value.clone();
    if let Some(said) = value.get_mut("apiVersion") {
        *said = version.into();
    }
    match serde_path_to_error::deserialize(value) {
        Ok(read) => Some(read),
        Err(error) => {
            let mut path = Path::default();
            for segment in error.path() {
                path = match segment {
                    Segment::Seq { index } => path.index(*index),
                    Segment::Map { key } => path.key(key),
                    Segment::Enum { .. } | Segment::Unknown => path,
                };
            }
            let cause = error.inner().to_string();
            let remedy = if cause.contains("expected a string") {
                "; put the value in quotes"
            } else {
                ""
            };
            let message = format!("{} is left out: {cause}{remedy}", object.describe());
            let rule = ("manifest-field", Level::Error);
            let field = Some((&*object.root, &path));
            findings.add(rule, message, &object.source, field);
            None
        }
    }
}

/// How an object is read.
enum Kind {
    Workload(WorkloadKind),
    Service,
    Ingress,
    Namespace,
    ConfigMap,
}

/// An object on its way to its type.
pub(super) struct Typed<'a> {
    pub(super) object: RawObject,
    findings: &'a mut Findings,
}

impl Typed<'_> {
    fn kind(&mut self) -> Option<Kind> {
        let version = expected_version(&self.object)?;
        if self.object.api_version != version {
            let (kind, said) = (&self.object.kind, &self.object.api_version);
            let message = format!(
                "Kubernetes serves {kind} as {version}, no more as {said}: write {version}"
            );
            let path = Path::default().key("apiVersion");
            self.found(("manifest-version", Level::Warning), &message, &path);
        }
        let mut workloads = WorkloadKind::ALL.into_iter();
        Some(match self.object.kind.as_str() {
            "Service" => Kind::Service,
            "Ingress" => Kind::Ingress,
            "Namespace" => Kind::Namespace,
            "ConfigMap" => Kind::ConfigMap,
            other => Kind::Workload(workloads.find(|kind| kind.label() == other)?),
        })
    }

    /// Whether Kubernetes takes its names, which become parts of commands and of paths.
    fn is_named_well(&mut self) -> bool {
        let ObjectName { namespace, name } = self.object.name.clone();
        for (key, text) in [("name", name), ("namespace", namespace)] {
            let inner = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.')
            };
            // What `generateName` holds ends before what Kubernetes adds.
            let whole = text.trim_end_matches('-');
            let is_right = text.bytes().all(inner)
                && !whole.is_empty()
                && text.len() <= 253
                && !whole.starts_with(['-', '.'])
                && !whole.ends_with('.');
            if !is_right {
                let path = Path::default().key("metadata").key(key);
                let message = "lower-case letters, digits, `-` and `.` make a name, with a letter or digit at both ends; it is left out";
                self.found(("manifest-name", Level::Error), message, &path);
                return false;
            }
        }
        true
    }

    pub(super) fn typed<T: DeserializeOwned>(&mut self) -> Option<T> {
        let version = expected_version(&self.object)?;
        typed(&self.object, version, self.findings)
    }

    /// Adds what was found about a field.
    pub(super) fn found(&mut self, rule: (&str, Level), message: &str, path: &Path) {
        let message = format!("{}: {message}", self.object.describe());
        let field = Some((&*self.object.root, path));
        self.findings.add(rule, message, &self.object.source, field);
    }

    fn other(self) -> OtherObject {
        OtherObject {
            runs_containers: runs_containers(&self.object.value),
            kind: self.object.kind,
            api_version: self.object.api_version,
            namespace: self.object.name.namespace,
            name: self.object.name.name,
        }
    }

    fn namespace(mut self) -> Option<KubeNamespace> {
        let read: Namespace = self.typed()?;
        Some(KubeNamespace {
            name: self.object.name.name,
            annotations: read.metadata.annotations.unwrap_or_default(),
        })
    }

    fn service(mut self) -> Option<KubeService> {
        let spec = self.typed::<Service>()?.spec.unwrap_or_default();
        let ports = spec.ports.unwrap_or_default().into_iter();
        Some(KubeService {
            selector: spec.selector.unwrap_or_default(),
            ports: ports
                .map(|port| ServicePort {
                    name: port.name,
                    port: port.port,
                    target: port.target_port.map(|target| match target {
                        IntOrString::Int(number) => number.to_string(),
                        IntOrString::String(name) => name,
                    }),
                })
                .collect(),
            external_name: spec.external_name,
            namespace: self.object.name.namespace,
            name: self.object.name.name,
            source: self.object.source,
        })
    }

    fn ingress(mut self) -> Option<KubeIngress> {
        let spec = self.typed::<Ingress>()?.spec.unwrap_or_default();
        let rules = spec.rules.unwrap_or_default();
        let paths = rules.iter().filter_map(|rule| rule.http.as_ref());
        let backends = paths
            .flat_map(|http| &http.paths)
            .map(|path| &path.backend)
            .chain(&spec.default_backend);
        let mut services: Vec<String> = Vec::new();
        for service in backends.filter_map(|backend| backend.service.as_ref()) {
            if !services.contains(&service.name) {
                services.push(service.name.clone());
            }
        }
        Some(KubeIngress {
            namespace: self.object.name.namespace,
            name: self.object.name.name,
            hosts: rules.into_iter().filter_map(|rule| rule.host).collect(),
            services,
        })
    }
}
