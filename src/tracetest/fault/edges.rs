//! How errors travel: of the failed calls on an edge, the share after which the caller failed too.

use std::collections::BTreeMap;

use crate::model::span::{Outcome, SpanKind};
use crate::model::trace::TraceSpan;
use crate::trace::tree::TraceTree;

/// What is assumed where no failed call was seen: the caller fails. It errs on the side of noticing.
pub const PROPAGATION_PRIOR: f64 = 1.0;

/// The prior counts as so many failed calls.
const PRIOR_CALLS: f64 = 1.0;

/// Edges beyond this are not told apart: they have the prior.
const EDGES_MAX: usize = 50_000;

/// A place in a trace: service and operation.
type Place = (Box<str>, Box<str>);

/// What was seen of calls that failed, by edge.
#[derive(Clone, Debug)]
pub struct Edges {
    seen: BTreeMap<(Place, Place), Seen>,
    prior: f64,
    left_out: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    failed: u64,
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
            seen: BTreeMap::new(),
            prior,
            left_out: 0,
        }
    }

    /// Looks at a trace.
    pub fn observe(&mut self, tree: &TraceTree<'_>) {
        for index in 0..tree.trace().spans.len() {
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
fn call_failed(tree: &TraceTree<'_>, call: usize) -> bool {
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
