//! The metrics of checkpoints and of the log of requests.

use std::time::Duration;

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

/// Checkpoints by `outcome`.
const CHECKPOINTS: &str = "slo_copilot_checkpoints_total";
/// When the last one was made.
const CHECKPOINT_TIME: &str = "slo_copilot_checkpoint_timestamp_seconds";
/// How long it took.
const CHECKPOINT_DURATION: &str = "slo_copilot_checkpoint_duration_seconds";
/// How long requests waited for it.
const CHECKPOINT_PAUSE: &str = "slo_copilot_checkpoint_pause_seconds";
/// Bytes of its file.
const CHECKPOINT_BYTES: &str = "slo_copilot_checkpoint_bytes";
/// Bytes of the log.
const WAL_BYTES: &str = "slo_copilot_wal_bytes";
/// Most of these bytes.
const WAL_LIMIT: &str = "slo_copilot_wal_limit_bytes";
/// Requests that were logged.
const WAL_REQUESTS: &str = "slo_copilot_wal_requests_total";
/// Requests that were counted without being logged.
const WAL_UNLOGGED: &str = "slo_copilot_wal_unlogged_requests_total";
/// Bytes at the end of the log that were cut off at the start.
const WAL_TRUNCATED: &str = "slo_copilot_wal_truncated_bytes_total";
/// Files that could not be used at the start.
const BROKEN_FILES: &str = "slo_copilot_durability_broken_files_total";

/// Help texts.
pub(super) fn describe() {
    describe_counter!(
        CHECKPOINTS,
        "Checkpoints of the windows, by outcome: ok, error."
    );
    describe_gauge!(
        CHECKPOINT_TIME,
        "When the last checkpoint was made, since the Unix epoch."
    );
    describe_gauge!(CHECKPOINT_DURATION, "How long the last checkpoint took.");
    describe_gauge!(
        CHECKPOINT_PAUSE,
        "How long requests were held up for the cut of the last checkpoint."
    );
    describe_gauge!(CHECKPOINT_BYTES, "Bytes of the last checkpoint.");
    describe_gauge!(WAL_BYTES, "Bytes of the log of requests.");
    describe_gauge!(
        WAL_LIMIT,
        "Most bytes of the log (storage.wal_max_bytes); at half of it a checkpoint is made."
    );
    describe_counter!(WAL_REQUESTS, "Requests that were logged.");
    describe_counter!(
        WAL_UNLOGGED,
        "Requests that were counted, but could not be logged: a crash before the next checkpoint loses them."
    );
    describe_counter!(
        WAL_TRUNCATED,
        "Bytes at the end of the log that were no whole request at the start; they were cut off."
    );
    describe_counter!(
        BROKEN_FILES,
        "Checkpoints and parts of the log that could not be used at the start; they are kept as *.broken."
    );
}

/// The metrics of checkpoints and of the log.
#[derive(Clone)]
pub struct DurabilityMetrics {
    ok: Counter,
    /// Checkpoints that could not be made.
    pub failed: Counter,
    time: Gauge,
    duration: Gauge,
    pause: Gauge,
    bytes: Gauge,
    /// Bytes of the log.
    pub log_bytes: Gauge,
    /// The most of these.
    pub log_limit: Gauge,
    /// Requests that were logged.
    pub logged: Counter,
    /// Requests that were not.
    pub unlogged: Counter,
    /// Bytes that were cut off.
    pub truncated_bytes: Counter,
    /// Files that could not be used.
    pub broken: Counter,
}

impl DurabilityMetrics {
    /// Registers the metrics.
    pub fn new() -> Self {
        Self {
            ok: counter!(CHECKPOINTS, "outcome" => "ok"),
            failed: counter!(CHECKPOINTS, "outcome" => "error"),
            time: gauge!(CHECKPOINT_TIME),
            duration: gauge!(CHECKPOINT_DURATION),
            pause: gauge!(CHECKPOINT_PAUSE),
            bytes: gauge!(CHECKPOINT_BYTES),
            log_bytes: gauge!(WAL_BYTES),
            log_limit: gauge!(WAL_LIMIT),
            logged: counter!(WAL_REQUESTS),
            unlogged: counter!(WAL_UNLOGGED),
            truncated_bytes: counter!(WAL_TRUNCATED),
            broken: counter!(BROKEN_FILES),
        }
    }

    /// A checkpoint was made at a second since the Unix epoch.
    pub fn made(&self, at_secs: u64, bytes: u64, took: Duration, pause: Duration) {
        self.ok.increment(1);
        self.time.set(at_secs as f64);
        self.duration.set(took.as_secs_f64());
        self.pause.set(pause.as_secs_f64());
        self.bytes.set(bytes as f64);
    }
}

impl Default for DurabilityMetrics {
    fn default() -> Self {
        Self::new()
    }
}
