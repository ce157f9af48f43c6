//! Queries on a page as it is written, and what is refused.

use proptest::prelude::*;

use super::*;
use crate::exporter::prometheus::{fixture, render};
use crate::model::report::Verdict;
use crate::model::series::ServiceKey;

fn asked(query: &str) -> Value {
    let page = render(&fixture::report());
    Query::parse(query)
        .unwrap_or_else(|error| panic!("{query}: {error}"))
        .evaluate(&page)
        .unwrap_or_else(|error| panic!("{query}: {error}"))
}

/// The values of a vector, and its labels without the name.
fn told(query: &str) -> Vec<(String, f64)> {
    let Value::Vector(samples) = asked(query) else {
        panic!("{query} is no vector");
    };
    let text = |labels: LabelSet| -> String {
        let pairs = labels
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join(",")
    };
    let samples = samples.into_iter();
    samples
        .map(|sample| (text(sample.labels), sample.value))
        .collect()
}

fn number(query: &str) -> f64 {
    match asked(query) {
        Value::Scalar(number) => number,
        Value::Vector(samples) => {
            assert_eq!(samples.len(), 1, "{query}: {samples:?}");
            samples[0].value
        }
    }
}

#[test]
#[expect(clippy::float_cmp, reason = "the values are written exactly")]
fn expressions_come_to_what_prometheus_says() {
    for (query, wanted) in [
        ("vector(1)", 1.0),
        ("1 + 2 * 3 ^ 2", 19.0),
        ("-(7 % 4)", -3.0),
        ("2 > bool 1", 1.0),
        (
            r#"slo_copilot_verdict{service="checkout",verdict="fail"}"#,
            1.0,
        ),
        (r#"slo_copilot_verdict{service="",verdict="fail"}"#, 1.0),
        (r#"slo_copilot_verdict_score{service="checkout"}"#, 0.0),
        (
            r#"scalar(slo_copilot_slo_objective_ratio{slo="availability-checkout"})"#,
            0.999,
        ),
        (
            r#"slo_copilot_sli_ratio{service="checkout",window="1h"}"#,
            0.9,
        ),
        (
            r#"slo_copilot_burn_rate{service=~"check.*",window!="5m"}"#,
            100.0,
        ),
        ("slo_copilot_error_budget_remaining_ratio", -99.0),
        ("count(slo_copilot_verdict)", 12.0),
        (
            r#"sum(slo_copilot_verdict{service="checkout",verdict=~"pass|warn"})"#,
            0.0,
        ),
        (
            r#"sum(slo_copilot_verdict{service="checkout",verdict=~"pass|warn"}) - sum(slo_copilot_verdict{service="checkout",verdict="fail"})"#,
            -1.0,
        ),
        (r#"sum(slo_copilot_nothing) or vector(0)"#, 0.0),
        (
            r#"slo_copilot_verdict{service="checkout",verdict="fail"} == 1"#,
            1.0,
        ),
        (r#"max(slo_copilot_burn_rate) / 10"#, 10.0),
        (r#"avg(slo_copilot_verdict)"#, 0.25),
        (
            r#"min without (verdict) (slo_copilot_verdict{service="search"})"#,
            0.0,
        ),
        (
            r#"slo_copilot_sli_ratio >= bool on (slo, service) slo_copilot_slo_objective_ratio"#,
            0.0,
        ),
        (
            r#"slo_copilot_request_duration_seconds_bucket{service="search",outcome="ok",le="+Inf"}"#,
            31.0,
        ),
    ] {
        let found = number(query);
        assert!(
            (found - wanted).abs() < 1e-12 || found == wanted,
            "{query}: {found}"
        );
    }
    assert!(number("scalar(slo_copilot_verdict)").is_nan());
    assert!(number("0 / 0").is_nan());
}

#[test]
fn a_selection_keeps_its_labels_and_an_empty_one_is_none() {
    assert_eq!(
        told(r#"slo_copilot_verdict{verdict="fail"} == 1"#),
        [
            ("__name__=slo_copilot_verdict,verdict=fail".to_owned(), 1.0),
            (
                "__name__=slo_copilot_verdict,service=checkout,verdict=fail".to_owned(),
                1.0
            ),
        ]
    );
    assert_eq!(
        told(r#"sum by (service) (slo_copilot_verdict{service!=""})"#),
        [
            ("service=checkout".to_owned(), 1.0),
            ("service=search".to_owned(), 1.0)
        ]
    );
    assert_eq!(told("slo_copilot_verdict > 5"), []);
    assert_eq!(told(r#"slo_copilot_verdict{service="cart"}"#), []);
    assert_eq!(
        told(
            r#"slo_copilot_verdict{service="search"} unless slo_copilot_verdict{verdict!="pass"}"#
        ),
        [(
            "__name__=slo_copilot_verdict,service=search,verdict=pass".to_owned(),
            0.0
        )]
    );
    let matched = told(
        r#"slo_copilot_slo_objective_ratio and on (service) slo_copilot_verdict{verdict="fail"} == 1"#,
    );
    assert_eq!(matched.len(), 1, "{matched:?}");
    // Named by a matcher.
    assert_eq!(told(r#"{__name__=~"slo_copilot_slo_objec.*"}"#).len(), 1);
}

#[test]
fn the_comparison_of_versions_has_series_of_its_own() {
    let mut report = fixture::report();
    report.canaries = vec![fixture::canary("checkout", "1.9", "2.0", Verdict::Fail)];
    // The verdict about a version is another question than that about the service.
    let mut version = fixture::verdict(Some(ServiceKey::named("checkout")), Verdict::Pass);
    version.version = Some("2.0".to_owned());
    report.verdicts.insert(0, version);
    let page = render(&report);
    for (query, wanted) in [
        (
            r#"slo_copilot_canary_verdict{service="checkout",version="2.0",baseline_version="1.9",verdict="fail"}"#,
            1.0,
        ),
        (r#"slo_copilot_canary_score{version="2.0"}"#, 25.0),
        (
            r#"slo_copilot_verdict{service="checkout",verdict="fail"}"#,
            1.0,
        ),
    ] {
        let value = Query::parse(query).unwrap().evaluate(&page).unwrap();
        let Value::Vector(samples) = value else {
            panic!()
        };
        assert_eq!(samples.len(), 1, "{query}");
        assert!(
            (samples[0].value - wanted).abs() < 1e-12,
            "{query}: {samples:?}"
        );
    }
}

#[test]
fn what_needs_the_past_or_more_of_the_language_is_refused_with_what_there_is() {
    for query in [
        "rate(slo_copilot_requests_total[5m])",
        "avg_over_time(slo_copilot_verdict[5m])",
        "slo_copilot_verdict offset 5m",
        "slo_copilot_verdict @ 1790000000",
        "max_over_time(slo_copilot_verdict[1h:5m])",
        "topk(1, slo_copilot_verdict)",
        "stddev(slo_copilot_verdict)",
        "histogram_quantile(0.9, slo_copilot_request_duration_seconds_bucket)",
        "sum(slo_copilot_verdict[5m])",
        "1 atan2 2",
        r#"slo_copilot_sli_ratio * on (slo) group_left slo_copilot_slo_objective_ratio"#,
        r#""text""#,
    ] {
        match Query::parse(query) {
            Err(QueryError::BadData(text)) => assert!(
                text.contains("ask a Prometheus") || text.contains("parse error"),
                "{query}: {text}"
            ),
            other => panic!("{query}: {other:?}"),
        }
    }
}

#[test]
fn what_cannot_be_read_is_a_parse_error() {
    for query in [
        "",
        "sum(",
        "slo copilot",
        "{",
        "1 +",
        "vector(",
        "noSuchFunction(1)",
    ] {
        let error = Query::parse(query).unwrap_err();
        assert!(
            error.to_string().starts_with("parse error: "),
            "{query}: {error}"
        );
    }
}

#[test]
fn series_that_cannot_be_told_apart_are_an_error() {
    let page = render(&fixture::report());
    for (query, word) in [
        (
            r#"-{__name__=~"slo_copilot_slo_objective_ratio|slo_copilot_error_budget_remaining_ratio"}"#,
            "same labelset",
        ),
        (
            "slo_copilot_slo_objective_ratio - on (service) slo_copilot_slo_events_total",
            "right hand-side",
        ),
        (
            "slo_copilot_slo_events_total - on (service) slo_copilot_slo_objective_ratio",
            "left hand-side",
        ),
    ] {
        let error = Query::parse(query).unwrap().evaluate(&page).unwrap_err();
        assert!(
            matches!(error, QueryError::Execution(_)),
            "{query}: {error:?}"
        );
        assert!(error.to_string().contains(word), "{query}: {error}");
    }
}

#[test]
fn a_query_has_a_bound_and_depth_does_not_overflow_the_stack() {
    let nested = |depth| format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Query::parse(&nested(MAX_DEPTH)).is_ok());
    for query in [
        nested(2_000),
        format!("{}x", "-".repeat(4_000)),
        format!("1{}", "^1".repeat(2_000)),
        format!("1{}", "+1".repeat(2_000)),
    ] {
        let error = Query::parse(&query).unwrap_err();
        assert!(error.to_string().contains("within each other"), "{error}");
    }
    let long = "x".repeat(MAX_QUERY_BYTES + 1);
    let error = Query::parse(&long).unwrap_err();
    assert!(error.to_string().contains("4096 bytes"), "{error}");
}

proptest! {
    /// Whatever a service is called, it is found by its name, with the value that the page has.
    #[test]
    fn a_name_comes_back_as_it_was_written(name in "\\PC{1,12}|[\"\\\\\n{},= ]{1,8}") {
        let mut report = fixture::report();
        report.verdicts = vec![fixture::verdict(Some(ServiceKey::named(&name)), Verdict::Warn)];
        let page = render(&report);
        let quoted = serde_json::to_string(&name).unwrap();
        let is_found = samples(&page, |found| found == "slo_copilot_verdict").any(|sample| {
            sample.labels.get("service") == Some(&name)
                && sample.labels.get("verdict").is_some_and(|verdict| verdict == "warn")
                && sample.value > 0.5
        });
        prop_assert!(is_found, "{}", quoted);
    }
}
