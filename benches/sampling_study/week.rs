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
