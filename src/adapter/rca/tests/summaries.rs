//! Properties of what is kept: bounded, mergeable, exact enough.

use proptest::prelude::*;

use crate::adapter::rca::cells::{Cell, Half};
use crate::adapter::rca::settings::Settings;
use crate::adapter::rca::summary::Summary;
use crate::adapter::rca::tests::fixture::{Wrong, summary, visits};
use crate::adapter::rca::times::Times;

fn merged(parts: &[&Summary], settings: &Settings) -> Summary {
    let mut all = Summary::default();
    for part in parts {
        all.merge(part, settings);
    }
    all
}

#[test]
fn summaries_merge_in_any_order_and_grouping_to_the_summary_of_all() {
    let settings = Settings::default();
    let odd = Wrong {
        errors: 0.2,
        gone: 0.1,
        forgets: 0.2,
        exceptions: 0.2,
        disorder: 0.2,
        ..Wrong::default()
    };
    let traces = visits(1, 60, &odd);
    let [a, b, c] = [&traces[..10], &traces[10..25], &traces[25..]].map(summary);
    let all = summary(&traces);
    let right = merged(&[&b, &c], &settings);
    let nothing = Summary::default();
    let ways: [&[&Summary]; 4] = [
        &[&a, &b, &c],
        &[&c, &a, &b],
        &[&a, &right],
        &[&all, &nothing],
    ];
    for (number, way) in ways.into_iter().enumerate() {
        // Not assert_eq: it would print thousands of numbers.
        assert!(merged(way, &settings) == all, "way {number}");
    }
}

#[test]
fn a_summary_is_read_as_it_was_written() {
    let all = summary(&visits(1, 20, &Wrong::default()));
    let text = serde_json::to_string(&all).unwrap();
    assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), all);
}

#[test]
fn what_the_bounds_have_no_place_for_is_counted() {
    let settings = Settings {
        max_operations: 2,
        max_links: 1,
        max_shapes: 1,
        max_instances: 1,
        ..Settings::default()
    };
    let odd = Wrong {
        disorder: 0.5,
        ..Wrong::default()
    };
    let mut bounded = Summary::default();
    for trace in visits(1, 30, &odd) {
        bounded.observe(&trace, &settings);
    }
    assert_eq!((bounded.operations.len(), bounded.links.len()), (2, 1));
    // Eight spans a trace, each with an operation of its own, and three links.
    assert_eq!(bounded.refused.spans, 30 * 6);
    assert_eq!(bounded.refused.calls, 30 * 2);
    assert_eq!(bounded.window.spans, 30 * 8);

    let settings = Settings {
        max_operations: 8,
        max_links: 3,
        ..settings
    };
    let mut bounded = Summary::default();
    for trace in visits(1, 30, &odd) {
        bounded.observe(&trace, &settings);
    }
    assert!(bounded.refused.shapes > 0 && bounded.refused.instances > 0);
    let operations = bounded.operations.values();
    for operation in operations {
        let (weight, events) = (
            operation.weight.sum(Half::ALL),
            operation.events.total(Half::ALL),
        );
        assert!((weight - 30.0).abs() < 1e-9 && (events - 30.0).abs() < 1e-9);
        assert!(operation.events.iter().count() <= 1);
        assert!(operation.instances.len() <= 1);
    }
}

proptest! {
    #[test]
    fn quartiles_are_those_of_the_durations_within_a_bucket(
        micros in prop::collection::vec(prop_oneof![0..100_u64, 0..10_000_000_u64], 1..200),
    ) {
        let mut times = Times::default();
        for (number, micros) in micros.iter().enumerate() {
            let cell = Cell::of(&number.to_string(), *micros, 1);
            times.add(cell, micros * 1_000, 1.0);
        }
        let mut sorted = micros;
        sorted.sort_unstable();
        let n = sorted.len();
        let near = |seen: f64, exact: f64| (seen - exact).abs() <= 1.0 + exact / 60.0;
        let quartiles = times.quartiles(Half::ALL).unwrap();
        let median = f64::midpoint(sorted[(n - 1) / 2] as f64, sorted[n / 2] as f64);
        prop_assert!(near(quartiles.median, median), "{quartiles:?} {median}");
        let low = sorted[n.div_ceil(4) - 1] as f64;
        prop_assert!(near(quartiles.low, low), "{quartiles:?} {low}");
        let high = sorted[(3 * n / 4).min(n - 1)] as f64;
        prop_assert!(near(quartiles.high, high), "{quartiles:?} {high}");
    }

    #[test]
    fn sketches_of_parts_and_of_halves_add_up(
        left in prop::collection::vec((0..16_u64, 0..1_000_000_u64), 0..60),
        right in prop::collection::vec((0..16_u64, 0..1_000_000_u64), 0..60),
    ) {
        let sketch = |values: &[(u64, u64)]| {
            let mut times = Times::default();
            for (cell, micros) in values {
                times.add(Cell::of("", cell * 7, 7), micros * 1_000, 1.0);
            }
            times
        };
        let mut one = sketch(&left);
        one.merge(&sketch(&right));
        let mut other = sketch(&right);
        other.merge(&sketch(&left));
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(one, sketch(&[left, right].concat()));
    }
}
