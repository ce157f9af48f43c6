//! Rules between documents, over all files that are given together.

use super::Rule;

rules! {
    /// A name, not a path.
    REFERENCE_NAME = Rule::error(
        "reference-name",
        "A reference, like SLO.spec.service, is the RFC 1123 label that the other document has as its name.",
        "prose; SDK; S9",
    )
    .examples(
        policy!("conditions: [{conditionRef: fast-burn}]" "notificationTargets: [{targetRef: on-call}]"),
        policy!("conditions: [{conditionRef: fast-burn}]" "notificationTargets: [{targetRef: On Call}]"),
    );

    /// One of a name.
    DUPLICATE_NAME = Rule::error(
        "duplicate-name",
        "A name stands once among the documents of a kind.",
        "prose; S9",
    )
    .examples(
        concat!(metadata!("{name: checkout}"), "---\n", metadata!("{name: cart}")),
        concat!(metadata!("{name: checkout}"), "---\n", metadata!("{name: checkout}")),
    );

    /// It is there.
    REFERENCE_UNRESOLVED = Rule::error(
        "reference-unresolved",
        "The document that a reference names is among those given.",
        "SDK (ReferenceInliner); S9",
    )
    .examples(
        policy!("conditions: [{conditionRef: fast-burn}]" "notificationTargets: [{targetRef: on-call}]"),
        policy!("conditions: [{conditionRef: slow-burn}]" "notificationTargets: [{targetRef: on-call}]"),
    );

    /// It may be elsewhere.
    REFERENCE_UNCHECKED = Rule::warning(
        "reference-unchecked",
        "Services and data sources that documents name are given with them.",
        "S9; the SDK does not resolve them",
    )
    .examples(
        concat!(
            document!("DataSource", "{type: Prometheus, connectionDetails: {url: 'http://prometheus'}}"),
            "---\n",
            sli!("thresholdMetric: {metricSource: {metricSourceRef: example, spec: {query: p95}}}")
        ),
        sli!("thresholdMetric: {metricSource: {metricSourceRef: example, spec: {query: p95}}}"),
    );
}
