//! The tasks behind the receivers: evaluate, keep history, fit candidates, obey commands.
//!
//! What walks all series or waits for the disk runs on a blocking thread, so that no receiver waits for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::api::{Command, CommandError, Reply};
use crate::clock::Clock;
use crate::evaluator::{self, Evaluator};
use crate::model::NANOS_PER_SEC;
use crate::model::advice::Advice;
use crate::model::report::Report;
use crate::pipeline::Pipeline;
use crate::service::ServiceError;
use crate::service::findings;
use crate::service::keeper::{Keeper, Restored};
use crate::service::trace_tests::TraceTests;
use crate::store::book::DecisionError;
use crate::store::journal::Journal;
use crate::store::{self, StoreError};
use crate::telemetry::{DurabilityMetrics, EvaluatorMetrics};
use crate::window::Windows;
use crate::window::cohort::RecordingUsage;

/// Time between looks for closed minutes, which close once a minute; a backfill fills no more than the outbox in it.
const FLUSH_INTERVAL: Duration = Duration::from_secs(5);

/// Time between removals of old history.
const PRUNE_INTERVAL: Duration = Duration::from_hours(1);

/// Evaluates at every tick and publishes the report.
pub(super) struct EvaluationTask {
    pub(super) evaluator: Evaluator,
    pub(super) tests: Option<Arc<TraceTests>>,
    pub(super) advice: watch::Receiver<Advice>,
    pub(super) config: evaluator::Config,
    pub(super) windows: Arc<Windows>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) keeper: Arc<Keeper>,
    pub(super) clock: Clock,
    pub(super) publish: watch::Sender<Option<Arc<Report>>>,
}

impl EvaluationTask {
    /// Runs until `stop`, then once more, so that the last report holds all that was acknowledged.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), ServiceError> {
        let metrics = EvaluatorMetrics::new();
        let mut ticks = interval(self.config.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let stopping = tokio::select! {
                _ = ticks.tick() => false,
                () = stop.cancelled() => true,
            };
            let started = Instant::now();
            let report;
            (self, report) = tokio::task::spawn_blocking(move || self.evaluate()).await?;
            metrics
                .tick_duration
                .record(started.elapsed().as_secs_f64());
            metrics.series.set(report.series.held as f64);
            metrics.series_limit.set(report.series.limit as f64);
            metrics.series_demand.set(report.series.demand as f64);
            show_recording(&metrics, self.windows.recording_usage());
            findings::count(&self.windows.take_findings());
            self.publish.send_replace(Some(Arc::new(report)));
            if stopping {
                return Ok(());
            }
        }
    }

    fn evaluate(mut self) -> (Self, Report) {
        let now = self.clock.now();
        if let Some(journal) = self.keeper.journal() {
            journal.note_upkeep(now);
        }
        self.windows.maintain(now);
        let snapshot = self
            .windows
            .snapshot(now, self.config.report_operations_per_service);
        let tests = self.tests.as_ref().map(|tests| tests.report(now));
        self.evaluator.set_tests(tests);
        self.evaluator.set_advice(Advice {
            assumed_sampling: self.pipeline.asked().assumed_lately(now),
            ..self.advice.borrow().clone()
        });
        let report =
            self.evaluator
                .evaluate(snapshot, self.keeper.candidates(), self.pipeline.roots());
        self.keeper.note_transitions(&report);
        (self, report)
    }
}

fn show_recording(metrics: &EvaluatorMetrics, usage: RecordingUsage) {
    metrics.rollouts.set(usage.services as f64);
    for (bound, refused) in usage.refused() {
        metrics.refused_by(bound, refused);
    }
}

/// What is done about the store next.
enum Work {
    /// Minutes, ledgers and all else go to it.
    Flush,
    /// What is too old goes from it.
    Prune,
    /// Transitions go to it at once, since somebody may wait for them.
    Tell,
}

/// Moves closed minutes and transitions to the store and removes old minutes.
pub(super) async fn history_task(
    keeper: Arc<Keeper>,
    stop: CancellationToken,
) -> Result<(), ServiceError> {
    let mut flushes = interval(FLUSH_INTERVAL);
    let mut prunes = interval(PRUNE_INTERVAL);
    flushes.set_missed_tick_behavior(MissedTickBehavior::Skip);
    prunes.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let work = tokio::select! {
            _ = flushes.tick() => Work::Flush,
            _ = prunes.tick() => Work::Prune,
            () = keeper.news() => Work::Tell,
            () = stop.cancelled() => return Ok(()),
        };
        let keeper = Arc::clone(&keeper);
        tokio::task::spawn_blocking(move || match work {
            Work::Flush => log_failure("keep history", keeper.flush()),
            Work::Prune => log_failure("remove old history", keeper.prune()),
            Work::Tell => log_failure("keep what changed", keeper.keep_transitions()),
        })
        .await?;
    }
}

/// After a checkpoint that failed, the next one waits this long, however full the log is.
const CHECKPOINT_PAUSE: Duration = Duration::from_secs(5);

/// Time between looks at how full the log is.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Says what a start found.
pub(super) fn show_restored(restored: &Restored) {
    let Restored {
        loaded,
        rebuilt,
        log,
    } = *restored;
    let metrics = DurabilityMetrics::new();
    metrics.truncated_bytes.increment(log.torn);
    metrics.broken.increment(log.broken);
    if loaded > 0 || log.requests > 0 {
        tracing::info!(
            series = loaded,
            requests = log.requests,
            "Windows loaded from the checkpoint and the log."
        );
    }
    if rebuilt > 0 {
        tracing::info!(series = rebuilt, "Windows rebuilt from the history.");
    }
}

/// Makes checkpoints: every `storage.checkpoint_interval`, and when the log is half full.
pub(super) async fn checkpoint_task(
    keeper: Arc<Keeper>,
    config: store::Config,
    stop: CancellationToken,
) -> Result<(), ServiceError> {
    let Some(journal) = keeper.journal().cloned() else {
        stop.cancelled().await;
        return Ok(());
    };
    let metrics = DurabilityMetrics::new();
    let mut next = interval(config.checkpoint_interval);
    next.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The start made one, or goes on from one.
    next.tick().await;
    loop {
        tokio::select! {
            _ = next.tick() => {}
            () = journal.due() => next.reset(),
            () = stop.cancelled() => return Ok(()),
        }
        let worker = Arc::clone(&keeper);
        let made = tokio::task::spawn_blocking(move || worker.checkpoint()).await?;
        match made {
            Ok(Some(made)) => {
                let at = keeper.now() / NANOS_PER_SEC;
                metrics.made(at, made.bytes, made.took, made.pause);
            }
            Ok(None) => {}
            Err(error) => {
                metrics.failed.increment(1);
                tracing::error!(%error, "Cannot make a checkpoint; the one before and the log since then stay.");
                tokio::select! {
                    () = tokio::time::sleep(CHECKPOINT_PAUSE) => {}
                    () = stop.cancelled() => return Ok(()),
                }
            }
        }
    }
}

/// Brings the log to the disk every `storage.wal_sync`, and shows how full it is.
pub(super) async fn log_task(
    keeper: Arc<Keeper>,
    config: store::Config,
    stop: CancellationToken,
) -> Result<(), ServiceError> {
    let Some(journal) = keeper
        .journal()
        .filter(|journal| journal.is_logged())
        .cloned()
    else {
        stop.cancelled().await;
        return Ok(());
    };
    let metrics = DurabilityMetrics::new();
    metrics.log_limit.set(config.wal_max_bytes as f64);
    let is_synced = !config.wal_sync.is_zero();
    let mut syncs = interval(if is_synced {
        config.wal_sync
    } else {
        LOG_INTERVAL
    });
    let mut looks = interval(LOG_INTERVAL);
    syncs.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = syncs.tick(), if is_synced => {
                let journal = Arc::clone(&journal);
                tokio::task::spawn_blocking(move || journal.sync()).await?;
            }
            _ = looks.tick() => show_log(&metrics, &journal),
            () = stop.cancelled() => {
                show_log(&metrics, &journal);
                return Ok(());
            }
        }
    }
}

fn show_log(metrics: &DurabilityMetrics, journal: &Journal) {
    if let Some(status) = journal.log_status() {
        metrics.log_bytes.set(status.bytes as f64);
        metrics.logged.absolute(status.requests);
        metrics.unlogged.absolute(status.unlogged);
    }
}

/// Fits candidates: often while there is little history, then every `candidates_interval`.
pub(super) async fn candidates_task(
    keeper: Arc<Keeper>,
    config: evaluator::Config,
    stop: CancellationToken,
) -> Result<(), ServiceError> {
    let started = Instant::now();
    loop {
        let began = Instant::now();
        let worker = Arc::clone(&keeper);
        tokio::task::spawn_blocking(move || {
            log_failure("fit candidates", worker.refresh_candidates());
        })
        .await?;
        let longest = config.candidates_interval.max(config.interval);
        let pause = (started.elapsed() / 10).clamp(config.interval, longest);
        // However much history there is, at most a twentieth of a core goes into it.
        let pause = pause.max(began.elapsed() * 20);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// Does what people ask for, one after the other.
pub(super) async fn commands_task(
    keeper: Arc<Keeper>,
    mut inbox: mpsc::Receiver<Command>,
    stop: CancellationToken,
) -> Result<(), ServiceError> {
    loop {
        let command = tokio::select! {
            command = inbox.recv() => command,
            () = stop.cancelled() => return Ok(()),
        };
        let Some(command) = command else {
            stop.cancelled().await;
            return Ok(());
        };
        let keeper = Arc::clone(&keeper);
        tokio::task::spawn_blocking(move || obey(&keeper, command)).await?;
    }
}

/// Whoever asked may be gone; then nobody reads the answer.
fn obey(keeper: &Keeper, command: Command) {
    match command {
        Command::AcceptCandidate {
            name,
            decision,
            reply,
        } => answer(reply, keeper.accept(&name, decision)),
        Command::RejectCandidate {
            name,
            decision,
            reply,
        } => answer(reply, keeper.reject(&name, decision)),
        Command::ListSlos { reply } => answer(reply, keeper.slos()),
        Command::ShowSlo { name, reply } => answer(reply, keeper.slo(&name)),
        Command::ListIncidents { reply } => answer(reply, keeper.incidents()),
        Command::ShowIncident { id, reply } => answer(reply, keeper.incident(id)),
        Command::ConfirmIncident { id, said, reply } => {
            answer(reply, keeper.confirm_incident(id, said));
        }
        Command::ListTransitions {
            since,
            limit,
            reply,
        } => answer(reply, keeper.transitions(since, limit)),
        Command::FollowTransitions {
            cursor,
            limit,
            reply,
        } => answer(reply, keeper.transitions_after(cursor, limit)),
    }
}

fn answer<T>(reply: Reply<T>, result: Result<T, StoreError>) {
    drop(reply.send(result.map_err(refusal)));
}

fn refusal(error: StoreError) -> CommandError {
    if matches!(error, StoreError::NoIncident { .. }) {
        return CommandError::Missing(error.to_string());
    }
    let StoreError::Decision(decision) = error else {
        return CommandError::Failed(error.to_string());
    };
    match decision {
        DecisionError::NotFound { .. } => CommandError::NotFound,
        DecisionError::AlreadyAdopted { .. } => CommandError::AlreadyAdopted,
        DecisionError::Complement { .. } => CommandError::Invalid(decision.to_string()),
    }
}

fn log_failure<T>(action: &str, result: Result<T, StoreError>) {
    if let Err(error) = result {
        tracing::error!(%error, "Cannot {action}; trying again.");
    }
}
