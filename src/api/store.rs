//! `GET /api/v1/store`, `/api/v1/store/{name}` and `/api/v1/transitions`: what the store knows of SLOs and changes.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ask::ask;
use super::http::{error, json};
use super::{Command, Shared};
use crate::evaluator::verdict::timestamp;
use crate::model::UnixNanos;
use crate::model::record::{SloList, Transition};
use crate::model::series::ServiceKey;

/// Transitions in an answer that does not say how many.
const DEFAULT_LIMIT: usize = 100;

/// Transitions in an answer at most.
const MAX_LIMIT: usize = 10_000;

/// Which transitions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichTransitions {
    /// RFC 3339; the newest ones if it is left out.
    since: Option<Timestamp>,
    /// The `sequence` of the last one that was seen, in place of `since`.
    after: Option<u64>,
    limit: Option<usize>,
}

/// A transition as the API tells it.
#[derive(Debug, Serialize)]
struct TransitionView {
    sequence: u64,
    at: Timestamp,
    kind: String,
    subject: String,
    service: Option<ServiceKey>,
    from: String,
    to: String,
    text: String,
}

#[derive(Debug, Serialize)]
struct Transitions {
    transitions: Vec<TransitionView>,
}

/// The SLOs with their histories, in the shape of the store's file.
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Response {
    match ask(&shared, |reply| Command::ListSlos { reply }).await {
        Ok(slos) => json(move || serde_json::to_vec(&SloList::new(slos))).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// One SLO with its history.
pub(super) async fn show(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Response {
    match ask(&shared, |reply| Command::ShowSlo { name, reply }).await {
        Ok(record) => Json(record).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

/// Changes of verdicts and objectives, the oldest first.
pub(super) async fn transitions(
    State(shared): State<Arc<Shared>>,
    question: Result<Query<WhichTransitions>, QueryRejection>,
) -> Response {
    let Query(WhichTransitions {
        since,
        after,
        limit,
    }) = match question {
        Ok(question) => question,
        Err(rejection) => return error(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if limit > MAX_LIMIT {
        let text = format!("`limit` is above {MAX_LIMIT}; ask again from the last `at` on");
        return error(StatusCode::BAD_REQUEST, &text);
    }
    let since = since.map(|at| UnixNanos::try_from(at.as_nanosecond()).unwrap_or(0));
    let asked = match (since, after) {
        (Some(_), Some(_)) => {
            let text = "`since` and `after` cannot both be asked for";
            return error(StatusCode::BAD_REQUEST, text);
        }
        (since, None) => {
            ask(&shared, |reply| Command::ListTransitions {
                since,
                limit,
                reply,
            })
            .await
        }
        (None, Some(cursor)) => {
            let page = ask(&shared, |reply| Command::FollowTransitions {
                cursor,
                limit,
                reply,
            });
            page.await.map(|page| page.transitions)
        }
    };
    match asked {
        Ok(transitions) => {
            let transitions = transitions.into_iter().map(view).collect();
            json(move || serde_json::to_vec(&Transitions { transitions })).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

fn view(transition: Transition) -> TransitionView {
    let Transition {
        sequence,
        at,
        kind,
        subject,
        service,
        from,
        to,
        text,
    } = transition;
    TransitionView {
        sequence,
        at: timestamp(at),
        kind,
        subject,
        service,
        from,
        to,
        text,
    }
}
