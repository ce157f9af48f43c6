//! History in slices of five minutes: which part of it counts, how much its events depend on each other, and how
//! often it went wrong.

use std::iter;

use crate::evaluator::statistics::{
    Proportion, poisson_tail, scaled_order_statistic_rank, windowed_over_dispersion,
};
use crate::model::history::MinuteRow;
use crate::model::window::WindowSums;
use crate::window::sketch::LatencyCounts;

const MINUTES_PER_SLICE: u32 = 5;
const SECS_PER_SLICE: u64 = 60 * MINUTES_PER_SLICE as u64;
const SLICES_PER_HOUR: u32 = 60 / MINUTES_PER_SLICE;
const SLICES_PER_WEEK: u32 = 7 * 24 * SLICES_PER_HOUR;

/// Windows in which over-dispersion is looked for, in slices: from five minutes to a day.
const DISPERSION_WINDOWS: [usize; 7] = [1, 3, 12, 36, 72, 144, 288];

/// How many times a window longer than one slice must fit into the history; fewer tell noise.
const WINDOWS_MIN: usize = 12;

/// Bad events without which a slice is not above a budget, however few its events.
const BAD_EVENTS_MIN: f64 = 2.0;

/// Probability below which the bad events of a run of slices are no chance, were their ratio that of the budget: once
/// in ten thousand, and 35 days have as many slices.
const CHANCE_MAX: f64 = 1e-4;

/// Slices below the budget, or without traffic, that do not part an incident.
const QUIET_SLICES_MAX: u32 = 2;

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
                })
            })
            .collect()
    }

    /// The upper bound of a latency quantile: the first bucket that is one by the over-dispersion of the events
    /// beyond itself, since more of these are of incidents than of those just beyond the measured quantile. `None`
    /// without durations. `counts` are those of all its rows.
    pub(super) fn latency_bound(
        &self,
        counts: &LatencyCounts,
        quantile: f64,
        confidence: f64,
    ) -> Option<LatencyBound> {
        let total = counts.total();
        let weighted_events = effective_without_error(&self.sums());
        let mut bucket = counts.bucket_at_quantile(quantile)?;
        // It never falls from one bucket to the next: beyond the slowest event there is none, hence no dispersion, and
        // a bound that lies beyond the data would be taken for a bound within them.
        let mut over_dispersion = 1.0_f64;
        loop {
            let beyond = self.slow_slices(|slow| slow > bucket);
            over_dispersion = over_dispersion.max(dispersion(&beyond));
            let effective = weighted_events / over_dispersion;
            let rank = scaled_order_statistic_rank(total, effective, quantile, confidence);
            let next = counts.bucket_at_rank(rank.unwrap_or(total))?;
            if next <= bucket {
                return Some(LatencyBound {
                    bucket,
                    is_supported: rank.is_some(),
                    weighted_events,
                    over_dispersion,
                });
            }
            bucket = next;
        }
    }
}

/// An upper bound of a latency quantile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LatencyBound {
    /// The bucket whose end is the bound.
    pub(super) bucket: u16,
    /// Whether there are events enough for one; without, the slowest event stands for it.
    pub(super) is_supported: bool,
    /// Effective number of the events by weight alone.
    pub(super) weighted_events: f64,
    /// Over-dispersion of the events beyond the bound.
    pub(super) over_dispersion: f64,
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
}

impl Slice {
    fn proportion(&self) -> Proportion {
        Proportion {
            bad: self.ratio * self.effective,
            total: self.effective,
        }
    }

    fn is_above(&self, budget: f64) -> bool {
        // A weighted ratio gives back whole events only to within rounding.
        self.ratio > budget && self.proportion().bad > BAD_EVENTS_MIN - 1e-6
    }
}

/// Over-dispersion of bad events: the largest that windows of one length show, from five minutes to a day.
///
/// Incidents last longer than five minutes, so that neighbouring slices fail together; slices of five minutes alone
/// would count a bad half hour as six independent observations. Incidents of a day and more are underrated; what says
/// so is the incident rate that the history cannot exclude.
pub(super) fn dispersion(slices: &[Slice]) -> f64 {
    let proportions = without_gaps(slices);
    DISPERSION_WINDOWS
        .into_iter()
        .filter(|window| *window == 1 || window * WINDOWS_MIN <= proportions.len())
        .map(|window| windowed_over_dispersion(&proportions, window))
        .fold(1.0, f64::max)
}

/// The slices from the first to the last; those without traffic hold zeros.
fn without_gaps(slices: &[Slice]) -> Vec<Proportion> {
    let mut proportions = Vec::with_capacity(slices.len());
    let mut next = slices.first().map_or(0, |slice| slice.number);
    for slice in slices {
        let gap = usize::try_from(slice.number.saturating_sub(next)).unwrap_or(0);
        proportions.extend(iter::repeat_n(Proportion::default(), gap));
        proportions.push(slice.proportion());
        next = slice.number + 1;
    }
    proportions
}

/// Incidents: runs of slices above the budget with more bad events than chance explains. A few quiet slices do not part
/// a run.
pub(super) fn incidents(slices: &[Slice], budget: f64) -> u64 {
    let above: Vec<&Slice> = slices
        .iter()
        .filter(|slice| slice.is_above(budget))
        .collect();
    let runs = above.chunk_by(|a, b| b.number - a.number <= 1 + QUIET_SLICES_MAX);
    let incidents = runs.filter(|run| {
        let bad = run.iter().map(|slice| slice.proportion().bad).sum();
        let total: f64 = run.iter().map(|slice| slice.effective).sum();
        poisson_tail(bad, budget * total) < CHANCE_MAX
    });
    incidents.count() as u64
}

/// Effective number of the events without an error, by weight alone; no more than were seen, though the errors may
/// weigh less than the others.
pub(super) fn effective_without_error(sums: &WindowSums) -> f64 {
    let share = 1.0 - sums.error_ratio().unwrap_or(0.0);
    (sums.effective_events() * share).min(observed_without_error(sums) as f64)
}

/// Events without an error that were seen.
pub(super) fn observed_without_error(sums: &WindowSums) -> u64 {
    sums.observed_total.saturating_sub(sums.observed_bad)
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
