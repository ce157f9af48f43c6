//! `coverage` as a user runs it, and coverage in a running server.

use serde_json::{Value, json};
use slo_copilot::model::NANOS_PER_SEC;

use crate::support::eventually;
use crate::support::grpc::accepted;
use crate::support::process::{FREE_PORTS, command, stderr};
use crate::support::server::Server;
use crate::support::spans::{NOW, request, span};

/// The model of the shop, an hour of it at a small scale, as the generator writes it.
fn shop(dir: &std::path::Path) -> String {
    let path = dir.join("shop.jsonl").to_str().unwrap().to_owned();
    let output = command(&[
        "loadgen", "--output", &path, "--for", "10m", "--scale", "0.02",
    ])
    .args(["--seed", "7"])
    .output()
    .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    path
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = command(&["coverage"]).args(arguments).output().unwrap();
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    (output.status.code().unwrap(), said, stderr(&output))
}

fn json_of(arguments: &[&str]) -> Value {
    let (code, said, errors) = run(&[arguments, &["--json"]].concat());
    assert_eq!(code, 0, "{errors}");
    serde_json::from_str(&said).unwrap()
}

/// A request to `checkout`, which calls `pricing` and gets no span back, in its own trace.
fn calls(count: u64) -> String {
    let lines = (1..=count).map(|n| {
        let (trace, start) = (format!("{n:032x}"), 1_700_000_000_000_000_000 + n * NANOS_PER_SEC);
        let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
        let span = |id: u64, parent: &str, kind: u64, name: &str, attributes: Value| {
            json!({
                "traceId": trace, "spanId": format!("{:016x}", n * 10 + id), "parentSpanId": parent, "name": name, "kind": kind,
                "startTimeUnixNano": (start + id).to_string(), "endTimeUnixNano": (start + NANOS_PER_SEC / 10).to_string(),
                "attributes": attributes,
            })
        };
        let root = format!("{:016x}", n * 10);
        let line = json!({"resourceSpans": [{
            "resource": {"attributes": [
                text("service.name", "checkout"), text("service.version", "1.0"), text("telemetry.sdk.language", "nodejs"),
            ]},
            "scopeSpans": [{"spans": [
                span(0, "", 2, "GET /checkout", json!([text("http.request.method", "GET"), text("http.route", "/checkout")])),
                span(1, &root, 3, "GET", json!([
                    text("http.request.method", "GET"), text("server.address", "pricing.shop.svc"),
                    {"key": "server.port", "value": {"intValue": "8080"}},
                ])),
            ]}],
        }]});
        line.to_string() + "\n"
    });
    lines.collect()
}

fn write_calls(dir: &std::path::Path) -> String {
    let path = dir.join("calls.jsonl");
    std::fs::write(&path, calls(12)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_shop_has_a_score_a_service_and_every_edge() {
    let dir = tempfile::tempdir().unwrap();
    let path = shop(dir.path());
    let report = json_of(&[&path]);
    let seen = &report["instrumentation"];
    assert_eq!(seen["scores"].as_array().unwrap().len(), 6);
    assert_eq!(seen["method"]["is_complete"], false);
    for score in seen["scores"].as_array().unwrap() {
        assert_eq!(score["rules"].as_array().unwrap().len(), 11);
        let value = score["score"].as_f64().unwrap();
        assert!((0.0..=100.0).contains(&value), "{score}");
    }
    let found = &seen["findings_by_kind"];
    for kind in ["dark_peer", "lost_context", "orphaned_spans", "clock_skew"] {
        assert_eq!(found[kind], 0, "{seen}");
    }
    assert_eq!(report["objective"]["status"], "met", "{report}");
    assert!(report["next_probe"].is_null());
}

#[test]
fn a_dark_peer_is_told_with_its_remedy_and_the_files_of_its_probe() {
    let dir = tempfile::tempdir().unwrap();
    let path = write_calls(dir.path());
    let probes = dir.path().join("probes");
    let (code, said, errors) = run(&[&path, "-o", probes.to_str().unwrap()]);
    assert_eq!(code, 0, "{errors}");
    assert!(
        said.contains(
            "warning[dark_peer] `pricing.shop.svc:8080` is called by `checkout` (12 calls)"
        ),
        "{said}"
    );
    assert!(said.contains("11 of 19 rules"), "{said}");
    let obi = std::fs::read_to_string(probes.join("obi-config.yaml")).unwrap();
    assert!(obi.contains("- open_ports: \"8080\""), "{obi}");
    assert!(obi.contains("endpoint: \"http://127.0.0.1:4318\""), "{obi}");
    for name in ["beyla-config.yaml", "probes.bt", "coverage.json"] {
        assert!(probes.join(name).is_file(), "{name}");
    }
}

#[test]
fn manifests_name_what_is_missing_and_for_which_language() {
    let dir = tempfile::tempdir().unwrap();
    let path = write_calls(dir.path());
    let manifest = dir.path().join("pricing.yaml");
    let text = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: pricing, namespace: shop}
spec:
  selector: {matchLabels: {app: pricing}}
  template:
    metadata: {labels: {app: pricing}}
    spec:
      containers: [{name: pricing, image: \"python:3.12\", ports: [{containerPort: 8000}]}]
---
apiVersion: v1
kind: Service
metadata: {name: pricing, namespace: shop}
spec: {selector: {app: pricing}, ports: [{port: 8080, targetPort: 8000}]}
";
    std::fs::write(&manifest, text).unwrap();
    let report = json_of(&[&path, "--manifests", manifest.to_str().unwrap()]);
    let findings = report["instrumentation"]["findings"].as_array().unwrap();
    let workload = findings
        .iter()
        .find(|finding| finding["kind"] == "uninstrumented_workload")
        .unwrap();
    assert_eq!(workload["peer"], "Deployment shop/pricing");
    assert_eq!(workload["language"], "python");
    assert_eq!(report["probes"].as_array().unwrap().len(), 1);
    assert_eq!(report["probes"][0]["workload"]["name"], "pricing");
    assert_eq!(report["probes"][0]["port"], 8000);
    let parts = report["objective"]["parts"].as_array().unwrap();
    let workloads = parts.iter().find(|part| part["kind"] == "workloads");
    assert_eq!(workloads.unwrap()["ratio"], 0.0);
}

#[test]
fn a_minimum_that_is_not_reached_ends_with_code_1_and_one_without_data_with_3() {
    let dir = tempfile::tempdir().unwrap();
    let path = write_calls(dir.path());
    let code = |arguments: &[&str]| run(arguments).0;
    // 2 of 4: `checkout` and `pricing`, the edge between them, and the signal.
    let signal = ["--expected-signal", "GET /checkout"];
    let with = |rest: &[&str]| code(&[&[path.as_str()], &signal[..], rest].concat());
    assert_eq!(with(&["--min-ratio", "0.5"]), 0);
    assert_eq!(with(&["--min-ratio", "0.51"]), 1);
    assert_eq!(with(&["--min-score", "80"]), 0);
    assert_eq!(with(&["--min-score", "95"]), 1);
    let missing = dir.path().join("nothing.jsonl");
    assert_eq!(code(&[missing.to_str().unwrap()]), 2);
    assert_eq!(code(&[]), 2);
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_of_this_host_that_reports_nothing_is_found() {
    // Its ports are its own, and it is another process than the command.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let report = json_of(&["--host"]);
    let findings = report["instrumentation"]["findings"].as_array().unwrap();
    let own = format!("(pid {})", std::process::id());
    let found = findings.iter().any(|finding| {
        let text = finding["text"].as_str().unwrap();
        finding["kind"] == "silent_listener"
            && text.contains(&own)
            && text.contains(&port.to_string())
    });
    assert!(found, "{findings:?}");
    let (code, _, said) = run(&["--host", "--min-score", "1"]);
    assert_eq!(code, 3, "{said}");
}

#[tokio::test]
async fn a_server_tells_coverage_in_its_report_its_metrics_and_at_its_address() {
    let server = Server::start(|config| {
        let coverage = &mut config.adapters.coverage;
        coverage.expected_signals = ["GET /orders", "GET /nowhere"].map(str::to_owned).to_vec();
    })
    .await;
    let request = request("stock", vec![span(0, NOW)]);
    accepted(&mut server.client().await, &request).await;
    server.clock.set(NOW + 10 * NANOS_PER_SEC);
    let coverage = eventually("a trace that coverage saw", async || {
        let coverage = server.json("/api/v1/coverage").await;
        (coverage["instrumentation"]["traces"] == 1).then_some(coverage)
    })
    .await;
    assert_eq!(coverage["missing_signals"], json!(["GET /nowhere"]));
    assert_eq!(
        coverage["instrumentation"]["scores"][0]["service"]["name"],
        "stock"
    );
    let state = eventually("the state of coverage", async || {
        let report = server.json("/api/v1/report").await;
        let state = report["integrations"]["ebpf-bot"].as_str()?.to_owned();
        state.contains("1 traces").then_some(state)
    })
    .await;
    assert!(state.contains("target 0.9"), "{state}");
    let page = server.fresh_page().await;
    let ratio = |kind| page.sum("slo_copilot_coverage_ratio", &[("kind", kind)]);
    assert_eq!(ratio("signals"), Some(0.5));
    assert_eq!(ratio("all"), coverage["objective"]["ratio"].as_f64());
    let target = page.sum("slo_copilot_coverage_target_ratio", &[("kind", "all")]);
    assert_eq!(target, Some(0.9));
    let score = page.sum("slo_copilot_instrumentation_score", &[("service", "stock")]);
    assert_eq!(
        score,
        coverage["instrumentation"]["scores"][0]["score"].as_f64()
    );
    let versions = page.sum(
        "slo_copilot_coverage_findings",
        &[("kind", "missing_version")],
    );
    assert_eq!(versions, Some(1.0));
    server.stop().await;
}

#[tokio::test]
async fn a_broken_manifest_keeps_a_server_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broken.yaml");
    std::fs::write(
        &path,
        "kind: Deployment\napiVersion: apps/v1\nmetadata: [\n",
    )
    .unwrap();
    let manifests = format!("adapters.coverage.manifests=[\"{}\"]", path.display());
    let output = command(&["serve", "--set", &manifests])
        .envs(FREE_PORTS)
        .current_dir(dir.path())
        .output()
        .unwrap();
    let said = stderr(&output);
    assert!(!output.status.success());
    assert!(
        said.contains("adapters.coverage.manifests") && said.contains("broken.yaml"),
        "{said}"
    );
}
