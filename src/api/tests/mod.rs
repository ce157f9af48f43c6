//! The endpoint through real clients: HTTP/1 and gRPC on one port of the loopback interface.

mod grpc;
mod kayenta;

use metrics_exporter_prometheus::PrometheusBuilder;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;
use crate::exporter::prometheus::fixture;
use crate::model::advice::Advice;
use crate::model::report::Verdict;
use crate::model::series::ServiceKey;

/// A served endpoint with the other ends of its channels.
struct Server {
    address: SocketAddr,
    reports: watch::Sender<Option<Arc<Report>>>,
    ready: watch::Sender<bool>,
    commands: mpsc::Receiver<Command>,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), ApiError>>,
}

impl Server {
    /// Not ready, and without a report.
    async fn start() -> Self {
        Self::with_metrics(PrometheusBuilder::new().build_recorder().handle()).await
    }

    async fn with_metrics(metrics: PrometheusHandle) -> Self {
        crate::outgoing::install_crypto_provider();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (reports, reports_receiver) = watch::channel(None);
        let (ready, ready_receiver) = watch::channel(false);
        let (commands_sender, commands) = mpsc::channel(4);
        let shutdown = CancellationToken::new();
        let state = ApiState {
            traces: None,
            advice: watch::channel(Advice::default()).1,
            reports: reports_receiver,
            told: watch::channel(0).1,
            ready: ready_receiver,
            commands: commands_sender,
            metrics,
            started_at: fixture::generated_at(),
            limits: Limits::default(),
            canary_executions: 3,
        };
        let task = tokio::spawn(serve(
            listener,
            state,
            Duration::from_mins(1),
            shutdown.clone(),
        ));
        Self {
            address,
            reports,
            ready,
            commands,
            shutdown,
            task,
        }
    }

    /// With the report of the fixture.
    async fn with_report() -> Self {
        let server = Self::start().await;
        server
            .reports
            .send_replace(Some(Arc::new(fixture::report())));
        server
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        let url = format!("http://{}{path}", self.address);
        reqwest::get(url).await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    /// Posts a decision and lets `execute` take the place of the evaluator's task.
    async fn post(
        &mut self,
        name_and_verb: &str,
        execute: impl FnOnce(Command),
    ) -> (StatusCode, Value) {
        let url = format!("http://{}/api/v1/candidates/{name_and_verb}", self.address);
        let request = reqwest::Client::new().post(url).send();
        let evaluator = async {
            let command = self.commands.recv().await.unwrap();
            execute(command);
        };
        let (response, ()) = tokio::join!(request, evaluator);
        let response = response.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// `text` of the only reason.
fn reason(verdict: &Value) -> &str {
    assert_eq!(verdict["verdict"], "inconclusive", "{verdict}");
    assert_eq!(verdict["ok"], false);
    assert_eq!(verdict["score"], Value::Null);
    let reasons = verdict["reasons"].as_array().unwrap();
    assert_eq!(reasons.len(), 1, "{verdict}");
    assert_eq!(reasons[0]["source"], "request");
    reasons[0]["text"].as_str().unwrap()
}

#[test]
fn the_default_binds_the_loopback_interface_and_unknown_keys_are_refused() {
    assert_eq!(Config::default().endpoint.to_string(), "127.0.0.1:9464");
    let read = |text| serde_json::from_str::<Config>(text);
    assert_eq!(read("{}").unwrap(), Config::default());
    let error = read(r#"{"endpoint": "0.0.0.0:1", "port": 1}"#).unwrap_err();
    assert!(
        error.to_string().contains("unknown field `port`"),
        "{error}"
    );
}

#[tokio::test]
async fn readiness_follows_the_service_and_liveness_does_not() {
    let server = Server::start().await;
    assert_eq!(server.get("/livez").await.status(), StatusCode::OK);
    let response = server.get("/readyz").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.text().await.unwrap().starts_with("not ready: "));
    server.ready.send_replace(true);
    assert_eq!(server.get("/readyz").await.status(), StatusCode::OK);
    server.stop().await;
}

#[tokio::test]
async fn the_metrics_page_joins_self_telemetry_and_window_families() {
    let recorder = PrometheusBuilder::new().build_recorder();
    ::metrics::with_local_recorder(&recorder, || {
        ::metrics::counter!("slo_copilot_own_total").increment(3);
    });
    let server = Server::with_metrics(recorder.handle()).await;
    let page = server.get("/metrics").await;
    assert_eq!(
        page.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let page = page.text().await.unwrap();
    assert!(page.contains("slo_copilot_own_total 3\n"), "{page}");
    assert!(!page.contains("slo_copilot_requests_total"), "{page}");
    server
        .reports
        .send_replace(Some(Arc::new(fixture::report())));
    let page = server.get("/metrics").await.text().await.unwrap();
    assert!(
        page.contains("slo_copilot_own_total 3\n# HELP slo_copilot_requests_total "),
        "{page}"
    );
    server.stop().await;
}

#[tokio::test]
async fn lists_wait_for_the_first_report_and_then_hold_its_parts() {
    let server = Server::start().await;
    for path in ["report", "services", "slos", "candidates"] {
        let response = server.get(&format!("/api/v1/{path}")).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["error"], "the first evaluation has not finished yet");
    }
    server
        .reports
        .send_replace(Some(Arc::new(fixture::report())));
    let report = server.json("/api/v1/report").await;
    assert_eq!(report, serde_json::to_value(fixture::report()).unwrap());
    let slos = server.json("/api/v1/slos").await;
    let [objectives, composites] = ["baseline_evaluations", "composites"].map(|part| &report[part]);
    assert_eq!(
        slos,
        json!({ "slos": objectives, "composites": composites })
    );
    let services = server.json("/api/v1/services").await;
    assert_eq!(services, json!({ "services": report["services"] }));
    let candidates = server.json("/api/v1/candidates").await;
    assert_eq!(
        candidates,
        json!({ "candidates": report["slo_candidates"] })
    );
    server.stop().await;
}

#[tokio::test]
async fn a_verdict_is_the_computed_one_of_all_or_of_one_service() {
    let server = Server::with_report().await;
    let overall = server.json("/api/v1/verdict").await;
    let expected = fixture::verdict(None, Verdict::Fail);
    assert_eq!(overall, serde_json::to_value(expected).unwrap());
    let checkout = server
        .json("/api/v1/verdict?service=checkout&version=")
        .await;
    let expected = fixture::verdict(Some(ServiceKey::named("checkout")), Verdict::Fail);
    assert_eq!(checkout, serde_json::to_value(expected).unwrap());
    server.stop().await;
}

#[tokio::test]
async fn before_the_first_report_the_verdict_is_inconclusive() {
    let server = Server::start().await;
    let verdict = server.json("/api/v1/verdict?service=checkout").await;
    assert_eq!(
        reason(&verdict),
        "the first evaluation has not finished yet"
    );
    assert_eq!(verdict["service"]["name"], "checkout");
    let started_at = serde_json::to_value(fixture::generated_at()).unwrap();
    assert_eq!(verdict["generated_at"], started_at);
    server.stop().await;
}

#[tokio::test]
async fn an_unknown_service_is_inconclusive_and_the_known_ones_are_named() {
    let server = Server::with_report().await;
    let verdict = server.json("/api/v1/verdict?service=chekout").await;
    let expected = "service `chekout` has not been seen; seen lately: checkout, search";
    assert_eq!(reason(&verdict), expected);
    server.stop().await;
}

#[tokio::test]
async fn a_version_that_nothing_is_computed_for_is_said_and_not_ignored() {
    let server = Server::with_report().await;
    let version = server
        .json("/api/v1/verdict?service=checkout&version=2.0")
        .await;
    assert_eq!(version["version"], "2.0");
    assert_eq!(
        reason(&version),
        "no verdict is computed for version `2.0` of service `checkout`, versions seen lately: 1.4.0: it needs the version \
         before, or a window (window=30m); without version the verdict is fail"
    );
    let version = server.json("/api/v1/verdict?version=2.0&window=1h").await;
    assert!(reason(&version).contains("none was named"), "{version}");
    let version = server
        .json("/api/v1/verdict?service=checkout&version=2.0&window=1h")
        .await;
    assert_eq!(
        reason(&version),
        "version `2.0` of service `checkout` has not been seen, versions seen lately: 1.4.0"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_window_is_judged_by_itself() {
    let server = Server::with_report().await;
    // A tenth of a thousand requests failed, a thousandth may.
    for path in [
        "/api/v1/verdict?window=1h",
        "/api/v1/verdict?service=checkout&window=1h",
        "/api/v1/verdict?service=checkout&version=1.4.0&window=1h",
    ] {
        let verdict = server.json(path).await;
        // The fixture counts no observed events, and one failure alone is no pattern.
        assert_eq!(verdict["verdict"], "warn", "{verdict}");
        assert_eq!(verdict["window"], "1h");
        assert_eq!(verdict["reasons"][0]["observed"], 0.1);
    }
    let quiet = server
        .json("/api/v1/verdict?service=checkout&window=5m")
        .await;
    assert_eq!(quiet["verdict"], "inconclusive");
    assert_eq!(quiet["undecided"][0]["limit"], 1_000.0);
    let window = server
        .json("/api/v1/verdict?service=search&window=4h")
        .await;
    assert_eq!(
        reason(&window),
        "window `4h` is not held, the windows held are 5m, 30m, 1h, 2h, 6h, 1d, 3d, 7d, 28d, 30d"
    );
    let window = server
        .json("/api/v1/verdict?service=checkout&version=1.4.0&window=7d")
        .await;
    assert_eq!(
        reason(&window),
        "window `7d` of a version is not held, the windows held are 1h"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_verdict_computed_for_a_version_answers_the_question_about_it() {
    let server = Server::start().await;
    let mut report = fixture::report();
    let mut canary = fixture::verdict(Some(ServiceKey::named("checkout")), Verdict::Pass);
    canary.version = Some("2.0".to_owned());
    report.verdicts.insert(0, canary);
    server.reports.send_replace(Some(Arc::new(report)));
    let canary = server
        .json("/api/v1/verdict?service=checkout&version=2.0")
        .await;
    assert_eq!(canary["verdict"], "pass");
    let whole = server.json("/api/v1/verdict?service=checkout").await;
    assert_eq!(whole["verdict"], "fail");
    server.stop().await;
}

#[tokio::test]
async fn a_name_in_two_environments_must_be_narrowed_down() {
    let server = Server::start().await;
    let mut report = fixture::report();
    for (environment, verdict) in [("production", Verdict::Pass), ("staging", Verdict::Fail)] {
        let mut cart = ServiceKey::named("cart");
        cart.environment = environment.into();
        report.verdicts.push(fixture::verdict(Some(cart), verdict));
    }
    server.reports.send_replace(Some(Arc::new(report)));
    let verdict = server.json("/api/v1/verdict?service=cart").await;
    assert_eq!(
        reason(&verdict),
        "2 services are named `cart`, say which namespace and environment: \
         namespace `` environment `production`, namespace `` environment `staging`"
    );
    let verdict = server
        .json("/api/v1/verdict?service=cart&environment=production")
        .await;
    assert_eq!(verdict["verdict"], "pass");
    let verdict = server.json("/api/v1/verdict?environment=production").await;
    assert!(reason(&verdict).contains("none was named"), "{verdict}");
    server.stop().await;
}

#[tokio::test]
async fn a_misspelt_parameter_is_refused_rather_than_widening_the_question() {
    let server = Server::with_report().await;
    let response = server.get("/api/v1/verdict?servcie=checkout").await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let answer: Value = response.json().await.unwrap();
    let text = answer["error"].as_str().unwrap();
    assert!(text.contains("unknown field `servcie`"), "{text}");
    server.stop().await;
}

#[tokio::test]
async fn an_accepted_candidate_answers_with_the_objective_and_the_warning() {
    let mut server = Server::with_report().await;
    let objective = fixture::objective_status("availability-search", "search").objective;
    let accepted = Accepted {
        objective,
        warning: Some("provisional: 14 days of history".to_owned()),
    };
    let answer = accepted.clone();
    let execute = |command| {
        let Command::AcceptCandidate {
            name,
            decision,
            reply,
        } = command
        else {
            panic!("{command:?}");
        };
        assert_eq!(name, "availability-search");
        assert_eq!(decision, Decision::default());
        reply.send(Ok(answer)).unwrap();
    };
    let answered = server.post("availability-search:accept", execute).await;
    let expected = serde_json::to_value(accepted).unwrap();
    assert_eq!(answered, (StatusCode::OK, expected));
    server.stop().await;
}

#[tokio::test]
async fn a_rejected_candidate_answers_with_its_state() {
    let mut server = Server::with_report().await;
    let execute = |command| {
        let Command::RejectCandidate { name, reply, .. } = command else {
            panic!("{command:?}");
        };
        assert_eq!(name, "availability-search");
        reply.send(Ok(())).unwrap();
    };
    let answered = server.post("availability-search:reject", execute).await;
    let expected = json!({ "name": "availability-search", "state": "rejected" });
    assert_eq!(answered, (StatusCode::OK, expected));
    server.stop().await;
}

#[tokio::test]
async fn a_command_that_cannot_be_executed_has_its_own_status() {
    let mut server = Server::with_report().await;
    let invalid = CommandError::Invalid("the target is violated already".to_owned());
    let failed = CommandError::Failed("the disk is full".to_owned());
    for (failure, status) in [
        (failed, StatusCode::INTERNAL_SERVER_ERROR),
        (CommandError::NotFound, StatusCode::NOT_FOUND),
        (CommandError::AlreadyAdopted, StatusCode::CONFLICT),
        (invalid, StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let expected = (status, json!({ "error": failure.to_string() }));
        let execute = |command| {
            let Command::AcceptCandidate { reply, .. } = command else {
                panic!("{command:?}");
            };
            reply.send(Err(failure)).unwrap();
        };
        assert_eq!(server.post("x:accept", execute).await, expected);
    }
    // An evaluator that stops without an answer.
    let (status, answer) = server.post("x:reject", drop).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn unknown_routes_verbs_and_methods_are_json_errors() {
    let server = Server::with_report().await;
    let client = reqwest::Client::new();
    let url = |path: &str| format!("http://{}{path}", server.address);
    for (request, status, text) in [
        (
            client.get(url("/api/v2/x")),
            404,
            "no route /api/v2/x; there are: GET /",
        ),
        (
            client.post(url("/metrics")),
            405,
            "/metrics does not take POST; ",
        ),
        (
            client.post(url("/api/v1/candidates/x:adopt")),
            404,
            "then :accept or :reject",
        ),
        (
            client.post(url("/api/v1/candidates/x")),
            404,
            "then :accept or :reject",
        ),
        (
            client.get(url("/api/v1/candidates/x:accept")),
            405,
            "does not take GET",
        ),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{text}");
        let answer: Value = response.json().await.unwrap();
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains(text), "{error}");
    }
    server.stop().await;
}

#[tokio::test]
async fn another_sites_page_cannot_decide() {
    let server = Server::with_report().await;
    let url = format!("http://{}/api/v1/candidates/x:accept", server.address);
    let request = reqwest::Client::new()
        .post(url)
        .header("origin", "https://evil.example");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    server.stop().await;
}

#[tokio::test]
async fn the_overview_is_a_page_that_may_not_load_or_run_anything() {
    let server = Server::with_report().await;
    let response = server.get("/").await;
    assert_eq!(
        response.headers()["content-type"],
        "text/html; charset=utf-8"
    );
    let policy = response.headers()["content-security-policy"]
        .to_str()
        .unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let page = response.text().await.unwrap();
    assert!(page.contains("availability-checkout"), "{page}");
    server.stop().await;
}
