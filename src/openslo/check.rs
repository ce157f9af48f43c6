//! The rules of OpenSLO v1 that a document from [`super::write`] could break, for tests.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::openslo::v1::{Indicator, Metadata, Metric, ServiceSpec, SloSpec};

/// The documents in a YAML stream.
pub(crate) fn parse_yaml(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).expect("the stream is YAML")
}

/// The documents in a JSON bundle.
pub(crate) fn parse_bundle(json: &str) -> Vec<Value> {
    serde_json::from_str(json).expect("the bundle is a JSON array")
}

/// Every broken rule, as `<kind> <name>: <rule>`.
pub(crate) fn violations(documents: &[Value]) -> Vec<String> {
    let mut found = Vec::new();
    let mut names = BTreeSet::new();
    let services: BTreeSet<String> = documents
        .iter()
        .filter(|document| document["kind"] == "Service")
        .map(|document| document["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    for document in documents {
        let (kind, name) = (&document["kind"], &document["metadata"]["name"]);
        let mut broken = Broken(Vec::new());
        check_envelope(document, &mut broken);
        broken.unless(
            names.insert((kind.to_string(), name.to_string())),
            "kind and name are unique",
        );
        match kind.as_str() {
            Some("Service") => {
                let spec: ServiceSpec = serde_json::from_value(document["spec"].clone()).unwrap();
                check_description(spec.description.as_deref(), &mut broken);
            }
            Some("SLO") => {
                let spec: SloSpec = serde_json::from_value(document["spec"].clone()).unwrap();
                check_slo(&spec, &services, &mut broken);
            }
            _ => broken.unless(false, "a kind that is written"),
        }
        found.extend(broken.0.iter().map(|rule| format!("{kind} {name}: {rule}")));
    }
    found
}

struct Broken(Vec<&'static str>);

impl Broken {
    fn unless(&mut self, holds: bool, rule: &'static str) {
        if !holds {
            self.0.push(rule);
        }
    }
}

fn check_envelope(document: &Value, broken: &mut Broken) {
    let keys: Vec<&String> = document.as_object().unwrap().keys().collect();
    broken.unless(
        keys.len() == 4 && document["spec"].is_object(),
        "apiVersion, kind, metadata and spec, nothing else",
    );
    broken.unless(document["apiVersion"] == "openslo/v1", "apiVersion");
    let metadata: Metadata = serde_json::from_value(document["metadata"].clone()).unwrap();
    check_metadata(&metadata, broken);
}

fn check_metadata(metadata: &Metadata, broken: &mut Broken) {
    broken.unless(
        is_rfc_1123_label(&metadata.name),
        "name is an RFC 1123 label",
    );
    let display_name = metadata.display_name.as_deref().unwrap_or_default();
    broken.unless(
        display_name.chars().count() <= 63,
        "displayName <= 63 runes",
    );
    broken.unless(
        metadata
            .annotations
            .keys()
            .all(|key| is_annotation_key(key)),
        "annotation keys are qualified names",
    );
    broken.unless(metadata.labels.is_empty(), "no labels are written");
}

fn check_description(description: Option<&str>, broken: &mut Broken) {
    let length = description.unwrap_or_default().chars().count();
    broken.unless(length <= 1050, "description <= 1050 runes");
}

fn check_slo(spec: &SloSpec, services: &BTreeSet<String>, broken: &mut Broken) {
    check_description(spec.description.as_deref(), broken);
    broken.unless(
        is_rfc_1123_label(&spec.service),
        "service is an RFC 1123 label",
    );
    broken.unless(services.contains(&spec.service), "service resolves");
    broken.unless(spec.indicator_ref.is_none(), "indicator xor indicatorRef");
    match &spec.indicator {
        Some(indicator) => check_indicator(indicator, broken),
        None => broken.unless(false, "an SLO has an indicator"),
    }
    broken.unless(
        spec.time_window.len() == 1
            && spec.time_window.iter().all(|window| {
                window.is_rolling && window.calendar.is_none() && is_duration(&window.duration)
            }),
        "one rolling time window with a duration and no calendar",
    );
    broken.unless(!spec.objectives.is_empty(), "objectives are not empty");
    for objective in &spec.objectives {
        broken.unless(
            objective
                .target
                .is_some_and(|target| (0.0..1.0).contains(&target))
                && objective.target_percent.is_none(),
            "target in [0, 1) and no targetPercent",
        );
        broken.unless(
            objective.op.is_none() && objective.value.is_none(),
            "no op or value with an inline ratio metric",
        );
        broken.unless(
            objective.time_slice_target.is_none() && objective.time_slice_window.is_none(),
            "no timeslices with Occurrences",
        );
        broken.unless(
            objective.indicator.is_none() && objective.indicator_ref.is_none(),
            "the indicator stands on one level",
        );
    }
}

fn check_indicator(indicator: &Indicator, broken: &mut Broken) {
    check_metadata(&indicator.metadata, broken);
    check_description(indicator.spec.description.as_deref(), broken);
    broken.unless(
        indicator.spec.threshold_metric.is_none(),
        "ratio xor threshold metric",
    );
    let Some(ratio) = &indicator.spec.ratio_metric else {
        return broken.unless(false, "ratio xor threshold metric");
    };
    let exclusive = ratio.bad.is_none() && ratio.raw.is_none() && ratio.raw_type.is_none();
    broken.unless(exclusive, "good and total exclude bad and raw");
    for metric in [&ratio.good, &ratio.total] {
        let stands = metric.as_ref().is_some_and(|Metric { metric_source }| {
            metric_source.source_type.as_deref() == Some("Prometheus")
                && metric_source.metric_source_ref.is_none()
                && metric_source
                    .spec
                    .get("query")
                    .is_some_and(Value::is_string)
        });
        broken.unless(stands, "good and total ask Prometheus a query");
    }
}

/// `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`, 1 to 63 characters.
pub(crate) fn is_rfc_1123_label(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn is_annotation_key(key: &str) -> bool {
    let Some((prefix, name)) = key.split_once('/') else {
        return is_qualified(key);
    };
    prefix.len() <= 253 && prefix.split('.').all(is_rfc_1123_label) && is_qualified(name)
}

fn is_qualified(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    bytes.len() <= 63
        && bytes.iter().all(|byte| allowed(*byte))
        && ends(bytes.first())
        && ends(bytes.last())
}

/// `^[1-9][0-9]*[mhdwMQY]$`.
fn is_duration(duration: &str) -> bool {
    let Some(digits) = duration.strip_suffix(['m', 'h', 'd', 'w', 'M', 'Q', 'Y']) else {
        return false;
    };
    !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
}
