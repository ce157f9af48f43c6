//! `analyze` as a user runs it: the report on standard output, a summary on standard error.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::process::{command, run, stderr};
use crate::support::schema::{assert_described, assert_needed};
use crate::support::server::read_json;
use crate::support::traces::{Requests, write};

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sample_trace.json");

fn report(arguments: &[&str]) -> (Value, String) {
    let output = command(&["analyze"]).args(arguments).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report = serde_json::from_slice(&output.stdout).unwrap();
    assert_described("report", &report);
    (report, said)
}

fn verdicts(report: &Value) -> BTreeMap<&str, &str> {
    let of = |verdict: &'_ Value| verdict["service"]["name"].as_str().is_some();
    let all = report["verdicts"].as_array().unwrap().iter();
    all.filter(|verdict| of(verdict))
        .map(|verdict| {
            (
                verdict["service"]["name"].as_str().unwrap(),
                verdict["verdict"].as_str().unwrap(),
            )
        })
        .collect()
}

#[test]
fn the_sample_shows_the_service_in_trouble_and_fails_nobody_for_want_of_data() {
    let (report, said) = report(&["--trace", SAMPLE]);
    let expected = BTreeMap::from([
        ("catalog-service", "inconclusive"),
        ("checkout-service", "inconclusive"),
        ("inventory-service", "inconclusive"),
        ("payment-service", "fail"),
    ]);
    assert_eq!(verdicts(&report), expected);
    assert!(said.contains("payment-service"), "{said}");
    assert!(said.contains("1 of 1 events failed"), "{said}");
}

#[test]
fn the_report_has_the_keys_that_were_promised() {
    let (report, _) = report(&[SAMPLE]);
    for key in [
        "slo_candidates",
        "baseline_evaluations",
        "test_results",
        "coverage",
        "telemetry_recommendation",
        "rca",
        "policy_snippets",
        "integrations",
        "schema_version",
        "generated_at",
    ] {
        assert!(report.get(key).is_some(), "{key}");
    }
    let texts = [
        "schema_version",
        "generated_at",
        "slo_candidates",
        "verdict",
        "input",
    ];
    assert_needed("report", &report, "", &texts);
    for (key, reason) in [
        ("test_results", "trace-tests"),
        ("rca", "t-rag"),
        ("telemetry_recommendation", "caat"),
        ("coverage", "ebpf-bot"),
    ] {
        assert!(report[key].is_null(), "{key}");
        assert!(!report["integrations"][reason].as_str().unwrap().is_empty());
    }
}

#[test]
fn each_service_is_judged_by_its_own_events() {
    let dir = tempfile::tempdir().unwrap();
    let good = Requests {
        service: "good",
        count: 2_000,
        failing: 0,
        duration_millis: 20,
    };
    let bad = Requests {
        service: "bad",
        count: 500,
        failing: 4,
        duration_millis: 900,
    };
    let path = write(dir.path(), "traces.jsonl", &[good, bad]);
    let (report, _) = report(&[&path]);
    assert_eq!(verdicts(&report)["bad"], "fail");
    assert_eq!(verdicts(&report)["good"], "inconclusive");
    let candidates = report["slo_candidates"].as_array().unwrap();
    let named = |name: &str| candidates.iter().find(|own| own["name"] == name).unwrap();
    assert_eq!(named("availability-good")["evidence"]["measured"], 1.0);
    assert_eq!(named("availability-bad")["state"], "rejected");
    let threshold = |name: &str| named(name)["sli"]["threshold_micros"].as_u64().unwrap();
    assert!(threshold("latency-p95-good") < 100_000);
    assert!(threshold("latency-p95-bad") >= 900_000);
}

#[test]
fn coverage_is_the_share_of_the_expected_signals_that_were_seen() {
    let arguments = [
        SAMPLE,
        "--expected-signal",
        "GET /checkout",
        "--expected-signal",
        "probe_a",
        "--expected-signal",
        "elsewhere",
        "--expected-signal",
        "probe_b",
        "--observed-signal",
        "elsewhere",
    ];
    let (with, said) = report(&arguments);
    assert_eq!(with["coverage"]["coverage_ratio"], 0.5);
    assert_eq!(with["coverage"]["next_probe"], "probe_a");
    assert!(said.contains("2 of 4 expected signals"), "{said}");
    let (without, _) = report(&[&arguments[..], &["--disable-ebpf"]].concat());
    assert!(without["coverage"].is_null());
    let reason = without["integrations"]["ebpf-bot"].as_str().unwrap();
    assert!(reason.contains("--disable-ebpf"), "{reason}");
}

#[test]
fn what_cannot_be_read_is_named_with_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let garbage = dir.path().join("garbage.bin");
    std::fs::write(&garbage, [0_u8; 512]).unwrap();
    let garbage = garbage.to_str().unwrap();
    for (arguments, word) in [
        (vec!["analyze"], "trace file"),
        (vec!["analyze", "no/such/file.json"], "no/such/file.json"),
        (vec!["analyze", garbage], garbage),
        (
            vec!["analyze", SAMPLE, "--objectives", "none.yaml"],
            "none.yaml",
        ),
        (vec!["analyze", SAMPLE, "-c", "none.yaml"], "none.yaml"),
    ] {
        let output = run(&arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(word),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn a_broken_line_is_named_and_the_rest_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let requests = Requests {
        service: "s",
        count: 10,
        failing: 0,
        duration_millis: 5,
    };
    let path = write(dir.path(), "traces.jsonl", &[requests]);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.insert(
        4,
        "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"traceId\"",
    );
    std::fs::write(&path, lines.join("\n")).unwrap();
    let (report, said) = report(&[&path]);
    assert_eq!(report["input"]["events"], 10);
    assert_eq!(report["input"]["files"][0]["unreadable_records"], 1);
    assert!(said.contains(&format!("{path}:5")), "{said}");
}

#[test]
fn exports_hold_the_suggestions_and_are_read_back_as_objectives() {
    let dir = tempfile::tempdir().unwrap();
    let requests = Requests {
        service: "shop",
        count: 3_000,
        failing: 0,
        duration_millis: 20,
    };
    let traces = write(dir.path(), "traces.jsonl", &[requests]);
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (json, bundle, yaml) = (file("slos.json"), file("bundle.json"), file("slos.yaml"));
    let (_, said) = report(&[
        &traces,
        "--export-json",
        &json,
        "--export-openslo",
        &bundle,
        "--export-openslo-yaml",
        &yaml,
        "--validate-openslo",
    ]);
    assert!(said.contains("valid OpenSLO"), "{said}");
    let exported: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let slo = &exported["slos"][0];
    assert_eq!(slo["name"], "availability-shop");
    assert_eq!(slo["target"]["metric"], "availability");
    assert_described("slo_export", &exported);
    assert_needed(
        "slo_export",
        &exported,
        "",
        &["schema_version", "generated_at", "slos"],
    );
    assert_needed(
        "slo_export",
        &exported,
        "/slos/0",
        &["name", "target", "state", "missing"],
    );
    let documents = read_json(bundle.as_ref());
    assert_described("openslo_bundle", &documents);
    assert_needed(
        "openslo_bundle",
        &documents,
        "/0",
        &["apiVersion", "kind", "metadata", "spec"],
    );
    assert_needed(
        "openslo_bundle",
        &documents,
        "/1/spec",
        &["service", "timeWindow", "objectives"],
    );
    for path in [&bundle, &yaml] {
        let output = run(&["validate", path]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
}
