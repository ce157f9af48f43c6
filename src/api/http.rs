//! The HTTP routes. Answers are JSON, errors are `{"error": "…"}`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, http};
use serde::Serialize;
use tokio::task::spawn_blocking;
use tonic::Status;

use super::verdict::{self, Question};
use super::{
    Shared, candidates, flagger, incidents, kayenta, metrics, openapi, overview, query, store,
    topology, traces,
};
use crate::model::recommendation::TelemetryRecommendation;
use crate::model::report::{CompositeStatus, ObjectiveStatus, Report, VerdictReport};
use crate::model::sampling::SamplingPlan;

/// The overview loads nothing and runs nothing.
pub(super) const OVERVIEW_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";

/// All HTTP routes; gRPC services are added beside them.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(overview_page))
        .route("/metrics", get(metrics::page))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/api/v1/report", get(report))
        .route("/api/v1/services", get(services))
        .route("/api/v1/slos", get(slos))
        .route("/api/v1/candidates", get(list_candidates))
        .route("/api/v1/tests", get(tests))
        .route("/api/v1/sampling", get(sampling))
        .route("/api/v1/coverage", get(coverage))
        // A path segment is captured whole: the verb behind the colon is split off by the handler.
        .route(
            "/api/v1/candidates/{name_and_verb}",
            post(candidates::post).layer(DefaultBodyLimit::max(candidates::MAX_DECISION_BYTES)),
        )
        .route("/api/v1/traces", get(traces::list))
        .route("/api/v1/traces/{id}", get(traces::show))
        .route("/api/v1/incidents", get(incidents::list))
        .route(
            "/api/v1/incidents/{id}",
            get(incidents::show)
                .post(incidents::confirm)
                .layer(DefaultBodyLimit::max(incidents::MAX_CONFIRMATION_BYTES)),
        )
        .route("/api/v1/store", get(store::list))
        .route("/api/v1/store/{name}", get(store::show))
        .route("/api/v1/topology", get(topology::show))
        .route("/api/v1/transitions", get(store::transitions))
        .route("/api/v1/verdict", get(verdict))
        .route("/api/openapi.json", get(openapi::show))
        .route(
            "/api/v1/flagger/{hook}",
            post(flagger::post).layer(DefaultBodyLimit::max(flagger::MAX_HOOK_BYTES)),
        )
        .route(
            "/api/v1/query",
            get(query::instant)
                .post(query::instant_form)
                .layer(DefaultBodyLimit::max(query::MAX_FORM_BYTES)),
        )
        .route(
            "/api/v1/query_range",
            get(query::range)
                .post(query::range_form)
                .layer(DefaultBodyLimit::max(query::MAX_FORM_BYTES)),
        )
        .route("/api/v1/kayenta/canaryConfig", get(kayenta::configs))
        // Kayenta has the id of a configuration and that of an analysis in the same place.
        .route(
            "/api/v1/kayenta/canary/{id}",
            get(kayenta::show)
                .post(kayenta::begin)
                .layer(DefaultBodyLimit::max(kayenta::MAX_ANALYSIS_BYTES)),
        )
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .with_state(shared)
}

/// An error answer.
pub(super) fn error(status: StatusCode, text: &str) -> Response {
    (status, Json(BTreeMap::from([("error", text)]))).into_response()
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    if *shared.state.ready.borrow() {
        "ready\n".into_response()
    } else {
        let text = "not ready: state is being restored, or a receiver is not bound yet\n";
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    }
}

async fn overview_page(State(shared): State<Arc<Shared>>) -> Response {
    let report = shared.report();
    let graph = shared.state.advice.borrow().topology.clone();
    let page = spawn_blocking(move || {
        let overview = overview::Overview {
            report: report.as_deref(),
            graph: graph.as_deref(),
        };
        overview.to_string()
    })
    .await;
    match page {
        Ok(page) => {
            let policy = [(header::CONTENT_SECURITY_POLICY, OVERVIEW_POLICY)];
            (policy, Html(page)).into_response()
        }
        Err(failure) => internal(&failure),
    }
}

async fn report(State(shared): State<Arc<Shared>>) -> Response {
    encode(&shared, serde_json::to_vec).await
}

async fn services(State(shared): State<Arc<Shared>>) -> Response {
    encode(&shared, |report| list("services", &report.services)).await
}

async fn slos(State(shared): State<Arc<Shared>>) -> Response {
    encode(&shared, |report| {
        serde_json::to_vec(&Slos {
            slos: &report.baseline_evaluations,
            composites: &report.composites,
        })
    })
    .await
}

#[derive(Serialize)]
struct Slos<'a> {
    slos: &'a [ObjectiveStatus],
    /// They gate in place of their members, which stand in `slos`.
    composites: &'a [CompositeStatus],
}

/// The results of trace tests; null while no suites are configured.
async fn tests(State(shared): State<Arc<Shared>>) -> Response {
    encode(&shared, |report| serde_json::to_vec(&report.test_results)).await
}

#[derive(Serialize)]
struct Sampling<'a> {
    /// Null while there is none: everything is sampled.
    plan: Option<&'a SamplingPlan>,
    telemetry_recommendation: Option<&'a TelemetryRecommendation>,
}

/// The plan that senders follow now, which may be newer than the report's.
async fn sampling(State(shared): State<Arc<Shared>>) -> Response {
    let plan = shared.state.advice.borrow().sampling.clone();
    let report = shared.report();
    json(move || {
        let recommendation = report.as_ref();
        serde_json::to_vec(&Sampling {
            plan: plan.as_deref(),
            telemetry_recommendation: recommendation
                .and_then(|report| report.telemetry_recommendation.as_deref()),
        })
    })
    .await
}

/// Coverage and instrumentation; null while the adapter is off, and before it found anything.
async fn coverage(State(shared): State<Arc<Shared>>) -> Response {
    encode(&shared, |report| serde_json::to_vec(&report.coverage)).await
}

async fn list_candidates(State(shared): State<Arc<Shared>>) -> Response {
    encode(&shared, |report| list("candidates", &report.slo_candidates)).await
}

/// `{"<name>": [...]}`: an object, so that later facts find a place beside the list.
fn list<T: Serialize>(name: &str, items: &[T]) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&BTreeMap::from([(name, items)]))
}

/// Encodes a part of the newest report on a blocking thread: with thousands of series it is
/// megabytes.
async fn encode<F>(shared: &Shared, encode: F) -> Response
where
    F: FnOnce(&Report) -> serde_json::Result<Vec<u8>> + Send + 'static,
{
    let Some(report) = shared.report() else {
        let text = "the first evaluation has not finished yet";
        return error(StatusCode::SERVICE_UNAVAILABLE, text);
    };
    json(move || encode(&report)).await
}

/// An answer that is encoded on a blocking thread.
pub(super) async fn json(
    encode: impl FnOnce() -> serde_json::Result<Vec<u8>> + Send + 'static,
) -> Response {
    match spawn_blocking(encode).await {
        Ok(Ok(json)) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Ok(Err(failure)) => internal(&failure),
        Err(failure) => internal(&failure),
    }
}

pub(super) fn internal(failure: &dyn std::error::Error) -> Response {
    tracing::error!(%failure, "an answer could not be encoded");
    error(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the answer could not be encoded",
    )
}

/// 200 with a verdict whatever is asked; 400 only where a parameter is unknown or comes twice.
async fn verdict(
    State(shared): State<Arc<Shared>>,
    question: Result<Query<Question>, QueryRejection>,
) -> Result<Json<VerdictReport>, Response> {
    let Query(question) =
        question.map_err(|rejection| error(StatusCode::BAD_REQUEST, &rejection.body_text()))?;
    Ok(Json(verdict::ask(&shared, question).await))
}

/// Why a request that changes something is refused, if it comes from another site's page.
pub(super) fn refuse_another_site(uri: &Uri, headers: &HeaderMap) -> Option<Response> {
    let text = "this request comes from another site's page and changes something";
    from_another_site(uri, headers).then(|| error(StatusCode::FORBIDDEN, text))
}

/// Browsers say in `Origin` which page sends a POST, and let any page send one to the loopback
/// interface. Other clients do not send the header.
pub(super) fn from_another_site(uri: &Uri, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
    let own = host.or_else(|| uri.authority().map(Authority::as_str).map(str::as_bytes));
    let page = origin.as_bytes();
    let page = [&b"http://"[..], b"https://"]
        .into_iter()
        .find_map(|scheme| page.strip_prefix(scheme));
    page.is_none() || page != own
}

/// Every route there is.
fn hints() -> String {
    let hints: Vec<String> = openapi::ROUTES.iter().map(ToString::to_string).collect();
    hints.join(", ")
}

/// JSON for people, and the status that gRPC clients understand for services we do not have.
async fn unknown_route(uri: Uri, headers: HeaderMap) -> Response {
    let content_type = headers.get(header::CONTENT_TYPE);
    if content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc")) {
        let text = format!("no gRPC method {}", uri.path());
        let response: http::Response<tonic::body::Body> = Status::unimplemented(text).into_http();
        return response.map(axum::body::Body::new);
    }
    let text = format!("no route {}; there are: {}", uri.path(), hints());
    error(StatusCode::NOT_FOUND, &text)
}

async fn unknown_method(method: Method, uri: Uri) -> Response {
    let text = format!(
        "{} does not take {method}; there are: {}",
        uri.path(),
        hints()
    );
    error(StatusCode::METHOD_NOT_ALLOWED, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(origin: Option<&'static str>, host: Option<&'static str>, uri: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in [(header::ORIGIN, origin), (header::HOST, host)] {
            if let Some(value) = value {
                headers.insert(name, value.parse().unwrap());
            }
        }
        from_another_site(&Uri::from_static(uri), &headers)
    }

    #[test]
    fn only_a_page_of_another_site_is_refused() {
        let path = "/api/v1/candidates/a:accept";
        assert!(!check(None, Some("127.0.0.1:9464"), path));
        assert!(!check(
            Some("http://localhost:9464"),
            Some("localhost:9464"),
            path
        ));
        assert!(check(
            Some("https://evil.example"),
            Some("localhost:9464"),
            path
        ));
        assert!(check(
            Some("http://localhost:8080"),
            Some("localhost:9464"),
            path
        ));
        assert!(check(Some("null"), Some("localhost:9464"), path));
        // HTTP/2 carries the host in the request's target.
        let target = "http://localhost:9464/api/v1/candidates/a:accept";
        assert!(!check(Some("http://localhost:9464"), None, target));
        assert!(check(Some("http://evil.example"), None, target));
    }
}
