//! The only reader of wall time; everything else is given `now`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// Tells the time, or what a test says.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The system's wall clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until it is set, in nanoseconds since the Unix epoch.
    pub fn manual(now: u64) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(now))))
    }

    /// Sets a manual clock; the system's clock does not listen.
    pub fn set(&self, now: u64) {
        if let Source::Manual(time) = &self.0 {
            time.store(now, Ordering::Relaxed);
        }
    }

    /// Now, in nanoseconds since the Unix epoch; 0 if the system's clock stands before it.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    pub fn now(&self) -> u64 {
        match &self.0 {
            Source::System => SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |elapsed| {
                    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
                }),
            Source::Manual(time) => time.load(Ordering::Relaxed),
        }
    }
}
