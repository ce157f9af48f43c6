//! Whole spans of OTLP/JSON, and of flat lists whose members are named so.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::model::UnixNanos;
use crate::model::trace::{AttributeValue, Attributes, SpanEvent, SpanLink};
use crate::receiver::json::value::Number;
use crate::receiver::whole::{Details, lower_case, put};

/// All that a span says. `time` reads the times of its events; one without a time is at 0.
pub(in crate::receiver) fn details(
    text: &str,
    scope: &str,
    time: impl Fn(&Number<'_>) -> Option<UnixNanos>,
) -> Result<Details, serde_json::Error> {
    let span: Value = serde_json::from_str(text)?;
    let events = list(&span, "events").map(|event| SpanEvent {
        at: time(&number(event, "timeUnixNano")).unwrap_or(0),
        name: string(event, "name").into(),
        attributes: attributes_of(list(event, "attributes")),
    });
    let links = list(&span, "links").map(|link| SpanLink {
        trace_id: lower_case(string(link, "traceId")).into(),
        span_id: lower_case(string(link, "spanId")).into(),
    });
    let status = span.get("status");
    Ok(Details {
        trace_id: lower_case(string(&span, "traceId")),
        span_id: string(&span, "spanId"),
        parent_span_id: string(&span, "parentSpanId"),
        scope: scope.to_owned(),
        status_message: status.map_or_else(String::new, |status| string(status, "message")),
        events: events.collect(),
        links: links.collect(),
        attributes: attributes_of(list(&span, "attributes")),
    })
}

/// The attributes of a `Resource`; nothing of an empty text.
pub(in crate::receiver) fn resource_attributes(text: &str) -> Attributes {
    let resource: Option<Value> = serde_json::from_str(text).ok();
    resource.map_or_else(Attributes::new, |resource| {
        attributes_of(list(&resource, "attributes"))
    })
}

/// The elements of a list of an object; none where there is no list.
pub(in crate::receiver) fn list<'a>(
    object: &'a Value,
    member: &str,
) -> impl Iterator<Item = &'a Value> + use<'a> {
    let list = object.get(member).and_then(Value::as_array);
    list.into_iter().flatten()
}

/// The text of a member; empty where there is none.
pub(in crate::receiver) fn string(object: &Value, member: &str) -> String {
    let text = object.get(member).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

/// What stands where a number belongs.
pub(in crate::receiver) fn number<'a>(object: &'a Value, member: &str) -> Number<'a> {
    let value = object.get(member);
    let number = value.and_then(|value| Number::deserialize(value).ok());
    number.unwrap_or_default()
}

fn attributes_of<'a>(pairs: impl Iterator<Item = &'a Value>) -> Attributes {
    let mut attributes = Attributes::new();
    for pair in pairs {
        if let Some(value) = pair.get("value").and_then(value_of) {
            put(&mut attributes, &string(pair, "key"), value);
        }
    }
    attributes
}

/// A value as OTLP/JSON has it, `{"stringValue": …}`; `None` for one that is none. No text that serde reads is too deep.
fn value_of(value: &Value) -> Option<AttributeValue> {
    let (kind, value) = value
        .as_object()?
        .iter()
        .find(|(_, value)| !value.is_null())?;
    match kind.as_str() {
        "stringValue" | "bytesValue" => Some(AttributeValue::Text(value.as_str()?.into())),
        "boolValue" => value.as_bool().map(AttributeValue::Bool),
        "intValue" => {
            let number = Number::deserialize(value).ok()?.whole(&[]).ok()?;
            Some(AttributeValue::Int(number.cast_signed()))
        }
        "doubleValue" => {
            let text = value.as_str();
            let number = value.as_f64().or_else(|| text?.parse().ok())?;
            Some(AttributeValue::Float(number))
        }
        "arrayValue" => {
            let values = list(value, "values").filter_map(value_of);
            Some(AttributeValue::List(values.collect()))
        }
        "kvlistValue" => {
            let pairs = list(value, "values").filter_map(|pair| {
                Some((string(pair, "key").into(), value_of(pair.get("value")?)?))
            });
            Some(AttributeValue::Map(pairs.collect::<BTreeMap<_, _>>()))
        }
        _ => None,
    }
}

/// A value as other formats have it: JSON as it is.
pub(in crate::receiver) fn plain_value(value: &Value) -> Option<AttributeValue> {
    match value {
        Value::Null => None,
        Value::Bool(value) => Some(AttributeValue::Bool(*value)),
        Value::Number(number) => number
            .as_i64()
            .map(AttributeValue::Int)
            .or_else(|| number.as_f64().map(AttributeValue::Float)),
        Value::String(text) => Some(AttributeValue::Text(text.as_str().into())),
        Value::Array(values) => {
            let values = values.iter().filter_map(plain_value);
            Some(AttributeValue::List(values.collect()))
        }
        Value::Object(members) => {
            let members = members.iter();
            let members = members
                .filter_map(|(name, value)| Some((name.as_str().into(), plain_value(value)?)));
            Some(AttributeValue::Map(members.collect()))
        }
    }
}
