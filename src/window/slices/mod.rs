//! Slices of time: judged once they are over, over all series of an objective, and counted like events from then on.
//!
//! A slice is cut from midnight UTC. It is judged once it has waited `windows.late_after` for its events, and again when
//! events come later, as long as it is one of the newest slices. Expected slices are all those since the objective was
//! first measured, whether anybody was there to measure or not.

use std::collections::BTreeMap;
use std::ops::{AddAssign, Sub};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::NANOS_PER_SEC;
use crate::model::period::{ACCOUNT_DAYS, DayGrid};
use crate::model::slo::{Budgeting, EmptySlices, Objective};
use crate::model::window::{Window, WindowSums};
use crate::window::ledger::{ALL_SERIES, LedgerDay, LedgerRow};
use crate::window::rolling::{HELD_SECS, Tiers, WindowStarts};
use crate::window::snapshot::AllWindows;

const SECS_PER_DAY: u64 = 86_400;

/// Newest slices that late events can change: a day of minutes, sixty days of hours.
const CORRECTABLE_SLICES: u32 = 1_440;

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

/// Slices counted; differences of these correct what was counted before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SliceSums {
    expected: f64,
    bad: f64,
    empty: f64,
    events: f64,
    bad_events: f64,
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
            bad: self.bad - other.bad,
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
            empty: f64::from(u8::from(slice.is_empty)),
            events: slice.events as f64,
            bad_events: slice.bad_events as f64,
        }
    }

    fn of_day(day: &LedgerDay) -> Self {
        Self {
            expected: day.sums.total,
            bad: day.sums.bad,
            empty: f64::from(day.empty_slices),
            events: day.sums.observed_total as f64,
            bad_events: day.sums.observed_bad as f64,
        }
    }

    fn window_sums(self) -> WindowSums {
        WindowSums {
            total: self.expected,
            // Sums of ratios are not exact.
            bad: self.bad.max(0.0),
            squared: self.expected,
            observed_total: count(self.events),
            observed_bad: count(self.bad_events),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole and not below 0"
)]
fn count(counted: f64) -> u64 {
    counted.max(0.0) as u64
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
    /// The first slice that was judged in this run.
    first: u32,
    /// The first slice that is not judged yet; `None` before the first one is.
    next: Option<u32>,
    /// Events of those of the newest slices that had any.
    recent: BTreeMap<u32, WindowSums>,
    /// Slices before this one are in the days of an earlier run.
    kept_until: Option<u32>,
    changed_from: u32,
    late_events: u64,
}

/// What an account knows, as a checkpoint has it; its objective says the rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SliceState {
    key: Arc<str>,
    windows: Tiers<SliceSums>,
    days: BTreeMap<u32, LedgerDay>,
    first: u32,
    next: Option<u32>,
    recent: BTreeMap<u32, WindowSums>,
    kept_until: Option<u32>,
    changed_from: u32,
    late_events: u64,
}

impl SliceAccount {
    /// What it knows.
    pub fn state(&self) -> SliceState {
        SliceState {
            key: Arc::clone(&self.key),
            windows: self.windows.clone(),
            days: self.days.clone(),
            first: self.first,
            next: self.next,
            recent: self.recent.clone(),
            kept_until: self.kept_until,
            changed_from: self.changed_from,
            late_events: self.late_events,
        }
    }

    /// Goes on from what an account with the same key knew.
    pub fn load(&mut self, state: SliceState) {
        if state.key != self.key {
            return;
        }
        self.windows = state.windows;
        self.days = state.days;
        self.first = state.first;
        self.next = state.next;
        self.recent = state.recent;
        self.kept_until = state.kept_until;
        self.changed_from = state.changed_from;
        self.late_events = state.late_events;
    }

    /// The empty account with this key, see [`Objective::account`]; `None` where events are counted.
    pub fn new(key: String, objective: &Objective) -> Option<Self> {
        Some(Self {
            key: key.into(),
            budgeting: objective.budgeting,
            slice_secs: objective.budgeting.slice()?.secs(),
            grid: objective.window.day_grid(),
            windows: Tiers::starting_at(0),
            days: BTreeMap::new(),
            first: 0,
            next: None,
            recent: BTreeMap::new(),
            kept_until: None,
            changed_from: u32::MAX,
            late_events: 0,
        })
    }

    /// Key of the account in the store.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Events that came too late to change their slice.
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

    /// Splits off the events of slices that are judged already.
    pub fn take_late(&self, measured: &mut BTreeMap<u32, WindowSums>) -> BTreeMap<u32, WindowSums> {
        let on_time = measured.split_off(&self.next.unwrap_or(0));
        std::mem::replace(measured, on_time)
    }

    /// Judges the slices that end at `until_secs` or before, given the events of those that had any.
    pub fn judge(
        &mut self,
        mut measured: BTreeMap<u32, WindowSums>,
        until_secs: u64,
    ) -> Vec<JudgedSlice> {
        let until = self.number_at(until_secs);
        // After a start the windows are rebuilt from the first slice of the history on.
        let known = measured.keys().next().copied();
        let first = self.next.or(known.into_iter().chain(self.kept_until).min());
        let held = u64::from(ACCOUNT_DAYS) * SECS_PER_DAY / self.slice_secs;
        let oldest = until.saturating_sub(cell(held));
        let numbers = first.unwrap_or(until).max(oldest)..until;
        let slices = numbers.map(|number| {
            let sums = measured.get(&number).copied().unwrap_or_default();
            self.judge_one(number, sums)
        });
        let slices = slices.collect();
        self.recent.append(&mut measured);
        self.recent = self
            .recent
            .split_off(&until.saturating_sub(CORRECTABLE_SLICES));
        slices
    }

    /// Judges again the slices of events that came late. Call [`Self::take_late`] for them.
    pub fn add_late(&mut self, late: &BTreeMap<u32, WindowSums>) {
        for (number, sums) in late {
            let Some(before) = self.judged(*number) else {
                self.late_events += sums.observed_total;
                continue;
            };
            let events = self.recent.entry(*number).or_default();
            *events = events.plus(*sums);
            let events = *events;
            self.correct(before, self.judge_one(*number, events));
        }
    }

    /// What became of a slice, while it can still change.
    pub fn judged(&self, number: u32) -> Option<JudgedSlice> {
        self.is_correctable(number).then(|| {
            let events = self.recent.get(&number).copied();
            self.judge_one(number, events.unwrap_or_default())
        })
    }

    /// Counts a slice as it became instead of as it was.
    pub fn correct(&mut self, before: JudgedSlice, after: JudgedSlice) {
        if self.is_correctable(after.number) {
            let change = SliceSums::of(after) - SliceSums::of(before);
            self.windows.add(self.start_secs(after.number), change);
            self.change_day(after.number, change);
        }
    }

    fn is_correctable(&self, number: u32) -> bool {
        let end = self.next.unwrap_or(0);
        let start = end.saturating_sub(CORRECTABLE_SLICES).max(self.first);
        (start..end).contains(&number)
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
        let until = self.number_at(until_secs);
        let next = match (self.next, slices.peek()) {
            (None, None) if self.kept_until.is_none() => return,
            (Some(next), _) => next,
            (None, first) => {
                self.first = first.map_or(until, |slice| slice.number);
                self.restore_windows(until);
                self.first
            }
        };
        self.next = Some(next.max(until));
        // A composite may hear of slices that it has counted without this member.
        for slice in slices.filter(|slice| slice.number >= next) {
            let sums = SliceSums::of(slice);
            self.windows.add(self.start_secs(slice.number), sums);
            if self.kept_until.is_none_or(|kept| slice.number >= kept) {
                self.change_day(slice.number, sums);
            }
        }
    }

    fn change_day(&mut self, slice: u32, change: SliceSums) {
        let secs = self.start_secs(slice);
        let number = self.grid.day(secs).number;
        let day = self.days.entry(number).or_insert(LedgerDay {
            day: number,
            ..LedgerDay::default()
        });
        let mut sums = SliceSums::of_day(day);
        sums += change;
        day.sums = sums.window_sums();
        day.empty_slices = cell(count(sums.empty));
        let end_minute = (secs + self.slice_secs) / 60;
        day.judged_until_minute = day.judged_until_minute.max(cell(end_minute));
        self.changed_from = self.changed_from.min(number);
        if self.days.len() > ACCOUNT_DAYS as usize {
            self.days.pop_first();
        }
    }

    /// Days of the earlier run stand in for the slices before the first that the history has.
    fn restore_windows(&mut self, until: u32) {
        let (first_secs, until_secs) = (self.start_secs(self.first), self.start_secs(until));
        for day in self.days.values() {
            let start = self.grid.start_secs(day.day);
            let is_held = start + HELD_SECS >= until_secs;
            if is_held && self.grid.start_secs(day.day + 1) <= first_secs {
                self.windows.add(start, SliceSums::of_day(day));
            }
        }
    }

    /// All windows, which end with the newest judged slice, and the empty slices of each.
    pub fn windows(&self) -> (AllWindows, [u64; Window::ALL.len()]) {
        let now = self.start_secs(self.next.unwrap_or(0)) * NANOS_PER_SEC;
        let sums = self.windows.windows(&WindowStarts::at(now));
        (
            sums.map(SliceSums::window_sums),
            sums.map(|sums| count(sums.empty)),
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

    fn start_secs(&self, slice: u32) -> u64 {
        u64::from(slice) * self.slice_secs
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

fn cell(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "counts are whole numbers")]
mod tests;
