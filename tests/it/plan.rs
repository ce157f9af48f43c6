//! `plan` as its users call it.

use std::fs;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::process::{command, stderr};

const SHOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/kubernetes/shop");

/// Runs `plan` in a directory, with no programs but those in its folder `bin`.
fn plan(folder: &TempDir, arguments: &[&str]) -> Output {
    command(&["plan"])
        .args(arguments)
        .current_dir(folder.path())
        .env("PATH", folder.path().join("bin"))
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_shop_is_planned_with_files_a_diff_and_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let output = plan(&folder, &[SHOP]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("10 workloads: 5 to instrument, 1 to configure, 0 already, 0 blocked"),
        "{said}"
    );
    assert!(
        said.contains("no released OpenTelemetry Operator injects anything into Ruby"),
        "{said}"
    );
    let diff = text(&output.stdout);
    assert!(diff.contains("\n+        instrumentation.opentelemetry.io/inject-java: \"observability/slo-copilot\"\n"), "{diff}");
    let removed = diff
        .lines()
        .filter(|line| line.starts_with('-') && !line.starts_with("---"));
    assert_eq!(removed.count(), 0, "{diff}");

    let directory = folder.path().join("slo-copilot-out/collector");
    let json: Value =
        serde_json::from_slice(&fs::read(directory.join("plan.json")).unwrap()).unwrap();
    for file in json["files"].as_array().unwrap() {
        let path = directory.join(file["path"].as_str().unwrap());
        assert!(path.is_file(), "{}", path.display());
    }
    assert_eq!(
        fs::read_to_string(directory.join("manifests.diff")).unwrap(),
        diff
    );

    // A later plan takes away what it does not write again.
    let patch = directory.join("patches/shop/deployment-checkout.yaml");
    assert!(patch.is_file());
    let output = plan(
        &folder,
        &[&format!("{SHOP}/stores.yaml"), "--format", "json"],
    );
    assert_eq!(
        output.status.code(),
        Some(1),
        "databases only: {}",
        stderr(&output)
    );
    assert!(!patch.exists());
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed["outcomes"]["database"], 2);
}

#[test]
fn manifests_are_read_from_standard_input_and_broken_ones_are_usage() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, wanted) in [
        (&["missing.yaml"][..], "missing.yaml"),
        (&[SHOP, "--backend", "http://tempo:4317"], "without http://"),
        (
            &[SHOP, "--mode", "sidecar", "--no-operator"],
            "--no-operator",
        ),
        (&[SHOP, "--yes"], "--apply"),
    ] {
        let output = plan(&folder, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            stderr(&output).contains(wanted),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
    fs::write(folder.path().join("broken.yaml"), "kind: [\n").unwrap();
    let output = plan(&folder, &["broken.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("broken.yaml:"),
        "{}",
        stderr(&output)
    );
}

#[cfg(unix)]
#[test]
fn commands_are_printed_and_run_only_when_that_is_meant() {
    let folder = tempfile::tempdir().unwrap();
    let output = plan(&folder, &[SHOP, "--apply"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let script = text(&output.stdout);
    let patch = "kubectl -n shop patch deployment cart --type strategic --patch-file patches/shop/deployment-cart.yaml";
    assert!(script.contains(patch), "{script}");
    assert!(stderr(&output).contains("nothing was changed"));

    let meant = [SHOP, "--apply", "--yes"];
    let output = plan(&folder, &meant);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("kubectl is not there"),
        "{}",
        stderr(&output)
    );

    // A kubectl that prints what it is asked, and fails where it is told to.
    let with_kubectl = |fails_at: &str| {
        command(&["plan"])
            .args(meant)
            .current_dir(folder.path())
            .env(
                "PATH",
                concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/bin"),
            )
            .env("KUBECTL_FAILS_AT", fails_at)
            .output()
            .unwrap()
    };
    let output = with_kubectl("frontend");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("deployment frontend"),
        "{}",
        stderr(&output)
    );
    let asked = text(&output.stdout);
    let (first, last) = (asked.lines().next().unwrap(), asked.lines().last().unwrap());
    assert!(
        first.starts_with("get crd/instrumentations.opentelemetry.io"),
        "{asked}"
    );
    assert!(
        last.contains("patch deployment frontend"),
        "nothing runs behind what failed: {asked}"
    );
    let applied = "apply --server-side --field-manager=slo-copilot -f collector.yaml";
    assert!(asked.lines().any(|line| line == applied), "{asked}");

    let output = with_kubectl("nothing");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}
