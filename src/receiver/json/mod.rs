//! OTLP/JSON: an `ExportTraceServiceRequest` as text.
//!
//! Ids are hexadecimal, 64-bit numbers are strings or numbers, enums are numbers (names are read too), unknown fields
//! are ignored, and `null` is as good as absent, as the OTLP specification and proto3's JSON mapping have it.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::model::batch::{EventBatch, Rejection};
use crate::model::span::SpanKind;
use crate::window::event::{
    EventRules, OperationScratch, ResourceAttributes, Scalar, SpanAttributes, SpanInput,
    SpanStatus, push_resource, push_span,
};

/// Fills `batch` from OTLP/JSON.
pub fn collect_json(
    request: &[u8],
    rules: &EventRules,
    batch: &mut EventBatch,
    scratch: &mut OperationScratch,
) -> Result<(), serde_json::Error> {
    batch.clear();
    // Derived readers take an array for an object's members in their order.
    if request.trim_ascii_start().first() != Some(&b'{') {
        return Err(serde::de::Error::custom(
            "an ExportTraceServiceRequest is a JSON object",
        ));
    }
    let request: Request<'_> = serde_json::from_slice(request)?;
    for_each(
        request.resource_spans,
        |resource_spans: ResourceSpans<'_>| {
            collect_resource_spans(&resource_spans, rules, batch, scratch)
        },
    )
}

fn collect_resource_spans(
    resource_spans: &ResourceSpans<'_>,
    rules: &EventRules,
    batch: &mut EventBatch,
    scratch: &mut OperationScratch,
) -> Result<(), serde_json::Error> {
    let mut attributes = ResourceAttributes::default();
    let resource = resource_spans.resource.iter();
    for attribute in resource
        .filter_map(|resource| resource.attributes.as_ref())
        .flat_map(|a| &a.0)
    {
        if let Some(value) = attribute.scalar() {
            attributes.set(attribute.key(), value);
        }
    }
    let sampling = rules.sampling_of(attributes.service_name());
    // A resource without events takes a few bytes of a request and must not take more of ours.
    let mut pending = Some(attributes);
    for_each(resource_spans.scope_spans, |scope_spans: ScopeSpans<'_>| {
        for_each(scope_spans.spans, |span: Span<'_>| {
            match span.id() {
                Some(id) => {
                    let input = span.input(&id);
                    if rules.entry_kinds.is_entry(input.kind, input.has_parent)
                        && let Some(resource) = pending.take()
                    {
                        push_resource(batch, scratch, &resource);
                    }
                    push_span(batch, scratch, &input, rules.entry_kinds, sampling);
                }
                None => batch.reject(Rejection::InvalidId),
            }
            Ok(())
        })
    })
}

/// Reads the elements of a list one after the other, since three bytes of text can stand for hundreds in memory.
fn for_each<'a, T: Deserialize<'a>>(
    list: Option<&'a RawValue>,
    take: impl FnMut(T) -> Result<(), serde_json::Error>,
) -> Result<(), serde_json::Error> {
    struct Elements<T, F>(F, PhantomData<T>);
    impl<'a, T, F> Visitor<'a> for Elements<T, F>
    where
        T: Deserialize<'a>,
        F: FnMut(T) -> Result<(), serde_json::Error>,
    {
        type Value = ();

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'a>>(mut self, mut list: A) -> Result<(), A::Error> {
            while let Some(element) = list.next_element()? {
                (self.0)(element).map_err(serde::de::Error::custom)?;
            }
            Ok(())
        }
    }
    match list {
        Some(list) => serde_json::Deserializer::from_str(list.get())
            .deserialize_seq(Elements(take, PhantomData)),
        None => Ok(()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow, default)]
    resource_spans: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    #[serde(borrow, default)]
    resource: Option<Resource<'a>>,
    #[serde(borrow, default)]
    scope_spans: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Resource<'a> {
    #[serde(borrow, default)]
    attributes: Option<Attributes<'a>>,
}

#[derive(Deserialize)]
struct ScopeSpans<'a> {
    #[serde(borrow, default)]
    spans: Option<&'a RawValue>,
}

/// The attributes that may be read; the others are passed over.
struct Attributes<'a>(Vec<KeyValue<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Attributes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for List<'a> {
            type Value = Attributes<'a>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of attributes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut read = Vec::new();
                while let Some(attribute) = list.next_element::<KeyValue<'a>>()? {
                    let key = attribute.key();
                    if ResourceAttributes::may_read(key) || SpanAttributes::may_read(key) {
                        read.push(attribute);
                    }
                }
                Ok(Attributes(read))
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "they are the names of OTLP")]
struct Span<'a> {
    #[serde(borrow, default)]
    trace_id: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    span_id: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    parent_span_id: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    trace_state: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    name: Option<BorrowedText<'a>>,
    #[serde(default)]
    kind: Number<KindNames>,
    #[serde(default)]
    start_time_unix_nano: Number<NoNames>,
    #[serde(default)]
    end_time_unix_nano: Number<NoNames>,
    #[serde(borrow, default)]
    attributes: Option<Attributes<'a>>,
    #[serde(default)]
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: Number<StatusNames>,
}

impl Span<'_> {
    /// The bytes of the span id, `None` if an id is not what it must be.
    fn id(&self) -> Option<[u8; 8]> {
        let span_id = text_of(self.span_id.as_ref())?;
        if !is_hex_id(text_of(self.trace_id.as_ref())?, 32) || !is_hex_id(span_id, 16) {
            return None;
        }
        u64::from_str_radix(span_id, 16).ok().map(u64::to_be_bytes)
    }

    fn input<'b>(&'b self, span_id: &'b [u8]) -> SpanInput<'b> {
        let mut attributes = SpanAttributes::default();
        for attribute in self.attributes.iter().flat_map(|attributes| &attributes.0) {
            if let Some(value) = attribute.scalar() {
                attributes.set(attribute.key(), value);
            }
        }
        let parent = text_of(self.parent_span_id.as_ref()).unwrap_or_default();
        SpanInput {
            name: text_of(self.name.as_ref()).unwrap_or_default().as_bytes(),
            kind: SpanKind::from_otlp(self.kind.value),
            has_parent: parent.bytes().any(|byte| byte != b'0'),
            span_id,
            trace_state: text_of(self.trace_state.as_ref())
                .unwrap_or_default()
                .as_bytes(),
            start: self.start_time_unix_nano.value,
            end: self.end_time_unix_nano.value,
            status: SpanStatus::from_otlp(
                self.status.as_ref().map_or(0, |status| status.code.value),
            ),
            attributes,
        }
    }
}

fn is_hex_id(id: &str, len: usize) -> bool {
    id.len() == len
        && id.bytes().all(|byte| byte.is_ascii_hexdigit())
        && id.bytes().any(|byte| byte != b'0')
}

#[derive(Deserialize)]
struct KeyValue<'a> {
    #[serde(borrow, default)]
    key: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    value: Option<AnyValue<'a>>,
}

impl KeyValue<'_> {
    fn key(&self) -> &[u8] {
        text_of(self.key.as_ref()).unwrap_or_default().as_bytes()
    }

    fn scalar(&self) -> Option<Scalar<'_>> {
        match self.value.as_ref()? {
            AnyValue::Text(text) => Some(Scalar::Text(text.as_bytes())),
            AnyValue::Int(value) => Some(Scalar::Int(*value)),
            AnyValue::Other => None,
        }
    }
}

/// An `AnyValue` as far as it is read.
enum AnyValue<'a> {
    Text(Cow<'a, str>),
    Int(i64),
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for AnyValue<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOf<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for OneOf<'a> {
            type Value = AnyValue<'a>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object such as {\"stringValue\": \"…\"}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut value = AnyValue::Other;
                while let Some(key) = map.next_key::<BorrowedText<'_>>()? {
                    match key.0.as_ref() {
                        "stringValue" => {
                            value = map
                                .next_value::<Option<BorrowedText<'a>>>()?
                                .map_or(AnyValue::Other, |text| AnyValue::Text(text.0));
                        }
                        "intValue" => {
                            let number: Option<Number<NoNames>> = map.next_value()?;
                            value = number.map_or(AnyValue::Other, |number| {
                                AnyValue::Int(number.value.cast_signed())
                            });
                        }
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(value)
            }
        }
        deserializer.deserialize_map(OneOf(PhantomData))
    }
}

/// Text that stays in the request unless it holds escapes; serde borrows no `Option<Cow>` by itself.
#[derive(Deserialize)]
struct BorrowedText<'a>(#[serde(borrow)] Cow<'a, str>);

fn text_of<'a>(text: Option<&'a BorrowedText<'_>>) -> Option<&'a str> {
    text.map(|text| text.0.as_ref())
}

/// Names that proto3's JSON mapping allows in place of a number.
trait Names {
    const NAMES: &'static [&'static str];
}

struct NoNames;
struct KindNames;
struct StatusNames;

impl Names for NoNames {
    const NAMES: &'static [&'static str] = &[];
}

impl Names for KindNames {
    const NAMES: &'static [&'static str] = &[
        "SPAN_KIND_UNSPECIFIED",
        "SPAN_KIND_INTERNAL",
        "SPAN_KIND_SERVER",
        "SPAN_KIND_CLIENT",
        "SPAN_KIND_PRODUCER",
        "SPAN_KIND_CONSUMER",
    ];
}

impl Names for StatusNames {
    const NAMES: &'static [&'static str] =
        &["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];
}

/// A whole number, as a number, as text, by name, or `null` for 0. Negative ones keep their bits.
struct Number<N> {
    value: u64,
    names: PhantomData<N>,
}

impl<N> Default for Number<N> {
    fn default() -> Self {
        Self {
            value: 0,
            names: PhantomData,
        }
    }
}

impl<'de, N: Names> Deserialize<'de> for Number<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(NumberVisitor(PhantomData::<N>))
            .map(|value| Self {
                value,
                names: PhantomData,
            })
    }
}

struct NumberVisitor<N>(PhantomData<N>);

impl<'de, N: Names> Visitor<'de> for NumberVisitor<N> {
    type Value = u64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a whole number, as a number or as text")
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<u64, E> {
        Ok(value)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<u64, E> {
        Ok(value.cast_unsigned())
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked before"
    )]
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<u64, E> {
        // 1e18 and the like are whole numbers that some writers give exponents.
        if value.fract() == 0.0 && (0.0..u64::MAX as f64).contains(&value) {
            Ok(value as u64)
        } else if value.fract() == 0.0 && (i64::MIN as f64..0.0).contains(&value) {
            Ok((value as i64).cast_unsigned())
        } else {
            Err(E::invalid_value(serde::de::Unexpected::Float(value), &self))
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<u64, E> {
        if let Some(number) = N::NAMES.iter().position(|name| *name == text) {
            return Ok(number as u64);
        }
        if let Ok(number) = text.parse::<u64>() {
            return Ok(number);
        }
        if let Ok(number) = text.parse::<i64>() {
            return Ok(number.cast_unsigned());
        }
        match text.parse::<f64>() {
            Ok(number) => self.visit_f64(number),
            Err(_) => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<u64, E> {
        Ok(0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<u64, A::Error> {
        Err(serde::de::Error::invalid_type(
            serde::de::Unexpected::Seq,
            &self,
        ))
    }
}

#[cfg(test)]
mod tests;
