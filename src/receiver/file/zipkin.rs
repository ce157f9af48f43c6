//! Zipkin v2 JSON: a list of spans, or a list of traces that are such lists, times in microseconds.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use crate::model::span::SpanKind;
use crate::model::trace::{Attributes, SpanEvent};
use crate::receiver::file::FileSink;
use crate::receiver::file::collector::{Collector, FileSpan};
use crate::receiver::file::lenient::{Time, span_kind, start_and_duration};
use crate::receiver::file::tags::{Tags, tag_details};
use crate::receiver::file::whole::{FileDetails, instant};
use crate::receiver::json::value::{BorrowedText, Number, text_of};
use crate::receiver::json::{has_parent, span_id_bytes};
use crate::receiver::whole::json::{list, number, plain_value, string};
use crate::receiver::whole::{Details, lower_case};
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
    let file_span = FileSpan {
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
    collector.span(&service, &file_span, || details(text));
    Ok(())
}

/// What the windows do not read.
fn details(text: &str) -> Result<FileDetails, serde_json::Error> {
    let span: Value = serde_json::from_str(text)?;
    let span_id = string(&span, "id");
    let tags = span.get("tags").and_then(Value::as_object);
    let tags = tags
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value));
    let mut said = tag_details(tags);
    if let Some(remote) = span.get("remoteEndpoint") {
        for (member, key) in REMOTE {
            if let Some(value) = remote.get(member).and_then(plain_value) {
                said.attributes.push((key.into(), value));
            }
        }
    }
    let events = list(&span, "annotations").map(|annotation| SpanEvent {
        at: instant(&number(annotation, "timestamp")).unwrap_or(0),
        name: string(annotation, "value").into(),
        attributes: Attributes::new(),
    });
    let is_shared = span.get("shared") == Some(&Value::Bool(true));
    let details = Details {
        events: events.collect(),
        trace_id: lower_case(string(&span, "traceId")),
        // The client's half has the same id.
        parent_span_id: if is_shared {
            span_id.clone()
        } else {
            string(&span, "parentId")
        },
        span_id,
        ..said
    };
    Ok(FileDetails {
        resource: Arc::default(),
        details,
    })
}

/// The members of an endpoint, and the attributes that say the same.
const REMOTE: [(&str, &str); 4] = [
    ("serviceName", "peer.service"),
    ("ipv4", "network.peer.address"),
    ("ipv6", "network.peer.address"),
    ("port", "network.peer.port"),
];
