//! From weeks of traffic to candidates, and from candidates to objectives by a person's word.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use reqwest::StatusCode;
use serde_json::{Value, json};
use slo_copilot::model::candidate::CandidateState;
use slo_copilot::model::report::Verdict;
use slo_copilot::model::window::Window;
use slo_copilot::traffic::generate::{Faults, Trace, export_requests};
use slo_copilot::traffic::send::{Sender, Target};
use slo_copilot::traffic::shop;

use crate::support::grpc::accepted;
use crate::support::schema::assert_described;
use crate::support::server::{Server, objective, sums};
use crate::support::spans::{DAY, MINUTE, NOW, request, spans};

/// Days of the shop's past: two weeks are asked for, and the first slice may come late.
const DAYS: u64 = 16;

/// Visits a minute; in debug builds the shop makes some thousand a second.
const VISITS_PER_MINUTE: f64 = 0.25;

const FRONTEND: &str = "frontend";

const AVAILABILITY: &str = "availability-checkout";

/// A server with so little traffic that every candidate is provisional.
async fn server_with_provisional_candidates() -> Server {
    let server = Server::start(|_| ()).await;
    let mut client = server.client().await;
    accepted(&mut client, &request("checkout", spans(300, NOW - MINUTE))).await;
    server.service.refresh_candidates().await.unwrap();
    server
}

async fn accept(server: &Server, name: &str) -> (StatusCode, Value) {
    server
        .post(&format!("/api/v1/candidates/{name}:accept"))
        .await
}

async fn state_of(server: &Server, name: &str) -> Value {
    server.fresh_report().await;
    let answer = server.json("/api/v1/candidates").await;
    let mut candidates = answer["candidates"].as_array().unwrap().iter();
    let found = candidates.find(|candidate| candidate["name"] == name);
    found.unwrap_or_else(|| panic!("no candidate {name}"))["state"].clone()
}

fn entry_spans(visits: &[Trace], service: &str) -> u64 {
    let kinds = [SpanKind::Server as i32, SpanKind::Consumer as i32];
    let spans = visits.iter().flat_map(Trace::spans);
    let entries =
        spans.filter(|(from, span)| from.service == service && kinds.contains(&span.kind));
    entries.count() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn weeks_of_traffic_make_candidates_ready_and_an_accepted_one_measures_the_past() {
    let server = Server::start(|_| ()).await;
    let healthy = Faults::none();
    let mut visits = shop::generator(11);
    let visits = visits.traffic(NOW - DAYS * DAY..NOW - MINUTE, VISITS_PER_MINUTE, &healthy);
    let visits: Vec<Trace> = visits.collect();
    let frontend = entry_spans(&visits, FRONTEND);
    let requests = export_requests(visits, 500);
    let target = Target::new(format!("http://{}", server.endpoints.otlp_grpc));
    let sender = Sender::connect(&target).await.unwrap();
    let totals = sender.send_all(requests).await.unwrap();
    assert_eq!((totals.failed_requests, totals.rejected_spans), (0, 0));

    server.service.refresh_candidates().await.unwrap();
    let report = server.fresh_report().await;
    let name = format!("availability-{FRONTEND}");
    let candidate = report.slo_candidates.iter().find(|held| held.name == name);
    let candidate = candidate.unwrap();
    assert_eq!(
        candidate.state,
        CandidateState::Ready,
        "{:?}",
        candidate.missing
    );
    // Whole weeks are used: two of the sixteen days are not.
    let of_two_weeks = frontend * 14 / DAYS;
    let events = candidate.evidence.events;
    assert!(
        events.abs_diff(of_two_weeks) < frontend / 50,
        "{events} of {frontend}"
    );
    assert_eq!(candidate.evidence.sampling, "full");
    assert!(candidate.evidence.replay.is_some());
    assert_described("report", &server.json("/api/v1/report").await);
    assert!(report.baseline_evaluations.is_empty());

    let (status, answer) = accept(&server, &name).await;
    assert_eq!((status, &answer["warning"]), (StatusCode::OK, &Value::Null));
    assert_eq!(answer["objective"]["source"], "accepted");
    let report = server.fresh_report().await;
    let measured = objective(&report, &name);
    assert_eq!(measured.state, Verdict::Pass, "{}", measured.text);
    assert!((measured.objective.target - candidate.target).abs() < 1e-12);
    let service = sums(&report, FRONTEND, Window::D30);
    assert_eq!(service.observed_total, frontend);
    assert!(
        (measured.budget.total - service.total).abs() < 1e-6,
        "{measured:?}"
    );
    assert!(
        (measured.budget.bad - service.bad).abs() < 1e-6,
        "{measured:?}"
    );
    assert!(measured.budget.remaining_ratio.unwrap() > 0.0);
    assert_eq!(state_of(&server, &name).await, "adopted");
    server.stop().await;
}

#[tokio::test]
async fn a_provisional_candidate_is_accepted_with_a_warning() {
    let server = server_with_provisional_candidates().await;
    assert_eq!(state_of(&server, AVAILABILITY).await, "provisional");
    let (status, answer) = accept(&server, AVAILABILITY).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let warning = answer["warning"].as_str().unwrap();
    assert!(
        warning.contains("provisional") && warning.contains("14 days"),
        "{warning}"
    );
    let report = server.fresh_report().await;
    assert_eq!(report.verdict.verdict, Verdict::Pass);
    assert!((objective(&report, AVAILABILITY).budget.total - 300.0).abs() < 1e-6);
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_accepted_has_its_own_status() {
    let server = server_with_provisional_candidates().await;
    assert_eq!(accept(&server, AVAILABILITY).await.0, StatusCode::OK);
    for (name, expected, text) in [
        (AVAILABILITY, StatusCode::CONFLICT, "adopted already"),
        ("no-such-candidate", StatusCode::NOT_FOUND, "no candidate"),
        (
            "error-rate-checkout",
            StatusCode::UNPROCESSABLE_ENTITY,
            "availability candidate",
        ),
    ] {
        let (status, answer) = accept(&server, name).await;
        assert_eq!(status, expected, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains(text), "{answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn who_decides_and_why_is_kept_and_nonsense_is_refused() {
    let server = server_with_provisional_candidates().await;
    let url = server.admin_url(&format!("/api/v1/candidates/{AVAILABILITY}:reject"));
    let client = reqwest::Client::new();
    let post = async |body: &Value| client.post(&url).json(body).send().await.unwrap().status();
    assert_eq!(post(&json!({"who": "ada"})).await, StatusCode::BAD_REQUEST);
    let large = json!({"reason": "x".repeat(1 << 20)});
    assert_eq!(post(&large).await, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        post(&json!({"by": "ada", "reason": "too loose"})).await,
        StatusCode::OK
    );
    let record = server.json(&format!("/api/v1/store/{AVAILABILITY}")).await;
    let change = record["history"].as_array().unwrap().last().unwrap();
    assert_eq!(change["actor"], json!({"kind": "person", "name": "ada"}));
    assert_eq!(change["text"], "too loose");
    server.stop().await;
}

#[tokio::test]
async fn a_rejected_candidate_is_shown_as_such_until_a_person_accepts_it() {
    let server = server_with_provisional_candidates().await;
    let path = format!("/api/v1/candidates/{AVAILABILITY}:reject");
    let (status, answer) = server.post(&path).await;
    let expected = json!({"name": AVAILABILITY, "state": "rejected"});
    assert_eq!((status, answer), (StatusCode::OK, expected));
    server.service.refresh_candidates().await.unwrap();
    assert_eq!(state_of(&server, AVAILABILITY).await, "rejected");
    assert!(server.fresh_report().await.baseline_evaluations.is_empty());

    assert_eq!(accept(&server, AVAILABILITY).await.0, StatusCode::OK);
    assert_eq!(state_of(&server, AVAILABILITY).await, "adopted");
    assert_eq!(server.post(&path).await.0, StatusCode::CONFLICT);
    server.stop().await;
}
