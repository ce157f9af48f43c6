//! Macros for the examples of rules: whole files with only what matters written out.

/// Rules as constants, and the table of them.
macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $rule:expr;)+) => {
        $($(#[$doc])* pub const $name: Rule = $rule;)+

        /// The rules of this file.
        pub const RULES: &[Rule] = &[$($name),+];
    };
}

/// A document of a kind with this spec.
macro_rules! document {
    ($kind:literal, $spec:literal) => {
        concat!(
            "apiVersion: openslo/v1\nkind: ",
            $kind,
            "\nmetadata: {name: example}\nspec: ",
            $spec,
            "\n"
        )
    };
}

/// A Service with these metadata.
macro_rules! metadata {
    ($metadata:literal) => {
        concat!(
            "apiVersion: openslo/v1\nkind: Service\nmetadata: ",
            $metadata,
            "\nspec: {}\n"
        )
    };
}

/// A Service, and an SLO of it with what the lines say.
macro_rules! slo {
    (spec: $($line:literal)+) => {
        concat!(
            "apiVersion: openslo/v1\nkind: Service\nmetadata: {name: checkout}\nspec: {}\n---\n",
            "apiVersion: openslo/v1\nkind: SLO\nmetadata: {name: checkout-requests}\nspec:\n",
            $("  ", $line, "\n"),+
        )
    };
    (indicator: $($line:literal)+) => {
        slo!(
            spec: "service: checkout" "timeWindow: [{duration: 30d, isRolling: true}]" $($line)+
        )
    };
    (ratio: $($line:literal)+) => {
        slo!(
            indicator:
            "indicator:"
            "  metadata: {name: requests}"
            "  spec:"
            "    ratioMetric:"
            "      good: {metricSource: {type: Prometheus, spec: {query: good}}}"
            "      total: {metricSource: {type: Prometheus, spec: {query: total}}}"
            $($line)+
        )
    };
    (threshold: $($line:literal)+) => {
        slo!(
            indicator:
            "indicator:"
            "  metadata: {name: latency}"
            "  spec: {thresholdMetric: {metricSource: {type: Prometheus, spec: {query: p95}}}}"
            "budgetingMethod: Occurrences"
            $($line)+
        )
    };
    (window: $($line:literal)+) => {
        slo!(
            spec:
            "service: checkout"
            "budgetingMethod: Occurrences"
            "indicator:"
            "  metadata: {name: requests}"
            "  spec:"
            "    ratioMetric:"
            "      good: {metricSource: {type: Prometheus, spec: {query: good}}}"
            "      total: {metricSource: {type: Prometheus, spec: {query: total}}}"
            "objectives: [{target: 0.99}]"
            $($line)+
        )
    };
    ($($line:literal)+) => {
        slo!(ratio: "budgetingMethod: Occurrences" $($line)+)
    };
}

/// An SLI with this spec.
macro_rules! sli {
    ($($line:literal)+) => {
        concat!(
            "apiVersion: openslo/v1\nkind: SLI\nmetadata: {name: requests}\nspec:\n",
            $("  ", $line, "\n"),+
        )
    };
}

/// A policy with a condition and a target, and with what the lines say.
macro_rules! policy {
    ($($line:literal)+) => {
        concat!(
            "apiVersion: openslo/v1\nkind: AlertCondition\nmetadata: {name: fast-burn}\nspec:\n",
            "  severity: page\n",
            "  condition: {kind: burnrate, op: gte, threshold: 14.4, lookbackWindow: 1h}\n---\n",
            "apiVersion: openslo/v1\nkind: AlertNotificationTarget\nmetadata: {name: on-call}\n",
            "spec: {target: slack}\n---\n",
            "apiVersion: openslo/v1\nkind: AlertPolicy\nmetadata: {name: burn}\nspec:\n",
            $("  ", $line, "\n"),+
        )
    };
}

/// A text ten times.
macro_rules! ten_times {
    ($text:expr) => {
        concat!(
            $text, $text, $text, $text, $text, $text, $text, $text, $text, $text
        )
    };
}

/// An SLO that is annotated, or one that is but for what the lines say.
macro_rules! adopted {
    (whole: $annotations:literal $method:literal $window:literal $objectives:literal) => {
        concat!(
            "apiVersion: openslo/v1\nkind: Service\nmetadata: {name: checkout}\nspec: {}\n---\n",
            "apiVersion: openslo/v1\nkind: SLO\nmetadata:\n  name: checkout-requests\n  ",
            $annotations,
            "\nspec:\n  service: checkout\n  budgetingMethod: ",
            $method,
            "\n  timeWindow: [",
            $window,
            "]\n  objectives: ",
            $objectives,
            "\n  indicator:\n    metadata: {name: requests}\n    spec:\n      ratioMetric:\n",
            "        good: {metricSource: {type: Prometheus, spec: {query: good}}}\n",
            "        total: {metricSource: {type: Prometheus, spec: {query: total}}}\n",
        )
    };
    (objectives: $objectives:literal) => {
        adopted!(
            whole: "annotations: {slo-copilot.dev/service: checkout, slo-copilot.dev/sli: availability}"
            "Occurrences" "{duration: 30d, isRolling: true}" $objectives
        )
    };
    (window: $window:literal) => {
        adopted!(
            whole: "annotations: {slo-copilot.dev/service: checkout, slo-copilot.dev/sli: availability}"
            "Occurrences" $window "[{target: 0.99}]"
        )
    };
    (slices: $objectives:literal) => {
        adopted!(
            whole: "annotations: {slo-copilot.dev/service: checkout, slo-copilot.dev/sli: availability}"
            "RatioTimeslices" "{duration: 30d, isRolling: true}" $objectives
        )
    };
    ($annotations:literal) => {
        adopted!(
            whole: $annotations "Occurrences" "{duration: 30d, isRolling: true}" "[{target: 0.99}]"
        )
    };
}

/// A Service, and an SLO of it that becomes Prometheus rules, or would but for what the arguments say.
macro_rules! ruled {
    (whole: $metadata:literal $indicator:literal $method:literal $window:literal $objectives:literal) => {
        concat!(
            "apiVersion: openslo/v1\nkind: Service\nmetadata: {name: checkout}\nspec: {}\n---\n",
            "apiVersion: openslo/v1\nkind: SLO\nmetadata: ",
            $metadata,
            "\nspec:\n  service: checkout\n  budgetingMethod: ",
            $method,
            "\n  timeWindow: [",
            $window,
            "]\n  objectives: ",
            $objectives,
            "\n  indicator:\n    metadata: {name: requests}\n    spec:\n",
            $indicator,
        )
    };
    (metadata: $metadata:literal) => {
        ruled!(
            whole: $metadata "      ratioMetric:
        counter: true
        good: {metricSource: {type: Prometheus, spec: {query: 'http_requests_total{code=\"200\"}'}}}
        total: {metricSource: {type: Prometheus, spec: {query: http_requests_total}}}
" "Occurrences" "{duration: 30d, isRolling: true}" "[{target: 0.99}]"
        )
    };
    (good: $good:literal) => {
        ruled!(indicator:
            "      ratioMetric:
        counter: true
        good: {metricSource: {type: Prometheus, spec: {query: '"
            $good
            "'}}}
        total: {metricSource: {type: Prometheus, spec: {query: http_requests_total}}}
"
        )
    };
    (indicator: $($line:literal)+) => {
        concat!(
            ruled!(whole: "{name: checkout-requests}" "" "Occurrences"
                "{duration: 30d, isRolling: true}" "[{target: 0.99}]"),
            $($line),+
        )
    };
    (method: $method:literal $objectives:literal) => {
        ruled!(
            whole: "{name: checkout-requests}" "      ratioMetric:
        counter: true
        good: {metricSource: {type: Prometheus, spec: {query: 'http_requests_total{code=\"200\"}'}}}
        total: {metricSource: {type: Prometheus, spec: {query: http_requests_total}}}
" $method "{duration: 30d, isRolling: true}" $objectives
        )
    };
    (members: $method:literal $($objective:literal)+) => {
        concat!(
            "apiVersion: openslo/v1\nkind: Service\nmetadata: {name: checkout}\nspec: {}\n---\n",
            "apiVersion: openslo/v1\nkind: SLO\nmetadata: {name: checkout-requests}\nspec:\n",
            "  service: checkout\n  budgetingMethod: ",
            $method,
            "\n  timeWindow: [{duration: 30d, isRolling: true}]\n  objectives:\n",
            $(
                "    - ",
                $objective,
                ", indicator: {metadata: {name: requests}, spec: {ratioMetric: {counter: true, ",
                "good: {metricSource: {type: Prometheus, spec: {query: good_total}}}, ",
                "total: {metricSource: {type: Prometheus, spec: {query: all_total}}}}}}}\n",
            )+
        )
    };
    (window: $window:literal) => {
        ruled!(
            whole: "{name: checkout-requests}" "      ratioMetric:
        counter: true
        good: {metricSource: {type: Prometheus, spec: {query: 'http_requests_total{code=\"200\"}'}}}
        total: {metricSource: {type: Prometheus, spec: {query: http_requests_total}}}
" "Occurrences" $window "[{target: 0.99}]"
        )
    };
}
