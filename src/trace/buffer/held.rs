//! The kept traces, their memory, and what has to go when it is full.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::model::UnixNanos;
use crate::trace::buffer::raw::{Origin, Origins, RawSpan, RawSpans};
use crate::trace::buffer::summary::TraceSummary;
use crate::trace::buffer::{BufferCounts, Reason};
use crate::trace::sampling::{Randomness, Threshold};

/// A trace id.
pub(super) type TraceId = [u8; 16];

/// Memory of a trace beside its spans: places in maps and queues, about.
const TRACE_BYTES: usize = 320;

/// A kept trace.
#[derive(Debug)]
pub(super) struct Held {
    pub spans: Arc<RawSpans>,
    pub reason: Reason,
    /// What decides whether it stays when fewer are kept.
    randomness: Randomness,
    pub first_seen: UnixNanos,
    pub last_seen: UnixNanos,
    /// Nothing came for the quiet time, or it took too long.
    pub is_closed: bool,
    pub is_timed_out: bool,
    /// By which share it may be counted: the least one while it was under way. None if it is wanted, or if the share was
    /// raised to keep it shortly before the first span was seen.
    counted: Option<Threshold>,
    left_out: u64,
    pub summary: Option<Arc<TraceSummary>>,
    memory: usize,
}

impl Held {
    /// What is missing, or may be.
    pub(super) fn missing(&self) -> Option<String> {
        let mut missing = Vec::new();
        if self.left_out > 0 {
            missing.push(format!(
                "{} spans are left out, since one trace may take trace_buffer.max_trace_bytes",
                self.left_out
            ));
        }
        if self.reason == Reason::Wanted {
            missing.push(
                "it is kept since an error or a slow span was seen in it; spans from before, and late ones, may be missing"
                    .to_owned(),
            );
        } else if self.counted.is_none() {
            missing.push(
                "more traces are kept since shortly before it was seen; spans that came before may be missing"
                    .to_owned(),
            );
        }
        if self.is_timed_out {
            missing.push("spans still came after trace_buffer.timeout".to_owned());
        }
        (!missing.is_empty()).then(|| missing.join("; "))
    }
}

/// Bounds in nanoseconds and bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub max_bytes: usize,
    pub max_trace_bytes: usize,
    pub wanted_share: f64,
    pub retention: u64,
    pub quiet: u64,
    pub timeout: u64,
}

/// A trace that is over.
#[derive(Debug)]
pub(super) struct Closed {
    pub id: TraceId,
    pub spans: Arc<RawSpans>,
    pub reason: Reason,
    pub missing: Option<String>,
    pub sampled_ratio: Option<f64>,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Traces {
    bounds: Bounds,
    pub held: HashMap<TraceId, Held>,
    shares: Shares,
    open: Vec<TraceId>,
    origins: Origins,
    pub counts: BufferCounts,
}

impl Traces {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            held: HashMap::new(),
            shares: Shares::new(bounds.max_bytes, bounds.wanted_share),
            open: Vec::new(),
            origins: Origins::default(),
            counts: BufferCounts::default(),
        }
    }

    pub(super) fn threshold(&self, reason: Reason) -> Threshold {
        self.shares.of(reason).threshold
    }

    /// Memory of all that is kept.
    pub(super) fn bytes(&self) -> usize {
        self.shares.bytes() + self.origins.bytes()
    }

    /// The same, added up anew.
    #[cfg(test)]
    pub(super) fn counted_again(&self) -> usize {
        let traces = self.held.values();
        let traces = traces.map(|held| {
            let summary = held.summary.as_ref().map_or(0, |summary| summary.memory());
            TRACE_BYTES + held.spans.memory() + summary
        });
        traces.sum::<usize>() + self.origins.bytes()
    }

    /// Adds the spans that `reason_of` gives a reason for. Says whether a threshold changed.
    pub(super) fn insert(
        &mut self,
        origin: &Origin<'_>,
        spans: &[RawSpan<'_>],
        reason_of: impl Fn(Randomness) -> Option<Reason>,
        now: UnixNanos,
    ) -> bool {
        let mut interned = None;
        for span in spans {
            let known = self.held.get(&span.trace_id).map(|held| held.reason);
            let Some(reason) = known.or_else(|| reason_of(span.randomness)) else {
                continue;
            };
            let origin = interned.get_or_insert_with(|| self.origins.intern(origin));
            let share = self.shares.of_mut(reason);
            let randomness = match reason {
                Reason::Sampled => span.randomness,
                Reason::Wanted => span.randomness.other(),
            };
            let held = self.held.entry(span.trace_id).or_insert_with(|| {
                share.queue.push_back((now, span.trace_id));
                self.open.push(span.trace_id);
                self.counts.kept_traces.add(reason, 1);
                let share = share.held_since(now, self.bounds.timeout);
                let is_counted = reason == Reason::Sampled && share.keeps(randomness);
                Held::new(reason, randomness, now, is_counted.then_some(share))
            });
            held.last_seen = now;
            if held.memory.saturating_add(span.bytes.len()) > self.bounds.max_trace_bytes {
                held.left_out += 1;
                self.counts.left_out_spans += 1;
                held.update_memory(&mut share.bytes);
                continue;
            }
            Arc::make_mut(&mut held.spans).push(origin, span.bytes);
            self.counts.kept_spans += 1;
            let before = share.bytes;
            held.update_memory(&mut share.bytes);
            // A copy, made since somebody reads the trace, may take less.
            share.inflow += share.bytes.saturating_sub(before);
        }
        let sampled = self.fit(Reason::Sampled, now);
        self.fit(Reason::Wanted, now) || sampled
    }

    /// Makes room: by keeping fewer traces if the oldest one is not old enough to go, else by letting it go. Says whether
    /// the threshold changed.
    fn fit(&mut self, reason: Reason, now: UnixNanos) -> bool {
        let mut is_changed = false;
        if self.origins.bytes() > self.bounds.max_bytes / ORIGINS_PART {
            self.origins.sweep();
        }
        // Both shares make room for what all of them have in common.
        let common = self.origins.bytes() / 2;
        loop {
            let share = self.shares.of_mut(reason);
            if share.bytes <= share.max_bytes.saturating_sub(common) {
                return is_changed;
            }
            let Some((seen, id)) = share.queue.front().copied() else {
                return is_changed;
            };
            let is_young = now < seen.saturating_add(self.bounds.retention);
            if is_young && share.threshold.ratio() > RATIO_MIN && self.held.contains_key(&id) {
                // The sooner it was full, the fewer.
                let age = now.saturating_sub(seen) as f64 / self.bounds.retention.max(1) as f64;
                let kept = (4.0 * age).clamp(KEPT_MIN, 0.5);
                share.threshold = share.threshold.scaled(kept);
                share.inflow = 0;
                share.inflow_since = now;
                is_changed = true;
                self.leave_out(reason);
            } else {
                share.queue.pop_front();
                if let Some(gone) = self.held.remove(&id) {
                    self.counts.evicted_traces += 1;
                    self.shares.of_mut(gone.reason).bytes -= gone.memory;
                }
            }
        }
    }

    /// Lets the traces below the threshold go.
    fn leave_out(&mut self, reason: Reason) {
        let share = self.shares.of_mut(reason);
        let threshold = share.threshold;
        self.held.retain(|_, held| {
            if held.reason != reason {
                return true;
            }
            let is_kept = threshold.keeps(held.randomness);
            if !is_kept {
                share.bytes -= held.memory;
                self.counts.left_out_traces += 1;
            }
            held.counted = held.counted.map(|counted| counted.max(threshold));
            is_kept
        });
        share.queue.retain(|(_, id)| self.held.contains_key(id));
    }

    /// The traces that are over by now. Says, too, whether a threshold changed: where memory lies idle, more are kept.
    pub(super) fn close(&mut self, now: UnixNanos) -> (Vec<Closed>, bool) {
        let Bounds {
            quiet,
            timeout,
            retention,
            ..
        } = self.bounds;
        let mut closed = Vec::new();
        let (held, shares) = (&mut self.held, &mut self.shares);
        self.open.retain(|id| {
            let Some(held) = held.get_mut(id) else {
                return false;
            };
            let is_quiet = held.last_seen.saturating_add(quiet) <= now;
            held.is_timed_out = !is_quiet && held.first_seen.saturating_add(timeout) <= now;
            held.is_closed = is_quiet || held.is_timed_out;
            if held.is_closed {
                Arc::make_mut(&mut held.spans).shrink();
                held.update_memory(&mut shares.of_mut(held.reason).bytes);
                closed.push(held.closed(*id));
            }
            !held.is_closed
        });
        self.origins.sweep();
        let is_changed = [Reason::Sampled, Reason::Wanted]
            .map(|reason| self.shares.of_mut(reason).loosen(now, retention));
        (closed, is_changed.contains(&true))
    }

    /// Keeps a summary beside its trace.
    pub(super) fn summarize(&mut self, id: &TraceId, summary: TraceSummary) {
        if let Some(held) = self.held.get_mut(id) {
            held.summary = Some(Arc::new(summary));
            held.update_memory(&mut self.shares.of_mut(held.reason).bytes);
        }
    }
}

/// Origins that take more than this part of the memory are swept.
const ORIGINS_PART: usize = 8;

/// At least this share of the traces stays at once when fewer are kept: a burst is no reason to forget all.
const KEPT_MIN: f64 = 0.125;

/// Where fewer are kept, the oldest go however young they are.
const RATIO_MIN: f64 = 1e-12;

/// What comes in is measured for this part of the retention before more traces are let in.
const MEASURED_PART: u64 = 8;

impl Held {
    fn new(
        reason: Reason,
        randomness: Randomness,
        now: UnixNanos,
        counted: Option<Threshold>,
    ) -> Self {
        Self {
            spans: Arc::default(),
            reason,
            randomness,
            first_seen: now,
            last_seen: now,
            is_closed: false,
            is_timed_out: false,
            counted,
            left_out: 0,
            summary: None,
            memory: 0,
        }
    }

    pub(super) fn closed(&self, id: TraceId) -> Closed {
        Closed {
            id,
            spans: Arc::clone(&self.spans),
            reason: self.reason,
            missing: self.missing(),
            sampled_ratio: self.counted.map(Threshold::ratio),
        }
    }

    fn update_memory(&mut self, sum: &mut usize) {
        let summary = self.summary.as_ref().map_or(0, |summary| summary.memory());
        let memory = TRACE_BYTES + self.spans.memory() + summary;
        *sum = *sum + memory - self.memory;
        self.memory = memory;
    }
}

/// The memory of each reason.
#[derive(Debug)]
struct Shares {
    sampled: Share,
    wanted: Share,
}

/// The traces that are kept for one reason.
#[derive(Debug)]
struct Share {
    threshold: Threshold,
    /// Memory that was taken since the time beside it.
    inflow: usize,
    inflow_since: UnixNanos,
    /// When more traces were let in, and which were before.
    raised: Option<(UnixNanos, Threshold)>,
    /// In the order of their first spans. Some may be gone.
    queue: VecDeque<(UnixNanos, TraceId)>,
    bytes: usize,
    max_bytes: usize,
}

impl Shares {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a number of bytes"
    )]
    fn new(max_bytes: usize, wanted_share: f64) -> Self {
        let wanted = (max_bytes as f64 * wanted_share) as usize;
        Self {
            sampled: Share::new(max_bytes - wanted),
            wanted: Share::new(wanted),
        }
    }

    fn of(&self, reason: Reason) -> &Share {
        match reason {
            Reason::Sampled => &self.sampled,
            Reason::Wanted => &self.wanted,
        }
    }

    fn of_mut(&mut self, reason: Reason) -> &mut Share {
        match reason {
            Reason::Sampled => &mut self.sampled,
            Reason::Wanted => &mut self.wanted,
        }
    }

    fn bytes(&self) -> usize {
        self.sampled.bytes + self.wanted.bytes
    }
}

impl Share {
    fn new(max_bytes: usize) -> Self {
        Self {
            // Without memory, none.
            threshold: Threshold::ALL.scaled(f64::from(u8::from(max_bytes > 0))),
            inflow: 0,
            inflow_since: 0,
            raised: None,
            queue: VecDeque::new(),
            bytes: 0,
            max_bytes,
        }
    }

    /// Which traces were kept from their beginning, of those whose first span is seen now: a trace under way takes as long as
    /// `timeout` at most.
    fn held_since(&self, now: UnixNanos, timeout: u64) -> Threshold {
        match self.raised {
            Some((at, before)) if now < at.saturating_add(timeout) => before.max(self.threshold),
            Some(_) | None => self.threshold,
        }
    }

    /// Lets in twice as many traces where the memory would suffice for them.
    fn loosen(&mut self, now: UnixNanos, retention: u64) -> bool {
        let measured = now.saturating_sub(self.inflow_since);
        if measured < retention / MEASURED_PART {
            return false;
        }
        let needed = 2.0 * self.inflow as f64 * (retention as f64 / measured.max(1) as f64);
        self.inflow = 0;
        self.inflow_since = now;
        let before = self.threshold;
        if needed > self.max_bytes as f64 || before == Threshold::ALL {
            return false;
        }
        self.raised = Some((now, before));
        self.threshold = before.scaled(2.0);
        self.threshold != before
    }
}
