//! Jaeger JSON: `{"data": [{"traceID": …, "spans": […], "processes": {…}}]}`, times in microseconds.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::model::trace::{Attributes, SpanEvent, SpanLink};
use crate::receiver::file::FileSink;
use crate::receiver::file::collector::{Collector, FileSpan};
use crate::receiver::file::cursor::{Cursor, Fault};
use crate::receiver::file::documents::read_next;
use crate::receiver::file::lenient::{NoTime, Time, start_and_duration};
use crate::receiver::file::tags::{Tags, attributes_of, tag_details, text_of_value};
use crate::receiver::file::whole::{FileDetails, instant};
use crate::receiver::json::read::for_each;
use crate::receiver::json::value::{BorrowedText, Number, text_of};
use crate::receiver::json::{has_parent, span_id_bytes};
use crate::receiver::whole::json::{list, number, string};
use crate::receiver::whole::{Details, lower_case};
use crate::window::event::{ResourceAttributes, Scalar};

/// A trace. It is a record: the processes that its spans name stand behind them.
#[derive(Deserialize)]
struct Trace<'a> {
    #[serde(borrow, default)]
    spans: Option<&'a RawValue>,
    #[serde(borrow, default)]
    processes: Option<BTreeMap<String, Process<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Process<'a> {
    #[serde(borrow, default)]
    service_name: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    tags: Tags<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JaegerSpan<'a> {
    #[serde(borrow, default, rename = "traceID")]
    trace_id: Option<BorrowedText<'a>>,
    #[serde(borrow, default, rename = "spanID")]
    span_id: Option<BorrowedText<'a>>,
    /// Before there were references.
    #[serde(borrow, default, rename = "parentSpanID")]
    parent_span_id: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    operation_name: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    references: Option<Vec<Reference<'a>>>,
    #[serde(borrow, default)]
    start_time: Number<'a>,
    #[serde(borrow, default)]
    duration: Number<'a>,
    #[serde(borrow, default)]
    tags: Tags<'a>,
    #[serde(borrow, default, rename = "processID")]
    process_id: Option<BorrowedText<'a>>,
    /// In place of `processID`, outside of a trace.
    #[serde(borrow, default)]
    process: Option<Process<'a>>,
}

#[derive(Deserialize)]
struct Reference<'a> {
    #[serde(borrow, default, rename = "traceID")]
    trace_id: Option<BorrowedText<'a>>,
    #[serde(borrow, default, rename = "spanID")]
    span_id: Option<BorrowedText<'a>>,
}

/// Reads a document trace by trace.
pub(super) fn document<R: Read, S: FileSink>(
    cursor: &mut Cursor<R>,
    collector: &mut Collector<'_, S>,
) -> Result<(), Fault> {
    cursor.for_each_member(|cursor, name| match name {
        "data" => {
            cursor.for_each_element(|cursor| read_next(cursor, "the trace", collector, trace))
        }
        _ => cursor.skip_value(),
    })
}

fn trace<S: FileSink>(
    text: &str,
    collector: &mut Collector<'_, S>,
) -> Result<(), serde_json::Error> {
    let trace: Trace<'_> = serde_json::from_str(text)?;
    let processes = trace.processes.unwrap_or_default();
    let Some(spans) = trace.spans else {
        return Ok(());
    };
    for_each(spans.get(), S::IS_WHOLE, |span: JaegerSpan<'_>, text| {
        let by_id = processes.get(text_of(span.process_id.as_ref()));
        let process = span.process.as_ref().or(by_id);
        if let Err(error) = take(&span, process, text, collector) {
            collector.unreadable("a span of the trace", error);
        }
    })
}

fn take<S: FileSink>(
    span: &JaegerSpan<'_>,
    process: Option<&Process<'_>>,
    text: &str,
    collector: &mut Collector<'_, S>,
) -> Result<(), NoTime> {
    let start = Time::read("startTime", &span.start_time)?;
    let times = start_and_duration(start, &span.duration)?;
    let version_key = collector.rules.version_key();
    let said = span.tags.read(version_key);
    let of_process =
        process.map_or_else(ResourceAttributes::default, |own| own.service(version_key));
    let service = if of_process.names_service() {
        of_process
    } else {
        said.service.or(of_process)
    };
    let span_id = text_of(span.span_id.as_ref());
    let span_id_bytes = span_id_bytes(span_id);
    let parent_span_id = span.parent();
    let file_span = FileSpan {
        name: text_of(span.operation_name.as_ref()).as_bytes(),
        kind: said.kind,
        has_parent: parent_span_id.is_some(),
        trace_id: text_of(span.trace_id.as_ref()).as_bytes(),
        parent_span_id: parent_span_id.unwrap_or_default().as_bytes(),
        span_id: span_id_bytes
            .as_ref()
            .map_or(span_id.as_bytes(), |bytes| bytes),
        trace_state: said.trace_state,
        times,
        status: said.status,
        attributes: said.attributes,
        details: said.details,
    };
    collector.span(&service, &file_span, || {
        Ok::<_, serde_json::Error>(FileDetails {
            resource: Arc::new(
                process.map_or_else(Attributes::new, |process| process.tags.attributes()),
            ),
            details: Details {
                parent_span_id: parent_span_id.unwrap_or_default().to_owned(),
                ..details(&serde_json::from_str(text)?)
            },
        })
    });
    Ok(())
}

/// What the windows do not read.
fn details(span: &Value) -> Details {
    let trace_id = string(span, "traceID");
    let tags = tag_details(list(span, "tags").map(pair));
    let events = list(span, "logs").map(|log| {
        let mut attributes = attributes_of(list(log, "fields").map(pair));
        let name = attributes.iter().position(|(key, _)| **key == *"event");
        let name = name.map(|place| attributes.remove(place).1);
        SpanEvent {
            at: instant(&number(log, "timestamp")).unwrap_or(0),
            name: name.map_or_else(Box::default, text_of_value),
            attributes,
        }
    });
    let links = list(span, "references")
        .filter(|reference| string(reference, "traceID") != trace_id)
        .map(|reference| SpanLink {
            trace_id: lower_case(string(reference, "traceID")).into(),
            span_id: lower_case(string(reference, "spanID")).into(),
        });
    Details {
        events: events.collect(),
        links: links.collect(),
        trace_id: lower_case(trace_id),
        span_id: string(span, "spanID"),
        ..tags
    }
}

fn pair(tag: &Value) -> (&str, &Value) {
    let key = tag.get("key").and_then(Value::as_str);
    (
        key.unwrap_or_default(),
        tag.get("value").unwrap_or(&Value::Null),
    )
}

impl Process<'_> {
    fn service(&self, version_key: &[u8]) -> ResourceAttributes<'_> {
        let mut service = self.tags.read(version_key).service;
        if let Some(name) = &self.service_name {
            let name = Scalar::Text(name.as_ref().as_bytes());
            service.set(b"service.name", name, version_key);
        }
        service
    }
}

impl JaegerSpan<'_> {
    /// References of either type are parents, if they are of the same trace; others are links.
    fn parent(&self) -> Option<&str> {
        let trace_id = text_of(self.trace_id.as_ref());
        let of_trace = self.references.iter().flatten().filter(|reference| {
            let of_trace = reference.trace_id.as_ref();
            of_trace.is_none_or(|of_trace| of_trace.as_ref() == trace_id)
        });
        let referred = of_trace.map(|reference| text_of(reference.span_id.as_ref()));
        let mut named = std::iter::once(text_of(self.parent_span_id.as_ref())).chain(referred);
        named.find(|id| has_parent(id))
    }
}
