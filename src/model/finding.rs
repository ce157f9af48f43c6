//! What a check found in a file: the shape that every output for people and CI systems is made from.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know.
    Note,
    /// Should be looked at.
    Warning,
    /// Must be mended.
    Error,
}

impl Level {
    /// As in JSON and for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Where something is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Location {
    /// The file as it was named, `-` for standard input.
    pub file: String,
    /// Line, from 1.
    pub line: Option<u32>,
    /// Document of the file, from 0.
    pub document: Option<u32>,
    /// Where in the document, for example `$.spec.objectives[0].target`.
    pub path: Option<String>,
}

/// One thing that a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable name of the rule, for example `slo-target-range`.
    pub rule: String,
    /// How bad it is.
    pub level: Level,
    /// What is wrong and what would be right, in a sentence.
    pub message: String,
    /// Where; null where it is about no file.
    pub location: Option<Location>,
}

/// `file:line: level[rule] message (path)`.
impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = &self.location {
            formatter.write_str(&location.file)?;
            if let Some(line) = location.line {
                write!(formatter, ":{line}")?;
            }
            formatter.write_str(": ")?;
        }
        write!(
            formatter,
            "{}[{}] {}",
            self.level.label(),
            self.rule,
            self.message
        )?;
        match self
            .location
            .as_ref()
            .and_then(|location| location.path.as_ref())
        {
            Some(path) => write!(formatter, " ({path})"),
            None => Ok(()),
        }
    }
}
