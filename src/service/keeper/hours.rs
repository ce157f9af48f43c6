//! The traffic of the past by the hour, for forecasts.

use std::collections::BTreeMap;

use crate::model::series::SeriesScope;
use crate::service::keeper::{Keeper, minute_before};
use crate::store::StoreError;

impl Keeper {
    /// Adjusted entry spans of all services by the hour since the Unix epoch, as the history has them.
    pub(in crate::service) fn hourly_entries(&self) -> Result<Vec<(u32, f64)>, StoreError> {
        let from_minute = minute_before(self.clock.now(), u64::from(self.history_days) * 86_400);
        let mut hours: BTreeMap<u32, f64> = BTreeMap::new();
        for (id, key) in self.store.series()? {
            if key.scope != SeriesScope::Service {
                continue;
            }
            for row in self.store.minutes(id, from_minute)? {
                *hours.entry(row.minute / 60).or_default() += row.sums.total;
            }
        }
        Ok(hours.into_iter().collect())
    }
}
