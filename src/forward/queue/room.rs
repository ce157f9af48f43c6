//! How many bytes of requests may be in memory at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits are for so many bytes each: a semaphore counts no more than 2²⁹ of them on small machines.
const UNIT: u64 = 1024;

/// Shared by those who bring requests and those who take them away.
#[derive(Clone, Debug)]
pub(in crate::forward) struct Room {
    permits: Arc<Semaphore>,
    total: u32,
}

/// The bytes of one request.
pub(in crate::forward) type Permit = OwnedSemaphorePermit;

impl Room {
    pub(in crate::forward) fn new(bytes: u64) -> Self {
        let most = u64::from(u32::MAX / 8);
        let total = u32::try_from((bytes / UNIT).min(most)).unwrap_or(2).max(2);
        Self {
            permits: Arc::new(Semaphore::new(total as usize)),
            total,
        }
    }

    /// A half at most, so that the largest request fits while others stay.
    fn need(&self, bytes: u64) -> u32 {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        units.clamp(1, self.total / 2)
    }

    /// Waits for room; none comes only if the semaphore was closed, which nobody does.
    pub(in crate::forward) async fn take(&self, bytes: u64) -> Option<Permit> {
        let permits = Arc::clone(&self.permits);
        permits.acquire_many_owned(self.need(bytes)).await.ok()
    }

    pub(in crate::forward) fn try_take(&self, bytes: u64) -> Option<Permit> {
        let permits = Arc::clone(&self.permits);
        permits.try_acquire_many_owned(self.need(bytes)).ok()
    }

    /// Whether what is here may stay.
    pub(in crate::forward) fn is_half_free(&self) -> bool {
        self.permits.available_permits() >= (self.total / 2) as usize
    }
}
