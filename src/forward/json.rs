//! From OTLP/JSON to the message, for backends that take protobuf, and to sample or scrub it.
//!
//! The message's own reader wants less than the receiver takes: what may stand in OTLP/JSON is mended first.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::{Map, Value, json};

/// Reads a request.
pub(super) fn decode(text: &[u8]) -> Result<ExportTraceServiceRequest, serde_json::Error> {
    let mut request: Value = serde_json::from_slice(text)?;
    mend(&mut request);
    if let Value::Object(members) = &mut request {
        members.entry("resourceSpans").or_insert_with(|| json!([]));
    }
    serde_json::from_value(request)
}

fn mend(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.retain(|item| !item.is_null());
            items.iter_mut().for_each(mend);
        }
        Value::Object(members) => mend_members(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn mend_members(members: &mut Map<String, Value>) {
    // As good as absent.
    members.retain(|_, value| !value.is_null());
    mend_double(members);
    for (name, value) in members.iter_mut() {
        match name.as_str() {
            "traceId" | "spanId" | "parentSpanId" => mend_id(value),
            "kind" => mend_enum(value, |name| SpanKind::from_str_name(name).map(i32::from)),
            "code" => mend_enum(value, |name| StatusCode::from_str_name(name).map(i32::from)),
            "arrayValue" | "kvlistValue" => {
                if let Value::Object(list) = value {
                    list.entry("values").or_insert_with(|| json!([]));
                }
                mend(value);
            }
            _ => mend(value),
        }
    }
}

/// Ids that are no hexadecimal digits become empty: the backend rejects their spans, as the receiver did, and no others.
fn mend_id(value: &mut Value) {
    let is_id = value.as_str().is_some_and(|id| {
        id.len().is_multiple_of(2) && id.bytes().all(|byte| byte.is_ascii_hexdigit())
    });
    if !is_id {
        *value = json!("");
    }
}

fn mend_enum(value: &mut Value, number: impl Fn(&str) -> Option<i32>) {
    if let Some(text) = value.as_str() {
        let number = number(text).or_else(|| text.parse().ok());
        *value = json!(number.unwrap_or(0));
    }
}

/// Numbers as text are read; those that JSON has no number for stay text.
fn mend_double(members: &mut Map<String, Value>) {
    let text = members.get("doubleValue").and_then(Value::as_str);
    let Some(text) = text.map(str::to_owned) else {
        return;
    };
    members.remove("doubleValue");
    let number = text.parse().ok().and_then(serde_json::Number::from_f64);
    match number {
        Some(number) => members.insert("doubleValue".to_owned(), number.into()),
        None => members.insert("stringValue".to_owned(), text.into()),
    };
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;

    use super::*;

    /// What senders write and the receiver takes.
    #[test]
    fn what_the_receiver_takes_is_read_whole() {
        let text = json!({"resourceSpans": [null, {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
            "schemaUrl": null,
            "scopeSpans": [{"spans": [{
                "traceId": "0AF7651916CD43DD8448EB211C80319C",
                "spanId": "00f067aa0ba902b7",
                "parentSpanId": "",
                "name": "GET /",
                "kind": "SPAN_KIND_SERVER",
                "startTimeUnixNano": "1700000000000000001",
                "endTimeUnixNano": 1_700_000_000_000_000_002_u64,
                "status": {"code": "STATUS_CODE_ERROR"},
                "unknown": {"kind": "x"},
                "attributes": [
                    {"key": "a", "value": {"intValue": 7}},
                    {"key": "b", "value": {"intValue": "-8"}},
                    {"key": "c", "value": {"doubleValue": "1.5"}},
                    {"key": "d", "value": {"doubleValue": "NaN"}},
                    {"key": "e", "value": {"arrayValue": {}}},
                    {"key": "f", "value": null},
                    {"key": "g"},
                    {"key": "h", "value": {"kvlistValue": {"values": [{"key": "i", "value": {"boolValue": true}}]}}},
                ],
                "events": [{"timeUnixNano": "3", "name": "exception"}],
                "links": [{"traceId": "no id", "spanId": "00f067aa0ba902b7"}],
            }]}],
        }]});
        let request = decode(text.to_string().as_bytes()).unwrap();
        let span = &request.resource_spans[0].scope_spans[0].spans[0];
        assert_eq!(span.trace_id.len(), 16);
        assert_eq!((span.kind, span.status.as_ref().unwrap().code), (2, 2));
        assert_eq!(span.start_time_unix_nano, 1_700_000_000_000_000_001);
        assert_eq!(span.end_time_unix_nano, 1_700_000_000_000_000_002);
        let values = span.attributes.iter().map(|attribute| {
            let value = attribute.value.as_ref();
            value.and_then(|value| value.value.clone())
        });
        let values: Vec<Option<Any>> = values.collect();
        assert_eq!(values[0], Some(Any::IntValue(7)));
        assert_eq!(values[1], Some(Any::IntValue(-8)));
        assert_eq!(values[2], Some(Any::DoubleValue(1.5)));
        assert_eq!(values[3], Some(Any::StringValue("NaN".to_owned())));
        assert!(matches!(&values[4], Some(Any::ArrayValue(list)) if list.values.is_empty()));
        assert_eq!(&values[5..7], [None, None]);
        assert!(matches!(&values[7], Some(Any::KvlistValue(list)) if list.values.len() == 1));
        assert_eq!(span.events[0].time_unix_nano, 3);
        assert!(span.links[0].trace_id.is_empty());
        assert_eq!(decode(b"{}").unwrap(), ExportTraceServiceRequest::default());
        assert!(decode(b"{").is_err());
    }
}
