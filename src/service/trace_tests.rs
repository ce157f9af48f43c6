//! Trace tests in `serve`: traces that are over are judged off the hot path, and each tick asks for the results.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Config;
use crate::model::UnixNanos;
use crate::model::test_result::TestReport;
use crate::model::trace::Trace;
use crate::service::suite_files::{self, SuiteFilesError};
use crate::service::{ServiceError, TraceBatch, TraceFeed};
use crate::telemetry::TraceTestMetrics;
use crate::trace::buffer::TraceBuffer;
use crate::tracetest::Session;
use crate::tracetest::language::Variables;

/// Time between looks at traces that wait for spans.
const LOOK: Duration = Duration::from_secs(1);

/// The suites of `tests.suites` with what they saw.
#[derive(Debug)]
pub(super) struct TraceTests {
    session: Mutex<Session>,
    max_awaited: usize,
}

impl TraceTests {
    /// Reads the suites; nothing where none are configured.
    pub(super) fn new(config: &Config) -> Result<Option<Arc<Self>>, SuiteFilesError> {
        if config.tests.suites.is_empty() {
            return Ok(None);
        }
        let suites = suite_files::load(&config.tests.suites)?;
        if !config.trace_buffer.enabled {
            tracing::warn!(
                "tests.suites are configured and trace_buffer.enabled is false: no trace will be judged."
            );
        }
        let variables = Variables::new(std::env::vars());
        Ok(Some(Arc::new(Self {
            session: Mutex::new(Session::new(suites, &variables, config.tests.limits())),
            max_awaited: config.tests.max_awaited_traces,
        })))
    }

    /// The results at `now`.
    pub(super) fn report(&self, now: UnixNanos) -> TestReport {
        self.with(|session| session.report(now))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Session) -> T) -> T {
        act(&mut self.session.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Judges traces, those aside that wait for spans and are given back.
    fn observe(&self, traces: &[Arc<Trace>], now: UnixNanos, room: usize) -> Vec<Arc<Trace>> {
        self.with(|session| {
            let (mut awaited, mut judged) = (Vec::new(), Vec::new());
            for trace in traces {
                if awaited.len() < room && session.awaits(trace, now) {
                    awaited.push(Arc::clone(trace));
                } else {
                    judged.push(&**trace);
                }
            }
            session.observe(judged);
            awaited
        })
    }
}

/// Judges what the feed tells, until `stop`.
pub(super) struct TraceTestsTask {
    tests: Arc<TraceTests>,
    buffer: Arc<TraceBuffer>,
    traces: broadcast::Receiver<TraceBatch>,
    /// It lives as long as this task.
    _feed: TraceFeed,
    clock: Clock,
}

impl TraceTestsTask {
    /// A task that listens from here on; nothing where there are no tests or no traces.
    pub(super) fn new(
        tests: Option<&Arc<TraceTests>>,
        buffer: Option<&Arc<TraceBuffer>>,
        feed: &TraceFeed,
        clock: &Clock,
    ) -> Option<Self> {
        Some(Self {
            tests: Arc::clone(tests?),
            buffer: Arc::clone(buffer?),
            traces: feed.subscribe(),
            _feed: feed.clone(),
            clock: clock.clone(),
        })
    }

    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), ServiceError> {
        let metrics = TraceTestMetrics::new();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut awaited: VecDeque<Arc<Trace>> = VecDeque::new();
        loop {
            let batch: Vec<Arc<Trace>> = tokio::select! {
                batch = self.traces.recv() => match batch {
                    Ok(batch) => batch.iter().map(|kept| Arc::clone(&kept.trace)).collect(),
                    Err(RecvError::Lagged(batches)) => {
                        metrics.missed_batches.increment(batches);
                        continue;
                    }
                    Err(RecvError::Closed) => return Ok(()),
                },
                _ = looks.tick() => {
                    let (buffer, old) = (Arc::clone(&self.buffer), std::mem::take(&mut awaited));
                    let again = move || -> Vec<Arc<Trace>> {
                        // Spans that came later joined their trace in the buffer.
                        let newest = |old: Arc<Trace>| buffer.trace(&old.trace_id).map_or(old, Arc::new);
                        old.into_iter().map(newest).collect()
                    };
                    tokio::task::spawn_blocking(again).await?
                }
                () = stop.cancelled() => return Ok(()),
            };
            if batch.is_empty() {
                continue;
            }
            let room = self.tests.max_awaited.saturating_sub(awaited.len());
            let (tests, now) = (Arc::clone(&self.tests), self.clock.now());
            let judged = batch.len();
            let waiting =
                tokio::task::spawn_blocking(move || tests.observe(&batch, now, room)).await?;
            metrics
                .judged_traces
                .increment((judged - waiting.len()) as u64);
            awaited.extend(waiting);
            metrics.awaited_traces.set(awaited.len() as f64);
        }
    }
}
