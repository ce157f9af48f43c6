//! JSON files of every format: one text after the other, each a record or a document of many.

use std::io::Read;

use crate::receiver::file::buffer::Buffer;
use crate::receiver::file::collector::Collector;
use crate::receiver::file::cursor::{Cursor, Fault};
use crate::receiver::file::{FileSettings, FileSink, TraceFormat, jaeger, otlp_json, zipkin};

/// Reads a file to its end. `is_lines` if its beginning shows that each line is a text of its own.
pub(super) fn read<R: Read, S: FileSink>(
    buffer: Buffer<R>,
    format: TraceFormat,
    mut is_lines: bool,
    settings: &FileSettings,
    collector: &mut Collector<'_, S>,
) -> Buffer<R> {
    let mut cursor = Cursor::new(buffer, settings.max_record_bytes);
    while cursor.peek().is_some() {
        let begin = cursor.place();
        let outcome = if is_lines {
            read_line(&mut cursor, format, collector)
        } else {
            read_text(&mut cursor, format, collector)
        };
        let end = cursor.place();
        if let Err(fault) = outcome {
            let what = if is_lines {
                cursor.leave_line();
                "the line"
            } else {
                cursor.leave_document();
                "the document"
            };
            let is_last = cursor.peek().is_none();
            if is_last && matches!(fault, Fault::Ended { .. }) {
                collector.lacks_its_end();
            }
            // Where the file itself breaks off, that is said once for all.
            if !is_last || !cursor.is_cut_off() {
                collector.begin_record(end);
                collector.unreadable(what, fault);
            }
        } else if is_lines {
            cursor.leave_line();
        } else {
            // A line longer than the beginning of the file was not known to be one until another follows it.
            let is_followed = cursor.peek().is_some();
            is_lines = is_followed && begin.line == end.line && end.line < cursor.place().line;
        }
    }
    cursor.into_buffer()
}

/// Reads a line that is a text of its own.
fn read_line<R: Read, S: FileSink>(
    cursor: &mut Cursor<R>,
    format: TraceFormat,
    collector: &mut Collector<'_, S>,
) -> Result<(), Fault> {
    cursor.enter_line()?;
    if format == TraceFormat::OtlpJson {
        // Known to end with the line, so its brackets need not be looked at first.
        let len = cursor.unread().len();
        let (is_cut, is_open) = (cursor.is_cut_line(), cursor.is_open_line());
        read_record(cursor, len, "the line", collector, |text, collector| {
            let outcome = otlp_json::request(text, collector);
            if is_open && outcome.as_ref().is_err_and(serde_json::Error::is_eof) {
                collector.lacks_its_end();
            }
            // Where the file itself breaks off, that is said once for all.
            if is_cut { Ok(()) } else { outcome }
        });
        return Ok(());
    }
    read_text(cursor, format, collector)?;
    match cursor.peek() {
        Some(_) => Err(cursor.unexpected("the end of the line")),
        None => Ok(()),
    }
}

/// Reads what comes next, to its end.
fn read_text<R: Read, S: FileSink>(
    cursor: &mut Cursor<R>,
    format: TraceFormat,
    collector: &mut Collector<'_, S>,
) -> Result<(), Fault> {
    match format {
        TraceFormat::SpanList => read_spans(cursor, 0, collector, otlp_json::span),
        TraceFormat::ZipkinJson => read_spans(cursor, 0, collector, zipkin::span),
        TraceFormat::JaegerJson => jaeger::document(cursor, collector),
        // The other encoding of OTLP is no JSON and does not come here.
        TraceFormat::OtlpJson | TraceFormat::OtlpProtobuf => otlp_json::document(cursor, collector),
    }
}

/// Zipkin's API gives a list of traces, each a list of spans.
pub(super) const LIST_DEPTH_MAX: u32 = 2;

/// A reader of one span.
type ReadSpan<'s, S> = fn(&str, &mut Collector<'s, S>) -> Result<(), serde_json::Error>;

/// Reads a span, a list of spans, or a list of such lists.
fn read_spans<'s, R: Read, S: FileSink>(
    cursor: &mut Cursor<R>,
    depth: u32,
    collector: &mut Collector<'s, S>,
    read: ReadSpan<'s, S>,
) -> Result<(), Fault> {
    match cursor.peek() {
        Some(b'[') if depth < LIST_DEPTH_MAX => {
            cursor.for_each_element(|cursor| read_spans(cursor, depth + 1, collector, read))
        }
        Some(b'{') => read_next(cursor, "the span", collector, read),
        Some(_) | None => Err(cursor.unexpected("a span, or a list of spans")),
    }
}

/// Reads the value that comes next. One that cannot be read, or is too long, is a finding.
pub(super) fn read_next<'s, R: Read, S: FileSink>(
    cursor: &mut Cursor<R>,
    what: &str,
    collector: &mut Collector<'s, S>,
    read: impl FnOnce(&str, &mut Collector<'s, S>) -> Result<(), serde_json::Error>,
) -> Result<(), Fault> {
    match cursor.value_len() {
        Ok(len) => {
            read_record(cursor, len, what, collector, read);
            Ok(())
        }
        Err(fault @ Fault::TooLarge { .. }) => {
            collector.begin_record(cursor.place());
            collector.unreadable(what, fault);
            cursor.skip_value()
        }
        Err(fault) => Err(fault),
    }
}

/// Reads the next `len` bytes.
pub(super) fn read_record<'s, R: Read, S: FileSink>(
    cursor: &mut Cursor<R>,
    len: usize,
    what: &str,
    collector: &mut Collector<'s, S>,
    read: impl FnOnce(&str, &mut Collector<'s, S>) -> Result<(), serde_json::Error>,
) {
    collector.begin_record(cursor.place());
    let record = cursor.unread().get(..len).unwrap_or_default();
    // A byte that is no UTF-8 should cost one character, not the record.
    let text = String::from_utf8_lossy(record);
    if let Err(error) = read(&text, collector) {
        collector.unreadable_json(what, &error);
    }
    cursor.consume(len);
}
