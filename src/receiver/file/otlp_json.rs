//! OTLP/JSON documents of any size, and spans that are written as in OTLP/JSON.

use std::io::Read;
use std::sync::Arc;

use crate::model::trace::Attributes;
use crate::receiver::file::FileSink;
use crate::receiver::file::collector::{Collector, FileSpan};
use crate::receiver::file::cursor::{Cursor, Fault};
use crate::receiver::file::documents::{read_next, read_record};
use crate::receiver::file::lenient::{NoTime, Time, span_kind, span_status, start_and_end};
use crate::receiver::file::whole::{FileDetails, instant};
use crate::receiver::json::read::{
    Span, SpanVisitor, read_request, read_resource, read_resource_spans, read_scope_spans,
};
use crate::receiver::json::value::{All, Few, Keys, text_of};
use crate::receiver::json::{has_parent, span_id_bytes};
use crate::receiver::whole::json::{details as whole_details, resource_attributes, string};
use crate::window::event::detail::DetailAttributes;
use crate::window::event::{ResourceAttributes, Scalar, SpanStatus};

/// The list of a request; Tempo calls it `batches`.
const LISTS: [&str; 2] = ["resourceSpans", "batches"];

/// Reads an `ExportTraceServiceRequest` whole.
pub(super) fn request<S: FileSink>(
    text: &str,
    collector: &mut Collector<'_, S>,
) -> Result<(), serde_json::Error> {
    read_request(text, &LISTS, &mut Spans::new(collector))
}

/// Reads a span of a flat list.
pub(super) fn span<S: FileSink>(
    text: &str,
    collector: &mut Collector<'_, S>,
) -> Result<(), serde_json::Error> {
    read_span(text, &ResourceAttributes::default(), Spans::new(collector))
}

/// Reads a span, all of its attributes where somebody looks closer or where it may be its own resource.
fn read_span<S: FileSink>(
    text: &str,
    resource: &ResourceAttributes<'_>,
    mut spans: Spans<'_, '_, S>,
) -> Result<(), serde_json::Error> {
    if spans.is_watched(resource) {
        return spans.span(
            resource,
            &serde_json::from_str::<Span<'_, All>>(text)?,
            text,
        );
    }
    spans.span(
        resource,
        &serde_json::from_str::<Span<'_, Few>>(text)?,
        text,
    )
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
                |text, collector| read_resource_spans(text, &mut Spans::new(collector)),
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
                let resource = PartsOf {
                    read: attributes.of_resource(collector.rules.version_key()),
                    whole: whole_resource::<S>(&resource),
                };
                cursor.for_each_element(|cursor| scope_spans(cursor, &resource, collector))
            });
            read.unwrap_or_else(|error| Err(Fault::Unreadable(error.to_string())))
        }
        _ => cursor.skip_value(),
    })
}

fn scope_spans<R: Read, S: FileSink>(
    cursor: &mut Cursor<R>,
    resource: &PartsOf<'_>,
    collector: &mut Collector<'_, S>,
) -> Result<(), Fault> {
    match cursor.value_len_within(WHOLE_BYTES_MAX) {
        Ok(len) => {
            read_record(
                cursor,
                len,
                "the element of scopeSpans",
                collector,
                |text, collector| {
                    let spans = &mut Spans::of(resource, "", collector);
                    read_scope_spans(text, &resource.read, spans)
                },
            );
            Ok(())
        }
        Err(Fault::TooLarge { .. }) => {
            let mut scope = String::new();
            cursor.for_each_member(|cursor, name| match name {
                "spans" => cursor.for_each_element(|cursor| {
                    read_next(cursor, "the span", collector, |text, collector| {
                        let spans = Spans::of(resource, &scope, collector);
                        read_span(text, &resource.read, spans)
                    })
                }),
                "scope" if S::IS_WHOLE => read_next(cursor, "the scope", collector, |text, _| {
                    scope = string(&serde_json::from_str(text)?, "name");
                    Ok(())
                }),
                _ => cursor.skip_value(),
            })
        }
        Err(fault) => Err(fault),
    }
}

/// A resource that is longer than a record.
struct PartsOf<'a> {
    /// As the windows read it.
    read: ResourceAttributes<'a>,
    /// Where whole spans are wanted.
    whole: Arc<Attributes>,
}

fn whole_resource<S: FileSink>(text: &str) -> Arc<Attributes> {
    Arc::new(if S::IS_WHOLE {
        resource_attributes(text)
    } else {
        Attributes::new()
    })
}

/// Takes spans in every way of writing them.
struct Spans<'c, 's, S> {
    collector: &'c mut Collector<'s, S>,
    /// Where whole spans are wanted: attributes of the resource, and name of the scope.
    resource: Arc<Attributes>,
    scope: String,
}

impl<'c, 's, S: FileSink> Spans<'c, 's, S> {
    fn new(collector: &'c mut Collector<'s, S>) -> Self {
        Self {
            collector,
            resource: Arc::default(),
            scope: String::new(),
        }
    }

    fn of(resource: &PartsOf<'_>, scope: &str, collector: &'c mut Collector<'s, S>) -> Self {
        Self {
            collector,
            resource: Arc::clone(&resource.whole),
            scope: scope.to_owned(),
        }
    }
}

impl<S: FileSink> SpanVisitor for Spans<'_, '_, S> {
    const KEEPS_TEXT: bool = S::IS_WHOLE;

    fn version_key(&self) -> &[u8] {
        self.collector.rules.version_key()
    }

    fn resource(&mut self, _: &ResourceAttributes<'_>, text: &str) {
        if S::IS_WHOLE {
            self.resource = whole_resource::<S>(text);
        }
    }

    fn scope(&mut self, name: &str) {
        name.clone_into(&mut self.scope);
    }

    fn is_watched(&mut self, resource: &ResourceAttributes<'_>) -> bool {
        !resource.names_service() || self.collector.is_watched(resource)
    }

    fn span<K: Keys>(
        &mut self,
        resource: &ResourceAttributes<'_>,
        span: &Span<'_, K>,
        text: &str,
    ) -> Result<(), serde_json::Error> {
        let times = match times(span) {
            Ok(times) => times,
            Err(error) => {
                self.collector.unreadable("a span of the record", error);
                return Ok(());
            }
        };
        let service = if resource.names_service() {
            *resource
        } else {
            let version_key = self.collector.rules.version_key();
            span.attributes.of_resource(version_key).or(*resource)
        };
        let exception;
        let mut details = DetailAttributes::default();
        if self.collector.is_watched(&service) {
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
        let (whole, scope) = (&self.resource, &self.scope);
        self.collector.span(&service, &span, || {
            whole_details(text, scope, instant).map(|details| FileDetails {
                resource: Arc::clone(whole),
                details,
            })
        });
        Ok(())
    }
}

fn times<K>(span: &Span<'_, K>) -> Result<Option<(u64, u64)>, NoTime> {
    let start = Time::read("startTimeUnixNano", &span.start_time_unix_nano)?;
    let end = Time::read("endTimeUnixNano", &span.end_time_unix_nano)?;
    Ok(start_and_end(start, end))
}
