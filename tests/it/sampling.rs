//! The sampling server as SDKs ask it, in a process of its own, with a plan that people change under way.

use reqwest::StatusCode;
use serde_json::{Value, json};
use slo_copilot::api::sampling::jaeger::SamplingStrategyParameters;
use slo_copilot::api::sampling::jaeger::sampling_manager_client::SamplingManagerClient;

use crate::support::eventually;
use crate::support::grpc::channel;
use crate::support::process::{Process, run, stderr};
use crate::support::schema::assert_described;
use crate::support::server::read_json;

const FULL: f64 = 1.0;

fn plan(ratio: f64) -> String {
    format!(
        "services: [{{service: checkout, default_ratio: {ratio}, \
         operations: [{{operation: GET /slow, ratio: 1}}]}}]"
    )
}

struct Sampled {
    process: Process,
    http: reqwest::Client,
}

impl Sampled {
    async fn ask(&self, query: &str) -> (StatusCode, Value) {
        let address = self.process.address("sampling_http");
        let url = format!("http://{address}/sampling{query}");
        let response = self.http.get(url).send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    /// What a client that knows no operations is told of `checkout`.
    async fn share(&self) -> f64 {
        let (status, answer) = self.ask("?service=checkout").await;
        assert_eq!(status, StatusCode::OK);
        answer["probabilisticSampling"]["samplingRate"]
            .as_f64()
            .unwrap()
    }
}

#[tokio::test]
async fn senders_over_http_and_grpc_follow_the_plan_while_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.yaml");
    std::fs::write(&file, plan(0.5)).unwrap();
    let process = Process::serve(&[
        "sampling_server.http.enabled=true",
        "sampling_server.http.endpoint=127.0.0.1:0",
        "sampling_server.grpc.enabled=true",
        "sampling_server.grpc.endpoint=127.0.0.1:0",
        "evaluator.interval=100ms",
        &format!("adapters.fixed_sampling.file={}", file.display()),
    ])
    .await;
    let grpc = channel(process.address("sampling_grpc")).await;
    let mut grpc = SamplingManagerClient::new(grpc);
    let http = reqwest::Client::new();
    let mut server = Sampled { process, http };

    let shares = async |wanted: f64| {
        let known = async || (server.share().await - wanted).abs() < 1e-12;
        eventually("the plan", async || known().await.then_some(())).await;
    };
    shares(0.5).await;
    let (_, told) = server.ask("?service=checkout").await;
    let question = SamplingStrategyParameters {
        service_name: "checkout".to_owned(),
    };
    let answer = grpc.get_sampling_strategy(question).await.unwrap();
    assert_eq!(serde_json::to_value(answer.into_inner()).unwrap(), told);
    let operation = &told["operationSampling"]["perOperationStrategies"][0];
    assert_eq!(
        *operation,
        json!({"operation": "GET /slow", "probabilisticSampling": {"samplingRate": FULL}})
    );
    assert_eq!(server.ask("").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(server.ask("?service=search").await.0, StatusCode::OK);

    std::fs::write(&file, plan(0.125)).unwrap();
    shares(0.125).await;
    // A file that is broken under way changes nothing.
    std::fs::write(&file, "services: [{service: checkout, default_ratio: 2}]").unwrap();
    eventually("the trouble in the report", async || {
        let report = server.process.json("/api/v1/report").await;
        let state = report["integrations"]["fixed-sampling"].as_str()?;
        state.contains("must be above 0").then_some(())
    })
    .await;
    shares(0.125).await;

    let api = server.process.json("/api/v1/sampling").await;
    assert_eq!(api["plan"]["revision"], 2);
    assert_eq!(api["plan"]["services"][0]["default_ratio"], 0.125);
    let report = server.process.json("/api/v1/report").await;
    assert_eq!(report["sampling"], api["plan"]);
    assert_described("report", &report);

    let page = server.process.page().await;
    let count = |transport, answer| {
        let labels = [("transport", transport), ("answer", answer)];
        page.count("slo_copilot_sampling_requests_total", &labels)
    };
    assert!(count("http", "plan") >= 4);
    assert_eq!((count("http", "full"), count("http", "invalid")), (1, 1));
    assert_eq!((count("grpc", "plan"), count("grpc", "full")), (1, 0));

    drop(grpc);
    server.process.terminate();
    assert!(server.process.ended().await.success());
    let written = read_json(&server.process.output("sampling/plan.json"));
    assert_eq!(written, api["plan"]);
    assert_names_checkout(&server.process);
}

/// The files for those who do not ask.
fn assert_names_checkout(process: &Process) {
    for name in [
        "sdk.env",
        "collector-probabilistic.yaml",
        "collector-tail.yaml",
    ] {
        let path = process.output(&format!("sampling/{name}"));
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains("checkout"), "{name}: {text}");
    }
}

#[tokio::test]
async fn without_a_plan_the_server_is_off_and_nothing_is_written() {
    let process = Process::serve(&["evaluator.interval=100ms"]).await;
    let api = eventually("what the budget advises", async || {
        let api = process.json("/api/v1/sampling").await;
        assert_eq!(api["plan"], Value::Null);
        (!api["telemetry_recommendation"].is_null()).then_some(api)
    })
    .await;
    let advice = &api["telemetry_recommendation"];
    assert_eq!(
        (&advice["plan"], &advice["sampling_action"]),
        (&Value::Null, &"maintain_sampling".into())
    );
    eventually("a report", async || {
        process.output("report.json").exists().then_some(())
    })
    .await;
    let addresses = read_json(&process.output("endpoints.json"));
    let names: Vec<&String> = addresses.as_object().unwrap().keys().collect();
    assert_eq!(names, ["admin", "otlp_grpc", "otlp_http"]);
    assert!(!process.output("sampling").exists());
}

#[test]
fn a_plan_that_cannot_be_used_stops_the_start_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.yaml");
    let serve = || {
        let set = format!("adapters.fixed_sampling.file={}", file.display());
        let store = format!("storage.dir={}", folder.path().join("data").display());
        let output = format!("output.dir={}", folder.path().join("out").display());
        let mut arguments = vec!["serve", "--set", &set, "--set", &store, "--set", &output];
        for key in [
            "receivers.otlp.grpc.endpoint=127.0.0.1:0",
            "receivers.otlp.http.endpoint=127.0.0.1:0",
            "admin.endpoint=127.0.0.1:0",
        ] {
            arguments.extend(["--set", key]);
        }
        run(&arguments)
    };
    for (text, words) in [
        (None, "cannot read"),
        (Some("services: [{service: a, ratio: 1}]"), "unknown field"),
        (
            Some("services: [{service: a, default_ratio: 50}]"),
            "ratio 50 of `a` must be above 0 and at most 1",
        ),
    ] {
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let output = serve();
        assert_eq!(output.status.code(), Some(2));
        let said = stderr(&output);
        for word in ["adapters.fixed_sampling.file", "plan.yaml", words] {
            assert!(said.contains(word), "`{word}` is not in: {said}");
        }
    }
}
