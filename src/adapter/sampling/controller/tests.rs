//! How rates follow a budget, minute by minute.

use super::*;

const MINUTE: u64 = 60 * NANOS_PER_SEC;
const START: u64 = 20_000 * DAY_NANOS;

fn demand(operation: &str, traces: f64) -> Demand {
    Demand {
        name: ("shop".into(), operation.into()),
        stratum: Stratum {
            traces,
            spans_per_trace: 10.0,
            error_ratio: 0.01,
            log_sd: 0.5,
            kept_anyway: 0.0,
        },
        is_incident: false,
    }
}

/// A hundred thousand spans a day and more each minute than the last one, of which `budget` may be kept.
struct Replay {
    controller: Controller,
    now: UnixNanos,
    budget: f64,
}

impl Replay {
    fn new(budget: f64) -> Self {
        let config = Config {
            min_traces_per_operation: 1.0,
            ..Config::default()
        };
        Self {
            controller: Controller::new(&config),
            now: START,
            budget,
        }
    }

    fn minute(&mut self, demands: &[Demand]) -> Step {
        let minutes = 1.0 / 1_440.0;
        let kept = self.controller.kept_spans(demands) * minutes / self.budget;
        let per_day: f64 = demands.iter().map(|own| own.stratum.kept_spans(1.0)).sum();
        self.now += MINUTE;
        let offered = per_day * minutes / self.budget;
        self.controller.spend(self.now, kept, offered);
        let outlook = |from: u64, to: u64| per_day * (to - from) as f64 / DAY_NANOS as f64;
        self.controller
            .step(self.now, demands, self.budget, outlook)
    }

    fn ratio(&self, operation: &str) -> f64 {
        self.controller.plan().ratio("shop", operation)
    }
}

#[test]
fn rates_fall_in_bounded_steps_to_what_the_budget_allows() {
    let demands = [demand("a", 10_000.0)];
    let mut replay = Replay::new(10_000.0);
    let step = replay.minute(&demands);
    assert_eq!(step.action, SamplingAction::DecreaseSampling);
    assert!((replay.ratio("a") - 0.5).abs() < 1e-12);
    replay.minute(&demands);
    assert!((replay.ratio("a") - 0.25).abs() < 1e-12);
    for _ in 0..30 {
        replay.minute(&demands);
    }
    let step = replay.minute(&demands);
    assert!(
        (0.09..0.1).contains(&replay.ratio("a")),
        "{}",
        replay.ratio("a")
    );
    assert_eq!(step.action, SamplingAction::MaintainSampling);
}

#[test]
fn a_day_spends_its_budget_and_so_does_the_next_one() {
    let demands = [demand("a", 10_000.0), demand("b", 300.0)];
    let mut replay = Replay::new(10_000.0);
    for _ in 0..1_439 {
        replay.minute(&demands);
    }
    let (spent, debt) = replay.controller.spent();
    assert!((0.95..1.05).contains(&spent), "{spent}");
    assert!(debt.abs() < 1e-12);
    for _ in 0..1_440 {
        replay.minute(&demands);
    }
    let (spent, _) = replay.controller.spent();
    assert!((0.95..1.05).contains(&spent), "{spent}");
}

/// Two operations with five budgets a day each.
fn two(is_incident: bool) -> [Demand; 2] {
    let mut demands = [demand("a", 10_000.0), demand("b", 10_000.0)];
    demands[1].is_incident = is_incident;
    demands
}

impl Replay {
    fn run(&mut self, minutes: u64, demands: &[Demand]) {
        for _ in 0..minutes {
            self.minute(demands);
        }
    }
}

#[test]
fn an_incident_is_sampled_in_full_at_once_and_the_rest_of_the_day_pays() {
    let mut replay = Replay::new(20_000.0);
    replay.run(120, &two(false));
    let before = replay.ratio("a");
    let step = replay.minute(&two(true));
    assert_eq!(step.action, SamplingAction::IncreaseSampling);
    assert!((replay.ratio("b") - 1.0).abs() < 1e-12);
    replay.run(60, &two(true));
    assert!((replay.ratio("b") - 1.0).abs() < 1e-12);
    replay.run(60, &two(false));
    let after = replay.ratio("a");
    assert!(
        (0.5 * before..0.9 * before).contains(&after),
        "{after} {before}"
    );
    replay.run(1_440 - 242, &two(false));
    let (spent, debt) = replay.controller.spent();
    assert!(
        (0.95..1.02).contains(&spent) && debt.abs() < 1e-12,
        "{spent}"
    );
}

/// Half of what is left is for the incident, half for the rest of the day.
#[test]
fn a_long_incident_gets_what_the_budget_allows_and_no_more() {
    let mut replay = Replay::new(20_000.0);
    replay.run(480, &two(false));
    let before = replay.ratio("a");
    replay.minute(&two(true));
    let mut lowest = f64::INFINITY;
    for _ in 482..1_440 {
        replay.minute(&two(true));
        lowest = lowest.min(replay.ratio("a"));
        assert!(replay.ratio("b") > 0.95 * replay.ratio("a"));
    }
    assert!(replay.ratio("b") < 0.5, "{}", replay.ratio("b"));
    assert!(lowest > 0.2 * before, "{lowest} {before}");
    let (spent, _) = replay.controller.spent();
    assert!((0.95..1.12).contains(&spent), "{spent}");
}

#[test]
fn what_a_late_incident_takes_beyond_its_day_is_bounded_and_paid_back() {
    let mut replay = Replay::new(20_000.0);
    replay.run(1_380, &two(false));
    replay.run(59, &two(true));
    let (first, _) = replay.controller.spent();
    assert!((1.03..1.12).contains(&first), "{first}");
    replay.run(1_440, &two(false));
    let (second, debt) = replay.controller.spent();
    assert!((debt - (first - 1.0)).abs() < 0.01, "{debt} {first}");
    assert!((second - (1.0 - debt)).abs() < 0.02, "{second} {debt}");
    replay.run(1_440, &two(false));
    let (third, debt) = replay.controller.spent();
    assert!((third - 1.0).abs() < 0.02 && debt < 0.02, "{third} {debt}");
}

#[test]
fn an_incident_that_may_take_nothing_is_sampled_as_before() {
    let mut replay = Replay::new(20_000.0);
    replay.controller.config.incident_share = 0.0;
    replay.controller.config.incident_overdraft = 0.0;
    replay.run(120, &two(false));
    let before = replay.ratio("b");
    replay.run(60, &two(true));
    assert!((replay.ratio("b") / before - 1.0).abs() < 0.15, "{before}");
}

#[test]
fn more_is_kept_again_when_traffic_goes_but_only_step_by_step() {
    let mut replay = Replay::new(10_000.0);
    for _ in 0..120 {
        replay.minute(&[demand("a", 10_000.0)]);
    }
    let low = replay.ratio("a");
    let step = replay.minute(&[demand("a", 500.0)]);
    assert_eq!(step.action, SamplingAction::IncreaseSampling);
    assert!((replay.ratio("a") / low - 1.5).abs() < 0.01);
    for _ in 0..20 {
        replay.minute(&[demand("a", 500.0)]);
    }
    assert!((replay.ratio("a") - 1.0).abs() < 1e-12);
}

#[test]
fn without_knowledge_rates_drift_to_full() {
    let demands = [demand("a", 10_000.0)];
    let mut replay = Replay::new(10_000.0);
    for _ in 0..60 {
        replay.minute(&demands);
    }
    let mut last = replay.ratio("a");
    for _ in 0..7 {
        replay.controller.drift(replay.now, &demands);
        assert!(replay.ratio("a") > last || (last - 1.0).abs() < 1e-12);
        last = replay.ratio("a");
    }
    assert!((last - 1.0).abs() < 1e-12, "{last}");
}

#[test]
fn a_plan_is_a_new_one_only_if_it_says_something_new() {
    let demands = [demand("a", 10_000.0), demand("b", 10_000.0)];
    let mut replay = Replay::new(1e9);
    replay.minute(&demands);
    let revision = replay.controller.plan().revision;
    let first = Arc::clone(replay.controller.plan());
    replay.minute(&demands);
    assert!(Arc::ptr_eq(&first, replay.controller.plan()));
    assert_eq!((first.services.len(), revision), (1, 1));
    assert!((first.ratio("shop", "a") - 1.0).abs() < 1e-12);
    // Operations that are not listed are sampled as those of their service are on average.
    let mut tight = Replay::new(10_000.0);
    for _ in 0..60 {
        tight.minute(&demands);
    }
    let plan = tight.controller.plan();
    let mean = f64::midpoint(plan.ratio("shop", "a"), plan.ratio("shop", "b"));
    assert!((plan.ratio("shop", "new") / mean - 1.0).abs() < 0.05);
}

#[test]
fn ratios_have_three_digits() {
    for (ratio, wanted) in [
        (0.123_456, 0.123),
        (0.000_987_6, 0.000_988),
        (1.0, 1.0),
        (0.15, 0.15),
    ] {
        assert!((significant(ratio) - wanted).abs() < 1e-15, "{ratio}");
    }
}
