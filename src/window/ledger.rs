//! The account of an adopted objective: good and bad events in all windows, and its days for 400 days.
//!
//! The windows answer burn rates; the days answer budgets, calendar windows and periods beyond thirty days.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::history::MinuteRow;
use crate::model::series::SeriesId;
use crate::model::slo::{Objective, Sli};
use crate::model::window::WindowSums;
use crate::model::{NANOS_PER_SEC, UnixNanos};
use crate::window::rolling::{Occurrence, Tally, sums_of_one};
use crate::window::sketch::bucket_bounds_micros;

/// Days that a ledger keeps.
pub const LEDGER_DAYS: usize = 400;

/// Minutes that a finished slice waits for late events.
const SLICE_GRACE_MINUTES: u64 = 2;

/// Finished slices that can still be looked up.
const SLICES_HELD: u64 = 60;

const SECS_PER_DAY: u64 = 86_400;

/// One day of an objective, UTC. A slice is a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LedgerDay {
    /// Days since the Unix epoch.
    pub day: u32,
    /// Events of the day.
    pub sums: WindowSums,
    /// Slices whose ratio of good events reached the target.
    pub good_slices: u32,
    /// Slices without events.
    pub empty_slices: u32,
    /// Slices that passed while the objective was measured.
    pub expected_slices: u32,
}

impl LedgerDay {
    fn add(&mut self, other: &Self) {
        self.sums = self.sums.plus(other.sums);
        self.good_slices += other.good_slices;
        self.empty_slices += other.empty_slices;
        self.expected_slices += other.expected_slices;
    }
}

/// An objective's account on one series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    name: Arc<str>,
    threshold_nanos: Option<u64>,
    target: f64,
    tally: Tally,
    /// Sorted by day.
    days: Vec<LedgerDay>,
    /// Minute up to which slices are counted.
    sliced_until: u64,
    /// Oldest day that changed since the days were last taken to be kept.
    changed_from: u32,
}

/// The days of a ledger with what they belong to, as the store keeps them.
#[derive(Clone, Debug, PartialEq)]
pub struct LedgerRow {
    /// Name of the objective.
    pub objective: Arc<str>,
    /// The series.
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
        Self {
            name: objective.name.as_str().into(),
            threshold_nanos,
            target: objective.target,
            tally: Tally::starting_at(now),
            days: Vec::new(),
            sliced_until: now / NANOS_PER_SEC / 60,
            changed_from: u32::MAX,
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

    /// The days, the oldest first.
    pub fn days(&self) -> &[LedgerDay] {
        &self.days
    }

    /// The days that changed since the last call.
    pub fn take_changed_days(&mut self) -> Vec<LedgerDay> {
        let from = std::mem::replace(&mut self.changed_from, u32::MAX);
        self.days
            .iter()
            .filter(|day| day.day >= from)
            .copied()
            .collect()
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
            let day = day_of(event.at / NANOS_PER_SEC);
            let entry = self.day_mut(day);
            entry.sums = entry.sums.plus(sums_of_one(event.bad, event.weight));
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
        let entry = self.day_mut(day_of(secs));
        entry.sums = entry.sums.plus(sums);
    }

    /// Goes on from the counters of an earlier run.
    pub fn carry(&mut self, sums: WindowSums) {
        self.tally.carry(sums);
    }

    /// Puts days of an earlier run in place of those that are here; the windows keep what they have.
    pub fn restore_days(&mut self, days: impl IntoIterator<Item = LedgerDay>) {
        for day in days {
            *self.day_mut(day.day) = day;
        }
    }

    /// Counts the slices that are over.
    pub fn close_slices(&mut self, now: UnixNanos) {
        let until = (now / NANOS_PER_SEC / 60).saturating_sub(SLICE_GRACE_MINUTES);
        let from = self.sliced_until.max(until.saturating_sub(SLICES_HELD));
        for minute in from..until {
            let sums = self.tally.minute(minute);
            let target = self.target;
            let day = self.day_mut(day_of(minute * 60));
            day.expected_slices += 1;
            match sums.error_ratio() {
                None => day.empty_slices += 1,
                Some(ratio) => day.good_slices += u32::from(1.0 - ratio >= target),
            }
        }
        self.sliced_until = self.sliced_until.max(until);
    }

    /// Adds the account of another instance.
    pub fn merge(&mut self, other: &Self) {
        self.tally.merge(&other.tally);
        for day in &other.days {
            self.day_mut(day.day).add(day);
        }
    }

    fn day_mut(&mut self, day: u32) -> &mut LedgerDay {
        self.changed_from = self.changed_from.min(day);
        if self.days.last().is_some_and(|last| last.day == day) {
            let last = self.days.len() - 1;
            #[expect(
                clippy::indexing_slicing,
                reason = "the last of a list that is not empty"
            )]
            return &mut self.days[last];
        }
        let position = match self.days.binary_search_by_key(&day, |entry| entry.day) {
            Ok(position) => position,
            Err(position) => {
                let oldest_goes = self.days.len() >= LEDGER_DAYS && position > 0;
                if oldest_goes {
                    self.days.remove(0);
                }
                let position = position - usize::from(oldest_goes);
                self.days.insert(
                    position,
                    LedgerDay {
                        day,
                        ..LedgerDay::default()
                    },
                );
                position
            }
        };
        #[expect(
            clippy::indexing_slicing,
            reason = "the position was just found or inserted"
        )]
        &mut self.days[position]
    }
}

fn day_of(secs: u64) -> u32 {
    u32::try_from(secs / SECS_PER_DAY).unwrap_or(u32::MAX)
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
    use super::*;
    use crate::model::window::Window;
    use crate::window::sketch::bucket_of;

    const NOW: UnixNanos = 1_700_006_400 * NANOS_PER_SEC;

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
            ledger.record(event(NOW + day * SECS_PER_DAY * NANOS_PER_SEC, false), 0);
        }
        assert!(
            ledger
                .days()
                .windows(2)
                .all(|pair| pair[0].day < pair[1].day)
        );
        assert!(
            ledger.days().len() <= LEDGER_DAYS + 1,
            "{}",
            ledger.days().len()
        );
    }

    #[test]
    fn slices_are_good_bad_or_empty_once_they_are_over() {
        let mut ledger = Ledger::new(&objective(Sli::Availability), NOW);
        let minute = 60 * NANOS_PER_SEC;
        for n in 0..10 {
            ledger.record(event(NOW + n, n == 0), 0);
            ledger.record(event(NOW + 2 * minute + n, n < 2), 0);
        }
        ledger.close_slices(NOW + 5 * minute);
        ledger.close_slices(NOW + 5 * minute);
        let day = ledger.days()[0];
        assert_eq!(
            (day.expected_slices, day.good_slices, day.empty_slices),
            (3, 1, 1)
        );
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
        assert!((ledger.days()[0].sums.total - 4.0).abs() < 1e-9);
    }

    #[test]
    fn only_days_that_changed_are_taken() {
        let mut ledger = Ledger::new(&objective(Sli::Availability), NOW);
        let day = SECS_PER_DAY * NANOS_PER_SEC;
        ledger.record(event(NOW, false), 0);
        ledger.record(event(NOW + day, false), 0);
        assert_eq!(ledger.take_changed_days().len(), 2);
        assert!(ledger.take_changed_days().is_empty());
        ledger.record(event(NOW + day, false), 0);
        assert_eq!(ledger.take_changed_days().len(), 1);
    }

    #[test]
    fn merged_ledgers_hold_the_events_of_both() {
        let mut left = Ledger::new(&objective(Sli::Availability), NOW);
        let mut right = left.clone();
        left.record(event(NOW, true), 0);
        right.record(event(NOW + NANOS_PER_SEC, false), 0);
        left.merge(&right);
        assert_eq!(left.days()[0].sums.observed_total, 2);
        assert_eq!(left.tally().window(NOW, Window::M5).observed_bad, 1);
    }
}
