//! Values and how they compare.

use std::fmt;

use serde_json::Value as Json;

use super::lex::duration;
use crate::model::trace::AttributeValue;

/// A value of an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing: JSON's null.
    Nothing,
    /// True or false.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A duration in nanoseconds.
    Duration(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Self>),
    /// A JSON object.
    Object(serde_json::Map<String, Json>),
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `contains`
    Contains,
    /// `not-contains`
    NotContains,
    /// `starts-with`
    StartsWith,
    /// `not-starts-with`
    NotStartsWith,
    /// `ends-with`
    EndsWith,
    /// `not-ends-with`
    NotEndsWith,
    /// `json-contains`
    JsonContains,
}

impl Comparator {
    /// All of them as they are written.
    pub const ALL: [(&'static str, Self); 13] = [
        ("=", Self::Equal),
        ("!=", Self::NotEqual),
        (">", Self::Above),
        (">=", Self::AtLeast),
        ("<", Self::Below),
        ("<=", Self::AtMost),
        ("contains", Self::Contains),
        ("not-contains", Self::NotContains),
        ("starts-with", Self::StartsWith),
        ("not-starts-with", Self::NotStartsWith),
        ("ends-with", Self::EndsWith),
        ("not-ends-with", Self::NotEndsWith),
        ("json-contains", Self::JsonContains),
    ];

    /// As it is written.
    pub fn label(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, known)| *known == self);
        found.map_or("=", |(label, _)| label)
    }

    /// Whether it holds of an attribute that is not there.
    pub(super) fn holds_of_nothing(self) -> bool {
        matches!(
            self,
            Self::NotEqual | Self::NotContains | Self::NotStartsWith | Self::NotEndsWith
        )
    }

    /// Whether it holds between two values; an error where they cannot be compared so.
    pub fn compare(self, left: &Value, right: &Value) -> Result<bool, String> {
        Ok(match self {
            Self::Equal => left.equals(right),
            Self::NotEqual => !left.equals(right),
            Self::Above => left.less(right, self)?.is_gt(),
            Self::AtLeast => left.less(right, self)?.is_ge(),
            Self::Below => left.less(right, self)?.is_lt(),
            Self::AtMost => left.less(right, self)?.is_le(),
            Self::Contains => left.contains(right),
            Self::NotContains => !left.contains(right),
            Self::StartsWith => left.to_string().starts_with(&right.to_string()),
            Self::NotStartsWith => !left.to_string().starts_with(&right.to_string()),
            Self::EndsWith => left.to_string().ends_with(&right.to_string()),
            Self::NotEndsWith => !left.to_string().ends_with(&right.to_string()),
            Self::JsonContains => json_contains(&left.parsed()?, &right.parsed()?),
        })
    }
}

impl Value {
    /// The number that it is or that its text says; durations in nanoseconds.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) | Self::Duration(number) => Some(*number),
            Self::Text(text) => {
                let text = text.trim();
                let number = text.parse().ok().filter(|number: &f64| number.is_finite());
                number.or_else(|| duration(text))
            }
            Self::Nothing | Self::Bool(_) | Self::List(_) | Self::Object(_) => None,
        }
    }

    /// Texts are equal as texts; where one side is a number or a duration, its text may say the other.
    fn equals(&self, other: &Self) -> bool {
        let is_number = |value: &Self| matches!(value, Self::Number(_) | Self::Duration(_));
        if (is_number(self) || is_number(other))
            && let (Some(left), Some(right)) = (self.number(), other.number())
        {
            return (left - right).abs() <= f64::EPSILON * left.abs().max(right.abs());
        }
        match (self, other) {
            (Self::List(left), Self::List(right)) => {
                left.len() == right.len()
                    && left
                        .iter()
                        .zip(right)
                        .all(|(left, right)| left.equals(right))
            }
            (Self::Object(left), Self::Object(right)) => left == right,
            (Self::Object(left), text) | (text, Self::Object(left)) => text
                .parsed()
                .is_ok_and(|right| right == Json::Object(left.clone())),
            _ => self.to_string() == other.to_string(),
        }
    }

    fn less(&self, other: &Self, comparator: Comparator) -> Result<std::cmp::Ordering, String> {
        let numbers = self.number().zip(other.number());
        let ordering = numbers.and_then(|(left, right)| left.partial_cmp(&right));
        ordering.ok_or_else(|| {
            format!(
                "`{}` orders numbers and durations, and {} {} none",
                comparator.label(),
                [self, other]
                    .into_iter()
                    .filter(|value| value.number().is_none())
                    .map(Self::quoted)
                    .collect::<Vec<_>>()
                    .join(" and "),
                if self.number().is_none() && other.number().is_none() {
                    "are"
                } else {
                    "is"
                }
            )
        })
    }

    fn contains(&self, part: &Self) -> bool {
        match self {
            Self::List(items) => items.iter().any(|item| item.equals(part)),
            Self::Object(fields) => fields.contains_key(&part.to_string()),
            Self::Nothing | Self::Bool(_) | Self::Number(_) | Self::Duration(_) | Self::Text(_) => {
                self.to_string().contains(&part.to_string())
            }
        }
    }

    /// The JSON that it is, or that its text says.
    pub(super) fn parsed(&self) -> Result<Json, String> {
        let Self::Text(text) = self else {
            return Ok(self.to_json());
        };
        serde_json::from_str(text).map_err(|error| format!("{}: no JSON: {error}", self.quoted()))
    }

    /// As JSON; durations as text.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Nothing => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Number(number) => whole(*number).map_or_else(
                || serde_json::Number::from_f64(*number).map_or(Json::Null, Json::Number),
                Json::from,
            ),
            Self::Duration(nanos) => Json::String(duration_text(*nanos)),
            Self::Text(text) => Json::String(text.clone()),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Object(fields) => Json::Object(fields.clone()),
        }
    }

    /// For people: texts in quotes.
    pub fn quoted(&self) -> String {
        if let Self::Text(text) = self {
            format!("\"{text}\"")
        } else {
            self.to_string()
        }
    }

    /// What the filter `type` says.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::Duration(_) => "duration",
            Self::List(_) => "array",
            Self::Object(_) => "json",
            Self::Text(text) => match serde_json::from_str(text) {
                Ok(Json::Object(_)) => "json",
                Ok(Json::Array(_)) => "array",
                Ok(_) | Err(_) => "string",
            },
        }
    }
}

impl From<Json> for Value {
    fn from(json: Json) -> Self {
        match json {
            Json::Null => Self::Nothing,
            Json::Bool(value) => Self::Bool(value),
            Json::Number(number) => Self::Number(number.as_f64().unwrap_or(f64::NAN)),
            Json::String(text) => Self::Text(text),
            Json::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            Json::Object(fields) => Self::Object(fields),
        }
    }
}

impl From<&AttributeValue> for Value {
    fn from(value: &AttributeValue) -> Self {
        match value {
            AttributeValue::Bool(value) => Self::Bool(*value),
            AttributeValue::Int(number) => Self::Number(*number as f64),
            AttributeValue::Float(number) => Self::Number(*number),
            AttributeValue::Text(text) => Self::Text(text.to_string()),
            AttributeValue::List(items) => Self::List(items.iter().map(Self::from).collect()),
            AttributeValue::Map(fields) => Self::Object(
                fields
                    .iter()
                    .map(|(key, value)| (key.to_string(), Self::from(value).to_json()))
                    .collect(),
            ),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => formatter.write_str("null"),
            Self::Bool(value) => write!(formatter, "{value}"),
            Self::Number(number) => write!(formatter, "{number}"),
            Self::Duration(nanos) => formatter.write_str(&duration_text(*nanos)),
            Self::Text(text) => formatter.write_str(text),
            Self::List(_) | Self::Object(_) => write!(formatter, "{}", self.to_json()),
        }
    }
}

/// A duration in its largest unit of at most two decimals: `1.5s`, `430ms`.
pub fn duration_text(nanos: f64) -> String {
    let units = [
        ("h", 3.6e12),
        ("m", 6e10),
        ("s", 1e9),
        ("ms", 1e6),
        ("us", 1e3),
    ];
    for (unit, size) in units {
        if nanos.abs() >= size {
            let hundredths = (nanos / size * 100.0).round() / 100.0;
            return format!("{hundredths}{unit}");
        }
    }
    format!("{nanos}ns")
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "whole numbers of at most 2^53 alone are converted"
)]
fn whole(number: f64) -> Option<i64> {
    let is_whole = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
    is_whole.then_some(number as i64)
}

/// Whether `left` holds all that `right` says: the fields of an object, the items of a list in any order.
fn json_contains(left: &Json, right: &Json) -> bool {
    match (left, right) {
        (Json::Object(left), Json::Object(right)) => right.iter().all(|(key, wanted)| {
            let found = left.get(key);
            found.is_some_and(|found| json_contains(found, wanted))
        }),
        (Json::Array(left), Json::Array(right)) => right
            .iter()
            .all(|wanted| left.iter().any(|found| json_contains(found, wanted))),
        (Json::Array(left), wanted) => left.iter().any(|found| json_contains(found, wanted)),
        (Json::Number(left), Json::Number(right)) => left.as_f64() == right.as_f64(),
        (left, right) => left == right,
    }
}
