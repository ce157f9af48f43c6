//! Rules of an SLO: its window, its method, and where its indicator stands.

use super::Rule;

rules! {
    /// One of three.
    BUDGETING_METHOD = Rule::error(
        "budgeting-method",
        "budgetingMethod is Occurrences, Timeslices or RatioTimeslices.",
        "prose; SDK",
    )
    .examples(
        slo!(ratio: "budgetingMethod: Occurrences" "objectives: [{target: 0.99}]"),
        slo!(ratio: "budgetingMethod: occurrences" "objectives: [{target: 0.99}]"),
    );

    /// One window.
    TIME_WINDOW_COUNT = Rule::error("time-window-count", "timeWindow has exactly one item.", "SDK")
        .examples(
            slo!(window: "timeWindow: [{duration: 30d, isRolling: true}]"),
            slo!(window: "timeWindow: [{duration: 30d, isRolling: true}, {duration: 7d, isRolling: true}]"),
        );

    /// Rolling or from a calendar.
    TIME_WINDOW_CALENDAR = Rule::error(
        "time-window-calendar",
        "A window is rolling and has no calendar, or is not rolling and has one.",
        "prose; SDK",
    )
    .examples(
        slo!(window: "timeWindow: [{duration: 1M, calendar: {startTime: '2026-01-01 00:00:00', timeZone: UTC}}]"),
        slo!(window: "timeWindow: [{duration: 1M}]"),
    );

    /// A day that exists.
    START_TIME = Rule::error(
        "start-time",
        "startTime is a day and a time that exist, as YYYY-MM-DD HH:MM:SS.",
        "prose; SDK",
    )
    .examples(
        slo!(window: "timeWindow: [{duration: 1M, calendar: {startTime: '2028-02-29 00:00:00', timeZone: UTC}}]"),
        slo!(window: "timeWindow: [{duration: 1M, calendar: {startTime: '2026-02-30 00:00:00', timeZone: UTC}}]"),
    );

    /// A text for every reader.
    START_TIME_QUOTED = Rule::warning(
        "start-time-quoted",
        "startTime is quoted, since many readers of YAML take it for a time stamp.",
        "YAML 1.1; S10",
    )
    .examples(
        slo!(
            window: "timeWindow:" "- duration: 1M" "  calendar:" "    startTime: '2026-01-01 00:00:00'"
            "    timeZone: UTC"
        ),
        slo!(
            window: "timeWindow:" "- duration: 1M" "  calendar:" "    startTime: 2026-01-01 00:00:00"
            "    timeZone: UTC"
        ),
    );

    /// A zone that exists.
    TIME_ZONE = Rule::error(
        "time-zone",
        "timeZone is a name of the IANA time zone database, such as Europe/Berlin or UTC.",
        "prose; SDK",
    )
    .examples(
        slo!(window: "timeWindow: [{duration: 1M, calendar: {startTime: '2026-01-01 00:00:00', timeZone: Europe/Berlin}}]"),
        slo!(window: "timeWindow: [{duration: 1M, calendar: {startTime: '2026-01-01 00:00:00', timeZone: Europe/Munich}}]"),
    );

    /// One indicator.
    INDICATOR_CHOICE = Rule::error(
        "indicator-choice",
        "An SLO has exactly one of indicator and indicatorRef, or one on each of its objectives.",
        "prose; SDK",
    )
    .examples(
        slo!("objectives: [{target: 0.99}]"),
        slo!(indicator: "budgetingMethod: Occurrences" "objectives: [{target: 0.99}]"),
    );

    /// Above or below, not both.
    INDICATOR_LEVEL = Rule::error(
        "indicator-level",
        "Indicators stand on the SLO or on its objectives, never on both.",
        "prose; SDK",
    )
    .examples(
        slo!("objectives: [{target: 0.99}]"),
        slo!(
            "objectives:" "- target: 0.99" "  indicator:" "    metadata: {name: other}" "    spec:"
            "      ratioMetric:"
            "        raw: {metricSource: {type: Prometheus, spec: {query: ratio}}}"
            "        rawType: success"
        ),
    );

    /// All members, or none.
    COMPOSITE_INDICATOR = Rule::error(
        "composite-indicator",
        "In a composite, every objective has exactly one of indicator and indicatorRef.",
        "prose; S3",
    )
    .examples(
        slo!(
            indicator: "budgetingMethod: Occurrences" "objectives:" "- target: 0.99" "  indicator:"
            "    metadata: {name: one}" "    spec:" "      ratioMetric:"
            "        raw: {metricSource: {type: Prometheus, spec: {query: ratio}}}"
            "        rawType: success"
        ),
        slo!(
            indicator: "budgetingMethod: Occurrences" "objectives:" "- target: 0.99" "  indicator:"
            "    metadata: {name: one}" "    spec:" "      ratioMetric:"
            "        raw: {metricSource: {type: Prometheus, spec: {query: ratio}}}"
            "        rawType: success" "- target: 0.95"
        ),
    );

    /// Something is promised.
    OBJECTIVES_EMPTY = Rule::error("objectives-empty", "An SLO has at least one objective.", "prose; S1")
        .examples(slo!("objectives: [{target: 0.99}]"), slo!("objectives: []"));

    /// One limit.
    THRESHOLD_OBJECTIVES = Rule::error(
        "threshold-objectives",
        "An SLO whose indicator is a thresholdMetric has exactly one objective.",
        "prose; S2",
    )
    .examples(
        slo!(threshold: "objectives: [{target: 0.99, op: lte, value: 200}]"),
        slo!(threshold: "objectives: [{target: 0.99, op: lte, value: 200}, {target: 0.9, op: lte, value: 100}]"),
    );
}
