//! Candidates from the history: one group of series after the other, so that a fit holds little memory and few locks.

use std::sync::atomic::Ordering;

use crate::model::candidate::Candidate;
use crate::model::history::MinuteRow;
use crate::model::series::SeriesId;
use crate::service::fit::fit_all;
use crate::service::keeper::{Keeper, minute_before};
use crate::store::StoreError;

impl Keeper {
    /// Fits candidates to the history and the minutes that are not in it yet.
    pub(super) fn fit_candidates(&self) -> Result<Vec<Candidate>, StoreError> {
        let from_minute = minute_before(self.clock.now(), u64::from(self.history_days) * 86_400);
        fit_all(
            self.windows.history_keys(),
            (&self.rules, &self.settings),
            &self.assumed_days(),
            |series| self.rows_of(series, from_minute),
            || !self.stopping.load(Ordering::Relaxed),
        )
    }

    /// The history of a series with what is not in it yet.
    fn rows_of(&self, series: SeriesId, from_minute: u32) -> Result<Vec<MinuteRow>, StoreError> {
        // The lock keeps a minute from being counted in the windows and in the store.
        let passage = self.passage();
        let mut rows = self.store.minutes(series, from_minute)?;
        rows.extend(passage.minutes_of(series));
        rows.extend(self.windows.unsaved_minutes(series));
        Ok(rows)
    }
}
