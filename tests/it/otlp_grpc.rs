//! OTLP/gRPC: what is taken, what is refused, and which code tells a client whether to come again.

use std::time::Duration;

use bytes::Bytes;
use opentelemetry::trace::{Span as _, SpanKind, Tracer, TracerProvider};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prost::Message;
use slo_copilot::clock::Clock;
use slo_copilot::model::UnixNanos;
use slo_copilot::model::window::Window;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::grpc::{HeldExport, TRACES, accepted, call, channel, client, export, frame};
use crate::support::process::Process;
use crate::support::server::{Server, sums};
use crate::support::spans::{MINUTE, NOW, failed_spans, request, span, spans};
use crate::support::{eventually, gzip};

const ACCEPTED: &str = "slo_copilot_receiver_accepted_spans_total";
const REJECTED: &str = "slo_copilot_receiver_rejected_spans_total";
const REFUSED: &str = "slo_copilot_receiver_refused_requests_total";

/// The limit of the tests about large requests.
const MIB: usize = 1 << 20;

async fn server_with_small_limit() -> Server {
    Server::start(|config| config.receivers.otlp.max_request_bytes = MIB as u64).await
}

/// A refusal that clients must not repeat.
#[track_caller]
fn assert_refused_for_good(status: &Status, code: Code) {
    assert_eq!(status.code(), code, "{status:?}");
    assert!(status.get_details_retry_info().is_none(), "{status:?}");
    assert!(!status.message().is_empty());
}

/// What the windows hold of a service.
async fn counted(server: &Server, service: &str) -> u64 {
    let report = server.fresh_report().await;
    sums(&report, service, Window::D30).observed_total
}

fn wall_clock() -> UnixNanos {
    Clock::system().now()
}

#[tokio::test]
async fn accepted_spans_are_counted_by_outcome_and_as_raw_spans() {
    let server = Process::serve(&["evaluator.interval=100ms"]).await;
    let mut client = server.client().await;
    let end = wall_clock();
    accepted(&mut client, &request("checkout", spans(30, end))).await;
    accepted(&mut client, &request("checkout", failed_spans(7, end))).await;
    let mut call = span(1, end);
    call.kind = opentelemetry_proto::tonic::trace::v1::span::SpanKind::Client.into();
    accepted(&mut client, &request("checkout", vec![call])).await;

    let page = server.fresh_page().await;
    assert_eq!(page.outcome("checkout", "ok"), 30);
    assert_eq!(page.outcome("checkout", "error"), 7);
    let labels = [
        ("service", "checkout"),
        ("operation", "GET /orders"),
        ("kind", "server"),
    ];
    assert_eq!(page.count("slo_copilot_requests_total", &labels), 37);
    assert_eq!(page.count(ACCEPTED, &[("transport", "grpc")]), 38);
    assert_eq!(page.count(ACCEPTED, &[("transport", "http")]), 0);
}

#[tokio::test]
async fn an_empty_request_succeeds() {
    let server = Server::start(|_| ()).await;
    let mut client = server.client().await;
    accepted(&mut client, &ExportTraceServiceRequest::default()).await;
    assert!(server.fresh_report().await.services.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn unusable_spans_are_rejected_by_number_and_the_rest_counts() {
    let server = Process::serve(&["evaluator.interval=100ms"]).await;
    let mut client = server.client().await;
    let end = wall_clock();
    let mut batch = spans(10, end);
    batch[0].start_time_unix_nano = end + 1;
    batch[1].trace_id = vec![0; 16];
    batch[2].span_id = vec![1; 7];
    batch[3].trace_id.clear();
    let response = export(&mut client, &request("checkout", batch)).await;
    let partial = response.unwrap().partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 4);
    assert!(
        partial.error_message.contains("end before start: 1")
            && partial.error_message.contains("or all zeros: 3"),
        "{}",
        partial.error_message
    );

    let page = server.fresh_page().await;
    assert_eq!(page.requests("checkout"), 6);
    assert_eq!(page.count(ACCEPTED, &[("transport", "grpc")]), 6);
    let rejected = |reason| page.count(REJECTED, &[("transport", "grpc"), ("reason", reason)]);
    assert_eq!((rejected("invalid_time"), rejected("invalid_id")), (1, 3));
}

#[tokio::test]
async fn malformed_bytes_are_an_invalid_argument_and_count_nothing() {
    let server = Process::serve(&["evaluator.interval=100ms"]).await;
    let mut client = server.client().await;
    let whole = request("checkout", spans(5, wall_clock())).encode_to_vec();
    let noise: Vec<u8> = (0..997_u32).map(|n| (n * 193 % 251) as u8 | 0x80).collect();
    // The second one is well formed but for its last byte: its first spans must not count either.
    for message in [&noise, &whole[..whole.len() - 1]] {
        let refused = client.export(Bytes::copy_from_slice(message)).await;
        assert_refused_for_good(&refused.unwrap_err(), Code::InvalidArgument);
    }
    let page = server.fresh_page().await;
    assert_eq!(page.requests("checkout"), 0);
    assert_eq!(page.sum(ACCEPTED, &[]), Some(0.0));
    assert_eq!(page.count(REFUSED, &[("reason", "malformed")]), 2);
}

#[tokio::test]
async fn gzip_and_zstd_are_unpacked() {
    let server = Server::start(|_| ()).await;
    let batch = request("checkout", spans(50, NOW - MINUTE));
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut client = server.client().await.send_compressed(encoding);
        accepted(&mut client, &batch).await;
    }
    assert_eq!(counted(&server, "checkout").await, 100);
    server.stop().await;
}

#[tokio::test]
async fn truncated_gzip_is_an_invalid_argument() {
    let server = Server::start(|_| ()).await;
    let mut channel = channel(server.endpoints.otlp_grpc).await;
    let packed = gzip(&request("checkout", spans(50, NOW - MINUTE)).encode_to_vec());
    let whole = frame(true, &packed);
    let truncated = frame(true, &packed[..packed.len() / 2]);
    let status = call(&mut channel, TRACES, Some("gzip"), truncated).await;
    assert_refused_for_good(&status, Code::InvalidArgument);
    let status = call(&mut channel, TRACES, Some("gzip"), whole).await;
    assert_eq!(status.code(), Code::Ok, "{status:?}");
    assert_eq!(counted(&server, "checkout").await, 50);
    server.stop().await;
}

#[tokio::test]
async fn a_zip_bomb_is_refused_for_good() {
    let server = server_with_small_limit().await;
    let bomb = Bytes::from(vec![0; 64 * MIB]);
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut client = server.client().await.send_compressed(encoding);
        let refused = client.export(bomb.clone()).await.unwrap_err();
        assert_refused_for_good(&refused, Code::ResourceExhausted);
        assert!(
            refused.message().contains("max_request_bytes"),
            "{refused:?}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn an_oversize_request_is_refused_for_good_whether_it_announces_its_length_or_not() {
    let server = server_with_small_limit().await;
    let address = server.endpoints.otlp_grpc;
    let oversize = vec![0; MIB + 1];
    let body = Bytes::from(oversize.clone());
    let unannounced = client(address).await.export(body).await;
    assert_refused_for_good(&unannounced.unwrap_err(), Code::ResourceExhausted);
    let mut channel = channel(address).await;
    let announced = call(&mut channel, TRACES, None, frame(false, &oversize)).await;
    assert_refused_for_good(&announced, Code::ResourceExhausted);
    server.stop().await;
}

#[tokio::test]
async fn overload_is_refused_until_the_bytes_are_free_and_says_when_to_come_again() {
    let server = Server::start(|config| {
        // Two requests of unknown length take all of it: the largest one, packed and unpacked.
        config.receivers.otlp.max_request_bytes = 64 * 1024;
        config.receivers.otlp.max_in_flight_bytes = 64 * 1024;
        config.receivers.otlp.retry_after = Duration::from_secs(3);
    })
    .await;
    let held = HeldExport::begin(channel(server.endpoints.otlp_grpc).await);
    let second = HeldExport::begin(channel(server.endpoints.otlp_grpc).await);
    let mut client = server.client().await;
    // Until the held requests have arrived, the small ones are taken.
    let mut taken = 0;
    let small = request("checkout", spans(1, NOW - MINUTE));
    let refused = eventually("a refusal", async || {
        let answer = export(&mut client, &small).await;
        taken += u64::from(answer.is_ok());
        answer.err()
    })
    .await;
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let retry_info = refused.get_details_retry_info().unwrap();
    assert_eq!(retry_info.retry_delay, Some(Duration::from_secs(3)));

    for held in [held, second] {
        let status = held
            .finish(&request("checkout", spans(20, NOW - MINUTE)))
            .await;
        assert_eq!(status.code(), Code::Ok, "{status:?}");
    }
    accepted(&mut client, &small).await;
    assert_eq!(counted(&server, "checkout").await, taken + 40 + 1);
    server.stop().await;
}

#[tokio::test]
async fn a_request_that_does_not_arrive_in_time_is_given_up_and_frees_its_bytes() {
    let server = Server::start(|config| {
        config.receivers.otlp.max_request_bytes = 64 * 1024;
        config.receivers.otlp.max_in_flight_bytes = 64 * 1024;
        config.receivers.otlp.request_timeout = Duration::from_millis(200);
    })
    .await;
    let held = HeldExport::begin(channel(server.endpoints.otlp_grpc).await);
    held.send(&[0, 0, 0]).await;
    let status = held.given_up().await;
    // Both are codes that OTLP clients try again after.
    let retried = [Code::Cancelled, Code::DeadlineExceeded];
    assert!(retried.contains(&status.code()), "{status:?}");
    let mut client = server.client().await;
    let small = request("checkout", spans(1, NOW - MINUTE));
    eventually("room for a request", async || {
        export(&mut client, &small).await.ok()
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn other_signals_are_unimplemented_and_the_answer_says_so() {
    let server = Server::start(|_| ()).await;
    let mut channel = channel(server.endpoints.otlp_grpc).await;
    for path in [
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    ] {
        let status = call(&mut channel, path, None, frame(false, &[])).await;
        assert_refused_for_good(&status, Code::Unimplemented);
        assert!(status.message().contains("takes traces only"), "{status:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_opentelemetry_sdk_exports_and_every_entry_span_is_counted_once() {
    const ENTRIES: u64 = 1_000;
    let server = Process::serve(&["evaluator.interval=100ms"]).await;
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(format!("http://{}", server.address("otlp_grpc")))
        .build()
        .unwrap();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name("sdk").build())
        .build();
    let flushed = tokio::task::spawn_blocking(move || {
        let tracer = provider.tracer("test");
        for number in 0..ENTRIES {
            let start = |kind| tracer.span_builder("handle").with_kind(kind).start(&tracer);
            let mut entry = start(SpanKind::Server);
            if number % 10 == 0 {
                entry.set_status(opentelemetry::trace::Status::error("broken"));
            }
            start(SpanKind::Client).end();
            entry.end();
            // The queue holds 2 048 spans and drops what does not fit.
            if number % 500 == 499 {
                provider.force_flush()?;
            }
        }
        provider.shutdown()
    });
    flushed.await.unwrap().unwrap();

    let page = server.fresh_page().await;
    assert_eq!(page.outcome("sdk", "ok"), ENTRIES * 9 / 10);
    assert_eq!(page.outcome("sdk", "error"), ENTRIES / 10);
    assert_eq!(page.count(ACCEPTED, &[("transport", "grpc")]), 2 * ENTRIES);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_clients_lose_nothing_and_count_nothing_twice() {
    const CLIENTS: u64 = 8;
    const REQUESTS: u64 = 20;
    const SPANS: u64 = 25;
    let server = Server::start(|_| ()).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..CLIENTS {
        let mut client = server.client().await;
        // Half of them share a service, so that they meet in the same series.
        let service = if number % 2 == 0 { "shared" } else { "own" };
        let service = if service == "own" {
            format!("own-{number}")
        } else {
            service.to_owned()
        };
        tasks.spawn(async move {
            for sent in 0..REQUESTS {
                let end = NOW - sent * MINUTE;
                accepted(&mut client, &request(&service, spans(SPANS, end))).await;
            }
        });
    }
    tasks.join_all().await;
    let page = server.fresh_page().await;
    assert_eq!(page.requests("shared"), CLIENTS / 2 * REQUESTS * SPANS);
    for number in (1..CLIENTS).step_by(2) {
        assert_eq!(page.requests(&format!("own-{number}")), REQUESTS * SPANS);
    }
    server.stop().await;
}
