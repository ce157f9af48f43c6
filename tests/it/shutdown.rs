//! Stopping under load: whatever was acknowledged is counted, and the last report on the disk says so.

use std::time::Duration;

use slo_copilot::clock::Clock;
use slo_copilot::model::window::Window;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::grpc::{HeldExport, accepted, channel};
use crate::support::load::{CLIENTS, Load, SPANS_PER_REQUEST};
use crate::support::process::Process;
use crate::support::server::{Server, as_read, output_in, read_json, sums};
use crate::support::spans::{NOW, request, spans};

/// Spans acknowledged before the stop begins.
const ENOUGH: u64 = 5_000;

#[track_caller]
fn assert_nothing_lost(acknowledged: u64, counted: u64, sent: u64) {
    let said = format!("acknowledged {acknowledged}, counted {counted}, sent {sent}");
    assert!(acknowledged >= ENOUGH, "{said}");
    assert!(acknowledged <= counted && counted <= sent, "{said}");
    assert!(sent - acknowledged <= CLIENTS * SPANS_PER_REQUEST, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_counts_all_that_was_acknowledged() {
    let server = Server::start(|_| ()).await;
    let load = Load::start(server.endpoints.otlp_grpc, NOW).await;
    load.under_way(ENOUGH).await;
    let (report, dir) = server.stop().await;
    let (acknowledged, sent) = load.finish().await;
    let counted = sums(&report, "checkout", Window::M5).observed_total;
    assert_nothing_lost(acknowledged, counted, sent);
    let written = read_json(&output_in(&dir, "report.json"));
    assert_eq!(written, as_read(&*report));

    // What the report counted is also what the next start finds.
    let server = Server::start_in(dir, Clock::manual(NOW), |_| ()).await;
    let restored = server.fresh_report().await;
    assert_eq!(
        sums(&restored, "checkout", Window::M5).observed_total,
        counted
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_drains_and_ends_with_code_0() {
    // The only evaluation that can know the last spans is the one of the shutdown.
    let mut server = Process::serve(&["evaluator.interval=1h"]).await;
    let load = Load::start(server.address("otlp_grpc"), Clock::system().now()).await;
    load.under_way(ENOUGH).await;
    server.terminate();
    let status = server.ended().await;
    assert_eq!(status.code(), Some(0), "{status}");
    let (acknowledged, sent) = load.finish().await;
    let report = read_json(&server.output("report.json"));
    assert_eq!(report["services"][0]["service"]["name"], "checkout");
    let windows = report["services"][0]["windows"].as_array().unwrap();
    let counted = windows[0]["observed_total"].as_u64().unwrap();
    assert_nothing_lost(acknowledged, counted, sent);
}

/// Everything was written, and the exit code said that it was lost.
#[tokio::test]
async fn a_client_that_never_ends_its_question_makes_no_failure_of_a_stop() {
    let server = Server::start(|config| config.shutdown.deadline = Duration::from_secs(4)).await;
    let mut stalled = TcpStream::connect(server.endpoints.admin).await.unwrap();
    stalled
        .write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
        .await
        .unwrap();
    server.fresh_report().await;
    // The connection was taken before this one, which was answered.
    server.json("/api/v1/report").await;
    server.stop().await;
}

/// One stalled client once kept everybody's last minute from the disk: the drain took the whole deadline.
#[tokio::test]
async fn a_client_that_never_finishes_costs_nobody_what_was_acknowledged() {
    let server = Server::start(|config| config.shutdown.deadline = Duration::from_secs(2)).await;
    let mut client = server.client().await;
    accepted(&mut client, &request("checkout", spans(30, NOW))).await;
    let stalled = HeldExport::begin(channel(server.endpoints.otlp_grpc).await);
    stalled.send(&[0, 0, 0]).await;
    accepted(&mut client, &request("checkout", spans(12, NOW))).await;
    let (report, dir) = server.stop().await;
    assert_eq!(sums(&report, "checkout", Window::M5).observed_total, 42);
    assert_eq!(
        read_json(&output_in(&dir, "report.json")),
        as_read(&*report)
    );

    let server = Server::start_in(dir, Clock::manual(NOW), |_| ()).await;
    let restored = server.fresh_report().await;
    assert_eq!(sums(&restored, "checkout", Window::M5).observed_total, 42);
    server.stop().await;
}
