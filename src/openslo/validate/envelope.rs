//! What all documents share, and the kinds with little more than that.

use crate::model::slug::{is_rfc1123_label, rfc1123_slug};
use crate::openslo::rules::document::{
    ANNOTATION_KEY, ANNOTATION_RESERVED, API_VERSION as API_VERSION_RULE, DESCRIPTION_LENGTH,
    DISPLAY_NAME_LENGTH, KIND, LABEL_KEY, NAME, REQUIRED, UNSUPPORTED_VERSION,
};
use crate::openslo::rules::reference::DUPLICATE_NAME;
use crate::openslo::suggest::unknown;
use crate::openslo::tree::{NodeValue, ScalarKind};
use crate::openslo::v1::{API_VERSION, DESCRIPTION_CHARS, DISPLAY_NAME_CHARS, Kind};
use crate::openslo::validate::check::Check;
use crate::openslo::validate::cursor::{Cursor, Object};
use crate::openslo::validate::names::{is_annotation_key, is_label_key};
use crate::openslo::validate::spec;

/// A whole document.
pub(super) fn document<'a>(check: &mut Check<'a>, at: &Cursor<'a>) {
    if !is_our_version(check, at) {
        return;
    }
    let Some(document) = check.object(at, &["apiVersion", "kind", "metadata", "spec"]) else {
        return;
    };
    check.required(&document, "apiVersion");
    let kind = check
        .required(&document, "kind")
        .and_then(|at| kind(check, &at));
    let metadata_at = check.required(&document, "metadata");
    let spec_at = check.required(&document, "spec");
    if let Some(at) = metadata_at {
        let name = metadata(check, &at);
        if let (Some(kind), Some(name)) = (kind, name) {
            unique(check, kind, name, &document.at);
        }
    }
    if let (Some(kind), Some(at)) = (kind, spec_at) {
        spec(check, kind, &at);
    }
}

/// Whether the document is of v1, or at least does not say otherwise. Others have other rules altogether.
fn is_our_version<'a>(check: &mut Check<'a>, at: &Cursor<'a>) -> bool {
    let Some(version) = at.node.get("apiVersion") else {
        return true;
    };
    let version_at = Cursor {
        node: version,
        path: at.path.key("apiVersion"),
        line: version.mark.line,
    };
    let Some(version) = check.text(&version_at) else {
        return false;
    };
    let change = match version {
        API_VERSION => return true,
        "openslo/v1alpha" => {
            "spec.objectives[].ratioMetrics becomes spec.indicator.spec.ratioMetric, spec.timeWindows (unit and count) \
             becomes timeWindow with a duration such as 30d, a metric's source, queryType and query become \
             metricSource.type and metricSource.spec"
        }
        "openslo.com/v2alpha" => {
            "sli and sliRef become indicator and indicatorRef, serviceRef becomes service, dataSourceRef becomes \
             metricSource.metricSourceRef, dataSourceSpec becomes metricSource.type and metricSource.spec"
        }
        other => {
            let message = format!("apiVersion must be {API_VERSION}, and is `{other}`");
            check.report(&API_VERSION_RULE, &version_at, message);
            return false;
        }
    };
    let message =
        format!("the version {version} is not supported; rewrite it as {API_VERSION}: {change}");
    check.report(&UNSUPPORTED_VERSION, &version_at, message);
    false
}

fn kind<'a>(check: &mut Check<'a>, at: &Cursor<'a>) -> Option<Kind> {
    let text = check.text(at)?;
    let kind = Kind::named(text);
    if kind.is_none() {
        let message = unknown("the kind", text, &Kind::ALL.map(Kind::name));
        check.report(&KIND, at, message);
    }
    kind
}

fn unique<'a>(check: &mut Check<'a>, kind: Kind, name: &str, at: &Cursor<'a>) {
    let here = check.location(at);
    let Some(first) = check.declared.first(kind, name) else {
        return;
    };
    if first.location != here {
        let message = format!(
            "the {} `{name}` stands already in {}, line {}; rename one of the two",
            kind.name(),
            first.location.file,
            first.location.line.unwrap_or_default()
        );
        check.report(&DUPLICATE_NAME, at, message);
    }
}

/// The metadata of a document or of an inline object. Returns the name.
pub(super) fn metadata<'a>(check: &mut Check<'a>, at: &Cursor<'a>) -> Option<&'a str> {
    let metadata = check.object(at, &["name", "displayName", "labels", "annotations"])?;
    if let Some(title) = check.optional_text(&metadata, "displayName")
        && let Some(at) = metadata.get("displayName")
        && title.chars().count() > DISPLAY_NAME_CHARS
    {
        let length = title.chars().count();
        let message = format!(
            "displayName has {length} characters; at most {DISPLAY_NAME_CHARS} are allowed"
        );
        check.report(&DISPLAY_NAME_LENGTH, at, message);
    }
    if let Some(at) = metadata.get("labels") {
        labels(check, at);
    }
    if let Some(at) = metadata.get("annotations") {
        annotations(check, at);
    }
    let at = check.required(&metadata, "name")?;
    let name = check.text(&at)?;
    if !is_rfc1123_label(name) {
        let message = format!(
            "`{name}` is not an RFC 1123 label (lower-case letters, digits and `-`, at most 63); use `{}`",
            rfc1123_slug(name)
        );
        check.report(&NAME, &at, message);
    }
    Some(name)
}

fn labels<'a>(check: &mut Check<'a>, at: &Cursor<'a>) {
    let Some(labels) = check.map(at) else {
        return;
    };
    for (key, value) in &labels.fields {
        if !is_label_key(key) {
            let message = format!(
                "`{key}` is no key of a label: 1 to 63 letters, digits, `-`, `_` and `.`, with a letter or digit at \
                 both ends"
            );
            check.report(&LABEL_KEY, value, message);
        }
        if matches!(value.node.value, NodeValue::List(_)) {
            for item in check.list(value).unwrap_or_default() {
                check.text(&item);
            }
        } else {
            check.text(value);
        }
    }
}

fn annotations<'a>(check: &mut Check<'a>, at: &Cursor<'a>) {
    let Some(annotations) = check.map(at) else {
        return;
    };
    for (key, value) in &annotations.fields {
        if !is_annotation_key(key) {
            let message = format!(
                "`{key}` is no key of an annotation: a name of 1 to 63 letters, digits, `-`, `_` and `.`, behind a DNS \
                 name in lower case and `/` if there is one"
            );
            check.report(&ANNOTATION_KEY, value, message);
        } else if key.starts_with("openslo.com/") {
            let message =
                format!("`{key}`: the prefix openslo.com/ is reserved; use a domain of yours");
            check.report(&ANNOTATION_RESERVED, value, message);
        }
        check.text(value);
    }
}

/// `description`, which every spec may have.
pub(super) fn description<'a>(check: &mut Check<'a>, spec: &Object<'a>) {
    let length = check
        .optional_text(spec, "description")
        .map_or(0, |text| text.chars().count());
    if let Some(at) = spec.get("description")
        && length > DESCRIPTION_CHARS
    {
        let message =
            format!("description has {length} characters; at most {DESCRIPTION_CHARS} are allowed");
        check.report(&DESCRIPTION_LENGTH, at, message);
    }
}

/// `spec` of a Service.
pub(super) fn service<'a>(check: &mut Check<'a>, at: &Cursor<'a>) {
    if let Some(spec) = check.object(at, &["description"]) {
        description(check, &spec);
    }
}

/// `spec` of a `DataSource`.
pub(super) fn data_source<'a>(check: &mut Check<'a>, at: &Cursor<'a>) {
    let Some(spec) = check.object(at, &["description", "type", "connectionDetails"]) else {
        return;
    };
    description(check, &spec);
    check.required_text(&spec, "type");
    if let Some(details) = check.required(&spec, "connectionDetails")
        && let NodeValue::Scalar(scalar) = &details.node.value
        && scalar.kind == ScalarKind::Null
    {
        check.report(&REQUIRED, &details, "`connectionDetails` must not be empty");
    }
}
