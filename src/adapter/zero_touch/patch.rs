//! Patches: what changes of a manifest, and nothing else.
//!
//! `kubectl patch --type strategic` merges maps by their keys, and the lists `containers` and `env` by the names of their items, so
//! that a container keeps its image and all the rest. A JSON merge patch would replace these lists.

use serde_json::{Map, Value, json};

use super::model::{EnvSetting, WorkloadPlan};
use crate::adapter::kubernetes::Workload;

/// Lists of pods that are merged by the names of their items.
const NAMED_LISTS: [&str; 2] = ["containers", "env"];

/// The patch of a workload.
pub(super) fn patch(workload: &Workload, plan: &WorkloadPlan) -> Value {
    let mut template = Map::new();
    if !plan.annotations.is_empty() {
        let annotations = json!({"annotations": plan.annotations});
        template.insert("metadata".to_owned(), annotations);
    }
    let containers: Vec<Value> = plan
        .containers
        .iter()
        .filter(|container| !container.env.is_empty())
        .map(|container| {
            let env: Vec<Value> = container.env.iter().map(EnvSetting::manifest).collect();
            json!({"name": container.name, "env": env})
        })
        .collect();
    if !containers.is_empty() {
        template.insert("spec".to_owned(), json!({"containers": containers}));
    }
    let keys = workload.kind.template_path().iter().rev();
    keys.fold(Value::Object(template), |below, key| json!({*key: below}))
}

/// The patch with what it is for before it, so that other tools can tell, too.
pub(super) fn addressed(workload: &Workload, patch: &Value) -> Value {
    let mut whole = json!({
        "apiVersion": workload.manifest.get("apiVersion"),
        "kind": workload.kind,
        "metadata": {"name": workload.name, "namespace": workload.namespace},
    });
    merge(&mut whole, patch);
    whole
}

/// Merges a patch as the API server does with these fields.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Some(changes) = patch.as_object() else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(target) = target.as_object_mut() else {
        return;
    };
    for (key, change) in changes {
        let is_named = NAMED_LISTS.contains(&key.as_str());
        match (target.get_mut(key), change) {
            (Some(Value::Array(items)), Value::Array(changes)) if is_named => {
                merge_named(items, changes);
            }
            (Some(there), _) if there.is_object() => merge(there, change),
            _ => {
                target.insert(key.clone(), change.clone());
            }
        }
    }
}

fn merge_named(items: &mut Vec<Value>, changes: &[Value]) {
    for change in changes {
        let name = change.get("name");
        match items.iter_mut().find(|item| item.get("name") == name) {
            Some(item) => merge(item, change),
            None => items.push(change.clone()),
        }
    }
}
