//! The metrics of the forwarder.

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

/// Requests that the backend took.
const REQUESTS: &str = "slo_copilot_forward_requests_total";
/// Spans of them, less those that it rejected.
const SPANS: &str = "slo_copilot_forward_spans_total";
/// Bytes of them, not packed.
const BYTES: &str = "slo_copilot_forward_bytes_total";
/// Attempts after the first one.
const RETRIES: &str = "slo_copilot_forward_retries_total";
/// Spans that the backend rejected for good in requests that it took.
const REJECTED_SPANS: &str = "slo_copilot_forward_rejected_spans_total";
/// Requests that do not go on; label `reason`.
const DROPPED_REQUESTS: &str = "slo_copilot_forward_dropped_requests_total";
/// Spans of them; label `reason`.
const DROPPED_SPANS: &str = "slo_copilot_forward_dropped_spans_total";
/// Spans of traces that sampling leaves out.
const SAMPLED_OUT_SPANS: &str = "slo_copilot_forward_sampled_out_spans_total";
/// Traces that were decided before `sampling.decision_wait`.
const EARLY_DECISIONS: &str = "slo_copilot_forward_early_decisions_total";
/// Decisions that went before their time.
const FORGOTTEN_TRACES: &str = "slo_copilot_forward_forgotten_traces_total";
/// Bytes of queue files that could not be read.
const TRUNCATED_BYTES: &str = "slo_copilot_forward_truncated_bytes_total";
/// Writes and reads of queue files that failed.
const DISK_ERRORS: &str = "slo_copilot_forward_disk_errors_total";
/// Requests that were refused since the queue was full.
const REFUSED: &str = "slo_copilot_forward_refused_requests_total";
/// Requests that wait or are under way.
const QUEUE_REQUESTS: &str = "slo_copilot_forward_queue_requests";
/// Bytes of them.
const QUEUE_BYTES: &str = "slo_copilot_forward_queue_bytes";
/// Most of these bytes.
const QUEUE_LIMIT: &str = "slo_copilot_forward_queue_limit_bytes";
/// Bytes of the queue's files.
const DISK_BYTES: &str = "slo_copilot_forward_disk_bytes";
/// Age of the request that waits longest.
const OLDEST_AGE: &str = "slo_copilot_forward_oldest_age_seconds";
/// Requests that are sent and unanswered.
const IN_FLIGHT: &str = "slo_copilot_forward_in_flight_requests";

/// Help texts.
pub(super) fn describe() {
    describe_counter!(REQUESTS, "Requests that the backend took.");
    describe_counter!(SPANS, "Spans that the backend took.");
    describe_counter!(
        BYTES,
        "Bytes of the requests that the backend took, not packed."
    );
    describe_counter!(RETRIES, "Attempts after the first one.");
    describe_counter!(
        REJECTED_SPANS,
        "Spans that the backend rejected for good in requests that it took."
    );
    describe_counter!(
        DROPPED_REQUESTS,
        "Requests that do not go on: full, refused by the backend for good, given up, unreadable, disk, shutdown."
    );
    describe_counter!(
        DROPPED_SPANS,
        "Spans of the requests that do not go on, by reason."
    );
    describe_counter!(
        SAMPLED_OUT_SPANS,
        "Spans of traces that sampling leaves out."
    );
    describe_counter!(
        EARLY_DECISIONS,
        "Traces decided before sampling.decision_wait for want of room (sampling.max_bytes)."
    );
    describe_counter!(
        FORGOTTEN_TRACES,
        "Decisions that gave way to newer ones (sampling.remembered_traces)."
    );
    describe_counter!(
        TRUNCATED_BYTES,
        "Bytes of queue files that a crash left torn; they were cut off."
    );
    describe_counter!(DISK_ERRORS, "Writes and reads of queue files that failed.");
    describe_counter!(
        REFUSED,
        "Requests that were told to come again since the queue was full."
    );
    describe_gauge!(
        QUEUE_REQUESTS,
        "Requests that wait for the backend or are under way."
    );
    describe_gauge!(
        QUEUE_BYTES,
        "Bytes of the requests that wait or are under way."
    );
    describe_gauge!(QUEUE_LIMIT, "Most bytes that may wait (queue.max_bytes).");
    describe_gauge!(DISK_BYTES, "Bytes of the queue's files.");
    describe_gauge!(OLDEST_AGE, "Age of the request that waits longest.");
    describe_gauge!(IN_FLIGHT, "Requests that are sent and unanswered.");
}

/// Dropped requests of one reason.
#[derive(Clone)]
pub struct DroppedCounter {
    requests: Counter,
    spans: Counter,
}

impl DroppedCounter {
    fn new(reason: &'static str) -> Self {
        Self {
            requests: counter!(DROPPED_REQUESTS, "reason" => reason),
            spans: counter!(DROPPED_SPANS, "reason" => reason),
        }
    }

    /// Counts one request.
    pub fn increment(&self, spans: u64) {
        self.requests.increment(1);
        self.spans.increment(spans);
    }
}

/// What does not go on, by reason.
#[derive(Clone)]
pub struct Dropped {
    /// No room in the queue.
    pub full: DroppedCounter,
    /// The backend wants it not, now or later.
    pub refused: DroppedCounter,
    /// Tried for longer than `retry.max_elapsed`.
    pub gave_up: DroppedCounter,
    /// It cannot be translated for the backend, sampled or scrubbed.
    pub unreadable: DroppedCounter,
    /// The disk failed.
    pub disk: DroppedCounter,
    /// It was in memory at the end, with no directory to stay in.
    pub shutdown: DroppedCounter,
}

/// The metrics of the forwarder.
#[derive(Clone)]
pub struct ForwardMetrics {
    /// Requests that were taken.
    pub requests: Counter,
    /// Their spans.
    pub spans: Counter,
    /// Their bytes.
    pub bytes: Counter,
    /// Attempts after the first one.
    pub retries: Counter,
    /// Spans that the backend rejected.
    pub rejected_spans: Counter,
    /// What does not go on.
    pub dropped: Dropped,
    /// Spans that were left out.
    pub sampled_out_spans: Counter,
    /// Traces that were decided early.
    pub early_decisions: Counter,
    /// Decisions that were forgotten.
    pub forgotten_traces: Counter,
    /// Bytes that were cut off.
    pub truncated_bytes: Counter,
    /// Failures of the disk.
    pub disk_errors: Counter,
    /// Requests that were refused.
    pub refused: Counter,
    /// Requests in the queue.
    pub queue_requests: Gauge,
    /// Their bytes.
    pub queue_bytes: Gauge,
    /// The most of these.
    pub queue_limit: Gauge,
    /// Bytes of files.
    pub disk_bytes: Gauge,
    /// Seconds.
    pub oldest_age: Gauge,
    /// Requests under way.
    pub in_flight: Gauge,
}

impl ForwardMetrics {
    /// Registers the metrics.
    pub fn new() -> Self {
        Self {
            requests: counter!(REQUESTS),
            spans: counter!(SPANS),
            bytes: counter!(BYTES),
            retries: counter!(RETRIES),
            rejected_spans: counter!(REJECTED_SPANS),
            dropped: Dropped {
                full: DroppedCounter::new("full"),
                refused: DroppedCounter::new("refused"),
                gave_up: DroppedCounter::new("gave_up"),
                unreadable: DroppedCounter::new("unreadable"),
                disk: DroppedCounter::new("disk"),
                shutdown: DroppedCounter::new("shutdown"),
            },
            sampled_out_spans: counter!(SAMPLED_OUT_SPANS),
            early_decisions: counter!(EARLY_DECISIONS),
            forgotten_traces: counter!(FORGOTTEN_TRACES),
            truncated_bytes: counter!(TRUNCATED_BYTES),
            disk_errors: counter!(DISK_ERRORS),
            refused: counter!(REFUSED),
            queue_requests: gauge!(QUEUE_REQUESTS),
            queue_bytes: gauge!(QUEUE_BYTES),
            queue_limit: gauge!(QUEUE_LIMIT),
            disk_bytes: gauge!(DISK_BYTES),
            oldest_age: gauge!(OLDEST_AGE),
            in_flight: gauge!(IN_FLIGHT),
        }
    }
}

impl Default for ForwardMetrics {
    fn default() -> Self {
        Self::new()
    }
}
