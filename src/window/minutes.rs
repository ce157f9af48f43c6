//! The minutes of a series that are still open: precise, a few at a time, compact once they close.

use serde::{Deserialize, Serialize};

use crate::model::batch::Event;
use crate::model::history::MinuteRow;
use crate::model::span::Outcome;
use crate::model::window::WindowSums;
use crate::model::{NANOS_PER_SEC, UnixNanos};
use crate::window::latency::OpenLatency;
use crate::window::rolling::sums_of_one;
use crate::window::sketch::Sketch;

/// Nanoseconds in a minute.
pub const NANOS_PER_MINUTE: u64 = 60 * NANOS_PER_SEC;

/// Minutes that may be open at once; one more closes the oldest.
const OPEN_MINUTES_MAX: usize = 4;

/// The minute of an instant.
#[inline]
pub fn minute_of(at: UnixNanos) -> u32 {
    u32::try_from(at / NANOS_PER_MINUTE).unwrap_or(u32::MAX)
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct OpenMinute {
    minute: u32,
    sums: WindowSums,
    latency: OpenLatency,
}

impl OpenMinute {
    fn close(&self) -> ClosedMinute {
        ClosedMinute {
            minute: self.minute,
            sums: self.sums,
            latency: self.latency.to_sketch(),
        }
    }
}

/// A minute of a series, compact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClosedMinute {
    /// Minutes since the Unix epoch.
    pub minute: u32,
    /// Its events.
    pub sums: WindowSums,
    /// Durations of those without an error.
    pub latency: Sketch,
}

impl ClosedMinute {
    /// As the history has it.
    pub fn row(&self) -> MinuteRow {
        MinuteRow {
            minute: self.minute,
            sums: self.sums,
            latency: self.latency.iter().collect(),
        }
    }

    /// Adds another part of the same minute.
    pub fn merge(&mut self, other: &Self) {
        self.sums = self.sums.plus(other.sums);
        self.latency = self.latency.merged(&other.latency);
    }
}

/// The minutes that are open.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct OpenMinutes(Vec<OpenMinute>);

impl OpenMinutes {
    /// Counts an event in its minute. Returns the minute that had to close for it.
    #[inline]
    pub fn record(&mut self, event: &Event) -> Option<ClosedMinute> {
        let minute = minute_of(event.end);
        let (position, closed) = match self.0.iter().rposition(|open| open.minute == minute) {
            Some(position) => (position, None),
            None => self.begin(minute),
        };
        if let Some(open) = self.0.get_mut(position) {
            let bad = event.outcome == Outcome::Error;
            open.sums = open.sums.plus(sums_of_one(bad, event.weight));
            if !bad {
                open.latency
                    .record(event.duration_nanos / 1_000, event.count);
            }
        }
        closed
    }

    #[cold]
    fn begin(&mut self, minute: u32) -> (usize, Option<ClosedMinute>) {
        let oldest = self.0.iter().map(|open| open.minute).min();
        let closed = match oldest {
            Some(oldest) if self.0.len() >= OPEN_MINUTES_MAX => self.close_before(oldest + 1),
            Some(_) | None => None,
        };
        self.0.push(OpenMinute {
            minute,
            sums: WindowSums::default(),
            latency: OpenLatency::default(),
        });
        (self.0.len() - 1, closed)
    }

    /// Closes one of the minutes before `until`.
    pub fn close_before(&mut self, until: u32) -> Option<ClosedMinute> {
        let position = self.0.iter().position(|open| open.minute < until)?;
        Some(self.0.remove(position).close())
    }

    /// Takes one minute.
    pub fn take(&mut self, minute: u32) -> Option<ClosedMinute> {
        let position = self.0.iter().position(|open| open.minute == minute)?;
        Some(self.0.remove(position).close())
    }

    /// The open minutes as if they closed now.
    pub fn iter(&self) -> impl Iterator<Item = ClosedMinute> {
        self.0.iter().map(OpenMinute::close)
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
