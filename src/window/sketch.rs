//! The compact latency counts of closed slots and of history rows.
//!
//! Durations fall into log-linear buckets: 32 to an octave, so that a bucket is at most 1/32 wide and its middle is
//! at most 1.6 % off. A sketch is the sorted list of occupied buckets, as varints of (gap, count).

use serde::{Deserialize, Serialize};

/// Number of buckets: values up to 2³² µs (71 minutes) are told apart.
pub const BUCKETS: usize = (32 - SUB_BITS as usize) * SUB_COUNT as usize + SUB_COUNT as usize;

const SUB_BITS: u32 = 5;
const SUB_COUNT: u64 = 1 << SUB_BITS;
const MICROS_MAX: u64 = u32::MAX as u64;

/// The bucket of a duration.
pub fn bucket_of(micros: u64) -> u16 {
    let micros = micros.min(MICROS_MAX);
    if micros < SUB_COUNT {
        return micros as u16;
    }
    let shift = micros.ilog2() - SUB_BITS;
    ((u64::from(shift) * SUB_COUNT) + (micros >> shift)) as u16
}

/// Smallest and largest duration of a bucket, in microseconds.
pub fn bucket_bounds_micros(bucket: u16) -> (u64, u64) {
    let bucket = u64::from(bucket);
    if bucket < 2 * SUB_COUNT {
        return (bucket, bucket);
    }
    let shift = bucket / SUB_COUNT - 1;
    let mantissa = bucket % SUB_COUNT + SUB_COUNT;
    (mantissa << shift, ((mantissa + 1) << shift) - 1)
}

/// Occupied buckets with their counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sketch(Box<[u8]>);

impl Sketch {
    /// From counts sorted by bucket, each bucket once.
    pub fn from_sorted(counts: impl IntoIterator<Item = (u16, u64)>) -> Self {
        let mut bytes = Vec::new();
        let mut next = 0;
        for (bucket, count) in counts {
            if count == 0 {
                continue;
            }
            push_varint(&mut bytes, u64::from(bucket - next));
            push_varint(&mut bytes, count);
            next = bucket + 1;
        }
        Self(bytes.into_boxed_slice())
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
                let sum = (a.0, a.1 + b.1);
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

/// Iterator over the buckets of a [`Sketch`].
#[derive(Clone, Debug)]
pub struct SketchIter<'a> {
    rest: &'a [u8],
    next: u16,
}

impl Iterator for SketchIter<'_> {
    type Item = (u16, u64);

    fn next(&mut self) -> Option<(u16, u64)> {
        let gap = take_varint(&mut self.rest)?;
        let count = take_varint(&mut self.rest)?;
        let bucket = self.next.saturating_add(gap as u16);
        self.next = bucket.saturating_add(1);
        Some((bucket, count))
    }
}

fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
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
        for (bucket, count) in sketch.iter() {
            self.add_bucket(bucket, count);
        }
    }

    /// Adds events to one bucket.
    pub fn add_bucket(&mut self, bucket: u16, count: u64) {
        if let Some(cell) = self.counts.get_mut(usize::from(bucket)) {
            *cell += count;
            self.total += count;
        }
    }

    /// Events in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The bucket that holds the event of this rank, 1 ≤ rank ≤ total.
    pub fn bucket_at_rank(&self, rank: u64) -> Option<u16> {
        let mut seen = 0;
        self.counts
            .iter()
            .position(|count| {
                seen += count;
                seen >= rank.max(1)
            })
            .filter(|_| self.total > 0)
            .map(|bucket| bucket as u16)
    }

    /// The middle of the bucket that holds the quantile, in seconds; `None` without events.
    pub fn quantile_secs(&self, quantile: f64) -> Option<f64> {
        let rank = (quantile * self.total as f64).ceil() as u64;
        let (low, high) = bucket_bounds_micros(self.bucket_at_rank(rank)?);
        Some((low + high) as f64 / 2e6)
    }

    /// Events in buckets whose upper bound is at most `micros`.
    pub fn at_most_micros(&self, micros: u64) -> u64 {
        (0..BUCKETS as u16)
            .take_while(|bucket| bucket_bounds_micros(*bucket).1 <= micros)
            .filter_map(|bucket| self.counts.get(usize::from(bucket)))
            .sum()
    }

    /// The occupied buckets.
    pub fn to_sketch(&self) -> Sketch {
        Sketch::from_sorted(
            self.counts
                .iter()
                .enumerate()
                .map(|(bucket, count)| (bucket as u16, *count)),
        )
    }
}
