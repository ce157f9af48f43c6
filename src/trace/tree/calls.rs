//! Calls between services, and where errors come from.

use std::collections::BTreeSet;

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
