//! A week of traffic of the shop, and what is to be known of each of its traces.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use slo_copilot::model::NANOS_PER_SEC;
use slo_copilot::model::fault::{Fault, FaultTarget, LatencyChange};
use slo_copilot::trace::sampling::Randomness;
use slo_copilot::traffic::generate::{Faults, Generator, Plan, Reporter};
use slo_copilot::traffic::model::{Burst, LoadShape, Model, RootLoad, ScheduledFault};
use slo_copilot::traffic::shop;

pub const MINUTE: u64 = 60 * NANOS_PER_SEC;
pub const DAY: u64 = 1_440 * MINUTE;

/// A Monday at midnight.
pub const START: u64 = 20_003 * DAY;

/// Days of history before the replay, by the hour.
const HISTORY_DAYS: u64 = 21;

/// A tenth of the shop's 1 500 visits a minute.
const SCALE: f64 = 0.1;

/// The budget: a tenth of what an average day of the past has.
pub const BUDGET_SHARE: f64 = 0.1;

/// Between them an incident is noticed, and over.
const NOTICED: u64 = 5 * MINUTE;
pub const BUFFERED: u64 = 20;

pub const SERVICES: [&str; 6] = [
    "frontend",
    "checkout",
    "cart",
    "payment",
    "catalog",
    "fulfilment",
];

/// One trace, as far as sampling goes.
#[derive(Clone, Copy)]
pub struct Digest {
    pub start: u64,
    pub root: u8,
    pub touches: u8,
    pub spans: u16,
    pub entries: u16,
    pub is_error: bool,
    pub has_error: bool,
    pub seconds: f32,
    pub randomness: u64,
}

/// A week of traffic.
pub struct Week {
    pub days: u64,
    pub roots: Vec<(String, String)>,
    pub digests: Vec<Digest>,
    pub incidents: Vec<(u64, u64, &'static str)>,
    pub history: Vec<(u32, f64)>,
    /// Spans of an average day.
    pub spans_per_day: f64,
}

/// What a week is like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Bursts and incidents.
    Busy,
    /// Neither.
    Calm,
    /// Traffic grows by a twentieth each day, after weeks in which it did not; incidents.
    Growth,
    /// It triples on Wednesday at ten and stays so; incidents.
    Launch,
    /// Weekends have three times the traffic of weekdays; incidents.
    Weekend,
    /// Nothing is known of the past; bursts and incidents.
    Unknown,
}

impl Scenario {
    pub const ALL: [Self; 6] = [
        Self::Busy,
        Self::Calm,
        Self::Growth,
        Self::Launch,
        Self::Weekend,
        Self::Unknown,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Busy => "bursts and incidents",
            Self::Calm => "neither",
            Self::Growth => "growth by 5 % a day",
            Self::Launch => "traffic triples",
            Self::Weekend => "busy weekends",
            Self::Unknown => "no history",
        }
    }

    /// Those of the first seed were written down; others are drawn.
    fn incidents(self, days: u64, seed: u64) -> Vec<(u64, u64, &'static str)> {
        if self == Self::Calm {
            return Vec::new();
        }
        let at = |day: u64, hour: u64, minutes: u64, service| {
            let start = day * DAY + hour * 60 * MINUTE;
            (start, start + minutes * MINUTE, service)
        };
        let mut all = vec![
            at(1, 10, 40, "payment"),
            at(2, 21, 60, "catalog"),
            at(4, 14, 30, "payment"),
            at(5, 3, 90, "cart"),
        ];
        if seed > 1 {
            let mut rng = StdRng::seed_from_u64(seed);
            for own in &mut all {
                let service = ["payment", "catalog", "cart"][rng.random_range(0..3)];
                let (day, hour) = (rng.random_range(0..7), rng.random_range(0..24));
                *own = at(day, hour, rng.random_range(15..120), service);
            }
        }
        all.into_iter().filter(|own| own.1 < days * DAY).collect()
    }

    fn shape(self, is_past: bool) -> LoadShape {
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
        let bursts = match self {
            _ if is_past => Vec::new(),
            Self::Busy | Self::Unknown => vec![
                burst(19, 2, 3.0),
                burst(24 * 3 + 9, 3, 2.5),
                burst(24 * 6 + 12, 1, 4.0),
            ],
            Self::Growth => (1..7).map(|day| burst(24 * day, 24 * 7, 1.05)).collect(),
            Self::Launch => vec![burst(24 * 2 + 10, 24 * 7, 3.0)],
            Self::Calm | Self::Weekend => Vec::new(),
        };
        LoadShape {
            daily: daily.collect(),
            weekly: match self {
                Self::Weekend => vec![0.6, 0.6, 0.6, 0.6, 0.8, 1.8, 1.8],
                _ => vec![1.0, 1.05, 1.1, 1.05, 1.0, 0.6, 0.55],
            },
            bursts,
        }
    }

    fn model(self, incidents: &[(u64, u64, &'static str)]) -> Model {
        let mut model = shop::model();
        model.shape = self.shape(false);
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
        for (from, to, service) in incidents.iter().copied() {
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
}

fn digest(spans: &[(Arc<Reporter>, Span)], roots: &mut Vec<(String, String)>) -> Digest {
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
    pub fn new(scenario: Scenario, days: u64, seed: u64) -> Self {
        let incidents = scenario.incidents(days, seed);
        let plan = Arc::new(Plan::new(&scenario.model(&incidents)));
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
        let calm = scenario.shape(true);
        let mut rng = StdRng::seed_from_u64(seed);
        let first = (START - HISTORY_DAYS * DAY) / (60 * MINUTE);
        let history = (first..START / (60 * MINUTE)).map(|hour| {
            let secs = hour as f64 * 3_600.0 + 1_800.0;
            // The scatter of a sum of many visits, with a little more from day to day.
            let scatter = 1.0 + 0.03 * (rng.random::<f64>() + rng.random::<f64>() - 1.0) * 2.45;
            let visits = per_minute * 60.0 * calm.factor(secs, 0.0) * scatter;
            (u32::try_from(hour).unwrap(), visits * entries)
        });
        let weekly = calm.weekly.iter().sum::<f64>() / 7.0;
        Self {
            days,
            history: if scenario == Scenario::Unknown {
                Vec::new()
            } else {
                history.collect()
            },
            spans_per_day: per_minute * 1_440.0 * weekly * spans,
            incidents: incidents
                .into_iter()
                .map(|(from, to, service)| (START + from, START + to, service))
                .collect(),
            roots,
            digests,
        }
    }

    pub fn budget(&self) -> f64 {
        BUDGET_SHARE * self.spans_per_day
    }

    /// Services whose verdict is fail.
    pub fn failing(&self, now: u64) -> Vec<&'static str> {
        let own = self.incidents.iter();
        let noticed = own.filter(|(from, to, _)| (from + NOTICED..to + 2 * NOTICED).contains(&now));
        noticed.map(|own| own.2).collect()
    }
}
