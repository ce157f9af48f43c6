//! The store from the command line: of a stopped server, and of a running one that keeps it locked.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use reqwest::StatusCode;
use serde_json::{Value, json};
use slo_copilot::clock::Clock;
use slo_copilot::config::Config;
use slo_copilot::model::slo::ObjectiveSource;
use tempfile::TempDir;

use crate::support::grpc::accepted;
use crate::support::process::{command, stderr};
use crate::support::server::{Server, availability, objective, read_json};
use crate::support::spans::{MINUTE, NOW, failed_spans, request, spans};

const AVAILABILITY: &str = "availability-checkout";
const LATENCY: &str = "latency-p95-checkout";

fn without_objectives(_: &mut Config) {}

/// A server with candidates for the service `checkout`.
async fn server_with_candidates() -> Server {
    let server = Server::start(without_objectives).await;
    let mut client = server.client().await;
    accepted(&mut client, &request("checkout", spans(300, NOW - MINUTE))).await;
    server.service.refresh_candidates().await.unwrap();
    server
}

/// The directory of a stopped server with the same candidates.
async fn store_with_candidates() -> Arc<TempDir> {
    server_with_candidates().await.stop().await.1
}

fn data(dir: &TempDir) -> String {
    dir.path().join("data").to_str().unwrap().to_owned()
}

/// Runs the binary beside the runtime, so that a server in this process can answer it.
async fn run(arguments: &[&str]) -> Output {
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.into()).collect();
    let ended = tokio::task::spawn_blocking(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        command(&arguments).env("USER", "grace").output().unwrap()
    });
    ended.await.unwrap()
}

/// What a command that must succeed prints.
async fn printed(arguments: &[&str]) -> String {
    let output = run(arguments).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

async fn printed_json(arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(arguments).await).unwrap()
}

/// What a command that must fail with this code says.
async fn refused(arguments: &[&str], code: i32) -> String {
    let output = run(arguments).await;
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(output.stdout.is_empty());
    said
}

/// Kind, actor and new state of each change of an SLO.
fn told(record: &Value) -> Vec<[&str; 3]> {
    let changes = record["history"].as_array().unwrap().iter();
    changes
        .map(|change| {
            [
                change["what"].as_str().unwrap(),
                change["actor"]["kind"].as_str().unwrap(),
                change["to"]["state"].as_str().unwrap(),
            ]
        })
        .collect()
}

#[tokio::test]
async fn a_stopped_store_shows_candidates_and_keeps_who_decided_about_them_and_why() {
    let dir = store_with_candidates().await;
    let data = data(&dir);
    let list = printed(&["candidates", "list", "--storage-dir", &data]).await;
    for word in [AVAILABILITY, LATENCY, "provisional", "14 days"] {
        assert!(list.contains(word), "{list}");
    }
    let details = ["candidates", "list", AVAILABILITY, "--storage-dir", &data];
    let details = printed(&details).await;
    assert!(
        details.contains("clopper-pearson") && details.contains("300 "),
        "{details}"
    );

    let decide = |verb, name| {
        let by = ["--by", "ada", "--reason", "agreed with payments"];
        [
            &["candidates", verb, name, "--storage-dir", data.as_str()][..],
            &by,
        ]
        .concat()
    };
    let output = run(&decide("accept", AVAILABILITY)).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("provisional"),
        "{}",
        stderr(&output)
    );
    let again = refused(&decide("accept", AVAILABILITY), 1).await;
    assert!(again.contains("adopted already"), "{again}");
    let unknown = refused(&decide("reject", "nonsense"), 1).await;
    assert!(unknown.contains("nonsense"), "{unknown}");
    // Without --by, the environment says who it is.
    printed(&["candidates", "reject", LATENCY, "--storage-dir", &data]).await;

    let history = ["store", "history", AVAILABILITY, "--storage-dir", &data];
    let text = printed(&history).await;
    assert!(
        text.contains("agreed with payments") && text.contains("ada"),
        "{text}"
    );
    let json = [
        "store",
        "history",
        LATENCY,
        "--format",
        "json",
        "--storage-dir",
        &data,
    ];
    let record = printed_json(&json).await;
    let expected = [
        ["created", "fit", "proposed"],
        ["state_changed", "person", "rejected"],
    ];
    assert_eq!(told(&record), expected);
    assert_eq!(record["history"][1]["actor"]["name"], "grace");
}

#[tokio::test]
async fn a_candidate_accepted_in_a_stopped_store_is_measured_from_the_next_start_on() {
    let dir = store_with_candidates().await;
    let data = data(&dir);
    for (verb, name) in [("accept", AVAILABILITY), ("reject", LATENCY)] {
        printed(&["candidates", verb, name, "--storage-dir", &data]).await;
    }
    let server = Server::start_in(dir, Clock::manual(NOW), without_objectives).await;
    server.service.refresh_candidates().await.unwrap();
    let report = server.fresh_report().await;
    let adopted = objective(&report, AVAILABILITY);
    assert_eq!(adopted.objective.source, ObjectiveSource::Accepted);
    assert!(
        (adopted.budget.total - 300.0).abs() < 1e-6,
        "the past counts"
    );
    let candidates = server.json("/api/v1/candidates").await;
    let states: Vec<(&str, &str)> = candidates["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|held| held["operation"].is_null())
        .map(|held| {
            (
                held["name"].as_str().unwrap(),
                held["state"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        (AVAILABILITY, "adopted"),
        ("error-rate-checkout", "adopted"),
        (LATENCY, "rejected"),
    ];
    assert_eq!(states, expected);
    server.stop().await;
}

#[tokio::test]
async fn a_running_server_keeps_its_store_and_answers_at_its_endpoint() {
    let server = server_with_candidates().await;
    let data = server.output("../data");
    let said = refused(
        &["store", "list", "--storage-dir", data.to_str().unwrap()],
        1,
    )
    .await;
    assert!(
        said.contains("in use") && said.contains("--endpoint"),
        "{said}"
    );

    let endpoint = server.endpoints.admin.to_string();
    let at = |arguments: &[&'static str]| {
        let mut arguments: Vec<&str> = arguments.to_vec();
        arguments.extend(["--endpoint", &endpoint]);
        arguments
    };
    let accept = [
        "candidates",
        "accept",
        AVAILABILITY,
        "--by",
        "ada",
        "--reason",
        "why not",
    ];
    let answer = printed(&at(&accept)).await;
    assert!(
        answer.contains("adopted") && answer.contains("now"),
        "{answer}"
    );
    let again = refused(&at(&accept), 1).await;
    assert!(again.contains("adopted already"), "{again}");
    printed(&at(&["candidates", "reject", LATENCY])).await;

    let list = at(&["store", "list", "--state", "adopted", "--format", "json"]);
    let list = printed_json(&list).await;
    assert_eq!(list["slos"].as_array().unwrap().len(), 1);
    assert_eq!(list["slos"][0]["objective"]["name"], AVAILABILITY);
    let history = at(&["store", "history", AVAILABILITY, "--format", "json"]);
    let record = printed_json(&history).await;
    assert_eq!(
        told(&record),
        [
            ["created", "fit", "proposed"],
            ["state_changed", "person", "adopted"]
        ]
    );
    let change = &record["history"][1];
    assert_eq!(
        (&change["actor"]["name"], &change["text"]),
        (&json!("ada"), &json!("why not"))
    );
    let export = printed_json(&at(&["store", "export"])).await;
    assert_eq!(export, server.json("/api/v1/store").await);
    let missing = refused(&at(&["store", "history", "a/b"]), 1).await;
    assert!(missing.contains("has this name"), "{missing}");
    server.stop().await;

    let gone = refused(&at(&["store", "list"]), 1).await;
    assert!(gone.contains("is slo-copilot serving there?"), "{gone}");
}

#[tokio::test]
async fn what_is_no_source_is_a_usage_error() {
    let https = ["store", "list", "--endpoint", "ftp://a"];
    let said = refused(&https, 2).await;
    assert!(said.contains("http://127.0.0.1:9464"), "{said}");
    let both = ["store", "list", "--endpoint", "a", "--storage-dir", "b"];
    refused(&both, 2).await;
    refused(&["store", "merge", "a", "--endpoint", "b"], 2).await;
    let dir = tempfile::tempdir().unwrap();
    let nowhere = data(&dir);
    let said = refused(&["store", "list", "--storage-dir", &nowhere], 1).await;
    assert!(said.contains("there is no store"), "{said}");
    assert!(!Path::new(&nowhere).exists());
}

#[tokio::test]
async fn an_export_is_merged_into_another_store_and_replaces_it_only_on_demand() {
    let dir = store_with_candidates().await;
    let here = data(&dir);
    printed(&["candidates", "accept", AVAILABILITY, "--storage-dir", &here]).await;
    let file = dir.path().join("deep/slos.json");
    let path = file.to_str().unwrap();
    printed(&["store", "export", path, "--storage-dir", &here]).await;

    let other = tempfile::tempdir().unwrap();
    let there = data(&other);
    let merge = [
        "store",
        "merge",
        path,
        "--storage-dir",
        &there,
        "--format",
        "json",
    ];
    let update = printed_json(&merge).await;
    assert_eq!(update["added"].as_array().unwrap().len(), 6, "{update}");
    let again = printed_json(&merge).await;
    assert_eq!(again["kept"].as_array().unwrap().len(), 6, "{again}");
    let history = [
        "store",
        "history",
        AVAILABILITY,
        "--format",
        "json",
        "--storage-dir",
        &there,
    ];
    let record = printed_json(&history).await;
    assert_eq!(
        told(&record),
        [
            ["created", "fit", "proposed"],
            ["state_changed", "person", "adopted"],
            ["imported", "import", "adopted"]
        ]
    );
    assert_eq!(record["history"][2]["actor"]["file"], path);

    let mut exported = read_json(&file);
    exported["slos"]
        .as_array_mut()
        .unwrap()
        .retain(|slo| slo["state"] != "adopted");
    std::fs::write(&file, exported.to_string()).unwrap();
    let replace = ["store", "replace", path, "--storage-dir", &there];
    let said = refused(&replace, 1).await;
    assert!(
        said.contains(AVAILABILITY) && said.contains("--yes"),
        "{said}"
    );
    let update = printed(&[&replace[..], &["--yes"]].concat()).await;
    assert!(
        update.contains(&format!("removed: 1 ({AVAILABILITY})")),
        "{update}"
    );

    let half = exported.to_string();
    std::fs::write(&file, half.get(..half.len() / 2).unwrap()).unwrap();
    for verb in ["merge", "replace"] {
        let said = refused(&["store", verb, path, "--storage-dir", &there], 2).await;
        assert!(said.contains(path) && said.contains("column"), "{said}");
    }
    let list = ["store", "list", "--format", "json", "--storage-dir", &there];
    assert_eq!(
        printed_json(&list).await["slos"].as_array().unwrap().len(),
        5
    );
}

#[tokio::test]
async fn an_export_as_open_slo_holds_promises_and_suggestions() {
    let dir = store_with_candidates().await;
    let here = data(&dir);
    printed(&["candidates", "accept", AVAILABILITY, "--storage-dir", &here]).await;
    printed(&["candidates", "reject", LATENCY, "--storage-dir", &here]).await;
    let file = dir.path().join("bundle.json");
    let path = file.to_str().unwrap();
    printed(&["store", "export", path, "--openslo", "--storage-dir", &here]).await;
    let documents = read_json(&file);
    let states: Vec<(&str, &str)> = documents
        .as_array()
        .unwrap()
        .iter()
        .filter(|document| document["kind"] == "SLO")
        .map(|slo| {
            let metadata = &slo["metadata"];
            let state = &metadata["annotations"]["slo-copilot.dev/state"];
            (metadata["name"].as_str().unwrap(), state.as_str().unwrap())
        })
        .collect();
    assert_eq!(
        states,
        [
            (AVAILABILITY, "adopted"),
            ("availability-checkout-get-orders", "provisional"),
            ("latency-p95-checkout-get-orders", "provisional"),
        ]
    );
    let yaml = printed(&["store", "export", "--openslo", "--storage-dir", &here]).await;
    assert_eq!(yaml.matches("kind: SLO\n").count(), 3, "{yaml}");
}

#[tokio::test]
async fn a_target_that_the_configuration_moves_is_in_the_history() {
    let with = |target| {
        move |config: &mut Config| {
            config.objectives.list = vec![availability("checkout", target)];
        }
    };
    let server = Server::start(with(0.99)).await;
    let (_, dir) = server.stop().await;
    let server = Server::start_in(dir, Clock::manual(NOW), with(0.999)).await;
    let record = server.json(&format!("/api/v1/store/{AVAILABILITY}")).await;
    assert_eq!(
        told(&record),
        [
            ["created", "config", "adopted"],
            ["target_changed", "config", "adopted"]
        ]
    );
    let change = &record["history"][1];
    assert_eq!(
        (&change["from"]["target"], &change["to"]["target"]),
        (&json!(0.99), &json!(0.999))
    );
    let (_, dir) = server.stop().await;
    let server = Server::start_in(dir, Clock::manual(NOW), without_objectives).await;
    let record = server.json(&format!("/api/v1/store/{AVAILABILITY}")).await;
    assert_eq!(record["state"], "proposed");
    assert!(server.fresh_report().await.baseline_evaluations.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn changes_of_verdicts_and_objectives_are_told_in_order() {
    let adjust = |config: &mut Config| {
        config.objectives.list = vec![availability("checkout", 0.99)];
    };
    let server = Server::start(adjust).await;
    let mut client = server.client().await;
    accepted(
        &mut client,
        &request("checkout", failed_spans(200, NOW - MINUTE)),
    )
    .await;
    server.fresh_report().await;
    let answer = server.json("/api/v1/transitions").await;
    let told: Vec<[&str; 3]> = answer["transitions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|told| told["subject"] != "*")
        .map(|told| ["kind", "subject", "to"].map(|field| told[field].as_str().unwrap()))
        .collect();
    assert_eq!(told.first(), Some(&["objective", AVAILABILITY, "adopted"]));
    let (verdict, action) = (
        ["verdict", "checkout", "fail"],
        ["action", "checkout", "freeze"],
    );
    assert_eq!(told.get(told.len() - 2..), Some(&[verdict, action][..]));

    let newest = server.json("/api/v1/transitions?limit=1").await;
    assert_eq!(newest["transitions"].as_array().unwrap().len(), 1);
    let later = server
        .json("/api/v1/transitions?since=2100-01-01T00:00:00Z")
        .await;
    assert_eq!(later, json!({"transitions": []}));
    for query in ["since=yesterday", "limit=1000000", "form=1"] {
        let url = server.admin_url(&format!("/api/v1/transitions?{query}"));
        let status = reqwest::get(url).await.unwrap().status();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
    }
    server.stop().await;
}
