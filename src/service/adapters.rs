//! Drives the adapters of `serve`: each in a task of its own, with the traces that are over and the newest report.

use std::sync::Arc;

use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::adapter::Adapter;
use crate::adapter::fixed_sampling::FixedSampling;
use crate::adapter::coverage::Coverage;
use crate::adapter::topology::Topology;
use crate::clock::Clock;
use crate::config::Config;
use crate::model::UnixNanos;
use crate::model::advice::Advice;
use crate::model::report::Report;
use crate::service::{ServiceError, TraceBatch, TraceFeed, manifests};
use crate::telemetry::AdapterMetrics;

/// The adapters that are enabled.
fn build(config: &Config, now: UnixNanos) -> Result<Vec<Box<dyn Adapter>>, ServiceError> {
    let (config, trace_buffer) = (&config.adapters, &config.trace_buffer);
    let mut adapters: Vec<Box<dyn Adapter>> = Vec::new();
    if let Some(file) = &config.fixed_sampling.file {
        adapters.push(Box::new(FixedSampling::read(file.clone(), now)?));
    }
    if config.coverage.enabled {
        let inventory = manifests::configured(&config.coverage.manifests)?;
        adapters.push(Box::new(Coverage::new(&config.coverage, inventory)));
    }
    if config.topology.enabled && trace_buffer.enabled {
        let topology = Topology::new(&config.topology, trace_buffer.quiet);
        adapters.push(Box::new(topology));
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

/// The adapters before they start.
pub(super) struct Adapters {
    enabled: Vec<Box<dyn Adapter>>,
    surroundings: Surroundings,
}

impl Adapters {
    /// With the other end of the advice.
    pub(super) fn new(
        config: &Config,
        feed: &TraceFeed,
        reports: &watch::Receiver<Option<Arc<Report>>>,
        clock: &Clock,
    ) -> Result<(Self, watch::Receiver<Advice>), ServiceError> {
        let (advice, newest) = watch::channel(Advice::default());
        let adapters = Self {
            enabled: build(config, clock.now())?,
            surroundings: Surroundings {
                feed: feed.clone(),
                reports: reports.clone(),
                advice,
                clock: clock.clone(),
            },
        };
        Ok((adapters, newest))
    }

    /// One task for each adapter; they end at `stop`.
    pub(super) fn start(
        self,
        tasks: &mut JoinSet<Result<(), ServiceError>>,
        stop: &CancellationToken,
    ) {
        let surroundings = Arc::new(self.surroundings);
        for adapter in self.enabled {
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
                News::Traces(batch) => adapter.on_kept(&batch, now),
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
