//! What went wrong, and whose fault it was.

use std::collections::BTreeMap;

use crate::model::span::{Outcome, SpanKind};
use crate::model::trace::TraceSpan;
use crate::trace::tree::TraceTree;
use crate::traffic::learn::CallSeen;
use crate::traffic::learn::shape::{Group, Kind, text_of};

/// Failed calls and what came of them, attempts that were repeated counted apart.
pub(super) fn observe_calls(
    tree: &TraceTree<'_>,
    groups: &[Group],
    has_failed: bool,
    calls: &mut BTreeMap<Kind, CallSeen>,
    failed_below: &mut bool,
) {
    for member in groups.iter().flat_map(|group| &group.members) {
        observe_calls(tree, &member.groups, has_failed, calls, failed_below);
        let mut before: Option<&TraceSpan> = None;
        for index in member.retried.iter().chain(&member.spans) {
            let Some(span) = tree.span(*index) else {
                continue;
            };
            let is_last = member.spans.contains(index);
            if let Some(before) = before.filter(|_| !member.retried.is_empty()) {
                let seen = calls.entry(member.kind.clone()).or_default();
                seen.retried += 1;
                seen.backoff_nanos += span.start.saturating_sub(before.end);
                let attempts = u32::try_from(member.retried.len() + 1).unwrap_or(u32::MAX);
                seen.attempts = seen.attempts.max(attempts);
            }
            before = Some(span);
            let answer = tree
                .children(*index)
                .iter()
                .find_map(|child| tree.span(*child));
            let gave_up = span.outcome == Outcome::Error
                && answer.is_some_and(|answer| answer.end > span.end);
            if gave_up {
                let seen = calls.entry(member.kind.clone()).or_default();
                seen.timed_out += 1;
                seen.timeout_nanos += span.duration_nanos();
            }
            // A 404 is an error of the client's span only.
            let failed = gave_up
                || match member.kind {
                    Kind::Call(_) => answer.is_some_and(|answer| answer.outcome == Outcome::Error),
                    Kind::Publish(_) => false,
                    Kind::PlainCall(_) | Kind::Query(..) | Kind::Work(..) => {
                        span.outcome == Outcome::Error
                    }
                };
            if failed && is_last && !member.detached {
                let seen = calls.entry(member.kind.clone()).or_default();
                seen.failed += 1;
                seen.propagated += u64::from(has_failed);
                *failed_below = true;
            }
        }
    }
}

/// Type, message and status of a failure that no call explains.
pub(super) fn own_error(
    tree: &TraceTree<'_>,
    index: usize,
    span: &TraceSpan,
    failed_below: bool,
) -> Option<(String, String, String)> {
    let has_failed = span.outcome == Outcome::Error;
    if has_failed && failed_below {
        return None;
    }
    let status = status_of(span).unwrap_or_default();
    let is_callers = status
        .parse::<u32>()
        .is_ok_and(|code| (400..500).contains(&code));
    let is_callers = is_callers || !has_failed && is_grpc_refusal(&status);
    if !has_failed && !is_callers {
        return None;
    }
    if !has_failed {
        // A refusal of somebody below was passed on.
        let below = tree
            .children(index)
            .iter()
            .filter_map(|child| tree.span(*child));
        let passed_on = below.filter(|child| child.kind == SpanKind::Client);
        if passed_on
            .into_iter()
            .any(|child| child.outcome == Outcome::Error)
        {
            return None;
        }
    }
    let exception = span.events.iter().find(|event| *event.name == *"exception");
    let said = |key: &str| {
        let attributes = exception.into_iter().flat_map(|event| &event.attributes);
        let mut found = attributes.filter(|(name, _)| **name == *key);
        found.find_map(|(_, value)| value.as_text().map(str::to_owned))
    };
    Some((
        said("exception.type").unwrap_or_default(),
        // Messages may hold ids; the type tells errors apart.
        if exception.is_some() {
            said("exception.message").unwrap_or_default()
        } else {
            String::new()
        },
        status,
    ))
}

/// HTTP status or gRPC code.
fn status_of(span: &TraceSpan) -> Option<String> {
    let keys = [
        "http.response.status_code",
        "http.status_code",
        "rpc.response.status_code",
        "rpc.grpc.status_code",
    ];
    keys.iter().find_map(|key| text_of(span, key))
}

fn is_grpc_refusal(status: &str) -> bool {
    matches!(
        status,
        "INVALID_ARGUMENT"
            | "FAILED_PRECONDITION"
            | "OUT_OF_RANGE"
            | "UNAUTHENTICATED"
            | "PERMISSION_DENIED"
            | "NOT_FOUND"
            | "ALREADY_EXISTS"
            | "ABORTED"
            | "RESOURCE_EXHAUSTED"
            | "CANCELLED"
    )
}
