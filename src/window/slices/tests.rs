//! Slices by hand, and composites of them. Against a model that keeps every event: `window::measure`.

use super::*;
use crate::model::slo::{CompositeMember, Sli};

/// 2026-02-01 00:00 UTC.
const START_SECS: u64 = 20_485 * 86_400;
const FIRST: u32 = 20_485 * 288;

fn budgeting(slice_target: Option<f64>, empty: EmptySlices) -> Budgeting {
    let slice = "5m".parse().unwrap();
    match slice_target {
        Some(slice_target) => Budgeting::Timeslices {
            slice_target,
            slice,
            empty,
        },
        None => Budgeting::RatioTimeslices { slice, empty },
    }
}

fn account(budgeting: Budgeting) -> SliceAccount {
    let objective = Objective {
        budgeting,
        ..Objective::new("o", "s", Sli::Availability, 0.99)
    };
    SliceAccount::new(objective.account(), &objective).unwrap()
}

fn events(bad: u64, total: u64) -> WindowSums {
    WindowSums {
        total: total as f64,
        bad: bad as f64,
        squared: total as f64,
        observed_total: total,
        observed_bad: bad,
    }
}

/// Judges slices with these (bad, total) events, one after the other from the start.
fn judge(account: &mut SliceAccount, slices: &[(u64, u64)]) -> Vec<f64> {
    let measured = slices.iter().zip(FIRST..);
    let measured = measured.filter(|((_, total), _)| *total > 0);
    let measured = measured
        .map(|((bad, total), number)| (number, events(*bad, *total)))
        .collect();
    let until_secs = START_SECS + 300 * slices.len() as u64;
    let judged = account.judge(measured, until_secs);
    account.record(judged.iter().copied(), until_secs);
    judged.iter().map(|slice| slice.bad).collect()
}

#[test]
fn a_slice_is_good_from_its_target_on() {
    let mut account = account(budgeting(Some(0.95), EmptySlices::Good));
    let judged = judge(&mut account, &[(0, 10), (5, 100), (6, 100), (1, 1)]);
    assert_eq!(judged, [0.0, 0.0, 1.0, 1.0]);
    let (sums, empty) = account.since_day(0);
    assert_eq!((sums.total, sums.bad, empty), (4.0, 2.0, 0));
    assert_eq!((sums.observed_total, sums.observed_bad), (211, 12));
}

#[test]
fn ratios_of_slices_count_alike_whatever_their_traffic() {
    let mut account = account(budgeting(None, EmptySlices::Good));
    // 1 of 2 and 1 of 1000 are bad: (0.5 + 0.999) / 2 are good, not 1000 / 1002.
    judge(&mut account, &[(1, 2), (1, 1_000)]);
    let (sums, _) = account.since_day(0);
    assert!((1.0 - sums.error_ratio().unwrap() - 0.7495).abs() < 1e-12);
}

#[test]
fn empty_slices_count_as_the_policy_says() {
    for (empty, total, bad) in [
        (EmptySlices::Good, 4.0, 1.0),
        (EmptySlices::Bad, 4.0, 3.0),
        (EmptySlices::Excluded, 2.0, 1.0),
    ] {
        let mut account = account(budgeting(Some(0.95), empty));
        judge(&mut account, &[(0, 5), (0, 0), (0, 0), (5, 5)]);
        let (sums, seen_empty) = account.since_day(0);
        assert_eq!((sums.total, sums.bad, seen_empty), (total, bad, 2));
    }
}

#[test]
fn slices_before_the_first_event_are_not_expected_and_all_later_ones_are() {
    let mut account = account(budgeting(Some(0.95), EmptySlices::Good));
    assert!(judge(&mut account, &[(0, 0); 10]).is_empty());
    assert_eq!(account.since_day(0).0.total, 0.0);
    let measured = BTreeMap::from([(FIRST + 20, events(0, 1))]);
    let until_secs = START_SECS + 300 * 120;
    let judged = account.judge(measured, until_secs);
    account.record(judged, until_secs);
    assert_eq!(account.since_day(0).0.total, 100.0);
}

#[test]
fn late_events_change_the_newest_slices_and_are_counted_beyond() {
    let mut account = account(budgeting(Some(0.95), EmptySlices::Bad));
    judge(&mut account, &[(0, 10), (0, 0), (1, 10)]);
    let until_secs = START_SECS + 900;
    let mut measured = BTreeMap::from([
        (FIRST - 1, events(2, 2)),
        (FIRST, events(7, 7)),
        (FIRST + 1, events(0, 5)),
        (FIRST + 2, events(0, 10)),
        (FIRST + 3, events(0, 1)),
    ]);
    let late = account.take_late(&mut measured);
    assert_eq!(measured.len(), 1, "one slice is not over");
    account.add_late(&late);
    // Good turned bad, empty turned good, bad turned good.
    let (sums, empty) = account.since_day(0);
    assert_eq!((sums.total, sums.bad, empty), (3.0, 1.0, 0));
    assert_eq!((sums.observed_total, sums.observed_bad), (42, 8));
    assert_eq!(account.late_events(), 2, "before the first slice");
    let (windows, _) = account.windows();
    let (longest, shortest) = (windows[9], windows[0]);
    assert_eq!((longest.total, longest.bad), (3.0, 1.0));
    assert_eq!((shortest.total, shortest.bad), (1.0, 0.0));

    let day = until_secs + 300 * u64::from(CORRECTABLE_SLICES);
    let slices = account.judge(BTreeMap::new(), day);
    account.record(slices, day);
    account.add_late(&late);
    assert_eq!(account.late_events(), 2 + 24);
    assert!(account.recent.is_empty());
}

#[test]
fn windows_end_with_the_newest_judged_slice() {
    let mut account = account(budgeting(Some(0.95), EmptySlices::Good));
    judge(&mut account, &[(0, 1), (1, 1), (0, 1), (1, 1)]);
    let (windows, _) = account.windows();
    let of = |window: Window| {
        let at = Window::ALL.iter().position(|held| *held == window).unwrap();
        (windows[at].total, windows[at].bad)
    };
    assert_eq!(of(Window::M5), (1.0, 1.0));
    assert_eq!(of(Window::M30), (4.0, 2.0));
    assert_eq!(of(Window::D30), (4.0, 2.0));
}

#[test]
fn an_empty_account_has_empty_windows() {
    let account = account(budgeting(Some(0.95), EmptySlices::Bad));
    assert_eq!(account.windows().0, AllWindows::default());
}

fn judged(bad: f64) -> JudgedSlice {
    JudgedSlice {
        number: FIRST,
        bad,
        is_expected: true,
        is_empty: false,
        events: 10,
        bad_events: 1,
    }
}

fn together(members: &[(f64, f64)], budgeting: Budgeting) -> f64 {
    let mut whole = BTreeMap::new();
    for (bad, weight) in members {
        combine(&mut whole, &[judged(*bad)], *weight, budgeting);
    }
    assert_eq!(whole.len(), 1);
    whole[&FIRST].bad
}

/// OpenSLO: two members at 95 % make a composite at 90 %.
#[test]
fn ninety_five_and_ninety_five_make_ninety() {
    let by_ratio = budgeting(None, EmptySlices::Good);
    assert!((together(&[(0.05, 1.0), (0.05, 1.0)], by_ratio) - 0.10).abs() < 1e-12);
    assert!((together(&[(0.05, 2.0), (0.05, 1.0)], by_ratio) - 0.15).abs() < 1e-12);
    assert_eq!(together(&[(0.9, 1.0), (0.9, 1.0)], by_ratio), 1.0);
}

#[test]
fn a_slice_of_a_composite_is_bad_if_that_of_any_member_is() {
    let by_target = budgeting(Some(0.95), EmptySlices::Good);
    assert_eq!(together(&[(0.0, 1.0), (1.0, 0.1)], by_target), 1.0);
    assert_eq!(together(&[(0.0, 1.0), (0.0, 9.0)], by_target), 0.0);
}

#[test]
fn a_composite_counts_no_slice_twice_when_a_member_joins_later() {
    let mut composite = account(budgeting(Some(0.95), EmptySlices::Good));
    let slices = |numbers: std::ops::Range<u32>| {
        numbers.map(|number| JudgedSlice {
            number,
            ..judged(0.0)
        })
    };
    composite.record(slices(FIRST..FIRST + 10), START_SECS + 3_000);
    composite.record(slices(FIRST + 5..FIRST + 12), START_SECS + 3_600);
    assert_eq!(composite.since_day(0).0.total, 12.0);
}

#[test]
fn members_and_composites_have_accounts_of_their_own() {
    let member = |name: &str| Objective {
        budgeting: budgeting(Some(0.95), EmptySlices::Good),
        composite: Some(CompositeMember {
            name: "shop".to_owned(),
            weight: 1.0,
        }),
        ..Objective::new(name, "s", Sli::Availability, 0.99)
    };
    let (a, b) = (member("a"), member("b"));
    assert_eq!(a.composite_account(), b.composite_account());
    assert_ne!(a.account(), b.account());
    assert_ne!(Some(a.account()), a.composite_account());
}
