//! What makes windows survive a crash: a checkpoint of all of them, and a log of the requests after it.
//!
//! ```text
//! windows.checkpoint            all windows between two requests
//! wal-00000000000000000042.log  the requests since the cut of checkpoint 42, as they were counted
//! ```
//!
//! A request takes its turn, is appended to the log, then counted, then acknowledged. A checkpoint waits until nobody has the
//! turn, goes on in a new part of the log, and lets everybody in again before it writes anything. When it is on the disk,
//! the parts before its cut go.
//!
//! Invariant: of two requests of which one was acknowledged before the other came, the log has them in that order. Those that
//! are under way together may stand in either order: counting is a sum, so it does not matter, save for who gets the last
//! place under a cap.
//!
//! Invariant: a request that cannot be logged is counted all the same, since a full disk must not blind those who watch
//! for trouble. It is counted as unlogged, and safe again with the next checkpoint.

mod checkpoint;
mod log;
mod recover;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::disk::TEMPORARY_PREFIX;
use crate::model::UnixNanos;
use crate::model::batch::EventBatch;
use crate::store::journal::log::Log;
pub use crate::store::journal::log::LogStatus;
pub use crate::store::journal::recover::{Recovered, Replayed};
use crate::store::{Config, DurabilityConfig, StoreError};
use crate::window::Windows;
use crate::window::checkpoint::CheckpointError;
use crate::window::logged::{LogScratch, log_upkeep};

const CHECKPOINT_NAME: &str = "windows.checkpoint";

thread_local! {
    /// One a receiver thread: entries are written outside of every lock.
    static ENTRY: RefCell<(Vec<u8>, LogScratch)> = RefCell::default();
}

/// An entry that grew beyond this for an unusual request is not kept.
const ENTRY_BYTES_MAX: usize = 1 << 20;

/// The turns of requests, and the log if there is one.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    /// Held shared while a request is logged and counted, alone for a cut.
    turns: RwLock<()>,
    log: Option<Log>,
    number: std::sync::atomic::AtomicU64,
    /// Told when the log has become so long that a checkpoint is due.
    is_due: Notify,
}

/// While it is held, no cut is made.
#[derive(Debug)]
pub struct Turn<'a>(#[expect(dead_code, reason = "held")] RwLockReadGuard<'a, ()>);

/// A cut that was made.
#[derive(Debug)]
pub struct Cut<T> {
    /// Its number, and that of the part of the log after it.
    pub number: u64,
    /// What was taken.
    pub taken: T,
    /// How long requests waited for it.
    pub pause: Duration,
}

impl Journal {
    /// A journal that goes on after the checkpoint or the log part of this number; `None` if nothing is to be kept. A log
    /// that cannot be made is tried again at the next cut.
    pub fn open(config: &Config, last: u64) -> Option<Self> {
        let log = match config.durability {
            DurabilityConfig::None => return None,
            DurabilityConfig::Checkpoint => None,
            DurabilityConfig::Wal => Some(Log::open(&config.dir, last + 1, config.wal_max_bytes)),
        };
        Some(Self {
            dir: config.dir.clone(),
            turns: RwLock::default(),
            log,
            number: (last + 1).into(),
            is_due: Notify::new(),
        })
    }

    /// Takes the turn of a request and logs it. Count it while the turn is held.
    pub fn enter(&self, windows: &Windows, batch: &EventBatch, now: UnixNanos) -> Turn<'_> {
        let turn = || Turn(self.turns.read().unwrap_or_else(PoisonError::into_inner));
        let Some(log) = &self.log else {
            return turn();
        };
        ENTRY.with_borrow_mut(|(entry, scratch)| {
            let mut names_all = log.misses_some();
            loop {
                log::begin_entry(entry);
                windows.log(batch, now, names_all, (entry, scratch));
                // Whoever could not be logged meanwhile said so before it was counted.
                if names_all || !log.misses_some() {
                    break;
                }
                names_all = true;
            }
            let turn = turn();
            if log.append(entry) {
                self.is_due.notify_one();
            }
            if entry.capacity() > ENTRY_BYTES_MAX {
                *entry = Vec::new();
            }
            turn
        })
    }

    /// Logs that the windows are about to be maintained.
    pub fn note_upkeep(&self, now: UnixNanos) {
        let Some(log) = &self.log else {
            return;
        };
        let mut entry = Vec::new();
        log::begin_entry(&mut entry);
        log_upkeep(now, &mut entry);
        let _turn = self.turns.read().unwrap_or_else(PoisonError::into_inner);
        log.append(&mut entry);
    }

    /// Ends when the log has become so long that a checkpoint is due.
    pub async fn due(&self) {
        self.is_due.notified().await;
    }

    /// Whether requests are logged.
    pub fn is_logged(&self) -> bool {
        self.log.is_some()
    }

    /// Makes a cut: `take` runs while no request is under way.
    pub fn cut<T>(&self, take: impl FnOnce() -> T) -> Cut<T> {
        use std::sync::atomic::Ordering;
        let number = self.number.load(Ordering::Relaxed) + 1;
        // Made before anybody waits for it.
        let next = self.log.as_ref().map(|log| log.prepare(number));
        let waiting = Instant::now();
        let alone = self.turns.write().unwrap_or_else(PoisonError::into_inner);
        if let (Some(log), Some(next)) = (&self.log, next) {
            log.go_on_in(next);
        }
        self.number.store(number, Ordering::Relaxed);
        let taken = take();
        drop(alone);
        let pause = waiting.elapsed();
        Cut {
            number,
            taken,
            pause,
        }
    }

    /// Writes the checkpoint of a cut and removes the parts of the log before it. Returns its bytes.
    pub fn keep(
        &self,
        number: u64,
        fill: impl FnOnce(
            &mut dyn FnMut(&[u8]) -> io::Result<()>,
        ) -> Result<(), CheckpointError<io::Error>>,
    ) -> Result<u64, StoreError> {
        let path = self.dir.join(CHECKPOINT_NAME);
        let bytes = checkpoint::write(&path, fill).map_err(|source| StoreError::Checkpoint {
            path: path.clone(),
            source,
        })?;
        self.remove_before(number)?;
        Ok(bytes)
    }

    fn remove_before(&self, number: u64) -> Result<(), StoreError> {
        for (found, path) in log::parts(&self.dir).map_err(unreadable(&self.dir))? {
            if found < number {
                std::fs::remove_file(&path).map_err(unreadable(&path))?;
            }
        }
        if let Some(log) = &self.log {
            log.removed_before();
        }
        Ok(())
    }

    /// Waits until what was logged so far would survive the machine.
    pub fn sync(&self) {
        if let Some(log) = &self.log {
            log.sync();
        }
    }

    /// How full the log is, and what it misses.
    pub fn log_status(&self) -> Option<LogStatus> {
        self.log.as_ref().map(Log::status)
    }
}

/// Removes checkpoint and log: nobody goes on with them.
pub fn remove(dir: &Path) -> Result<(), StoreError> {
    let checkpoint = dir.join(CHECKPOINT_NAME);
    if checkpoint.exists() {
        std::fs::remove_file(&checkpoint).map_err(unreadable(&checkpoint))?;
    }
    for (_, path) in log::parts(dir).map_err(unreadable(dir))? {
        std::fs::remove_file(&path).map_err(unreadable(&path))?;
    }
    Ok(())
}

/// Removes what an interrupted checkpoint left.
fn remove_temporary(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with(TEMPORARY_PREFIX)
        {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| StoreError::Journal { path, source }
}
