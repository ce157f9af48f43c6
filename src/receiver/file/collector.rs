//! From spans of any format to batches of events, with everything that went wrong on the way.

use std::fmt::Display;

use crate::model::batch::{EventBatch, Rejection};
use crate::model::finding::{Finding, Level, Location};
use crate::model::span::SpanKind;
use crate::receiver::collect::hex_of;
use crate::receiver::file::buffer::Place;
use crate::receiver::file::source::DiskBytes;
use crate::receiver::file::whole::{FileDetails, Resources};
use crate::receiver::file::{FileSettings, FileSink, FileSummary, SpanLink};
use crate::receiver::whole::trace_span;
use crate::window::event::detail::{DetailAttributes, is_call, push_details};
use crate::window::event::{
    EventRules, OperationScratch, ResourceAttributes, Sampling, SpanAttributes, SpanInput,
    SpanStatus, Weighing, outcome_of, push_resource, push_span, weight_of,
};

/// A batch goes to the sink with so many spans, or with so much text.
const BATCH_SPANS: u64 = 8_192;
const BATCH_TEXT_BYTES: usize = 1 << 20;

/// What could not be read.
const RULE_UNREADABLE: &str = "trace-file-unreadable";

/// The rest of the file could not be read.
const RULE_TRUNCATED: &str = "trace-file-truncated";

/// A span of a file: as for every receiver, except that its times may be missing.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileSpan<'a> {
    pub name: &'a [u8],
    pub kind: SpanKind,
    pub has_parent: bool,
    /// Ids as the file has them.
    pub trace_id: &'a [u8],
    pub span_id: &'a [u8],
    pub parent_span_id: &'a [u8],
    pub trace_state: &'a [u8],
    /// Start and end; `None` if one is missing.
    pub times: Option<(u64, u64)>,
    pub status: SpanStatus,
    pub attributes: SpanAttributes<'a>,
    /// Where the service is watched.
    pub details: DetailAttributes<'a>,
}

/// Fills batches and hands them to the sink.
pub(super) struct Collector<'s, S> {
    sink: &'s mut S,
    pub rules: &'s EventRules,
    settings: &'s FileSettings,
    file: &'s str,
    disk_bytes: DiskBytes,
    batch: EventBatch,
    scratch: OperationScratch,
    weighing: Weighing,
    resources: Resources,
    summary: FileSummary,
    /// Where the record begins that is being read.
    record: Place,
    /// Whether lines mean anything.
    is_text: bool,
}

impl<'s, S: FileSink> Collector<'s, S> {
    pub(super) fn new(
        sink: &'s mut S,
        rules: &'s EventRules,
        settings: &'s FileSettings,
        file: &'s str,
        disk_bytes: DiskBytes,
    ) -> Self {
        Self {
            sink,
            rules,
            settings,
            file,
            disk_bytes,
            batch: EventBatch::default(),
            scratch: OperationScratch::default(),
            weighing: Sampling::Full.into(),
            resources: Resources::default(),
            summary: FileSummary::default(),
            record: Place { byte: 0, line: 1 },
            is_text: true,
        }
    }

    /// The file holds bytes, not lines.
    pub(super) fn set_binary(&mut self) {
        self.is_text = false;
    }

    /// A record begins here.
    pub(super) fn begin_record(&mut self, place: Place) {
        self.record = place;
    }

    /// Takes a span of a service. `details` are asked for where whole spans are wanted.
    #[inline]
    pub(super) fn span<E: Display>(
        &mut self,
        service: &ResourceAttributes<'_>,
        span: &FileSpan<'_>,
        details: impl FnOnce() -> Result<FileDetails, E>,
    ) {
        let Some((start, end)) = span.times.filter(|(start, end)| start <= end) else {
            self.batch.reject(Rejection::EndBeforeStart);
            return;
        };
        self.sink.span_name(service.service_name(), span.name);
        let is_entry = self.rules.entry_kinds.is_entry(span.kind, span.has_parent);
        let is_watched = self.is_watched(service);
        if is_entry || is_watched && is_call(span.kind) {
            self.enter(service);
        }
        let input = SpanInput {
            name: span.name,
            kind: span.kind,
            has_parent: span.has_parent,
            span_id: span.span_id,
            trace_state: span.trace_state,
            start,
            end,
            status: span.status,
            attributes: span.attributes,
            randomness: 0,
        };
        if S::IS_WHOLE {
            match details() {
                Ok(details) => self.trace_span(service, &input, details),
                Err(error) => self.unreadable("the rest of a span of the record", error),
            }
        }
        let entry_kinds = self.rules.entry_kinds;
        push_span(
            &mut self.batch,
            &mut self.scratch,
            &input,
            entry_kinds,
            &self.weighing,
        );
        if is_watched {
            self.look_closer(span, &input, is_entry);
        }
        if self.sink.wants_links() {
            self.link(service, span, &input, is_entry);
        }
        if self.batch.spans >= BATCH_SPANS || self.batch.text_bytes() >= BATCH_TEXT_BYTES {
            self.flush();
        }
    }

    /// Whether more is wanted of the spans of a service than what makes them events.
    #[inline]
    pub(super) fn is_watched(&mut self, service: &ResourceAttributes<'_>) -> bool {
        self.rules.is_watched(service, &mut self.scratch)
    }

    fn look_closer(&mut self, span: &FileSpan<'_>, input: &SpanInput<'_>, is_entry: bool) {
        let hex;
        let trace_id = if self.is_text {
            span.trace_id
        } else {
            hex = hex_of(span.trace_id);
            hex.as_bytes()
        };
        push_details(
            &mut self.batch,
            input,
            &span.details,
            (trace_id, is_entry, &self.weighing),
        );
    }

    fn link(
        &mut self,
        service: &ResourceAttributes<'_>,
        span: &FileSpan<'_>,
        input: &SpanInput<'_>,
        is_entry: bool,
    ) {
        self.sink.link(&SpanLink {
            service,
            trace_id: span.trace_id,
            span_id: span.span_id,
            parent_span_id: span.parent_span_id,
            is_entry,
            outcome: outcome_of(input),
            end: input.end,
            duration_nanos: input.end - input.start,
            weight: weight_of(input, &self.weighing),
        });
    }

    fn trace_span(
        &mut self,
        service: &ResourceAttributes<'_>,
        span: &SpanInput<'_>,
        FileDetails { resource, details }: FileDetails,
    ) {
        let resource = self.resources.intern(service, &resource);
        let trace_id = details.trace_id.as_str().into();
        let span = trace_span(span, resource, details, self.rules);
        self.sink.trace_span(trace_id, span);
    }

    /// Events from here on are of this service.
    #[inline]
    fn enter(&mut self, service: &ResourceAttributes<'_>) {
        let newest = self.batch.resources.last();
        if !newest.is_some_and(|newest| service.describe(&self.batch, newest)) {
            self.weighing = self.rules.weighing(service.service_name());
            push_resource(&mut self.batch, &mut self.scratch, service);
        }
    }

    fn flush(&mut self) {
        let batch = &mut self.batch;
        self.summary.spans += batch.spans;
        self.summary.roots += batch.roots;
        for (sum, count) in self.summary.rejected.iter_mut().zip(batch.rejected) {
            *sum += count;
        }
        if batch.spans > 0 || batch.rejected_spans() > 0 {
            self.sink.batch(batch);
        }
        batch.clear();
        self.sink.progress(self.disk_bytes.read());
    }

    /// The record, or a part of it, cannot be read.
    pub(super) fn unreadable(&mut self, what: &str, why: impl Display) {
        self.summary.unreadable_records += 1;
        let byte = self.record.byte;
        let message = format!("{what} at byte {byte} cannot be read: {why}");
        self.find(RULE_UNREADABLE, message);
    }

    /// A record that was found cannot be read as JSON.
    pub(super) fn unreadable_json(&mut self, what: &str, error: &serde_json::Error) {
        // The record is but a part of the file: its own line is counted from where it begins.
        let lines = u64::try_from(error.line()).unwrap_or(0).saturating_sub(1);
        self.record.line += lines;
        let text = error.to_string();
        let why = text.split(" at line ").next().unwrap_or_default();
        let column = error.column();
        self.unreadable(what, format_args!("{why} (column {column} of it)"));
        self.record.line -= lines;
    }

    /// The file ends, or breaks, before it should.
    pub(super) fn truncated(&mut self, place: Place, why: impl Display) {
        self.record = place;
        self.summary.unreadable_records += 1;
        self.summary.is_truncated = true;
        let byte = place.byte;
        self.find(
            RULE_TRUNCATED,
            format!("the file can be read up to byte {byte} of its content only: {why}"),
        );
    }

    /// What could not be read last lacks its end, and nothing follows: the file was cut off, or is being written.
    pub(super) fn lacks_its_end(&mut self) {
        self.summary.is_truncated = true;
    }

    fn find(&mut self, rule: &str, message: String) {
        if self.summary.findings.len() >= self.settings.max_findings {
            return;
        }
        let line = self.is_text.then(|| u32::try_from(self.record.line).ok());
        self.summary.findings.push(Finding {
            rule: rule.to_owned(),
            level: Level::Warning,
            message,
            location: Some(Location {
                file: self.file.to_owned(),
                line: line.flatten(),
                ..Location::default()
            }),
        });
    }

    /// Hands over what is left, and tells how it went.
    pub(super) fn finish(mut self) -> FileSummary {
        self.flush();
        self.summary
    }
}
