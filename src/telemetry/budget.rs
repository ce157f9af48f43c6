//! The metric of the telemetry budget that is no part of the report.

use metrics::{Counter, counter, describe_counter};

/// Traces whose root operation has no rate of its own.
const REFUSED: &str = "slo_copilot_sampling_refused_traces_total";

/// Help texts.
pub(super) fn describe() {
    describe_counter!(
        REFUSED,
        "Whole traces whose root operation has no rate of its own (adapters.sampling.max_operations)."
    );
}

/// What the telemetry budget reports.
#[derive(Clone)]
pub struct SamplingMetrics {
    /// Traces without a rate of their own.
    pub refused_traces: Counter,
}

impl SamplingMetrics {
    /// Registers the metric.
    pub fn new() -> Self {
        Self {
            refused_traces: counter!(REFUSED),
        }
    }
}

impl Default for SamplingMetrics {
    fn default() -> Self {
        Self::new()
    }
}
