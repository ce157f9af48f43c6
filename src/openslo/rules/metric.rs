//! Rules of indicators and their metrics.

use super::Rule;

rules! {
    /// One kind of metric.
    METRIC_CHOICE = Rule::error(
        "metric-choice",
        "An SLI has exactly one of thresholdMetric and ratioMetric.",
        "prose; SDK",
    )
    .examples(
        sli!("thresholdMetric: {metricSource: {type: Prometheus, spec: {query: p95}}}"),
        sli!("description: Nothing is measured."),
    );

    /// Of what the ratio is made.
    RATIO_CHOICE = Rule::error(
        "ratio-choice",
        "A ratioMetric has total with exactly one of good and bad, or raw alone.",
        "prose; SDK",
    )
    .examples(
        sli!(
            "ratioMetric:"
            "  bad: {metricSource: {type: Prometheus, spec: {query: bad}}}"
            "  total: {metricSource: {type: Prometheus, spec: {query: total}}}"
        ),
        sli!(
            "ratioMetric:"
            "  good: {metricSource: {type: Prometheus, spec: {query: good}}}"
            "  bad: {metricSource: {type: Prometheus, spec: {query: bad}}}"
            "  total: {metricSource: {type: Prometheus, spec: {query: total}}}"
        ),
    );

    /// What a raw ratio is of.
    RAW_TYPE = Rule::error(
        "raw-type",
        "rawType stands with raw and only there, and is success or failure.",
        "prose; SDK; S7",
    )
    .examples(
        sli!(
            "ratioMetric:" "  rawType: success"
            "  raw: {metricSource: {type: Prometheus, spec: {query: ratio}}}"
        ),
        sli!("ratioMetric:" "  raw: {metricSource: {type: Prometheus, spec: {query: ratio}}}"),
    );

    /// Whom to ask.
    METRIC_SOURCE_TYPE = Rule::error(
        "metric-source-type",
        "A metricSource without metricSourceRef says its type.",
        "prose; S5",
    )
    .examples(
        sli!("thresholdMetric: {metricSource: {type: Prometheus, spec: {query: p95}}}"),
        sli!("thresholdMetric: {metricSource: {spec: {query: p95}}}"),
    );

    /// What to ask.
    METRIC_SOURCE_SPEC = Rule::error(
        "metric-source-spec",
        "The spec of a metricSource has at least one key.",
        "SDK",
    )
    .examples(
        sli!("thresholdMetric: {metricSource: {type: Prometheus, spec: {query: p95}}}"),
        sli!("thresholdMetric: {metricSource: {type: Prometheus, spec: {}}}"),
    );
}
