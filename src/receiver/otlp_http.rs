//! OTLP/HTTP: `POST /v1/traces` as protobuf or JSON, plain, gzip or zstd.

use std::future::Future;
use std::io::Read;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http_body_util::BodyExt;
use prost::Message;
use serde_json::json;
use tokio::net::TcpListener;

use crate::forward::Full;
use crate::incoming;
use crate::otlp::client::Encoding;
use crate::pipeline::Consumed;
use crate::receiver::Receiver;
use crate::receiver::collect::collect_protobuf;
use crate::receiver::intake::{BodyError, Intake, Lease, Refused};
use crate::receiver::json::collect_json;
use crate::receiver::respond::{TRACES_ONLY, export_response, export_response_bytes};
use crate::receiver::whole::keep::{keep_json, keep_protobuf};

/// Serves until `shutdown` ends, then lets the requests under way finish.
pub async fn serve(listener: TcpListener, receiver: Receiver, shutdown: impl Future<Output = ()>) {
    let idle = receiver.config.idle_timeout;
    let router = Router::new()
        .route("/v1/traces", post(export))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(receiver);
    incoming::serve(listener, router, idle, shutdown).await;
}

/// How a body is encoded, also that of the answer.
fn encoding_of(headers: &HeaderMap) -> Option<Encoding> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let kind = content_type.split(';').next()?.trim().to_ascii_lowercase();
    let encodings = [Encoding::Protobuf, Encoding::Json];
    let mut named = encodings
        .into_iter()
        .filter(|encoding| kind == encoding.content_type());
    named.next()
}

/// Why a request is not counted.
enum Failure {
    Refused(Refused),
    Malformed(String),
    UnsupportedMediaType(String),
    Timeout,
}

async fn export(State(receiver): State<Receiver>, request: Request) -> Response {
    let encoding = encoding_of(request.headers());
    let outcome = match encoding {
        Some(encoding) => consume(&receiver, encoding, request).await,
        None => Err(Failure::UnsupportedMediaType(format!(
            "Content-Type must be {} or {}",
            Encoding::Protobuf.content_type(),
            Encoding::Json.content_type()
        ))),
    };
    // Whoever sends something else reads JSON.
    let encoding = encoding.unwrap_or(Encoding::Json);
    match outcome {
        Ok(consumed) => {
            receiver.count(&consumed);
            success(encoding, &consumed)
        }
        Err(failure) => {
            match &failure {
                Failure::Refused(refused) => receiver.count_refused(*refused),
                Failure::Malformed(_) | Failure::UnsupportedMediaType(_) | Failure::Timeout => {
                    receiver.counters.refused.malformed.increment(0);
                }
            }
            failed(encoding, &failure, receiver.intake.retry_after)
        }
    }
}

async fn consume(
    receiver: &Receiver,
    encoding: Encoding,
    request: Request,
) -> Result<Consumed, Failure> {
    let (parts, body) = request.into_parts();
    let compression = Compression::of(&parts.headers)?;
    let body = receiver
        .intake
        .admit(&parts.headers, body)
        .map_err(Failure::Refused)?;
    // Held until the request is counted.
    let lease = body.lease();
    let collected = tokio::time::timeout(receiver.config.request_timeout, body.collect()).await;
    let body = match collected {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(BodyError::Refused(refused))) => return Err(Failure::Refused(refused)),
        Ok(Err(BodyError::Transport(error))) => {
            return Err(Failure::Malformed(format!("the body ended early: {error}")));
        }
        Err(_) => return Err(Failure::Timeout),
    };
    let body = compression.unpack(body, &receiver.intake, &lease)?;
    let room = receiver.pipeline.admit(body.len());
    let room = room.map_err(|Full| Failure::Refused(Refused::Backlog))?;
    let malformed = |error: String| Failure::Malformed(error);
    let consumed = receiver
        .pipeline
        .consume(|rules, batch, scratch| match encoding {
            Encoding::Protobuf => collect_protobuf(&body, rules, batch, scratch).map_err(|error| {
                malformed(format!(
                    "the body is not an ExportTraceServiceRequest: {error}"
                ))
            }),
            Encoding::Json => collect_json(&body, rules, batch, scratch)
                .map_err(|error| malformed(format!("the body is not OTLP/JSON: {error}"))),
        })?;
    receiver.pipeline.note_bytes(body.len());
    receiver
        .pipeline
        .keep(&consumed, |traces, now| match encoding {
            Encoding::Protobuf => keep_protobuf(&body, traces, now),
            Encoding::Json => keep_json(&body, traces, now),
        });
    if let Some(room) = room {
        room.hand_over(body, encoding, consumed.spans()).await;
    }
    Ok(consumed)
}

#[derive(Clone, Copy)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let Some(encoding) = headers.get(header::CONTENT_ENCODING) else {
            return Ok(Self::None);
        };
        match encoding
            .to_str()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase()
            .as_str()
        {
            "" | "identity" => Ok(Self::None),
            "gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            other => Err(Failure::UnsupportedMediaType(format!(
                "Content-Encoding `{other}` is not supported; use gzip, zstd or none"
            ))),
        }
    }

    fn unpack(self, body: Bytes, intake: &Intake, lease: &Lease) -> Result<Bytes, Failure> {
        match self {
            Self::None => Ok(body),
            Self::Gzip => {
                let decoder = flate2::read::MultiGzDecoder::new(body.as_ref());
                read_leased(decoder, "gzip", intake, lease)
            }
            Self::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(body.as_ref())
                    .map_err(|error| broken("zstd", &error))?;
                read_leased(decoder, "zstd", intake, lease)
            }
        }
    }
}

fn broken(format: &str, error: &std::io::Error) -> Failure {
    Failure::Malformed(format!("the body is not valid {format}: {error}"))
}

/// First size of the buffer of an unpacked body; it doubles up to the largest request.
const UNPACKED_BYTES: u64 = 64 * 1024;

/// Reads all of it, unless it is larger than a request may be. Memory is taken from the intake before it is used.
fn read_leased(
    mut reader: impl Read,
    format: &str,
    intake: &Intake,
    lease: &Lease,
) -> Result<Bytes, Failure> {
    let limit = intake.max_request_bytes;
    let (mut unpacked, mut room) = (Vec::new(), UNPACKED_BYTES.min(limit));
    loop {
        lease.grow(intake, room).map_err(Failure::Refused)?;
        unpacked.reserve_exact(usize::try_from(room).unwrap_or(usize::MAX));
        let mut piece = reader.by_ref().take(room);
        piece
            .read_to_end(&mut unpacked)
            .map_err(|error| broken(format, &error))?;
        if piece.limit() > 0 {
            return Ok(unpacked.into());
        }
        let held = unpacked.len() as u64;
        if held >= limit {
            break;
        }
        room = held.min(limit - held);
    }
    // Exactly the limit, or more than it?
    match reader.read(&mut [0]) {
        Ok(0) => Ok(unpacked.into()),
        Ok(_) => Err(Failure::Refused(Refused::TooLarge { limit })),
        Err(error) => Err(broken(format, &error)),
    }
}

fn success(encoding: Encoding, consumed: &Consumed) -> Response {
    let body = match encoding {
        Encoding::Protobuf => Body::from(export_response_bytes(consumed)),
        Encoding::Json => Body::from(match export_response(consumed).partial_success {
            None => "{}".to_owned(),
            // 64-bit numbers are text in proto3's JSON mapping.
            Some(partial) => json!({"partialSuccess": {
                "rejectedSpans": partial.rejected_spans.to_string(),
                "errorMessage": partial.error_message,
            }})
            .to_string(),
        }),
    };
    ([(header::CONTENT_TYPE, encoding.content_type())], body).into_response()
}

/// An answer with a `google.rpc.Status` as its body.
fn failed(encoding: Encoding, failure: &Failure, retry_after: Duration) -> Response {
    let (code, grpc_code, message) = match failure {
        Failure::Refused(refused @ Refused::Overload) => (
            StatusCode::TOO_MANY_REQUESTS,
            tonic::Code::ResourceExhausted,
            refused.to_string(),
        ),
        Failure::Refused(refused @ Refused::Backlog) => (
            StatusCode::SERVICE_UNAVAILABLE,
            tonic::Code::Unavailable,
            refused.to_string(),
        ),
        Failure::Refused(refused @ Refused::TooLarge { .. }) => (
            StatusCode::PAYLOAD_TOO_LARGE,
            tonic::Code::ResourceExhausted,
            refused.to_string(),
        ),
        Failure::Malformed(message) => (
            StatusCode::BAD_REQUEST,
            tonic::Code::InvalidArgument,
            message.clone(),
        ),
        Failure::UnsupportedMediaType(message) => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            tonic::Code::InvalidArgument,
            message.clone(),
        ),
        Failure::Timeout => (
            // OTLP clients send again after 503, not after 408.
            StatusCode::SERVICE_UNAVAILABLE,
            tonic::Code::DeadlineExceeded,
            "the body took longer than receivers.otlp.request_timeout to arrive".to_owned(),
        ),
    };
    let mut response = status_response(encoding, code, grpc_code, message);
    if matches!(
        failure,
        Failure::Refused(Refused::Overload | Refused::Backlog) | Failure::Timeout
    ) {
        let seconds = retry_after.as_secs_f64().ceil().max(1.0);
        if let Ok(value) = HeaderValue::from_str(&format!("{seconds:.0}")) {
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
    }
    response
}

fn status_response(
    encoding: Encoding,
    code: StatusCode,
    grpc_code: tonic::Code,
    message: String,
) -> Response {
    let status = tonic_types::pb::Status {
        code: grpc_code as i32,
        message,
        details: Vec::new(),
    };
    let body = match encoding {
        Encoding::Protobuf => Body::from(status.encode_to_vec()),
        Encoding::Json => {
            Body::from(json!({"code": status.code, "message": status.message}).to_string())
        }
    };
    (
        code,
        [(header::CONTENT_TYPE, encoding.content_type())],
        body,
    )
        .into_response()
}

async fn not_found(request: Request) -> Response {
    let encoding = encoding_of(request.headers()).unwrap_or(Encoding::Json);
    let other_signal = request.uri().path().starts_with("/v1");
    let message = if other_signal {
        TRACES_ONLY
    } else {
        "traces go to POST /v1/traces"
    };
    status_response(
        encoding,
        StatusCode::NOT_FOUND,
        tonic::Code::Unimplemented,
        message.to_owned(),
    )
}

async fn method_not_allowed(request: Request) -> Response {
    let encoding = encoding_of(request.headers()).unwrap_or(Encoding::Json);
    let message = "traces go to POST /v1/traces".to_owned();
    status_response(
        encoding,
        StatusCode::METHOD_NOT_ALLOWED,
        tonic::Code::Unimplemented,
        message,
    )
}
