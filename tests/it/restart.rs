//! What a server still knows after it was stopped and started again.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use slo_copilot::clock::Clock;
use slo_copilot::config::{Config, ObjectiveConfig, SliKind};
use slo_copilot::model::UnixNanos;
use slo_copilot::model::candidate::CandidateState;
use slo_copilot::model::period::{CalendarPeriod, Period};
use slo_copilot::model::report::ServiceReport;
use slo_copilot::model::series::{SeriesKey, ServiceKey};
use slo_copilot::model::slo::{Budgeting, CompositeMember, EmptySlices, ObjectiveSource};
use slo_copilot::model::window::Window;
use slo_copilot::store::Store;
use tempfile::TempDir;

use crate::support::grpc::accepted;
use crate::support::server::{Server, availability, objective, service_of};
use crate::support::spans::{DAY, MINUTE, NOW, failed_spans, request, spans};

/// Days with traffic, today the last one.
const DAYS: u64 = 29;

/// The service of the traffic.
const SERVICE: &str = "checkout";

/// Half of the good requests are slower than this.
const THRESHOLD: Duration = Duration::from_millis(30);

fn adjust(config: &mut Config) {
    config.objectives.list = vec![
        availability(SERVICE, 0.9),
        ObjectiveConfig {
            name: "latency-checkout".to_owned(),
            sli: SliKind::Latency,
            threshold: Some(THRESHOLD),
            ..availability(SERVICE, 0.5)
        },
    ];
}

/// Four weeks of traffic: each day 20 quick requests, 20 slow ones and one that fails.
async fn send_the_past(server: &Server) {
    let mut client = server.client().await;
    for day in 0..DAYS {
        let end = NOW - MINUTE - day * DAY;
        let mut batch = spans(40, end);
        for slow in &mut batch[..20] {
            slow.start_time_unix_nano -= 1_000_000_000;
        }
        batch.extend(failed_spans(1, end));
        accepted(&mut client, &request(SERVICE, batch)).await;
    }
}

async fn start_again(dir: Arc<TempDir>) -> Server {
    Server::start_in(dir, Clock::manual(NOW), adjust).await
}

#[tokio::test]
async fn windows_counters_and_budgets_come_back() {
    let server = Server::start(adjust).await;
    send_the_past(&server).await;
    let page = server.fresh_page().await;
    let (before, dir) = server.stop().await;
    let service = service_of(&before, SERVICE).unwrap();
    assert_eq!(
        service.windows.last().unwrap().sums.observed_total,
        DAYS * 41
    );

    let server = start_again(dir).await;
    let after = server.fresh_report().await;
    let restored = service_of(&after, SERVICE).unwrap();
    assert_eq!(restored.windows, service.windows);
    assert_eq!(restored.operations, service.operations);
    let p95 = |report: &ServiceReport| {
        let latency = report.latency.iter().find(|held| held.window == Window::D1);
        latency.unwrap().p95
    };
    assert!((p95(restored) / p95(service) - 1.0).abs() < 0.05);
    assert_eq!(after.baseline_evaluations, before.baseline_evaluations);
    for name in ["availability-checkout", "latency-checkout"] {
        let measured = objective(&after, name);
        assert!(measured.budget.remaining_ratio.is_some(), "{measured:?}");
        assert!(measured.bad_events > 0.0, "{measured:?}");
    }
    // Prometheus must not see a counter go back.
    let restored = server.fresh_page().await;
    for outcome in ["ok", "error"] {
        assert_eq!(
            restored.outcome(SERVICE, outcome),
            page.outcome(SERVICE, outcome)
        );
    }
    server.stop().await;
}

/// A calendar month of events, and two members of a composite that count slices of five minutes.
fn adjust_budgets(config: &mut Config) {
    let month = CalendarPeriod {
        duration: "1M".parse().unwrap(),
        start_time: "2026-01-01 00:00:00".parse().unwrap(),
        time_zone: "Europe/Berlin".to_owned(),
    };
    let member = |name: &str, slice_target| ObjectiveConfig {
        name: name.to_owned(),
        budgeting: Budgeting::Timeslices {
            slice_target,
            slice: "5m".parse().unwrap(),
            empty: EmptySlices::Good,
        },
        composite: Some(CompositeMember {
            name: "shop".to_owned(),
            weight: 1.0,
        }),
        ..availability(SERVICE, 0.99)
    };
    config.objectives.list = vec![
        ObjectiveConfig {
            window: Period::Calendar(month),
            ..availability(SERVICE, 0.99)
        },
        member("lenient", 0.2),
        member("strict", 0.9),
    ];
}

#[tokio::test]
async fn slices_composites_and_calendar_months_come_back() {
    let server = Server::start(adjust_budgets).await;
    let mut client = server.client().await;
    // One request, so that no evaluation comes between its parts: a month ago, and three slices of this month.
    let mut past = spans(5, NOW - 25 * DAY);
    past.extend(spans(10, NOW - 2 * DAY));
    past.extend(failed_spans(10, NOW - 2 * DAY));
    past.extend(failed_spans(10, NOW - DAY));
    past.extend(spans(10, NOW - 10 * MINUTE));
    accepted(&mut client, &request(SERVICE, past)).await;
    let before = server.fresh_report().await;

    let month = &objective(&before, "availability-checkout").budget;
    assert!((month.total - 40.0).abs() < 1e-9 && (month.bad - 20.0).abs() < 1e-9);
    assert!(month.projected_remaining_ratio > month.remaining_ratio);
    let start = month.period_start.unwrap().to_string();
    assert_eq!(start, "2026-08-31T22:00:00Z");
    // Every slice from the first event's to that five minutes ago.
    let slice = |at: UnixNanos| (at / (5 * MINUTE)) as f64;
    let expected = slice(NOW - 5 * MINUTE) - slice(NOW - 25 * DAY);
    for (name, bad) in [("lenient", 1.0), ("strict", 2.0)] {
        let measured = objective(&before, name);
        assert!(
            (measured.budget.total - expected).abs() < 1e-9,
            "{measured:?}"
        );
        assert!((measured.budget.bad - bad).abs() < 1e-9, "{measured:?}");
        let with_events = expected - measured.slices.unwrap().empty as f64;
        assert!((with_events - 4.0).abs() < 1e-9, "{measured:?}");
    }
    let [shop] = &before.composites[..] else {
        panic!("one composite: {:?}", before.composites);
    };
    assert!((shop.budget.bad - 2.0).abs() < 1e-9, "{shop:?}");

    let (before, dir) = server.stop().await;
    let server = Server::start_in(dir, Clock::manual(NOW), adjust_budgets).await;
    let after = server.fresh_report().await;
    assert_eq!(after.baseline_evaluations, before.baseline_evaluations);
    assert_eq!(after.composites, before.composites);
    server.stop().await;
}

#[tokio::test]
async fn traffic_after_a_restart_adds_to_what_was_there() {
    let server = Server::start(adjust).await;
    let mut client = server.client().await;
    accepted(&mut client, &request(SERVICE, spans(30, NOW - 10_000))).await;
    let (_, mut dir) = server.stop().await;
    // Twice within the same open minute, which is written by each of them.
    for starts in 1..=2 {
        let server = start_again(dir).await;
        let mut client = server.client().await;
        accepted(&mut client, &request(SERVICE, spans(30, NOW - 10_000))).await;
        let page = server.fresh_page().await;
        assert_eq!(page.requests(SERVICE), 30 + 30 * starts);
        let report = server.fresh_report().await;
        let service = service_of(&report, SERVICE).unwrap();
        for window in &service.windows {
            assert_eq!(window.sums.observed_total, 30 + 30 * starts, "{window:?}");
        }
        let measured = objective(&report, "availability-checkout");
        assert!((measured.budget.total - 30.0 - 30.0 * starts as f64).abs() < 1e-6);
        (_, dir) = server.stop().await;
    }
}

#[tokio::test]
async fn decisions_of_people_come_back() {
    let without_objectives = |_: &mut Config| ();
    let server = Server::start(without_objectives).await;
    send_the_past(&server).await;
    server.service.refresh_candidates().await.unwrap();
    for decision in [
        "availability-checkout:accept",
        "latency-p95-checkout:reject",
    ] {
        let (status, answer) = server.post(&format!("/api/v1/candidates/{decision}")).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    let (before, dir) = server.stop().await;

    let server = Server::start_in(dir, Clock::manual(NOW), without_objectives).await;
    server.service.refresh_candidates().await.unwrap();
    let after = server.fresh_report().await;
    assert_eq!(after.baseline_evaluations, before.baseline_evaluations);
    let adopted = &objective(&after, "availability-checkout").objective;
    assert_eq!(adopted.source, ObjectiveSource::Accepted);
    let mut candidates = after.slo_candidates.iter();
    let rejected = candidates.find(|held| held.name == "latency-p95-checkout");
    assert_eq!(rejected.unwrap().state, CandidateState::Rejected);
    server.stop().await;
}

#[tokio::test]
async fn a_restart_without_traffic_leaves_history_and_ledger_as_they_are() {
    let kept = |dir: &TempDir| {
        let config = slo_copilot::store::Config {
            dir: dir.path().join("data"),
            ..slo_copilot::store::Config::default()
        };
        let store = Store::open(config).unwrap();
        let series = SeriesKey::service(ServiceKey::named(SERVICE)).id();
        let mut config = Config::default();
        adjust(&mut config);
        let ledgers = config.objectives().into_iter().map(|objective| {
            let mut ledgers = store.ledgers(&objective.account()).unwrap();
            let (of, days) = ledgers.remove(0);
            assert_eq!((of, ledgers.len()), (series, 0));
            days
        });
        let ledgers: Vec<_> = ledgers.collect();
        (store.minutes(series, 0).unwrap(), ledgers)
    };
    let server = Server::start(adjust).await;
    send_the_past(&server).await;
    let (_, dir) = server.stop().await;
    let before = kept(&dir);
    assert_eq!(before.0.len() as u64, DAYS);
    for (ledger, events) in before.1.iter().zip([41, 40]) {
        let today = ledger.last().unwrap();
        assert_eq!(today.sums.observed_total, events, "{today:?}");
    }
    let (_, dir) = start_again(dir).await.stop().await;
    assert_eq!(kept(&dir), before);
}
