//! The telemetry budget: of volumes, of trace files, and of a running server.

use std::time::Duration;

use serde_json::Value;
use slo_copilot::clock::Clock;
use slo_copilot::config::Config;
use slo_copilot::model::NANOS_PER_SEC;
use slo_copilot::model::recommendation::SamplingAction;
use slo_copilot::model::report::Report;

use crate::support::eventually;
use crate::support::grpc::accepted;
use crate::support::process::{run, stderr};
use crate::support::server::Server;
use crate::support::spans::{MINUTE, NOW, request, span};
use crate::support::traces::{Requests, write};

const HOUR: u64 = 60 * MINUTE;

fn answer(arguments: &[&str]) -> (Value, String) {
    let output = run(arguments);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    (serde_json::from_slice(&output.stdout).unwrap(), said)
}

/// The recommendation of `analyze` for traces of which every `failing`-th request fails, and volumes.
fn analyzed(failing: u64, volumes: &[&str]) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let requests = Requests {
        service: "shop",
        count: 2_000,
        failing,
        duration_millis: 20,
    };
    let path = write(dir.path(), "traces.jsonl", &[requests]);
    let mut arguments = vec!["analyze", path.as_str()];
    for volume in volumes {
        arguments.extend(["--telemetry-volume", *volume]);
    }
    let (mut report, _) = answer(&arguments);
    report["telemetry_recommendation"].take()
}

#[test]
fn analyze_recommends_by_volumes_and_by_what_the_traces_say() {
    let over = analyzed(0, &["1.2", "1.25", "1.3", "1.28"]);
    assert_eq!(over["sampling_action"], "decrease_sampling");
    assert_eq!(over["budget_alert"], true);
    assert_eq!(over["forecast"].as_array().unwrap().len(), 7);
    assert!(
        over["notes"][0].as_str().unwrap().contains("4 days"),
        "{over}"
    );
    // The seed said decrease in each of these, too.
    let under = analyzed(0, &["0.2", "0.21", "0.2", "0.19"]);
    assert_eq!(under["sampling_action"], "increase_sampling");
    assert_eq!(under["budget_alert"], false);
    let incident = analyzed(3, &["1.2", "1.25", "1.3", "1.28"]);
    assert_eq!(incident["sampling_action"], "increase_sampling");
    assert_eq!(incident["budget_alert"], true);
    assert!(analyzed(0, &[]).is_null());
}

#[test]
fn volumes_and_traces_are_answered_in_tables_and_json() {
    let (made, said) = answer(&["sampling", "--volume", "0.9", "--volume", "1.1"]);
    assert_eq!(made["unit"], "budgets");
    assert!(
        said.contains("DAY") && said.contains("2 days of history"),
        "{said}"
    );

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spans.csv");
    let days = (0..28).map(|day| format!("{day},{}", 9_000 + 10 * (day % 7)));
    let lines: Vec<String> = ["day,spans".to_owned()].into_iter().chain(days).collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    let path = path.to_str().unwrap();
    let (made, said) = answer(&["sampling", "--volumes", path, "--spans-per-day", "5000"]);
    assert_eq!(
        (&made["unit"], &made["budget_alert"]),
        (&"spans".into(), &true.into())
    );
    assert!(
        !made["backtest"].as_array().unwrap().is_empty() && said.contains("(alert)"),
        "{said}"
    );

    let requests = Requests {
        service: "shop",
        count: 3_000,
        failing: 50,
        duration_millis: 20,
    };
    let path = write(dir.path(), "traces.jsonl", &[requests]);
    // Ten traces a second, 864 000 a day, of which errors and one in a hundred are kept anyway.
    let (made, said) = answer(&["sampling", &path, "--spans-per-day", "100000"]);
    let rate = &made["rates"][0];
    let kept = rate["kept_spans_per_day"].as_f64().unwrap();
    assert!((kept / 100_000.0 - 1.0).abs() < 0.01, "{made}");
    let ratio = rate["ratio"].as_f64().unwrap();
    assert!((0.08..0.1).contains(&ratio), "{made}");
    assert!((rate["error_ratio"].as_f64().unwrap() - 0.02).abs() < 1e-9);
    assert_eq!(made["plan"]["services"].as_array().unwrap().len(), 1);
    assert!(
        said.contains("ROOT OPERATION") && said.contains("decrease_sampling"),
        "{said}"
    );
}

#[test]
fn what_is_no_volume_or_no_budget_ends_with_2() {
    for (arguments, word) in [
        (&["sampling"][..], "--volume"),
        (&["sampling", "--volume=-1"], "no volume"),
        (&["sampling", "--volumes", "/nowhere.csv"], "/nowhere.csv"),
        (
            &["sampling", "--volume", "1", "--spans-per-day", "0"],
            "above 0",
        ),
        (
            &[
                "sampling",
                "x.jsonl",
                "--set",
                "adapters.sampling.budget.bytes_per_day=1",
            ],
            "x.jsonl",
        ),
        (
            &[
                "sampling",
                "--volume",
                "1",
                "--set",
                "adapters.sampling.max_fall=0.5",
            ],
            "max_fall",
        ),
        (
            &[
                "sampling",
                "--volume",
                "1",
                "--set",
                "adapters.sampling.max=1",
            ],
            "max_operations",
        ),
    ] {
        let output = run(arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {said}");
        assert!(said.contains(word), "{arguments:?} {said}");
    }
}

/// A budget of a thousand spans a day, and a step whenever the clock moves by a minute.
fn tight(config: &mut Config) {
    config.adapters.sampling.budget.spans_per_day = Some(1_000.0);
    config.adapters.sampling.min_traces_per_operation = 1.0;
    config.windows.future_tolerance = Duration::from_mins(5);
}

fn ratio(report: &Report) -> Option<f64> {
    let plan = report.telemetry_recommendation.as_ref()?.plan.clone()?;
    (!plan.services.is_empty()).then(|| plan.ratio("shop", "GET /orders"))
}

/// A hundred requests more each minute until the plan says what is wanted of it.
async fn traffic_until(server: &Server, what: &str, is_wanted: impl Fn(&Report) -> bool) -> u64 {
    let mut client = server.client().await;
    let mut sent = 0;
    let minutes = std::cell::Cell::new(0);
    eventually(what, async || {
        let minute = minutes.get() + 1;
        minutes.set(minute);
        let now = NOW + minute * MINUTE;
        server.clock.set(now);
        let spans = (0..100)
            .map(|number| span(minute * 1_000 + number, now))
            .collect();
        accepted(&mut client, &request("shop", spans)).await;
        sent += 100;
        let report = server.fresh_report().await;
        is_wanted(&report).then_some(sent)
    })
    .await
}

#[tokio::test]
async fn a_server_plans_by_what_it_measures_and_says_so_everywhere() {
    let server = Server::start(tight).await;
    traffic_until(&server, "a plan below a tenth", |report| {
        ratio(report).is_some_and(|ratio| ratio < 0.1)
    })
    .await;
    let report = server.fresh_report().await;
    let told = report.telemetry_recommendation.clone().unwrap();
    assert_ne!(told.sampling_action, SamplingAction::IncreaseSampling);
    assert_eq!(
        (told.unit.as_str(), told.budget_per_day),
        ("spans", Some(1_000.0))
    );
    assert!(
        report.integrations["caat"].starts_with("on: "),
        "{:?}",
        report.integrations
    );
    let page = server.fresh_page().await;
    let rate = page.sum("slo_copilot_sampling_rate_ratio", &[("service", "shop")]);
    assert!(rate.unwrap() < 0.1, "{rate:?}");
    assert!(
        page.sum("slo_copilot_sampling_kept_ratio", &[("unit", "spans")])
            .unwrap()
            < 0.2
    );
    let (asked, said) = tokio::task::spawn_blocking({
        let url = server.admin_url("");
        move || answer(&["sampling", "--endpoint", &url])
    })
    .await
    .unwrap();
    assert_eq!(asked["plan"]["services"][0]["service"], "shop");
    assert!(said.contains("of today's budget is spent"), "{said}");
}

#[tokio::test]
async fn without_a_budget_all_is_sampled_in_full() {
    let server = Server::start(|_| {}).await;
    let mut client = server.client().await;
    accepted(&mut client, &request("shop", vec![span(0, NOW)])).await;
    let report = eventually("a recommendation", async || {
        let report = server.fresh_report().await;
        report.telemetry_recommendation.is_some().then_some(report)
    })
    .await;
    let told = report.telemetry_recommendation.clone().unwrap();
    assert_eq!(told.sampling_action, SamplingAction::MaintainSampling);
    assert!(told.plan.is_none() && !told.budget_alert);
    assert!(report.integrations["caat"].contains("adapters.sampling.budget"));
}

/// Forty hours of traffic, and the start after it.
#[tokio::test]
async fn a_restart_forecasts_from_the_hours_of_the_history() {
    let server = Server::start(|_| {}).await;
    let mut client = server.client().await;
    for hour in 0..40_u64 {
        let end = NOW - (40 - hour) * HOUR;
        let spans = (0..20 + hour % 24)
            .map(|number| span(hour * 100 + number, end))
            .collect();
        accepted(&mut client, &request("shop", spans)).await;
    }
    let (_, dir) = server.stop().await;

    let server = Server::start_in(dir, Clock::manual(NOW), tight).await;
    // How many spans there are for each entry span is measured first.
    traffic_until(&server, "a forecast", |report| {
        let told = report.telemetry_recommendation.as_ref();
        told.is_some_and(|told| !told.forecast.is_empty())
    })
    .await;
    let report = server.fresh_report().await;
    let told = report.telemetry_recommendation.clone().unwrap();
    assert!(told.backtest.len() > 2, "{told:?}");
    // 20 to 43 requests an hour.
    let day = told.forecast[0].mean;
    assert!((300.0..2_000.0).contains(&day), "{day}");
    assert_eq!(told.forecast.len(), 7);
    assert!(NOW.is_multiple_of(NANOS_PER_SEC));
}
