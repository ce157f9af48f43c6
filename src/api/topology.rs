//! `GET /api/v1/topology`: the service graph as JSON, SVG and DOT.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::task::spawn_blocking;

use super::Shared;
use super::http::{OVERVIEW_POLICY, error, internal, json};
use crate::exporter::topology::{dot, svg};

/// How it is to be shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Shape {
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Svg,
    Dot,
}

/// The newest graph.
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    shape: Result<Query<Shape>, QueryRejection>,
) -> Result<Response, Response> {
    let Query(shape) =
        shape.map_err(|rejection| error(StatusCode::BAD_REQUEST, &rejection.body_text()))?;
    let advice = shared.state.advice.borrow().clone();
    let Some(graph) = advice.topology else {
        return Err(missing(advice.states.contains_key("topology-rca")));
    };
    let draw = match shape.format {
        Format::Json => return Ok(json(move || serde_json::to_vec(&graph)).await),
        Format::Svg => spawn_blocking(move || ("image/svg+xml", svg(&graph))),
        Format::Dot => spawn_blocking(move || ("text/vnd.graphviz; charset=utf-8", dot(&graph))),
    };
    match draw.await {
        Ok((content_type, body)) => {
            let headers = [
                (header::CONTENT_TYPE, content_type),
                (header::CONTENT_SECURITY_POLICY, OVERVIEW_POLICY),
            ];
            Ok((headers, body).into_response())
        }
        Err(failure) => Err(internal(&failure)),
    }
}

fn missing(is_on: bool) -> Response {
    if is_on {
        let text = "the first evaluation has not finished yet";
        return error(StatusCode::SERVICE_UNAVAILABLE, text);
    }
    let text =
        "there is no service graph: adapters.topology.enabled or trace_buffer.enabled is false";
    error(StatusCode::NOT_FOUND, text)
}
