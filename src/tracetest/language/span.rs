//! What the language calls the parts of a span.

use super::Value;
use crate::model::span::{Outcome, SpanKind};
use crate::model::trace::{Attributes, StatusCode, TraceSpan};
use crate::openslo::suggest::nearest;

/// Prefix of what is not an attribute that the span reports.
const OWN: &str = "tracetest.span.";

/// What stands behind [`OWN`].
const OWN_NAMES: [&str; 10] = [
    "name",
    "kind",
    "duration",
    "status",
    "status_message",
    "outcome",
    "operation",
    "scope",
    "type",
    "events",
];

/// Keys of older semantic conventions with those that replaced them: a test reads either.
const RENAMED: [(&str, &str); 14] = [
    ("db.name", "db.namespace"),
    ("db.operation", "db.operation.name"),
    ("db.sql.table", "db.collection.name"),
    ("db.statement", "db.query.text"),
    ("db.system", "db.system.name"),
    ("deployment.environment", "deployment.environment.name"),
    ("http.method", "http.request.method"),
    ("http.status_code", "http.response.status_code"),
    ("http.target", "url.path"),
    ("http.url", "url.full"),
    ("messaging.operation", "messaging.operation.type"),
    ("net.peer.name", "server.address"),
    ("net.peer.port", "server.port"),
    ("rpc.grpc.status_code", "rpc.response.status_code"),
];

/// The value behind a key of a selector or behind `attr:`: of the span itself, an attribute of the span, one of its
/// resource, or one of them by its older or newer name.
pub fn value_of(span: &TraceSpan, key: &str) -> Option<Value> {
    if let Some(own) = key.strip_prefix(OWN) {
        return own_value(span, own);
    }
    if matches!(key, "name" | "kind") {
        return own_value(span, key);
    }
    reported(span, key)
        .or_else(|| {
            let other = RENAMED.iter().find_map(|(old, new)| match key {
                key if key == *old => Some(*new),
                key if key == *new => Some(*old),
                _ => None,
            });
            reported(span, other?)
        })
        .or_else(|| own_value(span, key))
}

/// Why no span ever has this key. A test that asks for it would never be about anything, and hold for good.
pub(super) fn unknown_key(key: &str) -> Option<String> {
    let own = key.strip_prefix(OWN)?;
    (!OWN_NAMES.contains(&own)).then(|| {
        let meant = nearest(own, &OWN_NAMES).map_or(String::new(), |near| {
            format!("did you mean `{OWN}{near}`? ")
        });
        let known = OWN_NAMES.join(", ");
        format!("`{key}` is nothing that a span has; {meant}behind {OWN} there are {known}")
    })
}

/// Why the value behind a key never is this text.
pub(super) fn unknown_value(key: &str, text: &str) -> Option<String> {
    let values: Vec<&str> = match key.strip_prefix(OWN).unwrap_or(key) {
        "kind" => SpanKind::ALL.map(SpanKind::label).to_vec(),
        "status" if key.starts_with(OWN) => vec!["unset", "ok", "error"],
        "outcome" if key.starts_with(OWN) => vec!["ok", "error"],
        _ => return None,
    };
    (!values.contains(&text)).then(|| {
        let meant =
            nearest(text, &values).map_or(String::new(), |near| format!("did you mean `{near}`? "));
        format!(
            "`{key}` is never `{text}`; {meant}it is one of {}",
            values.join(", ")
        )
    })
}

/// The name of the service that reports a span.
pub fn service_of(span: &TraceSpan) -> &str {
    &span.resource.service.name
}

/// As the span or its resource reports it.
fn reported(span: &TraceSpan, key: &str) -> Option<Value> {
    let find = |attributes: &Attributes| {
        let mut attributes = attributes.iter();
        attributes.find_map(|(name, value)| (**name == *key).then(|| Value::from(value)))
    };
    find(&span.attributes)
        .or_else(|| find(&span.resource.attributes))
        .or_else(|| (key == "service.name").then(|| Value::Text(service_of(span).to_owned())))
}
fn own_value(span: &TraceSpan, name: &str) -> Option<Value> {
    let text = |text: &str| Some(Value::Text(text.to_owned()));
    match name {
        "name" => text(&span.name),
        "kind" => text(span.kind.label()),
        "duration" => Some(Value::Duration(span.duration_nanos() as f64)),
        "status" => text(match span.status {
            StatusCode::Unset => "unset",
            StatusCode::Ok => "ok",
            StatusCode::Error => "error",
        }),
        "status_message" => text(&span.status_message),
        "outcome" => text(match span.outcome {
            Outcome::Ok => "ok",
            Outcome::Error => "error",
        }),
        "operation" => text(&span.operation),
        "scope" => text(&span.scope),
        "type" => text(type_of(span)),
        "events" => Some(Value::List(
            span.events
                .iter()
                .map(|event| Value::Text(event.name.to_string()))
                .collect(),
        )),
        _ => None,
    }
}

/// Tracetest's types of spans, by the attributes that the conventions give them.
fn type_of(span: &TraceSpan) -> &'static str {
    let begins = |prefix: &str| {
        let mut keys = span.attributes.iter();
        keys.any(|(key, _)| key.starts_with(prefix))
    };
    let types = [
        ("db.", "database"),
        ("rpc.", "rpc"),
        ("messaging.", "messaging"),
        ("faas.", "faas"),
        ("http.", "http"),
        ("exception.", "exception"),
    ];
    let found = types.into_iter().find(|(prefix, _)| begins(prefix));
    found.map_or("general", |(_, name)| name)
}
