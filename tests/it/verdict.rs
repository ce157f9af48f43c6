//! From traffic to verdicts, over every way that a gate may ask.

use std::time::Duration;

use serde_json::json;
use slo_copilot::api::proto::guardrail_client::GuardrailClient;
use slo_copilot::api::proto::{self, GetVerdictRequest, WatchVerdictsRequest};
use slo_copilot::model::report::{Report, Verdict, VerdictReport};
use tokio::time::timeout;
use tokio_stream::StreamExt;

use crate::support::grpc::{accepted, channel};
use crate::support::server::{Server, as_read, availability, read_json};
use crate::support::spans::{DAY, MINUTE, NOW, failed_spans, request, spans};
use crate::support::{DEADLINE, eventually};

const OBJECTIVE: &str = "availability-checkout";

async fn server_with_objective(target: f64) -> Server {
    Server::start(|config| {
        config.objectives.list = vec![availability("checkout", target)];
        config.evaluator.recovery = Duration::from_mins(5);
    })
    .await
}

fn of_service<'a>(report: &'a Report, name: &str) -> &'a VerdictReport {
    let is_named = |verdict: &&VerdictReport| {
        let service = verdict.service.as_ref();
        service.is_some_and(|service| *service.name == *name)
    };
    report.verdicts.iter().find(is_named).unwrap()
}

#[tokio::test]
async fn failing_traffic_turns_pass_into_fail_and_the_reason_names_what_burns() {
    let server = server_with_objective(0.99).await;
    let mut client = server.client().await;
    accepted(&mut client, &request("checkout", spans(200, NOW - MINUTE))).await;
    let report = server.fresh_report().await;
    assert_eq!(report.verdict.verdict, Verdict::Pass);
    assert_eq!(
        (report.verdict.ok, report.verdict.score),
        (true, Some(100.0))
    );
    assert_eq!(report.verdict.evidence.spans, 200);

    accepted(
        &mut client,
        &request("checkout", failed_spans(100, NOW - MINUTE)),
    )
    .await;
    let report = server.fresh_report().await;
    let own = of_service(&report, "checkout");
    for verdict in [&report.verdict, own] {
        assert_eq!(verdict.verdict, Verdict::Fail);
        assert_eq!((verdict.ok, verdict.score), (false, Some(0.0)));
        let reason = &verdict.reasons[0];
        assert_eq!((&*reason.source, &*reason.name), ("burn_rate", OBJECTIVE));
        assert_eq!(reason.window.as_deref(), Some("1h"));
        // A third of the events fails, where one in a hundred may.
        assert!(
            (reason.observed.unwrap() - 100.0 / 3.0).abs() < 1e-6,
            "{reason:?}"
        );
        assert!((reason.limit.unwrap() - 14.4).abs() < 1e-6, "{reason:?}");
        for word in [OBJECTIVE, "33.3", "1h", "5m", "14.4"] {
            assert!(reason.text.contains(word), "{word}: {}", reason.text);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn http_grpc_the_stream_and_the_file_say_the_same() {
    let server = server_with_objective(0.99).await;
    let mut gate = GuardrailClient::new(channel(server.endpoints.admin).await);
    let question = WatchVerdictsRequest::default();
    let mut watched = gate.watch_verdicts(question).await.unwrap().into_inner();
    let mut client = server.client().await;
    for batch in [spans(200, NOW - MINUTE), failed_spans(100, NOW - MINUTE)] {
        accepted(&mut client, &request("checkout", batch)).await;
        let report = server.fresh_report().await;
        let expected = proto::VerdictReport::from(&report.verdict);

        let json = server.json("/api/v1/verdict").await;
        assert_eq!(json, as_read(&report.verdict));
        let own = server.json("/api/v1/verdict?service=checkout").await;
        assert_eq!(own, as_read(of_service(&report, "checkout")));

        let answer = gate.get_verdict(GetVerdictRequest::default()).await;
        assert_eq!(answer.unwrap().into_inner().report, Some(expected.clone()));
        loop {
            let next = timeout(DEADLINE, watched.next()).await;
            let heard = next.unwrap().unwrap().unwrap().report;
            if heard.as_ref() == Some(&expected) {
                break;
            }
        }

        let mut file = as_read(&report.verdict);
        file["scope"] = json!("instance");
        eventually("the verdict's file", async || {
            let path = server.output("guardrail/verdict.json");
            (path.exists() && read_json(&path) == file).then_some(())
        })
        .await;
    }
    server.stop().await;
    let ended = timeout(DEADLINE, watched.next()).await.unwrap();
    assert!(ended.is_none(), "{ended:?}");
}

#[tokio::test]
async fn a_failure_is_held_until_it_has_been_better_for_the_recovery_time() {
    // Nine in ten may fail before it pages, and the past is long enough for the budget to survive.
    let server = server_with_objective(0.9).await;
    let mut client = server.client().await;
    accepted(
        &mut client,
        &request("checkout", spans(1_000, NOW - 5 * DAY)),
    )
    .await;
    accepted(
        &mut client,
        &request("checkout", failed_spans(95, NOW - MINUTE)),
    )
    .await;
    let report = server.fresh_report().await;
    assert_eq!(
        report.verdict.verdict,
        Verdict::Fail,
        "{:?}",
        report.verdict
    );

    // Eight hours later no short window holds a failure.
    let calm = NOW + 8 * 60 * MINUTE;
    server.clock.set(calm);
    let report = server.fresh_report().await;
    assert_eq!(report.baseline_evaluations[0].state, Verdict::Pass);
    assert_eq!(report.verdict.verdict, Verdict::Fail);
    let held = report.verdict.reasons.last().unwrap();
    assert_eq!(held.source, "recovery");
    assert!(held.text.contains("evaluator.recovery"), "{}", held.text);

    server.clock.set(calm + 5 * MINUTE - 1_000_000_000);
    assert_eq!(server.fresh_report().await.verdict.verdict, Verdict::Fail);
    server.clock.set(calm + 5 * MINUTE);
    let report = server.fresh_report().await;
    assert_eq!(report.verdict.verdict, Verdict::Pass);
    assert!(
        report.verdict.reasons.is_empty(),
        "{:?}",
        report.verdict.reasons
    );
    server.stop().await;
}

#[tokio::test]
async fn without_objectives_the_verdict_is_inconclusive_and_says_how_to_adopt_one() {
    let server = Server::start(|_| ()).await;
    let mut client = server.client().await;
    accepted(&mut client, &request("checkout", spans(200, NOW - MINUTE))).await;
    let verdict = server.fresh_report().await.verdict.clone();
    assert_eq!(
        (verdict.verdict, verdict.score),
        (Verdict::Inconclusive, None)
    );
    assert!(!verdict.ok);
    assert!(
        verdict.reasons[0].text.contains(":accept"),
        "{:?}",
        verdict.reasons
    );
    server.stop().await;
}

#[tokio::test]
async fn too_little_traffic_leaves_an_objective_undecided_with_what_is_needed() {
    let server = server_with_objective(0.99).await;
    let mut client = server.client().await;
    accepted(&mut client, &request("checkout", spans(99, NOW - MINUTE))).await;
    let verdict = server.fresh_report().await.verdict.clone();
    assert_eq!(verdict.verdict, Verdict::Inconclusive);
    let undecided = &verdict.undecided[0];
    assert_eq!(undecided.name, OBJECTIVE);
    assert_eq!(undecided.observed, Some(99.0));
    assert!(
        (undecided.limit.unwrap() - 100.0).abs() < 1e-6,
        "{undecided:?}"
    );

    accepted(&mut client, &request("checkout", spans(1, NOW - MINUTE))).await;
    assert_eq!(server.fresh_report().await.verdict.verdict, Verdict::Pass);
    server.stop().await;
}
