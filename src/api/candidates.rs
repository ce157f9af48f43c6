//! `POST /api/v1/candidates/{name}:accept|reject`: a person decides; the evaluator's task executes.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::ask::{Refusal, ask};
use super::http::error;
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
    if from_another_site(&uri, &headers) {
        let text = "this request comes from another site's page and changes something";
        return error(StatusCode::FORBIDDEN, text);
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

/// Browsers say in `Origin` which page sends a POST, and let any page send one to the loopback
/// interface. Other clients do not send the header.
fn from_another_site(uri: &Uri, headers: &HeaderMap) -> bool {
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
