//! Counts of calls in slots of event time, within a window.

use std::collections::VecDeque;

use crate::adapter::topology::observe::Seen;
use crate::model::topology::{LatencyQuantiles, Traffic};
use crate::model::{NANOS_PER_SEC, UnixNanos};
use crate::window::sketch::{LatencyCounts, Sketch, bucket_of};

/// Slots of a window. The oldest one leaves as a whole, so a window is off by one of them.
const SLOTS: u64 = 12;

/// Durations that wait to be folded into a sketch.
const WAITING_MAX: usize = 64;

/// Weights are whole multiples of 1/64 in latency counts, of which only the proportions are read.
const LATENCY_SCALE: f64 = 64.0;

/// How time is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slots {
    nanos: u64,
}

impl Slots {
    /// Slots of a window of so many nanoseconds; `None` counts everything in one.
    pub(super) fn new(window: Option<u64>) -> Self {
        Self {
            nanos: window.map_or(u64::MAX, |window| (window / SLOTS).max(1)),
        }
    }

    fn of(self, at: UnixNanos) -> u64 {
        at / self.nanos
    }

    /// The first slot that is still a part of the window at `now`.
    fn first(self, now: UnixNanos) -> u64 {
        self.of(now).saturating_sub(SLOTS - 1)
    }

    /// The start of the window at `now`.
    pub(super) fn start(self, now: UnixNanos) -> UnixNanos {
        self.first(now).saturating_mul(self.nanos)
    }
}

/// Sums of a slot.
#[derive(Clone, Debug, Default)]
struct Sums {
    calls: f64,
    errors: f64,
    propagated: f64,
    from_outside: f64,
    observed: u64,
    observed_errors: u64,
    latency: Sketch,
    waiting: Vec<(u16, u64)>,
}

/// Counts of an edge or of a node.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    pub(super) first_seen: UnixNanos,
    pub(super) last_seen: UnixNanos,
    slots: VecDeque<(u64, Sums)>,
}

/// What a tally is told beside the call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    /// What the trace stands for; none shows only that there is such a call.
    pub(super) factor: Option<f64>,
    pub(super) is_propagated: bool,
    pub(super) is_from_outside: bool,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            first_seen: UnixNanos::MAX,
            last_seen: 0,
            slots: VecDeque::new(),
        }
    }

    /// Counts a call. What ended before the window that `now` ends is remembered as seen only.
    pub(super) fn add(&mut self, seen: &Seen, facts: Facts, slots: Slots, now: UnixNanos) {
        let end = seen.end.min(now);
        self.first_seen = self.first_seen.min(end);
        self.last_seen = self.last_seen.max(end);
        self.forget(slots, now);
        let slot = slots.of(end);
        if slot < slots.first(now) {
            return;
        }
        let at = self.slots.partition_point(|(own, _)| *own < slot);
        if self.slots.get(at).is_none_or(|(own, _)| *own != slot) {
            self.slots.insert(at, (slot, Sums::default()));
        }
        if let Some((_, sums)) = self.slots.get_mut(at) {
            sums.add(seen, facts);
        }
    }

    /// Lets the slots go that are over.
    pub(super) fn forget(&mut self, slots: Slots, now: UnixNanos) {
        let first = slots.first(now);
        while self.slots.front().is_some_and(|(slot, _)| *slot < first) {
            self.slots.pop_front();
        }
    }

    /// Both together.
    pub(super) fn merge(&mut self, other: &Self) {
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
        for (slot, sums) in &other.slots {
            let at = self.slots.partition_point(|(own, _)| own < slot);
            match self.slots.get_mut(at) {
                Some((own, held)) if own == slot => held.merge(sums),
                Some(_) | None => self.slots.insert(at, (*slot, sums.clone())),
            }
        }
    }

    /// All of the window.
    pub(super) fn totals(&self, secs: f64) -> Totals {
        let mut all = Sums::default();
        let mut latency = LatencyCounts::default();
        for (_, sums) in &self.slots {
            all.add_counts(sums);
            latency.add(&sums.latency);
            for (bucket, count) in &sums.waiting {
                latency.add_bucket(*bucket, *count);
            }
        }
        let quantile = |quantile| latency.quantile_secs(quantile);
        let quantiles = quantile(0.5).zip(quantile(0.95)).zip(quantile(0.99));
        Totals {
            traffic: Traffic {
                calls: all.calls,
                calls_per_sec: if secs > 0.0 { all.calls / secs } else { 0.0 },
                errors: all.errors,
                error_ratio: (all.calls > 0.0).then(|| all.errors / all.calls),
                latency: quantiles.map(|((p50, p95), p99)| LatencyQuantiles { p50, p95, p99 }),
                observed: all.observed,
                observed_errors: all.observed_errors,
            },
            propagation_ratio: (all.errors > 0.0).then(|| all.propagated / all.errors),
            from_outside: all.from_outside,
        }
    }
}

/// What a tally adds up to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) traffic: Traffic,
    pub(super) propagation_ratio: Option<f64>,
    pub(super) from_outside: f64,
}

impl Sums {
    fn add(&mut self, seen: &Seen, facts: Facts) {
        self.observed += 1;
        self.observed_errors += u64::from(seen.is_failed);
        let Some(factor) = facts.factor else { return };
        let weight = seen.weight * factor;
        self.calls += weight;
        if seen.is_failed {
            self.errors += weight;
        }
        if facts.is_propagated {
            self.propagated += weight;
        }
        if facts.is_from_outside {
            self.from_outside += weight;
        }
        let bucket = bucket_of(seen.duration_nanos / 1_000);
        self.waiting.push((bucket, scaled(weight)));
        if self.waiting.len() >= WAITING_MAX {
            self.fold();
        }
    }

    fn fold(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.sort_unstable();
        let merged = waiting.chunk_by(|one, other| one.0 == other.0).map(|same| {
            let sum = same
                .iter()
                .fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
            (same.first().map_or(0, |(bucket, _)| *bucket), sum)
        });
        self.latency = self.latency.merged(&Sketch::from_sorted(merged));
    }

    fn merge(&mut self, other: &Self) {
        self.add_counts(other);
        self.fold();
        self.latency = self.latency.merged(&other.latency);
        self.waiting.extend_from_slice(&other.waiting);
    }

    fn add_counts(&mut self, other: &Self) {
        self.calls += other.calls;
        self.errors += other.errors;
        self.propagated += other.propagated;
        self.from_outside += other.from_outside;
        self.observed += other.observed;
        self.observed_errors += other.observed_errors;
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "weights are positive, and the conversion saturates"
)]
fn scaled(weight: f64) -> u64 {
    (weight * LATENCY_SCALE).round() as u64
}

/// Seconds between two times.
pub(super) fn secs_between(from: UnixNanos, to: UnixNanos) -> f64 {
    to.saturating_sub(from) as f64 / NANOS_PER_SEC as f64
}
