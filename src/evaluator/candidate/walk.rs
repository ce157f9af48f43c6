//! The walk down the ladder: from the step that the bound carries to the tightest one that can be promised.

use crate::evaluator::burn_rate::burn_rate;
use crate::evaluator::statistics::poisson_rate_lower;
use crate::model::candidate::{Considered, Outcome, Step, StepVerdict};
use crate::model::slo::Sli;

use super::fitting::Estimate;
use super::ladder::{budget_of, label, looser, tighter};
use super::replay::{Minutes, Trial};
use super::slices::DataUsed;
use super::{SECS_PER_DAY, Settings};
use crate::evaluator::figures::{milliseconds, percentage, tenths};

/// How many bad events the budget of one period allows, by the traffic of the history.
pub(super) fn bad_events_in_budget(
    step: Step,
    estimate: &Estimate,
    history_secs: u64,
    settings: &Settings,
) -> f64 {
    let periods = settings.period.secs() as f64 / history_secs as f64;
    budget_of(step) * estimate.weighted_events * periods
}

/// Whether that is fewer than wanted. Rounding aside: exactly the wanted number is enough.
pub(super) fn is_too_few(bad_events: f64, settings: &Settings) -> bool {
    bad_events < settings.min_bad_events_in_budget - 1e-6
}

/// What a candidate proposes, and why not another step.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) step: Step,
    pub(super) considered: Vec<Considered>,
    /// Why no step stands, if so.
    pub(super) rejection: Option<String>,
}

/// The walk down the ladder.
pub(super) struct Walk<'a> {
    pub(super) data: &'a DataUsed<'a>,
    pub(super) estimate: &'a Estimate,
    /// The hold-out, if the history is long enough for one.
    pub(super) trial: Option<&'a Trial<'a>>,
    pub(super) settings: &'a Settings,
}

/// Why a step is too tight.
enum TooTight {
    /// One incident decides; what is missing is traffic, so that the last step stays provisional.
    Traffic(String),
    /// The replay speaks against it.
    Replay(String),
}

impl TooTight {
    fn reason(&self) -> &str {
        match self {
            Self::Traffic(reason) | Self::Replay(reason) => reason,
        }
    }
}

impl Walk<'_> {
    /// The tightest step that stands, from the one that the bound carries downwards.
    pub(super) fn choose(&self) -> Choice {
        let first = self.estimate.step;
        if let Some(rejection) = &self.estimate.rejection {
            return Choice {
                step: first,
                considered: vec![considered(first, StepVerdict::TooTight, rejection.clone())],
                rejection: Some(rejection.clone()),
            };
        }
        let mut choice = Choice {
            step: first,
            considered: Vec::new(),
            rejection: None,
        };
        if self.estimate.unsupported.is_some() {
            return choice;
        }
        if let Some(tighter) = tighter(first) {
            let reason = format!("the bound, {}, does not carry it", self.bound());
            let considered = considered(tighter, StepVerdict::TooTight, reason);
            choice.considered.push(considered);
        }
        loop {
            let Some(refusal) = self.refusal(choice.step) else {
                self.note_standing(&mut choice);
                return choice;
            };
            let reason = refusal.reason().to_owned();
            let refused = considered(choice.step, StepVerdict::TooTight, reason);
            choice.considered.push(refused);
            match (looser(choice.step), refusal) {
                (Some(looser), _) => choice.step = looser,
                (None, TooTight::Traffic(_)) => return choice,
                (None, TooTight::Replay(reason)) => {
                    choice.rejection = Some(format!(
                        "even {} does not stand: {reason}; find the cause before promising anything",
                        label(choice.step)
                    ));
                    return choice;
                }
            }
        }
    }

    /// The step that was taken, and why the one below it was not.
    fn note_standing(&self, choice: &mut Choice) {
        let consumed = self.consumed(choice.step);
        let reason = format!(
            "the history uses {} of its budget",
            percentage_or_more(consumed)
        );
        choice
            .considered
            .push(considered(choice.step, StepVerdict::Stands, reason));
        let Some(below) = looser(choice.step) else {
            return;
        };
        let consumed = self.consumed(below);
        let used = percentage_or_more(consumed);
        let (verdict, reason) = if consumed < self.settings.min_budget_consumed {
            (
                StepVerdict::TooLoose,
                format!("the history uses {used} of its budget, and a tighter step stands"),
            )
        } else {
            (
                StepVerdict::Stands,
                format!("the history uses {used} of its budget; a tighter step stands too"),
            )
        };
        choice.considered.push(considered(below, verdict, reason));
    }

    fn refusal(&self, step: Step) -> Option<TooTight> {
        let outcome = self.trial.and_then(|trial| trial.holdout(step));
        if let Some(reason) = outcome.and_then(|outcome| self.replay_refusal(&outcome)) {
            return Some(TooTight::Replay(reason));
        }
        // A looser threshold of the latency has the same target, hence the same budget.
        if matches!(step.sli, Sli::Latency { .. }) {
            return None;
        }
        let settings = self.settings;
        let allowed = bad_events_in_budget(step, self.estimate, self.data.secs(), settings);
        is_too_few(allowed, settings).then(|| {
            TooTight::Traffic(format!(
                "its budget of {} allows {} bad events, fewer than {}: one incident decides",
                settings.period.label(),
                tenths(allowed),
                tenths(settings.min_bad_events_in_budget),
            ))
        })
    }

    fn replay_refusal(&self, outcome: &Outcome) -> Option<String> {
        let settings = self.settings;
        let days = outcome.secs as f64 / SECS_PER_DAY;
        // As the evaluator has it: a hair less, and never for one event.
        let is_spent = outcome.budget_consumed_ratio >= 1.0 - 1e-9
            && outcome.bad_events >= settings.limits.min_bad_events;
        if is_spent {
            return Some(format!(
                "the replay of the last {} days spends {} of its budget and attains {}",
                tenths(days),
                percentage_or_more(outcome.budget_consumed_ratio),
                percentage(outcome.attained_ratio),
            ));
        }
        let pages_lower = poisson_rate_lower(outcome.pages, days / 30.0, settings.confidence);
        (pages_lower > settings.max_pages_per_30d).then(|| {
            format!(
                "the replay of the last {} days pages {} times, more often than {} times in 30 days",
                tenths(days),
                outcome.pages,
                settings.max_pages_per_30d,
            )
        })
    }

    /// Share of the budget that the whole history uses.
    fn consumed(&self, step: Step) -> f64 {
        let minutes = Minutes::of(self.data.rows, step.sli);
        burn_rate(&minutes.between(0..u32::MAX), budget_of(step)).unwrap_or(0.0)
    }

    fn bound(&self) -> String {
        match self.estimate.step.sli {
            Sli::Availability | Sli::ErrorRate => percentage(self.estimate.bound),
            Sli::Latency { .. } => milliseconds(self.estimate.bound),
        }
    }
}

fn considered(step: Step, verdict: StepVerdict, reason: String) -> Considered {
    Considered {
        sli: step.sli,
        target: step.target,
        verdict,
        reason,
    }
}

/// A share that may be above 1, in whole percent from 10 % on.
fn percentage_or_more(share: f64) -> String {
    if share < 0.1 {
        percentage(share)
    } else {
        format!("{:.0}%", share * 100.0)
    }
}
