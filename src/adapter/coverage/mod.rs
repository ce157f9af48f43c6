//! Coverage: what should report spans and does not, how well the rest is instrumented, and what to do about it.
//!
//! The way of a trace: `observe` looks at its resources, spans and calls and counts into a `tally`, which is bounded and
//! merges. [`of_traces`] makes the report of it: the Instrumentation Score by the rules of its specification ([`score`]) and
//! nothing else; the calls with their peers resolved (`edges`); findings with their remedies; gaps by what they hide
//! ([`probes`]). What surrounds the traces, manifests and the sockets of this host, joins there.

mod conventions;
mod edges;
mod findings;
pub mod host;
mod live;
mod observe;
mod peer;
pub mod probes;
mod remedies;
mod report;
mod runtime;
pub mod score;
mod signals;
mod tally;
#[cfg(test)]
mod tests;
mod workloads;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::live::{Coverage, INTEGRATION};
pub use self::observe::observe;
pub use self::report::{Around, Terms, disclosure, of_signals, of_traces, summary};
pub use self::signals::ObservedSignals;
pub use self::tally::Tally;
use crate::model::trace::Trace;

/// Section `adapters.coverage`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether `serve` looks at coverage. Default true.
    pub enabled: bool,
    /// Names of operations or spans that must occur.
    pub expected_signals: Vec<String>,
    /// Kubernetes manifests whose workloads should report spans: files, directories or globs, read at the start.
    pub manifests: Vec<PathBuf>,
    /// Wanted coverage ratio. Default 0.9; 0 to 1.
    pub target: f64,
    /// Traces of the last half of it to all of it count. Default 1h; at least 1m.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// More span names of a service break rule SPA-003. Default 200; at least 1.
    pub max_span_names: usize,
    /// A callee's span may begin so long before its call, or after the answer. Default 10ms.
    #[serde(with = "humantime_serde")]
    pub clock_skew: Duration,
    /// Whether the listening processes of this host are looked at (Linux). Default false.
    pub host_peers: bool,
    /// Services that are held. Default 1000.
    pub max_services: usize,
    /// Pairs of a caller and a peer that are held. Default 10000.
    pub max_edges: usize,
    /// Instances, other names, ports and processes that are held of a service, each. Default 1000.
    pub max_names_per_service: usize,
    /// Observed signals that are held. Default 100000.
    pub max_signals: usize,
    /// Findings, and edges, that a report lists. Default 200.
    pub max_findings: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            expected_signals: Vec::new(),
            manifests: Vec::new(),
            target: 0.9,
            window: Duration::from_hours(1),
            max_span_names: 200,
            clock_skew: Duration::from_millis(10),
            host_peers: false,
            max_services: 1_000,
            max_edges: 10_000,
            max_names_per_service: 1_000,
            max_signals: 100_000,
            max_findings: 200,
        }
    }
}

impl Config {
    /// The key of the first value that is not allowed, and what is.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if !(0.0..=1.0).contains(&self.target) {
            return Err(("adapters.coverage.target", "must be between 0 and 1"));
        }
        if self.window < Duration::from_mins(1) {
            return Err(("adapters.coverage.window", "must be at least 1m"));
        }
        if self.max_span_names == 0 {
            return Err(("adapters.coverage.max_span_names", "must be at least 1"));
        }
        Ok(())
    }
}

/// Takes the names of a trace's spans and of their operations.
pub fn add_signals(observed: &mut ObservedSignals, trace: &Trace) {
    for span in &trace.spans {
        observed.add(span.name.as_bytes());
        if *span.operation != *span.name {
            observed.add(span.operation.as_bytes());
        }
    }
}
