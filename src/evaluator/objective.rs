//! One adopted objective against what was measured, and what a verdict is told of it.

use crate::evaluator::budget::{
    error_budget, events_needed, is_conclusive, is_spent, slice_coverage,
};
use crate::evaluator::burn_rate::{Limits, check, rules_over};
use crate::evaluator::error_budget_policy;
use crate::evaluator::rollout;
use crate::model::budget_policy::PolicyStatus;
use crate::model::canary::CanaryReport;
use crate::model::period::{Period, Shorthand};
use crate::model::report::{
    BurnRateCheck, CompositeStatus, ErrorBudget, ObjectiveStatus, Reason, Severity, SliceCoverage,
    Verdict, WindowSli,
};
use crate::model::slo::Budgeting;
use crate::model::window::Window;
use crate::window::measure::{ObjectiveView, PeriodSums};
use crate::window::snapshot::{AllWindows, window_of};

/// What is judged: an objective, or a composite in place of its members.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'a> {
    /// Its name.
    pub name: &'a str,
    /// 1 − target.
    pub budget: f64,
    /// Period of the budget.
    pub window: &'a Period,
    /// What the sums count.
    pub budgeting: Budgeting,
    /// All windows.
    pub windows: &'a AllWindows,
    /// The period of the budget.
    pub period: PeriodSums,
}

/// How what was measured stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// pass, warn, fail, or inconclusive while undecided.
    pub state: Verdict,
    /// Why, in a sentence.
    pub text: String,
    /// Burn-rate rules.
    pub burn_rates: Vec<BurnRateCheck>,
    /// Error budget.
    pub budget: ErrorBudget,
    /// Slices of the period, where slices are judged.
    pub slices: Option<SliceCoverage>,
}

/// Measures an objective.
pub fn status_of(view: &ObjectiveView, limits: Limits) -> ObjectiveStatus {
    let objective = view.objective.as_ref();
    let measured = Measured {
        name: &objective.name,
        budget: objective.budget(),
        window: &objective.window,
        budgeting: objective.budgeting,
        windows: &view.windows,
        period: view.period,
    };
    let judgement = measured.judge(limits);
    ObjectiveStatus {
        objective: objective.clone(),
        state: judgement.state,
        text: judgement.text,
        windows: window_slis(&view.windows),
        burn_rates: judgement.burn_rates,
        budget: judgement.budget,
        slices: judgement.slices,
        policy: None,
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

impl Measured<'_> {
    /// Applies the burn-rate rules and the budget.
    pub fn judge(&self, limits: Limits) -> Judgement {
        let slice_secs = self.budgeting.slice().map(Shorthand::secs);
        let rules = rules_over(self.window.secs(), slice_secs);
        let sums = |window| window_of(self.windows, window);
        let burn_rates = rules.map(|rule| {
            let (long, short) = (sums(rule.long), sums(rule.short));
            check(rule, self.budget, long, short, limits)
        });
        let budget = error_budget(&self.period, self.budget, self.budgeting);
        let (state, text) = self.decide(&burn_rates, &budget, limits);
        Judgement {
            state,
            text,
            burn_rates: burn_rates.to_vec(),
            budget,
            slices: slice_coverage(&self.period, self.budgeting),
        }
    }

    fn decide(
        &self,
        burn_rates: &[BurnRateCheck],
        budget: &ErrorBudget,
        limits: Limits,
    ) -> (Verdict, String) {
        let (name, period) = (self.name, self.period.sums);
        let firing = loudest(burn_rates);
        if let Some(page) = firing.filter(|check| check.severity == Severity::Page) {
            return (Verdict::Fail, firing_text(name, page));
        }
        let window = self.window.label();
        let unit = self.budgeting.unit();
        let needed = events_needed(self.budget);
        let is_conclusive = is_conclusive(budget.total, self.budget);
        if is_spent(budget, self.budget, limits) {
            return (Verdict::Fail, self.spent_text(budget));
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
                    "{name}: {:.0} {unit} in {window}, {needed:.0} are needed until its budget allows a bad one",
                    period.total
                );
                (Verdict::Inconclusive, text)
            }
        }
    }

    fn spent_text(&self, budget: &ErrorBudget) -> String {
        // Parts of slices are bad too.
        let decimals = usize::from(self.budgeting.slice().is_some());
        format!(
            "{}: the error budget of {} is spent ({:.decimals$} bad {} of {:.decimals$} allowed)",
            self.name,
            self.window.label(),
            budget.bad,
            self.budgeting.unit(),
            budget.allowed_bad
        )
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

/// How an objective stands, or a composite in place of its members: what a verdict weighs.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// The verdict is inconclusive while this one is.
    pub required: bool,
    /// Weight in the score.
    pub weight: f64,
    /// pass, warn, fail, or inconclusive while undecided.
    pub state: Verdict,
    /// Its name.
    pub name: &'a str,
    /// Why it is in this state, in a sentence.
    pub text: &'a str,
    measured: Yardstick<'a>,
    policy: Option<&'a PolicyStatus>,
}

/// What a standing was judged by.
#[derive(Clone, Copy, Debug)]
enum Yardstick<'a> {
    Objective {
        window: &'a Period,
        target: f64,
        burn_rates: &'a [BurnRateCheck],
        budget: &'a ErrorBudget,
    },
    OldVersion(&'a CanaryReport),
}

impl<'a> From<&'a ObjectiveStatus> for Standing<'a> {
    fn from(status: &'a ObjectiveStatus) -> Self {
        Self {
            required: status.objective.required,
            weight: status.objective.weight,
            state: status.state,
            name: &status.objective.name,
            text: &status.text,
            measured: Yardstick::Objective {
                window: &status.objective.window,
                target: status.objective.target,
                burn_rates: &status.burn_rates,
                budget: &status.budget,
            },
            policy: status.policy.as_ref(),
        }
    }
}

impl<'a> From<&'a CompositeStatus> for Standing<'a> {
    fn from(status: &'a CompositeStatus) -> Self {
        Self {
            required: status.required,
            weight: status.weight,
            state: status.state,
            name: &status.name,
            text: &status.text,
            measured: Yardstick::Objective {
                window: &status.window,
                target: status.target,
                burn_rates: &status.burn_rates,
                budget: &status.budget,
            },
            policy: status.policy.as_ref(),
        }
    }
}

impl<'a> From<&'a CanaryReport> for Standing<'a> {
    fn from(report: &'a CanaryReport) -> Self {
        Self {
            required: false,
            weight: 1.0,
            state: report.verdict,
            name: &report.canary.version,
            text: &report.text,
            measured: Yardstick::OldVersion(report),
            policy: None,
        }
    }
}

impl<'a> Standing<'a> {
    /// What its error budget policy asks for.
    pub fn action(&self) -> Option<&'a str> {
        self.policy?.action.as_deref()
    }

    /// What a verdict says of the step of its policy that applies; `None` while none does.
    pub fn policy_reason(&self) -> Option<Reason> {
        error_budget_policy::reason(self.name, self.policy?)
    }

    /// What a verdict says of it; `None` while it passes.
    pub fn reason(&self) -> Option<Reason> {
        match self.measured {
            Yardstick::Objective {
                window,
                target,
                burn_rates,
                budget,
            } => self.objective_reason(window, target, burn_rates, budget),
            Yardstick::OldVersion(report) => rollout::reason(report),
        }
    }

    fn objective_reason(
        &self,
        window: &Period,
        target: f64,
        burn_rates: &[BurnRateCheck],
        measured: &ErrorBudget,
    ) -> Option<Reason> {
        let reason = |source: &str, window: String, observed, limit| Reason {
            source: source.to_owned(),
            name: self.name.to_owned(),
            window: Some(window),
            observed,
            limit,
            text: self.text.to_owned(),
        };
        let (period, budget) = (window.label(), 1.0 - target);
        match (self.state, loudest(burn_rates)) {
            (Verdict::Pass, _) => None,
            (Verdict::Inconclusive, _) => Some(reason(
                "objective",
                period,
                Some(measured.total),
                Some(events_needed(budget)),
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
            ) => Some(reason(
                "burn_rate",
                check.long_window.label().to_owned(),
                check.long_burn_rate,
                Some(check.error_ratio_limit / budget),
            )),
            (Verdict::Warn | Verdict::Fail, _) => Some(reason(
                "error_budget",
                period,
                measured.remaining_ratio,
                Some(0.0),
            )),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::slo::{Objective, Sli};
    use crate::model::window::WindowSums;

    pub(crate) const LIMITS: Limits = Limits {
        error_ratio_max: 0.9,
        min_bad_events: 2,
    };

    /// An objective with the same sums in every window and in its period.
    pub(crate) fn view(objective: Objective, sums: WindowSums) -> ObjectiveView {
        ObjectiveView {
            objective: Arc::new(objective),
            windows: [sums; 10],
            period: PeriodSums {
                sums,
                ..PeriodSums::default()
            },
            since_start: sums,
        }
    }

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
        status_of(&view(objective, sums), LIMITS)
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
                Standing::from(&status)
                    .reason()
                    .map(|reason| reason.source)
                    .as_deref(),
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
        let status = status("checkout-99", 500, 1_000);
        let reason = Standing::from(&status).reason().unwrap();
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
