//! Whole spans: what the windows read of a span, by the same rules, with all the rest that it says.
//!
//! Off the hot path: the readers here build messages and JSON values.

pub mod decode;
pub(in crate::receiver) mod json;
pub(in crate::receiver) mod keep;
pub(in crate::receiver) mod protobuf;

use std::sync::Arc;

use data_encoding::HEXLOWER_PERMISSIVE;

use crate::model::trace::{Attributes, SpanEvent, SpanLink, StatusCode, TraceResource, TraceSpan};
use crate::window::event::{EventRules, ResourceAttributes, SpanInput, SpanStatus, describe};

/// What only whole spans hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::receiver) struct Details {
    pub trace_id: String,
    pub span_id: String,
    /// Empty, or of zeros, for a root.
    pub parent_span_id: String,
    pub scope: String,
    pub status_message: String,
    pub attributes: Attributes,
    pub events: Vec<SpanEvent>,
    pub links: Vec<SpanLink>,
}

/// A span of a resource, whole.
pub(in crate::receiver) fn trace_span(
    span: &SpanInput<'_>,
    resource: Arc<TraceResource>,
    mut details: Details,
    rules: &EventRules,
) -> TraceSpan {
    let described = describe(span, resource.service.name.as_bytes(), rules);
    details.events.sort_by_key(|event| event.at);
    let parent = lower_case(details.parent_span_id);
    TraceSpan {
        span_id: lower_case(details.span_id).into(),
        parent_span_id: span.has_parent.then(|| parent.into()),
        resource,
        scope: details.scope.into(),
        name: String::from_utf8_lossy(span.name).into(),
        operation: described.operation.into(),
        kind: span.kind,
        start: span.start,
        end: span.end,
        status: match span.status {
            SpanStatus::Unset => StatusCode::Unset,
            SpanStatus::Ok => StatusCode::Ok,
            SpanStatus::Error => StatusCode::Error,
        },
        status_message: details.status_message.into(),
        outcome: described.outcome,
        is_entry: described.is_entry,
        weight: described.weight,
        attributes: details.attributes,
        events: details.events,
        links: details.links,
    }
}

/// A resource of the service that the rules of events see, whole.
pub(in crate::receiver) fn trace_resource(
    service: &ResourceAttributes<'_>,
    attributes: Attributes,
) -> TraceResource {
    let (service, version) = service.key();
    TraceResource {
        service,
        version,
        attributes,
    }
}

/// Ids of hexadecimal digits in one case, so that one id is one text; others as they are.
pub(in crate::receiver) fn lower_case(mut id: String) -> String {
    if HEXLOWER_PERMISSIVE.decode_len(id.len()).is_ok()
        && id.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        id.make_ascii_lowercase();
    }
    id
}

/// Adds an attribute; of those with one key the last holds, in the place of the first.
pub(in crate::receiver) fn put(
    attributes: &mut Attributes,
    key: &str,
    value: crate::model::trace::AttributeValue,
) {
    match attributes.iter_mut().find(|(name, _)| **name == *key) {
        Some((_, held)) => *held = value,
        None => attributes.push((key.into(), value)),
    }
}
