//! How errors travel: of the failed calls on an edge, the share after which the caller failed too. And how long
//! requests took, for those that are made again.

use std::collections::BTreeMap;

use crate::model::span::{Outcome, SpanKind};
use crate::model::trace::TraceSpan;
use crate::trace::tree::TraceTree;
use crate::tracetest::fault::lots::GOLDEN;

/// What is assumed where no failed call was seen: the caller fails. It errs on the side of noticing.
pub const PROPAGATION_PRIOR: f64 = 1.0;

/// The prior counts as so many failed calls.
const PRIOR_CALLS: f64 = 1.0;

/// Edges beyond this are not told apart: they have the prior.
const EDGES_MAX: usize = 50_000;

/// A place in a trace: service and operation.
type Place = (Box<str>, Box<str>);

/// Own times of requests that are kept of one operation.
const OWN_TIMES_MAX: usize = 512;

/// What was seen of calls that failed, by edge, and of own times, by operation.
#[derive(Clone, Debug)]
pub struct Edges {
    own_nanos: BTreeMap<Place, OwnTimes>,
    /// Requests and those that failed by themselves.
    own_failures: BTreeMap<Place, Seen>,
    seen: BTreeMap<(Place, Place), Seen>,
    prior: f64,
    left_out: u64,
}

/// Own times of an operation in nanoseconds: a fair sample where there are more than fit.
#[derive(Clone, Debug, Default)]
struct OwnTimes {
    kept: Vec<u64>,
    seen: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// How many may have had a consequence.
    failed: u64,
    /// How many had.
    propagated: u64,
}

impl Default for Edges {
    fn default() -> Self {
        Self::new(PROPAGATION_PRIOR)
    }
}

impl Edges {
    /// Nothing seen yet; `prior` is the share that is assumed then.
    pub fn new(prior: f64) -> Self {
        Self {
            own_nanos: BTreeMap::new(),
            own_failures: BTreeMap::new(),
            seen: BTreeMap::new(),
            prior,
            left_out: 0,
        }
    }

    /// Looks at a trace.
    pub fn observe(&mut self, tree: &TraceTree<'_>) {
        for index in 0..tree.trace().spans.len() {
            self.observe_own_time(tree, index);
            let Some((parent, child)) = tree.parent(index).zip(tree.span(index)) else {
                continue;
            };
            let Some(caller) = tree.span(parent) else {
                continue;
            };
            if is_pair(caller, child) || !tree.is_synchronous(index) || !call_failed(tree, index) {
                continue;
            }
            let key = (place_of(caller), callee_of(tree, index));
            if !self.seen.contains_key(&key) && self.seen.len() >= EDGES_MAX {
                self.left_out += 1;
                continue;
            }
            let seen = self.seen.entry(key).or_default();
            seen.failed += 1;
            seen.propagated += u64::from(caller.outcome == Outcome::Error);
        }
    }

    fn observe_own_time(&mut self, tree: &TraceTree<'_>, index: usize) {
        let Some(span) = tree.span(index) else {
            return;
        };
        let place = place_of(span);
        if !self.own_failures.contains_key(&place) && self.own_failures.len() >= EDGES_MAX {
            return;
        }
        let seen = self.own_failures.entry(place.clone()).or_default();
        seen.failed += 1;
        if span.outcome == Outcome::Error {
            let mut below = tree.children(index).iter();
            let is_own = !below.any(|child| tree.is_failed(*child));
            seen.propagated += u64::from(is_own);
            return;
        }
        self.own_nanos
            .entry(place)
            .or_default()
            .add(tree.self_nanos(index));
    }

    /// The share of requests like this one that failed by themselves.
    pub fn own_failure_ratio(&self, span: &TraceSpan) -> f64 {
        let seen = self
            .own_failures
            .get(&place_of(span))
            .copied()
            .unwrap_or_default();
        seen.propagated as f64 / seen.failed.max(1) as f64
    }

    /// The own time of another request like this one, by a number from 0 to 1: what a request takes that is made again
    /// has nothing to do with what it took before.
    pub fn own_nanos(&self, span: &TraceSpan, lot: f64) -> Option<u64> {
        let times = self.own_nanos.get(&place_of(span))?;
        times.kept.get(index_at(lot, times.kept.len())).copied()
    }

    /// The share of failed calls on an edge after which the caller fails.
    pub fn ratio(&self, tree: &TraceTree<'_>, caller: &TraceSpan, child: usize) -> f64 {
        let key = (place_of(caller), callee_of(tree, child));
        let seen = self.seen.get(&key).copied().unwrap_or_default();
        (seen.propagated as f64 + self.prior * PRIOR_CALLS) / (seen.failed as f64 + PRIOR_CALLS)
    }

    /// How many failed calls were seen from one operation to another.
    pub fn failed_calls(&self, caller: (&str, &str), callee: (&str, &str)) -> u64 {
        let place = |(service, operation): (&str, &str)| (service.into(), operation.into());
        self.seen
            .get(&(place(caller), place(callee)))
            .map_or(0, |seen| seen.failed)
    }

    /// Failed calls that no edge had a place for.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

impl OwnTimes {
    fn add(&mut self, nanos: u64) {
        self.seen += 1;
        if self.kept.len() < OWN_TIMES_MAX {
            self.kept.push(nanos);
            return;
        }
        // Each of those that were seen is as likely to be kept (Vitter's algorithm R), by a fixed sequence.
        let lot = (self.seen as f64 * GOLDEN).fract();
        let place = index_at(lot, usize::try_from(self.seen).unwrap_or(usize::MAX));
        if let Some(kept) = self.kept.get_mut(place) {
            *kept = nanos;
        }
    }
}

/// The place of a number from 0 to 1 among so many.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a length"
)]
fn index_at(lot: f64, len: usize) -> usize {
    ((lot * len as f64) as usize).min(len.saturating_sub(1))
}

/// Both halves of one call.
pub(super) fn is_pair(parent: &TraceSpan, child: &TraceSpan) -> bool {
    matches!(
        (parent.kind, child.kind),
        (SpanKind::Client, SpanKind::Server) | (SpanKind::Producer, SpanKind::Consumer)
    )
}

/// The span of the other service that answers a call; the span itself where no other one does.
pub(super) fn answering<'a>(tree: &TraceTree<'a>, call: usize) -> Option<&'a TraceSpan> {
    let span = tree.span(call)?;
    let children = tree.children(call).iter();
    let mut answers = children.filter_map(|child| tree.span(*child));
    Some(answers.find(|child| is_pair(span, child)).unwrap_or(span))
}

/// Whether a call failed by the callee's fault or by the wait for it; a 404, which only the client takes for an error,
/// is no failure.
pub(super) fn call_failed(tree: &TraceTree<'_>, call: usize) -> bool {
    let (Some(span), Some(answer)) = (tree.span(call), answering(tree, call)) else {
        return false;
    };
    if span.span_id == answer.span_id {
        return span.outcome == Outcome::Error;
    }
    answer.outcome == Outcome::Error || (span.outcome == Outcome::Error && span.end < answer.end)
}

fn place_of(span: &TraceSpan) -> Place {
    (
        span.resource.service.name.as_ref().into(),
        span.operation.clone(),
    )
}

fn callee_of(tree: &TraceTree<'_>, call: usize) -> Place {
    answering(tree, call).map_or_else(|| ("".into(), "".into()), place_of)
}
