//! Whole comparisons of cohorts that a test states exactly.

use std::collections::BTreeMap;

use super::super::*;
use super::row;
use crate::model::canary::{CallSums, ErrorKindSums};
use crate::model::history::MinuteRow;
use crate::model::span::SpanKind;

/// Ten minutes of so many requests each, of which some fail; the others take so many per cent of 80 to 120 ms.
fn rows(requests: u64, bad: u64, percent: u64) -> Vec<MinuteRow> {
    (0..10)
        .map(|minute| {
            let good = requests - bad;
            let micros: Vec<u64> = (0..good)
                .map(|at| (80_000 + 40_000 * at / good.max(1)) * percent / 100)
                .collect();
            row(minute, bad, &micros)
        })
        .collect()
}

fn cohort(version: &str, service: Vec<MinuteRow>) -> Cohort {
    Cohort {
        version: version.to_owned(),
        from: 1_767_052_800_000_000_000,
        until: 1_767_053_400_000_000_000,
        service,
        ..Cohort::default()
    }
}

fn judge(baseline: &Cohort, canary: &Cohort, settings: &Settings) -> CanaryReport {
    let service = ServiceKey::named("checkout");
    compare(&service, baseline, canary, Pairing::Concurrent, settings)
}

fn baseline() -> Cohort {
    cohort("1.4.0", rows(1_000, 10, 100))
}

/// With many more requests, so that the new version can pass.
fn busy_baseline() -> Cohort {
    cohort("1.4.0", rows(5_000, 50, 100))
}

#[test]
fn a_release_with_more_errors_fails_and_says_by_how_much() {
    let canary = cohort("1.5.0", rows(100, 6, 100));
    let report = judge(&baseline(), &canary, &Settings::default());
    assert_eq!(report.verdict, Verdict::Fail);
    let errors = &report.comparisons[0];
    assert_eq!(
        (errors.metric, errors.verdict),
        (CanaryMetric::ErrorRatio, Verdict::Fail)
    );
    assert!((errors.difference.unwrap() - 0.05).abs() < 1e-9);
    assert!(errors.lower.unwrap() > 0.02);
    assert!(errors.p_value.unwrap() < 1e-6);
    assert_eq!(report.text, errors.text);
    assert_eq!(
        errors.text,
        "errors: 6 % of 1 000 requests against 1 % of 10 000: +5 points, at least +2.7 (tolerated: +0.5)"
    );
    // Latency passes: of the three conclusive kinds the errors weigh 4, and the median 2.
    assert!(report.score.unwrap() < 50.0, "{:?}", report.score);
}

#[test]
fn requests_that_have_none_of_the_other_version_beside_them_are_neither_compared_nor_counted() {
    let mut old = baseline();
    old.service.truncate(8);
    // In the last two minutes the new version is alone, and much worse.
    let mut canary = cohort("1.5.0", rows(100, 6, 100));
    canary.service.truncate(8);
    canary.service.extend(rows(100, 60, 200).split_off(8));
    let report = judge(&old, &canary, &Settings::default());
    let errors = &report.comparisons[0];
    assert_eq!(
        (errors.baseline_requests, errors.canary_requests),
        (8_000, 800)
    );
    assert!(
        errors
            .text
            .starts_with("errors: 6 % of 800 requests against 1 % of 8 000: +5 points"),
        "{}",
        errors.text
    );
    let latency = &report.comparisons[1];
    assert_eq!(
        (latency.baseline_requests, latency.canary_requests),
        (7_920, 752)
    );
}

#[test]
fn a_slower_release_fails_by_its_latency() {
    let canary = cohort("1.5.0", rows(100, 1, 130));
    let report = judge(&baseline(), &canary, &Settings::default());
    assert_eq!(report.verdict, Verdict::Fail);
    let latency = &report.comparisons[0];
    assert_eq!(latency.metric, CanaryMetric::Latency);
    let shift = latency.difference.unwrap() / latency.baseline.unwrap();
    assert!((shift - 0.3).abs() < 0.03, "{shift}");
    assert!(
        latency.text.starts_with(
            "latency: median 130 ms of 990 requests against 100 ms of 9 900: +30 %, at least +2"
        ),
        "{}",
        latency.text
    );
}

#[test]
fn a_slower_tail_alone_fails_too() {
    let mut new = rows(200, 0, 100);
    for row in &mut new {
        let slow = row.latency.len() * 9 / 10;
        for (bucket, _) in &mut row.latency[slow..] {
            // An octave.
            *bucket += 32;
        }
    }
    let report = judge(
        &cohort("1", rows(1_000, 0, 100)),
        &cohort("2", new),
        &Settings::default(),
    );
    assert_eq!(report.verdict, Verdict::Fail);
    let tail = &report.comparisons[0];
    assert_eq!(
        (tail.metric, tail.quantile),
        (CanaryMetric::TailLatency, Some(0.95))
    );
    assert!(tail.text.starts_with("p95: "), "{}", tail.text);
    let of = |metric| {
        report
            .comparisons
            .iter()
            .find(|one| one.metric == metric)
            .unwrap()
    };
    assert_ne!(of(CanaryMetric::Latency).verdict, Verdict::Fail);
}

#[test]
fn a_release_like_the_old_version_passes_with_enough_requests() {
    let canary = cohort("1.5.0", rows(800, 8, 100));
    let report = judge(&busy_baseline(), &canary, &Settings::default());
    assert_eq!(report.verdict, Verdict::Pass, "{report:#?}");
    assert_eq!(report.score, Some(100.0));
    assert_eq!(report.requests_needed, None);
    assert_eq!(
        report.text,
        "no worse than the old version, as far as is tolerated"
    );
}

#[test]
fn a_release_with_few_requests_is_inconclusive_and_says_how_many_it_needs() {
    let canary = cohort("1.5.0", rows(20, 0, 100));
    let report = judge(&baseline(), &canary, &Settings::default());
    assert_eq!(report.verdict, Verdict::Inconclusive);
    let needed = report.requests_needed.unwrap();
    assert!((100..20_000).contains(&needed), "{needed}");
    assert!(
        report.text.contains("more requests for an answer"),
        "{}",
        report.text
    );
    assert!(
        report.text.starts_with("not decided yet: "),
        "{}",
        report.text
    );
}

#[test]
fn the_requests_needed_are_about_those_that_it_takes() {
    // One more error in a hundred, ever longer: the estimate of an early look holds.
    let of = |minutes: u64| {
        let cycle = |requests, bad| {
            rows(requests, bad, 100)
                .into_iter()
                .cycle()
                .take(usize::try_from(minutes).unwrap())
        };
        let numbered = |rows: &mut dyn Iterator<Item = MinuteRow>| -> Vec<MinuteRow> {
            (super::MINUTE..)
                .zip(rows)
                .map(|(minute, row)| MinuteRow { minute, ..row })
                .collect()
        };
        let old = cohort("1", numbered(&mut cycle(1_000, 10)));
        let new = cohort("2", numbered(&mut cycle(100, 2)));
        let report = judge(&old, &new, &Settings::default());
        report
            .comparisons
            .into_iter()
            .find(|one| one.metric == CanaryMetric::ErrorRatio)
            .unwrap()
    };
    let early = of(8);
    assert_eq!(early.verdict, Verdict::Inconclusive);
    let needed = early.requests_needed.unwrap() + 800;
    assert_eq!(of(needed * 5 / 6 / 100).verdict, Verdict::Inconclusive);
    assert_eq!(of(needed * 6 / 5 / 100 + 1).verdict, Verdict::Fail);
}

#[test]
fn nothing_is_decided_before_the_least_number_of_requests() {
    let canary = cohort("2", vec![row(0, 30, &[])]);
    let settings = |min_requests| Settings {
        min_requests,
        ..Settings::default()
    };
    let fails = |min| judge(&baseline(), &canary, &settings(min)).verdict;
    assert_eq!(fails(30), Verdict::Fail);
    assert_eq!(fails(31), Verdict::Inconclusive);
}

#[test]
fn empty_cohorts_are_inconclusive() {
    let empty = Cohort::default();
    for (old, new) in [
        (empty.clone(), empty.clone()),
        (baseline(), empty.clone()),
        (empty.clone(), baseline()),
    ] {
        for pairing in [Pairing::Concurrent, Pairing::BeforeAfter] {
            let service = ServiceKey::named("checkout");
            let report = compare(&service, &old, &new, pairing, &Settings::default());
            assert_eq!(report.verdict, Verdict::Inconclusive);
            assert!(
                report.text.contains("nothing to compare"),
                "{}",
                report.text
            );
            assert!(serde_json::to_string(&report).is_ok());
        }
    }
}

#[test]
fn an_operation_that_gets_worse_fails_the_release_though_the_service_hides_it() {
    let operation = |name: &str, minutes| OperationCohort {
        operation: name.to_owned(),
        kind: SpanKind::Server,
        minutes,
    };
    let with = |service, cart, pay| Cohort {
        operations: vec![operation("GET /cart", cart), operation("POST /pay", pay)],
        ..cohort("1", service)
    };
    let old = with(rows(2_040, 41, 100), rows(2_000, 40, 100), rows(40, 1, 100));
    let new = with(rows(2_040, 48, 100), rows(2_000, 40, 100), rows(40, 8, 100));
    let report = judge(&old, &new, &Settings::default());
    assert_eq!(report.verdict, Verdict::Fail);
    let first = &report.comparisons[0];
    assert_eq!(first.operation.as_deref(), Some("POST /pay"));
    assert!(
        first.text.starts_with("errors of POST /pay: 20 % of 400"),
        "{}",
        first.text
    );
    assert_eq!(report.comparisons.len(), 3 * 4);
}

#[test]
fn a_new_way_of_failing_warns_once_the_old_version_would_have_shown_it() {
    let kind = |observed| {
        let sums = ErrorKindSums {
            count: observed as f64,
            observed,
            example_trace_id: "0af7".to_owned(),
        };
        BTreeMap::from([("TimeoutError".to_owned(), sums)])
    };
    let canary = |observed| Cohort {
        error_kinds: kind(observed),
        ..cohort("2", rows(800, 8, 100))
    };
    let settings = Settings::default();
    // 800 against 5 000 a minute: 0.138² is 0.019, 0.138³ is 0.003.
    assert!(
        judge(&busy_baseline(), &canary(2), &settings)
            .new_error_kinds
            .is_empty()
    );
    let report = judge(&busy_baseline(), &canary(3), &settings);
    assert_eq!(report.verdict, Verdict::Warn);
    let [found] = &report.new_error_kinds[..] else {
        panic!("{:?}", report.new_error_kinds)
    };
    assert_eq!(
        (found.observed, found.example_trace_id.as_str()),
        (3, "0af7")
    );
    // −ln(0.01)/50 000 · 8 000
    assert!(
        (found.expected_max - 0.737).abs() < 0.01,
        "{}",
        found.expected_max
    );
    assert_eq!(report.text, found.text);
    // One that the old version had is no new one.
    let old = Cohort {
        error_kinds: kind(1),
        ..busy_baseline()
    };
    assert!(
        judge(&old, &canary(60), &settings)
            .new_error_kinds
            .is_empty()
    );
    // The settings may make it fail, or say nothing.
    let with = |new_error_kinds| Settings {
        new_error_kinds,
        ..Settings::default()
    };
    let verdict = |one| judge(&busy_baseline(), &canary(3), &with(one)).verdict;
    assert_eq!(verdict(Consequence::Fail), Verdict::Fail);
    assert_eq!(verdict(Consequence::Ignore), Verdict::Pass);
}

#[test]
fn a_warning_does_not_make_an_undecided_release_good() {
    let sums = ErrorKindSums {
        count: 6.0,
        observed: 6,
        example_trace_id: String::new(),
    };
    let canary = Cohort {
        error_kinds: BTreeMap::from([("TimeoutError".to_owned(), sums)]),
        ..cohort("2", rows(30, 0, 100))
    };
    let report = judge(&baseline(), &canary, &Settings::default());
    assert_eq!(report.new_error_kinds.len(), 1);
    assert_eq!(report.verdict, Verdict::Inconclusive);
}

#[test]
fn new_and_vanished_dependencies_are_named() {
    let calls = |names: &[(&str, u64)]| -> BTreeMap<String, CallSums> {
        let sums = |observed| CallSums {
            calls: observed as f64,
            observed,
            ..CallSums::default()
        };
        names
            .iter()
            .map(|(name, observed)| ((*name).to_owned(), sums(*observed)))
            .collect()
    };
    let old = Cohort {
        dependencies: calls(&[("postgres", 50_000), ("rare", 3), ("redis", 5_000)]),
        ..busy_baseline()
    };
    let new = Cohort {
        dependencies: calls(&[("ledger", 300), ("once", 1), ("postgres", 8_000)]),
        ..cohort("2", rows(800, 8, 100))
    };
    let report = judge(&old, &new, &Settings::default());
    let found: Vec<(&str, bool)> = report
        .dependency_changes
        .iter()
        .map(|change| (change.dependency.as_str(), change.is_new))
        .collect();
    assert_eq!(found, [("ledger", true), ("redis", false)]);
    assert!((report.dependency_changes[1].expected - 800.0).abs() < 1.0);
    assert_eq!(report.verdict, Verdict::Warn);
    assert!(
        report
            .text
            .starts_with("ledger is called by the new version alone: 300 calls")
    );
}

#[test]
fn weights_make_a_sample_worth_less() {
    let weighted = |rows: Vec<MinuteRow>, weight: f64| {
        rows.into_iter()
            .map(|mut row| {
                row.sums.total *= weight;
                row.sums.bad *= weight;
                row.sums.squared *= weight * weight;
                row
            })
            .collect()
    };
    let report = |weight| {
        let old = cohort("1", weighted(rows(200, 2, 100), weight));
        let new = cohort("2", weighted(rows(20, 1, 100), weight));
        judge(&old, &new, &Settings::default()).comparisons
    };
    let (plain, tenfold) = (report(1.0), report(10.0));
    for (plain, tenfold) in plain.iter().zip(&tenfold).take(1) {
        assert!((plain.p_value.unwrap() - tenfold.p_value.unwrap()).abs() < 1e-9);
        assert!((plain.upper.unwrap() - tenfold.upper.unwrap()).abs() < 1e-9);
    }
}
