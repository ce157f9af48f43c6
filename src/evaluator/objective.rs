//! One adopted objective against what was measured.

use crate::evaluator::budget::{error_budget, events_needed};
use crate::evaluator::burn_rate::{Limits, check, rules_for};
use crate::model::report::{
    BurnRateCheck, ErrorBudget, ObjectiveStatus, Reason, Severity, Verdict, WindowSli,
};
use crate::model::slo::Objective;
use crate::model::window::{Window, WindowSums};
use crate::window::snapshot::{AllWindows, ObjectiveView};

/// Measures an objective.
pub fn status_of(view: &ObjectiveView, limits: Limits) -> ObjectiveStatus {
    let objective = view.objective.as_ref();
    let budget = objective.budget();
    let burn_rates: Vec<BurnRateCheck> = rules_for(objective.window.nearest_window())
        .into_iter()
        .map(|rule| {
            check(
                rule,
                budget,
                view.window(rule.long),
                view.window(rule.short),
                limits,
            )
        })
        .collect();
    let period = view.window(objective.window.nearest_window());
    let error_budget = error_budget(period, budget);
    let (state, text) = judge(objective, &burn_rates, &error_budget, (period, limits));
    ObjectiveStatus {
        objective: objective.clone(),
        state,
        text,
        windows: window_slis(&view.windows),
        burn_rates,
        budget: error_budget,
        good_events: view.since_start.total - view.since_start.bad,
        bad_events: view.since_start.bad,
    }
}

/// Every window with its ratio.
pub fn window_slis(windows: &AllWindows) -> Vec<WindowSli> {
    Window::ALL
        .into_iter()
        .zip(windows)
        .map(|(window, sums)| WindowSli {
            window,
            sums: *sums,
            error_ratio: sums.error_ratio(),
        })
        .collect()
}

fn judge(
    objective: &Objective,
    burn_rates: &[BurnRateCheck],
    budget: &ErrorBudget,
    (period, limits): (WindowSums, Limits),
) -> (Verdict, String) {
    let name = &objective.name;
    let firing = loudest(burn_rates);
    if let Some(page) = firing.filter(|check| check.severity == Severity::Page) {
        return (Verdict::Fail, firing_text(name, page));
    }
    let window = objective.window.label();
    let needed = events_needed(objective.budget());
    let spent = budget.remaining_ratio.is_some_and(|remaining| {
        // A hair more, since 1 − 0.99 is not exactly 0.01.
        remaining <= 1e-9 && period.observed_bad >= limits.min_bad_events
    });
    // A hair less, since 1/(1−0.9) is not exactly 10.
    let is_conclusive = period.total >= needed * (1.0 - 1e-9);
    if is_conclusive && spent {
        let text = format!(
            "{name}: the error budget of {window} is spent ({:.0} bad of {:.0} allowed)",
            budget.bad, budget.allowed_bad
        );
        return (Verdict::Fail, text);
    }
    if let Some(ticket) = firing {
        return (Verdict::Warn, firing_text(name, ticket));
    }
    match budget.remaining_ratio {
        Some(remaining) if is_conclusive => {
            let left = 100.0 * remaining;
            (
                Verdict::Pass,
                format!("{name}: {left:.1} % of the error budget of {window} is left"),
            )
        }
        Some(_) | None => {
            let text = format!(
                "{name}: {:.0} events in {window}, {needed:.0} are needed until its budget allows one bad event",
                period.total
            );
            (Verdict::Inconclusive, text)
        }
    }
}

/// The rule that decides: a page before a ticket, the higher factor first.
pub fn loudest(burn_rates: &[BurnRateCheck]) -> Option<&BurnRateCheck> {
    let by_severity = |severity| {
        burn_rates
            .iter()
            .find(|check| check.firing && check.severity == severity)
    };
    by_severity(Severity::Page).or_else(|| by_severity(Severity::Ticket))
}

fn firing_text(name: &str, check: &BurnRateCheck) -> String {
    format!(
        "{name} burns its error budget {:.1} times too fast over {} and {:.1} times over {} (limit {})",
        check.long_burn_rate.unwrap_or_default(),
        check.long_window.label(),
        check.short_burn_rate.unwrap_or_default(),
        check.short_window.label(),
        check.factor,
    )
}

/// What a verdict says of this objective; `None` while it passes.
pub fn reason_of(status: &ObjectiveStatus) -> Option<Reason> {
    let reason = |source: &str, window: String, observed, limit| Reason {
        source: source.to_owned(),
        name: status.objective.name.clone(),
        window: Some(window),
        observed,
        limit,
        text: status.text.clone(),
    };
    let period = status.objective.window.label();
    match (status.state, loudest(&status.burn_rates)) {
        (Verdict::Pass, _) => None,
        (Verdict::Inconclusive, _) => Some(reason(
            "objective",
            period,
            Some(status.budget.total),
            Some(events_needed(status.objective.budget())),
        )),
        (Verdict::Warn, Some(check))
        | (
            Verdict::Fail,
            Some(
                check @ BurnRateCheck {
                    severity: Severity::Page,
                    ..
                },
            ),
        ) => {
            let limit = check.error_ratio_limit / status.objective.budget();
            Some(reason(
                "burn_rate",
                check.long_window.label().to_owned(),
                check.long_burn_rate,
                Some(limit),
            ))
        }
        (Verdict::Warn | Verdict::Fail, _) => Some(reason(
            "error_budget",
            period,
            status.budget.remaining_ratio,
            Some(0.0),
        )),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::slo::Sli;

    const LIMITS: Limits = Limits {
        error_ratio_max: 0.9,
        min_bad_events: 2,
    };

    /// An objective of 99 % over 30 days with the same sums in every window.
    pub(crate) fn status(name: &str, bad: u64, total: u64) -> ObjectiveStatus {
        let sums = WindowSums {
            total: total as f64,
            bad: bad as f64,
            squared: total as f64,
            observed_total: total,
            observed_bad: bad,
        };
        let objective = Objective::new(name, "checkout", Sli::Availability, 0.99);
        let view = ObjectiveView {
            objective: Arc::new(objective),
            windows: [sums; 10],
            since_start: sums,
        };
        status_of(&view, LIMITS)
    }

    #[test]
    fn each_state_has_its_reason() {
        for (bad, total, state, source) in [
            (0, 1_000, Verdict::Pass, None),
            (0, 99, Verdict::Inconclusive, Some("objective")),
            (0, 0, Verdict::Inconclusive, Some("objective")),
            (10, 1_000, Verdict::Fail, Some("error_budget")),
            // One bad event of a hundred is all that the budget allows, and too little to judge by.
            (1, 100, Verdict::Pass, None),
            (15, 1_000, Verdict::Fail, Some("error_budget")),
            (61, 1_000, Verdict::Fail, Some("burn_rate")),
        ] {
            let status = status("o", bad, total);
            assert_eq!(status.state, state, "{bad}/{total}: {}", status.text);
            assert_eq!(
                reason_of(&status).map(|reason| reason.source).as_deref(),
                source
            );
        }
    }

    #[test]
    fn a_hundred_events_decide_a_target_of_ninety_nine_percent() {
        assert_eq!(status("o", 0, 100).state, Verdict::Pass);
    }

    #[test]
    fn the_reason_names_window_value_and_limit() {
        let reason = reason_of(&status("checkout-99", 500, 1_000)).unwrap();
        assert_eq!(reason.window.as_deref(), Some("1h"));
        assert!((reason.observed.unwrap() - 50.0).abs() < 1e-6);
        assert!((reason.limit.unwrap() - 14.4).abs() < 1e-6);
        assert!(
            reason.text.contains("checkout-99") && reason.text.contains("1h"),
            "{}",
            reason.text
        );
    }
}
