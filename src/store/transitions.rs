//! Transitions in the order in which they were kept, and where those who read them have come to.
//!
//! Each has the next number, for good: who knows the last one that it saw misses nothing, and knows how many went for
//! want of room. JSON, since it outlives the program that wrote it.

use redb::{ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};
use serde::Deserialize;
use tokio::sync::watch;

use crate::model::UnixNanos;
use crate::model::record::{Transition, TransitionPage};
use crate::store::{Store, StoreError, decode, unreadable};

/// sequence → transition.
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("transition_log");
/// Who reads → the sequence of the last transition that is done with. Under [`WRITER`] the last one that was given.
const CURSORS: TableDefinition<'_, &str, u64> = TableDefinition::new("cursors");
/// No reader's name has a star.
const WRITER: &str = "*";

/// Of an earlier version: (time, sequence) → transition.
const TRANSITIONS: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("transitions");

/// As an earlier version kept it.
#[derive(Deserialize)]
struct OldTransition {
    at: UnixNanos,
    kind: String,
    subject: String,
    from: String,
    to: String,
    text: String,
}

impl From<OldTransition> for Transition {
    fn from(old: OldTransition) -> Self {
        Self {
            sequence: 0,
            at: old.at,
            kind: old.kind,
            subject: old.subject,
            service: None,
            from: old.from,
            to: old.to,
            text: old.text,
        }
    }
}

impl Store {
    /// Appends what changed.
    pub fn append_transitions(&self, transitions: &[Transition]) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        let last = append(&transaction, transitions, self.config.max_transitions)?;
        transaction.commit()?;
        self.told.send_replace(last);
        Ok(())
    }

    /// The number of the last transition that was kept, as it grows.
    pub fn told(&self) -> watch::Receiver<u64> {
        self.told.subscribe()
    }

    /// What changed, the oldest first: at most `limit` from `since` on, or the newest `limit` of all.
    pub fn transitions(
        &self,
        since: Option<UnixNanos>,
        limit: usize,
    ) -> Result<Vec<Transition>, StoreError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(LOG)?;
        let mut entries = table.iter()?;
        let mut found = Vec::new();
        while found.len() < limit {
            let entry = match since {
                Some(_) => entries.next(),
                None => entries.next_back(),
            };
            let Some(entry) = entry else { break };
            let (sequence, bytes) = entry?;
            let told = read(sequence.value(), bytes.value())?;
            if since.is_none_or(|since| told.at >= since) {
                found.push(told);
            }
        }
        if since.is_none() {
            found.reverse();
        }
        Ok(found)
    }

    /// What changed after the transition of this number, the oldest first and at most `limit`.
    pub fn transitions_after(
        &self,
        cursor: u64,
        limit: usize,
    ) -> Result<TransitionPage, StoreError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(LOG)?;
        let last = transaction.open_table(CURSORS)?.get(WRITER)?;
        let last = last.map_or(0, |last| last.value());
        let oldest = table
            .first()?
            .map_or(last + 1, |(sequence, _)| sequence.value());
        let mut transitions = Vec::new();
        for entry in table.range(cursor.saturating_add(1)..)?.take(limit) {
            let (sequence, bytes) = entry?;
            transitions.push(read(sequence.value(), bytes.value())?);
        }
        Ok(TransitionPage {
            transitions,
            last,
            dropped: oldest.saturating_sub(1).saturating_sub(cursor),
        })
    }

    /// Where a reader has come to; nothing of one that was never here.
    pub fn cursor(&self, reader: &str) -> Result<Option<u64>, StoreError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(CURSORS)?;
        Ok(table.get(reader)?.map(|cursor| cursor.value()))
    }

    /// Remembers where a reader has come to.
    pub fn keep_cursor(&self, reader: &str, cursor: u64) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(CURSORS)?.insert(reader, cursor)?;
        transaction.commit()?;
        Ok(())
    }
}

/// Makes the tables, and takes over the transitions that an earlier version kept. Returns the last number given.
pub(super) fn prepare(transaction: &WriteTransaction) -> Result<u64, StoreError> {
    let mut old = Vec::new();
    for entry in transaction.open_table(TRANSITIONS)?.iter()? {
        let told: OldTransition = decode("transitions", entry?.1.value())?;
        old.push(Transition::from(told));
    }
    transaction.delete_table(TRANSITIONS)?;
    append(transaction, &old, u64::MAX)
}

/// All that is kept, the oldest first.
pub(super) fn all(transaction: &WriteTransaction) -> Result<Vec<Transition>, StoreError> {
    let mut all = Vec::new();
    for entry in transaction.open_table(LOG)?.iter()? {
        let (sequence, bytes) = entry?;
        all.push(read(sequence.value(), bytes.value())?);
    }
    Ok(all)
}

/// Gives each the next number; at most `limit` stay. Returns the last number given.
pub(super) fn append(
    transaction: &WriteTransaction,
    transitions: &[Transition],
    limit: u64,
) -> Result<u64, StoreError> {
    let mut cursors = transaction.open_table(CURSORS)?;
    let mut last = cursors.get(WRITER)?.map_or(0, |last| last.value());
    let mut log = transaction.open_table(LOG)?;
    for transition in transitions {
        last += 1;
        let bytes = serde_json::to_vec(transition)
            .map_err(|source| unreadable("transition_log", source))?;
        log.insert(last, bytes.as_slice())?;
    }
    while log.len()? > limit {
        log.pop_first()?;
    }
    cursors.insert(WRITER, last)?;
    Ok(last)
}

fn read(sequence: u64, bytes: &[u8]) -> Result<Transition, StoreError> {
    let told: Transition =
        serde_json::from_slice(bytes).map_err(|source| unreadable("transition_log", source))?;
    Ok(Transition { sequence, ..told })
}
