//! Policies of composites against the evaluator, by occurrences and by slices.

use super::*;
use crate::evaluator::composite::composite_statuses;
use crate::model::slo::{CompositeMember, EmptySlices};
use crate::window::measure::CompositeView;
use crate::window::snapshot::Snapshot;

/// A member of the composite `shop`.
fn member(name: &str, target: f64, weight: f64, budgeting: Budgeting) -> Objective {
    Objective {
        budgeting,
        composite: Some(CompositeMember {
            name: "shop".to_owned(),
            weight,
        }),
        ..Objective::new(name, name, Sli::Availability, target)
    }
}

fn view(objective: Objective, windows: &[WindowSums; 10]) -> ObjectiveView {
    ObjectiveView {
        objective: Arc::new(objective),
        period: PeriodSums {
            sums: windows[9],
            ..PeriodSums::default()
        },
        since_start: windows[9],
        windows: *windows,
    }
}

fn by_slices(is_ratio: bool, empty: EmptySlices) -> Budgeting {
    let slice = "5m".parse().unwrap();
    if is_ratio {
        Budgeting::RatioTimeslices { slice, empty }
    } else {
        Budgeting::Timeslices {
            slice_target: 0.95,
            slice,
            empty,
        }
    }
}

/// The statuses of a snapshot: of its objectives and of its composites.
fn judged(snapshot: &Snapshot, limits: Limits) -> (Vec<ObjectiveStatus>, Vec<CompositeStatus>) {
    let views = snapshot.objectives.iter();
    let statuses: Vec<ObjectiveStatus> = views.map(|view| status_of(view, limits)).collect();
    let composites = composite_statuses(snapshot, &statuses, limits);
    (statuses, composites)
}

fn all_policies(
    (statuses, composites): &(Vec<ObjectiveStatus>, Vec<CompositeStatus>),
    limits: Limits,
) -> Vec<Policy> {
    let all: Vec<&ObjectiveStatus> = statuses.iter().collect();
    policies(gating(&all, composites), statuses, limits).collect()
}

/// CEL and Rego deny exactly where the composite fails.
fn assert_the_composite_agrees(snapshot: &Snapshot, limits: Limits) {
    let judged = judged(snapshot, limits);
    let [composite] = &judged.1[..] else {
        panic!("one composite: {:?}", judged.1);
    };
    let policies = all_policies(&judged, limits);
    assert_eq!(policies.len(), 1);
    let document = json!({"composites_by_name": composites(&judged.1)});
    let (cel, rego) = said(&policies[0], &document);
    let fails = composite.state == Verdict::Fail;
    assert_eq!(!cel.allow, fails, "CEL: {composite:#?}");
    assert_eq!(!rego.allow, fails, "Rego {rego:?}: {composite:#?}");
    assert_eq!(rego.messages.is_empty(), rego.allow);
}

proptest! {
    #[test]
    fn property_policies_of_a_composite_deny_exactly_where_it_fails(
        members in prop::collection::vec((
            prop::sample::select(vec![0.9, 0.95, 0.99, 0.995, 0.999]),
            prop::sample::select(vec![1.0, 2.0, 0.5, 3.3]),
            prop::array::uniform10(events()),
        ), 1..4),
        min_bad_events in 0_u64..4,
        error_ratio_max in prop::sample::select(vec![0.9, 0.5, 1.0]),
    ) {
        let views = members.iter().enumerate().map(|(at, (target, weight, windows))| {
            let member = member(&format!("m-{at}"), *target, *weight, Budgeting::Occurrences);
            view(member, &windows.map(|counts| sums(counts, 1.0)))
        });
        let snapshot = Snapshot { objectives: views.collect(), ..Snapshot::default() };
        assert_the_composite_agrees(&snapshot, Limits { error_ratio_max, min_bad_events });
    }

    #[test]
    fn property_policies_of_shared_slices_deny_exactly_where_they_fail(
        target in prop::sample::select(vec![0.9, 0.99, 0.999]),
        is_ratio in any::<bool>(),
        windows in prop::array::uniform10(events()),
    ) {
        let budgeting = by_slices(is_ratio, EmptySlices::Good);
        let none = [WindowSums::default(); 10];
        let objectives = vec![
            view(member("a", target, 1.0, budgeting), &none),
            view(member("b", target, 2.0, budgeting), &none),
        ];
        let windows = windows.map(|counts| sums(counts, 1.0));
        let period = PeriodSums { sums: windows[9], ..PeriodSums::default() };
        let composites = vec![CompositeView { name: "shop".to_owned(), windows, period }];
        let snapshot = Snapshot { objectives, composites, ..Snapshot::default() };
        assert_the_composite_agrees(&snapshot, LIMITS);
    }
}

/// Two members by occurrences: a burns three times, b half as fast as it may.
fn shop() -> Snapshot {
    let steady = |bad, total| [sums((bad, total), 1.0); 10];
    Snapshot {
        objectives: vec![
            view(
                member("a", 0.99, 2.0, Budgeting::Occurrences),
                &steady(30, 1_000),
            ),
            view(
                member("b", 0.999, 1.0, Budgeting::Occurrences),
                &steady(5, 10_000),
            ),
        ],
        ..Snapshot::default()
    }
}

#[test]
fn the_policies_of_a_composite_read_so() {
    let policies = all_policies(&judged(&shop(), LIMITS), LIMITS);
    let names: Vec<&str> = policies.iter().map(|policy| &*policy.name).collect();
    assert_eq!(names, ["shop"], "its members have none of their own");
    insta::assert_snapshot!("composite_cel", policies[0].cel);
    insta::assert_snapshot!("composite_rego", policies[0].rego);
    insta::assert_snapshot!("composite_promql", policies[0].promql);
}

#[test]
fn slices_in_promql_read_so() {
    let one = Objective {
        composite: None,
        ..member("a", 0.99, 1.0, by_slices(false, EmptySlices::Bad))
    };
    let status = measured(one, &[sums((0, 10), 1.0); 10], LIMITS);
    insta::assert_snapshot!("slices_promql", policy(&status, LIMITS).promql);
    let ratios = by_slices(true, EmptySlices::Excluded);
    let windows = [sums((0, 10), 1.0); 10];
    let snapshot = Snapshot {
        objectives: vec![
            view(member("a", 0.99, 0.5, ratios), &windows),
            view(member("b", 0.99, 1.0, ratios), &windows),
        ],
        composites: vec![CompositeView {
            name: "shop".to_owned(),
            windows,
            period: PeriodSums::default(),
        }],
        ..Snapshot::default()
    };
    let policies = all_policies(&judged(&snapshot, LIMITS), LIMITS);
    insta::assert_snapshot!("composite_slices_promql", policies[0].promql);
}

#[test]
fn a_member_that_does_not_fit_its_composite_has_a_policy_of_its_own() {
    let mut snapshot = shop();
    let other = Objective {
        window: Window::D7.into(),
        ..member("c", 0.99, 1.0, Budgeting::Occurrences)
    };
    snapshot
        .objectives
        .push(view(other, &[sums((0, 1_000), 1.0); 10]));
    let policies = all_policies(&judged(&snapshot, LIMITS), LIMITS);
    let names: Vec<&str> = policies.iter().map(|policy| &*policy.name).collect();
    assert_eq!(names, ["shop", "c"]);
}

#[test]
fn the_input_tells_who_is_in_a_composite_and_how_it_burns_as_one() {
    let (_, statuses) = judged(&shop(), LIMITS);
    let told = composites(&statuses)["shop"].clone();
    assert_eq!(told["composite"]["members"][0]["weight"], 2.0);
    assert_eq!(told["state"], "fail");
    let burn_rate = told["burn_rates"][0]["long_burn_rate"].as_f64().unwrap();
    assert!((burn_rate - (2.0 * 3.0 + 0.5) / 3.0).abs() < 1e-9);
    let budget = told["composite"]["error_budget"].as_f64().unwrap();
    // Σw/Σ(w/B)
    assert!((budget - 3.0 / (2.0 / 0.01 + 1.0 / 0.001)).abs() < 1e-9);
    assert_eq!(told["windows"].as_object().unwrap().len(), 10);
}
