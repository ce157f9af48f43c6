//! What `kill -9` costs: with `wal` nothing that was acknowledged, with `checkpoint` what came after the last one.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use serde_json::Value;
use slo_copilot::clock::Clock;
use slo_copilot::config::Config;
use slo_copilot::store::DurabilityConfig;
use tempfile::TempDir;

use crate::support::eventually;
use crate::support::grpc::accepted;
use crate::support::load::{CLIENTS, Load, SPANS_PER_REQUEST};
use crate::support::process::Process;
use crate::support::server::{Server, availability};
use crate::support::spans::{MINUTE, NOW, failed_spans, named_span, request, request_of, spans};

const SERVICE: &str = "checkout";

fn sets(durability: &str) -> Vec<String> {
    vec![
        format!("storage.durability={durability}"),
        "storage.checkpoint_interval=1s".to_owned(),
        "evaluator.interval=100ms".to_owned(),
        "objectives.list=[{name: paid, service: checkout, sli: availability, target: 0.9}]"
            .to_owned(),
    ]
}

async fn serve(durability: &str) -> Process {
    let sets = sets(durability);
    let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
    Process::serve(&sets).await
}

/// Events of the service and of its objective in their longest windows.
async fn windowed(process: &Process) -> (u64, f64) {
    process.fresh_page().await;
    let services = process.json("/api/v1/services").await;
    let services = services.as_array().unwrap();
    let found = services
        .iter()
        .find(|found| found["service"]["name"] == SERVICE);
    let windows = found.map(|found| found["windows"].as_array().unwrap().clone());
    let longest = windows.and_then(|windows| windows.last().cloned());
    let total = longest.map_or(0, |window| window["observed_total"].as_u64().unwrap());
    let report = process.json("/api/v1/report").await;
    let budget = &report["baseline_evaluations"][0]["budget"]["total"];
    (total, budget.as_f64().unwrap_or(0.0))
}

/// A process that is killed again and again, wherever it is: in a checkpoint, between them, in the middle of requests.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_log_a_kill_under_load_loses_nothing_that_was_acknowledged() {
    let mut process = serve("wal").await;
    let (mut acknowledged, mut sent) = (0, 0);
    for enough in [500, 4_150, 1_900] {
        let now = Clock::system().now();
        let load = Load::start(process.address("otlp_grpc"), now).await;
        load.under_way(enough).await;
        process.kill();
        let (took, tried) = load.finish().await;
        (acknowledged, sent) = (acknowledged + took, sent + tried);
        process.start_again().await;
        let counted = process.fresh_page().await.requests(SERVICE);
        let (in_windows, in_budget) = windowed(&process).await;
        let said = format!("acknowledged {acknowledged}, counted {counted}, sent {sent}");
        assert!(acknowledged <= counted && counted <= sent, "{said}");
        assert!(tried - took <= CLIENTS * SPANS_PER_REQUEST, "{said}");
        assert_eq!(in_windows, counted, "{said}");
        assert!(
            (in_budget - counted as f64).abs() < 1e-6,
            "{in_budget}: {said}"
        );
        // What stands is what goes on: the next round begins with the sum of all before.
        (acknowledged, sent) = (counted, counted);
    }
    let page = process.page().await;
    let unlogged = page.count("slo_copilot_wal_unlogged_requests_total", &[]);
    assert_eq!(unlogged, 0);
    assert_eq!(
        page.count("slo_copilot_durability_broken_files_total", &[]),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn with_checkpoints_a_kill_costs_what_came_after_the_last_one() {
    let mut process = serve("checkpoint").await;
    let now = Clock::system().now();
    let mut client = process.client().await;
    accepted(&mut client, &request(SERVICE, spans(700, now))).await;
    let ok = [("outcome", "ok")];
    let made = async || {
        process
            .page()
            .await
            .count("slo_copilot_checkpoints_total", &ok)
    };
    // Two: the first may have been under way.
    let before = made().await;
    let next = async || (made().await >= before + 2).then_some(());
    eventually("two checkpoints", next).await;
    accepted(&mut client, &request(SERVICE, spans(30, now))).await;
    process.kill_and_start_again().await;
    let (counted, in_budget) = windowed(&process).await;
    assert!((700..=730).contains(&counted), "{counted}");
    assert!(
        (in_budget - counted as f64).abs() < 1e-6,
        "{in_budget}, not {counted}"
    );
    // A counter that came back a little lower would be counted again as a whole.
    assert_eq!(process.page().await.requests(SERVICE), 0);
    let mut client = process.client().await;
    accepted(&mut client, &request(SERVICE, spans(5, now))).await;
    assert_eq!(process.fresh_page().await.requests(SERVICE), 5);
    assert_eq!(windowed(&process).await.0, counted + 5);
}

/// Operations that the history does not keep, versions in the middle of a rollout, late spans, weights.
fn everything() -> Vec<ExportTraceServiceRequest> {
    let mut requests = Vec::new();
    for version in ["1", "2"] {
        let resource = [("service.name", SERVICE), ("service.version", version)];
        let mut batch = spans(40, NOW - MINUTE);
        batch.extend(failed_spans(3, NOW));
        batch.extend(spans(5, NOW - 600 * MINUTE));
        let named = |number: u32| {
            let letter = char::from_u32('a' as u32 + number).unwrap();
            named_span(number.into(), format!("GET /{letter}"), NOW - MINUTE)
        };
        batch.extend((0..26).map(named));
        for weighted in batch.iter_mut().step_by(3) {
            weighted.trace_state = "ot=th:8".to_owned();
        }
        requests.push(request_of(&resource, batch));
    }
    requests
}

fn adjust(durability: DurabilityConfig) -> impl FnOnce(&mut Config) {
    move |config| {
        config.storage.durability = durability;
        config.evaluator.report_operations_per_service = 100;
        config.objectives.list = vec![availability(SERVICE, 0.9)];
    }
}

async fn start_in(dir: &Arc<TempDir>, durability: DurabilityConfig) -> Server {
    Server::start_in(Arc::clone(dir), Clock::manual(NOW), adjust(durability)).await
}

/// What people and Prometheus see.
async fn seen(server: &Server) -> [Value; 3] {
    let page = server.fresh_page().await;
    let services = server.json("/api/v1/services").await;
    let report = server.json("/api/v1/report").await;
    let counted = page.requests(SERVICE).into();
    [services, report["baseline_evaluations"].clone(), counted]
}

#[tokio::test]
async fn an_orderly_stop_leaves_no_trace_in_what_is_seen() {
    for durability in [DurabilityConfig::Checkpoint, DurabilityConfig::Wal] {
        let server = Server::start(adjust(durability)).await;
        let mut client = server.client().await;
        for request in everything() {
            accepted(&mut client, &request).await;
        }
        let before = seen(&server).await;
        assert_eq!(before[0][0]["operations"].as_array().unwrap().len(), 27);
        assert_eq!(before[0][0]["versions"].as_array().unwrap().len(), 2);
        let (_, mut dir) = server.stop().await;
        // Twice, and over a change of what is kept.
        let other = match durability {
            DurabilityConfig::Wal => DurabilityConfig::Checkpoint,
            DurabilityConfig::Checkpoint | DurabilityConfig::None => DurabilityConfig::Wal,
        };
        for durability in [durability, other, DurabilityConfig::None] {
            let server = start_in(&dir, durability).await;
            assert_eq!(seen(&server).await, before, "{durability:?}");
            let kept = dir.path().join("data/windows.checkpoint").exists();
            assert_eq!(kept, durability != DurabilityConfig::None);
            (_, dir) = server.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_checkpoint_is_set_aside_and_the_history_takes_its_place() {
    let mut process = serve("wal").await;
    let now = Clock::system().now();
    let mut client = process.client().await;
    accepted(&mut client, &request(SERVICE, spans(40, now))).await;
    process.terminate();
    process.ended().await;
    let path = process.stored("windows.checkpoint");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    process.start_again().await;
    assert_eq!(windowed(&process).await.0, 40);
    let page = process.page().await;
    assert_eq!(
        page.count("slo_copilot_durability_broken_files_total", &[]),
        1
    );
    // The stop was orderly, so the counters are known all the same.
    assert_eq!(page.requests(SERVICE), 40);
    assert!(process.stored("windows.checkpoint.broken").exists());
    assert!(path.exists(), "the start made another one");
    process.kill_and_start_again().await;
    assert_eq!(windowed(&process).await.0, 40);
    assert_eq!(process.page().await.requests(SERVICE), 40);
}

/// A log that grows faster than checkpoints are due asks for them itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_bounded_by_checkpoints() {
    let mut sets = sets("wal");
    sets[1] = "storage.checkpoint_interval=1h".to_owned();
    sets.push("storage.wal_max_bytes=1048576".to_owned());
    let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
    let mut process = Process::serve(&sets).await;
    let now = Clock::system().now();
    let mut client = process.client().await;
    let batch = request(SERVICE, spans(2_000, now));
    let mut sent = 0;
    let made = async || {
        let page = process.page().await;
        page.sum("slo_copilot_checkpoints_total", &[("outcome", "ok")])
    };
    while made().await.unwrap_or(0.0) < 2.0 {
        accepted(&mut client, &batch).await;
        sent += 2_000;
        assert!(sent < 10_000_000, "no checkpoint");
    }
    let page = process.page().await;
    assert_eq!(
        page.count("slo_copilot_wal_unlogged_requests_total", &[]),
        0
    );
    process.kill_and_start_again().await;
    assert_eq!(process.fresh_page().await.requests(SERVICE), sent);
    assert_eq!(windowed(&process).await.0, sent);
}
