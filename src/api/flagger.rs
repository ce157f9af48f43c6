//! `POST /api/v1/flagger/{hook}`: the webhooks of a Flagger canary, answered by the verdict.
//!
//! Flagger takes 200 to 202 for yes and everything above for no, 204 included, and shows the body of a no in the canary's
//! events. So the answer is 200 or 412 with the reason as text; the `rollback` hook is asked the other way round, and 200
//! means *do roll back*. A request that cannot be read is 400, which is a no for every hook.
//!
//! A verdict that is inconclusive waits where waiting costs nothing (`confirm-*`), and does not count against the canary
//! where each no brings it nearer to its rollback (`pre-rollout`, `rollout`). `metadata.inconclusive` says otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use metrics::counter;
use serde::Deserialize;

use super::Shared;
use super::http::{error, from_another_site};
use super::verdict::{self, Question};
use crate::model::report::{Reason, Verdict, VerdictReport};
use crate::model::window::Window;
use crate::telemetry::{FLAGGER_EVENTS, FLAGGER_HOOKS};

/// Bytes of the largest body.
pub(super) const MAX_HOOK_BYTES: usize = 64 * 1024;

/// Reasons in an answer at most.
const LISTED_REASONS: usize = 5;

/// Characters of an event's message that the log keeps.
const LOGGED_CHARS: usize = 1_024;

/// What metadata may say.
const METADATA_KEYS: &str = "service, namespace, environment, version, window, inconclusive";

/// The webhooks of Flagger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hook {
    ConfirmRollout,
    PreRollout,
    Rollout,
    ConfirmTrafficIncrease,
    ConfirmPromotion,
    PostRollout,
    Rollback,
    Event,
}

impl Hook {
    const ALL: [Self; 8] = [
        Self::ConfirmRollout,
        Self::PreRollout,
        Self::Rollout,
        Self::ConfirmTrafficIncrease,
        Self::ConfirmPromotion,
        Self::PostRollout,
        Self::Rollback,
        Self::Event,
    ];

    /// As Flagger names its type, and as it stands in the path.
    const fn label(self) -> &'static str {
        match self {
            Self::ConfirmRollout => "confirm-rollout",
            Self::PreRollout => "pre-rollout",
            Self::Rollout => "rollout",
            Self::ConfirmTrafficIncrease => "confirm-traffic-increase",
            Self::ConfirmPromotion => "confirm-promotion",
            Self::PostRollout => "post-rollout",
            Self::Rollback => "rollback",
            Self::Event => "event",
        }
    }

    /// What an inconclusive verdict counts as, unless metadata says it.
    const fn inconclusive(self) -> Inconclusive {
        match self {
            // Flagger asks again, and nothing else happens.
            Self::ConfirmRollout | Self::ConfirmTrafficIncrease | Self::ConfirmPromotion => {
                Inconclusive::Fail
            }
            // A no counts as a failed check; a rollback needs a reason.
            Self::PreRollout | Self::Rollout | Self::PostRollout | Self::Rollback | Self::Event => {
                Inconclusive::Pass
            }
        }
    }

    /// Whether the answer is yes.
    fn approves(self, verdict: Verdict, inconclusive: Inconclusive) -> bool {
        let holds = match verdict {
            Verdict::Pass | Verdict::Warn => true,
            Verdict::Fail => false,
            Verdict::Inconclusive => inconclusive == Inconclusive::Pass,
        };
        match self {
            Self::Event => true,
            Self::Rollback => !holds,
            Self::ConfirmRollout
            | Self::PreRollout
            | Self::Rollout
            | Self::ConfirmTrafficIncrease
            | Self::ConfirmPromotion
            | Self::PostRollout => holds,
        }
    }
}

/// What an inconclusive verdict counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inconclusive {
    Pass,
    Fail,
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Approved,
    /// Yes, although too little is known. Flagger does not show why, so it is counted apart.
    Waived,
    Refused,
}

impl Answer {
    const fn label(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Waived => "waived",
            Self::Refused => "refused",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::Approved | Self::Waived => StatusCode::OK,
            Self::Refused => StatusCode::PRECONDITION_FAILED,
        }
    }
}

/// What Flagger sends. Later versions may send more.
#[derive(Debug, Deserialize)]
struct Payload {
    /// Name of the canary.
    name: String,
    /// Its Kubernetes namespace, which is no `service.namespace`.
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    phase: String,
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
}

/// Answers a webhook.
pub(super) async fn post(
    State(shared): State<Arc<Shared>>,
    Path(hook): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if from_another_site(&uri, &headers) {
        let text = "this request comes from another site's page";
        return error(StatusCode::FORBIDDEN, text);
    }
    let Some(hook) = Hook::ALL.into_iter().find(|known| known.label() == hook) else {
        let known = Hook::ALL.map(Hook::label).join(", ");
        let text = format!("no webhook `{hook}`; there are: {known}");
        return error(StatusCode::NOT_FOUND, &text);
    };
    match answer(&shared, hook, &body).await {
        Ok((answer, text)) => {
            count(hook, answer.label());
            let content_type = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            (answer.status(), content_type, text).into_response()
        }
        Err(text) => {
            count(hook, "invalid");
            error(StatusCode::BAD_REQUEST, &text)
        }
    }
}

/// The answer, and why.
async fn answer(shared: &Shared, hook: Hook, body: &[u8]) -> Result<(Answer, String), String> {
    let payload: Payload = serde_json::from_slice(body).map_err(|error| {
        format!(
            "the body is not what Flagger sends, {{\"name\", \"namespace\", \"phase\", \"checksum\", \"metadata\": {{TEXT: TEXT}}}}: {error}"
        )
    })?;
    if hook == Hook::Event {
        record(&payload);
        return Ok((Answer::Approved, "recorded\n".to_owned()));
    }
    let (question, inconclusive) = question(hook, payload)?;
    let report = verdict::ask(shared, question).await;
    let answer = match (hook.approves(report.verdict, inconclusive), report.verdict) {
        (true, Verdict::Inconclusive) => Answer::Waived,
        (true, Verdict::Pass | Verdict::Warn | Verdict::Fail) => Answer::Approved,
        (false, _) => Answer::Refused,
    };
    Ok((answer, explained(hook, &report, answer)))
}

/// What is asked, and what an inconclusive verdict counts as.
fn question(hook: Hook, payload: Payload) -> Result<(Question, Inconclusive), String> {
    let mut question = Question {
        service: payload.name,
        ..Question::default()
    };
    let mut inconclusive = hook.inconclusive();
    for (key, value) in payload.metadata.unwrap_or_default() {
        match key.as_str() {
            "service" => question.service = value,
            "namespace" => question.namespace = value,
            "environment" => question.environment = value,
            "version" => question.version = value,
            "window" => question.window = value,
            "inconclusive" => {
                inconclusive = match value.as_str() {
                    "pass" => Inconclusive::Pass,
                    "fail" => Inconclusive::Fail,
                    _ => {
                        return Err(format!(
                            "metadata.inconclusive is `{value}`: write pass or fail"
                        ));
                    }
                }
            }
            // A misspelt key would widen the question.
            _ => {
                return Err(format!(
                    "metadata has the key `{key}`; there are: {METADATA_KEYS}"
                ));
            }
        }
    }
    // Nothing is ever computed for it, so every hook that lets through what is not known would say yes for good.
    let mut windows = Window::ALL.into_iter();
    if !question.window.is_empty() && !windows.any(|window| window.label() == question.window) {
        return Err(format!(
            "metadata.window is `{}`; the windows held are {}",
            question.window,
            Window::ALL.map(Window::label).join(", ")
        ));
    }
    if question.service.is_empty() {
        return Err("`name` is empty, and metadata.service names no service".to_owned());
    }
    Ok((question, inconclusive))
}

/// The verdict in words, with its reasons.
fn explained(hook: Hook, report: &VerdictReport, answer: Answer) -> String {
    let service = report.service.as_ref().map_or("", |service| &*service.name);
    let consequence = match (report.verdict, hook, answer) {
        (Verdict::Inconclusive, Hook::Rollback, _)
        | (Verdict::Pass | Verdict::Warn | Verdict::Fail, ..) => "",
        (Verdict::Inconclusive, _, Answer::Refused) => ", so it waits",
        (Verdict::Inconclusive, _, Answer::Approved | Answer::Waived) => {
            ", which does not stop this hook"
        }
    };
    let verdict = report.verdict.label();
    let mut parts = vec![format!("{service}: {verdict}{consequence}")];
    let reasons: Vec<&Reason> = report.reasons.iter().chain(&report.undecided).collect();
    let listed = reasons.iter().take(LISTED_REASONS);
    parts.extend(listed.map(|reason| reason.text.clone()));
    let omitted = reasons.len().saturating_sub(LISTED_REASONS);
    if omitted > 0 {
        parts.push(format!("and {omitted} more"));
    }
    parts.join("; ") + "\n"
}

/// Writes an event of Flagger to the log.
fn record(payload: &Payload) {
    let of = |key| {
        let metadata = payload.metadata.as_ref();
        let text = metadata.and_then(|metadata| metadata.get(key));
        text.map_or("", String::as_str)
    };
    let kind = match of("eventType") {
        "Normal" => "normal",
        "Warning" => "warning",
        _ => "other",
    };
    counter!(FLAGGER_EVENTS, "type" => kind).increment(1);
    let message: String = of("eventMessage").chars().take(LOGGED_CHARS).collect();
    let Payload {
        name,
        namespace,
        phase,
        ..
    } = payload;
    tracing::info!(canary = ?name, ?namespace, ?phase, kind, event = ?message, "Flagger told an event.");
}

fn count(hook: Hook, answer: &'static str) {
    counter!(FLAGGER_HOOKS, "hook" => hook.label(), "answer" => answer).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hook_has_its_answer_to_each_verdict() {
        use Verdict::{Fail, Inconclusive as Open, Pass, Warn};
        for (hook, yes) in [
            (Hook::ConfirmRollout, vec![Pass, Warn]),
            (Hook::PreRollout, vec![Pass, Warn, Open]),
            (Hook::Rollout, vec![Pass, Warn, Open]),
            (Hook::ConfirmTrafficIncrease, vec![Pass, Warn]),
            (Hook::ConfirmPromotion, vec![Pass, Warn]),
            (Hook::PostRollout, vec![Pass, Warn, Open]),
            (Hook::Rollback, vec![Fail]),
            (Hook::Event, vec![Pass, Warn, Fail, Open]),
        ] {
            for verdict in Verdict::ALL {
                let approves = hook.approves(verdict, hook.inconclusive());
                assert_eq!(approves, yes.contains(&verdict), "{hook:?} {verdict:?}");
            }
        }
        // A rollback for want of data must be asked for.
        assert!(Hook::Rollback.approves(Open, Inconclusive::Fail));
        assert!(!Hook::Rollout.approves(Open, Inconclusive::Fail));
        assert!(Hook::ConfirmPromotion.approves(Open, Inconclusive::Pass));
    }

    fn asked(hook: Hook, body: &str) -> Result<(Question, Inconclusive), String> {
        question(hook, serde_json::from_str(body).unwrap())
    }

    #[test]
    fn the_canarys_name_is_the_service_unless_metadata_names_one() {
        let plain = r#"{"name": "checkout", "namespace": "shop", "phase": "Progressing", "checksum": "85d557f47b"}"#;
        let (question, inconclusive) = asked(Hook::Rollout, plain).unwrap();
        let wanted = Question {
            service: "checkout".to_owned(),
            ..Question::default()
        };
        assert_eq!((question, inconclusive), (wanted, Inconclusive::Pass));
        let full = r#"{"name": "podinfo", "metadata": {"service": "checkout", "namespace": "shop", "environment": "production", "version": "2.0", "window": "5m", "inconclusive": "fail"}}"#;
        let (question, inconclusive) = asked(Hook::Rollout, full).unwrap();
        let wanted = Question {
            service: "checkout".to_owned(),
            namespace: "shop".to_owned(),
            environment: "production".to_owned(),
            version: "2.0".to_owned(),
            window: "5m".to_owned(),
        };
        assert_eq!((question, inconclusive), (wanted, Inconclusive::Fail));
    }

    #[test]
    fn metadata_that_is_not_understood_is_refused_with_the_keys_that_are() {
        for (body, words) in [
            (
                r#"{"name": "a", "metadata": {"serivce": "b"}}"#,
                "`serivce`",
            ),
            (
                r#"{"name": "a", "metadata": {"inconclusive": "maybe"}}"#,
                "write pass or fail",
            ),
            (
                r#"{"name": "a", "metadata": {"window": "7m"}}"#,
                "`7m`; the windows held are 5m, 30m",
            ),
            (r#"{"name": ""}"#, "`name` is empty"),
        ] {
            let refusal = asked(Hook::Rollout, body).unwrap_err();
            assert!(refusal.contains(words), "{refusal}");
        }
    }
}
