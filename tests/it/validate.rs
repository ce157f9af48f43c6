//! `validate` as its users call it, and `objectives.files` as `serve` reads it.

use std::fs;
use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::Value;
use slo_copilot::openslo::adopt::objectives;
use slo_copilot::openslo::read::{SourceFile, read};
use tempfile::TempDir;

use crate::support::process::{FREE_PORTS, Process, command, run, stderr};

const SLO: &str = "\
apiVersion: openslo/v1
kind: Service
metadata: {name: checkout}
spec: {}
---
apiVersion: openslo/v1
kind: SLO
metadata:
  name: checkout-quick
  annotations:
    slo-copilot.dev/service: checkout
    slo-copilot.dev/sli: latency
    slo-copilot.dev/threshold: 300ms
spec:
  service: checkout
  indicatorRef: quick
  budgetingMethod: Occurrences
  timeWindow: [{duration: 4w, isRolling: true}]
  objectives: [{target: 0.95}]
";

const SLI: &str = "\
[{\"apiVersion\": \"openslo/v1\", \"kind\": \"SLI\", \"metadata\": {\"name\": \"quick\"}, \"spec\": {\"ratioMetric\": {
  \"good\": {\"metricSource\": {\"type\": \"Prometheus\", \"spec\": {\"query\": \"good\"}}},
  \"total\": {\"metricSource\": {\"type\": \"Prometheus\", \"spec\": {\"query\": \"total\"}}}}}}]
";

/// A directory with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// Runs `validate` in a directory.
fn validate(folder: &TempDir, arguments: &[&str]) -> Output {
    command(&["validate"])
        .args(arguments)
        .current_dir(folder.path())
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn sound_files_pass_and_references_hold_between_yaml_and_json() {
    let folder = folder(&[("slos/a.yaml", SLO), ("slos/deep/sli.json", SLI)]);
    for arguments in [
        &["slos"][..],
        &["slos/**/*", "--strict"],
        &["slos/a.yaml", "slos/deep/sli.json"],
    ] {
        let output = validate(&folder, arguments);
        assert_eq!(
            stdout(&output),
            "2 files, 3 documents: no findings\n",
            "{}",
            stderr(&output)
        );
        assert_eq!(output.status.code(), Some(0));
    }
    let alone = validate(&folder, &["slos/a.yaml"]);
    assert_eq!(alone.status.code(), Some(1));
    assert!(
        stdout(&alone).contains("slos/a.yaml:16: error[reference-unresolved]"),
        "{}",
        stdout(&alone)
    );
}

#[test]
fn every_finding_is_a_line_with_its_place_and_the_counts_come_last() {
    let wrong = SLO
        .replace("duration: 4w", "duration: 0w")
        .replace("target: 0.95", "target: 95, Op: gt")
        .replace(
            "metadata: {name: checkout}",
            "metadata: {name: checkout, displayName: no}",
        );
    let folder = folder(&[
        ("a.yaml", &wrong),
        ("b.yaml", "a: [\n---\n"),
        ("sli.json", SLI),
    ]);
    let output = validate(&folder, &["."]);
    assert_eq!(output.status.code(), Some(1));
    let said = stdout(&output);
    let places: Vec<&str> = said
        .lines()
        .filter_map(|line| line.split_once("] ").map(|(place, _)| place))
        .collect();
    let wanted = [
        "./a.yaml:3: warning[ambiguous-scalar",
        "./a.yaml:18: error[duration",
        "./a.yaml:19: error[unknown-key",
        "./a.yaml:19: error[target-range",
        "./b.yaml:2: error[syntax",
    ];
    assert_eq!(places, wanted, "{said}");
    assert!(
        said.contains("did you mean `op`? ($.spec.objectives[0].Op)"),
        "{said}"
    );
    assert!(
        said.ends_with("\n\n3 files, 4 documents: 4 errors, 1 warning, 0 notes\n"),
        "{said}"
    );
}

#[test]
fn warnings_fail_only_if_they_are_told_to() {
    let folder = folder(&[
        (
            "a.yaml",
            &SLO.replace("name: checkout}", "name: checkout, displayName: no}"),
        ),
        ("sli.json", SLI),
    ]);
    assert_eq!(validate(&folder, &["."]).status.code(), Some(0));
    assert_eq!(validate(&folder, &[".", "--strict"]).status.code(), Some(1));
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_checked() {
    let folder = folder(&[
        ("a.json", SLI),
        ("b.json", "{\"a\": }"),
        ("empty/notes.txt", ""),
    ]);
    let output = validate(&folder, &["no.yaml", "empty", "*.zip", "b.json"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stderr(&output).lines().count(), 3, "{}", stderr(&output));
    for name in ["no.yaml", "empty", "*.zip"] {
        assert!(stderr(&output).contains(name));
    }
    assert!(stdout(&output).contains("b.json:1: error[syntax]"));
    assert_eq!(validate(&folder, &[]).status.code(), Some(2));
}

#[test]
fn standard_input_is_a_file_named_by_a_hyphen() {
    let mut child = command(&["validate", "-", "--format", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"apiVersion: openslo/v1alpha\n").unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let found = json(&output);
    assert_eq!(found["files"], serde_json::json!(["-"]));
    assert_eq!(
        (&found["documents"], &found["errors"]),
        (&1.into(), &1.into())
    );
    let finding = &found["findings"][0];
    assert_eq!(finding["rule"], "unsupported-version");
    let place = serde_json::json!({"file": "-", "line": 1, "document": 0, "path": "$.apiVersion"});
    assert_eq!(finding["location"], place);
}

#[test]
fn ci_systems_get_their_own_formats() {
    let folder = folder(&[("a.yaml", SLO)]);
    let sarif = json(&validate(&folder, &["a.yaml", "--format", "sarif"]));
    let run = &sarif["runs"][0];
    assert_eq!(run["results"][0]["ruleId"], "reference-unresolved");
    let location = &run["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(location["region"]["startLine"], 16);
    assert!(run["tool"]["driver"]["rules"].as_array().unwrap().len() > 40);

    let output = validate(&folder, &["a.yaml", "--format", "github"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stdout(&output);
    assert!(said.starts_with("::error "), "{said}");
    assert!(
        said.contains("file=a.yaml") && said.contains("line=16"),
        "{said}"
    );
}

#[test]
fn the_rules_are_printed_with_examples_for_programs() {
    let folder = folder(&[]);
    let table = stdout(&validate(&folder, &["--rules"]));
    let rules = json(&validate(&folder, &["--rules", "--format", "json"]));
    for rule in rules.as_array().unwrap() {
        assert!(table.contains(rule["id"].as_str().unwrap()));
        assert_ne!(rule["valid"], rule["invalid"]);
    }
    assert_eq!(
        validate(&folder, &["--rules", "--format", "sarif"])
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn what_keeps_an_slo_from_being_adopted_is_said_when_asked() {
    let folder = folder(&[("a.yaml", &SLO.replace("4w", "2d")), ("sli.json", SLI)]);
    assert_eq!(validate(&folder, &["."]).status.code(), Some(0));
    let output = validate(&folder, &[".", "--adopt"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stdout(&output).contains("a.yaml:18: error[adopt-period]"),
        "{}",
        stdout(&output)
    );
}

#[tokio::test]
async fn objectives_of_files_are_measured_from_the_start_and_written_as_they_were_read() {
    let folder = folder(&[("a.yaml", SLO), ("sli.json", SLI)]);
    let files = format!("objectives.files=[{}]", folder.path().display());
    let server = Process::serve(&["evaluator.interval=100ms", &files]).await;
    server.fresh_page().await;
    let slos = server.json("/api/v1/slos").await;
    let objective = &slos["slos"][0]["objective"];
    assert_eq!(objective["name"], "checkout-quick");
    assert_eq!(objective["window"], "4w");
    assert_eq!(objective["source"], "file");
    assert_eq!(objective["sli"]["threshold_micros"], 300_000);

    let written = server.output("openslo");
    let exported = async || written.join("checkout.yaml").exists().then_some(());
    crate::support::eventually("the exported file", exported).await;
    let output = command(&["validate", "--strict", "--adopt"])
        .arg(written.join("*.yaml"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
}

#[test]
fn a_file_with_an_error_keeps_serve_from_starting_with_all_of_them_named() {
    let wrong = SLO.replace("4w", "0w").replace("0.95", "95");
    let folder = folder(&[("a.yaml", &wrong), ("sli.json", SLI)]);
    let refused = |files: &str| {
        let output = command(&["serve", "--set", &format!("objectives.files=[{files}]")])
            .envs(FREE_PORTS)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        stderr(&output)
    };
    let said = refused(".");
    for words in [
        "objectives.files",
        "a.yaml:18: error[duration]",
        "a.yaml:19: error[target-range]",
    ] {
        assert!(said.contains(words), "`{words}` is not in: {said}");
    }
    assert!(refused("no.yaml").contains("no.yaml"));
}

#[test]
fn the_example_is_sound_and_both_of_its_objectives_are_adopted() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objectives.yaml");
    let output = run(&["validate", example, "--strict", "--adopt"]);
    assert_eq!(stdout(&output), "1 file, 3 documents: no findings\n");
    let text = fs::read_to_string(example).unwrap();
    let files = [SourceFile {
        name: example.to_owned(),
        text,
    }];
    let (objectives, _) = objectives(&read(&files).documents);
    let names: Vec<&str> = objectives.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["availability-checkout", "payments-in-time"]);
}
