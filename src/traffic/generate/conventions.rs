//! How spans are named and what they carry: the stable semantic conventions for HTTP, RPC, messaging and databases.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind as OtlpKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use crate::model::UnixNanos;
use crate::model::span::SpanKind;
use crate::traffic::attribute::{int, text};
use crate::traffic::generate::reply::{Blame, Reply};
use crate::traffic::model::{Consumer, NamedSpan, Operation, Query};

/// W3C `sampled`, and "it is known whether the parent is remote".
const FLAGS_LOCAL_PARENT: u32 = 0x101;
/// The same, and the parent is remote.
const FLAGS_REMOTE_PARENT: u32 = 0x301;

/// How the answer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answered {
    Http,
    Grpc,
    /// By the status of the span alone.
    Plainly,
}

/// A span before it happens.
#[derive(Clone, Debug)]
pub(super) struct Template {
    name: String,
    kind: OtlpKind,
    attributes: Vec<KeyValue>,
    /// The attribute whose value holds the route, and what stands before it there.
    path: Option<(&'static str, String, String)>,
    message_id: bool,
    answered: Answered,
    flags: u32,
}

/// The operation as the windows name it.
pub(in crate::traffic) fn operation_name(operation: &Operation) -> String {
    if let Some(http) = &operation.http {
        format!("{} {}", http.method, http.route)
    } else if let Some(grpc) = &operation.grpc {
        grpc.method.clone()
    } else if let Some(consumer) = &operation.consumer {
        format!("process {}", consumer.destination)
    } else {
        operation
            .span
            .as_ref()
            .map(|span| span.name.clone())
            .unwrap_or_default()
    }
}

/// The entry span of an operation of `service`.
pub(super) fn entry(service: &str, operation: &Operation) -> Template {
    let name = operation_name(operation);
    if let Some(http) = &operation.http {
        let attributes = vec![
            text("http.request.method", &*http.method),
            text("url.scheme", "http"),
            text("http.route", &*http.route),
            text("server.address", service),
            text("network.protocol.version", "1.1"),
        ];
        let path = Some(("url.path", String::new(), http.route.clone()));
        return Template {
            path,
            ..template(name, OtlpKind::Server, attributes, Answered::Http)
        };
    }
    if let Some(grpc) = &operation.grpc {
        let attributes = vec![
            text("rpc.system.name", "grpc"),
            text("rpc.method", &*grpc.method),
            text("server.address", service),
        ];
        return template(name, OtlpKind::Server, attributes, Answered::Grpc);
    }
    if let Some(consumer) = &operation.consumer {
        let mut attributes = message_attributes("process", consumer);
        attributes.push(text("messaging.consumer.group.name", service));
        let made = template(name, OtlpKind::Consumer, attributes, Answered::Plainly);
        return Template {
            message_id: true,
            ..made
        };
    }
    let span = operation.span.clone().unwrap_or_default();
    let kind = span.kind.unwrap_or(SpanKind::Unspecified);
    template(
        name,
        otlp_kind(kind),
        plain(&span.attributes),
        Answered::Plainly,
    )
}

/// The caller's span of a call to an operation of `server`.
pub(super) fn call(server: &str, operation: &Operation) -> Template {
    let local = |made| Template {
        flags: FLAGS_LOCAL_PARENT,
        ..made
    };
    if let Some(http) = &operation.http {
        let attributes = vec![
            text("http.request.method", &*http.method),
            text("server.address", server),
            int("server.port", 8080),
        ];
        let before = format!("http://{server}:8080");
        let path = Some(("url.full", before, http.route.clone()));
        let made = template(
            http.method.clone(),
            OtlpKind::Client,
            attributes,
            Answered::Http,
        );
        return local(Template { path, ..made });
    }
    if let Some(grpc) = &operation.grpc {
        let attributes = vec![
            text("rpc.system.name", "grpc"),
            text("rpc.method", &*grpc.method),
            text("server.address", server),
            int("server.port", 9090),
        ];
        return local(template(
            grpc.method.clone(),
            OtlpKind::Client,
            attributes,
            Answered::Grpc,
        ));
    }
    if let Some(consumer) = &operation.consumer {
        let name = format!("send {}", consumer.destination);
        let attributes = message_attributes("send", consumer);
        let made = template(name, OtlpKind::Producer, attributes, Answered::Plainly);
        return local(Template {
            message_id: true,
            ..made
        });
    }
    let attributes = vec![text("server.address", server)];
    local(template(
        operation_name(operation),
        OtlpKind::Client,
        attributes,
        Answered::Plainly,
    ))
}

/// The span of a database statement.
pub(super) fn query(query: &Query, namespace: &str) -> Template {
    let summary = format!("{} {}", query.operation, query.collection)
        .trim_end()
        .to_owned();
    let address = if namespace.is_empty() {
        query.system.clone()
    } else {
        format!("{}.{namespace}.internal", query.system)
    };
    let mut attributes = vec![
        text("db.system.name", &*query.system),
        text("db.operation.name", &*query.operation),
        text("db.query.summary", &*summary),
        text("server.address", address),
    ];
    if !query.collection.is_empty() {
        attributes.push(text("db.collection.name", &*query.collection));
    }
    let made = template(summary, OtlpKind::Client, attributes, Answered::Plainly);
    Template {
        flags: FLAGS_LOCAL_PARENT,
        ..made
    }
}

/// The span of work inside a service.
pub(super) fn work(span: &NamedSpan) -> Template {
    let kind = otlp_kind(span.kind.unwrap_or(SpanKind::Internal));
    let made = template(
        span.name.clone(),
        kind,
        plain(&span.attributes),
        Answered::Plainly,
    );
    Template {
        flags: FLAGS_LOCAL_PARENT,
        ..made
    }
}

impl Template {
    /// Whether it is work of the service itself.
    pub(super) fn is_internal(&self) -> bool {
        self.kind == OtlpKind::Internal
    }

    /// The span as it happened. `subject` is the number of the thing asked for.
    pub(super) fn span(&self, span: Span, reply: &Reply, subject: u32) -> Span {
        let mut attributes = Vec::with_capacity(self.attributes.len() + 3);
        attributes.extend(self.attributes.iter().cloned());
        if let Some((key, before, route)) = &self.path {
            attributes.push(text(key, path(before, route, subject)));
        }
        if self.message_id {
            attributes.push(text("messaging.message.id", subject.to_string()));
        }
        // Unlike the server, the client takes a 404 for an error.
        let blamed_from = if self.kind == OtlpKind::Client {
            Blame::Caller
        } else {
            Blame::Callee
        };
        let is_failed = reply.blame >= blamed_from;
        match self.answered {
            Answered::Http => attributes.push(int("http.response.status_code", reply.http_status)),
            Answered::Grpc => {
                attributes.push(text("rpc.response.status_code", &*reply.grpc_status));
            }
            Answered::Plainly => {}
        }
        if is_failed {
            attributes.push(match self.answered {
                Answered::Http => text("error.type", reply.http_status.to_string()),
                Answered::Grpc | Answered::Plainly => text("error.type", &*reply.grpc_status),
            });
        }
        let code = if is_failed {
            StatusCode::Error
        } else {
            StatusCode::Unset
        };
        let flags = if span.parent_span_id.is_empty() {
            FLAGS_LOCAL_PARENT
        } else {
            self.flags
        };
        Span {
            name: self.name.clone(),
            kind: self.kind.into(),
            attributes,
            status: Some(Status {
                code: code.into(),
                ..Status::default()
            }),
            flags,
            ..span
        }
    }
}

/// The event of an exception.
pub(super) fn exception(kind: &str, message: &str, time_unix_nano: UnixNanos) -> Event {
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

fn template(
    name: String,
    kind: OtlpKind,
    attributes: Vec<KeyValue>,
    answered: Answered,
) -> Template {
    Template {
        name,
        kind,
        attributes,
        path: None,
        message_id: false,
        answered,
        flags: FLAGS_REMOTE_PARENT,
    }
}

fn message_attributes(operation: &str, consumer: &Consumer) -> Vec<KeyValue> {
    vec![
        text("messaging.system", &*consumer.system),
        text("messaging.operation.type", operation),
        text("messaging.operation.name", operation),
        text("messaging.destination.name", &*consumer.destination),
    ]
}

fn plain(attributes: &BTreeMap<String, String>) -> Vec<KeyValue> {
    attributes
        .iter()
        .map(|(key, value)| text(key, &**value))
        .collect()
}

fn otlp_kind(kind: SpanKind) -> OtlpKind {
    OtlpKind::try_from(i32::from(kind.number())).unwrap_or(OtlpKind::Unspecified)
}

/// The path of a request on `route`, with `subject` in place of each parameter.
fn path(before: &str, route: &str, subject: u32) -> String {
    use std::fmt::Write as _;
    let mut filled = String::with_capacity(before.len() + route.len() + 8);
    filled.push_str(before);
    let mut rest = route;
    while let Some((fixed, parameter)) = rest.split_once('{') {
        let Some((_, after)) = parameter.split_once('}') else {
            break;
        };
        filled.push_str(fixed);
        // Writing to a string cannot fail.
        write!(filled, "{subject}").unwrap_or_default();
        rest = after;
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_a_route_are_filled_and_broken_ones_are_left() {
        assert_eq!(
            path("", "/users/{id}/orders/{order}", 7),
            "/users/7/orders/7"
        );
        assert_eq!(path("http://cart:8080", "/", 7), "http://cart:8080/");
        assert_eq!(path("", "/odd/{id", 7), "/odd/{id");
    }
}
