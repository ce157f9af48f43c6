//! Drives the adapters of `serve`: each in a task of its own, with the traces that are over and the newest report.

use std::sync::Arc;

use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::adapter::Adapter;
use crate::adapter::incident::IncidentAdapter;
use crate::clock::Clock;
use crate::config::Config;
use crate::model::advice::Advice;
use crate::model::incident::IncidentMemory;
use crate::model::report::Report;
use crate::service::keeper::Keeper;
use crate::service::{ServiceError, TraceBatch, TraceFeed};
use crate::telemetry::AdapterMetrics;

/// The adapters that are enabled.
pub(super) fn build(
    config: &Config,
    keeper: &Arc<Keeper>,
) -> Result<Vec<Box<dyn Adapter>>, ServiceError> {
    let mut adapters: Vec<Box<dyn Adapter>> = Vec::new();
    if config.adapters.incident.enabled {
        let settings = &config.adapters.rca;
        let memory: Arc<dyn IncidentMemory> = Arc::clone(keeper) as _;
        let scrub = Box::new(str::to_owned);
        let variable = |name: &str| std::env::var(name).ok();
        let incident = &config.adapters.incident;
        adapters.push(Box::new(IncidentAdapter::new(
            incident, settings, memory, scrub, variable,
        )?));
    }
    Ok(adapters)
}

/// What the adapters listen to, and where their advice goes.
struct Surroundings {
    feed: TraceFeed,
    reports: watch::Receiver<Option<Arc<Report>>>,
    advice: watch::Sender<Advice>,
    clock: Clock,
}

/// Adapters that do not run yet.
pub(super) struct Adapters {
    adapters: Vec<Box<dyn Adapter>>,
    surroundings: Surroundings,
}

impl Adapters {
    /// With the other end of their advice.
    pub(super) fn new(
        adapters: Vec<Box<dyn Adapter>>,
        feed: &TraceFeed,
        reports: &watch::Receiver<Option<Arc<Report>>>,
        clock: &Clock,
    ) -> (Self, watch::Receiver<Advice>) {
        let (advice, newest) = watch::channel(Advice::default());
        let surroundings = Surroundings {
            feed: feed.clone(),
            reports: reports.clone(),
            advice,
            clock: clock.clone(),
        };
        let adapters = Self {
            adapters,
            surroundings,
        };
        (adapters, newest)
    }

    /// One task for each; they end at `stop`.
    pub(super) fn start(
        self,
        tasks: &mut JoinSet<Result<(), ServiceError>>,
        stop: &CancellationToken,
    ) {
        let surroundings = Arc::new(self.surroundings);
        for adapter in self.adapters {
            // Subscribed here, so that no trace is missed before the task runs.
            let traces = surroundings.feed.subscribe();
            let surroundings = Arc::clone(&surroundings);
            tasks.spawn(drive(adapter, traces, surroundings, stop.clone()));
        }
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
