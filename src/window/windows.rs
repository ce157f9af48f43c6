//! All series: a sharded map by hash, bounded, fed by whole requests.
//!
//! A request's events go to the series of their operation, then those that `sli.exclude` does not name go to the
//! series of the service and of its version. Strings are cloned only when a series is new. Over a cap, events go to the
//! service's `_other` operation, then to the service `_other`, with their outcome.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use wildmatch::WildMatch;

use crate::model::UnixNanos;
use crate::model::batch::{BatchResource, Event, EventBatch};
use crate::model::history::{MinuteRow, SeriesMinute};
use crate::model::report::SeriesUsage;
use crate::model::series::{OVERFLOW, SeriesId, SeriesKey, SeriesScope, ServiceKey};
use crate::model::slo::Objective;
use crate::window::demand::Demand;
use crate::window::ledger::{Ledger, LedgerDay, LedgerRow};
use crate::window::operation::template;
use crate::window::rolling::{AHEAD_SECS_MAX, HELD_SECS};
use crate::window::series::{Keeps, Series};
use crate::window::settings::{SliConfig, WindowsConfig};

/// Shards of the map: many, so that a walk over all series holds up few receivers at a time.
const SHARDS: usize = 256;

/// Versions of a service that are told apart.
const VERSIONS_MAX: usize = 3;

/// A version makes room for another one when it had no event for so long.
const VERSION_IDLE_NANOS: u64 = 5 * 60 * crate::model::NANOS_PER_SEC;

/// What became of the events of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Events that reached windows or counters.
    pub counted: u64,
    /// Events that `sli.exclude` names.
    pub excluded: u64,
    /// Events that came after `late_after`; they went to their slots all the same.
    pub late: u64,
    /// Events older than the held range; only counters moved.
    pub too_old: u64,
    /// Events further ahead than `future_tolerance`; only counters moved.
    pub too_new: u64,
    /// Events that went to `_other`, since a cap was reached.
    pub overflowed: u64,
}

impl Recorded {
    fn add(&mut self, other: Self) {
        self.counted += other.counted;
        self.excluded += other.excluded;
        self.late += other.late;
        self.too_old += other.too_old;
        self.too_new += other.too_new;
        self.overflowed += other.overflowed;
    }
}

/// Series ids are hashes already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    #[expect(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
    fn write_u128(&mut self, id: u128) {
        self.0 = id as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxhash_rust::xxh3::xxh3_64(bytes);
    }
}

/// A held series, or the mark that an operation is excluded.
#[derive(Debug)]
pub(super) enum Slot {
    Series(Box<Series>),
    Excluded,
}

pub(super) type SeriesMap = DashMap<SeriesId, Slot, BuildHasherDefault<IdHasher>>;

/// All windows of all series.
#[derive(Debug)]
pub struct Windows {
    pub(super) map: SeriesMap,
    pub(super) objectives: RwLock<Vec<Arc<Objective>>>,
    pub(super) config: WindowsConfig,
    exclude: Vec<WildMatch>,
    held_series: AtomicU64,
    held_services: AtomicU64,
    refused: Demand,
}

impl Windows {
    /// No series yet.
    pub fn new(config: WindowsConfig, sli: &SliConfig) -> Self {
        Self {
            map: DashMap::with_hasher_and_shard_amount(BuildHasherDefault::default(), SHARDS),
            objectives: RwLock::new(Vec::new()),
            exclude: sli
                .exclude
                .iter()
                .map(|pattern| WildMatch::new(pattern))
                .collect(),
            config,
            held_series: AtomicU64::new(0),
            held_services: AtomicU64::new(0),
            refused: Demand::default(),
        }
    }

    /// Counts the events of a request. Marks those that are excluded.
    pub fn record(&self, batch: &mut EventBatch, now: UnixNanos) -> Recorded {
        let mut recorded = Recorded::default();
        let mut events = std::mem::take(&mut batch.events);
        let mut rest = events.as_mut_slice();
        for resource in &batch.resources {
            let own = rest
                .split_off_mut(..resource.events as usize)
                .unwrap_or_default();
            if !own.is_empty() {
                recorded.add(self.record_resource(batch, resource, own, now));
            }
        }
        batch.events = events;
        recorded
    }

    fn record_resource(
        &self,
        batch: &EventBatch,
        resource: &BatchResource,
        events: &mut [Event],
        now: UnixNanos,
    ) -> Recorded {
        let mut recorded = Recorded::default();
        let range = EventRange::new(&self.config, now);
        let first = events
            .first()
            .map_or(now, |event| range.first(event.end, now));
        let target = self.service_for(batch, resource, first);
        for event in events.iter_mut() {
            let placed = match target {
                Target::Own => self.record_operation(batch, resource, event, (now, &range)),
                Target::Overflow => {
                    self.record_overflow(&ServiceKey::overflow(), event, (now, &range))
                }
            };
            event.excluded = placed == Placed::Excluded;
            recorded.excluded += u64::from(event.excluded);
            recorded.overflowed += u64::from(placed == Placed::Overflow);
        }
        let service = match target {
            Target::Own => SeriesId::of_service(resource.service_hash),
            Target::Overflow => SeriesId::of_service(ServiceKey::overflow().hash()),
        };
        if let Some(mut slot) = self.map.get_mut(&service)
            && let Slot::Series(series) = slot.value_mut()
        {
            for event in events.iter().filter(|event| !event.excluded) {
                let age = range.age(event.end);
                series.record(event, age.is_windowed());
                recorded.counted += 1;
                recorded.late += u64::from(age == Age::Late);
                recorded.too_old += u64::from(age == Age::TooOld);
                recorded.too_new += u64::from(age == Age::TooNew);
            }
        }
        if matches!(target, Target::Own) && !resource.version.is_empty() {
            self.record_version(batch, resource, events, (now, &range));
        }
        recorded
    }

    /// Makes sure that the service has its series, or says that the cap is reached.
    fn service_for(
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
        if room {
            let key = SeriesKey::service(service_key(batch, resource));
            self.insert(
                id,
                key,
                Keeps {
                    durations: true,
                    history: true,
                },
                first,
            );
            return Target::Own;
        }
        self.held_services.fetch_sub(1, Ordering::Relaxed);
        self.refused.add(id);
        let overflow = SeriesKey::service(ServiceKey::overflow());
        self.insert_reserved(
            overflow,
            Keeps {
                durations: true,
                history: true,
            },
            first,
        );
        Target::Overflow
    }

    #[inline]
    fn record_operation(
        &self,
        batch: &EventBatch,
        resource: &BatchResource,
        event: &Event,
        (now, range): (UnixNanos, &EventRange),
    ) -> Placed {
        if let Some(mut slot) = self.map.get_mut(&event.series) {
            return match slot.value_mut() {
                Slot::Excluded => Placed::Excluded,
                Slot::Series(series) => {
                    series.record(event, range.age(event.end).is_windowed());
                    Placed::Own
                }
            };
        }
        self.record_new_operation(batch, resource, event, (now, range))
    }

    #[cold]
    fn record_new_operation(
        &self,
        batch: &EventBatch,
        resource: &BatchResource,
        event: &Event,
        (now, range): (UnixNanos, &EventRange),
    ) -> Placed {
        let name = template(batch.bytes(event.operation));
        if self.is_excluded(&name) {
            if self.held_series.load(Ordering::Relaxed) < self.config.max_series
                && self.map.insert(event.series, Slot::Excluded).is_none()
            {
                self.held_series.fetch_add(1, Ordering::Relaxed);
            }
            return Placed::Excluded;
        }
        let service = SeriesId::of_service(resource.service_hash);
        let Some(rank) = self.take_operation_place(service) else {
            self.refused.add(event.series);
            return self.record_overflow(&service_key(batch, resource), event, (now, range));
        };
        let key = SeriesKey::operation(service_key(batch, resource), &name, event.kind);
        let keeps = Keeps {
            durations: self.config.operation_durations,
            history: (rank as usize) < self.config.history_operations_per_service,
        };
        if !self.insert(event.series, key, keeps, range.first(event.end, now)) {
            self.release_operation_place(service);
        }
        self.record_existing(event.series, event, range);
        Placed::Own
    }

    /// One more operation of the service: its number, or `None` over a cap.
    fn take_operation_place(&self, service: SeriesId) -> Option<u32> {
        if self.held_series.load(Ordering::Relaxed) >= self.config.max_series {
            return None;
        }
        let mut slot = self.map.get_mut(&service)?;
        match slot.value_mut() {
            Slot::Series(series) if series.operations < self.config.max_operations_per_service => {
                series.operations += 1;
                Some(series.operations - 1)
            }
            Slot::Series(_) | Slot::Excluded => None,
        }
    }

    pub(super) fn release_operation_place(&self, service: SeriesId) {
        if let Some(mut slot) = self.map.get_mut(&service)
            && let Slot::Series(series) = slot.value_mut()
        {
            series.operations = series.operations.saturating_sub(1);
        }
    }

    /// Counts an event in the reserved operation `_other` of a service.
    fn record_overflow(
        &self,
        service: &ServiceKey,
        event: &Event,
        (now, range): (UnixNanos, &EventRange),
    ) -> Placed {
        let id = SeriesId::of_operation(
            &mut Vec::with_capacity(32),
            service.hash(),
            event.kind,
            OVERFLOW.as_bytes(),
        );
        if !self.record_existing(id, event, range) {
            let key = SeriesKey::operation(service.clone(), OVERFLOW, event.kind);
            let keeps = Keeps {
                durations: self.config.operation_durations,
                history: true,
            };
            self.insert_reserved(key, keeps, range.first(event.end, now));
            self.record_existing(id, event, range);
        }
        Placed::Overflow
    }

    fn record_existing(&self, id: SeriesId, event: &Event, range: &EventRange) -> bool {
        match self.map.get_mut(&id).as_deref_mut() {
            Some(Slot::Series(series)) => {
                series.record(event, range.age(event.end).is_windowed());
                true
            }
            Some(Slot::Excluded) | None => false,
        }
    }

    fn record_version(
        &self,
        batch: &EventBatch,
        resource: &BatchResource,
        events: &[Event],
        (now, range): (UnixNanos, &EventRange),
    ) {
        let version = batch.bytes(resource.version);
        let id = SeriesId::of_version(&mut Vec::with_capacity(64), resource.service_hash, version);
        if !self.map.contains_key(&id) {
            let newest = events
                .iter()
                .map(|event| event.end)
                .max()
                .unwrap_or(now)
                .min(now);
            let service = SeriesId::of_service(resource.service_hash);
            if !self.make_room_for_version(service, id, newest) {
                return;
            }
            let version = batch.text(resource.version).as_ref().into();
            let key = SeriesKey {
                service: service_key(batch, resource),
                scope: SeriesScope::Version { version },
            };
            self.insert(id, key, Keeps::default(), range.first(newest, now));
        }
        if let Some(Slot::Series(series)) = self.map.get_mut(&id).as_deref_mut() {
            for event in events.iter().filter(|event| !event.excluded) {
                series.record(event, range.age(event.end).is_windowed());
            }
        }
    }

    /// Notes the version with its service, in place of one that has been idle; false if all of them are in use.
    fn make_room_for_version(
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
                Some((last_event, id)) if last_event + VERSION_IDLE_NANOS < newest => Some(id),
                _ => return false,
            }
        };
        if let Some(id) = evicted {
            self.remove(id);
        }
        if let Some(Slot::Series(series)) = self.map.get_mut(&service).as_deref_mut() {
            series
                .versions
                .retain(|held| Some(*held) != evicted && *held != version);
            series.versions.push(version);
        }
        true
    }

    /// Inserts a series unless it is there; counts it and attaches the objectives that select it.
    fn insert(&self, id: SeriesId, key: SeriesKey, keeps: Keeps, first: UnixNanos) -> bool {
        // Held until the series is in the map, so that an objective adopted meanwhile finds it there.
        let objectives = self
            .objectives
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let mut series = Series::new(key, keeps, first);
        for objective in objectives.iter() {
            if selects(objective, &series.key) {
                series.attach(Ledger::new(objective, first));
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
    fn insert_reserved(&self, key: SeriesKey, keeps: Keeps, first: UnixNanos) {
        let id = key.id();
        if !self.map.contains_key(&id) {
            self.insert(id, key, keeps, first);
        }
    }

    /// Inserts a series of a checkpoint; the caps were applied when it was first seen.
    pub(super) fn insert_restored(&self, id: SeriesId, series: Series) {
        let is_service = series.key.scope == SeriesScope::Service;
        if self
            .map
            .insert(id, Slot::Series(Box::new(series)))
            .is_none()
        {
            self.held_series.fetch_add(1, Ordering::Relaxed);
            self.held_services
                .fetch_add(u64::from(is_service), Ordering::Relaxed);
        }
    }

    /// Rebuilds a series from its history, as far as the caps allow. Services come before their operations.
    pub fn restore(&self, key: SeriesKey, rows: &[MinuteRow]) -> bool {
        let Some(first) = rows.first() else {
            return false;
        };
        let id = key.id();
        let service = SeriesId::of_service(key.service.hash());
        let is_service = key.scope == SeriesScope::Service;
        let room = if is_service {
            self.held_services.load(Ordering::Relaxed) < self.config.max_services
        } else {
            self.take_operation_place(service).is_some()
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
        self.insert_restored(id, series);
        true
    }

    pub(super) fn remove(&self, id: SeriesId) {
        let Some((_, slot)) = self.map.remove(&id) else {
            return;
        };
        self.held_series.fetch_sub(1, Ordering::Relaxed);
        let Slot::Series(series) = slot else { return };
        match series.key.scope {
            SeriesScope::Service => {
                self.held_services.fetch_sub(1, Ordering::Relaxed);
            }
            SeriesScope::Operation { .. } => {
                self.release_operation_place(SeriesId::of_service(series.key.service.hash()));
            }
            SeriesScope::Version { .. } => {}
        }
    }

    /// Whether `sli.exclude` names an operation, with or without its first word (the method).
    fn is_excluded(&self, name: &str) -> bool {
        let route = name.split_once(' ').map_or(name, |(_, route)| route);
        self.exclude
            .iter()
            .any(|pattern| pattern.matches(name) || pattern.matches(route))
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

    /// Adopts an objective: attaches an account to each series that it selects, now and later.
    ///
    /// Returns those series, each with the minutes that the history does not have yet. The caller replays the history
    /// and those minutes by [`Self::replay`], so that the account knows the past and counts nothing twice.
    pub fn adopt(
        &self,
        objective: &Arc<Objective>,
        now: UnixNanos,
    ) -> Vec<(SeriesId, Vec<MinuteRow>)> {
        {
            let mut objectives = self
                .objectives
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            if objectives.iter().all(|held| held.name != objective.name) {
                objectives.push(Arc::clone(objective));
            }
        }
        let mut attached = Vec::new();
        for mut slot in self.map.iter_mut() {
            let id = *slot.key();
            if let Slot::Series(series) = slot.value_mut()
                && selects(objective, &series.key)
                && series.attach(Ledger::new(objective, now))
            {
                attached.push((id, series.unsaved_minutes()));
            }
        }
        attached.sort_unstable_by_key(|(id, _)| *id);
        attached
    }

    /// Adds past minutes to the account of an objective on a series.
    pub fn replay(
        &self,
        objective: &str,
        series: SeriesId,
        rows: &[MinuteRow],
        days: &[LedgerDay],
    ) {
        if let Some(Slot::Series(series)) = self.map.get_mut(&series).as_deref_mut()
            && let Some(ledger) = series.ledger_mut(objective)
        {
            for row in rows {
                ledger.replay(row);
            }
            ledger.restore_days(days.iter().copied());
        }
    }

    /// Takes the closed minutes that the history does not have yet, sorted, and how many were lost to its bound.
    pub fn take_history(&self) -> (Vec<SeriesMinute>, u64) {
        let (mut rows, mut lost) = (Vec::new(), 0);
        for mut slot in self.map.iter_mut() {
            let id = *slot.key();
            if let Slot::Series(series) = slot.value_mut() {
                let (minutes, lost_here) = series.take_outbox();
                lost += lost_here;
                rows.extend(
                    minutes
                        .into_iter()
                        .map(|row| SeriesMinute { series: id, row }),
                );
            }
        }
        rows.sort_by_key(|minute| (minute.series, minute.row.minute));
        (rows, lost)
    }

    /// The days of all accounts since `from_day`, to be kept.
    pub fn ledger_rows(&self, from_day: u32) -> Vec<LedgerRow> {
        let mut rows = Vec::new();
        for slot in &self.map {
            let Slot::Series(series) = slot.value() else {
                continue;
            };
            for ledger in series.ledgers() {
                let days = ledger.days().iter().filter(|day| day.day >= from_day);
                rows.extend(days.map(|day| LedgerRow {
                    objective: Arc::clone(ledger.name()),
                    series: *slot.key(),
                    day: *day,
                }));
            }
        }
        rows
    }
}

/// Whether an objective is measured on the series with this key.
pub(super) fn selects(objective: &Objective, key: &SeriesKey) -> bool {
    let scope = match (&key.scope, &objective.operation) {
        (SeriesScope::Service, None) => true,
        (SeriesScope::Operation { operation, .. }, Some(wanted)) => **operation == **wanted,
        (SeriesScope::Service | SeriesScope::Operation { .. } | SeriesScope::Version { .. }, _) => {
            false
        }
    };
    scope && objective.selects(&key.service)
}

fn service_key(batch: &EventBatch, resource: &BatchResource) -> ServiceKey {
    ServiceKey {
        namespace: batch.text(resource.namespace).as_ref().into(),
        environment: batch.text(resource.environment).as_ref().into(),
        name: batch.text(resource.service).as_ref().into(),
    }
}

#[derive(Clone, Copy)]
enum Target {
    Own,
    Overflow,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Placed {
    Own,
    Excluded,
    Overflow,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Age {
    OnTime,
    Late,
    TooOld,
    TooNew,
}

impl Age {
    fn is_windowed(self) -> bool {
        match self {
            Self::OnTime | Self::Late => true,
            Self::TooOld | Self::TooNew => false,
        }
    }
}

/// The times that events may have.
struct EventRange {
    oldest: UnixNanos,
    late: UnixNanos,
    newest: UnixNanos,
}

impl EventRange {
    fn new(config: &WindowsConfig, now: UnixNanos) -> Self {
        let nanos = |secs: u64| secs * crate::model::NANOS_PER_SEC;
        let late_secs = config.late_after.as_secs().min(HELD_SECS);
        let ahead_secs = config.future_tolerance.as_secs().min(AHEAD_SECS_MAX);
        Self {
            oldest: now.saturating_sub(nanos(HELD_SECS)),
            late: now.saturating_sub(nanos(late_secs)),
            newest: now.saturating_add(nanos(ahead_secs)),
        }
    }

    /// When a series begins whose first event ends at `end`.
    fn first(&self, end: UnixNanos, now: UnixNanos) -> UnixNanos {
        if self.age(end).is_windowed() {
            end.min(now)
        } else {
            now
        }
    }

    #[inline]
    fn age(&self, end: UnixNanos) -> Age {
        if end > self.newest {
            Age::TooNew
        } else if end >= self.late {
            Age::OnTime
        } else if end >= self.oldest {
            Age::Late
        } else {
            Age::TooOld
        }
    }
}
