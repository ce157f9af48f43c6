//! What a test expects of the alerts while a fault lasts.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::report::Severity;
use crate::model::simulation::Noticed;

/// What is expected: `page within 10m`, `ticket within 1d`, `stays green`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// An alert of this severity fires within a time after the fault began. A page does for a ticket.
    Alert {
        /// How loud.
        severity: Severity,
        /// How soon.
        within: Duration,
    },
    /// No alert fires.
    StaysGreen,
}

impl Expectation {
    /// Whether it came as expected.
    pub fn is_met(self, noticed: Noticed) -> bool {
        match self {
            Self::StaysGreen => noticed.is_nothing(),
            Self::Alert { severity, within } => {
                let is_soon = |secs: Option<u64>| secs.is_some_and(|secs| secs <= within.as_secs());
                match severity {
                    Severity::Page => is_soon(noticed.page_secs),
                    Severity::Ticket => is_soon(noticed.page_secs) || is_soon(noticed.ticket_secs),
                }
            }
        }
    }

    /// Reads it as it is written in files.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no expectation such as page within 10m, ticket within 1d, stays green"
            )
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let (severity, time) = match words.as_slice() {
            ["stays", "green"] => return Ok(Self::StaysGreen),
            ["page", "within", time @ ..] => (Severity::Page, time),
            ["ticket", "within", time @ ..] => (Severity::Ticket, time),
            _ => return Err(wrong()),
        };
        let within = humantime_serde::re::humantime::parse_duration(&time.join(" "));
        Ok(Self::Alert {
            severity,
            within: within.map_err(|_| wrong())?,
        })
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StaysGreen => formatter.write_str("stays green"),
            Self::Alert { severity, within } => {
                let word = match severity {
                    Severity::Page => "page",
                    Severity::Ticket => "ticket",
                };
                let within = humantime_serde::re::humantime::format_duration(*within);
                write!(formatter, "{word} within {within}")
            }
        }
    }
}

impl Serialize for Expectation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Expectation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Expectation {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Expectation".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "What is expected of the alerts.",
            "pattern": "^(stays green|(page|ticket) within .+)$"
        })
    }
}
