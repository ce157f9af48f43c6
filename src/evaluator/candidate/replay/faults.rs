//! Simulated faults in a real history: whether the alerts of an objective would notice, and how soon.

use std::ops::Range;

use crate::evaluator::burn_rate::check;
use crate::model::candidate::{FaultRecall, Step};
use crate::model::report::Severity;
use crate::model::window::{Window, WindowSums};

use super::minutes::{Minutes, minutes_of};
use super::{Alerts, budget_of};

/// A fault that turns a share of the good events bad for a while.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    name: &'static str,
    error_ratio: f64,
    minutes: u32,
}

/// A short outage, an hour of partial errors, and a day that burns the budget at twice the rate that spends it.
pub(super) fn faults_of(budget: f64) -> [Fault; 3] {
    let fault = |name, error_ratio: f64, minutes| Fault {
        name,
        error_ratio: error_ratio.min(1.0),
        minutes,
    };
    [
        fault("outage", 1.0, 10),
        fault("partial", 0.05, 60),
        fault("slow_burn", 2.0 * budget, 24 * 60),
    ]
}

/// What becomes of a fault that begins at up to `starts` times of the hold-out; one entry for each severity.
pub(super) fn recall(
    alerts: &Alerts,
    minutes: &Minutes,
    step: Step,
    fault: Fault,
    (holdout, starts): (Range<u32>, u32),
) -> [FaultRecall; 2] {
    let last_start = holdout.end.saturating_sub(fault.minutes);
    let starts = minutes.spread(holdout.start..last_start, starts);
    let delays: Vec<_> = starts
        .into_iter()
        .map(|start| delays_secs(alerts, minutes, step, fault, start))
        .collect();
    [Severity::Page, Severity::Ticket].map(|severity| {
        let of_severity = delays.iter().map(|delays| match severity {
            Severity::Page => delays.page,
            Severity::Ticket => delays.ticket,
        });
        let tried: Vec<Delay> = of_severity
            .filter(|delay| *delay != Delay::FiringBefore)
            .collect();
        let mut found: Vec<u64> = tried
            .iter()
            .filter_map(|delay| match delay {
                Delay::Secs(secs) => Some(*secs),
                Delay::FiringBefore | Delay::Missed => None,
            })
            .collect();
        found.sort_unstable();
        FaultRecall {
            fault: fault.name.to_owned(),
            error_ratio: fault.error_ratio,
            duration_secs: u64::from(fault.minutes) * 60,
            severity,
            trials: tried.len() as u64,
            detected: found.len() as u64,
            recall: (!tried.is_empty()).then(|| found.len() as f64 / tried.len() as f64),
            median_secs: found.get(found.len().saturating_sub(1) / 2).copied(),
            worst_secs: found.last().copied(),
            expected_secs: expected_secs(alerts, step, fault, severity),
        }
    })
}

/// Time until a severity fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delay {
    /// It was firing before the fault began, so that nothing is learnt.
    FiringBefore,
    /// It did not fire before the fault was over.
    Missed,
    Secs(u64),
}

#[derive(Clone, Copy, Debug)]
struct Delays {
    page: Delay,
    ticket: Delay,
}

fn delays_secs(alerts: &Alerts, minutes: &Minutes, step: Step, fault: Fault, start: u32) -> Delays {
    let budget = budget_of(step);
    let before = alerts.firing(budget, |window| minutes.window(start, window));
    let initial = |is_firing| {
        if is_firing {
            Delay::FiringBefore
        } else {
            Delay::Missed
        }
    };
    let mut delays = Delays {
        page: initial(before.page),
        ticket: initial(before.ticket),
    };
    let faulty = Faulty::new(minutes, fault, start);
    for end in start + 1..=start + fault.minutes {
        if delays.page != Delay::Missed && delays.ticket != Delay::Missed {
            break;
        }
        let firing = alerts.firing(budget, |window| faulty.window(end, window));
        let secs = Delay::Secs(u64::from(end - start) * 60);
        if firing.page && delays.page == Delay::Missed {
            delays.page = secs;
        }
        if firing.ticket && delays.ticket == Delay::Missed {
            delays.ticket = secs;
        }
    }
    delays
}

/// The theory: with steady traffic that has no other errors, a rule fires k·B·W/e after the start of errors of ratio e.
fn expected_secs(alerts: &Alerts, step: Step, fault: Fault, severity: Severity) -> Option<f64> {
    let nothing = WindowSums::default();
    let delays = alerts
        .rules
        .iter()
        .filter(|rule| rule.severity == severity)
        .filter_map(|rule| {
            let limit = check(*rule, budget_of(step), nothing, nothing, alerts.limits);
            let secs = limit.error_ratio_limit * rule.long.secs() as f64 / fault.error_ratio;
            let fires = fault.error_ratio > limit.error_ratio_limit
                && secs < f64::from(fault.minutes) * 60.0;
            fires.then_some(secs)
        });
    delays.min_by(f64::total_cmp)
}

/// Minutes with a fault in them.
struct Faulty<'a> {
    minutes: &'a Minutes,
    start: u32,
    /// Bad events added from the start to each minute of the fault, by weight and seen; begins with nothing.
    added: Vec<(f64, u64)>,
}

impl<'a> Faulty<'a> {
    /// Events fail whole and at even distances: of a ratio of 5 % each twentieth good event fails.
    fn new(minutes: &'a Minutes, fault: Fault, start: u32) -> Self {
        let mut added = vec![(0.0, 0)];
        let (mut weight, mut failed, mut owed) = (0.0, 0, 0.0);
        for minute in start..start + fault.minutes {
            let sums = minutes.between(minute..minute + 1);
            let good = sums.observed_total - sums.observed_bad;
            owed += fault.error_ratio * good as f64;
            // The owed part of an event fails once it is whole; a hair less, for the rounding of the ratio.
            let failing = whole(owed + 1e-9).min(good);
            owed -= failing as f64;
            if failing > 0 {
                weight += (sums.total - sums.bad) * failing as f64 / good as f64;
                failed += failing;
            }
            added.push((weight, failed));
        }
        Self {
            minutes,
            start,
            added,
        }
    }

    fn window(&self, end: u32, window: Window) -> WindowSums {
        let sums = self.minutes.window(end, window);
        let (weight, failed) = self.until(end);
        let (weight_before, failed_before) = self.until(end.saturating_sub(minutes_of(window)));
        WindowSums {
            bad: sums.bad + (weight - weight_before),
            observed_bad: sums.observed_bad + (failed - failed_before),
            ..sums
        }
    }

    fn until(&self, minute: u32) -> (f64, u64) {
        let index = minute.saturating_sub(self.start) as usize;
        let held = self.added.get(index).or(self.added.last());
        held.copied().unwrap_or_default()
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the whole part of a count, which is not negative"
)]
fn whole(number: f64) -> u64 {
    number as u64
}
