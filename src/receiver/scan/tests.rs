//! The scan against the prost decode of the same bytes, however an encoder may have written them.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::prelude::*;
use proptest::sample::Index;
use prost::Message;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::*;

/// What is compared of an attribute: the key and the text or number.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Text(Vec<u8>, Vec<u8>),
    Int(Vec<u8>, i64),
}

#[derive(Clone, Debug, Default, PartialEq)]
struct SeenSpan {
    ids: [Vec<u8>; 3],
    trace_state: Vec<u8>,
    name: Vec<u8>,
    kind: i32,
    times: [u64; 2],
    status_code: i32,
    attributes: Vec<Seen>,
}

/// The attributes of each resource and its spans.
type SeenRequest = Vec<(Vec<Seen>, Vec<SeenSpan>)>;

fn seen(key: &[u8], value: Scalar<'_>) -> Seen {
    match value {
        Scalar::Text(text) => Seen::Text(key.to_vec(), text.to_vec()),
        Scalar::Int(number) => Seen::Int(key.to_vec(), number),
    }
}

#[derive(Default)]
struct Collected(SeenRequest);

fn enum_value(number: u64) -> i32 {
    u32::try_from(number).unwrap().cast_signed()
}

impl<'a> Visitor<'a> for Collected {
    fn resource(&mut self, resource: ResourceView<'a>) -> Result<(), Malformed> {
        let mut attributes = Vec::new();
        resource.for_each_attribute(|key, value| attributes.push(seen(key, value)))?;
        self.0.push((attributes, Vec::new()));
        Ok(())
    }

    fn span(&mut self, span: &SpanView<'a>) -> Result<(), Malformed> {
        let mut attributes = Vec::new();
        span.for_each_attribute(|_| true, |key, value| attributes.push(seen(key, value)))?;
        let ids = [span.trace_id, span.span_id, span.parent_span_id];
        self.0.last_mut().unwrap().1.push(SeenSpan {
            ids: ids.map(<[u8]>::to_vec),
            trace_state: span.trace_state.to_vec(),
            name: span.name.to_vec(),
            kind: enum_value(span.kind),
            times: [span.start_time_unix_nano, span.end_time_unix_nano],
            status_code: enum_value(span.status_code),
            attributes,
        });
        Ok(())
    }
}

fn scanned(bytes: &[u8]) -> Result<SeenRequest, Malformed> {
    let mut collected = Collected::default();
    scan(bytes, &mut collected).map(|()| collected.0)
}

fn attributes_of(attributes: &[KeyValue]) -> Vec<Seen> {
    attributes
        .iter()
        .filter_map(|attribute| {
            let key = attribute.key.as_bytes();
            match attribute.value.as_ref()?.value.as_ref()? {
                Any::StringValue(text) => Some(seen(key, Scalar::Text(text.as_bytes()))),
                Any::IntValue(number) => Some(seen(key, Scalar::Int(*number))),
                Any::BoolValue(_)
                | Any::DoubleValue(_)
                | Any::ArrayValue(_)
                | Any::KvlistValue(_)
                | Any::BytesValue(_)
                | Any::StringValueStrindex(_) => None,
            }
        })
        .collect()
}

/// The same by prost: the oracle.
fn decoded(bytes: &[u8]) -> Result<SeenRequest, prost::DecodeError> {
    let request = ExportTraceServiceRequest::decode(bytes)?;
    let seen_of = |resource: &ResourceSpans| {
        let spans = resource.scope_spans.iter().flat_map(|scope| &scope.spans);
        let attributes = resource.resource.iter().flat_map(|held| &held.attributes);
        let spans = spans.map(|span| SeenSpan {
            ids: [&span.trace_id, &span.span_id, &span.parent_span_id].map(Vec::clone),
            trace_state: span.trace_state.clone().into(),
            name: span.name.clone().into(),
            kind: span.kind,
            times: [span.start_time_unix_nano, span.end_time_unix_nano],
            status_code: span.status.as_ref().map_or(0, |status| status.code),
            attributes: attributes_of(&span.attributes),
        });
        let attributes: Vec<KeyValue> = attributes.cloned().collect();
        (attributes_of(&attributes), spans.collect())
    };
    Ok(request.resource_spans.iter().map(seen_of).collect())
}

fn any_value() -> impl Strategy<Value = Option<AnyValue>> {
    let text = || ".{0,12}".prop_map(Any::StringValue);
    let value = prop_oneof![
        4 => text(),
        3 => any::<i64>().prop_map(Any::IntValue),
        1 => any::<bool>().prop_map(Any::BoolValue),
        1 => any::<f64>().prop_map(Any::DoubleValue),
        1 => prop::collection::vec(any::<u8>(), 0..8).prop_map(Any::BytesValue),
        1 => any::<i32>().prop_map(Any::StringValueStrindex),
        1 => prop::collection::vec(text(), 0..3).prop_map(|values| {
            let values = values.into_iter().map(|value| AnyValue { value: Some(value) });
            Any::ArrayValue(ArrayValue { values: values.collect() })
        }),
    ];
    prop::option::weighted(0.9, value.prop_map(|value| AnyValue { value: Some(value) }))
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let read = prop::sample::select(vec![
        "service.name",
        "deployment.environment",
        "service.version",
        "http.request.method",
        "http.route",
        "http.status_code",
        "rpc.method",
        "rpc.grpc.status_code",
        "messaging.operation",
        "messaging.destination.name",
    ]);
    let key = prop_oneof![3 => read.prop_map(String::from), 1 => "[a-z.é]{0,10}"];
    let attribute = (key, any_value()).prop_map(|(key, value)| KeyValue {
        key,
        value,
        ..KeyValue::default()
    });
    prop::collection::vec(attribute, 0..4)
}

fn id(len: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), len),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ]
}

fn span() -> impl Strategy<Value = Span> {
    let ids = (id(16), id(8), id(8));
    let texts = (".{0,20}", "(ot=th:[0-9a-f]{1,14})?");
    let numbers = (any::<i32>(), any::<u64>(), any::<u64>());
    let status = prop::option::of((".{0,5}", -1..4));
    (ids, texts, numbers, status, attributes()).prop_map(
        |(
            (trace_id, span_id, parent),
            (name, trace_state),
            (kind, start, end),
            status,
            attributes,
        )| Span {
            trace_id,
            span_id,
            parent_span_id: parent,
            name,
            trace_state,
            kind: kind % 7,
            start_time_unix_nano: start,
            end_time_unix_nano: end,
            attributes,
            status: status.map(|(message, code)| Status { message, code }),
            ..Span::default()
        },
    )
}

/// Requests with attributes that are read, and with some ids that cannot be used.
pub(in crate::receiver) fn requests() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scope = prop::collection::vec(span(), 0..3).prop_map(|spans| ScopeSpans {
        spans,
        schema_url: "https://opentelemetry.io/schemas/1.40.0".into(),
        ..ScopeSpans::default()
    });
    let resource = prop::option::of(attributes()).prop_map(|attributes| {
        attributes.map(|attributes| Resource {
            attributes,
            ..Resource::default()
        })
    });
    let resource_spans =
        (resource, prop::collection::vec(scope, 0..3)).prop_map(|(resource, scope_spans)| {
            ResourceSpans {
                resource,
                scope_spans,
                ..ResourceSpans::default()
            }
        });
    prop::collection::vec(resource_spans, 0..3)
        .prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

/// The messages on the way to what is read: which fields hold messages, and which of those are singular.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Request,
    ResourceSpans,
    Resource,
    ScopeSpans,
    Span,
    Status,
    KeyValue,
    AnyValue,
    Leaf,
}

impl Shape {
    fn child(self, field: u32) -> Option<Self> {
        Some(match (self, field) {
            (Self::Request, 1) => Self::ResourceSpans,
            (Self::ResourceSpans, 1) => Self::Resource,
            (Self::ResourceSpans, 2) => Self::ScopeSpans,
            (Self::Resource, 1) | (Self::Span, 9) => Self::KeyValue,
            (Self::ScopeSpans, 1) | (Self::AnyValue, 5 | 6) => Self::Leaf,
            (Self::ScopeSpans, 2) => Self::Span,
            (Self::Span, 15) => Self::Status,
            (Self::KeyValue, 2) => Self::AnyValue,
            _ => return None,
        })
    }

    fn is_singular(self) -> bool {
        matches!(self, Self::Resource | Self::Status | Self::AnyValue)
    }
}

/// Rewrites a message as another encoder might have written it. What it means stays, or changes for prost and the
/// scan alike.
struct Scrambler(StdRng);

impl Scrambler {
    fn varint(&mut self, mut value: u64, out: &mut Vec<u8>) {
        let minimal = (64 - value.leading_zeros()).div_ceil(7).max(1);
        let len = if self.0.random_bool(0.2) {
            self.0.random_range(minimal..=10)
        } else {
            minimal
        };
        for _ in 1..len {
            out.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        out.push(u8::try_from(value).unwrap());
    }

    /// Tags have 32 bits, but may be padded as well.
    fn tag(&mut self, number: u32, wire_type: u64, out: &mut Vec<u8>) {
        self.varint(u64::from(number) << 3 | wire_type, out);
    }

    fn bytes_field(&mut self, number: u32, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.tag(number, 2, &mut out);
        self.varint(bytes.len() as u64, &mut out);
        out.extend_from_slice(bytes);
        out
    }

    fn unknown(&mut self, depth: u32) -> Vec<u8> {
        let mut out = Vec::new();
        let number = self.0.random_range(100..(1 << 29));
        match self.0.random_range(0..if depth > 0 { 5 } else { 4 }) {
            0 => {
                self.tag(number, 0, &mut out);
                let value = self.0.random();
                self.varint(value, &mut out);
            }
            1 => {
                self.tag(number, 1, &mut out);
                out.extend_from_slice(&self.0.random::<[u8; 8]>());
            }
            2 => {
                self.tag(number, 5, &mut out);
                out.extend_from_slice(&self.0.random::<[u8; 4]>());
            }
            3 => out = self.bytes_field(number, b"\x0f\xff\x80 not a message"),
            _ => {
                self.tag(number, 3, &mut out);
                for _ in 0..self.0.random_range(0..3) {
                    out.extend(self.unknown(depth - 1));
                }
                self.tag(number, 4, &mut out);
            }
        }
        out
    }

    fn scramble(&mut self, message: &[u8], shape: Shape) -> Vec<u8> {
        let mut pieces: Vec<Vec<u8>> = Vec::new();
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next_field().unwrap() {
            let mut out = Vec::new();
            match value {
                Value::Varint(value) => {
                    self.tag(number, 0, &mut out);
                    self.varint(value, &mut out);
                }
                Value::Fixed64(value) => {
                    self.tag(number, 1, &mut out);
                    out.extend_from_slice(&value.to_le_bytes());
                }
                Value::Bytes(bytes) => {
                    let child = shape.child(number);
                    let parts = match child {
                        Some(child) if child.is_singular() && self.0.random_bool(0.3) => {
                            self.split(bytes)
                        }
                        _ => vec![bytes.to_vec()],
                    };
                    for part in parts {
                        let part = match child {
                            Some(child) => self.scramble(&part, child),
                            None => part,
                        };
                        pieces.push(self.bytes_field(number, &part));
                    }
                }
                Value::Other => continue,
            }
            if !out.is_empty() {
                pieces.push(out);
            }
        }
        self.add_noise(&mut pieces, shape);
        pieces.shuffle(&mut self.0);
        pieces.concat()
    }

    /// The fields of a message in two messages.
    fn split(&mut self, message: &[u8]) -> Vec<Vec<u8>> {
        let mut halves = vec![Vec::new(), Vec::new()];
        let mut fields = Fields::new(message);
        let mut before = fields.rest();
        while fields.next_field().unwrap().is_some() {
            let field = &before[..before.len() - fields.rest().len()];
            halves[self.0.random_range(0..2)].extend_from_slice(field);
            before = fields.rest();
        }
        halves
    }

    /// Unknown fields, and scalars that say something else before or after.
    fn add_noise(&mut self, pieces: &mut Vec<Vec<u8>>, shape: Shape) {
        while self.0.random_bool(0.3) {
            let unknown = self.unknown(3);
            pieces.push(unknown);
        }
        if self.0.random_bool(0.2) {
            let field = match shape {
                Shape::Span => {
                    let number = self.0.random_range(1..=5);
                    self.bytes_field(number, b"again")
                }
                Shape::KeyValue => self.bytes_field(1, b"again"),
                Shape::AnyValue => self.bytes_field(1, b"text again"),
                Shape::Status => {
                    let mut out = Vec::new();
                    self.tag(3, 0, &mut out);
                    // Enums have 32 bits; what is above them does not count.
                    let code = self.0.random_range(0..3) | (self.0.random::<u64>() << 32);
                    self.varint(code, &mut out);
                    out
                }
                Shape::Request
                | Shape::ResourceSpans
                | Shape::Resource
                | Shape::ScopeSpans
                | Shape::Leaf => return,
            };
            pieces.push(field);
        }
    }
}

fn scrambled(request: &ExportTraceServiceRequest, seed: u64) -> Vec<u8> {
    let mut scrambler = Scrambler(StdRng::seed_from_u64(seed));
    scrambler.scramble(&request.encode_to_vec(), Shape::Request)
}

/// Where prost accepts, the scan accepts and says the same.
fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(wanted) = decoded(bytes) {
        prop_assert_eq!(scanned(bytes), Ok(wanted));
    }
    Ok(())
}

proptest! {
    #[test]
    fn property_the_scan_says_what_prost_says(request in requests()) {
        let bytes = request.encode_to_vec();
        prop_assert_eq!(scanned(&bytes), Ok(decoded(&bytes).unwrap()));
    }

    #[test]
    fn property_another_encoding_says_the_same_to_both(request in requests(), seed: u64) {
        let bytes = scrambled(&request, seed);
        prop_assert_eq!(scanned(&bytes), Ok(decoded(&bytes).unwrap()));
    }

    #[test]
    fn property_no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes)?;
    }

    #[test]
    fn property_flipped_bits_never_make_the_scan_stricter_than_prost(
        request in requests(),
        seed: u64,
        flips in prop::collection::vec((any::<Index>(), 0..8_u8), 1..4),
    ) {
        let mut bytes = scrambled(&request, seed);
        for (at, bit) in flips {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
        }
        check(&bytes)?;
    }

    /// Wherever the bytes end, both see the same whole fields or none.
    #[test]
    fn property_a_truncated_request_is_refused_where_prost_refuses_it(
        request in requests(),
        seed: u64,
        at: Index,
    ) {
        let bytes = scrambled(&request, seed);
        let cut = &bytes[..at.index(bytes.len() + 1)];
        match decoded(cut) {
            Ok(wanted) => prop_assert_eq!(scanned(cut), Ok(wanted)),
            Err(_) => prop_assert!(scanned(cut).is_err()),
        }
    }

    /// The end is cut off inside of a span, and all lengths around it are made to fit.
    #[test]
    fn property_a_span_that_ends_inside_a_field_is_refused(span in span(), at: Index) {
        let span = span.encode_to_vec();
        let cut = &span[..at.index(span.len() + 1)];
        let mut scrambler = Scrambler(StdRng::seed_from_u64(0));
        let scope_spans = scrambler.bytes_field(2, cut);
        let resource_spans = scrambler.bytes_field(2, &scope_spans);
        let bytes = scrambler.bytes_field(1, &resource_spans);
        match decoded(&bytes) {
            Ok(wanted) => prop_assert_eq!(scanned(&bytes), Ok(wanted)),
            Err(_) => prop_assert!(scanned(&bytes).is_err()),
        }
    }
}

#[test]
fn a_key_that_is_said_twice_is_the_last_one_even_if_nobody_asks_for_the_first() {
    let mut scrambler = Scrambler(StdRng::seed_from_u64(1));
    let value = scrambler.bytes_field(1, b"/users");
    let key_value = [
        scrambler.bytes_field(2, &value),
        scrambler.bytes_field(1, b"other"),
        scrambler.bytes_field(1, b"http.route"),
    ]
    .concat();
    let span = scrambler.bytes_field(9, &key_value);
    let mut routes = Vec::new();
    SpanView::read(&span)
        .unwrap()
        .for_each_attribute(
            |key| key == b"http.route",
            |key, value| routes.push(seen(key, value)),
        )
        .unwrap();
    assert_eq!(
        routes,
        [Seen::Text(b"http.route".to_vec(), b"/users".to_vec())]
    );
}

#[test]
fn groups_nest_as_deep_as_prost_lets_them_and_no_deeper() {
    for depth in [1, 98, 99, 100, 101, 10_000] {
        let bytes = [vec![0x0b; depth], vec![0x0c; depth]].concat();
        let mut fields = Fields::new(&bytes);
        assert_eq!(fields.next_field().is_ok(), depth <= 100, "{depth}");
        check(&[&[0xa3, 0x06][..], &bytes, &[0xa4, 0x06]].concat()).unwrap();
    }
}
