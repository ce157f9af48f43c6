//! The files of the output directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use slo_copilot::model::report::{REPORT_SCHEMA_VERSION, VerdictReport};
use tempfile::TempDir;

use crate::support::eventually;
use crate::support::grpc::accepted;
use crate::support::server::{Server, as_read, availability, output_in, read_json};
use crate::support::spans::{MINUTE, NOW, failed_spans, request, spans};

const FILES: [&str; 6] = [
    "endpoints.json",
    "guardrail/checkout.verdict.json",
    "guardrail/verdict.json",
    "openslo/bundle.json",
    "openslo/checkout.yaml",
    "report.json",
];

/// A server with an objective and traffic.
async fn server() -> Server {
    let server = Server::start(|config| {
        config.objectives.list = vec![availability("checkout", 0.99)];
    })
    .await;
    let mut client = server.client().await;
    accepted(&mut client, &request("checkout", spans(300, NOW - MINUTE))).await;
    accepted(
        &mut client,
        &request("checkout", failed_spans(1, NOW - MINUTE)),
    )
    .await;
    server
}

/// Every file below a folder, by its path from there.
fn contents(root: &Path) -> BTreeMap<String, String> {
    let mut contents = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                contents.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    contents
}

/// A verdict as its file has it.
fn with_scope(verdict: &VerdictReport) -> Value {
    let mut file = as_read(verdict);
    file["scope"] = "instance".into();
    file
}

fn yaml_documents(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    serde_saphyr::from_multiple(&text).unwrap()
}

fn check_openslo(dir: &TempDir) {
    let documents = yaml_documents(&output_in(dir, "openslo/checkout.yaml"));
    assert!(!documents.is_empty());
    for document in &documents {
        assert_eq!(document["apiVersion"], "openslo/v1", "{document}");
    }
    let is_slo = |document: &&Value| document["kind"] == "SLO";
    let slo = documents.iter().find(is_slo).unwrap();
    assert_eq!(slo["metadata"]["name"], "availability-checkout");
    assert_eq!(slo["spec"]["objectives"][0]["target"], 0.99);
    let bundle = fs::read_to_string(output_in(dir, "openslo/bundle.json")).unwrap();
    assert!(bundle.contains("availability-checkout"), "{bundle}");
}

#[tokio::test]
async fn every_file_is_there_parses_and_says_what_the_report_says() {
    let server = server().await;
    let endpoints = server.endpoints;
    let (report, dir) = server.stop().await;
    for file in FILES {
        let path = output_in(&dir, file);
        assert!(
            path.exists(),
            "{file} is not among {:?}",
            contents(&output_in(&dir, "")).keys()
        );
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            read_json(&path);
        }
    }
    check_openslo(&dir);
    let written = read_json(&output_in(&dir, "report.json"));
    assert_eq!(written["schema_version"], REPORT_SCHEMA_VERSION);
    assert_eq!(written, as_read(&*report));
    let own = read_json(&output_in(&dir, "guardrail/checkout.verdict.json"));
    assert_eq!(
        (&own["verdict"], &own["service"]["name"]),
        (&"pass".into(), &"checkout".into())
    );
    let addresses = read_json(&output_in(&dir, "endpoints.json"));
    assert_eq!(addresses, as_read(&endpoints));
}

#[tokio::test]
async fn files_do_not_change_while_nothing_but_time_goes_on() {
    let server = server().await;
    server.service.refresh_candidates().await.unwrap();
    let report = server.fresh_report().await;
    // Exporters are tasks of their own: each must have seen the traffic before the files are compared.
    let expected = |path: &str| match path {
        "report.json" => Some(as_read(&*report)),
        "guardrail/verdict.json" => Some(with_scope(&report.verdict)),
        "guardrail/checkout.verdict.json" => Some(with_scope(&report.verdicts[0])),
        _ => None,
    };
    eventually("all files", async || {
        let settled = |file: &str| {
            let path = server.output(file);
            path.exists() && expected(file).is_none_or(|value| read_json(&path) == value)
        };
        FILES.iter().all(|file| settled(file)).then_some(())
    })
    .await;
    let before = contents(&server.output(""));
    server.clock.set(NOW + 10_000_000_000);
    let later = server.fresh_report().await;
    assert!(later.generated_at > report.generated_at);
    let (_, dir) = server.stop().await;
    assert_eq!(contents(&output_in(&dir, "")), before);
}
