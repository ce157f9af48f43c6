//! On which days the spans of a service were weighed by what their senders were asked, so that nobody takes the history of those
//! days for a full one after a restart.

use std::collections::BTreeSet;

use redb::{ReadableTable, TableDefinition, WriteTransaction};

use crate::store::{Store, StoreError};

/// (service, day since the Unix epoch).
const ASSUMED: TableDefinition<'_, (&str, u32), ()> = TableDefinition::new("assumed_sampling");

impl Store {
    /// All such days.
    pub fn assumed_days(&self) -> Result<BTreeSet<(String, u32)>, StoreError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(ASSUMED)?;
        let mut days = BTreeSet::new();
        for entry in table.iter()? {
            let (key, _) = entry?;
            let (service, day) = key.value();
            days.insert((service.to_owned(), day));
        }
        Ok(days)
    }

    /// Adds days.
    pub fn add_assumed_days(&self, days: &BTreeSet<(String, u32)>) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(ASSUMED)?;
            for (service, day) in days {
                table.insert((service.as_str(), *day), ())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

/// Makes the table.
pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(ASSUMED)?;
    Ok(())
}

/// Removes the days before this one.
pub(super) fn prune(transaction: &WriteTransaction, first_day: u64) -> Result<(), StoreError> {
    let mut table = transaction.open_table(ASSUMED)?;
    table.retain(|(_, day), ()| u64::from(day) >= first_day)?;
    Ok(())
}
