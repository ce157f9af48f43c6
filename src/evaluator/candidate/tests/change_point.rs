//! Change points of histories whose truth is known: lasting steps are found, everything else is not.

use rand::RngExt;
use rand_distr::LogNormal;

use super::*;
use crate::evaluator::candidate::change_point::{Change, Indicator, last_change};

const DAYS: u32 = 28;

fn change_of_errors(rows: &[MinuteRow]) -> Option<Change> {
    last_change(rows, Indicator::Errors, &Settings::default())
}

/// Rows every half hour, which is as good as every minute to blocks of six hours, and quicker.
fn half_hours(days: u32, mut row_at: impl FnMut(u32) -> MinuteRow) -> Vec<MinuteRow> {
    (0..days * MINUTES_PER_DAY)
        .step_by(30)
        .map(&mut row_at)
        .collect()
}

fn failing(minute: u32, total: u64, ratio: f64, random: &mut StdRng) -> MinuteRow {
    let bad = Binomial::new(total, ratio.min(1.0)).unwrap().sample(random);
    row(minute, total, bad, 20_000)
}

/// How many of `runs` seeded histories have a change.
fn changes(runs: u64, history: impl Fn(&mut StdRng) -> Vec<MinuteRow>) -> usize {
    (0..runs)
        .filter(|seed| change_of_errors(&history(&mut StdRng::seed_from_u64(*seed))).is_some())
        .count()
}

/// Times of the faults of a history: `(start, length)` in minutes.
fn incidents_of(random: &mut StdRng, count: u32, length: u32) -> Vec<(u32, u32)> {
    (0..count)
        .map(|_| (random.random_range(0..DAYS * MINUTES_PER_DAY), length))
        .collect()
}

fn is_within(incidents: &[(u32, u32)], minute: u32) -> bool {
    incidents
        .iter()
        .any(|(start, length)| (*start..start + length).contains(&minute))
}

/// 240 histories without a change, 40 each of six kinds, of which less than 5 % are found to have one.
#[test]
fn histories_without_a_lasting_step_have_no_change() {
    let independent = changes(40, |random| {
        half_hours(DAYS, |minute| failing(minute, 3_000, 0.002, random))
    });
    // Blips of half an hour twice a day, and an outage of four hours a week.
    let incidents = changes(40, |random| {
        let blips = incidents_of(random, 2 * DAYS, 30);
        let outages = incidents_of(random, DAYS / 7, 240);
        half_hours(DAYS, |minute| {
            let ratio = match (is_within(&outages, minute), is_within(&blips, minute)) {
                (true, _) => 0.5,
                (false, true) => 0.05,
                (false, false) => 0.001,
            };
            failing(minute, 300, ratio, random)
        })
    });
    // Eight times the errors on Saturday and Sunday, and at night a tenth of the traffic.
    let season = changes(40, |random| {
        half_hours(DAYS, |minute| {
            let weekend = minute / MINUTES_PER_DAY % 7 >= 5;
            let night = minute % MINUTES_PER_DAY < 6 * 60;
            let total = if night { 30 } else { 300 };
            failing(minute, total, if weekend { 0.008 } else { 0.001 }, random)
        })
    });
    // One request in ten minutes; at night none at all on some days.
    let quiet = changes(40, |random| {
        half_hours(DAYS, |minute| {
            let total = Binomial::new(30, 0.1).unwrap().sample(random);
            failing(minute, total, 0.01, random)
        })
    });
    // Twenty times the traffic from the middle on.
    let growth = changes(40, |random| {
        half_hours(DAYS, |minute| {
            let total = if minute < DAYS / 2 * MINUTES_PER_DAY {
                50
            } else {
                1_000
            };
            failing(minute, total, 0.001, random)
        })
    });
    // Days that differ by half their ratio, for no reason.
    let days = changes(40, |random| {
        let noise = LogNormal::new(0.0, 0.5).unwrap();
        let factors: Vec<f64> = (0..DAYS).map(|_| noise.sample(random)).collect();
        half_hours(DAYS, |minute| {
            let factor = factors[(minute / MINUTES_PER_DAY) as usize];
            failing(minute, 300, 0.002 * factor, random)
        })
    });
    let found = [independent, incidents, season, quiet, growth, days];
    assert!(found.iter().sum::<usize>() < 12, "{found:?}");
    assert!(found.iter().all(|count| *count <= 3), "{found:?}");
}

/// The power of the test: shares of 40 histories of four weeks whose step is found.
#[test]
fn lasting_steps_are_found() {
    let found = |after_days: u32, factor: f64, incidents: bool| {
        changes(40, |random| {
            let outages = incidents_of(random, if incidents { DAYS / 7 } else { 0 }, 120);
            half_hours(DAYS, |minute| {
                let is_after = minute >= after_days * MINUTES_PER_DAY;
                let level = if is_after { 0.001 * factor } else { 0.001 };
                let ratio = if is_within(&outages, minute) {
                    0.3
                } else {
                    level
                };
                failing(minute, 300, ratio, random)
            })
        })
    };
    let powers = [
        (14, 5.0, false, 40),
        (14, 0.2, false, 40),
        (14, 5.0, true, 34),
        (14, 2.0, false, 40),
        (24, 5.0, false, 40),
        (23, 5.0, true, 34),
        (25, 5.0, false, 15),
    ];
    for (after_days, factor, incidents, wanted) in powers {
        let found = found(after_days, factor, incidents);
        assert!(
            found >= wanted,
            "{found} of 40: {factor} times after {after_days} days, incidents {incidents}"
        );
    }
}

#[test]
fn evidence_says_where_and_what_and_uses_only_the_data_after_it() {
    let history = rows(35, |minute| {
        let bad = if minute < 15 * MINUTES_PER_DAY + 125 {
            10
        } else {
            u64::from(minute % 25 == 0)
        };
        row(minute, 1_000, bad, 20_000)
    });
    let candidates = fitted(&history);
    let evidence = &availability(&candidates).evidence;
    // 15 days and 125 minutes after the start.
    let since = i64::from(START + 15 * MINUTES_PER_DAY + 125) * 60;
    assert_eq!(evidence.regime_since.unwrap().as_second(), since);
    assert_eq!(
        evidence.regime_change.as_deref(),
        Some("the typical error ratio fell from 1% to 0.02%")
    );
    // 19.9 days are left: two whole weeks.
    assert_eq!(evidence.history_secs, 14 * 86_400);
    assert!((evidence.measured - 0.999_8).abs() < 1e-6);
    assert_eq!(availability(&candidates).state, CandidateState::Ready);
    // The latency did not change.
    let (latency, _) = latency(&candidates).unwrap();
    assert_eq!(latency.evidence.regime_since, None);
    assert_eq!(latency.evidence.history_secs, 35 * 86_400);
}

#[test]
fn too_little_history_after_a_change_is_provisional_and_says_so() {
    let history = rows(28, |minute| {
        let bad = if minute < 20 * MINUTES_PER_DAY {
            u64::from(minute % 25 == 0)
        } else {
            10
        };
        row(minute, 1_000, bad, 20_000)
    });
    let candidates = fitted(&history);
    let found = availability(&candidates);
    assert_eq!(found.state, CandidateState::Provisional);
    assert_eq!(
        found.missing,
        [
            "8 of 14 days of history since the typical error ratio rose from 0.02% to 1% at 2026-01-19T00:00:00Z"
        ]
    );
    assert_ratio(found.target, 0.95);
}

#[test]
fn a_step_of_the_latency_is_found_in_its_own_indicator() {
    let mut random = StdRng::seed_from_u64(3);
    let distribution = LogNormal::new(0.0, 0.4).unwrap();
    let history = half_hours(28, |minute| {
        let typical = if minute < 12 * MINUTES_PER_DAY {
            0.08
        } else {
            0.14
        };
        let mut row = row(minute, 40, 0, 0);
        row.latency = (0..40)
            .map(|_| {
                let secs = typical * distribution.sample(&mut random);
                let micros = Duration::from_secs_f64(secs).as_micros();
                (bucket_of(micros.try_into().unwrap()), 1)
            })
            .collect();
        row
    });
    let candidates = fitted(&history);
    let (candidate, _) = latency(&candidates).unwrap();
    let change = candidate.evidence.regime_change.as_deref().unwrap();
    // The quantile of the log-normal is 1.93 times its median: 154 and 270 ms.
    assert!(
        change.starts_with("the p95 of the latency rose from 15"),
        "{change}"
    );
    let days = candidate.evidence.regime_since.unwrap().as_second() / 60 - i64::from(START);
    let off = days - i64::from(12 * MINUTES_PER_DAY);
    assert!(off.abs() <= 60, "{off} minutes");
    assert_eq!(availability(&candidates).evidence.regime_since, None);
}

#[test]
fn the_last_of_several_steps_counts() {
    let mut random = StdRng::seed_from_u64(9);
    let history = half_hours(35, |minute| {
        let ratio = match minute / MINUTES_PER_DAY {
            0..10 => 0.001,
            10..21 => 0.01,
            _ => 0.003,
        };
        failing(minute, 300, ratio, &mut random)
    });
    let change = change_of_errors(&history).unwrap();
    let off = i64::from(change.minute) - i64::from(START + 21 * MINUTES_PER_DAY);
    assert!(off.abs() <= 360, "{off} minutes");
    assert!(change.text.contains("fell"), "{}", change.text);
}

#[test]
fn a_week_and_a_day_is_too_little_to_find_a_change() {
    let history = half_hours(8, |minute| {
        row(
            minute,
            300,
            if minute < 7 * MINUTES_PER_DAY { 0 } else { 30 },
            20_000,
        )
    });
    assert_eq!(change_of_errors(&history), None);
    assert_eq!(change_of_errors(&[]), None);
}

#[test]
fn changes_below_the_wanted_ratio_or_duration_do_not_count() {
    let history = half_hours(28, |minute| {
        row(
            minute,
            10_000,
            if minute < 14 * MINUTES_PER_DAY {
                100
            } else {
                115
            },
            20_000,
        )
    });
    assert_eq!(change_of_errors(&history), None);
    let with = |change: ChangeSettings| {
        let settings = Settings {
            change,
            ..Settings::default()
        };
        last_change(&history, Indicator::Errors, &settings)
    };
    let sensitive = ChangeSettings {
        min_ratio: 1.1,
        ..ChangeSettings::default()
    };
    assert!(with(sensitive.clone()).is_some());
    let patient = ChangeSettings {
        min_duration: Duration::from_hours(15 * 24),
        ..sensitive
    };
    assert_eq!(with(patient), None);
}
