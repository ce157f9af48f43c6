//! Flagger: its webhooks, and a metric template that asks like a Prometheus.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{at, document, server, text};
use crate::support::process::Process;
use crate::support::server::Server;

/// `callWebhook`: anything above 202 is an error, with the body as its text.
async fn call(server: &Server, webhook: &Value, canary: &str) -> Result<String, String> {
    let mut payload = json!({
        "name": canary,
        "namespace": "shop",
        "phase": "Progressing",
        "checksum": "85d557f47b",
    });
    if !webhook["metadata"].is_null() {
        payload["metadata"] = webhook["metadata"].clone();
    }
    if webhook["type"] == "event" {
        payload["metadata"] = json!({
            "eventMessage": "New revision detected! Scaling up checkout.shop",
            "eventType": "Normal",
            "timestamp": "1790000000000",
        });
    }
    let url = at(server, text(&webhook["url"]));
    let response = reqwest::Client::new()
        .post(url)
        .json(&payload)
        .send()
        .await
        .unwrap();
    let status = response.status().as_u16();
    let body = response.text().await.unwrap();
    if status > 202 { Err(body) } else { Ok(body) }
}

fn webhooks() -> Vec<Value> {
    let canary = document("flagger/canary.yaml", "Canary", &[]);
    let webhooks = canary["spec"]["analysis"]["webhooks"].as_array();
    webhooks.unwrap().clone()
}

#[tokio::test]
async fn each_webhook_answers_each_state() {
    let server = server().await;
    let mut seen = Vec::new();
    for webhook in webhooks() {
        let kind = text(&webhook["type"]).to_owned();
        assert!(
            text(&webhook["url"]).ends_with(&format!("/{kind}")),
            "{webhook}"
        );
        let (good, bad, thin) = match kind.as_str() {
            "confirm-rollout" | "confirm-traffic-increase" | "confirm-promotion" => {
                (true, false, false)
            }
            "pre-rollout" | "rollout" | "post-rollout" => (true, false, true),
            "rollback" => (false, true, false),
            "event" => (true, true, true),
            other => panic!("no webhook of Flagger: {other}"),
        };
        for (service, yes) in [
            ("good", good),
            ("bad", bad),
            ("thin", thin),
            ("unknown", thin),
        ] {
            let answer = call(&server, &webhook, service).await;
            assert_eq!(answer.is_ok(), yes, "{kind} of {service}: {answer:?}");
        }
        seen.push(kind);
    }
    assert_eq!(seen.len(), 8, "{seen:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_no_says_why() {
    let server = server().await;
    let rollout = webhooks();
    let rollout = rollout
        .iter()
        .find(|webhook| webhook["type"] == "rollout")
        .unwrap();
    let no = call(&server, rollout, "bad").await.unwrap_err();
    let wanted =
        "bad: fail; availability-bad: 33.333 % of 300 events in 5m were bad, 1.000 % are allowed";
    assert!(no.starts_with(wanted), "{no}");
    let promotion = webhooks();
    let promotion = promotion
        .iter()
        .find(|webhook| webhook["type"] == "confirm-promotion");
    let no = call(&server, promotion.unwrap(), "thin").await.unwrap_err();
    assert!(no.starts_with("thin: inconclusive, so it waits; "), "{no}");
    assert!(no.contains("60 more are needed"), "{no}");
    server.stop().await;
}

#[tokio::test]
async fn metadata_decides_what_too_little_counts_as_and_typos_are_told() {
    let server = server().await;
    let mut hook =
        json!({"type": "rollout", "url": format!("{}/api/v1/flagger/rollout", super::ADDRESS)});
    hook["metadata"] = json!({"service": "thin", "inconclusive": "fail"});
    assert!(call(&server, &hook, "good").await.is_err());
    hook["metadata"] = json!({"service": "thin", "inconclusive": "pass", "window": "5m"});
    assert!(call(&server, &hook, "bad").await.is_ok());
    hook["metadata"] = json!({"widnow": "5m"});
    let error = call(&server, &hook, "good").await.unwrap_err();
    assert!(
        error.contains("`widnow`") && error.contains("window"),
        "{error}"
    );

    let url = |hook: &str| server.admin_url(&format!("/api/v1/flagger/{hook}"));
    let client = reqwest::Client::new();
    for (hook, body, status) in [
        ("rollout", "", StatusCode::BAD_REQUEST),
        ("rollout", "[]", StatusCode::BAD_REQUEST),
        ("event", "{}", StatusCode::BAD_REQUEST),
        ("rollout", r#"{"name": 1}"#, StatusCode::BAD_REQUEST),
        ("rollouts", r#"{"name": "good"}"#, StatusCode::NOT_FOUND),
    ] {
        let response = client.post(url(hook)).body(body).send().await.unwrap();
        assert_eq!(response.status(), status, "{hook} {body}");
        let answer: Value = response.json().await.unwrap();
        assert!(!text(&answer["error"]).is_empty());
    }
    let page = client
        .post(url("rollout"))
        .header("origin", "https://evil.example");
    let refused = page.body(r#"{"name": "good"}"#).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    server.stop().await;
}

/// `RunQuery`: the last series wins; none, and NaN, is an error.
async fn run_query(server: &Server, address: &str, query: &str) -> Result<f64, String> {
    let query = query.split_whitespace().collect::<Vec<_>>().join(" ");
    let url = format!("{}/api/v1/query", at(server, address));
    let request = reqwest::Client::new().get(url).query(&[("query", query)]);
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    if status >= 400 {
        return Err(body.to_string());
    }
    let series = body["data"]["result"].as_array().unwrap();
    let value = series.last().ok_or("no values found")?;
    let value: f64 = text(&value["value"][1]).parse().unwrap();
    if value.is_nan() {
        return Err("no values found".to_owned());
    }
    Ok(value)
}

#[tokio::test]
async fn the_metric_template_is_online_and_stays_in_its_range_unless_the_verdict_fails() {
    let server = server().await;
    let template = document("flagger/metric-template.yaml", "MetricTemplate", &[]);
    let provider = &template["spec"]["provider"];
    assert_eq!(provider["type"], "prometheus");
    let address = text(&provider["address"]);
    // `IsOnline`.
    assert_eq!(run_query(&server, address, "vector(1)").await, Ok(1.0));

    let canary = document("flagger/canary.yaml", "Canary", &[]);
    let metric = &canary["spec"]["analysis"]["metrics"][0];
    assert_eq!(metric["templateRef"]["name"], template["metadata"]["name"]);
    let least = metric["thresholdRange"]["min"].as_f64().unwrap();
    for (service, value) in [
        ("good", 1.0),
        ("bad", -1.0),
        ("thin", 0.0),
        ("unknown", 0.0),
    ] {
        let query = text(&template["spec"]["query"]).replace("{{ service }}", service);
        let found = run_query(&server, address, &query).await.unwrap();
        assert!((found - value).abs() < 1e-9, "{service}: {found}");
        assert_eq!(found < least, service == "bad", "{service}");
    }
    server.stop().await;
}

#[tokio::test]
async fn webhooks_and_events_are_counted() {
    let process = Process::serve(&["evaluator.interval=100ms"]).await;
    let client = reqwest::Client::new();
    let call = async |hook: &str, body: Value| {
        let url = format!("http://{}/api/v1/flagger/{hook}", process.address("admin"));
        client
            .post(url)
            .json(&body)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    let event = json!({"name": "a", "metadata": {"eventType": "Warning", "eventMessage": "Halt a.shop advancement"}});
    assert_eq!(call("event", event).await, 200);
    assert_eq!(call("rollout", json!({"name": "a"})).await, 200);
    assert_eq!(call("confirm-promotion", json!({"name": "a"})).await, 412);
    assert_eq!(call("rollout", json!({"name": ""})).await, 400);
    let page = process.page().await;
    let hooks = |hook, answer| {
        page.count(
            "slo_copilot_flagger_hooks_total",
            &[("hook", hook), ("answer", answer)],
        )
    };
    assert_eq!(hooks("event", "approved"), 1);
    assert_eq!(hooks("rollout", "waived"), 1);
    assert_eq!(hooks("confirm-promotion", "refused"), 1);
    assert_eq!(hooks("rollout", "invalid"), 1);
    assert_eq!(
        page.count("slo_copilot_flagger_events_total", &[("type", "warning")]),
        1
    );
}
