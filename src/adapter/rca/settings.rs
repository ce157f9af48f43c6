//! What bounds a summary, and when a change counts: section `adapters.rca`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Section `adapters.rca`. What the bounds refuse is counted in [`crate::adapter::rca::summary::Refused`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Most operations (service, name, kind) of a summary; spans of further ones are refused. Default 5000; at least 1.
    pub max_operations: usize,
    /// Most links (calling service, called operation) of a summary; the times of further ones are refused. Default 5000.
    pub max_links: usize,
    /// Most different sets of calls, and sequences of events, of one operation; further ones are counted as one.
    /// Default 32; at least 1.
    pub max_shapes: usize,
    /// Most instances of one operation that are told apart. Default 16; 0 tells none apart.
    pub max_instances: usize,
    /// Most versions of one service that are remembered. Default 16.
    pub max_versions: usize,
    /// Traces that are nearer to each other than this are dealt to the same side when the time before is compared with
    /// itself. Default 15s; at least 1s.
    #[serde(with = "humantime_serde")]
    pub block: Duration,
    /// Traces that each side must hold; with fewer, the answer is inconclusive. Default 10.
    pub min_traces: u64,
    /// Spans of an operation that each side must hold to compare them. Default 3; at least 2.
    pub min_spans: u64,
    /// How often the time before is dealt into halves. Default 64; 8 to 1000.
    pub deals: u32,
    /// Probability that a time in which nothing is wrong is said to have a cause, for each signal. Default 0.001; above 0, at
    /// most 0.2.
    pub false_alarm: f64,
    /// Most causes of a report. Default 5; at least 1.
    pub max_causes: usize,
    /// Most observations for one cause. Default 6; at least 1.
    pub max_evidence: usize,
    /// Most other changes in a report. Default 50.
    pub max_changes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_operations: 5000,
            max_links: 5000,
            max_shapes: 32,
            max_instances: 16,
            max_versions: 16,
            block: Duration::from_secs(15),
            min_traces: 10,
            min_spans: 3,
            deals: 64,
            false_alarm: 0.001,
            max_causes: 5,
            max_evidence: 6,
            max_changes: 50,
        }
    }
}

impl Settings {
    /// The first key whose value is not allowed, with what is.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let at_least_one = [
            ("adapters.rca.max_operations", self.max_operations),
            ("adapters.rca.max_shapes", self.max_shapes),
            ("adapters.rca.max_causes", self.max_causes),
            ("adapters.rca.max_evidence", self.max_evidence),
        ];
        if let Some((key, _)) = at_least_one.into_iter().find(|(_, value)| *value == 0) {
            return Err((key, "must be at least 1"));
        }
        if self.block < Duration::from_secs(1) {
            return Err(("adapters.rca.block", "must be at least 1s"));
        }
        if self.min_spans < 2 {
            return Err(("adapters.rca.min_spans", "must be at least 2"));
        }
        if !(8..=1000).contains(&self.deals) {
            return Err(("adapters.rca.deals", "must be from 8 to 1000"));
        }
        if !(self.false_alarm > 0.0 && self.false_alarm <= 0.2) {
            return Err((
                "adapters.rca.false_alarm",
                "must be above 0 and at most 0.2",
            ));
        }
        Ok(())
    }
}
