//! The service graph: of files by the command, of a running server by its routes, and against what the windows count.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use reqwest::StatusCode;
use serde_json::Value;
use slo_copilot::clock::Clock;
use slo_copilot::model::NANOS_PER_SEC;

use crate::support::eventually;
use crate::support::grpc::accepted;
use crate::support::peers::peer;
use crate::support::process::{FREE_PORTS, Process, command, run, stderr};
use crate::support::server::Server;
use crate::support::spans::{NOW, attribute, request, span};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

fn shop(dir: &Path) -> String {
    let path = dir.join("shop.jsonl").to_str().unwrap().to_owned();
    let output = run(&[
        "loadgen",
        "--output",
        &path,
        "--for",
        "30s",
        "--profile",
        "shop",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    path
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&stdout(&run(arguments))).unwrap()
}

#[test]
fn the_graph_of_the_shop_counts_what_the_windows_count() {
    let dir = tempfile::tempdir().unwrap();
    let path = shop(dir.path());
    let graph = json(&["topology", &path]);
    let edges: Vec<String> = graph["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| format!("{} {} {}", edge["from"], edge["kind"], edge["to"]).replace('"', ""))
        .collect();
    assert_eq!(
        edges,
        [
            "queue:orders@demo messaging shop/fulfilment@demo",
            "shop/cart@demo database database:shop/redis@demo",
            "shop/catalog@demo database database:shop/postgresql@demo",
            "shop/checkout@demo messaging queue:orders@demo",
            "shop/checkout@demo http shop/cart@demo",
            "shop/checkout@demo http shop/payment@demo",
            "shop/frontend@demo http shop/cart@demo",
            "shop/frontend@demo rpc shop/catalog@demo",
            "shop/frontend@demo rpc shop/checkout@demo",
            "shop/fulfilment@demo database database:shop/postgresql@demo",
            "shop/payment@demo database database:shop/postgresql@demo",
        ]
    );
    let report = json(&["analyze", &path]);
    let mut compared = 0;
    for service in report["services"].as_array().unwrap() {
        let name = service["service"]["name"].as_str().unwrap();
        let window = &service["windows"].as_array().unwrap().last().unwrap();
        let nodes = graph["nodes"].as_array().unwrap();
        let node = nodes
            .iter()
            .find(|node| node["key"]["name"] == name)
            .unwrap();
        assert_eq!(node["traffic"]["calls"], window["total"], "{name}");
        assert_eq!(node["traffic"]["errors"], window["bad"], "{name}");
        compared += 1;
    }
    assert_eq!(compared, 6);
}

#[test]
fn files_are_drawn_in_every_format_beside_manifests_and_yesterday() {
    let dir = tempfile::tempdir().unwrap();
    let path = shop(dir.path());
    let drawing = dir.path().join("shop.svg");
    let manifests = dir.path().join("k8s.yaml");
    let mailer = "apiVersion: v1\nkind: Pod\nmetadata: {name: mailer, namespace: shop}\nspec: {containers: [{name: m, image: mailer}]}\n";
    std::fs::write(&manifests, mailer).unwrap();
    let output = run(&[
        "topology",
        &path,
        "--manifests",
        manifests.to_str().unwrap(),
        "--baseline",
        "examples/sample_trace.json",
        "--format",
        "svg",
        "-o",
        drawing.to_str().unwrap(),
    ]);
    assert_eq!(stdout(&output), "");
    let said = stderr(&output);
    assert!(
        said.contains("1 workloads never seen; 11 new and "),
        "{said}"
    );
    let picture = std::fs::read_to_string(&drawing).unwrap();
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    assert!(
        picture.contains("never seen · Pod shop/mailer"),
        "{picture}"
    );
    let dot = stdout(&run(&["topology", &path, "--format", "dot"]));
    assert!(
        dot.starts_with("digraph services {") && dot.contains("shape=cylinder"),
        "{dot}"
    );
    let text = stdout(&run(&["topology", &path, "--format", "text"]));
    assert!(
        text.contains("shop/frontend@demo -> shop/checkout@demo rpc "),
        "{text}"
    );
}

#[test]
fn what_cannot_be_read_is_named_with_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join("broken.yaml");
    std::fs::write(&broken, "kind: Deployment\napiVersion: apps/v1\nspec: [").unwrap();
    let broken = broken.to_str().unwrap();
    let empty = dir.path().join("empty.json");
    std::fs::write(&empty, "{\"resourceSpans\": []}").unwrap();
    let empty = empty.to_str().unwrap();
    let trace = "examples/sample_trace.json";
    for (arguments, word) in [
        (vec!["topology"], "trace file"),
        (vec!["topology", "no/such.json"], "no/such.json"),
        (vec!["topology", empty], "no traces"),
        (vec!["topology", trace, "--baseline", empty], "no traces"),
        (
            vec!["topology", trace, "--manifests", "no/such.yaml"],
            "no/such.yaml",
        ),
        (
            vec!["topology", trace, "--manifests", broken],
            "broken.yaml",
        ),
        (
            vec!["topology", trace, "--baseline", "no/such.json"],
            "no/such.json",
        ),
        (
            vec!["topology", trace, "--set", "adapters.topology.max_edges=0"],
            "max_edges",
        ),
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

/// A request of `web` whose call to a database takes 4 ms.
fn calling(number: u64) -> Vec<Span> {
    let entry = span(number, NOW);
    let call = Span {
        trace_id: entry.trace_id.clone(),
        parent_span_id: entry.span_id.clone(),
        kind: SpanKind::Client.into(),
        start_time_unix_nano: NOW - NANOS_PER_SEC / 250,
        attributes: vec![
            attribute("db.system.name", "postgresql"),
            attribute("server.address", "orders-db"),
        ],
        ..span(1_000 + number, NOW)
    };
    vec![entry, call]
}

#[tokio::test]
async fn a_server_answers_with_the_graph_of_what_came_in() {
    let server = Server::start(|_| {}).await;
    let mut client = server.client().await;
    let spans: Vec<Span> = (0..20).flat_map(calling).collect();
    accepted(&mut client, &request("web", spans)).await;
    // Longer than trace_buffer.quiet.
    server.clock.set(NOW + 10 * NANOS_PER_SEC);
    let graph = eventually("the graph", async || {
        let response = reqwest::get(server.admin_url("/api/v1/topology"))
            .await
            .unwrap();
        let graph: Value = response.json().await.unwrap();
        (graph["edges"][0]["traffic"]["observed"] == 20).then_some(graph)
    });
    let graph = graph.await;
    let edge = &graph["edges"][0];
    assert_eq!(
        (&edge["from"], &edge["to"]),
        (&"web".into(), &"database:orders-db".into())
    );
    assert_eq!(
        (&edge["kind"], &edge["traffic"]["calls"]),
        (&"database".into(), &20.0.into())
    );
    for (format, content_type, word) in [
        ("svg", "image/svg+xml", "<title id=\"slo-graph-title\">"),
        (
            "dot",
            "text/vnd.graphviz; charset=utf-8",
            "\"web\" -> \"database:orders-db\"",
        ),
    ] {
        let url = server.admin_url(&format!("/api/v1/topology?format={format}"));
        let response = reqwest::get(url).await.unwrap();
        assert_eq!(response.headers()["content-type"], content_type);
        let body = response.text().await.unwrap();
        assert!(body.contains(word), "{body}");
    }
    let page = reqwest::get(server.admin_url("/"))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        page.contains("<h2>Topology</h2>") && page.contains("orders-db"),
        "{page}"
    );
    // The states stand in the report as of its evaluation.
    server.fresh_report().await;
    let report = server.json("/api/v1/report").await;
    let state = report["integrations"]["topology-rca"].as_str().unwrap();
    assert!(state.starts_with("on: 1 services and 1 edges"), "{state}");
    server.stop().await;
}

#[tokio::test]
async fn without_whole_traces_there_is_no_graph_and_the_answer_says_why() {
    let server = Server::start(|config| config.adapters.topology.enabled = false).await;
    server.fresh_report().await;
    let response = reqwest::get(server.admin_url("/api/v1/topology"))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let answer: Value = response.json().await.unwrap();
    assert!(
        answer["error"]
            .as_str()
            .unwrap()
            .contains("adapters.topology.enabled")
    );
    let report = server.json("/api/v1/report").await;
    let state = report["integrations"]["topology-rca"].as_str().unwrap();
    assert!(state.starts_with("off: "), "{state}");
    server.stop().await;
}

/// The recorder belongs to the process, so this one has its own.
#[tokio::test]
async fn edges_have_metrics_within_their_bound() {
    let process = Process::serve(&[
        "trace_buffer.quiet=100ms",
        "evaluator.interval=200ms",
        "adapters.topology.max_metric_edges=1",
    ])
    .await;
    let now = Clock::system().now();
    let mut spans = calling(0);
    let mut other = calling(0).remove(1);
    other.span_id = 77_u64.to_be_bytes().to_vec();
    other.attributes = vec![attribute("db.system.name", "redis")];
    spans.push(other);
    for span in &mut spans {
        let back = now - NANOS_PER_SEC - NOW;
        span.start_time_unix_nano += back;
        span.end_time_unix_nano += back;
    }
    accepted(&mut process.client().await, &request("web", spans)).await;
    eventually("metrics of the edges", async || {
        let page = process.page().await;
        (page.sum("slo_copilot_topology_untold_edges", &[]) == Some(1.0)).then_some(())
    })
    .await;
    // What is told last is told; a page that was read meanwhile may hold the rest as it was before.
    let page = process.page().await;
    assert_eq!(page.sum("slo_copilot_topology_edges", &[]), Some(2.0));
    assert_eq!(page.sum("slo_copilot_topology_nodes", &[]), Some(3.0));
    let calls = page.sum(
        "slo_copilot_dependency_calls_per_second",
        &[("caller", "web")],
    );
    // One, over at least a second and until now.
    assert!(
        calls.is_some_and(|calls| calls > 0.0 && calls <= 1.0),
        "{calls:?}"
    );
    assert_eq!(
        page.sum("slo_copilot_dependency_error_ratio", &[("caller", "web")]),
        Some(0.0)
    );
    let latency = "slo_copilot_dependency_latency_p95_seconds";
    assert!(page.sum(latency, &[("caller", "web")]).is_some());
    if let Some(program) = peer("promtool") {
        let said = check_metrics(&program, page.text());
        assert_eq!(said, "", "what promtool finds wrong with the page");
    }
}

const MANIFESTS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web:1}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: mailer, namespace: shop}
spec:
  selector: {matchLabels: {app: mailer}}
  template:
    metadata: {labels: {app: mailer}}
    spec: {containers: [{name: mailer, image: mailer:1}]}
";

#[tokio::test]
async fn a_restarted_server_knows_the_edges_of_the_time_before_and_what_runs_by_manifests() {
    let server = Server::start(|_| {}).await;
    let mut client = server.client().await;
    accepted(&mut client, &request("web", calling(1))).await;
    server.clock.set(NOW + 10 * NANOS_PER_SEC);
    eventually("the edge", async || {
        let graph = server.json("/api/v1/topology").await;
        (graph["edges"][0]["traffic"]["observed"] == 1).then_some(())
    })
    .await;
    let (_, dir) = server.stop().await;

    let manifests = dir.path().join("manifests.yaml");
    std::fs::write(&manifests, MANIFESTS).unwrap();
    let later = NOW + 3 * 3_600 * NANOS_PER_SEC;
    let server = Server::start_in(dir, Clock::manual(later), |config| {
        config.adapters.topology.manifests = vec![manifests.clone()];
    })
    .await;
    let graph = eventually("the graph", async || {
        let response = reqwest::get(server.admin_url("/api/v1/topology"));
        let graph: Value = response.await.unwrap().json().await.unwrap();
        graph["nodes"].is_array().then_some(graph)
    })
    .await;
    let edge = &graph["edges"][0];
    assert_eq!(edge["to"], "database:orders-db", "{graph}");
    assert_eq!(
        (&edge["first_seen"], &edge["traffic"]["observed"]),
        (&NOW.into(), &0.into())
    );
    let nodes = graph["nodes"].as_array().unwrap().iter();
    let nodes: Vec<(&str, &Value)> = nodes
        .map(|node| (node["id"].as_str().unwrap(), &node["workloads"]))
        .collect();
    assert_eq!(
        nodes,
        [
            ("database:orders-db", &Value::Array(Vec::new())),
            ("web", &serde_json::json!(["Deployment shop/web"])),
            (
                "workload:shop/mailer",
                &serde_json::json!(["Deployment shop/mailer"])
            ),
        ]
    );
    server.fresh_report().await;
    let report = server.json("/api/v1/report").await;
    let state = report["integrations"]["topology-rca"].as_str().unwrap();
    assert!(
        state.ends_with("; 1 workloads of the manifests were not seen"),
        "{state}"
    );
    server.stop().await;
}

#[tokio::test]
async fn manifests_that_cannot_be_read_are_named_with_their_key() {
    let dir = tempfile::tempdir().unwrap();
    let manifests = "adapters.topology.manifests=[\"no/such.yaml\"]";
    let output = command(&["serve", "--set", manifests])
        .envs(FREE_PORTS)
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = stderr(&output);
    assert!(
        said.contains("adapters.topology.manifests") && said.contains("no/such.yaml"),
        "{said}"
    );
}

/// What `promtool check metrics` says about a page.
fn check_metrics(program: &Path, page: &str) -> String {
    let mut child = Command::new(program)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(page.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    stderr(&output)
}
