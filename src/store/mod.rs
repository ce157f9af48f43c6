//! The embedded store (redb, one file in `storage.dir`): history, ledgers, SLOs with what changed, transitions.
//!
//! One writer at a time; a commit is whole or not at all, so an interrupted write leaves the state before it. Beside it,
//! [`mod@file`] keeps SLOs in a JSON file; the rules of both are in [`book`].

mod assumed;
pub mod book;
mod database;
pub mod file;
mod incidents;
pub mod journal;
pub mod recent;
mod rows;
mod seed;
mod slos;
mod topology;
mod transitions;

use std::path::{Path, PathBuf};
use std::time::Duration;

use redb::{Database, DatabaseError, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::model::UnixNanos;
use crate::model::history::{MinuteRow, SeriesMinute};
use crate::model::series::{SeriesId, SeriesKey};
use crate::store::book::DecisionError;
use crate::store::database::Reopening;
use crate::store::rows::{HistoryKey, decode_row, encode_row};
use crate::window::checkpoint::CheckpointError;
use crate::window::ledger::{LEDGER_DAYS, LedgerDay, LedgerRow};
use crate::window::series::CarriedCounters;

const FILE_NAME: &str = "slo-copilot.redb";

/// (series, minute, sequence) → row.
const HISTORY: TableDefinition<'_, &[u8; HistoryKey::LEN], &[u8]> = TableDefinition::new("history");
/// series → its key.
const SERIES: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("series");
/// (account, series, day) → the day.
const LEDGER: TableDefinition<'_, (&str, u128, u32), &[u8]> = TableDefinition::new("ledger");
/// series → its counters at an orderly stop; empty while running.
const COUNTERS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("counters");

/// Changes of one SLO that are kept unless somebody says otherwise.
const MAX_HISTORY_DEFAULT: usize = 100;

/// Section `storage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Directory of the store; made if it is missing. Default ./slo-copilot-data.
    pub dir: PathBuf,
    /// What a crash may lose: `none` (default), `checkpoint` or `wal`. Closed minutes, ledgers and adopted objectives are on
    /// the disk within seconds of a minute's close in any case.
    pub durability: DurabilityConfig,
    /// Time between checkpoints of all windows. Default 60s; at least 1s.
    #[serde(with = "humantime_serde")]
    pub checkpoint_interval: Duration,
    /// Time between the moments at which the log is brought to the disk: so much a power failure may lose. A crash of the
    /// process loses nothing of it. Default 1s; 0s leaves it to the operating system.
    #[serde(with = "humantime_serde")]
    pub wal_sync: Duration,
    /// Most bytes of the log. At half of it a checkpoint is made, after which the log begins anew. Default 256 MiB; at least
    /// 1 MiB.
    pub wal_max_bytes: u64,
    /// Days of minutes that the history keeps. Default 35; at least 1.
    pub history_days: u32,
    /// Transitions that are kept; the oldest go. Default 10000.
    pub max_transitions: u64,
    /// Changes that each SLO keeps in its history; the oldest go, and are counted in it. Default 100; at least 1.
    pub max_history_per_slo: usize,
    /// Incidents that are remembered; beyond it the oldest goes, those first whose cause nobody confirmed. Default 1000; at
    /// least 1.
    pub max_incidents: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("./slo-copilot-data"),
            durability: DurabilityConfig::None,
            checkpoint_interval: Duration::from_mins(1),
            wal_sync: Duration::from_secs(1),
            wal_max_bytes: 256 << 20,
            history_days: 35,
            max_transitions: 10_000,
            max_history_per_slo: MAX_HISTORY_DEFAULT,
            max_incidents: 1_000,
        }
    }
}

/// What a crash may lose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DurabilityConfig {
    /// Open minutes, and all of the series whose minutes the history does not keep. Counters begin anew.
    #[default]
    None,
    /// What came since the last checkpoint and is not in the history. Counters begin anew after a crash.
    Checkpoint,
    /// Nothing that was acknowledged; counters go on.
    Wal,
}

/// What went wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be made.
    #[error("cannot make storage.dir {dir}: {source}")]
    Directory {
        /// `storage.dir`.
        dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error(
        "the store {path} is in use by another slo-copilot; ask a running server with --endpoint \
         (by default http://127.0.0.1:9464), wait for another command, or set storage.dir to another directory"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// There is none, and this caller makes none.
    #[error(
        "there is no store {path}; `serve` makes one, and --storage-dir or storage.dir says where it is"
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be opened.
    #[error("cannot open the store {path}: {source}; set storage.dir to another directory")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<DatabaseError>,
    },
    /// A read or write failed.
    #[error("the store failed: {0}")]
    Database(Box<redb::Error>),
    /// A record cannot be encoded or decoded.
    #[error("a record of the store's table `{table}` cannot be read or written: {source}")]
    Record {
        /// The table.
        table: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A checkpoint cannot be made.
    #[error("cannot write the checkpoint {path}: {source}; is there room in storage.dir?")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// Why.
        source: CheckpointError<std::io::Error>,
    },
    /// A file of the checkpoints or of the log cannot be used.
    #[error("cannot use {path}: {source}; storage.dir must be readable and writable")]
    Journal {
        /// The file or the directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No incident has this number.
    #[error("there is no incident {id}; `slo-copilot incidents list` shows all")]
    NoIncident {
        /// The number.
        id: u64,
    },
    /// A decision about an SLO cannot be executed.
    #[error(transparent)]
    Decision(#[from] DecisionError),
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

/// The open store. Its calls block; callers in async code move them to a blocking thread.
#[derive(Debug)]
pub struct Store {
    database: Reopening,
    config: Config,
    /// Number of the last transition that was kept.
    told: watch::Sender<u64>,
}

impl Store {
    /// Opens or makes the store.
    pub fn open(config: Config) -> Result<Self, StoreError> {
        std::fs::create_dir_all(&config.dir).map_err(|source| StoreError::Directory {
            dir: config.dir.clone(),
            source,
        })?;
        let path = config.dir.join(FILE_NAME);
        let database = Reopening::new(move || open_database(&path))?;
        let transaction = database.begin_write()?;
        transaction.open_table(HISTORY)?;
        transaction.open_table(SERIES)?;
        transaction.open_table(LEDGER)?;
        transaction.open_table(COUNTERS)?;
        let last = transitions::prepare(&transaction)?;
        slos::prepare(&transaction)?;
        incidents::prepare(&transaction)?;
        topology::prepare(&transaction)?;
        assumed::prepare(&transaction)?;
        recent::prepare(&transaction)?;
        transaction.commit()?;
        let told = watch::Sender::new(last);
        Ok(Self {
            database,
            config,
            told,
        })
    }

    /// Opens a store that a server made.
    pub fn open_existing(config: Config) -> Result<Self, StoreError> {
        let path = config.dir.join(FILE_NAME);
        if path.exists() {
            Self::open(config)
        } else {
            Err(StoreError::Missing { path })
        }
    }

    /// Appends minutes and replaces days of ledgers, together.
    pub fn append(
        &self,
        minutes: &[SeriesMinute],
        keys: &[(SeriesId, SeriesKey)],
        days: &[LedgerRow],
    ) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        {
            let mut series = transaction.open_table(SERIES)?;
            for (id, key) in keys {
                if series.get(id.0)?.is_none() {
                    series.insert(id.0, encode("series", key)?.as_slice())?;
                }
            }
            let mut history = transaction.open_table(HISTORY)?;
            let mut written = Vec::with_capacity(minutes.len());
            for minute in minutes {
                let mut key = HistoryKey::new(minute.series, minute.row.minute);
                while history.get(&key.bytes())?.is_some() {
                    key = key.next();
                }
                history.insert(&key.bytes(), encode_row(&minute.row).as_slice())?;
                written.push(key);
            }
            if self.config.durability != DurabilityConfig::None {
                recent::note(&transaction, &written)?;
            }
            let mut ledger = transaction.open_table(LEDGER)?;
            for row in days {
                let value = encode("ledger", &row.day)?;
                ledger.insert(
                    (&*row.objective, row.series.0, row.day.day),
                    value.as_slice(),
                )?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// All series that have history, with their keys.
    pub fn series(&self) -> Result<Vec<(SeriesId, SeriesKey)>, StoreError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(SERIES)?;
        let mut all = Vec::new();
        for entry in table.iter()? {
            let (id, key) = entry?;
            all.push((SeriesId(id.value()), decode("series", key.value())?));
        }
        Ok(all)
    }

    /// The minutes of a series since `from_minute`, in order.
    pub fn minutes(
        &self,
        series: SeriesId,
        from_minute: u32,
    ) -> Result<Vec<MinuteRow>, StoreError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(HISTORY)?;
        let (first, last) = HistoryKey::range(series, from_minute);
        let mut rows = Vec::new();
        for entry in table.range::<&[u8; HistoryKey::LEN]>(&first.bytes()..=&last.bytes())? {
            let (key, value) = entry?;
            let minute = HistoryKey::from_bytes(key.value()).minute();
            let row = decode_row(minute, value.value());
            rows.push(row.map_err(|source| unreadable("history", source))?);
        }
        Ok(rows)
    }

    /// The days of an account, by series and in order.
    pub fn ledgers(&self, account: &str) -> Result<Vec<(SeriesId, Vec<LedgerDay>)>, StoreError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(LEDGER)?;
        let mut all: Vec<(SeriesId, Vec<LedgerDay>)> = Vec::new();
        for entry in table.range((account, 0, 0)..=(account, u128::MAX, u32::MAX))? {
            let (key, day) = entry?;
            let series = SeriesId(key.value().1);
            let day = decode("ledger", day.value())?;
            match all.last_mut().filter(|(last, _)| *last == series) {
                Some((_, days)) => days.push(day),
                None => all.push((series, vec![day])),
            }
        }
        Ok(all)
    }

    /// Removes minutes older than the history keeps; returns how many.
    pub fn prune(&self, now: UnixNanos) -> Result<u64, StoreError> {
        let today = now / crate::model::NANOS_PER_SEC / 86_400;
        let first_day = today.saturating_sub(u64::from(self.config.history_days));
        let first_minute = u32::try_from(first_day * 1_440).unwrap_or(u32::MAX);
        let series = self.series()?;
        let transaction = self.database.begin_write()?;
        let mut removed = 0;
        {
            let mut history = transaction.open_table(HISTORY)?;
            for (id, _) in &series {
                let (first, end) = (HistoryKey::new(*id, 0), HistoryKey::new(*id, first_minute));
                let old = history.extract_from_if::<&[u8; HistoryKey::LEN], _>(
                    &first.bytes()..&end.bytes(),
                    |_, _| true,
                )?;
                for entry in old {
                    entry?;
                    removed += 1;
                }
            }
        }
        {
            let history = transaction.open_table(HISTORY)?;
            let mut table = transaction.open_table(SERIES)?;
            for (id, _) in &series {
                let (first, last) = HistoryKey::range(*id, 0);
                let mut rows =
                    history.range::<&[u8; HistoryKey::LEN]>(&first.bytes()..=&last.bytes())?;
                if rows.next().is_none() {
                    table.remove(id.0)?;
                }
            }
            let oldest = u32::try_from(today.saturating_sub(LEDGER_DAYS as u64)).unwrap_or(0);
            transaction
                .open_table(LEDGER)?
                .retain(|(_, _, day), _| day >= oldest)?;
        }
        assumed::prune(&transaction, first_day)?;
        transaction.commit()?;
        Ok(removed)
    }

    /// Keeps the counters of an orderly stop.
    pub fn keep_counters(
        &self,
        counters: &[(SeriesId, CarriedCounters)],
    ) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(COUNTERS)?;
            for (series, counters) in counters {
                table.insert(series.0, encode("counters", counters)?.as_slice())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Takes the counters of the stop before, so that a crash does not find them; none after a crash.
    pub fn take_counters(&self) -> Result<Vec<(SeriesId, CarriedCounters)>, StoreError> {
        let transaction = self.database.begin_write()?;
        let mut all = Vec::new();
        {
            let mut table = transaction.open_table(COUNTERS)?;
            while let Some((series, counters)) = table.pop_first()? {
                all.push((
                    SeriesId(series.value()),
                    decode("counters", counters.value())?,
                ));
            }
        }
        transaction.commit()?;
        Ok(all)
    }
}

fn open_database(path: &Path) -> Result<Database, StoreError> {
    Database::create(path).map_err(|source| {
        let path = path.to_owned();
        if matches!(source, DatabaseError::DatabaseAlreadyOpen) {
            StoreError::InUse { path }
        } else {
            let source = Box::new(source);
            StoreError::Open { path, source }
        }
    })
}

fn encode<T: Serialize>(table: &'static str, value: &T) -> Result<Vec<u8>, StoreError> {
    postcard::to_stdvec(value).map_err(|source| unreadable(table, source))
}

fn decode<'a, T: Deserialize<'a>>(table: &'static str, bytes: &'a [u8]) -> Result<T, StoreError> {
    postcard::from_bytes(bytes).map_err(|source| unreadable(table, source))
}

fn unreadable(
    table: &'static str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> StoreError {
    StoreError::Record {
        table,
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests;
