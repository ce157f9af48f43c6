//! Simulated histories whose truth is known: how often the bounds cover it.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Binomial, Distribution, LogNormal};

use super::*;

/// Share of `runs` histories whose availability bound lies at or below the true availability.
fn covered(runs: u64, truth: f64, mut history: impl FnMut(&mut StdRng) -> Vec<MinuteRow>) -> f64 {
    let covered = (0..runs).filter(|seed| {
        let rows = history(&mut StdRng::seed_from_u64(*seed));
        availability(&fitted(&rows)).evidence.bound <= 1.0 - truth
    });
    covered.count() as f64 / runs as f64
}

/// Spans of `length` minutes of which one in twenty is bad: every tenth of its requests fails.
fn bursty(random: &mut StdRng, days: u32, length: u32) -> Vec<MinuteRow> {
    let mut burst = false;
    rows(days, |minute| {
        if minute % length == 0 {
            burst = random.random_bool(0.05);
        }
        let ratio = if burst { 0.1 } else { 0.001 };
        let bad = Binomial::new(100, ratio).unwrap().sample(random);
        row(minute, 100, bad, 20_000)
    })
}

/// The long-run error ratio of [`bursty`].
const BURSTY_RATIO: f64 = 0.05 * 0.1 + 0.95 * 0.001;

#[test]
fn the_bound_covers_the_truth_of_independent_errors() {
    let truth = 0.004;
    let share = covered(300, truth, |random| {
        let errors = Binomial::new(40, truth).unwrap();
        rows(1, |minute| row(minute, 40, errors.sample(random), 20_000))
    });
    assert!((0.93..1.0).contains(&share), "{share}");
}

#[test]
fn the_bound_covers_the_truth_of_bursts_of_half_an_hour() {
    // With five-minute slices alone 74 % of these histories would be covered.
    let share = covered(300, BURSTY_RATIO, |random| bursty(random, 4, 30));
    assert!(share >= 0.93, "{share}");
}

#[test]
fn the_bound_covers_the_truth_of_bursts_of_two_hours() {
    // With spans of an hour at most, 87 %.
    let share = covered(150, BURSTY_RATIO, |random| bursty(random, 14, 120));
    assert!(share >= 0.93, "{share}");
}

#[test]
fn the_latency_bound_covers_the_true_quantile() {
    // ln X ~ N(ln 80 ms, 0.5): the true 95th percentile is exp(ln 80 ms + 1.645 · 0.5).
    let truth_secs = 0.08 * (1.644_853_627 * 0.5_f64).exp();
    let distribution = LogNormal::new(0.08_f64.ln(), 0.5).unwrap();
    let covered = (0..300).filter(|seed| {
        let mut random = StdRng::seed_from_u64(*seed);
        let rows = rows(1, |minute| {
            let mut sum = row(minute, 4, 0, 0);
            sum.latency = (0..4)
                .map(|_| {
                    let duration = Duration::from_secs_f64(distribution.sample(&mut random));
                    (bucket_of(duration.as_micros().try_into().unwrap()), 1)
                })
                .collect();
            sum
        });
        let candidates = fitted(&rows);
        let (candidate, _) = latency(&candidates).unwrap();
        candidate.evidence.bound >= truth_secs
    });
    assert!(covered.count() >= 279);
}

#[test]
fn bursts_raise_the_over_dispersion_and_widen_the_bound() {
    let mut random = StdRng::seed_from_u64(1);
    let bursts = bursty(&mut random, 14, 30);
    let errors = Binomial::new(100, BURSTY_RATIO).unwrap();
    let even = rows(14, |minute| {
        row(minute, 100, errors.sample(&mut random), 20_000)
    });
    let (bursts, even) = (fitted(&bursts), fitted(&even));
    let bursts = &availability(&bursts).evidence;
    let even = &availability(&even).evidence;
    assert!((1.0..1.3).contains(&even.over_dispersion), "{even:?}");
    assert!(bursts.over_dispersion > 10.0, "{bursts:?}");
    assert!(bursts.measured - bursts.bound > 3.0 * (even.measured - even.bound));
    assert_eq!(bursts.events, even.events);
    assert!(bursts.effective_events * 10.0 < even.effective_events);
}
