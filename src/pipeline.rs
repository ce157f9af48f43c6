//! From one request to the windows, to the log of requests if there is one, and to the forwarder if there is one, before it is acknowledged.
//!
//! Invariant: no queue stands here. A request is read whole into a scratch batch, then counted whole, or not at all.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Clock;
use crate::forward::{Entrance, Full, Reservation};
use crate::model::UnixNanos;
use crate::model::batch::EventBatch;
use crate::model::sampling::TelemetryVolume;
use crate::store::journal::Journal;
use crate::trace::buffer::TraceBuffer;
use crate::window::event::asked::Asked;
use crate::window::event::{EventRules, OperationScratch};
use crate::window::{Recorded, Windows};

/// A scratch batch that grew beyond this for an unusual request is not kept.
const SCRATCH_BYTES_MAX: usize = 4 << 20;

thread_local! {
    /// One a receiver thread, so that no request allocates them.
    static SCRATCH: RefCell<(EventBatch, OperationScratch)> = RefCell::default();
}

/// What became of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consumed {
    /// Spans of every kind that could be used.
    pub accepted: u64,
    /// Spans that could not, by [`crate::model::batch::Rejection::ALL`].
    pub rejected: [u64; 2],
    /// What the windows made of its entry spans.
    pub recorded: Recorded,
    /// Whether spans of it belong to traces that are kept whole; see [`Pipeline::keep`].
    pub is_picked: bool,
}

impl Consumed {
    /// Spans of the request, usable or not.
    pub fn spans(&self) -> u64 {
        self.accepted + self.rejected.iter().sum::<u64>()
    }
}

/// The way of a request: batch → windows, and of a few of its spans: → trace buffer. Its bytes → forwarder.
#[derive(Debug)]
pub struct Pipeline {
    windows: Arc<Windows>,
    rules: EventRules,
    clock: Clock,
    roots: AtomicU64,
    spans: AtomicU64,
    bytes: AtomicU64,
    traces: Option<Arc<TraceBuffer>>,
    forward: Option<Entrance>,
    journal: Option<Arc<Journal>>,
}

impl Pipeline {
    /// A pipeline into these windows.
    pub fn new(windows: Arc<Windows>, rules: EventRules, clock: Clock) -> Self {
        Self {
            rules: rules.watching(windows.watch()),
            windows,
            clock,
            roots: AtomicU64::new(0),
            spans: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            traces: None,
            forward: None,
            journal: None,
        }
    }

    /// What senders were asked to send.
    pub fn asked(&self) -> &Arc<Asked> {
        self.rules.asked()
    }

    /// With a journal that requests are logged in before they are counted.
    #[must_use]
    pub fn with_journal(self, journal: Option<Arc<Journal>>) -> Self {
        Self { journal, ..self }
    }

    /// With a forwarder behind it.
    #[must_use]
    pub fn with_forward(self, forward: Option<Entrance>) -> Self {
        Self { forward, ..self }
    }

    /// Takes room in the forwarder's queue, before a request is counted; none where nothing is forwarded.
    pub fn admit(&self, bytes: usize) -> Result<Option<Reservation>, Full> {
        let forward = self.forward.as_ref();
        forward.map(|forward| forward.reserve(bytes)).transpose()
    }

    /// With a buffer of whole traces beside the windows.
    #[must_use]
    pub fn with_traces(self, traces: Option<Arc<TraceBuffer>>) -> Self {
        Self { traces, ..self }
    }

    /// Puts what is picked of a request into the trace buffer, if anything is.
    pub fn keep(&self, consumed: &Consumed, put: impl FnOnce(&TraceBuffer, UnixNanos)) {
        if let Some(traces) = self.traces.as_deref().filter(|_| consumed.is_picked) {
            put(traces, self.clock.now());
        }
    }

    /// Lets `collect` fill a batch and counts it, unless `collect` fails.
    pub fn consume<E>(
        &self,
        collect: impl FnOnce(&EventRules, &mut EventBatch, &mut OperationScratch) -> Result<(), E>,
    ) -> Result<Consumed, E> {
        SCRATCH.with_borrow_mut(|(batch, scratch)| {
            batch.wants_randomness = self.traces.is_some();
            let consumed = collect(&self.rules, batch, scratch).map(|()| self.count(batch));
            if batch.capacity_bytes() > SCRATCH_BYTES_MAX {
                *batch = EventBatch::default();
            }
            consumed
        })
    }

    fn count(&self, batch: &mut EventBatch) -> Consumed {
        let now = self.clock.now();
        let journal = self.journal.as_ref();
        let turn = journal.map(|journal| journal.enter(&self.windows, batch, now));
        let recorded = self.windows.record(batch, now);
        drop(turn);
        self.roots.fetch_add(batch.roots, Ordering::Relaxed);
        self.spans.fetch_add(batch.spans, Ordering::Relaxed);
        Consumed {
            accepted: batch.spans,
            rejected: batch.rejected,
            recorded,
            is_picked: self
                .traces
                .as_ref()
                .is_some_and(|traces| traces.picks(batch)),
        }
    }

    /// Notes the size of a request that was counted.
    pub fn note_bytes(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// What came in so far.
    pub fn volume(&self) -> TelemetryVolume {
        TelemetryVolume {
            spans: self.spans.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// Spans that the sampling plan let through to the backend so far; none where it is not the plan that decides.
    pub fn kept_by_plan(&self) -> Option<u64> {
        self.forward.as_ref().and_then(Entrance::kept_by_plan)
    }

    /// Root spans so far, each the start of a trace.
    pub fn roots(&self) -> u64 {
        self.roots.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::span::SpanKind;
    use crate::window::event::{ResourceAttributes, Sampling, SpanInput, push_resource, push_span};
    use crate::window::settings::{SliConfig, WindowsConfig};

    const NOW: u64 = 1_770_000_000_000_000_000;

    fn pipeline(now: u64) -> Pipeline {
        let sli = SliConfig::default();
        let windows = Arc::new(Windows::new(WindowsConfig::default(), &sli));
        Pipeline::new(windows, EventRules::new(&sli), Clock::manual(now))
    }

    /// Fills a batch with a span from each start to its end.
    fn fill(rules: &EventRules, batch: &mut EventBatch, times: &[(u64, u64)]) {
        let mut scratch = OperationScratch::default();
        batch.clear();
        push_resource(batch, &mut scratch, &ResourceAttributes::default());
        for (start, end) in times {
            let span = SpanInput {
                kind: SpanKind::Server,
                start: *start,
                end: *end,
                ..SpanInput::default()
            };
            push_span(
                batch,
                &mut scratch,
                &span,
                rules.entry_kinds,
                &Sampling::Full.into(),
            );
        }
    }

    #[test]
    fn absurd_times_are_counted_or_rejected_and_nothing_overflows() {
        for now in [0, NOW, u64::MAX] {
            let pipeline = pipeline(now);
            let consumed = pipeline.consume(|rules, batch, _| {
                let times = [
                    (0, u64::MAX),
                    (u64::MAX, u64::MAX),
                    (0, 0),
                    (1, 0),
                    (u64::MAX, 0),
                ];
                fill(rules, batch, &times);
                Ok::<_, ()>(())
            });
            let consumed = consumed.unwrap();
            assert_eq!((consumed.accepted, consumed.rejected), (3, [2, 0]), "{now}");
            assert_eq!(consumed.recorded.counted, 3, "{now}");
            assert_eq!(pipeline.roots(), 3, "{now}");
        }
    }

    #[test]
    fn a_request_that_cannot_be_read_counts_nothing() {
        let pipeline = pipeline(NOW);
        let refused = pipeline.consume(|rules, batch, _| {
            fill(rules, batch, &[(NOW, NOW)]);
            Err("malformed")
        });
        assert_eq!(refused, Err("malformed"));
        assert_eq!((pipeline.roots(), pipeline.windows.usage().held), (0, 0));
    }

    /// The scratch of a refused request was kept whatever its size.
    #[test]
    fn a_large_scratch_batch_is_not_kept_even_if_its_request_is_refused() {
        let pipeline = pipeline(NOW);
        for outcome in [Ok(()), Err(())] {
            let consumed = pipeline.consume(|_, batch, _| {
                batch.events.reserve(SCRATCH_BYTES_MAX / 16);
                outcome
            });
            assert_eq!(consumed.is_ok(), outcome.is_ok());
            let kept = pipeline.consume(|_, batch, _| Err::<(), usize>(batch.capacity_bytes()));
            assert!(kept.unwrap_err() <= SCRATCH_BYTES_MAX);
        }
    }
}
