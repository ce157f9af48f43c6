//! The sender against a real server that counts, refuses, rejects or breaks.

use std::sync::atomic::Ordering;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::*;
use crate::otlp::trace_service_server::{TraceService, TraceServiceServer};
use crate::traffic::batch::BatchShape;
use crate::traffic::generate::{Faults, export_requests};
use crate::traffic::shop;

/// Counts what it decodes, and answers as told.
#[derive(Default)]
struct CountingServer {
    requests: Arc<AtomicU64>,
    spans: Arc<AtomicU64>,
    /// The first so many requests get this instead.
    refuse_first: u64,
    refusal: Option<Status>,
    rejected_spans: i64,
}

#[tonic::async_trait]
impl TraceService for CountingServer {
    async fn export(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        let number = self.requests.fetch_add(1, Ordering::SeqCst);
        if let Some(refusal) = &self.refusal
            && number < self.refuse_first
        {
            return Err(refusal.clone());
        }
        let request = ExportTraceServiceRequest::decode(request.into_inner())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        self.spans
            .fetch_add(count(span_count(&request)), Ordering::SeqCst);
        if self.rejected_spans == 0 {
            return Ok(Response::new(Bytes::new()));
        }
        let response = ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess {
                rejected_spans: self.rejected_spans,
                error_message: "a test rejects".to_owned(),
            }),
        };
        Ok(Response::new(response.encode_to_vec().into()))
    }
}

/// Starts `server` on a free port; it lives as long as the runtime of the test.
async fn serve(server: CountingServer) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let service = TraceServiceServer::new(server).accept_compressed(CompressionEncoding::Gzip);
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    Target::new(endpoint)
}

fn refusal(code: Code, retry_after: Option<Duration>) -> Status {
    let details = retry_after.map_or_else(ErrorDetails::new, |retry_after| {
        ErrorDetails::with_retry_info(Some(retry_after))
    });
    Status::with_error_details(code, "a test refuses", details)
}

fn load(max_spans: u64) -> Load {
    Load {
        spans_per_request: 100,
        spans_per_sec: None,
        max_spans: Some(max_spans),
        max_duration: None,
        started_at: 1_800_000_000_000_000_000,
    }
}

async fn run(target: &Target, workload: Workload, load: Load) -> Totals {
    let accepted = Arc::new(AtomicU64::new(0));
    let totals = Sender::connect(target)
        .await
        .unwrap()
        .run(Arc::new(workload), load, Arc::clone(&accepted))
        .await
        .unwrap();
    assert_eq!(accepted.load(Ordering::SeqCst), totals.accepted_spans);
    totals
}

fn batch() -> Workload {
    Workload::batch(BatchShape::default(), 1)
}

#[tokio::test]
async fn a_run_sends_exactly_the_wanted_spans_over_all_connections() {
    for (workload, compression) in [
        (batch(), Compression::None),
        (batch(), Compression::Gzip),
        (Workload::model(shop::generator(1), 0), Compression::None),
    ] {
        let server = CountingServer::default();
        let spans = Arc::clone(&server.spans);
        let target = Target {
            connections: 2,
            in_flight: 3,
            compression,
            ..serve(server).await
        };
        let totals = run(&target, workload, load(2_050)).await;
        assert_eq!(spans.load(Ordering::SeqCst), 2_050);
        assert_eq!(totals.accepted_spans, 2_050);
        assert_eq!(totals.requests, 21);
        assert_eq!(totals.latency_micros.len(), 21);
        assert_eq!((totals.refused_requests, totals.failed_requests), (0, 0));
    }
}

#[tokio::test]
async fn an_open_loop_sends_its_rate_for_its_time() {
    let server = CountingServer::default();
    let spans = Arc::clone(&server.spans);
    let load = Load {
        spans_per_sec: Some(5_000.0),
        max_spans: None,
        max_duration: Some(Duration::from_millis(200)),
        ..load(0)
    };
    let totals = run(&serve(server).await, batch(), load).await;
    // A stalled test machine may be late for the last ones, never too many.
    let sent = spans.load(Ordering::SeqCst);
    assert!((100..=1_000).contains(&sent), "{sent}");
    assert_eq!(totals.accepted_spans, sent);
    assert!(totals.elapsed >= Duration::from_millis(200));
}

#[tokio::test]
async fn rejected_spans_are_not_accepted() {
    let server = CountingServer {
        rejected_spans: 30,
        ..CountingServer::default()
    };
    let totals = run(&serve(server).await, batch(), load(200)).await;
    assert_eq!((totals.accepted_spans, totals.rejected_spans), (140, 60));
}

#[tokio::test]
async fn a_load_run_counts_a_refusal_and_goes_on() {
    let server = CountingServer {
        refuse_first: 2,
        refusal: Some(refusal(Code::ResourceExhausted, Some(Duration::ZERO))),
        ..CountingServer::default()
    };
    let totals = run(&serve(server).await, batch(), load(500)).await;
    assert_eq!((totals.refused_requests, totals.failed_requests), (2, 0));
    assert_eq!(totals.accepted_spans, 300);
    assert_eq!(totals.latency_micros.len(), 3, "a refusal has no latency");
}

#[tokio::test]
async fn send_all_offers_refused_requests_again_until_all_are_accepted() {
    for code in [Code::ResourceExhausted, Code::Unavailable] {
        let server = CountingServer {
            refuse_first: 3,
            refusal: Some(refusal(code, Some(Duration::from_millis(1)))),
            ..CountingServer::default()
        };
        let counted = Arc::clone(&server.spans);
        let target = Target {
            in_flight: 2,
            ..serve(server).await
        };
        let mut visits = shop::generator(1);
        let traces: Vec<_> = (0..50).map(|_| visits.trace(1, &Faults::none())).collect();
        let spans: usize = traces.iter().map(|trace| trace.spans().len()).sum();
        let sender = Sender::connect(&target).await.unwrap();
        let totals = sender.send_all(export_requests(traces, 64)).await.unwrap();
        assert_eq!(totals.accepted_spans, count(spans));
        assert_eq!(counted.load(Ordering::SeqCst), count(spans));
        assert_eq!((totals.refused_requests, totals.failed_requests), (3, 0));
    }
}

#[tokio::test]
async fn exhaustion_without_a_time_to_come_back_is_final() {
    let server = CountingServer {
        refuse_first: 1,
        refusal: Some(refusal(Code::ResourceExhausted, None)),
        ..CountingServer::default()
    };
    let sender = Sender::connect(&serve(server).await).await.unwrap();
    let requests = export_requests([shop::generator(1).trace(1, &Faults::none())], 100);
    let totals = sender.send_all(requests).await.unwrap();
    assert_eq!((totals.accepted_spans, totals.failed_requests), (0, 1));
    assert!(totals.failure.unwrap().contains("a test refuses"));
}

#[tokio::test]
async fn nobody_listening_is_an_error_that_names_the_endpoint() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = Sender::connect(&Target::new(endpoint.clone()))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), format!("cannot connect to {endpoint}"));
    let error = Sender::connect(&Target::new("not a uri"))
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        SendError::Client(ClientError::Endpoint { .. })
    ));
}
