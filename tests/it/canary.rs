//! Rollouts over real OTLP: two versions side by side, what is said of them, and how it ends.

use std::sync::Arc;

use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use serde_json::Value;
use slo_copilot::clock::Clock;
use slo_copilot::model::canary::Pairing;
use slo_copilot::model::report::{Report, Verdict};
use slo_copilot::model::{NANOS_PER_SEC, UnixNanos};

use crate::support::grpc::{Client, accepted};
use crate::support::process::Process;
use crate::support::server::{Server, availability};
use crate::support::spans::{MINUTE, NOW, attribute, named_span, request_of, span};

/// One of so many requests fails.
#[derive(Clone, Copy)]
pub(crate) struct Every(pub(crate) u64);

/// Requests of one version, two a second from `from` on.
fn traffic(count: u64, from: UnixNanos, failing: Option<Every>) -> Vec<Span> {
    let at = |number: u64| from + number * NANOS_PER_SEC / 2;
    let of = |number: u64| {
        let seed = from / NANOS_PER_SEC + number;
        let span = Span {
            // Of one length they would tell nothing about latency.
            start_time_unix_nano: at(number) - (20 + seed * 7 % 13) * 1_000_000,
            ..span(seed, at(number))
        };
        match failing {
            Some(Every(step)) if number.is_multiple_of(step) => failed_by("PaymentDeclined", span),
            Some(_) | None => span,
        }
    };
    (0..count).map(of).collect()
}

fn failed_by(exception: &str, span: Span) -> Span {
    Span {
        status: Some(Status {
            code: 2,
            ..Status::default()
        }),
        events: vec![Event {
            name: "exception".to_owned(),
            attributes: vec![attribute("exception.type", exception)],
            ..Event::default()
        }],
        ..span
    }
}

fn call_of(peer: &str, span: Span) -> Span {
    let mut attributes = span.attributes.clone();
    attributes.push(attribute("server.address", peer));
    Span {
        kind: SpanKind::Client.into(),
        span_id: (0x00ff_0000_0000_0000_u64 ^ span.end_time_unix_nano)
            .to_be_bytes()
            .to_vec(),
        parent_span_id: span.span_id.clone(),
        attributes,
        ..span
    }
}

async fn send(server: &Server, version: &str, spans: Vec<Span>) {
    send_by(&mut server.client().await, version, spans).await;
}

async fn send_by(client: &mut Client, version: &str, spans: Vec<Span>) {
    let resource = [("service.name", "checkout"), ("service.version", version)];
    accepted(client, &request_of(&resource, spans)).await;
}

/// Both versions in the same ten minutes, minute by minute. The first ones tell that there are two.
pub(crate) async fn side_by_side(server: &Server, old: Option<Every>, new: Option<Every>) {
    send(server, "1.9.0", traffic(10, NOW - 11 * MINUTE, None)).await;
    send(server, "1.10.0", traffic(1, NOW - 10 * MINUTE, None)).await;
    for minute in (1..=10).rev() {
        let from = NOW - minute * MINUTE;
        send(server, "1.9.0", traffic(119, from, old)).await;
        send(server, "1.10.0", traffic(119, from, new)).await;
    }
}

async fn verdict_about(server: &Server, version: &str) -> Value {
    let path = format!("/api/v1/verdict?service=checkout&version={version}");
    server.json(&path).await
}

#[tokio::test]
async fn a_new_version_that_fails_more_fails_and_the_old_one_does_not() {
    let server = Server::start(|config| {
        config.objectives.list = vec![availability("checkout", 0.5)];
    })
    .await;
    side_by_side(&server, Some(Every(100)), Some(Every(6))).await;
    let report = server.fresh_report().await;
    let [canary] = report.canaries.as_slice() else {
        panic!("{:?}", report.canaries);
    };
    let versions = (&*canary.baseline.version, &*canary.canary.version);
    assert_eq!(versions, ("1.9.0", "1.10.0"));
    assert_eq!(canary.pairing, Pairing::Concurrent);
    assert_eq!(canary.canary.requests, 1_191);

    let new = verdict_about(&server, "1.10.0").await;
    assert_eq!(
        (&new["verdict"], &new["ok"]),
        (&"fail".into(), &false.into())
    );
    let reason = &new["reasons"][0];
    assert_eq!(
        (&reason["source"], &reason["name"]),
        (&"canary".into(), &"1.10.0".into())
    );
    let old = verdict_about(&server, "1.9.0").await;
    assert_ne!(old["verdict"], "fail", "{old}");

    // The objective holds, yet the release fails: the service and all of them together say so.
    let service = server.json("/api/v1/verdict?service=checkout").await;
    let overall = server.json("/api/v1/verdict").await;
    for verdict in [&service, &overall] {
        assert_eq!(verdict["verdict"], "fail");
        assert_eq!(verdict["reasons"][0]["source"], "canary");
    }
    let page = server.fresh_page().await;
    let labels = [
        ("service", "checkout"),
        ("version", "1.10.0"),
        ("verdict", "fail"),
    ];
    assert_eq!(page.count("slo_copilot_canary_verdict", &labels), 1);
    let overview = reqwest::get(server.admin_url("/")).await.unwrap();
    let overview = overview.text().await.unwrap();
    assert!(overview.contains("1.9.0 → 1.10.0"), "{overview}");
    server.stop().await;
}

#[tokio::test]
async fn a_canary_that_does_not_gate_is_reported_all_the_same() {
    let server = Server::start(|config| {
        config.objectives.list = vec![availability("checkout", 0.5)];
        config.evaluator.canary_gates = false;
    })
    .await;
    side_by_side(&server, None, Some(Every(5))).await;
    assert_eq!(
        server.fresh_report().await.canaries[0].verdict,
        Verdict::Fail
    );
    let service = server.json("/api/v1/verdict?service=checkout").await;
    assert_eq!(service["verdict"], "pass");
    assert_eq!(verdict_about(&server, "1.10.0").await["verdict"], "fail");
    server.stop().await;
}

#[tokio::test]
async fn two_versions_that_do_the_same_do_not_fail() {
    let server = Server::start(|_| {}).await;
    side_by_side(&server, Some(Every(50)), Some(Every(50))).await;
    let report = server.fresh_report().await;
    assert_ne!(
        report.canaries[0].verdict,
        Verdict::Fail,
        "{:?}",
        report.canaries
    );
    assert!(report.canaries[0].new_error_kinds.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn an_undecided_canary_is_listed_with_the_requests_that_it_needs() {
    let server = Server::start(|config| {
        config.objectives.list = vec![availability("checkout", 0.5)];
    })
    .await;
    send(&server, "1.9.0", traffic(100, NOW - 2 * MINUTE, None)).await;
    send(&server, "1.10.0", traffic(3, NOW - 2 * MINUTE, None)).await;
    let report = server.fresh_report().await;
    let verdict = report.service_verdicts().next().unwrap();
    assert_eq!(verdict.verdict, Verdict::Pass);
    let undecided = &verdict.undecided[0];
    assert_eq!(
        (&*undecided.source, undecided.observed),
        ("canary", Some(3.0))
    );
    server.stop().await;
}

#[tokio::test]
async fn one_version_is_no_rollout() {
    let server = Server::start(|_| {}).await;
    send(
        &server,
        "1.9.0",
        traffic(100, NOW - MINUTE, Some(Every(10))),
    )
    .await;
    assert!(server.fresh_report().await.canaries.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn a_rollback_ends_the_comparison_and_the_transitions_tell() {
    let server = Server::start(|config| {
        config.objectives.list = vec![availability("checkout", 0.5)];
        config.evaluator.recovery = std::time::Duration::ZERO;
    })
    .await;
    side_by_side(&server, None, Some(Every(5))).await;
    assert_eq!(server.fresh_report().await.verdict.verdict, Verdict::Fail);
    // The old version alone goes on for longer than rollouts.silent_after.
    for minute in 0..32 {
        server.clock.set(NOW + (minute + 1) * MINUTE);
        send(&server, "1.9.0", traffic(20, NOW + minute * MINUTE, None)).await;
    }
    let report = server.fresh_report().await;
    assert!(report.canaries.is_empty(), "{:?}", report.canaries);
    assert_eq!(report.verdict.verdict, Verdict::Pass);
    let transitions = server.json("/api/v1/transitions").await;
    let canary: Vec<(&str, &str)> = transitions["transitions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["subject"] == "checkout@1.10.0")
        .map(|one| (one["from"].as_str().unwrap(), one["to"].as_str().unwrap()))
        .collect();
    assert!(canary.contains(&("fail", "ended")), "{transitions}");
    // When the version that failed comes back, it is compared anew.
    send(&server, "1.10.0", traffic(30, NOW + 32 * MINUTE, None)).await;
    let report = server.fresh_report().await;
    assert_eq!(report.canaries[0].canary.version, "1.10.0");
    assert_eq!(report.canaries[0].canary.requests, 30);
    server.stop().await;
}

#[tokio::test]
async fn versions_that_follow_each_other_are_compared_before_and_after() {
    let server = Server::start(|_| {}).await;
    for minute in (11..=30).rev() {
        send(&server, "1.9.0", traffic(100, NOW - minute * MINUTE, None)).await;
    }
    for minute in (1..=9).rev() {
        send(
            &server,
            "1.10.0",
            traffic(100, NOW - minute * MINUTE, Some(Every(4))),
        )
        .await;
    }
    let report = server.fresh_report().await;
    let canary = &report.canaries[0];
    assert_eq!(canary.pairing, Pairing::BeforeAfter);
    assert_eq!(
        (canary.baseline.requests, canary.canary.requests),
        (2_000, 900)
    );
    assert_eq!(canary.verdict, Verdict::Fail, "{canary:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_new_way_of_failing_and_a_new_dependency_are_named() {
    let server = Server::start(|_| {}).await;
    side_by_side(&server, None, Some(Every(20))).await;
    let calls = traffic(100, NOW - MINUTE, None);
    let calls = calls
        .into_iter()
        .map(|span| call_of("ledger.shop.svc.cluster.local", span));
    send(&server, "1.10.0", calls.collect()).await;
    let report: Arc<Report> = server.fresh_report().await;
    let canary = &report.canaries[0];
    let kinds: Vec<&str> = canary
        .new_error_kinds
        .iter()
        .map(|own| &*own.kind)
        .collect();
    assert_eq!(kinds, ["PaymentDeclined"]);
    assert_eq!(canary.new_error_kinds[0].example_trace_id.len(), 32);
    let changes: Vec<&str> = canary
        .dependency_changes
        .iter()
        .map(|own| &*own.dependency)
        .collect();
    assert_eq!(changes, ["ledger"]);
    server.stop().await;
}

#[tokio::test]
async fn what_goes_over_a_bound_is_counted() {
    let server = Process::serve(&[
        "evaluator.interval=100ms",
        "rollouts.max_operations=2",
        "rollouts.max_error_kinds=1",
        "rollouts.max_dependencies=1",
        "rollouts.max_services=1",
    ])
    .await;
    let mut client = server.client().await;
    let now = Clock::system().now();
    send_by(&mut client, "1.9.0", traffic(5, now - 3 * MINUTE, None)).await;
    send_by(&mut client, "1.10.0", traffic(1, now - 3 * MINUTE, None)).await;
    let names = ["", "a", "ab", "abc", "abcd"].iter().zip(0..);
    let operations =
        names.map(|(name, number)| named_span(number, format!("work {name}"), now - MINUTE));
    send_by(&mut client, "1.10.0", operations.collect()).await;
    let kinds = ["OopsA", "OopsB", "OopsC"].iter().zip(0..);
    let failures = kinds.map(|(kind, number)| failed_by(kind, span(number, now - MINUTE)));
    send_by(&mut client, "1.10.0", failures.collect()).await;
    let calls = ["ledger", "bank", "post"].map(|peer| call_of(peer, span(7, now - MINUTE)));
    send_by(&mut client, "1.10.0", calls.to_vec()).await;
    for version in ["1", "2"] {
        let other = [("service.name", "cart"), ("service.version", version)];
        accepted(
            &mut client,
            &request_of(&other, traffic(5, now - MINUTE, None)),
        )
        .await;
    }
    let page = server.fresh_page().await;
    let refused = |bound| page.count("slo_copilot_rollouts_refused_total", &[("bound", bound)]);
    assert_eq!(refused("max_operations"), 4);
    assert_eq!(refused("max_error_kinds"), 2);
    assert_eq!(refused("max_dependencies"), 2);
    assert_eq!(refused("max_services"), 1);
    assert_eq!(page.count("slo_copilot_rollouts", &[]), 1);
}

#[tokio::test]
async fn another_attribute_may_tell_the_versions_apart() {
    let server = Server::start(|config| {
        config.sli.version_attribute = "k8s.pod.label.track".to_owned();
    })
    .await;
    let mut client = server.client().await;
    for track in ["stable", "trial"] {
        let resource = [
            ("service.name", "checkout"),
            ("service.version", "7"),
            ("k8s.pod.label.track", track),
        ];
        let from = if track == "stable" {
            NOW - 5 * MINUTE
        } else {
            NOW - 3 * MINUTE
        };
        accepted(
            &mut client,
            &request_of(&resource, traffic(300, from, None)),
        )
        .await;
    }
    let report = server.fresh_report().await;
    let canary = &report.canaries[0];
    let versions = (&*canary.baseline.version, &*canary.canary.version);
    assert_eq!(versions, ("stable", "trial"));
    server.stop().await;
}
