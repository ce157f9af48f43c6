//! `GET /api/v1/incidents`, `/api/v1/incidents/{id}` and `POST /api/v1/incidents/{id}:confirm`: what was seen, and what a person
//! says was its cause.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ask::ask;
use super::http::{error, json, refuse_another_site};
use super::{Command, Shared};
use crate::model::incident::{Confirmation, Incident};

/// Bytes of the largest body.
pub(super) const MAX_CONFIRMATION_BYTES: usize = 16 * 1024;

/// Characters of a name and of a text, which stay for good.
const MAX_NAME_CHARS: usize = 256;
const MAX_RESOLUTION_CHARS: usize = 4_096;

/// What a person says about an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// `service.name` of the cause, or what else it was.
    pub cause: String,
    /// How it was resolved.
    #[serde(default)]
    pub resolution: String,
    /// Who says so.
    #[serde(default)]
    pub by: Option<String>,
}

impl Said {
    /// With the time when it was said.
    pub fn at(self, at: Timestamp) -> Confirmation {
        Confirmation {
            cause: self.cause,
            resolution: self.resolution,
            by: self.by,
            at,
        }
    }
}

/// All incidents that are remembered.
#[derive(Debug, Serialize, Deserialize)]
pub struct IncidentList {
    /// The oldest first.
    pub incidents: Vec<Incident>,
}

/// All incidents, the oldest first.
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Response {
    match ask(&shared, |reply| Command::ListIncidents { reply }).await {
        Ok(incidents) => json(move || serde_json::to_vec(&IncidentList { incidents })).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// One incident.
pub(super) async fn show(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let Ok(id) = id.parse() else {
        let text = "an incident is asked for by its number; /api/v1/incidents lists all";
        return error(StatusCode::NOT_FOUND, text);
    };
    match ask(&shared, |reply| Command::ShowIncident { id, reply }).await {
        Ok(incident) => Json(incident).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

/// Notes what a person says.
pub(super) async fn confirm(
    State(shared): State<Arc<Shared>>,
    Path(id_and_verb): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(refusal) = refuse_another_site(&uri, &headers) {
        return refusal;
    }
    let id = id_and_verb
        .strip_suffix(":confirm")
        .and_then(|id| id.parse().ok());
    let Some(id) = id else {
        let text = "write the number of the incident, then :confirm";
        return error(StatusCode::NOT_FOUND, text);
    };
    let said = match said(&body) {
        Ok(said) => said,
        Err(text) => return error(StatusCode::BAD_REQUEST, &text),
    };
    let confirmed = ask(&shared, |reply| Command::ConfirmIncident {
        id,
        said,
        reply,
    });
    match confirmed.await {
        Ok(incident) => Json(incident).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

fn said(body: &[u8]) -> Result<Said, String> {
    let said: Said = serde_json::from_slice(body).map_err(|error| {
        format!(
            "the body is not {{\"cause\": SERVICE, \"resolution\": TEXT, \"by\": NAME}}: {error}"
        )
    })?;
    if said.cause.trim().is_empty() {
        return Err("`cause` is empty; name the service, or what else it was".to_owned());
    }
    let by = said.by.as_deref().unwrap_or_default();
    for (field, text, limit) in [
        ("cause", said.cause.as_str(), MAX_NAME_CHARS),
        ("by", by, MAX_NAME_CHARS),
        ("resolution", said.resolution.as_str(), MAX_RESOLUTION_CHARS),
    ] {
        if text.chars().count() > limit {
            return Err(format!("`{field}` is longer than {limit} characters"));
        }
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confirmation_names_a_cause_within_bounds_and_nothing_unknown() {
        let taken = said(br#"{"cause": "payment", "resolution": "rolled back", "by": "ada"}"#);
        assert_eq!(taken.unwrap().cause, "payment");
        let long = format!(r#"{{"cause": "{}"}}"#, "x".repeat(MAX_NAME_CHARS + 1));
        for (body, text) in [
            ("", "the body is not"),
            ("{}", "missing field `cause`"),
            (r#"{"cause": " "}"#, "`cause` is empty"),
            (r#"{"cause": "a", "why": "b"}"#, "unknown field `why`"),
            (long.as_str(), "`cause` is longer than 256"),
        ] {
            let refusal = said(body.as_bytes()).unwrap_err();
            assert!(refusal.contains(text), "{refusal}");
        }
    }
}
