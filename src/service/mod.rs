//! Wires the parts: binds, restores, starts every task, and stops them in the order of the data.
//!
//! Receivers drain first, then a last evaluation sees all that was acknowledged, then the store closes and the exporters
//! finish. One deadline holds for all of it.

mod adapters;
pub mod analysis;
mod endpoints;
mod findings;
mod fit;
mod keeper;
pub mod manifests;
pub mod objective_files;
pub mod simulation;
mod start;
pub mod suite_files;
mod tasks;
mod trace_tests;
mod traces;
pub mod whole_traces;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::adapter::fixed_sampling::PlanFileError;
use crate::adapter::incident::explain::ExplainError;
use crate::api::sampling::Answers;
use crate::api::{ApiError, ApiState, Command};
use crate::clock::Clock;
use crate::config::Config;
use crate::evaluator::Evaluator;
use crate::evaluator::verdict::timestamp;
use crate::exporter;
use crate::forward::{ForwardError, Forwarder, Share};
use crate::model::advice::Advice;
use crate::model::report::Report;
use crate::notify::{Notifiers, NotifyError};
use crate::pipeline::Pipeline;
use crate::receiver::intake::Intake;
use crate::receiver::whole::decode::Decoder;
use crate::service::adapters::Adapters;
pub use crate::service::endpoints::Endpoints;
use crate::service::endpoints::{Listeners, bind_all, write_endpoints};
use crate::service::keeper::Keeper;
use crate::service::manifests::ManifestsError;
use crate::service::objective_files::{ObjectiveFilesError, configured};
use crate::service::start::{
    start_exporters, start_forwarder, start_keeping, start_notifiers, start_receivers,
    start_servers,
};
use crate::service::suite_files::SuiteFilesError;
use crate::service::tasks::EvaluationTask;
use crate::service::trace_tests::{TraceTests, TraceTestsTask};
use crate::service::traces::TracesTask;
pub use crate::service::traces::{TraceBatch, TraceFeed};
use crate::store::{Store, StoreError};
use crate::telemetry::{TelemetryError, install_metrics};
use crate::trace::buffer::TraceBuffer;
use crate::window::Windows;
use crate::window::cohort::watch::Scope;
use crate::window::event::EventRules;
use crate::window::event::asked::Asked;

/// Commands that wait for the keeper at most; the admin endpoint waits with them.
const COMMANDS_WAITING: usize = 16;

/// Requests under way have this part of `shutdown.deadline` to arrive: one over it.
const DRAIN_SHARE: u32 = 2;

/// Who asks the admin endpoint has this part of `shutdown.deadline` to get the answer, after all else: one over it.
const ANSWER_SHARE: u32 = 8;

/// Why a service cannot start, or ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// An address cannot be bound.
    #[error(
        "cannot listen on {endpoint} ({key}): {source}; is another program using the port? Set {key} to another one, or to port 0 for a free one"
    )]
    Bind {
        /// Configuration key.
        key: &'static str,
        /// The address.
        endpoint: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// `objectives.files` cannot be used.
    #[error("{0}")]
    ObjectiveFiles(#[from] ObjectiveFilesError),
    /// A notifier cannot be set up.
    #[error("{0}")]
    Notify(#[from] NotifyError),
    /// Spans cannot be forwarded.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// `tests.suites` cannot be used.
    #[error("tests.suites: {0}")]
    Suites(#[from] SuiteFilesError),
    /// `adapters.fixed_sampling.file` cannot be used.
    #[error("adapters.fixed_sampling.file: {0}")]
    FixedSampling(#[from] PlanFileError),
    /// `adapters.coverage.manifests` cannot be used.
    #[error("adapters.coverage.manifests: {0}")]
    Manifests(#[from] ManifestsError),
    /// `adapters.topology.manifests` cannot be used.
    #[error("adapters.topology.manifests: {0}")]
    TopologyManifests(#[source] ManifestsError),
    /// `adapters.incident.llm` cannot be used.
    #[error(transparent)]
    Explain(#[from] ExplainError),
    /// Self-telemetry cannot be set up.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// `endpoints.json` cannot be written.
    #[error("cannot write endpoints.json to output.dir: {0}")]
    Endpoints(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A receiver failed.
    #[error("the OTLP/gRPC receiver failed: {0}")]
    Grpc(#[from] tonic::transport::Error),
    /// A listener failed.
    #[error("a listener failed: {0}")]
    Listener(#[from] std::io::Error),
    /// The admin endpoint failed.
    #[error("the admin endpoint failed: {0}")]
    Api(#[from] ApiError),
    /// A task panicked: a defect.
    #[error("a task ended unexpectedly: {0}")]
    Task(#[from] JoinError),
    /// Something was still under way when the time was over.
    #[error("not everything finished within shutdown.deadline; what was not written is lost")]
    Deadline,
}

/// A running service.
#[derive(Debug)]
pub struct Service {
    /// Where it listens.
    pub endpoints: Endpoints,
    /// The newest report.
    pub reports: watch::Receiver<Option<Arc<Report>>>,
    /// Whole traces as they are over; none come where `trace_buffer.enabled` is false.
    pub traces: TraceFeed,
    keeper: Arc<Keeper>,
    stop: CancellationToken,
    supervisor: JoinHandle<Result<(), ServiceError>>,
}

impl Service {
    /// Binds, restores and starts. Returns when spans are taken.
    pub async fn start(config: Config, clock: Clock) -> Result<Self, ServiceError> {
        crate::outgoing::install_crypto_provider();
        let tests = TraceTests::new(&config)?;
        let metrics = install_metrics()?;
        exporter::describe();
        let (listeners, endpoints) = bind_all(&config).await?;
        let notifiers = Notifiers::new(&config.notifiers, config.evaluator.limits(), &clock)?;
        let windows = windows(&config);
        let rules = EventRules::new(&config.sli);
        let keeper = open_keeper(&config, &windows, &clock, rules.asked()).await?;
        write_endpoints(&config, endpoints)?;

        let (publish, reports) = watch::channel(None);
        let (commands, inbox) = mpsc::channel(COMMANDS_WAITING);
        let (ready_sender, ready) = watch::channel(true);
        let (traces, feed) = (trace_buffer(&config, &rules), TraceFeed::new());
        let (adapters, advice) = Adapters::new(&feed, &reports, &clock);
        let pipeline = Pipeline::new(Arc::clone(&windows), rules, clock.clone());
        let pipeline = pipeline.with_journal(keeper.journal().cloned());
        let (pipeline, forwarder) = completed(pipeline, traces.as_ref(), &config, &advice, &clock)?;
        let built = adapters::build(&config, &pipeline, &keeper, &advice, clock.now())?;
        let adapters = adapters.with(built);
        let tests_task = TraceTestsTask::new(tests.as_ref(), traces.as_ref(), &feed, &clock);
        let evaluation = EvaluationTask {
            tests,
            advice: advice.clone(),
            evaluator: evaluator(&config),
            config: config.evaluator.clone(),
            windows,
            pipeline: Arc::clone(&pipeline),
            keeper: Arc::clone(&keeper),
            clock: clock.clone(),
            publish,
        };
        let parts = Parts {
            listeners,
            pipeline,
            evaluation,
            notifiers,
            traces: TracesTask::of(traces.clone(), &config, &feed, &clock, &reports),
            tests: tests_task,
            adapters,
            forwarder,
            keeper: Arc::clone(&keeper),
            inbox,
            api: ApiState {
                reports: reports.clone(),
                told: keeper.told(),
                traces,
                advice,
                ready,
                commands,
                metrics,
                started_at: timestamp(clock.now()),
                limits: config.evaluator.limits(),
                canary_executions: config.limits.canary_executions,
            },
            ready: ready_sender,
        };
        endpoints.log();
        let stop = CancellationToken::new();
        Ok(Self {
            endpoints,
            reports,
            traces: feed,
            keeper,
            supervisor: tokio::spawn(supervise(config, parts, stop.clone())),
            stop,
        })
    }

    /// Fits candidates now rather than at their next turn.
    pub async fn refresh_candidates(&self) -> Result<(), ServiceError> {
        let keeper = Arc::clone(&self.keeper);
        tokio::task::spawn_blocking(move || {
            keeper.flush()?;
            keeper.refresh_candidates()
        })
        .await??;
        Ok(())
    }

    /// Ends when the service does, by [`Self::stop`] on a clone of its token or by a failure.
    pub async fn wait(self, stop: impl Future<Output = ()>) -> Result<(), ServiceError> {
        let mut supervisor = self.supervisor;
        tokio::select! {
            ended = &mut supervisor => return ended?,
            () = stop => self.stop.cancel(),
        }
        supervisor.await?
    }

    /// Drains and stops.
    pub async fn stop(self) -> Result<(), ServiceError> {
        self.wait(std::future::ready(())).await
    }
}

fn evaluator(config: &Config) -> Evaluator {
    Evaluator::new(config.evaluator.clone(), config.output.scope)
        .comparing(config.canary.clone())
        .with_policies(config.objectives.policies())
}

/// What the tasks take with them.
struct Parts {
    listeners: Listeners,
    pipeline: Arc<Pipeline>,
    evaluation: EvaluationTask,
    notifiers: Notifiers,
    traces: Option<TracesTask>,
    tests: Option<TraceTestsTask>,
    adapters: Adapters,
    forwarder: Option<Forwarder>,
    keeper: Arc<Keeper>,
    inbox: mpsc::Receiver<Command>,
    api: ApiState,
    ready: watch::Sender<bool>,
}

/// Runs every task until `stop`, or until one of them ends, then stops them in the order of the data.
async fn supervise(
    config: Config,
    parts: Parts,
    stop: CancellationToken,
) -> Result<(), ServiceError> {
    let Parts {
        listeners: (spans, questions),
        pipeline,
        evaluation,
        notifiers,
        traces,
        tests,
        adapters,
        forwarder,
        keeper,
        inbox,
        api,
        ready,
    } = parts;
    let answers = Answers {
        advice: api.advice.clone(),
        asked: Arc::clone(pipeline.asked()),
        clock: evaluation.clock.clone(),
    };
    let stages = [(); 4].map(|()| CancellationToken::new());
    let [receiving, evaluating, notifying, serving] = &stages;

    let otlp = &config.receivers.otlp;
    let intake = Intake::new(
        otlp.max_in_flight_bytes,
        otlp.max_request_bytes,
        otlp.retry_after,
    );
    let mut receivers = start_receivers(spans, otlp, &pipeline, &intake, receiving);
    let mut exporters = start_exporters(&config, &api.reports);
    start_notifiers(&mut exporters, notifiers, &keeper, &api.reports, notifying);

    let mut core = start_keeping(&keeper, inbox, &config, evaluating);
    core.spawn(evaluation.run(evaluating.clone()));
    if let Some(tests) = tests {
        core.spawn(tests.run(evaluating.clone()));
    }
    if let Some(traces) = traces {
        core.spawn(traces.run(evaluating.clone()));
    }

    adapters.start(&mut core, evaluating);
    start_forwarder(&mut core, forwarder, &config, evaluating);

    let mut servers = start_servers(questions, api, (&config, answers), serving);

    let first = tokio::select! {
        () = stop.cancelled() => Ok(()),
        ended = receivers.join_next() => outcome(ended),
        ended = core.join_next() => outcome(ended),
        ended = servers.join_next() => outcome(ended),
    };
    tracing::info!("Stopping: receivers drain first.");
    // Load balancers look here before they send more.
    ready.send_replace(false);
    // Each step runs whatever became of those before it: the store must close even if a receiver failed.
    let stopping = async {
        receiving.cancel();
        let drained = drain(receivers, &intake, config.shutdown.deadline / DRAIN_SHARE).await;
        keeper.give_up_fits();
        evaluating.cancel();
        let evaluated = finish(core).await;
        let closed = tokio::task::spawn_blocking(move || keeper.close()).await;
        notifying.cancel();
        let exported = finish(exporters).await;
        serving.cancel();
        let served = answer(servers, config.shutdown.deadline / ANSWER_SHARE).await;
        drained
            .and(evaluated)
            .and(closed?.map_err(Into::into))
            .and(exported)
            .and(served)
    };
    let stopped = tokio::time::timeout(config.shutdown.deadline, stopping).await;
    first.and(stopped.unwrap_or(Err(ServiceError::Deadline)))
}

/// Lets the requests under way finish. A client that stalls must not cost the others what was acknowledged to them, so
/// the last evaluation and the store do not wait longer than `limit` for it.
async fn drain(
    receivers: JoinSet<Result<(), ServiceError>>,
    intake: &Intake,
    limit: Duration,
) -> Result<(), ServiceError> {
    if let Ok(drained) = tokio::time::timeout(limit, finish(receivers)).await {
        return drained;
    }
    intake.close();
    tracing::warn!("Requests that were still arriving are given up.");
    Ok(())
}

/// Lets what is asked be answered. All is written by then, so who reads slowly, or never ends the question, is cut off after
/// `limit`, and nothing is lost.
async fn answer(
    servers: JoinSet<Result<(), ServiceError>>,
    limit: Duration,
) -> Result<(), ServiceError> {
    let answered = tokio::time::timeout(limit, finish(servers)).await;
    answered.unwrap_or_else(|_| {
        tracing::warn!("Those who were still asking or reading are cut off.");
        Ok(())
    })
}

async fn finish(mut tasks: JoinSet<Result<(), ServiceError>>) -> Result<(), ServiceError> {
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

fn outcome(ended: Option<Result<Result<(), ServiceError>, JoinError>>) -> Result<(), ServiceError> {
    ended.map_or(Ok(()), |ended| ended?)
}

/// The pipeline with the buffer of traces beside it and the forwarder behind it, if there are any.
fn completed(
    pipeline: Pipeline,
    traces: Option<&Arc<TraceBuffer>>,
    config: &Config,
    advice: &watch::Receiver<Advice>,
    clock: &Clock,
) -> Result<(Arc<Pipeline>, Option<Forwarder>), ServiceError> {
    let settings = &config.exporters.forward;
    let server = &config.sampling_server;
    let is_asked = server.http.enabled || server.grpc.enabled;
    if is_asked && settings.endpoint.is_some() && settings.sampling.share == Share::Plan {
        tracing::warn!(
            "sampling_server and exporters.forward.sampling.share: plan follow the same plan: traces of SDKs that ask are sampled \
             twice, and the backend is not told of the first time. Use one of the two."
        );
    }
    let scrubber = settings.scrub.then(|| config.scrubber());
    let forward = Forwarder::new(settings, scrubber, advice.clone(), clock)?;
    let (forwarder, entrance) = forward.unzip();
    let pipeline = pipeline.with_traces(traces.cloned());
    Ok((Arc::new(pipeline.with_forward(entrance)), forwarder))
}

/// The buffer of whole traces, which reads spans by the rules of the windows.
fn trace_buffer(config: &Config, rules: &EventRules) -> Option<Arc<TraceBuffer>> {
    config.trace_buffer.enabled.then(|| {
        let decoder = Box::new(Decoder::new(rules.clone()));
        let buffer = TraceBuffer::new(&config.trace_buffer, decoder);
        Arc::new(buffer.scrubbing(config.scrubber()))
    })
}

fn windows(config: &Config) -> Arc<Windows> {
    let scrubber = config.scrubber();
    findings::begin(&scrubber);
    let windows = Windows::new(config.windows.clone(), &config.sli).scrubbing(scrubber);
    Arc::new(windows.recording(config.rollouts.clone(), Scope::Rollouts))
}

async fn open_keeper(
    config: &Config,
    windows: &Arc<Windows>,
    clock: &Clock,
    asked: &Arc<Asked>,
) -> Result<Arc<Keeper>, ServiceError> {
    let (config, windows, clock) = (config.clone(), Arc::clone(windows), clock.clone());
    let asked = Arc::clone(asked);
    let keeper = tokio::task::spawn_blocking(move || {
        let objectives = configured(&config)?;
        let store = Store::open(config.storage.clone())?;
        let keeper = Keeper::new(&config, windows, store, clock).heeding(asked);
        let restored = keeper.restore(&objectives)?;
        tasks::show_restored(&restored);
        Ok::<_, ServiceError>(Arc::new(keeper))
    });
    keeper.await?
}
