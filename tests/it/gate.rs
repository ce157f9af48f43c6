//! `gate` as a pipeline runs it: exit codes, what decides, and the forms of its answer.

use std::fs;
use std::io::Write;
use std::process::Output;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::process::{command, stderr};
use crate::support::schema::assert_described;
use crate::support::traces::{Requests, write};

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sample_trace.json");

/// Good and bad traces of one service, and a configuration with an objective of it.
struct Files {
    dir: TempDir,
    good: String,
    bad: String,
    config: String,
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let requests = |failing| Requests {
            service: "shop",
            count: 3_000,
            failing,
            duration_millis: 20,
        };
        let good = write(dir.path(), "good.jsonl", &[requests(0)]);
        let bad = write(dir.path(), "bad.jsonl", &[requests(5)]);
        let config = dir.path().join("config.yaml");
        let list = "{name: shop-availability, service: shop, sli: availability, target: 0.99}";
        fs::write(&config, format!("objectives: {{list: [{list}]}}")).unwrap();
        let config = config.to_str().unwrap().to_owned();
        Self {
            dir,
            good,
            bad,
            config,
        }
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn gate(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output: Output = command(&["gate"]).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    (output.status.code(), text, stderr(&output))
}

#[track_caller]
fn assert_code(arguments: &[&str], code: i32) {
    let (got, text, said) = gate(arguments);
    assert_eq!(got, Some(code), "{arguments:?}\n{text}\n{said}");
}

#[test]
fn the_exit_code_follows_the_objectives() {
    let files = Files::new();
    assert_code(&["--trace", &files.good, "-c", &files.config], 0);
    assert_code(&["--trace", &files.bad, "-c", &files.config], 1);
    let nobody = files.write(
        "other.yaml",
        "objectives: {list: [{name: a, service: nobody, sli: availability, target: 0.99}]}",
    );
    assert_code(&["--trace", &files.good, "-c", &nobody], 3);
    assert_code(&["--trace", "nothing.jsonl"], 2);
    assert_code(&[], 2);
}

#[test]
fn without_objectives_the_baseline_is_the_yardstick() {
    let files = Files::new();
    assert_code(&["--trace", &files.good, "--baseline", &files.good], 0);
    assert_code(&["--trace", &files.bad, "--baseline", &files.good], 1);
    let slow = write(
        files.dir.path(),
        "slow.jsonl",
        &[Requests {
            service: "shop",
            count: 3_000,
            failing: 0,
            duration_millis: 400,
        }],
    );
    assert_code(&["--trace", &slow, "--baseline", &files.good], 1);
}

#[test]
fn the_sample_fails_by_the_service_whose_only_request_failed() {
    let (code, text, said) = gate(&["--trace", SAMPLE]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        text.contains("payment-service") && !text.contains("fail: checkout"),
        "{text}"
    );
    assert!(said.contains("same traces"), "{said}");
}

#[test]
fn each_part_decides_only_where_it_is_asked_to() {
    let files = Files::new();
    let (bad, config) = (files.bad.as_str(), files.config.as_str());
    for (part, code) in [("any", 1), ("baseline", 1), ("guardrail", 1), ("tests", 3)] {
        assert_code(&["--trace", bad, "-c", config, "--fail-on", part], code);
    }
    let deny = files.write(
        "deny.rego",
        "package release\n\ndeny contains \"never on a Friday\" if true\n",
    );
    let good = [
        "--trace",
        &files.good,
        "-c",
        config,
        "--policy",
        &deny,
        "--fail-on",
    ];
    for (part, code) in [("any", 1), ("baseline", 0), ("guardrail", 1)] {
        let arguments = [&good[..], &[part]].concat();
        assert_code(&arguments, code);
    }
    let (_, text, said) = gate(&[&good[..], &["any"]].concat());
    assert!(text.contains("never on a Friday"), "{text}");
    assert!(said.contains("decided by guardrail"), "{said}");
}

#[test]
fn a_policy_that_cannot_be_read_is_named_with_code_2() {
    let files = Files::new();
    let broken = files.write("broken.cel", "verdict ==");
    let other = files.write("policy.lua", "return true");
    for path in [broken.as_str(), &other, "no/such.cel"] {
        let (code, _, said) = gate(&["--trace", &files.good, "--policy", path]);
        assert_eq!(code, Some(2), "{path}: {said}");
        assert!(said.contains(path), "{said}");
    }
}

#[test]
fn a_policy_in_cel_sees_verdict_and_objectives() {
    let files = Files::new();
    let source = "input.verdict.verdict == 'pass' && input.objectives['shop-availability'].budget.remaining_ratio > 0.5";
    let policy = files.write("strict.cel", source);
    let config = files.config.as_str();
    assert_code(
        &["--trace", &files.good, "-c", config, "--policy", &policy],
        0,
    );
    assert_code(
        &[
            "--trace",
            &files.bad,
            "-c",
            config,
            "--policy",
            &policy,
            "--fail-on",
            "guardrail",
        ],
        1,
    );
}

#[test]
fn every_format_says_the_same() {
    let files = Files::new();
    let arguments = |format| {
        [
            "--trace",
            files.bad.as_str(),
            "-c",
            &files.config,
            "--format",
            format,
        ]
    };
    let (_, json, _) = gate(&arguments("json"));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["verdict"], &json["ok"]),
        (&"fail".into(), &false.into())
    );
    assert_eq!(json["reasons"][0]["name"], "shop-availability");
    assert_eq!(json["parts"][0]["part"], "baseline");

    let (_, junit, _) = gate(&arguments("junit"));
    assert!(
        junit.contains("<testcase name=\"shop-availability\""),
        "{junit}"
    );
    assert!(junit.contains("<failure"), "{junit}");

    let (_, sarif, _) = gate(&arguments("sarif"));
    let sarif: Value = serde_json::from_str(&sarif).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    assert_eq!(sarif["runs"][0]["results"][0]["level"], "error");

    let summary = files.dir.path().join("summary.md");
    let output = command(&["gate"])
        .args(arguments("github"))
        .env("GITHUB_STEP_SUMMARY", &summary)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("::error "), "{text}");
    assert!(
        fs::read_to_string(summary)
            .unwrap()
            .contains("shop-availability")
    );
}

#[test]
fn the_report_can_be_kept_beside_the_answer() {
    let files = Files::new();
    let path = files.dir.path().join("report.json");
    assert_code(
        &[
            "--trace",
            &files.good,
            "-c",
            &files.config,
            "--report",
            path.to_str().unwrap(),
        ],
        0,
    );
    let report: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert_described("report", &report);
    assert_eq!(report["input"]["judged_against"], "objectives");
    let snippets = report["policy_snippets"].as_object().unwrap();
    assert!(
        snippets
            .keys()
            .any(|name| name.starts_with("shop-availability"))
    );
}

#[test]
fn a_file_that_is_cut_off_does_not_pass_and_still_fails() {
    let files = Files::new();
    let cut = |path: &str| {
        let text = fs::read_to_string(path).unwrap();
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        packer.write_all(text.as_bytes()).unwrap();
        let mut packed = packer.finish().unwrap();
        assert!(packed.len() > 1_000 && text.len() > packed.len());
        packed.truncate(packed.len() * 9 / 10);
        let path = format!("{path}.gz");
        fs::write(&path, packed).unwrap();
        path
    };
    let (good, bad) = (cut(&files.good), cut(&files.bad));
    let unpacked = files.dir.path().join("half.jsonl");
    let text = fs::read_to_string(&files.good).unwrap();
    fs::write(&unpacked, text.split_at(text.len() - 20).0).unwrap();
    for good in [&*good, unpacked.to_str().unwrap()] {
        let (code, _, said) = gate(&["--trace", good, "-c", &files.config]);
        assert_eq!(code, Some(3), "{good}: {said}");
        assert!(said.contains("cut off"), "{said}");
    }
    assert_code(&["--trace", &bad, "-c", &files.config], 1);
}

#[test]
fn a_gate_without_an_event_says_what_is_missing_of_the_traces() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.jsonl");
    fs::write(&empty, "").unwrap();
    let (code, text, _) = gate(&["--trace", empty.to_str().unwrap()]);
    assert_eq!(code, Some(3), "{text}");
    assert!(
        text.contains("the traces hold no event to judge") && !text.contains("accept a candidate"),
        "{text}"
    );
}

#[test]
fn whatever_keeps_a_gate_from_deciding_is_no_failure_of_the_release() {
    let files = Files::new();
    let (good, config) = (files.good.as_str(), files.config.as_str());
    assert_code(&["--trace", good, "--storage-dir", "/no/such/store"], 2);
    assert_code(
        &[
            "--trace",
            good,
            "-c",
            config,
            "--report",
            &format!("{good}/no-directory"),
        ],
        2,
    );
    assert_code(&["--trace", "-", "--baseline", "-"], 2);
}

#[test]
fn a_directory_may_hold_other_files_and_a_broken_clock_changes_nothing() {
    let files = Files::new();
    let dir = files.dir.path().join("traces");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("label.json"), "{\"fault\": \"none\"}").unwrap();
    let mut text = fs::read_to_string(&files.good).unwrap();
    let last = text
        .lines()
        .last()
        .unwrap()
        .replace("\"endTimeUnixNano\":\"17", "\"endTimeUnixNano\":\"97");
    text.push_str(&last);
    fs::write(dir.join("traces.jsonl"), text).unwrap();
    let (code, _, said) = gate(&["--trace", dir.to_str().unwrap(), "-c", &files.config]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("label.json") && said.contains("broken clock"),
        "{said}"
    );
}
