//! Windows and store together: what goes from one to the other must not be counted twice.
//!
//! Its calls block on the disk, except those that a tick makes; tasks run them on blocking threads.

mod assumed;
mod checkpoint;
mod fits;
mod hours;
mod incidents;
mod restore;
mod slos;
mod told;
mod topology;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::config::{Adopt, Config};
use crate::evaluator::candidate;
use crate::model::UnixNanos;
use crate::model::candidate::Candidate;
use crate::model::history::{MinuteRow, SeriesMinute};
use crate::model::record::Transition;
use crate::model::report::Verdict;
use crate::model::series::{SeriesId, SeriesKey, ServiceKey};
use crate::model::slo::Objective;
use crate::service::fit::AssumedDays;
use crate::store::journal::Journal;
use crate::store::{self, Store, StoreError};
use crate::window::event::EventRules;
use crate::window::event::asked::Asked;
use crate::window::ledger::LedgerRow;
use crate::window::rolling::HELD_SECS;
use crate::window::{Windows, selects};

pub(super) use restore::Restored;

/// Minutes that wait for a store that fails, at most; more are lost and counted.
const UNSAVED_MINUTES_MAX: usize = 1 << 20;

/// A service and its new version.
type CanaryKey = (ServiceKey, String);

/// Moves history and objectives between windows and store.
///
/// Locks are taken in the order of the fields, and [`Self::shown`] is never held while the disk is waited for.
#[derive(Debug)]
pub(super) struct Keeper {
    windows: Arc<Windows>,
    store: Store,
    storage: store::Config,
    /// Set by the restoration.
    journal: OnceLock<Arc<Journal>>,
    clock: Clock,
    rules: EventRules,
    settings: candidate::Settings,
    adopt: Adopt,
    history_days: u32,
    max_transitions: u64,
    stopping: AtomicBool,
    /// Told when a tick leaves transitions.
    news: Notify,
    /// Held while candidates are fitted, so that an older fit never takes the place of a newer one.
    fitting: Mutex<()>,
    /// Held while a checkpoint is made.
    checkpointing: Mutex<()>,
    /// Held while minutes go to the store and while an objective or a fit reads them, so that no minute is in neither or
    /// in both.
    passage: Mutex<Passage>,
    /// What ticks read and leave.
    shown: Mutex<Shown>,
    /// Days in the store on which spans were weighed by an assumption.
    assumed: Mutex<AssumedDays>,
}

/// What is on its way from the windows to the store, or back.
#[derive(Debug, Default)]
struct Passage {
    /// Taken from the windows, not in the store yet: what a failed write left.
    minutes: Vec<SeriesMinute>,
    days: Vec<LedgerRow>,
    rows_lost: u64,
    /// Adopted, but not measured yet: their past could not be read.
    unattached: Vec<Objective>,
}

#[derive(Debug, Default)]
struct Shown {
    /// With the names and the states that the store gives them.
    candidates: Vec<Candidate>,
    verdicts: BTreeMap<Option<ServiceKey>, ShownVerdict>,
    canaries: BTreeMap<CanaryKey, Verdict>,
    /// Trace tests by suite and name.
    tests: BTreeMap<(String, String), Verdict>,
    /// Not in the store yet, the oldest first.
    transitions: Vec<Transition>,
}

/// What was told of a service last.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ShownVerdict {
    verdict: Verdict,
    action: Option<String>,
}

impl Keeper {
    /// A keeper; nothing is read yet.
    pub(super) fn new(config: &Config, windows: Arc<Windows>, store: Store, clock: Clock) -> Self {
        Self {
            windows,
            store,
            storage: config.storage.clone(),
            journal: OnceLock::new(),
            clock,
            rules: EventRules::new(&config.sli),
            settings: config.candidate_settings(),
            adopt: config.objectives.adopt,
            history_days: config.storage.history_days,
            max_transitions: config.storage.max_transitions,
            stopping: AtomicBool::new(false),
            news: Notify::new(),
            fitting: Mutex::default(),
            checkpointing: Mutex::default(),
            passage: Mutex::default(),
            shown: Mutex::default(),
            assumed: Mutex::default(),
        }
    }

    /// Remembers which spans were weighed by what these were asked.
    #[must_use]
    pub(super) fn heeding(self, asked: Arc<Asked>) -> Self {
        Self {
            rules: self.rules.clone().heeding(asked),
            ..self
        }
    }

    /// The time.
    pub(super) fn now(&self) -> UnixNanos {
        self.clock.now()
    }

    fn passage(&self) -> MutexGuard<'_, Passage> {
        self.passage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Attaches an objective to the windows and tells it the past, of which `keys` are the series. After a failure nothing
    /// is attached.
    fn attach(
        &self,
        passage: &Passage,
        objective: &Objective,
        keys: &[(SeriesId, SeriesKey)],
        now: UnixNanos,
    ) -> Result<(), StoreError> {
        let mut past = BTreeMap::new();
        for (series, _) in keys.iter().filter(|(_, key)| selects(objective, key)) {
            let rows = self.store.minutes(*series, minute_before(now, HELD_SECS))?;
            past.insert(*series, rows);
        }
        let mut days = Vec::new();
        for account in accounts_of(objective) {
            let own = self.store.ledgers(&account)?;
            days.push((account, own));
        }
        // Nothing can fail from here on.
        let objective = Arc::new(objective.clone());
        for (series, unsaved) in self.windows.adopt(&objective, now) {
            let mut rows = past.remove(&series).unwrap_or_default();
            rows.extend(passage.minutes_of(series));
            rows.extend(unsaved);
            self.windows.replay(&objective.name, series, &rows);
        }
        for (account, days) in days {
            self.windows.restore_days(&objective, &account, days);
        }
        Ok(())
    }

    /// Attaches objectives that the store has adopted already. Those whose past cannot be read now wait for the next flush.
    fn attach_all(&self, passage: &mut Passage, objectives: Vec<Objective>) {
        if objectives.is_empty() {
            return;
        }
        let now = self.clock.now();
        let keys = self.store.series();
        for objective in objectives {
            let attached = match &keys {
                Ok(keys) => self
                    .attach(passage, &objective, keys, now)
                    .map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match attached {
                Ok(()) => tracing::info!(
                    objective = objective.name,
                    target = objective.target,
                    "Objective adopted."
                ),
                Err(error) => {
                    tracing::error!(
                        objective = objective.name,
                        error,
                        "Cannot read the past of an adopted objective; trying again."
                    );
                    passage.unattached.push(objective);
                }
            }
        }
    }

    /// Writes the closed minutes, the days of the ledgers and the transitions. Returns the minutes written.
    pub(super) fn flush(&self) -> Result<usize, StoreError> {
        let mut passage = self.passage();
        let (minutes, lost) = self.windows.take_history();
        // Days of ledgers change with minutes, so they wait for them: one commit a minute.
        if !minutes.is_empty() {
            passage.days.extend(self.windows.take_ledger_rows());
        }
        let room = UNSAVED_MINUTES_MAX.saturating_sub(passage.minutes.len());
        let lost = lost + minutes.len().saturating_sub(room) as u64;
        passage.minutes.extend(minutes.into_iter().take(room));
        if lost > 0 {
            passage.rows_lost += lost;
            let total = passage.rows_lost;
            tracing::error!(
                lost,
                total,
                "Minutes of the history were lost: its buffer was full."
            );
        }
        let saved = self.save(&mut passage)?;
        let unattached = std::mem::take(&mut passage.unattached);
        self.attach_all(&mut passage, unattached);
        self.save_transitions()?;
        self.save_assumed()?;
        Ok(saved)
    }

    /// Writes what was taken from the windows; after a failure it stays for the next attempt.
    fn save(&self, passage: &mut Passage) -> Result<usize, StoreError> {
        let Passage { minutes, days, .. } = passage;
        if minutes.is_empty() && days.is_empty() {
            return Ok(0);
        }
        let written: BTreeSet<SeriesId> = minutes.iter().map(|minute| minute.series).collect();
        self.store
            .append(minutes, &self.windows.keys_of(&written), days)?;
        let saved = minutes.len();
        minutes.clear();
        days.clear();
        Ok(saved)
    }

    /// Ends a fit of candidates that is under way: a stop does not wait for it.
    pub(super) fn give_up_fits(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Removes what the history no longer keeps, and the suggestions that came from it.
    pub(super) fn prune(&self) -> Result<u64, StoreError> {
        let removed = self.store.prune(self.clock.now())?;
        self.store.forget_proposals(&self.windows.history_keys())?;
        Ok(removed)
    }

    /// The last flush of a shutdown: everything reaches the disk, open minutes too.
    pub(super) fn close(&self) -> Result<(), StoreError> {
        self.windows.close_minutes();
        self.flush()?;
        let mut passage = self.passage();
        passage.days.extend(self.windows.take_ledger_rows());
        self.save(&mut passage)?;
        drop(passage);
        self.keep_evidence()?;
        self.store.keep_counters(&self.windows.counters())?;
        self.stop()
    }
}

impl Passage {
    /// The minutes of one series.
    fn minutes_of(&self, series: SeriesId) -> impl Iterator<Item = MinuteRow> {
        let own = self
            .minutes
            .iter()
            .filter(move |minute| minute.series == series);
        own.map(|minute| minute.row.clone())
    }
}

/// The accounts of an objective in the store: its own, and its composite's.
fn accounts_of(objective: &Objective) -> impl Iterator<Item = String> {
    let accounts = [Some(objective.account()), objective.composite_account()];
    accounts.into_iter().flatten()
}

fn minute_before(now: UnixNanos, secs: u64) -> u32 {
    let minute = (now / crate::model::NANOS_PER_SEC).saturating_sub(secs) / 60;
    u32::try_from(minute).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
