//! Trace files: the formats that people have, plain or packed, told by their content and never by their name.
//!
//! ```text
//! source (opened, unpacked) → buffer (a piece of it) → detect → documents (JSON) │ protobuf → collector → batches
//! ```
//!
//! A file of any size is read in the memory of one record, even if it is one JSON document: records are found one after
//! the other by their brackets, and only then read. What cannot be read is a finding, and the rest goes on; the spans of a
//! broken record that stand before the fault count.

mod buffer;
mod collector;
mod cursor;
mod detect;
mod documents;
mod find;
mod jaeger;
mod lenient;
mod otlp_json;
mod protobuf;
pub mod scrub;
mod source;
mod tags;
mod whole;
mod zipkin;

#[cfg(test)]
mod tests;

use std::io;

use crate::disk::find::FindError;
use crate::model::UnixNanos;
use crate::model::batch::EventBatch;
use crate::model::finding::Finding;
use crate::model::span::Outcome;
use crate::model::trace::TraceSpan;
use crate::receiver::file::buffer::Buffer;
use crate::receiver::file::collector::Collector;
use crate::receiver::file::cursor::beginning;
use crate::receiver::file::detect::{Content, DETECTION_BYTES, detect};
pub use crate::receiver::file::find::{STANDARD_INPUT, TraceInput, find_inputs};
pub use crate::receiver::file::whole::{TraceSink, read_whole_traces};
use crate::window::event::{EventRules, ResourceAttributes};

/// How trace files are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    /// Longest record in bytes: a line, an element of a list, a message. Longer ones are passed over and counted, save
    /// those of OTLP/JSON documents, which are read in parts. Memory grows up to twice this. Default 64 MiB.
    pub max_record_bytes: usize,
    /// Findings that are kept for each file; more are counted only. Default 100.
    pub max_findings: usize,
}

impl Default for FileSettings {
    fn default() -> Self {
        Self {
            max_record_bytes: 64 << 20,
            max_findings: 100,
        }
    }
}

/// What a trace file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceFormat {
    /// OTLP/JSON: a document, or one a line.
    OtlpJson,
    /// OTLP in protobuf: a message, or many with their lengths.
    OtlpProtobuf,
    /// A flat list of spans whose members are named as in OTLP/JSON.
    SpanList,
    /// What Jaeger's UI and API give.
    JaegerJson,
    /// Zipkin v2.
    ZipkinJson,
}

impl TraceFormat {
    /// All formats.
    pub const ALL: [Self; 5] = [
        Self::OtlpJson,
        Self::OtlpProtobuf,
        Self::SpanList,
        Self::JaegerJson,
        Self::ZipkinJson,
    ];

    /// For people.
    pub fn label(self) -> &'static str {
        match self {
            Self::OtlpJson => "OTLP/JSON",
            Self::OtlpProtobuf => "OTLP protobuf",
            Self::SpanList => "list of spans",
            Self::JaegerJson => "Jaeger JSON",
            Self::ZipkinJson => "Zipkin v2 JSON",
        }
    }
}

/// Why there is nothing to read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A pattern that finds nothing.
    #[error(
        "{pattern}: no file matches; name a file, a directory with files, a glob in quotes, or - for standard input"
    )]
    NothingFound {
        /// As it was named.
        pattern: String,
    },
    /// A file or directory that is not there, or a glob that is none.
    #[error(transparent)]
    Find(#[from] FindError),
    /// A file or directory that cannot be opened, or not read at all.
    #[error("{name}: {source}")]
    Open {
        /// The file.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A file that cannot be scrubbed, from some place on or at all.
    #[error("{name}: {message}")]
    Scrub {
        /// The file.
        name: String,
        /// What is wrong with it, and what helps.
        message: String,
    },
    /// A file of something else.
    #[error(
        "{name}: begins with {seen}, which is no known format; expected {}, each plain, gzip or zstd",
        TraceFormat::ALL.map(TraceFormat::label).join(", ")
    )]
    UnknownContent {
        /// The file.
        name: String,
        /// Its first bytes.
        seen: String,
    },
}

/// A span's place in its trace, and how it ended. Ids are as the file has them.
#[derive(Clone, Copy, Debug)]
pub struct SpanLink<'a> {
    /// Whose span it is.
    pub service: &'a ResourceAttributes<'a>,
    /// Its trace.
    pub trace_id: &'a [u8],
    /// The span.
    pub span_id: &'a [u8],
    /// Who began it; empty for a root.
    pub parent_span_id: &'a [u8],
    /// Whether it is an entry span.
    pub is_entry: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// When it ended.
    pub end: UnixNanos,
    /// How long it took.
    pub duration_nanos: u64,
    /// Adjusted count.
    pub weight: f64,
}

/// Takes what is read.
pub trait FileSink {
    /// Some thousand spans. The batch is cleared afterwards.
    fn batch(&mut self, batch: &mut EventBatch);

    /// Whether whole spans are wanted, too. They take more time and memory.
    const IS_WHOLE: bool = false;

    /// A usable span of any kind with all that it says, and the id of its trace; only if [`Self::IS_WHOLE`].
    #[expect(clippy::boxed_local, reason = "who takes it keeps it so")]
    fn trace_span(&mut self, _trace_id: Box<str>, _span: TraceSpan) {}

    /// A usable span of any kind, with the name of its service.
    #[inline]
    fn span_name(&mut self, _service: &[u8], _name: &[u8]) {}

    /// Whether [`Self::link`] is to be called.
    #[inline]
    fn wants_links(&self) -> bool {
        false
    }

    /// A usable span of any kind with its place in its trace.
    fn link(&mut self, _link: &SpanLink<'_>) {}

    /// So many bytes of the file on the disk were read.
    fn progress(&mut self, _bytes_read: u64) {}
}

/// What a file held.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FileSummary {
    /// What it is; `None` for a file without anything.
    pub format: Option<TraceFormat>,
    /// Spans of every kind that could be used.
    pub spans: u64,
    /// Spans among them without a parent.
    pub roots: u64,
    /// Spans that could not, by [`crate::model::batch::Rejection::ALL`]; one that lacks its start or its end is among
    /// the first. Files may have any ids.
    pub rejected: [u64; 2],
    /// Records, and spans of readable ones, that could not be read.
    pub unreadable_records: u64,
    /// Whether the file ends, or breaks, before it should.
    pub is_truncated: bool,
    /// What was wrong, the first [`FileSettings::max_findings`].
    pub findings: Vec<Finding>,
}

/// Reads a file into `sink`.
pub fn read_traces(
    input: &TraceInput,
    rules: &EventRules,
    settings: &FileSettings,
    sink: &mut impl FileSink,
) -> Result<FileSummary, FileError> {
    let name = input.name();
    let not_opened = |source| FileError::Open {
        name: name.to_owned(),
        source,
    };
    let opened = source::open(input, settings.max_record_bytes).map_err(not_opened)?;
    let disk_bytes = opened.disk_bytes;
    let mut buffer = Buffer::new(opened.reader);
    let is_whole = !buffer.fill_to(DETECTION_BYTES);
    if buffer.unread().is_empty()
        && let Some(failure) = buffer.take_failure()
    {
        return Err(not_opened(failure));
    }
    if buffer.unread().starts_with(BYTE_ORDER_MARK) {
        buffer.consume(BYTE_ORDER_MARK.len());
    }
    let content = detect(buffer.unread(), is_whole).ok_or_else(|| FileError::UnknownContent {
        name: name.to_owned(),
        seen: beginning(buffer.unread()),
    })?;
    let mut collector = Collector::new(sink, rules, settings, name, disk_bytes);
    let mut buffer = match content {
        Content::Nothing => buffer,
        Content::Json { format, is_lines } => {
            documents::read(buffer, format, is_lines, settings, &mut collector)
        }
        Content::Protobuf(framing) => {
            protobuf::read(buffer, framing, settings.max_record_bytes, &mut collector)
        }
    };
    if let Some(failure) = buffer.take_failure() {
        collector.truncated(buffer.place(), failure);
    }
    Ok(FileSummary {
        format: content.format(),
        ..collector.finish()
    })
}

/// Begins UTF-8 files of some editors and shells.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
