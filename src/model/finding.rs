//! What a check found in a file: the shape that every output for people and CI systems is made from.

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
