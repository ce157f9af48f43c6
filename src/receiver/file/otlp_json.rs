//! OTLP/JSON documents of any size, and spans that are written as in OTLP/JSON.

use std::io::Read;

use crate::receiver::file::FileSink;
use crate::receiver::file::collector::{Collector, FileSpan};
use crate::receiver::file::cursor::{Cursor, Fault};
use crate::receiver::file::documents::{read_next, read_record};
use crate::receiver::file::lenient::{NoTime, Time, span_kind, span_status, start_and_end};
use crate::receiver::json::read::{
    Span, SpanVisitor, read_request, read_resource, read_resource_spans, read_scope_spans,
};
use crate::receiver::json::value::{All, Few, Keys, text_of};
use crate::receiver::json::{has_parent, span_id_bytes};
use crate::window::event::detail::DetailAttributes;
use crate::window::event::{ResourceAttributes, Scalar, SpanStatus};

/// The list of a request; Tempo calls it `batches`.
const LISTS: [&str; 2] = ["resourceSpans", "batches"];

/// Reads an `ExportTraceServiceRequest` whole.
pub(super) fn request<S: FileSink>(
    text: &str,
    collector: &mut Collector<'_, S>,
) -> Result<(), serde_json::Error> {
    read_request(text, &LISTS, &mut Spans(collector))
}

/// Reads a span of a flat list.
pub(super) fn span<S: FileSink>(
    text: &str,
    collector: &mut Collector<'_, S>,
) -> Result<(), serde_json::Error> {
    read_span(text, &ResourceAttributes::default(), collector)
}

/// Reads a span, all of its attributes where somebody looks closer or where it may be its own resource.
fn read_span<S: FileSink>(
    text: &str,
    resource: &ResourceAttributes<'_>,
    collector: &mut Collector<'_, S>,
) -> Result<(), serde_json::Error> {
    let mut spans = Spans(collector);
    if spans.is_watched(resource) {
        return spans.span(resource, &serde_json::from_str::<Span<'_, All>>(text)?);
    }
    spans.span(resource, &serde_json::from_str::<Span<'_, Few>>(text)?)
}

/// Reads an `ExportTraceServiceRequest` resource by resource; one that is longer than a record is read in parts.
pub(super) fn document<R: Read, S: FileSink>(
    cursor: &mut Cursor<R>,
    collector: &mut Collector<'_, S>,
) -> Result<(), Fault> {
    cursor.for_each_member(|cursor, name| {
        if LISTS.contains(&name) {
            cursor.for_each_element(|cursor| resource_spans(cursor, collector))
        } else {
            cursor.skip_value()
        }
    })
}

/// Longer elements are read in parts, if nothing in them has to wait for what comes later.
pub(super) const WHOLE_BYTES_MAX: usize = 1 << 20;

fn resource_spans<R: Read, S: FileSink>(
    cursor: &mut Cursor<R>,
    collector: &mut Collector<'_, S>,
) -> Result<(), Fault> {
    let mut len = cursor.value_len_within(WHOLE_BYTES_MAX);
    if matches!(len, Err(Fault::TooLarge { .. })) && !begins_with_resource(cursor.unread()) {
        len = cursor.value_len();
    }
    match len {
        Ok(len) => {
            read_record(
                cursor,
                len,
                "the element of resourceSpans",
                collector,
                |text, collector| read_resource_spans(text, &mut Spans(collector)),
            );
            Ok(())
        }
        Err(Fault::TooLarge { .. }) => resource_spans_in_parts(cursor, collector),
        Err(fault) => Err(fault),
    }
}

/// Every known writer puts the resource before its spans.
fn begins_with_resource(resource_spans: &[u8]) -> bool {
    let members = resource_spans.strip_prefix(b"{").unwrap_or_default();
    members.trim_ascii_start().starts_with(b"\"resource\"")
}

fn resource_spans_in_parts<R: Read, S: FileSink>(
    cursor: &mut Cursor<R>,
    collector: &mut Collector<'_, S>,
) -> Result<(), Fault> {
    let mut resource = "null".to_owned();
    let mut has_spans = false;
    cursor.for_each_member(|cursor, name| match name {
        "resource" => {
            collector.begin_record(cursor.place());
            if has_spans {
                let why = "it stands after its spans, in an element that is longer than max_record_bytes; \
                           the spans before it are counted without it";
                collector.unreadable("the resource", why);
            }
            let len = cursor.value_len()?;
            let text = cursor.unread().get(..len).unwrap_or_default();
            resource = String::from_utf8_lossy(text).into_owned();
            cursor.consume(len);
            Ok(())
        }
        "scopeSpans" => {
            has_spans = true;
            let read = read_resource(&resource, |attributes| {
                let resource = attributes.of_resource(collector.rules.version_key());
                cursor.for_each_element(|cursor| scope_spans(cursor, &resource, collector))
            });
            read.unwrap_or_else(|error| Err(Fault::Unreadable(error.to_string())))
        }
        _ => cursor.skip_value(),
    })
}

fn scope_spans<R: Read, S: FileSink>(
    cursor: &mut Cursor<R>,
    resource: &ResourceAttributes<'_>,
    collector: &mut Collector<'_, S>,
) -> Result<(), Fault> {
    match cursor.value_len_within(WHOLE_BYTES_MAX) {
        Ok(len) => {
            read_record(
                cursor,
                len,
                "the element of scopeSpans",
                collector,
                |text, collector| read_scope_spans(text, resource, &mut Spans(collector)),
            );
            Ok(())
        }
        Err(Fault::TooLarge { .. }) => cursor.for_each_member(|cursor, name| match name {
            "spans" => cursor.for_each_element(|cursor| {
                read_next(cursor, "the span", collector, |text, collector| {
                    read_span(text, resource, collector)
                })
            }),
            _ => cursor.skip_value(),
        }),
        Err(fault) => Err(fault),
    }
}

/// Takes spans in every way of writing them.
struct Spans<'c, 's, S>(&'c mut Collector<'s, S>);

impl<S: FileSink> SpanVisitor for Spans<'_, '_, S> {
    fn version_key(&self) -> &[u8] {
        self.0.rules.version_key()
    }

    fn resource(&mut self, _: &ResourceAttributes<'_>) {}

    fn is_watched(&mut self, resource: &ResourceAttributes<'_>) -> bool {
        !resource.names_service() || self.0.is_watched(resource)
    }

    fn span<K: Keys>(
        &mut self,
        resource: &ResourceAttributes<'_>,
        span: &Span<'_, K>,
    ) -> Result<(), serde_json::Error> {
        let times = match times(span) {
            Ok(times) => times,
            Err(error) => {
                self.0.unreadable("a span of the record", error);
                return Ok(());
            }
        };
        let service = if resource.names_service() {
            *resource
        } else {
            let version_key = self.0.rules.version_key();
            span.attributes.of_resource(version_key).or(*resource)
        };
        let exception;
        let mut details = DetailAttributes::default();
        if self.0.is_watched(&service) {
            details = span.attributes.of_details();
            exception = span.exception_type();
            if let Some(exception) = &exception {
                details.set_exception(Scalar::Text(exception.as_bytes()));
            }
        }
        let span_id = text_of(span.span_id.as_ref());
        let span_id_bytes = span_id_bytes(span_id);
        let span = FileSpan {
            name: text_of(span.name.as_ref()).as_bytes(),
            kind: span_kind(&span.kind),
            has_parent: has_parent(text_of(span.parent_span_id.as_ref())),
            trace_id: text_of(span.trace_id.as_ref()).as_bytes(),
            parent_span_id: text_of(span.parent_span_id.as_ref()).as_bytes(),
            span_id: span_id_bytes
                .as_ref()
                .map_or(span_id.as_bytes(), |bytes| bytes),
            trace_state: text_of(span.trace_state.as_ref()).as_bytes(),
            times,
            status: span
                .status
                .as_ref()
                .map_or(SpanStatus::Unset, |status| span_status(&status.code)),
            attributes: span.attributes.of_span(),
            details,
        };
        self.0.span(&service, &span);
        Ok(())
    }
}

fn times<K>(span: &Span<'_, K>) -> Result<Option<(u64, u64)>, NoTime> {
    let start = Time::read("startTimeUnixNano", &span.start_time_unix_nano)?;
    let end = Time::read("endTimeUnixNano", &span.end_time_unix_nano)?;
    Ok(start_and_end(start, end))
}
