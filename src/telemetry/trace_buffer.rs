//! The metrics of the trace buffer.

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

/// Spans put into the buffer.
const KEPT_SPANS: &str = "slo_copilot_trace_buffer_kept_spans_total";
/// Traces begun; label `reason`: `sampled` by their id, `wanted` for what was seen in them.
const KEPT_TRACES: &str = "slo_copilot_trace_buffer_kept_traces_total";
/// Spans over `trace_buffer.max_trace_bytes`.
const LEFT_OUT_SPANS: &str = "slo_copilot_trace_buffer_left_out_spans_total";
/// Traces that went; label `reason`: `age`, or `share` where fewer are kept.
const EVICTED_TRACES: &str = "slo_copilot_trace_buffer_evicted_traces_total";
/// Traces with an error or a slow span over `trace_buffer.max_wanted_per_second`.
const PASSED_OVER_TRACES: &str = "slo_copilot_trace_buffer_passed_over_traces_total";
/// Kept spans that could not be read.
const UNREADABLE_SPANS: &str = "slo_copilot_trace_buffer_unreadable_spans_total";
/// Traces held.
const TRACES: &str = "slo_copilot_trace_buffer_traces";
/// Memory of what is held.
const BYTES: &str = "slo_copilot_trace_buffer_bytes";
/// Most memory of what is held.
const BYTES_LIMIT: &str = "slo_copilot_trace_buffer_limit_bytes";
/// Share of the traces that is kept; label `reason` as above.
const KEPT_RATIO: &str = "slo_copilot_trace_buffer_kept_ratio";

/// Help texts.
pub(super) fn describe() {
    describe_counter!(KEPT_SPANS, "Spans put into the trace buffer.");
    describe_counter!(
        KEPT_TRACES,
        "Traces begun in the buffer: sampled by their id, or wanted for an error or a slow span."
    );
    describe_counter!(
        LEFT_OUT_SPANS,
        "Spans left out since their trace reached trace_buffer.max_trace_bytes."
    );
    describe_counter!(
        EVICTED_TRACES,
        "Traces that left the buffer: by age, or since a smaller share is kept."
    );
    describe_counter!(
        PASSED_OVER_TRACES,
        "Traces with an error or a slow span that were not kept: over trace_buffer.max_wanted_per_second."
    );
    describe_counter!(UNREADABLE_SPANS, "Kept spans that could not be read.");
    describe_gauge!(TRACES, "Traces in the buffer.");
    describe_gauge!(BYTES, "Memory of the traces in the buffer, about.");
    describe_gauge!(
        BYTES_LIMIT,
        "Most memory of the traces in the buffer (trace_buffer.max_bytes)."
    );
    describe_gauge!(
        KEPT_RATIO,
        "Share of all traces kept by their id, and of those with something to see kept for it."
    );
}

/// What the buffer's task reports. Counters take sums, gauges what is.
#[derive(Clone)]
pub struct TraceBufferMetrics {
    /// Spans put in.
    pub kept_spans: Counter,
    /// Traces begun: sampled, wanted.
    pub kept_traces: [Counter; 2],
    /// Spans over the bound of a trace.
    pub left_out_spans: Counter,
    /// Traces that went: by age, by share.
    pub evicted_traces: [Counter; 2],
    /// Traces that were passed over.
    pub passed_over_traces: Counter,
    /// Spans that could not be read.
    pub unreadable_spans: Counter,
    /// Traces held.
    pub traces: Gauge,
    /// Their memory.
    pub bytes: Gauge,
    /// The most of it.
    pub bytes_limit: Gauge,
    /// Shares that are kept: sampled, wanted.
    pub kept_ratio: [Gauge; 2],
}

impl TraceBufferMetrics {
    /// Registers the metrics.
    pub fn new() -> Self {
        Self {
            kept_spans: counter!(KEPT_SPANS),
            kept_traces: ["sampled", "wanted"]
                .map(|reason| counter!(KEPT_TRACES, "reason" => reason)),
            left_out_spans: counter!(LEFT_OUT_SPANS),
            evicted_traces: ["age", "share"]
                .map(|reason| counter!(EVICTED_TRACES, "reason" => reason)),
            passed_over_traces: counter!(PASSED_OVER_TRACES),
            unreadable_spans: counter!(UNREADABLE_SPANS),
            traces: gauge!(TRACES),
            bytes: gauge!(BYTES),
            bytes_limit: gauge!(BYTES_LIMIT),
            kept_ratio: ["sampled", "wanted"].map(|reason| gauge!(KEPT_RATIO, "reason" => reason)),
        }
    }
}

impl Default for TraceBufferMetrics {
    fn default() -> Self {
        Self::new()
    }
}
