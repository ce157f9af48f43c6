//! Which verdict answers a question: the same for HTTP and gRPC.
//!
//! A question that nothing is computed for is answered *inconclusive* with the reason, never with a
//! verdict about something else: a gate that asks about version 2 must not pass on the strength of
//! version 1.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;
use tokio::task::spawn_blocking;

use super::Shared;
use crate::evaluator::burn_rate::Limits;
use crate::evaluator::lookback::{judge_version, judge_window, version_of};
use crate::evaluator::verdict::REQUEST_SOURCE;
use crate::model::report::{Reason, Report, Verdict, VerdictEvidence, VerdictReport};
use crate::model::series::ServiceKey;
use crate::model::window::Window;
use crate::window::VERSIONS_MAX;

/// What a question without a service leaves open.
const VERSION_OF_WHAT: &str = "a version is one of a service, and none was named";

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
    /// Whether a service may be meant.
    pub(super) fn selects(&self, service: &ServiceKey) -> bool {
        self.service == *service.name
            && (self.namespace.is_empty() || self.namespace == *service.namespace)
            && (self.environment.is_empty() || self.environment == *service.environment)
    }
}

/// The verdict that answers the question, from the newest report, on a blocking thread: a window of everything that is
/// adopted is judged then and there.
pub(super) async fn ask(shared: &Shared, question: Question) -> VerdictReport {
    let (started_at, limits) = (shared.state.started_at, shared.state.limits);
    let report = shared.report();
    let asked = question.clone();
    let answered =
        spawn_blocking(move || answer(report.as_deref(), &asked, started_at, limits)).await;
    answered.unwrap_or_else(|failure| {
        tracing::error!(%failure, "a verdict could not be given");
        let text = "the verdict could not be given; the log says why".to_owned();
        inconclusive(&question, None, text, started_at)
    })
}

/// The verdict that answers the question. `started_at` dates the answer where no report does.
pub(super) fn answer(
    report: Option<&Report>,
    question: &Question,
    started_at: Timestamp,
    limits: Limits,
) -> VerdictReport {
    let Some(report) = report else {
        let text = "the first evaluation has not finished yet".to_owned();
        return inconclusive(question, None, text, started_at);
    };
    let found = if question.window.is_empty() {
        find(report, question).cloned()
    } else {
        over_window(report, question, limits)
    };
    match found {
        Ok(verdict) => verdict,
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
        match service_of(report, question)? {
            None => (None, vec![&report.verdict]),
            Some(service) => {
                let is_own = |verdict: &&VerdictReport| verdict.service.as_ref() == Some(service);
                let own = report.verdicts.iter().filter(is_own);
                (Some(service), own.collect())
            }
        };
    let asked = |verdict: &&VerdictReport| {
        verdict.version.as_deref().unwrap_or_default() == question.version
            && verdict.window.is_none()
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

/// Judges the window that is asked for.
fn over_window(
    report: &Report,
    question: &Question,
    limits: Limits,
) -> Result<VerdictReport, Unanswered> {
    let service = service_of(report, question)?;
    let unanswered = |text| Unanswered {
        service: service.cloned(),
        text,
    };
    let held = |windows: &mut dyn Iterator<Item = Window>| {
        let labels: Vec<&str> = windows.map(Window::label).collect();
        listed(", the windows held are ", labels.into_iter())
    };
    let mut windows = Window::ALL.into_iter();
    let Some(window) = windows.find(|window| window.label() == question.window) else {
        return Err(unanswered(format!(
            "window `{}` is not held{}",
            question.window,
            held(&mut Window::ALL.into_iter())
        )));
    };
    let version = question.version.as_str();
    match service {
        _ if version.is_empty() => Ok(judge_window(report, service, window, limits)),
        None => Err(unanswered(VERSION_OF_WHAT.to_owned())),
        Some(service) => judge_version(report, service, version, window, limits).ok_or_else(|| {
            unanswered(match version_of(report, service, version) {
                None => format!(
                    "version `{version}` of service `{}` has not been seen{}",
                    service.name,
                    versions_seen(report, service)
                ),
                Some(seen) => format!(
                    "window `{}` of a version is not held{}",
                    question.window,
                    held(&mut seen.windows.iter().map(|sli| sli.window))
                ),
            })
        }),
    }
}

/// The service that is asked about; `None` for all together.
fn service_of<'a>(
    report: &'a Report,
    question: &Question,
) -> Result<Option<&'a ServiceKey>, Unanswered> {
    if !question.service.is_empty() {
        return one_service(report, question).map(Some);
    }
    if question.namespace.is_empty() && question.environment.is_empty() {
        return Ok(None);
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
    let version = question.version.as_str();
    let mut text = match service {
        None if version.is_empty() => "no verdict is computed for all services yet".to_owned(),
        None => VERSION_OF_WHAT.to_owned(),
        Some(service) if version.is_empty() => {
            format!("no verdict is computed for service `{}` yet", service.name)
        }
        Some(service) => format!(
            "no verdict is computed for version `{version}` of service `{}`{}: it needs the version before, or a window \
             (window=30m)",
            service.name,
            versions_seen(report, service)
        ),
    };
    let is_wider = |verdict: &&&VerdictReport| verdict.version.is_none();
    if let Some(wider) = computed.iter().find(is_wider) {
        text.push_str("; without version the verdict is ");
        text.push_str(wider.verdict.label());
    }
    text
}

fn versions_seen(report: &Report, service: &ServiceKey) -> String {
    let services = report.services.iter();
    let own = services.filter(|seen| seen.service == *service);
    let versions = own
        .flat_map(|seen| &seen.versions)
        .map(|seen| &*seen.version);
    let versions: Vec<&str> = versions.collect();
    let is_full = versions.len() >= VERSIONS_MAX;
    let mut text = listed(", versions seen lately: ", versions.into_iter());
    if is_full {
        text.push_str(
            " (no more are told apart; one makes room five minutes after its last request)",
        );
    }
    text
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
            source: REQUEST_SOURCE.to_owned(),
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
