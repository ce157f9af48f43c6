//! `POST /api/v1/candidates/{name}:accept|reject`: a person decides; the evaluator's task executes.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::ask::{Refusal, ask};
use super::http::{error, refuse_another_site};
use super::{Command, Decision, Shared};

/// Bytes of the largest body.
pub(super) const MAX_DECISION_BYTES: usize = 16 * 1024;

/// Characters of a name and of a reason, which stay in the history for good.
const MAX_BY_CHARS: usize = 128;
const MAX_REASON_CHARS: usize = 1_024;

/// The answer to a rejection.
#[derive(Serialize)]
struct Rejected {
    name: String,
    state: &'static str,
}

/// Hands the decision on and waits for what became of it.
pub(super) async fn post(
    State(shared): State<Arc<Shared>>,
    Path(name_and_verb): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(refusal) = refuse_another_site(&uri, &headers) {
        return refusal;
    }
    let decision = match decision(&body) {
        Ok(decision) => decision,
        Err(text) => return error(StatusCode::BAD_REQUEST, &text),
    };
    let answer = match name_and_verb.rsplit_once(':') {
        Some((name, "accept")) => accept(&shared, name.to_owned(), decision).await,
        Some((name, "reject")) => reject(&shared, name.to_owned(), decision).await,
        _ => {
            let text = "write the name of the candidate, then :accept or :reject";
            return error(StatusCode::NOT_FOUND, text);
        }
    };
    answer.unwrap_or_else(IntoResponse::into_response)
}

/// An empty body says nothing about who and why.
fn decision(body: &[u8]) -> Result<Decision, String> {
    if body.is_empty() {
        return Ok(Decision::default());
    }
    let decision: Decision = serde_json::from_slice(body)
        .map_err(|error| format!("the body is not {{\"by\": NAME, \"reason\": TEXT}}: {error}"))?;
    for (field, text, limit) in [
        ("by", &decision.by, MAX_BY_CHARS),
        ("reason", &decision.reason, MAX_REASON_CHARS),
    ] {
        if text
            .as_ref()
            .is_some_and(|text| text.chars().count() > limit)
        {
            return Err(format!("`{field}` is longer than {limit} characters"));
        }
    }
    Ok(decision)
}

async fn accept(shared: &Shared, name: String, decision: Decision) -> Result<Response, Refusal> {
    let accepted = ask(shared, |reply| Command::AcceptCandidate {
        name,
        decision,
        reply,
    });
    Ok(Json(accepted.await?).into_response())
}

async fn reject(shared: &Shared, name: String, decision: Decision) -> Result<Response, Refusal> {
    let rejected = ask(shared, |reply| Command::RejectCandidate {
        name: name.clone(),
        decision,
        reply,
    });
    rejected.await?;
    let state = "rejected";
    Ok(Json(Rejected { name, state }).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_may_say_who_and_why_and_nothing_else() {
        assert_eq!(decision(b""), Ok(Decision::default()));
        let said = decision(br#"{"by": "ada", "reason": "agreed with payments"}"#).unwrap();
        assert_eq!(said.by.as_deref(), Some("ada"));
        assert_eq!(said.reason.as_deref(), Some("agreed with payments"));
        let long = format!(r#"{{"by": "{}"}}"#, "x".repeat(MAX_BY_CHARS + 1));
        for (body, text) in [
            (r#"{"who": "ada"}"#, "unknown field `who`"),
            ("accept", "the body is not"),
            (long.as_str(), "`by` is longer than 128"),
        ] {
            let refusal = decision(body.as_bytes()).unwrap_err();
            assert!(refusal.contains(text), "{refusal}");
        }
    }
}
