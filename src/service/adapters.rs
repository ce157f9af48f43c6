//! Drives the adapters of `serve`: each in a task of its own, with the traces that are over and the newest report.

use std::sync::Arc;

use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::adapter::Adapter;
use crate::adapter::coverage::Coverage;
use crate::adapter::fixed_sampling::FixedSampling;
use crate::adapter::incident::explain::ExplainError;
use crate::adapter::incident::{Graph, IncidentAdapter, Scrub};
use crate::adapter::sampling::{Sampling, Sources};
use crate::adapter::topology::Topology;
use crate::clock::Clock;
use crate::config::Config;
use crate::model::UnixNanos;
use crate::model::advice::Advice;
use crate::model::incident::IncidentMemory;
use crate::model::report::Report;
use crate::model::topology::EdgeMemory;
use crate::pii::Counts;
use crate::pipeline::Pipeline;
use crate::service::keeper::Keeper;
use crate::service::{ServiceError, TraceBatch, TraceFeed, findings, manifests};
use crate::telemetry::AdapterMetrics;

/// The adapters that are enabled. Incidents and edges are remembered by `keeper`; `advice` is what all of them say.
pub(super) fn build(
    config: &Config,
    pipeline: &Arc<Pipeline>,
    keeper: &Arc<Keeper>,
    advice: &watch::Receiver<Advice>,
    now: UnixNanos,
) -> Result<Vec<Box<dyn Adapter>>, ServiceError> {
    let (all, trace_buffer) = (&config.adapters, &config.trace_buffer);
    let mut adapters: Vec<Box<dyn Adapter>> = Vec::new();
    // One of the two says what is sampled.
    if let Some(file) = &all.fixed_sampling.file {
        let fixed = FixedSampling::read(file.clone(), now)?;
        let (asked, max) = (Arc::clone(pipeline.asked()), all.sampling.max_operations);
        adapters.push(Box::new(fixed.telling(asked, max)));
    } else if all.sampling.enabled {
        let sources = sampling_sources(pipeline, keeper);
        adapters.push(Box::new(Sampling::new(&all.sampling, sources)));
    }
    if all.coverage.enabled {
        let inventory = manifests::configured(&all.coverage.manifests)?;
        adapters.push(Box::new(Coverage::new(&all.coverage, inventory)));
    }
    if all.topology.enabled && trace_buffer.enabled {
        let inventory = manifests::configured(&all.topology.manifests)
            .map_err(ServiceError::TopologyManifests)?;
        let memory = Arc::clone(keeper) as Arc<dyn EdgeMemory>;
        let quiet = trace_buffer.quiet;
        let topology = Topology::new(&all.topology, quiet, inventory, memory, now);
        adapters.push(Box::new(topology));
    }
    if all.incident.enabled {
        adapters.push(Box::new(incidents(config, keeper, advice)?));
    }
    Ok(adapters)
}

/// What the telemetry budget reads beside reports: what arrived, and the hours that the history knows.
fn sampling_sources(pipeline: &Arc<Pipeline>, keeper: &Arc<Keeper>) -> Sources {
    let (pipeline, keeper) = (Arc::clone(pipeline), Arc::clone(keeper));
    let forwarded = Arc::clone(&pipeline);
    Sources {
        asked: Arc::clone(pipeline.asked()),
        kept: Box::new(move || forwarded.kept_by_plan()),
        volume: Box::new(move || pipeline.volume()),
        past: Box::new(move || {
            keeper.hourly_entries().unwrap_or_else(|error| {
                tracing::warn!(%error, "Cannot read the traffic of the past; it is forecast from here on.");
                Vec::new()
            })
        }),
    }
}

fn incidents(
    config: &Config,
    keeper: &Arc<Keeper>,
    advice: &watch::Receiver<Advice>,
) -> Result<IncidentAdapter, ExplainError> {
    let memory: Arc<dyn IncidentMemory> = Arc::clone(keeper) as _;
    let scrubber = config.scrubber();
    let scrub: Scrub = Box::new(move |text: &str| {
        let mut found = Counts::default();
        let clean = scrubber.scrub_text(text, &mut found).into_owned();
        findings::count(&found);
        clean
    });
    let advice = advice.clone();
    let graph: Graph = Box::new(move || advice.borrow().topology.clone());
    let variable = |name: &str| std::env::var(name).ok();
    let adapters = &config.adapters;
    IncidentAdapter::new(
        &adapters.incident,
        &adapters.rca,
        memory,
        (scrub, graph),
        variable,
    )
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
    /// None yet; with the other end of their advice.
    pub(super) fn new(
        feed: &TraceFeed,
        reports: &watch::Receiver<Option<Arc<Report>>>,
        clock: &Clock,
    ) -> (Self, watch::Receiver<Advice>) {
        let (advice, newest) = watch::channel(Advice::default());
        let adapters = Self {
            adapters: Vec::new(),
            surroundings: Surroundings {
                feed: feed.clone(),
                reports: reports.clone(),
                advice,
                clock: clock.clone(),
            },
        };
        (adapters, newest)
    }

    /// These.
    pub(super) fn with(self, adapters: Vec<Box<dyn Adapter>>) -> Self {
        Self { adapters, ..self }
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
