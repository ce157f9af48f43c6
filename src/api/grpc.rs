//! `slo_copilot.v1.Guardrail`, gRPC health and reflection.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic::{Request, Response, Status};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};

use super::Shared;
use super::proto::guardrail_server::{Guardrail, GuardrailServer};
use super::proto::{
    self, GetVerdictRequest, GetVerdictResponse, ListObjectivesRequest, ListObjectivesResponse,
    WatchVerdictsRequest, WatchVerdictsResponse,
};
use super::verdict::{Question, ask};
use super::watcher::{WAITING, Watcher};
use crate::model::slo::Objective;

/// Names that health is reported for: the server as a whole, and our service.
const HEALTH_NAMES: [&str; 2] = [
    "",
    <GuardrailServer<GuardrailService> as NamedService>::NAME,
];

/// Answers from the newest report.
pub(super) struct GuardrailService {
    shared: Arc<Shared>,
    shutdown: CancellationToken,
}

impl GuardrailService {
    pub(super) fn new(shared: Arc<Shared>, shutdown: CancellationToken) -> Self {
        Self { shared, shutdown }
    }
}

#[tonic::async_trait]
impl Guardrail for GuardrailService {
    type WatchVerdictsStream =
        Pin<Box<dyn Stream<Item = Result<WatchVerdictsResponse, Status>> + Send>>;

    async fn get_verdict(
        &self,
        request: Request<GetVerdictRequest>,
    ) -> Result<Response<GetVerdictResponse>, Status> {
        let GetVerdictRequest {
            service,
            version,
            window,
            namespace,
            environment,
        } = request.into_inner();
        let question = Question {
            service,
            namespace,
            environment,
            version,
            window,
        };
        let verdict = ask(&self.shared, question).await;
        Ok(Response::new(GetVerdictResponse {
            report: Some(proto::VerdictReport::from(&verdict)),
        }))
    }

    async fn watch_verdicts(
        &self,
        request: Request<WatchVerdictsRequest>,
    ) -> Result<Response<Self::WatchVerdictsStream>, Status> {
        let WatchVerdictsRequest {
            service,
            namespace,
            environment,
            since,
        } = request.into_inner();
        let question = Question {
            service,
            namespace,
            environment,
            ..Question::default()
        };
        let (out, messages) = mpsc::channel(WAITING);
        let watcher = Watcher {
            shared: Arc::clone(&self.shared),
            question,
            since,
            out,
        };
        tokio::spawn(watcher.run(self.shutdown.clone()));
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    async fn list_objectives(
        &self,
        request: Request<ListObjectivesRequest>,
    ) -> Result<Response<ListObjectivesResponse>, Status> {
        let request = request.into_inner();
        let report = self
            .shared
            .report()
            .ok_or_else(|| Status::unavailable("the first evaluation has not finished yet"))?;
        let statuses = report.baseline_evaluations.iter();
        let objectives: Vec<proto::ObjectiveStatus> = statuses
            .filter(|status| wanted(&request, &status.objective))
            .map(proto::ObjectiveStatus::from)
            .collect();
        let composites = report.composites.iter().filter(|composite| {
            let mut listed = objectives.iter();
            listed.any(|objective| objective.composite == composite.name)
        });
        Ok(Response::new(ListObjectivesResponse {
            composites: composites.map(proto::CompositeStatus::from).collect(),
            objectives,
            generated_at: Some(proto::timestamp(report.generated_at)),
        }))
    }
}

/// Whether the request lists the objective; what either leaves open matches.
fn wanted(request: &ListObjectivesRequest, objective: &Objective) -> bool {
    let place = |wanted: &str, said: Option<&str>| {
        wanted.is_empty() || said.is_none_or(|said| said == wanted)
    };
    (request.service.is_empty() || request.service == objective.service)
        && place(&request.namespace, objective.namespace.as_deref())
        && place(&request.environment, objective.environment.as_deref())
}

/// The reflection service, which knows our API and health.
pub(super) fn reflection()
-> Result<ServerReflectionServer<impl ServerReflection>, tonic_reflection::server::Error> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
}

/// Keeps gRPC health equal to readiness until shutdown; then says `NOT_SERVING` once more and ends
/// the streams of watchers.
pub(super) async fn report_health(
    mut reporter: HealthReporter,
    mut is_ready: watch::Receiver<bool>,
    shutdown: CancellationToken,
) {
    let mut watching = true;
    while !shutdown.is_cancelled() {
        let status = if *is_ready.borrow_and_update() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        set(&reporter, status).await;
        tokio::select! {
            () = shutdown.cancelled() => {}
            changed = is_ready.changed(), if watching => watching = changed.is_ok(),
        }
    }
    set(&reporter, ServingStatus::NotServing).await;
    for name in HEALTH_NAMES {
        reporter.clear_service_status(name).await;
    }
}

async fn set(reporter: &HealthReporter, status: ServingStatus) {
    for name in HEALTH_NAMES {
        reporter.set_service_status(name, status).await;
    }
}
