//! Rules of every document: syntax, envelope, metadata and types.

use super::Rule;

rules! {
    /// YAML or JSON.
    SYNTAX = Rule::error("syntax", "A file is YAML, or JSON where its name ends in .json.", "prose")
        .examples(metadata!("{name: checkout}"), metadata!("{name: [checkout}"));

    /// Not too large.
    DOCUMENT_BOUNDS = Rule::error(
        "document-bounds",
        "A document has at most 64 levels and 100000 nodes, what its aliases repeat included.",
        "protection against files that grow when they are read",
    )
    .examples(
        metadata!("{name: checkout}"),
        concat!(ten_times!(ten_times!("[")), ten_times!(ten_times!("]"))),
    );

    /// Something is said.
    EMPTY_FILE = Rule::warning("empty-file", "A file holds at least one document.", "good practice")
        .examples(metadata!("{name: checkout}"), "# Nothing yet.\n");

    /// A key once.
    DUPLICATE_KEY = Rule::error(
        "duplicate-key",
        "A key stands once in its map; readers differ in which of two they take.",
        "YAML 1.2; S8",
    )
    .examples(metadata!("{name: checkout}"), metadata!("{name: checkout, name: cart}"));

    /// Known keys, in their own case.
    UNKNOWN_KEY = Rule::error(
        "unknown-key",
        "A key is one that the specification knows, in its own case.",
        "SDK (DisallowUnknownFields); S8",
    )
    .examples(
        metadata!("{name: checkout, displayName: Checkout}"),
        metadata!("{name: checkout, displayname: Checkout}"),
    );

    /// Needed keys.
    REQUIRED = Rule::error(
        "required",
        "A field that the specification demands is there and not empty.",
        "prose; SDK",
    )
    .examples(
        document!("DataSource", "{type: Prometheus, connectionDetails: {url: 'http://prometheus'}}"),
        document!("DataSource", "{type: Prometheus}"),
    );

    /// Texts are texts, and numbers numbers.
    WRONG_TYPE = Rule::error(
        "wrong-type",
        "A value has the type that the specification gives it.",
        "prose; SDK",
    )
    .examples(
        metadata!("{name: checkout, annotations: {weight: '1'}}"),
        metadata!("{name: checkout, annotations: {weight: 1}}"),
    );

    /// Texts that are booleans elsewhere.
    AMBIGUOUS_SCALAR = Rule::warning(
        "ambiguous-scalar",
        "A text that YAML 1.1 takes for a boolean, a number or a time is quoted.",
        "YAML 1.1 and 1.2 differ",
    )
    .examples(
        metadata!("{name: checkout, annotations: {critical: 'no'}}"),
        metadata!("{name: checkout, annotations: {critical: no}}"),
    );

    /// v1, and nothing else.
    API_VERSION = Rule::error("api-version", "apiVersion is openslo/v1.", "prose; SDK").examples(
        metadata!("{name: checkout}"),
        "apiVersion: v1\nkind: Service\nmetadata: {name: checkout}\nspec: {}\n",
    );

    /// Other versions of the specification.
    UNSUPPORTED_VERSION = Rule::error(
        "unsupported-version",
        "Documents of other versions of OpenSLO are rewritten for openslo/v1 first.",
        "slo-copilot reads v1",
    )
    .examples(
        metadata!("{name: checkout}"),
        "apiVersion: openslo/v1alpha\nkind: Service\nmetadata: {name: checkout}\nspec: {}\n",
    );

    /// One of seven.
    KIND = Rule::error(
        "kind",
        "kind is DataSource, SLO, SLI, AlertPolicy, AlertCondition, AlertNotificationTarget or Service.",
        "prose; SDK",
    )
    .examples(
        metadata!("{name: checkout}"),
        "apiVersion: openslo/v1\nkind: service\nmetadata: {name: checkout}\nspec: {}\n",
    );

    /// A name that Kubernetes takes.
    NAME = Rule::error(
        "name",
        "metadata.name is an RFC 1123 label: 1 to 63 lower-case letters, digits and hyphens, no hyphen at its ends.",
        "prose; SDK",
    )
    .examples(metadata!("{name: checkout}"), metadata!("{name: Checkout}"));

    /// A title.
    DISPLAY_NAME_LENGTH = Rule::error(
        "display-name-length",
        "metadata.displayName has at most 63 characters.",
        "SDK",
    )
    .examples(
        metadata!("{name: a, displayName: The checkout of the shop}"),
        metadata!(
            "{name: a, displayName: The checkout of the shop with all of its payment methods and more}"
        ),
    );

    /// A text of some length.
    DESCRIPTION_LENGTH = Rule::error(
        "description-length",
        "A description has at most 1050 characters.",
        "prose; SDK",
    )
    .examples(
        document!("Service", "{description: Takes orders.}"),
        concat!(
            "apiVersion: openslo/v1\nkind: Service\nmetadata: {name: a}\nspec:\n  description: ",
            ten_times!(ten_times!("Takes orders. ")),
            "\n",
        ),
    );

    /// Keys of labels.
    LABEL_KEY = Rule::error(
        "label-key",
        "The key of a label has 1 to 63 letters, digits, `-`, `_` and `.`, with a letter or digit at its ends.",
        "SDK",
    )
    .examples(
        metadata!("{name: checkout, labels: {team: [shop]}}"),
        metadata!("{name: checkout, labels: {team-: [shop]}}"),
    );

    /// Keys of annotations.
    ANNOTATION_KEY = Rule::error(
        "annotation-key",
        "The key of an annotation is a qualified name: 63 characters, behind an optional DNS name and `/`.",
        "SDK",
    )
    .examples(
        metadata!("{name: checkout, annotations: {example.com/team: shop}}"),
        metadata!("{name: checkout, annotations: {Example.com/team: shop}}"),
    );

    /// A prefix that is taken.
    ANNOTATION_RESERVED = Rule::warning(
        "annotation-reserved",
        "The prefix openslo.com/ of annotations is the specification's own.",
        "prose",
    )
    .examples(
        metadata!("{name: checkout, annotations: {example.com/team: shop}}"),
        metadata!("{name: checkout, annotations: {openslo.com/team: shop}}"),
    );

    /// Whole numbers of a unit.
    DURATION = Rule::error(
        "duration",
        "A duration is a whole number from 1 and one of m, h, d, w, M, Q, Y, as a text.",
        "prose; S6",
    )
    .examples(
        slo!(window: "timeWindow: [{duration: 4w, isRolling: true}]"),
        slo!(window: "timeWindow: [{duration: 0w, isRolling: true}]"),
    );

    /// A field that says nothing here.
    UNUSED_FIELD = Rule::warning(
        "unused-field",
        "A field stands only where it has an effect.",
        "prose",
    )
    .examples(
        slo!("objectives: [{target: 0.99}]"),
        slo!("objectives: [{target: 0.99, compositeWeight: 2}]"),
    );
}
