//! The events of one request, small and without borrows: what the receiver hands to the windows.

use std::borrow::Cow;

use crate::model::UnixNanos;
use crate::model::series::SeriesId;
use crate::model::span::{Outcome, SpanKind};

/// A piece of text in the arena of an [`EventBatch`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text {
    start: u32,
    len: u32,
}

impl Text {
    /// Whether there is nothing.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// Why a span could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rejection {
    /// It ends before it starts.
    EndBeforeStart,
    /// Its trace id or span id has the wrong length or is all zeros.
    InvalidId,
}

impl Rejection {
    /// All reasons.
    pub const ALL: [Self; 2] = [Self::EndBeforeStart, Self::InvalidId];
}

/// One resource of the request.
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchResource {
    /// Hash of the service, see [`crate::model::series::ServiceKey::hash`].
    pub service_hash: u128,
    /// `service.namespace`.
    pub namespace: Text,
    /// `deployment.environment.name`.
    pub environment: Text,
    /// `service.name`.
    pub service: Text,
    /// `service.version`; empty if not said.
    pub version: Text,
    /// Number of the resource's events, which follow those of the resources before it.
    pub events: u32,
    /// Number of its failures; they follow those of the resources before it, too.
    pub failures: u32,
    /// Number of its calls; likewise.
    pub calls: u32,
}

/// What went wrong in an event. Read only of resources that are watched.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// Place of the event among the events of its resource.
    pub event: u32,
    /// What went wrong.
    pub kind: Text,
    /// Trace id in hexadecimal, or as a file says it.
    pub trace_id: Text,
}

/// A call that somebody made. Read only of resources that are watched.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Whom.
    pub to: Text,
    /// End of the span.
    pub end: UnixNanos,
    /// How long it took.
    pub duration_nanos: u64,
    /// Adjusted count.
    pub weight: f64,
    /// How it ended.
    pub outcome: Outcome,
}

/// One entry span.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Series of the operation.
    pub series: SeriesId,
    /// Name of the operation as the span says it, not yet templated.
    pub operation: Text,
    /// End of the span.
    pub end: UnixNanos,
    /// How long it took.
    pub duration_nanos: u64,
    /// Adjusted count.
    pub weight: f64,
    /// The adjusted count as a whole number, rounded up or down by the span id.
    pub count: u32,
    /// Randomness of its trace; 0 where [`EventBatch::wants_randomness`] does not ask for it.
    pub randomness: u64,
    /// Kind of the span.
    pub kind: SpanKind,
    /// How it ended.
    pub outcome: Outcome,
    /// Set by the windows where `sli.exclude` names the operation.
    pub excluded: bool,
}

/// The events of one request. Cleared and used again, so that it allocates nothing once it has grown.
#[derive(Clone, Debug, Default)]
pub struct EventBatch {
    arena: Vec<u8>,
    /// Resources in the order of their events.
    pub resources: Vec<BatchResource>,
    /// Entry spans.
    pub events: Vec<Event>,
    /// What went wrong in those of watched resources.
    pub failures: Vec<Failure>,
    /// Calls by watched resources.
    pub calls: Vec<Call>,
    /// Spans of every kind that could be used.
    pub spans: u64,
    /// Spans among them without a parent.
    pub roots: u64,
    /// Spans that could not be used, by [`Rejection::ALL`].
    pub rejected: [u64; 2],
    /// Whether whole traces are kept, which goes by the randomness of their ids.
    pub wants_randomness: bool,
    /// Of each usable span of any kind, the 56 bits of its trace that decide whether the trace is kept; where they are
    /// wanted.
    pub randomness: Vec<u64>,
}

impl EventBatch {
    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.resources.clear();
        self.events.clear();
        self.failures.clear();
        self.calls.clear();
        self.spans = 0;
        self.roots = 0;
        self.rejected = [0; 2];
        self.randomness.clear();
    }

    /// Memory kept between requests, in bytes.
    pub fn capacity_bytes(&self) -> usize {
        self.arena.capacity()
            + self.resources.capacity() * size_of::<BatchResource>()
            + self.events.capacity() * size_of::<Event>()
            + self.failures.capacity() * size_of::<Failure>()
            + self.calls.capacity() * size_of::<Call>()
            + self.randomness.capacity() * size_of::<u64>()
    }

    /// Bytes of all texts.
    pub fn text_bytes(&self) -> usize {
        self.arena.len()
    }

    /// Spans that could not be used.
    pub fn rejected_spans(&self) -> u64 {
        self.rejected.iter().sum()
    }

    /// Counts a span that cannot be used.
    pub fn reject(&mut self, reason: Rejection) {
        match reason {
            Rejection::EndBeforeStart => self.rejected[0] += 1,
            Rejection::InvalidId => self.rejected[1] += 1,
        }
    }

    /// Begins a text; what is written to the returned arena belongs to it until [`Self::end_text`].
    pub fn begin_text(&mut self) -> (&mut Vec<u8>, usize) {
        let start = self.arena.len();
        (&mut self.arena, start)
    }

    /// Ends a text that began at `start`. Bytes that are not UTF-8 become replacement characters, so that the hash of
    /// the bytes is the hash of the string.
    pub fn end_text(&mut self, start: usize) -> Text {
        let bytes = self.arena.get(start..).unwrap_or_default();
        if std::str::from_utf8(bytes).is_err() {
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.arena.truncate(start);
            self.arena.extend_from_slice(text.as_bytes());
        }
        Text {
            start: u32::try_from(start).unwrap_or(u32::MAX),
            len: u32::try_from(self.arena.len() - start).unwrap_or(0),
        }
    }

    /// Adds a text.
    pub fn push_text(&mut self, text: &[u8]) -> Text {
        let (arena, start) = self.begin_text();
        arena.extend_from_slice(text);
        self.end_text(start)
    }

    /// The bytes of a text.
    pub fn bytes(&self, text: Text) -> &[u8] {
        let start = text.start as usize;
        self.arena
            .get(start..start + text.len as usize)
            .unwrap_or_default()
    }

    /// A text as a string.
    pub fn text(&self, text: Text) -> Cow<'_, str> {
        String::from_utf8_lossy(self.bytes(text))
    }
}
