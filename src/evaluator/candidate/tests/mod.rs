//! Candidates of histories that a test states exactly.

mod change_point;
mod coverage;
mod property;
mod replay;
mod walk;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Binomial, Distribution};

use super::*;
use crate::model::candidate::StepVerdict;
use crate::model::window::{WindowSums, ladder_edge_micros};
use crate::window::sketch::{LatencyCounts, bucket_of};

const MINUTES_PER_DAY: u32 = 24 * 60;

/// 2025-12-30T00:00Z, a Tuesday.
const START: u32 = 29_450_880;

/// A minute of unweighted events; those without an error took `micros`.
fn row(minute: u32, total: u64, bad: u64, micros: u64) -> MinuteRow {
    let good = total - bad;
    MinuteRow {
        minute: START + minute,
        sums: WindowSums {
            total: total as f64,
            bad: bad as f64,
            squared: total as f64,
            observed_total: total,
            observed_bad: bad,
        },
        latency: if good > 0 {
            vec![(bucket_of(micros), good)]
        } else {
            Vec::new()
        },
    }
}

/// One row every five minutes.
fn rows(days: u32, mut row_at: impl FnMut(u32) -> MinuteRow) -> Vec<MinuteRow> {
    (0..days * MINUTES_PER_DAY)
        .step_by(5)
        .map(&mut row_at)
        .collect()
}

fn fit_as(rows: &[MinuteRow], sampling: Sampling, settings: &Settings) -> Vec<Candidate> {
    let service = ServiceKey::named("checkout");
    let history = SeriesHistory {
        service: &service,
        operation: None,
        rows,
        sampling,
    };
    fit(&history, settings)
}

fn fitted(rows: &[MinuteRow]) -> Vec<Candidate> {
    fit_as(rows, Sampling::Full, &Settings::default())
}

fn availability(candidates: &[Candidate]) -> &Candidate {
    candidates
        .iter()
        .find(|candidate| candidate.sli == Sli::Availability)
        .unwrap()
}

fn latency(candidates: &[Candidate]) -> Option<(&Candidate, u64)> {
    candidates.iter().find_map(|candidate| match candidate.sli {
        Sli::Latency { threshold_micros } => Some((candidate, threshold_micros)),
        Sli::Availability | Sli::ErrorRate => None,
    })
}

fn assert_considered(evidence: &Evidence, wanted: &[(f64, StepVerdict, &str)]) {
    let found: Vec<_> = evidence
        .considered
        .iter()
        .map(|step| (step.target, step.verdict, step.reason.as_str()))
        .collect();
    assert_eq!(found, wanted);
}

fn assert_ratio(found: f64, wanted: f64) {
    assert!((found - wanted).abs() < 1e-12, "{found}, not {wanted}");
}

#[test]
fn a_full_clean_history_makes_ready_candidates() {
    let clean = rows(14, |minute| row(minute, 100, 0, 20_000));
    let candidates = fitted(&clean);
    let found: Vec<_> = candidates
        .iter()
        .map(|candidate| (candidate.name.as_str(), candidate.sli, candidate.state))
        .collect();
    let threshold_micros = 30_000;
    let ready = CandidateState::Ready;
    assert_eq!(
        found,
        [
            ("availability-checkout", Sli::Availability, ready),
            ("error-rate-checkout", Sli::ErrorRate, ready),
            (
                "latency-p95-checkout",
                Sli::Latency { threshold_micros },
                ready
            ),
        ]
    );
    let evidence = &availability(&candidates).evidence;
    assert_eq!(evidence.events, 403_200);
    assert_ratio(evidence.effective_events, 403_200.0);
    assert_eq!(evidence.slices_with_traffic, 4_032);
    assert_eq!(evidence.history_secs, 14 * 86_400);
    assert_ratio(evidence.coverage_ratio, 1.0);
    assert_ratio(evidence.measured, 1.0);
    assert_eq!(evidence.sampling, "full");
    assert_eq!(evidence.incidents, 0);
    // Rule of three: χ²₀.₉₅,₂/2 = 2.9957 over 14 days.
    assert!((evidence.incidents_per_day_upper - 2.995_732_274 / 14.0).abs() < 1e-9);
}

#[test]
fn an_error_ratio_snaps_down_the_ladder_and_the_error_rate_is_its_complement() {
    // `bad` of 100 events in every n-th slice: 0.04 %, 0.06 %, 0.3 % and 3 % of errors.
    let cases = [
        (25, 1, 0.999_5, 0.000_5),
        (17, 1, 0.999, 0.001),
        (10, 3, 0.995, 0.005),
        (1, 3, 0.95, 0.05),
    ];
    for (every, bad, target, error_rate) in cases {
        let even = rows(14, |minute| {
            let bad = if minute / 5 % every == 0 { bad } else { 0 };
            row(minute, 100, bad, 20_000)
        });
        let candidates = fitted(&even);
        let found = availability(&candidates);
        assert_ratio(found.target, target);
        assert!(found.target <= found.evidence.bound);
        assert!(found.evidence.bound < found.evidence.measured);
        let complement = candidates
            .iter()
            .find(|candidate| candidate.sli == Sli::ErrorRate)
            .unwrap();
        assert_eq!(complement.target.to_string(), error_rate.to_string());
        assert_eq!(complement.evidence, found.evidence);
    }
}

#[test]
fn a_latency_bound_is_the_upper_edge_of_its_bucket_and_snaps_up() {
    // 199.9 ms lies in the bucket 196.608 … 200.703 ms, whose end is above the ladder's 200 ms.
    let cases = [(120_000, 0.120_831, 150_000), (199_900, 0.200_703, 250_000)];
    for (micros, bound_secs, threshold_wanted) in cases {
        let candidates = fitted(&rows(14, |minute| row(minute, 100, 0, micros)));
        let (candidate, threshold) = latency(&candidates).unwrap();
        assert_ratio(candidate.evidence.bound, bound_secs);
        assert_eq!(threshold, threshold_wanted);
        assert_ratio(candidate.target, 0.95);
    }
}

#[test]
fn short_histories_are_provisional_and_say_what_is_missing() {
    // Two days and a bit: 50.4 hours.
    let short = rows(3, |minute| row(minute, 1, 0, 20_000));
    let short: Vec<_> = short.into_iter().take(605).collect();
    let candidates = fitted(&short);
    let found = availability(&candidates);
    assert_eq!(found.state, CandidateState::Provisional);
    assert_eq!(found.missing, ["2.1 of 14 days of history"]);
    assert_eq!(found.evidence.history_secs, 605 * 300);

    let few = rows(1, |minute| row(minute, 1, 0, 20_000));
    let candidates = fitted(&few[..10]);
    assert_eq!(
        availability(&candidates).missing,
        [
            "0 of 14 days of history",
            "10 of 200 five-minute slices with traffic",
            "more events: so far the bound of availability is 0.741, and the lowest target is 0.9",
        ]
    );
    let (candidate, threshold) = latency(&candidates).unwrap();
    assert_eq!(threshold, 30_000);
    assert_eq!(
        candidate.missing.last().unwrap(),
        "10 of 59 independent events; so far the largest latency stands for the bound"
    );
    // 1 − 0.95¹⁰
    assert_eq!(candidate.evidence.method, "largest-seen");
    assert_ratio(candidate.evidence.confidence, 0.401_263_060_761_621_2);
}

#[test]
fn a_candidate_is_ready_exactly_at_the_limits() {
    let settings = Settings::default();
    let all = rows(14, |minute| row(minute, 100, 0, 20_000));
    let state = |rows: &[MinuteRow], settings: &Settings| {
        availability(&fit_as(rows, Sampling::Full, settings)).state
    };
    assert_eq!(state(&all, &settings), CandidateState::Ready);
    // One slice less of history.
    let shorter = &all[1..];
    assert_eq!(state(shorter, &settings), CandidateState::Provisional);

    let slices = |min_slices| Settings {
        min_slices,
        ..settings.clone()
    };
    assert_eq!(state(&all, &slices(4_032)), CandidateState::Ready);
    assert_eq!(state(&all, &slices(4_033)), CandidateState::Provisional);

    // 0.0001 · 403 200 · 30/14 = 86.4; where that is too few, the next target has the larger budget.
    let target = |min_bad_events_in_budget| {
        let settings = Settings {
            min_bad_events_in_budget,
            ..settings.clone()
        };
        availability(&fit_as(&all, Sampling::Full, &settings)).target
    };
    assert_ratio(target(86.4), 0.999_9);
    assert_ratio(target(86.5), 0.999_5);
}

#[test]
fn too_little_traffic_for_a_target_takes_the_next_one() {
    // 4 032 clean events in 14 days carry 0.999, whose budget of 30 days is 8.6 bad events.
    let sparse = rows(14, |minute| row(minute, 1, 0, 20_000));
    let candidates = fitted(&sparse);
    let found = availability(&candidates);
    assert_ratio(found.target, 0.995);
    assert_eq!(found.state, CandidateState::Ready);
    let reasons = [
        (
            0.999_5,
            StepVerdict::TooTight,
            "the bound, 99.926%, does not carry it",
        ),
        (
            0.999,
            StepVerdict::TooTight,
            "its budget of 30d allows 8.6 bad events, fewer than 10: one incident decides",
        ),
        (
            0.995,
            StepVerdict::Stands,
            "the history uses 0% of its budget",
        ),
        (
            0.99,
            StepVerdict::TooLoose,
            "the history uses 0% of its budget, and a tighter step stands",
        ),
    ];
    assert_considered(&found.evidence, &reasons);
}

#[test]
fn too_little_traffic_for_any_target_is_said() {
    // Two events a day: 60 in 30 days, of which 90 % may fail by 6.
    let quiet: Vec<_> = (0..28)
        .map(|half_day| row(half_day * 720, 1, 0, 20_000))
        .collect();
    let candidates = fitted(&quiet);
    let found = availability(&candidates);
    assert_ratio(found.target, 0.9);
    assert_eq!(found.state, CandidateState::Provisional);
    assert_eq!(found.evidence.rejection, None);
    let wanted =
        "6 of 10 bad events that the budget of 30d must allow: too little traffic for target 0.9";
    assert!(
        found.missing.contains(&wanted.to_owned()),
        "{:?}",
        found.missing
    );
}

#[test]
fn unknown_sampling_never_makes_a_candidate_ready() {
    let rows = rows(14, |minute| row(minute, 100, 0, 20_000));
    for sampling in [Sampling::Unknown, Sampling::Ratio(0.0)] {
        for candidate in fit_as(&rows, sampling, &Settings::default()) {
            assert_eq!(candidate.state, CandidateState::Provisional);
            assert_eq!(
                candidate.missing,
                ["knowledge of the sampling: set sli.sampling"]
            );
        }
    }
    for sampling in [Sampling::Tracestate, Sampling::Ratio(0.1)] {
        for candidate in fit_as(&rows, sampling, &Settings::default()) {
            assert_eq!(candidate.state, CandidateState::Ready);
        }
    }
}

#[test]
fn sampled_events_bound_as_their_number_not_as_their_weight() {
    let mut random = StdRng::seed_from_u64(5);
    let errors = Binomial::new(100, 0.002).unwrap();
    let seen = rows(14, |minute| {
        row(minute, 100, errors.sample(&mut random), 20_000)
    });
    let weighted: Vec<_> = seen
        .iter()
        .cloned()
        .map(|mut row| {
            row.sums.total *= 10.0;
            row.sums.bad *= 10.0;
            row.sums.squared *= 100.0;
            for (_, count) in &mut row.latency {
                *count *= 10;
            }
            row
        })
        .collect();
    let (seen, weighted) = (fitted(&seen), fitted(&weighted));
    for (one, ten) in seen.iter().zip(&weighted) {
        assert_eq!(one.target.to_string(), ten.target.to_string());
        assert_eq!(one.evidence.events, ten.evidence.events);
        assert_eq!(one.evidence.incidents, ten.evidence.incidents);
        let close = |one: f64, ten: f64| (one / ten - 1.0).abs() < 1e-9;
        assert!(close(one.evidence.bound, ten.evidence.bound));
        assert!(close(
            one.evidence.effective_events,
            ten.evidence.effective_events
        ));
        assert!(close(
            one.evidence.over_dispersion,
            ten.evidence.over_dispersion
        ));
    }
}

#[test]
fn only_the_most_recent_whole_weeks_are_used() {
    // A terrible day, then 14 good ones, of which the last 14 count.
    let history = rows(15, |minute| {
        let bad = if minute < MINUTES_PER_DAY { 50 } else { 0 };
        row(minute, 100, bad, 20_000)
    });
    let candidates = fitted(&history);
    let evidence = &availability(&candidates).evidence;
    assert_eq!(evidence.history_secs, 14 * 86_400);
    assert_eq!(evidence.events, 403_200);
    assert_ratio(evidence.measured, 1.0);

    // A history of 10 days was watched for 10 days, though 7 of them are used.
    let ten_days = &history[..10 * 288];
    let candidates = fitted(ten_days);
    let found = availability(&candidates);
    assert_eq!(found.evidence.history_secs, 7 * 86_400);
    assert_eq!(found.missing, ["10 of 14 days of history"]);
}

#[test]
fn incidents_are_runs_of_slices_over_budget_with_two_bad_events() {
    let history = rows(14, |minute| {
        let bad = match minute {
            // One incident of three slices, one of a single slice, and a single error that is none.
            600 | 605 | 610 | 1_200 => 20,
            2_000 => 1,
            _ => 0,
        };
        row(minute, 100, bad, 20_000)
    });
    let candidates = fitted(&history);
    let found = availability(&candidates);
    assert_ratio(found.target, 0.999);
    assert_eq!(found.evidence.incidents, 2);
    // chi2.ppf(0.95, 2 * 3) / (2 * 14)
    assert!((found.evidence.incidents_per_day_upper - 0.449_699_5).abs() < 1e-6);
}

#[test]
fn slow_slices_are_incidents_of_latency_and_errors_are_not() {
    let history = rows(14, |minute| match minute {
        600 | 605 => row(minute, 100, 0, 900_000),
        1_200 => row(minute, 100, 100, 0),
        _ => row(minute, 100, 0, 20_000),
    });
    let candidates = fitted(&history);
    let (candidate, threshold) = latency(&candidates).unwrap();
    assert_eq!(threshold, 30_000);
    assert_eq!(candidate.evidence.incidents, 1);
    assert_eq!(candidate.evidence.events, 403_100);
    assert_eq!(candidate.evidence.slices_with_traffic, 4_031);
    assert_eq!(availability(&candidates).evidence.incidents, 1);
}

#[test]
fn histories_without_events_suggest_nothing() {
    assert_eq!(fitted(&[]), []);
    assert_eq!(fitted(&[row(0, 0, 0, 0)]), []);
}

#[test]
fn a_service_in_trouble_is_rejected_and_says_why() {
    // Exactly the lowest target is refused too: its budget would be spent at birth.
    let cases = [
        (
            vec![row(0, 1, 1, 0)],
            "1 of 1 events failed: even 90% does not hold; find the cause before promising anything",
        ),
        (
            rows(14, |minute| row(minute, 100, 10, 20_000)),
            "40320 of 403200 events failed: even 90% does not hold; find the cause before promising anything",
        ),
    ];
    for (history, reason) in cases {
        let candidates = fitted(&history);
        let found = availability(&candidates);
        assert_eq!(found.state, CandidateState::Rejected);
        assert_ratio(found.target, 0.9);
        assert_eq!(found.evidence.rejection.as_deref(), Some(reason));
        assert_considered(&found.evidence, &[(0.9, StepVerdict::TooTight, reason)]);
        let error_rate = &candidates[1];
        assert_eq!(error_rate.name, "error-rate-checkout");
        assert_eq!(error_rate.state, CandidateState::Rejected);
        assert_ratio(error_rate.target, 0.1);
    }
}

#[test]
fn a_latency_beyond_the_ladder_is_rejected_and_a_bound_beyond_it_is_provisional() {
    let slow = fitted(&rows(14, |minute| row(minute, 100, 0, 75_000_000)));
    let (candidate, threshold) = latency(&slow).unwrap();
    assert_eq!(
        (candidate.state, threshold),
        (CandidateState::Rejected, 60_000_000)
    );
    assert_eq!(
        candidate.evidence.rejection.as_deref(),
        Some(
            "the p95 of the latency is 75.5 s: even 60 s does not hold; find the cause before promising anything"
        )
    );
    // 100 events, of which the slowest four stand for the bound.
    let seldom = fitted(
        &rows(1, |minute| {
            let micros = if minute % 125 == 0 {
                75_000_000
            } else {
                20_000
            };
            row(minute, 1, 0, micros)
        })[..100],
    );
    let (candidate, threshold) = latency(&seldom).unwrap();
    assert_eq!(
        (candidate.state, threshold),
        (CandidateState::Provisional, 60_000_000)
    );
    let last = candidate.missing.last().unwrap();
    assert!(
        last.starts_with("more events: so far the bound of the latency is 75.5 s"),
        "{last}"
    );
}

#[test]
fn tiny_histories_are_provisional_and_say_what_is_missing() {
    // The sample trace of a first visit: one request each.
    let candidates = fitted(&[row(0, 1, 0, 42_000)]);
    let states: Vec<_> = candidates.iter().map(|held| held.state).collect();
    assert_eq!(states, [CandidateState::Provisional; 3]);
    let found = availability(&candidates);
    assert_ratio(found.target, 0.9);
    assert_eq!(
        found.missing,
        [
            "0 of 14 days of history",
            "1 of 200 five-minute slices with traffic",
            "more events: so far the bound of availability is 0.050, and the lowest target is 0.9",
        ]
    );
    let evidence = &found.evidence;
    assert_eq!(evidence.replay, None);
    assert_eq!(
        evidence.replay_missing.as_deref(),
        Some(
            "a replay needs 14 days of history to fit and 1 to try it on; there are 0 days in all"
        )
    );
    assert_eq!(evidence.considered, []);
    assert_eq!((evidence.regime_since, &evidence.worst_hour), (None, &None));
}

#[test]
fn rows_of_one_minute_add_up() {
    let whole = rows(14, |minute| row(minute, 100, 1, 20_000));
    let parts: Vec<_> = whole
        .iter()
        .flat_map(|whole| {
            let minute = whole.minute - START;
            [row(minute, 60, 1, 20_000), row(minute, 40, 0, 20_000)]
        })
        .collect();
    assert_eq!(fitted(&parts), fitted(&whole));
}

/// Kish's number of all events together is 1.04 here, of which the share without an error would be 1.02 of one event.
#[test]
fn a_part_of_the_events_is_never_worth_more_than_were_seen() {
    let mut heavy = row(0, 1, 0, 20_000);
    heavy.sums.total = 48.636;
    heavy.sums.squared = 48.636 * 48.636;
    let candidates = fitted(&[row(0, 1, 1, 0), heavy]);
    let (candidate, _) = latency(&candidates).unwrap();
    assert_eq!(candidate.evidence.events, 1);
    assert_ratio(candidate.evidence.effective_events, 1.0);
}
