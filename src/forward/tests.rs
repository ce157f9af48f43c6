//! The forwarder before real receivers of OTLP, over gRPC and HTTP, that answer as told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::*;
use crate::otlp::client::{Compression, Encoding, Protocol};
use crate::otlp::trace_service_server::{TraceService, TraceServiceServer};
use crate::outgoing::text::Text;

/// Who waits longer than this fails.
const DEADLINE: Duration = Duration::from_secs(20);

/// What a backend got, and what it answers first; without an answer it takes the request.
#[derive(Default)]
struct Backend {
    got: Mutex<Vec<(HeaderMap, Bytes)>>,
    answers: Mutex<VecDeque<Said>>,
}

/// An answer.
enum Said {
    Grpc(Status),
    Http(StatusCode),
    Rejected(i64),
}

impl Backend {
    fn saying(answers: impl IntoIterator<Item = Said>) -> Arc<Self> {
        Arc::new(Self {
            answers: Mutex::new(answers.into_iter().collect()),
            ..Self::default()
        })
    }

    /// Notes a request, unless it is not to be taken.
    fn take(&self, headers: HeaderMap, body: Bytes) -> Result<Bytes, Said> {
        match self.answers.lock().unwrap().pop_front() {
            Some(Said::Rejected(rejected_spans)) => {
                self.got.lock().unwrap().push((headers, body));
                let response = ExportTraceServiceResponse {
                    partial_success: Some(ExportTracePartialSuccess {
                        rejected_spans,
                        error_message: "a test rejects".to_owned(),
                    }),
                };
                Ok(response.encode_to_vec().into())
            }
            Some(said) => Err(said),
            None => {
                self.got.lock().unwrap().push((headers, body));
                Ok(Bytes::new())
            }
        }
    }

    fn bodies(&self) -> Vec<Bytes> {
        let got = self.got.lock().unwrap();
        got.iter().map(|(_, body)| body.clone()).collect()
    }

    async fn has(&self, requests: usize) {
        let mut ticks = interval(Duration::from_millis(5));
        let waiting = async {
            while self.bodies().len() < requests {
                ticks.tick().await;
            }
        };
        let waited = tokio::time::timeout(DEADLINE, waiting).await;
        let got = self.bodies().len();
        assert!(waited.is_ok(), "{got} of {requests} requests came");
    }
}

struct Service(Arc<Backend>);

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(&self, request: tonic::Request<Bytes>) -> Result<Response<Bytes>, Status> {
        let headers = request.metadata().clone().into_headers();
        match self.0.take(headers, request.into_inner()) {
            Ok(body) => Ok(Response::new(body)),
            Err(Said::Grpc(status)) => Err(status),
            Err(Said::Http(_) | Said::Rejected(_)) => Err(Status::internal("no such answer")),
        }
    }
}

async fn export(
    State(backend): State<Arc<Backend>>,
    headers: HeaderMap,
    body: Bytes,
) -> axum::response::Response {
    match backend.take(headers, body) {
        Ok(body) => ([("content-type", "application/x-protobuf")], body).into_response(),
        Err(Said::Http(status)) => (status, [("retry-after", "0")]).into_response(),
        Err(Said::Grpc(_) | Said::Rejected(_)) => StatusCode::IM_A_TEAPOT.into_response(),
    }
}

/// Serves OTLP at an address; port 0 takes a free one.
async fn serve(
    backend: &Arc<Backend>,
    protocol: Protocol,
    address: &str,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let backend = Arc::clone(backend);
    let task = match protocol {
        Protocol::Grpc => tokio::spawn(async move {
            let service = TraceServiceServer::new(Service(backend))
                .accept_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Zstd);
            let server = tonic::transport::Server::builder().add_service(service);
            let incoming = TcpListenerStream::new(listener);
            server.serve_with_incoming(incoming).await.unwrap();
        }),
        Protocol::Http => tokio::spawn(async move {
            let router = Router::new().route("/v1/traces", post(export));
            let router = router.with_state(backend);
            axum::serve(listener, router).await.unwrap();
        }),
    };
    (address, task)
}

fn config(address: SocketAddr, dir: &Path) -> Config {
    Config {
        endpoint: Some(Text::Plain(format!("http://{address}"))),
        retry: RetryConfig {
            initial: Duration::from_millis(1),
            max: Duration::from_millis(20),
            max_elapsed: Duration::ZERO,
        },
        queue: QueueConfig {
            dir: Some(dir.to_owned()),
            ..QueueConfig::default()
        },
        ..Config::default()
    }
}

/// A forwarder that runs.
struct Running {
    entrance: Entrance,
    stop: CancellationToken,
    task: JoinHandle<Result<(), ForwardError>>,
}

impl Running {
    fn start(config: &Config) -> Self {
        let (_, advice) = watch::channel(Advice::default());
        let built = Forwarder::new(
            config,
            config.scrub.then(Scrubber::default),
            advice,
            &Clock::manual(1_000),
        )
        .unwrap();
        let (forwarder, entrance) = built.unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(forwarder.run(stop.clone(), Duration::from_secs(5)));
        Self {
            entrance,
            stop,
            task,
        }
    }

    async fn send(&self, body: &Bytes, encoding: Encoding) {
        let room = self.entrance.reserve(body.len()).unwrap();
        room.hand_over(body.clone(), encoding, 1).await;
    }

    async fn stop(self) {
        self.stop.cancel();
        let stopped = tokio::time::timeout(DEADLINE, self.task).await;
        stopped.unwrap().unwrap().unwrap();
    }
}

fn span(number: u64) -> Span {
    Span {
        trace_id: (u128::from(number) + 1).to_be_bytes().to_vec(),
        span_id: (number + 1).to_be_bytes().to_vec(),
        name: format!("span {number}"),
        ..Span::default()
    }
}

fn request(number: u64) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: vec![span(number)],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

/// A request with a field that no message of ours knows, which only the bytes themselves keep.
fn body(number: u64) -> Bytes {
    let mut body = request(number).encode_to_vec();
    body.extend([0xfa, 0x3f, 3, b'n', b'e', b'w']);
    body.into()
}

fn sorted(mut bodies: Vec<Bytes>) -> Vec<Bytes> {
    bodies.sort();
    bodies
}

#[tokio::test]
async fn requests_go_on_as_the_bytes_they_came_however_they_travel() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let backend = Backend::saying([]);
            let (address, _task) = serve(&backend, protocol, "127.0.0.1:0").await;
            let dir = tempfile::tempdir().unwrap();
            let mut config = config(address, dir.path());
            (config.protocol, config.compression) = (protocol, compression);
            let token = Text::Plain("Bearer t".to_owned());
            config.headers.insert("authorization".to_owned(), token);
            let running = Running::start(&config);
            for number in 0..5 {
                running.send(&body(number), Encoding::Protobuf).await;
            }
            backend.has(5).await;
            running.stop().await;
            let headers: Vec<HeaderMap> = {
                let got = backend.got.lock().unwrap();
                got.iter().map(|(headers, _)| headers.clone()).collect()
            };
            for headers in headers {
                assert_eq!(headers["authorization"], "Bearer t");
                let agent = headers["user-agent"].to_str().unwrap();
                assert!(agent.starts_with("slo-copilot/"), "{agent}");
            }
            let mut bodies = backend.bodies();
            if protocol == Protocol::Http {
                // This receiver does not unpack.
                bodies = bodies
                    .iter()
                    .map(|body| unpacked(body, compression))
                    .collect();
            }
            assert_eq!(sorted(bodies), sorted((0..5).map(body).collect()));
        }
    }
}

fn unpacked(body: &[u8], compression: Compression) -> Bytes {
    let mut unpacked = Vec::new();
    match compression {
        Compression::None => unpacked.extend(body),
        Compression::Gzip => {
            let mut decoder = flate2::read::GzDecoder::new(body);
            io::Read::read_to_end(&mut decoder, &mut unpacked).unwrap();
        }
        Compression::Zstd => unpacked = zstd::decode_all(body).unwrap(),
    }
    unpacked.into()
}

#[tokio::test]
async fn json_goes_on_as_it_is_over_http_and_as_protobuf_over_grpc() {
    let json = Bytes::from(serde_json::to_vec(&request(7)).unwrap());
    for (protocol, expected) in [
        (Protocol::Http, json.clone()),
        (Protocol::Grpc, request(7).encode_to_vec().into()),
    ] {
        let backend = Backend::saying([]);
        let (address, _task) = serve(&backend, protocol, "127.0.0.1:0").await;
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(address, dir.path());
        config.protocol = protocol;
        let running = Running::start(&config);
        running
            .send(
                &Bytes::from_static(b"{\"resourceSpans\": 1}"),
                Encoding::Json,
            )
            .await;
        running.send(&json, Encoding::Json).await;
        // Over gRPC the first one cannot be translated.
        let expected_requests = if protocol == Protocol::Http { 2 } else { 1 };
        backend.has(expected_requests).await;
        running.stop().await;
        let bodies = backend.bodies();
        assert_eq!(bodies.len(), expected_requests);
        assert!(bodies.contains(&expected));
    }
}

fn refusal(code: Code, retry_after: Option<Duration>) -> Said {
    let details = retry_after.map_or_else(ErrorDetails::new, |retry_after| {
        ErrorDetails::with_retry_info(Some(retry_after))
    });
    Said::Grpc(Status::with_error_details(code, "a test refuses", details))
}

#[tokio::test]
async fn what_is_refused_for_now_comes_again_and_what_is_refused_for_good_does_not() {
    let zero = Some(Duration::ZERO);
    let cases = [
        (Protocol::Grpc, refusal(Code::Unavailable, None), true),
        (Protocol::Grpc, refusal(Code::ResourceExhausted, zero), true),
        (
            Protocol::Grpc,
            refusal(Code::ResourceExhausted, None),
            false,
        ),
        (Protocol::Grpc, refusal(Code::InvalidArgument, None), false),
        (
            Protocol::Http,
            Said::Http(StatusCode::SERVICE_UNAVAILABLE),
            true,
        ),
        (
            Protocol::Http,
            Said::Http(StatusCode::INTERNAL_SERVER_ERROR),
            false,
        ),
        (Protocol::Http, Said::Http(StatusCode::BAD_REQUEST), false),
        (
            Protocol::Http,
            Said::Http(StatusCode::PAYLOAD_TOO_LARGE),
            false,
        ),
        // Rejected spans are gone; the request was taken.
        (Protocol::Grpc, Said::Rejected(1), true),
    ];
    for (protocol, said, comes) in cases {
        let backend = Backend::saying([said]);
        let (address, _task) = serve(&backend, protocol, "127.0.0.1:0").await;
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(address, dir.path());
        (config.protocol, config.in_flight) = (protocol, 1);
        let running = Running::start(&config);
        running.send(&body(0), Encoding::Protobuf).await;
        running.send(&body(1), Encoding::Protobuf).await;
        let expected: Vec<Bytes> = if comes {
            vec![body(0), body(1)]
        } else {
            vec![body(1)]
        };
        backend.has(expected.len()).await;
        running.stop().await;
        assert_eq!(backend.bodies(), expected);
    }
}

/// A server that answers each connection with the next of these bytes; the last one goes on until nobody reads it.
async fn nonsense(answers: Vec<&'static [u8]>) -> (SocketAddr, JoinHandle<usize>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut written = 0;
        for (at, answer) in answers.iter().enumerate() {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 8192];
            assert!(stream.read(&mut head).await.unwrap() > 0);
            stream.write_all(answer).await.unwrap();
            let zeros = [0; 8_192];
            while at + 1 == answers.len() {
                match stream.write(&zeros).await {
                    Ok(more) if written < 1 << 30 => written += more,
                    Ok(_) | Err(_) => break,
                }
            }
        }
        written
    });
    (address, task)
}

/// Words that are no HTTP, none at all, half an answer; then success that never ends, which is read for a mebibyte and what
/// the sockets hold.
#[tokio::test]
async fn a_backend_that_talks_nonsense_is_asked_again_and_one_that_never_stops_is_cut_off() {
    let endless = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n\r\n";
    let (address, task) = nonsense(vec![
        b"\x15\x03\x01 what do you want?\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
        endless,
    ])
    .await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(address, dir.path());
    (config.protocol, config.in_flight) = (Protocol::Http, 1);
    let running = Running::start(&config);
    running.send(&body(0), Encoding::Protobuf).await;
    let written = tokio::time::timeout(DEADLINE, task).await.unwrap().unwrap();
    assert!((1 << 20..64 << 20).contains(&written), "{written}");
    running.stop().await;
    assert!(!queue_holds_requests(dir.path()));
}

/// One that says nothing costs `timeout` and is asked again.
#[tokio::test]
async fn a_backend_that_hangs_is_given_up_after_the_timeout_and_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Over gRPC all requests share the connection.
    for (protocol, connections) in [(Protocol::Http, 3), (Protocol::Grpc, 1)] {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(address, dir.path());
        (config.protocol, config.in_flight) = (protocol, 1);
        config.timeout = Duration::from_millis(50);
        let running = Running::start(&config);
        running.send(&body(0), Encoding::Protobuf).await;
        let mut held = Vec::new();
        for _ in 0..connections {
            let accepted = tokio::time::timeout(DEADLINE, listener.accept()).await;
            held.push(accepted.unwrap().unwrap());
        }
        running.stop().await;
        assert!(queue_holds_requests(dir.path()));
    }
}

/// Whether a request is left in the queue of a forwarder that stopped.
fn queue_holds_requests(dir: &Path) -> bool {
    let files = std::fs::read_dir(dir).unwrap();
    let sizes = files.map(|file| file.unwrap().metadata().unwrap().len());
    sizes.max().unwrap_or(0) > 0
}

#[tokio::test]
async fn personal_data_stays_here_if_that_is_asked_for() {
    let mut sent = request(0);
    sent.resource_spans[0].scope_spans[0].spans[0].name = "mail to ann@example.org".to_owned();
    for encoding in [Encoding::Protobuf, Encoding::Json] {
        let backend = Backend::saying([]);
        let (address, _task) = serve(&backend, Protocol::Http, "127.0.0.1:0").await;
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(address, dir.path());
        (config.protocol, config.scrub) = (Protocol::Http, true);
        let running = Running::start(&config);
        let body = match encoding {
            Encoding::Protobuf => sent.encode_to_vec(),
            Encoding::Json => serde_json::to_vec(&sent).unwrap(),
        };
        running.send(&body.into(), encoding).await;
        backend.has(1).await;
        running.stop().await;
        let got = ExportTraceServiceRequest::decode(backend.bodies().remove(0)).unwrap();
        let span = &got.resource_spans[0].scope_spans[0].spans[0];
        assert!(
            span.name.starts_with("mail to ") && !span.name.contains("ann"),
            "{}",
            span.name
        );
        assert_eq!(span.trace_id, self::span(0).trace_id);
    }
}

/// An address where nobody listens, and nobody will but the test.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn a_request_that_nobody_takes_is_given_up_after_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(nobody().await, dir.path());
    config.retry.max_elapsed = Duration::from_millis(30);
    config.queue.dir = None;
    let bytes = body(0).len();
    config.queue.max_bytes = bytes as u64;
    config.queue.when_full = WhenFull::Refuse;
    let running = Running::start(&config);
    running.send(&body(0), Encoding::Protobuf).await;
    let mut ticks = interval(Duration::from_millis(5));
    // Only when it is gone there is room again.
    let given_up = async {
        while running.entrance.reserve(bytes).is_err() {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(DEADLINE, given_up).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn what_came_while_the_backend_was_away_goes_on_when_it_comes_or_after_the_next_start() {
    for (is_durable, restarts) in [(false, false), (false, true), (true, true)] {
        let address = nobody().await;
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(address, dir.path());
        config.queue.durable = is_durable;
        config.queue.memory_bytes = 1 << 20;
        let mut running = Running::start(&config);
        // More than the memory holds.
        let padded = |number: u64| {
            let mut padded = body(number).to_vec();
            padded.extend([0xfa, 0x3f, 0x80, 0x80, 4]);
            padded.resize(padded.len() + (1 << 16), b'x');
            Bytes::from(padded)
        };
        for number in 0..40 {
            running.send(&padded(number), Encoding::Protobuf).await;
        }
        if restarts {
            running.stop().await;
            running = Running::start(&config);
        }
        let backend = Backend::saying([]);
        let (_, _task) = serve(&backend, Protocol::Grpc, &address.to_string()).await;
        backend.has(40).await;
        running.stop().await;
        assert_eq!(
            sorted(backend.bodies()),
            sorted((0..40).map(padded).collect())
        );
        let entries = std::fs::read_dir(dir.path()).unwrap();
        let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["lock"]);
    }
}

#[tokio::test]
async fn a_full_queue_refuses_or_drops_as_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let address = nobody().await;
    let bytes = body(0).len();
    for (when_full, expected) in [
        (WhenFull::Refuse, (0..3).collect::<Vec<u64>>()),
        (WhenFull::DropNewest, (0..3).collect()),
        (WhenFull::DropOldest, (2..5).collect()),
    ] {
        let mut config = config(address, dir.path());
        config.in_flight = 1;
        config.queue.max_bytes = 3 * bytes as u64;
        config.queue.when_full = when_full;
        let backend = Backend::saying([]);
        let (_, advice) = watch::channel(Advice::default());
        let built = Forwarder::new(&config, None, advice, &Clock::manual(1_000)).unwrap();
        let (forwarder, entrance) = built.unwrap();
        for number in 0..5 {
            match entrance.reserve(bytes) {
                Ok(room) => room.hand_over(body(number), Encoding::Protobuf, 1).await,
                Err(Full) => assert_eq!((when_full, number >= 3), (WhenFull::Refuse, true)),
            }
        }
        // Only now it looks at what came.
        let (_, task) = serve(&backend, Protocol::Grpc, &address.to_string()).await;
        let stop = CancellationToken::new();
        let running = tokio::spawn(forwarder.run(stop.clone(), Duration::from_secs(5)));
        backend.has(3).await;
        stop.cancel();
        running.await.unwrap().unwrap();
        let expected: Vec<Bytes> = expected.into_iter().map(body).collect();
        assert_eq!(sorted(backend.bodies()), sorted(expected), "{when_full:?}");
        task.abort();
        drop(task.await);
    }
}

#[test]
fn room_that_is_not_used_is_given_back() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.unwrap();
    let _guard = runtime.enter();
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(SocketAddr::from(([127, 0, 0, 1], 1)), dir.path());
    config.queue.max_bytes = 100;
    config.queue.when_full = WhenFull::Refuse;
    let (_, advice) = watch::channel(Advice::default());
    let built = Forwarder::new(&config, None, advice, &Clock::manual(1_000)).unwrap();
    let (_forwarder, entrance) = built.unwrap();
    let first = entrance.reserve(60).unwrap();
    assert_eq!(entrance.reserve(60).unwrap_err(), Full);
    drop(first);
    assert!(entrance.reserve(100).is_ok());
}

#[test]
fn settings_that_make_no_sense_are_refused_with_their_key() {
    let no_endpoint = Config::default();
    assert!(no_endpoint.check().is_ok());
    let broken = |adjust: &dyn Fn(&mut Config)| {
        let mut config = Config::default();
        adjust(&mut config);
        config.check().unwrap_err().key
    };
    let keys = [
        broken(&|config| config.in_flight = 0),
        broken(&|config| config.retry.initial = Duration::from_hours(1)),
        broken(&|config| config.queue.memory_bytes = 10),
        broken(&|config| {
            config.queue.durable = true;
            config.queue.dir = None;
        }),
    ];
    let expected = [
        "in_flight",
        "retry.initial",
        "queue.memory_bytes",
        "queue.durable",
    ];
    assert_eq!(keys, expected.map(|key| format!("exporters.forward.{key}")));
    let share = |text: &str| serde_saphyr::from_str::<Share>(text);
    assert_eq!(share("off").unwrap(), Share::Off);
    assert_eq!(share("plan").unwrap(), Share::Plan);
    assert_eq!(share("0.25").unwrap(), Share::Ratio(0.25));
    for wrong in ["0", "1.5", "on"] {
        let error = share(wrong).unwrap_err().to_string();
        assert!(error.contains("a ratio above 0"), "{error}");
    }
}
