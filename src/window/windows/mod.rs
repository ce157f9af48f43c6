//! All series: a sharded map by hash, bounded, fed by whole requests.
//!
//! A request's events go to the series of their operation, then those that `sli.exclude` does not name go to the
//! series of the service and of its version. Strings are cloned only when a series is new. Over a cap, events go to the
//! service's `_other` operation, then to the service `_other`, with their outcome.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock};

use dashmap::DashMap;
use wildmatch::WildMatch;

use crate::model::UnixNanos;
use crate::model::batch::{BatchResource, Event, EventBatch};
use crate::model::series::{OVERFLOW, SeriesId, SeriesKey, SeriesScope, ServiceKey};
use crate::model::slo::Objective;
use crate::pii::{Counts, Scrubber};
use crate::window::cohort::Cohorts;
use crate::window::cohort::settings::RolloutsConfig;
use crate::window::cohort::watch::Scope;
use crate::window::cut::Cut;
use crate::window::demand::Demand;
use crate::window::guard::Guard;
use crate::window::operation::template;
use crate::window::series::{Keeps, Series};
use crate::window::settings::{SliConfig, WindowsConfig};
pub(super) use accounts::Accounts;
use range::{Age, EventRange};
pub(super) use rollouts::Details;

mod accounts;
pub use objectives::selects;
pub use places::VERSIONS_MAX;

mod objectives;
mod places;
mod range;
mod rollouts;

/// Shards of the map: many, so that a walk over all series holds up few receivers at a time.
const SHARDS: usize = 256;

/// Excluded operations that the map remembers; the names of more are looked at each time.
const EXCLUDED_MARKS_MAX: u64 = 1_024;

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
    /// Adds the events of another batch.
    pub fn add(&mut self, other: Self) {
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

impl Slot {
    /// The series, to be changed: the checkpoint under way has what it was.
    #[inline]
    pub(super) fn series_mut(&mut self, cut: &Cut) -> Option<&mut Series> {
        match self {
            Self::Series(series) => {
                cut.before_change(&mut **series);
                Some(series)
            }
            Self::Excluded => None,
        }
    }
}

pub(super) type SeriesMap = DashMap<SeriesId, Slot, BuildHasherDefault<IdHasher>>;

/// All windows of all series.
#[derive(Debug)]
pub struct Windows {
    pub(super) map: SeriesMap,
    pub(super) objectives: RwLock<Vec<Arc<Objective>>>,
    /// Taken after `objectives`, and never while a series is held.
    accounts: Mutex<Accounts>,
    pub(super) config: WindowsConfig,
    exclude: Vec<WildMatch>,
    held_series: AtomicU64,
    held_services: AtomicU64,
    excluded_marks: AtomicU64,
    pub(super) refused: Demand,
    pub(super) cut: Arc<Cut>,
    /// Held while what belongs together moves between series and accounts.
    pub(in crate::window) upkeep: Mutex<()>,
    pub(super) cohorts: Cohorts,
    pub(super) guard: Arc<Guard>,
}

impl Windows {
    /// No series yet.
    pub fn new(config: WindowsConfig, sli: &SliConfig) -> Self {
        let guard = Arc::new(Guard::new(Scrubber::off()));
        let cut = Arc::new(Cut::default());
        Self {
            map: DashMap::with_hasher_and_shard_amount(BuildHasherDefault::default(), SHARDS),
            objectives: RwLock::new(Vec::new()),
            accounts: Mutex::default(),
            exclude: sli
                .exclude
                .iter()
                .map(|pattern| WildMatch::new(pattern))
                .collect(),
            config,
            held_series: AtomicU64::new(0),
            held_services: AtomicU64::new(0),
            excluded_marks: AtomicU64::new(0),
            refused: Demand::default(),
            upkeep: Mutex::default(),
            cohorts: Cohorts::new(
                RolloutsConfig::default(),
                Scope::default(),
                Arc::clone(&guard),
                Arc::clone(&cut),
            ),
            cut,
            guard,
        }
    }

    /// Takes personal data and secrets out of the names of operations, errors and dependencies. Names that differ in
    /// nothing else are one name then.
    #[must_use]
    pub fn scrubbing(mut self, scrubber: Scrubber) -> Self {
        self.guard = Arc::new(Guard::new(scrubber));
        self.cohorts.set_guard(Arc::clone(&self.guard));
        self
    }

    /// What was found in names since the last call.
    pub fn take_findings(&self) -> Counts {
        self.guard.take()
    }

    /// Counts the events of a request. Marks those that are excluded.
    pub fn record(&self, batch: &mut EventBatch, now: UnixNanos) -> Recorded {
        let mut recorded = Recorded::default();
        let mut events = std::mem::take(&mut batch.events);
        let mut rest = events.as_mut_slice();
        let mut details = Details::of(batch);
        for resource in &batch.resources {
            let own = rest
                .split_off_mut(..resource.events as usize)
                .unwrap_or_default();
            if !own.is_empty() {
                recorded.add(self.record_resource(batch, resource, own, now));
            }
            let part = details.take(batch, resource, own);
            if self.cohorts.watch().is_on() {
                self.record_cohort(part, now);
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
                Target::Overflow if self.is_excluded(&template(batch.bytes(event.operation))) => {
                    Placed::Excluded
                }
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
            && let Some(series) = slot.series_mut(&self.cut)
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
        let has_version = matches!(target, Target::Own) && !resource.version.is_empty();
        if has_version && events.iter().any(|event| !event.excluded) {
            self.record_version(batch, resource, events, (now, &range));
        }
        recorded
    }

    #[inline]
    fn record_operation(
        &self,
        batch: &EventBatch,
        resource: &BatchResource,
        event: &mut Event,
        (now, range): (UnixNanos, &EventRange),
    ) -> Placed {
        if let Some(mut slot) = self.map.get_mut(&event.series) {
            return match slot.series_mut(&self.cut) {
                None => Placed::Excluded,
                Some(series) => {
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
        event: &mut Event,
        (now, range): (UnixNanos, &EventRange),
    ) -> Placed {
        let name = template(batch.bytes(event.operation));
        if self.is_excluded(&name) {
            self.mark_excluded(event.series);
            return Placed::Excluded;
        }
        let (name, found) = self.guard.plain(&name);
        if !found.is_empty() {
            // All that follows goes by the name that is shown.
            let mut buffer = Vec::with_capacity(64);
            let service = resource.service_hash;
            event.series =
                SeriesId::of_operation(&mut buffer, service, event.kind, name.as_bytes());
            if self.record_existing(event.series, event, range) {
                return Placed::Own;
            }
        }
        if name == OVERFLOW {
            return self.record_overflow(&service_key(batch, resource), event, (now, range));
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
        self.guard.note(&found);
        self.record_existing(event.series, event, range);
        Placed::Own
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
        let mut slot = self.map.get_mut(&id);
        match slot.as_mut().and_then(|slot| slot.series_mut(&self.cut)) {
            Some(series) => {
                series.record(event, range.age(event.end).is_windowed());
                true
            }
            None => false,
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
        let first = events.first().map(|event| event.end.min(now));
        let first = first.filter(|end| range.age(*end).is_windowed());
        let record = || {
            let mut slot = self.map.get_mut(&id)?;
            let series = slot.series_mut(&self.cut)?;
            let comes_back =
                first.is_some_and(|first| series.comes_back(first, self.cohorts.silence()));
            for event in events.iter().filter(|event| !event.excluded) {
                series.record(event, range.age(event.end).is_windowed());
            }
            Some(comes_back)
        };
        match record() {
            Some(false) => return,
            Some(true) => {
                let service = service_key(batch, resource);
                return self.version_appeared(&service, first.unwrap_or(now));
            }
            None => {}
        }
        let newest = events
            .iter()
            .map(|event| event.end)
            .max()
            .unwrap_or(now)
            .min(now);
        let service = SeriesId::of_service(resource.service_hash);
        if self.make_room_for_version(service, id, newest) {
            let version = batch.text(resource.version).as_ref().into();
            let scope = SeriesScope::Version { version };
            let key = SeriesKey {
                service: service_key(batch, resource),
                scope,
            };
            let service = key.service.clone();
            self.insert(id, key, Keeps::default(), range.first(newest, now));
            record();
            self.version_appeared(&service, newest);
        }
    }

    /// Whether `sli.exclude` names an operation, with or without its first word (the method).
    pub(in crate::window) fn is_excluded(&self, name: &str) -> bool {
        let route = name.split_once(' ').map_or(name, |(_, route)| route);
        self.exclude
            .iter()
            .any(|pattern| pattern.matches(name) || pattern.matches(route))
    }
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

#[cfg(test)]
mod tests;
