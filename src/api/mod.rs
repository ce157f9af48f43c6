//! The admin endpoint: HTTP/1, HTTP/2 and gRPC on one port.
//!
//! It reads the newest report and hands commands to the evaluator's task; it calculates nothing
//! itself. Large answers are encoded on blocking threads, so that no receiver waits for a scrape.
//!
//! There is no authentication: the default binds the loopback interface, and whoever opens the port
//! decides who reaches it. Requests that change something are refused when a browser sends them
//! from another site's page.

mod ask;
mod candidates;
mod flagger;
mod grpc;
mod http;
mod incidents;
mod kayenta;
mod metrics;
mod openapi;
mod overview;
pub mod proto;
mod query;
pub mod sampling;
mod store;
#[cfg(test)]
mod tests;
mod topology;
mod traces;
mod verdict;
mod watcher;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub use crate::api::incidents::{IncidentList, Said};
use crate::evaluator::burn_rate::Limits;
use crate::incoming;
use crate::model::UnixNanos;
use crate::model::advice::Advice;
use crate::model::incident::Incident;
use crate::model::record::{Accepted, Actor, Edit, SloRecord, Transition, TransitionPage};
use crate::model::report::Report;
use crate::trace::buffer::TraceBuffer;

/// Settings of the admin endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port of HTTP and gRPC. Default `127.0.0.1:9464`; port 0 binds a free one. Bind
    /// `0.0.0.0` so that a kubelet and Prometheus reach it; there is no authentication.
    pub endpoint: SocketAddr,
    /// A connection without a request for so long is closed, also those of `sampling_server`. Default 2m; at least 1s.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoint: SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)),
            idle_timeout: Duration::from_mins(2),
        }
    }
}

/// What the endpoint reads and whom it tells.
#[derive(Clone)]
pub struct ApiState {
    /// The newest report; `None` until the first evaluation has finished.
    pub reports: watch::Receiver<Option<Arc<Report>>>,
    /// Number of the last transition that was kept.
    pub told: watch::Receiver<u64>,
    /// Whole traces; `None` where `trace_buffer.enabled` is false.
    pub traces: Option<Arc<TraceBuffer>>,
    /// What the neighbours found last.
    pub advice: watch::Receiver<Advice>,
    /// Whether receivers are bound and state is restored: readiness of HTTP and of gRPC health.
    pub ready: watch::Receiver<bool>,
    /// Commands to the task that owns candidates and objectives.
    pub commands: mpsc::Sender<Command>,
    /// The self-telemetry, from [`crate::telemetry::install_metrics`].
    pub metrics: PrometheusHandle,
    /// When the service started: the time of verdicts given before the first report.
    pub started_at: Timestamp,
    /// The bounds of burn-rate rules, which verdicts over one window keep, too.
    pub limits: Limits,
    /// Executions of canary analyses that are kept; `limits.canary_executions`.
    pub canary_executions: usize,
}

/// What a person asks for; executed by the task that owns candidates and objectives.
#[derive(Debug)]
pub enum Command {
    /// Adopt the candidate with this name as an objective.
    AcceptCandidate {
        /// Name of the candidate.
        name: String,
        /// Who says so, and why.
        decision: Decision,
        /// Takes the answer.
        reply: Reply<Accepted>,
    },
    /// Do not suggest the candidate with this name again.
    RejectCandidate {
        /// Name of the candidate.
        name: String,
        /// Who says so, and why.
        decision: Decision,
        /// Takes the answer.
        reply: Reply<()>,
    },
    /// Tell the SLOs of the store with their histories.
    ListSlos {
        /// Takes the answer.
        reply: Reply<Vec<SloRecord>>,
    },
    /// Tell one SLO of the store.
    ShowSlo {
        /// Its name.
        name: String,
        /// Takes the answer.
        reply: Reply<SloRecord>,
    },
    /// Tell the incidents that are remembered.
    ListIncidents {
        /// Takes the answer.
        reply: Reply<Vec<Incident>>,
    },
    /// Tell one of them.
    ShowIncident {
        /// Its number.
        id: u64,
        /// Takes the answer.
        reply: Reply<Incident>,
    },
    /// Remember what a person says about one of them.
    ConfirmIncident {
        /// Its number.
        id: u64,
        /// What they say.
        said: Said,
        /// Takes the answer.
        reply: Reply<Incident>,
    },
    /// Tell what changed, the oldest first.
    ListTransitions {
        /// Only from this time on; the newest ones if it is not said.
        since: Option<UnixNanos>,
        /// At most so many.
        limit: usize,
        /// Takes the answer.
        reply: Reply<Vec<Transition>>,
    },
    /// Tell what changed after the transition of this number.
    FollowTransitions {
        /// Number of the last one that was seen.
        cursor: u64,
        /// At most so many.
        limit: usize,
        /// Takes the answer.
        reply: Reply<TransitionPage>,
    },
}

/// Takes the answer to a command.
pub type Reply<T> = oneshot::Sender<Result<T, CommandError>>;

/// Who decides about a candidate, and why: the optional body of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decision {
    /// Who; kept in the history.
    pub by: Option<String>,
    /// Why; kept in the history.
    pub reason: Option<String>,
}

impl From<&Edit> for Decision {
    fn from(edit: &Edit) -> Self {
        let by = match &edit.actor {
            Actor::Person { name } => name.clone(),
            Actor::Auto | Actor::Config | Actor::File | Actor::Import { .. } | Actor::Fit => None,
        };
        let reason = (!edit.text.is_empty()).then(|| edit.text.clone());
        Self { by, reason }
    }
}

/// Why a command was not executed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// HTTP 404.
    #[error("no candidate and no SLO has this name")]
    NotFound,
    /// HTTP 404, with what there is not.
    #[error("{0}")]
    Missing(String),
    /// HTTP 409.
    #[error("the candidate is adopted already")]
    AlreadyAdopted,
    /// HTTP 422.
    #[error("{0}")]
    Invalid(String),
    /// HTTP 500.
    #[error("{0}")]
    Failed(String),
}

/// Why the endpoint could not be served.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The descriptors of our own protocol are unreadable: a broken build.
    #[error("gRPC reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// What the handlers share.
struct Shared {
    state: ApiState,
    page: metrics::PageCache,
    executions: kayenta::Executions,
}

impl Shared {
    fn report(&self) -> Option<Arc<Report>> {
        self.state.reports.borrow().clone()
    }
}

/// Serves until `shutdown` is cancelled and the requests under way are answered; streams of
/// verdicts and of health end then.
///
/// A client that keeps another stream open can hold this up: the caller sets the deadline.
pub async fn serve(
    listener: TcpListener,
    state: ApiState,
    idle: Duration,
    shutdown: CancellationToken,
) -> Result<(), ApiError> {
    let ready = state.ready.clone();
    let executions = kayenta::Executions::new(state.canary_executions, state.started_at);
    let shared = Arc::new(Shared {
        state,
        executions,
        page: metrics::PageCache::default(),
    });
    let (reporter, health) = tonic_health::server::health_reporter();
    let guardrail = grpc::GuardrailService::new(Arc::clone(&shared), shutdown.clone());
    let app = tonic::service::Routes::from(http::router(shared))
        .add_service(proto::guardrail_server::GuardrailServer::new(guardrail))
        .add_service(health)
        .add_service(grpc::reflection()?)
        .into_axum_router();
    let ended = shutdown.clone().cancelled_owned();
    tokio::join!(
        grpc::report_health(reporter, ready, shutdown),
        incoming::serve(listener, app, idle, ended)
    );
    Ok(())
}
