//! The times that events may have: on time, late, or outside of every window.

use crate::model::{NANOS_PER_SEC, UnixNanos};
use crate::window::rolling::{AHEAD_SECS_MAX, HELD_SECS};
use crate::window::settings::WindowsConfig;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    OnTime,
    Late,
    TooOld,
    TooNew,
}

impl Age {
    pub(super) fn is_windowed(self) -> bool {
        match self {
            Self::OnTime | Self::Late => true,
            Self::TooOld | Self::TooNew => false,
        }
    }
}

/// The times that events may have.
pub(super) struct EventRange {
    oldest: UnixNanos,
    late: UnixNanos,
    newest: UnixNanos,
}

impl EventRange {
    pub(super) fn new(config: &WindowsConfig, now: UnixNanos) -> Self {
        let nanos = |secs: u64| secs * NANOS_PER_SEC;
        let late_secs = config.late_after.as_secs().min(HELD_SECS);
        let ahead_secs = config.future_tolerance.as_secs().min(AHEAD_SECS_MAX);
        Self {
            oldest: now.saturating_sub(nanos(HELD_SECS)),
            late: now.saturating_sub(nanos(late_secs)),
            newest: now.saturating_add(nanos(ahead_secs)),
        }
    }

    /// When a series begins whose first event ends at `end`.
    pub(super) fn first(&self, end: UnixNanos, now: UnixNanos) -> UnixNanos {
        if self.age(end).is_windowed() {
            end.min(now)
        } else {
            now
        }
    }

    #[inline]
    pub(super) fn age(&self, end: UnixNanos) -> Age {
        if end > self.newest {
            Age::TooNew
        } else if end >= self.late {
            Age::OnTime
        } else if end >= self.oldest {
            Age::Late
        } else {
            Age::TooOld
        }
    }
}
