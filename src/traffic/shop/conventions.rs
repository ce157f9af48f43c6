//! How the shop's spans are named and what they carry: the stable semantic conventions for HTTP, RPC,
//! messaging and databases.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::Status;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use crate::model::UnixNanos;
use crate::traffic::attribute::{int, text};
use crate::traffic::shop::services::{Endpoint, Protocol, ShopService, Step};

/// W3C `sampled`, and "it is known whether the parent is remote".
const FLAGS_LOCAL_PARENT: u32 = 0x101;
/// The same, and the parent is remote.
const FLAGS_REMOTE_PARENT: u32 = 0x301;

/// What a caller gets, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reply {
    Ok,
    /// The caller's fault: HTTP 404, gRPC `NOT_FOUND`.
    NotFound,
    /// The callee's fault: HTTP 500, gRPC `INTERNAL`.
    Failed,
}

impl Reply {
    fn http_status(self) -> i64 {
        match self {
            Self::Ok => 200,
            Self::NotFound => 404,
            Self::Failed => 500,
        }
    }

    fn grpc_status(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::NotFound => "NOT_FOUND",
            Self::Failed => "INTERNAL",
        }
    }
}

/// Adds what the entry span of `endpoint` says. `subject` is the number of the thing asked for.
pub(super) fn describe_entry(span: Span, endpoint: &Endpoint, reply: Reply, subject: u32) -> Span {
    let failed = reply == Reply::Failed;
    let (name, kind, mut attributes) = match endpoint.protocol {
        Protocol::Http { method, route } => (
            format!("{method} {route}"),
            SpanKind::Server,
            vec![
                text("http.request.method", method),
                text("url.scheme", "http"),
                text("url.path", path(route, subject)),
                text("http.route", route),
                text("server.address", endpoint.service.name()),
                text("network.protocol.version", "1.1"),
                int("http.response.status_code", reply.http_status()),
            ],
        ),
        Protocol::Grpc { method } => (
            method.to_owned(),
            SpanKind::Server,
            vec![
                text("rpc.system.name", "grpc"),
                text("rpc.method", method),
                text("server.address", endpoint.service.name()),
                text("rpc.response.status_code", reply.grpc_status()),
            ],
        ),
        Protocol::Queue { destination } => (
            format!("process {destination}"),
            SpanKind::Consumer,
            consumer_attributes(endpoint.service, destination, subject),
        ),
    };
    if failed {
        attributes.push(text("error.type", error_type(endpoint.protocol, reply)));
    }
    Span {
        name,
        kind: kind.into(),
        attributes,
        status: Some(status(failed)),
        flags: FLAGS_REMOTE_PARENT,
        ..span
    }
}

/// Adds what the caller's span of a call to `callee` says.
pub(super) fn describe_call(span: Span, callee: &Endpoint, reply: Reply, subject: u32) -> Span {
    let server = callee.service.name();
    // Unlike the server, the client takes a 404 for an error.
    let failed = reply != Reply::Ok;
    let (name, kind, mut attributes) = match callee.protocol {
        Protocol::Http { method, route } => (
            method.to_owned(),
            SpanKind::Client,
            vec![
                text("http.request.method", method),
                text(
                    "url.full",
                    format!("http://{server}:8080{}", path(route, subject)),
                ),
                text("server.address", server),
                int("server.port", 8080),
                int("http.response.status_code", reply.http_status()),
            ],
        ),
        Protocol::Grpc { method } => (
            method.to_owned(),
            SpanKind::Client,
            vec![
                text("rpc.system.name", "grpc"),
                text("rpc.method", method),
                text("server.address", server),
                int("server.port", 9090),
                text("rpc.response.status_code", reply.grpc_status()),
            ],
        ),
        Protocol::Queue { destination } => (
            format!("send {destination}"),
            SpanKind::Producer,
            message_attributes("send", destination, subject),
        ),
    };
    if failed {
        attributes.push(text("error.type", error_type(callee.protocol, reply)));
    }
    Span {
        name,
        kind: kind.into(),
        attributes,
        status: Some(status(failed)),
        flags: FLAGS_LOCAL_PARENT,
        ..span
    }
}

/// Adds what the span of a step without a callee says; steps with one have [`describe_call`].
pub(super) fn describe_step(span: Span, step: &Step) -> Span {
    let (name, kind, attributes) = match step {
        Step::Query {
            system,
            operation,
            collection,
            ..
        } => {
            let summary = format!("{operation} {collection}").trim_end().to_owned();
            let mut attributes = vec![
                text("db.system.name", *system),
                text("db.operation.name", *operation),
                text("db.query.summary", summary.clone()),
                text("server.address", format!("{system}.shop.internal")),
            ];
            if !collection.is_empty() {
                attributes.push(text("db.collection.name", *collection));
            }
            (summary, SpanKind::Client, attributes)
        }
        Step::Compute { name, .. } => ((*name).to_owned(), SpanKind::Internal, Vec::new()),
        Step::Call(_) | Step::Optional(_) | Step::Publish(_) => return span,
    };
    Span {
        name,
        kind: kind.into(),
        attributes,
        status: Some(status(false)),
        flags: FLAGS_LOCAL_PARENT,
        ..span
    }
}

/// The event of the exception that made `service` fail.
pub(super) fn exception(service: ShopService, time_unix_nano: UnixNanos) -> Event {
    let (kind, message) = match service {
        ShopService::Frontend => ("RenderError", "the page could not be rendered"),
        ShopService::Checkout => ("OrderError", "the order could not be stored"),
        ShopService::Cart => ("CartUnavailable", "the cart's shard does not answer"),
        ShopService::Payment => ("GatewayTimeout", "the card network does not answer"),
        ShopService::Catalog => ("IndexError", "the product index is being rebuilt"),
        ShopService::Fulfilment => ("NoCarrier", "no carrier takes the parcel"),
    };
    Event {
        time_unix_nano,
        name: "exception".to_owned(),
        attributes: vec![
            text("exception.type", kind),
            text("exception.message", message),
        ],
        ..Event::default()
    }
}

fn consumer_attributes(service: ShopService, destination: &str, subject: u32) -> Vec<KeyValue> {
    let mut attributes = message_attributes("process", destination, subject);
    attributes.push(text("messaging.consumer.group.name", service.name()));
    attributes
}

fn message_attributes(operation: &str, destination: &str, subject: u32) -> Vec<KeyValue> {
    vec![
        text("messaging.system", "kafka"),
        text("messaging.operation.type", operation),
        text("messaging.operation.name", operation),
        text("messaging.destination.name", destination),
        text("messaging.message.id", subject.to_string()),
    ]
}

fn error_type(protocol: Protocol, reply: Reply) -> String {
    match protocol {
        Protocol::Http { .. } => reply.http_status().to_string(),
        Protocol::Grpc { .. } => reply.grpc_status().to_owned(),
        Protocol::Queue { .. } => "NoCarrier".to_owned(),
    }
}

fn status(failed: bool) -> Status {
    let code = if failed {
        StatusCode::Error
    } else {
        StatusCode::Unset
    };
    Status {
        code: code.into(),
        ..Status::default()
    }
}

/// The path of a request on `route`, with `subject` in place of the parameter.
fn path(route: &str, subject: u32) -> String {
    match (route.split_once('{'), route.split_once('}')) {
        (Some((before, _)), Some((_, after))) => format!("{before}{subject}{after}"),
        _ => route.to_owned(),
    }
}
