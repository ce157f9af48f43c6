//! Personal data and secrets: files through `scrub`, and what a running server keeps and shows.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use slo_copilot::clock::Clock;

use crate::support::grpc::accepted;
use crate::support::process::{Process, run, stderr};
use crate::support::spans::{attribute, named_span, request};
use crate::support::{eventually, gzip};

fn scrub(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = crate::support::process::command(&["scrub"]);
    command.current_dir(dir).args(arguments).output().unwrap()
}

fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap()
}

/// A span as OTLP/JSON, and as it is to be afterwards.
fn traces(email: &str, card: &Value) -> Value {
    json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
        "scopeSpans": [{"spans": [{
            "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": "pay", "kind": 2,
            "startTimeUnixNano": "1764088142000000000", "endTimeUnixNano": "1764088142100000000",
            "attributes": [
                {"key": "user.email", "value": {"stringValue": email}},
                {"key": "card.number", "value": card},
                {"key": "amount", "value": {"intValue": "4111111111111111"}},
            ],
        }]}],
    }]})
}

#[test]
fn a_trace_file_loses_what_is_personal_and_can_still_be_analyzed() {
    let dir = tempfile::tempdir().unwrap();
    let before = traces("alice", &json!({"intValue": "4111111111111111"}));
    std::fs::write(dir.path().join("traces.json"), before.to_string()).unwrap();
    let output = scrub(
        dir.path(),
        &["traces.json", "-o", "clean.json", "--report", "found.json"],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let after: Value = serde_json::from_str(&read(dir.path(), "clean.json")).unwrap();
    assert_eq!(after, traces("[EMAIL]", &json!({"stringValue": "[CARD]"})));
    assert_eq!(read(dir.path(), "traces.json"), before.to_string());

    let found: Value = serde_json::from_str(&read(dir.path(), "found.json")).unwrap();
    assert_eq!(found["total"], 2);
    let card =
        json!({"kind": "card", "action": "redact", "count": 1, "fields": {"card.number": 1}});
    assert_eq!(found["findings"][0], card);
    assert!(!found.to_string().contains("alice"));

    let clean = dir.path().join("clean.json").display().to_string();
    let output = run(&["analyze", &clean]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_check_writes_nothing_and_fails_only_if_something_is_found() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.log"), "from a@b.example\n").unwrap();
    std::fs::write(dir.path().join("b.log"), "from nobody\n").unwrap();
    let code = |arguments: &[&str]| scrub(dir.path(), arguments).status.code();
    assert_eq!(code(&["--check", "b.log"]), Some(0));
    assert_eq!(code(&["--check", "a.log", "b.log"]), Some(1));
    let keeps = ["--check", "a.log", "--set", "pii.actions.email=keep"];
    assert_eq!(code(&keeps), Some(0));
    assert_eq!(read(dir.path(), "a.log"), "from a@b.example\n");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn files_are_replaced_only_in_place_and_stay_packed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.log.gz"), gzip(b"from a@b.example\n")).unwrap();
    let output = scrub(dir.path(), &["a.log.gz", "--in-place"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let packed = std::fs::read(dir.path().join("a.log.gz")).unwrap();
    assert_eq!(packed[..2], [0x1f, 0x8b]);
    let output = scrub(dir.path(), &["--check", "a.log.gz"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn several_files_go_to_a_directory_and_one_to_standard_output() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.log", "b.log"] {
        std::fs::write(dir.path().join(name), "at 8.8.8.8\n").unwrap();
    }
    let output = scrub(dir.path(), &["a.log"]);
    assert_eq!(output.stdout, b"at [IP_ADDRESS]\n");
    let output = scrub(dir.path(), &["*.log"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("-o DIR"), "{}", stderr(&output));
    let output = scrub(dir.path(), &["*.log", "-o", "."]);
    assert!(
        stderr(&output).contains("is an input"),
        "{}",
        stderr(&output)
    );
    assert!(scrub(dir.path(), &["*.log", "-o", "out"]).status.success());
    assert_eq!(read(dir.path(), "out/b.log"), "at [IP_ADDRESS]\n");
}

#[test]
fn settings_that_cannot_work_name_their_key() {
    let dir = tempfile::tempdir().unwrap();
    let output = scrub(dir.path(), &["x", "--set", "pii.actions.email=hash"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("pii.hash_key"),
        "{}",
        stderr(&output)
    );
}

#[tokio::test]
async fn a_running_server_neither_shows_nor_keeps_what_is_personal() {
    let process = Process::serve(&["evaluator.interval=100ms", "trace_buffer.quiet=100ms"]).await;
    let mut span = named_span(0, "GET /people/12345678Z".to_owned(), Clock::system().now());
    span.attributes.push(attribute("user.email", "alice"));
    span.attributes.push(attribute("note", "call +14155552671"));
    accepted(&mut process.client().await, &request("shop", vec![span])).await;

    let id = eventually("a trace that is over", async || {
        let listed = process.json("/api/v1/traces").await;
        listed["traces"][0]["trace_id"].as_str().map(str::to_owned)
    })
    .await;
    let trace = process
        .json(&format!("/api/v1/traces/{id}"))
        .await
        .to_string();
    for marker in ["GET /people/[NATIONAL_ID]", "[EMAIL]", "call [PHONE]"] {
        assert!(trace.contains(marker), "{marker}: {trace}");
    }
    let page = process.fresh_page().await;
    let operation = [("operation", "GET /people/[NATIONAL_ID]")];
    assert_eq!(page.count("slo_copilot_requests_total", &operation), 1);
    let found = |kind| {
        page.count(
            "slo_copilot_pii_findings_total",
            &[("kind", kind), ("action", "redact")],
        )
    };
    // In the name of the operation, and in that of the span.
    assert_eq!(
        (
            found("national_id"),
            found("email"),
            found("phone"),
            found("iban")
        ),
        (2, 1, 1, 0)
    );
    let report = process.json("/api/v1/report").await.to_string();
    for value in ["12345678Z", "alice", "4155552671"] {
        assert!(!trace.contains(value) && !report.contains(value), "{value}");
    }
}
