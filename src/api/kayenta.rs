//! `/api/v1/kayenta/…`: three endpoints in the shape of Kayenta's, for controllers that know its API.
//!
//! A scope is `service@version`, or `service`, its region `deployment.environment.name`. The comparison of the two versions
//! answers; where the control has no version, the verdict of the version, or of the service, does. An analysis is complete once the
//! answer is conclusive or its interval is over. Its score then lies where the thresholds say what the verdict says;
//! between them where too little is known.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use metrics::{Counter, counter};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::http::{error, refuse_another_site};
use super::verdict::{self, Question};
use crate::evaluator::thresholds::Thresholds;
use crate::model::canary::CanaryReport;
use crate::model::report::{Report, Verdict};
use crate::telemetry::KAYENTA_DROPPED;

/// Bytes of the largest body.
pub(super) const MAX_ANALYSIS_BYTES: usize = 16 * 1024;

/// The only configuration there is: the objectives are adopted elsewhere.
const CONFIG: &str = "slo-copilot";

/// Characters of a scope or a region.
const MAX_NAME_CHARS: usize = 512;

/// What is analysed.
#[derive(Clone, Debug, PartialEq)]
struct Analysis {
    question: Question,
    /// The version to compare with; empty where any is.
    baseline: String,
    thresholds: Thresholds,
    /// Until when it may stay open.
    end: Option<Timestamp>,
}

/// What an analysis came to.
#[derive(Clone, Debug, PartialEq)]
struct Judgement {
    verdict: Verdict,
    score: f64,
    text: String,
    at: Timestamp,
}

#[derive(Debug)]
struct Execution {
    analysis: Analysis,
    /// Once there is one it stays.
    judgement: Option<Judgement>,
}

/// The analyses that were begun, the newest ones.
pub(super) struct Executions {
    limit: usize,
    /// Tells the analyses of this run from those of runs before.
    run: String,
    dropped: Counter,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    begun: u64,
    by_number: BTreeMap<u64, Execution>,
}

impl Executions {
    pub(super) fn new(limit: usize, started_at: Timestamp) -> Self {
        Self {
            limit: limit.max(1),
            run: format!("{:x}", started_at.as_nanosecond()),
            dropped: counter!(KAYENTA_DROPPED),
            held: Mutex::default(),
        }
    }

    /// Keeps an analysis; the oldest that is complete goes for it where there is no room, else the oldest.
    fn begin(&self, analysis: Analysis) -> String {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        while held.by_number.len() >= self.limit {
            let mut all = held.by_number.iter();
            let complete = all.find(|(_, execution)| execution.judgement.is_some());
            let oldest = complete.or_else(|| held.by_number.iter().next());
            let Some(number) = oldest.map(|(number, _)| *number) else {
                break;
            };
            held.by_number.remove(&number);
            self.dropped.increment(1);
        }
        held.begun += 1;
        let number = held.begun;
        let execution = Execution {
            analysis,
            judgement: None,
        };
        held.by_number.insert(number, execution);
        format!("{}-{number:x}", self.run)
    }

    fn number(&self, id: &str) -> Option<u64> {
        let (run, number) = id.rsplit_once('-')?;
        (run == self.run).then(|| u64::from_str_radix(number, 16).ok())?
    }

    /// The analysis and what it came to, if it has.
    fn find(&self, id: &str) -> Option<(Analysis, Option<Judgement>)> {
        let number = self.number(id)?;
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let execution = held.by_number.get(&number)?;
        Some((execution.analysis.clone(), execution.judgement.clone()))
    }

    /// Keeps what an analysis came to; what was told first holds.
    fn complete(&self, id: &str, judgement: Judgement) -> Judgement {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let execution = self
            .number(id)
            .and_then(|number| held.by_number.get_mut(&number));
        match execution {
            Some(execution) => execution.judgement.get_or_insert(judgement).clone(),
            None => judgement,
        }
    }
}

/// The body of a new analysis. Kayenta's clients may send more.
#[derive(Debug, Deserialize)]
struct Request {
    scopes: BTreeMap<String, ScopePair>,
    thresholds: RequestThresholds,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScopePair {
    control_scope: Scope,
    experiment_scope: Scope,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "they are the names of Kayenta")]
struct Scope {
    scope: String,
    region: String,
    end: String,
}

#[derive(Debug, Deserialize)]
struct RequestThresholds {
    pass: f64,
    marginal: f64,
}

impl Request {
    fn analysis(&self) -> Result<Analysis, String> {
        let mut scopes = self.scopes.values();
        let (Some(pair), None) = (scopes.next(), scopes.next()) else {
            let count = self.scopes.len();
            return Err(format!(
                "`scopes` has {count} entries: write one, named `default`"
            ));
        };
        let (control, experiment) = (&pair.control_scope, &pair.experiment_scope);
        for text in [
            &control.scope,
            &experiment.scope,
            &control.region,
            &experiment.region,
        ] {
            if text.chars().count() > MAX_NAME_CHARS {
                return Err(format!(
                    "a scope or a region is longer than {MAX_NAME_CHARS} characters"
                ));
            }
        }
        let (service, version) = service_and_version(&experiment.scope);
        let (old_service, baseline) = service_and_version(&control.scope);
        if service.is_empty() {
            return Err("experimentScope.scope is empty: write service@version".to_owned());
        }
        if !old_service.is_empty() && old_service != service {
            return Err(format!(
                "controlScope.scope names the service `{old_service}` and experimentScope.scope `{service}`: versions of \
                 one service are compared"
            ));
        }
        let RequestThresholds { pass, marginal } = self.thresholds;
        let thresholds = Thresholds::new(pass, marginal).map_err(|error| {
            format!("thresholds.pass {pass}, thresholds.marginal {marginal}: {error}")
        })?;
        let end = match experiment.end.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|error| {
                format!("experimentScope.end `{text}` is no RFC 3339 time: {error}")
            })?),
        };
        Ok(Analysis {
            question: Question {
                service: service.to_owned(),
                version: version.to_owned(),
                environment: experiment.region.clone(),
                ..Question::default()
            },
            baseline: baseline.to_owned(),
            thresholds,
            end,
        })
    }
}

/// The parts of `service@version`.
fn service_and_version(scope: &str) -> (&str, &str) {
    scope.rsplit_once('@').unwrap_or((scope, ""))
}

/// `GET /api/v1/kayenta/canaryConfig`: the one configuration, for any application.
pub(super) async fn configs(State(shared): State<Arc<Shared>>) -> Response {
    let at = shared.state.started_at;
    let config = json!({
        "id": CONFIG,
        "name": CONFIG,
        "updatedTimestamp": at.as_millisecond(),
        "updatedTimestampIso": at.to_string(),
        "applications": [],
    });
    Json([config]).into_response()
}

/// `POST /api/v1/kayenta/canary/{configId}`: begins an analysis.
pub(super) async fn begin(
    State(shared): State<Arc<Shared>>,
    Path(config): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(refusal) = refuse_another_site(&uri, &headers) {
        return refusal;
    }
    if config != CONFIG {
        let text = format!("no canary configuration `{config}`; there is `{CONFIG}`");
        return error(StatusCode::NOT_FOUND, &text);
    }
    let request: Result<Request, _> = serde_json::from_slice(&body);
    let request = request.map_err(|error| {
        format!(
            "the body is not {{\"scopes\": {{\"default\": {{\"controlScope\", \"experimentScope\"}}}}, \"thresholds\": \
             {{\"pass\", \"marginal\"}}}}: {error}"
        )
    });
    match request.and_then(|request| request.analysis()) {
        Ok(analysis) => {
            let id = shared.executions.begin(analysis);
            Json(json!({ "canaryExecutionId": id })).into_response()
        }
        Err(text) => error(StatusCode::BAD_REQUEST, &text),
    }
}

/// `GET /api/v1/kayenta/canary/{canaryExecutionId}`: how an analysis stands.
pub(super) async fn show(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let Some((analysis, judged)) = shared.executions.find(&id) else {
        let text = format!(
            "no canary analysis `{id}`: it was begun before a restart, or went for newer ones (limits.canary_executions)"
        );
        return error(StatusCode::NOT_FOUND, &text);
    };
    let judgement = match judged {
        Some(judgement) => Some(judgement),
        None => judge(&shared, &analysis)
            .await
            .map(|judgement| shared.executions.complete(&id, judgement)),
    };
    Json(told(&id, &analysis, judgement.as_ref())).into_response()
}

/// What the analysis comes to; `None` while it is open.
async fn judge(shared: &Shared, analysis: &Analysis) -> Option<Judgement> {
    let report = shared.report();
    let now = report
        .as_ref()
        .map_or(shared.state.started_at, |report| report.generated_at);
    let compared = report.and_then(|report| comparison(&report, analysis));
    let Analysis {
        question, baseline, ..
    } = analysis;
    let (verdict, score, text) = match compared {
        Some(found) => found,
        // The verdict of a version rests on its comparison with another one, which was not asked about.
        None if !baseline.is_empty() => {
            let version = &question.version;
            let text = format!("version `{version}` has not been compared with `{baseline}`");
            (Verdict::Inconclusive, None, text)
        }
        None => {
            let answer = verdict::ask(shared, question.clone()).await;
            let reasons = answer.reasons.iter().chain(&answer.undecided);
            let texts: Vec<&str> = reasons.map(|reason| reason.text.as_str()).collect();
            (answer.verdict, answer.score, texts.join("; "))
        }
    };
    let is_over = analysis.end.is_none_or(|end| end <= now);
    (verdict != Verdict::Inconclusive || is_over).then(|| Judgement {
        verdict,
        score: analysis.thresholds.score(verdict, score),
        text,
        at: now,
    })
}

/// What the comparison of the two versions found, if they are compared.
fn comparison(report: &Report, analysis: &Analysis) -> Option<(Verdict, Option<f64>, String)> {
    let Analysis {
        question, baseline, ..
    } = analysis;
    if question.version.is_empty() {
        return None;
    }
    let is_asked = |canary: &&CanaryReport| {
        question.selects(&canary.service)
            && canary.canary.version == question.version
            && (baseline.is_empty() || canary.baseline.version == *baseline)
    };
    let mut found = report.canaries.iter().filter(is_asked);
    let (Some(canary), None) = (found.next(), found.next()) else {
        return None;
    };
    Some((canary.verdict, canary.score, canary.text.clone()))
}

fn told(id: &str, analysis: &Analysis, judgement: Option<&Judgement>) -> Value {
    let mut body = json!({
        "pipelineId": id,
        "canaryExecutionId": id,
        "application": analysis.question.service,
        "canaryConfigId": CONFIG,
        "complete": judgement.is_some(),
        "status": if judgement.is_some() { "succeeded" } else { "running" },
    });
    if let (Some(judgement), Some(fields)) = (judgement, body.as_object_mut()) {
        let classification = match judgement.verdict {
            Verdict::Pass | Verdict::Warn => "Pass",
            Verdict::Inconclusive => "Marginal",
            Verdict::Fail => "Fail",
        };
        let result = json!({
            "application": analysis.question.service,
            "judgeResult": {
                "judgeName": CONFIG,
                "results": [],
                "groupScores": [],
                "score": {
                    "score": judgement.score,
                    "classification": classification,
                    "classificationReason": judgement.text,
                },
            },
            "didPassThresholds": judgement.verdict.is_ok(),
            "hasWarnings": judgement.verdict == Verdict::Warn,
            "lastUpdated": judgement.at.as_millisecond(),
            "lastUpdatedIso": judgement.at.to_string(),
        });
        fields.insert("result".to_owned(), result);
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(control: &str, experiment: &str, thresholds: &str) -> Result<Analysis, String> {
        let body = format!(
            r#"{{"scopes": {{"default": {{"controlScope": {control}, "experimentScope": {experiment}}}}}, "thresholds": {thresholds}}}"#
        );
        serde_json::from_str::<Request>(&body).unwrap().analysis()
    }

    #[test]
    fn a_scope_is_a_service_and_its_version_and_its_region_an_environment() {
        let analysis = request(
            r#"{"scope": "checkout@1.9", "region": "production", "step": 60, "start": "", "end": ""}"#,
            r#"{"scope": "checkout@2.0", "region": "production", "step": 60, "start": "2026-09-21T14:00:00Z", "end": "2026-09-21T15:00:00Z"}"#,
            r#"{"pass": 95, "marginal": 75}"#,
        )
        .unwrap();
        let question = Question {
            service: "checkout".to_owned(),
            version: "2.0".to_owned(),
            environment: "production".to_owned(),
            ..Question::default()
        };
        assert_eq!(analysis.question, question);
        assert_eq!(analysis.baseline, "1.9");
        assert_eq!(analysis.end, Some("2026-09-21T15:00:00Z".parse().unwrap()));
        let plain = request(
            "{}",
            r#"{"scope": "checkout"}"#,
            r#"{"pass": 95, "marginal": 75}"#,
        );
        let plain = plain.unwrap();
        assert_eq!((plain.question.version.as_str(), plain.end), ("", None));
    }

    #[test]
    fn what_cannot_be_analysed_says_what_to_write() {
        let scope = r#"{"scope": "checkout@2.0"}"#;
        let thresholds = r#"{"pass": 95, "marginal": 75}"#;
        for (control, experiment, thresholds, word) in [
            (scope, "{}", thresholds, "write service@version"),
            (r#"{"scope": "cart"}"#, scope, thresholds, "one service"),
            (
                scope,
                scope,
                r#"{"pass": 95, "marginal": 95}"#,
                "above `marginal`",
            ),
            (
                scope,
                r#"{"scope": "checkout", "end": "soon"}"#,
                thresholds,
                "RFC 3339",
            ),
        ] {
            let refusal = request(control, experiment, thresholds).unwrap_err();
            assert!(refusal.contains(word), "{refusal}");
        }
    }

    fn analysis() -> Analysis {
        Analysis {
            question: Question::default(),
            baseline: String::new(),
            thresholds: Thresholds::new(95.0, 75.0).unwrap(),
            end: None,
        }
    }

    #[test]
    fn the_table_is_bounded_and_gives_up_what_is_complete_first() {
        let executions = Executions::new(2, Timestamp::UNIX_EPOCH);
        let first = executions.begin(analysis());
        let second = executions.begin(analysis());
        let judgement = |score| Judgement {
            verdict: Verdict::Pass,
            score,
            text: String::new(),
            at: Timestamp::UNIX_EPOCH,
        };
        // What was told first holds.
        assert_eq!(
            executions.complete(&second, judgement(100.0)),
            judgement(100.0)
        );
        assert_eq!(
            executions.complete(&second, judgement(10.0)),
            judgement(100.0)
        );
        let third = executions.begin(analysis());
        assert!(executions.find(&second).is_none());
        let fourth = executions.begin(analysis());
        assert!(executions.find(&first).is_none());
        assert!(executions.find(&third).is_some() && executions.find(&fourth).is_some());
        // An id of another run means another analysis.
        let later = Executions::new(2, Timestamp::from_second(1).unwrap());
        later.begin(analysis());
        assert!(later.find(&first).is_none());
        for broken in ["", "-", "x", "0-zz"] {
            assert!(executions.find(broken).is_none(), "{broken}");
        }
    }
}
