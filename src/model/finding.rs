//! What a check found in a file: the shape that every output for people and CI systems is made from.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know.
    Note,
    /// Should be looked at.
    Warning,
    /// Must be mended.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// What the reader of YAML says of a file: without the word that it begins with, and with the file's name in place of its
/// own.
pub fn yaml_fault(file: &str, said: &str) -> String {
    let said = said.strip_prefix("error: ").unwrap_or(said);
    said.replace("<input>", file)
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

/// As compilers say it: `slo.yaml:12: error[slo-target-range] target must be below 1 ($.spec.objectives[0].target)`.
impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = &self.location {
            write!(formatter, "{}:", location.file)?;
            if let Some(line) = location.line {
                write!(formatter, "{line}:")?;
            }
            formatter.write_str(" ")?;
        }
        write!(formatter, "{}[{}] {}", self.level, self.rule, self.message)?;
        let path = self.location.as_ref().and_then(|found| found.path.as_ref());
        path.map_or(Ok(()), |path| write!(formatter, " ({path})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_with_what_is_known_of_its_place() {
        let mut finding = Finding {
            rule: "target-range".to_owned(),
            level: Level::Error,
            message: "must be below 1".to_owned(),
            location: None,
        };
        assert_eq!(finding.to_string(), "error[target-range] must be below 1");
        finding.location = Some(Location {
            file: "slo.yaml".to_owned(),
            line: Some(12),
            document: Some(0),
            path: Some("$.spec".to_owned()),
        });
        let line = "slo.yaml:12: error[target-range] must be below 1 ($.spec)";
        assert_eq!(finding.to_string(), line);
        finding.location = Some(Location {
            file: "slo.yaml".to_owned(),
            ..Location::default()
        });
        let line = "slo.yaml: error[target-range] must be below 1";
        assert_eq!(finding.to_string(), line);
    }
}
