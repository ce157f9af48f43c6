//! One version while it is watched: its minutes, how it failed and whom it called.
//!
//! Everything is dropped by blocks of ten minutes, so that minutes, failures and calls always speak of the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::UnixNanos;
use crate::model::batch::{BatchResource, Call, Event, EventBatch, Failure};
use crate::model::canary::{CallSums, Cohort, ErrorKindSums, OperationCohort};
use crate::model::history::MinuteRow;
use crate::model::series::{OVERFLOW, SeriesId};
use crate::model::span::{Outcome, SpanKind};
use crate::window::cohort::settings::RolloutsConfig;
use crate::window::cohort::{Refused, Tallied};
use crate::window::guard::Guard;
use crate::window::minutes::{ClosedMinute, NANOS_PER_MINUTE, OpenMinutes, minute_of};
use crate::window::operation::template;

/// Minutes that are dropped at once.
const BLOCK_MINUTES: u32 = 10;

/// The minutes of one series.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Minutes {
    open: OpenMinutes,
    closed: BTreeMap<u32, ClosedMinute>,
}

impl Minutes {
    fn record(&mut self, event: &Event) {
        let Some(minute) = self.open.record(event) else {
            return;
        };
        match self.closed.get_mut(&minute.minute) {
            Some(held) => held.merge(&minute),
            None => {
                self.closed.insert(minute.minute, minute);
            }
        }
    }

    fn drop_before(&mut self, minute: u32) {
        while self.open.close_before(minute).is_some() {}
        self.closed = self.closed.split_off(&minute);
    }

    fn rows(&self) -> Vec<MinuteRow> {
        let mut rows: BTreeMap<u32, ClosedMinute> = self.closed.clone();
        for open in self.open.iter() {
            match rows.get_mut(&open.minute) {
                Some(held) => held.merge(&open),
                None => {
                    rows.insert(open.minute, open);
                }
            }
        }
        rows.values().map(ClosedMinute::row).collect()
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Operation {
    name: Arc<str>,
    kind: SpanKind,
    minutes: Minutes,
}

/// What ten minutes brought beside events.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Block {
    error_kinds: BTreeMap<String, ErrorKindSums>,
    dependencies: BTreeMap<String, CallSums>,
}

/// One version.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Arm {
    pub(super) version: Arc<str>,
    /// When its first event ended since it was last silent for long.
    pub(super) appeared_at: UnixNanos,
    /// End of its newest event.
    pub(super) last_event: UnixNanos,
    /// Versions that it was seen with, where all are taken together.
    versions: BTreeSet<String>,
    service: Minutes,
    operations: BTreeMap<SeriesId, Operation>,
    /// The reserved operation `_other`, by kind.
    overflow: BTreeMap<SpanKind, Minutes>,
    blocks: BTreeMap<u32, Block>,
    error_kinds: BTreeSet<String>,
    dependencies: BTreeSet<String>,
}

/// The part of a batch that belongs to one resource.
#[derive(Clone, Copy)]
pub(in crate::window) struct Part<'a> {
    pub(in crate::window) batch: &'a EventBatch,
    pub(in crate::window) resource: &'a BatchResource,
    pub(in crate::window) events: &'a [Event],
    pub(in crate::window) failures: &'a [Failure],
    pub(in crate::window) calls: &'a [Call],
}

/// What bounds a recording, and what its names go through.
pub(super) struct Bounds<'a> {
    pub(super) config: &'a RolloutsConfig,
    pub(super) refused: &'a Refused,
    pub(super) guard: &'a Guard,
}

impl Arm {
    pub(super) fn new(version: Arc<str>, appeared_at: UnixNanos) -> Self {
        Self {
            version,
            appeared_at,
            last_event: appeared_at,
            versions: BTreeSet::new(),
            service: Minutes::default(),
            operations: BTreeMap::new(),
            overflow: BTreeMap::new(),
            blocks: BTreeMap::new(),
            error_kinds: BTreeSet::new(),
            dependencies: BTreeSet::new(),
        }
    }

    /// Remembers a version of those that are taken together; a few are enough to name them.
    pub(super) fn note_version(&mut self, version: &str) {
        if !version.is_empty() && self.versions.len() < 4 && !self.versions.contains(version) {
            self.versions.insert(version.to_owned());
        }
    }

    pub(super) fn record(
        &mut self,
        part: Part<'_>,
        is_windowed: impl Fn(UnixNanos) -> bool,
        bounds: &Bounds<'_>,
    ) {
        let Bounds {
            config, refused, ..
        } = *bounds;
        let blocks = blocks_of(config);
        let batch = part.batch;
        for event in part.events.iter().filter(|event| !event.excluded) {
            if !is_windowed(event.end) || !self.make_block(minute_of(event.end), blocks) {
                refused.too_old.add(1);
                continue;
            }
            self.last_event = self.last_event.max(event.end);
            self.service.record(event);
            self.record_operation(batch, event, bounds);
        }
        for failure in part.failures {
            let Some(event) = part.events.get(failure.event as usize) else {
                continue;
            };
            if event.excluded || event.outcome != Outcome::Error {
                continue;
            }
            let kind = batch.text(failure.kind);
            let most = config.max_error_kinds;
            let kind = bounded(
                &mut self.error_kinds,
                &kind,
                (most, &refused.error_kinds),
                bounds.guard,
            );
            if let Some(block) = self.blocks.get_mut(&(minute_of(event.end) / BLOCK_MINUTES)) {
                let sums = block.error_kinds.entry(kind).or_default();
                sums.count += event.weight;
                sums.observed += 1;
                if sums.example_trace_id.is_empty() {
                    sums.example_trace_id = batch.text(failure.trace_id).into_owned();
                }
            }
        }
        for call in part.calls.iter().filter(|call| is_windowed(call.end)) {
            let to = batch.text(call.to);
            let most = config.max_dependencies;
            let to = bounded(
                &mut self.dependencies,
                &to,
                (most, &refused.dependencies),
                bounds.guard,
            );
            if let Some(block) = self.blocks.get_mut(&(minute_of(call.end) / BLOCK_MINUTES)) {
                let sums = block.dependencies.entry(to).or_default();
                sums.calls += call.weight;
                sums.observed += 1;
                sums.errors += if call.outcome == Outcome::Error {
                    call.weight
                } else {
                    0.0
                };
                sums.duration_secs += call.weight * call.duration_nanos as f64 / 1e9;
            }
        }
    }

    fn record_operation(&mut self, batch: &EventBatch, event: &Event, bounds: &Bounds<'_>) {
        if let Some(operation) = self.operations.get_mut(&event.series) {
            operation.minutes.record(event);
            return;
        }
        let name = template(batch.bytes(event.operation));
        if self.operations.len() >= bounds.config.max_operations || name == OVERFLOW {
            bounds.refused.operations.add(1);
            self.overflow.entry(event.kind).or_default().record(event);
            return;
        }
        let mut operation = Operation {
            // The windows counted what they found in it.
            name: bounds.guard.plain(&name).0.into(),
            kind: event.kind,
            minutes: Minutes::default(),
        };
        operation.minutes.record(event);
        self.operations.insert(event.series, operation);
    }

    /// Makes sure that the block of a minute is held, in place of those that are out of reach then.
    fn make_block(&mut self, minute: u32, most: u32) -> bool {
        let block = minute / BLOCK_MINUTES;
        if self.blocks.contains_key(&block) {
            return true;
        }
        let newest = self.blocks.keys().next_back().copied().unwrap_or(block);
        if block.saturating_add(most) <= newest {
            return false;
        }
        self.blocks.insert(block, Block::default());
        let oldest = block.max(newest).saturating_sub(most - 1);
        if self
            .blocks
            .keys()
            .next()
            .is_some_and(|first| *first < oldest)
        {
            self.blocks = self.blocks.split_off(&oldest);
            let minute = oldest * BLOCK_MINUTES;
            self.service.drop_before(minute);
            let minutes = self.operations.values_mut().map(|own| &mut own.minutes);
            for minutes in minutes.chain(self.overflow.values_mut()) {
                minutes.drop_before(minute);
            }
        }
        true
    }

    /// Operations that are told apart, with the series of all versions.
    pub(super) fn operations(&self) -> impl Iterator<Item = (SeriesId, &Arc<str>, SpanKind)> {
        let mut ids: Vec<SeriesId> = self.operations.keys().copied().collect();
        ids.sort_unstable();
        ids.into_iter().filter_map(|id| {
            let own = self.operations.get(&id)?;
            Some((id, &own.name, own.kind))
        })
    }

    /// What was recorded.
    pub(super) fn cohort(&self) -> Cohort {
        let service = self.service.rows();
        let named = self.operations.values();
        let named = named.map(|own| (own.name.to_string(), own.kind, &own.minutes));
        let overflow = self.overflow.iter();
        let overflow = overflow.map(|(kind, minutes)| (OVERFLOW.to_owned(), *kind, minutes));
        let mut operations: Vec<OperationCohort> = named
            .chain(overflow)
            .map(|(operation, kind, minutes)| OperationCohort {
                operation,
                kind,
                minutes: minutes.rows(),
            })
            .filter(|own| !own.minutes.is_empty())
            .collect();
        operations.sort_by(|a, b| (&a.operation, a.kind).cmp(&(&b.operation, b.kind)));
        let mut cohort = Cohort {
            version: self.label(),
            from: service.first().map_or(self.appeared_at, start_of),
            until: self.last_event,
            service,
            operations,
            ..Cohort::default()
        };
        for block in self.blocks.values() {
            for (kind, sums) in &block.error_kinds {
                let held = cohort.error_kinds.entry(kind.clone()).or_default();
                held.count += sums.count;
                held.observed += sums.observed;
                if held.example_trace_id.is_empty() {
                    held.example_trace_id.clone_from(&sums.example_trace_id);
                }
            }
            for (to, sums) in &block.dependencies {
                let held = cohort.dependencies.entry(to.clone()).or_default();
                held.calls += sums.calls;
                held.errors += sums.errors;
                held.observed += sums.observed;
                held.duration_secs += sums.duration_secs;
            }
        }
        cohort
    }

    fn label(&self) -> String {
        if self.versions.is_empty() {
            return self.version.to_string();
        }
        let versions: Vec<&str> = self.versions.iter().map(String::as_str).collect();
        versions.join(", ")
    }
}

/// When a row's minute began.
pub(super) fn start_of(row: &MinuteRow) -> UnixNanos {
    u64::from(row.minute) * NANOS_PER_MINUTE
}

fn blocks_of(config: &RolloutsConfig) -> u32 {
    let block_secs = u64::from(BLOCK_MINUTES) * 60;
    let blocks = config.window.as_secs().div_ceil(block_secs);
    u32::try_from(blocks).unwrap_or(u32::MAX).max(1)
}

/// A name, as it may be shown, that is held or still has room, else `_other`.
fn bounded(
    held: &mut BTreeSet<String>,
    name: &str,
    (most, refused): (usize, &Tallied),
    guard: &Guard,
) -> String {
    if held.contains(name) {
        return name.to_owned();
    }
    let (name, found) = guard.plain(name);
    if held.contains(&*name) {
        return name.into_owned();
    }
    if held.len() >= most {
        refused.add(1);
        return OVERFLOW.to_owned();
    }
    guard.note(&found);
    held.insert(name.clone().into_owned());
    name.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pii::Scrubber;

    #[test]
    fn names_of_errors_and_dependencies_are_kept_without_personal_data() {
        let guard = Guard::new(Scrubber::default());
        let (mut held, refused) = (BTreeSet::new(), Tallied::default());
        let mut name = |name: &str| bounded(&mut held, name, (2, &refused), &guard);
        assert_eq!(name("no such user a@b.example"), "no such user [EMAIL]");
        assert_eq!(name("no such user c@d.example"), "no such user [EMAIL]");
        assert_eq!(name("timeout"), "timeout");
        assert_eq!(name("one too many"), OVERFLOW);
        assert_eq!(guard.take().of("email"), 1);
    }
}
