//! The account of an adopted objective on one series: good and bad events in all windows, and by day or by slice.
//!
//! The windows answer burn rates. Days answer budgets of calendar periods and of those beyond thirty days; where slices
//! of time are judged, events are summed by slice instead, until [`crate::window::slices`] takes them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::history::MinuteRow;
use crate::model::period::{ACCOUNT_DAYS, Day, DayGrid, Shorthand};
use crate::model::series::SeriesId;
use crate::model::slo::{Objective, Sli};
use crate::model::window::WindowSums;
use crate::model::{NANOS_PER_SEC, UnixNanos};
use crate::window::rolling::{HELD_SECS, Occurrence, Tally, sums_of_one};
use crate::window::sketch::bucket_bounds_micros;

/// Days that an account keeps.
pub const LEDGER_DAYS: usize = ACCOUNT_DAYS as usize;

/// The row of what belongs to no series: slices, which are judged over all of them.
pub const ALL_SERIES: SeriesId = SeriesId(0);

/// One day of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LedgerDay {
    /// Days since 1970-01-01 by the clock of the objective's period: UTC for rolling ones.
    pub day: u32,
    /// What the budget counts: events, or slices of time. `observed_*` are events in both cases.
    pub sums: WindowSums,
    /// Slices without events.
    pub empty_slices: u32,
    /// Minutes since the Unix epoch up to which slices were judged when the day was kept; 0 where events are counted.
    pub judged_until_minute: u32,
}

/// An objective's account on one series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    name: Arc<str>,
    account: Arc<str>,
    threshold_nanos: Option<u64>,
    tally: Tally,
    cells: Cells,
}

/// A day of an account with what it belongs to, as the store keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// The account, see [`Objective::account`].
    pub objective: Arc<str>,
    /// The series, or [`ALL_SERIES`].
    pub series: SeriesId,
    /// One of its days.
    pub day: LedgerDay,
}

impl Ledger {
    /// An empty account that counts from now on.
    pub fn new(objective: &Objective, now: UnixNanos) -> Self {
        let threshold_nanos = match objective.sli {
            Sli::Latency { threshold_micros } => Some(threshold_micros.saturating_mul(1_000)),
            Sli::Availability | Sli::ErrorRate => None,
        };
        let grid = match objective.budgeting.slice() {
            None => Grid::Days(objective.window.day_grid()),
            Some(slice) => Grid::slices(slice),
        };
        Self {
            name: objective.name.as_str().into(),
            account: objective.account().into(),
            threshold_nanos,
            tally: Tally::starting_at(now),
            cells: Cells::new(grid),
        }
    }

    /// Name of the objective.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The windows.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Counts an event; errors are not part of a latency objective.
    #[inline]
    pub fn record(&mut self, event: Occurrence, duration_nanos: u64) {
        let event = match self.threshold_nanos {
            None => event,
            Some(_) if event.bad => return,
            Some(threshold) => Occurrence {
                bad: duration_nanos > threshold,
                ..event
            },
        };
        self.tally.record(event);
        if event.windowed {
            let secs = event.at / NANOS_PER_SEC;
            self.cells.add(secs, sums_of_one(event.bad, event.weight));
        }
    }

    /// Counts a past minute of the series' history. Latency is as exact as the history's buckets.
    pub fn replay(&mut self, row: &MinuteRow) {
        let sums = match self.threshold_nanos {
            None => row.sums,
            Some(threshold) => latency_sums(row, threshold / 1_000),
        };
        if sums.observed_total == 0 {
            return;
        }
        let secs = u64::from(row.minute) * 60;
        self.tally.record_sums(secs * NANOS_PER_SEC, sums);
        self.cells.add(secs, sums);
    }

    /// Goes on from the counters of an earlier run.
    pub fn carry(&mut self, sums: WindowSums) {
        self.tally.carry(sums);
    }

    /// Begins the counters anew.
    pub fn forget_counters(&mut self) {
        self.tally.forget_counters();
    }

    /// The account, see [`Objective::account`].
    pub fn account(&self) -> &Arc<str> {
        &self.account
    }

    /// Puts days of an earlier run in place of those that are here, unless these know more events; the windows keep what
    /// they have.
    pub fn restore_days(&mut self, days: impl IntoIterator<Item = LedgerDay>) {
        for day in days {
            self.cells.replace(day.day, day.sums);
        }
    }

    /// The events since a day began.
    pub fn since_day(&self, first: u32) -> WindowSums {
        self.cells.since(first)
    }

    /// The days that changed since the last call; none where slices are judged.
    pub fn take_changed_days(&mut self, series: SeriesId) -> Vec<LedgerRow> {
        if self.cells.grid.slice_secs().is_some() {
            return Vec::new();
        }
        let rows = self
            .cells
            .take_changed()
            .iter()
            .map(|(day, sums)| LedgerRow {
                objective: Arc::clone(&self.account),
                series,
                day: LedgerDay {
                    day: *day,
                    sums: *sums,
                    ..LedgerDay::default()
                },
            });
        rows.collect()
    }

    /// Takes the slices that end at `until_secs` or before, the oldest first; none where days are counted.
    pub fn take_slices(&mut self, until_secs: u64) -> Vec<(u32, WindowSums)> {
        match self.cells.grid.slice_secs() {
            None => Vec::new(),
            Some(slice_secs) => self.cells.take_before(cell_number(until_secs / slice_secs)),
        }
    }

    /// Adds the account of another instance.
    pub fn merge(&mut self, other: &Self) {
        self.tally.merge(&other.tally);
        for (number, sums) in &other.cells.sums {
            self.cells.add_to(*number, *sums);
        }
    }
}

/// What the cells of an account are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Grid {
    Days(DayGrid),
    Slices { secs: u64 },
}

impl Grid {
    fn slices(slice: Shorthand) -> Self {
        Self::Slices { secs: slice.secs() }
    }

    fn slice_secs(&self) -> Option<u64> {
        match self {
            Self::Days(_) => None,
            Self::Slices { secs } => Some(*secs),
        }
    }

    fn cell(&self, secs: u64) -> Day {
        match self {
            Self::Days(grid) => grid.day(secs),
            Self::Slices { secs: width } => {
                let number = secs / width;
                Day {
                    number: cell_number(number),
                    from_secs: number * width,
                    until_secs: (number + 1).saturating_mul(*width),
                }
            }
        }
    }

    /// Cells that are kept: 400 days, or all slices that events may come for.
    fn cells_max(&self) -> usize {
        match self {
            Self::Days(_) => LEDGER_DAYS,
            Self::Slices { secs } => {
                usize::try_from(HELD_SECS / secs).map_or(usize::MAX, |n| n + 60)
            }
        }
    }
}

/// Sums by day or by slice. An event in the newest cell costs one comparison more than adding it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Cells {
    grid: Grid,
    /// By number of the cell, sorted.
    sums: Vec<(u32, WindowSums)>,
    /// First second of the newest cell.
    newest_secs: u64,
    /// Length of the newest cell; 0 until it is known.
    newest_length_secs: u64,
    /// Oldest cell that changed since the changes were last taken.
    changed_from: u32,
}

impl Cells {
    fn new(grid: Grid) -> Self {
        Self {
            grid,
            sums: Vec::new(),
            newest_secs: 0,
            newest_length_secs: 0,
            changed_from: u32::MAX,
        }
    }

    #[inline]
    fn add(&mut self, secs: u64, amount: WindowSums) {
        if secs.wrapping_sub(self.newest_secs) < self.newest_length_secs
            && let Some((number, newest)) = self.sums.last_mut()
        {
            *newest = newest.plus(amount);
            self.changed_from = self.changed_from.min(*number);
        } else {
            self.add_elsewhere(secs, amount);
        }
    }

    #[cold]
    fn add_elsewhere(&mut self, secs: u64, amount: WindowSums) {
        let cell = self.grid.cell(secs);
        self.add_to(cell.number, amount);
        if self
            .sums
            .last()
            .is_some_and(|(number, _)| *number == cell.number)
        {
            self.newest_secs = cell.from_secs;
            self.newest_length_secs = cell.until_secs - cell.from_secs;
        }
    }

    fn add_to(&mut self, number: u32, amount: WindowSums) {
        if let Some(sums) = self.cell_mut(number) {
            *sums = sums.plus(amount);
            self.changed_from = self.changed_from.min(number);
        }
    }

    /// Puts in what is kept already, so that it is no change. What a log brought back is more than that.
    fn replace(&mut self, number: u32, sums: WindowSums) {
        if let Some(held) = self.cell_mut(number)
            && held.observed_total <= sums.observed_total
        {
            *held = sums;
        }
    }

    /// The cell with this number; `None` if it is older than all of those that there is room for.
    fn cell_mut(&mut self, number: u32) -> Option<&mut WindowSums> {
        let position = match self.sums.binary_search_by_key(&number, |(held, _)| *held) {
            Ok(position) => position,
            Err(position) => {
                let is_full = self.sums.len() >= self.grid.cells_max();
                if is_full && position == 0 {
                    return None;
                }
                self.sums.insert(position, (number, WindowSums::default()));
                if is_full {
                    self.sums.remove(0);
                }
                // Another cell may be the newest now.
                self.newest_length_secs = 0;
                position - usize::from(is_full)
            }
        };
        self.sums.get_mut(position).map(|(_, sums)| sums)
    }

    fn since(&self, first: u32) -> WindowSums {
        let from = self.sums.partition_point(|(number, _)| *number < first);
        let cells = self.sums.iter().skip(from);
        cells.fold(WindowSums::default(), |sums, (_, cell)| sums.plus(*cell))
    }

    fn take_changed(&mut self) -> &[(u32, WindowSums)] {
        let from = std::mem::replace(&mut self.changed_from, u32::MAX);
        let first = self.sums.partition_point(|(number, _)| *number < from);
        self.sums.get(first..).unwrap_or_default()
    }

    fn take_before(&mut self, end: u32) -> Vec<(u32, WindowSums)> {
        let taken = self.sums.partition_point(|(number, _)| *number < end);
        if taken == self.sums.len() {
            self.newest_length_secs = 0;
        }
        self.sums.drain(..taken).collect()
    }
}

fn cell_number(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Events without an error of a past minute, the slower ones bad. A bucket is good if all of it is within the
/// threshold.
pub fn latency_sums(row: &MinuteRow, threshold_micros: u64) -> WindowSums {
    let (mut counted, mut slow) = (0_u64, 0_u64);
    for (bucket, count) in &row.latency {
        counted += count;
        if bucket_bounds_micros(*bucket).1 > threshold_micros {
            slow += count;
        }
    }
    let slow_ratio = if counted == 0 {
        0.0
    } else {
        slow as f64 / counted as f64
    };
    let total = row.sums.total - row.sums.bad;
    let observed_total = row.sums.observed_total - row.sums.observed_bad;
    let share = if row.sums.total > 0.0 {
        total / row.sums.total
    } else {
        0.0
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a count"
    )]
    let observed_bad = (slow_ratio * observed_total as f64).round() as u64;
    WindowSums {
        total,
        bad: slow_ratio * total,
        squared: row.sums.squared * share,
        observed_total,
        observed_bad,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::period::{CalendarPeriod, Period};
    use crate::model::slo::{Budgeting, EmptySlices};
    use crate::model::window::Window;
    use crate::window::sketch::bucket_of;

    const NOW: UnixNanos = 1_700_006_400 * NANOS_PER_SEC;
    const DAY: UnixNanos = 86_400 * NANOS_PER_SEC;

    fn objective(sli: Sli) -> Objective {
        Objective::new("o", "s", sli, 0.9)
    }

    fn event(at: UnixNanos, bad: bool) -> Occurrence {
        Occurrence {
            at,
            bad,
            weight: 1.0,
            windowed: true,
        }
    }

    #[test]
    fn a_latency_objective_counts_slow_events_and_ignores_errors() {
        let mut ledger = Ledger::new(
            &objective(Sli::Latency {
                threshold_micros: 100_000,
            }),
            NOW,
        );
        ledger.record(event(NOW, false), 100_000_000);
        ledger.record(event(NOW, false), 100_000_001);
        ledger.record(event(NOW, true), 1);
        let sums = ledger.tally().window(NOW, Window::H1);
        assert_eq!((sums.observed_total, sums.observed_bad), (2, 1));
    }

    #[test]
    fn days_are_kept_in_order_and_bounded() {
        let mut ledger = Ledger::new(&objective(Sli::Availability), NOW);
        for day in (0..500_u64).rev().step_by(2).chain((0..500).step_by(2)) {
            ledger.record(event(NOW + day * DAY, false), 0);
        }
        let cells = &ledger.cells.sums;
        assert!(cells.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(cells.len(), LEDGER_DAYS);
        let last = u32::try_from((NOW + 499 * DAY) / DAY).unwrap();
        assert_eq!(cells.last().unwrap().0, last);
    }

    #[test]
    fn slices_are_taken_once_they_are_over_and_come_back_for_late_events() {
        let minute = 60 * NANOS_PER_SEC;
        let by_minutes = Budgeting::RatioTimeslices {
            slice: "1m".parse().unwrap(),
            empty: EmptySlices::Good,
        };
        let objective = Objective {
            budgeting: by_minutes,
            ..objective(Sli::Availability)
        };
        let mut ledger = Ledger::new(&objective, NOW);
        ledger.record(event(NOW, true), 0);
        ledger.record(event(NOW + minute - 1, false), 0);
        ledger.record(event(NOW + minute, false), 0);
        let taken = |ledger: &mut Ledger, until: UnixNanos| -> Vec<(u64, u64)> {
            let slices = ledger.take_slices(until / NANOS_PER_SEC);
            let sums = slices.iter().map(|(number, sums)| {
                let since = u64::from(*number) - NOW / minute;
                (since, sums.observed_total)
            });
            sums.collect()
        };
        assert_eq!(taken(&mut ledger, NOW + minute - NANOS_PER_SEC), []);
        assert_eq!(taken(&mut ledger, NOW + minute), [(0, 2)]);
        ledger.record(event(NOW, false), 0);
        ledger.record(event(NOW + minute, false), 0);
        assert_eq!(taken(&mut ledger, NOW + 2 * minute), [(0, 1), (1, 2)]);
        assert!(ledger.take_changed_days(SeriesId(1)).is_empty());
    }

    proptest! {
        /// Days of any time zone hold what a model that keeps every event puts into them, in whatever order events come.
        #[test]
        fn property_the_sums_since_a_day_are_those_of_a_model_that_keeps_every_event(
            zone in proptest::sample::select(vec!["UTC", "Europe/Berlin", "Asia/Kolkata"]),
            events in proptest::collection::vec((0..60 * 86_400_u64, any::<bool>()), 1..200),
            since_days in 0..60_u64,
        ) {
            let mut objective = objective(Sli::Availability);
            objective.window = Period::Calendar(CalendarPeriod {
                duration: "1M".parse().unwrap(),
                start_time: "2023-01-01 09:00:00".parse().unwrap(),
                time_zone: zone.to_owned(),
            });
            let grid = objective.window.day_grid();
            let mut ledger = Ledger::new(&objective, NOW);
            for (secs, bad) in &events {
                ledger.record(event(NOW + secs * NANOS_PER_SEC, *bad), 0);
            }
            let first = grid.day((NOW + since_days * DAY) / NANOS_PER_SEC);
            let kept = events.iter().filter(|(secs, _)| NOW / NANOS_PER_SEC + secs >= first.from_secs);
            let kept: Vec<_> = kept.collect();
            let sums = ledger.since_day(first.number);
            prop_assert_eq!(sums.observed_total, kept.len() as u64);
            prop_assert_eq!(sums.observed_bad, kept.iter().filter(|(_, bad)| *bad).count() as u64);
        }
    }

    #[test]
    fn a_replayed_minute_counts_as_its_events_did() {
        let latency = Sli::Latency {
            threshold_micros: 100_000,
        };
        let row = MinuteRow {
            minute: u32::try_from(NOW / NANOS_PER_SEC / 60).unwrap(),
            sums: WindowSums {
                total: 5.0,
                bad: 1.0,
                squared: 5.0,
                observed_total: 5,
                observed_bad: 1,
            },
            latency: vec![(bucket_of(50_000), 3), (bucket_of(500_000), 1)],
        };
        let mut ledger = Ledger::new(&objective(latency), NOW);
        ledger.replay(&row);
        let sums = ledger.tally().window(NOW, Window::H1);
        assert_eq!((sums.observed_total, sums.observed_bad), (4, 1));
        assert!((ledger.since_day(0).total - 4.0).abs() < 1e-9);
    }

    #[test]
    fn only_days_that_changed_are_taken() {
        let mut ledger = Ledger::new(&objective(Sli::Availability), NOW);
        ledger.record(event(NOW, false), 0);
        ledger.record(event(NOW + DAY, false), 0);
        let mut taken = || ledger.take_changed_days(SeriesId(1)).len();
        assert_eq!((taken(), taken()), (2, 0));
        ledger.record(event(NOW + DAY, false), 0);
        let rows = ledger.take_changed_days(SeriesId(1));
        assert_eq!(rows.len(), 1);
        assert_eq!(*rows[0].objective, *objective(Sli::Availability).account());
    }

    #[test]
    fn merged_ledgers_hold_the_events_of_both() {
        let mut left = Ledger::new(&objective(Sli::Availability), NOW);
        let mut right = left.clone();
        left.record(event(NOW, true), 0);
        right.record(event(NOW + NANOS_PER_SEC, false), 0);
        left.merge(&right);
        assert_eq!(left.since_day(0).observed_total, 2);
        assert_eq!(left.tally().window(NOW, Window::M5).observed_bad, 1);
    }
}
