//! What rules compute of counters, step by step: Prometheus' `increase()` with its extrapolation, the sums over recorded
//! counts and over slices of time, and the conditions of the alerts.

use crate::exporter::rules::alerts::least_events;
use crate::exporter::rules::slices::{SliceCounting, slice_counting};
use crate::exporter::rules::slo::{Counting, Pair, Slo, counting};
use crate::model::slo::{Budgeting, EmptySlices};

/// Ratios this near to their limit may fall on either side of it.
const TIE: f64 = 1e-9;

/// Which samples a range holds: Prometheus 2 takes the one at its very start, Prometheus 3 does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RangeStart {
    Within,
    Outside,
}

/// How a doubtful condition is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    start: RangeStart,
    /// A limit is this much of itself.
    limit_factor: f64,
}

/// Every reading: what all of them agree on is sure.
const READINGS: [Reading; 4] = [
    Reading {
        start: RangeStart::Within,
        limit_factor: 1.0 - TIE,
    },
    Reading {
        start: RangeStart::Within,
        limit_factor: 1.0 + TIE,
    },
    Reading {
        start: RangeStart::Outside,
        limit_factor: 1.0 - TIE,
    },
    Reading {
        start: RangeStart::Outside,
        limit_factor: 1.0 + TIE,
    },
];

/// Counters sampled and rules evaluated at the same steps, from step 0.
#[derive(Clone, Debug)]
pub(super) struct Traffic {
    /// Length of a step.
    pub(super) step_secs: u64,
    /// Counted since step 0.
    total: Vec<u64>,
    bad: Vec<u64>,
    /// The first step with events.
    begun: Option<usize>,
}

/// The slices of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct SliceSums {
    total: f64,
    bad: f64,
    empty: f64,
}

impl SliceSums {
    fn plus(self, other: Self) -> Self {
        Self {
            total: self.total + other.total,
            bad: self.bad + other.bad,
            empty: self.empty + other.empty,
        }
    }
}

impl Traffic {
    pub(super) fn new(step_secs: u64) -> Self {
        Self {
            step_secs,
            total: vec![0],
            bad: vec![0],
            begun: None,
        }
    }

    /// Steps of a length of time, the last of them begun.
    pub(super) fn steps_of(&self, secs: u64) -> usize {
        usize::try_from(secs.div_ceil(self.step_secs)).unwrap_or(usize::MAX)
    }

    /// Adds steps with these events each.
    pub(super) fn go_on(&mut self, steps: u64, total: u64, bad: u64) {
        for _ in 0..steps {
            let last = |counter: &[u64]| counter.last().copied().unwrap_or(0);
            let next = (last(&self.total) + total, last(&self.bad) + bad);
            if total > 0 && self.begun.is_none() {
                self.begun = Some(self.total.len());
            }
            self.total.push(next.0);
            self.bad.push(next.1);
        }
    }

    /// The last step.
    pub(super) fn now(&self) -> usize {
        self.total.len().saturating_sub(1)
    }

    /// The events of each step from the first one on: all and bad ones.
    pub(super) fn steps(&self) -> impl Iterator<Item = (u64, u64)> {
        let counters = self.total.windows(2).zip(self.bad.windows(2));
        counters.filter_map(|pair| match pair {
            ([total, total_after], [bad, bad_after]) => {
                Some((total_after - total, bad_after - bad))
            }
            _ => None,
        })
    }

    /// All and bad events in the window that ends at a step, as the rules count them.
    fn counts(&self, secs: u64, at: usize, start: RangeStart) -> Option<(f64, f64)> {
        match counting(secs) {
            Counting::Direct => {
                let steps = self.steps_of(secs);
                let increase = |counter| increase(counter, at, steps, start);
                Some((increase(&self.total)?, increase(&self.bad)?))
            }
            Counting::Summed { step_secs } => {
                // Points of a subquery stand at multiples of its step, whenever it is asked.
                let (every, length) = (self.steps_of(step_secs), self.steps_of(secs));
                let is_in = |point: &usize| match start {
                    RangeStart::Within => point + length >= at,
                    RangeStart::Outside => point + length > at,
                };
                let points = (0..=at).step_by(every.max(1)).filter(is_in);
                let counted = points.filter_map(|point| self.counts(step_secs, point, start));
                let sum = |(all, bad): (f64, f64), (more, worse)| (all + more, bad + worse);
                counted.fold(None, |sums, count| {
                    Some(sum(sums.unwrap_or_default(), count))
                })
            }
        }
    }

    /// The slices in the window that ends at a step, as the rules sum them.
    fn slices(
        &self,
        (budgeting, slice_secs): (Budgeting, u64),
        secs: u64,
        at: usize,
        start: RangeStart,
    ) -> Option<SliceSums> {
        let sum = |points: u64, every_secs: u64, of: &dyn Fn(usize) -> Option<SliceSums>| {
            let every = self.steps_of(every_secs).max(1);
            let newest = at / every;
            let oldest =
                usize::try_from(points).map_or(0, |points| (newest + 1).saturating_sub(points));
            let counted = (oldest..=newest).filter_map(|point| of(point * every));
            counted.reduce(SliceSums::plus)
        };
        match slice_counting(secs, slice_secs) {
            SliceCounting::Direct { slices } => sum(slices, slice_secs, &|point| {
                self.slice((budgeting, slice_secs), point, start)
            }),
            SliceCounting::Summed { steps, step_secs } => sum(steps, step_secs, &|point| {
                self.slices((budgeting, slice_secs), step_secs, point, start)
            }),
        }
    }

    /// The slice that ends at a step.
    fn slice(
        &self,
        (budgeting, slice_secs): (Budgeting, u64),
        at: usize,
        start: RangeStart,
    ) -> Option<SliceSums> {
        let one = |bad, empty| SliceSums {
            total: 1.0,
            bad,
            empty,
        };
        if let Some(ratio) = self.event_ratio(slice_secs, at, start) {
            let bad = budgeting
                .slice_bad_above()
                .map_or(ratio, |limit| f64::from(u8::from(ratio > limit)));
            return Some(one(bad, 0.0));
        }
        let is_expected = self.begun.is_some_and(|begun| begun <= at);
        match budgeting.empty_slices() {
            EmptySlices::Good if is_expected => Some(one(0.0, 1.0)),
            EmptySlices::Bad if is_expected => Some(one(1.0, 1.0)),
            EmptySlices::Good | EmptySlices::Bad | EmptySlices::Excluded => None,
        }
    }

    fn event_ratio(&self, secs: u64, at: usize, start: RangeStart) -> Option<f64> {
        let (total, bad) = self.counts(secs, at, start)?;
        (total > 0.0).then(|| bad / total)
    }

    /// What the budget counts in the window that ends at a step: all, and what is bad of it.
    fn counted(&self, slo: &Slo, secs: u64, at: usize, start: RangeStart) -> Option<(f64, f64)> {
        match slo.slice_secs() {
            None => self.counts(secs, at, start),
            Some(slice_secs) => {
                let sums = self.slices((slo.budgeting, slice_secs), secs, at, start)?;
                Some((sums.total, sums.bad))
            }
        }
    }

    /// Whether bad events are enough for an alert, slices among them that are bad for want of events.
    fn is_bad_enough(&self, slo: &Slo, secs: u64, at: usize, start: RangeStart) -> bool {
        let events = self.counts(secs, at, start).map_or(0.0, |(_, bad)| bad);
        let slice_secs = slo.slice_secs().filter(|_| slo.counts_empty_slices());
        let empty = slice_secs.and_then(|slice_secs| {
            let sums = self.slices((slo.budgeting, slice_secs), secs, at, start)?;
            Some(sums.empty)
        });
        events + empty.unwrap_or(0.0) > slo.bad_events_above()
    }

    /// Whether the alert of a pair fires at the last step; nothing where readings differ.
    pub(super) fn burns(&self, slo: &Slo, pair: &Pair) -> Option<bool> {
        let at = self.now();
        agreed(|reading| {
            let limit = pair.limit.ratio * reading.limit_factor(slo);
            let exceeds = |secs| {
                let counted = self.counted(slo, secs, at, reading.start);
                counted.is_some_and(|(total, bad)| total > 0.0 && bad / total > limit)
            };
            let (long, short) = (pair.rule.long.secs(), pair.rule.short.secs());
            exceeds(short) && exceeds(long) && self.is_bad_enough(slo, long, at, reading.start)
        })
    }

    /// Whether the alert of a spent budget fires at the last step; nothing where readings differ.
    pub(super) fn spent(&self, slo: &Slo, secs: u64) -> Option<bool> {
        let at = self.now();
        let budget = slo.budget();
        agreed(|reading| {
            // The slices that spend a budget here are wholly bad or wholly good, so that their ratio is exact.
            let factor = match slo.slice_secs() {
                None => reading.limit_factor,
                Some(_) => 1.0,
            };
            let counted = self.counted(slo, secs, at, reading.start);
            counted.is_some_and(|(total, bad)| {
                total > 0.0
                    && bad / total >= budget * factor
                    && total >= least_events(budget) * factor
                    && self.is_bad_enough(slo, secs, at, reading.start)
            })
        })
    }
}

impl Reading {
    fn limit_factor(self, slo: &Slo) -> f64 {
        match slo.budgeting {
            // Whole slices are exact, and so is the ratio of two of them.
            Budgeting::Timeslices { .. } => 1.0,
            Budgeting::Occurrences | Budgeting::RatioTimeslices { .. } => self.limit_factor,
        }
    }
}

/// What all readings say.
fn agreed(condition: impl Fn(Reading) -> bool) -> Option<bool> {
    let [first, others @ ..] = READINGS.map(condition);
    others.iter().all(|other| *other == first).then_some(first)
}

/// `increase()` over a window of this many steps that ends at a sample: the difference of the samples in it, extended to
/// its start where that is near, else by half a step. Counters stand far above 0, so that no zero is foreseen.
fn increase(counter: &[u64], at: usize, steps: usize, start: RangeStart) -> Option<f64> {
    let first = match start {
        RangeStart::Within => at.saturating_sub(steps),
        RangeStart::Outside => (at + 1).saturating_sub(steps),
    };
    let sampled = at.checked_sub(first).filter(|sampled| *sampled > 0)?;
    let gap = steps.saturating_sub(sampled) as f64;
    let extension = if gap < 1.1 { gap } else { 0.5 };
    let difference = counter.get(at)?.checked_sub(*counter.get(first)?)?;
    let sampled = sampled as f64;
    Some(difference as f64 * (sampled + extension) / sampled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_increase_is_extended_to_the_start_of_its_window() {
        let counter: Vec<u64> = (0..=20).map(|step| 10 * step).collect();
        let over = |at, steps, start| increase(&counter, at, steps, start).unwrap();
        for (at, steps, start, wanted) in [
            (20, 5, RangeStart::Within, 50.0),
            // Four steps are in the range, and the fifth is foreseen.
            (20, 5, RangeStart::Outside, 50.0),
            // The counter began within the window.
            (10, 60, RangeStart::Within, 105.0),
            (10, 60, RangeStart::Outside, 105.0),
        ] {
            let found: f64 = over(at, steps, start);
            assert!(
                (found - wanted).abs() < 1e-9,
                "{at} {steps} {start:?}: {found}"
            );
        }
        assert_eq!(increase(&counter, 0, 5, RangeStart::Within), None);
        assert_eq!(increase(&counter, 3, 1, RangeStart::Outside), None);
    }

    #[test]
    fn long_windows_are_sums_of_points_that_stand_still() {
        let mut traffic = Traffic::new(60);
        traffic.go_on(72, 100, 1);
        let month = 30 * 86_400;
        // The points at 30 and 60; at 0 there was one sample only.
        let counted = traffic.counts(month, 72, RangeStart::Within);
        assert_eq!(counted, Some((6_000.0, 60.0)));
        assert_eq!(traffic.counts(month, 29, RangeStart::Within), None);
    }
}
