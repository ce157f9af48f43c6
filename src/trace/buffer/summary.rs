//! What is said of a kept trace where many of them are listed.

use serde::Serialize;

use crate::model::UnixNanos;
use crate::model::series::ServiceKey;
use crate::model::span::{Outcome, SpanKind};
use crate::model::trace::{Completeness, Trace, TraceSpan};
use crate::trace::buffer::Reason;
use crate::trace::tree::TraceTree;

/// Entry spans that a summary names.
const ENTRIES_MAX: usize = 32;

/// Memory of a summary beside its texts, about.
const SUMMARY_BYTES: usize = 320;

/// A kept trace, in short.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TraceSummary {
    /// Its id, in lower-case hexadecimal.
    pub trace_id: Box<str>,
    /// Service of the root, or of the span that stands in its place.
    pub service: ServiceKey,
    /// Operation of the same span.
    pub operation: Box<str>,
    /// Start of its first span.
    pub start: UnixNanos,
    /// From the start of the first span to the end of the last one.
    pub duration_nanos: u64,
    /// Its spans.
    pub spans: usize,
    /// Its failed spans.
    pub failed_spans: usize,
    /// How the root ended.
    pub outcome: Outcome,
    /// Why it is kept.
    pub reason: Reason,
    /// Whether all of it is there.
    pub completeness: Completeness,
    /// Its services with their versions.
    pub services: Vec<(ServiceKey, Box<str>)>,
    /// Its entry spans, the first 32.
    #[serde(skip)]
    pub entries: Vec<TraceEntry>,
}

/// An entry span of a kept trace.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceEntry {
    /// Its service.
    pub service: ServiceKey,
    /// Its operation.
    pub operation: Box<str>,
    /// Its kind.
    pub kind: SpanKind,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub duration_nanos: u64,
    /// When it ended.
    pub end: UnixNanos,
}

impl TraceSummary {
    /// Of a trace; `None` if it has no spans.
    pub fn new(trace: &Trace, reason: Reason) -> Option<Self> {
        let tree = TraceTree::new(trace);
        let root = tree.root().and_then(|root| tree.span(root))?;
        let start = trace.spans.iter().map(|span| span.start).min()?;
        let end = trace.spans.iter().map(|span| span.end).max()?;
        let is_failed = |span: &&TraceSpan| span.outcome == Outcome::Error;
        let mut services: Vec<_> = trace
            .spans
            .iter()
            .map(|span| (span.resource.service.clone(), span.resource.version.clone()))
            .collect();
        services.sort_unstable();
        services.dedup();
        services.shrink_to_fit();
        let entries = trace
            .spans
            .iter()
            .filter(|span| span.is_entry)
            .take(ENTRIES_MAX);
        Some(Self {
            trace_id: trace.trace_id.clone(),
            service: root.resource.service.clone(),
            operation: root.operation.clone(),
            start,
            duration_nanos: end.saturating_sub(start),
            spans: trace.spans.len(),
            failed_spans: trace.spans.iter().filter(is_failed).count(),
            outcome: root.outcome,
            reason,
            completeness: trace.completeness.clone(),
            services,
            entries: entries.map(TraceEntry::new).collect(),
        })
    }

    /// Memory, about. Names of services are counted as if nobody shared them.
    pub(super) fn memory(&self) -> usize {
        let entries = self.entries.iter();
        let operations = entries.map(|entry| size_of_val(entry) + entry.operation.len());
        let services = self.services.iter();
        let services = services.map(|(key, version)| {
            size_of::<(ServiceKey, Box<str>)>() + key.name.len() + version.len()
        });
        SUMMARY_BYTES + operations.sum::<usize>() + services.sum::<usize>()
    }
}

impl TraceEntry {
    fn new(span: &TraceSpan) -> Self {
        Self {
            service: span.resource.service.clone(),
            operation: span.operation.clone(),
            kind: span.kind,
            outcome: span.outcome,
            duration_nanos: span.duration_nanos(),
            end: span.end,
        }
    }
}
