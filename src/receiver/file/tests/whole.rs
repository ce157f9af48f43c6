//! Whole spans of every format.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use prost::Message;

use super::*;
use crate::model::trace::{AttributeValue, Attributes, StatusCode, TraceSpan};
use crate::receiver::file::tests::render::message;

fn whole(bytes: impl AsRef<[u8]>) -> (FileSummary, Vec<(String, TraceSpan)>) {
    struct Taken(Vec<(String, TraceSpan)>);
    impl TraceSink for Taken {
        fn span(&mut self, trace_id: Box<str>, span: TraceSpan) {
            self.0.push((trace_id.into(), span));
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("traces");
    fs::write(&path, bytes).unwrap();
    let rules = EventRules::new(&SliConfig::default());
    let mut taken = Taken(Vec::new());
    let input = TraceInput::file(&path);
    let summary = read_whole_traces(&input, &rules, &FileSettings::default(), &mut taken);
    (summary.unwrap(), taken.0)
}

/// What every format says of a span, and its attributes as text.
fn common((trace_id, span): &(String, TraceSpan)) -> String {
    let attributes = span.attributes.iter().filter(|(key, _)| {
        !key.starts_with("service.") && !key.starts_with("deployment.") && **key != *"error"
    });
    let text = |value: &AttributeValue| match value {
        AttributeValue::Text(text) => text.to_string(),
        AttributeValue::Int(number) => number.to_string(),
        AttributeValue::Bool(_)
        | AttributeValue::Float(_)
        | AttributeValue::List(_)
        | AttributeValue::Map(_) => panic!("{value:?}"),
    };
    let attributes: std::collections::BTreeMap<_, _> =
        attributes.map(|(key, value)| (key, text(value))).collect();
    format!(
        "{trace_id} {:?} {attributes:?} {:?} {}",
        (
            &span.span_id,
            &span.parent_span_id,
            &span.name,
            &span.operation,
            span.kind
        ),
        (
            span.start,
            span.end,
            span.status,
            span.outcome,
            span.is_entry,
            span.weight
        ),
        format_args!("{:?} {}", span.resource.service, span.resource.version)
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn property_every_format_says_the_same_of_the_same_whole_spans(
        spans in prop::collection::vec(plain_span(), 2..8),
    ) {
        let rendered = render(&spans);
        let (wanted, wanted_spans) = whole(&rendered[0].2);
        prop_assert_eq!(wanted_spans.len(), spans.len());
        let wanted_spans: Vec<String> = wanted_spans.iter().map(common).collect();
        for (span, said) in spans.iter().zip(&wanted_spans) {
            prop_assert!(said.starts_with(&crate::receiver::json::tests::hex(&span.trace_id)));
        }
        for (format, layout, bytes) in rendered {
            let (summary, spans) = whole(&bytes);
            let at = format!("{} {layout}", format.label());
            prop_assert_eq!(&summary, &FileSummary { format: Some(format), ..wanted.clone() }, "{}", at);
            prop_assert_eq!(&spans.iter().map(common).collect::<Vec<_>>(), &wanted_spans, "{}", at);
        }
    }

    /// The windows and the whole spans see the same events.
    #[test]
    fn property_operation_outcome_and_weight_are_those_of_the_windows(
        spans in prop::collection::vec(plain_span(), 2..8),
    ) {
        let (_, _, bytes) = &render(&spans)[0];
        let (_, seen) = read(bytes);
        let (_, spans) = whole(bytes);
        let entries = spans.iter().filter(|(_, span)| span.is_entry);
        let said: Vec<_> = entries
            .map(|(_, span)| (span.end, span.duration_nanos(), span.resource.service.name.to_string()))
            .collect();
        let counted: Vec<_> = seen.events.iter().map(|event| (event.2, event.3, event.0[0].clone())).collect();
        prop_assert_eq!(said, counted);
        for ((_, span), event) in spans.iter().filter(|(_, span)| span.is_entry).zip(&seen.events) {
            prop_assert_eq!(&*span.operation, &crate::window::operation::template(event.1.as_bytes()));
            let rest = format!("({:?}, ", span.weight);
            prop_assert!(event.4.starts_with(&rest), "{} {}", event.4, rest);
            let outcome = format!("{:?}", span.outcome);
            prop_assert!(event.4.contains(&outcome));
        }
    }
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// All that OTLP can say of a span.
fn full_span() -> serde_json::Value {
    json!({
        "traceId": TRACE.to_uppercase(), "spanId": "00F067AA0BA902B7", "parentSpanId": "53995c3f42cd8ad8",
        "name": "GET /users/17", "kind": 2,
        "startTimeUnixNano": "1710000000000000000", "endTimeUnixNano": "1710000001000000000",
        "attributes": [
            {"key": "bool", "value": {"boolValue": true}},
            {"key": "float", "value": {"doubleValue": 0.5}},
            {"key": "infinite", "value": {"doubleValue": "Infinity"}},
            {"key": "bytes", "value": {"bytesValue": "AQI="}},
            {"key": "list", "value": {"arrayValue": {"values": [{"intValue": "-1"}, {"stringValue": "x"}]}}},
            {"key": "map", "value": {"kvlistValue": {"values": [{"key": "k", "value": {"intValue": 7}}]}}},
            {"key": "nothing", "value": null},
            {"key": "twice", "value": {"intValue": 1}},
            {"key": "twice", "value": {"intValue": 2}},
        ],
        "events": [
            {"timeUnixNano": "1710000000700000000", "name": "second"},
            {"timeUnixNano": "1710000000500000000", "name": "exception",
             "attributes": [{"key": "exception.type", "value": {"stringValue": "Timeout"}}]},
        ],
        "links": [{"traceId": TRACE, "spanId": "53995c3f42cd8ad8"}],
        "status": {"code": 2, "message": "it failed"},
    })
}

fn full_document() -> serde_json::Value {
    json!({"resourceSpans": [{
        "resource": {"attributes": [
            {"key": "service.name", "value": {"stringValue": "users"}},
            {"key": "service.version", "value": {"stringValue": "2"}},
            {"key": "host.name", "value": {"stringValue": "h1"}},
        ]},
        "scopeSpans": [{"scope": {"name": "http-library", "version": "1"}, "spans": [full_span()]}],
    }]})
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::Text(text.into())
}

fn named(attributes: &[(&str, AttributeValue)]) -> Attributes {
    let attributes = attributes.iter();
    attributes
        .map(|(key, value)| ((*key).into(), value.clone()))
        .collect()
}

fn assert_is_full((trace_id, span): &(String, TraceSpan)) {
    assert_eq!(trace_id, TRACE);
    assert_eq!(&*span.span_id, "00f067aa0ba902b7");
    assert_eq!(span.parent_span_id.as_deref(), Some("53995c3f42cd8ad8"));
    assert_eq!(
        (&*span.name, &*span.operation),
        ("GET /users/17", "GET /users/{id}")
    );
    assert_eq!(&*span.scope, "http-library");
    assert_eq!(
        (span.status, &*span.status_message),
        (StatusCode::Error, "it failed")
    );
    assert_eq!(
        (&*span.resource.service.name, &*span.resource.version),
        ("users", "2")
    );
    assert_eq!(
        span.resource.attributes[2],
        ("host.name".into(), text("h1"))
    );
    assert!(span.is_entry && span.outcome == Outcome::Error);
    let attributes = named(&[
        ("bool", AttributeValue::Bool(true)),
        ("float", AttributeValue::Float(0.5)),
        ("infinite", AttributeValue::Float(f64::INFINITY)),
        ("bytes", text("AQI=")),
        (
            "list",
            AttributeValue::List(vec![AttributeValue::Int(-1), text("x")]),
        ),
        (
            "map",
            AttributeValue::Map(
                named(&[("k", AttributeValue::Int(7))])
                    .into_iter()
                    .collect(),
            ),
        ),
        ("twice", AttributeValue::Int(2)),
    ]);
    assert_eq!(span.attributes, attributes);
    let events: Vec<_> = span
        .events
        .iter()
        .map(|event| (event.at, &*event.name))
        .collect();
    assert_eq!(
        events,
        [
            (1_710_000_000_500_000_000, "exception"),
            (1_710_000_000_700_000_000, "second")
        ]
    );
    assert_eq!(
        span.events[0].attributes,
        named(&[("exception.type", text("Timeout"))])
    );
    let links: Vec<_> = span
        .links
        .iter()
        .map(|link| (&*link.trace_id, &*link.span_id))
        .collect();
    assert_eq!(links, [(TRACE, "53995c3f42cd8ad8")]);
}

#[test]
fn all_that_otlp_says_of_a_span_is_read() {
    let document = full_document();
    let (summary, spans) = whole(document.to_string());
    assert_eq!(summary.findings, []);
    assert_is_full(&spans[0]);

    let (summary, spans) = whole(full_request().encode_to_vec());
    assert_eq!(summary.format, Some(TraceFormat::OtlpProtobuf));
    assert_eq!(summary.findings, []);
    assert_is_full(&spans[0]);
}

fn value(value: Any) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn string(text: &str) -> AnyValue {
    value(Any::StringValue(text.to_owned()))
}

fn pair(key: &str, value: AnyValue) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(value),
        ..KeyValue::default()
    }
}

/// The same as [`full_span`].
fn full_message() -> otlp::Span {
    let id = |digits: &str| data_encoding::HEXLOWER.decode(digits.as_bytes()).unwrap();
    let list = ArrayValue {
        values: vec![value(Any::IntValue(-1)), string("x")],
    };
    let map = KeyValueList {
        values: vec![pair("k", value(Any::IntValue(7)))],
    };
    let event = |at, name: &str, attributes| otlp::span::Event {
        time_unix_nano: at,
        name: name.to_owned(),
        attributes,
        ..otlp::span::Event::default()
    };
    otlp::Span {
        trace_id: id(TRACE),
        span_id: id("00f067aa0ba902b7"),
        parent_span_id: id("53995c3f42cd8ad8"),
        name: "GET /users/17".to_owned(),
        kind: 2,
        start_time_unix_nano: 1_710_000_000_000_000_000,
        end_time_unix_nano: 1_710_000_001_000_000_000,
        attributes: vec![
            pair("bool", value(Any::BoolValue(true))),
            pair("float", value(Any::DoubleValue(0.5))),
            pair("infinite", value(Any::DoubleValue(f64::INFINITY))),
            pair("bytes", value(Any::BytesValue(vec![1, 2]))),
            pair("list", value(Any::ArrayValue(list))),
            pair("map", value(Any::KvlistValue(map))),
            pair("nothing", AnyValue { value: None }),
            pair("twice", value(Any::IntValue(1))),
            pair("twice", value(Any::IntValue(2))),
        ],
        events: vec![
            event(1_710_000_000_700_000_000, "second", Vec::new()),
            event(
                1_710_000_000_500_000_000,
                "exception",
                vec![pair("exception.type", string("Timeout"))],
            ),
        ],
        links: vec![otlp::span::Link {
            trace_id: id(TRACE),
            span_id: id("53995c3f42cd8ad8"),
            ..otlp::span::Link::default()
        }],
        status: Some(otlp::Status {
            message: "it failed".to_owned(),
            code: 2,
        }),
        ..otlp::Span::default()
    }
}

/// The same as [`full_document`].
fn full_request() -> ExportTraceServiceRequest {
    let resource = Resource {
        attributes: vec![
            pair("service.name", string("users")),
            pair("service.version", string("2")),
            pair("host.name", string("h1")),
        ],
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        name: "http-library".to_owned(),
        ..InstrumentationScope::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![otlp::ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![otlp::ScopeSpans {
                scope: Some(scope),
                spans: vec![full_message()],
                ..otlp::ScopeSpans::default()
            }],
            ..otlp::ResourceSpans::default()
        }],
    }
}

/// Elements longer than a record, whose parts are read one after the other.
#[test]
fn a_long_document_says_the_same_in_parts() {
    let mut document = full_document();
    let spans = document
        .pointer_mut("/resourceSpans/0/scopeSpans/0/spans")
        .unwrap();
    let count = 2 * otlp_json::WHOLE_BYTES_MAX / full_span().to_string().len();
    *spans = serde_json::Value::Array(vec![full_span(); count]);
    let (summary, spans) = whole(document.to_string());
    assert_eq!(summary.findings, []);
    assert_eq!(spans.len(), count);
    assert_is_full(&spans[0]);
    assert_is_full(&spans[count - 1]);
    assert!(std::sync::Arc::ptr_eq(
        &spans[0].1.resource,
        &spans[count - 1].1.resource
    ));
}

#[test]
fn logs_references_and_tags_of_jaeger_are_read() {
    let (_, spans) = whole(
        json!({"data": [{"traceID": TRACE, "processes": {"p1": {"serviceName": "users", "tags": [
            {"key": "host.name", "type": "string", "value": "h1"}]}},
            "spans": [{"traceID": TRACE, "spanID": "00f067aa0ba902b7", "operationName": "get", "processID": "p1",
                "startTime": 1_710_000_000_000_000_u64, "duration": 5,
                "references": [
                    {"refType": "FOLLOWS_FROM", "traceID": "other", "spanID": "1"},
                    {"refType": "CHILD_OF", "traceID": TRACE, "spanID": "53995c3f42cd8ad8"}],
                "tags": [
                    {"key": "span.kind", "type": "string", "value": "server"},
                    {"key": "otel.status_description", "type": "string", "value": "it failed"},
                    {"key": "otel.scope.name", "type": "string", "value": "library"},
                    {"key": "error", "type": "bool", "value": true},
                    {"key": "ratio", "type": "float64", "value": 0.5}],
                "logs": [{"timestamp": 1_710_000_000_000_002_u64, "fields": [
                    {"key": "event", "type": "string", "value": "exception"},
                    {"key": "exception.type", "type": "string", "value": "Timeout"}]}]}]}]})
        .to_string(),
    );
    let (trace_id, span) = &spans[0];
    assert_eq!(trace_id, TRACE);
    assert_eq!(span.parent_span_id.as_deref(), Some("53995c3f42cd8ad8"));
    assert_eq!(
        (&*span.status_message, &*span.scope),
        ("it failed", "library")
    );
    assert_eq!(
        span.attributes,
        named(&[
            ("error", AttributeValue::Bool(true)),
            ("ratio", AttributeValue::Float(0.5))
        ])
    );
    assert_eq!(
        span.resource.attributes,
        named(&[("host.name", text("h1"))])
    );
    assert_eq!(
        (&*span.links[0].trace_id, &*span.links[0].span_id),
        ("other", "1")
    );
    assert_eq!(
        (span.events[0].at, &*span.events[0].name),
        (1_710_000_000_000_002_000, "exception")
    );
    assert_eq!(
        span.events[0].attributes,
        named(&[("exception.type", text("Timeout"))])
    );
}

#[test]
fn annotations_and_shared_spans_of_zipkin_are_read() {
    let span = |kind: &str, service: &str, shared: bool| {
        json!({"traceId": TRACE, "id": "2", "parentId": "1", "kind": kind, "name": "get", "shared": shared,
            "timestamp": 1_710_000_000_000_000_u64, "duration": 5, "localEndpoint": {"serviceName": service},
            "remoteEndpoint": {"serviceName": "db", "ipv4": "10.0.0.9", "port": 5432},
            "annotations": [{"timestamp": 1_710_000_000_000_002_u64, "value": "ws"}], "tags": {"a": "b"}})
    };
    let list = json!([span("CLIENT", "web", false), span("SERVER", "users", true)]);
    let (_, spans) = whole(list.to_string());
    let parents: Vec<_> = spans
        .iter()
        .map(|(_, span)| span.parent_span_id.as_deref())
        .collect();
    assert_eq!(parents, [Some("1"), Some("2")]);
    let attributes = named(&[
        ("a", text("b")),
        ("peer.service", text("db")),
        ("network.peer.address", text("10.0.0.9")),
        ("network.peer.port", AttributeValue::Int(5432)),
    ]);
    assert_eq!(spans[0].1.attributes, attributes);
    assert_eq!(
        (spans[0].1.events[0].at, &*spans[0].1.events[0].name),
        (1_710_000_000_000_002_000, "ws")
    );
}

#[test]
fn a_span_whose_rest_is_broken_is_a_finding_and_counts_for_the_windows() {
    let span = &message().resource_spans[0].scope_spans[0].spans[0];
    // A link of one byte that ends inside a field.
    let span = [span.encode_to_vec(), vec![0x6a, 1, 0x0a]].concat();
    let field = |tag: u8, content: &[u8]| {
        let len = u8::try_from(content.len()).unwrap();
        [&[tag, len][..], content].concat()
    };
    let request = field(0x0a, &field(0x12, &field(0x12, &span)));
    let (summary, spans) = whole(&request);
    assert_eq!(
        (summary.spans, spans.len(), summary.unreadable_records),
        (1, 0, 1)
    );
    assert!(
        summary.findings[0].message.contains("the rest of a span"),
        "{:?}",
        summary.findings
    );
    assert_eq!(read(&request).0.unreadable_records, 0);
}
