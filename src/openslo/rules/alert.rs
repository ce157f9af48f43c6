//! Rules of alert policies, their conditions and their targets.

use super::Rule;

rules! {
    /// The only kind.
    CONDITION_KIND = Rule::error("condition-kind", "The kind of a condition is burnrate.", "prose; SDK")
        .examples(
            document!(
                "AlertCondition",
                "{severity: page, condition: {kind: burnrate, op: gte, threshold: 2, lookbackWindow: 1h}}"
            ),
            document!(
                "AlertCondition",
                "{severity: page, condition: {kind: burn-rate, op: gte, threshold: 2, lookbackWindow: 1h}}"
            ),
        );

    /// Up is bad.
    CONDITION_DIRECTION = Rule::warning(
        "condition-direction",
        "A burn rate is compared by gt or gte; by lt or lte an alert fires while all is well.",
        "prose, as corrected in 2026",
    )
    .examples(
        document!(
            "AlertCondition",
            "{severity: page, condition: {kind: burnrate, op: gte, threshold: 2, lookbackWindow: 1h}}"
        ),
        document!(
            "AlertCondition",
            "{severity: page, condition: {kind: burnrate, op: lte, threshold: 2, lookbackWindow: 1h}}"
        ),
    );

    /// One condition.
    CONDITION_COUNT = Rule::error(
        "condition-count",
        "The conditions of an AlertPolicy are exactly one.",
        "prose; SDK",
    )
    .examples(
        policy!("conditions: [{conditionRef: fast-burn}]" "notificationTargets: [{targetRef: on-call}]"),
        policy!(
            "conditions: [{conditionRef: fast-burn}, {conditionRef: fast-burn}]"
            "notificationTargets: [{targetRef: on-call}]"
        ),
    );

    /// Someone is told.
    TARGET_COUNT = Rule::error(
        "target-count",
        "The notificationTargets of an AlertPolicy are at least one.",
        "prose; SDK",
    )
    .examples(
        policy!("conditions: [{conditionRef: fast-burn}]" "notificationTargets: [{targetRef: on-call}]"),
        policy!("conditions: [{conditionRef: fast-burn}]" "notificationTargets: []"),
    );

    /// By name or in place.
    REFERENCE_OR_INLINE = Rule::error(
        "reference-or-inline",
        "A policy, a condition or a target is a reference, or an object with kind, metadata and spec, not both.",
        "prose; SDK",
    )
    .examples(
        policy!(
            "conditions: [{conditionRef: fast-burn}]" "notificationTargets:"
            "- kind: AlertNotificationTarget" "  metadata: {name: mail}" "  spec: {target: email}"
        ),
        policy!(
            "conditions: [{conditionRef: fast-burn}]" "notificationTargets:" "- targetRef: on-call"
            "  kind: AlertNotificationTarget" "  metadata: {name: mail}" "  spec: {target: email}"
        ),
    );

    /// What stands in place.
    INLINE_KIND = Rule::error(
        "inline-kind",
        "An inline object has the kind of its place.",
        "prose; SDK",
    )
    .examples(
        policy!(
            "conditions: [{conditionRef: fast-burn}]" "notificationTargets:"
            "- kind: AlertNotificationTarget" "  metadata: {name: mail}" "  spec: {target: email}"
        ),
        policy!(
            "conditions: [{conditionRef: fast-burn}]" "notificationTargets:"
            "- kind: AlertCondition" "  metadata: {name: mail}" "  spec: {target: email}"
        ),
    );
}
