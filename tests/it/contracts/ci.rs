//! CI systems: the gate's command as each example has it, and what its exit code does there.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::{example_text, text};
use crate::support::traces::{Requests, write};

/// An objective of `shop` as an OpenSLO document.
const OBJECTIVES: &str = "\
apiVersion: openslo/v1
kind: SLO
metadata:
  name: availability-shop
  annotations:
    slo-copilot.dev/service: shop
    slo-copilot.dev/sli: availability
spec:
  service: shop
  indicator:
    metadata:
      name: availability-shop
    spec:
      ratioMetric:
        counter: true
        good:
          metricSource: {type: Prometheus, spec: {query: good}}
        total:
          metricSource: {type: Prometheus, spec: {query: total}}
  timeWindow:
    - duration: 30d
      isRolling: true
  budgetingMethod: Occurrences
  objectives:
    - target: 0.99
";

/// Runs a step as a runner does: a shell in the checkout, with `slo-copilot` in the path.
fn step(script: &str, (count, failing): (u64, u64)) -> (Output, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("traces")).unwrap();
    let requests = Requests {
        service: "shop",
        count,
        failing,
        duration_millis: 20,
    };
    write(&dir.path().join("traces"), "run.jsonl", &[requests]);
    std::fs::write(dir.path().join("slos.yaml"), OBJECTIVES).unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_slo-copilot"));
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("sh")
        .args(["-e", "-c", script])
        .current_dir(dir.path())
        .env(
            "PATH",
            format!("{}:{path}", binary.parent().unwrap().display()),
        )
        .env("GITHUB_STEP_SUMMARY", dir.path().join("summary.md"))
        .output()
        .unwrap();
    (output, dir)
}

const PASS: (u64, u64) = (300, 0);
const FAIL: (u64, u64) = (300, 3);
const THIN: (u64, u64) = (40, 0);

fn read(dir: &tempfile::TempDir, name: &str) -> String {
    std::fs::read_to_string(dir.path().join(name)).unwrap()
}

#[test]
fn github_fails_the_job_annotates_it_and_gets_sarif() {
    let workflow: Value = serde_saphyr::from_str(&example_text("ci/github.yml")).unwrap();
    let steps = workflow["jobs"]["gate"]["steps"].as_array().unwrap();
    let run = |name: &str| {
        let step = steps.iter().find(|step| step["name"] == name).unwrap();
        text(&step["run"]).to_owned()
    };
    for (traces, code, marker) in [(PASS, 0, ""), (FAIL, 1, "::error"), (THIN, 3, "::")] {
        let (output, dir) = step(&run("Gate"), traces);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains(marker), "{said}");
        assert!(read(&dir, "summary.md").contains("availability-shop"));
    }
    let (output, dir) = step(&run("Findings"), FAIL);
    assert!(
        output.status.success(),
        "a finding must not hide the upload"
    );
    let sarif: Value = serde_json::from_str(&read(&dir, "gate.sarif")).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    assert!(!sarif["runs"][0]["results"].as_array().unwrap().is_empty());
    let uploads = |step: &&Value| step["with"]["sarif_file"] == "gate.sarif";
    assert!(steps.iter().any(|step| uploads(&step)));
}

#[test]
fn gitlab_fails_the_pipeline_or_lets_it_pass_with_a_warning() {
    let pipeline: Value = serde_saphyr::from_str(&example_text("ci/gitlab-ci.yml")).unwrap();
    let job = &pipeline["slo-gate"];
    let allowed = job["allow_failure"]["exit_codes"].as_array().unwrap();
    for (traces, code, result) in [
        (PASS, 0, "passed"),
        (FAIL, 1, "failed"),
        (THIN, 3, "warning"),
    ] {
        let (output, dir) = step(text(&job["script"][0]), traces);
        let got = output.status.code().unwrap();
        let became = match got {
            0 => "passed",
            code if allowed.contains(&code.into()) => "warning",
            _ => "failed",
        };
        assert_eq!((got, became), (code, result), "{output:?}");
        let junit = read(&dir, text(&job["artifacts"]["reports"]["junit"]));
        assert!(
            junit.contains("<testsuites") && junit.contains("availability-shop"),
            "{junit}"
        );
        assert_eq!(junit.contains("<failure"), code == 1, "{junit}");
    }
}

#[test]
fn jenkins_knows_unstable_from_failed() {
    let pipeline = example_text("ci/Jenkinsfile");
    let script = pipeline
        .split_once("script: '")
        .unwrap()
        .1
        .split_once('\'')
        .unwrap()
        .0;
    let unstable = pipeline
        .split_once("if (code == ")
        .unwrap()
        .1
        .split_once(')')
        .unwrap()
        .0;
    assert!(pipeline.contains("else if (code != 0)"), "{pipeline}");
    let report = pipeline
        .split_once("junit '")
        .unwrap()
        .1
        .split_once('\'')
        .unwrap()
        .0;
    for (traces, wanted) in [(PASS, "stable"), (FAIL, "failed"), (THIN, "unstable")] {
        let (output, dir) = step(script, traces);
        let code = output.status.code().unwrap().to_string();
        let became = match code.as_str() {
            code if code == unstable => "unstable",
            "0" => "stable",
            _ => "failed",
        };
        assert_eq!(became, wanted, "{output:?}");
        assert!(read(&dir, report).contains("availability-shop"));
    }
}
