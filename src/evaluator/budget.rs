//! Error budgets, event-weighted (Google SRE Workbook, chapter 2).

use crate::model::report::ErrorBudget;
use crate::model::window::WindowSums;

/// The budget of a period with these events: remaining = 1 − Σbad/(B·Σtotal), below 0 when overspent.
pub fn error_budget(period: WindowSums, budget: f64) -> ErrorBudget {
    let allowed_bad = budget * period.total;
    ErrorBudget {
        remaining_ratio: (allowed_bad > 0.0).then(|| 1.0 - period.bad / allowed_bad),
        allowed_bad,
        bad: period.bad,
        total: period.total,
        observed_bad: period.observed_bad,
    }
}

/// Events needed until a budget allows one bad event; with fewer nothing can be said.
pub fn events_needed(budget: f64) -> f64 {
    1.0 / budget
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(bad: f64, total: f64) -> WindowSums {
        WindowSums {
            total,
            bad,
            ..WindowSums::default()
        }
    }

    /// SRE Workbook, chapter 2, error budget over four weeks of 3 663 253 requests: 97 % allows 109 897 failures, 90 % 366 325
    /// and 99 % 36 632.
    #[test]
    fn the_workbooks_budgets_hold() {
        for (target, allowed) in [(0.97, 109_897.0), (0.90, 366_325.0), (0.99, 36_632.0)] {
            let budget = error_budget(sums(allowed / 2.0, 3_663_253.0), 1.0 - target);
            assert!((budget.allowed_bad - allowed).abs() < 1.0, "{budget:?}");
            assert!(
                (budget.remaining_ratio.unwrap() - 0.5).abs() < 1e-4,
                "{budget:?}"
            );
        }
    }

    #[test]
    fn an_overspent_budget_is_not_clamped() {
        let remaining = error_budget(sums(30.0, 1_000.0), 0.01)
            .remaining_ratio
            .unwrap();
        assert!((remaining + 2.0).abs() < 1e-9);
    }

    #[test]
    fn without_events_nothing_is_said() {
        assert_eq!(
            error_budget(WindowSums::default(), 0.01).remaining_ratio,
            None
        );
    }

    #[test]
    fn a_budget_of_a_thousandth_needs_a_thousand_events() {
        assert!((events_needed(0.001) - 1_000.0).abs() < 1e-9);
    }
}
