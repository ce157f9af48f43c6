//! Which of several changes is to blame.

use super::super::*;
use crate::model::canary::{Blame, CallSums, ServiceEdge};
use crate::model::history::MinuteRow;
use crate::model::window::WindowSums;

/// A service of 10 000 requests, and 1 000 of the new version, with these error ratios in per cent.
fn report(name: &str, old: u32, new: u32) -> CanaryReport {
    let cohort = |requests: u32, percent: u32| Cohort {
        version: percent.to_string(),
        service: (0..10)
            .map(|minute| {
                let (total, bad) = (requests / 10, requests / 1_000 * percent);
                MinuteRow {
                    minute,
                    sums: WindowSums {
                        total: total.into(),
                        bad: bad.into(),
                        squared: total.into(),
                        observed_total: total.into(),
                        observed_bad: bad.into(),
                    },
                    latency: Vec::new(),
                }
            })
            .collect(),
        ..Cohort::default()
    };
    compare(
        &ServiceKey::named(name),
        &cohort(10_000, old),
        &cohort(1_000, new),
        Pairing::Concurrent,
        &Settings::default(),
    )
}

/// One call a request, with these error ratios in per cent.
fn edge(caller: &str, callee: &str, old: u32, new: u32) -> ServiceEdge {
    let calls = |calls: u32, percent: u32| CallSums {
        calls: calls.into(),
        errors: f64::from(calls * percent) / 100.0,
        observed: calls.into(),
        duration_secs: f64::from(calls) * 0.01,
    };
    ServiceEdge {
        caller: ServiceKey::named(caller),
        callee: ServiceKey::named(callee),
        baseline: calls(10_000, old),
        canary: calls(1_000, new),
    }
}

fn blamed(mut reports: Vec<CanaryReport>, edges: &[ServiceEdge]) -> Vec<Option<Blame>> {
    assign_blame(&mut reports, edges);
    reports.into_iter().map(|report| report.blame).collect()
}

fn culprit(blame: Option<&Blame>) -> Option<&str> {
    Some(&blame?.suffers_from.as_ref()?.name)
}

fn rank(blame: Option<&Blame>) -> Option<usize> {
    blame?.rank
}

#[test]
fn a_caller_that_only_suffers_from_its_callee_is_innocent() {
    let found = blamed(
        vec![report("web", 1, 9), report("pay", 1, 9)],
        &[edge("web", "pay", 1, 9)],
    );
    assert_eq!(culprit(found[0].as_ref()), Some("pay"));
    assert_eq!(
        (rank(found[0].as_ref()), rank(found[1].as_ref())),
        (None, Some(1))
    );
    let [Some(web), Some(pay)] = &found[..] else {
        panic!("{found:?}")
    };
    assert!(
        web.own_share < 0.01 && pay.own_share > 0.99,
        "{web:?} {pay:?}"
    );
    assert_eq!(
        web.text,
        "web suffers from pay: 0 % of what got worse is its own"
    );
    assert_eq!(
        pay.text,
        "pay is to blame: 100 % of what got worse is its own"
    );
}

#[test]
fn a_caller_with_errors_of_its_own_is_to_blame_beside_its_callee() {
    // Of fifteen points more, its calls explain five.
    let found = blamed(
        vec![report("pay", 1, 6), report("web", 1, 16)],
        &[edge("web", "pay", 1, 6)],
    );
    let own = found[1].as_ref().unwrap().own_share;
    assert!((own - 2.0 / 3.0).abs() < 0.01, "{own}");
    // Ten points of its own are more than five.
    assert_eq!(
        (rank(found[0].as_ref()), rank(found[1].as_ref())),
        (Some(2), Some(1))
    );
}

#[test]
fn the_end_of_a_chain_is_to_blame() {
    let found = blamed(
        vec![
            report("web", 1, 9),
            report("shop", 1, 9),
            report("pay", 1, 9),
        ],
        &[edge("web", "shop", 1, 9), edge("shop", "pay", 1, 9)],
    );
    assert_eq!(culprit(found[0].as_ref()), Some("pay"));
    assert_eq!(culprit(found[1].as_ref()), Some("pay"));
    assert_eq!(rank(found[2].as_ref()), Some(1));
}

#[test]
fn in_a_circle_one_is_to_blame() {
    // Each calls the other; half of what web's calls see is its own doing.
    let found = blamed(
        vec![report("web", 1, 9), report("pay", 1, 9)],
        &[edge("web", "pay", 1, 9), edge("pay", "web", 1, 6)],
    );
    assert_eq!(culprit(found[0].as_ref()), Some("pay"));
    assert_eq!(rank(found[1].as_ref()), Some(1));
    let alike = blamed(
        vec![report("web", 1, 9), report("pay", 1, 9)],
        &[edge("web", "pay", 1, 9), edge("pay", "web", 1, 9)],
    );
    assert_eq!(
        alike
            .iter()
            .filter(|one| rank(one.as_ref()) == Some(1))
            .count(),
        1
    );
}

#[test]
fn a_callee_that_did_not_get_worse_explains_nothing() {
    // The caller's own requests make its calls fail; the callee's other callers see nothing.
    let found = blamed(
        vec![report("pay", 1, 1), report("web", 1, 9)],
        &[edge("web", "pay", 1, 9)],
    );
    assert!(found[0].is_none());
    assert_eq!(
        (rank(found[1].as_ref()), culprit(found[1].as_ref())),
        (Some(1), None)
    );
}

#[test]
fn a_single_change_needs_no_blame() {
    assert_eq!(blamed(vec![report("web", 1, 9)], &[]), [None]);
}
