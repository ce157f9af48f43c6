//! From the views of a request to a batch of events.

use crate::model::batch::{EventBatch, Rejection};
use crate::model::span::SpanKind;
use crate::receiver::scan::{ResourceView, SpanView, Visitor, scan};
use crate::receiver::wire::Malformed;
use crate::trace::sampling::Randomness;
use crate::window::event::detail::{
    DetailAttributes, is_call, newest_failed, push_call, push_failure,
};
use crate::window::event::{
    EventRules, OperationScratch, ResourceAttributes, Sampling, SpanAttributes, SpanInput,
    SpanStatus, Weighing, push_resource, push_span,
};

/// Fills `batch` from the bytes of an `ExportTraceServiceRequest`.
pub fn collect_protobuf(
    request: &[u8],
    rules: &EventRules,
    batch: &mut EventBatch,
    scratch: &mut OperationScratch,
) -> Result<(), Malformed> {
    batch.clear();
    let mut collector = Collector {
        batch,
        rules,
        weighing: Sampling::Full.into(),
        scratch,
        pending: None,
        is_watched: false,
    };
    scan(request, &mut collector)
}

struct Collector<'a, 'b> {
    batch: &'b mut EventBatch,
    rules: &'b EventRules,
    weighing: Weighing,
    /// A resource without events yet: one that takes two bytes of a request must not take a hundred of ours.
    pending: Option<ResourceAttributes<'a>>,
    /// Whether the newest resource is looked at more closely.
    is_watched: bool,
    scratch: &'b mut OperationScratch,
}

impl<'a> Visitor<'a> for Collector<'a, '_> {
    fn resource(&mut self, resource: ResourceView<'a>) -> Result<(), Malformed> {
        let mut attributes = ResourceAttributes::default();
        let version_key = self.rules.version_key();
        resource.for_each_attribute(|key, value| attributes.set(key, value, version_key))?;
        self.is_watched = self.rules.is_watched(&attributes, self.scratch);
        self.weighing = self.rules.weighing(attributes.service_name());
        self.pending = Some(attributes);
        Ok(())
    }

    #[inline]
    fn span(&mut self, span: &SpanView<'a>) -> Result<(), Malformed> {
        if !is_valid_id(span.trace_id, 16) || !is_valid_id(span.span_id, 8) {
            self.batch.reject(Rejection::InvalidId);
            return Ok(());
        }
        let mut input = SpanInput {
            name: span.name,
            kind: SpanKind::from_otlp(span.kind),
            has_parent: span.parent_span_id.iter().any(|byte| *byte != 0),
            span_id: span.span_id,
            trace_state: span.trace_state,
            start: span.start_time_unix_nano,
            end: span.end_time_unix_nano,
            status: SpanStatus::from_otlp(span.status_code),
            randomness: if self.batch.wants_randomness {
                randomness_of(span.trace_id, span.trace_state).number()
            } else {
                0
            },
            attributes: SpanAttributes::default(),
        };
        let is_entry = self
            .rules
            .entry_kinds
            .is_entry(input.kind, input.has_parent);
        if is_entry {
            if let Some(resource) = self.pending.take() {
                push_resource(self.batch, self.scratch, &resource);
            }
            span.for_each_attribute(SpanAttributes::may_read, |key, value| {
                input.attributes.set(key, value);
            })?;
        }
        push_span(
            self.batch,
            self.scratch,
            &input,
            self.rules.entry_kinds,
            &self.weighing,
        );
        if self.is_watched {
            self.look_closer(span, input, is_entry)?;
        }
        Ok(())
    }
}

impl<'a> Collector<'a, '_> {
    /// Reads what went wrong in an entry span, and whom another one called.
    #[cold]
    fn look_closer(
        &mut self,
        span: &SpanView<'a>,
        mut input: SpanInput<'a>,
        is_entry: bool,
    ) -> Result<(), Malformed> {
        if is_entry && input.start <= input.end && newest_failed(self.batch) {
            let details = read_details(span)?;
            let trace_id = hex_of(span.trace_id);
            push_failure(self.batch, &input, &details, trace_id.as_bytes());
        } else if is_call(input.kind) {
            if let Some(resource) = self.pending.take() {
                push_resource(self.batch, self.scratch, &resource);
            }
            span.for_each_attribute(SpanAttributes::may_read, |key, value| {
                input.attributes.set(key, value);
            })?;
            let details = read_details(span)?;
            push_call(self.batch, &input, &details, &self.weighing);
        }
        Ok(())
    }
}

/// What the attributes and the events of a span say about errors and peers.
pub(in crate::receiver) fn read_details<'a>(
    span: &SpanView<'a>,
) -> Result<DetailAttributes<'a>, Malformed> {
    let mut details = DetailAttributes::default();
    span.for_each_attribute(DetailAttributes::may_read, |key, value| {
        details.set(key, value);
    })?;
    let is_type = |key: &[u8]| key == b"exception.type";
    span.for_each_event_attribute(is_type, |_, value| details.set_exception(value))?;
    Ok(details)
}

/// An id in hexadecimal.
pub(in crate::receiver) fn hex_of(id: &[u8]) -> String {
    let digits = id.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect()
}

/// What the tracestate says, else what the id says.
#[inline]
pub(in crate::receiver) fn randomness_of(trace_id: &[u8], trace_state: &[u8]) -> Randomness {
    if trace_state.is_empty() {
        return Randomness::of_trace_id(trace_id);
    }
    let said = Randomness::of_trace_state(trace_state);
    said.unwrap_or_else(|| Randomness::of_trace_id(trace_id))
}

/// Whether an id has so many bytes, and not all of them are zeros.
pub(in crate::receiver) fn is_valid_id(id: &[u8], len: usize) -> bool {
    id.len() == len && id.iter().any(|byte| *byte != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::settings::SliConfig;

    /// Two bytes of a request each: kept, they would take forty times the request's size.
    #[test]
    fn resources_without_events_take_no_memory() {
        let request = [0x0a, 0x00].repeat(100_000);
        let rules = EventRules::new(&SliConfig::default());
        let (mut batch, mut scratch) = (EventBatch::default(), OperationScratch::default());
        collect_protobuf(&request, &rules, &mut batch, &mut scratch).unwrap();
        assert!(batch.resources.is_empty() && batch.capacity_bytes() < 1_000);
    }
}
