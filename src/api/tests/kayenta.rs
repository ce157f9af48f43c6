//! Analyses in the shape of Kayenta, on comparisons of two versions.

use super::*;

/// Begins an analysis of `checkout@2.0` against `checkout@{baseline}`; its id.
async fn begin(server: &Server, baseline: &str, end: &str) -> String {
    let url = format!(
        "http://{}/api/v1/kayenta/canary/slo-copilot",
        server.address
    );
    let scope = |version: &str| json!({ "scope": format!("checkout@{version}"), "end": end });
    let body = json!({
        "scopes": { "default": { "controlScope": scope(baseline), "experimentScope": scope("2.0") } },
        "thresholds": { "pass": 90, "marginal": 75 },
    });
    let request = reqwest::Client::new().post(url).json(&body);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let answer: Value = response.json().await.unwrap();
    answer["canaryExecutionId"].as_str().unwrap().to_owned()
}

/// The score, if the analysis is complete.
async fn score(server: &Server, id: &str) -> Option<f64> {
    let shown = server.json(&format!("/api/v1/kayenta/canary/{id}")).await;
    assert_eq!(shown["complete"], shown.get("result").is_some(), "{shown}");
    shown["result"]["judgeResult"]["score"]["score"].as_f64()
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "as the channel of reports holds it"
)]
fn compared(verdict: Verdict) -> Option<Arc<Report>> {
    let mut report = fixture::report();
    report.canaries = vec![fixture::canary("checkout", "1.9", "2.0", verdict)];
    Some(Arc::new(report))
}

#[tokio::test]
async fn the_comparison_answers_and_its_answer_stays() {
    let server = Server::start().await;
    let later = "2030-01-01T00:00:00Z";
    let open = begin(&server, "1.9", later).await;
    assert_eq!(score(&server, &open).await, None);
    server.reports.send_replace(compared(Verdict::Inconclusive));
    assert_eq!(score(&server, &open).await, None);
    // The fixture's own score is 25; the thresholds say what the verdict says.
    for (verdict, wanted) in [
        (Verdict::Pass, 90.0),
        (Verdict::Warn, 90.0),
        (Verdict::Fail, 25.0),
    ] {
        server.reports.send_replace(compared(verdict));
        let id = begin(&server, "1.9", later).await;
        assert_eq!(score(&server, &id).await, Some(wanted), "{verdict:?}");
        server.reports.send_replace(compared(Verdict::Inconclusive));
        assert_eq!(score(&server, &id).await, Some(wanted), "{verdict:?} stays");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_comparison_with_another_version_is_no_answer() {
    let server = Server::start().await;
    server.reports.send_replace(compared(Verdict::Pass));
    let id = begin(&server, "1.8", "2030-01-01T00:00:00Z").await;
    assert_eq!(score(&server, &id).await, None);
    // Its interval is over, or it has none: too little is known.
    for end in ["2026-01-01T00:00:00Z", ""] {
        let id = begin(&server, "1.8", end).await;
        assert_eq!(score(&server, &id).await, Some(75.0));
    }
    // Any baseline is meant where none is named.
    let id = begin(&server, "", "2030-01-01T00:00:00Z").await;
    assert_eq!(score(&server, &id).await, Some(90.0));
    server.stop().await;
}

#[tokio::test]
async fn an_analysis_that_went_for_newer_ones_names_the_key() {
    let server = Server::with_report().await;
    let first = begin(&server, "1.9", "2030-01-01T00:00:00Z").await;
    for _ in 0..3 {
        begin(&server, "1.9", "2030-01-01T00:00:00Z").await;
    }
    let path = format!("/api/v1/kayenta/canary/{first}");
    let response = server.get(&path).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let answer: Value = response.json().await.unwrap();
    let text = answer["error"].as_str().unwrap();
    assert!(text.contains("limits.canary_executions"), "{text}");
    server.stop().await;
}
