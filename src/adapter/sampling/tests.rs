//! The adapter from reports and traces to its advice.

use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::adapter::sampling::fixture::{counters, report, verdict};
use crate::adapter::sampling::settings::BudgetConfig;
use crate::model::NANOS_PER_SEC;
use crate::model::recommendation::SamplingAction;
use crate::model::report::Verdict;
use crate::model::span::SpanKind;
use crate::trace::fixture::{span, trace};

const SECOND: u64 = NANOS_PER_SEC;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 1_440 * MINUTE;

/// Midnight.
const START: u64 = 20_000 * DAY;

/// A shop whose page calls the cart: three spans a visit, two of them entry spans.
struct World {
    adapter: Sampling,
    arrived: Arc<Mutex<TelemetryVolume>>,
    asked: Arc<Asked>,
    kept: Arc<Mutex<Option<u64>>>,
    visits: f64,
    now: u64,
    verdict: Verdict,
}

fn config(spans_per_day: Option<f64>) -> Config {
    Config {
        budget: BudgetConfig {
            spans_per_day,
            ..BudgetConfig::default()
        },
        ..Config::default()
    }
}

impl World {
    fn new(config: &Config, past: Vec<(u32, f64)>) -> Self {
        let arrived = Arc::new(Mutex::new(TelemetryVolume::default()));
        let volume = Arc::clone(&arrived);
        let (asked, kept) = (Arc::default(), Arc::new(Mutex::new(None)));
        let counted = Arc::clone(&kept);
        let sources = Sources {
            volume: Box::new(move || *volume.lock().unwrap()),
            past: Box::new(move || past),
            asked: Arc::clone(&asked),
            kept: Box::new(move || *counted.lock().unwrap()),
        };
        Self {
            adapter: Sampling::new(config, sources),
            arrived,
            asked,
            kept,
            visits: 0.0,
            now: START,
            verdict: Verdict::Pass,
        }
    }

    fn visit(&self) -> Arc<Trace> {
        let times = (self.now, self.now + SECOND);
        Arc::new(trace(vec![
            span("page", "", "shop", SpanKind::Server, times),
            span("call", "page", "shop", SpanKind::Client, times),
            span("get", "call", "cart", SpanKind::Server, times),
        ]))
    }

    fn report(&self) -> Report {
        let mut report = report(vec![
            verdict("shop", Verdict::Pass),
            verdict("cart", self.verdict),
        ]);
        let count = (self.visits, 0.0);
        report.service_counters = vec![counters("shop", "", count), counters("cart", "", count)];
        report.operation_counters = vec![
            counters("shop", "page", count),
            counters("cart", "get", count),
        ];
        report
    }

    /// Minutes with so many visits a second each, and a report every ten seconds.
    fn run(&mut self, minutes: u64, visits_per_second: u64) {
        for _ in 0..minutes * 6 {
            self.now += 10 * SECOND;
            let visits = 10 * visits_per_second;
            self.visits += visits as f64;
            {
                let mut arrived = self.arrived.lock().unwrap();
                arrived.spans += 3 * visits;
                arrived.bytes += 3 * visits * 400;
            }
            if let Some(kept) = &mut *self.kept.lock().unwrap() {
                *kept += 3 * visits / 5;
            }
            if visits > 0 {
                let visit = self.visit();
                self.adapter.on_traces(&[visit], self.now);
            }
            self.adapter.on_report(&self.report(), self.now);
        }
    }

    fn advice(&self) -> Advice {
        let mut advice = Advice::default();
        self.adapter.advise(&mut advice);
        advice
    }

    fn ratio(&self) -> f64 {
        self.advice().sampling.unwrap().ratio("shop", "page")
    }

    fn told(&self) -> Arc<TelemetryRecommendation> {
        self.advice().telemetry.unwrap()
    }
}

#[test]
fn without_a_budget_volumes_are_forecast_and_nothing_is_changed() {
    let mut world = World::new(&config(None), Vec::new());
    world.run(3 * 60, 10);
    let advice = world.advice();
    assert!(advice.sampling.is_none());
    let told = world.told();
    assert_eq!(told.sampling_action, SamplingAction::MaintainSampling);
    assert!(told.plan.is_none() && !told.budget_alert && told.budget_per_day.is_none());
    // 30 spans a second.
    let day = told.forecast[0].mean;
    assert!((day / 2_592_000.0 - 1.0).abs() < 0.02, "{day}");
    assert!(
        advice.states["caat"].contains("no budget is set"),
        "{advice:?}"
    );
}

#[test]
fn over_its_budget_rates_fall_to_what_the_budget_allows() {
    let mut world = World::new(&config(Some(259_200.0)), Vec::new());
    world.run(1, 10);
    assert!((world.ratio() - 0.5).abs() < 1e-9, "{}", world.ratio());
    assert_eq!(
        world.told().sampling_action,
        SamplingAction::DecreaseSampling
    );
    world.run(3 * 60, 10);
    // A tenth of 30 spans a second; 1 % is slow and kept anyway.
    let kept = world.told().kept_ratio.unwrap();
    assert!((kept - 0.1).abs() < 0.01, "{kept}");
    let told = world.told();
    assert_eq!(told.sampling_action, SamplingAction::MaintainSampling);
    assert!(told.budget_alert && told.probability_over_budget.unwrap() > 0.8);
    assert_eq!(told.plan.as_ref().unwrap().services.len(), 1);
}

#[test]
fn under_its_budget_all_is_sampled_and_no_one_is_alarmed() {
    let mut world = World::new(&config(Some(1e8)), Vec::new());
    world.run(3 * 60, 10);
    let told = world.told();
    assert!((world.ratio() - 1.0).abs() < 1e-12);
    assert_eq!(told.sampling_action, SamplingAction::MaintainSampling);
    assert!(!told.budget_alert, "{told:?}");
}

#[test]
fn an_incident_of_a_service_in_the_trace_brings_full_sampling_at_once() {
    let mut world = World::new(&config(Some(259_200.0)), Vec::new());
    world.run(60, 10);
    assert!(world.ratio() < 0.12);
    // The cart fails; the traces that touch it begin in the shop.
    world.verdict = Verdict::Fail;
    world.run(1, 10);
    assert!((world.ratio() - 1.0).abs() < 1e-12, "{}", world.ratio());
    assert!(
        world.advice().states["caat"].contains("cart"),
        "{:?}",
        world.advice()
    );
    world.run(130, 10);
    assert!(world.ratio() < 0.12, "{}", world.ratio());
}

#[test]
fn on_stale_data_rates_stay_and_then_rise_to_full() {
    let mut world = World::new(&config(Some(259_200.0)), Vec::new());
    world.run(60, 10);
    let low = world.ratio();
    world.run(6, 0);
    let held = world.ratio();
    assert!(
        world.advice().states["caat"].contains("stay"),
        "{:?}",
        world.advice()
    );
    world.run(3, 0);
    assert!(
        (world.ratio() - held).abs() < 1e-12,
        "{} {held}",
        world.ratio()
    );
    assert!(held < 3.0 * low, "{held} {low}");
    world.run(20, 0);
    assert!((world.ratio() - 1.0).abs() < 1e-12, "{}", world.ratio());
    assert!(
        world.advice().states["caat"].contains("rise"),
        "{:?}",
        world.advice()
    );
    // And back, to more than before, since the hour of silence makes less expected.
    world.run(60, 10);
    assert!(world.ratio() < 0.25, "{}", world.ratio());
}

#[test]
fn bytes_and_money_are_budgets_too() {
    // 30 spans of 400 bytes a second are 1.0368·10⁹ bytes a day.
    let bytes = Config {
        budget: BudgetConfig {
            bytes_per_day: Some(103_680_000.0),
            ..BudgetConfig::default()
        },
        ..Config::default()
    };
    let money = Config {
        budget: BudgetConfig {
            money_per_day: Some(1.0),
            price_per_million_spans: 1.0,
            // 2.592 money for the spans, and 7.408 for the bytes.
            price_per_gb: 7.408 / 1.036_8,
            ..BudgetConfig::default()
        },
        ..Config::default()
    };
    for (config, unit) in [(bytes, "bytes"), (money, "money")] {
        let mut world = World::new(&config, Vec::new());
        world.run(181, 10);
        let told = world.told();
        assert_eq!(told.unit, unit);
        assert!((told.kept_ratio.unwrap() - 0.1).abs() < 0.01, "{told:?}");
        let times = told.forecast[0].mean / told.budget_per_day.unwrap();
        assert!((times - 10.0).abs() < 0.3, "{unit} {times}");
    }
}

#[test]
fn the_past_of_the_history_is_forecast_from_the_start() {
    let first = u32::try_from(START / (3_600 * SECOND)).unwrap() - 21 * 24;
    let past = (0..21 * 24).map(|hour| {
        (
            first + hour,
            if hour % 24 < 12 { 36_000.0 } else { 72_000.0 },
        )
    });
    let mut world = World::new(&config(Some(1e9)), past.collect());
    world.run(1, 10);
    let told = world.told();
    // 36 000 and 72 000 entry spans an hour, of which each comes with 1.5 spans.
    let day = told.forecast[1].mean;
    assert!(
        (day / 1_944_000.0 - 1.0).abs() < 0.05,
        "{day} {:?}",
        told.method
    );
    assert!(told.backtest.len() > 3, "{:?}", told.backtest);
    assert_eq!(told.backtest[0].method, *told.method.as_ref().unwrap());
}

#[test]
fn no_report_for_a_long_time_is_stale_too() {
    let mut world = World::new(&config(Some(259_200.0)), Vec::new());
    world.run(60, 10);
    let low = world.ratio();
    let visit = world.visit();
    for minute in 0..30 {
        let now = world.now + minute * MINUTE;
        world.adapter.on_traces(&[Arc::clone(&visit)], now);
    }
    assert!(
        (world.ratio() - 1.0).abs() < 1e-12,
        "{} {low}",
        world.ratio()
    );
}

#[test]
fn operations_beyond_the_bound_are_said() {
    let config = Config {
        max_operations: 1,
        interval: Duration::from_secs(1),
        ..config(Some(259_200.0))
    };
    let mut world = World::new(&config, Vec::new());
    world.run(1, 10);
    let other = trace(vec![span(
        "other",
        "",
        "shop",
        SpanKind::Server,
        (START, START + 1),
    )]);
    world.adapter.on_traces(&[Arc::new(other)], world.now);
    world.run(1, 10);
    let notes = &world.told().notes;
    assert!(
        notes
            .iter()
            .any(|note| note.contains("max_operations is 1")),
        "{notes:?}"
    );
    // What is not listed is sampled as its service is.
    let plan = world.advice().sampling.unwrap();
    assert!((plan.ratio("shop", "other") - plan.ratio("shop", "page")).abs() < 1e-9);
}

/// The forwarder keeps a fifth, whatever the plan says: half of the budget would be spent by noon.
#[test]
fn what_was_counted_as_kept_is_spent_rather_than_what_was_planned() {
    let spent_by_noon = |kept: Option<u64>| {
        let mut world = World::new(&config(Some(259_200.0)), Vec::new());
        world.run(60, 10);
        *world.kept.lock().unwrap() = kept;
        world.run(120, 10);
        world.ratio()
    };
    let (planned, counted) = (spent_by_noon(None), spent_by_noon(Some(0)));
    assert!(counted < 0.95 * planned, "{counted} {planned}");
}

#[test]
fn whoever_is_called_by_a_service_that_was_asked_for_less_inherits_its_share() {
    let mut world = World::new(&config(Some(259_200.0)), Vec::new());
    world.run(2, 10);
    let plan = world.advice().sampling.unwrap();
    world
        .asked
        .answered("shop", plan.service("shop"), world.now);
    world.run(2, 10);
    let called = crate::window::event::SpanInput {
        has_parent: true,
        end: 1,
        ..Default::default()
    };
    let weight = |service: &[u8]| world.asked.service(service).unwrap().weight(&called);
    let served = plan.ratio("shop", "page");
    assert!(served < 0.3, "{served}");
    assert!((weight(b"cart") * served - 1.0).abs() < 1e-9);
}

/// An hour years ahead, as a broken clock has it, and back: neither the steps nor the account of the day stay behind.
#[test]
fn a_clock_that_jumps_ahead_and_back_does_not_stop_the_rates() {
    let mut world = World::new(&config(Some(259_200.0)), Vec::new());
    world.run(60, 10);
    let before = world.now;
    world.now += 400 * DAY;
    world.run(10, 10);
    world.now = before;
    world.run(180, 10);
    assert!((0.05..0.15).contains(&world.ratio()), "{}", world.ratio());
    // Traffic falls to a fifth, and the rates follow.
    world.run(180, 2);
    assert!(world.ratio() > 0.18, "{}", world.ratio());
}
