//! Indicators and their metrics.

use crate::openslo::rules::document::UNUSED_FIELD;
use crate::openslo::rules::metric::{
    METRIC_CHOICE, METRIC_SOURCE_SPEC, METRIC_SOURCE_TYPE, RATIO_CHOICE, RAW_TYPE,
};
use crate::openslo::v1::Kind;
use crate::openslo::validate::check::Check;
use crate::openslo::validate::cursor::Cursor;
use crate::openslo::validate::envelope::{description, metadata};

/// What an indicator measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetricKind {
    /// A ratio of events.
    Ratio,
    /// A value that objectives compare with a limit.
    Threshold,
}

impl MetricKind {
    /// Neither where both or none stand.
    pub(super) fn of(has_ratio: bool, has_threshold: bool) -> Option<Self> {
        match (has_ratio, has_threshold) {
            (true, false) => Some(Self::Ratio),
            (false, true) => Some(Self::Threshold),
            (true, true) | (false, false) => None,
        }
    }
}

/// An indicator inside of an SLO: `metadata` and `spec`.
pub(super) fn inline_indicator<'a>(check: &mut Check<'a>, at: &Cursor<'a>) -> Option<MetricKind> {
    let indicator = check.object(at, &["metadata", "spec"])?;
    if let Some(at) = check.required(&indicator, "metadata") {
        metadata(check, &at);
    }
    let spec = check.required(&indicator, "spec")?;
    indicator_spec(check, &spec)
}

/// `spec` of an SLI.
pub(super) fn indicator_spec<'a>(check: &mut Check<'a>, at: &Cursor<'a>) -> Option<MetricKind> {
    let spec = check.object(at, &["description", "thresholdMetric", "ratioMetric"])?;
    description(check, &spec);
    let kind = MetricKind::of(spec.has("ratioMetric"), spec.has("thresholdMetric"));
    if kind.is_none() {
        let message = "exactly one of thresholdMetric and ratioMetric must stand here";
        check.report(&METRIC_CHOICE, at, message);
    }
    if let Some(at) = spec.get("thresholdMetric") {
        metric(check, at);
    }
    if let Some(at) = spec.get("ratioMetric") {
        ratio(check, at);
    }
    kind
}

fn ratio<'a>(check: &mut Check<'a>, at: &Cursor<'a>) {
    let keys = ["counter", "good", "bad", "total", "rawType", "raw"];
    let Some(ratio) = check.object(at, &keys) else {
        return;
    };
    check.optional_boolean(&ratio, "counter");
    for key in ["good", "bad", "total", "raw"] {
        if let Some(at) = ratio.get(key) {
            metric(check, at);
        }
    }
    let is_raw = ratio.has("raw");
    let parts = ratio.count(&["good", "bad"]);
    let message = match (is_raw, ratio.has("total"), parts) {
        (true, false, 0) | (false, true, 1) => None,
        (true, _, _) => Some("raw stands alone: remove good, bad and total, or raw"),
        (false, true, 0) => Some("total needs one of good and bad beside it"),
        (false, true, _) => Some("good and bad exclude each other: keep one beside total"),
        (false, false, 0) => Some("total with one of good and bad must stand here, or raw"),
        (false, false, _) => Some("total is missing beside good or bad"),
    };
    if let Some(message) = message {
        check.report(&RATIO_CHOICE, at, message);
    }
    match (is_raw, ratio.get("rawType")) {
        (true, None) => {
            let message = "raw needs rawType: success or failure";
            check.report(&RAW_TYPE, at, message);
        }
        (_, Some(at)) => {
            check.one_of(&RAW_TYPE, at, &["success", "failure"]);
            if !is_raw && message.is_none() {
                check.report(&RAW_TYPE, at, "rawType stands only with raw");
            }
        }
        (false, None) => {}
    }
    if let (true, Some(at)) = (is_raw, ratio.get("counter")) {
        check.report(&UNUSED_FIELD, at, "counter has no effect on a raw ratio");
    }
}

fn metric<'a>(check: &mut Check<'a>, at: &Cursor<'a>) {
    let source = check
        .object(at, &["metricSource"])
        .and_then(|metric| check.required(&metric, "metricSource"))
        .and_then(|at| check.object(&at, &["metricSourceRef", "type", "spec"]));
    let Some(source) = source else {
        return;
    };
    if let Some(at) = source.get("metricSourceRef") {
        check.reference(Kind::DataSource, at);
    }
    if source.has("type") {
        check.required_text(&source, "type");
    } else if !source.has("metricSourceRef") {
        let message = "type is missing; only a metricSourceRef may stand in for it";
        check.report(&METRIC_SOURCE_TYPE, &source.at, message);
    }
    if let Some(at) = check.required(&source, "spec")
        && let Some(spec) = check.map(&at)
        && spec.fields.is_empty()
    {
        let message = "spec must say what is asked for, for example query";
        check.report(&METRIC_SOURCE_SPEC, &at, message);
    }
}
