//! Zipkin v2 JSON: a list of spans, or a list of traces that are such lists, times in microseconds.

use serde::Deserialize;

use crate::model::span::SpanKind;
use crate::receiver::file::FileSink;
use crate::receiver::file::collector::{Collector, FileSpan};
use crate::receiver::file::lenient::{Time, span_kind, start_and_duration};
use crate::receiver::file::tags::Tags;
use crate::receiver::json::value::{BorrowedText, Number, text_of};
use crate::receiver::json::{has_parent, span_id_bytes};
use crate::window::event::Scalar;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Span<'a> {
    #[serde(borrow, default)]
    id: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    trace_id: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    parent_id: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    kind: Number<'a>,
    #[serde(borrow, default)]
    name: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    timestamp: Number<'a>,
    #[serde(borrow, default)]
    duration: Number<'a>,
    #[serde(borrow, default)]
    local_endpoint: Option<Endpoint<'a>>,
    #[serde(borrow, default)]
    tags: Tags<'a>,
    /// The server's half of a span that its client began: the client's half is its parent.
    #[serde(default)]
    shared: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint<'a> {
    #[serde(borrow, default)]
    service_name: Option<BorrowedText<'a>>,
}

/// Reads a span.
pub(super) fn span<S: FileSink>(
    text: &str,
    collector: &mut Collector<'_, S>,
) -> Result<(), serde_json::Error> {
    let span: Span<'_> = serde_json::from_str(text)?;
    let times = Time::read("timestamp", &span.timestamp)
        .and_then(|start| start_and_duration(start, &span.duration));
    let times = match times {
        Ok(times) => times,
        Err(error) => {
            collector.unreadable("the span", error);
            return Ok(());
        }
    };
    let version_key = collector.rules.version_key();
    let said = span.tags.read(version_key);
    let mut service = said.service;
    let endpoint = span.local_endpoint.as_ref();
    if let Some(name) = endpoint.and_then(|endpoint| endpoint.service_name.as_ref())
        && !name.as_ref().is_empty()
    {
        let name = Scalar::Text(name.as_ref().as_bytes());
        service.set(b"service.name", name, version_key);
    }
    let kind = span_kind(&span.kind);
    let id = text_of(span.id.as_ref());
    let id_bytes = span_id_bytes(id);
    let span = FileSpan {
        name: text_of(span.name.as_ref()).as_bytes(),
        // No kind means work inside a service.
        kind: if kind == SpanKind::Unspecified {
            SpanKind::Internal
        } else {
            kind
        },
        has_parent: has_parent(text_of(span.parent_id.as_ref())) || span.shared == Some(true),
        trace_id: text_of(span.trace_id.as_ref()).as_bytes(),
        parent_span_id: if span.shared == Some(true) {
            id.as_bytes()
        } else {
            text_of(span.parent_id.as_ref()).as_bytes()
        },
        span_id: id_bytes.as_ref().map_or(id.as_bytes(), |bytes| bytes),
        trace_state: said.trace_state,
        times,
        status: said.status,
        attributes: said.attributes,
        details: said.details,
    };
    collector.span(&service, &span);
    Ok(())
}
