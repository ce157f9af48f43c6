//! What tests ask about written documents.

use serde_json::Value;

use crate::openslo::read::{SourceFile, read};

/// The documents in a YAML stream.
pub(crate) fn parse_yaml(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).expect("the stream is YAML")
}

/// The documents in a JSON bundle.
pub(crate) fn parse_bundle(json: &str) -> Vec<Value> {
    serde_json::from_str(json).expect("the bundle is a JSON array")
}

/// Every finding about a file, whatever its level, as `<rule> at <path>: <message>`.
pub(crate) fn violations(name: &str, text: &str) -> Vec<String> {
    let file = SourceFile {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    let findings = read(&[file]).findings.into_iter();
    findings
        .map(|finding| {
            let path = finding.location.and_then(|location| location.path);
            let path = path.unwrap_or_default();
            format!("{} at {path}: {}", finding.rule, finding.message)
        })
        .collect()
}
