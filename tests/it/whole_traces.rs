//! Whole traces of a running server: put together over requests and transports, shown, told, and pointed at.

use std::sync::Arc;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use reqwest::StatusCode;
use serde_json::{Value, json};
use slo_copilot::model::NANOS_PER_SEC;
use slo_copilot::model::trace::Completeness;
use slo_copilot::model::window::Window;

use crate::support::eventually;
use crate::support::grpc::accepted;
use crate::support::server::{Server, availability, sums};
use crate::support::spans::{NOW, failed_span, request, span};

/// The trace id of the spans with this number.
fn id(number: u64) -> String {
    format!("{:032x}", number + 1)
}

/// A part of the trace of `span(0, …)`, called by its root.
fn child(number: u64) -> Span {
    Span {
        trace_id: span(0, NOW).trace_id,
        parent_span_id: span(0, NOW).span_id,
        kind: SpanKind::Internal.into(),
        name: "work".to_owned(),
        attributes: Vec::new(),
        ..span(number, NOW - 1_000_000)
    }
}

/// The same as OTLP/JSON.
fn child_json(number: u64) -> Value {
    let span = child(number);
    json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "stock"}}]},
        "scopeSpans": [{"scope": {"name": "library"}, "spans": [{
            "traceId": id(0), "spanId": format!("{:016x}", number + 1), "parentSpanId": format!("{:016x}", 1),
            "name": span.name, "kind": 1,
            "startTimeUnixNano": span.start_time_unix_nano.to_string(),
            "endTimeUnixNano": span.end_time_unix_nano.to_string(),
            "events": [{"timeUnixNano": span.end_time_unix_nano.to_string(), "name": "done"}],
        }]}],
    }]})
}

async fn post(server: &Server, content_type: &str, body: Vec<u8>) {
    let request = reqwest::Client::new()
        .post(server.http_url("/v1/traces"))
        .header("content-type", content_type)
        .body(body);
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
}

/// Waits until so many traces are over; the clock goes beyond the quiet time before.
async fn traces(server: &Server, query: &str, count: usize) -> Value {
    server.clock.set(NOW + 10 * NANOS_PER_SEC);
    eventually("traces that are over", async || {
        let answer = server.json(&format!("/api/v1/traces{query}")).await;
        (answer["matched"] == count).then_some(answer)
    })
    .await
}

fn ids_of(answer: &Value) -> Vec<String> {
    let traces = answer["traces"].as_array().unwrap().iter();
    traces
        .map(|trace| trace["trace_id"].as_str().unwrap().to_owned())
        .collect()
}

/// Sends a trace in three requests, and one of a single span that failed.
async fn send(server: &Server) {
    let mut client = server.client().await;
    accepted(&mut client, &request("shop", vec![span(0, NOW)])).await;
    let body = request("cart", vec![child(5)]).encode_to_vec();
    post(server, "application/x-protobuf", body).await;
    post(
        server,
        "application/json",
        child_json(6).to_string().into_bytes(),
    )
    .await;
    accepted(&mut client, &request("shop", vec![failed_span(1, NOW)])).await;
}

#[tokio::test]
async fn kept_traces_are_found_by_what_they_say() {
    let server = Server::start(|_| {}).await;
    send(&server).await;
    traces(&server, "", 2).await;
    // The work began a millisecond before its parent, by another clock.
    for (query, wanted) in [
        ("?service=stock", vec![id(0)]),
        ("?error=true", vec![id(1)]),
        ("?operation=GET%20/orders&sort=slowest&limit=1", vec![id(0)]),
        ("?min_duration=22ms", vec![]),
        ("?min_duration=21ms&max_duration=21ms", vec![id(0)]),
        ("?complete=true&error=false", vec![id(0)]),
        ("?version=2", vec![]),
    ] {
        let answer = server.json(&format!("/api/v1/traces{query}")).await;
        assert_eq!(ids_of(&answer), wanted, "{query}");
    }
}

#[tokio::test]
async fn a_trace_comes_together_over_requests_and_can_be_sent_again() {
    let server = Server::start(|_| {}).await;
    let mut told = server.service.traces.subscribe();
    send(&server).await;
    let listed = traces(&server, "", 2).await;
    assert_eq!(listed["sampled_ratio"], 1.0);
    let mut complete = Vec::new();
    while complete.len() < 2 {
        let batch = told.recv().await.unwrap();
        complete.extend(batch.iter().map(|kept| Arc::clone(&kept.trace)));
    }
    let whole = complete
        .iter()
        .find(|trace| *trace.trace_id == *id(0))
        .unwrap();
    assert_eq!(
        (whole.spans.len(), &whole.completeness),
        (3, &Completeness::Complete)
    );
    let stock = whole
        .spans
        .iter()
        .find(|span| &*span.resource.service.name == "stock")
        .unwrap();
    assert_eq!((&*stock.scope, &*stock.events[0].name), ("library", "done"));

    let tree = reqwest::get(server.admin_url(&format!("/api/v1/traces/{}?format=tree", id(0))))
        .await
        .unwrap();
    let tree = tree.text().await.unwrap();
    assert!(
        tree.contains("GET /orders [shop server]") && tree.contains("  work [stock internal]"),
        "{tree}"
    );

    // The same shape comes in again, at another server.
    let other = Server::start(|_| {}).await;
    let shown = server.json(&format!("/api/v1/traces/{}", id(0))).await;
    post(&other, "application/json", shown.to_string().into_bytes()).await;
    let report = other.fresh_report().await;
    assert_eq!(sums(&report, "shop", Window::D30).observed_total, 1);
    traces(&other, "?complete=true", 1).await;
    assert_eq!(
        other.json(&format!("/api/v1/traces/{}", id(0))).await,
        shown
    );
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let server = Server::start(|config| config.trace_buffer.enabled = false).await;
    for (path, status, part) in [
        ("/api/v1/traces", 404, "trace_buffer.enabled is false"),
        ("/api/v1/traces?sort=fastest", 400, "newest"),
        ("/api/v1/traces?min_duration=fast", 400, "min_duration"),
        ("/api/v1/traces?colour=red", 400, "unknown field"),
    ] {
        let response = reqwest::get(server.admin_url(path)).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        let text = response.text().await.unwrap();
        assert!(text.contains(part), "{path}: {text}");
    }
    let server = Server::start(|_| {}).await;
    let response = reqwest::get(server.admin_url("/api/v1/traces/12"))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert!(
        response
            .text()
            .await
            .unwrap()
            .contains("traces are a sample")
    );
}

#[tokio::test]
async fn exemplars_of_openmetrics_can_be_looked_up() {
    let server = Server::start(|config| {
        config.objectives.list = vec![availability("shop", 0.99)];
    })
    .await;
    let spans = vec![span(0, NOW), failed_span(1, NOW)];
    accepted(&mut server.client().await, &request("shop", spans)).await;
    traces(&server, "", 2).await;
    server.fresh_report().await;
    let page = |accept: &'static str| {
        let request = reqwest::Client::new().get(server.admin_url("/metrics"));
        async move { request.header("accept", accept).send().await.unwrap() }
    };
    let text = page("text/plain;version=0.0.4").await;
    assert_eq!(
        text.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert!(!text.text().await.unwrap().contains("trace_id"));

    let openmetrics = page("application/openmetrics-text;version=1.0.0,text/plain;q=0.5").await;
    let wanted = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(openmetrics.headers()["content-type"], wanted);
    let openmetrics = openmetrics.text().await.unwrap();
    assert!(openmetrics.ends_with("\n# EOF\n") && !openmetrics.contains("\n\n"));
    for (sample, outcome, number) in [
        (
            "slo_copilot_request_duration_seconds_bucket{",
            "outcome=\"ok\"",
            0,
        ),
        (
            "slo_copilot_request_duration_seconds_bucket{",
            "outcome=\"error\"",
            1,
        ),
        ("slo_copilot_requests_total{", "outcome=\"error\"", 1),
        ("slo_copilot_slo_events_total{", "result=\"bad\"", 1),
    ] {
        let exemplar = format!(" # {{trace_id=\"{}\"}} 0.02 1790000000.000", id(number));
        let found = openmetrics.lines().filter(|line| {
            line.starts_with(sample) && line.contains(outcome) && line.ends_with(&exemplar)
        });
        assert_eq!(found.count(), 1, "{sample} {outcome}\n{openmetrics}");
        server.json(&format!("/api/v1/traces/{}", id(number))).await;
    }
}
