//! Writes what a report says about objectives as OpenSLO v1 documents: a YAML stream or a JSON bundle.
//!
//! A service gets a Service document, one SLO for each adopted objective, and one for each composite, whose members
//! are its objectives. A candidate that waits for an answer gets one too, marked in its annotation
//! `slo-copilot.dev/state`, its display name and its description, so that nobody takes it for an agreement. An error
//! rate is the complement of an availability and never a second SLO.
//!
//! Annotations hold each objective as this program measures it; the queries ask Prometheus for the same counts. A
//! namespace or an environment that is not annotated is not restricted.

mod promise;
mod slo;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::model::report::OutputScope;
use crate::openslo::annotation;
use crate::openslo::grouping::ServiceObjectives;
use crate::openslo::text::cut;
use crate::openslo::v1::{
    DESCRIPTION_CHARS, DISPLAY_NAME_CHARS, Document, Metadata, ServiceSpec, Spec,
};

/// The documents of one service; `name` is the RFC 1123 label that stands for it.
pub fn service_documents(name: &str, group: &ServiceObjectives<'_>) -> Vec<Document> {
    let mut documents = vec![service_document(name, group)];
    let adopted = group.objectives.iter();
    documents.extend(adopted.map(|objective| slo::adopted(name, objective, group.scope)));
    let composites = group.composites.iter();
    documents.extend(composites.filter_map(|found| slo::composite(name, found, group.scope)));
    let candidates = group.candidates.iter();
    documents.extend(candidates.map(|candidate| slo::suggested(name, candidate, group.scope)));
    documents
}

/// Documents as a YAML stream that readers of YAML 1.1 and 1.2 understand alike.
pub fn yaml(documents: &[Document]) -> Result<String, serde_saphyr::ser::Error> {
    // One line a scalar: folded queries are hard to copy.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_multiple_with_options(documents, options)
}

/// Documents as a JSON array.
pub fn bundle<'a>(
    documents: impl IntoIterator<Item = &'a Document>,
) -> Result<String, serde_json::Error> {
    let documents: Vec<&Document> = documents.into_iter().collect();
    serde_json::to_string_pretty(&documents).map(|json| json + "\n")
}

fn service_document(name: &str, group: &ServiceObjectives<'_>) -> Document {
    let service = &group.service;
    let said = |part| Some(part).filter(|part: &&str| !part.is_empty());
    let (namespace, environment) = (said(&*service.namespace), said(&*service.environment));
    let place = |word, part: Option<&str>| match part {
        Some(part) => format!(", in {word} {part}"),
        None => String::new(),
    };
    let description = format!(
        "{}, as its traces show it{}{}.",
        service.name,
        place("namespace", namespace),
        place("environment", environment),
    );
    let mut annotations = service_annotations(&service.name, [namespace, environment]);
    annotations.extend([scope_annotation(group.scope)]);
    Document {
        metadata: Metadata {
            name: name.to_owned(),
            display_name: said(&*service.name).map(|name| cut(name, DISPLAY_NAME_CHARS)),
            annotations,
            ..Metadata::default()
        },
        spec: Spec::Service(ServiceSpec {
            description: Some(cut(&description, DESCRIPTION_CHARS)),
        }),
    }
}

fn service_annotations(
    service: &str,
    [namespace, environment]: [Option<&str>; 2],
) -> BTreeMap<String, String> {
    let parts = [
        (annotation::SERVICE, Some(service)),
        (annotation::NAMESPACE, namespace),
        (annotation::ENVIRONMENT, environment),
    ];
    parts
        .into_iter()
        .filter_map(|(key, value)| Some((annotation::key(key), value?.to_owned())))
        .collect()
}

fn scope_annotation(scope: OutputScope) -> (String, String) {
    let scope = match scope {
        OutputScope::Instance => "instance",
        OutputScope::Service => "service",
    };
    (annotation::key(annotation::SCOPE), scope.to_owned())
}
