//! One pass over OTLP/JSON, yielding borrowed spans: each list is read element by element, so that what three bytes of
//! text stand for never waits in memory for the rest.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::receiver::json::value::{All, Attributes, BorrowedText, Few, Keys, Number, text_of};
use crate::window::event::{ResourceAttributes, Scalar};

/// Takes what a reader finds: a resource, then its spans.
pub(in crate::receiver) trait SpanVisitor {
    /// Whether the texts of resources and spans are handed over too; they are empty otherwise.
    const KEEPS_TEXT: bool = false;
    /// The attribute of resources that tells versions apart.
    fn version_key(&self) -> &[u8];
    /// A resource begins.
    fn resource(&mut self, resource: &ResourceAttributes<'_>, text: &str);
    /// Whether the spans of this resource are looked at more closely.
    fn is_watched(&mut self, resource: &ResourceAttributes<'_>) -> bool;
    /// A scope begins whose spans follow. Told only where texts are kept.
    fn scope(&mut self, _name: &str) {}
    /// A span of the newest resource, which is said again.
    fn span<K: Keys>(
        &mut self,
        resource: &ResourceAttributes<'_>,
        span: &Span<'_, K>,
        text: &str,
    ) -> Result<(), serde_json::Error>;
}

/// A span as OTLP/JSON has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "K: Keys"))]
#[expect(clippy::struct_field_names, reason = "they are the names of OTLP")]
pub(in crate::receiver) struct Span<'a, K = Few> {
    #[serde(borrow, default)]
    pub trace_id: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    pub span_id: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    pub parent_span_id: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    pub trace_state: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    pub name: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    pub kind: Number<'a>,
    #[serde(borrow, default)]
    pub start_time_unix_nano: Number<'a>,
    #[serde(borrow, default)]
    pub end_time_unix_nano: Number<'a>,
    #[serde(borrow, default)]
    pub attributes: Attributes<'a, K>,
    /// As text: they are read where somebody looks closer.
    #[serde(borrow, default)]
    pub events: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub status: Option<Status<'a>>,
}

/// An event of a span.
#[derive(Deserialize)]
struct SpanEvent<'a> {
    #[serde(borrow, default)]
    attributes: Attributes<'a, All>,
}

impl<K: Keys> Span<'_, K> {
    /// The type of the exception that an event tells of; the last one stands.
    pub(in crate::receiver) fn exception_type(&self) -> Option<String> {
        let mut found = None;
        let take = |event: SpanEvent<'_>, _: &str| {
            if let Some(Scalar::Text(name)) = event.attributes.get(b"exception.type") {
                found = Some(String::from_utf8_lossy(name).into_owned());
            }
        };
        // Events that cannot be read say nothing.
        let _ = self
            .events
            .map(|events| for_each(events.get(), false, take));
        found
    }
}

/// The status of a span. Some writers of flat spans give the code alone, which is read as well.
#[derive(Debug)]
pub(in crate::receiver) struct Status<'a> {
    pub code: Number<'a>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Status<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CodeOrObject<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for CodeOrObject<'a> {
            type Value = Status<'a>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a status, {\"code\": …}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                let mut code = Number::default();
                while let Some(key) = members.next_key::<BorrowedText<'de>>()? {
                    if key.0 == "code" {
                        code = members.next_value()?;
                    } else {
                        members.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Status { code })
            }

            fn visit_borrowed_str<E>(self, code: &'de str) -> Result<Self::Value, E> {
                let code = Number::Text(Cow::Borrowed(code));
                Ok(Status { code })
            }

            fn visit_str<E>(self, code: &str) -> Result<Self::Value, E> {
                let code = Number::Text(Cow::Owned(code.to_owned()));
                Ok(Status { code })
            }

            fn visit_u64<E>(self, code: u64) -> Result<Self::Value, E> {
                let code = Number::Whole(code);
                Ok(Status { code })
            }
        }
        deserializer.deserialize_any(CodeOrObject(PhantomData))
    }
}

#[derive(Deserialize)]
struct Resource<'a> {
    #[serde(borrow, default)]
    attributes: Attributes<'a, All>,
}

/// Reads an `ExportTraceServiceRequest`; `members` are the names that its list may have.
pub(in crate::receiver) fn read_request(
    text: &str,
    members: &[&str],
    visitor: &mut impl SpanVisitor,
) -> Result<(), serde_json::Error> {
    let seed = ObjectWithList {
        members,
        elements: ResourceSpansElements(visitor),
    };
    read(text, seed)
}

/// Reads a `ResourceSpans`.
pub(in crate::receiver) fn read_resource_spans(
    text: &str,
    visitor: &mut impl SpanVisitor,
) -> Result<(), serde_json::Error> {
    read(text, ResourceSpansSeed(visitor))
}

/// Reads a `ScopeSpans` of a resource.
pub(in crate::receiver) fn read_scope_spans(
    text: &str,
    resource: &ResourceAttributes<'_>,
    visitor: &mut impl SpanVisitor,
) -> Result<(), serde_json::Error> {
    read(text, ScopeSpansSeed(resource, visitor))
}

/// Reads the attributes of a `Resource`, and hands them over.
pub(in crate::receiver) fn read_resource<T>(
    text: &str,
    take: impl FnOnce(Attributes<'_, All>) -> T,
) -> Result<T, serde_json::Error> {
    let resource: Option<Resource<'_>> = serde_json::from_str(text)?;
    Ok(take(
        resource.map_or_else(Attributes::default, |resource| resource.attributes),
    ))
}

/// Calls `take` with each element of a list, and with its text if that is kept.
pub(in crate::receiver) fn for_each<'a, T: Deserialize<'a>>(
    list: &'a str,
    keeps_text: bool,
    take: impl FnMut(T, &'a str),
) -> Result<(), serde_json::Error> {
    struct Each<T, F>(bool, F, PhantomData<T>);
    impl<'de, T: Deserialize<'de>, F: FnMut(T, &'de str)> Elements<'de> for Each<T, F> {
        fn next<A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
            let element = next_element(list, self.0)?;
            let is_there = element.is_some();
            if let Some((value, text)) = element {
                (self.1)(value, text);
            }
            Ok(is_there)
        }
    }
    read(list, List(Each(keeps_text, take, PhantomData)))
}

/// The next element of a list, with its text if that is kept.
#[inline]
fn next_element<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(
    list: &mut A,
    keeps_text: bool,
) -> Result<Option<(T, &'de str)>, A::Error> {
    if !keeps_text {
        return Ok(list.next_element()?.map(|value| (value, "")));
    }
    let raw: Option<&'de RawValue> = list.next_element()?;
    raw.map(|raw| {
        let value = serde_json::from_str(raw.get()).map_err(Error::custom)?;
        Ok((value, raw.get()))
    })
    .transpose()
}

fn read<'a>(
    text: &'a str,
    seed: impl DeserializeSeed<'a, Value = ()>,
) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    seed.deserialize(&mut deserializer)?;
    deserializer.end()
}

/// What to do with the elements of a list.
trait Elements<'de> {
    /// Reads one element, false after the last.
    fn next<A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error>;
}

/// A list; `null` is an empty one.
struct List<E>(E);

impl<'de, E: Elements<'de>> DeserializeSeed<'de> for List<E> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, E: Elements<'de>> Visitor<'de> for List<E> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_unit<F: Error>(self) -> Result<(), F> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while self.0.next(&mut list)? {}
        Ok(())
    }
}

/// An object of which one list is read.
struct ObjectWithList<'m, E> {
    members: &'m [&'m str],
    elements: E,
}

impl<'de, E: Elements<'de>> DeserializeSeed<'de> for ObjectWithList<'_, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, E: Elements<'de>> Visitor<'de> for ObjectWithList<'_, E> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "a JSON object with `{}`",
            self.members.join("` or `")
        )
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<BorrowedText<'_>>()? {
            if self.members.contains(&key.as_ref()) {
                map.next_value_seed(List(&mut self.elements))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

impl<'de, E: Elements<'de>> Elements<'de> for &mut E {
    fn next<A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        (**self).next(list)
    }
}

struct ResourceSpansElements<'v, V>(&'v mut V);

impl<'de, V: SpanVisitor> Elements<'de> for ResourceSpansElements<'_, V> {
    fn next<A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        let element = list.next_element_seed(ResourceSpansSeed(self.0))?;
        Ok(element.is_some())
    }
}

struct ResourceSpansSeed<'v, V>(&'v mut V);

impl<'de, V: SpanVisitor> DeserializeSeed<'de> for ResourceSpansSeed<'_, V> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, V: SpanVisitor> Visitor<'de> for ResourceSpansSeed<'_, V> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with `resource` and `scopeSpans`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut resource: Option<Attributes<'de, All>> = None;
        // Spans that stand before their resource wait for it as text. Every known writer puts it first.
        let mut waiting: Vec<&'de RawValue> = Vec::new();
        while let Some(key) = map.next_key::<BorrowedText<'_>>()? {
            match key.as_ref() {
                "resource" if resource.is_some() => return Err(Error::duplicate_field("resource")),
                "resource" => {
                    let mut text = "";
                    let read: Option<Resource<'de>> = if V::KEEPS_TEXT {
                        text = map.next_value::<&'de RawValue>()?.get();
                        serde_json::from_str(text).map_err(Error::custom)?
                    } else {
                        map.next_value()?
                    };
                    let read = read.map_or_else(Attributes::default, |read| read.attributes);
                    let attributes = read.of_resource(self.0.version_key());
                    self.0.resource(&attributes, text);
                    resource = Some(read);
                }
                "scopeSpans" => match &resource {
                    Some(resource) => {
                        let resource = resource.of_resource(self.0.version_key());
                        map.next_value_seed(List(ScopeSpansElements(&resource, self.0)))?;
                    }
                    None => waiting.push(map.next_value()?),
                },
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let resource = resource.unwrap_or_else(|| {
            self.0.resource(&ResourceAttributes::default(), "");
            Attributes::default()
        });
        for list in waiting {
            let resource = resource.of_resource(self.0.version_key());
            read(list.get(), List(ScopeSpansElements(&resource, self.0))).map_err(Error::custom)?;
        }
        Ok(())
    }
}

struct ScopeSpansElements<'v, V>(&'v ResourceAttributes<'v>, &'v mut V);

impl<'de, V: SpanVisitor> Elements<'de> for ScopeSpansElements<'_, V> {
    fn next<A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        let element = list.next_element_seed(ScopeSpansSeed(self.0, self.1))?;
        Ok(element.is_some())
    }
}

struct ScopeSpansSeed<'v, V>(&'v ResourceAttributes<'v>, &'v mut V);

impl<'de, V: SpanVisitor> DeserializeSeed<'de> for ScopeSpansSeed<'_, V> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, V: SpanVisitor> Visitor<'de> for ScopeSpansSeed<'_, V> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object with `spans`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(resource, visitor) = self;
        if V::KEEPS_TEXT {
            visitor.scope("");
        }
        while let Some(key) = map.next_key::<BorrowedText<'_>>()? {
            match key.as_ref() {
                "spans" => map.next_value_seed(List(SpanElements(resource, &mut *visitor)))?,
                "scope" if V::KEEPS_TEXT => {
                    let scope: Option<Scope<'de>> = map.next_value()?;
                    let name = scope.as_ref().and_then(|scope| scope.name.as_ref());
                    visitor.scope(text_of(name));
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Every known writer puts it before its spans.
#[derive(Deserialize)]
struct Scope<'a> {
    #[serde(borrow, default)]
    name: Option<BorrowedText<'a>>,
}

struct SpanElements<'v, V>(&'v ResourceAttributes<'v>, &'v mut V);

impl<'de, V: SpanVisitor> Elements<'de> for SpanElements<'_, V> {
    fn next<A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        let (resource, visitor) = (self.0, &mut *self.1);
        if visitor.is_watched(resource) {
            return next_span::<All, _, _>(list, resource, visitor);
        }
        next_span::<Few, _, _>(list, resource, visitor)
    }
}

#[inline]
fn next_span<'de, K: Keys, V: SpanVisitor, A: SeqAccess<'de>>(
    list: &mut A,
    resource: &ResourceAttributes<'_>,
    visitor: &mut V,
) -> Result<bool, A::Error> {
    let Some((span, text)) = next_element::<Span<'de, K>, A>(list, V::KEEPS_TEXT)? else {
        return Ok(false);
    };
    visitor.span(resource, &span, text).map_err(Error::custom)?;
    Ok(true)
}
