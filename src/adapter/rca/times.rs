//! A sketch of durations, for each cell: log-linear buckets, a middle at most 1.6 % off.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::adapter::rca::cells::{Cell, Half};
use crate::window::sketch::{bucket_bounds_micros, bucket_of};

/// Durations, each with its weight.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Times(Vec<Bin>);

/// The weight in one bucket of one cell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Bin(Cell, u16, f64);

impl Bin {
    fn place(&self) -> (Cell, u16) {
        (self.0, self.1)
    }
}

/// Where the middle half of some durations lies, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quartiles {
    /// A quarter of them takes at most this.
    pub low: f64,
    /// Half of them.
    pub median: f64,
    /// Three quarters of them.
    pub high: f64,
}

impl Times {
    /// Adds a duration.
    pub fn add(&mut self, cell: Cell, nanos: u64, weight: f64) {
        self.add_bin(Bin(cell, bucket_of(nanos / 1_000), weight));
    }

    /// Adds a count of something in place of a duration: 1 stands as a microsecond.
    pub fn add_count(&mut self, cell: Cell, count: u64, weight: f64) {
        self.add_bin(Bin(cell, bucket_of(count), weight));
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        for bin in &other.0 {
            self.add_bin(*bin);
        }
    }

    /// The shares of two sets that lie above one cut through both together, each set counting for so many. Below the cut are
    /// as nearly as may be as many as the first set counts for, at most half. It depends on both sets together, so that chance
    /// deals what is above it by their sizes.
    pub fn above(
        (one, half): (&Self, Half),
        (other, other_half): (&Self, Half),
        (n, m): (f64, f64),
    ) -> (f64, f64) {
        let totals = (one.total(half), other.total(other_half));
        if totals.0 <= 0.0 || totals.1 <= 0.0 {
            return (0.0, 0.0);
        }
        let mut both: BTreeMap<u16, (f64, f64)> = BTreeMap::new();
        for bin in one.0.iter().filter(|bin| half.holds(bin.0)) {
            both.entry(bin.1).or_default().0 += bin.2 / totals.0;
        }
        for bin in other.0.iter().filter(|bin| other_half.holds(bin.0)) {
            both.entry(bin.1).or_default().1 += bin.2 / totals.1;
        }
        let wanted = n.min(f64::midpoint(n, m));
        let (mut below, mut nearest, mut shares) = ((0.0, 0.0), f64::INFINITY, (0.0, 0.0));
        for (first, second) in both.into_values() {
            below = (below.0 + first, below.1 + second);
            let off = (below.0 * n + below.1 * m - wanted).abs();
            if off < nearest {
                nearest = off;
                shares = (1.0 - below.0, 1.0 - below.1);
            }
        }
        shares
    }

    /// The mean over some cells, in microseconds; `None` without any.
    pub fn mean(&self, half: Half) -> Option<f64> {
        let chosen = self.0.iter().filter(|bin| half.holds(bin.0));
        let sum: f64 = chosen.map(|bin| middle(bin.1) * bin.2).sum();
        let total = self.total(half);
        (total > 0.0).then(|| sum / total)
    }

    /// Mean and variance of the logarithms over some cells, durations far below `least` microseconds being all the same;
    /// `None` without durations.
    pub fn logarithms(&self, half: Half, least: f64) -> Option<(f64, f64)> {
        let chosen = self.0.iter().filter(|bin| half.holds(bin.0));
        let values = chosen.map(|bin| ((middle(bin.1) + least).ln(), bin.2));
        let (mut weight, mut mean, mut squares) = (0.0, 0.0, 0.0);
        for (value, more) in values {
            weight += more;
            let off = value - mean;
            mean += off * more / weight;
            squares += more * off * (value - mean);
        }
        (weight > 0.0).then(|| (mean, squares / weight))
    }

    /// What all of them weigh over some cells.
    pub fn total(&self, half: Half) -> f64 {
        let chosen = self.0.iter().filter(|bin| half.holds(bin.0));
        chosen.map(|bin| bin.2).sum()
    }

    fn add_bin(&mut self, bin: Bin) {
        match self.0.binary_search_by_key(&bin.place(), Bin::place) {
            Ok(place) => {
                if let Some(known) = self.0.get_mut(place) {
                    known.2 += bin.2;
                }
            }
            Err(place) => self.0.insert(place, bin),
        }
    }

    /// The quartiles over some cells; `None` without durations.
    pub fn quartiles(&self, half: Half) -> Option<Quartiles> {
        let chosen = self.0.iter().filter(|bin| half.holds(bin.0));
        let mut bins: Vec<(u16, f64)> = chosen.map(|bin| (bin.1, bin.2)).collect();
        bins.sort_unstable_by_key(|(bucket, _)| *bucket);
        let total: f64 = bins.iter().map(|(_, weight)| weight).sum();
        let at = |is_reached: &dyn Fn(f64) -> bool| {
            let mut sum = 0.0;
            let found = bins.iter().find(|(_, weight)| {
                sum += weight;
                is_reached(sum)
            });
            found.or(bins.last()).map(|(bucket, _)| middle(*bucket))
        };
        // Of few durations the outer ones count, so that their spread is not taken for less than it may be.
        let below = at(&|sum| sum >= total / 2.0)?;
        let above = at(&|sum| sum > total / 2.0)?;
        Some(Quartiles {
            low: at(&|sum| sum >= total / 4.0)?,
            median: f64::midpoint(below, above),
            high: at(&|sum| sum > total * 0.75)?,
        })
    }
}

fn middle(bucket: u16) -> f64 {
    let (low, high) = bucket_bounds_micros(bucket);
    f64::midpoint(low as f64, high as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(numbers: &[u64]) -> Times {
        let mut times = Times::default();
        for number in numbers {
            times.add_count(Cell::of("t", 0, 1), *number, 1.0);
        }
        times
    }

    #[test]
    fn the_cut_lies_below_what_is_larger_in_either_set() {
        let above = |one: &[u64], other: &[u64]| {
            let (one, other) = (counts(one), counts(other));
            let sizes = (one.total(Half::ALL), other.total(Half::ALL));
            Times::above((&one, Half::ALL), (&other, Half::ALL), sizes)
        };
        for (one, other, shares) in [
            (&[1, 1, 1, 1][..], &[2, 2, 2, 2][..], (0.0, 1.0)),
            (&[1, 1, 1, 1], &[1, 1, 1, 5], (0.0, 0.25)),
            (&[1, 1, 1, 5], &[5, 5, 5, 5], (0.25, 1.0)),
            (&[1], &[2, 3, 4, 5], (0.0, 1.0)),
            (&[3, 3], &[3, 3], (0.0, 0.0)),
            (&[], &[1], (0.0, 0.0)),
        ] {
            assert_eq!(above(one, other), shares, "{one:?} {other:?}");
        }
    }
}
