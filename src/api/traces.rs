//! `GET /api/v1/traces` and `/api/v1/traces/{id}`: the whole traces that are kept. They are a sample.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::Shared;
use super::http::{error, internal, json};
use crate::evaluator::verdict::timestamp;
use crate::model::NANOS_PER_SEC;
use crate::model::span::Outcome;
use crate::model::trace::Completeness;
use crate::trace::buffer::{Reason, TraceBuffer, TraceSummary};
use crate::trace::render::{otlp_json, tree_text};

/// Traces in an answer that does not say how many.
const DEFAULT_LIMIT: usize = 100;

/// Traces in an answer at most.
const MAX_LIMIT: usize = 1_000;

/// Which traces; what is left out does not matter.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Filter {
    /// A service that has a span in it.
    service: Option<String>,
    /// The operation of an entry span in it.
    operation: Option<String>,
    /// Whether a span of it failed.
    error: Option<bool>,
    #[serde(with = "humantime_serde::option")]
    min_duration: Option<Duration>,
    #[serde(with = "humantime_serde::option")]
    max_duration: Option<Duration>,
    /// A version that has a span in it: of `service`, if that is said.
    version: Option<String>,
    /// Whether all of it is there.
    complete: Option<bool>,
    sort: Sort,
    limit: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sort {
    #[default]
    Newest,
    Slowest,
}

impl Filter {
    fn selects(&self, trace: &TraceSummary) -> bool {
        let duration = Duration::from_nanos(trace.duration_nanos);
        let is_of_service =
            |name: &str| self.service.as_ref().is_none_or(|wanted| *wanted == *name);
        let is_of_version = |version: &str| {
            self.version
                .as_ref()
                .is_none_or(|wanted| *wanted == *version)
        };
        let mut services = trace.services.iter();
        services.any(|(service, version)| is_of_service(&service.name) && is_of_version(version))
            && self.operation.as_ref().is_none_or(|wanted| {
                let mut entries = trace.entries.iter();
                *wanted == *trace.operation || entries.any(|entry| *wanted == *entry.operation)
            })
            && self
                .error
                .is_none_or(|wanted| wanted == (trace.failed_spans > 0))
            && self.min_duration.is_none_or(|least| duration >= least)
            && self.max_duration.is_none_or(|most| duration <= most)
            && self
                .complete
                .is_none_or(|wanted| wanted == (trace.completeness == Completeness::Complete))
    }
}

#[derive(Serialize)]
struct Traces {
    /// In the order that was asked for.
    traces: Vec<TraceView>,
    /// All that the filter selects, of those that are kept.
    matched: usize,
    /// The share of all traces that is kept by its id.
    sampled_ratio: f64,
}

/// A trace as the API tells it.
#[derive(Serialize)]
struct TraceView {
    trace_id: Box<str>,
    service: String,
    operation: Box<str>,
    start: Timestamp,
    duration_secs: f64,
    spans: usize,
    failed_spans: usize,
    outcome: Outcome,
    /// Why it is kept.
    reason: Reason,
    /// What is missing, or may be; null if nothing is.
    incomplete: Option<String>,
    services: Vec<ServiceView>,
}

#[derive(Serialize)]
struct ServiceView {
    service: String,
    version: Option<Box<str>>,
}

impl TraceView {
    fn new(trace: &TraceSummary) -> Self {
        let services = trace.services.iter().map(|(service, version)| ServiceView {
            service: service.name.to_string(),
            version: (!version.is_empty()).then(|| version.clone()),
        });
        Self {
            trace_id: trace.trace_id.clone(),
            service: trace.service.name.to_string(),
            operation: trace.operation.clone(),
            start: timestamp(trace.start),
            duration_secs: trace.duration_nanos as f64 / NANOS_PER_SEC as f64,
            spans: trace.spans,
            failed_spans: trace.failed_spans,
            outcome: trace.outcome,
            reason: trace.reason,
            incomplete: match &trace.completeness {
                Completeness::Complete => None,
                Completeness::Incomplete(why) => Some(why.clone()),
            },
            services: services.collect(),
        }
    }
}

/// The traces that are kept, in short.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Response, Response> {
    let Query(filter) =
        filter.map_err(|rejection| error(StatusCode::BAD_REQUEST, &rejection.body_text()))?;
    let buffer = buffer(&shared)?;
    Ok(json(move || serde_json::to_vec(&select(&buffer, &filter))).await)
}

fn select(buffer: &TraceBuffer, filter: &Filter) -> Traces {
    let mut traces = buffer.summaries();
    traces.retain(|trace| filter.selects(trace));
    match filter.sort {
        Sort::Newest => traces.sort_by_key(|trace| Reverse((trace.start, trace.trace_id.clone()))),
        Sort::Slowest => {
            traces.sort_by_key(|trace| Reverse((trace.duration_nanos, trace.trace_id.clone())));
        }
    }
    let limit = filter.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let shown = traces.iter().take(limit);
    Traces {
        traces: shown.map(|trace| TraceView::new(trace)).collect(),
        matched: traces.len(),
        sampled_ratio: buffer.counts().sampled_ratio,
    }
}

/// How a trace is to be shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Shape {
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// OTLP/JSON.
    #[default]
    Otlp,
    /// Text for people.
    Tree,
}

/// One trace, whole.
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    shape: Result<Query<Shape>, QueryRejection>,
) -> Result<Response, Response> {
    let Query(shape) =
        shape.map_err(|rejection| error(StatusCode::BAD_REQUEST, &rejection.body_text()))?;
    let buffer = buffer(&shared)?;
    let body = spawn_blocking(move || {
        let trace = buffer.trace(&id.to_ascii_lowercase())?;
        Some(match shape.format {
            Format::Otlp => ("application/json", otlp_json(&trace).to_string()),
            Format::Tree => ("text/plain; charset=utf-8", tree_text(&trace)),
        })
    });
    match body.await {
        Ok(Some((content_type, body))) => {
            Ok(([(header::CONTENT_TYPE, content_type)], body).into_response())
        }
        Ok(None) => {
            let text = "no trace with this id is kept: traces are a sample, and the oldest ones go; \
                        GET /api/v1/traces lists those that are there";
            Err(error(StatusCode::NOT_FOUND, text))
        }
        Err(failure) => Err(internal(&failure)),
    }
}

#[expect(clippy::result_large_err, reason = "an answer, made once a request")]
fn buffer(shared: &Shared) -> Result<Arc<TraceBuffer>, Response> {
    shared.state.traces.clone().ok_or_else(|| {
        let text = "no whole traces are kept: trace_buffer.enabled is false";
        error(StatusCode::NOT_FOUND, text)
    })
}
