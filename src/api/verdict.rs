//! Which verdict answers a question: the same for HTTP and gRPC.
//!
//! A question that nothing is computed for is answered *inconclusive* with the reason, never with a
//! verdict about something else: a gate that asks about version 2 must not pass on the strength of
//! version 1.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;

use crate::model::report::{Reason, Report, Verdict, VerdictEvidence, VerdictReport};
use crate::model::series::ServiceKey;
use crate::model::window::Window;

/// `source` of the reasons that are about the question.
const SOURCE: &str = "request";

/// Names listed in a reason at most.
const LISTED_NAMES: usize = 10;

/// Whose verdict is wanted; an empty field means any. Unknown fields are refused, since a misspelt
/// one would widen the question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Question {
    pub(super) service: String,
    pub(super) namespace: String,
    pub(super) environment: String,
    pub(super) version: String,
    pub(super) window: String,
}

impl Question {
    pub(super) fn selects(&self, service: &ServiceKey) -> bool {
        self.service == *service.name
            && (self.namespace.is_empty() || self.namespace == *service.namespace)
            && (self.environment.is_empty() || self.environment == *service.environment)
    }
}

/// The verdict that answers the question. `started_at` dates the answer where no report does.
pub(super) fn answer(
    report: Option<&Report>,
    question: &Question,
    started_at: Timestamp,
) -> VerdictReport {
    let Some(report) = report else {
        let text = "the first evaluation has not finished yet".to_owned();
        return inconclusive(question, None, text, started_at);
    };
    match find(report, question) {
        Ok(verdict) => verdict.clone(),
        Err(Unanswered { service, text }) => {
            inconclusive(question, service, text, report.generated_at)
        }
    }
}

/// Why no computed verdict answers, and the service if there is exactly one.
struct Unanswered {
    service: Option<ServiceKey>,
    text: String,
}

fn find<'a>(report: &'a Report, question: &Question) -> Result<&'a VerdictReport, Unanswered> {
    let (service, computed): (Option<&ServiceKey>, Vec<&VerdictReport>) =
        if question.service.is_empty() {
            (None, overall(report, question)?)
        } else {
            let service = one_service(report, question)?;
            let of_service = |verdict: &&VerdictReport| verdict.service.as_ref() == Some(service);
            (
                Some(service),
                report.verdicts.iter().filter(of_service).collect(),
            )
        };
    let asked = |verdict: &&VerdictReport| {
        verdict.version.as_deref().unwrap_or_default() == question.version
            && verdict.window.as_deref().unwrap_or_default() == question.window
    };
    computed
        .iter()
        .copied()
        .find(asked)
        .ok_or_else(|| Unanswered {
            service: service.cloned(),
            text: nothing_computed(report, service, &computed, question),
        })
}

fn overall<'a>(
    report: &'a Report,
    question: &Question,
) -> Result<Vec<&'a VerdictReport>, Unanswered> {
    if question.namespace.is_empty() && question.environment.is_empty() {
        return Ok(vec![&report.verdict]);
    }
    Err(Unanswered {
        service: None,
        text: "a namespace or an environment narrows down a service, and none was named".to_owned(),
    })
}

/// The one service that the question means, among those with verdicts or with traffic.
fn one_service<'a>(report: &'a Report, question: &Question) -> Result<&'a ServiceKey, Unanswered> {
    let with_verdict = report
        .verdicts
        .iter()
        .filter_map(|verdict| verdict.service.as_ref());
    let with_traffic = report.services.iter().map(|service| &service.service);
    let known: BTreeSet<&ServiceKey> = with_verdict.chain(with_traffic).collect();
    let meant: Vec<&ServiceKey> = known
        .iter()
        .copied()
        .filter(|service| question.selects(service))
        .collect();
    match meant.as_slice() {
        [service] => Ok(service),
        [] => Err(Unanswered {
            service: None,
            text: format!(
                "service `{}` has not been seen{}{}",
                question.service,
                place(&question.namespace, &question.environment),
                listed(
                    "; seen lately: ",
                    known.iter().map(|service| &*service.name)
                ),
            ),
        }),
        several => {
            let places: Vec<String> = several
                .iter()
                .map(|service| {
                    format!(
                        "namespace `{}` environment `{}`",
                        service.namespace, service.environment
                    )
                })
                .collect();
            Err(Unanswered {
                service: None,
                text: format!(
                    "{} services are named `{}`, say which namespace and environment{}",
                    several.len(),
                    question.service,
                    listed(": ", places.iter().map(String::as_str)),
                ),
            })
        }
    }
}

/// Says what was asked that nothing is computed for, and what the wider question would answer.
fn nothing_computed(
    report: &Report,
    service: Option<&ServiceKey>,
    computed: &[&VerdictReport],
    question: &Question,
) -> String {
    let subject = match service {
        Some(service) => format!("service `{}`", service.name),
        None => "all services together".to_owned(),
    };
    let mut text = String::new();
    if !question.version.is_empty() {
        let versions = report
            .services
            .iter()
            .filter(|seen| service == Some(&seen.service))
            .flat_map(|seen| &seen.versions)
            .map(|seen| &*seen.version);
        let listed = listed(", versions seen lately: ", versions);
        push(
            &mut text,
            &format!(
                "no verdict is computed for version `{}` of {subject}{listed}",
                question.version
            ),
        );
    }
    if !question.window.is_empty() {
        let labels = Window::ALL.map(Window::label);
        let hint = if labels.contains(&&*question.window) {
            ": the objectives' own windows decide".to_owned()
        } else {
            listed(", the windows held are ", labels.into_iter())
        };
        push(
            &mut text,
            &format!(
                "no verdict is computed for window `{}` of {subject}{hint}",
                question.window
            ),
        );
    }
    if text.is_empty() {
        push(
            &mut text,
            &format!("no verdict is computed for {subject} yet"),
        );
    }
    let wider = computed
        .iter()
        .find(|verdict| verdict.version.is_none() && verdict.window.is_none());
    if let Some(wider) = wider {
        push(
            &mut text,
            &format!(
                "without version and window the verdict is {}",
                wider.verdict.label()
            ),
        );
    }
    text
}

fn push(text: &mut String, sentence: &str) {
    if !text.is_empty() {
        text.push_str("; ");
    }
    text.push_str(sentence);
}

fn place(namespace: &str, environment: &str) -> String {
    let mut text = String::new();
    if !namespace.is_empty() {
        text.push_str(" in namespace `");
        text.push_str(namespace);
        text.push('`');
    }
    if !environment.is_empty() {
        text.push_str(" in environment `");
        text.push_str(environment);
        text.push('`');
    }
    text
}

/// `prefix` and the distinct names, at most [`LISTED_NAMES`] of them; nothing if there are none.
fn listed<'a>(prefix: &str, names: impl Iterator<Item = &'a str>) -> String {
    let mut seen = BTreeSet::new();
    let names: Vec<&str> = names.filter(|name| seen.insert(*name)).collect();
    if names.is_empty() {
        return String::new();
    }
    let shown: Vec<&str> = names.iter().copied().take(LISTED_NAMES).collect();
    let omitted = names.len() - shown.len();
    let more = if omitted > 0 {
        format!(" and {omitted} more")
    } else {
        String::new()
    };
    format!("{prefix}{}{more}", shown.join(", "))
}

fn inconclusive(
    question: &Question,
    service: Option<ServiceKey>,
    text: String,
    generated_at: Timestamp,
) -> VerdictReport {
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let asked_service = || ServiceKey {
        namespace: question.namespace.as_str().into(),
        environment: question.environment.as_str().into(),
        name: question.service.as_str().into(),
    };
    let service = service.or_else(|| said(&question.service).map(|_| asked_service()));
    VerdictReport {
        verdict: Verdict::Inconclusive,
        ok: false,
        score: None,
        service,
        version: said(&question.version),
        window: said(&question.window),
        reasons: vec![Reason {
            source: SOURCE.to_owned(),
            name: question.service.clone(),
            window: said(&question.window),
            observed: None,
            limit: None,
            text,
        }],
        undecided: Vec::new(),
        evidence: VerdictEvidence::default(),
        action: None,
        generated_at,
    }
}
