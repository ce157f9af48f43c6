//! Which method is chosen, and whether its bounds hold.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution as _, StandardNormal};

use super::*;

const WEEK: [f64; 7] = [1.0, 1.05, 1.0, 1.1, 1.05, 0.6, 0.55];

/// Days with a weekly shape and independent noise.
fn weekly(days: usize, noise: f64, seed: u64) -> Vec<f64> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..days)
        .map(|day| {
            let normal: f64 = StandardNormal.sample(&mut rng);
            100.0 * WEEK[day % 7] * (1.0 + noise * normal)
        })
        .collect()
}

#[test]
fn a_week_that_repeats_itself_is_forecast_by_its_season() {
    let made = forecast(&weekly(35, 0.03, 7), &[7], 7, "day").unwrap();
    assert!(
        matches!(made.method, Method::SeasonalNaive(7) | Method::Mstl(_)),
        "{:?}",
        made.backtest
    );
    assert_eq!(made.backtest[0].method, made.method.name());
    assert!(made.backtest[0].mase.unwrap() < 1.5);
    assert!(made.prediction.mean[5] < 75.0 && made.prediction.mean[3] > 95.0);
    assert!(made.notes.is_empty(), "{:?}", made.notes);
}

#[test]
fn a_short_history_says_so_and_bounds_are_wide() {
    let made = forecast(&[0.9, 1.0, 1.1], &[7], 7, "day").unwrap();
    assert_eq!(made.method, Method::Mean);
    assert!(made.notes[0].contains("3 days"), "{:?}", made.notes);
    let week = made.prediction.total(0..7);
    // A quarter of the mean at least, however alike three values are.
    assert!(week.quantile(0.9) > 7.0 * 1.2, "{week:?}");
    assert!(forecast(&[], &[7], 7, "day").is_none());
    let months = forecast(&weekly(15, 0.03, 1), &[7], 7, "day").unwrap();
    assert!(months.notes[0].contains("7 days"), "{:?}", months.notes);
}

#[test]
fn a_level_without_a_pattern_is_not_given_one() {
    let mut rng = StdRng::seed_from_u64(3);
    let noise: Vec<f64> = (0..40)
        .map(|_| 100.0 + 20.0 * (rng.random::<f64>() - 0.5))
        .collect();
    let made = forecast(&noise, &[7], 7, "day").unwrap();
    for mean in &made.prediction.mean {
        assert!((90.0..110.0).contains(mean), "{:?} {mean}", made.method);
    }
}

/// 90 % of the weeks to come lie below the 90 % bound of their sum, give or take chance: in 120 weeks three standard
/// deviations are 8 points. Bounds that are too wide would be no use either.
#[test]
fn the_bounds_of_the_sum_of_a_week_hold_as_often_as_they_say() {
    let (mut below, mut above) = (0, 0);
    let tries = 120;
    for seed in 0..tries {
        let all = weekly(35, 0.08, 100 + seed);
        let (known, coming) = all.split_at(28);
        let made = forecast(known, &[7], 7, "day").unwrap();
        let week = made.prediction.total(0..7);
        let sum: f64 = coming.iter().sum();
        below += u32::from(sum < week.quantile(0.1));
        above += u32::from(sum > week.quantile(0.9));
    }
    let share = |count: u32| f64::from(count) / f64::from(u32::try_from(tries).unwrap());
    assert!(
        share(below) < 0.19 && share(above) < 0.19,
        "{below} {above}"
    );
    assert!(share(below + above) > 0.02, "{below} {above}");
}
