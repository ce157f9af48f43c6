//! Requests that are encoded once and patched in place.
//!
//! Measuring a server needs a client that costs much less. A [`BatchTemplate`] is an export request encoded
//! by prost, together with the places of everything that has to change from one request to the next: ids,
//! times, and the outcome. All of these have a fixed width on the wire, so a copy of the template becomes a
//! new request by overwriting them.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, StandardNormal};

use crate::model::{NANOS_PER_SEC, UnixNanos};
use crate::traffic::attribute::{int, text};
use crate::traffic::batch::offsets::{SpanOffsets, span_offsets};

mod offsets;
#[cfg(test)]
mod tests;

/// The most operations that one service has; further series go to further services.
pub const OPERATIONS_PER_SERVICE: usize = 20;

/// `Status.code` and `http.response.status_code` on the wire. The varints of 200 and 500 are of one width, and
/// a zero that is written out means the same as one that is left out.
const SUCCESS: ([u8; 1], [u8; 2]) = ([0], [0xc8, 0x01]);
const FAILURE: ([u8; 1], [u8; 2]) = ([2], [0xf4, 0x03]);

/// Spans of a request end within this time before it is sent, as if the SDK had collected them.
const COLLECTED_WITHIN_NANOS: u64 = NANOS_PER_SEC;

/// What the requests look like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchShape {
    /// Spans in a request, at least 1.
    pub spans_per_request: usize,
    /// Attributes of a span. With 10 a span takes about 476 bytes.
    pub attributes: usize,
    /// Distinct pairs of service and operation, at least 1.
    pub series: usize,
    /// Share of the spans that are of kind SERVER, 0 to 1; the others are CLIENT. 1 is the hardest case for
    /// the server, which counts entry spans only.
    pub entry_ratio: f64,
    /// Share of the spans that fail, 0 to 1.
    pub error_ratio: f64,
}

impl Default for BatchShape {
    fn default() -> Self {
        Self {
            spans_per_request: 100,
            attributes: 10,
            series: 80,
            entry_ratio: 1.0,
            error_ratio: 0.001,
        }
    }
}

/// An encoded request and where its spans keep what changes.
#[derive(Clone, Debug)]
pub struct BatchTemplate {
    encoded: Vec<u8>,
    spans: Vec<SpanOffsets>,
}

impl BatchTemplate {
    /// Encodes a request whose spans belong to the series from `first_series` on, each in turn, starting again
    /// at 0 after the last.
    pub fn new(shape: &BatchShape, first_series: usize) -> Self {
        let encoded = request(shape, first_series).encode_to_vec();
        let spans = span_offsets(&encoded).unwrap_or_default();
        Self { encoded, spans }
    }

    /// As many templates as it takes for every series to come up.
    pub fn covering(shape: &BatchShape) -> Vec<Self> {
        let advance = (0..shape.spans_per_request)
            .filter(|position| advances(shape, *position))
            .count()
            .max(1);
        let templates = shape.series.max(1).div_ceil(advance);
        (0..templates)
            .map(|template| Self::new(shape, template * advance))
            .collect()
    }

    /// The bytes to copy before the first [`Self::patch`]; until then, what it overwrites holds fillers.
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// Number of spans in the request.
    pub fn span_count(&self) -> usize {
        self.spans.len()
    }

    /// Gives every span in `buffer`, a copy of [`Self::encoded`], new ids, a duration and an outcome; it ends
    /// within the second before `now`. A buffer of another length is left as it is.
    pub fn patch(&self, buffer: &mut [u8], variation: &Variation, seed: u64, now: UnixNanos) {
        if buffer.len() != self.encoded.len() {
            return;
        }
        let mut rng = SmallRng::seed_from_u64(seed);
        for span in &self.spans {
            let lots = rng.next_u64();
            let end = now.saturating_sub(lots % COLLECTED_WITHIN_NANOS);
            let start = end.saturating_sub(variation.duration(lots >> 32));
            overwrite(buffer, span.trace_id, not_zero(rng.next_u64()));
            overwrite(buffer, span.trace_id + 8, rng.next_u64().to_le_bytes());
            overwrite(buffer, span.span_id, not_zero(rng.next_u64()));
            overwrite(buffer, span.start, start.to_le_bytes());
            overwrite(buffer, span.end, end.to_le_bytes());
            let (status, http_status) = if variation.fails(rng.next_u64()) {
                FAILURE
            } else {
                SUCCESS
            };
            overwrite(buffer, span.status, status);
            if let Some(at) = span.http_status {
                overwrite(buffer, at, http_status);
            }
        }
    }
}

/// The random part of the spans, drawn beforehand: a lognormal sample a span would cost more than the rest.
#[derive(Clone, Debug)]
pub struct Variation {
    durations: Vec<u64>,
    /// A uniform 64-bit lot below this fails.
    failing_below: u64,
}

impl Variation {
    const DURATIONS: usize = 4_096;
    const SHORTEST_SECS: f64 = 0.001;
    const LONGEST_SECS: f64 = 2.0;
    const MEDIAN_SECS: f64 = 0.025;
    const SIGMA: f64 = 1.0;

    /// Durations are lognormal with a median of 25 ms, within 1 ms and 2 s; `error_ratio` of the spans fail.
    pub fn new(error_ratio: f64, seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let durations = (0..Self::DURATIONS)
            .map(|_| {
                let z: f64 = StandardNormal.sample(&mut rng);
                let secs = Self::MEDIAN_SECS * (Self::SIGMA * z).exp();
                let secs = secs.clamp(Self::SHORTEST_SECS, Self::LONGEST_SECS);
                whole(secs * NANOS_PER_SEC as f64)
            })
            .collect();
        Self {
            durations,
            failing_below: whole(error_ratio * 2_f64.powi(64)),
        }
    }

    fn duration(&self, lot: u64) -> u64 {
        let index = usize::try_from(lot).unwrap_or(0) % Self::DURATIONS;
        self.durations.get(index).copied().unwrap_or(0)
    }

    fn fails(&self, lot: u64) -> bool {
        lot < self.failing_below
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, which is what is wanted at both ends"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

/// The first half of a trace id or a span id; all zeros would be invalid.
fn not_zero(lot: u64) -> [u8; 8] {
    lot.max(1).to_le_bytes()
}

fn overwrite<const N: usize>(buffer: &mut [u8], at: usize, bytes: [u8; N]) {
    let place = buffer.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<N>);
    debug_assert!(place.is_some(), "{at} + {N} is beyond the request");
    if let Some(place) = place {
        *place = bytes;
    }
}

fn request(shape: &BatchShape, first_series: usize) -> ExportTraceServiceRequest {
    let mut resource_spans: Vec<ResourceSpans> = Vec::new();
    let mut current = None;
    let mut next_series = first_series;
    // Spans of one service stand together; a service that comes up again after the others goes on
    // in a resource of its own, as batches of several instances do.
    for position in 0..shape.spans_per_request.max(1) {
        let series = next_series % shape.series.max(1);
        next_series += usize::from(advances(shape, position));
        let service = series / OPERATIONS_PER_SERVICE;
        if current != Some(service) {
            resource_spans.push(resource(service));
            current = Some(service);
        }
        let scope = resource_spans
            .last_mut()
            .and_then(|resource| resource.scope_spans.last_mut());
        if let Some(scope) = scope {
            scope.spans.push(span(shape, series, position));
        }
    }
    ExportTraceServiceRequest { resource_spans }
}

/// Whether the span at `position` is an entry span; these are spread evenly.
fn is_entry(shape: &BatchShape, position: usize) -> bool {
    let entries_up_to = |position: usize| (position as f64 * shape.entry_ratio).floor();
    entries_up_to(position + 1) > entries_up_to(position)
}

/// Whether the next span belongs to the next series. A CLIENT span shares the series of the entry span after
/// it, so that a share below 1 still makes entries of every series.
fn advances(shape: &BatchShape, position: usize) -> bool {
    is_entry(shape, position) || shape.entry_ratio <= 0.0
}

fn resource(service: usize) -> ResourceSpans {
    let name = format!("service-{service:03}");
    let attributes = vec![
        text("service.instance.id", format!("{name}-6d4cf56db6-j7k2p")),
        text("service.namespace", "loadgen"),
        text("service.version", "1.4.2"),
        text("deployment.environment.name", "load"),
        text("host.name", format!("node-{:02}", service % 16)),
        text("k8s.pod.name", format!("{name}-6d4cf56db6-j7k2p")),
        text("telemetry.sdk.language", "java"),
        text("telemetry.sdk.name", "opentelemetry"),
        text("telemetry.sdk.version", "1.52.0"),
        text("service.name", name),
    ];
    let scope = InstrumentationScope {
        name: "io.opentelemetry.tomcat-10.0".to_owned(),
        version: "2.18.0-alpha".to_owned(),
        ..InstrumentationScope::default()
    };
    ResourceSpans {
        resource: Some(Resource {
            attributes,
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            scope: Some(scope),
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    }
}

fn span(shape: &BatchShape, series: usize, position: usize) -> Span {
    let operation = series % OPERATIONS_PER_SERVICE;
    let method = if operation % 4 == 3 { "POST" } else { "GET" };
    let route = format!("/api/v1/items-{operation:02}/{{id}}");
    let kind = if is_entry(shape, position) {
        SpanKind::Server
    } else {
        SpanKind::Client
    };
    Span {
        trace_id: vec![0; 16],
        span_id: vec![0; 8],
        parent_span_id: vec![0xa5; 8],
        name: format!("{method} {route}"),
        kind: kind.into(),
        // prost leaves zeros out: these hold the place that the first patch fills.
        start_time_unix_nano: u64::MAX,
        end_time_unix_nano: u64::MAX,
        attributes: attributes(shape.attributes, method, route, position),
        status: Some(Status {
            code: StatusCode::Error.into(),
            ..Status::default()
        }),
        flags: 0x301,
        ..Span::default()
    }
}

/// The first `count` of the attributes that a Java agent gives to an HTTP server span, then made-up ones.
fn attributes(count: usize, method: &str, route: String, position: usize) -> Vec<KeyValue> {
    let path = route.replace("{id}", &format!("{}", 480_000 + position));
    let mut attributes = vec![
        text("http.request.method", method),
        text("http.route", route),
        int("http.response.status_code", 200),
        text("url.path", path),
        text("url.scheme", "https"),
        text("server.address", "shop.example.com"),
        text(
            "client.address",
            format!("10.42.7.{}", 100 + position % 100),
        ),
        text(
            "user_agent.original",
            "Mozilla/5.0 (X11; Linux x86_64) Firefox/143.0",
        ),
        int("thread.id", 40),
        text("thread.name", "http-nio-exec-7"),
    ];
    for number in attributes.len()..count {
        attributes.push(text(
            &format!("app.attribute_{number:02}"),
            "a value of usual length",
        ));
    }
    attributes.truncate(count);
    attributes
}
