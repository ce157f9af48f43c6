//! What a start knows of the runs before it: the checkpoint, the log after it, and what the history knows beyond both.
//!
//! Without a checkpoint the windows are rebuilt from the history. Minutes that were written after a checkpoint are in the
//! history and, as far as they were open at its cut or came from the log, in the windows again; [`crate::window::Windows::reconcile`] says
//! which of them stays, so that none is counted or kept twice.

use std::collections::{BTreeMap, BTreeSet};

use crate::evaluator::verdict::timestamp;
use crate::model::UnixNanos;
use crate::model::history::MinuteRow;
use crate::model::series::{SeriesId, SeriesKey};
use crate::model::slo::Objective;
use crate::service::keeper::{Keeper, accounts_of, minute_before};
use crate::store::journal::{self, Journal, Recovered, Replayed};
use crate::store::recent::RecentRows;
use crate::store::{DurabilityConfig, StoreError};
use crate::window::rolling::HELD_SECS;

/// What came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::service) struct Restored {
    /// Series that came from the checkpoint.
    pub(in crate::service) loaded: usize,
    /// Series that were rebuilt from the history.
    pub(in crate::service) rebuilt: usize,
    /// What became of the log.
    pub(in crate::service) log: Replayed,
}

/// The series of the history, services first.
type Keys = Vec<(SeriesId, SeriesKey)>;

impl Keeper {
    /// Restores the windows, then adopts the objectives of the store and of the configuration, which wins.
    pub(in crate::service) fn restore(
        &self,
        configured: &[Objective],
    ) -> Result<Restored, StoreError> {
        self.remember_verdicts()?;
        self.remember_assumed()?;
        let now = self.clock.now();
        let adopted = self.store.edit_slos(|book| {
            book.configure(configured, timestamp(now));
            Ok::<_, StoreError>(book.adopted().cloned().collect::<Vec<_>>())
        })?;
        let mut keys = self.store.series()?;
        // Services first: they hold the places of their operations.
        keys.sort_unstable_by(|a, b| a.1.cmp(&b.1));

        let mut recovered = Recovered::find(&self.storage.dir)?;
        let stopped = self.store.take_stop()?;
        let beside = recovered.beside.clone();
        let is_continuous =
            recovered.checkpoint.is_some() && (beside.is_logged || stopped == Some(beside.segment));
        let recent = if recovered.is_empty() {
            RecentRows::default()
        } else {
            self.store.written_after(beside.saved)?
        };
        let (known, mut restored) = self.restore_base(&mut recovered, &recent, &adopted, &keys)?;
        let loaded: BTreeSet<SeriesId> = self.windows.held_ids().into_iter().collect();
        let is_loaded = |id: &SeriesId| restored.loaded > 0 && loaded.contains(id);
        restored.log = recovered.replay(&self.windows)?;
        restored.rebuilt += self.restore_recent(&recent, &keys, now)?;

        let passage = self.passage();
        for objective in &adopted {
            if known.contains(&objective.name) {
                // Without a log, the days of the store may know more.
                for account in accounts_of(objective) {
                    let days = self.store.ledgers(&account)?;
                    self.windows.restore_days(objective, &account, days);
                }
            } else {
                self.attach(&passage, objective, &keys, now)?;
            }
        }
        drop(passage);
        if !is_continuous {
            self.windows.forget_counters();
        }
        for (series, counters) in self.store.take_counters()? {
            if !(is_continuous && is_loaded(&series)) {
                self.windows.carry(series, counters);
            }
        }
        self.go_on(&recovered)?;
        Ok(restored)
    }

    /// The windows as the checkpoint has them, or else as the history does, without what was written after the checkpoint
    /// that is lost. Names the objectives that the checkpoint measured.
    fn restore_base(
        &self,
        recovered: &mut Recovered,
        recent: &RecentRows,
        adopted: &[Objective],
        keys: &Keys,
    ) -> Result<(BTreeSet<String>, Restored), StoreError> {
        let now = self.clock.now();
        let mut restored = Restored::default();
        let Some(mut checkpoint) = recovered.checkpoint.take() else {
            let has_log = recovered.has_log();
            for (id, key) in keys {
                let mut rows = self.store.minutes(*id, minute_before(now, HELD_SECS))?;
                if has_log {
                    leave_out(&mut rows, recent.of(*id));
                }
                restored.rebuilt += usize::from(self.windows.rebuild(key.clone(), &rows));
            }
            return Ok((BTreeSet::new(), restored));
        };
        checkpoint.without_excluded(&self.windows);
        restored.loaded = checkpoint.series();
        let known = self.windows.load(checkpoint, adopted, now);
        let mut passage = self.passage();
        let beside = std::mem::take(&mut recovered.beside);
        passage.minutes = self.windows.return_minutes(beside.minutes);
        passage.days = beside.days;
        recovered.beside.is_logged = beside.is_logged;
        recovered.beside.segment = beside.segment;
        Ok((known, restored))
    }

    /// Adds what the history knows beyond the checkpoint and the log. Returns the series that only the history knows.
    fn restore_recent(
        &self,
        recent: &RecentRows,
        keys: &Keys,
        now: UnixNanos,
    ) -> Result<usize, StoreError> {
        let mut rebuilt = 0;
        let mut rewritten: BTreeMap<SeriesId, BTreeSet<u32>> = BTreeMap::new();
        let written: BTreeSet<SeriesId> = recent.series().collect();
        for (id, key) in keys.iter().filter(|(id, _)| written.contains(id)) {
            if self.windows.holds(*id) {
                let rows = recent.of(*id).cloned().collect();
                let minutes = self.windows.reconcile(*id, rows);
                rewritten.insert(*id, minutes.into_iter().collect());
            } else {
                let rows = self.store.minutes(*id, minute_before(now, HELD_SECS))?;
                rebuilt += usize::from(self.windows.rebuild(key.clone(), &rows));
            }
        }
        if rewritten.values().any(|minutes| !minutes.is_empty()) {
            self.store.take_back(recent, &rewritten)?;
        }
        Ok(rebuilt)
    }

    /// Opens the journal of this run. What a crash will need is on the disk before the first request is taken.
    fn go_on(&self, recovered: &Recovered) -> Result<(), StoreError> {
        let Some(journal) = Journal::open(&self.storage, recovered.last()) else {
            journal::remove(&self.storage.dir)?;
            return self.store.forget_writes(u64::MAX);
        };
        let is_logged = self.storage.durability == DurabilityConfig::Wal;
        let is_enough = recovered.beside.segment > 0 && recovered.beside.is_logged == is_logged;
        // One keeper opens one journal.
        drop(self.journal.set(std::sync::Arc::new(journal)));
        if !is_enough && let Err(error) = self.checkpoint() {
            tracing::error!(%error, "No checkpoint at the start: a crash before the first one loses more.");
        }
        Ok(())
    }
}

/// Leaves out each of the rows once.
fn leave_out<'a>(rows: &mut Vec<MinuteRow>, unwanted: impl Iterator<Item = &'a MinuteRow>) {
    for unwanted in unwanted {
        if let Some(at) = rows.iter().position(|row| row == unwanted) {
            rows.remove(at);
        }
    }
}
