//! The files as a Collector reads them.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::exporter::prometheus::fixture;
use crate::model::report::LatencyQuantiles;
use crate::model::sampling::{OperationSampling, ServiceSampling};
use crate::model::window::Window;

fn service(name: &str, default_ratio: f64, operations: &[(&str, f64)]) -> ServiceSampling {
    let operations = operations
        .iter()
        .map(|(operation, ratio)| OperationSampling {
            operation: (*operation).to_owned(),
            ratio: *ratio,
        });
    ServiceSampling {
        service: name.to_owned(),
        default_ratio,
        operations: operations.collect(),
    }
}

fn plan() -> SamplingPlan {
    SamplingPlan {
        revision: 7,
        made_at: 1_790_000_000_000_000_000,
        services: vec![
            service("cart", 0.25, &[("GET /cart", 0.1), ("GET /${HOME}", 0.07)]),
            service("checkout", 0.25, &[]),
            service("search", 1.0, &[]),
        ],
    }
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What a Collector makes of a text once it has put its environment variables in.
fn expanded(text: &str) -> String {
    assert!(!text.replace("$$", "").contains('$'), "{text}");
    text.replace("$$", "$")
}

/// A report in which `checkout` is slow above 270 ms.
fn report() -> Report {
    let mut report = fixture::report();
    let latency = |events, p99| LatencyQuantiles {
        window: Window::D1,
        events,
        p50: 0.1,
        p95: 0.2,
        p99,
    };
    for service in &mut report.services {
        service.latency = match &*service.service.name {
            "checkout" => vec![latency(100, 0.27)],
            _ => vec![latency(99, 0.27)],
        };
    }
    report
}

#[tokio::test]
async fn the_files_appear_with_the_plan_and_say_it() {
    let folder = tempfile::tempdir().unwrap();
    let directory = OutputDirectory::new(folder.path().to_owned(), 100);
    let mut exporter = SamplingExporter::new(directory, &SamplingConfig::default());
    let mut report = report();
    exporter.export(&report).await.unwrap();
    assert!(!folder.path().join("sampling").exists());
    report.sampling = Some(Arc::new(plan()));
    exporter.export(&report).await.unwrap();
    let read =
        |name: &str| std::fs::read_to_string(folder.path().join("sampling").join(name)).unwrap();
    let written: SamplingPlan = serde_json::from_str(&read("plan.json")).unwrap();
    assert_eq!(written, plan());
    insta::assert_snapshot!("sdk", read("sdk.env"));
    insta::assert_snapshot!("probabilistic", read("collector-probabilistic.yaml"));
    insta::assert_snapshot!("tail", read("collector-tail.yaml"));
}

#[test]
fn services_of_one_share_have_one_pipeline() {
    let text = Probabilistic(&plan()).to_string();
    let config = yaml(&text);
    let table = config["connectors"]["routing/sampling"]["table"]
        .as_array()
        .unwrap();
    assert_eq!(table.len(), 1, "{text}");
    let condition = table[0]["condition"].as_str().unwrap();
    assert!(condition.contains("\"cart\"") && condition.contains("\"checkout\""));
    let sampler = &config["processors"]["probabilistic_sampler/1"];
    assert_eq!(
        *sampler,
        json!({"mode": "equalizing", "sampling_percentage": 25})
    );
    // Each pipeline that is routed to exists, and its processors do.
    let pipelines = config["service"]["pipelines"].as_object().unwrap();
    assert!(pipelines.contains_key("traces/sampling-all"));
    assert_eq!(
        pipelines["traces/sampling-1"]["processors"][0],
        "probabilistic_sampler/1"
    );
}

#[test]
fn a_plan_that_samples_everything_is_a_configuration_too() {
    let plan = SamplingPlan {
        services: vec![service("search", 1.0, &[])],
        ..SamplingPlan::default()
    };
    for plan in [plan, SamplingPlan::default()] {
        let config = yaml(&Probabilistic(&plan).to_string());
        let table = config["connectors"]["routing/sampling"]["table"]
            .as_array()
            .unwrap();
        assert_eq!(table[0]["condition"], "false");
        assert_eq!(config["processors"], Value::Null);
        let tail = yaml(&Tail(&plan, &report()).to_string());
        let policies = tail["processors"]["tail_sampling"]["policies"]
            .as_array()
            .unwrap();
        assert!(policies.len() >= 3);
    }
}

#[test]
fn what_is_slow_is_the_edge_above_the_percentile_and_unknown_with_few_requests() {
    let text = Tail(&plan(), &report()).to_string();
    assert!(text.contains("> 300000000"), "{text}");
    assert_eq!(text.matches("name: \"slow:").count(), 1, "{text}");
}

#[test]
fn a_url_that_breaks_a_variable_is_refused() {
    assert_eq!(SamplingConfig::default().check(), Ok(()));
    for url in [
        "",
        "localhost:5778",
        "http://",
        "http://a b",
        "http://a\n",
        "http://a,b=c",
    ] {
        let config = SamplingConfig {
            grpc_url: url.to_owned(),
            ..SamplingConfig::default()
        };
        let (key, _) = config.check().unwrap_err();
        assert_eq!(key, "exporters.sampling.grpc_url", "{url}");
    }
}

#[test]
fn percentages_have_no_digits_of_binary_fractions() {
    assert_eq!(percent(0.07).to_string(), "7");
    assert_eq!(percent(0.001_234).to_string(), "0.1234");
    assert!(percent(1e-5) > 0.0);
}

proptest! {
    /// Whatever names hold, they stay names: in YAML, in its comments, and in the conditions within it.
    #[test]
    fn property_a_name_never_leaves_its_quotes(name in any::<String>(), operation in any::<String>()) {
        let plan = SamplingPlan {
            services: vec![service(&name, 0.5, &[(&operation, 0.25)])],
            ..SamplingPlan::default()
        };
        let routed = yaml(&Probabilistic(&plan).to_string());
        let condition = routed["connectors"]["routing/sampling"]["table"][0]["condition"].as_str().unwrap();
        let condition = expanded(condition);
        let literal = condition.strip_prefix(r#"attributes["service.name"] == "#).unwrap();
        prop_assert_eq!(serde_json::from_str::<String>(literal).unwrap(), name.clone());

        let tail = yaml(&Tail(&plan, &report()).to_string());
        let policies = tail["processors"]["tail_sampling"]["policies"].as_array().unwrap();
        // Errors, rootless, the operation, the others, unplanned.
        prop_assert_eq!(policies.len(), 5);
        let begins = &policies[2]["and"]["and_sub_policy"][0]["ottl_condition"]["span"][0];
        let begins = expanded(begins.as_str().unwrap());
        let literal = begins.rsplit_once("span.name == ").map(|(_, literal)| literal.to_owned());
        if !operation.contains("span.name == ") {
            prop_assert_eq!(serde_json::from_str::<String>(&literal.unwrap()).unwrap(), operation);
        }

        let env = Environment(&plan, &SamplingConfig::default()).to_string();
        let variables = env.lines().filter(|line| !line.starts_with('#'));
        prop_assert_eq!(variables.count(), 2);
        prop_assert!(env.lines().last().unwrap().ends_with("=0.5"));
    }
}
