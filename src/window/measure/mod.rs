//! What adopted objectives and composites measured at an instant, in every window and in the period of their budget.
//!
//! A period that is a held window is answered by it; every other one is the sum of its days.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use crate::model::UnixNanos;
use crate::model::period::Period;
use crate::model::slo::{Budgeting, Objective};
use crate::model::window::{Window, WindowSums};
use crate::window::ledger::Ledger;
use crate::window::rolling::WindowStarts;
use crate::window::slices::SliceAccount;
use crate::window::snapshot::{AllWindows, window_of};
use crate::window::windows::{Accounts, Slot, Windows};

/// One adopted objective at an instant, over the series that it selects.
#[derive(Clone, Debug)]
pub struct ObjectiveView {
    /// The objective.
    pub objective: Arc<Objective>,
    /// What the budget counts, events or slices of time, in all windows.
    pub windows: AllWindows,
    /// The same in the period of the budget.
    pub period: PeriodSums,
    /// Events since the beginning, monotonic.
    pub since_start: WindowSums,
}

/// A composite at an instant whose members count slices of time.
#[derive(Clone, Debug)]
pub struct CompositeView {
    /// Its name.
    pub name: String,
    /// Its slices in all windows.
    pub windows: AllWindows,
    /// The same in the period of the budget.
    pub period: PeriodSums,
}

/// What the budget counts in an objective's period.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PeriodSums {
    /// Events, or slices of time that were expected; `observed_*` are events in both cases.
    pub sums: WindowSums,
    /// Slices without events.
    pub empty_slices: u64,
    /// Events that came too late to change their slice, since the start.
    pub late_events: u64,
    /// The calendar period; `None` for rolling ones.
    pub calendar: Option<CalendarBounds>,
}

/// The calendar period that holds an instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CalendarBounds {
    /// Its first nanosecond.
    pub start: UnixNanos,
    /// The first nanosecond of the next one.
    pub end: UnixNanos,
    /// Share of it that has passed, 0 to 1.
    pub elapsed_ratio: f64,
}

impl CalendarBounds {
    fn at(now: UnixNanos, (start, end): (UnixNanos, UnixNanos)) -> Self {
        let elapsed = now.saturating_sub(start) as f64;
        let length = end.saturating_sub(start).max(1) as f64;
        Self {
            start,
            end,
            elapsed_ratio: (elapsed / length).min(1.0),
        }
    }
}

impl Windows {
    /// All windows of the adopted objectives: the hot part of a tick.
    pub fn objectives(&self, now: UnixNanos) -> Vec<ObjectiveView> {
        let adopted = self
            .objectives
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let index: HashMap<&str, usize> = adopted
            .iter()
            .enumerate()
            .map(|(at, objective)| (objective.name.as_str(), at))
            .collect();
        let mut period_starts = PeriodStarts::at(now);
        let own_starts: Vec<PeriodStart> = adopted
            .iter()
            .map(|objective| period_starts.of(objective))
            .collect();
        let mut views: Vec<ObjectiveView> = {
            let accounts = self.accounts();
            let all = adopted.iter().zip(&own_starts);
            all.map(|(objective, start)| view_of_objective(objective, start, &accounts))
                .collect()
        };
        let starts = WindowStarts::at(now);
        for slot in &self.map {
            let Slot::Series(series) = slot.value() else {
                continue;
            };
            for ledger in series.ledgers() {
                let Some(at) = index.get(&**ledger.name()) else {
                    continue;
                };
                if let (Some(view), Some(start)) = (views.get_mut(*at), own_starts.get(*at)) {
                    view.add(ledger, start, &starts);
                }
            }
        }
        for (view, start) in views.iter_mut().zip(&own_starts) {
            if let (Some(window), Budgeting::Occurrences) = (start.window, view.objective.budgeting)
            {
                view.period.sums = view.window(window);
            }
        }
        views
    }

    /// The composites that count slices of time, by name.
    pub fn composites(&self, now: UnixNanos) -> Vec<CompositeView> {
        let mut starts = PeriodStarts::at(now);
        let accounts = self.accounts();
        let composites = accounts.composites.iter();
        let views = composites.filter_map(|(name, composite)| {
            let start = starts.of(composite.members().next()?);
            let (windows, period) = slices_of(&composite.slices, &start);
            Some(CompositeView {
                name: name.clone(),
                windows,
                period,
            })
        });
        views.collect()
    }
}

impl ObjectiveView {
    fn add(&mut self, ledger: &Ledger, start: &PeriodStart, starts: &WindowStarts) {
        self.since_start = self.since_start.plus(ledger.tally().since_start());
        if self.objective.budgeting != Budgeting::Occurrences {
            return;
        }
        for (sums, own) in self.windows.iter_mut().zip(ledger.tally().windows(starts)) {
            *sums = sums.plus(own);
        }
        if start.window.is_none() {
            let sums = &mut self.period.sums;
            *sums = sums.plus(ledger.since_day(start.first_day));
        }
    }

    /// The sums of one window.
    pub fn window(&self, window: Window) -> WindowSums {
        window_of(&self.windows, window)
    }
}

/// Where the period of an objective begins.
#[derive(Clone, Copy, Debug)]
struct PeriodStart {
    /// The held window that is the period; else its days are summed.
    window: Option<Window>,
    first_day: u32,
    calendar: Option<CalendarBounds>,
}

/// Works out where periods begin; objectives that follow each other mostly have the same one.
struct PeriodStarts {
    now: UnixNanos,
    last: Option<(Period, PeriodStart)>,
}

impl PeriodStarts {
    fn at(now: UnixNanos) -> Self {
        Self { now, last: None }
    }

    fn of(&mut self, objective: &Objective) -> PeriodStart {
        let period = &objective.window;
        if let Some((last, start)) = &self.last
            && last == period
        {
            return *start;
        }
        let window = period.window();
        let start = PeriodStart {
            window,
            first_day: window.map_or_else(|| period.first_day(self.now), |_| 0),
            calendar: period
                .bounds(self.now)
                .map(|bounds| CalendarBounds::at(self.now, bounds)),
        };
        self.last = Some((period.clone(), start));
        start
    }
}

/// The view before the series that are held have been added.
fn view_of_objective(
    objective: &Arc<Objective>,
    start: &PeriodStart,
    accounts: &Accounts,
) -> ObjectiveView {
    let name: &str = &objective.name;
    let (windows, period) = match accounts.slices.get(name) {
        Some(slices) => slices_of(slices, start),
        None => (
            AllWindows::default(),
            PeriodSums {
                sums: match start.window {
                    Some(_) => WindowSums::default(),
                    None => accounts.dormant_since(name, start.first_day),
                },
                calendar: start.calendar,
                ..PeriodSums::default()
            },
        ),
    };
    ObjectiveView {
        objective: Arc::clone(objective),
        windows,
        period,
        since_start: WindowSums::default(),
    }
}

fn slices_of(slices: &SliceAccount, start: &PeriodStart) -> (AllWindows, PeriodSums) {
    let (windows, empty) = slices.windows();
    let (sums, empty_slices) = match start.window {
        None => slices.since_day(start.first_day),
        Some(window) => {
            let at = Window::ALL.iter().position(|held| *held == window);
            let empty = at.and_then(|at| empty.get(at)).copied();
            (window_of(&windows, window), empty.unwrap_or_default())
        }
    };
    let period = PeriodSums {
        sums,
        empty_slices,
        late_events: slices.late_events(),
        calendar: start.calendar,
    };
    (windows, period)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "counts are whole numbers")]
mod tests;
