//! Calls between services, and where errors come from.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::series::ServiceKey;
use crate::model::span::{Outcome, SpanKind};
use crate::trace::tree::TraceTree;

/// A call: a client span with its server span, a producer's with its consumer's, or any parent with a child of another
/// service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The parent.
    pub caller: usize,
    /// Its child.
    pub callee: usize,
    /// Whether the caller goes on without an answer.
    pub is_async: bool,
}

/// The calls from one service to another, or to itself, in one trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceEdge {
    /// All of them.
    pub calls: u64,
    /// Those without an answer.
    pub async_calls: u64,
    /// Those whose callee failed.
    pub failed: u64,
    /// Those among the failed ones after which the caller's own work failed too: the span that entered the caller's
    /// service, or began there.
    pub propagated: u64,
}

impl TraceTree<'_> {
    /// All calls in the order of the callees' indices.
    pub fn calls(&self) -> impl Iterator<Item = Call> + '_ {
        (0..self.trace().spans.len()).filter_map(|callee| {
            let caller = self.parent(callee)?;
            let (from, to) = (self.span(caller)?, self.span(callee)?);
            let is_pair = matches!(
                (from.kind, to.kind),
                (SpanKind::Client, SpanKind::Server) | (SpanKind::Producer, SpanKind::Consumer)
            );
            (is_pair || from.resource.service != to.resource.service).then(|| Call {
                caller,
                callee,
                is_async: !self.is_synchronous(callee),
            })
        })
    }

    /// The services of the trace.
    pub fn services(&self) -> BTreeSet<&ServiceKey> {
        let spans = self.trace().spans.iter();
        spans.map(|span| &span.resource.service).collect()
    }

    /// The calls by caller's and callee's service.
    pub fn service_edges(&self) -> BTreeMap<(&ServiceKey, &ServiceKey), ServiceEdge> {
        let mut edges: BTreeMap<_, ServiceEdge> = BTreeMap::new();
        let entries = self.entries();
        for call in self.calls() {
            let (Some(from), Some(to)) = (self.span(call.caller), self.span(call.callee)) else {
                continue;
            };
            let edge = edges
                .entry((&from.resource.service, &to.resource.service))
                .or_default();
            let failed = self.is_failed(call.callee);
            let entry = entries.get(call.caller).copied().unwrap_or(call.caller);
            edge.calls += 1;
            edge.async_calls += u64::from(call.is_async);
            edge.failed += u64::from(failed);
            edge.propagated += u64::from(failed && self.is_failed(entry));
        }
        edges
    }

    /// Whether a span failed.
    pub fn is_failed(&self, index: usize) -> bool {
        self.span(index)
            .is_some_and(|span| span.outcome == Outcome::Error)
    }

    /// Whether an error begins in a span: it failed, and no child of it did.
    pub fn is_error_origin(&self, index: usize) -> bool {
        let mut children = self.children(index).iter();
        self.is_failed(index) && !children.any(|child| self.is_failed(*child))
    }

    /// Of each span, the span by which the trace came into its service, or began there.
    pub fn entries(&self) -> Vec<usize> {
        let mut entries: Vec<usize> = (0..self.trace().spans.len()).collect();
        let service = |index| Some(&self.span(index)?.resource.service);
        // Parents come before their children, so their entries are known.
        for (index, _) in self.depth_first() {
            let Some(parent) = self.parent(index) else {
                continue;
            };
            let is_call = self
                .span(index)
                .is_some_and(|span| matches!(span.kind, SpanKind::Server | SpanKind::Consumer));
            if !is_call && service(parent) == service(index) {
                let entry = entries.get(parent).copied();
                if let (Some(place), Some(entry)) = (entries.get_mut(index), entry) {
                    *place = entry;
                }
            }
        }
        entries
    }
}
