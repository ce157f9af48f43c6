//! Who decides which share of the traces is kept.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use slo_copilot::adapter::Adapter;
use slo_copilot::adapter::sampling::policy::{Policy, Situation, factor, reward};
use slo_copilot::adapter::sampling::settings::BudgetConfig;
use slo_copilot::adapter::sampling::{Config, Sampling, Sources};
use slo_copilot::evaluator::{self, Evaluator};
use slo_copilot::model::advice::Advice;
use slo_copilot::model::recommendation::SamplingAction;
use slo_copilot::model::report::{OutputScope, Report, SeriesCounters, Verdict, VerdictReport};
use slo_copilot::model::sampling::{SamplingPlan, TelemetryVolume};
use slo_copilot::model::series::ServiceKey;
use slo_copilot::model::span::{Outcome, SpanKind};
use slo_copilot::model::trace::{Completeness, StatusCode, Trace, TraceResource, TraceSpan};
use slo_copilot::window::snapshot::Snapshot;

use crate::week::{BUDGET_SHARE, BUFFERED, DAY, Digest, SERVICES, START, Week};

/// What was kept of a minute.
#[derive(Clone, Copy)]
pub struct Kept {
    pub spans: f64,
    /// The share of the traces with an error and of the slow ones; `None` without any.
    pub bad_share: Option<f64>,
}

/// Who decides which share of the traces is kept.
pub trait Sampler {
    /// Told the traffic of a minute that is over, and what was kept of it.
    fn minute(&mut self, week: &Week, digests: &[Digest], kept: Kept, now: u64);
    fn ratio(&self, root: usize) -> f64;
}

/// The adapter itself.
pub struct Fixed {
    adapter: Sampling,
    arrived: Arc<Mutex<TelemetryVolume>>,
    kept: Arc<Mutex<f64>>,
    blank: Report,
    counters: Vec<(f64, f64)>,
    entries: f64,
    plan: Arc<SamplingPlan>,
    roots: Vec<(String, String)>,
    pub slowest: Duration,
    passed: u64,
}

impl Fixed {
    pub fn new(week: &Week, has_tail: bool) -> Self {
        let arrived = Arc::new(Mutex::new(TelemetryVolume::default()));
        let kept = Arc::new(Mutex::new(0.0_f64));
        let counted = Arc::clone(&kept);
        let (volume, history) = (Arc::clone(&arrived), week.history.clone());
        let config = Config {
            budget: BudgetConfig {
                spans_per_day: Some(week.budget()),
                ..BudgetConfig::default()
            },
            keep_errors_and_slow: has_tail,
            ..Config::default()
        };
        let sources = Sources {
            volume: Box::new(move || *volume.lock().unwrap()),
            past: Box::new(move || history),
            kept: Box::new(move || has_tail.then(|| counted.lock().unwrap().floor() as u64)),
            asked: Arc::default(),
        };
        let mut evaluator = Evaluator::new(evaluator::Config::default(), OutputScope::default());
        Self {
            adapter: Sampling::new(&config, sources),
            arrived,
            kept,
            blank: evaluator.report(Snapshot::default(), Vec::new(), Vec::new(), 0),
            counters: vec![(0.0, 0.0); week.roots.len()],
            entries: 0.0,
            plan: Arc::default(),
            roots: week.roots.clone(),
            slowest: Duration::ZERO,
            passed: 0,
        }
    }

    fn report(&self, week: &Week, now: u64) -> Report {
        let mut report = self.blank.clone();
        let counters = |service: &str, operation: &str, (ok, error)| SeriesCounters {
            service: ServiceKey::named(service),
            operation: operation.to_owned(),
            kind: SpanKind::Server,
            ok,
            error,
            durations: None,
        };
        report.service_counters = vec![counters("frontend", "", (self.entries, 0.0))];
        let operations = self.roots.iter().zip(&self.counters);
        report.operation_counters = operations
            .map(|((service, name), count)| counters(service, name, *count))
            .collect();
        let failing = week.failing(now);
        report.verdicts = SERVICES
            .iter()
            .map(|service| VerdictReport {
                service: Some(ServiceKey::named(service)),
                verdict: if failing.contains(service) {
                    Verdict::Fail
                } else {
                    Verdict::Pass
                },
                ..report.verdict.clone()
            })
            .collect();
        report
    }

    /// What the trace buffer would have: one in so many, and those with an error.
    fn buffered(&mut self, digests: &[Digest]) -> Vec<Arc<Trace>> {
        let mut traces = Vec::new();
        for own in digests {
            self.passed += 1;
            if self.passed.is_multiple_of(BUFFERED) || own.has_error {
                traces.push(Arc::new(trace_of(own, &self.roots[usize::from(own.root)])));
            }
        }
        traces
    }
}

fn trace_of(own: &Digest, (service, name): &(String, String)) -> Trace {
    let touched: Vec<&str> = (0..SERVICES.len())
        .filter(|at| own.touches & 1 << at != 0)
        .map(|at| SERVICES[at])
        .collect();
    let span = |number: usize| {
        let is_root = number == 0;
        let service = if is_root {
            service.as_str()
        } else {
            touched[number % touched.len()]
        };
        TraceSpan {
            span_id: number.to_string().into(),
            parent_span_id: (!is_root).then(|| "0".into()),
            resource: Arc::new(TraceResource {
                service: ServiceKey::named(service),
                version: "".into(),
                attributes: Vec::new(),
            }),
            scope: "".into(),
            name: name.as_str().into(),
            operation: name.as_str().into(),
            kind: SpanKind::Server,
            start: own.start,
            end: own.start + (f64::from(own.seconds) * 1e9) as u64,
            status: StatusCode::Unset,
            status_message: "".into(),
            outcome: if is_root && own.is_error {
                Outcome::Error
            } else {
                Outcome::Ok
            },
            is_entry: is_root,
            weight: 1.0,
            attributes: Vec::new(),
            events: Vec::new(),
            links: Vec::new(),
        }
    };
    Trace {
        trace_id: "t".into(),
        spans: (0..usize::from(own.spans)).map(span).collect(),
        completeness: Completeness::Complete,
    }
}

impl Sampler for Fixed {
    fn minute(&mut self, week: &Week, digests: &[Digest], kept: Kept, now: u64) {
        *self.kept.lock().unwrap() += kept.spans;
        for own in digests {
            let count = &mut self.counters[usize::from(own.root)];
            if own.is_error {
                count.1 += 1.0;
            } else {
                count.0 += 1.0;
            }
            self.entries += f64::from(own.entries);
        }
        let spans: u64 = digests.iter().map(|own| u64::from(own.spans)).sum();
        {
            let mut arrived = self.arrived.lock().unwrap();
            arrived.spans += spans;
            arrived.bytes += 450 * spans;
        }
        let traces = self.buffered(digests);
        self.adapter.on_traces(&traces, now);
        let report = self.report(week, now);
        let started = Instant::now();
        self.adapter.on_report(&report, now);
        self.slowest = self.slowest.max(started.elapsed());
        let mut advice = Advice::default();
        self.adapter.advise(&mut advice);
        self.plan = advice.sampling.unwrap();
    }

    fn ratio(&self, root: usize) -> f64 {
        let (service, name) = &self.roots[root];
        self.plan.ratio(service, name)
    }
}

/// Everything with one ratio, which is known to spend each day's budget: what no one can know beforehand.
pub struct Uniform {
    pub by_day: Vec<f64>,
    pub day: usize,
}

impl Sampler for Uniform {
    fn minute(&mut self, _: &Week, _: &[Digest], _: Kept, now: u64) {
        self.day = usize::try_from((now - START) / DAY)
            .unwrap()
            .min(self.by_day.len() - 1);
    }

    fn ratio(&self, _: usize) -> f64 {
        self.by_day[self.day]
    }
}

/// The policy that learns, every ten minutes; it spends evenly.
pub struct Learned {
    pub policy: Policy,
    share: f64,
    spent: f64,
    bad: (f64, f64),
    minutes: u64,
    last: Option<(Situation, SamplingAction)>,
}

impl Learned {
    const MINUTES: u64 = 10;

    pub fn new() -> Self {
        Self {
            policy: Policy::new(11),
            share: BUDGET_SHARE,
            spent: 0.0,
            bad: (0.0, 0.0),
            minutes: 0,
            last: None,
        }
    }
}

impl Sampler for Learned {
    fn minute(&mut self, week: &Week, _: &[Digest], kept: Kept, now: u64) {
        self.spent += kept.spans;
        if let Some(kept) = kept.bad_share {
            self.bad.0 += kept;
            self.bad.1 += 1.0;
        }
        self.minutes += 1;
        if !self.minutes.is_multiple_of(Self::MINUTES) {
            return;
        }
        let even = week.budget() * Self::MINUTES as f64 / 1_440.0;
        let situation = Situation {
            spending: self.spent / even,
            is_anomalous: !week.failing(now).is_empty(),
        };
        let kept = if self.bad.1 > 0.0 {
            self.bad.0 / self.bad.1
        } else {
            1.0
        };
        if let Some((before, action)) = self.last.take() {
            self.policy
                .learn(before, action, reward(situation, kept), situation);
        }
        let action = self.policy.act(situation);
        self.share = (self.share * factor(action)).clamp(0.001, 1.0);
        self.last = Some((situation, action));
        self.spent = 0.0;
        self.bad = (0.0, 0.0);
    }

    fn ratio(&self, _: usize) -> f64 {
        self.share
    }
}
