//! `rca` as people run it: traffic of the shop before and during a fault → the service that caused it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::process::{command, stderr};

/// Writes ten minutes of the shop's traffic, with a fault of payment or without.
fn traffic(folder: &Path, name: &str, seed: &str, fault: Option<&str>) -> String {
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let file = path(name);
    let mut arguments = vec!["loadgen", "--output", &file, "--seed", seed];
    arguments.extend(["--from", "2026-03-02T00:00:00Z", "--for", "10m"]);
    arguments.extend(["--scale", "0.02"]);
    let faults = path("faults.yaml");
    if let Some(fault) = fault {
        let text =
            format!("faults: [{{at: 0s, target: {{service: payment}}, fault: {{{fault}}}}}]");
        fs::write(&faults, text).unwrap();
        arguments.extend(["--faults", &faults]);
    }
    let output = command(&arguments).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    file
}

/// Exit code, standard output and standard error.
fn rca(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = command(&["rca"]).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    (output.status.code(), text, stderr(&output))
}

#[test]
fn the_faulty_service_is_ranked_first_whatever_is_wrong_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let before = traffic(folder.path(), "before.jsonl", "1", None);
    for (fault, signal) in [
        ("latency: +200ms", "self_time"),
        ("error: 0.4", "error_origin"),
    ] {
        let incident = traffic(folder.path(), "incident.jsonl", "2", Some(fault));
        let (code, answer, people) = rca(&["--baseline", &before, "--incident", &incident]);
        assert_eq!(code, Some(0), "{people}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["conclusion"], "found", "{fault}: {people}");
        let first = &answer["ranked"][0];
        assert_eq!(first["service"], "payment", "{fault}: {people}");
        assert_eq!(first["evidence"][0]["signal"], signal, "{answer:#}");
        assert!(first["score"].as_f64().unwrap() > 0.2, "{answer:#}");
        // Who waits for it or passes its errors on is innocent.
        assert_eq!(answer["ranked"].as_array().unwrap().len(), 1, "{people}");
        let example = first["evidence"][0]["example_trace_ids"][0]
            .as_str()
            .unwrap();
        assert!(fs::read_to_string(&incident).unwrap().contains(example));
        assert!(
            people.contains("FOUND: payment is the likeliest cause"),
            "{people}"
        );
    }
}

#[test]
fn between_two_times_of_the_healthy_shop_nothing_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let before = traffic(folder.path(), "before.jsonl", "1", None);
    let after = traffic(folder.path(), "after.jsonl.gz", "2", None);
    let arguments = ["--baseline", &before, "--incident", &after, "--format"];
    let (code, text, _) = rca(&[&arguments[..], &["text"]].concat());
    assert_eq!(code, Some(0));
    assert!(text.starts_with("NOTHING FOUND: "), "{text}");
    let (code, text, _) = rca(&[&arguments[..], &["markdown"]].concat());
    assert_eq!(code, Some(0));
    assert!(text.starts_with("**NOTHING FOUND**: "), "{text}");
}

#[test]
fn too_little_is_inconclusive_and_what_cannot_be_read_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    let before = traffic(folder.path(), "before.jsonl", "1", None);
    let arguments = ["--baseline", &before, "--incident", &before];
    let least = ["--set", "adapters.rca.min_traces=100000"];
    let (code, answer, people) = rca(&[&arguments[..], &least].concat());
    assert_eq!(code, Some(3), "{people}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["conclusion"], "inconclusive");

    let (code, _, people) = rca(&["--baseline", &before, "--incident", "no-such-file.json"]);
    assert_eq!(code, Some(2));
    assert!(people.contains("no-such-file.json"), "{people}");
    let (code, _, people) = rca(&["--baseline", &before]);
    assert_eq!(code, Some(2));
    assert!(people.contains("--incident"), "{people}");
    let wrong = ["--set", "adapters.rca.deals=2"];
    let (code, _, people) = rca(&[&arguments[..], &wrong].concat());
    assert_eq!(code, Some(2));
    assert!(people.contains("adapters.rca.deals"), "{people}");
}

#[test]
fn labelled_incidents_tell_how_good_the_ranking_is() {
    let folder = tempfile::tempdir().unwrap();
    for (case, fault) in [("slow", "latency: +200ms"), ("broken", "error: 0.4")] {
        let case = folder.path().join("cases").join(case);
        fs::create_dir_all(&case).unwrap();
        traffic(&case, "normal.jsonl", "1", None);
        traffic(&case, "abnormal.jsonl.gz", "2", Some(fault));
        let kind = fault.split(':').next().unwrap();
        let label = serde_json::json!({
            "system": "shop", "root_cause_service": "payment", "fault_kind": kind, "more": 1
        });
        fs::write(case.join("label.json"), label.to_string()).unwrap();
    }
    let cases = folder.path().join("cases");
    let cases = cases.to_str().unwrap();
    let (code, answer, people) = rca(&["evaluate", cases, "--null-deals", "3", "--json"]);
    assert_eq!(code, Some(0), "{people}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let all = &answer["accuracy"][0];
    assert_eq!(
        (&all["system"], &all["cases"], &all["ac1"]),
        (&"shop".into(), &2.into(), &1.0.into()),
        "{answer:#}"
    );
    // Both cases have the same normal traces.
    let nothing_wrong = answer["nothing_wrong"].as_array().unwrap();
    assert_eq!(nothing_wrong.len(), 1);
    assert_eq!(
        (&nothing_wrong[0]["deals"], &nothing_wrong[0]["found"]),
        (&3.into(), &0.into())
    );
    let (_, table, _) = rca(&["evaluate", cases, "--null-deals", "0"]);
    assert!(
        table.contains("latency") && table.contains("AC@1"),
        "{table}"
    );

    let (code, _, people) = rca(&["evaluate", folder.path().to_str().unwrap()]);
    assert_eq!(code, Some(2));
    assert!(people.contains("label.json"), "{people}");
}
