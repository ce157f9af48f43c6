//! OTLP/gRPC: `opentelemetry.proto.collector.trace.v1.TraceService` on raw bytes.
//!
//! `IntakeService` stands before tonic's server. It lets requests in by their bytes, and mends the codes that tonic gives:
//! what is too large must not be retried (tonic says `OUT_OF_RANGE`, which OTLP clients retry), and a body that
//! does not decompress is the client's fault (tonic says `INTERNAL`).

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio_stream::StreamExt;
use tonic::codec::CompressionEncoding;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tower_service::Service;

use crate::forward::Full;
use crate::incoming::Punctual;
use crate::otlp::client::Encoding;
use crate::otlp::trace_service_server::{TraceService, TraceServiceServer};
use crate::receiver::Receiver;
use crate::receiver::collect::collect_protobuf;
use crate::receiver::intake::{BodyError, Intake, Refused};
use crate::receiver::respond::{TRACES_ONLY, export_response_bytes};
use crate::receiver::whole::keep::keep_protobuf;

const EXPORT_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Serves until `shutdown` ends, then lets the requests under way finish.
pub async fn serve(
    listener: TcpListener,
    receiver: Receiver,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let config = receiver.config.clone();
    let limit = usize::try_from(config.max_request_bytes).unwrap_or(usize::MAX);
    let intake = IntakeService {
        receiver: receiver.clone(),
        inner: None,
    };
    let inner = TraceServiceServer::new(receiver)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(limit);
    let routes = Routes::new(IntakeService {
        inner: Some(inner),
        ..intake
    })
    .into_axum_router()
    .fallback(async |request: axum::extract::Request| unknown_service(request.uri().path()));
    // Without it, window updates wait for delayed acknowledgements: 40 ms a batch.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let incoming = incoming
        .map(move |stream| Ok::<_, std::io::Error>(Punctual::new(stream?, config.idle_timeout)));
    Server::builder()
        .timeout(config.request_timeout)
        .max_concurrent_streams(config.grpc.max_concurrent_streams)
        .http2_keepalive_interval(Some(config.grpc.keepalive_interval))
        .http2_keepalive_timeout(Some(config.grpc.keepalive_timeout))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_routes(Routes::from(routes))
        .serve_with_incoming_shutdown(incoming, shutdown)
        .await
}

/// A usual batch fits, so that its sender does not wait for window updates.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

fn unknown_service(path: &str) -> Response<tonic::body::Body> {
    let other_signal = path.starts_with("/opentelemetry.proto.collector.");
    let message = if other_signal {
        TRACES_ONLY
    } else {
        "no such service; OTLP traces go to TraceService/Export"
    };
    Status::unimplemented(message).into_http()
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: tonic::Request<Bytes>,
    ) -> Result<tonic::Response<Bytes>, Status> {
        let message = request.into_inner();
        let room = self.pipeline.admit(message.len()).map_err(|Full| {
            self.count_refused(Refused::Backlog);
            refused_status(Refused::Backlog, &self.intake)
        })?;
        match self
            .pipeline
            .consume(|rules, batch, scratch| collect_protobuf(&message, rules, batch, scratch))
        {
            Ok(consumed) => {
                self.count(&consumed);
                self.pipeline.note_bytes(message.len());
                self.pipeline.keep(&consumed, |traces, now| {
                    keep_protobuf(&message, traces, now);
                });
                if let Some(room) = room {
                    let spans = consumed.spans();
                    room.hand_over(message, Encoding::Protobuf, spans).await;
                }
                Ok(tonic::Response::new(export_response_bytes(&consumed)))
            }
            Err(malformed) => {
                self.counters.refused.malformed.increment(0);
                Err(Status::invalid_argument(format!(
                    "the request is not an ExportTraceServiceRequest: {malformed}"
                )))
            }
        }
    }
}

/// The trace service behind the intake.
#[derive(Clone)]
struct IntakeService {
    receiver: Receiver,
    inner: Option<TraceServiceServer<Receiver>>,
}

impl NamedService for IntakeService {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

type ResponseFuture =
    Pin<Box<dyn Future<Output = Result<Response<tonic::body::Body>, Infallible>> + Send>>;

impl Service<Request<tonic::body::Body>> for IntakeService {
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> ResponseFuture {
        let Self { receiver, inner } = self.clone();
        let Some(mut inner) = inner else {
            return Box::pin(async { Ok(Status::internal("no inner service").into_http()) });
        };
        if request.uri().path() != EXPORT_PATH {
            return Box::pin(async move { inner.call(request).await });
        }
        let (parts, body) = request.into_parts();
        match receiver.intake.admit(&parts.headers, body) {
            Err(refused) => {
                receiver.count_refused(refused);
                let status = refused_status(refused, &receiver.intake);
                Box::pin(async move { Ok(status.into_http()) })
            }
            Ok(body) => Box::pin(async move {
                // Held until the answer stands.
                let lease = body.lease();
                let intake = receiver.intake.clone();
                let body = http_body_util::BodyExt::map_err(body, move |error| match error {
                    BodyError::Refused(refused) => refused_status(refused, &intake),
                    BodyError::Transport(status) => status,
                });
                let response = inner.call(Request::from_parts(parts, body)).await?;
                drop(lease);
                Ok(mended(response, &receiver))
            }),
        }
    }
}

fn refused_status(refused: Refused, intake: &Intake) -> Status {
    match refused {
        Refused::Overload => {
            let details = ErrorDetails::with_retry_info(Some(intake.retry_after));
            Status::with_error_details(Code::ResourceExhausted, refused.to_string(), details)
        }
        Refused::Backlog => {
            let details = ErrorDetails::with_retry_info(Some(intake.retry_after));
            Status::with_error_details(Code::Unavailable, refused.to_string(), details)
        }
        Refused::TooLarge { .. } => Status::resource_exhausted(refused.to_string()),
    }
}

/// Mends the codes that tonic gives to bodies that it could not unpack, and counts them.
fn mended(
    response: Response<tonic::body::Body>,
    receiver: &Receiver,
) -> Response<tonic::body::Body> {
    let Some(status) = Status::from_header_map(response.headers()) else {
        return response;
    };
    let limit = receiver.intake.max_request_bytes;
    let code = status.code();
    if code == Code::Internal {
        receiver.counters.refused.malformed.increment(0);
        let message = format!("the request cannot be unpacked: {}", status.message());
        return Status::invalid_argument(message).into_http();
    }
    let refused = if code == Code::OutOfRange {
        Refused::TooLarge { limit }
    } else if code != Code::ResourceExhausted {
        return response;
    } else if status.get_details_retry_info().is_some() {
        Refused::Overload
    } else {
        Refused::TooLarge { limit }
    };
    receiver.count_refused(refused);
    refused_status(refused, &receiver.intake).into_http()
}
