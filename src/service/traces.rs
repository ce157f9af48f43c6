//! The task of the trace buffer: what is over is read, summed up and handed to whoever listens.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Config;
use crate::model::report::Report;
use crate::model::series::{SeriesId, SeriesKey};
use crate::model::trace::Trace;
use crate::service::ServiceError;
use crate::service::findings;
use crate::telemetry::TraceBufferMetrics;
use crate::trace::buffer::{BufferCounts, TraceBuffer};

/// Time between looks for traces that are over.
const TICK: Duration = Duration::from_secs(1);

/// Batches that a slow listener may be behind; older ones are lost to it, and it is told so.
const BATCHES_WAITING: usize = 64;

/// Fewer events of an operation say nothing about its slowest ones.
const EVENTS_MIN: u64 = 100;

/// Traces that were over within one tick, at least one.
pub type TraceBatch = Arc<[Arc<Trace>]>;

/// Where whole traces can be listened to: each is told once, when it is over or took longer than
/// `trace_buffer.timeout`. They are a sample; counts of them are no SLIs.
///
/// Nobody waits for a listener. One that falls behind gets `RecvError::Lagged` with the number of batches that it
/// missed, and goes on with the oldest one that is left.
#[derive(Clone, Debug)]
pub struct TraceFeed(broadcast::Sender<TraceBatch>);

impl TraceFeed {
    /// A feed without listeners.
    pub(super) fn new() -> Self {
        Self(broadcast::Sender::new(BATCHES_WAITING))
    }

    /// Listens from here on.
    pub fn subscribe(&self) -> broadcast::Receiver<TraceBatch> {
        self.0.subscribe()
    }
}

/// Looks for traces that are over, until `stop`.
pub(super) struct TracesTask {
    buffer: Arc<TraceBuffer>,
    max_bytes: u64,
    feed: TraceFeed,
    clock: Clock,
    reports: watch::Receiver<Option<Arc<Report>>>,
}

impl TracesTask {
    /// The task of a buffer, if there is one.
    pub(super) fn of(
        buffer: Option<Arc<TraceBuffer>>,
        config: &Config,
        feed: &TraceFeed,
        clock: &Clock,
        reports: &watch::Receiver<Option<Arc<Report>>>,
    ) -> Option<Self> {
        Some(Self {
            buffer: buffer?,
            max_bytes: config.trace_buffer.max_bytes,
            feed: feed.clone(),
            clock: clock.clone(),
            reports: reports.clone(),
        })
    }

    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), ServiceError> {
        let metrics = TraceBufferMetrics::new();
        metrics.bytes_limit.set(self.max_bytes as f64);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return Ok(()),
            }
            let report = self.newest_report();
            let (buffer, now) = (Arc::clone(&self.buffer), self.clock.now());
            let (over, counts, found) = tokio::task::spawn_blocking(move || {
                if let Some(report) = report {
                    buffer.set_slow(slow_limits(&report));
                }
                (buffer.tick(now), buffer.counts(), buffer.take_findings())
            })
            .await?;
            tell(&metrics, &counts);
            findings::count(&found);
            if !over.is_empty() {
                // Without listeners nobody takes it.
                self.feed.0.send(over.into()).ok();
            }
        }
    }

    /// The newest report, unless it was looked at already.
    fn newest_report(&mut self) -> Option<Arc<Report>> {
        let is_new = self.reports.has_changed().unwrap_or(false);
        is_new
            .then(|| self.reports.borrow_and_update().clone())
            .flatten()
    }
}

/// An entry span is slow above the 99th percentile of its operation in the shortest window that holds enough.
fn slow_limits(report: &Report) -> Vec<(SeriesId, u64)> {
    let mut limits = Vec::new();
    for service in &report.services {
        for operation in &service.operations {
            let enough = operation
                .latency
                .iter()
                .filter(|latency| latency.events >= EVENTS_MIN);
            let shortest = enough.min_by_key(|latency| latency.window);
            let limit = shortest.and_then(|latency| {
                let limit = Duration::try_from_secs_f64(latency.p99).ok()?;
                u64::try_from(limit.as_nanos()).ok()
            });
            if let Some(limit) = limit {
                let service = service.service.clone();
                let key = SeriesKey::operation(service, &operation.operation, operation.kind);
                limits.push((key.id(), limit));
            }
        }
    }
    limits
}

fn tell(metrics: &TraceBufferMetrics, counts: &BufferCounts) {
    metrics.kept_spans.absolute(counts.kept_spans);
    let [sampled, wanted] = &metrics.kept_traces;
    sampled.absolute(counts.kept_traces.sampled);
    wanted.absolute(counts.kept_traces.wanted);
    metrics.left_out_spans.absolute(counts.left_out_spans);
    let [age, share] = &metrics.evicted_traces;
    age.absolute(counts.evicted_traces);
    share.absolute(counts.left_out_traces);
    metrics
        .passed_over_traces
        .absolute(counts.passed_over_traces);
    metrics.unreadable_spans.absolute(counts.unreadable_spans);
    metrics.traces.set(counts.held_traces as f64);
    metrics.bytes.set(counts.bytes as f64);
    let [sampled, wanted] = &metrics.kept_ratio;
    sampled.set(counts.sampled_ratio);
    wanted.set(counts.wanted_ratio);
}
