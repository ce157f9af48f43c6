//! OTLP/JSON: an `ExportTraceServiceRequest` as text.
//!
//! Ids are hexadecimal, 64-bit numbers are strings or numbers, enums are numbers (names are read too), unknown fields
//! are ignored, and `null` is as good as absent, as the OTLP specification and proto3's JSON mapping have it.

pub(in crate::receiver) mod read;
pub(in crate::receiver) mod value;

use crate::model::batch::{EventBatch, Rejection};
use crate::model::span::SpanKind;
use crate::receiver::collect::randomness_of;
use crate::receiver::json::read::{Span, SpanVisitor, read_request};
use crate::receiver::json::value::{Keys, text_of};
use crate::trace::sampling::Randomness;
use crate::window::event::detail::{is_call, newest_failed, push_details};
use crate::window::event::{
    EventRules, OperationScratch, ResourceAttributes, Sampling, Scalar, SpanInput, SpanStatus,
    Weighing, push_resource, push_span,
};

/// Fills `batch` from OTLP/JSON.
pub fn collect_json(
    request: &[u8],
    rules: &EventRules,
    batch: &mut EventBatch,
    scratch: &mut OperationScratch,
) -> Result<(), serde_json::Error> {
    batch.clear();
    let request = std::str::from_utf8(request).map_err(serde::de::Error::custom)?;
    let mut collector = Collector {
        batch,
        rules,
        weighing: Sampling::Full.into(),
        scratch,
        is_pushed: false,
        is_watched: false,
    };
    read_request(request, &["resourceSpans"], &mut collector)
}

struct Collector<'b> {
    batch: &'b mut EventBatch,
    rules: &'b EventRules,
    weighing: Weighing,
    scratch: &'b mut OperationScratch,
    /// Whether the resource is in the batch. One without events takes a few bytes of a request and must not take more of
    /// ours.
    is_pushed: bool,
    is_watched: bool,
}

impl SpanVisitor for Collector<'_> {
    fn version_key(&self) -> &[u8] {
        self.rules.version_key()
    }

    fn resource(&mut self, resource: &ResourceAttributes<'_>, _text: &str) {
        self.weighing = self.rules.weighing(resource.service_name());
        self.is_pushed = false;
        self.is_watched = self.rules.is_watched(resource, self.scratch);
    }

    #[inline]
    fn is_watched(&mut self, _: &ResourceAttributes<'_>) -> bool {
        self.is_watched
    }

    fn span<K: Keys>(
        &mut self,
        resource: &ResourceAttributes<'_>,
        span: &Span<'_, K>,
        _text: &str,
    ) -> Result<(), serde_json::Error> {
        let (kind, start, end, status) = numbers(span)?;
        let Some(span_id) = span_id(span) else {
            self.batch.reject(Rejection::InvalidId);
            return Ok(());
        };
        let input = SpanInput {
            name: text_of(span.name.as_ref()).as_bytes(),
            kind,
            has_parent: has_parent(text_of(span.parent_span_id.as_ref())),
            span_id: &span_id,
            trace_state: text_of(span.trace_state.as_ref()).as_bytes(),
            start,
            end,
            status,
            randomness: if self.batch.wants_randomness {
                randomness(span).map_or(0, Randomness::number)
            } else {
                0
            },
            attributes: span.attributes.of_span(),
        };
        let entry_kinds = self.rules.entry_kinds;
        let is_entry = entry_kinds.is_entry(kind, input.has_parent);
        if !self.is_pushed && (is_entry || self.is_watched && is_call(kind)) {
            push_resource(self.batch, self.scratch, resource);
            self.is_pushed = true;
        }
        push_span(
            self.batch,
            self.scratch,
            &input,
            entry_kinds,
            &self.weighing,
        );
        if self.is_watched {
            let trace_id = text_of(span.trace_id.as_ref());
            let failed = is_entry && newest_failed(self.batch);
            let exception = failed.then(|| span.exception_type()).flatten();
            let mut details = span.attributes.of_details();
            if let Some(exception) = &exception {
                details.set_exception(Scalar::Text(exception.as_bytes()));
            }
            push_details(
                self.batch,
                &input,
                &details,
                (trace_id.as_bytes(), is_entry, &self.weighing),
            );
        }
        Ok(())
    }
}

/// Names of the kinds in the order of their numbers.
const KIND_NAMES: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];

/// Names of the status codes in the order of their numbers.
const STATUS_NAMES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

/// Kind, start, end and status, as the protocol allows them and no other way.
pub(in crate::receiver) fn numbers<K>(
    span: &Span<'_, K>,
) -> Result<(SpanKind, u64, u64, SpanStatus), serde_json::Error> {
    let status = match &span.status {
        Some(status) => status.code.whole(&STATUS_NAMES)?,
        None => 0,
    };
    Ok((
        SpanKind::from_otlp(span.kind.whole(&KIND_NAMES)?),
        span.start_time_unix_nano.whole(&[])?,
        span.end_time_unix_nano.whole(&[])?,
        SpanStatus::from_otlp(status),
    ))
}

/// The randomness of the span's trace; `None` if its id is not what it must be.
pub(in crate::receiver) fn randomness<K>(span: &Span<'_, K>) -> Option<Randomness> {
    let trace_state = text_of(span.trace_state.as_ref()).as_bytes();
    Some(randomness_of(&trace_id(span)?, trace_state))
}

/// The bytes of the trace id, `None` if it is not what it must be.
pub(in crate::receiver) fn trace_id<K>(span: &Span<'_, K>) -> Option<[u8; 16]> {
    let id = text_of(span.trace_id.as_ref());
    let id = is_hex_id(id, 32).then(|| u128::from_str_radix(id, 16).ok());
    id.flatten().map(u128::to_be_bytes)
}

/// The bytes of the span id, `None` if an id is not what it must be.
pub(in crate::receiver) fn span_id<K>(span: &Span<'_, K>) -> Option<[u8; 8]> {
    let trace_id = text_of(span.trace_id.as_ref());
    let span_id = text_of(span.span_id.as_ref());
    (is_hex_id(trace_id, 32) && is_hex_id(span_id, 16))
        .then(|| span_id_bytes(span_id))
        .flatten()
}

/// The bytes of a hexadecimal span id.
pub(in crate::receiver) fn span_id_bytes(id: &str) -> Option<[u8; 8]> {
    let is_hex = id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = is_hex.then(|| u64::from_str_radix(id, 16).ok());
    number.flatten().map(u64::to_be_bytes)
}

/// Whether there is a parent; one of zeros is none.
pub(in crate::receiver) fn has_parent(parent_span_id: &str) -> bool {
    parent_span_id.bytes().any(|byte| byte != b'0')
}

fn is_hex_id(id: &str, len: usize) -> bool {
    id.len() == len
        && id.bytes().all(|byte| byte.is_ascii_hexdigit())
        && id.bytes().any(|byte| byte != b'0')
}

#[cfg(test)]
pub(super) mod tests;
