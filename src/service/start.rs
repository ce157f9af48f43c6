//! Starts the tasks of the service, those of one stage of the shutdown together.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::sampling::{self, Answers};
use crate::api::{self, ApiState, Command};
use crate::config::Config;
use crate::exporter;
use crate::forward::Forwarder;
use crate::model::report::Report;
use crate::notify::{Notifiers, TransitionLog};
use crate::pipeline::Pipeline;
use crate::receiver::intake::Intake;
use crate::receiver::{OtlpConfig, Receiver, otlp_grpc, otlp_http};
use crate::service::ServiceError;
use crate::service::endpoints::ServerListeners;
use crate::service::keeper::Keeper;
use crate::service::tasks::{
    candidates_task, checkpoint_task, commands_task, history_task, log_task,
};
use crate::telemetry::Transport;

/// An export that takes longer is given up and counted; the next report is the next attempt.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn start_receivers(
    (grpc, http): (TcpListener, TcpListener),
    config: &OtlpConfig,
    pipeline: &Arc<Pipeline>,
    intake: &Intake,
    stop: &CancellationToken,
) -> JoinSet<Result<(), ServiceError>> {
    let receiver = |transport| {
        Receiver::new(
            Arc::clone(pipeline),
            intake.clone(),
            config.clone(),
            transport,
        )
    };
    let (receiver_grpc, receiver_http) = (receiver(Transport::Grpc), receiver(Transport::Http));
    let mut receivers: JoinSet<Result<(), ServiceError>> = JoinSet::new();
    let drained = stop.clone().cancelled_owned();
    receivers.spawn(async move { Ok(otlp_grpc::serve(grpc, receiver_grpc, drained).await?) });
    let drained = stop.clone().cancelled_owned();
    receivers.spawn(async move {
        otlp_http::serve(http, receiver_http, drained).await;
        Ok(())
    });
    receivers
}

/// What people and senders ask, answered until the very end.
pub(super) fn start_servers(
    listeners: ServerListeners,
    api: ApiState,
    (config, answers): (&Config, Answers),
    stop: &CancellationToken,
) -> JoinSet<Result<(), ServiceError>> {
    let ServerListeners {
        admin,
        sampling_http,
        sampling_grpc,
    } = listeners;
    let idle = config.admin.idle_timeout;
    let mut servers = JoinSet::new();
    if let Some(listener) = sampling_http {
        let (config, answers) = (config.sampling_server.clone(), answers.clone());
        let ended = stop.clone();
        servers.spawn(async move {
            sampling::serve_http(listener, &config, answers, idle, ended).await;
            Ok(())
        });
    }
    if let Some(listener) = sampling_grpc {
        let (config, answers) = (config.sampling_server.clone(), answers.clone());
        let ended = stop.clone();
        servers.spawn(async move {
            sampling::serve_grpc(listener, &config, answers, idle, ended).await;
            Ok(())
        });
    }
    let ended = stop.clone();
    servers.spawn(async move { Ok(api::serve(admin, api, idle, ended).await?) });
    servers
}

/// What goes to the store and comes from it.
pub(super) fn start_keeping(
    keeper: &Arc<Keeper>,
    inbox: mpsc::Receiver<Command>,
    config: &Config,
    stop: &CancellationToken,
) -> JoinSet<Result<(), ServiceError>> {
    let mut tasks = JoinSet::new();
    tasks.spawn(history_task(Arc::clone(keeper), stop.clone()));
    let storage = &config.storage;
    tasks.spawn(checkpoint_task(
        Arc::clone(keeper),
        storage.clone(),
        stop.clone(),
    ));
    tasks.spawn(log_task(Arc::clone(keeper), storage.clone(), stop.clone()));
    let evaluator = config.evaluator.clone();
    tasks.spawn(candidates_task(Arc::clone(keeper), evaluator, stop.clone()));
    tasks.spawn(commands_task(Arc::clone(keeper), inbox, stop.clone()));
    tasks
}

/// One task for each exporter that is enabled; each ends after the last report.
pub(super) fn start_exporters(
    config: &Config,
    reports: &watch::Receiver<Option<Arc<Report>>>,
) -> JoinSet<Result<(), ServiceError>> {
    let rules = config.evaluator.limits();
    let mut exporters: JoinSet<Result<(), ServiceError>> = JoinSet::new();
    for exporter in exporter::build(&config.exporters, &config.output, &config.limits, rules) {
        let reports = reports.clone();
        exporters.spawn(async move {
            exporter::run(exporter, reports, EXPORT_TIMEOUT).await;
            Ok(())
        });
    }
    exporters
}

/// One task for each notifier, among the exporters.
pub(super) fn start_notifiers(
    tasks: &mut JoinSet<Result<(), ServiceError>>,
    notifiers: Notifiers,
    keeper: &Arc<Keeper>,
    reports: &watch::Receiver<Option<Arc<Report>>>,
    stop: &CancellationToken,
) {
    let log: Arc<dyn TransitionLog> = Arc::clone(keeper) as _;
    for notifier in notifiers.run(&log, &keeper.told(), reports, stop) {
        tasks.spawn(async move {
            notifier.await;
            Ok(())
        });
    }
}

/// What is left to forward has this part of `shutdown.deadline`: one over it.
const FORWARD_SHARE: u32 = 4;

/// The forwarder, which ends after the receivers.
pub(super) fn start_forwarder(
    tasks: &mut JoinSet<Result<(), ServiceError>>,
    forwarder: Option<Forwarder>,
    config: &Config,
    stop: &CancellationToken,
) {
    let Some(forwarder) = forwarder else {
        return;
    };
    let (stop, limit) = (stop.clone(), config.shutdown.deadline / FORWARD_SHARE);
    tasks.spawn(async move { Ok(forwarder.run(stop, limit).await?) });
}
