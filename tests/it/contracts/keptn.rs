//! Keptn: metrics and analyses over the Prometheus API.

use reqwest::StatusCode;
use serde_json::Value;

use super::{at, document, documents, server, text};
use crate::support::server::Server;
use crate::support::spans::NOW;

const EXAMPLE: &str = "keptn/analysis.yaml";

/// Keptn takes the last value of exactly one series.
async fn value(
    server: &Server,
    path: &str,
    query: &str,
    more: &[(&str, String)],
) -> Result<f64, String> {
    let provider = document(EXAMPLE, "KeptnMetricsProvider", &[]);
    assert_eq!(provider["spec"]["type"], "prometheus");
    let url = at(server, text(&provider["spec"]["targetServer"])) + path;
    let mut form = vec![("query", query.to_owned())];
    form.extend_from_slice(more);
    let response = reqwest::Client::new()
        .post(url)
        .form(&form)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{query}");
    let body: Value = response.json().await.unwrap();
    let series = body["data"]["result"].as_array().unwrap();
    match (
        series.as_slice(),
        body["data"]["resultType"].as_str().unwrap(),
    ) {
        ([], _) => Err("no values in query result".to_owned()),
        ([only], "vector") => Ok(text(&only["value"][1]).parse().unwrap()),
        ([only], "matrix") => {
            let values = only["values"].as_array().unwrap();
            // Keptn logs it and goes on.
            assert!(text(&body["warnings"][0]).contains("one sample"), "{body}");
            Ok(text(&values.last().unwrap()[1]).parse().unwrap())
        }
        _ => Err("too many values in query result".to_owned()),
    }
}

#[tokio::test]
async fn a_metric_is_one_series() {
    let server = server().await;
    let metric = document(EXAMPLE, "KeptnMetric", &[]);
    let query = text(&metric["spec"]["query"]);
    let now = [("time", format!("{}", NOW / 1_000_000_000))];
    for (service, wanted) in [("good", Ok(1.0)), ("bad", Ok(-1.0)), ("thin", Ok(0.0))] {
        let query = query.replace("\"checkout\"", &format!("{service:?}"));
        assert_eq!(
            value(&server, "/api/v1/query", &query, &now).await,
            wanted,
            "{service}"
        );
    }
    // The service of the example was never seen.
    assert!(value(&server, "/api/v1/query", query, &now).await.is_err());
    server.stop().await;
}

/// Keptn's quantities: `250m` is a quarter.
fn quantity(text: &str) -> f64 {
    match text.strip_suffix('m') {
        Some(thousandths) => thousandths.parse::<f64>().unwrap() / 1_000.0,
        None => text.parse().unwrap(),
    }
}

/// An analysis: the whole weight of what passes, half of what warns; nothing if a key objective fails.
async fn analysed(server: &Server, service: &str) -> &'static str {
    let definition = document(EXAMPLE, "AnalysisDefinition", &[]);
    let templates = documents(EXAMPLE, &[("{{.service}}", service)]);
    let end = NOW / 1_000_000_000;
    let range = [
        ("start", format!("{}", end - 300)),
        ("end", format!("{end}")),
        ("step", "60".to_owned()),
    ];
    let (mut score, mut most, mut key_failed) = (0.0, 0.0, false);
    for objective in definition["spec"]["objectives"].as_array().unwrap() {
        let name = &objective["analysisValueTemplateRef"]["name"];
        let is_template = |document: &&Value| {
            document["kind"] == "AnalysisValueTemplate" && document["metadata"]["name"] == *name
        };
        let template = templates.iter().find(is_template).unwrap();
        let query = text(&template["spec"]["query"]);
        let found = value(server, "/api/v1/query_range", query, &range).await;
        let below = |target: &str| {
            let limit = text(&objective["target"][target]["lessThan"]["fixedValue"]);
            found.as_ref().is_err() || found.as_ref().is_ok_and(|found| *found < quantity(limit))
        };
        let weight = objective["weight"].as_f64().unwrap();
        most += weight;
        if below("failure") {
            key_failed |= objective["keyObjective"].as_bool().unwrap();
        } else if below("warning") {
            score += weight / 2.0;
        } else {
            score += weight;
        }
    }
    let percent = 100.0 * score / most;
    let total = &definition["spec"]["totalScore"];
    if !key_failed && percent >= total["passPercentage"].as_f64().unwrap() {
        "pass"
    } else if !key_failed && percent >= total["warningPercentage"].as_f64().unwrap() {
        "warning"
    } else {
        "fail"
    }
}

#[tokio::test]
async fn an_analysis_passes_fails_and_warns() {
    let server = server().await;
    assert_eq!(analysed(&server, "good").await, "pass");
    assert_eq!(analysed(&server, "bad").await, "fail");
    // Nothing bad was seen, and too little.
    assert_eq!(analysed(&server, "thin").await, "warning");
    assert_eq!(analysed(&server, "unknown").await, "fail");
    server.stop().await;
}
