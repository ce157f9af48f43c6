//! slo-copilot before a backend that comes and goes, and killed itself.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use slo_copilot::clock::Clock;
use slo_copilot::forward::Share;
use slo_copilot::model::UnixNanos;
use slo_copilot::model::window::Window;
use slo_copilot::otlp::trace_service_server::{TraceService, TraceServiceServer};
use slo_copilot::outgoing::text::Text;
use tempfile::TempDir;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Response, Status};

use crate::support::eventually;
use crate::support::grpc::{Client, accepted};
use crate::support::page::Page;
use crate::support::process::Process;
use crate::support::server::{Server, sums};
use crate::support::spans::{NOW, failed_span, request, span};
use crate::support::tls::TlsProxy;

const SERVICE: &str = "shop";
const SPANS: &str = "slo_copilot_forward_spans_total";
const DROPPED: &str = "slo_copilot_forward_dropped_requests_total";

/// Spans of a request.
const BATCH: u64 = 5;

/// Requests under way at once, by default.
const IN_FLIGHT: u64 = 8;

/// A backend that notes the number of each span before it answers, and can be killed.
#[derive(Clone, Default)]
struct Collector {
    numbers: Arc<Mutex<Vec<u64>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(&self, request: tonic::Request<Bytes>) -> Result<Response<Bytes>, Status> {
        let request = ExportTraceServiceRequest::decode(request.into_inner())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let spans = request.resource_spans.into_iter();
        let spans = spans
            .flat_map(|own| own.scope_spans)
            .flat_map(|own| own.spans);
        let numbers = spans.map(|span| u64::from_be_bytes(span.span_id.try_into().unwrap()) - 1);
        self.numbers.lock().unwrap().extend(numbers);
        Ok(Response::new(Bytes::new()))
    }
}

impl Collector {
    /// Serves in a runtime of its own, with which all connections die.
    fn serve(&self, address: SocketAddr) -> tokio::runtime::Runtime {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let service = TraceServiceServer::new(self.clone());
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::bind(address).await.unwrap();
            let server = tonic::transport::Server::builder().add_service(service);
            let incoming = TcpListenerStream::new(listener);
            server.serve_with_incoming(incoming).await.unwrap();
        });
        runtime
    }

    fn distinct(&self) -> BTreeSet<u64> {
        self.numbers.lock().unwrap().iter().copied().collect()
    }

    async fn has(&self, spans: u64) {
        let all = async || (self.distinct().len() as u64 >= spans).then_some(());
        eventually("all spans", all).await;
    }
}

/// An address where nobody listens yet.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// `serve` before a backend, with further keys.
async fn front(backend: SocketAddr, sets: &[&str]) -> Process {
    let endpoint = format!("exporters.forward.endpoint=http://{backend}");
    let mut all = vec![
        endpoint.as_str(),
        "exporters.forward.retry.initial=5ms",
        "exporters.forward.retry.max=50ms",
        "evaluator.interval=100ms",
    ];
    all.extend(sets);
    Process::serve(&all).await
}

/// Sends requests of the numbers in their order.
async fn send(client: &mut Client, requests: std::ops::Range<u64>, end: UnixNanos) {
    for first in requests {
        let numbers = first * BATCH..(first + 1) * BATCH;
        let spans = numbers.map(|number| span(number, end));
        accepted(client, &request(SERVICE, spans.collect())).await;
    }
}

async fn page_with(process: &Process, name: &str, labels: &[(&str, &str)], count: u64) -> Page {
    eventually(name, async || {
        let page = process.page().await;
        (page.count(name, labels) == count).then_some(page)
    })
    .await
}

#[tokio::test]
async fn nothing_is_lost_while_the_backend_dies_and_comes_back_under_load() {
    let (collector, address) = (Collector::default(), free_address());
    let runtime = collector.serve(address);
    let front = front(address, &[]).await;
    let (mut client, end) = (front.client().await, Clock::system().now());
    send(&mut client, 0..100, end).await;
    runtime.shutdown_background();
    send(&mut client, 100..200, end).await;
    let runtime = collector.serve(address);
    send(&mut client, 200..300, end).await;
    collector.has(300 * BATCH).await;
    page_with(&front, SPANS, &[], 300 * BATCH).await;
    assert_eq!(collector.distinct(), (0..300 * BATCH).collect());
    // Twice at most what was under way when it died: taken, and not answered.
    let got = collector.numbers.lock().unwrap().len() as u64;
    assert!(got <= 300 * BATCH + IN_FLIGHT * BATCH, "{got}");
    runtime.shutdown_background();
}

#[tokio::test]
async fn a_second_slo_copilot_that_stops_and_starts_again_counts_each_span_once() {
    let (address, dir) = (free_address(), Arc::new(TempDir::new().unwrap()));
    let start = async |dir| {
        Server::start_in(dir, Clock::system(), |config| {
            config.receivers.otlp.grpc.endpoint = address;
        })
        .await
    };
    let backend = start(dir).await;
    let front = front(address, &[]).await;
    let (mut client, end) = (front.client().await, Clock::system().now());
    send(&mut client, 0..60, end).await;
    let (_, dir) = backend.stop().await;
    send(&mut client, 60..120, end).await;
    let backend = start(dir).await;
    send(&mut client, 120..180, end).await;
    page_with(&front, SPANS, &[], 180 * BATCH).await;
    let report = backend.fresh_report().await;
    let sums = sums(&report, SERVICE, Window::H1);
    assert_eq!(sums.observed_total, 180 * BATCH);
    backend.stop().await;
}

#[tokio::test]
async fn what_was_acknowledged_outlives_the_forwarder_that_is_killed() {
    let (collector, address) = (Collector::default(), free_address());
    let mut front = front(address, &["exporters.forward.queue.durable=true"]).await;
    let (mut client, end) = (front.client().await, Clock::system().now());
    send(&mut client, 0..50, end).await;
    front.kill_and_start_again().await;
    let mut client = front.client().await;
    send(&mut client, 50..60, end).await;
    let runtime = collector.serve(address);
    collector.has(60 * BATCH).await;
    page_with(&front, "slo_copilot_forward_queue_requests", &[], 0).await;
    // Nothing was under way at the backend when the forwarder died: each span comes once.
    let numbers = collector.numbers.lock().unwrap().clone();
    assert_eq!(numbers.len() as u64, 60 * BATCH);
    assert_eq!(collector.distinct(), (0..60 * BATCH).collect());
    // And it does not come again with the next start.
    front.kill_and_start_again().await;
    let mut client = front.client().await;
    send(&mut client, 60..61, end).await;
    collector.has(61 * BATCH).await;
    page_with(&front, SPANS, &[], BATCH).await;
    runtime.shutdown_background();
}

#[tokio::test]
async fn what_a_full_queue_drops_is_counted_and_is_in_the_windows_all_the_same() {
    let end = Clock::system().now();
    let bytes = request(
        SERVICE,
        (0..BATCH).map(|number| span(number, end)).collect(),
    );
    let room = format!(
        "exporters.forward.queue.max_bytes={}",
        10 * bytes.encoded_len()
    );
    let front = front(free_address(), &[&room]).await;
    send(&mut front.client().await, 0..30, end).await;
    let page = page_with(&front, DROPPED, &[("reason", "full")], 20).await;
    assert_eq!(
        page.count(
            "slo_copilot_forward_dropped_spans_total",
            &[("reason", "full")]
        ),
        20 * BATCH
    );
    let page = page_with(&front, "slo_copilot_forward_queue_requests", &[], 10).await;
    assert_eq!(
        page.count("slo_copilot_receiver_accepted_spans_total", &[]),
        30 * BATCH
    );
    assert_eq!(page.count(SPANS, &[]), 0);

    let refuse = ["exporters.forward.queue.when_full=refuse", &room];
    let front = self::front(free_address(), &refuse).await;
    let mut client = front.client().await;
    send(&mut client, 0..10, end).await;
    let status = client
        .export(Bytes::from(bytes.encode_to_vec()))
        .await
        .unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
    assert!(
        status
            .message()
            .contains("exporters.forward.queue.max_bytes")
    );
    assert!(tonic_types::StatusExt::get_details_retry_info(&status).is_some());
    let page = front.fresh_page().await;
    assert_eq!(
        page.count("slo_copilot_receiver_accepted_spans_total", &[]),
        10 * BATCH
    );
}

#[tokio::test]
async fn a_backend_over_tls_is_trusted_by_the_certificate_that_is_named_and_not_otherwise() {
    let (collector, address) = (Collector::default(), free_address());
    let runtime = collector.serve(address);
    let proxy = TlsProxy::before_grpc(address).await;
    let endpoint = format!("exporters.forward.endpoint={}", proxy.url());
    let trusted = format!("exporters.forward.ca_file={}", proxy.ca_file().display());
    let end = Clock::system().now();

    // The later key wins.
    let front_of = async |sets: &[&str]| {
        let sets: Vec<&str> = [endpoint.as_str()]
            .into_iter()
            .chain(sets.iter().copied())
            .collect();
        front(address, &sets).await
    };
    let wary = front_of(&[]).await;
    send(&mut wary.client().await, 0..1, end).await;
    // While it is tried it is not in the queue.
    let retried = async || {
        let page = wary.page().await;
        let retries = page.count("slo_copilot_forward_retries_total", &[]);
        let waiting = page.count("slo_copilot_forward_queue_requests", &[]);
        (retries > 2 && waiting == 1).then_some(page)
    };
    let page = eventually("retries of what waits", retried).await;
    assert_eq!(page.count(SPANS, &[]), 0);
    assert!(collector.distinct().is_empty());
    drop(wary);

    let front = front_of(&[&trusted]).await;
    send(&mut front.client().await, 0..3, end).await;
    collector.has(3 * BATCH).await;
    page_with(&front, SPANS, &[], 3 * BATCH).await;
    runtime.shutdown_background();
}

/// 8000 traces, one in 40 with an error, of which a quarter goes on by chance. The weighted counts there are the
/// truth here, within 4 standard deviations of Σw: √(n·(1−p)/p).
#[tokio::test]
async fn indicators_behind_a_sampling_forwarder_are_those_before_it() {
    const TRACES: u64 = 8_000;
    let backend = Server::start(|_| ()).await;
    for keep_errors in [true, false] {
        let service = if keep_errors { "kept" } else { "by-chance" };
        let dir = TempDir::new().unwrap();
        let front = Server::start(|config| {
            let forward = &mut config.exporters.forward;
            let endpoint = format!("http://{}", backend.endpoints.otlp_grpc);
            forward.endpoint = Some(Text::Plain(endpoint));
            forward.queue.dir = Some(dir.path().to_owned());
            forward.sampling.share = Share::Ratio(0.25);
            forward.sampling.keep_errors = keep_errors;
        })
        .await;
        let mut client = front.client().await;
        for first in (0..TRACES).step_by(500) {
            let spans = (first..first + 500).map(|number| {
                let mut own = if number % 40 == 0 {
                    failed_span(number, NOW)
                } else {
                    span(number, NOW)
                };
                // Ids as random as those of an SDK.
                let id = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
                own.trace_id = id.to_be_bytes().to_vec();
                own.trace_id[0] |= 1;
                own
            });
            accepted(&mut client, &request(service, spans.collect())).await;
        }
        // A regular stop decides what is held, and sends it.
        let (report, _dir) = front.stop().await;
        let truth = sums(&report, service, Window::H1);
        assert_eq!(truth.observed_total, TRACES);
        let report = backend.fresh_report().await;
        let there = sums(&report, service, Window::H1);
        assert!(there.observed_total < TRACES / 3, "{there:?}");
        let off = |there: f64, truth: f64, by_chance: f64| {
            (there - truth).abs() / (by_chance * 3.0).sqrt()
        };
        let errors = TRACES as f64 / 40.0;
        let all = off(there.total, truth.total, TRACES as f64);
        assert!(all < 4.0, "{there:?}");
        if keep_errors {
            assert!((there.bad - errors).abs() < 1e-6, "{there:?}");
        } else {
            assert!(off(there.bad, errors, errors) < 4.0, "{there:?}");
        }
    }
    backend.stop().await;
}
