//! Composites by occurrences against the weighted mean, and what they do to verdicts.

use super::*;
use crate::evaluator::objective::status_of as objective_status;
use crate::evaluator::objective::tests::{LIMITS, view};
use crate::evaluator::verdict::judge_standings;
use crate::model::report::Verdict;
use crate::model::slo::{CompositeMember, EmptySlices, Objective, Sli};
use crate::model::window::Window;
use crate::window::measure::CompositeView;

fn sums(bad: u64, total: u64) -> WindowSums {
    WindowSums {
        total: total as f64,
        bad: bad as f64,
        squared: total as f64,
        observed_total: total,
        observed_bad: bad,
    }
}

fn member(name: &str, target: f64, weight: f64) -> Objective {
    Objective {
        composite: Some(CompositeMember {
            name: "shop".to_owned(),
            weight,
        }),
        ..Objective::new(name, name, Sli::Availability, target)
    }
}

fn snapshot(views: Vec<ObjectiveView>) -> Snapshot {
    Snapshot {
        objectives: views,
        ..Snapshot::default()
    }
}

fn statuses(snapshot: &Snapshot) -> (Vec<ObjectiveStatus>, Vec<CompositeStatus>) {
    let views = snapshot.objectives.iter();
    let statuses: Vec<_> = views.map(|view| objective_status(view, LIMITS)).collect();
    let composites = composite_statuses(snapshot, &statuses, LIMITS);
    (statuses, composites)
}

/// Σwᵢ·BRᵢ/Σwᵢ = (2·3 + 1·0.5)/3, with burn rates of 3 at 99 % and 0.5 at 99.9 %.
#[test]
fn a_composite_burns_at_the_weighted_mean_of_its_members() {
    let snapshot = snapshot(vec![
        view(member("a", 0.99, 2.0), sums(30, 1_000)),
        view(member("b", 0.999, 1.0), sums(5, 10_000)),
    ]);
    let (_, composites) = statuses(&snapshot);
    let [shop] = &composites[..] else {
        panic!("one composite: {composites:?}");
    };
    let wanted = (2.0 * 3.0 + 0.5) / 3.0;
    for check in &shop.burn_rates {
        assert!((check.long_burn_rate.unwrap() - wanted).abs() < 1e-9);
    }
    assert!((shop.budget.remaining_ratio.unwrap() - (1.0 - wanted)).abs() < 1e-9);
    assert_eq!(shop.services, ["a", "b"]);
    assert_eq!(shop.members.len(), 2);
    assert!((shop.members[0].remaining_ratio.unwrap() + 2.0).abs() < 1e-9);
}

#[test]
fn a_member_without_events_burns_nothing() {
    let snapshot = snapshot(vec![
        view(member("a", 0.99, 1.0), sums(30, 1_000)),
        view(member("b", 0.99, 1.0), sums(0, 0)),
    ]);
    let (_, composites) = statuses(&snapshot);
    let burn_rate = composites[0].burn_rates[0].long_burn_rate.unwrap();
    assert!((burn_rate - 1.5).abs() < 1e-9);
    assert!((composites[0].target - 0.99).abs() < 1e-9);
}

#[test]
fn the_composite_gates_in_place_of_its_members() {
    let snapshot = snapshot(vec![
        view(member("a", 0.99, 1.0), sums(12, 1_000)),
        view(member("b", 0.99, 1.0), sums(0, 1_000)),
        view(
            Objective::new("c", "c", Sli::Availability, 0.99),
            sums(0, 1_000),
        ),
    ]);
    let (statuses, composites) = statuses(&snapshot);
    assert_eq!(statuses[0].state, Verdict::Fail, "alone it has spent all");
    let all: Vec<&ObjectiveStatus> = statuses.iter().collect();
    let report = judge_standings(None, &standings(&all, &composites), 0);
    assert_eq!(report.verdict, Verdict::Pass);
    assert!((report.score.unwrap() - 100.0).abs() < 1e-9);
    // A service hears of the composite as soon as one member is its own.
    let own = judge_standings(None, &standings(&all[..1], &composites), 0);
    assert_eq!(own.verdict, Verdict::Pass);
}

#[test]
fn a_reason_names_the_composite() {
    let snapshot = snapshot(vec![
        view(member("a", 0.99, 1.0), sums(200, 1_000)),
        view(member("b", 0.99, 1.0), sums(200, 1_000)),
    ]);
    let (statuses, composites) = statuses(&snapshot);
    let all: Vec<&ObjectiveStatus> = statuses.iter().collect();
    let report = judge_standings(None, &standings(&all, &composites), 0);
    let names: Vec<&str> = report.reasons.iter().map(|reason| &*reason.name).collect();
    assert_eq!(names, ["shop"]);
    assert_eq!(report.reasons[0].source, "burn_rate");
}

#[test]
fn one_that_is_measured_otherwise_gates_by_itself() {
    let other = Objective {
        window: Window::D7.into(),
        ..member("b", 0.99, 1.0)
    };
    let snapshot = snapshot(vec![
        view(member("a", 0.99, 1.0), sums(0, 1_000)),
        view(other, sums(500, 1_000)),
    ]);
    let (statuses, composites) = statuses(&snapshot);
    assert_eq!(composites[0].members.len(), 1);
    let all: Vec<&ObjectiveStatus> = statuses.iter().collect();
    let report = judge_standings(None, &standings(&all, &composites), 0);
    assert_eq!(report.verdict, Verdict::Fail);
    assert_eq!(report.reasons[0].name, "b");
}

/// OpenSLO: members at 95 % and 95 % make 90 %, which spends a budget of 10 % exactly.
#[test]
fn slices_of_a_composite_are_judged_against_the_target_that_members_share() {
    let by_ratio = |name: &str| Objective {
        budgeting: Budgeting::RatioTimeslices {
            slice: "5m".parse().unwrap(),
            empty: EmptySlices::Good,
        },
        ..member(name, 0.9, 1.0)
    };
    let slices = |bad: f64| WindowSums {
        bad,
        ..sums(100, 1_000)
    };
    let mut snapshot = snapshot(vec![
        view(by_ratio("a"), slices(50.0)),
        view(by_ratio("b"), slices(50.0)),
    ]);
    snapshot.composites = vec![CompositeView {
        name: "shop".to_owned(),
        windows: [slices(100.0); 10],
        period: PeriodSums {
            sums: slices(100.0),
            ..PeriodSums::default()
        },
    }];
    let (statuses, composites) = statuses(&snapshot);
    assert!(statuses.iter().all(|status| status.state == Verdict::Pass));
    let shop = &composites[0];
    assert!(shop.budget.remaining_ratio.unwrap().abs() < 1e-9);
    assert_eq!(shop.state, Verdict::Fail, "{}", shop.text);
    assert!(shop.text.contains("100.0 bad slices"), "{}", shop.text);
}
