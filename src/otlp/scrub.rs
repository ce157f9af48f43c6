//! Takes personal data and secrets out of OTLP messages.

use std::borrow::Cow;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use crate::pii::{Counts, FieldOutcome, Scrubber, Side};

/// Scrubs a request: the attributes of resources, scopes, spans, events and links, names and status messages. Ids, times
/// and what says which service it is stay.
pub fn request(request: &mut ExportTraceServiceRequest, scrubber: &Scrubber, counts: &mut Counts) {
    if !scrubber.is_enabled() {
        return;
    }
    for resource in &mut request.resource_spans {
        if let Some(own) = &mut resource.resource {
            attributes(&mut own.attributes, Side::Unknown, scrubber, counts);
        }
        for scope in &mut resource.scope_spans {
            if let Some(own) = &mut scope.scope {
                attributes(&mut own.attributes, Side::Unknown, scrubber, counts);
            }
            for own in &mut scope.spans {
                span(own, scrubber, counts);
            }
        }
    }
}

fn span(span: &mut Span, scrubber: &Scrubber, counts: &mut Counts) {
    let side = match span.kind() {
        SpanKind::Server | SpanKind::Consumer => Side::Server,
        SpanKind::Client | SpanKind::Producer => Side::Client,
        SpanKind::Internal | SpanKind::Unspecified => Side::Unknown,
    };
    text(&mut span.name, scrubber, counts);
    if let Some(status) = &mut span.status {
        text(&mut status.message, scrubber, counts);
    }
    attributes(&mut span.attributes, side, scrubber, counts);
    for event in &mut span.events {
        text(&mut event.name, scrubber, counts);
        attributes(&mut event.attributes, side, scrubber, counts);
    }
    for link in &mut span.links {
        attributes(&mut link.attributes, side, scrubber, counts);
    }
}

fn text(text: &mut String, scrubber: &Scrubber, counts: &mut Counts) {
    if let Cow::Owned(scrubbed) = scrubber.scrub_text(text, counts) {
        *text = scrubbed;
    }
}

fn attributes(
    attributes: &mut Vec<KeyValue>,
    side: Side,
    scrubber: &Scrubber,
    counts: &mut Counts,
) {
    attributes.retain_mut(|own| {
        let key = side.key(&own.key);
        own.value
            .as_mut()
            .is_none_or(|held| value(held, key, scrubber, counts))
    });
}

/// Scrubs the value of a key; whether it stays.
fn value(any: &mut AnyValue, key: &str, scrubber: &Scrubber, counts: &mut Counts) -> bool {
    let outcome = match &mut any.value {
        Some(Value::StringValue(text)) => scrubber.scrub_field(key, text, counts),
        Some(Value::IntValue(number)) => scrubber.scrub_number(key, &number.to_string(), counts),
        Some(Value::ArrayValue(list)) => {
            let had = !list.values.is_empty();
            list.values
                .retain_mut(|own| value(own, key, scrubber, counts));
            return !had || !list.values.is_empty();
        }
        Some(Value::KvlistValue(list)) => {
            attributes(&mut list.values, Side::Unknown, scrubber, counts);
            return true;
        }
        _ => return true,
    };
    match outcome {
        FieldOutcome::Unchanged => true,
        FieldOutcome::Changed(text) => {
            any.value = Some(Value::StringValue(text));
            true
        }
        FieldOutcome::Dropped => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pii::{Action, Actions, Config};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Status};

    fn pair(key: &str, value: Value) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        }
    }

    fn said(key: &str, value: &str) -> KeyValue {
        pair(key, Value::StringValue(value.to_owned()))
    }

    fn one(kind: SpanKind) -> ExportTraceServiceRequest {
        let span = Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            kind: kind.into(),
            name: "GET /mail/alice@example.com".to_owned(),
            start_time_unix_nano: 4_111_111_111_111_111,
            attributes: vec![
                said("user.email", "alice"),
                said("network.peer.address", "10.0.0.7"),
                said("server.address", "10.0.0.8"),
                pair("card", Value::IntValue(4_111_111_111_111_111)),
                pair("amount", Value::IntValue(4_111_111_111_111_111)),
            ],
            status: Some(Status {
                message: "no such user bob@example.com".to_owned(),
                code: 2,
            }),
            ..Span::default()
        };
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource {
                    attributes: vec![
                        said("service.name", "a@b.example"),
                        said("owner", "a@b.example"),
                    ],
                    ..Resource::default()
                }),
                scope_spans: vec![ScopeSpans {
                    spans: vec![span],
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }],
        }
    }

    fn texts(request: &ExportTraceServiceRequest) -> Vec<String> {
        let resource = &request.resource_spans[0];
        let span = &resource.scope_spans[0].spans[0];
        let attributes = resource.resource.as_ref().unwrap().attributes.iter();
        let all = attributes.chain(&span.attributes).map(|own| {
            let value = own.value.as_ref().unwrap().value.as_ref().unwrap();
            let value = if let Value::StringValue(text) = value {
                text.clone()
            } else {
                format!("{value:?}")
            };
            format!("{}={value}", own.key)
        });
        let mut all: Vec<String> = all.collect();
        all.push(span.name.clone());
        all.push(span.status.as_ref().unwrap().message.clone());
        all
    }

    #[test]
    fn a_request_keeps_its_structure_and_loses_what_is_personal() {
        let mut server = one(SpanKind::Server);
        let mut counts = Counts::default();
        request(&mut server, &Scrubber::default(), &mut counts);
        let wanted = [
            "service.name=a@b.example",
            "owner=[EMAIL]",
            "user.email=[EMAIL]",
            "network.peer.address=[IP_ADDRESS]",
            "server.address=10.0.0.8",
            "card=[CARD]",
            "amount=IntValue(4111111111111111)",
            "GET /mail/[EMAIL]",
            "no such user [EMAIL]",
        ];
        assert_eq!(texts(&server), wanted);
        assert_eq!((counts.total(), counts.of("email")), (6, 4));
        let before = one(SpanKind::Server);
        let span = |request: &ExportTraceServiceRequest| {
            request.resource_spans[0].scope_spans[0].spans[0].clone()
        };
        assert_eq!(span(&server).trace_id, span(&before).trace_id);
        assert_eq!(
            span(&server).start_time_unix_nano,
            span(&before).start_time_unix_nano
        );
    }

    #[test]
    fn the_peer_of_a_client_span_is_a_server() {
        let mut client = one(SpanKind::Client);
        request(&mut client, &Scrubber::default(), &mut Counts::default());
        assert_eq!(texts(&client)[3], "network.peer.address=10.0.0.7");
    }

    #[test]
    fn an_attribute_whose_kind_is_dropped_goes_with_its_key() {
        let config = Config {
            actions: Actions {
                email: Action::Drop,
                ..Actions::default()
            },
            ..Config::default()
        };
        let mut server = one(SpanKind::Server);
        request(
            &mut server,
            &Scrubber::new(&config).unwrap(),
            &mut Counts::default(),
        );
        assert!(
            !texts(&server)
                .iter()
                .any(|text| text.starts_with("owner") || text.starts_with("user"))
        );
        assert_eq!(texts(&server).last().unwrap(), "no such user ");
    }
}
