//! OTLP in protobuf: one `ExportTraceServiceRequest`, or many with their lengths before them.

use std::io::Read;
use std::sync::Arc;

use prost::DecodeError;

use crate::model::span::SpanKind;
use crate::model::trace::Attributes;
use crate::receiver::collect::read_details;
use crate::receiver::file::FileSink;
use crate::receiver::file::buffer::Buffer;
use crate::receiver::file::collector::{Collector, FileSpan};
use crate::receiver::file::cursor::beginning;
use crate::receiver::file::lenient::{Time, start_and_end};
use crate::receiver::file::whole::{FileDetails, instant};
use crate::receiver::json::value::Number;
use crate::receiver::scan::{ResourceView, ScopeView, SpanView, Visitor, scan};
use crate::receiver::whole::protobuf::{details as whole_details, resource_attributes};
use crate::receiver::wire::Malformed;
use crate::window::event::detail::DetailAttributes;
use crate::window::event::{ResourceAttributes, SpanAttributes, SpanStatus};

/// How messages follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is but one; each of its fields is a record.
    Single,
    /// Four bytes, the greatest first, as the Collector's file exporter writes.
    FourBytes,
    /// A varint, as protobuf's `writeDelimitedTo` does.
    Varint,
}

/// The tag of `resource_spans`, the only field of a request.
const RESOURCE_SPANS_TAG: u8 = 1 << 3 | 2;

/// The longest varint.
const VARINT_BYTES_MAX: usize = 10;

/// How messages follow each other in a file that begins so; `None` if these are no messages.
pub(super) fn framing_of(beginning: &[u8], is_whole: bool) -> Option<Framing> {
    let found = [Framing::FourBytes, Framing::Varint].into_iter();
    let mut found = found.filter(|framing| {
        let head = framing.head(beginning);
        head.is_some_and(|(head, len)| {
            let message = beginning.get(head..).unwrap_or_default();
            (!is_whole || len <= message.len() as u64) && begins_request(message, len)
        })
    });
    let len = if is_whole {
        beginning.len() as u64
    } else {
        u64::MAX
    };
    found
        .next()
        .or_else(|| begins_request(beginning, len).then_some(Framing::Single))
}

impl Framing {
    /// Length of what stands before a record, and of the record.
    pub(super) fn head(self, bytes: &[u8]) -> Option<(usize, u64)> {
        match self {
            Self::FourBytes => {
                let (head, _) = bytes.split_first_chunk()?;
                Some((head.len(), u64::from(u32::from_be_bytes(*head))))
            }
            Self::Varint => varint(bytes),
            Self::Single => match bytes.split_first() {
                // The tag belongs to the record, which is a request by itself then.
                Some((&RESOURCE_SPANS_TAG, rest)) => {
                    let (head, len) = varint(rest)?;
                    Some((0, (1 + head as u64).saturating_add(len)))
                }
                Some(_) | None => None,
            },
        }
    }
}

impl Framing {
    /// A message with what stands before it.
    pub(super) fn framed(self, message: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut framed = Vec::with_capacity(message.len() + VARINT_BYTES_MAX);
        match self {
            Self::Single => {}
            Self::FourBytes => {
                let length = u32::try_from(message.len());
                let length = length.map_err(|_| std::io::ErrorKind::FileTooLarge)?;
                framed.extend(length.to_be_bytes());
            }
            Self::Varint => prost::encoding::encode_varint(message.len() as u64, &mut framed),
        }
        framed.extend_from_slice(message);
        Ok(framed)
    }
}

/// A varint's length and value.
fn varint(bytes: &[u8]) -> Option<(usize, u64)> {
    let mut rest = bytes;
    let value = prost::encoding::decode_varint(&mut rest).ok()?;
    Some((bytes.len() - rest.len(), value))
}

/// Whether `bytes` begin a request of `len` bytes that holds something: `resource_spans` that hold a resource, scopes or
/// a schema, as far as can be seen.
fn begins_request(bytes: &[u8], len: u64) -> bool {
    let fields = Visible::new(bytes, len).collect::<Vec<_>>();
    let is_resource_spans = |field: &Option<(u64, &[u8], u64)>| match field {
        Some((tag, content, len)) => {
            *tag == u64::from(RESOURCE_SPANS_TAG)
                && Visible::new(content, *len).all(|field| {
                    // resource, scope_spans, schema_url, and what scope_spans replaced.
                    field.is_some_and(|(tag, ..)| matches!(tag, 0x0a | 0x12 | 0x1a | 0x1f42))
                })
        }
        None => false,
    };
    !fields.is_empty() && fields.iter().all(is_resource_spans)
}

/// The fields of a message of which only the beginning may be seen: tag, visible content, length. `None` in place of one
/// that cannot be there.
struct Visible<'a> {
    bytes: &'a [u8],
    len: u64,
}

impl<'a> Visible<'a> {
    fn new(bytes: &'a [u8], len: u64) -> Self {
        let end = usize::try_from(len).unwrap_or(usize::MAX);
        Self {
            bytes: bytes.get(..end).unwrap_or(bytes),
            len,
        }
    }
}

impl<'a> Iterator for Visible<'a> {
    type Item = Option<(u64, &'a [u8], u64)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let head = varint(self.bytes).and_then(|(tag_len, tag)| {
            let (len_len, len) = varint(self.bytes.get(tag_len..)?)?;
            Some((tag_len + len_len, tag, len))
        });
        let is_cut = self.bytes.len() < VARINT_BYTES_MAX && (self.bytes.len() as u64) < self.len;
        let Some((head, tag, len)) = head else {
            // Perhaps the rest of the varint cannot be seen.
            self.bytes = &[];
            return if is_cut { None } else { Some(None) };
        };
        let rest = self.len.saturating_sub(head as u64);
        if tag & 7 != 2 || len > rest {
            self.bytes = &[];
            return Some(None);
        }
        let content = self.bytes.get(head..).unwrap_or_default();
        let end = usize::try_from(len)
            .unwrap_or(usize::MAX)
            .min(content.len());
        let (content, after) = content.split_at(end);
        self.bytes = after;
        self.len = rest - len;
        Some(Some((tag, content, len)))
    }
}

/// Reads a file to its end.
pub(super) fn read<R: Read, S: FileSink>(
    mut buffer: Buffer<R>,
    framing: Framing,
    max_record_bytes: usize,
    collector: &mut Collector<'_, S>,
) -> Buffer<R> {
    collector.set_binary();
    loop {
        buffer.fill_to(VARINT_BYTES_MAX + 1);
        let unread = buffer.unread();
        if unread.is_empty() {
            return buffer;
        }
        collector.begin_record(buffer.place());
        let Some((head, len)) = framing.head(unread) else {
            let seen = beginning(unread);
            let why =
                format!("expected the length of a message, found {seen}; the rest is passed over");
            collector.unreadable("the message", why);
            return skip_all(buffer);
        };
        buffer.consume(head);
        match usize::try_from(len) {
            Ok(len) if len <= max_record_bytes => {
                if !buffer.fill_to(len) {
                    return end_inside(buffer, len, collector);
                }
                let message = buffer.unread().get(..len).unwrap_or_default();
                let mut spans = Spans {
                    collector,
                    resource: ResourceAttributes::default(),
                    whole: Arc::default(),
                    scope: String::new(),
                };
                if let Err(malformed) = scan(message, &mut spans) {
                    collector.unreadable("the message", malformed);
                }
                buffer.consume(len);
            }
            Ok(_) | Err(_) => {
                let why = format!(
                    "its length, {len} bytes, is above max_record_bytes, {max_record_bytes}"
                );
                collector.unreadable("the message", why);
                skip(&mut buffer, len);
            }
        }
    }
}

/// The file ends inside of a message.
fn end_inside<R: Read, S: FileSink>(
    mut buffer: Buffer<R>,
    len: usize,
    collector: &mut Collector<'_, S>,
) -> Buffer<R> {
    // Where the file itself breaks off, that is said once for all.
    if !buffer.is_cut_off() {
        collector.lacks_its_end();
        let found = buffer.unread().len();
        let why = format!("expected {len} bytes, but the file ends after {found} of them");
        collector.unreadable("the message", why);
    }
    buffer.consume(len);
    buffer
}

fn skip_all<R: Read>(mut buffer: Buffer<R>) -> Buffer<R> {
    skip(&mut buffer, u64::MAX);
    buffer
}

fn skip<R: Read>(buffer: &mut Buffer<R>, mut len: u64) {
    while len > 0 && (!buffer.unread().is_empty() || buffer.fill()) {
        let count = buffer.unread().len();
        let count = usize::try_from(len).map_or(count, |len| len.min(count));
        buffer.consume(count);
        len -= count as u64;
    }
}

/// Takes spans with any id, in any unit of time.
struct Spans<'a, 'c, 's, S> {
    collector: &'c mut Collector<'s, S>,
    resource: ResourceAttributes<'a>,
    /// Where whole spans are wanted: attributes of the resource, and name of the scope.
    whole: Arc<Attributes>,
    scope: String,
}

impl<'a, S: FileSink> Visitor<'a> for Spans<'a, '_, '_, S> {
    fn resource(&mut self, resource: ResourceView<'a>) -> Result<(), Malformed> {
        if S::IS_WHOLE {
            let mut parts = Vec::new();
            resource.for_each_part(|part| parts.extend_from_slice(part))?;
            match resource_attributes(&parts) {
                Ok(attributes) => self.whole = Arc::new(attributes),
                Err(error) => self
                    .collector
                    .unreadable("a resource of the message", error),
            }
        }
        self.resource = ResourceAttributes::default();
        let version_key = self.collector.rules.version_key();
        resource.for_each_attribute(|key, value| self.resource.set(key, value, version_key))
    }

    #[inline]
    fn scope(&mut self, scope: ScopeView<'a>) {
        if S::IS_WHOLE {
            let name = scope.name().unwrap_or_default();
            self.scope = String::from_utf8_lossy(name).into_owned();
        }
    }

    #[inline]
    fn span(&mut self, span: &SpanView<'a>) -> Result<(), Malformed> {
        let kind = SpanKind::from_otlp(span.kind);
        let has_parent = span.parent_span_id.iter().any(|byte| *byte != 0);
        // Whole spans of every kind have an operation and an outcome.
        let is_described =
            S::IS_WHOLE || self.collector.rules.entry_kinds.is_entry(kind, has_parent);
        let names_service = self.resource.names_service();
        let mut attributes = SpanAttributes::default();
        let mut service = ResourceAttributes::default();
        let version_key = self.collector.rules.version_key();
        let is_watched = self.collector.is_watched(&self.resource);
        if is_described || is_watched || !names_service {
            let is_read = |key: &[u8]| {
                SpanAttributes::may_read(key)
                    || (!names_service && (ResourceAttributes::may_read(key) || key == version_key))
            };
            span.for_each_attribute(is_read, |key, value| {
                attributes.set(key, value);
                if !names_service {
                    service.set(key, value, version_key);
                }
            })?;
        }
        let service = service.or(self.resource);
        let details = if self.collector.is_watched(&service) {
            read_details(span)?
        } else {
            DetailAttributes::default()
        };
        let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
        let message = span.message;
        let span = FileSpan {
            name: span.name,
            kind,
            has_parent,
            trace_id: span.trace_id,
            span_id: span.span_id,
            parent_span_id: span.parent_span_id,
            trace_state: span.trace_state,
            times: start_and_end(Time::counted(start), Time::counted(end)),
            status: SpanStatus::from_otlp(span.status_code),
            attributes,
            details,
        };
        let (whole, scope) = (&self.whole, &self.scope);
        self.collector.span(&service, &span, || {
            let mut details = whole_details(message, scope)?;
            for event in &mut details.events {
                event.at = instant(&Number::Whole(event.at)).unwrap_or(0);
            }
            Ok::<_, DecodeError>(FileDetails {
                resource: Arc::clone(whole),
                details,
            })
        });
        Ok(())
    }
}
