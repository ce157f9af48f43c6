//! One trace timed anew, from its roots down.

use crate::model::UnixNanos;
use crate::model::distribution::{nanos, nanos_of_ms, scaled};
use crate::model::fault::{LatencyChange, REFUSAL_MS};
use crate::model::span::{Outcome, SpanKind};
use crate::model::trace::{StatusCode, TraceSpan};
use crate::trace::tree::TraceTree;
use crate::tracetest::fault::edges::{Edges, answering, call_failed, is_pair};
use crate::tracetest::fault::lots::{Lot, Lots};
use crate::tracetest::fault::{Callers, PlacedFault};

/// Calls stand in each other at most so deep; what is deeper keeps its times.
const DEPTH_MAX: usize = 1_000;

/// A trace that is timed anew.
pub(super) struct Retiming<'a, 't> {
    tree: &'a TraceTree<'t>,
    faults: &'a [PlacedFault],
    edges: &'a Edges,
    lots: &'a mut Lots,
    placed: Vec<TraceSpan>,
    depth: usize,
    /// Ends the ids of spans that are repeated; empty the first time.
    suffix: String,
    /// The same of their parents.
    parent_suffix: String,
}

/// How a span ended.
#[derive(Clone, Copy, Debug)]
struct Ended {
    at: UnixNanos,
    failed: bool,
    /// The span's place among those that were placed; `None` if nobody reports it.
    index: Option<usize>,
}

/// What faults make of one request.
struct Effects<'a> {
    faults: Vec<&'a PlacedFault>,
    factor: f64,
    total_factor: f64,
    added: u64,
}

/// A child that was waited for: when it ended before, and when it ends now.
#[derive(Clone, Copy)]
struct Waited {
    before: UnixNanos,
    now: UnixNanos,
}

impl<'a, 't> Retiming<'a, 't> {
    pub(super) fn new(
        tree: &'a TraceTree<'t>,
        faults: &'a [PlacedFault],
        edges: &'a Edges,
        lots: &'a mut Lots,
    ) -> Self {
        Self {
            tree,
            faults,
            edges,
            lots,
            placed: Vec::with_capacity(tree.trace().spans.len()),
            depth: 0,
            suffix: String::new(),
            parent_suffix: String::new(),
        }
    }

    pub(super) fn into_spans(self) -> Vec<TraceSpan> {
        self.placed
    }

    /// Places a span that has no parent, and all below it. It begins when it began.
    pub(super) fn top(&mut self, index: usize) {
        if let Some(span) = self.tree.span(index) {
            self.place(index, span.start, 1.0);
        }
    }

    /// Places a span and all below it; it begins at `start`. Own times are multiplied by `factor`, if it is work of a
    /// service that is slower.
    fn place(&mut self, index: usize, start: UnixNanos, factor: f64) -> Ended {
        let Some(span) = self.tree.span(index) else {
            return Ended {
                at: start,
                failed: false,
                index: None,
            };
        };
        let effects = self.effects(index, span, factor);
        if let Some(ended) = self.unserved(span, &effects, start) {
            return ended;
        }
        let at = self.push(span, start);
        if self.fails(&effects) {
            let own = scaled(self.tree.self_nanos(index), effects.factor);
            let end = start.saturating_add(effects.added).saturating_add(own);
            return self.finish(at, end, true);
        }
        self.depth += 1;
        let (end, failed) = if self.depth > DEPTH_MAX {
            (
                start.saturating_add(span.duration_nanos()),
                span.outcome == Outcome::Error,
            )
        } else {
            self.children(index, span, start, &effects)
        };
        self.depth -= 1;
        let total = scaled(end.saturating_sub(start), effects.total_factor);
        self.finish(at, start.saturating_add(total), failed)
    }

    /// Places what a span did. Answers when it is over, and whether it failed.
    fn children(
        &mut self,
        index: usize,
        span: &TraceSpan,
        start: UnixNanos,
        effects: &Effects<'_>,
    ) -> (UnixNanos, bool) {
        let began = start.saturating_add(effects.added);
        let mut waited: Vec<Waited> = Vec::new();
        let is_repeated = !self.suffix.is_empty();
        let mut failed = if is_repeated {
            // What became of the first attempt says nothing about the next one.
            let ratio = self.edges.own_failure_ratio(span);
            self.is_request(index, span) && self.lots.meets_again(ratio)
        } else {
            span.outcome == Outcome::Error
        };
        let (mut has_recovered, mut has_failed_below) = (false, false);
        // From when on nothing more is begun, in the recorded times.
        let mut given_up_at = UnixNanos::MAX;
        for child in self.tree.children(index) {
            let Some(own) = self.tree.span(*child) else {
                continue;
            };
            if own.start >= given_up_at {
                continue;
            }
            let (before, now) = anchor(&waited, own.start, (span.start, began));
            let child_start = shifted(now, own.start, before, effects.factor);
            let child_factor = if is_own_work(span, own) {
                effects.factor
            } else {
                1.0
            };
            let ended = self.call(span, *child, child_start, child_factor);
            if self.tree.is_waited_for(*child) {
                waited.push(Waited {
                    before: own.end,
                    now: ended.at,
                });
            }
            let had_failed = !is_repeated && own.outcome == Outcome::Error;
            has_recovered |= had_failed && !ended.failed;
            has_failed_below |= ended.failed;
            let newly_failed = ended.failed && !had_failed;
            if newly_failed && self.tree.is_synchronous(*child) && self.passes_on(span, *child) {
                failed = true;
                given_up_at = given_up_at.min(own.end);
            }
        }
        // A recorded failure that came from below is gone with what it came from.
        failed &= !has_recovered || has_failed_below;
        let last_now = waited.iter().map(|child| child.now).max().unwrap_or(began);
        // Who gives up early does what came after the last child all the same.
        let all = self.tree.children(index).iter();
        let ends = all.filter(|child| self.tree.is_waited_for(**child));
        let ends = ends
            .filter_map(|child| self.tree.span(*child))
            .map(|child| child.end);
        let tail = span.end.saturating_sub(ends.max().unwrap_or(span.start));
        (
            last_now.saturating_add(scaled(tail, effects.factor)),
            failed,
        )
    }

    /// Places a child as its caller calls it: cut when the caller gives up, repeated when it tries again.
    fn call(&mut self, caller: &TraceSpan, child: usize, start: UnixNanos, factor: f64) -> Ended {
        let callers = self.callers(caller, child);
        let mut begin = start;
        let mut attempt = 1;
        loop {
            let outer = self.suffix.clone();
            if attempt > 1 {
                self.suffix = format!("{outer}-{attempt}");
            }
            let mut ended = self.place(child, begin, factor);
            self.parent_suffix.clone_from(&outer);
            self.suffix = outer;
            if let Some(timeout) = callers.timeout {
                let cut = begin.saturating_add(nanos(timeout));
                if ended.at > cut {
                    ended = Ended {
                        at: cut,
                        failed: true,
                        ..ended
                    };
                    self.cut(caller, child, ended);
                }
            }
            let is_refusal = self.tree.is_failed(child) && !call_failed(self.tree, child);
            if !ended.failed || is_refusal || attempt >= callers.attempts {
                return ended;
            }
            attempt += 1;
            begin = ended.at.saturating_add(nanos(callers.backoff));
        }
    }

    /// A caller's own span ends when it gives up; without one, the callee goes on alone.
    fn cut(&mut self, caller: &TraceSpan, child: usize, ended: Ended) {
        let is_callers = self
            .tree
            .span(child)
            .is_some_and(|span| span.resource.service == caller.resource.service);
        if is_callers && let Some(index) = ended.index {
            self.finish(index, ended.at, true);
        }
    }

    /// What the one who makes this call does; nothing in particular unless a fault is where it goes.
    fn callers(&self, caller: &TraceSpan, child: usize) -> Callers {
        let mut found = Callers::default();
        let (Some(span), Some(answer)) = (self.tree.span(child), answering(self.tree, child))
        else {
            return found;
        };
        if is_pair(caller, span) || span.kind == SpanKind::Producer {
            return found;
        }
        for placed in self.faults {
            if !is_target(placed, answer, None) {
                continue;
            }
            let hang = placed.fault.timeout.map(|timeout| timeout.after);
            for timeout in [placed.callers.timeout, hang].into_iter().flatten() {
                found.timeout = Some(found.timeout.map_or(timeout, |own| own.min(timeout)));
            }
            let storm = placed
                .fault
                .retry_storm
                .map(|storm| (storm.attempts, storm.backoff));
            let own = Some((placed.callers.attempts, placed.callers.backoff));
            for (attempts, backoff) in [own, storm].into_iter().flatten() {
                if attempts > found.attempts {
                    (found.attempts, found.backoff) = (attempts, backoff);
                }
            }
        }
        found
    }

    /// Whether a caller fails after a failed call.
    fn passes_on(&mut self, caller: &TraceSpan, child: usize) -> bool {
        let Some(own) = self.tree.span(child) else {
            return false;
        };
        if is_pair(caller, own) {
            return true;
        }
        let ratio = self.edges.ratio(self.tree, caller, child);
        self.lots.meets(Lot::Propagation, ratio)
    }

    fn effects(&mut self, index: usize, span: &TraceSpan, factor: f64) -> Effects<'a> {
        let mut effects = Effects {
            faults: Vec::new(),
            factor,
            total_factor: 1.0,
            added: 0,
        };
        if !self.is_request(index, span) {
            return effects;
        }
        // Work of another request begins: what its caller suffers from is not its own.
        if span.kind != SpanKind::Internal {
            effects.factor = 1.0;
        }
        if !self.suffix.is_empty() {
            let lot = rand::RngExt::random(self.lots.rng());
            let recorded = self.tree.self_nanos(index).max(1);
            let another = self.edges.own_nanos(span, lot).unwrap_or(recorded);
            effects.factor *= another as f64 / recorded as f64;
        }
        let version = Some(&*span.resource.version);
        let faults: &'a [PlacedFault] = self.faults;
        for placed in faults
            .iter()
            .filter(|placed| is_target(placed, span, version))
        {
            match &placed.fault.latency {
                Some(LatencyChange::Added(added)) => {
                    effects.added = effects.added.saturating_add(nanos(*added));
                }
                Some(LatencyChange::Drawn(added)) => {
                    let drawn = added.sample_nanos(self.lots.rng());
                    effects.added = effects.added.saturating_add(drawn);
                }
                Some(LatencyChange::Factor(own)) => effects.factor *= own,
                Some(LatencyChange::TotalFactor(own)) => effects.total_factor *= own,
                None => {}
            }
            effects.faults.push(placed);
        }
        effects
    }

    /// Whether a fault may be at this span: where a request comes into a service, or at a span that answers for
    /// somebody who reports none, such as a database.
    fn is_request(&self, index: usize, span: &TraceSpan) -> bool {
        let parent = self
            .tree
            .parent(index)
            .and_then(|parent| self.tree.span(parent));
        let enters = parent.is_none_or(|parent| {
            parent.resource.service != span.resource.service || is_pair(parent, span)
        });
        let is_call = matches!(span.kind, SpanKind::Client | SpanKind::Producer);
        let is_answered =
            answering(self.tree, index).is_some_and(|own| own.span_id != span.span_id);
        (enters || span.is_entry) && !is_call || is_call && !is_answered
    }

    /// The end of a request to a service that is out or hangs; `None` if it is served.
    fn unserved(
        &mut self,
        span: &TraceSpan,
        effects: &Effects<'_>,
        start: UnixNanos,
    ) -> Option<Ended> {
        for placed in &effects.faults {
            let fault = &placed.fault;
            let is_out = self.draw(Lot::Outage, fault.outage_ratio());
            let took = if is_out {
                nanos_of_ms(REFUSAL_MS)
            } else if let Some(timeout) = fault.timeout
                && self.draw(Lot::Timeout, timeout.ratio)
            {
                nanos(timeout.after)
            } else {
                continue;
            };
            let end = start.saturating_add(took);
            if is_out && fault.silent {
                return Some(Ended {
                    at: end,
                    failed: true,
                    index: None,
                });
            }
            let at = self.push(span, start);
            return Some(self.finish(at, end, true));
        }
        None
    }

    fn fails(&mut self, effects: &Effects<'_>) -> bool {
        let mut fails = false;
        for placed in &effects.faults {
            fails |= self.draw(Lot::Error, placed.fault.error_ratio());
        }
        fails
    }

    fn draw(&mut self, lot: Lot, ratio: f64) -> bool {
        if self.suffix.is_empty() {
            self.lots.meets(lot, ratio)
        } else {
            self.lots.meets_again(ratio)
        }
    }

    fn push(&mut self, span: &TraceSpan, start: UnixNanos) -> usize {
        let mut placed = span.clone();
        placed.start = start;
        if !self.suffix.is_empty() {
            placed.span_id = format!("{}{}", span.span_id, self.suffix).into();
        }
        if !self.parent_suffix.is_empty() {
            let parent = span.parent_span_id.as_ref();
            placed.parent_span_id = parent.map(|id| format!("{id}{}", self.parent_suffix).into());
        }
        self.parent_suffix.clone_from(&self.suffix);
        self.placed.push(placed);
        self.placed.len() - 1
    }

    fn finish(&mut self, index: usize, end: UnixNanos, failed: bool) -> Ended {
        if let Some(span) = self.placed.get_mut(index) {
            span.end = end.max(span.start);
            if failed && span.outcome != Outcome::Error {
                span.outcome = Outcome::Error;
                span.status = StatusCode::Error;
                span.status_message = "simulated".into();
            } else if !failed && span.outcome == Outcome::Error {
                span.outcome = Outcome::Ok;
                span.status = StatusCode::Unset;
                span.status_message = "simulated".into();
            }
        }
        Ended {
            at: end,
            failed,
            index: Some(index),
        }
    }
}

/// Whether a span is meant by a fault. Without a version that is known, every version may answer.
fn is_target(placed: &PlacedFault, span: &TraceSpan, version: Option<&str>) -> bool {
    placed
        .target
        .matches(&span.resource.service.name, &span.operation, version)
        && is_somewhere(placed, span)
}

/// A fault of a whole service is where requests come in; one of an operation is at every span of this name.
fn is_somewhere(placed: &PlacedFault, span: &TraceSpan) -> bool {
    placed.target.operation.is_some() || !matches!(span.kind, SpanKind::Client | SpanKind::Producer)
}

/// Work of the span's own service with a span of its own.
fn is_own_work(span: &TraceSpan, child: &TraceSpan) -> bool {
    child.kind == SpanKind::Internal && child.resource.service == span.resource.service
}

/// What a child waited for: the last of the earlier siblings to end, or the start of the parent; as recorded and now.
fn anchor(
    waited: &[Waited],
    start: UnixNanos,
    parent: (UnixNanos, UnixNanos),
) -> (UnixNanos, UnixNanos) {
    let earlier = waited.iter().filter(|sibling| sibling.before <= start);
    earlier.fold(parent, |(before, now), sibling| {
        (before.max(sibling.before), now.max(sibling.now))
    })
}

/// The start of a child: the recorded gap after its anchor. Where clocks differ it may lie before it.
fn shifted(
    anchor_now: UnixNanos,
    start: UnixNanos,
    anchor_before: UnixNanos,
    factor: f64,
) -> UnixNanos {
    if start >= anchor_before {
        anchor_now.saturating_add(scaled(start - anchor_before, factor))
    } else {
        anchor_now.saturating_sub(anchor_before - start)
    }
}
