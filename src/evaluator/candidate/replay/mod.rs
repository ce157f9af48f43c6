//! What an objective would have done: a history replayed minute by minute through the alert rules of `serve`.
//!
//! The history is split by time. The older part is fitted, the newer one, the hold-out, is replayed: what the
//! objective attained there, how much budget it used, how often it paged. Whether a page of the past was right is
//! not known, hence `pages`, never "false pages"; where the truth is known, in the simulated faults, their recall is
//! told instead.
//!
//! The rules are those of [`burn_rate`](crate::evaluator::burn_rate), called once a minute; their windows end with that
//! minute, while `serve` evaluates more often and rounds window edges by up to a thirtieth.

mod faults;
mod minutes;
mod onset;

use std::ops::Range;
use std::time::Duration;

use jiff::Timestamp;

use crate::evaluator::burn_rate::{Limits, Rule, burn_rate, check, rules_for};
use crate::evaluator::statistics::poisson_rate_upper;
use crate::model::candidate::{Outcome, Replay, Step};
use crate::model::history::MinuteRow;
use crate::model::report::Severity;
use crate::model::window::{Window, WindowSums};

use super::change_point::Indicator;
use super::fitting::estimate;
use super::ladder::{budget_of, looser, tighter};
use super::slices::DataUsed;
use super::{SECS_PER_DAY, Settings};
use crate::evaluator::figures::tenths;

pub(super) use minutes::{Minutes, sums_of};
pub use onset::{Onset, onset};

const MINUTES_PER_WEEK: u32 = 7 * 24 * 60;
const MINUTES_PER_30_DAYS: f64 = 30.0 * 24.0 * 60.0;

/// Weeks of history from which walk-forward tells something.
const WALK_FORWARD_WEEKS: u32 = 4;

/// The rules of one period, with their bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alerts {
    rules: [Rule; 4],
    limits: Limits,
    period: Window,
    confidence: f64,
}

/// Which severities fire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Firing {
    page: bool,
    ticket: bool,
}

impl Alerts {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            rules: rules_for(settings.period),
            limits: settings.limits,
            period: settings.period,
            confidence: settings.confidence,
        }
    }

    /// Rules that are only asked whether they fire.
    fn of_rules(rules: [Rule; 4], limits: Limits) -> Self {
        Self {
            rules,
            limits,
            period: Window::D30,
            confidence: 0.0,
        }
    }

    fn firing(&self, budget: f64, sums: impl Fn(Window) -> WindowSums) -> Firing {
        let mut firing = Firing::default();
        for rule in &self.rules {
            let short = sums(rule.short);
            // No rule fires without a bad event in its short window; most minutes are done here.
            if short.bad <= 0.0 {
                continue;
            }
            if check(*rule, budget, sums(rule.long), short, self.limits).firing {
                match rule.severity {
                    Severity::Page => firing.page = true,
                    Severity::Ticket => firing.ticket = true,
                }
            }
        }
        firing
    }

    /// What the objective of this step does over a span; `None` where that has no events.
    pub(super) fn outcome(
        &self,
        minutes: &Minutes,
        step: Step,
        span: Range<u32>,
    ) -> Option<Outcome> {
        let sums = minutes.between(span.clone());
        let budget = budget_of(step);
        let attained_ratio = 1.0 - sums.error_ratio()?;
        let (mut pages, mut tickets) = (0, 0);
        let mut before = self.firing(budget, |window| minutes.window(span.start, window));
        for end in span.start + 1..=span.end {
            let firing = self.firing(budget, |window| minutes.window(end, window));
            pages += u64::from(firing.page && !before.page);
            tickets += u64::from(firing.ticket && !before.ticket);
            before = firing;
        }
        let months = f64::from(span.end - span.start) / MINUTES_PER_30_DAYS;
        Some(Outcome {
            sli: step.sli,
            target: step.target,
            from: time_of(span.start),
            secs: u64::from(span.end - span.start) * 60,
            events: sums.observed_total,
            bad_events: sums.observed_bad,
            attained_ratio,
            // A hair less, since 1 − 1/1000 is not exactly 0.999.
            attained: attained_ratio >= step.target - 1e-12,
            budget_consumed_ratio: self.consumed(minutes, budget, span),
            pages,
            pages_per_30d_upper: poisson_rate_upper(pages, months, self.confidence),
            tickets,
            tickets_per_30d_upper: poisson_rate_upper(tickets, months, self.confidence),
        })
    }

    /// The share of the budget that is used over the worst period within a span, or over all of a shorter one.
    fn consumed(&self, minutes: &Minutes, budget: f64, span: Range<u32>) -> f64 {
        let period = minutes::minutes_of(self.period);
        let first_end = span.start.saturating_add(period).min(span.end);
        (first_end..=span.end)
            .filter_map(|end| {
                let start = end.saturating_sub(period).max(span.start);
                burn_rate(&minutes.between(start..end), budget)
            })
            .fold(0.0, f64::max)
    }
}

/// A history in two parts, and the means to replay the newer one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial<'a> {
    rows: &'a [MinuteRow],
    indicator: Indicator,
    settings: &'a Settings,
    alerts: Alerts,
    first: u32,
    fit_until: u32,
    end: u32,
}

impl<'a> Trial<'a> {
    /// Splits a history by time; where it is too short, says what is missing. `rows` are sorted by minute.
    pub(super) fn new(
        rows: &'a [MinuteRow],
        indicator: Indicator,
        settings: &'a Settings,
    ) -> Result<Self, String> {
        let first = minutes::first_minute(rows);
        let end = rows
            .last()
            .map_or(first, |row| row.minute.saturating_add(1));
        let replay = &settings.replay;
        let minutes =
            |duration: Duration| u32::try_from(duration.as_secs() / 60).unwrap_or(u32::MAX);
        let shared = share(end - first, replay.fit_ratio);
        let fitted = shared.max(minutes(replay.min_fit));
        if fitted.saturating_add(minutes(replay.min_holdout).max(1)) > end - first {
            let days = |duration: Duration| duration.as_secs_f64() / SECS_PER_DAY;
            return Err(format!(
                "a replay needs {} days of history to fit and {} to try it on; there are {} days in all",
                tenths(days(replay.min_fit)),
                tenths(days(replay.min_holdout)),
                tenths(f64::from(end - first) * 60.0 / SECS_PER_DAY),
            ));
        }
        Ok(Self {
            rows,
            indicator,
            settings,
            alerts: Alerts::new(settings),
            first,
            fit_until: first + fitted,
            end,
        })
    }

    /// What this step does over the hold-out; `None` where that has no events.
    pub(super) fn holdout(&self, step: Step) -> Option<Outcome> {
        let minutes = Minutes::of(self.rows, step.sli);
        self.alerts
            .outcome(&minutes, step, self.fit_until..self.end)
    }

    /// Everything that the replay tells of a step; `None` where the hold-out has no events.
    pub(super) fn replay(&self, step: Step) -> Option<Replay> {
        let minutes = Minutes::of(self.rows, step.sli);
        let holdout = self.fit_until..self.end;
        let starts = self.settings.replay.fault_starts;
        let faults = faults::faults_of(budget_of(step))
            .into_iter()
            .flat_map(|fault| {
                let times = (holdout.clone(), starts);
                faults::recall(&self.alerts, &minutes, step, fault, times)
            });
        Some(Replay {
            fitted_secs: u64::from(self.fit_until - self.first) * 60,
            fitted: self.step_before(self.fit_until),
            outcome: self.alerts.outcome(&minutes, step, holdout.clone())?,
            tighter: tighter(step).and_then(|step| self.holdout(step)),
            looser: looser(step).and_then(|step| self.holdout(step)),
            faults: faults.collect(),
            weeks: self.walk_forward(),
        })
    }

    /// Fits the past of each of the last weeks and replays that week.
    fn walk_forward(&self) -> Vec<Outcome> {
        if self.end - self.first < WALK_FORWARD_WEEKS * MINUTES_PER_WEEK {
            return Vec::new();
        }
        let fit = u32::try_from(self.settings.replay.min_fit.as_secs() / 60).unwrap_or(u32::MAX);
        let weeks = (self.end - self.first).saturating_sub(fit) / MINUTES_PER_WEEK;
        let starts = (1..=weeks)
            .rev()
            .map(|week| self.end - week * MINUTES_PER_WEEK);
        starts
            .filter_map(|start| {
                let step = self.step_before(start)?;
                let minutes = Minutes::of(self.rows, step.sli);
                let week = start..start + MINUTES_PER_WEEK;
                self.alerts.outcome(&minutes, step, week)
            })
            .collect()
    }

    /// The step that the data before a minute suggest by themselves.
    fn step_before(&self, minute: u32) -> Option<Step> {
        let before = self.rows.partition_point(|row| row.minute < minute);
        let data = DataUsed::of(self.rows.get(..before)?)?;
        let estimate = estimate(&data, self.indicator, self.settings)?;
        let is_carried = estimate.unsupported.is_none() && estimate.rejection.is_none();
        is_carried.then_some(estimate.step)
    }
}

/// The start of a minute.
pub(super) fn time_of(minute: u32) -> Timestamp {
    // Minutes in 32 bits end in the year 10136, later than any time stamp can be.
    Timestamp::from_second(i64::from(minute) * 60).unwrap_or(Timestamp::MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of at most 1, and the conversion saturates"
)]
fn share(minutes: u32, ratio: f64) -> u32 {
    (f64::from(minutes) * ratio) as u32
}
