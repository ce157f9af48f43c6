//! OTLP/JSON as the specification and proto3's JSON mapping have it, and as protobuf says the same.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1 as trace;
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};

use super::*;
use crate::model::span::Outcome;
use crate::receiver::collect::collect_protobuf;
use crate::receiver::json::value::AttributeValue;
use crate::receiver::scan::tests::requests;
use crate::window::settings::SliConfig;

/// `examples/trace.json` of opentelemetry-proto, with all that it says.
const CANONICAL: &str = r#"{
  "resourceSpans": [{
    "resource": {
      "attributes": [{"key": "service.name", "value": {"stringValue": "my.service"}}]
    },
    "scopeSpans": [{
      "scope": {
        "name": "my.library",
        "version": "1.0.0",
        "attributes": [
          {"key": "my.scope.attribute", "value": {"stringValue": "some scope attribute"}}
        ]
      },
      "spans": [{
        "traceId": "5B8EFFF798038103D269B633813FC60C",
        "spanId": "EEE19B7EC3C1B174",
        "parentSpanId": "EEE19B7EC3C1B173",
        "name": "I'm a server span",
        "startTimeUnixNano": "1544712660000000000",
        "endTimeUnixNano": "1544712661000000000",
        "kind": 2,
        "attributes": [{"key": "my.span.attr", "value": {"stringValue": "some value"}}]
      }]
    }]
  }]
}"#;

fn collect(request: &str) -> Result<EventBatch, serde_json::Error> {
    let mut batch = EventBatch::default();
    let rules = EventRules::new(&SliConfig::default());
    collect_json(
        request.as_bytes(),
        &rules,
        &mut batch,
        &mut OperationScratch::default(),
    )
    .map(|()| batch)
}

/// A batch of one span of kind 2 with valid ids and these members in addition or instead.
fn collect_span(members: &Value) -> Result<EventBatch, serde_json::Error> {
    let mut span = json!({
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "kind": 2,
        "name": "work",
        "endTimeUnixNano": 5,
    });
    for (name, value) in members.as_object().unwrap() {
        span[name] = value.clone();
    }
    collect(&json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).to_string())
}

fn operation(batch: &EventBatch) -> String {
    batch.text(batch.events[0].operation).into_owned()
}

#[test]
fn the_canonical_example_is_one_event() {
    let batch = collect(CANONICAL).unwrap();
    assert_eq!((batch.spans, batch.roots, batch.rejected), (1, 0, [0, 0]));
    assert_eq!(batch.text(batch.resources[0].service), "my.service");
    assert_eq!(operation(&batch), "I'm a server span");
    let event = batch.events[0];
    assert_eq!(event.end, 1_544_712_661_000_000_000);
    assert_eq!(event.duration_nanos, 1_000_000_000);
    assert_eq!((event.kind, event.outcome), (SpanKind::Server, Outcome::Ok));
}

#[test]
fn empty_requests_hold_nothing() {
    for request in [
        "{}",
        r#"{"resourceSpans": null}"#,
        r#"{"resourceSpans": []}"#,
        r#"{"resourceSpans": [{}]}"#,
        r#"{"resourceSpans": [{"resource": null, "scopeSpans": null}]}"#,
        r#"{"resourceSpans": [{"resource": {"attributes": null}, "scopeSpans": [{"spans": null}]}]}"#,
        r#"{"unknown": [1, {"a": [[]]}], "resourceSpans": [{"schemaUrl": "x", "scopeSpans": [{"scope": 7}]}]}"#,
    ] {
        assert_eq!(collect(request).unwrap().spans, 0, "{request}");
    }
}

#[test]
fn null_members_are_as_good_as_absent_ones() {
    let batch = collect_span(&json!({
        "parentSpanId": null, "traceState": null, "name": null, "kind": null,
        "startTimeUnixNano": null, "endTimeUnixNano": null, "status": null,
        "attributes": [
            {"key": null, "value": {"stringValue": "x"}},
            {"key": "http.route", "value": null},
            {"key": "http.route", "value": {"stringValue": null}},
            {"key": "http.status_code", "value": {"intValue": null}},
        ],
    }));
    let batch = batch.unwrap();
    assert_eq!((batch.spans, batch.roots), (1, 1));
    assert_eq!(operation(&batch), "");
    assert_eq!(batch.events[0].kind, SpanKind::Unspecified);
    assert_eq!(
        collect_span(&json!({"status": {"code": null}}))
            .unwrap()
            .spans,
        1
    );
    let no_attributes = collect_span(&json!({"attributes": null}));
    assert_eq!(operation(&no_attributes.unwrap()), "work");
}

#[test]
fn numbers_are_read_in_every_way_of_writing_them() {
    for (number, expected) in [
        (
            json!(1_544_712_660_000_000_000_u64),
            1_544_712_660_000_000_000,
        ),
        (json!("1544712660000000001"), 1_544_712_660_000_000_001),
        (json!(1.5e18), 1_500_000_000_000_000_000),
        (json!("1.5e18"), 1_500_000_000_000_000_000),
        (json!(7.0), 7),
        (json!(u64::MAX), u64::MAX),
        (json!("18446744073709551615"), u64::MAX),
        (json!("0"), 0),
    ] {
        let batch = collect_span(&json!({"endTimeUnixNano": number})).unwrap();
        assert_eq!(batch.events[0].end, expected, "{number}");
    }
}

#[test]
fn what_is_no_whole_number_is_refused() {
    for number in [
        json!(1.5),
        json!("1.5"),
        json!(""),
        json!("x"),
        json!("NaN"),
        json!("Infinity"),
        json!("18446744073709551616"),
        json!(1e300),
        json!([1]),
        json!({}),
        json!(true),
    ] {
        assert!(
            collect_span(&json!({"endTimeUnixNano": number})).is_err(),
            "{number}"
        );
    }
}

#[test]
fn enums_are_numbers_or_names() {
    for (kind, expected) in [
        (json!(5), SpanKind::Consumer),
        (json!("5"), SpanKind::Consumer),
        (json!("SPAN_KIND_SERVER"), SpanKind::Server),
        (json!("SPAN_KIND_INTERNAL"), SpanKind::Internal),
        (json!(99), SpanKind::Unspecified),
        (json!(-1), SpanKind::Unspecified),
    ] {
        let batch = collect_span(&json!({"kind": kind})).unwrap();
        assert_eq!(batch.events[0].kind, expected, "{kind}");
    }
    for (code, expected) in [
        (json!(2), Outcome::Error),
        (json!("STATUS_CODE_ERROR"), Outcome::Error),
        (json!("STATUS_CODE_OK"), Outcome::Ok),
        (json!(0), Outcome::Ok),
    ] {
        let batch = collect_span(&json!({"status": {"code": code, "message": "m"}})).unwrap();
        assert_eq!(batch.events[0].outcome, expected, "{code}");
    }
    assert!(collect_span(&json!({"kind": "SERVER"})).is_err());
    assert!(collect_span(&json!({"endTimeUnixNano": "SPAN_KIND_SERVER"})).is_err());
}

#[test]
fn values_that_are_not_read_do_no_harm() {
    let values = [
        json!({"arrayValue": {}}),
        json!({"arrayValue": {"values": [{"stringValue": "x"}]}}),
        json!({"kvlistValue": {"values": []}}),
        json!({"doubleValue": "NaN"}),
        json!({"doubleValue": 1.5}),
        json!({"boolValue": true}),
        json!({"bytesValue": "AAEC"}),
        json!({"ofALaterVersion": null}),
        json!({}),
    ];
    for value in values {
        let attributes = json!({"attributes": [{"key": "http.route", "value": value}]});
        assert_eq!(
            operation(&collect_span(&attributes).unwrap()),
            "work",
            "{value}"
        );
    }
}

#[test]
fn negative_attributes_keep_their_sign() {
    for number in [json!(-5), json!("-5"), json!(-5.0)] {
        let text = json!({"intValue": number}).to_string();
        let value: AttributeValue<'_> = serde_json::from_str(&text).unwrap();
        assert_eq!(value, AttributeValue::Int(-5), "{number}");
    }
}

#[test]
fn bad_ids_reject_their_span_alone() {
    for (member, id) in [
        ("traceId", json!("")),
        ("traceId", json!(null)),
        ("traceId", json!("5b8efff798038103d269b633813fc60")),
        ("traceId", json!("00000000000000000000000000000000")),
        ("traceId", json!("5b8efff798038103d269b633813fc60g")),
        ("traceId", json!("W47/95gDgQPSabYzgT/GDA==")),
        ("spanId", json!("0000000000000000")),
        ("spanId", json!("+ee19b7ec3c1b174")),
        ("spanId", json!("eee19b7ec3c1b17400")),
        ("spanId", json!("eee19b7ec3c1b1é")),
    ] {
        let batch = collect_span(&json!({member: id})).unwrap();
        assert_eq!(
            (batch.spans, batch.rejected_spans()),
            (0, 1),
            "{member} {id}"
        );
    }
}

#[test]
fn a_parent_of_zeros_is_no_parent() {
    for (parent, roots) in [("0000000000000000", 1), ("", 1), ("00f067aa0ba902b7", 0)] {
        let batch = collect_span(&json!({"parentSpanId": parent})).unwrap();
        assert_eq!(batch.roots, roots, "{parent}");
    }
}

#[test]
fn escapes_are_resolved_in_names_keys_and_members() {
    let request = CANONICAL
        .replace(
            "I'm a server span",
            r"na\u00efve \u0022caf\u00e9\u0022 \ud83d\ude00",
        )
        .replace(r#""spanId""#, r#""spa\u006eId""#)
        .replace(r#""key": "service.name""#, r#""key": "service\u002ename""#)
        .replace("stringValue", r"string\u0056alue");
    let batch = collect(&request).unwrap();
    assert_eq!(operation(&batch), "naïve \"café\" 😀");
    assert_eq!(batch.text(batch.resources[0].service), "my.service");
}

#[test]
fn what_is_no_request_is_refused() {
    for request in [
        "",
        "null",
        "[]",
        "{",
        r#"{"resourceSpans": {}}"#,
        r#"{"resourceSpans": [null]}"#,
        r#"{"resourceSpans": []} x"#,
        r#"{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": 5}]}]}]}"#,
    ] {
        assert!(collect(request).is_err(), "{request}");
    }
    let deep = "[".repeat(100_000);
    assert!(collect(&format!(r#"{{"a": {deep}"#)).is_err());
}

pub(in crate::receiver) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn attributes_json(attributes: &[common::KeyValue]) -> Value {
    let value = |any: &Any| match any {
        Any::StringValue(text) => json!({"stringValue": text}),
        Any::IntValue(number) => json!({"intValue": number.to_string()}),
        Any::BoolValue(value) => json!({"boolValue": value}),
        Any::DoubleValue(value) => json!({"doubleValue": value}),
        Any::BytesValue(bytes) => json!({"bytesValue": hex(bytes)}),
        Any::ArrayValue(_) => json!({"arrayValue": {}}),
        Any::KvlistValue(_) => json!({"kvlistValue": {}}),
        Any::StringValueStrindex(index) => json!({"stringValueStrindex": index}),
    };
    let attributes = attributes.iter().map(|attribute| {
        let any = attribute.value.as_ref().and_then(|any| any.value.as_ref());
        json!({"key": attribute.key, "value": any.map(value)})
    });
    attributes.collect()
}

fn span_json(span: &trace::Span) -> Value {
    json!({
        "traceId": hex(&span.trace_id),
        "spanId": hex(&span.span_id),
        "parentSpanId": hex(&span.parent_span_id),
        "traceState": span.trace_state,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": span.start_time_unix_nano.to_string(),
        "endTimeUnixNano": span.end_time_unix_nano.to_string(),
        "attributes": attributes_json(&span.attributes),
        "status": span.status.as_ref().map(|status| json!({"code": status.code})),
    })
}

pub(in crate::receiver) fn request_json(request: &ExportTraceServiceRequest) -> Value {
    let scope_json = |scope: &trace::ScopeSpans| {
        let spans: Value = scope.spans.iter().map(span_json).collect();
        json!({"spans": spans, "schemaUrl": scope.schema_url})
    };
    let resources = request.resource_spans.iter().map(|resource_spans| {
        let scopes: Value = resource_spans.scope_spans.iter().map(scope_json).collect();
        let resource = resource_spans
            .resource
            .as_ref()
            .map(|resource| json!({"attributes": attributes_json(&resource.attributes)}));
        json!({"resource": resource, "scopeSpans": scopes})
    });
    json!({"resourceSpans": resources.collect::<Value>()})
}

proptest! {
    #[test]
    fn property_json_and_protobuf_make_the_same_batch(request in requests()) {
        let rules = EventRules::new(&SliConfig::default());
        let mut wanted = EventBatch::default();
        collect_protobuf(&request.encode_to_vec(), &rules, &mut wanted, &mut OperationScratch::default()).unwrap();
        let batch = collect(&request_json(&request).to_string()).unwrap();
        prop_assert_eq!(format!("{batch:#?}"), format!("{wanted:#?}"));
    }

    #[test]
    fn property_no_text_panics(request in r#"[\[\]{}":,0-9a-zA-Z\\]{0,60}"#) {
        let is_object = request.starts_with('{');
            prop_assert!(is_object || collect(&request).is_err());
    }
}

/// Three bytes of a request each.
#[test]
fn resources_without_events_take_no_memory() {
    let request = format!(r#"{{"resourceSpans":[{{}}{}]}}"#, ",{}".repeat(100_000));
    let batch = collect(&request).unwrap();
    assert!(batch.resources.is_empty() && batch.capacity_bytes() < 1_000);
}
