//! Jaeger's remote sampling: SDKs ask over HTTP or gRPC which share of their traces to send, every minute as a rule.
//!
//! Answers come from the newest plan. A service that no plan names is told to send all of its traces, and so is every service
//! while there is no plan: nothing is lost by a plan that is late.

pub mod jaeger;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use self::jaeger::sampling_manager_server::{SamplingManager, SamplingManagerServer};
use self::jaeger::{
    OperationSamplingStrategy, PerOperationSamplingStrategies, ProbabilisticSamplingStrategy,
    SamplingStrategyParameters, SamplingStrategyResponse, SamplingStrategyType,
};
use super::http::error;
use crate::clock::Clock;
use crate::incoming;
use crate::model::advice::Advice;
use crate::model::sampling::ServiceSampling;
use crate::telemetry::{SamplingCounters, Transport};
use crate::window::event::asked::Asked;

/// A question holds the name of one service.
const MAX_QUESTION_BYTES: usize = 64 << 10;

/// Section `sampling_server`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Over HTTP, as the SDKs for Go, JavaScript and Rust ask.
    pub http: ListenConfig,
    /// Over gRPC, as the SDK for Java asks.
    pub grpc: ListenConfig,
    /// Traces a second that each operation of each instance sends whatever its share. Default 0: what comes is the share that
    /// was asked for, and counts can be weighed by it. Jaeger's own default is one a minute, 0.0167.
    pub lower_bound_traces_per_second: f64,
}

/// One address of the sampling server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenConfig {
    /// Whether it listens.
    pub enabled: bool,
    /// Address and port; port 0 takes a free one.
    pub endpoint: SocketAddr,
}

impl Default for Config {
    fn default() -> Self {
        let off = |port| ListenConfig {
            enabled: false,
            endpoint: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        };
        Self {
            http: off(5778),
            grpc: off(14250),
            lower_bound_traces_per_second: 0.0,
        }
    }
}

impl Config {
    /// The key that is wrong, and why.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let bound = self.lower_bound_traces_per_second;
        if bound.is_finite() && bound >= 0.0 {
            Ok(())
        } else {
            Err((
                "sampling_server.lower_bound_traces_per_second",
                "must be 0 or more",
            ))
        }
    }
}

/// Where answers come from, and where they are noted.
#[derive(Clone)]
pub struct Answers {
    /// The newest plan is in it.
    pub advice: watch::Receiver<Advice>,
    /// Told each answer.
    pub asked: Arc<Asked>,
    /// When it was given.
    pub clock: Clock,
}

/// Answers the questions of one transport.
#[derive(Clone)]
struct Sampling {
    advice: watch::Receiver<Advice>,
    asked: Arc<Asked>,
    clock: Clock,
    lower_bound: f64,
    counters: SamplingCounters,
}

impl Sampling {
    fn new(config: &Config, answers: Answers, transport: Transport) -> Self {
        Self {
            advice: answers.advice,
            asked: answers.asked,
            clock: answers.clock,
            lower_bound: config.lower_bound_traces_per_second,
            counters: SamplingCounters::new(transport),
        }
    }

    fn answer(&self, service: &str) -> SamplingStrategyResponse {
        let plan = self.advice.borrow().sampling.clone();
        let own = plan.as_ref().and_then(|plan| plan.service(service));
        // Before the answer is on its way, since spans may come that follow it.
        self.asked.answered(service, own, self.clock.now());
        if let Some(own) = own {
            self.counters.plan.increment(1);
            strategy(own, self.lower_bound)
        } else {
            self.counters.full.increment(1);
            probabilistic(1.0)
        }
    }
}

fn share(ratio: f64) -> ProbabilisticSamplingStrategy {
    ProbabilisticSamplingStrategy {
        sampling_rate: ratio,
    }
}

fn probabilistic(ratio: f64) -> SamplingStrategyResponse {
    SamplingStrategyResponse {
        strategy_type: SamplingStrategyType::Probabilistic.into(),
        probabilistic_sampling: Some(share(ratio)),
        rate_limiting_sampling: None,
        operation_sampling: None,
    }
}

/// The plan of a service as clients read it: operations first, and the share of all others for clients that know no
/// operations.
fn strategy(own: &ServiceSampling, lower_bound: f64) -> SamplingStrategyResponse {
    let operations = own
        .operations
        .iter()
        .map(|known| OperationSamplingStrategy {
            operation: known.operation.clone(),
            probabilistic_sampling: Some(share(known.ratio)),
        });
    let needed = !own.operations.is_empty() || lower_bound > 0.0;
    SamplingStrategyResponse {
        operation_sampling: needed.then(|| PerOperationSamplingStrategies {
            default_sampling_probability: own.default_ratio,
            default_lower_bound_traces_per_second: lower_bound,
            per_operation_strategies: operations.collect(),
            default_upper_bound_traces_per_second: 0.0,
        }),
        ..probabilistic(own.default_ratio)
    }
}

/// Serves HTTP until `shutdown` is cancelled and the requests under way are answered.
pub async fn serve_http(
    listener: TcpListener,
    config: &Config,
    answers: Answers,
    idle: Duration,
    shutdown: CancellationToken,
) {
    let sampling = Sampling::new(config, answers, Transport::Http);
    // Jaeger's agent had it at the root, its collector below /api.
    let router = Router::new()
        .route("/", get(ask))
        .route("/sampling", get(ask))
        .route("/api/sampling", get(ask))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .with_state(sampling);
    incoming::serve(listener, router, idle, shutdown.cancelled_owned()).await;
}

/// Serves gRPC until `shutdown` is cancelled and the requests under way are answered.
pub async fn serve_grpc(
    listener: TcpListener,
    config: &Config,
    answers: Answers,
    idle: Duration,
    shutdown: CancellationToken,
) {
    let sampling = Sampling::new(config, answers, Transport::Grpc);
    let service =
        SamplingManagerServer::new(sampling).max_decoding_message_size(MAX_QUESTION_BYTES);
    let router = tonic::service::Routes::new(service).into_axum_router();
    incoming::serve(listener, router, idle, shutdown.cancelled_owned()).await;
}

/// `GET /sampling?service=NAME`. An empty name is one that no plan has.
async fn ask(
    State(sampling): State<Sampling>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Response {
    let mut services = parameters.iter().filter(|(key, _)| key == "service");
    let (Some((_, service)), None) = (services.next(), services.next()) else {
        sampling.counters.invalid.increment(1);
        let text = "name exactly one service, for example /sampling?service=checkout";
        return error(StatusCode::BAD_REQUEST, text);
    };
    Json(sampling.answer(service)).into_response()
}

async fn unknown(method: Method, uri: Uri) -> Response {
    let text = format!("no {method} {}; ask GET /sampling?service=NAME", uri.path());
    error(StatusCode::NOT_FOUND, &text)
}

#[tonic::async_trait]
impl SamplingManager for Sampling {
    async fn get_sampling_strategy(
        &self,
        request: Request<SamplingStrategyParameters>,
    ) -> Result<tonic::Response<SamplingStrategyResponse>, Status> {
        let answer = self.answer(&request.get_ref().service_name);
        Ok(tonic::Response::new(answer))
    }
}
