//! The published description against what is really answered.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::{Value, json};
use slo_copilot::model::NANOS_PER_SEC;

use super::{server, text};
use crate::support::eventually;
use crate::support::spans::NOW;

/// Paths as they are described, what is asked, and the status.
const ASKED: &[(&str, &str, u16)] = &[
    ("/api/openapi.json", "/api/openapi.json", 200),
    ("/api/v1/report", "/api/v1/report", 200),
    ("/api/v1/services", "/api/v1/services", 200),
    ("/api/v1/slos", "/api/v1/slos", 200),
    ("/api/v1/candidates", "/api/v1/candidates", 200),
    (
        "/api/v1/verdict",
        "/api/v1/verdict?service=bad&window=5m",
        200,
    ),
    ("/api/v1/verdict", "/api/v1/verdict?servcie=bad", 400),
    ("/api/v1/tests", "/api/v1/tests", 200),
    (
        "/api/v1/traces",
        "/api/v1/traces?service=good&sort=slowest",
        200,
    ),
    ("/api/v1/traces", "/api/v1/traces?min_duration=soon", 400),
    ("/api/v1/traces/{id}", "/api/v1/traces/{trace}", 200),
    ("/api/v1/traces/{id}", "/api/v1/traces/abc", 404),
    ("/api/v1/incidents", "/api/v1/incidents", 200),
    ("/api/v1/incidents/{id}", "/api/v1/incidents/7", 404),
    ("/api/v1/store", "/api/v1/store", 200),
    (
        "/api/v1/store/{name}",
        "/api/v1/store/availability-good",
        200,
    ),
    ("/api/v1/store/{name}", "/api/v1/store/nothing", 404),
    ("/api/v1/transitions", "/api/v1/transitions", 200),
    ("/api/v1/transitions", "/api/v1/transitions?limit=-1", 400),
    (
        "/api/v1/query",
        "/api/v1/query?query=slo_copilot_verdict&time=1790000000",
        200,
    ),
    ("/api/v1/query", "/api/v1/query?query=1", 200),
    ("/api/v1/query", "/api/v1/query?query=rate(x[5m])", 400),
    (
        "/api/v1/query",
        "/api/v1/query?query=-slo_copilot_sli_ratio%20-%20on(slo)%20slo_copilot_sli_ratio",
        422,
    ),
    (
        "/api/v1/query_range",
        "/api/v1/query_range?query=vector(1)&start=0&end=60&step=30",
        200,
    ),
    (
        "/api/v1/query_range",
        "/api/v1/query_range?query=vector(1)&start=0",
        400,
    ),
    (
        "/api/v1/kayenta/canaryConfig",
        "/api/v1/kayenta/canaryConfig",
        200,
    ),
    (
        "/api/v1/kayenta/canary/{id}",
        "/api/v1/kayenta/canary/{execution}",
        200,
    ),
    (
        "/api/v1/kayenta/canary/{id}",
        "/api/v1/kayenta/canary/nothing",
        404,
    ),
];

/// What an answer breaks of the schema that the description has for it.
fn violations(
    document: &Value,
    (method, path): (&str, &str),
    status: u16,
    answer: &Value,
) -> Vec<String> {
    let response = &document["paths"][path][method]["responses"][status.to_string()];
    let schema = &response["content"]["application/json"]["schema"];
    assert!(
        schema.is_object(),
        "{method} {path} {status} is not described"
    );
    // References point into the document.
    let root = json!({"$ref": schema["$ref"], "components": document["components"]});
    let options = jsonschema::options().should_validate_formats(true);
    let validator = options.build(&root).unwrap();
    let errors = validator.iter_errors(answer);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

#[tokio::test]
async fn what_is_answered_is_what_is_described() {
    let server = server().await;
    let document = server.json("/api/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    let client = reqwest::Client::new();
    let analysis = json!({
        "scopes": {"default": {"controlScope": {"scope": "good"}, "experimentScope": {"scope": "good"}}},
        "thresholds": {"pass": 90, "marginal": 75},
    });
    let begun = client
        .post(server.admin_url("/api/v1/kayenta/canary/slo-copilot"))
        .json(&analysis);
    let begun: Value = begun.send().await.unwrap().json().await.unwrap();
    let execution = text(&begun["canaryExecutionId"]);
    // Longer than trace_buffer.quiet.
    server.clock.set(NOW + 10 * NANOS_PER_SEC);
    let trace = eventually("a trace that is kept", async || {
        let listed = server.json("/api/v1/traces").await;
        listed["traces"][0]["trace_id"].as_str().map(str::to_owned)
    });
    let trace = trace.await;
    let mut seen = BTreeSet::new();
    for &(path, url, status) in ASKED {
        let url = url
            .replace("{execution}", execution)
            .replace("{trace}", &trace);
        let response = client.get(server.admin_url(&url)).send().await.unwrap();
        assert_eq!(
            response.status(),
            StatusCode::from_u16(status).unwrap(),
            "{url}"
        );
        let answer: Value = response.json().await.unwrap();
        let found = violations(&document, ("get", path), status, &answer);
        assert_eq!(found, Vec::<String>::new(), "{url}: {answer}");
        seen.insert(path);
    }
    let begun = violations(
        &document,
        ("post", "/api/v1/kayenta/canary/{id}"),
        200,
        &begun,
    );
    assert_eq!(begun, Vec::<String>::new());
    // All that is described as JSON was asked.
    for (path, operations) in document["paths"].as_object().unwrap() {
        let is_json =
            operations["get"]["responses"]["200"]["content"]["application/json"].is_object();
        assert_eq!(is_json, seen.contains(path.as_str()), "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_time_that_is_not_held_has_a_warning_and_no_value() {
    let server = server().await;
    let query = "/api/v1/query?query=slo_copilot_verdict&time=";
    let now = server.json(&format!("{query}1790000000")).await;
    assert_eq!(now["warnings"], Value::Null);
    assert_eq!(now["data"]["result"].as_array().unwrap().len(), 16);
    let past = server.json(&format!("{query}1789990000")).await;
    assert!(
        text(&past["warnings"][0]).contains("ask a Prometheus"),
        "{past}"
    );
    assert_eq!(past["data"]["result"], json!([]));
    // What no series is read for is always known.
    let scalar = server.json("/api/v1/query?query=vector(1)&time=0").await;
    assert_eq!(
        scalar["data"]["result"],
        json!([{"metric": {}, "value": [0.0, "1"]}])
    );
    let constant = server
        .json("/api/v1/query_range?query=vector(1)&start=0&end=60&step=30")
        .await;
    assert_eq!(
        constant["data"],
        json!({"resultType": "matrix", "result": [{"metric": {}, "values": [[0.0, "1"], [30.0, "1"], [60.0, "1"]]}]})
    );
    let ranged = server
        .json("/api/v1/query?query=slo_copilot_verdict_score%7Bservice=%22good%22%7D%5B5m%5D")
        .await;
    assert_eq!(ranged["data"]["resultType"], "matrix");
    assert_eq!(
        ranged["data"]["result"][0]["values"],
        json!([[1_790_000_000.0, "100"]])
    );
    server.stop().await;
}

#[tokio::test]
async fn a_query_and_a_scrape_say_the_same() {
    let server = server().await;
    let page = server.fresh_page().await;
    for name in [
        "slo_copilot_verdict",
        "slo_copilot_sli_ratio",
        "slo_copilot_burn_rate",
        "slo_copilot_requests_total",
    ] {
        let answer = server
            .json(&format!("/api/v1/query?query=sum({name})"))
            .await;
        let value: f64 = text(&answer["data"]["result"][0]["value"][1])
            .parse()
            .unwrap();
        let scraped = page.sum(name, &[]).unwrap();
        assert!((value - scraped).abs() < 1e-9, "{name}: {value} {scraped}");
    }
    server.stop().await;
}
