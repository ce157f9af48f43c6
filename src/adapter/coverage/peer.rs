//! Who is on the other side of a call, as far as the caller says it.

use std::net::{IpAddr, Ipv6Addr};

use crate::adapter::coverage::conventions::{number, says, text};
use crate::model::coverage::PeerKind;
use crate::model::trace::{Attributes, TraceSpan};
use crate::openslo::text::cut;

/// Characters of a peer's name that are kept.
const NAME_MAX: usize = 120;

/// Ends of the names of hosts that are not on the internet.
const INTERNAL_SUFFIXES: [&str; 10] = [
    ".local",
    ".internal",
    ".svc",
    ".lan",
    ".home.arpa",
    ".consul",
    ".localdomain",
    ".corp",
    ".intra",
    ".test",
];

/// The other side of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// What it is by its attributes alone: a dark one may turn out to be a service.
    pub kind: PeerKind,
    /// What it is called, for example `payment:8080`.
    pub name: String,
    /// The port, if it is said.
    pub port: Option<u16>,
    /// The protocol, if it is said.
    pub protocol: Option<String>,
}

/// Who a client or producer span calls.
pub(super) fn of(span: &TraceSpan) -> Named {
    let attributes = &span.attributes;
    let host = host_of(attributes);
    let (kind, name) = classify(span, host.as_ref());
    Named {
        kind,
        name: cut(&name, NAME_MAX),
        port: host.and_then(|host| host.port),
        protocol: protocol(attributes),
    }
}

fn classify(span: &TraceSpan, host: Option<&Host<'_>>) -> (PeerKind, String) {
    let attributes = &span.attributes;
    let at = |what: &str| match host {
        Some(host) => format!("{what} {}", host.label()),
        None => what.to_owned(),
    };
    if let Some(system) = text(attributes, &["db.system.name", "db.system"]) {
        return (PeerKind::Database, at(system));
    }
    if let Some(system) = text(attributes, &["messaging.system"]) {
        let keys = [
            "messaging.destination.template",
            "messaging.destination.name",
            "messaging.destination",
        ];
        let destination = text(attributes, &keys).unwrap_or_default();
        let name = format!("{system} {destination}");
        return (PeerKind::Messaging, name.trim_end().to_owned());
    }
    let kind = match host {
        Some(host) if !host.is_internal() => PeerKind::External,
        Some(_) | None => PeerKind::Dark,
    };
    if let Some(name) = text(attributes, &["service.peer.name", "peer.service"]) {
        return (kind, name.to_owned());
    }
    let rpc = text(attributes, &["rpc.service"]);
    if text(attributes, &["rpc.system", "rpc.system.name"]) == Some("aws-api") {
        return (
            PeerKind::External,
            format!("aws {}", rpc.unwrap_or_default()),
        );
    }
    if let Some(host) = host {
        return (kind, host.label());
    }
    if let Some(service) = rpc {
        return (PeerKind::Dark, service.to_owned());
    }
    if let Some(function) = text(attributes, &["faas.invoked_name"]) {
        return (PeerKind::External, function.to_owned());
    }
    (PeerKind::Unnamed, span.operation.to_string())
}

/// `http`, `grpc`, the system of a database and so on.
fn protocol(attributes: &Attributes) -> Option<String> {
    if says(attributes, &["http.request.method", "http.method"]) {
        return Some("http".to_owned());
    }
    let keys = [
        "rpc.system.name",
        "rpc.system",
        "db.system.name",
        "db.system",
        "messaging.system",
        "network.protocol.name",
    ];
    text(attributes, &keys).map(|name| cut(name, NAME_MAX))
}

/// A host as spans name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Host<'a> {
    /// Its name or address, without a port.
    pub name: &'a str,
    /// The port, if it is said.
    pub port: Option<u16>,
}

/// The server that a span names: the one that it calls, or its own.
pub(super) fn host_of(attributes: &Attributes) -> Option<Host<'_>> {
    let port = number(attributes, &["server.port", "net.peer.port"]);
    let port = port.and_then(|port| u16::try_from(port).ok());
    if let Some(name) = text(attributes, &["server.address", "net.peer.name"]) {
        return Some(Host::read(name, port));
    }
    if let Some(url) = text(attributes, &["url.full", "http.url"]) {
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let (_, authority) = authority.rsplit_once('@').unwrap_or(("", authority));
        let usual = match scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        let host = Host::read(authority, port);
        return Some(Host {
            port: host.port.or(usual),
            ..host
        });
    }
    let keys = [
        "http.host",
        "network.peer.address",
        "net.sock.peer.addr",
        "net.peer.ip",
    ];
    let port = port.or_else(|| {
        let port = number(attributes, &["network.peer.port", "net.sock.peer.port"]);
        port.and_then(|port| u16::try_from(port).ok())
    });
    text(attributes, &keys).map(|name| Host::read(name, port))
}

impl<'a> Host<'a> {
    /// `name`, `name:port`, `[::1]:port`; the port of the text wins.
    fn read(text: &'a str, port: Option<u16>) -> Self {
        if text.parse::<Ipv6Addr>().is_ok() {
            return Self { name: text, port };
        }
        match text.rsplit_once(':') {
            Some((name, said)) if said.parse::<u16>().is_ok() => Self {
                name: name.trim_matches(['[', ']']),
                port: said.parse().ok(),
            },
            _ => Self {
                name: text.trim_matches(['[', ']']),
                port,
            },
        }
    }

    /// `name:port`, or the name alone.
    pub(super) fn label(&self) -> String {
        match self.port {
            Some(port) if self.name.contains(':') => format!("[{}]:{port}", self.name),
            Some(port) => format!("{}:{port}", self.name),
            None => self.name.to_owned(),
        }
    }

    /// Whether the name alone says who it is: an address may be anybody's, and `localhost` everybody's.
    pub(super) fn is_telling(&self) -> bool {
        self.name != "localhost" && self.name.parse::<IpAddr>().is_err()
    }

    /// Whether it is within one's own reach: a bare name, a name of a private zone, or a private address.
    pub(super) fn is_internal(&self) -> bool {
        match self.name.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
            Ok(IpAddr::V6(ip)) => {
                ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
            }
            Err(_) => {
                let name = self.name.trim_end_matches('.').to_ascii_lowercase();
                !name.contains('.')
                    || INTERNAL_SUFFIXES
                        .iter()
                        .any(|suffix| name.ends_with(suffix))
            }
        }
    }
}

/// The host and the port of a peer's name.
pub(super) fn host_in(name: &str) -> Host<'_> {
    Host::read(name, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::span::SpanKind;
    use crate::model::trace::AttributeValue;
    use crate::trace::fixture::span;

    fn check(attributes: &[(&str, &str)], kind: PeerKind, name: &str) {
        let mut call = span("call", "", "shop", SpanKind::Client, (0, 1));
        let pairs = attributes.iter();
        let pairs =
            pairs.map(|(key, value)| ((*key).into(), AttributeValue::Text((*value).into())));
        call.attributes = pairs.collect();
        let peer = of(&call);
        assert_eq!(
            (peer.kind, peer.name.as_str()),
            (kind, name),
            "{attributes:?}"
        );
    }

    #[test]
    fn a_peer_is_what_its_attributes_say_old_and_new() {
        check(
            &[("db.system", "postgresql"), ("server.address", "db")],
            PeerKind::Database,
            "postgresql db",
        );
        check(
            &[("db.system.name", "redis"), ("peer.service", "cache")],
            PeerKind::Database,
            "redis",
        );
        check(
            &[
                ("messaging.system", "kafka"),
                ("messaging.destination.name", "orders"),
            ],
            PeerKind::Messaging,
            "kafka orders",
        );
        check(&[("peer.service", "payment")], PeerKind::Dark, "payment");
        check(
            &[
                ("server.address", "payment.shop.svc.cluster.local"),
                ("server.port", "8080"),
            ],
            PeerKind::Dark,
            "payment.shop.svc.cluster.local:8080",
        );
        check(
            &[("http.url", "http://user:word@pricing:9000/quote?x=1")],
            PeerKind::Dark,
            "pricing:9000",
        );
        check(
            &[("url.full", "https://api.stripe.com/v1/charges")],
            PeerKind::External,
            "api.stripe.com:443",
        );
        check(
            &[("net.peer.ip", "10.0.3.4"), ("net.peer.port", "8080")],
            PeerKind::Dark,
            "10.0.3.4:8080",
        );
        check(
            &[("server.address", "8.8.8.8")],
            PeerKind::External,
            "8.8.8.8",
        );
        check(
            &[("server.address", "::1"), ("server.port", "80")],
            PeerKind::Dark,
            "[::1]:80",
        );
        check(
            &[("rpc.system", "aws-api"), ("rpc.service", "S3")],
            PeerKind::External,
            "aws S3",
        );
        check(
            &[("rpc.system", "grpc"), ("rpc.service", "shop.Cart")],
            PeerKind::Dark,
            "shop.Cart",
        );
        check(&[], PeerKind::Unnamed, "call");
    }

    #[test]
    fn a_host_is_read_back_from_the_name_of_a_peer() {
        for (name, host, port, is_telling) in [
            ("pricing:9000", "pricing", Some(9000), true),
            ("[::1]:80", "::1", Some(80), false),
            ("localhost", "localhost", None, false),
            ("10.0.0.1:1", "10.0.0.1", Some(1), false),
        ] {
            let read = host_in(name);
            assert_eq!((read.name, read.port), (host, port));
            assert_eq!(read.label(), name);
            assert_eq!(read.is_telling(), is_telling, "{name}");
        }
    }

    #[test]
    fn protocols_are_named_where_they_are_said() {
        let mut call = span("call", "", "shop", SpanKind::Client, (0, 1));
        assert_eq!(of(&call).protocol, None);
        call.attributes = vec![("rpc.system".into(), AttributeValue::Text("grpc".into()))];
        assert_eq!(of(&call).protocol.as_deref(), Some("grpc"));
        call.attributes = vec![("http.method".into(), AttributeValue::Text("GET".into()))];
        assert_eq!(of(&call).protocol.as_deref(), Some("http"));
    }
}
