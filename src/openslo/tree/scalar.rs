//! What a scalar of YAML means: the core schema of YAML 1.2, and the traps of YAML 1.1.

use serde_json::{Number, Value};

/// A scalar as it was written and as it is meant.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar {
    /// The characters, unescaped.
    pub text: String,
    /// What they mean.
    pub kind: ScalarKind,
    /// Without quotes, in YAML.
    pub plain: bool,
}

/// What a scalar means.
#[derive(Clone, Debug, PartialEq)]
pub enum ScalarKind {
    /// Nothing: empty, `~` or `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A finite number.
    Number(Number),
    /// A text.
    Text,
}

impl Scalar {
    /// A plain scalar of YAML 1.2.
    pub(super) fn plain(text: String) -> Self {
        let kind = match text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => ScalarKind::Null,
            "true" | "True" | "TRUE" => ScalarKind::Boolean(true),
            "false" | "False" | "FALSE" => ScalarKind::Boolean(false),
            other => number(other).map_or(ScalarKind::Text, ScalarKind::Number),
        };
        Self {
            text,
            kind,
            plain: true,
        }
    }

    /// A text in quotes, of a block, or of JSON.
    pub(super) fn quoted(text: String) -> Self {
        Self {
            text,
            kind: ScalarKind::Text,
            plain: false,
        }
    }

    /// Whether readers of YAML 1.1 take this text for something else: a boolean, a number or a time.
    pub fn is_trap(&self) -> bool {
        self.plain && self.kind == ScalarKind::Text && means_more_in_yaml_1_1(&self.text)
    }

    /// The value without its style.
    pub(super) fn to_json(&self) -> Value {
        match &self.kind {
            ScalarKind::Null => Value::Null,
            ScalarKind::Boolean(value) => Value::Bool(*value),
            ScalarKind::Number(number) => Value::Number(number.clone()),
            ScalarKind::Text => Value::String(self.text.clone()),
        }
    }

    /// For people: `the number 5`.
    pub(super) fn describe(&self) -> String {
        match self.kind {
            ScalarKind::Null => "empty".to_owned(),
            ScalarKind::Boolean(_) => format!("the boolean {}", self.text),
            ScalarKind::Number(_) => format!("the number {}", self.text),
            ScalarKind::Text => format!("the text `{}`", self.text),
        }
    }
}

/// A number of the core schema; `.inf` and `.nan` are none that JSON or OpenSLO know.
fn number(text: &str) -> Option<Number> {
    let radix = |prefix, radix| u64::from_str_radix(text.strip_prefix(prefix)?, radix).ok();
    if let Some(value) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return Some(value.into());
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        let whole: Option<Number> = text.parse::<i64>().ok().map(Number::from);
        return whole
            .or_else(|| text.parse::<u64>().ok().map(Number::from))
            .or_else(|| Number::from_f64(text.parse().ok()?));
    }
    let begins = unsigned.strip_prefix('.').unwrap_or(unsigned);
    let is_decimal = begins
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_digit())
        && unsigned
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    // The standard library's grammar is the schema's but for words such as `inf`, which the bytes exclude.
    is_decimal
        .then(|| text.parse().ok().and_then(Number::from_f64))
        .flatten()
}

/// Whether YAML 1.1 gives a text of YAML 1.2 another type.
fn means_more_in_yaml_1_1(text: &str) -> bool {
    const WORDS: [&str; 11] = [
        "y", "n", "yes", "no", "on", "off", ".inf", "-.inf", "+.inf", ".nan", "=",
    ];
    WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
        || is_grouped_number(text)
        || is_sexagesimal(text)
        || is_time(text)
}

/// `1_000` or `0b101`.
fn is_grouped_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let binary = unsigned.strip_prefix("0b").unwrap_or_default();
    let digit = |byte: u8| byte.is_ascii_digit() || b"_.".contains(&byte);
    let grouped = unsigned.starts_with(|first: char| first.is_ascii_digit())
        && unsigned.contains('_')
        && unsigned.bytes().all(digit);
    grouped || (!binary.is_empty() && binary.bytes().all(|byte| b"01_".contains(&byte)))
}

/// `12:30:45`, a number of base 60.
fn is_sexagesimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    unsigned.contains(':') && unsigned.split(':').all(part)
}

/// `2026-11-22`, with or without a time of day.
fn is_time(text: &str) -> bool {
    let date = text.split(['T', 't', ' ']).next().unwrap_or_default();
    let lengths: Vec<usize> = date.split('-').map(str::len).collect();
    matches!(lengths.as_slice(), [4, 1..=2, 1..=2])
        && date
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'-')
}
