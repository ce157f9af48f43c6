//! The examples of `examples/gates/`, replayed: the requests that each system makes, and its own rule for the answer.
//!
//! URLs, queries, paths and conditions are read from the examples, so that a changed example is a changed test. The rules
//! are those of the systems' sources: Argo Rollouts 1.8 (`metricproviders`, `utils/evaluate`), Flagger 1.36
//! (`pkg/controller/webhook.go`, `pkg/metrics/providers/prometheus.go`) and Keptn's metrics-operator 2.1.

mod argo;
mod ci;
mod flagger;
mod keptn;
mod openapi;

use std::path::PathBuf;

use serde_json::Value;

use crate::support::grpc::accepted;
use crate::support::server::{Server, availability};
use crate::support::spans::{MINUTE, NOW, failed_spans, request, spans};

/// Where the examples find slo-copilot.
const ADDRESS: &str = "http://slo-copilot.observability:9464";

/// Three services: `good` holds its objective, `bad` misses it, and of `thin` too little is known.
async fn server() -> Server {
    let server = Server::start(|config| {
        let services = ["good", "bad", "thin"];
        config.objectives.list = services.map(|name| availability(name, 0.99)).to_vec();
    })
    .await;
    let mut client = server.client().await;
    for (service, good, failed) in [("good", 300, 0), ("bad", 200, 100), ("thin", 40, 0)] {
        let mut all = spans(good, NOW - MINUTE);
        all.extend(failed_spans(failed, NOW - MINUTE));
        accepted(&mut client, &request(service, all)).await;
    }
    server.fresh_report().await;
    server
}

fn example_path(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("examples/gates")
        .join(path)
}

fn example_text(path: &str) -> String {
    std::fs::read_to_string(example_path(path)).unwrap()
}

/// The documents of an example with its placeholders filled in.
fn documents(path: &str, values: &[(&str, &str)]) -> Vec<Value> {
    let mut text = example_text(path);
    for (placeholder, value) in values {
        assert!(text.contains(placeholder), "{path} has no {placeholder}");
        text = text.replace(placeholder, value);
    }
    let documents = text.split("\n---\n");
    documents
        .map(|document| serde_saphyr::from_str(document).unwrap())
        .collect()
}

/// The only document of this kind.
fn document(path: &str, kind: &str, values: &[(&str, &str)]) -> Value {
    let mut found = documents(path, values);
    found.retain(|document| document["kind"] == kind);
    assert_eq!(found.len(), 1, "{kind} in {path}");
    found.remove(0)
}

/// A URL of an example, at the server of the test.
fn at(server: &Server, url: &str) -> String {
    assert!(url.starts_with(ADDRESS), "{url}");
    url.replace(ADDRESS, &server.admin_url(""))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

#[test]
fn every_example_has_its_test() {
    let mut found: Vec<String> = Vec::new();
    for folder in std::fs::read_dir(example_path("")).unwrap() {
        let folder = folder.unwrap().path();
        if folder.is_dir() {
            for file in std::fs::read_dir(folder).unwrap() {
                found.push(file.unwrap().file_name().into_string().unwrap());
            }
        }
    }
    found.sort();
    let tested = [
        "Jenkinsfile",
        "analysis.yaml",
        "canary.yaml",
        "github.yml",
        "gitlab-ci.yml",
        "job.yaml",
        "kayenta.yaml",
        "metric-template.yaml",
        "prometheus.yaml",
        "web.yaml",
    ];
    assert_eq!(found, tested);
}
