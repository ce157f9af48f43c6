//! Findings in words.

use crate::adapter::rca::fuse::Suspect;
use crate::adapter::rca::keys::OperationKey;
use crate::adapter::rca::signals::{Detail, Family, Finding, Signal};
use crate::adapter::rca::topology::Role;
use crate::evaluator::figures::{milliseconds, percentage};
use crate::model::series::ServiceKey;

/// Missing calls that a sentence names.
const NAMES: usize = 3;

/// Why a finding speaks against a suspect.
pub(super) fn sentence(finding: &Finding, suspect: &Suspect) -> String {
    let (n, m) = finding.spans;
    let of = format!("of {m} spans, {n} before");
    if finding.signal.family() == Family::Time {
        delay(finding, suspect, &of)
    } else if let Detail::Repeated { caller, is_retry } = &finding.detail {
        repeated(finding, caller, *is_retry)
    } else {
        let (after, before) = (percentage(finding.after), percentage(finding.before));
        share(finding, &format!("{after} instead of {before} ({of})"))
    }
}

fn delay(finding: &Finding, suspect: &Suspect, of: &str) -> String {
    let name = &finding.operation.operation;
    let service = &finding.operation.service.name;
    let (after, before) = (milliseconds(finding.after), milliseconds(finding.before));
    if let Some(caller) = finding.caller() {
        let is_caller = suspect.role != Some(Role::Callee) && *caller == suspect.service;
        let too = if is_caller {
            ", as do its calls to others"
        } else {
            ""
        };
        return format!(
            "calls of {} to {name} of {service} wait {after} beyond what {service} takes instead of {before} (medians \
             {of}){too}",
            caller.name
        );
    }
    let place = match &finding.detail {
        Detail::Instance(instance) => format!(" on {instance}"),
        Detail::None
        | Detail::Caller(_)
        | Detail::Missing { .. }
        | Detail::Unanswered(_)
        | Detail::Repeated { .. }
        | Detail::LoggedNothingBefore => String::new(),
    };
    format!("{name}{place} takes {after} itself instead of {before} (medians {of})")
}

fn repeated(finding: &Finding, caller: &ServiceKey, is_retry: bool) -> String {
    let name = &finding.operation.operation;
    let service = &finding.operation.service.name;
    let whose = if finding.operation.service == *caller {
        String::new()
    } else {
        format!(" of {service}")
    };
    let why = if is_retry {
        ", again after calls that failed"
    } else {
        ""
    };
    let (n, m) = finding.spans;
    format!(
        "{} calls {name}{whose} {:.1} times for a request instead of {:.1} (means of {m} requests, {n} before){why}",
        caller.name, finding.after, finding.before
    )
}

fn share(finding: &Finding, shares: &str) -> String {
    let name = &finding.operation.operation;
    let service = &finding.operation.service.name;
    match (finding.signal, &finding.detail) {
        (Signal::ErrorOrigin, Detail::Unanswered(caller)) => format!(
            "calls of {} to {service} that it used to answer fail: {shares}",
            caller.service.name
        ),
        (Signal::MissingAnswers, Detail::Unanswered(caller)) => format!(
            "calls of {} to {service} are not answered: {shares}",
            caller.service.name
        ),
        (Signal::MissingCalls, Detail::Missing { calls, last }) => {
            let after = last.as_ref().map_or_else(String::new, |last| {
                format!(
                    " after {} of {} answered",
                    last.operation, last.service.name
                )
            });
            let lacks = names(calls);
            format!("{name} of {service} ends early{after}: {shares}; it does without {lacks}")
        }
        (Signal::ErrorEvents, Detail::LoggedNothingBefore) => format!(
            "{name} logs errors: {shares}; before, {service} logged nothing at all, so that they may be old"
        ),
        (Signal::ErrorEvents, _) => format!("{name} logs errors: {shares}"),
        (Signal::ErrorOrigin, _) => format!("errors begin in {name}: {shares}"),
        (Signal::NewCalls, _) => {
            format!("{name} calls others in ways that were rarer before: {shares}")
        }
        (Signal::EventOrder, _) => {
            format!("{name} logs in an order that was rarer before: {shares}")
        }
        (
            Signal::SelfTime
            | Signal::LinkTime
            | Signal::MissingAnswers
            | Signal::MissingCalls
            | Signal::RepeatedCalls,
            _,
        ) => format!("{name} of {service} changed: {shares}"),
    }
}

fn names(calls: &[OperationKey]) -> String {
    let shown = calls.iter().take(NAMES);
    let shown: Vec<String> = shown
        .map(|key| format!("{} of {}", key.operation, key.service.name))
        .collect();
    let more = calls.len().saturating_sub(NAMES);
    let shown = shown.join(", ");
    if more > 0 {
        format!("{shown} and {more} more")
    } else {
        shown
    }
}
