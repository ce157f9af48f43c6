//! The compact latency counts of closed slots and of history rows.
//!
//! Durations fall into log-linear buckets: 32 to an octave, so that a bucket is at most 1/32 wide and its middle is
//! at most 1.6 % off. A sketch is the sorted list of occupied buckets, as varints: the count
//! with a low bit that says whether the gap to the bucket before follows, since neighbours are the rule.

use serde::{Deserialize, Serialize};

/// Number of buckets: values up to 2³² µs (71 minutes) are told apart.
pub const BUCKETS: usize = (33 - SUB_BITS as usize) << SUB_BITS;

const SUB_BITS: u32 = 5;
const SUB_COUNT: u64 = 1 << SUB_BITS;
const MICROS_MAX: u64 = u32::MAX as u64;
#[expect(clippy::cast_possible_truncation, reason = "896 buckets")]
const BUCKET_MAX: u16 = BUCKETS as u16 - 1;

/// The bucket of a duration. Longer ones than 2³² µs fall into the last bucket.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a clamped duration has a bucket below 896"
)]
pub fn bucket_of(micros: u64) -> u16 {
    let micros = micros.min(MICROS_MAX);
    if micros < SUB_COUNT {
        return micros as u16;
    }
    let shift = micros.ilog2() - SUB_BITS;
    ((u64::from(shift) * SUB_COUNT) + (micros >> shift)) as u16
}

/// Smallest and largest duration of a bucket, in microseconds. Numbers that no bucket has mean the last one.
pub fn bucket_bounds_micros(bucket: u16) -> (u64, u64) {
    let bucket = u64::from(bucket.min(BUCKET_MAX));
    if bucket < 2 * SUB_COUNT {
        return (bucket, bucket);
    }
    let shift = bucket / SUB_COUNT - 1;
    let mantissa = bucket % SUB_COUNT + SUB_COUNT;
    (mantissa << shift, ((mantissa + 1) << shift) - 1)
}

/// Largest count of a bucket.
const COUNT_MAX: u64 = u64::MAX >> 1;

/// Occupied buckets with their counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sketch(Box<[u8]>);

impl Sketch {
    /// From counts sorted by bucket, each bucket once.
    pub fn from_sorted(counts: impl IntoIterator<Item = (u16, u64)>) -> Self {
        let mut bytes = Vec::with_capacity(256);
        let mut next = 0;
        for (bucket, count) in counts {
            if count == 0 {
                continue;
            }
            debug_assert!(bucket >= next, "counts are sorted, each bucket once");
            let gap = u64::from(bucket.saturating_sub(next));
            push_varint(&mut bytes, count.min(COUNT_MAX) << 1 | u64::from(gap > 0));
            if gap > 0 {
                push_varint(&mut bytes, gap);
            }
            next = bucket.saturating_add(1);
        }
        // A copy of the exact size: shrinking in place leaves up to half of the block unused.
        Self(bytes.as_slice().into())
    }

    /// No counts at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The buckets with their counts, in order.
    pub fn iter(&self) -> SketchIter<'_> {
        SketchIter {
            rest: &self.0,
            next: 0,
        }
    }

    /// Both together.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        let mut left = self.iter().peekable();
        let mut right = other.iter().peekable();
        Self::from_sorted(std::iter::from_fn(|| match (left.peek(), right.peek()) {
            (Some(a), Some(b)) if a.0 == b.0 => {
                let sum = (a.0, a.1.saturating_add(b.1));
                left.next();
                right.next();
                Some(sum)
            }
            (Some(a), Some(b)) if a.0 > b.0 => right.next(),
            (Some(_), _) => left.next(),
            (None, _) => right.next(),
        }))
    }
}

impl<'a> IntoIterator for &'a Sketch {
    type Item = (u16, u64);
    type IntoIter = SketchIter<'a>;

    fn into_iter(self) -> SketchIter<'a> {
        self.iter()
    }
}

/// Iterator over the buckets of a [`Sketch`].
#[derive(Clone, Debug)]
pub struct SketchIter<'a> {
    rest: &'a [u8],
    next: u16,
}

impl Iterator for SketchIter<'_> {
    type Item = (u16, u64);

    fn next(&mut self) -> Option<(u16, u64)> {
        let count = take_varint(&mut self.rest)?;
        let gap = if count & 1 == 1 {
            take_varint(&mut self.rest)?
        } else {
            0
        };
        let (count, gap) = (count >> 1, u16::try_from(gap).unwrap_or(u16::MAX));
        let bucket = self.next.saturating_add(gap);
        self.next = bucket.saturating_add(1);
        Some((bucket, count))
    }
}

pub(in crate::window) fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            bytes.push(low & 0x7f);
            return;
        }
        bytes.push(low | 0x80);
    }
}

pub(in crate::window) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Counts of every bucket, to add sketches up and read quantiles.
#[derive(Clone, Debug)]
pub struct LatencyCounts {
    counts: Box<[u64; BUCKETS]>,
    total: u64,
}

impl Default for LatencyCounts {
    fn default() -> Self {
        Self {
            counts: Box::new([0; BUCKETS]),
            total: 0,
        }
    }
}

impl LatencyCounts {
    /// Adds a sketch.
    pub fn add(&mut self, sketch: &Sketch) {
        for (bucket, count) in sketch {
            self.add_bucket(bucket, count);
        }
    }

    /// Adds events to one bucket.
    pub fn add_bucket(&mut self, bucket: u16, count: u64) {
        if let Some(cell) = self.counts.get_mut(usize::from(bucket)) {
            *cell = cell.saturating_add(count);
            self.total = self.total.saturating_add(count);
        }
    }

    /// Events in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The bucket that holds the event of this rank, 1 ≤ rank ≤ total.
    pub fn bucket_at_rank(&self, rank: u64) -> Option<u16> {
        let mut seen = 0_u64;
        (0..)
            .zip(self.counts.iter())
            .find(|(_, count)| {
                seen = seen.saturating_add(**count);
                seen >= rank.max(1)
            })
            .map(|(bucket, _)| bucket)
    }

    /// The bucket that holds the quantile; `None` without events.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a quantile is at most 1, and the conversion saturates"
    )]
    pub fn bucket_at_quantile(&self, quantile: f64) -> Option<u16> {
        self.bucket_at_rank((quantile * self.total as f64).ceil() as u64)
    }

    /// The middle of the bucket that holds the quantile, in seconds; `None` without events.
    pub fn quantile_secs(&self, quantile: f64) -> Option<f64> {
        let (low, high) = bucket_bounds_micros(self.bucket_at_quantile(quantile)?);
        Some((low + high) as f64 / 2e6)
    }

    /// Events in buckets whose upper bound is at most `micros`.
    pub fn at_most_micros(&self, micros: u64) -> u64 {
        (0..)
            .zip(self.counts.iter())
            .take_while(|(bucket, _)| bucket_bounds_micros(*bucket).1 <= micros)
            .fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// The occupied buckets.
    pub fn to_sketch(&self) -> Sketch {
        Sketch::from_sorted((0..).zip(self.counts.iter().copied()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Model = BTreeMap<u16, u64>;

    fn sketch_of(model: &Model) -> Sketch {
        Sketch::from_sorted(model.iter().map(|(bucket, count)| (*bucket, *count)))
    }

    fn counts_of(durations_micros: &[u64]) -> LatencyCounts {
        let mut counts = LatencyCounts::default();
        for micros in durations_micros {
            counts.add_bucket(bucket_of(*micros), 1);
        }
        counts
    }

    fn models() -> impl Strategy<Value = Model> {
        let counts = prop_oneof![Just(1_u64), 1..300_u64, 1..=1_u64 << 40];
        prop::collection::btree_map(0..=BUCKET_MAX, counts, 0..60)
    }

    #[test]
    fn buckets_follow_each_other_without_gap_or_overlap() {
        let mut next = 0;
        for bucket in 0..=BUCKET_MAX {
            let (low, high) = bucket_bounds_micros(bucket);
            assert_eq!(low, next, "bucket {bucket}");
            assert_eq!(bucket_of(low), bucket);
            assert_eq!(bucket_of(high), bucket);
            next = high + 1;
        }
        assert_eq!(next, 1 << 32);
    }

    #[test]
    fn durations_beyond_the_range_fall_into_the_last_bucket() {
        assert_eq!(bucket_of(u64::MAX), BUCKET_MAX);
        assert_eq!(
            bucket_bounds_micros(u16::MAX),
            bucket_bounds_micros(BUCKET_MAX)
        );
    }

    #[test]
    fn a_sketch_of_no_events_is_empty_and_has_no_quantile() {
        assert!(Sketch::from_sorted([(3, 0)]).is_empty());
        assert_eq!(Sketch::default().iter().next(), None);
        let counts = LatencyCounts::default();
        assert_eq!(counts.quantile_secs(0.5), None);
        assert_eq!(counts.bucket_at_rank(1), None);
        assert_eq!(counts.at_most_micros(u64::MAX), 0);
    }

    #[test]
    fn a_rank_beyond_the_events_has_no_bucket() {
        let counts = counts_of(&[10, 20]);
        assert_eq!(counts.bucket_at_rank(2), Some(20));
        assert_eq!(counts.bucket_at_rank(3), None);
    }

    #[test]
    fn a_bucket_that_does_not_exist_is_not_counted() {
        let mut counts = LatencyCounts::default();
        counts.add_bucket(u16::MAX, 5);
        assert_eq!(counts.total(), 0);
    }

    #[test]
    fn a_sketch_takes_a_byte_for_few_events_in_a_neighbouring_bucket() {
        let model: Model = (200..230).map(|bucket| (bucket, 63)).collect();
        // The first gap takes two bytes of its own.
        assert_eq!(sketch_of(&model).0.len(), 3 + 29);
    }

    #[test]
    fn a_truncated_sketch_ends_early_and_does_not_fail() {
        let bytes = sketch_of(&Model::from([(5, 7), (900, 1 << 40)])).0;
        for length in 0..bytes.len() {
            let cut = Sketch(bytes.iter().copied().take(length).collect());
            assert!(cut.iter().count() < 2);
        }
    }

    proptest! {
        #[test]
        fn property_a_bucket_holds_its_duration_and_is_at_most_a_32nd_wide(
            micros in prop_oneof![0..5_000_u64, 0..=MICROS_MAX],
        ) {
            let (low, high) = bucket_bounds_micros(bucket_of(micros));
            prop_assert!(low <= micros && micros <= high);
            prop_assert!((high - low) * 32 <= low.max(1), "{low}..{high}");
        }

        #[test]
        fn property_a_sketch_gives_back_what_was_put_in(model in models()) {
            let found: Model = sketch_of(&model).iter().collect();
            prop_assert_eq!(found, model);
        }

        #[test]
        fn property_merging_sketches_adds_their_counts(left in models(), right in models()) {
            let mut wanted = left.clone();
            for (bucket, count) in &right {
                *wanted.entry(*bucket).or_default() += count;
            }
            let merged = sketch_of(&left).merged(&sketch_of(&right));
            prop_assert_eq!(&merged, &sketch_of(&wanted));

            let mut counts = LatencyCounts::default();
            counts.add(&sketch_of(&left));
            counts.add(&sketch_of(&right));
            prop_assert_eq!(counts.total(), wanted.values().sum::<u64>());
            prop_assert_eq!(counts.to_sketch(), merged);
        }

        #[test]
        fn property_any_bytes_read_as_a_sorted_sketch(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let buckets: Vec<u16> = Sketch(bytes.into()).iter().map(|(bucket, _)| bucket).collect();
            prop_assert!(buckets.is_sorted());
        }

        #[test]
        fn property_ranks_and_quantiles_are_those_of_the_sorted_durations(
            mut durations in prop::collection::vec(0..100_000_000_u64, 1..200),
            quantile in 0.0..=1.0_f64,
        ) {
            let counts = counts_of(&durations);
            durations.sort_unstable();
            for (rank, micros) in (1..).zip(&durations) {
                prop_assert_eq!(counts.bucket_at_rank(rank), Some(bucket_of(*micros)));
            }
            let rank = (quantile * durations.len() as f64).ceil().max(1.0);
            let exact = (1..)
                .zip(&durations)
                .find(|(at, _)| f64::from(*at) >= rank)
                .map(|(_, micros)| *micros as f64 / 1e6)
                .unwrap();
            let found = counts.quantile_secs(quantile).unwrap();
            prop_assert!((found - exact).abs() <= exact / 63.0 + 1e-9, "{found} for {exact}");
        }

        #[test]
        fn property_events_at_most_a_threshold_leave_out_only_its_own_bucket(
            durations in prop::collection::vec(0..1_000_000_u64, 0..200),
            threshold in 0..1_000_000_u64,
        ) {
            let counts = counts_of(&durations);
            let at_most = |limit: u64| durations.iter().filter(|micros| **micros < limit).count();
            let (low, high) = bucket_bounds_micros(bucket_of(threshold));
            let found = counts.at_most_micros(threshold);
            let wanted = if threshold == high { high + 1 } else { low };
            prop_assert_eq!(found, at_most(wanted) as u64);
        }
    }
}
