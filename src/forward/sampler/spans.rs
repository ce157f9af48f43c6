//! What is read of a span before its trace is decided.

use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

pub(super) fn service_of(resource: Option<&Resource>) -> &str {
    let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
    match value_of(attributes, "service.name") {
        Some(Any::StringValue(name)) if !name.is_empty() => name,
        _ => "unknown_service",
    }
}

fn value_of<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Any> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    attribute.value.as_ref()?.value.as_ref()
}

pub(super) fn is_root(span: &Span) -> bool {
    span.parent_span_id.iter().all(|byte| *byte == 0)
}

/// What the windows count as an error of a request, and errors of calls.
pub(super) fn is_error(span: &Span) -> bool {
    let code = span.status.as_ref().map_or(0, |status| status.code);
    if code != i32::from(StatusCode::Unset) {
        return code == i32::from(StatusCode::Error);
    }
    let number = |key| match value_of(&span.attributes, key) {
        Some(Any::IntValue(number)) => Some(*number),
        Some(Any::StringValue(text)) => text.parse().ok(),
        _ => None,
    };
    let http = number("http.response.status_code").or_else(|| number("http.status_code"));
    let grpc = number("rpc.grpc.status_code");
    span.kind == i32::from(SpanKind::Server)
        && (http.is_some_and(|status| status >= 500)
            || grpc.is_some_and(|code| [2, 4, 12, 13, 14, 15].contains(&code)))
}

/// Entry spans alone: what waits in the background is no slow request.
pub(super) fn is_slow(span: &Span, limit: Option<Duration>) -> bool {
    let is_entry = is_root(span)
        || [SpanKind::Server, SpanKind::Consumer]
            .map(i32::from)
            .contains(&span.kind);
    let nanos = span
        .end_time_unix_nano
        .saturating_sub(span.start_time_unix_nano);
    is_entry && limit.is_some_and(|limit| Duration::from_nanos(nanos) >= limit)
}
