//! The judge against independently computed values, and on releases that a test states exactly.
//!
//! The values were computed with scipy 1.17: `mannwhitneyu`, `fisher_exact`, `betainc`, `norm`, `brentq`.

mod blame;
mod compare;
mod study;

use super::counts::{Counts, above_sigmas};
use super::distribution::{Arm, Durations, Scale};
use super::spending::Schedule;
use super::strata::{Slot, align, blocks, dispersion};
use crate::evaluator::statistics::Proportion;
use crate::model::canary::Pairing;
use crate::model::history::MinuteRow;
use crate::model::window::WindowSums;
use crate::window::sketch::bucket_of;

const MINUTE: u32 = 29_450_880;

fn assert_close(found: f64, wanted: f64, relative: f64) {
    assert!(
        (found - wanted).abs() <= relative * wanted.abs(),
        "found {found}, wanted {wanted}"
    );
}

fn slot(minute: u32, old: (f64, f64), new: (f64, f64)) -> Slot {
    let of = |(bad, total)| Proportion { bad, total };
    Slot {
        minute: MINUTE + minute,
        old: of(old),
        new: of(new),
    }
}

/// Requests of one minute; those without an error took these times.
fn row(minute: u32, bad: u64, micros: &[u64]) -> MinuteRow {
    let total = micros.len() as u64 + bad;
    let mut row = MinuteRow {
        minute: MINUTE + minute,
        sums: WindowSums {
            total: total as f64,
            bad: bad as f64,
            squared: total as f64,
            observed_total: total,
            observed_bad: bad,
        },
        latency: Vec::new(),
    };
    for micros in micros {
        row.merge(&MinuteRow {
            minute: row.minute,
            sums: WindowSums::default(),
            latency: vec![(bucket_of(*micros), 1)],
        });
    }
    row
}

/// The walk of the new version's bad events: each is its own with the probability `share`. The probability that any
/// look up to `information` rejects, with a look at every event, by dynamic programming.
fn crossing(schedule: Schedule, alpha: f64, share: f64, information: f64) -> f64 {
    let single = share * (1.0 - share);
    let events = (information / single).ceil();
    let mut states = vec![1.0_f64];
    let mut crossed = 0.0;
    let mut seen = 0.0;
    while seen < events {
        seen += 1.0;
        let mut next = vec![0.0; states.len() + 1];
        for (at, state) in states.iter().enumerate() {
            next[at] += state * (1.0 - share);
            next[at + 1] += state * share;
        }
        // From the far end down to the first that does not reject.
        let level = schedule.level(alpha, seen * single);
        while let Some(last) = next.last() {
            let bad = next.len() - 1;
            let tail = if bad == 0 {
                1.0
            } else {
                statrs::function::beta::beta_reg(bad as f64, seen - bad as f64 + 1.0, share)
            };
            if tail > level {
                break;
            }
            crossed += last;
            next.pop();
        }
        states = next;
    }
    crossed
}

#[test]
fn a_version_that_changed_nothing_fails_at_any_look_with_at_most_the_given_probability() {
    let counts = Schedule::of_counts(2.5);
    for (alpha, share, information, spent) in [
        (0.0075, 0.5, 100.0, 0.5),
        (0.0075, 1.0 / 11.0, 100.0, 0.8),
        (0.0075, 0.02, 12.0, 0.7),
        (0.001, 1.0 / 11.0, 60.0, 0.8),
        (1e-5, 1.0 / 11.0, 60.0, 0.5),
    ] {
        let crossed = crossing(counts, alpha, share, information);
        assert!(crossed <= alpha * 1.03, "{alpha}, {share}: {crossed}");
        // Nothing is given away either.
        assert!(crossed >= alpha * spent, "{alpha}, {share}: {crossed}");
    }
    let sums = Schedule::of_sums(25.0);
    for alpha in [0.01, 0.000_5, 1e-5] {
        let crossed = crossing(sums, alpha, 0.5, 150.0);
        assert!(crossed <= alpha, "{alpha}: {crossed}");
        assert!(crossed >= alpha * 0.4, "{alpha}: {crossed}");
    }
}

#[test]
fn a_p_value_of_any_look_is_the_level_at_which_it_just_rejects() {
    for schedule in [Schedule::of_counts(2.5), Schedule::of_sums(300.0)] {
        for (alpha, information) in [(0.0075, 2.0), (0.001, 400.0), (1e-5, 90.0), (0.05, 1e4)] {
            let level = schedule.level(alpha, information);
            assert_close(schedule.anytime(level, information), alpha, 0.01);
        }
        assert_close(schedule.anytime(1.0, 300.0), 1.0, 0.0);
        assert_close(schedule.anytime(1e-9, 0.0), 1.0, 0.0);
        assert_close(schedule.level(0.01, 0.0), 0.0, 0.0);
    }
}

#[test]
fn the_test_of_bad_events_equals_scipy_and_stays_near_fishers_exact_test() {
    // (new bad, old bad, new, old), betainc(X/f, Y/f + 1, θ) with f = (N − S)/(N − 1), fisher_exact(…, "greater"),
    // the lower bound by brentq at 0.001, Newcombe's upper bound at 0.01.
    let cases = [
        (
            8.0,
            20.0,
            200.0,
            2_000.0,
            0.002_584_067_371,
            0.002_549_784,
            -0.001_905_378_043,
            0.076_331_558_69,
        ),
        (
            13.0,
            50.0,
            212.0,
            4_980.0,
            1.160_859_174e-6,
            1.042_276e-6,
            0.011_669_044_48,
            0.101_674_130_5,
        ),
        (
            12.0,
            2.0,
            200.0,
            200.0,
            0.005_580_240_577,
            0.005_738_941,
            -0.010_244_061_84,
            0.102_424_242_9,
        ),
        (
            3.0,
            0.0,
            100.0,
            1_000.0,
            0.000_741_525_493_6,
            0.000_730_917_8,
            0.000_313_857_094_1,
            0.099_696_060_83,
        ),
        (
            90.0,
            60.0,
            200.0,
            200.0,
            0.001_188_291_624,
            0.001_343_389,
            -0.002_506_744_556,
            0.257_421_940_5,
        ),
    ];
    for (new_bad, old_bad, new, old, wanted, fisher, lower, upper) in cases {
        for pairing in [Pairing::Concurrent, Pairing::BeforeAfter] {
            let slots = [slot(0, (old_bad, old), (new_bad, new))];
            let counts = Counts::of(&slots, pairing).unwrap();
            assert_close(counts.p_value(), wanted, 1e-6);
            assert_close(counts.p_value(), fisher, 0.13);
            assert_close(counts.lower(0.001), lower, 1e-5);
            assert_close(counts.upper(0.01), upper, 1e-6);
            assert_close(counts.difference(), new_bad / new - old_bad / old, 1e-9);
            assert_close(counts.old_ratio(), old_bad / old, 1e-9);
        }
    }
}

#[test]
fn blips_that_hit_both_versions_and_a_growing_share_of_the_traffic_are_no_difference() {
    // One in ten of the old version's requests fails while it has all the traffic, one in a hundred later.
    let slots = [
        slot(0, (100.0, 1_000.0), (5.0, 50.0)),
        slot(1, (5.0, 500.0), (5.0, 500.0)),
        slot(2, (30.0, 100.0), (300.0, 1_000.0)),
    ];
    let counts = Counts::of(&slots, Pairing::Concurrent).unwrap();
    assert!(counts.difference().abs() < 1e-9, "{}", counts.difference());
    assert!(counts.p_value() > 0.45, "{}", counts.p_value());
    // As if they followed each other, the new version is far worse.
    let mixed = Counts::of(&slots, Pairing::BeforeAfter).unwrap();
    assert!(mixed.difference() > 0.1, "{}", mixed.difference());
}

#[test]
fn errors_that_come_in_groups_of_one_version_count_as_fewer() {
    // Twenty errors at once in every twentieth minute, in either version by turns.
    let slots: Vec<Slot> = (0..200)
        .map(|minute| {
            let bad = |phase| if minute % 40 == phase { 20.0 } else { 0.0 };
            slot(minute, (bad(0), 100.0), (bad(20), 100.0))
        })
        .collect();
    for pairing in [Pairing::Concurrent, Pairing::BeforeAfter] {
        let found = dispersion(&slots, pairing);
        assert!((9.0..22.0).contains(&found), "{pairing:?}: {found}");
    }
    // One error at a time does not, though it is as uneven.
    let single: Vec<Slot> = (0..200)
        .map(|minute| {
            let bad = |phase| f64::from(u8::from(minute % 40 == phase));
            slot(minute, (bad(0), 100.0), (bad(20), 100.0))
        })
        .collect();
    assert_close(dispersion(&single, Pairing::Concurrent), 1.0, 0.0);
    // Two minutes say nothing yet.
    let few = [
        slot(0, (3.0, 100.0), (0.0, 100.0)),
        slot(1, (1.0, 100.0), (3.0, 100.0)),
    ];
    let found = dispersion(&few, Pairing::Concurrent);
    assert!(found < 2.0, "{found}");
}

#[test]
fn counts_without_requests_or_errors_say_nothing() {
    let none = |slots: &[Slot]| Counts::of(slots, Pairing::Concurrent).is_none();
    assert!(none(&[]));
    assert!(none(&[slot(0, (1.0, 10.0), (0.0, 0.0))]));
    for bad in [(0.0, 0.0), (100.0, 50.0)] {
        let counts = Counts::of(
            &[slot(0, (bad.0, 100.0), (bad.1, 50.0))],
            Pairing::Concurrent,
        )
        .unwrap();
        assert!(counts.p_value() > 0.4, "{bad:?}: {}", counts.p_value());
        assert!(counts.lower(0.001) <= 0.0);
        assert!(counts.upper(0.01) > 0.05);
    }
}

#[test]
fn a_stretch_of_time_has_requests_of_both_versions() {
    let slots: Vec<Slot> = (0..10)
        .map(|at| slot(at, (0.0, 100.0), (0.0, 8.0)))
        .collect();
    let found = blocks(&slots, Pairing::Concurrent);
    let sizes: Vec<f64> = found.iter().map(|block| block.new.total).collect();
    // Three minutes each; the tenth belongs to the last.
    assert_eq!(sizes, [24.0, 24.0, 32.0]);
    assert_eq!(blocks(&slots, Pairing::BeforeAfter).len(), 1);
}

#[test]
fn rows_of_one_minute_are_put_side_by_side() {
    let old = [row(0, 1, &[5]), row(0, 2, &[]), row(2, 0, &[7])];
    let new = [row(1, 0, &[3, 4]), row(2, 1, &[])];
    let slots = align(&old, &new, (1.0, 0.5), |row| Proportion {
        bad: row.sums.bad,
        total: row.sums.total,
    });
    assert_eq!(
        slots,
        [
            slot(0, (3.0, 4.0), (0.0, 0.0)),
            slot(1, (0.0, 0.0), (0.0, 1.0)),
            slot(2, (0.0, 1.0), (0.5, 0.5)),
        ]
    );
}

/// Thirty durations of the old version and twenty-five of the new one.
fn durations() -> Durations {
    let old: Vec<u64> = (0..30).map(|at| 1_000 + 37 * at * at).collect();
    let new: Vec<u64> = (0..25).map(|at| 1_300 + 41 * at * at).collect();
    let (old, new) = ([row(0, 0, &old)], [row(0, 0, &new)]);
    let block = [slot(0, (0.0, 30.0), (0.0, 25.0))];
    Durations::of((&old, &new), &block, &Scale::new()).unwrap()
}

#[test]
fn mann_whitney_equals_scipy() {
    // mannwhitneyu(new, old, "greater", method="asymptotic", use_continuity=False) of the buckets' middles.
    let durations = durations();
    let superiority = durations.superiority();
    assert_close(superiority, 344.5 / 750.0, 1e-9);
    let deviation = durations.deviation((25.0, 30.0));
    assert_close(deviation, 0.078_868_257_367_6, 1e-9);
    let p_value = above_sigmas((superiority - 0.5) / deviation);
    assert_close(p_value, 0.696_942_807_754, 1e-6);
}

#[test]
fn the_hodges_lehmann_shift_and_its_bounds_equal_those_of_numpy() {
    // The median and the 0.5 ± 1.96·σ quantiles of the 750 differences of logarithms; a bucket is 0.03 wide.
    let durations = durations();
    let deviation = durations.deviation((25.0, 30.0));
    let at = |sigmas: f64| durations.shift(0.5 + sigmas * deviation);
    for (sigmas, wanted) in [(0.0, -0.153_993), (-1.96, -0.716_992), (1.96, 0.418_805)] {
        assert!(
            (at(sigmas) - wanted).abs() < 0.03,
            "{sigmas}: {}",
            at(sigmas)
        );
    }
}

#[test]
fn quantiles_lie_within_their_bucket() {
    let durations = durations();
    for (arm, quantile, micros) in [
        (Arm::Old, 0.5, 1_000.0 + 37.0 * 14.0 * 14.0),
        (Arm::New, 1.0, 1_300.0 + 41.0 * 24.0 * 24.0),
    ] {
        let found = durations.quantile(arm, quantile).exp();
        assert_close(found, micros, 0.035);
    }
}
