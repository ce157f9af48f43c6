//! What went wrong and who was called: read only of spans whose service is watched.
//!
//! An error's kind is the exception's type, else `error.type`, else the HTTP status, else the gRPC code, else `error`. A
//! dependency is `peer.service`, else the host, else `rpc.service`, else the database system, else the destination of a
//! message. Of a host that a cluster or a local network names (`.svc` within, or ending in `.local`, `.internal`) the
//! first label stands for it, so that all names of one service are one; other hosts and IP addresses stay as they are.

use crate::model::batch::{Call, EventBatch, Failure};
use crate::model::span::{Outcome, SpanKind};
use crate::window::event::{
    Scalar, SpanAttributes, SpanInput, Weighing, is_grpc_server_error, outcome_of, weight_of,
};

/// Longer kinds and names are cut here.
const NAME_BYTES_MAX: usize = 128;

/// Names of the gRPC codes in the order of their numbers.
const GRPC_CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The attributes that say more about a span of a watched service.
#[derive(Clone, Copy, Debug, Default)]
pub struct DetailAttributes<'a> {
    exception_type: Option<&'a [u8]>,
    error_type: Option<&'a [u8]>,
    peer_service: Option<&'a [u8]>,
    host: Option<&'a [u8]>,
    database: Option<&'a [u8]>,
}

impl<'a> DetailAttributes<'a> {
    /// Whether a key may be one that is read.
    pub fn may_read(key: &[u8]) -> bool {
        matches!(
            key,
            [b'e', b'x' | b'r', ..] | [b'p' | b's', b'e', ..] | [b'n' | b'd', ..]
        )
    }

    /// Takes an attribute if it is one that is read.
    pub fn set(&mut self, key: &[u8], value: Scalar<'a>) {
        match key {
            b"exception.type" => self.exception_type = value.text(),
            b"error.type" => self.error_type = value.text(),
            b"peer.service" => self.peer_service = value.text(),
            b"server.address" => self.host = value.text(),
            b"net.peer.name" | b"network.peer.address" => self.host = self.host.or(value.text()),
            b"db.system.name" => self.database = value.text(),
            b"db.system" => self.database = self.database.or(value.text()),
            _ => {}
        }
    }

    /// Takes the type that an exception's event says; the last one stands.
    pub fn set_exception(&mut self, value: Scalar<'a>) {
        self.exception_type = value.text().or(self.exception_type);
    }

    fn error_kind(&self, span: &SpanInput<'_>) -> Vec<u8> {
        let error_type = self.error_type.filter(|text| *text != b"_OTHER");
        if let Some(exception) = self.exception_type {
            return exception.to_vec();
        }
        match error_type {
            // What instrumentations of HTTP and gRPC write is what the status says.
            Some(code) if code.len() == 3 && code.iter().all(u8::is_ascii_digit) => {
                [&b"HTTP "[..], code].concat()
            }
            Some(named) if is_grpc_code(named) => [&b"gRPC "[..], named].concat(),
            Some(named) => named.to_vec(),
            None => status_kind(span),
        }
    }
}

impl<'a> DetailAttributes<'a> {
    fn dependency(&self, attributes: &SpanAttributes<'a>) -> Option<&'a [u8]> {
        self.peer_service
            .or(self.host.map(host_name))
            .or(attributes.rpc_service)
            .or(self.database)
            .or(attributes.messaging_template)
            .or(attributes.messaging_destination)
    }
}

fn is_grpc_code(name: &[u8]) -> bool {
    GRPC_CODES.iter().any(|code| code.as_bytes() == name)
}

fn status_kind(span: &SpanInput<'_>) -> Vec<u8> {
    let attributes = &span.attributes;
    if let Some(status) = attributes.http_status.filter(|status| *status >= 400) {
        return format!("HTTP {status}").into_bytes();
    }
    match attributes.grpc_status {
        Some(Scalar::Int(code)) if code != 0 => {
            let name = usize::try_from(code).ok().and_then(|at| GRPC_CODES.get(at));
            let name = name.map_or_else(|| code.to_string(), |name| (*name).to_owned());
            format!("gRPC {name}").into_bytes()
        }
        Some(Scalar::Text(name)) if name != b"OK" && name != b"0" => {
            let number = std::str::from_utf8(name)
                .ok()
                .and_then(|text| text.parse::<usize>().ok());
            let named = number.and_then(|at| GRPC_CODES.get(at));
            [&b"gRPC "[..], named.map_or(name, |named| named.as_bytes())].concat()
        }
        Some(Scalar::Int(_) | Scalar::Text(_)) | None => b"error".to_vec(),
    }
}

/// The host of a service, by the rule at the head of this file.
fn host_name(host: &[u8]) -> &[u8] {
    let is_address =
        std::str::from_utf8(host).is_ok_and(|text| text.parse::<std::net::IpAddr>().is_ok());
    let first = host.split(|byte| *byte == b'.').next().unwrap_or(host);
    let last = host.rsplit(|byte| *byte == b'.').next().unwrap_or(host);
    let is_local = host.windows(5).any(|part| part == b".svc.")
        || matches!(last, b"svc" | b"local" | b"internal" | b"localdomain");
    if !is_address && is_local && !first.is_empty() {
        first
    } else {
        host
    }
}

/// Whom a call goes to, and how, as far as its attributes say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer<'a> {
    /// The dependency, by the rule at the head of this file.
    pub name: Option<&'a [u8]>,
    /// The system of a database.
    pub database: Option<&'a [u8]>,
    /// The destination of a message, a template where there is one.
    pub destination: Option<&'a [u8]>,
    /// Whether it says anything about HTTP.
    pub is_http: bool,
    /// Whether it says anything about a remote procedure call.
    pub is_rpc: bool,
    /// Whether the answer says that the caller asked for what there is not: HTTP 4xx, or a gRPC code for which the server is
    /// not to blame. Clients report that as an error, servers do not.
    pub is_callers_fault: bool,
}

/// The same of a span whose attributes are all at hand.
pub fn peer_of<'a>(pairs: impl IntoIterator<Item = (&'a [u8], Scalar<'a>)>) -> Peer<'a> {
    let (mut attributes, mut details) = (SpanAttributes::default(), DetailAttributes::default());
    for (key, value) in pairs {
        attributes.set(key, value);
        details.set(key, value);
    }
    let destination = attributes.messaging_template;
    Peer {
        name: details.dependency(&attributes),
        database: details.database,
        destination: destination.or(attributes.messaging_destination),
        is_http: attributes.http_method.is_some() || attributes.http_status.is_some(),
        is_rpc: attributes.rpc_service.is_some()
            || attributes.rpc_method.is_some()
            || attributes.grpc_status.is_some(),
        is_callers_fault: attributes
            .http_status
            .is_some_and(|status| (400..500).contains(&status))
            || attributes
                .grpc_status
                .is_some_and(|code| !is_success(code) && !is_grpc_server_error(code)),
    }
}

fn is_success(grpc_code: Scalar<'_>) -> bool {
    matches!(grpc_code, Scalar::Int(0) | Scalar::Text(b"OK" | b"0" | b""))
}

/// Whether spans of this kind are calls.
#[inline]
pub fn is_call(kind: SpanKind) -> bool {
    matches!(kind, SpanKind::Client | SpanKind::Producer)
}

/// Notes what a span of a watched resource says beside being an event: what went wrong in one that is, else whom it
/// called. Its resource is the newest one.
pub fn push_details<'a>(
    batch: &mut EventBatch,
    span: &SpanInput<'a>,
    details: &DetailAttributes<'a>,
    (trace_id, is_entry, weighing): (&[u8], bool, &Weighing),
) {
    if span.start > span.end {
        return;
    }
    if is_entry && newest_failed(batch) {
        push_failure(batch, span, details, trace_id);
    } else if !is_entry && is_call(span.kind) {
        push_call(batch, span, details, weighing);
    }
}

/// Whether the newest event of the batch failed.
pub fn newest_failed(batch: &EventBatch) -> bool {
    batch
        .events
        .last()
        .is_some_and(|event| event.outcome == Outcome::Error)
}

/// Notes what went wrong in the newest event, if something did.
#[cold]
pub fn push_failure(
    batch: &mut EventBatch,
    span: &SpanInput<'_>,
    details: &DetailAttributes<'_>,
    trace_id: &[u8],
) {
    let Some(event) = batch
        .resources
        .last()
        .and_then(|own| own.events.checked_sub(1))
    else {
        return;
    };
    let mut kind = details.error_kind(span);
    kind.truncate(NAME_BYTES_MAX);
    let kind = batch.push_text(&kind);
    let trace_id = batch.push_text(trace_id.get(..NAME_BYTES_MAX).unwrap_or(trace_id));
    batch.failures.push(Failure {
        event,
        kind,
        trace_id,
    });
    if let Some(resource) = batch.resources.last_mut() {
        resource.failures += 1;
    }
}

/// Notes a call of the newest resource, if it says whom.
#[cold]
pub fn push_call<'a>(
    batch: &mut EventBatch,
    span: &SpanInput<'a>,
    details: &DetailAttributes<'a>,
    weighing: &Weighing,
) {
    let named = details
        .dependency(&span.attributes)
        .filter(|_| span.start <= span.end);
    let Some(named) = named else {
        return;
    };
    let to = batch.push_text(named.get(..NAME_BYTES_MAX).unwrap_or(named));
    batch.calls.push(Call {
        to,
        end: span.end,
        duration_nanos: span.end - span.start,
        weight: weight_of(span, weighing),
        outcome: outcome_of(span),
    });
    if let Some(resource) = batch.resources.last_mut() {
        resource.calls += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(pairs: &[(&str, Scalar<'a>)]) -> (SpanInput<'a>, DetailAttributes<'a>) {
        let (mut attributes, mut details) =
            (SpanAttributes::default(), DetailAttributes::default());
        for (key, value) in pairs {
            attributes.set(key.as_bytes(), *value);
            let before = format!("{details:?}");
            details.set(key.as_bytes(), *value);
            if format!("{details:?}") != before {
                assert!(DetailAttributes::may_read(key.as_bytes()), "{key}");
            }
        }
        let span = SpanInput {
            name: b"the name",
            attributes,
            ..SpanInput::default()
        };
        (span, details)
    }

    fn text(text: &str) -> Scalar<'_> {
        Scalar::Text(text.as_bytes())
    }

    #[test]
    fn an_error_is_called_by_what_says_most_about_it() {
        let rows: &[(&[(&str, Scalar<'_>)], &str)] = &[
            (&[], "error"),
            (
                &[("http.response.status_code", Scalar::Int(503))],
                "HTTP 503",
            ),
            (&[("http.status_code", text("404"))], "HTTP 404"),
            (&[("http.status_code", Scalar::Int(200))], "error"),
            (
                &[("rpc.grpc.status_code", Scalar::Int(14))],
                "gRPC UNAVAILABLE",
            ),
            (
                &[("rpc.response.status_code", text("INTERNAL"))],
                "gRPC INTERNAL",
            ),
            (
                &[("rpc.grpc.status_code", text("4"))],
                "gRPC DEADLINE_EXCEEDED",
            ),
            (&[("rpc.grpc.status_code", Scalar::Int(99))], "gRPC 99"),
            (&[("error.type", text("500"))], "HTTP 500"),
            (&[("error.type", text("UNAVAILABLE"))], "gRPC UNAVAILABLE"),
            (&[("error.type", text("timeout"))], "timeout"),
            (
                &[
                    ("error.type", text("_OTHER")),
                    ("http.status_code", Scalar::Int(500)),
                ],
                "HTTP 500",
            ),
            (
                &[
                    ("error.type", text("500")),
                    ("exception.type", text("java.io.IOException")),
                ],
                "java.io.IOException",
            ),
        ];
        for (pairs, wanted) in rows {
            let (span, details) = read(pairs);
            assert_eq!(
                String::from_utf8(details.error_kind(&span)).unwrap(),
                *wanted,
                "{pairs:?}"
            );
        }
        let (span, mut details) = read(&[("error.type", text("500"))]);
        details.set_exception(text("CardDeclined"));
        assert_eq!(details.error_kind(&span), b"CardDeclined");
    }

    #[test]
    fn a_dependency_is_called_by_the_best_name_that_there_is() {
        let rows: &[(&[(&str, Scalar<'_>)], &str)] = &[
            (
                &[
                    ("peer.service", text("ledger")),
                    ("server.address", text("10.0.0.7")),
                ],
                "ledger",
            ),
            (&[("server.address", text("cart"))], "cart"),
            (
                &[("server.address", text("cart.shop.svc.cluster.local"))],
                "cart",
            ),
            (&[("server.address", text("cart.shop.svc"))], "cart"),
            (&[("net.peer.name", text("db-1.eu.internal"))], "db-1"),
            (
                &[("server.address", text("api.stripe.com"))],
                "api.stripe.com",
            ),
            (&[("server.address", text("10.0.0.7"))], "10.0.0.7"),
            (&[("server.address", text("::1"))], "::1"),
            (
                &[
                    ("rpc.service", text("shop.Cart")),
                    ("rpc.method", text("Get")),
                ],
                "shop.Cart",
            ),
            (&[("db.system", text("redis"))], "redis"),
            (&[("db.system.name", text("postgresql"))], "postgresql"),
            (
                &[
                    ("messaging.destination.name", text("orders-17")),
                    ("messaging.destination.template", text("orders-{shard}")),
                ],
                "orders-{shard}",
            ),
            (&[("http.route", text("/"))], ""),
        ];
        for (pairs, wanted) in rows {
            let (span, details) = read(pairs);
            let named = details.dependency(&span.attributes).unwrap_or_default();
            assert_eq!(String::from_utf8_lossy(named), *wanted, "{pairs:?}");
        }
    }
}
