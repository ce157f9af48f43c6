//! Windows and store together: what goes from one to the other must not be counted twice.
//!
//! Its calls block on the disk; tasks run them on blocking threads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::{Accepted, CommandError};
use crate::clock::Clock;
use crate::config::{Adopt, Config};
use crate::evaluator::candidate::{self, SeriesHistory, fit};
use crate::model::UnixNanos;
use crate::model::candidate::{Candidate, CandidateState};
use crate::model::history::{MinuteRow, SeriesMinute};
use crate::model::report::{Report, Verdict};
use crate::model::series::{OVERFLOW, SeriesId, SeriesKey, ServiceKey};
use crate::model::slo::{Objective, ObjectiveSource, Sli};
use crate::store::{Store, StoreError, Transition};
use crate::window::Windows;
use crate::window::event::{EventRules, Sampling};
use crate::window::ledger::LedgerRow;
use crate::window::rolling::HELD_SECS;

/// Minutes that wait for a store that fails, at most; more are lost and counted.
const UNSAVED_MINUTES_MAX: usize = 1 << 20;

/// Moves history and objectives between windows and store.
#[derive(Debug)]
pub(super) struct Keeper {
    windows: Arc<Windows>,
    store: Store,
    clock: Clock,
    rules: EventRules,
    settings: candidate::Settings,
    adopt: Adopt,
    history_days: u32,
    stopping: AtomicBool,
    /// Held while minutes go to the store and while an objective reads them, so that no minute is in neither or in both.
    state: Mutex<State>,
    /// Held while candidates are fitted, so that an older fit never takes the place of a newer one.
    fitting: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Adopted objectives by name.
    objectives: BTreeMap<String, Arc<Objective>>,
    rejected: BTreeSet<String>,
    candidates: Vec<Candidate>,
    verdicts: BTreeMap<Option<ServiceKey>, Verdict>,
    rows_lost: u64,
    /// Taken from the windows, not in the store yet: what a failed write left.
    unsaved: Unsaved,
}

#[derive(Debug, Default)]
struct Unsaved {
    minutes: Vec<SeriesMinute>,
    days: Vec<LedgerRow>,
}

impl Keeper {
    /// A keeper; nothing is read yet.
    pub(super) fn new(config: &Config, windows: Arc<Windows>, store: Store, clock: Clock) -> Self {
        Self {
            windows,
            store,
            clock,
            rules: EventRules::new(&config.sli),
            settings: config.candidate_settings(),
            adopt: config.objectives.adopt,
            history_days: config.storage.history_days,
            stopping: AtomicBool::new(false),
            state: Mutex::default(),
            fitting: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rebuilds the windows from the history, then adopts the objectives of the store and of the configuration, which wins.
    pub(super) fn restore(&self, configured: &[Objective]) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let from_minute = minute_before(now, HELD_SECS);
        let mut keys = self.store.series()?;
        // Services first: they hold the places of their operations.
        keys.sort_unstable_by(|a, b| a.1.cmp(&b.1));
        let mut restored = 0;
        for (id, key) in keys {
            let rows = self.store.minutes(id, from_minute)?;
            restored += usize::from(self.windows.rebuild(key, &rows));
        }
        let mut state = self.state();
        state.rejected = self.store.rejected()?.into_iter().collect();
        let stored = self.store.objectives()?;
        let kept = stored
            .iter()
            .filter(|held| configured.iter().all(|own| own.name != held.name));
        for objective in configured.iter().chain(kept) {
            self.attach(&mut state, objective, now)?;
        }
        for (series, counters) in self.store.take_counters()? {
            self.windows.carry(series, counters);
        }
        Ok(restored)
    }

    /// Attaches an objective to the windows and tells it the past.
    fn attach(
        &self,
        state: &mut State,
        objective: &Objective,
        now: UnixNanos,
    ) -> Result<(), StoreError> {
        let objective = Arc::new(objective.clone());
        if let Err(error) = self.tell_the_past(state, &objective, now) {
            // The next attempt must find nothing half told.
            self.windows.abandon(&objective.name);
            return Err(error);
        }
        state.objectives.insert(objective.name.clone(), objective);
        Ok(())
    }

    fn tell_the_past(
        &self,
        state: &State,
        objective: &Arc<Objective>,
        now: UnixNanos,
    ) -> Result<(), StoreError> {
        for (series, unsaved) in self.windows.adopt(objective, now) {
            let mut rows = self.store.minutes(series, minute_before(now, HELD_SECS))?;
            rows.extend(state.unsaved.of(series));
            rows.extend(unsaved);
            self.windows.replay(&objective.name, series, &rows);
        }
        let accounts = [Some(objective.account()), objective.composite_account()];
        for account in accounts.into_iter().flatten() {
            let days = self.store.ledgers(&account)?;
            self.windows.restore_days(objective, &account, days);
        }
        Ok(())
    }

    /// Writes the closed minutes and the days of the ledgers. Returns the rows written.
    pub(super) fn flush(&self) -> Result<usize, StoreError> {
        let mut state = self.state();
        let (minutes, lost) = self.windows.take_history();
        // Days of ledgers change with minutes, so they wait for them: one commit a minute.
        if !minutes.is_empty() {
            state.unsaved.days.extend(self.windows.take_ledger_rows());
        }
        let room = UNSAVED_MINUTES_MAX.saturating_sub(state.unsaved.minutes.len());
        let lost = lost + minutes.len().saturating_sub(room) as u64;
        state.unsaved.minutes.extend(minutes.into_iter().take(room));
        if lost > 0 {
            state.rows_lost += lost;
            let total = state.rows_lost;
            tracing::error!(
                lost,
                total,
                "Minutes of the history were lost: its buffer was full."
            );
        }
        self.save(&mut state)
    }

    /// Writes what was taken from the windows; after a failure it stays for the next attempt.
    fn save(&self, state: &mut State) -> Result<usize, StoreError> {
        let Unsaved { minutes, days } = &state.unsaved;
        if minutes.is_empty() && days.is_empty() {
            return Ok(0);
        }
        let written: BTreeSet<SeriesId> = minutes.iter().map(|minute| minute.series).collect();
        self.store
            .append(minutes, &self.windows.keys_of(&written), days)?;
        let saved = minutes.len();
        state.unsaved = Unsaved::default();
        Ok(saved)
    }

    /// Ends a fit of candidates that is under way: a stop does not wait for it.
    pub(super) fn give_up_fits(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Removes what the history no longer keeps.
    pub(super) fn prune(&self) -> Result<u64, StoreError> {
        self.store.prune(self.clock.now())
    }

    /// The last flush of a shutdown: everything reaches the disk, open minutes too.
    pub(super) fn close(&self) -> Result<(), StoreError> {
        self.windows.close_minutes();
        self.flush()?;
        let mut state = self.state();
        state.unsaved.days.extend(self.windows.take_ledger_rows());
        self.save(&mut state)?;
        drop(state);
        self.store.keep_counters(&self.windows.counters())
    }

    /// Fits candidates to the history and the minutes that are not in it yet, and adopts ready ones if so configured.
    pub(super) fn refresh_candidates(&self) -> Result<(), StoreError> {
        let _fitting = self.fitting.lock().unwrap_or_else(PoisonError::into_inner);
        let fitted = self.fit_candidates()?;
        let mut state = self.state();
        state.candidates = fitted;
        if self.adopt == Adopt::Auto {
            let ready: Vec<Candidate> = state
                .candidates
                .iter()
                .filter(|candidate| {
                    candidate.state == CandidateState::Ready && candidate.sli != Sli::ErrorRate
                })
                .filter(|candidate| is_open(&state, candidate))
                .cloned()
                .collect();
            for candidate in ready {
                self.adopt_candidate(&mut state, &candidate, ObjectiveSource::Auto)?;
            }
        }
        Ok(())
    }

    fn fit_candidates(&self) -> Result<Vec<Candidate>, StoreError> {
        let from_minute = minute_before(self.clock.now(), u64::from(self.history_days) * 86_400);
        let mut keys = self.windows.history_keys();
        keys.retain(|(_, key)| !is_overflow(key));
        let mut candidates = Vec::new();
        // Kinds of one operation are one candidate, since objectives do not tell them apart. Keys come sorted.
        keys.sort_unstable_by(|a, b| a.1.cmp(&b.1));
        for group in keys.chunk_by(|a, b| {
            a.1.service == b.1.service && a.1.operation_name() == b.1.operation_name()
        }) {
            if self.stopping.load(Ordering::Relaxed) {
                break;
            }
            let Some((_, key)) = group.first() else {
                continue;
            };
            let mut rows = Vec::new();
            for (id, _) in group {
                rows.extend(self.rows_of(*id, from_minute)?);
            }
            rows.sort_by_key(|row| row.minute);
            let history = SeriesHistory {
                service: &key.service,
                operation: key.operation_name(),
                rows: &rows,
                sampling: self.sampling_of(&key.service, &rows),
            };
            candidates.extend(fit(&history, &self.settings));
        }
        candidate::assign_names(&mut candidates);
        Ok(candidates)
    }

    /// The history of a series with what is not in it yet.
    fn rows_of(&self, series: SeriesId, from_minute: u32) -> Result<Vec<MinuteRow>, StoreError> {
        // The lock keeps a minute from being counted in the windows and in the store.
        let state = self.state();
        let mut rows = self.store.minutes(series, from_minute)?;
        rows.extend(state.unsaved.of(series));
        rows.extend(self.windows.unsaved_minutes(series));
        Ok(rows)
    }

    fn sampling_of(&self, service: &ServiceKey, rows: &[MinuteRow]) -> candidate::Sampling {
        match self.rules.sampling_of(service.name.as_bytes()) {
            Sampling::Unknown => candidate::Sampling::Unknown,
            Sampling::Ratio(ratio) => candidate::Sampling::Ratio(ratio),
            Sampling::Full => {
                let weighted = |row: &MinuteRow| row.sums.squared > row.sums.observed_total as f64;
                if rows.iter().any(weighted) {
                    candidate::Sampling::Tracestate
                } else {
                    candidate::Sampling::Full
                }
            }
        }
    }

    /// The candidates with the state that people gave them.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let state = self.state();
        let with_state = |candidate: &Candidate| Candidate {
            state: if is_adopted(&state, candidate) {
                CandidateState::Adopted
            } else if state.rejected.contains(&candidate.name) {
                CandidateState::Rejected
            } else {
                candidate.state
            },
            ..candidate.clone()
        };
        state.candidates.iter().map(with_state).collect()
    }

    /// Adopts the candidate with this name for a person.
    pub(super) fn accept(&self, name: &str) -> Result<Result<Accepted, CommandError>, StoreError> {
        let mut state = self.state();
        let Some(candidate) = state
            .candidates
            .iter()
            .find(|held| held.name == name)
            .cloned()
        else {
            return Ok(Err(CommandError::NotFound));
        };
        if candidate.sli == Sli::ErrorRate {
            return Ok(Err(CommandError::Invalid(format!(
                "{name} is the complement of an availability candidate, and both would count every error twice; \
                 accept the availability candidate of {} instead",
                candidate.service.name
            ))));
        }
        if is_adopted(&state, &candidate) {
            return Ok(Err(CommandError::AlreadyAdopted));
        }
        if state.objectives.contains_key(name) {
            return Ok(Err(CommandError::Invalid(format!(
                "another objective is called {name}; rename it in objectives.list first"
            ))));
        }
        let warning = candidate
            .doubt()
            .map(|doubt| format!("{name} gates all the same from now on; it is {doubt}"));
        let objective = self.adopt_candidate(&mut state, &candidate, ObjectiveSource::Accepted)?;
        Ok(Ok(Accepted { objective, warning }))
    }

    fn adopt_candidate(
        &self,
        state: &mut State,
        candidate: &Candidate,
        source: ObjectiveSource,
    ) -> Result<Objective, StoreError> {
        let now = self.clock.now();
        let objective = candidate.objective(source);
        let text = format!(
            "target {} from {} events",
            candidate.target, candidate.evidence.events
        );
        let transition = transition(
            now,
            "objective",
            &objective.name,
            ("candidate", "adopted"),
            text,
        );
        self.store.adopt(&objective, &transition)?;
        self.attach(state, &objective, now)?;
        state.rejected.remove(&objective.name);
        tracing::info!(
            objective = objective.name,
            target = objective.target,
            "Objective adopted."
        );
        Ok(objective)
    }

    /// Refuses the candidate with this name for a person.
    pub(super) fn reject(&self, name: &str) -> Result<Result<(), CommandError>, StoreError> {
        let mut state = self.state();
        let Some(candidate) = state.candidates.iter().find(|held| held.name == name) else {
            return Ok(Err(CommandError::NotFound));
        };
        if is_adopted(&state, candidate) {
            return Ok(Err(CommandError::AlreadyAdopted));
        }
        let text = "rejected by a person".to_owned();
        let transition = transition(
            self.clock.now(),
            "candidate",
            name,
            ("proposed", "rejected"),
            text,
        );
        self.store.reject(name, &transition)?;
        state.rejected.insert(name.to_owned());
        Ok(Ok(()))
    }

    /// Keeps the changes of verdicts since the report before.
    pub(super) fn note_transitions(&self, report: &Report) -> Result<(), StoreError> {
        let mut state = self.state();
        let mut transitions = Vec::new();
        let mut verdicts = BTreeMap::new();
        for verdict in std::iter::once(&report.verdict).chain(&report.verdicts) {
            let before = state.verdicts.get(&verdict.service).copied();
            verdicts.insert(verdict.service.clone(), verdict.verdict);
            if before == Some(verdict.verdict) {
                continue;
            }
            let subject = verdict
                .service
                .as_ref()
                .map_or_else(|| "*".to_owned(), |service| service.name.to_string());
            let from = before.map_or("", Verdict::label);
            let text: Vec<&str> = verdict
                .reasons
                .iter()
                .map(|reason| reason.text.as_str())
                .collect();
            let text = text.join("; ");
            if before.is_some() {
                tracing::info!(
                    service = subject,
                    from,
                    to = verdict.verdict.label(),
                    reasons = text,
                    "Verdict changed."
                );
            }
            transitions.push(transition(
                report.now,
                "verdict",
                &subject,
                (from, verdict.verdict.label()),
                text,
            ));
        }
        if !transitions.is_empty() {
            self.store.append_transitions(&transitions)?;
        }
        // After a failure the changes are seen again. Services that are gone are forgotten.
        state.verdicts = verdicts;
        Ok(())
    }
}

impl Unsaved {
    /// The minutes of one series.
    fn of(&self, series: SeriesId) -> impl Iterator<Item = MinuteRow> {
        let own = self
            .minutes
            .iter()
            .filter(move |minute| minute.series == series);
        own.map(|minute| minute.row.clone())
    }
}

fn transition(
    at: UnixNanos,
    kind: &str,
    subject: &str,
    (from, to): (&str, &str),
    text: String,
) -> Transition {
    Transition {
        at,
        kind: kind.to_owned(),
        subject: subject.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
        text,
    }
}

/// Whether somebody may still adopt a candidate.
fn is_open(state: &State, candidate: &Candidate) -> bool {
    !is_adopted(state, candidate)
        && !state.rejected.contains(&candidate.name)
        && !state.objectives.contains_key(&candidate.name)
}

/// Names may gain a suffix when a namesake appears, so a candidate is known by what it measures.
fn is_adopted(state: &State, candidate: &Candidate) -> bool {
    let kind = |sli: Sli| match sli {
        Sli::Availability | Sli::ErrorRate => "availability",
        Sli::Latency { .. } => "latency",
    };
    state.objectives.values().any(|objective| {
        objective.selects(&candidate.service)
            && objective.operation == candidate.operation
            && kind(objective.sli) == kind(candidate.sli)
    })
}

fn minute_before(now: UnixNanos, secs: u64) -> u32 {
    let minute = (now / crate::model::NANOS_PER_SEC).saturating_sub(secs) / 60;
    u32::try_from(minute).unwrap_or(u32::MAX)
}

/// Whether this is a reserved `_other` series, of which no objective makes sense.
fn is_overflow(key: &SeriesKey) -> bool {
    *key.service.name == *OVERFLOW || key.operation_name() == Some(OVERFLOW)
}
