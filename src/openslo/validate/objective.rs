//! The objectives of an SLO.

use crate::model::period::Shorthand;
use crate::openslo::rules::document::UNUSED_FIELD;
use crate::openslo::rules::objective::{
    COMPOSITE_WEIGHT, OPERATOR, RATIO_LIMIT, TARGET_CHOICE, TARGET_RANGE, THRESHOLD_LIMIT,
    TIME_SLICE_FORBIDDEN, TIME_SLICE_REQUIRED, TIME_SLICE_TARGET_RANGE, TIME_SLICE_WINDOW_LENGTH,
};
use crate::openslo::rules::slo::OBJECTIVES_EMPTY;
use crate::openslo::validate::check::Check;
use crate::openslo::validate::cursor::Object;
use crate::openslo::validate::metric::MetricKind;

const KEYS: [&str; 10] = [
    "displayName",
    "op",
    "value",
    "target",
    "targetPercent",
    "timeSliceTarget",
    "timeSliceWindow",
    "indicator",
    "indicatorRef",
    "compositeWeight",
];

/// The four comparisons.
pub(super) const OPERATORS: [&str; 4] = ["gt", "gte", "lt", "lte"];

/// What an objective stands in, where it is known.
pub(super) struct Setting {
    /// `budgetingMethod`.
    pub(super) method: Option<&'static str>,
    /// Length of the SLO's window.
    pub(super) window: Option<Shorthand>,
    /// What the objective is judged by.
    pub(super) metric: Option<MetricKind>,
    /// The objectives have indicators of their own.
    pub(super) is_composite: bool,
}

/// The objectives that can be read.
pub(super) fn objectives<'a>(check: &mut Check<'a>, slo: &Object<'a>) -> Vec<Object<'a>> {
    let Some(at) = check.required(slo, "objectives") else {
        return Vec::new();
    };
    let items = check.list(&at);
    if items.as_ref().is_some_and(Vec::is_empty) {
        check.report(
            &OBJECTIVES_EMPTY,
            &at,
            "at least one objective must stand here",
        );
    }
    let items = items.unwrap_or_default();
    items
        .iter()
        .filter_map(|item| check.object(item, &KEYS))
        .collect()
}

/// One objective.
pub(super) fn objective<'a>(check: &mut Check<'a>, objective: &Object<'a>, setting: &Setting) {
    check.optional_text(objective, "displayName");
    target(check, objective);
    limit(check, objective, setting.metric);
    time_slices(check, objective, setting);
    let weight = check.optional_number(objective, "compositeWeight");
    if let Some(at) = objective.get("compositeWeight") {
        if weight.is_some_and(|weight| weight <= 0.0) {
            check.report(&COMPOSITE_WEIGHT, at, "compositeWeight must be above 0");
        } else if !setting.is_composite {
            let message =
                "compositeWeight has an effect only where objectives have indicators of their own";
            check.report(&UNUSED_FIELD, at, message);
        }
    }
}

fn target<'a>(check: &mut Check<'a>, objective: &Object<'a>) {
    if objective.count(&["target", "targetPercent"]) != 1 {
        let message = "exactly one of target, such as 0.999, and targetPercent, such as 99.9, must stand here";
        check.report(&TARGET_CHOICE, &objective.at, message);
    }
    for (key, limit) in [("target", 1.0), ("targetPercent", 100.0)] {
        let value = check.optional_number(objective, key);
        if let (Some(at), Some(value)) = (objective.get(key), value)
            && !(0.0..limit).contains(&value)
        {
            let hint = if key == "target" && (1.0..100.0).contains(&value) {
                "; percentages stand in targetPercent"
            } else {
                ""
            };
            let message =
                format!("{key} must be at least 0 and below {limit}, and is {value}{hint}");
            check.report(&TARGET_RANGE, at, message);
        }
    }
}

/// `op` and `value`, which compare a threshold metric and nothing else.
fn limit<'a>(check: &mut Check<'a>, objective: &Object<'a>, metric: Option<MetricKind>) {
    if let Some(at) = objective.get("op") {
        check.one_of(&OPERATOR, at, &OPERATORS);
    }
    check.optional_number(objective, "value");
    match metric {
        Some(MetricKind::Ratio) => {
            for at in ["op", "value"].iter().filter_map(|key| objective.get(key)) {
                let message = "a ratio is compared with its target alone; remove op and value";
                check.report(&RATIO_LIMIT, at, message);
            }
        }
        Some(MetricKind::Threshold) if objective.count(&["op", "value"]) < 2 => {
            let message = "a thresholdMetric needs op and value, such as op: lte and value: 200";
            check.report(&THRESHOLD_LIMIT, &objective.at, message);
        }
        Some(MetricKind::Threshold) | None => {}
    }
}

fn time_slices<'a>(check: &mut Check<'a>, objective: &Object<'a>, setting: &Setting) {
    let target = check.optional_number(objective, "timeSliceTarget");
    if let (Some(at), Some(target)) = (objective.get("timeSliceTarget"), target)
        && !(target > 0.0 && target <= 1.0)
    {
        let message = format!("timeSliceTarget must be above 0 and at most 1, and is {target}");
        check.report(&TIME_SLICE_TARGET_RANGE, at, message);
    }
    let slice = objective
        .get("timeSliceWindow")
        .and_then(|at| check.duration(at));
    if let (Some(at), Some(slice), Some(window)) =
        (objective.get("timeSliceWindow"), slice, setting.window)
        && slice.secs() >= window.secs()
    {
        let message = format!("a slice of {slice} must be shorter than the window of {window}");
        check.report(&TIME_SLICE_WINDOW_LENGTH, at, message);
    }
    let needed: &[&str] = match setting.method {
        Some("Timeslices") => &["timeSliceTarget", "timeSliceWindow"],
        Some("RatioTimeslices") => &["timeSliceWindow"],
        Some(_) => {
            forbid_time_slices(check, objective);
            return;
        }
        None => return,
    };
    for key in needed.iter().filter(|key| !objective.has(key)) {
        let message = format!(
            "the key `{key}` is missing, which {} needs",
            setting.method.unwrap_or_default()
        );
        check.report(&TIME_SLICE_REQUIRED, &objective.at, message);
    }
    if let (1, Some(at)) = (needed.len(), objective.get("timeSliceTarget")) {
        let message = "timeSliceTarget has no effect with RatioTimeslices, which takes the ratio of each slice";
        check.report(&UNUSED_FIELD, at, message);
    }
}

fn forbid_time_slices<'a>(check: &mut Check<'a>, objective: &Object<'a>) {
    let keys = ["timeSliceTarget", "timeSliceWindow"];
    for at in keys.iter().filter_map(|key| objective.get(key)) {
        let message = "slices are counted only with budgetingMethod Timeslices or RatioTimeslices";
        check.report(&TIME_SLICE_FORBIDDEN, at, message);
    }
}
