//! The metrics of trace tests in `serve`; their results come from the report.

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

/// Traces that were given to the tests.
const JUDGED: &str = "slo_copilot_test_judged_traces_total";
/// Batches of traces that came faster than they could be judged.
const MISSED: &str = "slo_copilot_test_missed_batches_total";
/// Traces that wait for spans which a test expects.
const AWAITED: &str = "slo_copilot_test_awaited_traces";

/// Help texts.
pub(super) fn describe() {
    describe_counter!(JUDGED, "Traces that were given to the trace tests.");
    describe_counter!(
        MISSED,
        "Batches of traces that the trace tests missed since they came too fast."
    );
    describe_gauge!(
        AWAITED,
        "Traces that wait for spans which a trace test expects (tests.max_awaited_traces)."
    );
}

/// What the task of trace tests reports.
#[derive(Clone)]
pub struct TraceTestMetrics {
    /// Traces judged.
    pub judged_traces: Counter,
    /// Batches missed.
    pub missed_batches: Counter,
    /// Traces that wait.
    pub awaited_traces: Gauge,
}

impl TraceTestMetrics {
    /// Registers the metrics.
    pub fn new() -> Self {
        Self {
            judged_traces: counter!(JUDGED),
            missed_batches: counter!(MISSED),
            awaited_traces: gauge!(AWAITED),
        }
    }
}

impl Default for TraceTestMetrics {
    fn default() -> Self {
        Self::new()
    }
}
