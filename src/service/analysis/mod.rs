//! Trace files through the core of `serve`: read, count, fit candidates, judge once at the end.
//!
//! `now` is the end of the newest event so far. There is no future, no hysteresis and no store.

mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::adapter::coverage::{ObservedSignals, of_signals};
use crate::config::Config;
use crate::evaluator::verdict::timestamp;
use crate::evaluator::{self, Evaluator};
use crate::model::batch::EventBatch;
use crate::model::candidate::{Candidate, CandidateState};
use crate::model::finding::Finding;
use crate::model::history::MinuteRow;
use crate::model::input::{JudgedAgainst, TraceFileReport, TraceInputReport};
use crate::model::report::{ObjectiveStatus, Report, Verdict};
use crate::model::series::{SeriesId, SeriesKey, SeriesScope};
use crate::model::slo::{Objective, ObjectiveSource, Sli};
use crate::model::{NANOS_PER_SEC, UnixNanos};
use crate::receiver::file::{FileError, FileSettings, FileSink, SpanLink, TraceInput, read_traces};
pub use crate::service::analysis::versions::Compared;
use crate::service::analysis::versions::Links;
use crate::service::fit::{AssumedDays, fit_all};
use crate::window::cohort::settings::RolloutsConfig;
use crate::window::cohort::watch::Scope;
use crate::window::event::EventRules;
use crate::window::rolling::HELD_SECS;
use crate::window::settings::WindowsConfig;
use crate::window::snapshot::Snapshot;
use crate::window::{Recorded, Windows};

/// Events between two looks for closed minutes.
const EVENTS_PER_HARVEST: u64 = 200_000;

/// How far ahead of the wall clock events may end: synthetic traffic may, a broken clock is further off as a rule.
const AHEAD_NANOS_MAX: u64 = 400 * 86_400 * NANOS_PER_SEC;

/// What is said about the traces beside objectives.
#[derive(Clone, Debug, Default)]
pub struct Neighbours {
    /// Signals that should be there.
    pub expected_signals: Vec<String>,
    /// State of each neighbour, with the reason where it gives nothing.
    pub integrations: BTreeMap<String, String>,
}

/// Trace files, counted.
#[derive(Debug)]
pub struct Analysis {
    config: Config,
    rules: EventRules,
    windows: Windows,
    history: BTreeMap<SeriesId, BTreeMap<u32, MinuteRow>>,
    objectives: Vec<Objective>,
    files: Vec<TraceFileReport>,
    findings: Vec<Finding>,
    /// Where somebody asks for them.
    signals: Option<ObservedSignals>,
    /// Where versions are compared.
    links: Option<Links>,
    compared: Compared,
    times: Times,
    recorded: Recorded,
    roots: u64,
    events_since_harvest: u64,
}

/// Ends of the oldest and the newest event.
#[derive(Clone, Copy, Debug)]
struct Times {
    oldest: UnixNanos,
    newest: UnixNanos,
    /// What ends later is a broken clock and not the newest event.
    believable: UnixNanos,
}

impl Analysis {
    /// No traces yet. `objectives` are measured as the events come, so that thresholds are exact. `wall_clock` tells
    /// broken clocks from synthetic traffic of the near future.
    pub fn new(config: &Config, objectives: &[Objective], wall_clock: UnixNanos) -> Self {
        let windows = WindowsConfig {
            // Nobody waits for memory back, and which operations are the busiest is known at the end.
            idle_expiry: Duration::MAX,
            history_operations_per_service: config.windows.max_operations_per_service as usize,
            ..config.windows.clone()
        };
        let nothing = RolloutsConfig {
            max_services: 0,
            ..config.rollouts.clone()
        };
        let windows = Windows::new(windows, &config.sli)
            .scrubbing(config.scrubber())
            .recording(nothing, Scope::Rollouts);
        for objective in objectives {
            windows.adopt(&Arc::new(objective.clone()), 0);
        }
        Self {
            rules: EventRules::new(&config.sli),
            config: config.clone(),
            windows,
            history: BTreeMap::new(),
            objectives: objectives.to_vec(),
            files: Vec::new(),
            findings: Vec::new(),
            signals: None,
            links: None,
            compared: Compared::default(),
            times: Times {
                oldest: UnixNanos::MAX,
                newest: 0,
                believable: wall_clock.saturating_add(AHEAD_NANOS_MAX),
            },
            recorded: Recorded::default(),
            roots: 0,
            events_since_harvest: 0,
        }
    }

    /// Reads one input. `progress` is told the bytes read of it so far.
    pub fn read(&mut self, input: &TraceInput, progress: impl FnMut(u64)) -> Result<(), FileError> {
        let rules = self.rules.clone();
        let mut reading = Reading {
            analysis: self,
            progress,
        };
        let summary = read_traces(input, &rules, &FileSettings::default(), &mut reading)?;
        self.roots += summary.roots;
        self.files.push(TraceFileReport {
            file: input.name().to_owned(),
            format: summary.format.map(|format| format.label().to_owned()),
            spans: summary.spans,
            rejected_spans: summary.rejected.iter().sum(),
            unreadable_records: summary.unreadable_records,
            is_truncated: summary.is_truncated,
        });
        self.findings.extend(summary.findings);
        Ok(())
    }

    /// Looks for signals: the names of all spans, and those that were `observed` elsewhere.
    pub fn collect_signals(&mut self, observed: &[String]) {
        let most = self.config.adapters.coverage.max_signals;
        let signals = self
            .signals
            .get_or_insert_with(|| ObservedSignals::new(most));
        for name in observed {
            signals.add(name.as_bytes());
        }
    }

    /// What could not be read.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Spans of every kind that could be used.
    pub fn spans(&self) -> u64 {
        self.files.iter().map(|file| file.spans).sum()
    }

    /// Fits candidates to the services and to the busiest operations of each.
    pub fn candidates(&mut self) -> Vec<Candidate> {
        self.windows.close_minutes();
        self.harvest();
        self.forget_minutes_out_of_reach();
        let keys = self.busiest_keys();
        let rows_of = |id| Ok::<_, Infallible>(self.rows_of(id));
        let settings = self.config.candidate_settings();
        let Ok(candidates) = fit_all(
            keys,
            (&self.rules, &settings),
            &AssumedDays::new(),
            rows_of,
            || true,
        );
        candidates
    }

    /// Judges everything at the end of the newest event. Without objectives of its own, an analysis judges its traces
    /// against their own candidates.
    pub fn report(
        mut self,
        mut candidates: Vec<Candidate>,
        against: JudgedAgainst,
        neighbours: &Neighbours,
        generated_at: Timestamp,
    ) -> Report {
        let now = self.times.newest;
        if against == JudgedAgainst::Itself {
            self.adopt_all(&candidates, now);
        }
        self.windows.maintain(self.slices_judged_at(now));
        let snapshot = self
            .windows
            .snapshot(now, self.config.evaluator.report_operations_per_service);
        let snapshot = Snapshot {
            rollouts: self.compared.rollouts.clone(),
            edges: self.compared.edges.clone(),
            ..snapshot
        };
        let settings = evaluator::Config {
            // A gate weighs the comparison as a part of its own.
            canary_gates: false,
            ..self.config.evaluator.clone()
        };
        let mut evaluator = Evaluator::new(settings, self.config.output.scope)
            .comparing(self.canary_settings())
            .with_policies(self.config.objectives.policies());
        let mut statuses = evaluator.statuses(&snapshot);
        if against == JudgedAgainst::Itself {
            for status in &mut statuses {
                if let Some(own) = candidates
                    .iter()
                    .find(|own| own.name == status.objective.name)
                {
                    restrain(status, own);
                }
            }
        }
        for candidate in &mut candidates {
            if self
                .objectives
                .iter()
                .any(|own| candidate.is_covered_by(own))
            {
                candidate.state = CandidateState::Adopted;
            }
        }
        let mut report = evaluator.report(snapshot, statuses, candidates, self.roots);
        if let Some(mut signals) = self.signals.take() {
            for operation in report
                .services
                .iter()
                .flat_map(|service| &service.operations)
            {
                signals.hold(operation.operation.as_bytes());
            }
            let target = self.config.adapters.coverage.target;
            let coverage = of_signals(&neighbours.expected_signals, &signals, target);
            report.coverage = coverage.map(Arc::new);
        }
        report.integrations.extend(neighbours.integrations.clone());
        report
            .services
            .retain(|service| service.windows.iter().any(|sli| sli.sums.total > 0.0));
        report.input = Some(self.input_report(against));
        report.generated_at = generated_at;
        report.verdict.generated_at = generated_at;
        for verdict in &mut report.verdicts {
            verdict.generated_at = generated_at;
        }
        report
    }

    /// When slices of time are judged up to the one that holds the newest event: no event will come late.
    fn slices_judged_at(&self, now: UnixNanos) -> UnixNanos {
        let slices = self.objectives.iter();
        let shortest = slices.filter_map(|own| own.budgeting.slice()).min();
        let wait_secs = match shortest {
            Some(slice) => self.config.windows.late_after.as_secs() + slice.secs(),
            None => 0,
        };
        now.saturating_add(wait_secs.saturating_mul(NANOS_PER_SEC))
    }

    fn adopt_all(&self, candidates: &[Candidate], now: UnixNanos) {
        for candidate in candidates.iter().filter(|own| own.sli != Sli::ErrorRate) {
            let objective = Arc::new(candidate.objective(ObjectiveSource::Fitted));
            for (series, unsaved) in self.windows.adopt(&objective, now) {
                let mut rows = self.rows_of(series);
                rows.extend(unsaved);
                self.windows.replay(&objective.name, series, &rows);
            }
        }
    }

    /// Keeps the closed minutes, several rows of one minute as one.
    fn harvest(&mut self) {
        self.events_since_harvest = 0;
        let (minutes, _) = self.windows.take_history();
        for minute in minutes {
            let rows = self.history.entry(minute.series).or_default();
            match rows.get_mut(&minute.row.minute) {
                Some(held) => held.merge(&minute.row),
                None => {
                    rows.insert(minute.row.minute, minute.row);
                }
            }
        }
    }

    /// Leaves out what no window reaches from the newest event, so that the order of the files does not matter.
    fn forget_minutes_out_of_reach(&mut self) {
        let oldest = self.times.newest.saturating_sub(HELD_SECS * NANOS_PER_SEC) / NANOS_PER_SEC;
        let oldest = u32::try_from(oldest / 60).unwrap_or(u32::MAX);
        let services: BTreeSet<SeriesId> = self
            .windows
            .history_keys()
            .into_iter()
            .filter(|(_, key)| key.scope == SeriesScope::Service)
            .map(|(id, _)| id)
            .collect();
        for (id, rows) in &mut self.history {
            let kept = rows.split_off(&oldest);
            let left_out = std::mem::replace(rows, kept);
            if services.contains(id) {
                let events = left_out.values().map(|row| row.sums.observed_total);
                self.recorded.too_old += events.sum::<u64>();
            }
        }
    }

    fn rows_of(&self, series: SeriesId) -> Vec<MinuteRow> {
        let rows = self.history.get(&series);
        rows.into_iter()
            .flat_map(BTreeMap::values)
            .cloned()
            .collect()
    }

    /// Services, and of each those operations with the most events.
    fn busiest_keys(&self) -> Vec<(SeriesId, SeriesKey)> {
        let mut keys = self.windows.history_keys();
        let events = |id: &SeriesId| -> u64 {
            let rows = self.history.get(id).into_iter().flat_map(BTreeMap::values);
            rows.map(|row| row.sums.observed_total).sum()
        };
        keys.sort_by_cached_key(|(id, key)| {
            let is_operation = key.operation_name().is_some();
            (
                key.service.clone(),
                is_operation,
                u64::MAX - events(id),
                *id,
            )
        });
        let most = self.config.windows.history_operations_per_service;
        let mut kept = Vec::new();
        for service in keys.chunk_by(|a, b| a.1.service == b.1.service) {
            let (operations, own): (Vec<_>, Vec<_>) = service
                .iter()
                .cloned()
                .partition(|(_, key)| key.operation_name().is_some());
            kept.extend(own.into_iter().chain(operations.into_iter().take(most)));
        }
        kept
    }

    fn input_report(&self, judged_against: JudgedAgainst) -> TraceInputReport {
        let is_empty = self.times.newest == 0;
        let time = |nanos| (!is_empty).then(|| timestamp(nanos));
        TraceInputReport {
            files: self.files.clone(),
            spans: self.spans(),
            traces: self.roots,
            events: self.recorded.counted,
            excluded_events: self.recorded.excluded,
            too_old_events: self.recorded.too_old,
            future_events: self.recorded.too_new,
            overflowed_events: self.recorded.overflowed,
            first_event: time(self.times.oldest),
            last_event: time(self.times.newest),
            judged_against,
        }
    }
}

/// Holds a status back as far as the candidate that it was judged by may be believed: a provisional one decides
/// nothing, and one that no target of the ladder fits has failed, however few its events.
fn restrain(status: &mut ObjectiveStatus, candidate: &Candidate) {
    let name = &candidate.name;
    match (candidate.state, &candidate.evidence.rejection) {
        (CandidateState::Rejected, Some(reason)) if status.budget.bad > 0.0 => {
            status.state = Verdict::Fail;
            status.text = format!("{name}: {reason}");
        }
        (CandidateState::Provisional | CandidateState::Rejected, _) => {
            status.state = Verdict::Inconclusive;
            status.text = format!("{name} is provisional: {}", candidate.missing.join("; "));
        }
        (CandidateState::Ready | CandidateState::Adopted, _) => {}
    }
}

struct Reading<'a, P> {
    analysis: &'a mut Analysis,
    progress: P,
}

impl<P: FnMut(u64)> FileSink for Reading<'_, P> {
    fn batch(&mut self, batch: &mut EventBatch) {
        let analysis = &mut *self.analysis;
        let believable = analysis.times.believable;
        for event in batch.events.iter().filter(|event| event.end <= believable) {
            analysis.times.oldest = analysis.times.oldest.min(event.end);
            analysis.times.newest = analysis.times.newest.max(event.end);
        }
        let recorded = analysis.windows.record(batch, analysis.times.newest);
        analysis.recorded.add(recorded);
        analysis.events_since_harvest += recorded.counted;
        if analysis.events_since_harvest >= EVENTS_PER_HARVEST {
            analysis.harvest();
        }
    }

    fn span_name(&mut self, _service: &[u8], name: &[u8]) {
        if let Some(signals) = &mut self.analysis.signals {
            signals.add(name);
        }
    }

    fn wants_links(&self) -> bool {
        self.analysis.links.is_some()
    }

    fn link(&mut self, link: &SpanLink<'_>) {
        if let Some(links) = &mut self.analysis.links {
            links.add(link);
        }
    }

    fn progress(&mut self, bytes_read: u64) {
        (self.progress)(bytes_read);
    }
}
