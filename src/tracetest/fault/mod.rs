//! Faults simulated on recorded traces: what a trace would have looked like, had a service been slow or failing.
//!
//! A trace is timed anew from its root down. Between the end of what a span waited for and the start of what it did
//! next, the recorded gap stays; so a child's delay moves its parent only where the parent waits for that child, and
//! the slack beside a longer sibling is used up first. Errors travel up with the propagation that was observed on that
//! edge ([`edges::Edges`]); callers that give up cut their wait, those that try again repeat the call.
//!
//! Invariant: pure. The same traces, faults and seed give the same result.

pub mod cases;
pub mod edges;
mod expect;
mod lots;
mod retime;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::fault::{Fault, FaultTarget};
use crate::model::trace::Trace;
use crate::trace::tree::TraceTree;
use crate::tracetest::fault::edges::Edges;
use crate::tracetest::fault::lots::Lots;
use crate::tracetest::fault::retime::Retiming;

pub use expect::Expectation;

/// What callers of the target do, where the traces do not show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Callers {
    /// They give up after this time.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub timeout: Option<Duration>,
    /// They try so often, the first time included; 0 and 1 are both once.
    pub attempts: u32,
    /// They wait so long before they try again.
    #[serde(with = "humantime_serde")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub backoff: Duration,
}

/// A fault at a place, and what the callers make of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlacedFault {
    /// Where.
    pub target: FaultTarget,
    /// What.
    pub fault: Fault,
    /// What its callers do.
    pub callers: Callers,
}

/// Puts faults into one trace after the other.
#[derive(Debug)]
pub struct Simulation<'a> {
    faults: &'a [PlacedFault],
    edges: &'a Edges,
    lots: Lots,
}

impl<'a> Simulation<'a> {
    /// Faults, what is known about how errors travel, and a seed that determines which requests they meet.
    pub fn new(faults: &'a [PlacedFault], edges: &'a Edges, seed: u64) -> Self {
        Self {
            faults,
            edges,
            lots: Lots::new(seed),
        }
    }

    /// The trace as it would have been.
    pub fn apply(&mut self, trace: &Trace) -> Trace {
        let tree = TraceTree::new(trace);
        let mut retiming = Retiming::new(&tree, self.faults, self.edges, &mut self.lots);
        for top in tree.tops() {
            retiming.top(*top);
        }
        let mut spans = retiming.into_spans();
        // Stable: parents were placed before their children.
        spans.sort_by_key(|span| span.start);
        Trace {
            trace_id: trace.trace_id.clone(),
            spans,
            completeness: trace.completeness.clone(),
        }
    }
}
