//! One series: its counters in all windows, its latency, its minutes for history and the ledgers attached to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::batch::Event;
use crate::model::history::MinuteRow;
use crate::model::report::{DurationCounters, OutcomeDurations};
use crate::model::series::{SeriesId, SeriesKey};
use crate::model::span::Outcome;
use crate::model::window::{LATENCY_LADDER_MICROS, Window, WindowSums};
use crate::model::{NANOS_PER_SEC, UnixNanos};
use crate::window::cut::{Cuttable, Tag};
use crate::window::latency::LatencyTiers;
use crate::window::ledger::{Ledger, LedgerRow};
use crate::window::minutes::{ClosedMinute, NANOS_PER_MINUTE, OpenMinutes, minute_of};
use crate::window::rolling::{Occurrence, Tally, WindowStarts};
use crate::window::sketch::{LatencyCounts, Sketch};
use crate::window::snapshot::AllWindows;

/// A minute closes this long after its end, since exporters batch for some seconds.
const CLOSE_AFTER_SECS: u64 = 30;

/// Closed minutes that wait for the history at most; more are counted as lost.
const OUTBOX_ROWS_MAX: usize = 65_536;

/// Durations on the ladder, one histogram an outcome; monotonic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Durations {
    ok: OutcomeDuration,
    error: OutcomeDuration,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct OutcomeDuration {
    /// One per edge of the ladder and one beyond.
    buckets: [u64; LATENCY_LADDER_MICROS.len() + 1],
    /// Wide enough for spans that start in 1970.
    sum_nanos: u128,
}

impl OutcomeDuration {
    #[inline]
    fn record(&mut self, duration_nanos: u64, count: u32) {
        let edge = LATENCY_LADDER_MICROS.partition_point(|edge| edge * 1_000 < duration_nanos);
        if let Some(bucket) = self.buckets.get_mut(edge) {
            *bucket += u64::from(count);
        }
        let duration = u128::from(duration_nanos) * u128::from(count);
        self.sum_nanos = self.sum_nanos.saturating_add(duration);
    }

    fn counters(&self) -> DurationCounters {
        DurationCounters {
            buckets: self.buckets.to_vec(),
            sum_secs: self.sum_nanos as f64 / NANOS_PER_SEC as f64,
        }
    }

    fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.sum_nanos = self.sum_nanos.saturating_add(other.sum_nanos);
    }
}

/// What a series keeps beside its counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeps {
    /// Duration histogram for Prometheus.
    pub durations: bool,
    /// Rows for the history.
    pub history: bool,
}

/// The monotonic counters of a series, handed from an orderly stop to the next start.
///
/// After a crash they start at 0 instead: Prometheus understands a reset, but would count everything again if they came
/// back a little lower than they were scraped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CarriedCounters {
    sums: WindowSums,
    durations: Option<Box<Durations>>,
    ledgers: Vec<(Arc<str>, WindowSums)>,
}

/// One series of events.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Series {
    /// Its identity.
    pub key: SeriesKey,
    /// Whether its closed minutes go to the history.
    pub keeps_history: bool,
    /// Operations of the service, if this is a service's own series.
    pub operations: u32,
    /// Series of the service's versions, if this is a service's own series.
    pub versions: Vec<SeriesId>,
    tally: Tally,
    open: OpenMinutes,
    latency: LatencyTiers,
    durations: Option<Box<Durations>>,
    ledgers: Vec<Ledger>,
    outbox: Vec<MinuteRow>,
    lost_rows: u64,
    last_event: UnixNanos,
    /// Of a version: when its first event ended since it was last silent for long.
    appeared_at: UnixNanos,
    /// When events last arrived, and how many there had been by then; events may speak of long ago.
    active_at: UnixNanos,
    active_events: u64,
    /// The last cut that has it.
    #[serde(skip)]
    copied: u32,
}

impl Cuttable for Series {
    const TAG: Tag = Tag::Series;

    fn copied(&self) -> u32 {
        self.copied
    }

    fn set_copied(&mut self, cut: u32) {
        self.copied = cut;
    }
}

impl Series {
    /// A series without events; its first one is expected around `first`.
    pub fn new(key: SeriesKey, keeps: Keeps, first: UnixNanos) -> Self {
        Self {
            key,
            keeps_history: keeps.history,
            operations: 0,
            versions: Vec::new(),
            tally: Tally::starting_at(first),
            open: OpenMinutes::default(),
            latency: LatencyTiers::default(),
            durations: keeps.durations.then(Box::default),
            ledgers: Vec::new(),
            outbox: Vec::new(),
            lost_rows: 0,
            last_event: first,
            appeared_at: first,
            active_at: 0,
            active_events: 0,
            copied: 0,
        }
    }

    /// Counts an event. Outside of the held range (`windowed` false) only monotonic counters move.
    #[inline]
    pub fn record(&mut self, event: &Event, windowed: bool) {
        let bad = event.outcome == Outcome::Error;
        let occurrence = Occurrence {
            at: event.end,
            bad,
            weight: event.weight,
            windowed,
        };
        self.tally.record(occurrence);
        for ledger in &mut self.ledgers {
            ledger.record(occurrence, event.duration_nanos);
        }
        if let Some(durations) = &mut self.durations {
            let durations = if bad {
                &mut durations.error
            } else {
                &mut durations.ok
            };
            durations.record(event.duration_nanos, event.count);
        }
        if windowed {
            self.last_event = self.last_event.max(event.end);
            if let Some(closed) = self.open.record(event) {
                self.close_minute(&closed);
            }
        }
    }

    #[cold]
    fn close_minute(&mut self, closed: &ClosedMinute) {
        self.latency.add(closed.minute, &closed.latency);
        if !self.keeps_history {
            return;
        }
        if self.outbox.len() >= OUTBOX_ROWS_MAX {
            self.lost_rows += 1;
            return;
        }
        self.outbox.push(closed.row());
    }

    /// Closes the minutes that are over at `now`.
    pub fn advance(&mut self, now: UnixNanos) {
        let events = self.tally.since_start().observed_total;
        if events != self.active_events || self.active_at == 0 {
            self.active_at = now;
            self.active_events = events;
        }
        self.close_minutes_before(minute_of(
            now.saturating_sub(CLOSE_AFTER_SECS * NANOS_PER_SEC),
        ));
    }

    /// Whether nothing arrived since `oldest` and everything that did is in the history.
    pub fn is_idle_since(&self, oldest: UnixNanos) -> bool {
        self.active_at < oldest && self.open.is_empty() && self.outbox.is_empty()
    }

    /// Closes every open minute.
    pub fn close_minutes(&mut self) {
        self.close_minutes_before(u32::MAX);
    }

    fn close_minutes_before(&mut self, until: u32) {
        while let Some(closed) = self.open.close_before(until) {
            self.close_minute(&closed);
        }
    }

    /// The sums of a window.
    pub fn window(&self, now: UnixNanos, window: Window) -> WindowSums {
        self.tally.window(now, window)
    }

    /// The sums of every window, in the order of [`Window::ALL`].
    pub fn windows(&self, starts: &WindowStarts) -> AllWindows {
        self.tally.windows(starts)
    }

    /// The sums since the beginning; they never decrease.
    pub fn since_start(&self) -> WindowSums {
        self.tally.since_start()
    }

    /// Adds the latency of a window, of events without an error, to `counts`.
    pub fn collect_latency(&self, now: UnixNanos, window: Window, counts: &mut LatencyCounts) {
        let from = self.latency.collect(now, window, counts);
        for open in self.open.iter().filter(|open| open.minute >= from) {
            counts.add(&open.latency);
        }
    }

    /// The counters for the next start.
    pub fn counters(&self) -> CarriedCounters {
        let of_ledger = |ledger: &Ledger| (Arc::clone(ledger.name()), ledger.tally().since_start());
        CarriedCounters {
            sums: self.since_start(),
            durations: self.durations.clone(),
            ledgers: self.ledgers.iter().map(of_ledger).collect(),
        }
    }

    /// Goes on from the counters of the run before.
    pub fn carry(&mut self, counters: CarriedCounters) {
        self.tally.carry(counters.sums);
        if let (Some(mine), Some(theirs)) = (&mut self.durations, counters.durations) {
            mine.ok.merge(&theirs.ok);
            mine.error.merge(&theirs.error);
        }
        for (name, sums) in counters.ledgers {
            if let Some(ledger) = self.ledger_mut(&name) {
                ledger.carry(sums);
            }
        }
    }

    /// Begins the counters anew; the windows stay as they are.
    pub fn forget_counters(&mut self) {
        self.tally.forget_counters();
        if let Some(durations) = &mut self.durations {
            **durations = Durations::default();
        }
        for ledger in &mut self.ledgers {
            ledger.forget_counters();
        }
    }

    /// Duration histograms, if this series keeps them.
    pub fn durations(&self) -> Option<OutcomeDurations> {
        self.durations.as_ref().map(|durations| OutcomeDurations {
            ok: durations.ok.counters(),
            error: durations.error.counters(),
        })
    }

    /// End of the newest event.
    pub fn last_event(&self) -> UnixNanos {
        self.last_event
    }

    /// When the first event ended since it was last silent for long.
    pub fn appeared_at(&self) -> UnixNanos {
        self.appeared_at
    }

    /// Notes that events come at `at`; whether it had been silent for longer than `silence` until then.
    pub fn comes_back(&mut self, at: UnixNanos, silence: UnixNanos) -> bool {
        let comes_back = self.last_event.saturating_add(silence) < at;
        if comes_back {
            self.appeared_at = at;
        }
        comes_back
    }

    /// Accounts of the objectives on this series.
    pub fn ledgers(&self) -> &[Ledger] {
        &self.ledgers
    }

    /// Attaches an account, unless the objective has one here.
    pub fn attach(&mut self, ledger: Ledger) -> bool {
        let fresh = self.ledgers.iter().all(|held| held.name() != ledger.name());
        if fresh {
            self.ledgers.push(ledger);
        }
        fresh
    }

    /// The days of the accounts that changed since the last call.
    pub fn take_changed_days(&mut self, id: SeriesId) -> Vec<LedgerRow> {
        let ledgers = self.ledgers.iter_mut();
        ledgers
            .flat_map(|ledger| ledger.take_changed_days(id))
            .collect()
    }

    /// Takes the slices of the accounts that end at `until_secs` or before, with the names of their objectives.
    pub fn take_slices(
        &mut self,
        until_secs: u64,
    ) -> impl Iterator<Item = (&Arc<str>, Vec<(u32, WindowSums)>)> {
        self.ledgers.iter_mut().filter_map(move |ledger| {
            let slices = ledger.take_slices(until_secs);
            (!slices.is_empty()).then_some((ledger.name(), slices))
        })
    }

    /// The account of an objective.
    pub fn ledger_mut(&mut self, name: &str) -> Option<&mut Ledger> {
        self.ledgers
            .iter_mut()
            .find(|ledger| **ledger.name() == *name)
    }

    /// Drops the accounts that are not wanted.
    pub fn retain_ledgers(&mut self, is_wanted: impl Fn(&Ledger) -> bool) {
        self.ledgers.retain(is_wanted);
    }

    /// Whether what it has of a minute for the history counts as many events.
    pub fn knows_as_much(&self, row: &MinuteRow) -> bool {
        let own = self.unsaved_minutes();
        let own = own.iter().filter(|own| own.minute == row.minute);
        let known: u64 = own.map(|own| own.sums.observed_total).sum();
        known >= row.sums.observed_total
    }

    /// Takes a minute as the history has it, which holds all that this series has of it for the history and more: counts
    /// the rest.
    pub fn take_over(&mut self, row: &MinuteRow) {
        let mut rest = row.clone();
        let own = self.outbox.extract_if(.., |own| own.minute == row.minute);
        let mut own: Vec<MinuteRow> = own.collect();
        if let Some(open) = self.open.take(row.minute) {
            self.latency.add(open.minute, &open.latency);
            own.push(open.row());
        }
        for own in &own {
            rest.sums = rest.sums.minus(own.sums);
            for (bucket, count) in &own.latency {
                let held = rest.latency.iter_mut().find(|(held, _)| held == bucket);
                if let Some((_, held)) = held {
                    *held = held.saturating_sub(*count);
                }
            }
        }
        rest.latency.retain(|(_, count)| *count > 0);
        self.replay(&rest);
        for ledger in &mut self.ledgers {
            ledger.replay(&rest);
        }
    }

    /// Puts a minute back that had left for the history.
    pub fn put_back(&mut self, row: MinuteRow) {
        self.outbox.push(row);
    }

    /// Takes the closed minutes that wait for the history, and how many were lost.
    pub fn take_outbox(&mut self) -> (Vec<MinuteRow>, u64) {
        (
            std::mem::take(&mut self.outbox),
            std::mem::take(&mut self.lost_rows),
        )
    }

    /// The minutes that the history does not have yet, open ones included.
    pub fn unsaved_minutes(&self) -> Vec<MinuteRow> {
        let open = self.open.iter().map(|open| open.row());
        self.outbox.iter().cloned().chain(open).collect()
    }

    /// The last minutes with events, about an hour up to the newest one, the oldest first.
    pub fn recent_minutes(&self) -> Vec<MinuteRow> {
        let mut latency: BTreeMap<u32, Sketch> = BTreeMap::new();
        let closed = self.latency.minutes();
        let open = self.open.iter().map(|open| (open.minute, open.latency));
        for (minute, sketch) in closed.map(|(at, sketch)| (at, sketch.clone())).chain(open) {
            let held = latency.entry(minute).or_default();
            *held = held.merged(&sketch);
        }
        let minutes = self
            .tally
            .minutes()
            .filter(|(_, sums)| sums.observed_total > 0);
        let row = |(minute, sums)| {
            let minute = u32::try_from(minute).ok()?;
            let latency = latency.get(&minute).into_iter().flatten().collect();
            Some(MinuteRow {
                minute,
                sums,
                latency,
            })
        };
        minutes.filter_map(row).collect()
    }

    /// Counts a past minute of the history, which has it already.
    pub fn replay(&mut self, row: &MinuteRow) {
        let at = u64::from(row.minute) * NANOS_PER_MINUTE;
        self.tally.record_sums(at, row.sums);
        self.latency.add(
            row.minute,
            &Sketch::from_sorted(row.latency.iter().copied()),
        );
        self.last_event = self.last_event.max(at);
    }

    /// Adds the same series of another instance. Open minutes close.
    pub fn merge(&mut self, other: &Self) {
        self.tally.merge(&other.tally);
        self.latency.merge(&other.latency);
        for open in other.open.iter() {
            self.latency.add(open.minute, &open.latency);
        }
        if let (Some(mine), Some(theirs)) = (&mut self.durations, &other.durations) {
            mine.ok.merge(&theirs.ok);
            mine.error.merge(&theirs.error);
        }
        for ledger in &other.ledgers {
            match self.ledger_mut(ledger.name()) {
                Some(mine) => mine.merge(ledger),
                None => self.ledgers.push(ledger.clone()),
            }
        }
        for version in &other.versions {
            if !self.versions.contains(version) {
                self.versions.push(*version);
            }
        }
        self.last_event = self.last_event.max(other.last_event);
    }
}
