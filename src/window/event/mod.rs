//! From a span to an event: which spans count, what their operation is, how they ended and what they weigh.
//!
//! Old and new keys of the semantic conventions are both read.

pub mod asked;
mod described;
pub mod detail;
mod rules;
mod service;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::model::UnixNanos;
use crate::model::batch::{BatchResource, Event, EventBatch, Rejection, Text};
use crate::model::series::{SeriesId, ServiceKey, UNKNOWN_SERVICE};
use crate::model::span::{Outcome, SpanKind};
use crate::model::trace_state;
pub use crate::window::event::asked::Weighing;
pub use crate::window::event::described::{Described, describe};
pub use crate::window::event::rules::{EntryKinds, EventRules};
pub use crate::window::operation::OperationScratch;
use crate::window::operation::{OPERATION_BYTES_MAX, template};

/// The value of an attribute, as far as it is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// Text, not necessarily UTF-8.
    Text(&'a [u8]),
    /// A whole number.
    Int(i64),
}

impl<'a> Scalar<'a> {
    fn text(self) -> Option<&'a [u8]> {
        match self {
            Scalar::Text(text) if !text.is_empty() => Some(text),
            Scalar::Text(_) | Scalar::Int(_) => None,
        }
    }

    /// Some SDKs write numbers as text.
    fn int(self) -> Option<i64> {
        match self {
            Scalar::Int(value) => Some(value),
            Scalar::Text(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        }
    }
}

/// The attributes of a resource that are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResourceAttributes<'a> {
    service: Option<&'a [u8]>,
    namespace: Option<&'a [u8]>,
    environment: Option<&'a [u8]>,
    environment_old: Option<&'a [u8]>,
    version: Option<&'a [u8]>,
}

impl<'a> ResourceAttributes<'a> {
    /// The service's name, or [`UNKNOWN_SERVICE`].
    pub fn service_name(&self) -> &'a [u8] {
        self.service.unwrap_or(UNKNOWN_SERVICE.as_bytes())
    }

    /// Name, namespace, environment and version of the service, as a batch keeps them.
    fn identity(&self) -> [&'a [u8]; 4] {
        let environment = self.environment.or(self.environment_old);
        [
            self.service_name(),
            self.namespace.unwrap_or_default(),
            environment.unwrap_or_default(),
            self.version.unwrap_or_default(),
        ]
        .map(bounded)
    }

    /// Whether a key may be one that is read.
    pub fn may_read(key: &[u8]) -> bool {
        key.starts_with(b"service.") || key.starts_with(b"deployment.")
    }

    /// Takes an attribute if it is one that is read. `version_key` is the one that tells versions apart.
    pub fn set(&mut self, key: &[u8], value: Scalar<'a>, version_key: &[u8]) {
        if key == version_key {
            self.version = value.text();
        }
        match key {
            b"service.name" => self.service = value.text(),
            b"service.namespace" => self.namespace = value.text(),
            b"deployment.environment.name" => self.environment = value.text(),
            b"deployment.environment" => self.environment_old = value.text(),
            _ => {}
        }
    }
}

/// The attributes of a span that are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpanAttributes<'a> {
    http_method: Option<&'a [u8]>,
    http_route: Option<&'a [u8]>,
    http_status: Option<i64>,
    rpc_service: Option<&'a [u8]>,
    rpc_method: Option<&'a [u8]>,
    grpc_status: Option<Scalar<'a>>,
    messaging_operation: Option<&'a [u8]>,
    messaging_template: Option<&'a [u8]>,
    messaging_destination: Option<&'a [u8]>,
}

impl<'a> SpanAttributes<'a> {
    /// Whether a key may be one that is read; cheap, to skip the values of the others.
    #[inline]
    pub fn may_read(key: &[u8]) -> bool {
        matches!(key, [b'h', b't', ..] | [b'r', b'p', ..] | [b'm', b'e', ..])
    }

    /// Takes an attribute if it is one that is read.
    #[inline]
    pub fn set(&mut self, key: &[u8], value: Scalar<'a>) {
        match key {
            b"http.request.method" | b"http.method" => self.http_method = value.text(),
            b"http.route" => self.http_route = value.text(),
            b"http.response.status_code" | b"http.status_code" => self.http_status = value.int(),
            b"rpc.service" => self.rpc_service = value.text(),
            b"rpc.method" => self.rpc_method = value.text(),
            b"rpc.grpc.status_code" | b"rpc.response.status_code" => self.grpc_status = Some(value),
            b"messaging.operation.name" => self.messaging_operation = value.text(),
            b"messaging.operation.type" | b"messaging.operation" => {
                self.messaging_operation = self.messaging_operation.or(value.text());
            }
            b"messaging.destination.template" => self.messaging_template = value.text(),
            b"messaging.destination.name" | b"messaging.destination" => {
                self.messaging_destination = value.text();
            }
            _ => {}
        }
    }
}

/// The status of a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpanStatus {
    /// Nothing said.
    #[default]
    Unset,
    /// Explicitly fine, which wins over every other sign.
    Ok,
    /// An error.
    Error,
}

impl SpanStatus {
    /// The status with this OTLP number.
    pub fn from_otlp(number: u64) -> Self {
        match number {
            1 => Self::Ok,
            2 => Self::Error,
            _ => Self::Unset,
        }
    }
}

/// A span as every receiver hands it over, borrowed.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpanInput<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its kind.
    pub kind: SpanKind,
    /// Whether it has a parent.
    pub has_parent: bool,
    /// Its span id.
    pub span_id: &'a [u8],
    /// W3C tracestate.
    pub trace_state: &'a [u8],
    /// Start.
    pub start: UnixNanos,
    /// End.
    pub end: UnixNanos,
    /// Status code.
    pub status: SpanStatus,
    /// Randomness of the trace, where whole traces are kept.
    pub randomness: u64,
    /// Attributes that are read.
    pub attributes: SpanAttributes<'a>,
}

/// What is true of the sampling of a service whose spans do not say it in their tracestate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Sampling {
    /// Every span arrives.
    #[default]
    Full,
    /// This share of the traces arrives, 0 < share ≤ 1.
    Ratio(f64),
    /// Nobody knows: counts are used as they are, candidates never become ready.
    Unknown,
}

impl Serialize for Sampling {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Full => serializer.serialize_str("full"),
            Self::Unknown => serializer.serialize_str("unknown"),
            Self::Ratio(ratio) => serializer.serialize_f64(*ratio),
        }
    }
}

impl<'de> Deserialize<'de> for Sampling {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "full" => Ok(Self::Full),
            "unknown" => Ok(Self::Unknown),
            ratio => match ratio.parse::<f64>() {
                Ok(ratio) if ratio > 0.0 && ratio <= 1.0 => Ok(Self::Ratio(ratio)),
                Ok(_) | Err(_) => Err(serde::de::Error::custom(format!(
                    "sampling `{text}` is not `full`, `unknown` or a ratio above 0 and at most 1"
                ))),
            },
        }
    }
}

/// Begins a resource: the spans pushed after it are its own.
pub fn push_resource(
    batch: &mut EventBatch,
    scratch: &mut OperationScratch,
    resource: &ResourceAttributes<'_>,
) {
    let [service, namespace, environment, version] =
        resource.identity().map(|text| batch.push_text(text));
    let entry = BatchResource {
        service_hash: ServiceKey::hash_parts(
            &mut scratch.buffer,
            batch.bytes(namespace),
            batch.bytes(environment),
            batch.bytes(service),
        ),
        namespace,
        environment,
        service,
        version,
        ..BatchResource::default()
    };
    batch.resources.push(entry);
}

fn bounded(text: &[u8]) -> &[u8] {
    text.get(..OPERATION_BYTES_MAX).unwrap_or(text)
}

/// Adds a span of the newest resource, if it is an event. Spans of every kind are counted.
#[inline]
pub fn push_span(
    batch: &mut EventBatch,
    scratch: &mut OperationScratch,
    span: &SpanInput<'_>,
    entry_kinds: EntryKinds,
    weighing: &Weighing,
) {
    if span.end < span.start {
        batch.reject(Rejection::EndBeforeStart);
        return;
    }
    batch.spans += 1;
    batch.roots += u64::from(!span.has_parent);
    if batch.wants_randomness {
        batch.randomness.push(span.randomness);
    }
    if !entry_kinds.is_entry(span.kind, span.has_parent) {
        return;
    }
    let (operation, series) = operation_of(batch, scratch, span);
    let weight = weight_of(span, weighing);
    batch.events.push(Event {
        series,
        operation,
        end: span.end,
        duration_nanos: span.end - span.start,
        weight,
        count: whole_count(weight, span.span_id),
        randomness: span.randomness,
        kind: span.kind,
        outcome: outcome_of(span),
        excluded: false,
    });
    if let Some(resource) = batch.resources.last_mut() {
        resource.events += 1;
    }
}

/// The operation as the span says it, and the series of its template.
#[inline]
fn operation_of(
    batch: &mut EventBatch,
    scratch: &mut OperationScratch,
    span: &SpanInput<'_>,
) -> (Text, SeriesId) {
    let service_hash = batch
        .resources
        .last()
        .map_or(0, |resource| resource.service_hash);
    let (arena, begin) = batch.begin_text();
    // The prefix makes what is hashed one piece.
    arena.extend_from_slice(&service_hash.to_le_bytes());
    arena.push(span.kind.number());
    let start = arena.len();
    write_operation(arena, span);
    let named = xxh3_128(arena.get(begin..).unwrap_or_default());
    let operation = batch.end_text(start);
    let series = scratch.series_of(named, || {
        let name = template(batch.bytes(operation));
        let buffer = &mut Vec::with_capacity(96);
        SeriesId::of_operation(buffer, service_hash, span.kind, name.as_bytes())
    });
    (operation, series)
}

/// `GET /users/{id}`, else `pkg.Svc/Method`, else `process orders`, else the span's name.
#[inline]
fn write_operation(out: &mut Vec<u8>, span: &SpanInput<'_>) {
    let attributes = &span.attributes;
    let destination = attributes
        .messaging_template
        .or(attributes.messaging_destination);
    let (first, between, second) = if let (Some(method), Some(route)) =
        (attributes.http_method, attributes.http_route)
    {
        (method, &b" "[..], route)
    } else if let (Some(service), Some(method)) = (attributes.rpc_service, attributes.rpc_method) {
        (service, &b"/"[..], method)
    } else if let Some(method) = attributes.rpc_method {
        (method, &b""[..], &b""[..])
    } else if let (Some(operation), Some(destination)) =
        (attributes.messaging_operation, destination)
    {
        (operation, &b" "[..], destination)
    } else {
        (span.name, &b""[..], &b""[..])
    };
    out.extend_from_slice(first);
    out.extend_from_slice(between);
    out.extend_from_slice(second);
}

/// How a span ended, by the rules of entry spans.
pub fn outcome_of(span: &SpanInput<'_>) -> Outcome {
    let failed = match span.status {
        SpanStatus::Ok => false,
        SpanStatus::Error => true,
        SpanStatus::Unset => {
            let server_error = span.kind != SpanKind::Consumer
                && span.attributes.http_status.is_some_and(|code| code >= 500);
            server_error
                || span
                    .attributes
                    .grpc_status
                    .is_some_and(is_grpc_server_error)
        }
    };
    if failed { Outcome::Error } else { Outcome::Ok }
}

/// The gRPC codes for which the server is to blame, by number or by name.
fn is_grpc_server_error(code: Scalar<'_>) -> bool {
    match code {
        Scalar::Int(code) => matches!(code, 2 | 4 | 12 | 13 | 14 | 15),
        Scalar::Text(name) => matches!(
            name,
            b"UNKNOWN"
                | b"DEADLINE_EXCEEDED"
                | b"UNIMPLEMENTED"
                | b"INTERNAL"
                | b"UNAVAILABLE"
                | b"DATA_LOSS"
                | b"2"
                | b"4"
                | b"12"
                | b"13"
                | b"14"
                | b"15"
        ),
    }
}

/// Greater weights are cut to this, the greatest whole count: a single one would drown every sum that it enters.
const WEIGHT_MAX: f64 = u32::MAX as f64;

/// 2⁵⁶/(2⁵⁶−T) from `ot=th:T` of the tracestate, else what is configured, else what its sender was asked.
#[inline]
pub fn weight_of(span: &SpanInput<'_>, weighing: &Weighing) -> f64 {
    if !span.trace_state.is_empty()
        && let Some(weight) = tracestate_weight(span.trace_state)
    {
        return weight.min(WEIGHT_MAX);
    }
    match weighing {
        Weighing::Said(Sampling::Full | Sampling::Unknown) => 1.0,
        Weighing::Said(Sampling::Ratio(ratio)) => (1.0 / ratio).min(WEIGHT_MAX),
        Weighing::Asked(own) => own.weight(span).min(WEIGHT_MAX),
    }
}

/// The adjusted count of the OpenTelemetry entry of a tracestate (OpenTelemetry specification, probability sampling).
pub fn tracestate_weight(trace_state: &[u8]) -> Option<f64> {
    let threshold = trace_state::threshold(trace_state)?;
    // The difference of the whole numbers: as floats, a threshold near 2⁵⁶ would be 2⁵⁶.
    let all = 1_u64 << 56;
    Some(all as f64 / (all - threshold) as f64)
}

/// ⌊w⌋ + [hash(span id) < frac(w)]: right on average and the same on every replica.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to u32 before"
)]
fn whole_count(weight: f64, span_id: &[u8]) -> u32 {
    #[expect(clippy::float_cmp, reason = "exactly 1 is what unsampled events carry")]
    if weight == 1.0 {
        return 1;
    }
    let hash = xxh3_64(span_id) as f64 / u64::MAX as f64;
    let whole = weight.floor() + f64::from(u8::from(hash < weight.fract()));
    whole.clamp(0.0, f64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests;
