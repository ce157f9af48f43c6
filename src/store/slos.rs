//! The store's SLOs: their tables, and what an earlier version left in its own.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use redb::{ReadableTable, TableDefinition, TableHandle, WriteTransaction};

use crate::model::UnixNanos;
use crate::model::record::{Actor, Edit, RecordState, SloRecord};
use crate::model::series::{SeriesId, SeriesKey, ServiceKey};
use crate::model::slo::{Objective, ObjectiveSource};
use crate::store::book::Book;
use crate::store::transitions::{self, append};
use crate::store::{Store, StoreError, unreadable};

/// name → record, as JSON: it outlives the program that wrote it.
const SLOS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("slos");

/// Of an earlier version: name → adopted objective, as JSON.
const OBJECTIVES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objectives");
/// Of an earlier version: name of a candidate → why it was rejected. What a name measured is known once a candidate
/// of that name is fitted; until then the name stays here.
const REJECTED: TableDefinition<'_, &str, &str> = TableDefinition::new("rejected");

impl Store {
    /// All SLOs by name.
    pub fn slos(&self) -> Result<Vec<SloRecord>, StoreError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(SLOS)?;
        let mut all = Vec::new();
        for entry in table.iter()? {
            all.push(read_record(entry?.1.value())?);
        }
        Ok(all)
    }

    /// One SLO.
    pub fn slo(&self, name: &str) -> Result<Option<SloRecord>, StoreError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(SLOS)?;
        let record = table.get(name)?;
        record.map(|record| read_record(record.value())).transpose()
    }

    /// Changes SLOs: what `edit` did is kept as a whole with the transitions that tell of it, or not at all if it fails.
    pub fn edit_slos<T, E: From<StoreError>>(
        &self,
        edit: impl FnOnce(&mut Book) -> Result<T, E>,
    ) -> Result<T, E> {
        let transaction = self.database.begin_write()?;
        let mut book = self.load_book(&transaction)?;
        let done = edit(&mut book)?;
        if book.is_changed() {
            save_book(&transaction, &book)?;
            let limit = self.config.max_transitions;
            let last = append(&transaction, book.transitions(), limit)?;
            transaction.commit().map_err(StoreError::from)?;
            self.told.send_replace(last);
        }
        Ok(done)
    }

    fn load_book(&self, transaction: &WriteTransaction) -> Result<Book, StoreError> {
        let mut records = Vec::new();
        for entry in transaction.open_table(SLOS)?.iter()? {
            records.push(read_record(entry?.1.value())?);
        }
        let mut rejected_names = BTreeMap::new();
        for entry in transaction.open_table(REJECTED)?.iter()? {
            let (name, text) = entry?;
            rejected_names.insert(name.value().to_owned(), text.value().to_owned());
        }
        let book = Book::new(records, self.config.max_history_per_slo);
        Ok(book.with_rejected_names(rejected_names))
    }

    /// Removes proposals that only fits touched and whose history is gone: that of no kept series, and none of `live`.
    pub fn forget_proposals(&self, live: &[(SeriesId, SeriesKey)]) -> Result<usize, StoreError> {
        let kept = self.series()?;
        let held: BTreeSet<(&ServiceKey, Option<&str>)> = kept
            .iter()
            .chain(live)
            .map(|(_, key)| (&key.service, key.operation_name()))
            .collect();
        self.edit_slos(|book| {
            Ok(book.forget(|service, operation| held.contains(&(service, operation))))
        })
    }
}

/// Makes the tables, and takes over what an earlier version kept in its own.
pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(REJECTED)?;
    let mut slos = transaction.open_table(SLOS)?;
    let tables: BTreeSet<String> = transaction
        .list_tables()?
        .map(|table| table.name().to_owned())
        .collect();
    if !tables.contains(OBJECTIVES.name()) {
        return Ok(());
    }
    let adopted_at = adoption_times(transaction)?;
    for entry in transaction.open_table(OBJECTIVES)?.iter()? {
        let (name, objective) = entry?;
        let objective: Objective = serde_json::from_slice(objective.value())
            .map_err(|source| unreadable("objectives", source))?;
        let actor = match objective.source {
            ObjectiveSource::Auto => Actor::Auto,
            ObjectiveSource::Accepted
            | ObjectiveSource::Config
            | ObjectiveSource::File
            | ObjectiveSource::Fitted => Actor::Person { name: None },
        };
        let at = adopted_at.get(name.value()).copied().unwrap_or(0);
        let edit = Edit {
            text: "adopted by a version that kept no history".to_owned(),
            ..Edit::new(timestamp(at), actor)
        };
        let record = SloRecord::written(RecordState::Adopted, objective, &edit);
        slos.insert(name.value(), record_bytes(&record)?.as_slice())?;
    }
    transaction.delete_table(OBJECTIVES)?;
    Ok(())
}

/// When each objective was adopted, as far as its transition is kept.
fn adoption_times(
    transaction: &WriteTransaction,
) -> Result<BTreeMap<String, UnixNanos>, StoreError> {
    let mut times = BTreeMap::new();
    for told in transitions::all(transaction)? {
        if told.kind == "objective" && told.to == RecordState::Adopted.label() {
            times.insert(told.subject, told.at);
        }
    }
    Ok(times)
}

fn timestamp(at: UnixNanos) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(at)).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn save_book(transaction: &WriteTransaction, book: &Book) -> Result<(), StoreError> {
    let mut slos = transaction.open_table(SLOS)?;
    for name in book.touched() {
        match book.get(name) {
            Some(record) => {
                slos.insert(name.as_str(), record_bytes(record)?.as_slice())?;
            }
            None => {
                slos.remove(name.as_str())?;
            }
        }
    }
    transaction
        .open_table(REJECTED)?
        .retain(|name, _| book.is_rejected_name(name))?;
    Ok(())
}

fn read_record(bytes: &[u8]) -> Result<SloRecord, StoreError> {
    serde_json::from_slice(bytes).map_err(|source| unreadable("slos", source))
}

fn record_bytes(record: &SloRecord) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(record).map_err(|source| unreadable("slos", source))
}
