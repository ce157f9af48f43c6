//! Drives the adapters of `serve`: each in a task of its own, with the traces that are over and the newest report.

use std::sync::Arc;

use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::adapter::Adapter;
use crate::adapter::sampling::{Sampling, Sources};
use crate::clock::Clock;
use crate::config::Config;
use crate::model::advice::Advice;
use crate::model::report::Report;
use crate::pipeline::Pipeline;
use crate::service::keeper::Keeper;
use crate::service::{ServiceError, TraceBatch, TraceFeed};
use crate::telemetry::AdapterMetrics;

/// The adapters that are enabled.
pub(super) fn build(
    config: &Config,
    pipeline: &Arc<Pipeline>,
    keeper: &Arc<Keeper>,
) -> Vec<Box<dyn Adapter>> {
    let mut adapters: Vec<Box<dyn Adapter>> = Vec::new();
    if config.adapters.sampling.enabled {
        let sources = sampling_sources(pipeline, keeper);
        adapters.push(Box::new(Sampling::new(&config.adapters.sampling, sources)));
    }
    adapters
}

/// What the telemetry budget reads beside reports: what arrived, and the hours that the history knows.
fn sampling_sources(pipeline: &Arc<Pipeline>, keeper: &Arc<Keeper>) -> Sources {
    let (pipeline, keeper) = (Arc::clone(pipeline), Arc::clone(keeper));
    Sources {
        volume: Box::new(move || pipeline.volume()),
        past: Box::new(move || {
            keeper.hourly_entries().unwrap_or_else(|error| {
                tracing::warn!(%error, "Cannot read the traffic of the past; it is forecast from here on.");
                Vec::new()
            })
        }),
    }
}

/// What the adapters listen to, and where their advice goes.
pub(super) struct Surroundings {
    feed: TraceFeed,
    reports: watch::Receiver<Option<Arc<Report>>>,
    advice: watch::Sender<Advice>,
    clock: Clock,
}

impl Surroundings {
    /// With the other end of the advice.
    pub(super) fn new(
        feed: &TraceFeed,
        reports: &watch::Receiver<Option<Arc<Report>>>,
        clock: &Clock,
    ) -> (Self, watch::Receiver<Advice>) {
        let (advice, newest) = watch::channel(Advice::default());
        let surroundings = Self {
            feed: feed.clone(),
            reports: reports.clone(),
            advice,
            clock: clock.clone(),
        };
        (surroundings, newest)
    }
}

/// One task for each adapter; they end at `stop`.
pub(super) fn start(
    tasks: &mut JoinSet<Result<(), ServiceError>>,
    adapters: Vec<Box<dyn Adapter>>,
    surroundings: Surroundings,
    stop: &CancellationToken,
) {
    let surroundings = Arc::new(surroundings);
    for adapter in adapters {
        // Subscribed here, so that no trace is missed before the task runs.
        let traces = surroundings.feed.subscribe();
        tasks.spawn(drive(
            adapter,
            traces,
            Arc::clone(&surroundings),
            stop.clone(),
        ));
    }
}

/// What there is to look at.
enum News {
    Traces(TraceBatch),
    Report(Arc<Report>),
}

async fn drive(
    mut adapter: Box<dyn Adapter>,
    mut traces: broadcast::Receiver<TraceBatch>,
    surroundings: Arc<Surroundings>,
    stop: CancellationToken,
) -> Result<(), ServiceError> {
    let metrics = AdapterMetrics::new(adapter.name());
    let mut reports = surroundings.reports.clone();
    surroundings
        .advice
        .send_modify(|advice| adapter.advise(advice));
    loop {
        let news = tokio::select! {
            batch = traces.recv() => match batch {
                Ok(batch) => News::Traces(batch),
                Err(RecvError::Lagged(batches)) => {
                    metrics.missed_batches.increment(batches);
                    continue;
                }
                Err(RecvError::Closed) => return Ok(()),
            },
            changed = reports.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                match reports.borrow_and_update().clone() {
                    Some(report) => News::Report(report),
                    None => continue,
                }
            }
            () = stop.cancelled() => return Ok(()),
        };
        let now = surroundings.clock.now();
        adapter = tokio::task::spawn_blocking(move || {
            match news {
                News::Traces(batch) => adapter.on_traces(&batch, now),
                News::Report(report) => adapter.on_report(&report, now),
            }
            adapter
        })
        .await?;
        surroundings
            .advice
            .send_modify(|advice| adapter.advise(advice));
    }
}
