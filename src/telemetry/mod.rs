//! What slo-copilot says about itself: logs on standard error, and the metrics of its own work.
//!
//! Families that come from the windows are not here: they are restored after a restart and number
//! thousands, so `exporter::prometheus` encodes them from the report. Everything below starts at 0
//! with the process.
//!
//! Invariant: each name is written once, as a constant, and is described once, in `describe`.
//! Labels are bounded by this file, except `exporter`, `receiver` and `kind`, which are bounded by the configuration, and
//! those of `dependency`, which bounds them itself.

mod adapter;
mod budget;
mod coverage;
mod dependency;
mod durability;
mod forward;
mod incident;
mod pii;
mod sampling;
#[cfg(test)]
mod tests;
mod trace_buffer;
mod trace_tests;

use std::io::IsTerminal;
use std::sync::{Mutex, OnceLock, PoisonError};

use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

pub use crate::telemetry::adapter::AdapterMetrics;
pub use crate::telemetry::budget::SamplingMetrics;
pub use crate::telemetry::coverage::CoverageMetrics;
pub use crate::telemetry::dependency::{DependencyMetrics, DependencySample};
pub use crate::telemetry::durability::DurabilityMetrics;
pub use crate::telemetry::forward::ForwardMetrics;
pub use crate::telemetry::incident::IncidentMetrics;
pub use crate::telemetry::pii::count_pii_findings;
pub use crate::telemetry::sampling::SamplingCounters;
pub use crate::telemetry::trace_buffer::TraceBufferMetrics;
pub use crate::telemetry::trace_tests::TraceTestMetrics;

/// Raw spans of every kind in requests that were answered with success; labels `transport`.
pub const ACCEPTED_SPANS: &str = "slo_copilot_receiver_accepted_spans_total";
/// Raw spans of requests that were refused as a whole after they were scanned; labels `transport`,
/// `reason`.
pub const REFUSED_SPANS: &str = "slo_copilot_receiver_refused_spans_total";
/// Requests that were refused as a whole; labels `transport`, `reason`.
pub const REFUSED_REQUESTS: &str = "slo_copilot_receiver_refused_requests_total";
/// Spans that could not be used and were reported back as `rejected_spans`; labels `transport`,
/// `reason`.
pub const REJECTED_SPANS: &str = "slo_copilot_receiver_rejected_spans_total";
/// Accepted entry spans outside the open minute; labels `transport`, `reason`.
pub const LATE_SPANS: &str = "slo_copilot_receiver_late_spans_total";
/// Accepted entry spans that `sli.exclude` keeps out of every indicator; labels `transport`.
pub const EXCLUDED_SPANS: &str = "slo_copilot_receiver_excluded_spans_total";
/// Events that went to a reserved `_other` series since a cap was reached.
pub const OVERFLOW_EVENTS: &str = "slo_copilot_overflow_events_total";
/// Series held.
pub const SERIES: &str = "slo_copilot_series";
/// Most series that may be held.
pub const SERIES_LIMIT: &str = "slo_copilot_series_limit";
/// Estimate of the series that were wanted.
pub const SERIES_DEMAND: &str = "slo_copilot_series_demand";
/// Services whose rollouts are recorded.
pub const ROLLOUTS: &str = "slo_copilot_rollouts";
/// What the bounds of section `rollouts` turned away, label `bound`.
pub const ROLLOUTS_REFUSED: &str = "slo_copilot_rollouts_refused_total";
/// Time of one evaluation.
pub const TICK_DURATION: &str = "slo_copilot_tick_duration_seconds";
/// Resident memory of the process.
pub const MEMORY: &str = "slo_copilot_memory_bytes";
/// Always 1; label `version`.
pub const BUILD_INFO: &str = "slo_copilot_build_info";
/// Exports by exporter; labels `exporter`, `outcome`.
pub const EXPORTS: &str = "slo_copilot_exporter_exports_total";
/// Calls of Flagger's webhooks; labels `hook`, `answer`.
pub const FLAGGER_HOOKS: &str = "slo_copilot_flagger_hooks_total";
/// Events that Flagger told; label `type`.
pub const FLAGGER_EVENTS: &str = "slo_copilot_flagger_events_total";
/// Canary analyses that were given up for want of room.
pub const KAYENTA_DROPPED: &str = "slo_copilot_kayenta_dropped_executions_total";

/// Messages to webhooks and Alertmanagers; labels `notifier`, `receiver`, `outcome`.
pub const NOTIFICATIONS: &str = "slo_copilot_notifications_total";

/// Upper edges of the tick's histogram in seconds: the target is 20 ms, the interval 10 s.
const TICK_BUCKETS_SECS: [f64; 10] = [0.001, 0.002_5, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0];

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logs or metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter, or `RUST_LOG`, cannot be read.
    #[error("log filter `{filter}` cannot be read: {source}")]
    Filter {
        /// The text that was tried.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The program that embeds this library has logs already.
    #[error("logs are set up already: {0}")]
    Logs(#[from] TryInitError),
    /// The program that embeds this library has a metrics recorder already.
    #[error("metrics cannot be recorded: {0}")]
    Metrics(#[from] BuildError),
}

/// Sends logs to standard error. `filter` is what the configuration says, for example
/// `info,slo_copilot=debug`; the environment's `RUST_LOG` wins over it.
pub fn init(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let env_filter = env_filter(std::env::var(EnvFilter::DEFAULT_ENV).ok(), filter)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(env_filter);
    match format {
        LogFormat::Text => registry
            .with(lines.with_ansi(std::io::stderr().is_terminal()))
            .try_init()?,
        LogFormat::Json => registry.with(lines.json()).try_init()?,
    }
    Ok(())
}

fn env_filter(rust_log: Option<String>, filter: &str) -> Result<EnvFilter, TelemetryError> {
    let chosen = rust_log
        .filter(|text| !text.trim().is_empty())
        .unwrap_or_else(|| filter.to_owned());
    EnvFilter::try_new(&chosen).map_err(|source| TelemetryError::Filter {
        filter: chosen,
        source,
    })
}

/// Makes this process record metrics. Several services in one process (tests, embedders) share the
/// recorder: every call after the first one returns the same handle.
///
/// Counters are bound to the recorder when they are made, so this comes before
/// [`ReceiverCounters::new`] and its like.
pub fn install_metrics() -> Result<PrometheusHandle, TelemetryError> {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    static INSTALLING: Mutex<()> = Mutex::new(());

    let _guard = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let handle = prometheus_builder()?.install_recorder()?;
    describe();
    Ok(HANDLE.get_or_init(|| handle).clone())
}

/// The recorder's settings, without a listener: the admin endpoint serves the page.
fn prometheus_builder() -> Result<PrometheusBuilder, BuildError> {
    let tick = Matcher::Full(TICK_DURATION.to_owned());
    PrometheusBuilder::new().set_buckets_for_metric(tick, &TICK_BUCKETS_SECS)
}

/// Help texts, and the one metric that never changes.
fn describe() {
    describe_counter!(ACCEPTED_SPANS, "Spans of every kind in accepted requests.");
    describe_counter!(
        REFUSED_SPANS,
        "Spans of scanned requests that were refused as a whole."
    );
    describe_counter!(
        REFUSED_REQUESTS,
        "Requests refused as a whole; most before their spans could be counted."
    );
    describe_counter!(
        REJECTED_SPANS,
        "Spans that could not be used, reported to the sender as rejected."
    );
    describe_counter!(
        LATE_SPANS,
        "Entry spans that ended long ago or ahead of time; only reason=\"held\" reached a window."
    );
    describe_counter!(EXCLUDED_SPANS, "Entry spans left out by sli.exclude.");
    describe_counter!(
        OVERFLOW_EVENTS,
        "Events counted in a reserved _other series because a cap was reached."
    );
    describe_gauge!(SERIES, "Series held.");
    describe_gauge!(
        SERIES_LIMIT,
        "Most series that may be held (windows.max_series)."
    );
    describe_gauge!(SERIES_DEMAND, "Estimate of the series that were wanted.");
    describe_gauge!(ROLLOUTS, "Services whose rollouts are recorded.");
    describe_counter!(
        ROLLOUTS_REFUSED,
        "What the bounds of section rollouts turned away: rollouts, events, failures and calls."
    );
    describe_histogram!(TICK_DURATION, "Time of one evaluation.");
    describe_gauge!(MEMORY, "Resident memory of the process.");
    describe_gauge!(BUILD_INFO, "Always 1; the version is the label.");
    describe_counter!(
        EXPORTS,
        "Reports handed to an exporter, by outcome: ok, error, timeout."
    );
    describe_counter!(
        FLAGGER_HOOKS,
        "Calls of Flagger's webhooks, by hook and answer; waived: yes, although too little is known."
    );
    describe_counter!(
        FLAGGER_EVENTS,
        "Events that Flagger told: normal, warning, other."
    );
    describe_counter!(
        KAYENTA_DROPPED,
        "Canary analyses given up for want of room (limits.canary_executions)."
    );
    describe_counter!(
        NOTIFICATIONS,
        "Messages to webhooks and Alertmanagers: delivered, failed attempts, and dropped for good."
    );
    adapter::describe();
    budget::describe();
    sampling::describe();
    forward::describe();
    pii::describe();
    coverage::describe();
    dependency::describe();
    durability::describe();
    incident::describe();
    trace_buffer::describe();
    trace_tests::describe();
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// The self-telemetry page in the Prometheus text format 0.0.4, always in the same order: the
/// recorder keeps hash maps.
pub fn render(handle: &PrometheusHandle) -> String {
    let text = handle.render();
    let mut families: Vec<String> = text
        .split("\n\n")
        .map(str::trim_end)
        .filter(|family| !family.is_empty())
        .map(sorted_family)
        .collect();
    families.sort_unstable();
    families.concat()
}

/// One family with its samples sorted. A histogram stays as it is: its buckets stand in the order
/// of their edges, and the recorder keeps its series in the order they came.
fn sorted_family(family: &str) -> String {
    let (mut comments, mut samples): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for line in family.lines() {
        if line.starts_with('#') {
            comments.push(line);
        } else {
            samples.push(line);
        }
    }
    let histogram = comments.iter().any(|line| line.ends_with(" histogram"));
    if !histogram {
        samples.sort_unstable();
    }
    let mut sorted = String::with_capacity(family.len() + 1);
    for line in comments.into_iter().chain(samples) {
        sorted.push_str(line);
        sorted.push('\n');
    }
    sorted
}

/// How spans came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP.
    Http,
}

impl Transport {
    /// The value of the `transport` label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }
}

/// Counters of one receiver. Add to them once a request, not once a span: each increment is one
/// atomic addition.
#[derive(Clone)]
pub struct ReceiverCounters {
    /// Spans of every kind in accepted requests.
    pub accepted: Counter,
    /// Entry spans left out by `sli.exclude`.
    pub excluded: Counter,
    /// Requests refused as a whole, by reason.
    pub refused: RefusedCounters,
    /// Spans reported back as rejected, by reason.
    pub rejected: RejectedCounters,
    /// Accepted entry spans outside the open minute, by reason.
    pub late: LateCounters,
    /// Events that went to a reserved `_other` series.
    pub overflow: Counter,
}

/// What is counted when a request is refused as a whole.
#[derive(Clone)]
pub struct RefusedCounters {
    /// No room for its bytes now; the sender may try again.
    pub overload: RefusedCounter,
    /// Larger than the limit, before or after decompression.
    pub too_large: RefusedCounter,
    /// Not OTLP: broken bytes, compression or JSON, or an unknown content type.
    pub malformed: RefusedCounter,
}

/// Refused requests, and their spans where they had been counted.
#[derive(Clone)]
pub struct RefusedCounter {
    requests: Counter,
    spans: Counter,
}

impl RefusedCounter {
    fn new(transport: &'static str, reason: &'static str) -> Self {
        Self {
            requests: counter!(REFUSED_REQUESTS, "transport" => transport, "reason" => reason),
            spans: counter!(REFUSED_SPANS, "transport" => transport, "reason" => reason),
        }
    }

    /// Counts one request with `spans` spans; 0 if they were not counted yet.
    pub fn increment(&self, spans: u64) {
        self.requests.increment(1);
        self.spans.increment(spans);
    }
}

/// Rejected spans by reason.
#[derive(Clone)]
pub struct RejectedCounters {
    /// Trace id or span id of a wrong length or all zero.
    pub invalid_id: Counter,
    /// The span ends before it starts, or has no time.
    pub invalid_time: Counter,
}

/// Late spans by reason.
#[derive(Clone)]
pub struct LateCounters {
    /// Counted in the slot they belong to.
    pub held: Counter,
    /// Older than everything held: in monotonic counters only.
    pub too_old: Counter,
    /// Further ahead than the allowed skew: in monotonic counters only.
    pub future: Counter,
}

impl ReceiverCounters {
    /// Registers every counter of this transport, so that each starts at 0 on the page.
    pub fn new(transport: Transport) -> Self {
        let transport = transport.label();
        let refused = |reason| RefusedCounter::new(transport, reason);
        let by_reason = |name, reason| counter!(name, "transport" => transport, "reason" => reason);
        Self {
            accepted: counter!(ACCEPTED_SPANS, "transport" => transport),
            excluded: counter!(EXCLUDED_SPANS, "transport" => transport),
            refused: RefusedCounters {
                overload: refused("overload"),
                too_large: refused("too_large"),
                malformed: refused("malformed"),
            },
            rejected: RejectedCounters {
                invalid_id: by_reason(REJECTED_SPANS, "invalid_id"),
                invalid_time: by_reason(REJECTED_SPANS, "invalid_time"),
            },
            late: LateCounters {
                held: by_reason(LATE_SPANS, "held"),
                too_old: by_reason(LATE_SPANS, "too_old"),
                future: by_reason(LATE_SPANS, "future"),
            },
            overflow: counter!(OVERFLOW_EVENTS),
        }
    }
}

/// What the evaluator's task reports after each tick.
#[derive(Clone)]
pub struct EvaluatorMetrics {
    /// Series held.
    pub series: Gauge,
    /// Most series that may be held.
    pub series_limit: Gauge,
    /// Estimate of the series that were wanted.
    pub series_demand: Gauge,
    /// Services whose rollouts are recorded.
    pub rollouts: Gauge,
    /// Seconds of one evaluation.
    pub tick_duration: Histogram,
}

impl EvaluatorMetrics {
    /// Registers the metrics.
    pub fn new() -> Self {
        Self {
            series: gauge!(SERIES),
            series_limit: gauge!(SERIES_LIMIT),
            series_demand: gauge!(SERIES_DEMAND),
            rollouts: gauge!(ROLLOUTS),
            tick_duration: histogram!(TICK_DURATION),
        }
    }

    /// Says what a bound of section `rollouts` turned away since the start.
    pub fn refused_by(&self, bound: &'static str, count: u64) {
        counter!(ROLLOUTS_REFUSED, "bound" => bound).absolute(count);
    }
}

impl Default for EvaluatorMetrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Counters of one exporter.
#[derive(Clone)]
pub struct ExporterCounters {
    /// Exports that succeeded.
    pub ok: Counter,
    /// Exports that failed.
    pub error: Counter,
    /// Exports that took too long.
    pub timeout: Counter,
}

impl ExporterCounters {
    /// Registers every outcome of the exporter with this name.
    pub fn new(exporter: &'static str) -> Self {
        Self {
            ok: counter!(EXPORTS, "exporter" => exporter, "outcome" => "ok"),
            error: counter!(EXPORTS, "exporter" => exporter, "outcome" => "error"),
            timeout: counter!(EXPORTS, "exporter" => exporter, "outcome" => "timeout"),
        }
    }
}

/// Counters of one receiver of notifications.
#[derive(Clone)]
pub struct NotifierCounters {
    /// Messages that were taken.
    pub delivered: Counter,
    /// Attempts that failed.
    pub failed: Counter,
    /// Messages that were given up, or went before their turn.
    pub dropped: Counter,
}

impl NotifierCounters {
    /// Registers every outcome of the receiver with this name.
    pub fn new(notifier: &'static str, receiver: &str) -> Self {
        let by_outcome = |outcome| counter!(NOTIFICATIONS, "notifier" => notifier, "receiver" => receiver.to_owned(), "outcome" => outcome);
        Self {
            delivered: by_outcome("delivered"),
            failed: by_outcome("failed"),
            dropped: by_outcome("dropped"),
        }
    }
}

/// Sets [`MEMORY`] from the operating system; nothing happens where it does not tell. Called before
/// the page is rendered.
pub fn observe_memory() {
    if let Some(usage) = memory_stats::memory_stats() {
        gauge!(MEMORY).set(usage.physical_mem as f64);
    }
}
