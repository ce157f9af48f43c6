//! Histories of streams whose truth is known: how often the evidence covers it. A small part of the study in
//! `benches/candidates.rs`.

mod streams;
mod tally;

use super::*;
use crate::window::sketch::bucket_bounds_micros;
use streams::{Durations, Incidents, Length, LogNormal, Stream, Week, Weights};
use tally::Tally;

const HISTORIES: u64 = 40;

/// A week of independent errors.
const INDEPENDENT: Stream = Stream {
    days: 7,
    events_per_sec: 0.5,
    error_ratio: 0.002,
    week: None,
    incidents: None,
    weights: Weights::Full,
    step: None,
    durations: None,
};

const BLIPS: Incidents = Incidents {
    per_day: 3.0,
    length: Length::Exponential(20.0),
    share: (0.5, 0.5),
};

#[test]
fn the_bound_covers_the_truth_of_independent_errors() {
    let tally = Tally::of(&INDEPENDENT, HISTORIES);
    assert!(tally.covered >= 0.93, "{tally:?}");
    assert!((1.0..1.3).contains(&tally.bound_median), "{tally:?}");
    assert!(tally.incidents_counted < 0.2, "{tally:?}");
}

#[test]
fn the_bound_covers_the_truth_of_blips_and_the_evidence_counts_them() {
    let stream = Stream {
        incidents: Some(BLIPS),
        ..INDEPENDENT
    };
    let tally = Tally::of(&stream, HISTORIES);
    // With windows of five minutes alone, 70 %.
    assert!(tally.covered >= 0.93, "{tally:?}");
    assert!(tally.bound_median < 2.2, "{tally:?}");
    assert!(tally.incidents >= 15.0, "{tally:?}");
    let counted = tally.incidents_counted / tally.incidents;
    assert!((0.9..1.1).contains(&counted), "{tally:?}");
    assert!(tally.rate_covered >= 0.9, "{tally:?}");
}

#[test]
fn the_bound_covers_the_truth_of_sampled_blips_with_a_season() {
    let stream = Stream {
        events_per_sec: 2.0,
        week: Some(Week {
            traffic_swing: 0.6,
            error_swing: 0.5,
            weekend_traffic: 0.4,
        }),
        incidents: Some(BLIPS),
        weights: Weights::OneIn(4),
        ..INDEPENDENT
    };
    let tally = Tally::of(&stream, HISTORIES);
    assert!(tally.covered >= 0.93, "{tally:?}");
    assert!(tally.bound_median < 2.5, "{tally:?}");
}

#[test]
fn of_rare_outages_the_incident_rate_covers() {
    let stream = Stream {
        incidents: Some(Incidents {
            per_day: 1.0 / 7.0,
            length: Length::Fixed(30.0),
            share: (1.0, 1.0),
        }),
        ..INDEPENDENT
    };
    let tally = Tally::of(&stream, HISTORIES);
    assert!(tally.incidents < 2.0, "{tally:?}");
    assert!(tally.rate_covered >= 0.93, "{tally:?}");
    // No bound covers incidents that it has not seen.
    assert!(tally.covered < 0.93, "{tally:?}");
}

#[test]
fn the_latency_bound_covers_the_true_quantile_in_spite_of_slow_incidents() {
    let lognormal = |median_secs, sigma| LogNormal { median_secs, sigma };
    let stream = Stream {
        incidents: Some(BLIPS),
        durations: Some(Durations {
            usual: lognormal(0.08, 0.5),
            other: None,
            slow: lognormal(1.0, 0.4),
        }),
        ..INDEPENDENT
    };
    let tally = Tally::of(&stream, HISTORIES);
    // With windows of five minutes alone, 70 %.
    assert!(tally.covered >= 0.93, "{tally:?}");
    assert!(tally.bound_median < 1.5, "{tally:?}");
}

#[test]
fn the_truth_of_a_stream_is_what_its_histories_show_on_average() {
    let stream = Stream {
        incidents: Some(BLIPS),
        week: Some(Week {
            traffic_swing: 0.6,
            error_swing: 0.5,
            weekend_traffic: 0.4,
        }),
        weights: Weights::Mixed(3),
        ..INDEPENDENT
    };
    let histories = 40;
    let sums = (0..histories)
        .flat_map(|seed| stream.history(seed).rows)
        .fold(WindowSums::default(), |sums, row| sums.plus(row.sums));
    let events = 0.5 * 7.0 * SECS_PER_DAY * histories as f64;
    assert!((sums.total / events - 1.0).abs() < 0.01, "{sums:?}");
    // 840 blips of exponential length: the ratio's standard error is √2/√840 = 5 %.
    let ratio = sums.error_ratio().unwrap() / stream.true_error_ratio();
    assert!((ratio - 1.0).abs() < 0.15, "{ratio}");
}

#[test]
fn blips_raise_the_over_dispersion_and_widen_the_bound() {
    let blips = Stream {
        incidents: Some(BLIPS),
        ..INDEPENDENT
    };
    // As many errors, one by one.
    let even = Stream {
        error_ratio: blips.true_error_ratio(),
        ..INDEPENDENT
    };
    let [blips, even] = [blips, even].map(|stream| {
        let candidates = fitted(&stream.history(1).rows);
        availability(&candidates).evidence.clone()
    });
    assert!((1.0..2.5).contains(&even.over_dispersion), "{even:?}");
    assert!(blips.over_dispersion > 100.0, "{blips:?}");
    assert!(blips.measured - blips.bound > 5.0 * (even.measured - even.bound));
}
