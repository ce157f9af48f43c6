//! The rows of the history that were written after the last checkpoint, which does not know that they were.

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadableTable, TableDefinition, WriteTransaction};

use crate::model::history::MinuteRow;
use crate::model::series::SeriesId;
use crate::store::rows::{HistoryKey, decode_row};
use crate::store::{HISTORY, Store, StoreError, unreadable};

/// Number of the write → keys of its rows, one after the other.
const RECENT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("recent");

/// `stopped` → the checkpoint of an orderly stop; empty while running.
const STATE: TableDefinition<'_, &str, u64> = TableDefinition::new("state");

const STOPPED: &str = "stopped";

/// Rows by series, each with its key.
#[derive(Debug, Default)]
pub struct RecentRows(BTreeMap<SeriesId, Vec<(HistoryKey, MinuteRow)>>);

impl RecentRows {
    /// The series that have some.
    pub fn series(&self) -> impl Iterator<Item = SeriesId> {
        self.0.keys().copied()
    }

    /// The rows of a series, in order.
    pub fn of(&self, series: SeriesId) -> impl Iterator<Item = &MinuteRow> {
        let own = self.0.get(&series);
        own.into_iter().flatten().map(|(_, row)| row)
    }
}

/// Makes the tables.
pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(RECENT)?;
    transaction.open_table(STATE)?;
    Ok(())
}

/// Notes rows that are written in this transaction.
pub(super) fn note(
    transaction: &WriteTransaction,
    written: &[HistoryKey],
) -> Result<(), StoreError> {
    if written.is_empty() {
        return Ok(());
    }
    let mut recent = transaction.open_table(RECENT)?;
    let number = recent.last()?.map_or(0, |(number, _)| number.value()) + 1;
    let keys: Vec<u8> = written.iter().flat_map(|key| key.bytes()).collect();
    recent.insert(number, keys.as_slice())?;
    Ok(())
}

impl Store {
    /// The number of the last write of the history, as far as they are counted.
    pub fn last_write(&self) -> Result<u64, StoreError> {
        let transaction = self.database.begin_read()?;
        let recent = transaction.open_table(RECENT)?;
        let last = recent.last()?;
        Ok(last.map_or(0, |(number, _)| number.value()))
    }

    /// The rows that were written after the write of this number.
    pub fn written_after(&self, saved: u64) -> Result<RecentRows, StoreError> {
        let transaction = self.database.begin_read()?;
        let recent = transaction.open_table(RECENT)?;
        let history = transaction.open_table(HISTORY)?;
        let mut rows = RecentRows::default();
        // A row that was taken back and written again stands in two writes.
        let mut seen = BTreeSet::new();
        for entry in recent.range(saved.saturating_add(1)..)? {
            let (_, keys) = entry?;
            let (keys, _) = keys.value().as_chunks::<{ HistoryKey::LEN }>();
            for bytes in keys {
                let key = HistoryKey::from_bytes(bytes);
                // It may have been removed by now.
                if let Some(row) = history.get(bytes)?
                    && seen.insert(*bytes)
                {
                    let row = decode_row(key.minute(), row.value());
                    let row = row.map_err(|source| unreadable("history", source))?;
                    rows.0.entry(key.series()).or_default().push((key, row));
                }
            }
        }
        Ok(rows)
    }

    /// Removes those of the rows that speak of these minutes of a series.
    pub fn take_back(
        &self,
        rows: &RecentRows,
        minutes: &BTreeMap<SeriesId, BTreeSet<u32>>,
    ) -> Result<u64, StoreError> {
        let transaction = self.database.begin_write()?;
        let mut removed = 0;
        {
            let mut history = transaction.open_table(HISTORY)?;
            for (series, minutes) in minutes {
                let own = rows.0.get(series).into_iter().flatten();
                for (key, _) in own.filter(|(key, _)| minutes.contains(&key.minute())) {
                    removed += u64::from(history.remove(&key.bytes())?.is_some());
                }
            }
        }
        transaction.commit()?;
        Ok(removed)
    }

    /// Forgets the writes up to this number: a checkpoint knows of them. Their number goes on.
    pub fn forget_writes(&self, saved: u64) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        transaction
            .open_table(RECENT)?
            .retain(|number, _| number >= saved)?;
        transaction.commit()?;
        Ok(())
    }

    /// Notes that the windows stopped with this checkpoint, and that nothing came after it.
    pub fn note_stop(&self, checkpoint: u64) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(STATE)?.insert(STOPPED, checkpoint)?;
        transaction.commit()?;
        Ok(())
    }

    /// Takes the checkpoint of the stop before, so that a crash does not find it; none after a crash.
    pub fn take_stop(&self) -> Result<Option<u64>, StoreError> {
        let transaction = self.database.begin_write()?;
        let stopped = {
            let mut state = transaction.open_table(STATE)?;
            let stopped = state.remove(STOPPED)?;
            stopped.map(|checkpoint| checkpoint.value())
        };
        transaction.commit()?;
        Ok(stopped)
    }
}
