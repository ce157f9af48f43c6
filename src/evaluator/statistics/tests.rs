//! Bounds against published and independently computed values. The scipy expressions were evaluated with scipy 1.17,
//! `from scipy.stats import beta, binom, chi2, chi2_contingency` and `from scipy.special import gammainc`.

use std::iter;

use proptest::prelude::*;
use statrs::distribution::{Binomial, DiscreteCDF};

use super::*;

fn assert_close(found: f64, wanted: f64, relative: f64) {
    assert!(
        (found - wanted).abs() <= relative * wanted.abs(),
        "found {found}, wanted {wanted}"
    );
}

#[test]
fn a_quantile_needs_the_published_number_of_events() {
    // Meeker, Hahn, Escobar, Statistical Intervals: ⌈ln α / ln p⌉.
    let cases = [
        (0.95, 0.95, 59),
        (0.99, 0.95, 299),
        (0.999, 0.95, 2_995),
        (0.95, 0.99, 90),
        (0.99, 0.99, 459),
        (0.999, 0.99, 4_603),
    ];
    for (quantile, confidence, wanted) in cases {
        assert_eq!(events_needed(quantile, confidence), Some(wanted));
        let enough = wanted as f64;
        // With the fewest events only the slowest of all is a bound.
        assert_eq!(
            order_statistic_rank(enough, quantile, confidence),
            Some(wanted)
        );
        assert_eq!(
            order_statistic_rank(enough - 1.0, quantile, confidence),
            None
        );
    }
}

#[test]
fn ranks_of_order_statistics_equal_those_of_scipy() {
    // int(binom.ppf(confidence, n, p)) + 1
    let cases = [
        (1_000.0, 0.99, 0.95, 996),
        (10_000.0, 0.99, 0.95, 9_917),
        (1_000.0, 0.95, 0.95, 962),
        (100.0, 0.9, 0.95, 96),
        (300.0, 0.95, 0.99, 294),
        (60.0, 0.95, 0.8, 59),
        (12_345.0, 0.5, 0.9, 6_245),
        (1e6, 0.95, 0.95, 950_359),
        (1e8, 0.95, 0.95, 95_003_586),
        (1e8, 0.999_999, 0.95, 99_999_917),
        (1e9, 0.95, 0.95, 950_011_337),
        (1e9, 0.99, 0.99, 990_007_320),
        (1e9, 0.5, 0.8, 500_013_308),
    ];
    for (events, quantile, confidence, wanted) in cases {
        assert_eq!(
            order_statistic_rank(events, quantile, confidence),
            Some(wanted),
            "n {events}, p {quantile}"
        );
    }
}

#[test]
fn a_rank_uses_the_whole_part_of_an_effective_sample() {
    assert_eq!(order_statistic_rank(1_000.99, 0.99, 0.95), Some(996));
    assert_eq!(order_statistic_rank(298.99, 0.99, 0.95), None);
}

#[test]
fn a_rank_in_an_effective_sample_is_scaled_back_and_rounded_up() {
    // 996 of 1 000 are 99 600 of 100 000; 996/1 000 · 1 001 = 996.996.
    assert_eq!(
        scaled_order_statistic_rank(100_000, 1_000.0, 0.99, 0.95),
        Some(99_600)
    );
    assert_eq!(
        scaled_order_statistic_rank(1_001, 1_000.0, 0.99, 0.95),
        Some(997)
    );
    // A sample is never worth more than its events.
    assert_eq!(
        scaled_order_statistic_rank(1_000, 5_000.0, 0.99, 0.95),
        Some(996)
    );
}

#[test]
fn more_events_than_the_limit_count_as_the_limit() {
    assert_eq!(order_statistic_rank(1e15, 0.95, 0.95), Some(950_011_337));
    assert_eq!(
        scaled_order_statistic_rank(10_000_000_000, 1e10, 0.95, 0.95),
        Some(9_500_113_370)
    );
    assert_close(
        clopper_pearson_upper(0.0, 1e12, 0.95),
        clopper_pearson_upper(0.0, EVENTS_MAX, 0.95),
        1e-12,
    );
}

#[test]
fn clopper_pearson_lower_bounds_equal_those_of_scipy() {
    // beta.ppf(1 - confidence, x, n - x + 1)
    let cases = [
        (2.0, 10.0, 0.95, 0.036_771_437_887),
        (5.0, 1_000.0, 0.95, 0.001_972_153_142),
        (4.0, 100.0, 0.95, 0.013_776_612_465),
        (3.0, 100.0, 0.99, 0.004_394_976_456),
        (100.0, 1_000.0, 0.95, 0.084_784_767_668),
        (2.5, 73.25, 0.95, 0.007_869_093_932),
        (1_000.0, 1e6, 0.99, 0.000_927_941_152),
        (10.0, 10.0, 0.95, 0.741_134_449_107),
        (12_345.0, 1e9, 0.95, 0.000_012_162_814_89),
        (1.0, 50.0, 0.99, 0.000_200_986_516_6),
    ];
    for (bad, events, confidence, wanted) in cases {
        assert_close(clopper_pearson_lower(bad, events, confidence), wanted, 1e-7);
    }
    for (bad, events) in [(0.0, 10.0), (0.0, 0.0), (f64::NAN, 10.0), (1.0, f64::NAN)] {
        assert_close(clopper_pearson_lower(bad, events, 0.95), 0.0, 0.0);
    }
}

#[test]
fn clopper_pearson_bounds_equal_those_of_scipy() {
    // beta.ppf(confidence, x + 1, n - x)
    let cases = [
        (0.0, 1_000.0, 0.95, 0.002_991_249_545),
        (10.0, 1e4, 0.95, 0.001_695_631_454),
        (100.0, 1e5, 0.95, 0.001_180_685_969),
        (0.0, 3_000.0, 0.95, 0.000_998_079_012),
        (3.0, 10.0, 0.95, 0.606_624_216_1),
        (9.0, 10.0, 0.95, 0.994_883_803_1),
        (1.0, 50.0, 0.99, 0.125_523_716_5),
        (10.5, 10_000.25, 0.95, 0.001_757_956_047),
        (0.37, 812.6, 0.95, 0.004_518_784_751),
        (2.5, 2.75, 0.95, 0.999_998_655_4),
        (99.5, 100.0, 0.95, 0.999_980_388_6),
        (0.0, 0.3, 0.95, 0.999_953_949_6),
        (123.4, 1e7, 0.8, 1.336_766_113e-5),
        (1e4, 1e8, 0.95, 0.000_101_660_517),
        (5e5, 1e9, 0.95, 0.000_501_164_364_7),
        (5e8, 1e9, 0.95, 0.500_026_007_9),
        (0.0, 1e9, 0.95, 2.995_732_269e-9),
    ];
    for (bad, events, confidence, wanted) in cases {
        assert_close(clopper_pearson_upper(bad, events, confidence), wanted, 1e-8);
    }
}

#[test]
fn incident_rates_that_cannot_be_excluded_equal_those_of_scipy() {
    // chi2.ppf(confidence, 2 * (k + 1)) / (2 * D)
    let cases = [
        (0, 1.0, 0.95, 2.995_732_274),
        (0, 14.0, 0.95, 0.213_980_876_7),
        (1, 14.0, 0.95, 0.338_847_465_6),
        (7, 30.0, 0.95, 0.438_270_460_1),
        (250, 30.0, 0.99, 9.643_997_114),
    ];
    for (count, days, confidence, wanted) in cases {
        assert_close(poisson_rate_upper(count, days, confidence), wanted, 1e-8);
    }
}

#[test]
fn rates_that_a_count_proves_equal_those_of_scipy() {
    // chi2.ppf(1 − confidence, 2 * k) / (2 * D)
    let cases = [
        (0, 14.0, 0.95, 0.0),
        (1, 1.0, 0.95, 0.051_293_294_4),
        (3, 10.5, 0.95, 0.077_875_375_92),
        (250, 30.0, 0.99, 7.156_459_046),
    ];
    for (count, days, confidence, wanted) in cases {
        assert_close(poisson_rate_lower(count, days, confidence), wanted, 1e-8);
    }
    assert_close(poisson_rate_lower(3, 0.0, 0.95), 0.0, 0.0);
}

#[test]
fn over_dispersion_is_pearsons_chi_squared_per_degree_of_freedom() {
    let slices = [
        (3.0, 100.0),
        (0.0, 80.0),
        (12.0, 120.0),
        (1.0, 50.0),
        (0.0, 10.0),
    ]
    .map(|(bad, total)| Proportion { bad, total });
    // chi2_contingency([[3, 0, 12, 1, 0], [97, 80, 108, 49, 10]], correction=False).statistic / 4
    assert_close(
        over_dispersion(slices.into_iter()),
        3.525_436_046_511_629,
        1e-12,
    );
    // A slice without traffic says nothing.
    let with_empty = slices.into_iter().chain([Proportion::default()]);
    assert_close(over_dispersion(with_empty), 3.525_436_046_511_629, 1e-12);
}

#[test]
fn windowed_over_dispersion_agrees_with_its_definition_in_numpy() {
    // The double sum of V term by term, w by convolution less 3·√(x·L/K), and φ by scipy.optimize.brentq of
    // √(φ·x) + φ − √(V + w²) − w.
    let slices = [
        (3.0, 100.0),
        (0.0, 80.0),
        (12.0, 120.0),
        (9.0, 110.0),
        (0.0, 0.0),
        (1.0, 50.0),
        (0.0, 10.0),
        (2.0, 90.0),
        (0.0, 100.0),
        (0.0, 70.0),
    ]
    .map(|(bad, total)| Proportion { bad, total });
    let cases = [
        (1, 4.032_221_568_847_858),
        (3, 6.143_564_710_376_081),
        (10, 4.159_423_731_079_731),
    ];
    for (window, wanted) in cases {
        assert_close(windowed_over_dispersion(&slices, window), wanted, 1e-12);
    }
    // No window is shorter than a slice or longer than the history.
    let of = |window| windowed_over_dispersion(&slices, window);
    assert_close(of(0), of(1), 0.0);
    assert_close(of(99), of(10), 0.0);
}

#[test]
fn even_incidents_disperse_by_their_size() {
    // Ten slices of 400 in which 30 of 100 events are bad; numpy and scipy as above.
    let slices: Vec<_> = (0..400)
        .map(|slice| Proportion {
            bad: if slice % 40 == 10 { 30.0 } else { 0.0 },
            total: 100.0,
        })
        .collect();
    let found = windowed_over_dispersion(&slices, 1);
    assert_close(found, 29.867_218_577_082_003, 1e-12);
}

#[test]
fn windowed_over_dispersion_is_one_where_it_cannot_be_known() {
    let slice = |bad| Proportion { bad, total: 9.0 };
    let nothing = Proportion::default();
    for slices in [
        &[][..],
        &[slice(3.0)],
        &[nothing; 5],
        &[slice(0.0); 5],
        &[slice(9.0); 5],
        &[slice(3.0); 5],
    ] {
        assert_close(windowed_over_dispersion(slices, 2), 1.0, 0.0);
    }
}

#[test]
fn poisson_tails_equal_those_of_scipy() {
    // gammainc(count, mean); of whole counts also poisson.sf(count - 1, mean)
    let cases = [
        (1.0, 0.15, 0.139_292_023_574_942_2),
        (4.0, 0.15, 1.871_413_966_252_635e-5),
        (8.0, 1.5, 1.695_657_288_696_701e-4),
        (3.0, 0.000_5, 2.082_552_239_561_644e-11),
        (40.0, 20.0, 5.320_202_511_246_237e-5),
        (2.5, 0.3, 0.011_996_757_205_906_265),
        (7_000.0, 6_000.0, 1.541_143_522_535_257e-36),
    ];
    for (count, mean, wanted) in cases {
        assert_close(poisson_tail(count, mean), wanted, 1e-8);
    }
    assert_close(poisson_tail(0.0, 3.0), 1.0, 0.0);
    assert_close(poisson_tail(2.0, 0.0), 0.0, 0.0);
    assert_close(poisson_tail(f64::NAN, 3.0), 1.0, 0.0);
}

#[test]
fn over_dispersion_is_one_where_it_cannot_be_known() {
    let slice = |bad, total| Proportion { bad, total };
    assert_close(over_dispersion(iter::empty()), 1.0, 0.0);
    assert_close(over_dispersion(iter::once(slice(3.0, 9.0))), 1.0, 0.0);
    assert_close(over_dispersion([slice(0.0, 9.0); 5].into_iter()), 1.0, 0.0);
    assert_close(over_dispersion([slice(9.0, 9.0); 5].into_iter()), 1.0, 0.0);
    // Slices that are more alike than chance allows are not worth more than independent events.
    assert_close(over_dispersion([slice(3.0, 9.0); 5].into_iter()), 1.0, 0.0);
}

#[test]
fn weights_and_over_dispersion_shrink_a_sample() {
    // Ten events of weight 1 and ten of weight 3: 40²/100.
    assert_close(effective_events(40.0, 100.0, 1.0), 16.0, 1e-12);
    assert_close(effective_events(40.0, 100.0, 4.0), 4.0, 1e-12);
    assert_close(effective_events(40.0, 100.0, 0.5), 16.0, 1e-12);
    assert_close(effective_events(0.0, 0.0, 1.0), 0.0, 0.0);
}

#[test]
fn nothing_known_bounds_nothing() {
    for (bad, events) in [(0.0, 0.0), (f64::NAN, f64::NAN), (0.0, -1.0)] {
        assert_close(clopper_pearson_upper(bad, events, 0.95), 1.0, 0.0);
    }
    assert_close(clopper_pearson_upper(5.0, 5.0, 0.95), 1.0, 0.0);
    assert_eq!(order_statistic_rank(f64::NAN, 0.95, 0.95), None);
    assert_eq!(
        scaled_order_statistic_rank(1_000, f64::NAN, 0.95, 0.95),
        None
    );
    assert_eq!(order_statistic_rank(1e6, 1.0, 0.95), None);
    assert_eq!(order_statistic_rank(1e6, 0.0, 0.95), None);
    assert_eq!(order_statistic_rank(1e6, f64::NAN, 0.95), None);
    assert!(poisson_rate_upper(0, 0.0, 0.95).is_infinite());
}

#[test]
fn a_confidence_out_of_range_is_brought_into_it() {
    let bound = |confidence| clopper_pearson_upper(10.0, 1e4, confidence);
    assert_close(bound(0.1), bound(CONFIDENCE_MIN), 0.0);
    assert_close(bound(f64::NAN), bound(CONFIDENCE_MIN), 0.0);
    assert_close(bound(1.0), bound(CONFIDENCE_MAX), 0.0);
}

proptest! {
    #[test]
    fn property_a_rank_is_the_first_that_reaches_the_confidence(
        sample in 1_u64..3_000,
        quantile in 0.01_f64..0.999,
        confidence in 0.8_f64..0.999,
    ) {
        // The definition, rank by rank.
        let binomial = Binomial::new(quantile, sample).unwrap();
        let wanted = (1..=sample).find(|rank| binomial.cdf(rank - 1) >= confidence);
        let found = order_statistic_rank(sample as f64, quantile, confidence);
        // Only on the very edge of ⌈ln α / ln p⌉ may rounding decide otherwise.
        if events_needed(quantile, confidence) != Some(sample) {
            prop_assert_eq!(found, wanted.filter(|rank| *rank < sample || found.is_some()));
        }
        prop_assert!(found.is_none_or(|rank| rank as f64 >= quantile * sample as f64));
    }

    #[test]
    fn property_a_clopper_pearson_bound_lies_above_the_ratio_and_falls_with_the_sample(
        ratio in 0.0_f64..0.999,
        events in 0.5_f64..1e9,
    ) {
        let bound = |events: f64| clopper_pearson_upper(ratio * events, events, 0.95);
        prop_assert!(bound(events) > ratio);
        prop_assert!(bound(events) <= 1.0);
        prop_assert!(bound(2.0 * events) <= bound(events) * (1.0 + 1e-9));
        prop_assert!(clopper_pearson_upper(ratio * events, events, 0.99) >= bound(events));
    }

    #[test]
    fn property_the_probability_left_above_a_clopper_pearson_bound_is_the_significance(
        bad in 0_u64..200,
        more in 1_u64..2_000,
    ) {
        let events = bad + more;
        let bound = clopper_pearson_upper(bad as f64, events as f64, 0.95);
        // The bound's definition: were it the truth, so few bad events had the probability α.
        let so_few = Binomial::new(bound, events).unwrap().cdf(bad);
        prop_assert!((so_few - 0.05).abs() < 1e-7, "{so_few}");
    }
}
