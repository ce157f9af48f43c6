//! An SLO: its service, window, method and indicator.

use crate::model::period::Shorthand;
use crate::openslo::rules::slo::{
    BUDGETING_METHOD, COMPOSITE_INDICATOR, INDICATOR_CHOICE, INDICATOR_LEVEL, START_TIME,
    START_TIME_QUOTED, THRESHOLD_OBJECTIVES, TIME_WINDOW_CALENDAR, TIME_WINDOW_COUNT, TIME_ZONE,
};
use crate::openslo::text::{TimeZoneName, calendar_start, time_zone_name};
use crate::openslo::v1::Kind;
use crate::openslo::validate::alert::inline_or_reference;
use crate::openslo::validate::check::Check;
use crate::openslo::validate::cursor::{Cursor, Object};
use crate::openslo::validate::envelope::description;
use crate::openslo::validate::metric::{MetricKind, inline_indicator};
use crate::openslo::validate::objective::{Setting, objective, objectives};

const KEYS: [&str; 8] = [
    "description",
    "service",
    "indicator",
    "indicatorRef",
    "timeWindow",
    "budgetingMethod",
    "objectives",
    "alertPolicies",
];

const METHODS: [&str; 3] = ["Occurrences", "Timeslices", "RatioTimeslices"];

/// The keys of an indicator.
const INDICATOR: [&str; 2] = ["indicator", "indicatorRef"];

/// `spec` of an SLO.
pub(super) fn spec<'a>(check: &mut Check<'a>, at: &Cursor<'a>) {
    let Some(slo) = check.object(at, &KEYS) else {
        return;
    };
    description(check, &slo);
    if let Some(at) = check.required(&slo, "service") {
        check.reference(Kind::Service, &at);
    }
    let method = check
        .required(&slo, "budgetingMethod")
        .and_then(|at| check.one_of(&BUDGETING_METHOD, &at, &METHODS));
    let window = check
        .required(&slo, "timeWindow")
        .and_then(|at| time_window(check, &at));
    let objectives = objectives(check, &slo);
    let metrics = indicators(check, &slo, &objectives);
    let is_composite = slo.count(&INDICATOR) == 0;
    for (at, metric) in objectives.iter().zip(metrics) {
        let setting = Setting {
            method,
            window,
            metric,
            is_composite,
        };
        objective(check, at, &setting);
    }
    if let Some(at) = slo.get("alertPolicies") {
        for policy in check.list(at).unwrap_or_default() {
            inline_or_reference(check, &policy, Kind::AlertPolicy);
        }
    }
}

/// The window's length.
fn time_window<'a>(check: &mut Check<'a>, at: &Cursor<'a>) -> Option<Shorthand> {
    let windows = check.list(at)?;
    if windows.len() != 1 {
        let message = format!(
            "timeWindow must have exactly one item, and has {}",
            windows.len()
        );
        check.report(&TIME_WINDOW_COUNT, at, message);
    }
    let mut lengths = windows.iter().map(|window| one_window(check, window));
    let first = lengths.next().flatten();
    // Further windows are one too many, and are checked all the same.
    lengths.for_each(drop);
    first
}

fn one_window<'a>(check: &mut Check<'a>, at: &Cursor<'a>) -> Option<Shorthand> {
    let window = check.object(at, &["duration", "isRolling", "calendar"])?;
    let is_rolling = check.optional_boolean(&window, "isRolling") == Some(true);
    match (is_rolling, window.get("calendar")) {
        (true, Some(at)) => {
            let message = "a rolling window has no calendar; remove it, or set isRolling: false";
            check.report(&TIME_WINDOW_CALENDAR, at, message);
        }
        (false, None) => {
            let message = "a window that is not rolling needs a calendar with startTime and timeZone; or set \
                           isRolling: true";
            check.report(&TIME_WINDOW_CALENDAR, at, message);
        }
        (true, None) | (false, Some(_)) => {}
    }
    if let Some(at) = window.get("calendar") {
        calendar(check, at);
    }
    let duration = check.required(&window, "duration")?;
    check.duration(&duration)
}

fn calendar<'a>(check: &mut Check<'a>, at: &Cursor<'a>) {
    let Some(calendar) = check.object(at, &["startTime", "timeZone"]) else {
        return;
    };
    if let Some(at) = check.required(&calendar, "startTime")
        && let Some(start) = check.text_scalar(&at)
    {
        if calendar_start(&start.text).is_none() {
            let message = format!(
                "`{}` is no day and time that exist, written as 2026-01-31 00:00:00",
                start.text
            );
            check.report(&START_TIME, &at, message);
        } else if start.plain {
            let message = "many readers of YAML take this for a time stamp; put it in quotes";
            check.report(&START_TIME_QUOTED, &at, message);
        }
    }
    if let Some(at) = check.required(&calendar, "timeZone")
        && let Some(zone) = check.text(&at)
    {
        let message = match time_zone_name(zone) {
            TimeZoneName::Known => return,
            TimeZoneName::Miswritten(right) => {
                format!("time zones are named in their own case: write {right}")
            }
            TimeZoneName::Unknown => format!(
                "`{zone}` is no name of the IANA time zone database, such as Europe/Berlin or UTC"
            ),
        };
        check.report(&TIME_ZONE, &at, message);
    }
}

/// What each objective is judged by, where that can be known.
fn indicators<'a>(
    check: &mut Check<'a>,
    slo: &Object<'a>,
    objectives: &[Object<'a>],
) -> Vec<Option<MetricKind>> {
    let on_slo = slo.count(&INDICATOR);
    let on_objectives = objectives.iter().any(|one| one.count(&INDICATOR) > 0);
    if on_slo > 1 {
        let message = "indicator and indicatorRef exclude each other; keep one";
        check.report(&INDICATOR_CHOICE, &slo.at, message);
    }
    if on_slo == 0 && !on_objectives && !objectives.is_empty() {
        let message = "exactly one of indicator and indicatorRef must stand here, or one on each objective of a composite";
        check.report(&INDICATOR_CHOICE, &slo.at, message);
    }
    let shared = indicator(check, slo);
    if shared == Some(MetricKind::Threshold) && objectives.len() > 1 {
        let message = format!(
            "a thresholdMetric has exactly one objective, and here are {}; write one SLO for each",
            objectives.len()
        );
        let at = slo.get("objectives").unwrap_or(&slo.at);
        check.report(&THRESHOLD_OBJECTIVES, at, message);
    }
    objectives
        .iter()
        .map(|one| {
            let own = one.count(&INDICATOR);
            if on_slo > 0 && own > 0 {
                let message =
                    "the SLO has an indicator already; keep that one, or one on each objective";
                check.report(&INDICATOR_LEVEL, &one.at, message);
            } else if on_objectives && own != 1 {
                let message =
                    "in a composite, each objective has exactly one of indicator and indicatorRef";
                check.report(&COMPOSITE_INDICATOR, &one.at, message);
            }
            let own = indicator(check, one);
            own.or(shared)
        })
        .collect()
}

/// The indicator of an SLO or of an objective.
fn indicator<'a>(check: &mut Check<'a>, of: &Object<'a>) -> Option<MetricKind> {
    let inline = of
        .get("indicator")
        .and_then(|at| inline_indicator(check, at));
    let referenced = of.get("indicatorRef").and_then(|at| {
        let name = check.reference(Kind::Sli, at)?;
        check.metric_of(name)
    });
    inline.or(referenced)
}
