//! The trace buffer: whole traces of what comes in, within a bound of memory.
//!
//! ```text
//! request ─ picks? ─ no ──────────────────────────────── acknowledged
//!              └─ yes ─ insert (bytes, as they came) ─┘
//! tick ─ close ─ decode ─ summaries, feed
//! ```
//!
//! Which traces: those whose id says so (consistent sampling, so that replicas keep the same ones), by a threshold that
//! follows the traffic; and those in which an error or a slow entry span was seen, which may lack what came before. Each
//! kind has a share of the memory of its own, so that a storm of errors does not drive out normal traces, and within it
//! the traces are sampled by their id as well.
//!
//! Invariant: what is not kept costs a comparison and a look into a small table for each span, and no allocation. Counts
//! of the buffer are never SLIs.

mod held;
mod picker;
pub mod raw;
mod settings;
mod summary;
#[cfg(test)]
#[expect(clippy::float_cmp, reason = "halves are exact")]
mod tests;

use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::model::UnixNanos;
use crate::model::batch::EventBatch;
use crate::model::series::SeriesId;
use crate::model::trace::Trace;
use crate::pii::{Counts, Scrubber};
use crate::trace::assemble::assemble;
use crate::trace::buffer::held::{Bounds, Closed, TraceId, Traces};
use crate::trace::buffer::picker::Picker;
use crate::trace::buffer::raw::{DecodeSpans, Origin, RawSpan};
pub use crate::trace::buffer::settings::Config;
pub use crate::trace::buffer::summary::{TraceEntry, TraceSummary};
use crate::trace::sampling::Randomness;
use crate::trace::scrub;

/// Why a trace is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Its id says so.
    Sampled,
    /// An error or a slow entry span was seen in it.
    Wanted,
}

/// A number for each reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByReason {
    /// Of traces kept by their id.
    pub sampled: u64,
    /// Of traces kept for what was seen in them.
    pub wanted: u64,
}

impl ByReason {
    fn add(&mut self, reason: Reason, count: u64) {
        match reason {
            Reason::Sampled => self.sampled += count,
            Reason::Wanted => self.wanted += count,
        }
    }
}

/// What the buffer did since it began, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BufferCounts {
    /// Spans that were put in.
    pub kept_spans: u64,
    /// Traces that were begun.
    pub kept_traces: ByReason,
    /// Spans that one trace had no room for.
    pub left_out_spans: u64,
    /// Traces that went because fewer are kept.
    pub left_out_traces: u64,
    /// Traces that went because they were the oldest.
    pub evicted_traces: u64,
    /// Traces with something to see that were passed over, since there were so many.
    pub passed_over_traces: u64,
    /// Spans that could not be read when their trace was over.
    pub unreadable_spans: u64,
    /// Traces that are held.
    pub held_traces: usize,
    /// Memory of what is held, about.
    pub bytes: usize,
    /// The share of all traces that is kept by their id.
    pub sampled_ratio: f64,
    /// The share of the traces with something to see that is kept for it.
    pub wanted_ratio: f64,
}

/// The kept traces. Shared by receivers, which put in, and by all that reads.
#[derive(Debug)]
pub struct TraceBuffer {
    picker: Picker,
    max_wanted: u64,
    traces: Mutex<Traces>,
    decode: Box<dyn DecodeSpans>,
    scrubber: Scrubber,
    found: Mutex<Counts>,
}

impl TraceBuffer {
    /// An empty buffer. `decode` reads what receivers put in.
    pub fn new(config: &Config, decode: Box<dyn DecodeSpans>) -> Self {
        let nanos =
            |duration: std::time::Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let traces = Traces::new(Bounds {
            max_bytes: bytes(config.max_bytes),
            max_trace_bytes: bytes(config.max_trace_bytes),
            wanted_share: config.wanted_share,
            retention: nanos(config.retention),
            quiet: nanos(config.quiet),
            timeout: nanos(config.timeout),
        });
        let picker = Picker::new(config.max_wanted_per_second);
        picker.set_wanted(traces.threshold(Reason::Wanted));
        Self {
            picker,
            max_wanted: config.max_wanted_per_second,
            traces: Mutex::new(traces),
            decode,
            scrubber: Scrubber::off(),
            found: Mutex::default(),
        }
    }

    /// Takes personal data and secrets out of whatever is read here.
    #[must_use]
    pub fn scrubbing(self, scrubber: Scrubber) -> Self {
        Self { scrubber, ..self }
    }

    /// What was found in traces that are over, since the last call.
    pub fn take_findings(&self) -> Counts {
        std::mem::take(&mut self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn traces(&self) -> MutexGuard<'_, Traces> {
        self.traces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something of a request is to be put in. Call it once a request, after its events were counted.
    #[inline]
    pub fn picks(&self, batch: &EventBatch) -> bool {
        self.picker.picks(batch)
    }

    /// Whether a span of this trace is to be put in.
    #[inline]
    pub fn is_picked(&self, randomness: Randomness) -> bool {
        self.reason_of(randomness).is_some()
    }

    fn reason_of(&self, randomness: Randomness) -> Option<Reason> {
        if self.picker.is_sampled(randomness) {
            return Some(Reason::Sampled);
        }
        let is_wanted = self.picker.is_wanted(randomness.number());
        is_wanted.then_some(Reason::Wanted)
    }

    /// Puts in spans of one origin, as far as they are picked.
    pub fn insert(&self, origin: &Origin<'_>, spans: &[RawSpan<'_>], now: UnixNanos) {
        let mut traces = self.traces();
        if traces.insert(origin, spans, |randomness| self.reason_of(randomness), now) {
            self.follow(&traces);
        }
    }

    /// Tells the picker the thresholds.
    fn follow(&self, traces: &Traces) {
        self.picker.set_sampled(traces.threshold(Reason::Sampled));
        self.picker.set_wanted(traces.threshold(Reason::Wanted));
    }

    /// From here on, entry spans of these series are slow if they take longer than so many nanoseconds.
    pub fn set_slow(&self, limits: impl IntoIterator<Item = (SeriesId, u64)>) {
        self.picker.set_slow(limits);
    }

    /// Gives the traces that are over since the last call, each once. Spans that come later still join their trace here.
    /// Call it every second, off the hot path: it reads the spans.
    pub fn tick(&self, now: UnixNanos) -> Vec<Arc<Trace>> {
        self.picker.refill(self.max_wanted);
        let closed = {
            let mut traces = self.traces();
            let (closed, is_changed) = traces.close(now);
            if is_changed {
                self.follow(&traces);
            }
            closed
        };
        let mut over = Vec::with_capacity(closed.len());
        let mut found = Counts::default();
        for closed in &closed {
            let trace = self.decoded(closed, &mut found);
            let unreadable = closed.spans.len().saturating_sub(trace.spans.len()) as u64;
            let summary = TraceSummary::new(&trace, closed.reason);
            let mut traces = self.traces();
            traces.counts.unreadable_spans += unreadable;
            if let Some(summary) = summary {
                traces.summarize(&closed.id, summary);
                over.push(Arc::new(trace));
            }
        }
        let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        all.merge(&found);
        drop(all);
        over
    }

    /// Here a trace takes the form in which it is read by anybody, without what must not be seen of it.
    fn decoded(&self, closed: &Closed, found: &mut Counts) -> Trace {
        let spans = self.decode.decode(&closed.spans);
        let (mut trace, _) = assemble(hex(&closed.id).into(), spans, closed.missing.clone());
        scrub::trace(&mut trace, &self.scrubber, found);
        trace
    }

    /// The trace with this id, in hexadecimal; also one that is still under way.
    pub fn trace(&self, id: &str) -> Option<Trace> {
        let id: TraceId = u128::from_str_radix(id, 16)
            .ok()
            .filter(|_| id.len() == 32)?
            .to_be_bytes();
        let closed = {
            let traces = self.traces();
            let held = traces.held.get(&id)?;
            let mut closed = held.closed(id);
            if !held.is_closed {
                closed.missing = Some("it is still under way".to_owned());
            }
            closed
        };
        // What is in it was, or will be, counted when it is over.
        Some(self.decoded(&closed, &mut Counts::default()))
    }

    /// The traces that are over, by their id.
    pub fn summaries(&self) -> Vec<Arc<TraceSummary>> {
        let traces = self.traces();
        let summaries = traces.held.values();
        summaries.filter_map(|held| held.summary.clone()).collect()
    }

    /// All counts.
    pub fn counts(&self) -> BufferCounts {
        let traces = self.traces();
        BufferCounts {
            passed_over_traces: self.picker.passed_over(),
            held_traces: traces.held.len(),
            bytes: traces.bytes(),
            sampled_ratio: traces.threshold(Reason::Sampled).ratio(),
            wanted_ratio: traces.threshold(Reason::Wanted).ratio(),
            ..traces.counts
        }
    }
}

/// An id as people see it.
fn hex(id: &TraceId) -> String {
    let mut text = String::with_capacity(2 * id.len());
    for byte in id {
        // Writing to a string does not fail.
        write!(text, "{byte:02x}").ok();
    }
    text
}
