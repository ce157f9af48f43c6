//! The binary as a user meets it: help, mistakes, and commands that work without a configuration.

use std::fs;
use std::net::TcpListener;

use serde_json::Value;

use crate::support::process::{FREE_PORTS, Process, command, run, stderr};

/// Runs `serve` where it must not start: the exit code and what it says.
fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let output = command(&["serve"])
        .args(arguments)
        .envs(FREE_PORTS)
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(
        output.stdout.is_empty(),
        "only answers go to standard output"
    );
    (output.status.code(), stderr(&output))
}

#[track_caller]
fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let overview = run(&["--help"]);
    let overview = String::from_utf8(overview.stdout).unwrap();
    for name in [
        "serve",
        "analyze",
        "demo",
        "gate",
        "validate",
        "candidates",
        "store",
        "loadgen",
    ] {
        assert_says(&overview, &[name]);
        let output = run(&[name, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{name}");
        let example = format!("slo-copilot {name}");
        assert_says(
            &String::from_utf8(output.stdout).unwrap(),
            &["Examples:", &example],
        );
    }
}

#[test]
fn a_misspelt_command_or_flag_is_a_usage_error() {
    for arguments in [&["serv"][..], &["serve", "--sets", "a=b"], &[]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn an_unknown_key_ends_with_code_2_and_names_the_allowed_ones() {
    let (code, said) = refused(&["--set", "evaluator.intervall=5s"]);
    assert_eq!(code, Some(2), "{said}");
    assert_says(&said, &["`intervall`", "`interval`", "`recovery`"]);

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wrong.yaml");
    fs::write(&path, "windows:\n  max_serie: 5\n").unwrap();
    let path = path.to_str().unwrap();
    let (code, said) = refused(&["-c", path]);
    assert_eq!(code, Some(2), "{said}");
    assert_says(&said, &[path, "`max_serie`", "`max_series`"]);
}

#[test]
fn a_wrong_value_or_a_missing_file_ends_with_code_2_and_is_named() {
    let (code, said) = refused(&["--set", "evaluator.interval=1ms"]);
    assert_eq!(code, Some(2), "{said}");
    assert_says(&said, &["evaluator.interval", "100ms"]);
    let (code, said) = refused(&["-c", "no/such/file.yaml"]);
    assert_eq!(code, Some(2), "{said}");
    assert_says(
        &said,
        &["no/such/file.yaml", "cannot read the configuration"],
    );
}

#[test]
fn a_port_in_use_is_named_by_its_key() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for key in [
        "receivers.otlp.grpc.endpoint",
        "receivers.otlp.http.endpoint",
        "admin.endpoint",
    ] {
        let (code, said) = refused(&["--set", &format!("{key}={address}")]);
        assert_eq!(code, Some(1), "{said}");
        assert_says(&said, &[key, &address, "port 0"]);
    }
}

#[tokio::test]
async fn serve_works_without_a_configuration_and_says_when_it_is_ready() {
    let server = Process::serve(&[]).await;
    let url = |path: &str| format!("http://{}{path}", server.address("admin"));
    for path in ["/livez", "/readyz", "/", "/metrics"] {
        let response = reqwest::get(url(path)).await.unwrap();
        assert!(
            response.status().is_success(),
            "{path}: {}",
            response.status()
        );
    }
    let verdict = server.json("/api/v1/verdict").await;
    assert_eq!(verdict["verdict"], "inconclusive");
}

#[tokio::test]
async fn an_objective_of_the_configuration_is_measured_from_the_start() {
    let objective =
        "{name: quick-checkout, service: checkout, sli: latency, threshold: 300ms, target: 0.95}";
    let list = format!("objectives.list=[{objective}]");
    let server = Process::serve(&["evaluator.interval=100ms", &list]).await;
    server.fresh_page().await;
    let slos = server.json("/api/v1/slos").await;
    assert_eq!(slos["slos"][0]["objective"]["name"], "quick-checkout");
    assert_eq!(slos["slos"][0]["state"], "inconclusive");
    let verdict = server.json("/api/v1/verdict?service=checkout").await;
    assert_eq!(verdict["undecided"][0]["name"], "quick-checkout");
}

#[tokio::test]
async fn two_servers_cannot_share_a_store_and_the_second_one_says_so() {
    let server = Process::serve(&[]).await;
    let store = server.output("").join("../slo-copilot-data");
    let set = format!("storage.dir={}", store.display());
    let (code, said) = refused(&["--set", &set]);
    assert_eq!(code, Some(1), "{said}");
    assert_says(&said, &["another slo-copilot", "storage.dir"]);
}

#[tokio::test]
async fn loadgen_prints_its_report_as_json_and_the_server_counted_the_same() {
    let server = Process::serve(&["evaluator.interval=100ms"]).await;
    let endpoint = format!("http://{}", server.address("otlp_grpc"));
    let output = run(&[
        "loadgen",
        "--endpoint",
        &endpoint,
        "--rate",
        "max",
        "--spans",
        "3210",
        "--compression",
        "gzip",
        "--report",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["accepted_spans"], 3_210);
    assert_eq!(report["failed_requests"], 0);
    assert!(report["accepted_spans_per_sec"].as_f64().unwrap() > 0.0);
    let page = server.fresh_page().await;
    assert_eq!(page.count("slo_copilot_requests_total", &[]), 3_210);
}

#[test]
fn loadgen_without_a_server_fails_with_the_endpoint() {
    let output = run(&[
        "loadgen",
        "--endpoint",
        "http://127.0.0.1:9",
        "--spans",
        "1",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert_says(&stderr(&output), &["cannot connect to http://127.0.0.1:9"]);
}
