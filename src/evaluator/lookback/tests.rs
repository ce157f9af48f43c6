//! One window against a target: what chance explains, what it does not, and what is too little to say.

use proptest::prelude::*;

use super::*;
use crate::evaluator::objective::window_slis;
use crate::exporter::prometheus::fixture;
use crate::model::slo::CompositeMember;

const LIMITS: Limits = Limits {
    error_ratio_max: 0.9,
    min_bad_events: 2,
};

fn sums(bad: u64, total: u64) -> WindowSums {
    WindowSums {
        total: total as f64,
        bad: bad as f64,
        squared: total as f64,
        observed_total: total,
        observed_bad: bad,
    }
}

/// The report of `checkout`, whose objective of 99 % and whose version 2.0 have these sums in every window.
fn report(objective: Objective, sums: WindowSums) -> Report {
    let mut report = fixture::report();
    let mut status = fixture::objective_status(&objective.name, &objective.service);
    status.windows = window_slis(&[sums; 10]);
    status.objective = objective;
    report.baseline_evaluations = vec![status];
    let checkout = &mut report.services[0];
    checkout.windows = window_slis(&[sums; 10]);
    checkout.versions[0].version = "2.0".to_owned();
    checkout.versions[0].windows = window_slis(&[sums; 10])[..5].to_vec();
    report
}

fn availability(target: f64) -> Objective {
    Objective::new(
        "availability-checkout",
        "checkout",
        Sli::Availability,
        target,
    )
}

fn verdict(bad: u64, total: u64) -> VerdictReport {
    let report = report(availability(0.99), sums(bad, total));
    judge_window(
        &report,
        Some(&ServiceKey::named("checkout")),
        Window::M5,
        LIMITS,
    )
}

/// scipy 1.17: `beta.ppf(0.05, x, n - x + 1)` is 0.00819 for 3 of 100, and 0.01348 for 4 of 100; the budget is 0.01.
#[test]
fn a_target_fails_only_where_it_is_missed_beyond_chance() {
    for (bad, total, wanted) in [
        (0, 100, Verdict::Pass),
        (1, 100, Verdict::Pass),
        (2, 100, Verdict::Warn),
        (3, 100, Verdict::Warn),
        (4, 100, Verdict::Fail),
        (0, 99, Verdict::Inconclusive),
        (0, 0, Verdict::Inconclusive),
        // One failure is no pattern, however short the window.
        (1, 1, Verdict::Inconclusive),
        (1, 5, Verdict::Inconclusive),
        // Two of five are beyond chance, although a hundred requests are needed to pass.
        (2, 5, Verdict::Fail),
    ] {
        let verdict = verdict(bad, total);
        assert_eq!(verdict.verdict, wanted, "{bad}/{total}: {verdict:?}");
        assert_eq!(verdict.ok, wanted.is_ok());
        assert_eq!(verdict.score.is_some(), wanted != Verdict::Inconclusive);
        assert_eq!(verdict.window.as_deref(), Some("5m"));
        assert_eq!(verdict.evidence.spans, total);
    }
}

#[test]
fn the_reason_says_what_was_seen_what_is_allowed_and_what_is_missing() {
    let failed = verdict(4, 100);
    let reason = &failed.reasons[0];
    assert_eq!(
        reason.text,
        "availability-checkout: 4.000 % of 100 events in 5m were bad, 1.000 % are allowed; at least 1.378 % beyond chance"
    );
    assert_eq!(reason.observed, Some(0.04));
    assert!((reason.limit.unwrap() - 0.01).abs() < 1e-12);
    let open = verdict(0, 40);
    assert_eq!(
        open.undecided[0].text,
        "availability-checkout: 40 events in 5m, 60 more are needed until the target allows a bad one"
    );
    assert_eq!(open.undecided[0].observed, Some(40.0));
}

#[test]
fn events_that_stand_for_many_count_as_few() {
    // Ten sampled spans of weight 100: the sum says a thousand, the sample says ten.
    let sampled = WindowSums {
        total: 1_000.0,
        bad: 0.0,
        squared: 10.0 * 100.0 * 100.0,
        observed_total: 10,
        observed_bad: 0,
    };
    let found = attainment(&sampled, 0.01, LIMITS);
    assert_eq!(found.state, Verdict::Inconclusive);
    assert!((found.events - 10.0).abs() < 1e-9 && (found.missing - 90.0).abs() < 1e-6);
}

#[test]
fn a_version_is_judged_by_its_own_windows() {
    let checkout = ServiceKey::named("checkout");
    let mut report = report(availability(0.99), sums(0, 1_000));
    let bad = window_slis(&[sums(50, 1_000); 10]);
    report.services[0].versions[0].windows = bad[..5].to_vec();
    let of = |version, window| judge_version(&report, &checkout, version, window, LIMITS);
    let verdict = of("2.0", Window::M30).unwrap();
    assert_eq!(verdict.verdict, Verdict::Fail);
    assert_eq!(verdict.version.as_deref(), Some("2.0"));
    assert_eq!(of("3.0", Window::M30), None);
    assert_eq!(of("2.0", Window::D1), None);
    let whole = judge_window(&report, Some(&checkout), Window::M30, LIMITS);
    assert_eq!(whole.verdict, Verdict::Pass);
}

#[test]
fn what_the_windows_of_a_version_do_not_tell_is_undecided() {
    let checkout = ServiceKey::named("checkout");
    let mut latency = availability(0.99);
    latency.sli = Sli::Latency {
        threshold_micros: 300_000,
    };
    let mut operation = availability(0.99);
    operation.operation = Some("POST /orders".to_owned());
    let mut slices = availability(0.99);
    slices.budgeting = Budgeting::RatioTimeslices {
        slice: "5m".parse().unwrap(),
        empty: crate::model::slo::EmptySlices::Good,
    };
    for (mut objective, word) in [
        (latency, "comparison with the version before"),
        (operation, "one operation"),
        (slices, "slices of time"),
    ] {
        objective.required = true;
        let mut report = report(objective, sums(0, 1_000));
        let verdict = judge_version(&report, &checkout, "2.0", Window::H1, LIMITS).unwrap();
        assert_eq!(verdict.verdict, Verdict::Inconclusive);
        let undecided = &verdict.undecided[0].text;
        assert!(undecided.contains(word), "{undecided}");
        // It does not keep others from deciding.
        let mut other = report.baseline_evaluations[0].clone();
        other.objective = availability(0.99);
        report.baseline_evaluations.push(other);
        let verdict = judge_version(&report, &checkout, "2.0", Window::H1, LIMITS).unwrap();
        assert_eq!(verdict.verdict, Verdict::Pass);
    }
}

#[test]
fn a_composite_stands_in_place_of_its_members() {
    let mut report = report(availability(0.99), sums(50, 1_000));
    report.baseline_evaluations[0].objective.composite = Some(CompositeMember {
        name: "shop".to_owned(),
        weight: 1.0,
    });
    let mut shop = fixture::composite("shop", &["checkout"]);
    shop.target = 0.99;
    shop.windows = window_slis(&[sums(1, 1_000); 10]);
    report.composites = vec![shop];
    let checkout = ServiceKey::named("checkout");
    let verdict = judge_window(&report, Some(&checkout), Window::H1, LIMITS);
    assert_eq!(verdict.verdict, Verdict::Pass);
    report.composites.clear();
    let verdict = judge_window(&report, Some(&checkout), Window::H1, LIMITS);
    assert_eq!(verdict.verdict, Verdict::Fail);
}

#[test]
fn without_objectives_it_says_how_to_adopt_one() {
    let report = fixture::report();
    let search = ServiceKey::named("search");
    let verdict = judge_window(&report, Some(&search), Window::H1, LIMITS);
    assert_eq!(verdict.verdict, Verdict::Inconclusive);
    assert!(verdict.reasons[0].text.contains(":accept"), "{verdict:?}");
}

proptest! {
    /// Of requests that fail as often as they may, at most one window in twenty fails: the naive sum of the binomial tail.
    #[test]
    fn a_service_at_its_target_seldom_fails(total in 1_u64..400, percent in 1_u64..20) {
        let budget = percent as f64 / 100.0;
        let mut failing = 0.0;
        let mut probability = (1.0 - budget).powf(total as f64);
        for bad in 0..=total {
            if attainment(&sums(bad, total), budget, LIMITS).state == Verdict::Fail {
                failing += probability;
            }
            probability *= (total - bad) as f64 / (bad + 1) as f64 * budget / (1.0 - budget);
        }
        prop_assert!(failing <= 0.05 + 1e-9, "{}", failing);
    }

    /// More bad events never make it better.
    #[test]
    fn more_failures_are_never_better(total in 100_u64..5_000, bad in 0_u64..100) {
        let state = |bad| attainment(&sums(bad, total), 0.01, LIMITS).state;
        prop_assert!(state(bad) <= state(bad + 1));
    }
}
