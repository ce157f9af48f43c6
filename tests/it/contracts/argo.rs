//! Argo Rollouts: the providers `web`, `prometheus`, `job` and `kayenta`.

use std::process::Command;

use cel::{Context, Program};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{at, document, server, text};
use crate::canary::{Every, side_by_side};
use crate::support::server::Server;
use crate::support::spans::NOW;

/// What Argo makes of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Successful,
    Failed,
    Inconclusive,
    Error,
    Running,
}

/// Argo evaluates conditions with expr-lang. The examples keep to what CEL says in the same words; `len` is added.
fn holds(condition: &str, result: &Value) -> bool {
    let mut context = Context::default();
    let len = |items: std::sync::Arc<Vec<cel::Value>>| i64::try_from(items.len()).unwrap();
    context.add_function("len", len).unwrap();
    context.add_variable("result", result).unwrap();
    let program = Program::compile(condition).unwrap();
    let value = program.execute(&context).unwrap();
    let cel::Value::Bool(truth) = value else {
        panic!("{condition}: expected bool, got {value:?}");
    };
    truth
}

/// `EvaluateResult`.
fn evaluated(metric: &Value, result: &Value) -> Phase {
    let condition = |name: &str| metric[name].as_str().map(|text| holds(text, result));
    match (condition("successCondition"), condition("failureCondition")) {
        (_, Some(true)) | (Some(false), None) => Phase::Failed,
        (Some(false), Some(false)) => Phase::Inconclusive,
        (None | Some(true), None | Some(false)) => Phase::Successful,
    }
}

/// The first match of a Kubernetes JSONPath, of which the examples use `{$}` and fields.
fn first_match<'a>(path: &str, body: &'a Value) -> Option<&'a Value> {
    let inner = path.strip_prefix('{').unwrap().strip_suffix('}').unwrap();
    let mut found = vec![body];
    for step in inner
        .trim_start_matches('$')
        .split('.')
        .filter(|step| !step.is_empty())
    {
        let (field, index) = match step.split_once('[') {
            Some((field, index)) => (field, index.strip_suffix(']')),
            None => (step, None),
        };
        found = found.iter().filter_map(|value| value.get(field)).collect();
        if let Some(index) = index {
            let items = found.iter().filter_map(|value| value.as_array());
            found = match index {
                "*" => items.flatten().collect(),
                number => items
                    .filter_map(|items| items.get(number.parse::<usize>().unwrap()))
                    .collect(),
            };
        }
    }
    found.first().copied()
}

/// The only metric of an analysis template.
fn metric(path: &str, values: &[(&str, &str)]) -> Value {
    let template = document(path, "AnalysisTemplate", values);
    let mut metrics = template["spec"]["metrics"].as_array().unwrap().clone();
    assert_eq!(metrics.len(), 1);
    metrics.remove(0)
}

async fn web(server: &Server, service: &str) -> Phase {
    let metric = metric("argo-rollouts/web.yaml", &[("{{args.service}}", service)]);
    let provider = &metric["provider"]["web"];
    assert_eq!(provider["method"], Value::Null, "GET has no body");
    let response = reqwest::get(at(server, text(&provider["url"])))
        .await
        .unwrap();
    if !response.status().is_success() {
        return Phase::Error;
    }
    let body: Value = response.json().await.unwrap();
    match first_match(text(&provider["jsonPath"]), &body) {
        Some(result) => evaluated(&metric, result),
        None => Phase::Error,
    }
}

#[tokio::test]
async fn the_web_metric_succeeds_fails_and_pauses() {
    let server = server().await;
    assert_eq!(web(&server, "good").await, Phase::Successful);
    assert_eq!(web(&server, "bad").await, Phase::Failed);
    assert_eq!(web(&server, "thin").await, Phase::Inconclusive);
    assert_eq!(web(&server, "unknown").await, Phase::Inconclusive);
    server.stop().await;
}

#[test]
fn only_the_first_match_of_a_json_path_is_the_result() {
    let body = json!({"ok": true, "reasons": [{"limit": 1}, {"limit": 2}]});
    assert_eq!(first_match("{$}", &body), Some(&body));
    assert_eq!(first_match("{$.ok}", &body), Some(&json!(true)));
    assert_eq!(first_match("{.reasons[1].limit}", &body), Some(&json!(2)));
    assert_eq!(first_match("{.reasons[*].limit}", &body), Some(&json!(1)));
    assert_eq!(first_match("{.nothing}", &body), None);
}

/// The client of Prometheus posts a form and falls back to GET only where POST is not allowed.
async fn prometheus(server: &Server, service: &str) -> Phase {
    let path = "argo-rollouts/prometheus.yaml";
    let metric = metric(path, &[("{{args.service}}", service)]);
    let provider = &metric["provider"]["prometheus"];
    let url = format!("{}/api/v1/query", at(server, text(&provider["address"])));
    let time = format!("{}", NOW / 1_000_000_000);
    let form = [("query", text(&provider["query"])), ("time", &time)];
    let response = reqwest::Client::new()
        .post(url)
        .form(&form)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["status"], "success");
    assert_eq!(body["data"]["resultType"], "vector");
    let series = body["data"]["result"].as_array().unwrap();
    let values = series.iter().map(|series| -> f64 {
        assert!(series["value"][0].is_number(), "{series}");
        text(&series["value"][1]).parse().unwrap()
    });
    evaluated(&metric, &json!(values.collect::<Vec<f64>>()))
}

#[tokio::test]
async fn the_prometheus_metric_succeeds_fails_and_pauses() {
    let server = server().await;
    assert_eq!(prometheus(&server, "good").await, Phase::Successful);
    assert_eq!(prometheus(&server, "bad").await, Phase::Failed);
    assert_eq!(prometheus(&server, "thin").await, Phase::Inconclusive);
    assert_eq!(prometheus(&server, "unknown").await, Phase::Inconclusive);
    server.stop().await;
}

/// The Job's container is a shell; exit code 0 is success and everything else is not. The test runs its command.
#[tokio::test]
async fn the_job_ends_with_the_exit_code_of_the_verdict() {
    let curl = Command::new("curl").arg("--version").output();
    assert!(curl.is_ok(), "this test runs the example's curl");
    let server = server().await;
    for (service, succeeds) in [
        ("good", true),
        ("bad", false),
        ("thin", false),
        ("unknown", false),
    ] {
        let metric = metric("argo-rollouts/job.yaml", &[("{{args.service}}", service)]);
        let pod = &metric["provider"]["job"]["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let script = text(&container["args"][0]).replace(super::ADDRESS, &server.admin_url(""));
        let [shell, flag] = ["sh", "-c"];
        assert_eq!(container["command"], json!([shell, flag]));
        let output = tokio::task::spawn_blocking(move || {
            Command::new(shell).args([flag, &script]).output().unwrap()
        });
        let output = output.await.unwrap();
        assert_eq!(output.status.success(), succeeds, "{service}: {output:?}");
    }
    server.stop().await;
}

/// `Run`, then `Resume` once: Argo asks every 15 s while it is not complete.
async fn kayenta(server: &Server, service: &str, versions: (&str, &str), end: &str) -> Phase {
    let metric = metric(
        "argo-rollouts/kayenta.yaml",
        &[
            ("{{args.service}}", service),
            ("{{args.stable-version}}", versions.0),
            ("{{args.canary-version}}", versions.1),
            ("{{args.start}}", "2026-09-21T14:00:00Z"),
            ("{{args.end}}", end),
        ],
    );
    let provider = &metric["provider"]["kayenta"];
    let of = |name: &str| text(&provider[name]);
    let (address, account) = (at(server, of("address")), of("storageAccountName"));
    let application = of("application");
    let configs: Value = reqwest::get(format!(
        "{address}/canaryConfig?application={application}&configurationAccountName={account}"
    ))
    .await
    .unwrap()
    .json()
    .await
    .unwrap();
    let named = |config: &&Value| config["name"] == provider["canaryConfigName"];
    let config = configs.as_array().unwrap().iter().find(named).unwrap();
    let id = text(&config["id"]);

    let scope = &provider["scopes"][0];
    let mut scopes = serde_json::Map::new();
    let pair =
        json!({"controlScope": scope["controlScope"], "experimentScope": scope["experimentScope"]});
    scopes.insert(text(&scope["name"]).to_owned(), pair);
    let threshold = &provider["threshold"];
    let job = json!({"scopes": scopes, "thresholds": threshold});
    let url = format!(
        "{address}/canary/{id}?application={application}&metricsAccountName={}&configurationAccountName={}&storageAccountName={account}",
        of("metricsAccountName"),
        of("configurationAccountName"),
    );
    let begun = reqwest::Client::new()
        .post(url)
        .json(&job)
        .send()
        .await
        .unwrap();
    if begun.status() != StatusCode::OK {
        return Phase::Error;
    }
    let begun: Value = begun.json().await.unwrap();
    let execution = text(&begun["canaryExecutionId"]);
    let shown = reqwest::get(format!("{address}/canary/{execution}"))
        .await
        .unwrap();
    assert_eq!(shown.status(), StatusCode::OK);
    let shown: Value = shown.json().await.unwrap();
    if !shown["complete"].as_bool().unwrap() {
        return Phase::Running;
    }
    let score = shown["result"]["judgeResult"]["score"]["score"]
        .as_f64()
        .unwrap()
        .trunc();
    let limit = |name: &str| threshold[name].as_f64().unwrap();
    if score >= limit("pass") {
        Phase::Successful
    } else if score >= limit("marginal") {
        Phase::Inconclusive
    } else {
        Phase::Failed
    }
}

#[tokio::test]
async fn in_kayentas_place_an_analysis_is_open_until_it_is_conclusive_or_over() {
    let server = server().await;
    // The clock stands at 2026-09-21T14:13:20Z.
    let (over, open) = ("2026-09-21T14:13:20Z", "2026-09-21T14:13:21Z");
    let whole = ("", "");
    assert_eq!(
        kayenta(&server, "good", whole, open).await,
        Phase::Successful
    );
    assert_eq!(kayenta(&server, "bad", whole, open).await, Phase::Failed);
    assert_eq!(kayenta(&server, "thin", whole, open).await, Phase::Running);
    assert_eq!(
        kayenta(&server, "thin", whole, over).await,
        Phase::Inconclusive
    );
    // A version that was not seen is no reason to pass or to fail.
    let versions = ("1.9", "2.0");
    assert_eq!(
        kayenta(&server, "good", versions, open).await,
        Phase::Running
    );
    assert_eq!(
        kayenta(&server, "good", versions, over).await,
        Phase::Inconclusive
    );
    assert_eq!(
        kayenta(&server, "good", versions, "soon").await,
        Phase::Error
    );
    server.stop().await;
}

#[tokio::test]
async fn in_kayentas_place_the_comparison_of_both_versions_answers() {
    let server = Server::start(|_| ()).await;
    side_by_side(&server, Some(Every(100)), Some(Every(6))).await;
    server.fresh_report().await;
    let open = "2026-09-21T15:00:00Z";
    let versions = ("1.9.0", "1.10.0");
    assert_eq!(
        kayenta(&server, "checkout", versions, open).await,
        Phase::Failed
    );
    let others = ("1.8.0", "1.10.0");
    assert_eq!(
        kayenta(&server, "checkout", others, open).await,
        Phase::Running
    );
    server.stop().await;
}
