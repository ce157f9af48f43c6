//! `loadgen` as people run it: files that are written fast and always the same, models that are learnt, OTLP over HTTP.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::process::{command, stderr};
use crate::support::server::Server;

/// Payment fails in at most one of a hundred requests.
const OBJECTIVE: &str = "
apiVersion: openslo/v1
kind: Service
metadata: {name: payment}
spec: {}
---
apiVersion: openslo/v1
kind: SLO
metadata:
  name: payment-works
  annotations: {slo-copilot.dev/service: payment, slo-copilot.dev/sli: availability}
spec:
  service: payment
  indicator:
    metadata: {name: payment-works}
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {type: Prometheus, spec: {query: sum(good)}}}
        total: {metricSource: {type: Prometheus, spec: {query: sum(total)}}}
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{targetPercent: 99}]
";

fn loadgen(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = command(&["loadgen"]).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    (output.status.code(), text, stderr(&output))
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

/// Writes ten minutes of a shop with little to do.
fn write(folder: &Path, name: &str, more: &[&str]) -> String {
    let file = path(folder, name);
    let mut arguments = vec![
        "--output",
        &file,
        "--from",
        "2026-03-02T00:00:00Z",
        "--for",
        "10m",
        "--scale",
        "0.02",
    ];
    arguments.extend(more);
    let (code, _, said) = loadgen(&arguments);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("traces and") && said.contains("MiB of memory"),
        "{said}"
    );
    file
}

#[test]
fn a_file_of_traffic_is_the_same_for_the_same_seed_and_analyze_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let first = write(folder.path(), "a.jsonl", &[]);
    assert_eq!(
        fs::read(&first).unwrap(),
        fs::read(write(folder.path(), "b.jsonl", &[])).unwrap()
    );
    let other = write(folder.path(), "c.jsonl", &["--seed", "2"]);
    assert_ne!(fs::read(&first).unwrap(), fs::read(other).unwrap());
    let faults = path(folder.path(), "faults.yaml");
    let fault = "faults: [{at: 5m, target: {service: payment}, fault: {error: 1}}]";
    fs::write(&faults, fault).unwrap();
    let more = ["--faults", &faults, "--service-version", "payment=6.0.0"];
    let faulty = write(folder.path(), "d.pb.zst", &more);
    let output = command(&["analyze", &faulty]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |service: &str| {
        let services = report["services"].as_array().unwrap();
        let found = services
            .iter()
            .find(|own| own["service"]["name"] == service);
        found
            .unwrap_or_else(|| panic!("no {service}: {report}"))
            .clone()
    };
    let text = of("payment").to_string();
    assert!(text.contains("6.0.0"), "{text}");
    let cases = report["fault_cases"]["results"].as_array().unwrap();
    let names: Vec<&str> = cases
        .iter()
        .filter_map(|own| own["case"]["name"].as_str())
        .collect();
    assert_eq!(names.len(), 6 * 4);
    assert_eq!(
        names[..4],
        ["baseline", "latency-spike", "error-burst", "partial-outage"]
    );
    let burst = &cases[2]["case"];
    assert_eq!(
        (&burst["error_rate_delta"], &burst["latency_multiplier"]),
        (&0.05.into(), &1.0.into())
    );
}

#[test]
fn a_model_is_learnt_from_files_and_makes_traffic_again() {
    let folder = tempfile::tempdir().unwrap();
    let traces = write(folder.path(), "traces.jsonl.gz", &[]);
    let model = path(folder.path(), "model.yaml");
    let (code, _, said) = loadgen(&["--learn", &traces, "-o", &model]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("learnt 6 services and"), "{said}");
    let again = path(folder.path(), "again.jsonl");
    let (code, _, said) = loadgen(&["--model", &model, "--output", &again, "--for", "10m"]);
    assert_eq!(code, Some(0), "{said}");
    let lines = |file: &str| {
        fs::read_to_string(file)
            .unwrap()
            .matches("\"spanId\"")
            .count()
    };
    assert!(lines(&again) > 1_000, "{}", lines(&again));
}

#[test]
fn fault_cases_say_who_notices_and_the_exit_code_what_was_expected() {
    let folder = tempfile::tempdir().unwrap();
    let traces = write(folder.path(), "traces.pb", &[]);
    let cases = path(folder.path(), "cases.yaml");
    let objectives = path(folder.path(), "slo.yaml");
    fs::write(&objectives, OBJECTIVE).unwrap();
    for (expect, fault, wanted) in [
        ("page within 30m", "{error: 0.3}", 0),
        ("stays green", "{error: 0.3}", 1),
        ("page within 30m", "{latency: +1ms}", 1),
        ("stays green", "{}", 0),
    ] {
        let case = format!(
            "cases: [{{name: c, target: {{service: payment}}, fault: {fault}, expect: {expect}}}]"
        );
        fs::write(&cases, case).unwrap();
        let arguments = [
            "test",
            "--faults",
            &cases,
            "--trace",
            &traces,
            "--objectives",
            &objectives,
            "--format",
            "json",
        ];
        let output = command(&arguments).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(wanted),
            "{expect} {fault}: {}",
            stderr(&output)
        );
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["results"][0]["expectation"]["met"], wanted == 0);
    }
    fs::write(
        &cases,
        "cases: [{name: c, target: {service: nobody}, fault: {error: 1}, expect: stays green}]",
    )
    .unwrap();
    let output = command(&[
        "test", "--faults", &cases, "--trace", &traces, "--format", "junit",
    ])
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
}

#[test]
fn nothing_is_learnt_from_files_without_traces() {
    let folder = tempfile::tempdir().unwrap();
    let empty = path(folder.path(), "empty.jsonl");
    fs::write(&empty, "").unwrap();
    let (code, text, said) = loadgen(&["--learn", &empty]);
    assert_eq!((code, &*text), (Some(2), ""), "{said}");
    assert!(
        said.contains("nothing can be learnt from 0 traces"),
        "{said}"
    );
}

#[test]
fn arguments_that_do_not_fit_are_refused_with_what_would() {
    for (arguments, said) in [
        (&["--output", "traces.txt"][..], ".jsonl"),
        (
            &["--model", "/nowhere.yaml", "--output", "t.jsonl"],
            "cannot read the traffic model /nowhere.yaml",
        ),
        (
            &[
                "--output",
                "/tmp/never-written.jsonl",
                "--service-version",
                "till=1",
            ],
            "no such service; there are cart",
        ),
    ] {
        let (code, _, text) = loadgen(arguments);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(said), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_goes_over_http_too_and_a_model_keeps_to_its_own_rates() {
    let server = Server::start(|_| ()).await;
    let http = format!("http://{}", server.endpoints.otlp_http);
    let grpc = format!("http://{}", server.endpoints.otlp_grpc);
    let run = |arguments: Vec<String>| {
        tokio::task::spawn_blocking(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            loadgen(&arguments)
        })
    };
    for (protocol, endpoint) in [("http", &http), ("http-json", &http), ("grpc", &grpc)] {
        let more = "--spans 600 --rate max --profile shop --report --compression gzip";
        let text = format!("--protocol {protocol} --endpoint {endpoint} {more}");
        let arguments = text.split(' ').map(str::to_owned).collect();
        let (code, text, said) = run(arguments).await.unwrap();
        assert_eq!(code, Some(0), "{protocol}: {said}");
        let report: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(report["accepted_spans"], 600, "{protocol}");
        assert!(report["answer_latency_ms_p50"].as_f64().unwrap() > 0.0);
    }
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/traffic/shop.yaml");
    let text = format!("--model {model} --endpoint {grpc} --duration 1s --report");
    let (code, text, said) = run(text.split(' ').map(str::to_owned).collect())
        .await
        .unwrap();
    assert_eq!(code, Some(0), "{said}");
    let report: Value = serde_json::from_str(&text).unwrap();
    // 25 visits a second of some six spans each.
    let spans = report["accepted_spans"].as_u64().unwrap();
    assert!((30..400).contains(&spans), "{spans}");
    server.stop().await;
}
