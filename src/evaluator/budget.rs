//! Error budgets, event-weighted (Google SRE Workbook, chapter 2).

use crate::evaluator::burn_rate::Limits;
use crate::evaluator::verdict::timestamp;
use crate::model::NANOS_PER_SEC;
use crate::model::report::{ErrorBudget, SliceCoverage};
use crate::model::slo::{Budgeting, EmptySlices};
use crate::window::measure::PeriodSums;

/// The budget of a period with these events or slices: remaining = 1 − Σbad/(B·Σtotal), below 0 when overspent.
///
/// In a calendar period the total grows, so what is left "recovers" although nothing was given back. The projection is made
/// against the expected total of the whole period instead; verdicts go by the plain one.
pub fn error_budget(period: &PeriodSums, budget: f64, budgeting: Budgeting) -> ErrorBudget {
    let sums = period.sums;
    let remaining = |total: f64| {
        let allowed_bad = budget * total;
        (allowed_bad > 0.0).then(|| 1.0 - sums.bad / allowed_bad)
    };
    let whole_total = whole_total(period, budgeting).filter(|_| sums.total > 0.0);
    let calendar = period.calendar;
    ErrorBudget {
        remaining_ratio: remaining(sums.total),
        projected_remaining_ratio: whole_total.and_then(remaining),
        allowed_bad: budget * sums.total,
        bad: sums.bad,
        total: sums.total,
        observed_bad: sums.observed_bad,
        period_start: calendar.map(|bounds| timestamp(bounds.start)),
        period_end: calendar.map(|bounds| timestamp(bounds.end)),
    }
}

/// What the whole calendar period is expected to have: every slice, or events at the pace so far.
fn whole_total(period: &PeriodSums, budgeting: Budgeting) -> Option<f64> {
    let bounds = period.calendar?;
    match budgeting.slice() {
        Some(slice) => {
            let secs = (bounds.end - bounds.start) / NANOS_PER_SEC;
            Some(secs as f64 / slice.secs() as f64)
        }
        None if bounds.elapsed_ratio > 0.0 => Some(period.sums.total / bounds.elapsed_ratio),
        None => None,
    }
}

/// How much of the period was measured; `None` where events are counted.
pub fn slice_coverage(period: &PeriodSums, budgeting: Budgeting) -> Option<SliceCoverage> {
    budgeting.slice()?;
    let (expected, empty) = (period.sums.total, period.empty_slices as f64);
    let passed = match budgeting.empty_slices() {
        EmptySlices::Good | EmptySlices::Bad => expected,
        EmptySlices::Excluded => expected + empty,
    };
    Some(SliceCoverage {
        expected,
        empty: period.empty_slices,
        measured_ratio: (passed > 0.0).then(|| 1.0 - empty / passed),
        late_events: period.late_events,
    })
}

/// Whether so many events are enough to judge a budget of this ratio by.
pub fn is_conclusive(total: f64, budget_ratio: f64) -> bool {
    // A hair less, since 1/(1−0.9) is not exactly 10.
    total >= events_needed(budget_ratio) * (1.0 - 1e-9)
}

/// Whether nothing is left of a budget of this ratio, and enough was seen to say so.
pub fn is_spent(budget: &ErrorBudget, budget_ratio: f64, limits: Limits) -> bool {
    let nothing_left = budget.remaining_ratio.is_some_and(|remaining| {
        // A hair more, since 1 − 0.99 is not exactly 0.01.
        remaining <= 1e-9
    });
    nothing_left
        && budget.observed_bad >= limits.min_bad_events
        && is_conclusive(budget.total, budget_ratio)
}

/// Events or slices needed until a budget allows a bad one; with fewer nothing can be said.
pub fn events_needed(budget: f64) -> f64 {
    // 1 − 0.99 is not exactly 0.01, and people read the number.
    (1e6 / budget).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluator::burn_rate::burn_rate;
    use crate::model::window::WindowSums;
    use crate::window::measure::CalendarBounds;

    fn sums(bad: f64, total: f64) -> PeriodSums {
        PeriodSums {
            sums: WindowSums {
                total,
                bad,
                ..WindowSums::default()
            },
            ..PeriodSums::default()
        }
    }

    fn by_slices(slice: &str) -> Budgeting {
        Budgeting::Timeslices {
            slice_target: 0.95,
            slice: slice.parse().unwrap(),
            empty: EmptySlices::Excluded,
        }
    }

    fn check_close(seen: f64, wanted: f64, what: &str) {
        assert!((seen - wanted).abs() < 1e-9, "{what}: {seen} {wanted}");
    }

    /// SRE Workbook, chapter 2, error budget over four weeks of 3 663 253 requests: 97 % allows 109 897 failures, 90 % 366 325
    /// and 99 % 36 632.
    #[test]
    fn the_workbooks_budgets_hold() {
        for (target, allowed) in [(0.97, 109_897.0), (0.90, 366_325.0), (0.99, 36_632.0)] {
            let period = sums(allowed / 2.0, 3_663_253.0);
            let budget = error_budget(&period, 1.0 - target, Budgeting::Occurrences);
            assert!((budget.allowed_bad - allowed).abs() < 1.0, "{budget:?}");
            assert!(
                (budget.remaining_ratio.unwrap() - 0.5).abs() < 1e-4,
                "{budget:?}"
            );
        }
    }

    /// Site Reliability Engineering, appendix A, allowed unavailability: at 99.9 % 43.2 minutes in 30 days, 2.16 hours a quarter
    /// and 8.76 hours a year; at 99.99 % 4.32 minutes in 30 days; at 99 % 1.68 hours a week.
    #[test]
    fn minutes_that_may_be_bad_are_those_of_the_book() {
        for (target, days, minutes) in [
            (0.999, 30.0, 43.2),
            (0.999, 90.0, 2.16 * 60.0),
            (0.999, 365.0, 8.76 * 60.0),
            (0.9999, 30.0, 4.32),
            (0.99, 7.0, 1.68 * 60.0),
        ] {
            let budget = error_budget(&sums(0.0, days * 1_440.0), 1.0 - target, by_slices("1m"));
            check_close(budget.allowed_bad, minutes, "minutes");
        }
    }

    /// Elastic: one bad slice of the sixty that an hour expects burns at (1/60)/B, not at 1/B.
    #[test]
    fn one_bad_slice_of_sixty_burns_a_sixtieth() {
        let hour = sums(1.0, 60.0);
        check_close(
            burn_rate(&hour.sums, 0.01).unwrap(),
            1.0 / 60.0 / 0.01,
            "burn rate",
        );
        let budget = error_budget(&hour, 0.01, by_slices("1m"));
        check_close(
            budget.remaining_ratio.unwrap(),
            1.0 - 100.0 / 60.0,
            "remaining",
        );
    }

    /// slo-generator 2.6: `eb_value = 1 - sli`, `eb_burn_rate = eb_value / eb_target`, `eb_minutes = window * eb_target / 60`
    /// and `eb_consumed_ratio = eb_value / eb_target`. Goal 99.9 % over 28 days with 200 failures of 100 000.
    #[test]
    fn slo_generators_report_says_the_same() {
        let period = sums(200.0, 100_000.0);
        check_close(burn_rate(&period.sums, 0.001).unwrap(), 2.0, "burn rate");
        let budget = error_budget(&period, 0.001, Budgeting::Occurrences);
        check_close(budget.remaining_ratio.unwrap(), 1.0 - 2.0, "1 - consumed");
        let minutes = error_budget(&sums(0.0, 28.0 * 1_440.0), 0.001, by_slices("1m"));
        check_close(minutes.allowed_bad, 2_419_200.0 * 0.001 / 60.0, "minutes");
    }

    /// A third of the month has passed with all of its failures: the plain budget recovers, the projected one does not.
    #[test]
    fn a_calendar_budget_recovers_and_its_projection_does_not() {
        let day = 86_400 * NANOS_PER_SEC;
        let after = |days: u64| PeriodSums {
            calendar: Some(CalendarBounds {
                start: day,
                end: 31 * day,
                elapsed_ratio: days as f64 / 30.0,
            }),
            ..sums(5.0, 100.0 * days as f64)
        };
        let budgets = [10, 20, 30].map(|days| {
            let budget = error_budget(&after(days), 0.01, Budgeting::Occurrences);
            let plain = budget.remaining_ratio.unwrap();
            (plain, budget.projected_remaining_ratio.unwrap())
        });
        for ((plain, projected), wanted) in budgets.into_iter().zip([0.5, 0.75, 1.0 - 1.0 / 6.0]) {
            check_close(plain, wanted, "plain");
            check_close(projected, 1.0 - 1.0 / 6.0, "projected");
        }
        let start = error_budget(&after(10), 0.01, Budgeting::Occurrences).period_start;
        assert_eq!(start.unwrap().to_string(), "1970-01-02T00:00:00Z");
        // Of slices the whole period is known: 30 days have 8 640 slices of five minutes.
        let slices = error_budget(&after(10), 0.01, by_slices("5m"));
        check_close(
            slices.projected_remaining_ratio.unwrap(),
            1.0 - 5.0 / 86.4,
            "slices",
        );
    }

    #[test]
    fn an_overspent_budget_is_not_clamped() {
        let budget = error_budget(&sums(30.0, 1_000.0), 0.01, Budgeting::Occurrences);
        assert!((budget.remaining_ratio.unwrap() + 2.0).abs() < 1e-9);
    }

    #[test]
    fn without_events_nothing_is_said() {
        let budget = error_budget(&PeriodSums::default(), 0.01, Budgeting::Occurrences);
        assert_eq!(budget.remaining_ratio, None);
        assert_eq!(budget.projected_remaining_ratio, None);
    }

    #[test]
    fn coverage_counts_excluded_slices_among_those_that_passed() {
        let period = PeriodSums {
            empty_slices: 25,
            ..sums(0.0, 75.0)
        };
        let measured = |empty| {
            let budgeting = Budgeting::RatioTimeslices {
                slice: "5m".parse().unwrap(),
                empty,
            };
            let coverage = slice_coverage(&period, budgeting).unwrap();
            coverage.measured_ratio.unwrap()
        };
        check_close(measured(EmptySlices::Excluded), 0.75, "excluded");
        check_close(measured(EmptySlices::Good), 50.0 / 75.0, "good");
        assert_eq!(slice_coverage(&period, Budgeting::Occurrences), None);
    }

    #[test]
    fn a_budget_needs_exactly_the_events_of_which_it_allows_one() {
        for (target, wanted) in [(0.9, 10.0), (0.99, 100.0), (0.999, 1_000.0)] {
            assert_eq!(events_needed(1.0 - target).to_bits(), f64::to_bits(wanted));
        }
    }
}
