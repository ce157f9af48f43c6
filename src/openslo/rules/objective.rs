//! Rules of the objectives of an SLO.

use super::Rule;

rules! {
    /// As a ratio or in percent.
    TARGET_CHOICE = Rule::error(
        "target-choice",
        "An objective has exactly one of target and targetPercent.",
        "prose; SDK",
    )
    .examples(
        slo!("objectives: [{targetPercent: 99.9}]"),
        slo!("objectives: [{target: 0.999, targetPercent: 99.9}]"),
    );

    /// Below all of it.
    TARGET_RANGE = Rule::error(
        "target-range",
        "target is at least 0 and below 1, targetPercent at least 0 and below 100.",
        "prose; SDK",
    )
    .examples(slo!("objectives: [{target: 0.99}]"), slo!("objectives: [{target: 99}]"));

    /// No limit where there is nothing to compare.
    RATIO_LIMIT = Rule::error(
        "ratio-limit",
        "An objective of a ratioMetric has neither op nor value.",
        "SDK; S4",
    )
    .examples(
        slo!("objectives: [{target: 0.99}]"),
        slo!("objectives: [{target: 0.99, op: gt}]"),
    );

    /// A limit where there is something to compare.
    THRESHOLD_LIMIT = Rule::error(
        "threshold-limit",
        "An objective of a thresholdMetric has both op and value.",
        "SDK; S4",
    )
    .examples(
        slo!(threshold: "objectives: [{target: 0.99, op: lte, value: 200}]"),
        slo!(threshold: "objectives: [{target: 0.99, op: lte}]"),
    );

    /// One of four.
    OPERATOR = Rule::error("operator", "op is gt, gte, lt or lte.", "prose; SDK").examples(
        slo!(threshold: "objectives: [{target: 0.99, op: lte, value: 200}]"),
        slo!(threshold: "objectives: [{target: 0.99, op: '<=', value: 200}]"),
    );

    /// What a slice needs.
    TIME_SLICE_REQUIRED = Rule::error(
        "time-slice-required",
        "Objectives have timeSliceWindow with both timeslice methods, and timeSliceTarget with Timeslices.",
        "prose; SDK",
    )
    .examples(
        slo!(
            ratio: "budgetingMethod: Timeslices"
            "objectives: [{target: 0.99, timeSliceTarget: 0.95, timeSliceWindow: 5m}]"
        ),
        slo!(ratio: "budgetingMethod: Timeslices" "objectives: [{target: 0.99, timeSliceTarget: 0.95}]"),
    );

    /// No slices where none are counted.
    TIME_SLICE_FORBIDDEN = Rule::error(
        "time-slice-forbidden",
        "timeSliceTarget and timeSliceWindow stand only with a timeslice method.",
        "prose; S7",
    )
    .examples(
        slo!("objectives: [{target: 0.99}]"),
        slo!("objectives: [{target: 0.99, timeSliceWindow: 5m}]"),
    );

    /// A ratio.
    TIME_SLICE_TARGET_RANGE = Rule::error(
        "time-slice-target-range",
        "timeSliceTarget is above 0 and at most 1.",
        "prose; SDK",
    )
    .examples(
        slo!(
            ratio: "budgetingMethod: Timeslices"
            "objectives: [{target: 0.99, timeSliceTarget: 1, timeSliceWindow: 5m}]"
        ),
        slo!(
            ratio: "budgetingMethod: Timeslices"
            "objectives: [{target: 0.99, timeSliceTarget: 95, timeSliceWindow: 5m}]"
        ),
    );

    /// Many slices in a window.
    TIME_SLICE_WINDOW_LENGTH = Rule::error(
        "time-slice-window-length",
        "timeSliceWindow is shorter than timeWindow.",
        "prose; S7",
    )
    .examples(
        slo!(ratio: "budgetingMethod: RatioTimeslices" "objectives: [{target: 0.99, timeSliceWindow: 1h}]"),
        slo!(ratio: "budgetingMethod: RatioTimeslices" "objectives: [{target: 0.99, timeSliceWindow: 30d}]"),
    );

    /// Some weight.
    COMPOSITE_WEIGHT = Rule::error("composite-weight", "compositeWeight is above 0.", "prose; SDK")
        .examples(
            slo!(
                indicator: "budgetingMethod: Occurrences" "objectives:" "- target: 0.99"
                "  compositeWeight: 2" "  indicator:" "    metadata: {name: one}" "    spec:"
                "      ratioMetric:"
                "        raw: {metricSource: {type: Prometheus, spec: {query: ratio}}}"
                "        rawType: success"
            ),
            slo!(
                indicator: "budgetingMethod: Occurrences" "objectives:" "- target: 0.99"
                "  compositeWeight: 0" "  indicator:" "    metadata: {name: one}" "    spec:"
                "      ratioMetric:"
                "        raw: {metricSource: {type: Prometheus, spec: {query: ratio}}}"
                "        rawType: success"
            ),
        );
}
