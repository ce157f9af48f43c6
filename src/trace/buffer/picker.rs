//! Which spans are kept: asked for every span that comes in, so it compares and looks up, and allocates nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::batch::EventBatch;
use crate::model::series::SeriesId;
use crate::model::span::Outcome;
use crate::trace::sampling::{Randomness, Threshold};

/// Traces that are wanted at once, a power of two: 32 KiB. A further one takes the place of an older one.
const WANTED: u64 = 4_096;

/// Operations whose slowness is known, a power of two: 64 KiB. One takes the place of another with the same low bits.
const SLOW: u128 = 4_096;

/// No randomness has so many bits.
const NOBODY: u64 = u64::MAX;

/// The rules, changed while spans are asked for. A change that comes a moment late keeps or loses a span, no more.
#[derive(Debug)]
pub(super) struct Picker {
    sampled_from: AtomicU64,
    wanted_from: AtomicU64,
    /// By the low bits of the randomness.
    wanted: Box<[AtomicU64]>,
    /// Traces that may become wanted until the next tick, and those that did not for want of it.
    left: AtomicU64,
    passed_over: AtomicU64,
    /// By the low bits of the series: its other bits, and the duration above which an event is slow.
    slow: Box<[[AtomicU64; 2]]>,
}

impl Picker {
    pub(super) fn new(max_wanted: u64) -> Self {
        let none = || AtomicU64::new(NOBODY);
        Self {
            sampled_from: AtomicU64::new(Threshold::ALL.number()),
            wanted_from: AtomicU64::new(Threshold::ALL.number()),
            left: AtomicU64::new(max_wanted),
            passed_over: AtomicU64::new(0),
            wanted: (0..WANTED).map(|_| none()).collect(),
            slow: (0..SLOW).map(|_| [none(), none()]).collect(),
        }
    }

    /// Whether a span of the request belongs to a trace that is kept. Traces with an error or a slow entry span are
    /// wanted from here on.
    #[inline]
    pub(super) fn picks(&self, batch: &EventBatch) -> bool {
        let sampled_from = self.sampled_from.load(Ordering::Relaxed);
        let wanted_from = self.wanted_from.load(Ordering::Relaxed);
        for event in &batch.events {
            if (event.outcome == Outcome::Error || self.is_slow(event.series, event.duration_nanos))
                && event.randomness < sampled_from
                && wanted_share(event.randomness) >= wanted_from
                && !event.excluded
            {
                self.want(event.randomness);
            }
        }
        let mut all = batch.randomness.iter();
        all.any(|randomness| *randomness >= sampled_from || self.is_wanted(*randomness))
    }

    /// Whether a trace is kept because an error or a slow entry span was seen in it.
    #[inline]
    pub(super) fn is_wanted(&self, randomness: u64) -> bool {
        let place = self.wanted.get((randomness % WANTED) as usize);
        place.is_some_and(|place| place.load(Ordering::Relaxed) == randomness)
    }

    #[cold]
    fn want(&self, randomness: u64) {
        if self.is_wanted(randomness) {
            return;
        }
        let take = |left: u64| left.checked_sub(1);
        let taken = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        if taken.is_err() {
            self.passed_over.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if let Some(place) = self.wanted.get((randomness % WANTED) as usize) {
            place.store(randomness, Ordering::Relaxed);
        }
    }

    #[inline]
    fn is_slow(&self, series: SeriesId, duration_nanos: u64) -> bool {
        let place = self.slow.get((series.0 % SLOW) as usize);
        place.is_some_and(|[tag, nanos]| {
            duration_nanos > nanos.load(Ordering::Relaxed)
                && tag.load(Ordering::Relaxed) == tag_of(series)
        })
    }

    /// From here on, events of these series are slow if they take longer than this, and others never are.
    pub(super) fn set_slow(&self, limits: impl IntoIterator<Item = (SeriesId, u64)>) {
        let mut limits_by_place = vec![[NOBODY, NOBODY]; SLOW as usize];
        for (series, nanos) in limits {
            if let Some(place) = limits_by_place.get_mut((series.0 % SLOW) as usize) {
                *place = [tag_of(series), nanos];
            }
        }
        for (place, limit) in self.slow.iter().zip(limits_by_place) {
            for (cell, value) in place.iter().zip(limit) {
                cell.store(value, Ordering::Relaxed);
            }
        }
    }

    /// So many traces may become wanted until the next call.
    pub(super) fn refill(&self, max_wanted: u64) {
        self.left.store(max_wanted, Ordering::Relaxed);
    }

    /// Traces that would have become wanted, had there not been so many.
    pub(super) fn passed_over(&self) -> u64 {
        self.passed_over.load(Ordering::Relaxed)
    }

    /// Whether a trace is kept by its id.
    pub(super) fn is_sampled(&self, randomness: Randomness) -> bool {
        randomness.number() >= self.sampled_from.load(Ordering::Relaxed)
    }

    pub(super) fn set_sampled(&self, threshold: Threshold) {
        self.sampled_from
            .store(threshold.number(), Ordering::Relaxed);
    }

    /// Traces below the threshold are wanted no more.
    pub(super) fn set_wanted(&self, threshold: Threshold) {
        self.wanted_from
            .store(threshold.number(), Ordering::Relaxed);
        for place in &self.wanted {
            let held = place.load(Ordering::Relaxed);
            if held != NOBODY && wanted_share(held) < threshold.number() {
                // Another one may have come meanwhile, which stays.
                place
                    .compare_exchange(held, NOBODY, Ordering::Relaxed, Ordering::Relaxed)
                    .ok();
            }
        }
    }
}

/// What decides whether a trace may be wanted: were it the randomness itself, only those would be that are sampled anyway.
fn wanted_share(randomness: u64) -> u64 {
    Randomness::from_number(randomness).other().number()
}

/// The bits that do not choose the place.
fn tag_of(series: SeriesId) -> u64 {
    (series.0 >> 64) as u64
}
