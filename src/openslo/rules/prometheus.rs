//! Rules of making Prometheus rules of documents, beyond those of the documents themselves.

use super::Rule;

rules! {
    /// Agreed on.
    SUGGESTION = Rule::note(
        "rules-suggestion",
        "A suggestion, whose slo-copilot.dev/state is ready or provisional, gets no alerts.",
        "slo-copilot: nobody is paged for what nobody agreed on",
    )
    .examples(
        ruled!(metadata: "{name: checkout-requests, annotations: {slo-copilot.dev/state: adopted}}"),
        ruled!(metadata: "{name: checkout-requests, annotations: {slo-copilot.dev/state: provisional}}"),
    );

    /// Metrics of Prometheus.
    SOURCE = Rule::error(
        "rules-source",
        "The metrics of an indicator are of type Prometheus, Thanos, Mimir or Cortex, and spec.query is what it is asked.",
        "slo-copilot: only Prometheus, and what has its engine, evaluates the rules",
    )
    .examples(
        ruled!(good: "http_requests_total"),
        ruled!(indicator:
            "      ratioMetric:\n        counter: true\n"
            "        good: {metricSource: {type: Datadog, spec: {query: good}}}\n"
            "        total: {metricSource: {type: Prometheus, spec: {query: http_requests_total}}}\n"),
    );

    /// Expressions that Prometheus understands.
    PROMQL = Rule::error(
        "rules-promql",
        "A query is PromQL, with its ranges written as [{{.window}}] or as numbers.",
        "Prometheus would refuse the whole file",
    )
    .examples(
        ruled!(good: "sum(increase(http_requests_total{code=\"200\"}[{{.window}}]))"),
        ruled!(good: "sum(increase(http_requests_total{code=\"200\"[{{.window}}]))"),
    );

    /// Counts for every window.
    RANGE = Rule::error(
        "rules-range",
        "A query counts events over [{{.window}}], or it is a selector of a counter and counter is true.",
        "Sloth, and slo-copilot for counters: rules need the same count over several windows",
    )
    .examples(
        ruled!(good: "sum(increase(http_requests_total{code=\"200\"}[{{.window}}]))"),
        ruled!(good: "sum(increase(http_requests_total{code=\"200\"}[5m]))"),
    );

    /// Counts, not rates.
    RATE = Rule::note(
        "rules-rate",
        "rate() of a query becomes increase(), so that alerts can ask for a number of bad events.",
        "slo-copilot",
    )
    .examples(
        ruled!(good: "sum(increase(http_requests_total{code=\"200\"}[{{.window}}]))"),
        ruled!(good: "sum(rate(http_requests_total{code=\"200\"}[{{.window}}]))"),
    );

    /// A ratio of events.
    INDICATOR = Rule::error(
        "rules-indicator",
        "The indicator is a ratioMetric.",
        "slo-copilot: how often a threshold is looked at is not said, so events cannot be counted",
    )
    .examples(
        ruled!(good: "http_requests_total"),
        concat!(
            "apiVersion: openslo/v1\nkind: Service\nmetadata: {name: checkout}\nspec: {}\n---\n",
            "apiVersion: openslo/v1\nkind: SLO\nmetadata: {name: checkout-requests}\nspec:\n",
            "  service: checkout\n  budgetingMethod: Occurrences\n",
            "  timeWindow: [{duration: 30d, isRolling: true}]\n",
            "  objectives: [{target: 0.99, op: lte, value: 0.3}]\n",
            "  indicator:\n    metadata: {name: requests}\n    spec:\n",
            "      thresholdMetric: {metricSource: {type: Prometheus, spec: {query: p95}}}\n",
        ),
    );

    /// Ratios without counts.
    RAW = Rule::warning(
        "rules-raw",
        "Alerts of a raw ratio cannot ask for a number of bad events, nor tell a silent metric from a lost one.",
        "slo-copilot: a single failure among few events pages",
    )
    .examples(
        ruled!(good: "http_requests_total"),
        ruled!(indicator:
            "      ratioMetric:\n        rawType: failure\n"
            "        raw: {metricSource: {type: Prometheus, spec: {query: 'job:errors:ratio_rate{{.window}}'}}}\n"),
    );

    /// Slices that can be cut.
    SLICE = Rule::error(
        "rules-slice",
        "Slices are of whole minutes up to 1h that divide a day; slo-copilot.dev/empty-slices is good, bad or excluded.",
        "slo-copilot: points of PromQL stand at multiples of the slice, which begin anew each day",
    )
    .examples(
        ruled!(method: "Timeslices" "[{target: 0.99, timeSliceTarget: 0.95, timeSliceWindow: 5m}]"),
        ruled!(method: "RatioTimeslices" "[{target: 0.99, timeSliceWindow: 7m}]"),
    );

    /// Members that burn together.
    COMPOSITE = Rule::error(
        "rules-composite",
        "Members of a composite have good and total events; where they share slices, these and their target are the same.",
        "slo-copilot: they burn as `serve` judges them, by weight or slice by slice",
    )
    .examples(
        ruled!(members: "Occurrences" "{target: 0.99, compositeWeight: 2" "{target: 0.9"),
        ruled!(members: "RatioTimeslices" "{target: 0.99, timeSliceWindow: 5m" "{target: 0.99, timeSliceWindow: 10m"),
    );

    /// A budget to burn.
    TARGET = Rule::error("rules-target", "The target of an objective is above 0.", "slo-copilot")
        .examples(
            ruled!(method: "Occurrences" "[{target: 0.5}]"),
            ruled!(method: "Occurrences" "[{target: 0}]"),
        );

    /// Lengths that can be judged.
    PERIOD = Rule::error(
        "rules-period",
        "The period of an objective is of whole days, from 7 to 400 of them.",
        "slo-copilot: the windows of burn-rate rules scale with the period",
    )
    .examples(
        ruled!(window: "{duration: 90d, isRolling: true}"),
        ruled!(window: "{duration: 1d, isRolling: true}"),
    );

    /// Rolling budgets.
    CALENDAR = Rule::warning(
        "rules-calendar",
        "A calendar period gets burn-rate alerts, and no rules about what is left of its budget.",
        "PromQL: no range begins where a month does",
    )
    .examples(
        ruled!(window: "{duration: 30d, isRolling: true}"),
        ruled!(
            window: "{duration: 1M, calendar: {startTime: '2026-01-01 00:00:00', timeZone: Europe/Berlin}}"
        ),
    );

    /// One set of rules of a name.
    NAME_TAKEN = Rule::error(
        "rules-name",
        "The service's name with the objective's behind it is unique, since it is the label sloth_id.",
        "Prometheus would record both in one series",
    )
    .examples(
        ruled!(method: "Occurrences" "[{target: 0.9, displayName: Loose}, {target: 0.99, displayName: Tight}]"),
        ruled!(method: "Occurrences" "[{target: 0.9, displayName: Same}, {target: 0.99, displayName: Same}]"),
    );
}
