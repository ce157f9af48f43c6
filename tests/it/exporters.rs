//! The files of the output directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use slo_copilot::config::SliKind;
use slo_copilot::model::period::{CalendarPeriod, Period};
use slo_copilot::model::report::{REPORT_SCHEMA_VERSION, VerdictReport};
use slo_copilot::model::slo::{Budgeting, CompositeMember, EmptySlices};
use tempfile::TempDir;

use crate::support::eventually;
use crate::support::grpc::accepted;
use crate::support::schema::{assert_described, assert_needed};
use crate::support::server::{Server, as_read, availability, output_in, read_json};
use crate::support::spans::{MINUTE, NOW, failed_spans, request, spans};

const FILES: [&str; 7] = [
    "endpoints.json",
    "guardrail/checkout.verdict.json",
    "guardrail/verdict.json",
    "openslo/bundle.json",
    "openslo/checkout.yaml",
    "prometheus/checkout.rules.yaml",
    "report.json",
];

/// A server with an objective and traffic. What whole traces say comes when they are over, so none are kept.
async fn server() -> Server {
    let server = Server::start(|config| {
        config.objectives.list = vec![availability("checkout", 0.99)];
        config.trace_buffer.enabled = false;
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
    assert_described("openslo_bundle", &serde_json::from_str(&bundle).unwrap());
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
    assert_described("report", &written);
    let own = read_json(&output_in(&dir, "guardrail/checkout.verdict.json"));
    assert_eq!(
        (&own["verdict"], &own["service"]["name"]),
        (&"pass".into(), &"checkout".into())
    );
    let addresses = read_json(&output_in(&dir, "endpoints.json"));
    assert_eq!(addresses, as_read(&endpoints));
}

#[tokio::test]
async fn objectives_of_every_way_of_counting_are_written_as_the_schemas_say() {
    let slices = |slice_target: Option<f64>| {
        let slice = "5m".parse().unwrap();
        let empty = EmptySlices::Excluded;
        match slice_target {
            Some(slice_target) => Budgeting::Timeslices {
                slice_target,
                slice,
                empty,
            },
            None => Budgeting::RatioTimeslices { slice, empty },
        }
    };
    let server = Server::start(|config| {
        let mut by_events = availability("checkout", 0.99);
        by_events.window = Period::Calendar(CalendarPeriod {
            duration: "1M".parse().unwrap(),
            start_time: "2026-01-01T00:00:00".parse().unwrap(),
            time_zone: "Europe/Berlin".to_owned(),
        });
        let mut fast = availability("checkout", 0.95);
        fast.name = "latency-checkout".to_owned();
        fast.sli = SliKind::Latency;
        fast.threshold = Some(Duration::from_millis(300));
        fast.budgeting = slices(None);
        let member = |name: &str, service: &str| {
            let mut member = availability(service, 0.9);
            member.name = name.to_owned();
            member.budgeting = slices(Some(0.95));
            member.composite = Some(CompositeMember {
                name: "purchase".to_owned(),
                weight: 2.0,
            });
            member
        };
        let members = [member("pay", "payment"), member("ship", "shipping")];
        config.objectives.list = vec![by_events, fast];
        config.objectives.list.extend(members);
    })
    .await;
    let mut client = server.client().await;
    for service in ["checkout", "payment", "shipping"] {
        accepted(&mut client, &request(service, spans(300, NOW - MINUTE))).await;
    }
    let (_, dir) = server.stop().await;
    let report = read_json(&output_in(&dir, "report.json"));
    assert_described("report", &report);
    let statuses = report["baseline_evaluations"].as_array().unwrap();
    assert!(statuses.iter().any(|status| status["slices"].is_object()));
    let of_calendar = |status: &&Value| status["budget"]["period_start"].is_string();
    assert_eq!(statuses.iter().filter(of_calendar).count(), 1);
    let composite = &["name", "members", "budgeting", "window", "budget"];
    assert_needed("report", &report, "/composites/0", composite);

    let bundle = read_json(&output_in(&dir, "openslo/bundle.json"));
    assert_described("openslo_bundle", &bundle);
    let named = |name: &str| {
        let documents = bundle.as_array().unwrap().iter();
        let mut found = documents.filter(|own| own["metadata"]["name"] == name);
        found.next().unwrap()["spec"].clone()
    };
    let window = &named("availability-checkout")["timeWindow"][0];
    assert_eq!(window["calendar"]["timeZone"], "Europe/Berlin");
    assert_eq!(named("purchase")["budgetingMethod"], "Timeslices");
    assert_eq!(
        named("latency-checkout")["budgetingMethod"],
        "RatioTimeslices"
    );
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
    let after = contents(&output_in(&dir, ""));
    assert_eq!(
        after.keys().collect::<Vec<_>>(),
        before.keys().collect::<Vec<_>>()
    );
    for (name, text) in before {
        assert_eq!(after[&name], text, "{name}");
    }
}
