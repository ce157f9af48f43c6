//! The traces of the last minutes in slots of time, each as a summary: what was before an incident stands beside what came
//! with it. Old slots become wider, so that an hour takes a few dozen of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::adapter::incident::onset::{Outcomes, is_worse, onset};
use crate::adapter::rca::{Settings, Summary};
use crate::model::UnixNanos;
use crate::model::span::Outcome;
use crate::model::trace::Trace;

/// Slots that stay as fine as they came.
const FINE_SLOTS: usize = 30;

/// Fine slots that become one.
const SLOTS_PER_COARSE: usize = 6;

/// Fewer entry spans do not tell that an incident is over.
const MIN_ENTRIES: u64 = 20;

/// Buckets of an octave: durations are told apart to 19 %.
const BUCKETS_PER_OCTAVE: f64 = 4.0;

/// Entry spans of one service: failed ones, and the others by the logarithm of their duration.
#[derive(Clone, Debug, Default)]
struct Entries {
    failed: u64,
    by_bucket: BTreeMap<i32, u64>,
}

/// A stretch of time.
#[derive(Clone, Debug)]
struct Slot {
    start: UnixNanos,
    /// Time of an incident: nothing to compare with.
    is_troubled: bool,
    summary: Summary,
    /// By `service.name`.
    entries: BTreeMap<Arc<str>, Entries>,
}

/// What makes an entry span of a service bad.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Badness {
    /// `service.name`.
    pub(super) service: String,
    /// Without one, only failed spans are bad.
    pub(super) slower_than_nanos: Option<u64>,
}

/// Both sides of an incident.
#[derive(Debug)]
pub(super) struct Sides {
    pub(super) baseline: Summary,
    pub(super) incident: Summary,
}

/// The slots, the oldest first.
#[derive(Debug)]
pub(super) struct Slots {
    slot_nanos: u64,
    held_nanos: u64,
    settings: Settings,
    all: VecDeque<Slot>,
}

impl Slots {
    pub(super) fn new(slot: Duration, held: Duration, settings: &Settings) -> Self {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self {
            slot_nanos: nanos(slot).max(1),
            held_nanos: nanos(held),
            settings: settings.clone(),
            all: VecDeque::new(),
        }
    }

    /// Takes a trace into the slot in which it began. What is older than all that is held goes into the oldest slot.
    ///
    /// What began after `now` comes from a broken clock, and would push out all else.
    pub(super) fn observe(&mut self, trace: &Trace, now: UnixNanos) {
        let Some(began_at) = trace.spans.iter().map(|span| span.start).min() else {
            return;
        };
        if began_at > now {
            return;
        }
        let start = began_at - began_at % self.slot_nanos;
        let newest = self.all.back().map(|slot| slot.start);
        if newest.is_none_or(|newest| start > newest) {
            self.all.push_back(Slot {
                start,
                is_troubled: false,
                summary: Summary::default(),
                entries: BTreeMap::new(),
            });
            self.coarsen();
            self.forget();
        }
        let after = self.all.partition_point(|slot| slot.start <= start);
        let Some(slot) = self.all.get_mut(after.saturating_sub(1)) else {
            return;
        };
        slot.summary.observe(trace, &self.settings);
        for span in trace.spans.iter().filter(|span| span.is_entry) {
            let service = Arc::clone(&span.resource.service.name);
            let entries = slot.entries.entry(service).or_default();
            if span.outcome == Outcome::Error {
                entries.failed += 1;
            } else {
                let bucket = bucket(span.duration_nanos());
                *entries.by_bucket.entry(bucket).or_default() += 1;
            }
        }
    }

    /// Makes one of the oldest fine slots if there are too many.
    fn coarsen(&mut self) {
        let coarse = |slot: &Slot, next: &Slot| {
            next.start - slot.start >= self.slot_nanos.saturating_mul(SLOTS_PER_COARSE as u64)
        };
        let pairs = self.all.iter().zip(self.all.iter().skip(1));
        let first_fine = pairs.take_while(|(slot, next)| coarse(slot, next)).count();
        if self.all.len() < first_fine + FINE_SLOTS + SLOTS_PER_COARSE {
            return;
        }
        for _ in 1..SLOTS_PER_COARSE {
            let Some(next) = self.all.remove(first_fine + 1) else {
                return;
            };
            if let Some(slot) = self.all.get_mut(first_fine) {
                slot.merge(next, &self.settings);
            }
        }
    }

    /// Lets go what began too long ago.
    fn forget(&mut self) {
        let newest = self.all.back().map_or(0, |slot| slot.start);
        let oldest = newest.saturating_sub(self.held_nanos);
        while self.all.front().is_some_and(|slot| slot.start < oldest) {
            self.all.pop_front();
        }
    }

    /// When what makes these services bad began, as far as slots tell.
    pub(super) fn onset(&self, badness: &[Badness]) -> Option<UnixNanos> {
        let calm: Vec<&Slot> = self.calm().collect();
        let outcomes: Vec<Outcomes> = calm.iter().map(|slot| slot.outcomes(badness)).collect();
        calm.get(onset(&outcomes)?).map(|slot| slot.start)
    }

    /// The begin of the newest two slots.
    pub(super) fn lately(&self) -> UnixNanos {
        let at = self.all.len().saturating_sub(2);
        self.all.get(at).map_or(0, |slot| slot.start)
    }

    fn calm(&self) -> impl Iterator<Item = &Slot> {
        self.all.iter().filter(|slot| !slot.is_troubled)
    }

    /// Whether these services were as before the incident from `since` on. Without traffic nobody knows.
    pub(super) fn has_recovered(
        &self,
        badness: &[Badness],
        began_at: UnixNanos,
        since: UnixNanos,
    ) -> bool {
        let (mut before, mut after) = (Outcomes::default(), Outcomes::default());
        for (slot, end) in self.with_ends().filter(|(slot, _)| !slot.is_troubled) {
            if end <= began_at {
                before.add(slot.outcomes(badness));
            } else if slot.start >= since {
                after.add(slot.outcomes(badness));
            }
        }
        let is_known = before.total > 0 && after.total >= MIN_ENTRIES;
        is_known && since > began_at && !is_worse(before, after)
    }

    /// Nothing will be compared with what was between these times.
    pub(super) fn mark_trouble(&mut self, from: UnixNanos, to: UnixNanos) {
        let troubled: Vec<bool> = self
            .with_ends()
            .map(|(slot, end)| slot.start < to && end > from)
            .collect();
        for (slot, is_troubled) in self.all.iter_mut().zip(troubled) {
            slot.is_troubled |= is_troubled;
        }
    }

    /// The slots with their ends: a wide one may hold both sides of an onset, and then belongs to none.
    fn with_ends(&self) -> impl Iterator<Item = (&Slot, UnixNanos)> {
        let starts = self.all.iter().skip(1).map(|next| next.start);
        let ends = starts.chain(std::iter::once(UnixNanos::MAX));
        self.all.iter().zip(ends)
    }

    /// What was before the incident and what came with it, at most `recent` of it.
    pub(super) fn sides(&self, began_at: UnixNanos, recent: Duration) -> Sides {
        let mut sides = Sides {
            baseline: Summary::default(),
            incident: Summary::default(),
        };
        let recent = u64::try_from(recent.as_nanos()).unwrap_or(u64::MAX);
        let newest = self.all.back().map_or(0, |slot| slot.start);
        for (slot, end) in self.with_ends().filter(|(slot, _)| !slot.is_troubled) {
            if slot.start >= began_at {
                if newest - slot.start <= recent {
                    sides.incident.merge(&slot.summary, &self.settings);
                }
            } else if end <= began_at {
                sides.baseline.merge(&slot.summary, &self.settings);
            }
        }
        sides
    }
}

impl Slot {
    fn merge(&mut self, other: Self, settings: &Settings) {
        self.is_troubled |= other.is_troubled;
        self.summary.merge(&other.summary, settings);
        for (service, theirs) in other.entries {
            let entries = self.entries.entry(service).or_default();
            entries.failed += theirs.failed;
            for (bucket, count) in theirs.by_bucket {
                *entries.by_bucket.entry(bucket).or_default() += count;
            }
        }
    }

    fn outcomes(&self, badness: &[Badness]) -> Outcomes {
        let mut all = Outcomes::default();
        for bad in badness {
            let Some(entries) = self.entries.get(bad.service.as_str()) else {
                continue;
            };
            let limit = bad.slower_than_nanos.map(bucket);
            for (bucket, count) in &entries.by_bucket {
                all.add(Outcomes {
                    total: *count,
                    bad: if limit.is_some_and(|limit| *bucket > limit) {
                        *count
                    } else {
                        0
                    },
                });
            }
            all.add(Outcomes {
                total: entries.failed,
                bad: entries.failed,
            });
        }
        all
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a logarithm of 64 bits, times four"
)]
fn bucket(nanos: u64) -> i32 {
    ((nanos.max(1) as f64).log2() * BUCKETS_PER_OCTAVE) as i32
}
