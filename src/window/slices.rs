//! Slices of time: judged once they are over, over all series of an objective, and counted like events from then on.
//!
//! A slice is cut from midnight UTC. It waits `windows.late_after` for its events; those that come later are counted
//! here and change no slice. Expected slices are all those since the objective was first measured, whether anybody was
//! there to measure or not.

use std::collections::BTreeMap;
use std::ops::{AddAssign, Sub};
use std::sync::Arc;

use crate::model::NANOS_PER_SEC;
use crate::model::period::{ACCOUNT_DAYS, DayGrid};
use crate::model::slo::{Budgeting, EmptySlices, Objective};
use crate::model::window::{Window, WindowSums};
use crate::window::ledger::{ALL_SERIES, LedgerDay, LedgerRow};
use crate::window::rolling::{HELD_SECS, Tiers, WindowStarts};
use crate::window::snapshot::AllWindows;

const SECS_PER_DAY: u64 = 86_400;

/// A hair, since 0.99 and ratios of counts are not exact.
const RATIO_TOLERANCE: f64 = 1e-12;

/// What became of one slice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JudgedSlice {
    /// Slices since the Unix epoch.
    pub number: u32,
    /// Budget that it spends: 0 or 1, or any ratio between for [`Budgeting::RatioTimeslices`].
    pub bad: f64,
    /// Whether it is counted; an empty one may be excluded.
    pub is_expected: bool,
    /// Whether it had no events.
    pub is_empty: bool,
    /// Events in it.
    pub events: u64,
    /// Bad events in it; an empty slice that counts as bad stands for one.
    pub bad_events: u64,
}

/// Slices counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SliceSums {
    expected: f64,
    bad: f64,
    empty: u64,
    events: u64,
    bad_events: u64,
}

impl AddAssign for SliceSums {
    fn add_assign(&mut self, other: Self) {
        self.expected += other.expected;
        self.bad += other.bad;
        self.empty += other.empty;
        self.events += other.events;
        self.bad_events += other.bad_events;
    }
}

impl Sub for SliceSums {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self {
            expected: self.expected - other.expected,
            // Sums of ratios are not exact.
            bad: (self.bad - other.bad).max(0.0),
            empty: self.empty - other.empty,
            events: self.events - other.events,
            bad_events: self.bad_events - other.bad_events,
        }
    }
}

impl SliceSums {
    fn of(slice: JudgedSlice) -> Self {
        Self {
            expected: f64::from(u8::from(slice.is_expected)),
            bad: slice.bad,
            empty: u64::from(slice.is_empty),
            events: slice.events,
            bad_events: slice.bad_events,
        }
    }

    fn of_day(day: &LedgerDay) -> Self {
        Self {
            expected: day.sums.total,
            bad: day.sums.bad,
            empty: u64::from(day.empty_slices),
            events: day.sums.observed_total,
            bad_events: day.sums.observed_bad,
        }
    }

    fn window_sums(self) -> WindowSums {
        WindowSums {
            total: self.expected,
            bad: self.bad,
            squared: self.expected,
            observed_total: self.events,
            observed_bad: self.bad_events,
        }
    }
}

/// The slices of an objective, or of a composite.
#[derive(Clone, Debug)]
pub struct SliceAccount {
    key: Arc<str>,
    budgeting: Budgeting,
    slice_secs: u64,
    grid: DayGrid,
    windows: Tiers<SliceSums>,
    days: BTreeMap<u32, LedgerDay>,
    /// The first slice that is not judged yet; `None` before the first one is.
    next: Option<u32>,
    /// Slices before this one are in the days of an earlier run.
    kept_until: Option<u32>,
    changed_from: u32,
    late_events: u64,
}

impl SliceAccount {
    /// The empty account with this key, see [`Objective::account`]; `None` where events are counted.
    pub fn new(key: String, objective: &Objective) -> Option<Self> {
        Some(Self {
            key: key.into(),
            budgeting: objective.budgeting,
            slice_secs: objective.budgeting.slice()?.secs(),
            grid: objective.window.day_grid(),
            windows: Tiers::starting_at(0),
            days: BTreeMap::new(),
            next: None,
            kept_until: None,
            changed_from: u32::MAX,
            late_events: 0,
        })
    }

    /// Key of the account in the store.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Events that came after their slice was judged.
    pub fn late_events(&self) -> u64 {
        self.late_events
    }

    /// Goes on from the days of an earlier run; too late once slices have been judged.
    pub fn restore(&mut self, days: &[LedgerDay]) {
        if self.next.is_some() {
            return;
        }
        self.days = days.iter().map(|day| (day.day, *day)).collect();
        let until = days.iter().map(|day| day.judged_until_minute).max();
        self.kept_until = until.map(|minute| self.number_at(u64::from(minute) * 60));
    }

    /// Judges the slices that end at `until_secs` or before, given the events of those that had any.
    pub fn judge(
        &self,
        measured: &mut BTreeMap<u32, WindowSums>,
        until_secs: u64,
    ) -> Vec<JudgedSlice> {
        let first = [self.next, self.kept_until, first_of(measured)];
        let first = match first {
            [Some(next), ..] => Some(next),
            // The windows are rebuilt from the first slice of the history on.
            [None, kept, measured] => kept.into_iter().chain(measured).min(),
        };
        let until = self.number_at(until_secs);
        let held = u64::from(ACCOUNT_DAYS) * SECS_PER_DAY / self.slice_secs;
        let oldest = until.saturating_sub(u32::try_from(held).unwrap_or(u32::MAX));
        let first = first.unwrap_or(until).max(oldest);
        let slices = (first..until).map(|number| {
            let sums = measured.remove(&number).unwrap_or_default();
            self.judge_one(number, sums)
        });
        slices.collect()
    }

    fn judge_one(&self, number: u32, sums: WindowSums) -> JudgedSlice {
        let slice_target = match self.budgeting {
            Budgeting::Timeslices { slice_target, .. } => Some(slice_target),
            Budgeting::Occurrences | Budgeting::RatioTimeslices { .. } => None,
        };
        let (bad, is_expected, bad_events) = match (sums.error_ratio(), slice_target) {
            (None, _) => match self.budgeting.empty_slices() {
                EmptySlices::Good => (0.0, true, 0),
                EmptySlices::Bad => (1.0, true, 1),
                EmptySlices::Excluded => (0.0, false, 0),
            },
            (Some(_), Some(target)) => {
                let good_ratio = (sums.total - sums.bad) / sums.total;
                let is_bad = good_ratio < target - RATIO_TOLERANCE;
                (f64::from(u8::from(is_bad)), true, sums.observed_bad)
            }
            (Some(ratio), None) => (ratio, true, sums.observed_bad),
        };
        JudgedSlice {
            number,
            bad,
            is_expected,
            is_empty: sums.error_ratio().is_none(),
            events: sums.observed_total,
            bad_events,
        }
    }

    /// Counts judged slices, in order; every slice that ends at `until_secs` or before is judged then.
    pub fn record(&mut self, slices: impl IntoIterator<Item = JudgedSlice>, until_secs: u64) {
        let mut slices = slices.into_iter().peekable();
        if self.next.is_none() && slices.peek().is_none() && self.kept_until.is_none() {
            return;
        }
        if self.next.is_none() {
            let first = slices.peek().map(|slice| slice.number);
            self.restore_windows(first, until_secs);
        }
        let next = self.next.unwrap_or(0);
        self.next = Some(next.max(self.number_at(until_secs)));
        // A composite may hear of slices that it has counted without this member.
        for slice in slices.filter(|slice| slice.number >= next) {
            let secs = u64::from(slice.number) * self.slice_secs;
            self.windows.add(secs, SliceSums::of(slice));
            if self.kept_until.is_none_or(|kept| slice.number >= kept) {
                self.record_in_day(slice, secs);
            }
        }
    }

    fn record_in_day(&mut self, slice: JudgedSlice, secs: u64) {
        let number = self.grid.day(secs).number;
        let day = self.days.entry(number).or_insert(LedgerDay {
            day: number,
            ..LedgerDay::default()
        });
        day.sums = day.sums.plus(SliceSums::of(slice).window_sums());
        day.empty_slices += u32::from(slice.is_empty);
        let end_minute = (secs + self.slice_secs) / 60;
        day.judged_until_minute = day.judged_until_minute.max(cell(end_minute));
        self.changed_from = self.changed_from.min(number);
        if self.days.len() > ACCOUNT_DAYS as usize {
            self.days.pop_first();
        }
    }

    /// Days of the earlier run stand in for the slices before the first that the history has.
    fn restore_windows(&mut self, first: Option<u32>, until_secs: u64) {
        let first_secs = first.map_or(until_secs, |number| u64::from(number) * self.slice_secs);
        for day in self.days.values() {
            let start = self.grid.start_secs(day.day);
            let is_held = start + HELD_SECS >= until_secs;
            if is_held && self.grid.start_secs(day.day + 1) <= first_secs {
                self.windows.add(start, SliceSums::of_day(day));
            }
        }
    }

    /// Counts events whose slice was judged before they came.
    pub fn add_late(&mut self, measured: &BTreeMap<u32, WindowSums>) {
        let late = measured.values().map(|sums| sums.observed_total);
        self.late_events += late.sum::<u64>();
    }

    /// All windows, which end with the newest judged slice, and the empty slices of each.
    pub fn windows(&self) -> (AllWindows, [u64; Window::ALL.len()]) {
        let now = u64::from(self.next.unwrap_or(0)) * self.slice_secs * NANOS_PER_SEC;
        let sums = self.windows.windows(&WindowStarts::at(now));
        (
            sums.map(SliceSums::window_sums),
            sums.map(|sums| sums.empty),
        )
    }

    /// The slices since a day began, and how many of them were empty.
    pub fn since_day(&self, first: u32) -> (WindowSums, u64) {
        let days = self.days.range(first..);
        days.fold((WindowSums::default(), 0), |(sums, empty), (_, day)| {
            (sums.plus(day.sums), empty + u64::from(day.empty_slices))
        })
    }

    /// The days that changed since the last call.
    pub fn take_changed_days(&mut self) -> Vec<LedgerRow> {
        let from = std::mem::replace(&mut self.changed_from, u32::MAX);
        let rows = self.days.range(from..).map(|(_, day)| LedgerRow {
            objective: Arc::clone(&self.key),
            series: ALL_SERIES,
            day: *day,
        });
        rows.collect()
    }

    fn number_at(&self, secs: u64) -> u32 {
        cell(secs / self.slice_secs)
    }
}

/// Adds a member's slices to those of its composite: a slice is bad if any member's is, and shortfalls of ratios add up by
/// weight.
pub fn combine(
    composite: &mut BTreeMap<u32, JudgedSlice>,
    member: &[JudgedSlice],
    weight: f64,
    budgeting: Budgeting,
) {
    for slice in member {
        let bad = match budgeting {
            Budgeting::RatioTimeslices { .. } => weight * slice.bad,
            Budgeting::Timeslices { .. } | Budgeting::Occurrences => slice.bad,
        };
        let whole = composite.entry(slice.number).or_insert(JudgedSlice {
            number: slice.number,
            bad: 0.0,
            is_expected: false,
            is_empty: true,
            events: 0,
            bad_events: 0,
        });
        whole.bad = match budgeting {
            Budgeting::RatioTimeslices { .. } => (whole.bad + bad).min(1.0),
            Budgeting::Timeslices { .. } | Budgeting::Occurrences => whole.bad.max(bad),
        };
        whole.is_expected |= slice.is_expected;
        whole.is_empty &= slice.is_empty;
        whole.events += slice.events;
        whole.bad_events += slice.bad_events;
    }
}

fn first_of(measured: &BTreeMap<u32, WindowSums>) -> Option<u32> {
    measured.first_key_value().map(|(number, _)| *number)
}

fn cell(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
