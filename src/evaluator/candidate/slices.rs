//! History in slices of five minutes: which part of it counts, how much its events depend on each other, and how
//! often it went wrong.

use crate::evaluator::statistics::{Proportion, over_dispersion};
use crate::model::history::MinuteRow;
use crate::model::window::WindowSums;

const MINUTES_PER_SLICE: u32 = 5;
const SECS_PER_SLICE: u64 = 60 * MINUTES_PER_SLICE as u64;
const SLICES_PER_HOUR: u32 = 60 / MINUTES_PER_SLICE;
const SLICES_PER_WEEK: u32 = 7 * 24 * SLICES_PER_HOUR;

/// Lengths of the spans between which over-dispersion is looked for, in slices: five minutes, an hour, six hours.
const DISPERSION_SPANS: [u32; 3] = [1, SLICES_PER_HOUR, 6 * SLICES_PER_HOUR];

/// Spans with traffic from which one of the longer lengths tells something; fewer tell noise.
const SPANS_MIN: usize = 48;

/// Bad events without which a slice is no incident, however few its events.
const BAD_EVENTS_MIN: f64 = 2.0;

/// The part of a history that candidates are fitted on. This is the one place that decides what counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct DataUsed<'a> {
    /// The rows that count.
    pub(super) rows: &'a [MinuteRow],
    /// Length in slices, with and without traffic; at least 1.
    pub(super) slices: u32,
    /// Seconds of history there were before it was cut to whole weeks.
    pub(super) available_secs: u64,
}

impl<'a> DataUsed<'a> {
    /// The most recent whole weeks of a history, all of one that is shorter than a week: part of a week would give
    /// some hours and days more weight than others. `None` without events. `rows` are sorted by minute.
    pub(super) fn of(rows: &'a [MinuteRow]) -> Option<Self> {
        let mut with_events = rows.iter().filter(|row| row.sums.total > 0.0);
        let first = with_events.next()?;
        let last = with_events.next_back().unwrap_or(first);
        let end = slice_number(last) + 1;
        let available = end.saturating_sub(slice_number(first)).max(1);
        let weeks = available / SLICES_PER_WEEK;
        let slices = if weeks > 0 {
            weeks * SLICES_PER_WEEK
        } else {
            available
        };
        let start = end.saturating_sub(slices);
        let skipped = rows.partition_point(|row| slice_number(row) < start);
        Some(Self {
            rows: rows.get(skipped..).unwrap_or_default(),
            slices,
            available_secs: u64::from(available) * SECS_PER_SLICE,
        })
    }

    /// Length in seconds.
    pub(super) fn secs(&self) -> u64 {
        u64::from(self.slices) * SECS_PER_SLICE
    }

    /// The sums of all its rows.
    pub(super) fn sums(&self) -> WindowSums {
        add_up(self.rows)
    }

    /// Its slices with traffic; an event is bad when it is an error.
    pub(super) fn error_slices(&self) -> Vec<Slice> {
        by_slice(self.rows)
            .filter_map(|(number, rows)| {
                let sums = add_up(rows);
                let ratio = sums.error_ratio()?;
                Some(Slice {
                    number,
                    ratio,
                    effective: sums.effective_events(),
                    observed: sums.observed_total as f64,
                })
            })
            .collect()
    }

    /// Its slices with traffic that was served; an event is bad when `is_slow` says so of its latency bucket.
    pub(super) fn slow_slices(&self, is_slow: impl Fn(u16) -> bool) -> Vec<Slice> {
        by_slice(self.rows)
            .filter_map(|(number, rows)| {
                let (mut slow, mut all) = (0.0, 0.0);
                for (bucket, count) in rows.iter().flat_map(|row| &row.latency) {
                    let count = *count as f64;
                    all += count;
                    if is_slow(*bucket) {
                        slow += count;
                    }
                }
                let sums = add_up(rows);
                (all > 0.0).then(|| Slice {
                    number,
                    ratio: slow / all,
                    effective: effective_without_error(&sums),
                    observed: observed_without_error(&sums) as f64,
                })
            })
            .collect()
    }
}

/// Five minutes with traffic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Slice {
    /// Five-minute spans since the Unix epoch.
    number: u32,
    /// Bad events over all, by weight.
    ratio: f64,
    /// Effective number of its events, by weight alone.
    effective: f64,
    /// Events seen.
    observed: f64,
}

impl Slice {
    fn proportion(&self) -> Proportion {
        Proportion {
            bad: self.ratio * self.effective,
            total: self.effective,
        }
    }

    fn exceeds(&self, budget: f64) -> bool {
        // A weighted ratio gives back whole events only to within rounding.
        self.ratio > budget && self.ratio * self.observed > BAD_EVENTS_MIN - 1e-6
    }
}

/// Over-dispersion of bad events: the largest between spans of five minutes, one hour and six hours.
///
/// Incidents last longer than five minutes, so that neighbouring slices fail together; slices of five minutes alone
/// would count a bad half hour as six independent observations. Incidents of many hours are still underrated; what
/// says so is the incident rate that the history cannot exclude.
pub(super) fn dispersion(slices: &[Slice]) -> f64 {
    DISPERSION_SPANS
        .into_iter()
        .map(|length| {
            let spans: Vec<Proportion> = slices
                .chunk_by(|a, b| a.number / length == b.number / length)
                .map(add_up_slices)
                .collect();
            if length == 1 || spans.len() >= SPANS_MIN {
                over_dispersion(spans.into_iter())
            } else {
                1.0
            }
        })
        .fold(1.0, f64::max)
}

/// Runs of neighbouring slices whose ratio of bad events is above the budget, with two bad events at least.
pub(super) fn incidents(slices: &[Slice], budget: f64) -> u64 {
    let mut incidents = 0;
    let mut open_until = None;
    for slice in slices.iter().filter(|slice| slice.exceeds(budget)) {
        if open_until != Some(slice.number) {
            incidents += 1;
        }
        open_until = Some(slice.number + 1);
    }
    incidents
}

/// Effective number of the events without an error, by weight alone. Weights are known of all events together, so this
/// is the share of theirs, but never more than were seen: a part can weigh more evenly than the whole, not tell more.
pub(super) fn effective_without_error(sums: &WindowSums) -> f64 {
    let share = sums.effective_events() * (1.0 - sums.error_ratio().unwrap_or(0.0));
    share.min(observed_without_error(sums) as f64)
}

/// Events without an error that were seen.
pub(super) fn observed_without_error(sums: &WindowSums) -> u64 {
    sums.observed_total.saturating_sub(sums.observed_bad)
}

fn add_up_slices(slices: &[Slice]) -> Proportion {
    slices
        .iter()
        .map(Slice::proportion)
        .fold(Proportion::default(), |sum, slice| Proportion {
            bad: sum.bad + slice.bad,
            total: sum.total + slice.total,
        })
}

fn slice_number(row: &MinuteRow) -> u32 {
    row.minute / MINUTES_PER_SLICE
}

fn by_slice(rows: &[MinuteRow]) -> impl Iterator<Item = (u32, &[MinuteRow])> {
    rows.chunk_by(|a, b| slice_number(a) == slice_number(b))
        .filter_map(|rows| Some((slice_number(rows.first()?), rows)))
}

fn add_up(rows: &[MinuteRow]) -> WindowSums {
    rows.iter()
        .fold(WindowSums::default(), |sums, row| sums.plus(row.sums))
}
