//! `POST /api/v1/candidates/{name}:accept|reject`: a person decides; the evaluator's task executes.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::oneshot;

use super::http::error;
use super::{Command, CommandError, Shared};

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
) -> Response {
    if from_another_site(&uri, &headers) {
        let text = "this request comes from another site's page and changes something";
        return error(StatusCode::FORBIDDEN, text);
    }
    let answer = match name_and_verb.rsplit_once(':') {
        Some((name, "accept")) => accept(&shared, name.to_owned()).await,
        Some((name, "reject")) => reject(&shared, name.to_owned()).await,
        _ => {
            let text = "write the name of the candidate, then :accept or :reject";
            return error(StatusCode::NOT_FOUND, text);
        }
    };
    answer.unwrap_or_else(|refusal| {
        let status = match &refusal {
            Refusal::Command(CommandError::NotFound) => StatusCode::NOT_FOUND,
            Refusal::Command(CommandError::AlreadyAdopted) => StatusCode::CONFLICT,
            Refusal::Command(CommandError::Invalid(_)) => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::Stopped => StatusCode::SERVICE_UNAVAILABLE,
        };
        error(status, &refusal.to_string())
    })
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("the evaluator has stopped; the server is shutting down")]
    Stopped,
}

async fn accept(shared: &Shared, name: String) -> Result<Response, Refusal> {
    let (reply, answer) = oneshot::channel();
    send(shared, Command::AcceptCandidate { name, reply }).await?;
    let accepted = answer.await.map_err(|_| Refusal::Stopped)??;
    Ok(Json(accepted).into_response())
}

async fn reject(shared: &Shared, name: String) -> Result<Response, Refusal> {
    let (reply, answer) = oneshot::channel();
    let command = Command::RejectCandidate {
        name: name.clone(),
        reply,
    };
    send(shared, command).await?;
    answer.await.map_err(|_| Refusal::Stopped)??;
    let state = "rejected";
    Ok(Json(Rejected { name, state }).into_response())
}

async fn send(shared: &Shared, command: Command) -> Result<(), Refusal> {
    let sent = shared.state.commands.send(command).await;
    sent.map_err(|_| Refusal::Stopped)
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
