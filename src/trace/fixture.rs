//! Small traces for tests.

use std::sync::Arc;

use crate::model::series::ServiceKey;
use crate::model::span::{Outcome, SpanKind};
use crate::model::trace::{Completeness, StatusCode, Trace, TraceResource, TraceSpan};

/// A span that ended well: id, parent (empty for none), service, kind, start and end in nanoseconds.
pub(crate) fn span(
    id: &str,
    parent: &str,
    service: &str,
    kind: SpanKind,
    (start, end): (u64, u64),
) -> TraceSpan {
    TraceSpan {
        span_id: id.into(),
        parent_span_id: (!parent.is_empty()).then(|| parent.into()),
        resource: Arc::new(TraceResource {
            service: ServiceKey::named(service),
            version: "".into(),
            attributes: Vec::new(),
        }),
        scope: "".into(),
        name: id.into(),
        operation: id.into(),
        kind,
        start,
        end,
        status: StatusCode::Unset,
        status_message: "".into(),
        outcome: Outcome::Ok,
        is_entry: kind == SpanKind::Server,
        weight: 1.0,
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
    }
}

/// The same span, failed.
pub(crate) fn failed(span: TraceSpan) -> TraceSpan {
    TraceSpan {
        status: StatusCode::Error,
        outcome: Outcome::Error,
        ..span
    }
}

/// A trace of these spans, as they stand.
pub(crate) fn trace(spans: Vec<TraceSpan>) -> Trace {
    Trace {
        trace_id: "t".into(),
        spans,
        completeness: Completeness::Complete,
    }
}
