//! What the windows hold at an instant, and the upkeep that goes with reading it.

use std::collections::BTreeSet;

use crate::model::UnixNanos;
use crate::model::canary::ServiceEdge;
use crate::model::report::{LatencyQuantiles, OutcomeDurations, SeriesUsage};
use crate::model::series::{SeriesId, SeriesKey, SeriesScope};
use crate::model::window::{Window, WindowSums};
use crate::window::cohort::Rollout;
use crate::window::measure::{CompositeView, ObjectiveView};
use crate::window::rolling::WindowStarts;
use crate::window::series::{CarriedCounters, Series};
use crate::window::sketch::LatencyCounts;
use crate::window::windows::{Slot, Windows};

/// Sums of every window, in the order of [`Window::ALL`].
pub type AllWindows = [WindowSums; Window::ALL.len()];

/// One series at an instant.
#[derive(Clone, Debug)]
pub struct SeriesView {
    /// Its key in the map.
    pub id: SeriesId,
    /// Its identity.
    pub key: SeriesKey,
    /// All windows.
    pub windows: AllWindows,
    /// Since the beginning, monotonic.
    pub since_start: WindowSums,
    /// Duration histograms, where they are kept.
    pub durations: Option<OutcomeDurations>,
    /// End of its newest event.
    pub last_event: UnixNanos,
    /// Latency quantiles, where they are computed.
    pub latency: Vec<LatencyQuantiles>,
}

/// Everything that an evaluation needs.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The instant.
    pub now: UnixNanos,
    /// Series of the services, sorted by key.
    pub services: Vec<SeriesView>,
    /// Series of the operations, sorted by key.
    pub operations: Vec<SeriesView>,
    /// Series of the versions, sorted by key.
    pub versions: Vec<SeriesView>,
    /// Adopted objectives in the order of their adoption.
    pub objectives: Vec<ObjectiveView>,
    /// Composites that count slices of time, by name.
    pub composites: Vec<CompositeView>,
    /// Rollouts under way, sorted by service.
    pub rollouts: Vec<Rollout>,
    /// Calls between their services, where they are known exactly: on trace files.
    pub edges: Vec<ServiceEdge>,
    /// How full the table is.
    pub usage: SeriesUsage,
}

impl Windows {
    /// Closes what is over, forgets idle series, and ranks the operations that go to the history.
    pub fn maintain(&self, now: UnixNanos) {
        let idle_nanos = u64::try_from(self.config.idle_expiry.as_nanos()).unwrap_or(u64::MAX);
        let oldest = now.saturating_sub(idle_nanos);
        let _upkeep = self.upkeep();
        let mut idle = Vec::new();
        let mut traffic = Vec::new();
        for mut slot in self.map.iter_mut() {
            let id = *slot.key();
            let Some(series) = slot.series_mut(&self.cut) else {
                continue;
            };
            series.advance(now);
            if is_idle(series, oldest) {
                idle.push(id);
            } else if series.key.operation_name().is_some() {
                let events = series.window(now, Window::D1).observed_total;
                traffic.push((series.key.service.hash(), u64::MAX - events, id));
            }
        }
        for id in idle {
            // Events may have come since the walk.
            self.remove_if(id, |series| is_idle(series, oldest));
        }
        self.judge_slices(now);
        self.rank_operations(traffic);
        self.cohorts.end(now);
    }

    /// Closes every open minute, for the last write of a shutdown.
    pub fn close_minutes(&self) {
        for mut slot in self.map.iter_mut() {
            if let Some(series) = slot.series_mut(&self.cut) {
                series.close_minutes();
            }
        }
    }

    /// The operations of each service with the most traffic keep their minutes.
    fn rank_operations(&self, mut traffic: Vec<(u128, u64, SeriesId)>) {
        traffic.sort_unstable();
        for service in traffic.chunk_by(|a, b| a.0 == b.0) {
            for (rank, (_, _, id)) in service.iter().enumerate() {
                if let Some(mut slot) = self.map.get_mut(id)
                    && let Some(series) = slot.series_mut(&self.cut)
                {
                    let is_top = rank < self.config.history_operations_per_service;
                    series.keeps_history = is_top || !series.ledgers().is_empty();
                }
            }
        }
    }

    /// Everything at once, sorted. Latency is computed for services, versions, and the operations of each service with
    /// the most traffic in the last hour, `latency_operations` of them.
    pub fn snapshot(&self, now: UnixNanos, latency_operations: usize) -> Snapshot {
        let mut snapshot = Snapshot {
            now,
            objectives: self.objectives(now),
            composites: self.composites(now),
            rollouts: self.rollouts(),
            usage: self.usage(),
            ..Snapshot::default()
        };
        let starts = WindowStarts::at(now);
        for slot in &self.map {
            let Slot::Series(series) = slot.value() else {
                continue;
            };
            let view = view_of(*slot.key(), series, &starts);
            match view.key.scope {
                SeriesScope::Service => snapshot.services.push(view),
                SeriesScope::Operation { .. } => snapshot.operations.push(view),
                SeriesScope::Version { .. } => snapshot.versions.push(view),
            }
        }
        for views in [
            &mut snapshot.services,
            &mut snapshot.operations,
            &mut snapshot.versions,
        ] {
            views.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        }
        self.add_latency(&mut snapshot, latency_operations);
        snapshot
    }

    fn add_latency(&self, snapshot: &mut Snapshot, latency_operations: usize) {
        let now = snapshot.now;
        let of = |view: &SeriesView, windows: &[Window]| -> Vec<LatencyQuantiles> {
            windows
                .iter()
                .filter_map(|window| self.latency(view.id, *window, now))
                .collect()
        };
        for view in &mut snapshot.services {
            view.latency = of(view, &[Window::M5, Window::H1, Window::D1]);
        }
        for view in &mut snapshot.versions {
            view.latency = of(view, &[Window::H1]);
        }
        for service in snapshot
            .operations
            .chunk_by_mut(|a, b| a.key.service == b.key.service)
        {
            let mut busiest: Vec<&mut SeriesView> = service.iter_mut().collect();
            busiest.sort_by_key(|view| std::cmp::Reverse(view.window(Window::H1).observed_total));
            for view in busiest.into_iter().take(latency_operations) {
                view.latency = of(view, &[Window::H1]);
            }
        }
    }

    /// Latency quantiles of a series, of events without an error; `None` without such events.
    pub fn latency(
        &self,
        id: SeriesId,
        window: Window,
        now: UnixNanos,
    ) -> Option<LatencyQuantiles> {
        let mut counts = LatencyCounts::default();
        match self.map.get(&id).as_deref()? {
            Slot::Series(series) => series.collect_latency(now, window, &mut counts),
            Slot::Excluded => return None,
        }
        Some(LatencyQuantiles {
            window,
            events: counts.total(),
            p50: counts.quantile_secs(0.5)?,
            p95: counts.quantile_secs(0.95)?,
            p99: counts.quantile_secs(0.99)?,
        })
    }

    /// The minutes of a series that the history does not have yet.
    pub fn unsaved_minutes(&self, id: SeriesId) -> Vec<crate::model::history::MinuteRow> {
        match self.map.get(&id).as_deref() {
            Some(Slot::Series(series)) => series.unsaved_minutes(),
            Some(Slot::Excluded) | None => Vec::new(),
        }
    }

    /// Identities of those of these series that are held.
    pub fn keys_of(&self, ids: &BTreeSet<SeriesId>) -> Vec<(SeriesId, SeriesKey)> {
        let key_of = |id: &SeriesId| match self.map.get(id).as_deref()? {
            Slot::Series(series) => Some((*id, series.key.clone())),
            Slot::Excluded => None,
        };
        ids.iter().filter_map(key_of).collect()
    }

    /// Identities of the series whose minutes go to the history, sorted.
    pub fn history_keys(&self) -> Vec<(SeriesId, SeriesKey)> {
        let mut keys: Vec<(SeriesId, SeriesKey)> = self
            .map
            .iter()
            .filter_map(|slot| match slot.value() {
                Slot::Series(series) if series.keeps_history => {
                    Some((*slot.key(), series.key.clone()))
                }
                Slot::Series(_) | Slot::Excluded => None,
            })
            .collect();
        keys.sort_unstable();
        keys
    }

    /// The monotonic counters of the series that the next start rebuilds.
    pub fn counters(&self) -> Vec<(SeriesId, CarriedCounters)> {
        let held = self.map.iter().filter_map(|slot| match slot.value() {
            Slot::Series(series) if series.keeps_history => Some((*slot.key(), series.counters())),
            Slot::Series(_) | Slot::Excluded => None,
        });
        held.collect()
    }

    /// Goes on from the counters of the run before.
    pub fn carry(&self, id: SeriesId, counters: CarriedCounters) {
        if let Some(mut slot) = self.map.get_mut(&id)
            && let Some(series) = slot.series_mut(&self.cut)
        {
            series.carry(counters);
        }
    }

    /// All series as plain data, sorted by key: a checkpoint.
    pub fn export(&self) -> Vec<Series> {
        let mut all: Vec<Series> = self
            .map
            .iter()
            .filter_map(|slot| match slot.value() {
                Slot::Series(series) => Some(series.as_ref().clone()),
                Slot::Excluded => None,
            })
            .collect();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all
    }

    /// Adds the series of a checkpoint or of another instance, services before their operations as [`Self::export`] has
    /// them.
    pub fn merge(&self, all: Vec<Series>) {
        for theirs in all {
            self.restore(theirs);
        }
    }
}

impl SeriesView {
    /// The sums of one window.
    pub fn window(&self, window: Window) -> WindowSums {
        window_of(&self.windows, window)
    }
}

/// Whether nobody misses a series. Services wait for their operations.
fn is_idle(series: &Series, oldest: UnixNanos) -> bool {
    let is_busy = series.key.scope == SeriesScope::Service && series.operations > 0;
    series.is_idle_since(oldest) && series.ledgers().is_empty() && !is_busy
}

/// The sums of one window.
pub fn window_of(windows: &AllWindows, window: Window) -> WindowSums {
    let at = Window::ALL.iter().position(|held| *held == window);
    at.and_then(|at| windows.get(at))
        .copied()
        .unwrap_or_default()
}

fn view_of(id: SeriesId, series: &Series, starts: &WindowStarts) -> SeriesView {
    SeriesView {
        id,
        key: series.key.clone(),
        windows: series.windows(starts),
        since_start: series.since_start(),
        durations: series.durations(),
        last_event: series.last_event(),
        latency: Vec::new(),
    }
}
