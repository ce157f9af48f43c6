//! Filters: what is done to a value before it is compared.

use regex::Regex;
use serde_json_path::JsonPath;

use super::Value;
use crate::openslo::suggest::nearest;

/// A filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// What a JSON path selects: one value, or a list.
    JsonPath,
    /// The first match of a regular expression; nothing is an empty text.
    Regex,
    /// The groups of all matches: one value, or a list.
    RegexGroup,
    /// An item of a list, from 0, or `last`.
    GetIndex,
    /// The number of items of a list, of characters of a text.
    Length,
    /// What kind of value it is.
    Type,
}

const FILTERS: [(&str, Filter); 6] = [
    ("json_path", Filter::JsonPath),
    ("regex", Filter::Regex),
    ("regex_group", Filter::RegexGroup),
    ("get_index", Filter::GetIndex),
    ("length", Filter::Length),
    ("type", Filter::Type),
];

impl Filter {
    pub(super) fn names() -> Vec<&'static str> {
        FILTERS.iter().map(|(name, _)| *name).collect()
    }

    pub(super) fn named(name: &str) -> Result<Self, String> {
        let found = FILTERS.iter().find(|(known, _)| *known == name);
        found.map(|(_, filter)| *filter).ok_or_else(|| {
            let names = Self::names();
            let meant = nearest(name, &names)
                .map_or(String::new(), |near| format!("did you mean `{near}`? "));
            format!(
                "the filter `{name}` is unknown; {meant}allowed: {}",
                names.join(", ")
            )
        })
    }

    /// How many arguments it wants.
    pub(super) fn arguments(self) -> usize {
        match self {
            Self::JsonPath | Self::Regex | Self::RegexGroup | Self::GetIndex => 1,
            Self::Length | Self::Type => 0,
        }
    }

    /// For people.
    pub(super) fn wants(self) -> &'static str {
        match self {
            Self::JsonPath => "a JSON path, for example '$.items[0].id'",
            Self::Regex => "a regular expression, for example '[0-9]+'",
            Self::RegexGroup => "a regular expression with a group, for example 'id=([0-9]+)'",
            Self::GetIndex => "a number from 0, or 'last'",
            Self::Length | Self::Type => "no argument",
        }
    }

    /// Whether an argument will do.
    pub(super) fn check(self, argument: &Value) -> Result<(), String> {
        match self {
            Self::JsonPath => path(argument).map(drop),
            Self::Regex | Self::RegexGroup => regex(argument).map(drop),
            Self::GetIndex => index(argument, 1).map(drop),
            Self::Length | Self::Type => Ok(()),
        }
    }

    /// Does it.
    pub(super) fn apply(self, input: &Value, arguments: &[Value]) -> Result<Value, String> {
        let argument = arguments.first().unwrap_or(&Value::Nothing);
        match self {
            Self::JsonPath => {
                let (path, json) = (path(argument)?, input.parsed()?);
                let found = path
                    .query(&json)
                    .all()
                    .into_iter()
                    .cloned()
                    .map(Value::from);
                one_or_list(found.collect())
                    .ok_or_else(|| format!("{argument} selects nothing in {}", input.quoted()))
            }
            Self::Regex => {
                let text = input.to_string();
                let found = regex(argument)?
                    .find(&text)
                    .map(|found| found.as_str().to_owned());
                Ok(Value::Text(found.unwrap_or_default()))
            }
            Self::RegexGroup => {
                let (regex, text) = (regex(argument)?, input.to_string());
                let mut groups = Vec::new();
                for captures in regex.captures_iter(&text) {
                    let captured = captures.iter().skip(1).flatten();
                    groups.extend(captured.map(|group| Value::Text(group.as_str().to_owned())));
                }
                Ok(one_or_list(groups).unwrap_or(Value::List(Vec::new())))
            }
            Self::GetIndex => {
                let items = items(input)?;
                let at = index(argument, items.len())?;
                let found = items.get(at).cloned();
                found.ok_or_else(|| format!("there is no item {at} of {}", items.len()))
            }
            Self::Length => Ok(Value::Number(match items(input) {
                Ok(items) => items.len(),
                Err(_) => input.to_string().chars().count(),
            } as f64)),
            Self::Type => Ok(Value::Text(input.kind().to_owned())),
        }
    }
}

/// Tracetest's users leave the `$` out.
fn path(argument: &Value) -> Result<JsonPath, String> {
    let given = argument.to_string();
    let text = if given.starts_with('$') {
        given.clone()
    } else {
        format!("${given}")
    };
    JsonPath::parse(&text).map_err(|error| format!("{given} is no JSON path: {error}"))
}

fn regex(argument: &Value) -> Result<Regex, String> {
    Regex::new(&argument.to_string()).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim();
        format!("{argument} is no regular expression: {reason}")
    })
}

fn index(argument: &Value, length: usize) -> Result<usize, String> {
    let text = argument.to_string();
    if text == "last" {
        return Ok(length.saturating_sub(1));
    }
    text.parse()
        .map_err(|_| format!("get_index wants a whole number from 0, or 'last', not {text}"))
}

fn items(input: &Value) -> Result<Vec<Value>, String> {
    match input.parsed().map(Value::from) {
        Ok(Value::List(items)) => Ok(items),
        Ok(_) | Err(_) => Err(format!("{} is no list", input.quoted())),
    }
}

fn one_or_list(mut values: Vec<Value>) -> Option<Value> {
    match values.len() {
        0 => None,
        1 => values.pop(),
        _ => Some(Value::List(values)),
    }
}
