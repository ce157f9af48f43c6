//! Who gets a place in the map, and who gives it back: the caps.
//!
//! Invariant: `held_series` is the number of series in the map, `held_services` that of services without `_other`, and
//! `operations` of a service that of its operations without `_other`. While several threads insert at once a cap
//! may be exceeded by their number.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use dashmap::mapref::entry::Entry;

use crate::model::UnixNanos;
use crate::model::batch::{BatchResource, EventBatch};
use crate::model::history::MinuteRow;
use crate::model::report::SeriesUsage;
use crate::model::series::{OVERFLOW, SeriesId, SeriesKey, SeriesScope, ServiceKey};
use crate::window::cut::Cuttable;
use crate::window::ledger::Ledger;
use crate::window::series::{Keeps, Series};
use crate::window::windows::objectives::selects;
use crate::window::windows::{EXCLUDED_MARKS_MAX, Slot, Target, Windows, service_key};

/// Versions of a service that are told apart.
pub const VERSIONS_MAX: usize = 3;

/// A version makes room for another one when it had no event for so long.
const VERSION_IDLE_NANOS: u64 = 5 * 60 * crate::model::NANOS_PER_SEC;

impl Windows {
    /// Makes sure that the service has its series, or says that the cap is reached.
    pub(super) fn service_for(
        &self,
        batch: &EventBatch,
        resource: &BatchResource,
        first: UnixNanos,
    ) -> Target {
        let id = SeriesId::of_service(resource.service_hash);
        if self.map.contains_key(&id) {
            return Target::Own;
        }
        let room = self.held_services.fetch_add(1, Ordering::Relaxed) < self.config.max_services
            && self.held_series.load(Ordering::Relaxed) < self.config.max_series;
        let keeps = Keeps {
            durations: true,
            history: true,
        };
        if room {
            let key = SeriesKey::service(service_key(batch, resource));
            let takes_place = takes_service_place(&key);
            if !self.insert(id, key, keeps, first) || !takes_place {
                self.held_services.fetch_sub(1, Ordering::Relaxed);
            }
            return Target::Own;
        }
        self.held_services.fetch_sub(1, Ordering::Relaxed);
        self.refused.add(id);
        let overflow = SeriesKey::service(ServiceKey::overflow());
        self.insert_reserved(overflow, keeps, first);
        Target::Overflow
    }

    /// One more operation of the service: its number, or `None` over a cap.
    pub(super) fn take_operation_place(&self, service: SeriesId) -> Option<u32> {
        if self.held_series.load(Ordering::Relaxed) >= self.config.max_series {
            return None;
        }
        let mut slot = self.map.get_mut(&service)?;
        let series = slot.series_mut(&self.cut)?;
        if series.operations >= self.config.max_operations_per_service {
            return None;
        }
        series.operations += 1;
        Some(series.operations - 1)
    }

    pub(super) fn release_operation_place(&self, service: SeriesId) {
        if let Some(mut slot) = self.map.get_mut(&service)
            && let Some(series) = slot.series_mut(&self.cut)
        {
            series.operations = series.operations.saturating_sub(1);
        }
    }

    /// Notes the version with its service, in place of one that has been idle; false if all of them are in use.
    pub(super) fn make_room_for_version(
        &self,
        service: SeriesId,
        version: SeriesId,
        newest: UnixNanos,
    ) -> bool {
        if self.held_series.load(Ordering::Relaxed) >= self.config.max_series {
            return false;
        }
        let versions = match self.map.get(&service).as_deref() {
            Some(Slot::Series(series)) => series.versions.clone(),
            Some(Slot::Excluded) | None => return false,
        };
        let idle_since = |id: &SeriesId| match self.map.get(id).as_deref() {
            Some(Slot::Series(series)) => series.last_event(),
            Some(Slot::Excluded) | None => 0,
        };
        let evicted = if versions.len() < VERSIONS_MAX {
            None
        } else {
            match versions.iter().map(|id| (idle_since(id), *id)).min() {
                Some((last_event, id))
                    if last_event.saturating_add(VERSION_IDLE_NANOS) < newest =>
                {
                    Some(id)
                }
                _ => return false,
            }
        };
        if let Some(id) = evicted {
            self.remove_if(id, |_| true);
        }
        if let Some(mut slot) = self.map.get_mut(&service)
            && let Some(series) = slot.series_mut(&self.cut)
        {
            series
                .versions
                .retain(|held| Some(*held) != evicted && *held != version);
            series.versions.push(version);
        }
        true
    }

    /// Inserts a series unless it is there; counts it and attaches the objectives that select it.
    pub(super) fn insert(
        &self,
        id: SeriesId,
        key: SeriesKey,
        keeps: Keeps,
        first: UnixNanos,
    ) -> bool {
        // Held until the series is in the map, so that an objective adopted meanwhile finds it there.
        let objectives = self
            .objectives
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let mut series = Series::new(key, keeps, first);
        // It is newer than the cut of a checkpoint under way.
        series.set_copied(self.cut.number());
        for objective in objectives.iter() {
            if selects(objective, &series.key) {
                let mut ledger = Ledger::new(objective, first);
                let known = (Arc::clone(ledger.name()), id);
                // The series was here in an earlier run.
                let days = self.accounts().dormant.remove(&known);
                ledger.restore_days(days.into_iter().flatten());
                series.attach(ledger);
            }
        }
        match self.map.entry(id) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert(Slot::Series(Box::new(series)));
                self.held_series.fetch_add(1, Ordering::Relaxed);
                true
            }
        }
    }

    /// Inserts a series that exists whatever the caps say.
    pub(super) fn insert_reserved(&self, key: SeriesKey, keeps: Keeps, first: UnixNanos) {
        let id = key.id();
        if !self.map.contains_key(&id) {
            self.insert(id, key, keeps, first);
        }
    }

    /// Adds a series of a checkpoint or of another instance; the caps were applied when it was first seen.
    pub(in crate::window) fn restore(&self, mut theirs: Series) {
        let objectives = self
            .objectives
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        for objective in objectives.iter() {
            if selects(objective, &theirs.key) {
                theirs.attach(Ledger::new(objective, theirs.last_event()));
            }
        }
        // Operations are counted as they come, since some of them may be here already.
        theirs.operations = 0;
        theirs.set_copied(self.cut.number());
        let key = theirs.key.clone();
        match self.map.entry(key.id()) {
            Entry::Occupied(mut held) => {
                if let Some(mine) = held.get_mut().series_mut(&self.cut) {
                    mine.merge(&theirs);
                }
                return;
            }
            Entry::Vacant(vacant) => {
                vacant.insert(Slot::Series(Box::new(theirs)));
                self.held_series.fetch_add(1, Ordering::Relaxed);
            }
        }
        if takes_service_place(&key) {
            self.held_services.fetch_add(1, Ordering::Relaxed);
        } else if takes_operation_place(&key)
            && let Some(mut slot) = self.map.get_mut(&SeriesId::of_service(key.service.hash()))
            && let Some(service) = slot.series_mut(&self.cut)
        {
            service.operations += 1;
        }
    }

    /// Rebuilds a series from its history, as far as the caps allow. Services come before their operations.
    pub fn rebuild(&self, key: SeriesKey, rows: &[MinuteRow]) -> bool {
        let Some(first) = rows.first() else {
            return false;
        };
        if key
            .operation_name()
            .is_some_and(|name| self.is_excluded(name))
        {
            return false;
        }
        let service = SeriesId::of_service(key.service.hash());
        let is_service = key.scope == SeriesScope::Service;
        let room = if takes_operation_place(&key) {
            match self.map.get(&service).as_deref() {
                Some(Slot::Series(held)) => {
                    held.operations < self.config.max_operations_per_service
                }
                Some(Slot::Excluded) | None => false,
            }
        } else {
            self.held_services.load(Ordering::Relaxed) < self.config.max_services
        };
        if !room || self.held_series.load(Ordering::Relaxed) >= self.config.max_series {
            return false;
        }
        let keeps = Keeps {
            durations: is_service || self.config.operation_durations,
            history: true,
        };
        let at = u64::from(first.minute) * 60 * crate::model::NANOS_PER_SEC;
        let mut series = Series::new(key, keeps, at);
        for row in rows {
            series.replay(row);
        }
        self.restore(series);
        true
    }

    /// Remembers that an operation is excluded, while there is room for such marks.
    pub(super) fn mark_excluded(&self, operation: SeriesId) {
        if self.excluded_marks.load(Ordering::Relaxed) >= EXCLUDED_MARKS_MAX {
            return;
        }
        if let Entry::Vacant(vacant) = self.map.entry(operation) {
            vacant.insert(Slot::Excluded);
            self.excluded_marks.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Forgets a series if it is still what the caller wants to forget.
    pub(in crate::window) fn remove_if(
        &self,
        id: SeriesId,
        unwanted: impl FnOnce(&Series) -> bool,
    ) {
        let removed = self.map.remove_if_mut(&id, |_, slot| {
            slot.series_mut(&self.cut)
                .is_some_and(|series| unwanted(series))
        });
        let Some((_, Slot::Series(series))) = removed else {
            return;
        };
        self.held_series.fetch_sub(1, Ordering::Relaxed);
        if takes_service_place(&series.key) {
            self.held_services.fetch_sub(1, Ordering::Relaxed);
        }
        if takes_operation_place(&series.key) {
            self.release_operation_place(SeriesId::of_service(series.key.service.hash()));
        }
    }

    /// How full the table is.
    pub fn usage(&self) -> SeriesUsage {
        let held = self.held_series.load(Ordering::Relaxed);
        SeriesUsage {
            held,
            limit: self.config.max_series,
            demand: held + self.refused.estimate(),
        }
    }
}

/// Whether a series counts against `max_services`; the reserved one does not.
fn takes_service_place(key: &SeriesKey) -> bool {
    key.scope == SeriesScope::Service && key.service != ServiceKey::overflow()
}

/// Whether a series counts against `max_operations_per_service`; the reserved ones do not.
fn takes_operation_place(key: &SeriesKey) -> bool {
    key.operation_name().is_some_and(|name| name != OVERFLOW)
}
