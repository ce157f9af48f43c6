//! A history as a stream of minutes whose windows are read off at once.

use std::ops::Range;

use crate::model::history::MinuteRow;
use crate::model::slo::Sli;
use crate::model::window::{Window, WindowSums};
use crate::window::ledger::latency_sums;

/// The longest history that is replayed, in minutes: 92 days. What is older is left out, since times in a file may be
/// anything, and each minute costs 40 bytes.
const MINUTES_MAX: u32 = 92 * 24 * 60;

/// Sums from the first minute to each minute, so that any span is one subtraction.
#[derive(Clone, Debug)]
pub(in crate::evaluator::candidate) struct Minutes {
    first: u32,
    /// One more than there are minutes; begins with nothing.
    cumulative: Vec<WindowSums>,
}

impl Minutes {
    /// The minutes of a history, bad events as an objective of this indicator counts them. `rows` are sorted by minute.
    pub(in crate::evaluator::candidate) fn of(rows: &[MinuteRow], sli: Sli) -> Self {
        let first = first_minute(rows);
        let mut minutes = Self {
            first,
            cumulative: vec![WindowSums::default()],
        };
        let skipped = rows.partition_point(|row| row.minute < first);
        for row in rows.get(skipped..).unwrap_or_default() {
            minutes.add(row.minute, sums_of(row, sli));
        }
        minutes
    }

    /// Minutes one after the other, from minute 0.
    pub(super) fn of_sums(sums: impl IntoIterator<Item = WindowSums>) -> Self {
        let mut minutes = Self {
            first: 0,
            cumulative: vec![WindowSums::default()],
        };
        for (minute, sums) in (0..).zip(sums) {
            minutes.add(minute, sums);
        }
        minutes
    }

    fn add(&mut self, minute: u32, sums: WindowSums) {
        let index = minute.saturating_sub(self.first) as usize + 1;
        let before = self.cumulative.last().copied().unwrap_or_default();
        // Minutes without a row have no events; several rows of one minute add up.
        if self.cumulative.len() <= index {
            self.cumulative.resize(index + 1, before);
        }
        if let Some(last) = self.cumulative.last_mut() {
            *last = last.plus(sums);
        }
    }

    /// The sums of these minutes; those outside the history have no events.
    pub(in crate::evaluator::candidate) fn between(&self, minutes: Range<u32>) -> WindowSums {
        let sums = self.until(minutes.end).minus(self.until(minutes.start));
        // Weights are no whole numbers, and a difference of them may leave a trace of what is not there.
        match (sums.observed_total, sums.observed_bad) {
            (0, _) => WindowSums::default(),
            (_, 0) => WindowSums { bad: 0.0, ..sums },
            _ => sums,
        }
    }

    /// The sums of the window that ends with this minute, not included.
    pub(super) fn window(&self, end: u32, window: Window) -> WindowSums {
        self.between(end.saturating_sub(minutes_of(window))..end)
    }

    /// The minutes that hold equally spaced events of a span: `count` of them, each at most once.
    pub(super) fn spread(&self, span: Range<u32>, count: u32) -> Vec<u32> {
        let before = self.until(span.start).observed_total;
        let events = self.between(span.clone()).observed_total;
        if events == 0 {
            return Vec::new();
        }
        let mut minutes: Vec<u32> = (0..u64::from(count))
            .filter_map(|number| {
                let wanted = before + (2 * number + 1) * events / (2 * u64::from(count));
                let index = self
                    .cumulative
                    .partition_point(|sums| sums.observed_total <= wanted);
                u32::try_from(index.checked_sub(1)?).ok()
            })
            .map(|offset| self.first + offset)
            .collect();
        minutes.dedup();
        minutes
    }

    fn until(&self, minute: u32) -> WindowSums {
        let index = minute.saturating_sub(self.first) as usize;
        let held = self.cumulative.get(index).or(self.cumulative.last());
        held.copied().unwrap_or_default()
    }
}

/// The first minute of a history that is replayed.
pub(super) fn first_minute(rows: &[MinuteRow]) -> u32 {
    let first = rows.first().map_or(0, |row| row.minute);
    let end = rows.last().map_or(0, |row| row.minute.saturating_add(1));
    first.max(end.saturating_sub(MINUTES_MAX))
}

/// Length of a window in minutes.
pub(super) fn minutes_of(window: Window) -> u32 {
    u32::try_from(window.secs() / 60).unwrap_or(u32::MAX)
}

/// The events of a minute as an objective of this indicator counts them.
pub(in crate::evaluator::candidate) fn sums_of(row: &MinuteRow, sli: Sli) -> WindowSums {
    match sli {
        Sli::Availability | Sli::ErrorRate => row.sums,
        Sli::Latency { threshold_micros } => latency_sums(row, threshold_micros),
    }
}
