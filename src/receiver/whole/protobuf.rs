//! Whole spans of OTLP in protobuf.

use std::collections::BTreeMap;

use data_encoding::{BASE64, HEXLOWER};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::{DecodeError, Message};

use crate::model::trace::{AttributeValue, Attributes, SpanEvent, SpanLink};
use crate::receiver::whole::{Details, put};

/// All that a `Span` says. Times of events are as they stand there.
pub(in crate::receiver) fn details(message: &[u8], scope: &str) -> Result<Details, DecodeError> {
    let span = Span::decode(message)?;
    let events = span.events.into_iter().map(|event| SpanEvent {
        at: event.time_unix_nano,
        name: event.name.into(),
        attributes: attributes_of(event.attributes),
    });
    let links = span.links.iter().map(|link| SpanLink {
        trace_id: HEXLOWER.encode(&link.trace_id).into(),
        span_id: HEXLOWER.encode(&link.span_id).into(),
    });
    Ok(Details {
        trace_id: HEXLOWER.encode(&span.trace_id),
        span_id: HEXLOWER.encode(&span.span_id),
        parent_span_id: HEXLOWER.encode(&span.parent_span_id),
        scope: scope.to_owned(),
        status_message: span
            .status
            .map_or_else(String::new, |status| status.message),
        links: links.collect(),
        events: events.collect(),
        attributes: attributes_of(span.attributes),
    })
}

/// The attributes of a `Resource`.
pub(in crate::receiver) fn resource_attributes(message: &[u8]) -> Result<Attributes, DecodeError> {
    Ok(attributes_of(Resource::decode(message)?.attributes))
}

fn attributes_of(pairs: Vec<KeyValue>) -> Attributes {
    let mut attributes = Attributes::with_capacity(pairs.len());
    for pair in pairs {
        if let Some(value) = pair.value.and_then(value_of) {
            put(&mut attributes, &pair.key, value);
        }
    }
    attributes
}

/// `None` for a value that is none. The messages themselves are no deeper than prost reads.
fn value_of(value: AnyValue) -> Option<AttributeValue> {
    Some(match value.value? {
        any_value::Value::StringValue(text) => AttributeValue::Text(text.into()),
        any_value::Value::BoolValue(value) => AttributeValue::Bool(value),
        any_value::Value::IntValue(number) => AttributeValue::Int(number),
        any_value::Value::DoubleValue(number) => AttributeValue::Float(number),
        any_value::Value::BytesValue(bytes) => AttributeValue::Text(BASE64.encode(&bytes).into()),
        any_value::Value::ArrayValue(list) => {
            AttributeValue::List(list.values.into_iter().filter_map(value_of).collect())
        }
        any_value::Value::KvlistValue(map) => {
            let pairs = map.values.into_iter();
            let pairs = pairs.filter_map(|pair| Some((pair.key.into(), value_of(pair.value?)?)));
            AttributeValue::Map(pairs.collect::<BTreeMap<_, _>>())
        }
        // A place in a dictionary of the profiles signal, which traces have not.
        any_value::Value::StringValueStrindex(_) => return None,
    })
}
