//! Bounds: too many operations, and events that no window holds.

use std::collections::BTreeSet;

use slo_copilot::clock::Clock;
use slo_copilot::model::report::Verdict;
use slo_copilot::model::window::Window;

use crate::support::grpc::accepted;
use crate::support::process::Process;
use crate::support::server::{Server, availability, objective, sums};
use crate::support::spans::{DAY, MINUTE, NOW, failed_span, named_span, request, span};

const REQUESTS: &str = "slo_copilot_requests_total";

/// Distinct operations of the flood.
const OPERATIONS: u64 = 5_000;

const SPANS_PER_REQUEST: u64 = 500;

/// A name that no templating shortens: letters alone, none of them hexadecimal.
fn operation_name(number: u64) -> String {
    let hexadecimal = format!("{number:04x}");
    let letters = hexadecimal.bytes().map(|digit| match digit {
        b'0'..=b'9' => digit - b'0' + b'g',
        _ => digit - b'a' + b'q',
    });
    letters.map(char::from).collect()
}

#[tokio::test]
async fn a_flood_of_operations_is_bounded_and_keeps_its_totals_with_their_outcome() {
    let names: BTreeSet<String> = (0..OPERATIONS).map(operation_name).collect();
    assert_eq!(names.len() as u64, OPERATIONS);
    let limits = [
        "windows.max_series=200",
        "windows.max_operations_per_service=100000",
    ];
    let server = Process::serve(&[limits[0], limits[1], "evaluator.interval=100ms"]).await;
    let mut client = server.client().await;
    let end = Clock::system().now();
    for first in (0..OPERATIONS).step_by(SPANS_PER_REQUEST.try_into().unwrap()) {
        let numbers = first..first + SPANS_PER_REQUEST;
        let flood = numbers.map(|number| {
            let mut span = named_span(number, operation_name(number), end);
            if number % 5 == 0 {
                span.status = failed_span(number, end).status;
            }
            span
        });
        accepted(&mut client, &request("flood", flood.collect())).await;
    }

    let page = server.fresh_page().await;
    let held = page.count("slo_copilot_series", &[]);
    assert!((100..=210).contains(&held), "{held} series");
    assert_eq!(page.count("slo_copilot_series_limit", &[]), 200);
    let demand = page.count("slo_copilot_series_demand", &[]);
    assert!(
        (OPERATIONS / 2..OPERATIONS * 2).contains(&demand),
        "{demand} wanted"
    );
    assert_eq!(page.outcome("flood", "error"), OPERATIONS / 5);
    assert_eq!(page.outcome("flood", "ok"), OPERATIONS * 4 / 5);

    let other = [("service", "flood"), ("operation", "_other")];
    let overflowed = page.count("slo_copilot_overflow_events_total", &[]);
    assert!(overflowed > OPERATIONS - held, "{overflowed}");
    assert_eq!(page.count(REQUESTS, &other), overflowed);
    let failed = [other[0], other[1], ("outcome", "error")];
    let failed = page.count(REQUESTS, &failed);
    assert!(
        (overflowed / 5 - 1..=overflowed / 5 + 1).contains(&failed),
        "{failed} of {overflowed}"
    );
}

#[tokio::test]
async fn a_flood_of_services_goes_to_the_service_other() {
    let server = Server::start(|config| config.windows.max_services = 20).await;
    let mut client = server.client().await;
    for number in 0..100 {
        let batch = vec![span(1, NOW - MINUTE), failed_span(2, NOW - MINUTE)];
        accepted(&mut client, &request(&operation_name(number), batch)).await;
    }
    let page = server.fresh_page().await;
    let total = |outcome| page.count(REQUESTS, &[("outcome", outcome)]);
    assert_eq!((total("ok"), total("error")), (100, 100));
    for outcome in ["ok", "error"] {
        let other = page.outcome("_other", outcome);
        assert!((79..=81).contains(&other), "{other} {outcome}");
    }
    assert!(server.fresh_report().await.services.len() <= 21);
    server.stop().await;
}

#[tokio::test]
async fn events_far_in_the_future_or_the_past_move_counters_and_no_window() {
    let server = Process::serve(&["evaluator.interval=100ms"]).await;
    let mut client = server.client().await;
    let now = Clock::system().now();
    let strange = vec![
        failed_span(1, now + 3_650 * DAY),
        failed_span(2, now - 365 * DAY),
    ];
    accepted(&mut client, &request("checkout", strange)).await;
    accepted(&mut client, &request("checkout", vec![span(3, now)])).await;

    let page = server.fresh_page().await;
    assert_eq!(page.outcome("checkout", "error"), 2);
    assert_eq!(page.outcome("checkout", "ok"), 1);
    let late = |reason| {
        let labels = [("transport", "grpc"), ("reason", reason)];
        page.count("slo_copilot_receiver_late_spans_total", &labels)
    };
    assert_eq!((late("future"), late("too_old"), late("held")), (1, 1, 0));
    let services = server.json("/api/v1/services").await;
    let windows = services["services"][0]["windows"].as_array().unwrap();
    assert_eq!(windows.len(), Window::ALL.len());
    for window in windows {
        assert_eq!(window["observed_total"], 1, "{window}");
        assert_eq!(window["observed_bad"], 0, "{window}");
    }
}

#[tokio::test]
async fn neither_a_replay_nor_a_broken_clock_burns_the_budget() {
    let server = Server::start(|config| {
        config.objectives.list = vec![availability("checkout", 0.99)];
    })
    .await;
    let mut client = server.client().await;
    let good = (0..200).map(|number| span(number, NOW - MINUTE)).collect();
    accepted(&mut client, &request("checkout", good)).await;
    let strange = (0..200).map(|number| {
        let age = if number % 2 == 0 { 40 } else { 365 };
        failed_span(number, NOW - age * DAY)
    });
    accepted(&mut client, &request("checkout", strange.collect())).await;
    let ahead = (0..200).map(|number| failed_span(number, NOW + 2 * MINUTE));
    accepted(&mut client, &request("checkout", ahead.collect())).await;

    let report = server.fresh_report().await;
    assert_eq!(
        report.verdict.verdict,
        Verdict::Pass,
        "{:?}",
        report.verdict
    );
    assert_eq!(sums(&report, "checkout", Window::D30).observed_bad, 0);
    assert_eq!(
        objective(&report, "availability-checkout")
            .budget
            .remaining_ratio,
        Some(1.0)
    );
    assert_eq!(server.fresh_page().await.outcome("checkout", "error"), 400);
    server.stop().await;
}
