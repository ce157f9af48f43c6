//! Rollouts in the windows: when one begins, and what is known of the versions before it.

use std::sync::Arc;

use crate::model::UnixNanos;
use crate::model::batch::{Call, Event, EventBatch, Failure};
use crate::model::canary::{Cohort, OperationCohort};
use crate::model::history::MinuteRow;
use crate::model::series::{SeriesId, SeriesScope, ServiceKey};
use crate::window::cohort::settings::RolloutsConfig;
use crate::window::cohort::watch::{Scope, Watch};
use crate::window::cohort::{Cohorts, OperationOf, Part, RecordingUsage, Rollout, Seen};
use crate::window::minutes::NANOS_PER_MINUTE;
use crate::window::windows::range::EventRange;
use crate::window::windows::{Slot, Windows, service_key};

impl Windows {
    /// Records rollouts, or everything that the scope says, within these bounds.
    #[must_use]
    pub fn recording(self, config: RolloutsConfig, scope: Scope) -> Self {
        Self {
            cohorts: Cohorts::new(
                config,
                scope,
                Arc::clone(&self.guard),
                Arc::clone(&self.cut),
            ),
            ..self
        }
    }

    /// Whose spans receivers look at more closely.
    pub fn watch(&self) -> Arc<Watch> {
        Arc::clone(self.cohorts.watch())
    }

    /// The rollouts under way, sorted by service.
    pub fn rollouts(&self) -> Vec<Rollout> {
        self.cohorts
            .rollouts(|service, version, operations| self.past_of(service, version, operations))
    }

    /// Everything that was recorded, version by version, sorted by service.
    pub fn cohorts(&self) -> Vec<(ServiceKey, Vec<Cohort>)> {
        self.cohorts.cohorts()
    }

    /// How full the recording is.
    pub fn recording_usage(&self) -> RecordingUsage {
        self.cohorts.usage()
    }

    /// Records what came of one resource.
    #[cold]
    pub(super) fn record_cohort(&self, part: Part<'_>, now: UnixNanos) {
        let range = EventRange::new(&self.config, now);
        let service = || service_key(part.batch, part.resource);
        self.cohorts
            .record(part, service, |end| range.age(end).is_windowed());
    }

    /// Begins a rollout where a version appeared at `at` while another one was heard of lately.
    #[cold]
    pub(super) fn version_appeared(&self, service: &ServiceKey, at: UnixNanos) {
        if self.cohorts.watch().scope() != Scope::Rollouts {
            return;
        }
        let versions = match self
            .map
            .get(&SeriesId::of_service(service.hash()))
            .as_deref()
        {
            Some(Slot::Series(series)) => series.versions.clone(),
            Some(Slot::Excluded) | None => return,
        };
        let silence = self.cohorts.silence();
        let seen = versions.iter().filter_map(|id| self.seen(*id));
        let heard: Vec<Seen> = seen
            .filter(|seen| seen.last_event.saturating_add(silence) >= at)
            .collect();
        if heard.len() > 1 {
            self.cohorts.begin(service, &heard);
        }
    }

    fn seen(&self, version: SeriesId) -> Option<Seen> {
        match self.map.get(&version).as_deref()? {
            Slot::Series(series) => match &series.key.scope {
                SeriesScope::Version { version } => Some(Seen {
                    version: Arc::clone(version),
                    appeared_at: series.appeared_at(),
                    last_event: series.last_event(),
                }),
                SeriesScope::Service | SeriesScope::Operation { .. } => None,
            },
            Slot::Excluded => None,
        }
    }

    /// What a version did in its last hour, and its operations while no other version took requests.
    fn past_of(
        &self,
        service: &ServiceKey,
        version: &str,
        operations: &[OperationOf],
    ) -> Option<Cohort> {
        let id = SeriesId::of_version(&mut Vec::new(), service.hash(), version.as_bytes());
        let rows = self.recent_minutes(id)?;
        let (first, last) = (rows.first()?.minute, rows.last()?.minute);
        let operation = |(id, name, kind): &OperationOf| {
            let mut minutes = self.recent_minutes(*id)?;
            minutes.retain(|row| (first..=last).contains(&row.minute));
            let is_known = !minutes.is_empty();
            is_known.then(|| OperationCohort {
                operation: name.to_string(),
                kind: *kind,
                minutes,
            })
        };
        let mut operations: Vec<OperationCohort> =
            operations.iter().filter_map(operation).collect();
        operations.sort_by(|a, b| (&a.operation, a.kind).cmp(&(&b.operation, b.kind)));
        Some(Cohort {
            version: version.to_owned(),
            from: u64::from(first) * NANOS_PER_MINUTE,
            until: (u64::from(last) + 1) * NANOS_PER_MINUTE,
            service: rows,
            operations,
            ..Cohort::default()
        })
    }

    fn recent_minutes(&self, id: SeriesId) -> Option<Vec<MinuteRow>> {
        match self.map.get(&id).as_deref()? {
            Slot::Series(series) => Some(series.recent_minutes()),
            Slot::Excluded => None,
        }
    }
}

/// The failures and the calls of a batch, resource by resource.
pub(in crate::window) struct Details<'a> {
    failures: &'a [Failure],
    calls: &'a [Call],
}

impl<'a> Details<'a> {
    pub(in crate::window) fn of(batch: &'a EventBatch) -> Self {
        Self {
            failures: &batch.failures,
            calls: &batch.calls,
        }
    }

    /// Takes the part of the next resource.
    pub(in crate::window) fn take(
        &mut self,
        batch: &'a EventBatch,
        resource: &'a crate::model::batch::BatchResource,
        events: &'a [Event],
    ) -> Part<'a> {
        let failures = self.failures.split_off(..resource.failures as usize);
        let calls = self.calls.split_off(..resource.calls as usize);
        Part {
            batch,
            resource,
            events,
            failures: failures.unwrap_or_default(),
            calls: calls.unwrap_or_default(),
        }
    }
}
