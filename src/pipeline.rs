//! From one request to the windows, before it is acknowledged.
//!
//! Invariant: no queue stands here. A request is read whole into a scratch batch, then counted whole, or not at all.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Clock;
use crate::model::batch::EventBatch;
use crate::window::event::EventRules;
use crate::window::{Recorded, Windows};

/// A scratch batch that grew beyond this for an unusual request is not kept.
const SCRATCH_BYTES_MAX: usize = 4 << 20;

thread_local! {
    /// One batch a receiver thread, so that no request allocates one.
    static SCRATCH: RefCell<EventBatch> = RefCell::default();
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
}

/// The way of a request: batch → windows.
#[derive(Debug)]
pub struct Pipeline {
    windows: Arc<Windows>,
    rules: EventRules,
    clock: Clock,
    roots: AtomicU64,
}

impl Pipeline {
    /// A pipeline into these windows.
    pub fn new(windows: Arc<Windows>, rules: EventRules, clock: Clock) -> Self {
        Self {
            windows,
            rules,
            clock,
            roots: AtomicU64::new(0),
        }
    }

    /// Lets `collect` fill a batch and counts it, unless `collect` fails.
    pub fn consume<E>(
        &self,
        collect: impl FnOnce(&EventRules, &mut EventBatch) -> Result<(), E>,
    ) -> Result<Consumed, E> {
        SCRATCH.with_borrow_mut(|batch| {
            let consumed = collect(&self.rules, batch).map(|()| self.count(batch));
            if batch.capacity_bytes() > SCRATCH_BYTES_MAX {
                *batch = EventBatch::default();
            }
            consumed
        })
    }

    fn count(&self, batch: &mut EventBatch) -> Consumed {
        let recorded = self.windows.record(batch, self.clock.now());
        self.roots.fetch_add(batch.roots, Ordering::Relaxed);
        Consumed {
            accepted: batch.spans,
            rejected: batch.rejected,
            recorded,
        }
    }

    /// Root spans so far, each the start of a trace.
    pub fn roots(&self) -> u64 {
        self.roots.load(Ordering::Relaxed)
    }
}
