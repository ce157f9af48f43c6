//! Latency of a series: precise for the minutes that are open, compact for those that are closed.
//!
//! An open minute keeps up to [`VALUES_MAX`] durations as they are, and more in an HdrHistogram
//! (≤ 1 % off). When the minute closes it becomes a [`Sketch`] (≤ 1.6 % off) that is added to slots of a
//! minute, twelve minutes, an hour and a day. A window takes the slots from the boundary nearest to its start.

use std::collections::VecDeque;

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::window::Window;
use crate::model::{NANOS_PER_SEC, UnixNanos};
use crate::window::sketch::{LatencyCounts, Sketch, bucket_bounds_micros, bucket_of};

/// Durations an open minute keeps before it folds them into its HdrHistogram.
pub const VALUES_MAX: usize = 256;

/// Longest duration told apart: one hour.
const MICROS_MAX: u64 = 3_600_000_000;

/// Durations of an open minute.
///
/// One append touches one cache line, where the histogram would touch three; folding many at once finds them warm.
#[derive(Clone, Debug, Default)]
pub struct OpenLatency {
    /// Durations in microseconds that are not in the histogram yet.
    recent: Vec<u32>,
    folded: Option<Box<Histogram<u32>>>,
}

impl OpenLatency {
    /// Counts a duration `count` times.
    #[inline]
    pub fn record(&mut self, micros: u64, count: u32) {
        let micros = micros.clamp(1, MICROS_MAX);
        if count != 1 {
            self.fold();
            if let Some(histogram) = &mut self.folded {
                histogram.saturating_record_n(micros, count);
            }
            return;
        }
        self.recent.push(u32::try_from(micros).unwrap_or(u32::MAX));
        if self.recent.len() >= VALUES_MAX {
            self.fold();
        }
    }

    /// Moves the recent durations to the histogram.
    #[cold]
    fn fold(&mut self) {
        if self.folded.is_none() {
            self.folded = new_histogram().map(Box::new);
        }
        if let Some(histogram) = &mut self.folded {
            for micros in self.recent.drain(..) {
                histogram.saturating_record(u64::from(micros));
            }
        }
    }

    /// The compact form.
    pub fn to_sketch(&self) -> Sketch {
        let mut buckets: Vec<u16> = self
            .recent
            .iter()
            .map(|value| bucket_of(u64::from(*value)))
            .collect();
        buckets.sort_unstable();
        let recent = Sketch::from_sorted(
            buckets
                .chunk_by(|a, b| a == b)
                .filter_map(|run| run.first().map(|bucket| (*bucket, run.len() as u64))),
        );
        match &self.folded {
            None => recent,
            Some(histogram) => sketch_of(histogram).merged(&recent),
        }
    }
}

/// Recorded values come sorted, and HdrHistogram's steps nest in the sketch's buckets.
fn sketch_of(histogram: &Histogram<u32>) -> Sketch {
    let mut counts: Vec<(u16, u64)> = Vec::new();
    for step in histogram.iter_recorded() {
        let bucket = bucket_of(step.value_iterated_to());
        match counts.last_mut() {
            Some((last, count)) if *last == bucket => *count += step.count_since_last_iteration(),
            _ => counts.push((bucket, step.count_since_last_iteration())),
        }
    }
    Sketch::from_sorted(counts)
}

/// Two significant digits from 1 µs to an hour; the bounds are constant and valid, so this is never `None`.
fn new_histogram() -> Option<Histogram<u32>> {
    Histogram::new_with_bounds(1, MICROS_MAX, 2).ok()
}

impl Serialize for OpenLatency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_sketch().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for OpenLatency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut open = Self::default();
        for (bucket, count) in &Sketch::deserialize(deserializer)? {
            let (low, high) = bucket_bounds_micros(bucket);
            open.record(
                u64::midpoint(low, high),
                u32::try_from(count).unwrap_or(u32::MAX),
            );
        }
        Ok(open)
    }
}

#[derive(Clone, Copy)]
struct Tier {
    width_minutes: u32,
    slots: u32,
}

const TIERS: [Tier; 4] = [
    Tier {
        width_minutes: 1,
        slots: 66,
    },
    Tier {
        width_minutes: 12,
        slots: 31,
    },
    Tier {
        width_minutes: 60,
        slots: 25,
    },
    Tier {
        width_minutes: 1_440,
        slots: 32,
    },
];

fn tier_of(window: Window) -> usize {
    match window {
        Window::M5 | Window::M30 | Window::H1 => 0,
        Window::H2 | Window::H6 => 1,
        Window::D1 => 2,
        Window::D3 | Window::D7 | Window::D28 | Window::D30 => 3,
    }
}

/// Closed latency of a series in four tiers; slots without events take no space.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyTiers([VecDeque<(u32, Sketch)>; 4]);

impl LatencyTiers {
    /// Adds a closed minute, or what came late for it.
    pub fn add(&mut self, minute: u32, sketch: &Sketch) {
        for (tier, slots) in TIERS.iter().zip(&mut self.0) {
            add_to(slots, minute / tier.width_minutes, sketch);
            let newest = slots.back().map_or(0, |slot| slot.0);
            while slots
                .front()
                .is_some_and(|slot| slot.0 + tier.slots <= newest)
            {
                slots.pop_front();
            }
        }
    }

    /// Adds the closed slots of a window to `counts`; returns the first minute that belongs to the window.
    pub fn collect(&self, now: UnixNanos, window: Window, counts: &mut LatencyCounts) -> u32 {
        let index = tier_of(window);
        let (Some(tier), Some(slots)) = (TIERS.get(index), self.0.get(index)) else {
            return 0;
        };
        let width_secs = u64::from(tier.width_minutes) * 60;
        let start_secs = (now / NANOS_PER_SEC).saturating_sub(window.secs());
        let boundary =
            u32::try_from((start_secs + width_secs / 2) / width_secs).unwrap_or(u32::MAX);
        for (_, sketch) in slots.iter().rev().take_while(|slot| slot.0 >= boundary) {
            counts.add(sketch);
        }
        boundary.saturating_mul(tier.width_minutes)
    }

    /// The closed minutes that are told apart, the oldest first.
    pub fn minutes(&self) -> impl Iterator<Item = (u32, &Sketch)> {
        let [minutes, ..] = &self.0;
        minutes.iter().map(|(minute, sketch)| (*minute, sketch))
    }

    /// Adds the slots of another series' tiers.
    pub fn merge(&mut self, other: &Self) {
        for ((tier, mine), theirs) in TIERS.iter().zip(&mut self.0).zip(&other.0) {
            for (slot, sketch) in theirs {
                add_to(mine, *slot, sketch);
            }
            let newest = mine.back().map_or(0, |slot| slot.0);
            mine.retain(|slot| slot.0 + tier.slots > newest);
        }
    }
}

fn add_to(slots: &mut VecDeque<(u32, Sketch)>, slot: u32, sketch: &Sketch) {
    let after = slots.iter().rev().take_while(|held| held.0 > slot).count();
    let position = slots.len() - after;
    match position.checked_sub(1).and_then(|last| slots.get_mut(last)) {
        Some((held, counts)) if *held == slot => *counts = counts.merged(sketch),
        _ => {
            // A ring is long-lived and there are thousands: doubling would waste a third of it.
            if slots.len() == slots.capacity() {
                slots.reserve_exact(8);
            }
            slots.insert(position, (slot, sketch.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of_values(values: &[u64]) -> Sketch {
        let mut open = OpenLatency::default();
        for value in values {
            open.record(*value, 1);
        }
        open.to_sketch()
    }

    proptest! {
        #[test]
        fn property_few_and_many_values_give_the_same_sketch(
            values in proptest::collection::vec(1..4_000_000_000_u64, 1..200),
        ) {
            let mut folded = OpenLatency::default();
            for value in &values {
                folded.record(*value, 1);
                folded.fold();
            }
            prop_assert_eq!(of_values(&values), folded.to_sketch());
        }

        #[test]
        fn property_quantiles_are_within_two_and_a_half_percent(
            mut values in proptest::collection::vec(100..10_000_000_u64, 1..2_000),
            quantile in 0.01..1.0_f64,
        ) {
            let mut counts = LatencyCounts::default();
            counts.add(&of_values(&values));
            values.sort_unstable();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank")]
            let rank = (quantile * values.len() as f64).ceil() as usize;
            let exact = values[rank - 1] as f64 / 1e6;
            let seen = counts.quantile_secs(quantile).unwrap();
            prop_assert!((seen / exact - 1.0).abs() <= 0.025, "{seen} {exact}");
        }

        #[test]
        fn property_a_window_holds_the_minutes_since_its_start(
            ages in proptest::collection::vec(0..45_000_u32, 1..100),
        ) {
            let now_minute = 30_000_000_u32;
            let mut tiers = LatencyTiers::default();
            for age in &ages {
                tiers.add(now_minute - age, &of_values(&[1_000]));
            }
            for (window, slack) in [(Window::H1, 1), (Window::H6, 12), (Window::D1, 60), (Window::D30, 1_440)] {
                let minutes = u32::try_from(window.secs() / 60).unwrap();
                let mut counts = LatencyCounts::default();
                tiers.collect(u64::from(now_minute) * 60 * NANOS_PER_SEC, window, &mut counts);
                let within = |limit: u32| ages.iter().filter(|age| **age < limit).count() as u64;
                prop_assert!(counts.total() >= within(minutes - slack), "{window:?}");
                prop_assert!(counts.total() <= within(minutes + slack + 1), "{window:?}");
            }
        }
    }

    #[test]
    fn an_open_minute_survives_serialisation_at_the_precision_of_a_sketch() {
        let mut open = OpenLatency::default();
        for value in 1..2_000 {
            open.record(value * 37, 1);
        }
        let bytes = postcard::to_stdvec(&open).unwrap();
        let restored: OpenLatency = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(restored.to_sketch(), open.to_sketch());
    }

    #[test]
    fn merged_tiers_hold_the_slots_of_both() {
        let (mut left, mut right) = (LatencyTiers::default(), LatencyTiers::default());
        left.add(100, &of_values(&[5, 6]));
        right.add(100, &of_values(&[6]));
        right.add(90, &of_values(&[7]));
        left.merge(&right);
        let mut whole = LatencyTiers::default();
        whole.add(90, &of_values(&[7]));
        whole.add(100, &of_values(&[5, 6, 6]));
        assert_eq!(left, whole);
    }
}
