//! Containers with their environment, as far as the manifests tell it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;

use super::ObjectName;

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its image; empty if the manifest leaves it to others.
    pub image: String,
    /// What runs instead of the image's entry point.
    pub command: Vec<String>,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its ports.
    pub ports: Vec<i32>,
    /// Its environment: config maps of the same files first, as Kubernetes has it, then its own variables.
    pub env: Vec<EnvVar>,
    /// Paths at which volumes are mounted, by the volume's name.
    pub mounts: Vec<(String, String)>,
    /// Of an init container: whether it stays beside the others.
    pub restarts_always: bool,
}

/// A variable of the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: EnvValue,
}

/// What a variable holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvValue {
    /// This text, references to other variables and to labels put in.
    Text(String),
    /// What the manifests do not tell, for example a key of a Secret.
    Unknown,
}

/// The data of the config maps that were read.
pub(super) type ConfigData = BTreeMap<ObjectName, BTreeMap<String, String>>;

/// What a pod knows about itself.
pub(super) struct PodFacts<'a> {
    pub(super) namespace: &'a str,
    pub(super) labels: &'a BTreeMap<String, String>,
    pub(super) annotations: &'a BTreeMap<String, String>,
    pub(super) config: &'a ConfigData,
}

impl Container {
    /// The value of a variable, if the manifests tell it. The last of several of one name holds.
    pub fn env(&self, name: &str) -> Option<&str> {
        let mut variables = self.env.iter().rev();
        match &variables.find(|variable| variable.name == name)?.value {
            EnvValue::Text(text) => Some(text),
            EnvValue::Unknown => None,
        }
    }

    /// Whether a variable is set, also to what the manifests do not tell.
    pub fn has_env(&self, name: &str) -> bool {
        self.env.iter().any(|variable| variable.name == name)
    }

    /// `service.name` as the environment has it: `OTEL_SERVICE_NAME`, else `OTEL_RESOURCE_ATTRIBUTES`.
    pub fn service_name(&self) -> Option<String> {
        let own = self.env("OTEL_SERVICE_NAME").map(str::to_owned);
        let own = own.filter(|name| !name.is_empty());
        own.or_else(|| self.resource_attribute("service.name"))
    }

    /// An attribute of `OTEL_RESOURCE_ATTRIBUTES`.
    pub fn resource_attribute(&self, key: &str) -> Option<String> {
        let attributes = self.env("OTEL_RESOURCE_ATTRIBUTES")?;
        let pairs = attributes
            .split(',')
            .filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.rev().find(|(name, _)| name.trim() == key)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    pub(super) fn of(container: core::Container, pod: &PodFacts<'_>) -> Self {
        let ports = container.ports.unwrap_or_default();
        let mounts = container.volume_mounts.unwrap_or_default();
        Self {
            env: environment(
                container.env_from.unwrap_or_default(),
                container.env.unwrap_or_default(),
                pod,
            ),
            name: container.name,
            image: container.image.unwrap_or_default(),
            command: container.command.unwrap_or_default(),
            args: container.args.unwrap_or_default(),
            ports: ports.into_iter().map(|port| port.container_port).collect(),
            mounts: mounts
                .into_iter()
                .map(|mount| (mount.name, mount.mount_path))
                .collect(),
            restarts_always: container.restart_policy.as_deref() == Some("Always"),
        }
    }
}

fn environment(
    from: Vec<core::EnvFromSource>,
    own: Vec<core::EnvVar>,
    pod: &PodFacts<'_>,
) -> Vec<EnvVar> {
    let mut environment = Vec::new();
    for source in from {
        let prefix = source.prefix.unwrap_or_default();
        let Some(data) = source
            .config_map_ref
            .and_then(|config_map| pod.config_map(&config_map.name))
        else {
            continue;
        };
        environment.extend(data.iter().map(|(key, value)| EnvVar {
            name: format!("{prefix}{key}"),
            value: EnvValue::Text(value.clone()),
        }));
    }
    for variable in own {
        let value = match variable.value_from {
            None => Some(expanded(&variable.value.unwrap_or_default(), &environment)),
            Some(source) => pod.value(&source),
        };
        environment.push(EnvVar {
            name: variable.name,
            value: value.map_or(EnvValue::Unknown, EnvValue::Text),
        });
    }
    environment
}

impl PodFacts<'_> {
    fn config_map(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.config.get(&ObjectName {
            namespace: self.namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    fn value(&self, source: &core::EnvVarSource) -> Option<String> {
        if let Some(key) = &source.config_map_key_ref {
            return self.config_map(&key.name)?.get(&key.key).cloned();
        }
        let path = source.field_ref.as_ref()?.field_path.as_str();
        let member = |prefix: &str| {
            let key = path.strip_prefix(prefix)?.strip_suffix(']')?;
            Some(key.trim_matches(['\'', '"']))
        };
        if path == "metadata.namespace" {
            Some(self.namespace.to_owned())
        } else if let Some(label) = member("metadata.labels[") {
            self.labels.get(label).cloned()
        } else if let Some(annotation) = member("metadata.annotations[") {
            self.annotations.get(annotation).cloned()
        } else {
            None
        }
    }
}

/// Puts `$(NAME)` of earlier variables in; `$$(NAME)` stands for itself, and so does what is not known.
fn expanded(text: &str, earlier: &[EnvVar]) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
            continue;
        }
        let reference = rest
            .strip_prefix('(')
            .and_then(|inner| inner.split_once(')'));
        let known = reference.and_then(|(name, after)| {
            let variable = earlier
                .iter()
                .rev()
                .find(|variable| variable.name == name)?;
            match &variable.value {
                EnvValue::Text(text) => Some((text, after)),
                EnvValue::Unknown => None,
            }
        });
        match known {
            Some((value, after)) => {
                result.push_str(value);
                rest = after;
            }
            None => result.push('$'),
        }
    }
    result.push_str(rest);
    result
}
