//! `test` as a pipeline runs it, in `serve`, and driving a service.

use std::fs;
use std::net::SocketAddr;
use std::process::Output;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::get;
use serde_json::{Value, json};
use slo_copilot::clock::Clock;

use crate::support::eventually;
use crate::support::process::{Process, command, stderr};
use crate::support::traces::{Requests, write};

pub(crate) const SUITE: &str = "\
type: Test
spec:
  name: the answer is quick
  for: span[service.name=\"shop\" kind=\"server\"]
  specs:
    - selector: span[kind=\"server\"]
      assertions: [\"attr:tracetest.span.duration <= 100ms\"]
";

struct Files {
    dir: tempfile::TempDir,
    suite: String,
    quick: String,
    slow: String,
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let requests = |count, duration_millis| Requests {
            service: "shop",
            count,
            failing: 0,
            duration_millis,
        };
        let quick = write(dir.path(), "quick.jsonl", &[requests(200, 20)]);
        let slow = write(dir.path(), "slow.jsonl", &[requests(200, 300)]);
        let suite = dir.path().join("suite.yaml");
        fs::write(&suite, SUITE).unwrap();
        let suite = suite.to_str().unwrap().to_owned();
        Self {
            dir,
            suite,
            quick,
            slow,
        }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }
}

fn test(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output: Output = command(&["test"]).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    (output.status.code(), text, stderr(&output))
}

#[test]
fn the_exit_code_says_how_the_tests_went() {
    let files = Files::new();
    let (code, _, said) = test(&[&files.suite, "--trace", &files.quick]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("PASS: 1 passed, 0 failed, 0 inconclusive, on 200 traces"),
        "{said}"
    );
    let (code, text, _) = test(&[&files.suite, "--trace", &files.slow]);
    assert_eq!(code, Some(1), "{text}");
    for words in [
        "FAIL  the answer is quick",
        "200 of 200 traces fail",
        "seen   300ms",
        "wanted <= 100ms",
        "> shop GET / [server] 300ms",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let other = files.path("other.yaml");
    fs::write(&other, SUITE.replace("\"shop\"", "\"nobody\"")).unwrap();
    assert_eq!(test(&[&other, "--trace", &files.quick]).0, Some(3));
    let broken = files.path("broken.yaml");
    fs::write(&broken, SUITE.replace("<= 100ms", "=< 100ms")).unwrap();
    let (code, _, said) = test(&[&broken, "--trace", &files.quick]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("broken.yaml:7:") && said.contains('^'),
        "{said}"
    );
    assert_eq!(test(&[&files.suite]).0, Some(2));
    let waits = [&files.suite, "--trace", &files.quick, "--wait", "1s"];
    assert_eq!(test(&waits).0, Some(2));
    // What is missing may be what fails.
    let half = files.path("half.jsonl");
    let text = fs::read_to_string(&files.quick).unwrap();
    fs::write(&half, text.split_at(text.len() - 20).0).unwrap();
    let (code, _, said) = test(&[&files.suite, "--trace", &half]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("cut off"), "{said}");
    assert_eq!(test(&[&files.suite, "--trace", "/nowhere"]).0, Some(2));
}

#[test]
fn every_form_of_the_answer_names_the_check_and_its_place() {
    let files = Files::new();
    let answer = |format| test(&[&files.suite, "--trace", &files.slow, "--format", format]).1;
    let json: Value = serde_json::from_str(&answer("json")).unwrap();
    assert_eq!(json["verdict"], "fail");
    assert_eq!(
        json["tests"][0]["checks"][0]["failures"][0]["observed"],
        "300ms"
    );
    let junit = answer("junit");
    assert!(
        junit.contains("<testsuite name=\"the answer is quick\" tests=\"1\""),
        "{junit}"
    );
    let sarif: Value = serde_json::from_str(&answer("sarif")).unwrap();
    let place = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(place["region"]["startLine"], 7);
    let github = answer("github");
    assert!(github.starts_with("::error file="), "{github}");
    assert!(
        github.contains(",line=7,title=trace-test-failed::"),
        "{github}"
    );
}

#[test]
fn a_suite_that_init_writes_holds_and_catches_what_is_slower() {
    let files = Files::new();
    let suite = files.path("inferred.yaml");
    let (code, _, said) = test(&["init", "--trace", &files.quick, "-o", &suite]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(test(&[&suite, "--trace", &files.quick]).0, Some(0));
    assert_eq!(test(&[&suite, "--trace", &files.slow]).0, Some(1));
    let nothing = write(
        files.dir.path(),
        "two.jsonl",
        &[Requests {
            service: "a",
            count: 2,
            failing: 0,
            duration_millis: 1,
        }],
    );
    assert_eq!(test(&["init", "--trace", &nothing]).0, Some(2));
}

#[test]
fn trace_tests_decide_a_gate() {
    let files = Files::new();
    let gate = |traces: &str| {
        let arguments = [
            "--trace",
            traces,
            "--suite",
            &files.suite,
            "--fail-on",
            "tests",
        ];
        let output = command(&["gate"]).args(arguments).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (code, text) = gate(&files.quick);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("all 1 tests pass on 200 traces"), "{text}");
    let (code, text) = gate(&files.slow);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("trace test the answer is quick: 1 of 1 checks fail"),
        "{text}"
    );
    let mut none = command(&["gate", "--trace", &files.quick, "--fail-on", "tests"]);
    assert_eq!(none.output().unwrap().status.code(), Some(3));
}

/// Reports one span of `shop`, as an SDK would, that ends now.
pub(crate) async fn report(otlp: SocketAddr, trace: &str, parent: &str, millis: u64) {
    let now = Clock::system().now();
    let start = now - millis * 1_000_000;
    let body = json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
        "scopeSpans": [{"spans": [{
            "traceId": trace, "spanId": "00000000000000bb", "parentSpanId": parent, "name": "GET /", "kind": 2,
            "startTimeUnixNano": start.to_string(), "endTimeUnixNano": now.to_string(),
        }]}]
    }]});
    let url = format!("http://{otlp}/v1/traces");
    let sent = reqwest::Client::new().post(url).json(&body).send().await;
    assert_eq!(sent.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_judges_its_traces_and_tells_it_everywhere() {
    let files = Files::new();
    let suites = format!("tests.suites=[{}]", files.suite);
    let sets = [
        suites.as_str(),
        "evaluator.interval=100ms",
        "trace_buffer.quiet=100ms",
    ];
    let process = Process::serve(&sets).await;
    let otlp = process.address("otlp_http");
    report(otlp, "0000000000000000000000000000aa01", "", 300).await;
    let verdict = eventually("a failed test", async || {
        let verdict = process.json("/api/v1/verdict").await;
        (verdict["verdict"] == "fail").then_some(verdict)
    })
    .await;
    assert_eq!(verdict["reasons"][0]["source"], "test");
    assert_eq!(
        process.json("/api/v1/verdict?service=shop").await["verdict"],
        "fail"
    );
    let tests = process.json("/api/v1/tests").await;
    assert_eq!(
        tests["tests"][0]["checks"][0]["failures"][0]["trace_id"],
        "0000000000000000000000000000aa01"
    );
    let report = process.json("/api/v1/report").await;
    assert_eq!(report["test_results"]["failed"], 1);
    let url = |path: &str| format!("http://{}{path}", process.address("admin"));
    let page = reqwest::get(url("/metrics"))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        page.contains("slo_copilot_test_verdict{") && page.contains("verdict=\"fail\"} 1"),
        "{page}"
    );
    let overview = reqwest::get(url("/")).await.unwrap().text().await.unwrap();
    assert!(overview.contains("Trace tests") && overview.contains("the answer is quick"));
    let waited = test(&[
        &files.suite,
        "--endpoint",
        &process.address("admin").to_string(),
        "--wait",
        "10s",
    ]);
    assert_eq!(waited.0, Some(1), "{}", waited.2);
}

/// An instrumented service: each request reports its span below the `traceparent` that came with it.
async fn service(process: &Process, millis: u64) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let otlp = process.address("otlp_http");
    let answer = async move |State(otlp): State<SocketAddr>, headers: HeaderMap| {
        let parent = headers["traceparent"].to_str().unwrap().to_owned();
        let parts: Vec<&str> = parent.split('-').collect();
        report(otlp, parts[1], parts[2], millis).await;
        "ok"
    };
    let app = Router::new().route("/", get(answer)).with_state(otlp);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    format!("http://{address}/")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_driven_and_its_traces_are_judged() {
    let files = Files::new();
    let process = Process::serve(&["trace_buffer.quiet=100ms"]).await;
    let driven = |url: &str| {
        let trigger = format!(
            "  trigger: {{type: http, httpRequest: {{url: '{url}'}}}}\n  complete: {{quiet: 100ms, timeout: 15s}}\n"
        );
        let suite = files.path("driven.yaml");
        fs::write(
            &suite,
            SUITE.replace("  specs:", &format!("{trigger}  specs:")),
        )
        .unwrap();
        let endpoint = process.address("admin").to_string();
        let arguments = [
            suite.as_str(),
            "--drive",
            "--endpoint",
            endpoint.as_str(),
            "--requests",
            "5",
            "--rate",
            "100",
            "--format",
            "json",
        ]
        .map(str::to_owned);
        tokio::task::spawn_blocking(move || test(&arguments.each_ref().map(String::as_str)))
    };
    for (millis, code, verdict) in [(5, 0, "pass"), (200, 1, "fail")] {
        let url = service(&process, millis).await;
        let (ended, text, said) = driven(&url).await.unwrap();
        assert_eq!(ended, Some(code), "{said}");
        let report: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&report["verdict"], &report["tests"][0]["traces"]),
            (&json!(verdict), &json!(5))
        );
    }
    let (ended, _, said) = driven("http://127.0.0.1:1/").await.unwrap();
    assert_eq!(ended, Some(2), "{said}");
    assert!(
        said.contains("no request of the answer is quick was answered"),
        "{said}"
    );
}
