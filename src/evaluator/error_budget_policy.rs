//! Error budget policies: which steps apply to what was measured, and which action a verdict carries.
//!
//! A step compares the burn rate of its window, or what is left of the period's budget. Of steps that apply, the
//! strictest one speaks: `freeze` before `review` before any other word; of the same rank, the one listed first.
//! An action changes no verdict, except those of [`Policies::fail_on_actions`].

use std::collections::BTreeMap;

use crate::evaluator::budget::is_conclusive;
use crate::evaluator::burn_rate::burn_rate;
use crate::model::budget_policy::{
    DEFAULT_POLICY, FREEZE, INLINE_POLICY, NO_POLICY, PolicyChoice, PolicyStatus, PolicyStep,
    PolicyStepStatus, REVIEW, StepMeasure, StepWindow,
};
use crate::model::period::Period;
use crate::model::report::{ErrorBudget, Reason, Verdict, VerdictReport, WindowSli};
use crate::model::window::{Window, WindowSums};

/// `source` of a reason that is a step of a policy.
pub const POLICY_STEP_SOURCE: &str = "policy_step";

/// The policies of a configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policies {
    /// What holds for objectives that choose none.
    pub global: PolicyChoice,
    /// Those with names of their own.
    pub named: BTreeMap<String, Vec<PolicyStep>>,
    /// Actions that make a verdict fail.
    pub fail_on_actions: Vec<String>,
}

/// What was measured of an objective or a composite.
#[derive(Clone, Copy, Debug)]
pub struct Spending<'a> {
    /// 1 − target.
    pub budget_ratio: f64,
    /// Period of the budget.
    pub period: &'a Period,
    /// Every held window.
    pub windows: &'a [WindowSli],
    /// The budget over the period.
    pub budget: &'a ErrorBudget,
    /// Bad events that must have been seen.
    pub min_bad_events: u64,
}

/// The policy that holds where a configuration says nothing: that of the SRE Workbook's example, a freeze once the
/// period's budget is spent, and slo-generator's step of a week that burns half as much again as it may.
pub fn default_steps() -> Vec<PolicyStep> {
    let step = |window, rate, action: &str, message: &str| PolicyStep {
        window,
        burn_rate: Some(rate),
        remaining: None,
        action: action.to_owned(),
        message: message.to_owned(),
    };
    vec![
        step(
            StepWindow::Period,
            1.0,
            FREEZE,
            "the error budget is spent: until it recovers, only fixes for reliability and security go out",
        ),
        step(
            StepWindow::Held(Window::D7),
            1.5,
            REVIEW,
            "a week like this spends the budget early: reliability goes before features, and releases are reviewed",
        ),
    ]
}

impl Policies {
    /// Whether a policy of this name can be chosen.
    pub fn knows(&self, name: &str) -> bool {
        [DEFAULT_POLICY, NO_POLICY].contains(&name) || self.named.contains_key(name)
    }

    /// Name and steps of the policy that is chosen. A name that is not known any more, as an objective in the store may
    /// have one, means what no choice means.
    fn chosen(&self, choice: Option<&PolicyChoice>) -> (String, Vec<PolicyStep>) {
        let known = choice.filter(|choice| match choice {
            PolicyChoice::Named(name) => self.knows(name),
            PolicyChoice::Steps(_) => true,
        });
        match known.unwrap_or(&self.global) {
            PolicyChoice::Steps(steps) => (INLINE_POLICY.to_owned(), steps.clone()),
            PolicyChoice::Named(name) if name == NO_POLICY => (name.clone(), Vec::new()),
            PolicyChoice::Named(name) => match self.named.get(name) {
                Some(steps) => (name.clone(), steps.clone()),
                None => (DEFAULT_POLICY.to_owned(), default_steps()),
            },
        }
    }

    /// Applies the policy that is chosen.
    pub fn apply(&self, choice: Option<&PolicyChoice>, spending: &Spending<'_>) -> PolicyStatus {
        let (name, steps) = self.chosen(choice);
        let steps: Vec<PolicyStepStatus> = steps.iter().map(|step| spending.apply(step)).collect();
        let action = strictest_step(&steps).map(|step| step.action.clone());
        PolicyStatus {
            name,
            steps,
            action,
        }
    }

    /// Makes a verdict fail whose action is one that shall.
    #[must_use]
    pub fn enforce(&self, verdict: VerdictReport) -> VerdictReport {
        let action = verdict.action.as_ref();
        if action.is_some_and(|action| self.fail_on_actions.contains(action)) {
            VerdictReport {
                verdict: Verdict::Fail,
                ok: false,
                ..verdict
            }
        } else {
            verdict
        }
    }
}

impl Spending<'_> {
    fn apply(&self, step: &PolicyStep) -> PolicyStepStatus {
        let (measure, limit) = match step.remaining {
            Some(limit) => (StepMeasure::Remaining, limit),
            None => (StepMeasure::BurnRate, step.burn_rate.unwrap_or(f64::MAX)),
        };
        let (window, burn, total, observed_bad) = match step.window {
            StepWindow::Held(window) => {
                let found = self.windows.iter().find(|sli| sli.window == window);
                let sums: WindowSums = found.map(|sli| sli.sums).unwrap_or_default();
                let burn = burn_rate(&sums, self.budget_ratio);
                let label = window.label().to_owned();
                (label, burn, sums.total, sums.observed_bad)
            }
            StepWindow::Period => {
                let burn = self.budget.remaining_ratio.map(|remaining| 1.0 - remaining);
                let ErrorBudget {
                    total,
                    observed_bad,
                    ..
                } = *self.budget;
                (self.period.label(), burn, total, observed_bad)
            }
        };
        // A hair of tolerance, since 1 − 0.99 is not exactly 0.01.
        let (observed, is_over) = match measure {
            StepMeasure::BurnRate => (burn, burn.is_some_and(|rate| rate >= limit - 1e-9)),
            StepMeasure::Remaining => {
                let left = self.budget.remaining_ratio;
                (left, left.is_some_and(|left| left < limit - 1e-9))
            }
        };
        let is_enough =
            is_conclusive(total, self.budget_ratio) && observed_bad >= self.min_bad_events;
        PolicyStepStatus {
            action: step.action.clone(),
            message: step.message.clone(),
            window,
            measure,
            observed,
            limit,
            applies: is_over && is_enough,
        }
    }
}

/// Of the steps that apply, the one that speaks.
pub fn strictest_step(steps: &[PolicyStepStatus]) -> Option<&PolicyStepStatus> {
    let applying = steps.iter().filter(|step| step.applies);
    // The first of equals.
    applying.min_by_key(|step| rank(&step.action))
}

/// Of several objectives' actions, the one that a verdict carries.
pub fn strictest_action<'a>(actions: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    actions.min_by_key(|action| rank(action))
}

fn rank(action: &str) -> usize {
    match action {
        FREEZE => 0,
        REVIEW => 1,
        _ => 2,
    }
}

/// What a verdict says of the step that applies to an objective; nothing if none does.
pub fn reason(name: &str, policy: &PolicyStatus) -> Option<Reason> {
    let step = strictest_step(&policy.steps)?;
    let observed = step.observed.unwrap_or_default();
    let measured = match step.measure {
        StepMeasure::BurnRate => format!(
            "{name} burns its error budget {observed:.1} times too fast over {} (policy {} from {} on)",
            step.window, policy.name, step.limit
        ),
        StepMeasure::Remaining => format!(
            "{:.1} % of the error budget of {name} over {} is left (policy {} below {:.1} %)",
            100.0 * observed,
            step.window,
            policy.name,
            100.0 * step.limit
        ),
    };
    let message = if step.message.is_empty() {
        String::new()
    } else {
        format!("; {}", step.message)
    };
    Some(Reason {
        source: POLICY_STEP_SOURCE.to_owned(),
        name: name.to_owned(),
        window: Some(step.window.clone()),
        observed: step.observed,
        limit: Some(step.limit),
        text: format!("{}: {measured}{message}", step.action),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::evaluator::objective::tests::status;
    use crate::model::report::ObjectiveStatus;

    fn spending(status: &ObjectiveStatus) -> Spending<'_> {
        Spending {
            budget_ratio: status.objective.budget(),
            period: &status.objective.window,
            windows: &status.windows,
            budget: &status.budget,
            min_bad_events: 2,
        }
    }

    fn action_of(policies: &Policies, bad: u64, total: u64) -> Option<String> {
        let status = status("o", bad, total);
        policies.apply(None, &spending(&status)).action
    }

    fn steps(list: &str) -> Vec<PolicyStep> {
        serde_saphyr::from_str(list).unwrap()
    }

    #[test]
    fn a_spent_budget_freezes_and_a_bad_week_asks_for_a_review() {
        let policies = Policies::default();
        assert_eq!(action_of(&policies, 10, 1_000).as_deref(), Some("freeze"));
        assert_eq!(action_of(&policies, 9, 1_000), None);
        // The week burns at 1.6, the period at 0.4.
        let mut uneven = status("o", 4, 1_000);
        for sli in &mut uneven.windows {
            if sli.window == Window::D7 {
                (sli.sums.bad, sli.sums.observed_bad) = (4.0, 4);
                (sli.sums.total, sli.sums.observed_total) = (250.0, 250);
            }
        }
        let status = policies.apply(None, &spending(&uneven));
        assert_eq!(status.action.as_deref(), Some("review"));
        let applying: Vec<bool> = status.steps.iter().map(|step| step.applies).collect();
        assert_eq!(applying, [false, true]);
        let reason = reason("o", &status).unwrap();
        assert_eq!(
            (&*reason.source, reason.window.as_deref()),
            ("policy_step", Some("7d"))
        );
        assert!((reason.observed.unwrap() - 1.6).abs() < 1e-9, "{reason:?}");
        assert!(reason.text.contains("1.6 times"), "{}", reason.text);
    }

    #[test]
    fn little_traffic_and_a_single_failure_apply_no_step() {
        let policies = Policies::default();
        // A budget of 1 % allows no bad event of 99.
        assert_eq!(action_of(&policies, 50, 99), None);
        assert_eq!(action_of(&policies, 1, 100), None);
        assert_eq!(action_of(&policies, 2, 100).as_deref(), Some("freeze"));
        assert_eq!(action_of(&policies, 0, 0), None);
    }

    #[test]
    fn freeze_outranks_review_and_that_any_other_word_wherever_they_stand() {
        let policies = |list: &str| Policies {
            global: PolicyChoice::Steps(steps(list)),
            ..Policies::default()
        };
        let mixed = "[{burn_rate: 1, action: page-the-owner}, {burn_rate: 1, action: review}, {remaining: 0.5, action: freeze}]";
        assert_eq!(
            action_of(&policies(mixed), 20, 1_000).as_deref(),
            Some("freeze")
        );
        let words = "[{burn_rate: 2, action: b}, {burn_rate: 1, action: a}]";
        assert_eq!(action_of(&policies(words), 20, 1_000).as_deref(), Some("b"));
        assert_eq!(action_of(&policies(words), 10, 1_000).as_deref(), Some("a"));
    }

    #[test]
    fn an_objective_chooses_by_name_or_brings_its_own_steps() {
        let policies = Policies {
            named: BTreeMap::from([(
                "early".to_owned(),
                steps("[{remaining: 0.9, action: slow-down}]"),
            )]),
            ..Policies::default()
        };
        let status = status("o", 2, 1_000);
        let action = |choice: PolicyChoice| policies.apply(Some(&choice), &spending(&status));
        let named = |name: &str| PolicyChoice::Named(name.to_owned());
        assert_eq!(action(named("early")).action.as_deref(), Some("slow-down"));
        assert_eq!(action(named("none")).steps, []);
        assert_eq!(action(named("gone")).name, "default");
        let own = PolicyChoice::Steps(steps("[{window: 5m, burn_rate: 0.2, action: look}]"));
        let own = action(own);
        assert_eq!(
            (&*own.name, own.action.as_deref()),
            ("inline", Some("look"))
        );
    }

    #[test]
    fn a_step_says_what_is_wrong_with_it() {
        let field = |step: &str| steps(&format!("[{step}]"))[0].check().err().map(|it| it.0);
        assert_eq!(field("{burn_rate: 1, action: freeze}"), None);
        assert_eq!(field("{remaining: 0.25, action: freeze}"), None);
        assert_eq!(field("{action: freeze}"), Some("burn_rate"));
        assert_eq!(field("{burn_rate: 0, action: a}"), Some("burn_rate"));
        assert_eq!(field("{burn_rate: 1, action: Stop it}"), Some("action"));
        assert_eq!(field("{remaining: 1.5, action: a}"), Some("remaining"));
        assert_eq!(
            field("{remaining: 0.5, window: 7d, action: a}"),
            Some("window")
        );
        assert_eq!(
            field("{remaining: 0.5, burn_rate: 1, action: a}"),
            Some("remaining")
        );
    }

    proptest! {
        /// Against the definition by whole numbers: with a target of 99 %, k·bad·100 ≥ total is a burn rate of 1/k.
        #[test]
        fn a_burn_rate_applies_exactly_from_its_threshold_on(bad in 0_u64..200, total in 1_u64..2_000, rate in 1_u64..20) {
            let policies = Policies {
                global: PolicyChoice::Steps(steps(&format!("[{{burn_rate: {rate}, action: a}}]"))),
                ..Policies::default()
            };
            let bad = bad.min(total);
            let expected = bad >= 2 && total >= 100 && bad * 100 >= rate * total;
            prop_assert_eq!(action_of(&policies, bad, total).is_some(), expected);
        }
    }
}
