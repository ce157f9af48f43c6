//! Spans as an instrumented service would send them.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use slo_copilot::model::{NANOS_PER_SEC, UnixNanos};

/// Where the clock of a server in this process stands at first.
pub(crate) const NOW: UnixNanos = 1_790_000_000 * NANOS_PER_SEC;

/// One minute.
pub(crate) const MINUTE: UnixNanos = 60 * NANOS_PER_SEC;

/// One day.
pub(crate) const DAY: UnixNanos = 1_440 * MINUTE;

pub(crate) fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

/// The entry span of a request that took 20 ms and went well. `number` makes its ids.
pub(crate) fn span(number: u64, end: UnixNanos) -> Span {
    Span {
        trace_id: (u128::from(number) + 1).to_be_bytes().to_vec(),
        span_id: (number + 1).to_be_bytes().to_vec(),
        name: "GET /orders".to_owned(),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: end - NANOS_PER_SEC / 50,
        end_time_unix_nano: end,
        attributes: vec![
            attribute("http.request.method", "GET"),
            attribute("http.route", "/orders"),
        ],
        ..Span::default()
    }
}

/// The same of a request that failed.
pub(crate) fn failed_span(number: u64, end: UnixNanos) -> Span {
    Span {
        status: Some(Status {
            code: StatusCode::Error.into(),
            ..Status::default()
        }),
        ..span(number, end)
    }
}

/// The entry span of an operation that is known by its span's name.
pub(crate) fn named_span(number: u64, name: String, end: UnixNanos) -> Span {
    Span {
        name,
        attributes: Vec::new(),
        ..span(number, end)
    }
}

/// `count` good requests that ended at `end`.
pub(crate) fn spans(count: u64, end: UnixNanos) -> Vec<Span> {
    (0..count).map(|number| span(number, end)).collect()
}

/// `count` failed requests that ended at `end`.
pub(crate) fn failed_spans(count: u64, end: UnixNanos) -> Vec<Span> {
    (0..count).map(|number| failed_span(number, end)).collect()
}

/// An export request of one service.
pub(crate) fn request(service: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
    request_of(&[("service.name", service)], spans)
}

/// An export request of a resource with these attributes.
pub(crate) fn request_of(resource: &[(&str, &str)], spans: Vec<Span>) -> ExportTraceServiceRequest {
    let attributes = resource.iter().map(|(key, value)| attribute(key, value));
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: attributes.collect(),
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}
