//! What each version of a service does while two of them take traffic: a rollout, recorded version by version.
//!
//! A rollout begins when a second version has its first event, or when one comes back after it was silent, while another
//! one was heard of lately. It ends when all but one have been silent for `rollouts.silent_after`. The new version
//! is the one that was seen first last; of two that were seen within the same minute, as after a restart in the middle of a
//! rollout, the one whose name sorts later with numbers in it compared as numbers. It is compared with the version that
//! took the most requests in the same minutes.

mod arm;
pub mod edges;
pub mod settings;
pub mod watch;

use std::cmp::Ordering as Order;
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use serde::{Deserialize, Serialize};

use crate::model::canary::{Cohort, Pairing};
use crate::model::history::MinuteRow;
use crate::model::series::{SeriesId, ServiceKey};
use crate::model::span::SpanKind;
use crate::model::{NANOS_PER_SEC, UnixNanos};
pub(in crate::window) use crate::window::cohort::arm::Part;
use crate::window::cohort::arm::{Arm, Bounds};
use crate::window::cohort::settings::RolloutsConfig;
use crate::window::cohort::watch::{Scope, Watch};
use crate::window::cut::{Cut, Cuttable, Tag};
use crate::window::guard::Guard;
use crate::window::windows::IdHasher;

/// Versions of one service that files may have.
const ARMS_MAX: usize = 8;

/// Two versions that are first seen within this are seen at once.
const AT_ONCE_NANOS: u64 = 60 * NANOS_PER_SEC;

/// A monotonic count.
#[derive(Debug, Default)]
pub(in crate::window) struct Tallied(AtomicU64);

impl Tallied {
    fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the bounds turned away.
#[derive(Debug, Default)]
struct Refused {
    services: Tallied,
    versions: Tallied,
    operations: Tallied,
    error_kinds: Tallied,
    dependencies: Tallied,
    too_old: Tallied,
}

/// How full the recording is, and what its bounds turned away since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordingUsage {
    /// Services that are recorded now.
    pub services: u64,
    /// Rollouts that were not recorded: `max_services`.
    pub refused_services: u64,
    /// Parts of requests whose version is one too many.
    pub refused_versions: u64,
    /// Events in `_other`: `max_operations`.
    pub other_operations: u64,
    /// Failures in `_other`: `max_error_kinds`.
    pub other_error_kinds: u64,
    /// Calls in `_other`: `max_dependencies`.
    pub other_dependencies: u64,
    /// Events that are older than what is kept.
    pub too_old_events: u64,
}

impl RecordingUsage {
    /// What each bound turned away, by the name of its key.
    pub fn refused(&self) -> [(&'static str, u64); 6] {
        [
            ("max_services", self.refused_services),
            ("versions", self.refused_versions),
            ("max_operations", self.other_operations),
            ("max_error_kinds", self.other_error_kinds),
            ("max_dependencies", self.other_dependencies),
            ("window", self.too_old_events),
        ]
    }
}

/// A version as the windows know it.
#[derive(Clone, Debug)]
pub(in crate::window) struct Seen {
    pub(in crate::window) version: Arc<str>,
    pub(in crate::window) appeared_at: UnixNanos,
    pub(in crate::window) last_event: UnixNanos,
}

/// What is recorded of one service.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::window) struct Recording {
    service: ServiceKey,
    arms: Vec<Arm>,
    /// The last cut that has it.
    #[serde(skip)]
    copied: u32,
}

impl Cuttable for Recording {
    const TAG: Tag = Tag::Recording;

    fn copied(&self) -> u32 {
        self.copied
    }

    fn set_copied(&mut self, cut: u32) {
        self.copied = cut;
    }
}

/// An operation of the new version: its series over all versions, its name and its kind.
pub(in crate::window) type OperationOf = (SeriesId, Arc<str>, SpanKind);

/// A rollout as it was recorded.
#[derive(Clone, Debug)]
pub struct Rollout {
    /// The service.
    pub service: ServiceKey,
    /// The old version.
    pub baseline: Cohort,
    /// The new version.
    pub canary: Cohort,
    /// How they stand to each other in time.
    pub pairing: Pairing,
}

/// All recordings.
#[derive(Debug)]
pub(in crate::window) struct Cohorts {
    config: RolloutsConfig,
    watch: Arc<Watch>,
    recordings: DashMap<u128, Recording, BuildHasherDefault<IdHasher>>,
    refused: Refused,
    guard: Arc<Guard>,
    cut: Arc<Cut>,
}

impl Cohorts {
    pub(in crate::window) fn new(
        config: RolloutsConfig,
        scope: Scope,
        guard: Arc<Guard>,
        cut: Arc<Cut>,
    ) -> Self {
        Self {
            config,
            watch: Arc::new(Watch::new(scope)),
            recordings: DashMap::default(),
            refused: Refused::default(),
            guard,
            cut,
        }
    }

    fn recording_of(&self, service: ServiceKey) -> Recording {
        Recording {
            service,
            arms: Vec::new(),
            copied: self.cut.number(),
        }
    }

    /// Copies what the last cut does not have yet.
    pub(in crate::window) fn copy_rest(&self) {
        for mut recording in self.recordings.iter_mut() {
            self.cut.before_change(recording.value_mut());
        }
    }

    /// Goes on with recordings of an earlier run.
    pub(in crate::window) fn load(&self, recordings: Vec<Recording>) {
        for mut recording in recordings {
            recording.copied = self.cut.number();
            let hash = recording.service.hash();
            self.recordings.insert(hash, recording);
            self.watch.add(hash);
        }
    }

    /// Names of errors and dependencies go through this.
    pub(in crate::window) fn set_guard(&mut self, guard: Arc<Guard>) {
        self.guard = guard;
    }

    pub(in crate::window) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    pub(in crate::window) fn silence(&self) -> UnixNanos {
        u64::try_from(self.config.silent_after.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Begins a rollout of these versions, or adds those that are new to it.
    pub(in crate::window) fn begin(&self, service: &ServiceKey, versions: &[Seen]) {
        let hash = service.hash();
        let is_new = !self.recordings.contains_key(&hash);
        if is_new && self.recordings.len() >= self.config.max_services {
            self.refused.services.add(1);
            return;
        }
        let entry = self.recordings.entry(hash);
        let mut recording = entry.or_insert_with(|| self.recording_of(service.clone()));
        self.cut.before_change(recording.value_mut());
        for seen in versions {
            let held = recording
                .arms
                .iter()
                .position(|arm| arm.version == seen.version);
            let is_same = held
                .and_then(|at| recording.arms.get(at))
                .is_some_and(|arm| arm.appeared_at == seen.appeared_at);
            if is_same {
                continue;
            }
            if let Some(at) = held {
                recording.arms.remove(at);
            }
            let mut arm = Arm::new(Arc::clone(&seen.version), seen.appeared_at);
            arm.last_event = seen.last_event;
            recording.arms.push(arm);
        }
        drop(recording);
        self.watch.add(hash);
    }

    /// Ends the rollouts in which all versions but one are silent.
    pub(in crate::window) fn end(&self, now: UnixNanos) {
        if self.watch.scope() != Scope::Rollouts || !self.watch.is_on() {
            return;
        }
        let silence = self.silence();
        self.recordings.retain(|hash, recording| {
            self.cut.before_change(recording);
            let is_heard = |arm: &Arm| arm.last_event.saturating_add(silence) >= now;
            recording.arms.retain(is_heard);
            let goes_on = recording.arms.len() > 1;
            if !goes_on {
                self.watch.remove(*hash);
            }
            goes_on
        });
    }

    /// Records a part of a batch, if its service is watched.
    pub(in crate::window) fn record(
        &self,
        part: Part<'_>,
        service: impl FnOnce() -> ServiceKey,
        is_windowed: impl Fn(UnixNanos) -> bool,
    ) {
        let hash = part.resource.service_hash;
        let scope = self.watch.scope();
        let version = part.batch.text(part.resource.version);
        match scope {
            Scope::Rollouts if !self.watch.contains(hash) => return,
            Scope::Rollouts | Scope::Versions if version.is_empty() => return,
            Scope::Rollouts => {}
            Scope::Versions | Scope::Everything => {
                if !self.recordings.contains_key(&hash) {
                    self.recordings.insert(hash, self.recording_of(service()));
                }
            }
        }
        let Some(mut recording) = self.recordings.get_mut(&hash) else {
            return;
        };
        self.cut.before_change(recording.value_mut());
        let name = if scope == Scope::Everything {
            ""
        } else {
            &*version
        };
        let held = recording.arms.iter().position(|arm| *arm.version == *name);
        let at = match held {
            Some(at) => at,
            None if scope == Scope::Rollouts || recording.arms.len() >= ARMS_MAX => {
                self.refused.versions.add(1);
                return;
            }
            None => {
                let appeared_at = part.events.first().map_or(0, |event| event.end);
                recording.arms.push(Arm::new(name.into(), appeared_at));
                recording.arms.len() - 1
            }
        };
        if let Some(arm) = recording.arms.get_mut(at) {
            if scope == Scope::Everything {
                arm.note_version(&version);
            }
            let bounds = Bounds {
                config: &self.config,
                refused: &self.refused,
                guard: &self.guard,
            };
            arm.record(part, is_windowed, &bounds);
        }
    }

    /// The rollouts under way. `past` tells the last minutes of a version, or of an operation of all versions, from the
    /// windows: where the old version stopped before the new one began, they are what is known of it.
    pub(in crate::window) fn rollouts(
        &self,
        past: impl Fn(&ServiceKey, &str, &[OperationOf]) -> Option<Cohort>,
    ) -> Vec<Rollout> {
        if self.watch.scope() != Scope::Rollouts || !self.watch.is_on() {
            return Vec::new();
        }
        // What `past` asks for must not be asked while a recording is held.
        let mut found = Vec::new();
        for recording in &self.recordings {
            let Some(newest) = newest(&recording.arms) else {
                continue;
            };
            let operations: Vec<OperationOf> = newest
                .operations()
                .map(|(id, name, kind)| (id, Arc::clone(name), kind))
                .collect();
            let others = recording.arms.iter();
            let others = others.filter(|arm| arm.version != newest.version);
            let others: Vec<Cohort> = others.map(Arm::cohort).collect();
            found.push((
                recording.service.clone(),
                newest.cohort(),
                others,
                operations,
            ));
        }
        let rollouts = found
            .into_iter()
            .filter_map(|(service, canary, others, operations)| {
                let is_only = others.len() == 1;
                let within = |other: &Cohort| (requests_within(&canary, other), other.until);
                let baseline = others.into_iter().max_by_key(within)?;
                if pairing_of(&baseline, &canary) == Pairing::Concurrent {
                    return Some(Rollout {
                        service,
                        baseline,
                        canary,
                        pairing: Pairing::Concurrent,
                    });
                }
                // Only while no third version took requests, an operation's past is the old version's.
                let operations = if is_only { operations } else { Vec::new() };
                let baseline = past(&service, &baseline.version, &operations)?;
                // How it failed and whom it called was not read at that time.
                let canary = Cohort {
                    error_kinds: std::collections::BTreeMap::new(),
                    dependencies: std::collections::BTreeMap::new(),
                    ..canary
                };
                Some(Rollout {
                    service,
                    baseline,
                    canary,
                    pairing: Pairing::BeforeAfter,
                })
            });
        let mut rollouts: Vec<Rollout> = rollouts.collect();
        rollouts.sort_by(|a, b| a.service.cmp(&b.service));
        rollouts
    }

    /// Everything that was recorded, by service, the versions in the order of their first events.
    pub(in crate::window) fn cohorts(&self) -> Vec<(ServiceKey, Vec<Cohort>)> {
        let mut all: Vec<(ServiceKey, Vec<Cohort>)> = self
            .recordings
            .iter()
            .map(|recording| {
                let mut cohorts: Vec<Cohort> = recording.arms.iter().map(Arm::cohort).collect();
                cohorts.retain(|cohort| !cohort.service.is_empty());
                cohorts.sort_by(|a, b| {
                    a.from
                        .cmp(&b.from)
                        .then_with(|| compare_versions(&a.version, &b.version))
                });
                (recording.service.clone(), cohorts)
            })
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    pub(in crate::window) fn usage(&self) -> RecordingUsage {
        let refused = &self.refused;
        RecordingUsage {
            services: self.recordings.len() as u64,
            refused_services: refused.services.get(),
            refused_versions: refused.versions.get(),
            other_operations: refused.operations.get(),
            other_error_kinds: refused.error_kinds.get(),
            other_dependencies: refused.dependencies.get(),
            too_old_events: refused.too_old.get(),
        }
    }
}

/// The version that was seen first last.
fn newest(arms: &[Arm]) -> Option<&Arm> {
    let last = arms.iter().map(|arm| arm.appeared_at).max()?;
    let at_once = arms
        .iter()
        .filter(|arm| arm.appeared_at.saturating_add(AT_ONCE_NANOS) >= last);
    at_once.max_by(|a, b| compare_versions(&a.version, &b.version))
}

/// The old and the new version of those that were recorded, in the order of their first events. Without names, the newest
/// stands against the one with the most requests in its minutes.
pub fn choose_arms(
    mut cohorts: Vec<Cohort>,
    canary: Option<&str>,
    baseline: Option<&str>,
) -> Option<(Cohort, Cohort)> {
    let newest = |cohorts: &[Cohort]| {
        let last = cohorts.iter().map(|cohort| cohort.from).max()?;
        let at_once = |cohort: &&Cohort| cohort.from.saturating_add(AT_ONCE_NANOS) >= last;
        let newest = cohorts.iter().filter(at_once);
        let newest = newest.max_by(|a, b| compare_versions(&a.version, &b.version))?;
        Some(newest.version.clone())
    };
    let version = canary.map_or_else(|| newest(&cohorts), |version| Some(version.to_owned()))?;
    let at = cohorts
        .iter()
        .position(|cohort| cohort.version == version)?;
    let canary = cohorts.remove(at);
    let is_asked = |cohort: &Cohort| baseline.is_none_or(|version| cohort.version == *version);
    let others = cohorts.into_iter().filter(is_asked);
    let baseline = others.max_by_key(|other| (requests_within(&canary, other), other.until))?;
    Some((baseline, canary))
}

/// Whether two arms took requests in the same minutes: at least half of the new one's minutes are the old one's, too.
pub fn pairing_of(baseline: &Cohort, canary: &Cohort) -> Pairing {
    let shared = canary.service.iter();
    let shared = shared
        .filter(|row| holds(&baseline.service, row.minute))
        .count();
    if shared > 0 && shared * 2 >= canary.service.len() {
        Pairing::Concurrent
    } else {
        Pairing::BeforeAfter
    }
}

/// Requests of another version in the minutes of this one.
fn requests_within(canary: &Cohort, other: &Cohort) -> u64 {
    let rows = other.service.iter();
    let rows = rows.filter(|row| holds(&canary.service, row.minute));
    rows.map(|row| row.sums.observed_total).sum()
}

fn holds(rows: &[MinuteRow], minute: u32) -> bool {
    rows.binary_search_by_key(&minute, |row| row.minute).is_ok()
}

/// Versions in the order that people mean: numbers in them as numbers, so that 1.10 comes after 1.9.
pub fn compare_versions(a: &str, b: &str) -> Order {
    let (mut left, mut right) = (a, b);
    loop {
        let (one, other) = (next_piece(&mut left), next_piece(&mut right));
        let order = match (one, other) {
            (None, None) => return a.cmp(b),
            (None, Some(_)) => return Order::Less,
            (Some(_), None) => return Order::Greater,
            (Some(one), Some(other)) => compare_pieces(one, other),
        };
        if order != Order::Equal {
            return order;
        }
    }
}

/// Takes the digits, or what is no digit, from the front.
fn next_piece<'a>(text: &mut &'a str) -> Option<&'a str> {
    let is_digit = text.chars().next()?.is_ascii_digit();
    let end = text
        .find(|char: char| char.is_ascii_digit() != is_digit)
        .unwrap_or(text.len());
    let (piece, rest) = text.split_at(end);
    *text = rest;
    Some(piece)
}

fn compare_pieces(one: &str, other: &str) -> Order {
    let number = |piece: &str| piece.starts_with(|char: char| char.is_ascii_digit());
    if !number(one) || !number(other) {
        return one.cmp(other);
    }
    // However long they are: leading zeros aside, the longer number is the greater one.
    let (one, other) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests;
