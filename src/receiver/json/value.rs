//! The small values of JSON traces: text that stays where it is, numbers in every way of writing them, attributes.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};

use crate::window::event::detail::DetailAttributes;
use crate::window::event::{ResourceAttributes, Scalar, SpanAttributes};

/// Text that stays in its source unless it holds escapes; serde borrows no `Option<Cow>` by itself.
#[derive(Debug, Deserialize)]
pub(in crate::receiver) struct BorrowedText<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl AsRef<str> for BorrowedText<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// The text, or nothing at all.
pub(in crate::receiver) fn text_of<'a>(text: Option<&'a BorrowedText<'_>>) -> &'a str {
    text.map_or("", AsRef::as_ref)
}

/// What stands where a number belongs, before somebody decides what it may be.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::receiver) enum Number<'a> {
    /// Not there, or `null`.
    #[default]
    Absent,
    /// A whole number. `1e18` and the like are whole numbers that some writers give exponents.
    Whole(u64),
    /// A whole number below zero.
    Negative(i64),
    /// Any other number.
    Fraction(f64),
    /// Text: a number or a name.
    Text(Cow<'a, str>),
    /// A truth value.
    Bool(bool),
    /// A list or an object.
    Other,
}

impl Number<'_> {
    /// The whole number that proto3's JSON mapping means: as a number, as text, by its place in `names`, or `null` for 0.
    /// Negative ones keep their bits.
    pub(in crate::receiver) fn whole(&self, names: &[&str]) -> Result<u64, serde_json::Error> {
        if let Number::Text(text) = self
            && let Some(number) = names.iter().position(|name| name == text)
        {
            return Ok(number as u64);
        }
        match self.numeric() {
            Number::Absent => Ok(0),
            Number::Whole(number) => Ok(number),
            Number::Negative(number) => Ok(number.cast_unsigned()),
            number @ (Number::Fraction(_) | Number::Text(_) | Number::Bool(_) | Number::Other) => {
                Err(number.refusal())
            }
        }
    }

    /// The number that a text says, if it is text; else what it is.
    pub(in crate::receiver) fn numeric(&self) -> Number<'_> {
        let Number::Text(text) = self else {
            return self.clone();
        };
        if let Ok(number) = text.parse::<u64>() {
            return Number::Whole(number);
        }
        if let Ok(number) = text.parse::<i64>() {
            return Number::Negative(number);
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Number::of_float(number),
            Ok(_) | Err(_) => Number::Text(Cow::Borrowed(text)),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked before"
    )]
    fn of_float(number: f64) -> Self {
        if number.fract() == 0.0 && (0.0..u64::MAX as f64).contains(&number) {
            Self::Whole(number as u64)
        } else if number.fract() == 0.0 && (i64::MIN as f64..0.0).contains(&number) {
            Self::Negative(number as i64)
        } else {
            Self::Fraction(number)
        }
    }

    /// Why this is no whole number.
    fn refusal(&self) -> serde_json::Error {
        let unexpected = match self {
            Number::Absent => Unexpected::Unit,
            Number::Whole(number) => Unexpected::Unsigned(*number),
            Number::Negative(number) => Unexpected::Signed(*number),
            Number::Fraction(number) => Unexpected::Float(*number),
            Number::Text(text) => Unexpected::Str(text),
            Number::Bool(value) => Unexpected::Bool(*value),
            Number::Other => Unexpected::Other("a list or an object"),
        };
        Error::invalid_value(unexpected, &"a whole number, as a number or as text")
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Number<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor(PhantomData))
    }
}

struct NumberVisitor<'a>(PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for NumberVisitor<'a> {
    type Value = Number<'a>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a number, or text")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Number::Whole(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(u64::try_from(number).map_or(Number::Negative(number), Number::Whole))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Number::of_float(number))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Number::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Number::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Number::Bool(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Number::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Number::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Number::Other)
    }
}

/// The value of an attribute as far as it is read.
#[derive(Debug, PartialEq)]
pub(in crate::receiver) enum AttributeValue<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// A whole number.
    Int(i64),
    /// Anything else.
    Other,
}

impl AttributeValue<'_> {
    /// The value as the rules of events read it.
    pub(in crate::receiver) fn scalar(&self) -> Option<Scalar<'_>> {
        match self {
            Self::Text(text) => Some(Scalar::Text(text.as_bytes())),
            Self::Int(value) => Some(Scalar::Int(*value)),
            Self::Other => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for AttributeValue<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOf<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for OneOf<'a> {
            type Value = AttributeValue<'a>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object such as {\"stringValue\": \"…\"}")
            }

            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(AttributeValue::Other)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut value = AttributeValue::Other;
                while let Some(key) = map.next_key::<BorrowedText<'_>>()? {
                    match key.as_ref() {
                        "stringValue" => {
                            value = map
                                .next_value::<Option<BorrowedText<'a>>>()?
                                .map_or(AttributeValue::Other, |text| AttributeValue::Text(text.0));
                        }
                        "intValue" => {
                            let number: Option<Number<'a>> = map.next_value()?;
                            let whole = number.map(|number| number.whole(&[])).transpose();
                            value = whole
                                .map_err(Error::custom)?
                                .map_or(AttributeValue::Other, |whole| {
                                    AttributeValue::Int(whole.cast_signed())
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
        deserializer.deserialize_any(OneOf(PhantomData))
    }
}

/// An attribute whose key may be one that is read.
#[derive(Debug)]
pub(in crate::receiver) struct Attribute<'a> {
    /// Its key.
    pub key: Cow<'a, str>,
    /// Its value.
    pub value: AttributeValue<'a>,
}

/// Which attributes are read.
pub(in crate::receiver) trait Keys {
    /// Whether the value of this one is.
    fn may_read(key: &str) -> bool;
}

/// Those that every span is read for.
#[derive(Debug, Default)]
pub(in crate::receiver) struct Few;

/// All of them: of resources, and of spans that are looked at more closely.
#[derive(Debug, Default)]
pub(in crate::receiver) struct All;

impl Keys for Few {
    #[inline]
    fn may_read(key: &str) -> bool {
        let key = key.as_bytes();
        SpanAttributes::may_read(key) || ResourceAttributes::may_read(key)
    }
}

impl Keys for All {
    fn may_read(_: &str) -> bool {
        true
    }
}

/// The attributes of a resource or a span, as OTLP's list of `KeyValue`, without those that nobody reads.
#[derive(Debug)]
pub(in crate::receiver) struct Attributes<'a, K = Few>(pub Vec<Attribute<'a>>, PhantomData<K>);

impl<K> Default for Attributes<'_, K> {
    fn default() -> Self {
        Self(Vec::new(), PhantomData)
    }
}

impl<K> Attributes<'_, K> {
    /// As attributes of a resource, whose version is said by `version_key`.
    pub(in crate::receiver) fn of_resource(&self, version_key: &[u8]) -> ResourceAttributes<'_> {
        let mut attributes = ResourceAttributes::default();
        for (key, value) in self.scalars() {
            attributes.set(key, value, version_key);
        }
        attributes
    }

    /// As attributes that say more about a span.
    pub(in crate::receiver) fn of_details(&self) -> DetailAttributes<'_> {
        let mut attributes = DetailAttributes::default();
        for (key, value) in self.scalars() {
            attributes.set(key, value);
        }
        attributes
    }

    /// The value of the attribute with this key.
    pub(in crate::receiver) fn get(&self, key: &[u8]) -> Option<Scalar<'_>> {
        let mut scalars = self.scalars();
        scalars.find(|(own, _)| *own == key).map(|(_, value)| value)
    }

    /// As attributes of a span.
    pub(in crate::receiver) fn of_span(&self) -> SpanAttributes<'_> {
        let mut attributes = SpanAttributes::default();
        for (key, value) in self.scalars() {
            attributes.set(key, value);
        }
        attributes
    }

    fn scalars(&self) -> impl Iterator<Item = (&[u8], Scalar<'_>)> {
        let attributes = self.0.iter();
        attributes.filter_map(|attribute| {
            let value = attribute.value.scalar()?;
            Some((attribute.key.as_bytes(), value))
        })
    }
}

impl<'de: 'a, 'a, K: Keys> Deserialize<'de> for Attributes<'a, K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<'a, K>(PhantomData<(&'a (), K)>);
        impl<'de: 'a, 'a, K: Keys> Visitor<'de> for List<'a, K> {
            type Value = Attributes<'a, K>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of attributes")
            }

            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(Attributes::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut read = Vec::new();
                while let Some(KeyValue(attribute, _)) = list.next_element::<KeyValue<'a, K>>()? {
                    read.extend(attribute);
                }
                Ok(Attributes(read, PhantomData))
            }
        }
        deserializer.deserialize_any(List(PhantomData))
    }
}

/// OTLP's `KeyValue`, `None` where nobody reads it. Every known writer puts the key first, so that the value of an
/// attribute that nobody reads is passed over unseen.
struct KeyValue<'a, K>(Option<Attribute<'a>>, PhantomData<K>);

impl<'de: 'a, 'a, K: Keys> Deserialize<'de> for KeyValue<'a, K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pair<'a, K>(PhantomData<(&'a (), K)>);
        impl<'de: 'a, 'a, K: Keys> Visitor<'de> for Pair<'a, K> {
            type Value = KeyValue<'a, K>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an attribute such as {\"key\": \"…\", \"value\": {…}}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut key, mut value) = (None::<BorrowedText<'a>>, AttributeValue::Other);
                while let Some(member) = map.next_key::<BorrowedText<'_>>()? {
                    let is_read = key.as_ref().is_none_or(|key| K::may_read(key.as_ref()));
                    match member.as_ref() {
                        "key" => key = map.next_value()?,
                        "value" if is_read => value = map.next_value()?,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                let key = key.filter(|key| K::may_read(key.as_ref()));
                Ok(KeyValue(
                    key.map(|BorrowedText(key)| Attribute { key, value }),
                    PhantomData,
                ))
            }
        }
        deserializer.deserialize_map(Pair(PhantomData))
    }
}
