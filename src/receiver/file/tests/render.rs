//! One list of spans, written in every format that can carry it.

use std::io::Write;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as trace;
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};

use crate::model::span::SpanKind;
use crate::receiver::file::TraceFormat;
use crate::receiver::json::tests::{hex, request_json};

/// A span that every format can carry: Zipkin has no spans of unspecified kind, and half of the formats count time in
/// microseconds.
#[derive(Clone, Debug)]
pub(super) struct PlainSpan {
    pub service: Vec<(&'static str, &'static str)>,
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    pub parent: Option<[u8; 8]>,
    pub name: String,
    pub kind: SpanKind,
    pub start_micros: u64,
    pub duration_micros: u64,
    /// The OTLP number.
    pub status: u8,
    pub trace_state: &'static str,
    pub attributes: Vec<(&'static str, Value)>,
}

pub(super) fn plain_span() -> impl Strategy<Value = PlainSpan> {
    let service = prop::sample::select(vec![
        vec![("service.name", "checkout")],
        vec![("service.name", "checkout"), ("service.version", "2")],
        vec![
            ("service.name", "cart"),
            ("service.namespace", "shop"),
            ("deployment.environment.name", "prod"),
        ],
    ]);
    let attribute = prop::sample::select(vec![
        ("http.request.method", json!("GET")),
        ("http.route", json!("/users/{id}")),
        ("http.response.status_code", json!(200)),
        ("http.response.status_code", json!(503)),
        ("rpc.grpc.status_code", json!(14)),
        ("messaging.destination.name", json!("orders \"new\"")),
        ("messaging.operation.name", json!("process")),
        ("url.full", json!("https://example.com/[]{}\\\"")),
    ]);
    let attributes = prop::collection::btree_map(0..6_u8, attribute, 0..4);
    let times = (
        1_600_000_000_000_000..1_900_000_000_000_000_u64,
        0..90_000_000_u64,
    );
    let ids = (
        any::<[u8; 16]>(),
        any::<[u8; 8]>(),
        any::<Option<[u8; 8]>>(),
    );
    let trace_state = prop::sample::select(vec!["", "ot=th:c", "a=b,ot=th:8;rv:1"]);
    let what = (
        service,
        "[a-z /é\"]{1,12}",
        1..6_usize,
        0..3_u8,
        trace_state,
    );
    (what, ids, times, attributes).prop_map(|(what, ids, times, attributes)| PlainSpan {
        service: what.0,
        trace_id: ids.0,
        span_id: ids.1,
        parent: ids.2.filter(|id| *id != [0; 8]),
        name: what.1,
        kind: SpanKind::ALL[what.2],
        start_micros: times.0,
        duration_micros: times.1,
        status: what.3,
        trace_state: what.4,
        attributes: attributes
            .into_values()
            .collect::<std::collections::BTreeMap<_, _>>()
            .into_iter()
            .collect(),
    })
}

fn key_value((key, value): &(&str, Value)) -> KeyValue {
    let value = match value.as_i64() {
        Some(number) => Any::IntValue(number),
        None => Any::StringValue(value.as_str().unwrap().to_owned()),
    };
    KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

impl PlainSpan {
    fn service_attributes(&self) -> Vec<(&'static str, Value)> {
        let service = self.service.iter();
        service.map(|(key, value)| (*key, json!(value))).collect()
    }

    fn otlp(&self) -> trace::Span {
        trace::Span {
            trace_id: self.trace_id.to_vec(),
            span_id: self.span_id.to_vec(),
            parent_span_id: self.parent.map_or_else(Vec::new, |id| id.to_vec()),
            trace_state: self.trace_state.to_owned(),
            name: self.name.clone(),
            kind: i32::from(self.kind.number()),
            start_time_unix_nano: self.start_micros * 1_000,
            end_time_unix_nano: (self.start_micros + self.duration_micros) * 1_000,
            attributes: self.attributes.iter().map(key_value).collect(),
            status: Some(trace::Status {
                code: i32::from(self.status),
                ..trace::Status::default()
            }),
            ..trace::Span::default()
        }
    }

    /// The seed's way: the service among the span's attributes, the status as a word.
    fn flat(&self) -> Value {
        let attributes: Vec<Value> = self
            .attributes
            .iter()
            .cloned()
            .chain(self.service_attributes())
            .map(|(key, value)| {
                let member = if value.is_string() {
                    "stringValue"
                } else {
                    "intValue"
                };
                json!({"key": key, "value": {member: value}})
            })
            .collect();
        let status = ["UNSET", "OK", "ERROR"][usize::from(self.status)];
        json!({
            "traceId": hex(&self.trace_id),
            "spanId": hex(&self.span_id),
            "parentSpanId": self.parent.map(|id| hex(&id)),
            "traceState": self.trace_state,
            "name": self.name,
            "kind": self.kind.label(),
            "startTimeUnixNano": self.start_micros * 1_000,
            "endTimeUnixNano": (self.start_micros + self.duration_micros) * 1_000,
            "attributes": attributes,
            "status": {"code": status},
        })
    }

    /// What Jaeger and Zipkin have no member for.
    fn extra_tags(&self) -> Vec<(&'static str, Value)> {
        let mut tags = self.attributes.clone();
        match self.status {
            1 => tags.push(("otel.status_code", json!("OK"))),
            2 => tags.push(("error", json!(true))),
            _ => {}
        }
        if !self.trace_state.is_empty() {
            tags.push(("w3c.tracestate", json!(self.trace_state)));
        }
        tags
    }

    fn jaeger(&self, process: usize) -> Value {
        let mut tags = self.extra_tags();
        tags.push(("span.kind", json!(self.kind.label())));
        let tag = |(key, value): &(&str, Value)| json!({"key": key, "type": "any", "value": value});
        let tags: Vec<Value> = tags.iter().map(tag).collect();
        let trace_id = hex(&self.trace_id);
        let reference =
            |id: [u8; 8]| json!({"refType": "CHILD_OF", "traceID": trace_id, "spanID": hex(&id)});
        json!({
            "traceID": trace_id,
            "spanID": hex(&self.span_id),
            "operationName": self.name,
            "references": self.parent.into_iter().map(reference).collect::<Vec<_>>(),
            "startTime": self.start_micros,
            "duration": self.duration_micros,
            "tags": tags,
            "logs": [],
            "processID": format!("p{process}"),
            "warnings": null,
        })
    }

    fn process(&self) -> Value {
        let tags = self
            .service_attributes()
            .into_iter()
            .filter(|(key, _)| *key != "service.name");
        let tags: Vec<Value> = tags
            .map(|(key, value)| json!({"key": key, "type": "string", "value": value}))
            .collect();
        json!({"serviceName": self.service[0].1, "tags": tags})
    }

    fn zipkin(&self) -> Value {
        let mut tags = self.extra_tags();
        tags.extend(self.service_attributes().into_iter().skip(1));
        let text = |value: &Value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        };
        let tags: serde_json::Map<String, Value> = tags
            .iter()
            .map(|(key, value)| ((*key).to_owned(), json!(text(value))))
            .collect();
        let kind = (self.kind != SpanKind::Internal).then(|| self.kind.label().to_uppercase());
        json!({
            "traceId": hex(&self.trace_id),
            "id": hex(&self.span_id),
            "parentId": self.parent.map(|id| hex(&id)),
            "kind": kind,
            "name": self.name,
            "timestamp": self.start_micros,
            "duration": self.duration_micros,
            "localEndpoint": {"serviceName": self.service[0].1, "ipv4": "10.0.0.1"},
            "tags": tags,
        })
    }
}

fn request(spans: &[PlainSpan]) -> ExportTraceServiceRequest {
    let resource_spans = spans.chunk_by(|left, right| left.service == right.service);
    let resource_spans = resource_spans.map(|spans| trace::ResourceSpans {
        resource: Some(Resource {
            attributes: spans[0]
                .service_attributes()
                .iter()
                .map(key_value)
                .collect(),
            ..Resource::default()
        }),
        scope_spans: vec![trace::ScopeSpans {
            spans: spans.iter().map(PlainSpan::otlp).collect(),
            ..trace::ScopeSpans::default()
        }],
        ..trace::ResourceSpans::default()
    });
    ExportTraceServiceRequest {
        resource_spans: resource_spans.collect(),
    }
}

/// A request with one span.
pub(super) fn message() -> ExportTraceServiceRequest {
    request(&[PlainSpan {
        service: vec![("service.name", "checkout")],
        trace_id: [1; 16],
        span_id: [2; 8],
        parent: None,
        name: "work".to_owned(),
        kind: SpanKind::Server,
        start_micros: 1_710_000_000_000_000,
        duration_micros: 450_000,
        status: 0,
        trace_state: "",
        attributes: Vec::new(),
    }])
}

fn lines(values: impl IntoIterator<Item = Value>) -> Vec<u8> {
    let lines = values.into_iter().map(|value| format!("{value}\n"));
    lines.collect::<String>().into_bytes()
}

fn four_bytes(message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).unwrap();
    [&len.to_be_bytes()[..], message].concat()
}

/// The spans in every format and layout.
pub(super) fn render(spans: &[PlainSpan]) -> Vec<(TraceFormat, &'static str, Vec<u8>)> {
    let halves = spans.split_at(spans.len() / 2);
    let requests = [request(halves.0), request(halves.1)];
    let documents = requests.each_ref().map(request_json);
    let messages = requests.each_ref().map(Message::encode_to_vec);
    let delimited = requests
        .each_ref()
        .map(Message::encode_length_delimited_to_vec);
    let all = request(spans);
    let flat: Vec<Value> = spans.iter().map(PlainSpan::flat).collect();
    let zipkin: Vec<Value> = spans.iter().map(PlainSpan::zipkin).collect();
    let processes = spans.iter().enumerate();
    let processes: serde_json::Map<String, Value> = processes
        .map(|(number, span)| (format!("p{number}"), span.process()))
        .collect();
    let jaeger: Vec<Value> = spans
        .iter()
        .enumerate()
        .map(|(n, span)| span.jaeger(n))
        .collect();
    let jaeger = json!({"data": [{"traceID": "x", "spans": jaeger, "processes": processes}]});
    let text = |value: &Value| value.to_string().into_bytes();
    let pretty = |value: &Value| format!("{value:#}\n").into_bytes();
    vec![
        (TraceFormat::OtlpJson, "document", text(&request_json(&all))),
        (TraceFormat::OtlpJson, "pretty", pretty(&request_json(&all))),
        (TraceFormat::OtlpJson, "lines", lines(documents.clone())),
        (
            TraceFormat::OtlpJson,
            "two documents",
            documents.map(|document| pretty(&document)).concat(),
        ),
        (TraceFormat::OtlpProtobuf, "single", all.encode_to_vec()),
        (
            TraceFormat::OtlpProtobuf,
            "four bytes",
            messages.map(|message| four_bytes(&message)).concat(),
        ),
        (TraceFormat::OtlpProtobuf, "delimited", delimited.concat()),
        (TraceFormat::SpanList, "list", text(&json!(flat))),
        (TraceFormat::SpanList, "pretty", pretty(&json!(flat))),
        (TraceFormat::SpanList, "lines", lines(flat)),
        (TraceFormat::JaegerJson, "document", text(&jaeger)),
        (TraceFormat::JaegerJson, "pretty", pretty(&jaeger)),
        (TraceFormat::ZipkinJson, "list", text(&json!(zipkin))),
        (TraceFormat::ZipkinJson, "traces", text(&json!([zipkin]))),
        (TraceFormat::ZipkinJson, "lines", lines(zipkin)),
    ]
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The same bytes in every packing.
pub(super) fn packed(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let (first, second) = bytes.split_at(bytes.len() / 2);
    vec![
        ("plain", bytes.to_vec()),
        ("gzip", gzip(bytes)),
        ("gzip in two members", [gzip(first), gzip(second)].concat()),
        ("zstd", zstd(bytes)),
        (
            "zstd in messages",
            [four_bytes(&zstd(first)), four_bytes(&zstd(second))].concat(),
        ),
    ]
}
