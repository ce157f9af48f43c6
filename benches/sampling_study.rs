//! Replay study of the telemetry budget: a week of shop traffic with a shape by day and week, bursts and incidents, sampled by the
//! plans of the adapter.
//!
//! `cargo bench --bench sampling_study [-- DAYS]` prints the tables of `src/adapter/sampling/study.md`, and fails if the fixed
//! rule misses its budget by more than a tenth, or the intervals of the indicators hold less than 93 % of the truth.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    reason = "a study may panic and measures real time; its numbers are small"
)]

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::Span;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use slo_copilot::adapter::Adapter;
use slo_copilot::adapter::sampling::policy::{Policy, Situation, factor, reward};
use slo_copilot::adapter::sampling::settings::BudgetConfig;
use slo_copilot::adapter::sampling::{Config, Sampling, Sources};
use slo_copilot::evaluator::statistics::{clopper_pearson_lower, clopper_pearson_upper};
use slo_copilot::evaluator::{self, Evaluator};
use slo_copilot::model::NANOS_PER_SEC;
use slo_copilot::model::advice::Advice;
use slo_copilot::model::fault::{Fault, FaultTarget, LatencyChange};
use slo_copilot::model::report::{OutputScope, Report, SeriesCounters, Verdict, VerdictReport};
use slo_copilot::model::sampling::{SamplingPlan, TelemetryVolume};
use slo_copilot::model::series::ServiceKey;
use slo_copilot::model::span::{Outcome, SpanKind};
use slo_copilot::model::trace::{Completeness, StatusCode, Trace, TraceResource, TraceSpan};
use slo_copilot::trace::sampling::{Randomness, Threshold};
use slo_copilot::traffic::generate::{Faults, Generator, Plan};
use slo_copilot::traffic::model::{Burst, LoadShape, Model, RootLoad, ScheduledFault};
use slo_copilot::traffic::shop;
use slo_copilot::window::snapshot::Snapshot;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MINUTE: u64 = 60 * NANOS_PER_SEC;
const DAY: u64 = 1_440 * MINUTE;

/// A Monday at midnight.
const START: u64 = 20_003 * DAY;

/// Days of history before the replay, by the hour.
const HISTORY_DAYS: u64 = 21;

/// A tenth of the shop's 1 500 visits a minute.
const SCALE: f64 = 0.1;

/// The budget: a tenth of what an average day without bursts has.
const BUDGET_SHARE: f64 = 0.1;

/// Between them an incident is noticed, and over.
const NOTICED: u64 = 5 * MINUTE;
const BUFFERED: u64 = 20;

const SERVICES: [&str; 6] = [
    "frontend",
    "checkout",
    "cart",
    "payment",
    "catalog",
    "fulfilment",
];

/// One trace, as far as sampling goes.
#[derive(Clone, Copy)]
struct Digest {
    start: u64,
    root: u8,
    touches: u8,
    spans: u16,
    entries: u16,
    is_error: bool,
    has_error: bool,
    seconds: f32,
    randomness: u64,
}

/// A week of traffic.
struct Week {
    days: u64,
    roots: Vec<(String, String)>,
    digests: Vec<Digest>,
    incidents: Vec<(u64, u64, &'static str)>,
    history: Vec<(u32, f64)>,
    /// Spans of an average day.
    spans_per_day: f64,
}

fn incidents(days: u64) -> Vec<(u64, u64, &'static str)> {
    let at = |day: u64, hour: u64, minutes: u64, service| {
        let start = day * DAY + hour * 60 * MINUTE;
        (start, start + minutes * MINUTE, service)
    };
    let all = vec![
        at(1, 10, 40, "payment"),
        at(2, 21, 60, "catalog"),
        at(4, 14, 30, "payment"),
        at(5, 3, 90, "cart"),
    ];
    all.into_iter().filter(|own| own.1 < days * DAY).collect()
}

fn shape(bursts: bool) -> LoadShape {
    let daily = (0..24).map(|hour| {
        let angle = (f64::from(hour) - 14.0) / 24.0 * std::f64::consts::TAU;
        1.0 + 0.6 * angle.cos()
    });
    let burst = |at: u64, hours: u64, factor| Burst {
        at: Duration::from_hours(at),
        lasts: Duration::from_hours(hours),
        every: None,
        factor,
    };
    LoadShape {
        daily: daily.collect(),
        weekly: vec![1.0, 1.05, 1.1, 1.05, 1.0, 0.6, 0.55],
        bursts: if bursts {
            vec![
                burst(19, 2, 3.0),
                burst(24 * 3 + 9, 3, 2.5),
                burst(24 * 6 + 12, 1, 4.0),
            ]
        } else {
            Vec::new()
        },
    }
}

fn model(days: u64) -> Model {
    let mut model = shop::model();
    model.shape = shape(true);
    // Who asks for carts from outside, and seldom.
    model.load.push(RootLoad {
        service: "cart".to_owned(),
        operation: "get".to_owned(),
        per_minute: 4.0,
    });
    let always = |service: &str, error: f64| ScheduledFault {
        name: service.to_owned(),
        target: FaultTarget::service(service),
        fault: Fault {
            error,
            ..Fault::default()
        },
        ..ScheduledFault::default()
    };
    model.faults = vec![
        always("payment", 0.01),
        always("catalog", 0.002),
        always("cart", 0.003),
    ];
    for (from, to, service) in incidents(days) {
        let fault = if service == "catalog" {
            Fault {
                latency: Some(LatencyChange::Added(Duration::from_millis(400))),
                ..Fault::default()
            }
        } else {
            Fault {
                error: 0.3,
                ..Fault::default()
            }
        };
        model.faults.push(ScheduledFault {
            name: format!("{service} is in trouble"),
            at: Duration::from_nanos(from),
            lasts: Some(Duration::from_nanos(to - from)),
            target: FaultTarget::service(service),
            fault,
        });
    }
    model
}

fn digest(
    spans: &[(Arc<slo_copilot::traffic::generate::Reporter>, Span)],
    roots: &mut Vec<(String, String)>,
) -> Digest {
    let is_failed = |span: &Span| span.status.as_ref().is_some_and(|status| status.code == 2);
    let (reporter, root) = spans
        .iter()
        .find(|(_, span)| span.parent_span_id.is_empty())
        .unwrap();
    let name = (reporter.service.clone(), root.name.clone());
    let at = roots
        .iter()
        .position(|known| *known == name)
        .unwrap_or_else(|| {
            roots.push(name);
            roots.len() - 1
        });
    let touches = spans.iter().fold(0_u8, |mask, (reporter, _)| {
        let at = SERVICES
            .iter()
            .position(|service| *service == reporter.service)
            .unwrap();
        mask | 1 << at
    });
    let entries = spans
        .iter()
        .filter(|(_, span)| matches!(span.kind, 2 | 5))
        .count();
    let nanos = root.end_time_unix_nano - root.start_time_unix_nano;
    Digest {
        start: root.start_time_unix_nano,
        root: u8::try_from(at).unwrap(),
        touches,
        spans: u16::try_from(spans.len()).unwrap(),
        entries: u16::try_from(entries).unwrap(),
        is_error: is_failed(root),
        has_error: spans.iter().any(|(_, span)| is_failed(span)),
        seconds: (nanos as f64 / NANOS_PER_SEC as f64) as f32,
        randomness: Randomness::of_trace_id(&root.trace_id).number(),
    }
}

impl Week {
    fn new(days: u64, seed: u64) -> Self {
        let plan = Arc::new(Plan::new(&model(days)));
        let per_minute = plan.traces_per_minute() * SCALE;
        let mut generator = Generator::new(plan, seed);
        let (mut roots, mut digests) = (Vec::new(), Vec::new());
        let period = START..START + days * DAY;
        for trace in generator.scheduled(period, START, SCALE, &Faults::none()) {
            digests.push(digest(trace.spans(), &mut roots));
        }
        let count = digests.len() as f64;
        let mean = |of: &dyn Fn(&Digest) -> u16| {
            digests.iter().map(|own| f64::from(of(own))).sum::<f64>() / count
        };
        let (spans, entries) = (mean(&|own| own.spans), mean(&|own| own.entries));
        let calm = shape(false);
        let mut rng = StdRng::seed_from_u64(seed);
        let first = (START - HISTORY_DAYS * DAY) / (60 * MINUTE);
        let history = (first..START / (60 * MINUTE)).map(|hour| {
            let secs = hour as f64 * 3_600.0 + 1_800.0;
            // The scatter of a sum of many visits, with a little more from day to day.
            let scatter = 1.0 + 0.03 * (rng.random::<f64>() + rng.random::<f64>() - 1.0) * 2.45;
            let visits = per_minute * 60.0 * calm.factor(secs, 0.0) * scatter;
            (u32::try_from(hour).unwrap(), visits * entries)
        });
        let weekly: f64 = calm.weekly.iter().sum::<f64>() / 7.0;
        Self {
            days,
            history: history.collect(),
            spans_per_day: per_minute * 1_440.0 * weekly * spans,
            incidents: incidents(days)
                .into_iter()
                .map(|(from, to, service)| (START + from, START + to, service))
                .collect(),
            roots,
            digests,
        }
    }

    fn budget(&self) -> f64 {
        BUDGET_SHARE * self.spans_per_day
    }

    /// Services whose verdict is fail.
    fn failing(&self, now: u64) -> Vec<&'static str> {
        let own = self.incidents.iter();
        let noticed = own.filter(|(from, to, _)| (from + NOTICED..to + 2 * NOTICED).contains(&now));
        noticed.map(|own| own.2).collect()
    }
}

/// What was kept of a minute.
#[derive(Clone, Copy)]
struct Kept {
    spans: f64,
    /// The share of the traces with an error and of the slow ones; `None` without any.
    bad_share: Option<f64>,
}

/// Who decides which share of the traces is kept.
trait Sampler {
    /// Told the traffic of a minute that is over, and what was kept of it.
    fn minute(&mut self, week: &Week, digests: &[Digest], kept: Kept, now: u64);
    fn ratio(&self, root: usize) -> f64;
}

/// The adapter itself.
struct Fixed {
    adapter: Sampling,
    arrived: Arc<Mutex<TelemetryVolume>>,
    blank: Report,
    counters: Vec<(f64, f64)>,
    entries: f64,
    plan: Arc<SamplingPlan>,
    roots: Vec<(String, String)>,
    slowest: Duration,
    passed: u64,
}

impl Fixed {
    fn new(week: &Week, has_tail: bool) -> Self {
        let arrived = Arc::new(Mutex::new(TelemetryVolume::default()));
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
        };
        let mut evaluator = Evaluator::new(evaluator::Config::default(), OutputScope::default());
        Self {
            adapter: Sampling::new(&config, sources),
            arrived,
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
    fn minute(&mut self, week: &Week, digests: &[Digest], _: Kept, now: u64) {
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
struct Uniform {
    by_day: Vec<f64>,
    day: usize,
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
struct Learned {
    policy: Policy,
    share: f64,
    spent: f64,
    bad: (f64, f64),
    minutes: u64,
    last: Option<(
        Situation,
        slo_copilot::model::recommendation::SamplingAction,
    )>,
}

impl Learned {
    const MINUTES: u64 = 10;

    fn new() -> Self {
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

/// What became of a week.
#[derive(Default)]
struct Outcomes {
    kept_by_day: Vec<f64>,
    errors: (u64, u64),
    slow: (u64, u64),
    /// Intervals that held the truth, and all, of error ratio and latency.
    error_sli: (u64, u64),
    latency_sli: (u64, u64),
    /// Mean width of the intervals of the error ratio over the truth.
    width: (f64, u64),
}

/// The events of one root operation in one hour.
#[derive(Clone, Default)]
struct Hour {
    all: Vec<(bool, f32)>,
    kept: Vec<(bool, f32, f64)>,
}

fn quantile(values: &mut [f32], quantile: f64) -> f32 {
    if values.is_empty() {
        return f32::INFINITY;
    }
    values.sort_unstable_by(f32::total_cmp);
    values[((values.len() as f64 * quantile).ceil() as usize).clamp(1, values.len()) - 1]
}

/// Whether the 95 % interval of a weighted share holds the truth, and how wide it is.
fn holds(events: impl Iterator<Item = (bool, f64)> + Clone, truth: f64) -> Option<(bool, f64)> {
    let weights: f64 = events.clone().map(|own| own.1).sum();
    let squares: f64 = events.clone().map(|own| own.1 * own.1).sum();
    let bad: f64 = events.filter(|own| own.0).map(|own| own.1).sum();
    if weights <= 0.0 {
        return None;
    }
    let n_eff = weights * weights / squares;
    let x = bad / weights * n_eff;
    let (lower, upper) = (
        clopper_pearson_lower(x, n_eff, 0.975),
        clopper_pearson_upper(x, n_eff, 0.975),
    );
    Some(((lower..=upper).contains(&truth), upper - lower))
}

impl Outcomes {
    fn judge(&mut self, hours: &mut BTreeMap<usize, Hour>) {
        for hour in hours.values_mut() {
            let all = hour.all.len() as f64;
            let truth = hour.all.iter().filter(|own| own.0).count() as f64 / all;
            if let Some((is_held, width)) = holds(hour.kept.iter().map(|own| (own.0, own.2)), truth)
            {
                self.error_sli.0 += u64::from(is_held);
                self.error_sli.1 += 1;
                self.width.0 += width;
                self.width.1 += 1;
            }
            let mut times: Vec<f32> = hour.all.iter().map(|own| own.1).collect();
            let p95 = quantile(&mut times, 0.95);
            let truth = hour.all.iter().filter(|own| own.1 > p95).count() as f64 / all;
            if let Some((is_held, _)) =
                holds(hour.kept.iter().map(|own| (own.1 > p95, own.2)), truth)
            {
                self.latency_sli.0 += u64::from(is_held);
                self.latency_sli.1 += 1;
            }
        }
        hours.clear();
    }
}

/// Replays a week: each trace is kept by its id, and where there is a tail, for its error or its duration.
fn replay(week: &Week, sampler: &mut impl Sampler, has_tail: bool) -> Outcomes {
    let mut outcomes = Outcomes {
        kept_by_day: vec![0.0; usize::try_from(week.days).unwrap()],
        ..Outcomes::default()
    };
    let roots = week.roots.len();
    // By root operation, and all together.
    let mut hours: BTreeMap<usize, Hour> = BTreeMap::new();
    let mut slow = vec![f32::INFINITY; roots];
    let mut rest = week.digests.as_slice();
    for minute in 0..week.days * 1_440 {
        let end = START + (minute + 1) * MINUTE;
        let count = rest.partition_point(|own| own.start < end);
        let (now, later) = rest.split_at(count);
        rest = later;
        let (mut kept_spans, mut bad) = (0.0, (0.0, 0.0));
        let thresholds: Vec<Threshold> = (0..roots)
            .map(|root| Threshold::ALL.scaled(sampler.ratio(root)))
            .collect();
        for own in now {
            let root = usize::from(own.root);
            let is_slow = own.seconds > slow[root];
            let is_wanted = has_tail && (own.has_error || is_slow);
            let threshold = thresholds[root];
            let is_kept = is_wanted || threshold.keeps(Randomness::from_number(own.randomness));
            for (is_bad, counts) in [
                (own.has_error, &mut outcomes.errors),
                (is_slow, &mut outcomes.slow),
            ] {
                counts.0 += u64::from(is_bad && is_kept);
                counts.1 += u64::from(is_bad);
            }
            if own.has_error || is_slow {
                bad.0 += f64::from(u8::from(is_kept));
                bad.1 += 1.0;
            }
            for key in [root, roots] {
                let hour = hours.entry(key).or_default();
                hour.all.push((own.is_error, own.seconds));
                if is_kept {
                    let weight = if is_wanted {
                        1.0
                    } else {
                        1.0 / threshold.ratio()
                    };
                    hour.kept.push((own.is_error, own.seconds, weight));
                }
            }
            kept_spans += if is_kept { f64::from(own.spans) } else { 0.0 };
        }
        outcomes.kept_by_day[usize::try_from(minute / 1_440).unwrap()] += kept_spans;
        let kept = Kept {
            spans: kept_spans,
            bad_share: (bad.1 > 0.0).then(|| bad.0 / bad.1),
        };
        sampler.minute(week, now, kept, end);
        if (minute + 1).is_multiple_of(60) {
            for (root, limit) in slow.iter_mut().enumerate() {
                let times: Option<Vec<f32>> = hours
                    .get(&root)
                    .map(|hour| hour.all.iter().map(|own| own.1).collect());
                *limit = quantile(&mut times.unwrap_or_default(), 0.99);
            }
            outcomes.judge(&mut hours);
        }
    }
    outcomes
}

fn share((part, all): (u64, u64)) -> f64 {
    100.0 * part as f64 / all.max(1) as f64
}

/// The row of a week, and its error of the whole budget and of the worst day, in percent.
fn row(out: &mut impl Write, name: &str, week: &Week, outcomes: &Outcomes) -> io::Result<f64> {
    let off = |kept: f64, days: f64| 100.0 * (kept / (days * week.budget()) - 1.0);
    let days = week.days as f64;
    let total: f64 = outcomes.kept_by_day.iter().sum();
    let each: Vec<f64> = outcomes
        .kept_by_day
        .iter()
        .map(|kept| off(*kept, 1.0))
        .collect();
    let mean = each.iter().map(|own| own.abs()).sum::<f64>() / days;
    let worst = each
        .iter()
        .copied()
        .fold(0.0, |a: f64, b| if b.abs() > a.abs() { b } else { a });
    writeln!(
        out,
        "| {name} | {:+.1} % | {mean:.1} % | {worst:+.1} % | {:.1} % | {:.1} % | {:.1} % | {:.1} % | {:.2} |",
        off(total, days),
        share(outcomes.errors),
        share(outcomes.slow),
        share(outcomes.error_sli),
        share(outcomes.latency_sli),
        100.0 * outcomes.width.0 / outcomes.width.1.max(1) as f64,
    )?;
    Ok(off(total, days).abs())
}

fn main() -> io::Result<ExitCode> {
    let days = std::env::args()
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(7);
    let mut out = io::stdout();
    let week = Week::new(days, 1);
    let spans: u64 = week.digests.iter().map(|own| u64::from(own.spans)).sum();
    writeln!(
        out,
        "{} traces, {spans} spans in {days} days; budget {:.0} spans a day; {} incidents\n",
        week.digests.len(),
        week.budget(),
        week.incidents.len()
    )?;
    writeln!(
        out,
        "| Sampling | budget, all | a day | worst day | errors kept | slow kept | error SLI held | p95 SLI held | width, points |"
    )?;
    writeln!(out, "|---|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    let mut is_good = true;
    for has_tail in [true, false] {
        let suffix = if has_tail {
            "whole traces"
        } else {
            "SDKs alone"
        };
        let mut fixed = Fixed::new(&week, has_tail);
        let outcomes = replay(&week, &mut fixed, has_tail);
        let off = row(&mut out, &format!("fixed rule, {suffix}"), &week, &outcomes)?;
        is_good &=
            off <= 10.0 && share(outcomes.error_sli) >= 93.0 && share(outcomes.latency_sli) >= 93.0;
        if has_tail {
            let by_day = outcomes.kept_by_day.iter().enumerate().map(|(day, kept)| {
                let of_day = week
                    .digests
                    .iter()
                    .filter(|own| (own.start - START) / DAY == day as u64);
                kept / of_day.map(|own| f64::from(own.spans)).sum::<f64>()
            });
            let mut uniform = Uniform {
                by_day: by_day.collect(),
                day: 0,
            };
            let outcomes = replay(&week, &mut uniform, false);
            row(&mut out, "uniform, as many spans a day", &week, &outcomes)?;
        }
        let training = Week::new(days, 2);
        let mut learned = Learned::new();
        for _ in 0..30 {
            replay(&training, &mut learned, has_tail);
        }
        learned.policy.settle();
        let outcomes = replay(&week, &mut learned, has_tail);
        row(
            &mut out,
            &format!("learnt policy, {suffix}"),
            &week,
            &outcomes,
        )?;
        writeln!(io::stderr(), "the slowest report took {:?}", fixed.slowest)?;
    }
    Ok(ExitCode::from(u8::from(!is_good)))
}
