//! The admin endpoint: HTTP/1, HTTP/2 and gRPC on one port.
//!
//! It reads the newest report and hands commands to the evaluator's task; it calculates nothing
//! itself. Large answers are encoded on blocking threads, so that no receiver waits for a scrape.
//!
//! There is no authentication: the default binds the loopback interface, and whoever opens the port
//! decides who reaches it. Requests that change something are refused when a browser sends them
//! from another site's page.

mod candidates;
mod grpc;
mod http;
mod metrics;
mod overview;
pub mod proto;
#[cfg(test)]
mod tests;
mod verdict;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::serve::ListenerExt;
use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::model::report::Report;
use crate::model::slo::Objective;

/// Settings of the admin endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port of HTTP and gRPC. Default `127.0.0.1:9464`; port 0 binds a free one. Bind
    /// `0.0.0.0` so that a kubelet and Prometheus reach it; there is no authentication.
    pub endpoint: SocketAddr,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoint: SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)),
        }
    }
}

/// What the endpoint reads and whom it tells.
#[derive(Clone)]
pub struct ApiState {
    /// The newest report; `None` until the first evaluation has finished.
    pub reports: watch::Receiver<Option<Arc<Report>>>,
    /// Whether receivers are bound and state is restored: readiness of HTTP and of gRPC health.
    pub ready: watch::Receiver<bool>,
    /// Commands to the task that owns candidates and objectives.
    pub commands: mpsc::Sender<Command>,
    /// The self-telemetry, from [`crate::telemetry::install_metrics`].
    pub metrics: PrometheusHandle,
    /// When the service started: the time of verdicts given before the first report.
    pub started_at: Timestamp,
}

/// A change that a person asks for; executed by the evaluator's task.
#[derive(Debug)]
pub enum Command {
    /// Adopt the candidate with this name as an objective.
    AcceptCandidate {
        /// Name of the candidate.
        name: String,
        /// Takes the answer.
        reply: oneshot::Sender<Result<Accepted, CommandError>>,
    },
    /// Do not suggest the candidate with this name again.
    RejectCandidate {
        /// Name of the candidate.
        name: String,
        /// Takes the answer.
        reply: oneshot::Sender<Result<(), CommandError>>,
    },
}

/// A candidate that became an objective.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Accepted {
    /// The adopted objective.
    pub objective: Objective,
    /// What the person should know, for example that the candidate is provisional.
    pub warning: Option<String>,
}

/// Why a command was not executed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// HTTP 404.
    #[error("no candidate has this name")]
    NotFound,
    /// HTTP 409.
    #[error("the candidate is adopted already")]
    AlreadyAdopted,
    /// HTTP 422.
    #[error("{0}")]
    Invalid(String),
}

/// Why the endpoint could not be served.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The descriptors of our own protocol are unreadable: a broken build.
    #[error("gRPC reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The listener failed.
    #[error("admin endpoint: {0}")]
    Serve(#[from] std::io::Error),
}

/// What the handlers share.
struct Shared {
    state: ApiState,
    page: metrics::PageCache,
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
    shutdown: CancellationToken,
) -> Result<(), ApiError> {
    let ready = state.ready.clone();
    let shared = Arc::new(Shared {
        state,
        page: metrics::PageCache::default(),
    });
    let (reporter, health) = tonic_health::server::health_reporter();
    let guardrail = grpc::GuardrailService::new(Arc::clone(&shared), shutdown.clone());
    let app = tonic::service::Routes::from(http::router(shared))
        .add_service(proto::guardrail_server::GuardrailServer::new(guardrail))
        .add_service(health)
        .add_service(grpc::reflection()?)
        .into_axum_router();
    // Small gRPC answers must not wait for the acknowledgement of the one before.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
    });
    let server =
        axum::serve(listener, app).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let ((), served) = tokio::join!(grpc::report_health(reporter, ready, shutdown), async {
        server.await
    });
    Ok(served?)
}
