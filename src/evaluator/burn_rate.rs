//! Multi-window, multi-burn-rate rules (Google SRE Workbook, chapter 5, table 5-8 and its PromQL example).

use crate::model::report::{BurnRateCheck, Severity};
use crate::model::slo::exact_ratio;
use crate::model::window::{Window, WindowSums};

/// One rule: both windows must burn faster than the factor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// How loud it is.
    pub severity: Severity,
    /// Multiple of the rate that spends the budget exactly within the period.
    pub factor: f64,
    /// Long window: enough is burnt.
    pub long: Window,
    /// Short window: it is still burning.
    pub short: Window,
}

const fn rule(severity: Severity, factor: f64, long: Window, short: Window) -> Rule {
    Rule {
        severity,
        factor,
        long,
        short,
    }
}

/// The rules for a period of thirty days.
const RULES_30D: [Rule; 4] = [
    rule(Severity::Page, 14.4, Window::H1, Window::M5),
    rule(Severity::Page, 6.0, Window::H6, Window::M30),
    rule(Severity::Ticket, 3.0, Window::D1, Window::H2),
    rule(Severity::Ticket, 1.0, Window::D3, Window::H6),
];

/// The rules for a period that is a held window.
pub fn rules_for(period: Window) -> [Rule; 4] {
    rules_over(period.secs(), None)
}

/// The rules for a period of this nominal length. Factors stay; windows scale with the period, to the nearest that is held.
///
/// Where slices of time are judged, the short window holds one at least, and the long window more than the short one.
pub fn rules_over(period_secs: u64, slice_secs: Option<u64>) -> [Rule; 4] {
    if period_secs == Window::D30.secs() && slice_secs.is_none() {
        return RULES_30D;
    }
    let scale = period_secs as f64 / Window::D30.secs() as f64;
    let scaled = |window: Window| Window::nearest(window.secs() as f64 * scale);
    let longer = |window: Window, least_secs: u64| {
        let longest = Window::D30;
        let mut held = Window::ALL.into_iter();
        held.find(|held| *held >= window && held.secs() >= least_secs)
            .unwrap_or(longest)
    };
    RULES_30D.map(|base| {
        let short = longer(scaled(base.short), slice_secs.unwrap_or(0));
        Rule {
            long: longer(scaled(base.long), short.secs() + 1),
            short,
            ..base
        }
    })
}

/// The error ratio that a rule asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErrorRatioLimit {
    /// Both windows must be above it.
    pub ratio: f64,
    /// The factor alone would have asked for more than [`Limits::error_ratio_max`].
    pub capped: bool,
}

impl Rule {
    /// The error ratio that the factor stands for at this budget, if it can be reached at all.
    pub fn error_ratio_limit(&self, budget: f64, limits: Limits) -> ErrorRatioLimit {
        let wanted = exact_ratio(self.factor * budget);
        ErrorRatioLimit {
            ratio: wanted.min(limits.error_ratio_max),
            capped: wanted > limits.error_ratio_max,
        }
    }
}

/// Bounds that keep a rule able to fire, and quiet on a single failure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// No rule asks for a higher error ratio than this: at a target of 90 %, 14.4 times the budget is more than everything.
    pub error_ratio_max: f64,
    /// Bad events that must have been seen in the long window.
    pub min_bad_events: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            error_ratio_max: 0.9,
            min_bad_events: 2,
        }
    }
}

/// Applies a rule to the sums of its windows.
pub fn check(
    rule: Rule,
    budget: f64,
    long: WindowSums,
    short: WindowSums,
    limits: Limits,
) -> BurnRateCheck {
    let limit = rule.error_ratio_limit(budget, limits);
    let exceeds = |sums: &WindowSums| sums.error_ratio().is_some_and(|ratio| ratio > limit.ratio);
    BurnRateCheck {
        severity: rule.severity,
        factor: rule.factor,
        long_window: rule.long,
        short_window: rule.short,
        error_ratio_limit: limit.ratio,
        capped: limit.capped,
        long_burn_rate: burn_rate(&long, budget),
        short_burn_rate: burn_rate(&short, budget),
        firing: exceeds(&long) && exceeds(&short) && long.observed_bad >= limits.min_bad_events,
    }
}

/// Error ratio over budget: 1 spends the budget exactly within the period. `None` without events.
pub fn burn_rate(sums: &WindowSums, budget: f64) -> Option<f64> {
    sums.error_ratio().map(|ratio| ratio / budget)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::slo::{Objective, Sli};

    const LIMITS: Limits = Limits {
        error_ratio_max: 0.9,
        min_bad_events: 2,
    };

    fn sums(bad: u64, total: u64) -> WindowSums {
        WindowSums {
            total: total as f64,
            bad: bad as f64,
            squared: total as f64,
            observed_total: total,
            observed_bad: bad,
        }
    }

    fn page() -> Rule {
        rules_for(Window::D30)[0]
    }

    /// SRE Workbook: at 99.9 %, 2 % of the budget in an hour is an error ratio of 1.44 %.
    #[test]
    fn the_page_fires_above_fourteen_point_four_times_the_budget() {
        let below = check(page(), 0.001, sums(144, 10_000), sums(144, 10_000), LIMITS);
        let above = check(page(), 0.001, sums(145, 10_000), sums(145, 10_000), LIMITS);
        assert!(!below.firing && above.firing, "{below:?} {above:?}");
        assert!((above.long_burn_rate.unwrap() - 14.5).abs() < 1e-9);
    }

    #[test]
    fn it_stops_when_the_short_window_is_clean() {
        assert!(!check(page(), 0.001, sums(500, 10_000), sums(0, 1_000), LIMITS).firing);
        assert!(!check(page(), 0.001, sums(500, 10_000), sums(0, 0), LIMITS).firing);
    }

    /// 1 − 0.9999 is 0.00009999999999998899 in binary: without rounding, exactly the limit would page.
    #[test]
    fn an_error_ratio_at_the_limit_does_not_fire() {
        for (target, bad, total) in [
            (0.9999, 144, 100_000),
            (0.999, 144, 10_000),
            (0.95, 72, 100),
        ] {
            let budget = Objective::new("o", "s", Sli::Availability, target).budget();
            let at_limit = check(page(), budget, sums(bad, total), sums(bad, total), LIMITS);
            let above = check(
                page(),
                budget,
                sums(bad + 1, total),
                sums(bad + 1, total),
                LIMITS,
            );
            assert!(!at_limit.firing && above.firing, "{at_limit:?}");
        }
    }

    /// SRE Workbook, low traffic: one failure in ten requests an hour is a burn rate of 100 at 99.9 %.
    #[test]
    fn one_failure_alone_never_fires() {
        let one = check(page(), 0.001, sums(1, 10), sums(1, 1), LIMITS);
        assert!((one.long_burn_rate.unwrap() - 100.0).abs() < 1e-9);
        assert!(!one.firing);
        assert!(check(page(), 0.001, sums(2, 10), sums(1, 1), LIMITS).firing);
    }

    /// SRE Workbook, extreme goals: at 90 % an uncapped page could never fire.
    #[test]
    fn a_total_outage_pages_at_a_low_target_and_the_cap_is_told() {
        let outage = check(page(), 0.1, sums(100, 100), sums(10, 10), LIMITS);
        assert!(outage.firing && outage.capped);
        assert!((outage.error_ratio_limit - 0.9).abs() < 1e-12);
    }

    #[test]
    fn windows_scale_with_the_period_and_factors_stay() {
        let week = rules_for(Window::D7);
        assert_eq!(
            week.map(|rule| rule.factor.to_bits()),
            RULES_30D.map(|rule| rule.factor.to_bits())
        );
        assert_eq!((week[0].long, week[0].short), (Window::M30, Window::M5));
        assert_eq!((week[3].long, week[3].short), (Window::D1, Window::H1));
        assert_eq!(rules_for(Window::D28), RULES_30D);
        for period in [Window::D7, Window::D28, Window::D30] {
            assert!(
                rules_for(period).iter().all(|rule| rule.short < rule.long),
                "{period:?}"
            );
        }
    }

    #[test]
    fn long_periods_have_long_windows() {
        let quarter = rules_over(90 * 86_400, None).map(|rule| (rule.long, rule.short));
        let wanted = [
            (Window::H2, Window::M30),
            (Window::D1, Window::H2),
            (Window::D3, Window::H6),
            (Window::D7, Window::D1),
        ];
        assert_eq!(quarter, wanted);
        for days in 7..=400 {
            for rule in rules_over(days * 86_400, None) {
                assert!(rule.short < rule.long, "{days}: {rule:?}");
            }
        }
    }

    #[test]
    fn the_short_window_holds_a_slice_and_the_long_one_more() {
        let windows = |slice_secs| {
            let [page, ..] = rules_over(Window::D30.secs(), Some(slice_secs));
            (page.long, page.short)
        };
        assert_eq!(windows(60), (Window::H1, Window::M5));
        assert_eq!(windows(300), (Window::H1, Window::M5));
        assert_eq!(windows(600), (Window::H1, Window::M30));
        assert_eq!(windows(3_600), (Window::H2, Window::H1));
    }

    proptest! {
        #[test]
        fn property_more_bad_events_never_stop_a_rule(
            bad in 0..1_000_u64, more in 0..1_000_u64, good in 1..100_000_u64, budget in 0.0001..0.2_f64,
        ) {
            let few = check(page(), budget, sums(bad, bad + good), sums(bad, bad + good), LIMITS);
            let many = bad + more;
            let worse = check(page(), budget, sums(many, many + good), sums(many, many + good), LIMITS);
            prop_assert!(!few.firing || worse.firing);
            prop_assert!(few.long_burn_rate <= worse.long_burn_rate);
        }
    }
}
