//! On which days spans were weighed by what their senders were asked: in the store, and since the last flush.

use std::sync::{MutexGuard, PoisonError};

use crate::model::NANOS_PER_SEC;
use crate::service::fit::AssumedDays;
use crate::service::keeper::Keeper;
use crate::store::StoreError;

const DAY_NANOS: u64 = 86_400 * NANOS_PER_SEC;

impl Keeper {
    fn known_days(&self) -> MutexGuard<'_, AssumedDays> {
        self.assumed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what the store knows.
    pub(super) fn remember_assumed(&self) -> Result<(), StoreError> {
        *self.known_days() = self.store.assumed_days()?;
        Ok(())
    }

    /// Days that are known, with those of the newest spans. Days that the history cannot hold come from broken clocks.
    pub(super) fn assumed_days(&self) -> AssumedDays {
        let today = self.clock.now() / DAY_NANOS;
        let held = today.saturating_sub(u64::from(self.history_days))..=today + 1;
        let newest = self.rules.asked().assumed().into_iter();
        let newest = newest.map(|(service, end)| (service, end / DAY_NANOS));
        let newest = newest.filter(|(_, day)| held.contains(day));
        let newest = newest.map(|(service, day)| (service, u32::try_from(day).unwrap_or(u32::MAX)));
        let mut days = self.known_days().clone();
        days.extend(newest);
        days
    }

    /// Writes the days that the store does not know.
    pub(super) fn save_assumed(&self) -> Result<(), StoreError> {
        let days = self.assumed_days();
        let new: AssumedDays = days.difference(&self.known_days()).cloned().collect();
        if !new.is_empty() {
            self.store.add_assumed_days(&new)?;
            *self.known_days() = days;
        }
        Ok(())
    }
}
