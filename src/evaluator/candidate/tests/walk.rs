//! Why a step of the ladder is taken, and why another is not.

use super::*;

/// Twenty-one days of 60 events a minute.
fn history(bad: impl Fn(u32) -> u64) -> Vec<MinuteRow> {
    (0..21 * MINUTES_PER_DAY)
        .map(|minute| row(minute, 60, bad(minute), 20_000))
        .collect()
}

/// No level lasts for more than half of a history.
fn without_change_points() -> Settings {
    Settings {
        change: ChangeSettings {
            min_duration: Duration::from_hours(20 * 24),
            ..ChangeSettings::default()
        },
        ..Settings::default()
    }
}

fn reason(evidence: &Evidence, target: f64) -> (StepVerdict, &str) {
    let mut steps = evidence.considered.iter();
    let found = steps.find(|step| (step.target - target).abs() < 1e-9);
    let found = found.unwrap_or_else(|| panic!("{:?}", evidence.considered));
    (found.verdict, &found.reason)
}

#[test]
fn a_step_whose_replay_spends_the_budget_is_too_tight() {
    // Clean for two weeks, then two hours of a fifth of errors: 1 440 of 604 800 events of the last week.
    let outage = 18 * MINUTES_PER_DAY..18 * MINUTES_PER_DAY + 120;
    let candidates = fitted(&history(
        |minute| if outage.contains(&minute) { 12 } else { 0 },
    ));
    let found = availability(&candidates);
    // 99.92 % of three weeks held, but the last week has used two budgets of 99.9 %.
    let (verdict, why) = reason(&found.evidence, 0.995);
    assert_eq!(verdict, StepVerdict::Stands, "{why}");
    assert_ratio(found.target, 0.995);
    assert!(found.evidence.replay.as_ref().unwrap().outcome.attained);
    assert!(
        !found
            .evidence
            .replay
            .as_ref()
            .unwrap()
            .tighter
            .as_ref()
            .unwrap()
            .attained
    );
}

#[test]
fn a_step_that_pages_again_and_again_is_too_tight_though_it_holds() {
    // Each day five minutes of total outage: 0.35 %, which 99.5 % holds; but 8 % of an hour pages at 7.2 %.
    let history: Vec<MinuteRow> = (0..35 * MINUTES_PER_DAY)
        .map(|minute| (minute, if minute % MINUTES_PER_DAY < 5 { 60 } else { 0 }))
        .map(|(minute, bad)| row(minute, 60, bad, 20_000))
        .collect();
    let settings = |max_pages_per_30d| Settings {
        max_pages_per_30d,
        ..Settings::default()
    };
    let fit = |settings| fit_as(&history, Sampling::Full, &settings);
    let patient = fit(settings(50.0));
    assert_ratio(availability(&patient).target, 0.995);

    let candidates = fit(settings(2.0));
    let found = availability(&candidates);
    let (verdict, why) = reason(&found.evidence, 0.995);
    assert_eq!(verdict, StepVerdict::TooTight);
    assert_eq!(
        why,
        "the replay of the last 10.5 days pages 10 times, more often than 2 times in 30 days"
    );
    assert_ratio(found.target, 0.99);
    assert_eq!(found.evidence.replay.as_ref().unwrap().outcome.pages, 0);
}

#[test]
fn a_looser_step_that_says_next_to_nothing_is_called_so() {
    let candidates = fitted(&history(|minute| u64::from(minute % 27 == 0)));
    let found = availability(&candidates);
    assert_considered(
        &found.evidence,
        &[
            (
                0.999_5,
                StepVerdict::TooTight,
                "the bound, 99.935%, does not carry it",
            ),
            (
                0.999,
                StepVerdict::Stands,
                "the history uses 62% of its budget",
            ),
            (
                0.995,
                StepVerdict::Stands,
                "the history uses 12% of its budget; a tighter step stands too",
            ),
        ],
    );
    let settings = Settings {
        min_budget_consumed: 0.2,
        ..Settings::default()
    };
    let rows = history(|minute| u64::from(minute % 27 == 0));
    let candidates = fit_as(&rows, Sampling::Full, &settings);
    assert_eq!(
        reason(&availability(&candidates).evidence, 0.995),
        (
            StepVerdict::TooLoose,
            "the history uses 12% of its budget, and a tighter step stands"
        )
    );
}

#[test]
fn where_no_step_stands_the_candidate_is_rejected_with_the_reason() {
    // Ten bad days of 35, 12 % each: 96.6 % on the whole, 88.6 % in the hold-out of 10.5 days.
    let rows = rows(35, |minute| {
        row(
            minute,
            100,
            if minute >= 25 * MINUTES_PER_DAY {
                12
            } else {
                0
            },
            20_000,
        )
    });
    let candidates = fit_as(&rows, Sampling::Full, &without_change_points());
    let found = availability(&candidates);
    assert_eq!(found.state, CandidateState::Rejected);
    assert_ratio(found.target, 0.9);
    assert_eq!(
        found.evidence.rejection.as_deref(),
        Some(
            "even 90% does not stand: the replay of the last 10.4 days spends 114% of its budget and attains \
             89%; find the cause before promising anything"
        )
    );
    assert_eq!(reason(&found.evidence, 0.9).0, StepVerdict::TooTight);
    assert_eq!(found.missing, [""; 0]);
    // The change of level explains it: with its data alone 90 % does not hold either.
    let candidates = fitted(&rows);
    let found = availability(&candidates);
    assert!(found.evidence.regime_since.is_some());
    assert_eq!(
        found.evidence.rejection.as_deref(),
        Some(
            "24192 of 201600 events failed: even 90% does not hold; find the cause before promising anything"
        )
    );
}

#[test]
fn thresholds_of_the_latency_are_walked_as_targets_are() {
    // In the last week 6 % of the events take 80 ms, which no 95 % below 100 ms holds.
    let rows: Vec<_> = (0..21 * MINUTES_PER_DAY)
        .map(|minute| {
            let mut row = row(minute, 100, 0, 20_000);
            let slow = if minute >= 15 * MINUTES_PER_DAY { 6 } else { 0 };
            row.latency = vec![(bucket_of(20_000), 100 - slow), (bucket_of(80_000), slow)];
            row
        })
        .collect();
    let candidates = fit_as(&rows, Sampling::Full, &without_change_points());
    let (candidate, threshold) = latency(&candidates).unwrap();
    assert_eq!(threshold, 100_000);
    let told: Vec<_> = candidate
        .evidence
        .considered
        .iter()
        .map(|step| match step.sli {
            Sli::Latency { threshold_micros } => (threshold_micros / 1_000, step.verdict),
            Sli::Availability | Sli::ErrorRate => panic!("{step:?}"),
        })
        .collect();
    let wanted = [
        (20, StepVerdict::TooTight),
        (30, StepVerdict::TooTight),
        (50, StepVerdict::TooTight),
        (75, StepVerdict::TooTight),
        (100, StepVerdict::Stands),
        (150, StepVerdict::TooLoose),
    ];
    assert_eq!(told, wanted);
    assert_eq!(
        candidate.state,
        CandidateState::Ready,
        "{:?}",
        candidate.missing
    );
}
