//! Alert policies, conditions and targets.

use crate::openslo::rules::alert::{
    CONDITION_COUNT, CONDITION_DIRECTION, CONDITION_KIND, INLINE_KIND, REFERENCE_OR_INLINE,
    TARGET_COUNT,
};
use crate::openslo::rules::objective::OPERATOR;
use crate::openslo::v1::Kind;
use crate::openslo::validate::check::Check;
use crate::openslo::validate::cursor::Cursor;
use crate::openslo::validate::envelope::{description, metadata};
use crate::openslo::validate::objective::OPERATORS;
use crate::openslo::validate::spec;

/// The default of `alertAfter`, the only duration that may be nothing.
const NO_DELAY: &str = "0m";

/// A policy, a condition or a target: by its name, or in place with its kind.
pub(super) fn inline_or_reference<'a>(check: &mut Check<'a>, at: &Cursor<'a>, kind: Kind) {
    let reference = match kind {
        Kind::AlertPolicy => "alertPolicyRef",
        Kind::AlertCondition => "conditionRef",
        Kind::DataSource
        | Kind::Slo
        | Kind::Sli
        | Kind::AlertNotificationTarget
        | Kind::Service => "targetRef",
    };
    let Some(object) = check.object(at, &[reference, "kind", "metadata", "spec"]) else {
        return;
    };
    let parts = object.count(&["kind", "metadata", "spec"]);
    if object.has(reference) == (parts > 0) {
        let message = format!(
            "either {reference} must stand here, or kind, metadata and spec of an {}",
            kind.name()
        );
        check.report(&REFERENCE_OR_INLINE, at, message);
    }
    if let Some(at) = object.get(reference) {
        check.reference(kind, at);
    }
    if parts == 0 {
        return;
    }
    if let Some(at) = check.required(&object, "kind") {
        check.one_of(&INLINE_KIND, &at, &[kind.name()]);
    }
    if let Some(at) = check.required(&object, "metadata") {
        metadata(check, &at);
    }
    if let Some(at) = check.required(&object, "spec") {
        spec(check, kind, &at);
    }
}

/// `spec` of an `AlertPolicy`.
pub(super) fn policy<'a>(check: &mut Check<'a>, at: &Cursor<'a>) {
    let switches = ["alertWhenNoData", "alertWhenResolved", "alertWhenBreaching"];
    let others = ["description", "conditions", "notificationTargets"];
    let Some(policy) = check.object(at, &[&switches[..], &others[..]].concat()) else {
        return;
    };
    description(check, &policy);
    for switch in switches {
        check.optional_boolean(&policy, switch);
    }
    if let Some(at) = check.required(&policy, "conditions")
        && let Some(conditions) = check.list(&at)
    {
        if conditions.len() != 1 {
            let count = conditions.len();
            let message = format!("conditions must have exactly one item, and has {count}");
            check.report(&CONDITION_COUNT, &at, message);
        }
        for condition in &conditions {
            inline_or_reference(check, condition, Kind::AlertCondition);
        }
    }
    if let Some(at) = check.required(&policy, "notificationTargets")
        && let Some(targets) = check.list(&at)
    {
        if targets.is_empty() {
            check.report(&TARGET_COUNT, &at, "at least one target must stand here");
        }
        for target in &targets {
            inline_or_reference(check, target, Kind::AlertNotificationTarget);
        }
    }
}

/// `spec` of an `AlertCondition`.
pub(super) fn condition<'a>(check: &mut Check<'a>, at: &Cursor<'a>) {
    let Some(spec) = check.object(at, &["description", "severity", "condition"]) else {
        return;
    };
    description(check, &spec);
    check.required_text(&spec, "severity");
    let keys = ["kind", "op", "threshold", "lookbackWindow", "alertAfter"];
    let condition = check
        .required(&spec, "condition")
        .and_then(|at| check.object(&at, &keys));
    let Some(condition) = condition else {
        return;
    };
    if let Some(at) = check.required(&condition, "kind") {
        check.one_of(&CONDITION_KIND, &at, &["burnrate"]);
    }
    if let Some(at) = check.required(&condition, "op")
        && let Some("lt" | "lte") = check.one_of(&OPERATOR, &at, &OPERATORS)
    {
        let message = "this alert fires while little of the budget is burnt; use gt or gte";
        check.report(&CONDITION_DIRECTION, &at, message);
    }
    check.required(&condition, "threshold");
    check.optional_number(&condition, "threshold");
    if let Some(at) = check.required(&condition, "lookbackWindow") {
        check.duration(&at);
    }
    if let Some(at) = condition.get("alertAfter")
        && at.node.text() != Some(NO_DELAY)
    {
        check.duration(at);
    }
}

/// `spec` of an `AlertNotificationTarget`.
pub(super) fn target<'a>(check: &mut Check<'a>, at: &Cursor<'a>) {
    let Some(spec) = check.object(at, &["description", "target"]) else {
        return;
    };
    description(check, &spec);
    check.required_text(&spec, "target");
}
