//! Fault cases on whole traces: the simulated traces are measured and judged by the alert rules of the core.

use std::collections::{BTreeMap, BTreeSet};

use wildmatch::WildMatch;

use crate::config::Config;
use crate::evaluator::burn_rate::Limits;
use crate::evaluator::candidate::onset;
use crate::model::NANOS_PER_SEC;
use crate::model::fault::LatencyChange;
use crate::model::simulation::{
    CaseEvaluation, CaseExpectation, CaseFigures, CaseResult, FaultReport, Noticed, ServiceChange,
    ServiceFigures, time_text,
};
use crate::model::slo::{Objective, Sli, exact_ratio};
use crate::model::span::Outcome;
use crate::model::trace::{Trace, TraceSpan};
use crate::model::window::WindowSums;
use crate::trace::tree::TraceTree;
use crate::tracetest::fault::Simulation;
use crate::tracetest::fault::cases::{FaultCase, FaultSuite};
use crate::tracetest::fault::edges::Edges;
use crate::window::rolling::sums_of_one;

/// The most minutes of a recording that the alerts are shown.
const MINUTES_MAX: u64 = 7 * 24 * 60;

/// Recorded traces, ready for faults.
#[derive(Debug)]
pub struct Recording {
    traces: Vec<Trace>,
    edges: Edges,
    exclude: Vec<WildMatch>,
    limits: Limits,
    first_minute: u64,
    minutes: usize,
}

/// What was measured in traces.
struct Measured {
    /// Of each objective, its minutes.
    minutes: Vec<Vec<WindowSums>>,
    /// Durations in nanoseconds and failures, by service.
    services: BTreeMap<Box<str>, (Vec<u64>, u64)>,
}

impl Recording {
    /// Whole traces, with the rules of a configuration. `propagation_prior` is the share of failed calls after which
    /// the caller fails, where the traces show none.
    pub fn new(traces: Vec<Trace>, config: &Config, propagation_prior: f64) -> Self {
        let mut edges = Edges::new(propagation_prior);
        for trace in &traces {
            edges.observe(&TraceTree::new(trace));
        }
        let exclude = config
            .sli
            .exclude
            .iter()
            .map(|pattern| WildMatch::new(pattern));
        let mut recording = Self {
            traces: traces.into_iter().map(bare).collect(),
            edges,
            exclude: exclude.collect(),
            limits: config.evaluator.limits(),
            first_minute: 0,
            minutes: 0,
        };
        let ends = || {
            recording
                .traces
                .iter()
                .flat_map(|trace| &trace.spans)
                .filter(|span| span.is_entry)
        };
        let minute = |span: &TraceSpan| span.end / NANOS_PER_SEC / 60;
        let last = ends().map(minute).max().unwrap_or(0);
        let first = ends()
            .map(minute)
            .min()
            .unwrap_or(0)
            .max(last.saturating_sub(MINUTES_MAX - 1));
        if !recording.traces.is_empty() {
            recording.minutes = usize::try_from(last - first + 1).unwrap_or(0);
            recording.first_minute = first;
        }
        recording
    }

    /// The services that requests come into.
    pub fn services(&self) -> BTreeSet<String> {
        let spans = self.traces.iter().flat_map(|trace| &trace.spans);
        let entries = spans.filter(|span| span.is_entry);
        entries
            .map(|span| span.resource.service.name.to_string())
            .collect()
    }

    /// Tries the cases of a suite. `progress` is told each case that is done.
    pub fn try_cases(
        &self,
        suite: &FaultSuite,
        objectives: &[Objective],
        mut progress: impl FnMut(&str),
    ) -> FaultReport {
        let (judged, left_out): (Vec<&Objective>, Vec<&Objective>) = objectives
            .iter()
            .partition(|own| own.budgeting.slice().is_none());
        let healthy = self.measure(self.traces.iter(), &judged);
        let mut results = Vec::new();
        for case in &suite.cases {
            results.push(self.try_case(case, suite.seed, &judged, &healthy));
            progress(&case.name);
        }
        FaultReport {
            traces: self.traces.len() as u64,
            spans: self
                .traces
                .iter()
                .map(|trace| trace.spans.len() as u64)
                .sum(),
            minutes: self.minutes as u64,
            left_out: left_out.iter().map(|own| own.name.clone()).collect(),
            results,
        }
    }

    /// Tries the four usual cases of each service on the objectives of that service.
    pub fn try_defaults(&self, objectives: &[Objective]) -> FaultReport {
        let mut all = FaultReport::default();
        for service in self.services() {
            let suite = FaultSuite {
                cases: FaultCase::defaults_of(&service).into(),
                ..FaultSuite::default()
            };
            let own = objectives.iter().filter(|own| own.service == service);
            let own: Vec<Objective> = own.cloned().collect();
            let mut report = self.try_cases(&suite, &own, |_| ());
            report.results.splice(0..0, all.results);
            report.left_out.splice(0..0, all.left_out);
            all = report;
        }
        all
    }

    fn try_case(
        &self,
        case: &FaultCase,
        seed: u64,
        objectives: &[&Objective],
        healthy: &Measured,
    ) -> CaseResult {
        let faults = [case.placed()];
        let mut simulation = Simulation::new(&faults, &self.edges, seed);
        let requests = self.requests_of(case);
        let is_fault = !case.fault.is_none();
        let changed: Vec<Trace>;
        let faulty = if is_fault && requests > 0 {
            changed = self
                .traces
                .iter()
                .map(|trace| simulation.apply(trace))
                .collect();
            self.measure(changed.iter(), objectives)
        } else {
            self.measure(self.traces.iter(), objectives)
        };
        let services = changes(healthy, &faulty);
        let lasts = u32::try_from(case.lasts.as_secs() / 60).unwrap_or(u32::MAX);
        let touched: BTreeSet<&str> = services.iter().map(|own| own.service.as_str()).collect();
        let mut evaluations = Vec::new();
        let rows = healthy.minutes.iter().zip(&faulty.minutes);
        for (objective, (before, after)) in objectives.iter().zip(rows) {
            let is_own = case.target.service.as_deref() == Some(objective.service.as_str());
            if touched.contains(objective.service.as_str()) || is_own {
                evaluations.push(self.evaluate(objective, before, after, lasts));
            }
        }
        let all = evaluations.iter().map(|own| own.noticed);
        let noticed = all.fold(Noticed::default(), Noticed::or_sooner);
        CaseResult {
            case: figures(case, requests),
            services,
            expectation: expectation(case, noticed, &evaluations),
            is_blind_spot: is_fault && noticed.is_nothing(),
            evaluations,
            noticed,
        }
    }

    /// Requests that the fault of a case may meet.
    fn requests_of(&self, case: &FaultCase) -> u64 {
        let spans = self.traces.iter().flat_map(|trace| &trace.spans);
        let met = spans.filter(|span| {
            let version = Some(&*span.resource.version);
            (span.is_entry || case.target.operation.is_some())
                && case
                    .target
                    .matches(&span.resource.service.name, &span.operation, version)
        });
        met.count() as u64
    }

    fn evaluate(
        &self,
        objective: &Objective,
        before: &[WindowSums],
        after: &[WindowSums],
        lasts: u32,
    ) -> CaseEvaluation {
        let budget = exact_ratio(1.0 - objective.target);
        let onset = onset(
            before,
            after,
            (budget, objective.window.secs()),
            self.limits,
            lasts,
        );
        let good = |minutes: &[WindowSums]| {
            let sums = minutes
                .iter()
                .fold(WindowSums::default(), |sum, own| sum.plus(*own));
            sums.error_ratio().map(|ratio| 1.0 - ratio)
        };
        let (healthy_value, observed_value) = (good(before), good(after));
        let noticed = Noticed {
            page_secs: onset.page_secs,
            ticket_secs: onset.ticket_secs,
        };
        let details = if onset.paged_before || onset.ticketed_before {
            "its alerts fire without the fault already".to_owned()
        } else {
            said(noticed)
        };
        CaseEvaluation {
            slo: objective.name.clone(),
            service: objective.service.clone(),
            operation: objective.operation.clone(),
            metric: objective.sli.slug().to_owned(),
            threshold: objective.target,
            healthy_value,
            observed_value,
            // A hair less, since 1 − 1/1000 is not exactly 0.999.
            passed: observed_value.is_none_or(|value| value >= objective.target - 1e-12),
            noticed,
            details,
        }
    }

    fn measure<'t>(
        &self,
        traces: impl Iterator<Item = &'t Trace>,
        objectives: &[&Objective],
    ) -> Measured {
        let mut by_service: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, objective) in objectives.iter().enumerate() {
            by_service
                .entry(&objective.service)
                .or_default()
                .push(index);
        }
        let mut measured = Measured {
            minutes: vec![vec![WindowSums::default(); self.minutes]; objectives.len()],
            services: BTreeMap::new(),
        };
        let mut excluded: BTreeMap<Box<str>, bool> = BTreeMap::new();
        for span in traces
            .flat_map(|trace| &trace.spans)
            .filter(|span| span.is_entry)
        {
            let is_excluded = *excluded
                .entry(span.operation.clone())
                .or_insert_with(|| self.is_excluded(&span.operation));
            if is_excluded {
                continue;
            }
            let name = &span.resource.service.name;
            let is_bad = span.outcome == Outcome::Error;
            if !measured.services.contains_key(&**name) {
                measured
                    .services
                    .insert(name.as_ref().into(), (Vec::new(), 0));
            }
            if let Some((durations, failures)) = measured.services.get_mut(&**name) {
                durations.push(span.duration_nanos());
                *failures += u64::from(is_bad);
            }
            let minute = (span.end / NANOS_PER_SEC / 60).saturating_sub(self.first_minute);
            // What the fault moves beyond the end of the recording belongs to its last minute.
            let minute = usize::try_from(minute)
                .unwrap_or(usize::MAX)
                .min(self.minutes.saturating_sub(1));
            for index in by_service.get(&**name).into_iter().flatten() {
                let sums = objectives
                    .get(*index)
                    .and_then(|objective| sums_of(objective, span));
                let row = measured
                    .minutes
                    .get_mut(*index)
                    .and_then(|rows| rows.get_mut(minute));
                if let Some((row, sums)) = row.zip(sums) {
                    *row = row.plus(sums);
                }
            }
        }
        measured
    }

    fn is_excluded(&self, operation: &str) -> bool {
        let route = operation
            .split_once(' ')
            .map_or(operation, |(_, route)| route);
        self.exclude
            .iter()
            .any(|pattern| pattern.matches(operation) || pattern.matches(route))
    }
}

/// An entry span as an objective counts it; `None` if it does not.
fn sums_of(objective: &Objective, span: &TraceSpan) -> Option<WindowSums> {
    let service = &span.resource.service;
    let is =
        |wanted: &Option<String>, own: &str| wanted.as_deref().is_none_or(|wanted| wanted == own);
    let is_meant = is(&objective.namespace, &service.namespace)
        && is(&objective.environment, &service.environment)
        && is(&objective.operation, &span.operation);
    let is_error = span.outcome == Outcome::Error;
    let is_bad = match objective.sli {
        Sli::Availability | Sli::ErrorRate => is_error,
        Sli::Latency { .. } if is_error => return None,
        Sli::Latency { threshold_micros } => span.duration_nanos() > threshold_micros * 1_000,
    };
    is_meant.then(|| sums_of_one(is_bad, span.weight))
}

/// A trace without what no simulation reads.
fn bare(mut trace: Trace) -> Trace {
    for span in &mut trace.spans {
        span.attributes = Vec::new();
        span.events = Vec::new();
        span.links = Vec::new();
    }
    trace
}

fn changes(before: &Measured, after: &Measured) -> Vec<ServiceChange> {
    let mut changes = Vec::new();
    for (service, own) in &before.services {
        let (before, after) = (
            figures_of(Some(own)),
            figures_of(after.services.get(service)),
        );
        if before != after {
            changes.push(ServiceChange {
                service: service.to_string(),
                before,
                after,
            });
        }
    }
    changes
}

fn figures_of(measured: Option<&(Vec<u64>, u64)>) -> ServiceFigures {
    let Some((durations, failures)) = measured.filter(|(durations, _)| !durations.is_empty())
    else {
        return ServiceFigures::default();
    };
    let mut sorted = durations.clone();
    sorted.sort_unstable();
    let at = |hundredths: usize| {
        let index = (sorted.len() * hundredths).div_ceil(100).saturating_sub(1);
        sorted.get(index).map_or(0.0, |nanos| *nanos as f64 / 1e6)
    };
    ServiceFigures {
        requests: sorted.len() as u64,
        error_ratio: *failures as f64 / sorted.len() as f64,
        p50_ms: at(50),
        p95_ms: at(95),
        p99_ms: at(99),
    }
}

fn figures(case: &FaultCase, requests: u64) -> CaseFigures {
    let fault = &case.fault;
    let latency_multiplier = match fault.latency {
        Some(LatencyChange::Factor(factor) | LatencyChange::TotalFactor(factor)) => factor,
        Some(LatencyChange::Added(_) | LatencyChange::Drawn(_)) | None => 1.0,
    };
    CaseFigures {
        name: case.name.clone(),
        description: case.description.clone(),
        latency_multiplier,
        error_rate_delta: fault.error_ratio(),
        availability_delta: 0.0 - fault.outage_ratio(),
        target: case.target.clone(),
        fault: fault.clone(),
        lasts_secs: case.lasts.as_secs(),
        requests,
    }
}

fn expectation(
    case: &FaultCase,
    noticed: Noticed,
    evaluations: &[CaseEvaluation],
) -> Option<CaseExpectation> {
    let expect = case.expect?;
    let (noticed, known) = match &case.objective {
        None => (noticed, true),
        Some(name) => {
            let own = evaluations.iter().find(|own| own.slo == *name);
            (
                own.map(|own| own.noticed).unwrap_or_default(),
                own.is_some(),
            )
        }
    };
    let text = if known {
        said(noticed)
    } else {
        "the fault touches no objective of this name".to_owned()
    };
    Some(CaseExpectation {
        expect: expect.to_string(),
        objective: case.objective.clone(),
        met: known && expect.is_met(noticed),
        text,
    })
}

/// When alerts fire, for people.
fn said(noticed: Noticed) -> String {
    match (noticed.page_secs, noticed.ticket_secs) {
        (Some(page), Some(ticket)) if ticket < page => {
            format!(
                "ticket after {}, page after {}",
                time_text(ticket),
                time_text(page)
            )
        }
        (Some(page), _) => format!("page after {}", time_text(page)),
        (None, Some(ticket)) => format!("ticket after {}, no page", time_text(ticket)),
        (None, None) => "no alert".to_owned(),
    }
}
