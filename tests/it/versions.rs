//! Two versions in trace files: both forms of the gate, what they print, and who is to blame.

use std::fs;
use std::path::Path;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use prost::Message;
use serde_json::Value;
use slo_copilot::model::UnixNanos;
use slo_copilot::model::fault::{Fault, FaultTarget};
use slo_copilot::traffic::generate::{Faults, export_requests};
use slo_copilot::traffic::shop;
use tempfile::TempDir;

use crate::support::process::{command, stderr};
use crate::support::schema::assert_described;
use crate::support::spans::{MINUTE, NOW};

/// Ten minutes of the shop from `start` on.
fn shop(seed: u64, start: UnixNanos, faults: &Faults) -> Vec<ExportTraceServiceRequest> {
    let mut visits = shop::generator(seed);
    let traffic = visits.traffic(start..start + 10 * MINUTE, 150.0, faults);
    export_requests(traffic, 500).collect()
}

fn payment_fails() -> Faults {
    Faults::none().with(FaultTarget::service("payment"), Fault::error(0.2))
}

/// The same requests as another version of all services.
fn of_version(
    version: &str,
    mut requests: Vec<ExportTraceServiceRequest>,
) -> Vec<ExportTraceServiceRequest> {
    let resources = requests
        .iter_mut()
        .flat_map(|request| &mut request.resource_spans);
    for attribute in resources
        .filter_map(|spans| spans.resource.as_mut())
        .flat_map(|resource| &mut resource.attributes)
        .filter(|attribute| attribute.key == "service.version")
    {
        attribute.value.as_mut().unwrap().value = Some(Any::StringValue(version.to_owned()));
    }
    requests
}

/// Writes requests as one message of OTLP in protobuf.
fn write(dir: &Path, name: &str, requests: &[ExportTraceServiceRequest]) -> String {
    let path = dir.join(name);
    let bytes: Vec<u8> = requests.iter().flat_map(Message::encode_to_vec).collect();
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// An old set, one that does the same, and one in which payments fail.
struct Files {
    dir: TempDir,
    old: String,
    same: String,
    bad: String,
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let write = |name, seed, faults: &Faults| write(dir.path(), name, &shop(seed, NOW, faults));
        Self {
            old: write("old.pb", 1, &Faults::none()),
            same: write("same.pb", 2, &Faults::none()),
            bad: write("bad.pb", 3, &payment_fails()),
            dir,
        }
    }
}

fn gate(arguments: &[&str]) -> (i32, String, String) {
    let output = command(&["gate"]).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    (output.status.code().unwrap(), text, stderr(&output))
}

fn canary_of<'a>(decided: &'a Value, service: &str) -> &'a Value {
    let canaries = decided["canaries"].as_array().unwrap();
    let found = canaries
        .iter()
        .find(|own| own["service"]["name"] == service);
    found.unwrap_or_else(|| panic!("{service} is not compared"))
}

#[test]
fn two_sets_of_the_same_do_not_fail_and_one_with_a_bad_service_does() {
    let files = Files::new();
    let (code, text, said) = gate(&["--baseline", &files.old, "--canary", &files.same]);
    assert_ne!(code, 1, "{text}\n{said}");
    assert!(said.contains("6 services compared"), "{said}");
    let (code, text, said) = gate(&["--baseline", &files.old, "--canary", &files.bad]);
    assert_eq!(code, 1, "{text}\n{said}");
    assert!(said.contains("judged against the old version"), "{said}");
    assert!(said.contains("decided by canary"), "{said}");
    for word in ["payment", "side by side", "errors", "(whole service)"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    // The other way round it got better.
    let (code, text, said) = gate(&["--baseline", &files.bad, "--canary", &files.old]);
    assert_ne!(code, 1, "{text}\n{said}");
}

#[test]
fn a_caller_that_suffers_from_its_changed_callee_is_innocent() {
    let files = Files::new();
    let (_, text, _) = gate(&[
        "--baseline",
        &files.old,
        "--canary",
        &files.bad,
        "--format",
        "json",
    ]);
    let decided: Value = serde_json::from_str(&text).unwrap();
    let payment = &canary_of(&decided, "payment")["blame"];
    assert_eq!(payment["rank"], 1, "{payment}");
    let checkout = canary_of(&decided, "checkout");
    assert_eq!(checkout["verdict"], "fail");
    assert_eq!(checkout["blame"]["rank"], Value::Null, "{checkout}");
    assert_eq!(checkout["blame"]["suffers_from"]["name"], "payment");
    assert_ne!(canary_of(&decided, "catalog")["verdict"], "fail");
    assert!(decided["decided_by"].as_str().unwrap().contains("payment"));
}

#[test]
fn one_set_is_split_by_version() {
    let files = Files::new();
    let old = of_version("1.0.0", shop(4, NOW, &Faults::none()));
    let new = of_version("1.1.0", shop(5, NOW, &payment_fails()));
    let both = write(files.dir.path(), "both.pb", &[old, new].concat());
    let split = [
        "--trace",
        &both,
        "--canary-version",
        "1.1.0",
        "--fail-on",
        "canary",
    ];
    let (code, text, said) = gate(&[&split[..], &["--format", "json"]].concat());
    assert_eq!(code, 1, "{text}\n{said}");
    let decided: Value = serde_json::from_str(&text).unwrap();
    let payment = canary_of(&decided, "payment");
    assert_eq!(payment["baseline"]["version"], "1.0.0");
    assert_eq!(payment["pairing"], "concurrent");
    assert_eq!(payment["blame"]["rank"], 1);
    let back = [
        "--trace",
        &both,
        "--canary-version",
        "1.0.0",
        "--baseline-version",
        "1.1.0",
    ];
    assert_ne!(gate(&back).0, 1);

    let analyzed = command(&["analyze", &both]).output().unwrap();
    let report: Value = serde_json::from_slice(&analyzed.stdout).unwrap();
    assert_eq!(canary_of(&report, "payment")["canary"]["version"], "1.1.0");
    assert_eq!(canary_of(&report, "payment")["verdict"], "fail");
}

#[test]
fn sets_of_different_times_are_compared_before_and_after() {
    let files = Files::new();
    let later = shop(6, NOW + 60 * MINUTE, &Faults::none());
    let later = write(files.dir.path(), "later.pb", &later);
    let (code, text, _) = gate(&["--baseline", &files.old, "--canary", &later]);
    assert_ne!(code, 1, "{text}");
    assert!(text.contains("one after the other"), "{text}");
}

#[test]
fn the_other_forms_name_the_canary() {
    let files = Files::new();
    for (format, words) in [
        ("junit", ["<testsuite name=\"canary\"", "payment"]),
        ("sarif", ["\"canary", "payment"]),
        ("github", ["::error", "errors"]),
    ] {
        let sets = [
            "--baseline",
            &files.old,
            "--canary",
            &files.bad,
            "--format",
            format,
        ];
        let (code, text, said) = gate(&sets);
        assert_eq!(code, 1, "{said}");
        for word in words {
            assert!(text.contains(word), "{format}: {word}: {text}");
        }
    }
}

#[test]
fn mistakes_are_named_with_their_remedy() {
    let files = Files::new();
    let (code, _, said) = gate(&["--trace", &files.old, "--canary-version", "7"]);
    assert_eq!(code, 2);
    assert!(
        said.contains("has version `7`") && said.contains("3.8.1"),
        "{said}"
    );
    for (arguments, word) in [
        (&["--canary", &files.old][..], "--baseline"),
        (
            &[
                "--trace",
                &files.old,
                "--baseline",
                &files.old,
                "--canary",
                &files.same,
            ],
            "--trace",
        ),
        (
            &["--trace", &files.old, "--baseline-version", "1"],
            "--canary-version",
        ),
    ] {
        let (code, _, said) = gate(arguments);
        assert_eq!(code, 2, "{arguments:?}");
        assert!(said.contains(word), "{said}");
    }
    // Nothing to compare: nobody can say.
    let (code, _, said) = gate(&["--trace", &files.old, "--fail-on", "canary"]);
    assert_eq!(code, 3, "{said}");
}

#[test]
fn the_report_of_a_comparison_is_described_by_the_schema() {
    let files = Files::new();
    let path = files.dir.path().join("report.json");
    let report = path.to_str().unwrap();
    gate(&[
        "--baseline",
        &files.old,
        "--canary",
        &files.bad,
        "--report",
        report,
    ]);
    let report: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(
        report["canaries"].as_array().unwrap().len(),
        shop::model().services.len()
    );
    assert_described("report", &report);
}
