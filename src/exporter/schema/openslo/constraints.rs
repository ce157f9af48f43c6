//! The rules of the validator that a schema can hold, by where they hold.

use serde_json::{Map, Value, json};

use crate::openslo::v1::{DESCRIPTION_CHARS, DISPLAY_NAME_CHARS, Kind};

/// An RFC 1123 label.
const LABEL: &str = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";
const LABEL_KEY: &str = "^[a-zA-Z0-9]([-._a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$";
const ANNOTATION_KEY: &str = "^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*/)?[a-zA-Z0-9]([-._a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$";
/// A DNS name of 253 characters, a slash and a name of 63.
const ANNOTATION_KEY_CHARS: usize = 317;
const DURATION: &str = "^[1-9][0-9]*[mhdwMQY]$";
const DURATION_OR_NONE: &str = "^(0m|[1-9][0-9]*[mhdwMQY])$";
const START_TIME: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}$";
const NOT_BLANK: &str = "\\S";

/// Keywords for a definition, `Metadata`, or for a property of one, `Metadata.name`.
pub(super) fn all() -> Vec<(&'static str, Value)> {
    [text_rules(), number_rules(), choice_rules(), use_rules()].concat()
}

/// Names, durations and lengths.
fn text_rules() -> Vec<(&'static str, Value)> {
    let pattern = |pattern: &str| json!({ "pattern": pattern });
    let mut rules = vec![
        (
            "Metadata.displayName",
            json!({ "maxLength": DISPLAY_NAME_CHARS }),
        ),
        (
            "Metadata.labels",
            json!({ "propertyNames": pattern(LABEL_KEY) }),
        ),
        (
            "Metadata.annotations",
            json!({ "propertyNames": { "pattern": ANNOTATION_KEY, "maxLength": ANNOTATION_KEY_CHARS } }),
        ),
        ("Condition.alertAfter", pattern(DURATION_OR_NONE)),
        ("Calendar.startTime", pattern(START_TIME)),
    ];
    for place in [
        "Metadata.name",
        "SloSpec.service",
        "SloSpec.indicatorRef",
        "ObjectiveSpec.indicatorRef",
        "MetricSource.metricSourceRef",
        "PolicyUse.alertPolicyRef",
        "ConditionUse.conditionRef",
        "TargetUse.targetRef",
    ] {
        rules.push((place, pattern(LABEL)));
    }
    for place in [
        "TimeWindow.duration",
        "ObjectiveSpec.timeSliceWindow",
        "Condition.lookbackWindow",
    ] {
        rules.push((place, pattern(DURATION)));
    }
    for place in [
        "DataSourceSpec.type",
        "MetricSource.type",
        "AlertConditionSpec.severity",
        "AlertNotificationTargetSpec.target",
    ] {
        rules.push((place, pattern(NOT_BLANK)));
    }
    for place in [
        "ServiceSpec.description",
        "SloSpec.description",
        "SliSpec.description",
        "DataSourceSpec.description",
        "AlertPolicySpec.description",
        "AlertConditionSpec.description",
        "AlertNotificationTargetSpec.description",
    ] {
        rules.push((place, json!({ "maxLength": DESCRIPTION_CHARS })));
    }
    rules
}

/// Ranges and counts.
fn number_rules() -> Vec<(&'static str, Value)> {
    let one_item = json!({ "minItems": 1, "maxItems": 1 });
    let some_items = json!({ "minItems": 1 });
    vec![
        ("SloSpec.timeWindow", one_item.clone()),
        ("SloSpec.objectives", some_items.clone()),
        ("AlertPolicySpec.conditions", one_item),
        ("AlertPolicySpec.notificationTargets", some_items),
        ("MetricSource.spec", json!({ "minProperties": 1 })),
        (
            "ObjectiveSpec.target",
            json!({ "minimum": 0, "exclusiveMaximum": 1 }),
        ),
        (
            "ObjectiveSpec.targetPercent",
            json!({ "minimum": 0, "exclusiveMaximum": 100 }),
        ),
        (
            "ObjectiveSpec.timeSliceTarget",
            json!({ "exclusiveMinimum": 0, "maximum": 1 }),
        ),
        (
            "ObjectiveSpec.compositeWeight",
            json!({ "exclusiveMinimum": 0 }),
        ),
    ]
}

/// Fields that need or exclude each other.
fn choice_rules() -> Vec<(&'static str, Value)> {
    let window = json!({
        "if": { "required": ["isRolling"], "properties": { "isRolling": { "const": true } } },
        "then": without(&["calendar"]),
        "else": { "required": ["calendar"] },
    });
    let objective = json!({
        "oneOf": [{ "required": ["target"] }, { "required": ["targetPercent"] }],
        "allOf": [
            { "if": measured_by("ratioMetric"), "then": without(&["op", "value"]) },
            { "if": measured_by("thresholdMetric"), "then": { "required": ["op", "value"] } },
        ],
    });
    let indicator =
        json!({ "oneOf": [{ "required": ["thresholdMetric"] }, { "required": ["ratioMetric"] }] });
    let one_of_both = |needed: [&str; 2], excluded: [&str; 3]| {
        let mut choice = without(&excluded);
        choice["required"] = json!(needed);
        choice
    };
    let ratio = json!({
        "oneOf": [
            one_of_both(["total", "good"], ["bad", "raw", "rawType"]),
            one_of_both(["total", "bad"], ["good", "raw", "rawType"]),
            one_of_both(["raw", "rawType"], ["good", "bad", "total"]),
        ],
    });
    let source =
        json!({ "anyOf": [{ "required": ["type"] }, { "required": ["metricSourceRef"] }] });
    vec![
        ("SloSpec", slo_rules()),
        ("TimeWindow", window),
        ("ObjectiveSpec", objective),
        ("SliSpec", indicator),
        ("RatioMetric", ratio),
        ("MetricSource", source),
        (
            "DataSourceSpec.connectionDetails",
            json!({ "not": { "type": "null" } }),
        ),
    ]
}

/// What is named or stands in its place, and with which kind.
fn use_rules() -> Vec<(&'static str, Value)> {
    // Nothing else has room beside the reference, nor beside the three keys.
    let use_of = |reference: &str| {
        let inline = json!({ "required": ["kind", "metadata", "spec"], "maxProperties": 3 });
        json!({ "oneOf": [{ "required": [reference], "maxProperties": 1 }, inline] })
    };
    let only = |name: &str| json!({ "const": name });
    vec![
        ("PolicyUse", use_of("alertPolicyRef")),
        ("PolicyUse.kind", only(Kind::AlertPolicy.name())),
        ("ConditionUse", use_of("conditionRef")),
        ("ConditionUse.kind", only(Kind::AlertCondition.name())),
        ("TargetUse", use_of("targetRef")),
        ("TargetUse.kind", only(Kind::AlertNotificationTarget.name())),
        ("Condition.kind", only("burnrate")),
    ]
}

/// Where the indicator stands, and what it and the budgeting method ask of the objectives.
fn slo_rules() -> Value {
    let each_objective = |schema: Value| json!({ "objectives": { "items": schema } });
    let objectives_have_none = each_objective(without(&["indicator", "indicatorRef"]));
    let each_has_one =
        json!({ "oneOf": [{ "required": ["indicator"] }, { "required": ["indicatorRef"] }] });
    let method = |name: &str| json!({ "properties": { "budgetingMethod": { "const": name } } });
    let asks = |condition: Value, schema: Value| json!({ "if": condition, "then": { "properties": each_objective(schema) } });
    let mut one_limit = asks(
        measured_by("thresholdMetric"),
        json!({ "required": ["op", "value"] }),
    );
    one_limit["then"]["properties"]["objectives"]["maxItems"] = json!(1);
    json!({
        "oneOf": [
            {
                "required": ["indicator"],
                "properties": { "indicatorRef": false },
                "allOf": [{ "properties": objectives_have_none }],
            },
            {
                "required": ["indicatorRef"],
                "properties": { "indicator": false },
                "allOf": [{ "properties": objectives_have_none }],
            },
            {
                "properties": { "indicator": false, "indicatorRef": false },
                "allOf": [{ "properties": each_objective(each_has_one) }],
            },
        ],
        "allOf": [
            asks(method("Occurrences"), without(&["timeSliceTarget", "timeSliceWindow"])),
            asks(method("Timeslices"), json!({ "required": ["timeSliceTarget", "timeSliceWindow"] })),
            asks(method("RatioTimeslices"), json!({ "required": ["timeSliceWindow"] })),
            asks(measured_by("ratioMetric"), without(&["op", "value"])),
            one_limit,
        ],
    })
}

/// An inline indicator stands here, with this metric.
fn measured_by(metric: &str) -> Value {
    let spec = json!({ "required": [metric] });
    json!({
        "required": ["indicator"],
        "properties": { "indicator": { "required": ["spec"], "properties": { "spec": spec } } },
    })
}

/// None of these keys stands here.
fn without(keys: &[&str]) -> Value {
    let forbidden = keys.iter().map(|key| ((*key).to_owned(), json!(false)));
    json!({ "properties": forbidden.collect::<Map<_, _>>() })
}
