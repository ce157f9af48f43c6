//! `slo_copilot.v1.Guardrail`, gRPC health and reflection.

use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
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
use super::verdict::{Question, answer, ask};
use crate::model::report::VerdictReport;
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
        } = request.into_inner();
        let question = Question {
            service,
            namespace,
            environment,
            ..Question::default()
        };
        let (started_at, limits) = (self.shared.state.started_at, self.shared.state.limits);
        let news = WatchStream::new(self.shared.state.reports.clone())
            .map(move |report| answer(report.as_deref(), &question, started_at, limits))
            .scan(None, |last: &mut Option<VerdictReport>, verdict| {
                let is_news = last.as_ref().is_none_or(|last| differs(last, &verdict));
                let message = is_news.then(|| WatchVerdictsResponse {
                    report: Some(proto::VerdictReport::from(&verdict)),
                });
                *last = Some(verdict);
                ready(Some(message))
            })
            .filter_map(|message| ready(message.map(Ok)))
            .take_until(self.shutdown.clone().cancelled_owned());
        Ok(Response::new(Box::pin(news)))
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

/// Whether a watcher should hear of it: evidence and time change with every evaluation, and do not
/// count.
fn differs(last: &VerdictReport, next: &VerdictReport) -> bool {
    let said = |report: &VerdictReport| {
        let VerdictReport {
            verdict,
            ok,
            score,
            service,
            version,
            window,
            reasons,
            undecided,
            evidence: _,
            action,
            generated_at: _,
        } = report.clone();
        let subject = (service, version, window);
        (verdict, ok, score, subject, reasons, undecided, action)
    };
    said(last) != said(next)
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
