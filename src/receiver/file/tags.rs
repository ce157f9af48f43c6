//! The tags of Jaeger and Zipkin: attributes, and what those formats have no other place for.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::model::span::SpanKind;
use crate::model::trace::{AttributeValue, Attributes};
use crate::receiver::file::lenient::{span_kind, span_status};
use crate::receiver::json::value::{BorrowedText, Number};
use crate::receiver::whole::json::plain_value;
use crate::receiver::whole::{Details, put};
use crate::window::event::detail::DetailAttributes;
use crate::window::event::{ResourceAttributes, Scalar, SpanAttributes, SpanStatus};

/// A tag.
#[derive(Debug, Deserialize)]
pub(super) struct Tag<'a> {
    #[serde(borrow)]
    key: BorrowedText<'a>,
    #[serde(borrow, default)]
    value: Number<'a>,
}

/// Tags as Jaeger has them, a list of keys and values, or as Zipkin does, an object.
#[derive(Debug, Default)]
pub(super) struct Tags<'a>(Vec<Tag<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Tags<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Either<'a> {
            type Value = Tags<'a>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("tags: a list of keys and values, or an object")
            }

            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(Tags::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut tags = Vec::new();
                while let Some(tag) = list.next_element()? {
                    tags.push(tag);
                }
                Ok(Tags(tags))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut tags = Vec::new();
                while let Some((key, value)) = map.next_entry()? {
                    tags.push(Tag { key, value });
                }
                Ok(Tags(tags))
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}

/// What the tags of a span say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said<'a> {
    /// Attributes that are read.
    pub attributes: SpanAttributes<'a>,
    /// Attributes that say more about a span.
    pub details: DetailAttributes<'a>,
    /// Attributes that would stand on a resource.
    pub service: ResourceAttributes<'a>,
    /// `span.kind`.
    pub kind: SpanKind,
    /// `otel.status_code`, else `error`.
    pub status: SpanStatus,
    /// `w3c.tracestate`.
    pub trace_state: &'a [u8],
}

impl Tags<'_> {
    /// All tags as attributes, as far as they are scalars.
    pub(super) fn attributes(&self) -> Attributes {
        let mut attributes = Attributes::new();
        for Tag { key, value } in &self.0 {
            let value = match value {
                Number::Absent | Number::Other => continue,
                Number::Whole(number) => AttributeValue::Int(number.cast_signed()),
                Number::Negative(number) => AttributeValue::Int(*number),
                Number::Fraction(number) => AttributeValue::Float(*number),
                Number::Text(text) => AttributeValue::Text(text.as_ref().into()),
                Number::Bool(value) => AttributeValue::Bool(*value),
            };
            put(&mut attributes, key.as_ref(), value);
        }
        attributes
    }

    /// Reads the tags, as the Collector's translation from Jaeger and Zipkin does.
    pub(super) fn read(&self, version_key: &[u8]) -> Said<'_> {
        let mut said = Said::default();
        let mut is_error = false;
        for Tag { key, value } in &self.0 {
            let key = key.as_ref();
            match key {
                "span.kind" => said.kind = span_kind(value),
                "otel.status_code" => said.status = span_status(value),
                "error" => is_error = is_set(value),
                "w3c.tracestate" => {
                    if let Number::Text(text) = value {
                        said.trace_state = text.as_bytes();
                    }
                }
                _ => {
                    if let Some(value) = scalar(value) {
                        said.attributes.set(key.as_bytes(), value);
                        said.details.set(key.as_bytes(), value);
                        said.service.set(key.as_bytes(), value, version_key);
                    }
                }
            }
        }
        if is_error && said.status == SpanStatus::Unset {
            said.status = SpanStatus::Error;
        }
        said
    }
}

/// All tags as attributes.
pub(super) fn attributes_of<'a>(tags: impl Iterator<Item = (&'a str, &'a Value)>) -> Attributes {
    let mut attributes = Attributes::new();
    for (key, value) in tags {
        if let Some(value) = plain_value(value) {
            put(&mut attributes, key, value);
        }
    }
    attributes
}

/// The tags of a span as attributes, and what has a place of its own there.
pub(super) fn tag_details<'a>(tags: impl Iterator<Item = (&'a str, &'a Value)>) -> Details {
    let mut details = Details::default();
    for (key, value) in attributes_of(tags) {
        match &*key {
            "span.kind" | "otel.status_code" | "w3c.tracestate" => {}
            "otel.status_description" => details.status_message = text_of_value(value).into(),
            "otel.scope.name" | "otel.library.name" => details.scope = text_of_value(value).into(),
            _ => details.attributes.push((key, value)),
        }
    }
    details
}

/// A value that should be text.
pub(super) fn text_of_value(value: AttributeValue) -> Box<str> {
    match value {
        AttributeValue::Text(text) => text,
        AttributeValue::Bool(_)
        | AttributeValue::Int(_)
        | AttributeValue::Float(_)
        | AttributeValue::List(_)
        | AttributeValue::Map(_) => Box::default(),
    }
}

/// Jaeger says `true`; Zipkin says anything, often the error's message.
fn is_set(error: &Number<'_>) -> bool {
    match error {
        Number::Bool(value) => *value,
        Number::Text(text) => !text.eq_ignore_ascii_case("false"),
        Number::Absent | Number::Whole(0) => false,
        Number::Whole(_) | Number::Negative(_) | Number::Fraction(_) | Number::Other => true,
    }
}

fn scalar<'a>(value: &'a Number<'_>) -> Option<Scalar<'a>> {
    match value {
        Number::Text(text) => Some(Scalar::Text(text.as_bytes())),
        Number::Whole(number) => Some(Scalar::Int(number.cast_signed())),
        Number::Negative(number) => Some(Scalar::Int(*number)),
        Number::Absent | Number::Fraction(_) | Number::Bool(_) | Number::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(tags: &str) -> SpanStatus {
        let tags: Tags<'_> = serde_json::from_str(tags).unwrap();
        tags.read(b"service.version").status
    }

    #[test]
    fn the_status_code_is_stronger_than_the_error_tag() {
        for (tags, wanted) in [
            ("null", SpanStatus::Unset),
            ("[]", SpanStatus::Unset),
            ("{}", SpanStatus::Unset),
            (
                r#"[{"key":"error","type":"bool","value":true}]"#,
                SpanStatus::Error,
            ),
            (
                r#"[{"key":"error","type":"bool","value":false}]"#,
                SpanStatus::Unset,
            ),
            (
                r#"[{"key":"error","type":"string","value":"true"}]"#,
                SpanStatus::Error,
            ),
            (r#"{"error":"card declined"}"#, SpanStatus::Error),
            (r#"{"error":""}"#, SpanStatus::Error),
            (r#"{"error":"false"}"#, SpanStatus::Unset),
            (
                r#"{"otel.status_code":"OK","error":"true"}"#,
                SpanStatus::Ok,
            ),
            (
                r#"{"error":"true","otel.status_code":"ERROR"}"#,
                SpanStatus::Error,
            ),
        ] {
            assert_eq!(status(tags), wanted, "{tags}");
        }
    }
}
