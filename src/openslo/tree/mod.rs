//! A file of YAML or JSON as a tree whose nodes know their line, with all that a typed reader would lose: duplicate
//! keys, the style of scalars, and the documents before and after a broken one.

mod json;
mod path;
mod scalar;
mod yaml;

#[cfg(test)]
mod tests;

use serde_json::Value;

pub use path::{Path, Step};
pub use scalar::{Scalar, ScalarKind};

/// Deepest nesting of a document; OpenSLO itself needs a dozen levels.
pub const NESTING_MAX: usize = 64;

/// Most nodes of a document, what aliases repeat included.
pub const NODES_MAX: usize = 100_000;

/// A position in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub mark: Mark,
    /// What it is.
    pub value: NodeValue,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeValue {
    /// A text, a number, a boolean or nothing.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// Keys with values as they stand in the file, duplicates included.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands; of JSON, where its value begins.
    pub mark: Mark,
    /// The value.
    pub node: Node,
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    /// The documents that can be read, with their index in the file; empty ones are left out.
    pub documents: Vec<(u32, Node)>,
    /// What cannot be read.
    pub problems: Vec<Problem>,
}

/// Why a document cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its index in the file, from 0.
    pub document: u32,
    /// Where.
    pub mark: Mark,
    /// Whether it is too large rather than broken.
    pub excessive: bool,
    /// What is wrong.
    pub message: String,
}

impl Tree {
    /// Reads a file. One that is named `*.json` must be JSON, others may be.
    pub fn read(name: &str, text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let named_json = std::path::Path::new(name)
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        // Texts of YAML know no surrogate pairs, so what is JSON is read as JSON.
        if named_json || json::is_json(text) {
            json::read(text)
        } else {
            yaml::read(text)
        }
    }
}

impl Node {
    /// The first value of a key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let NodeValue::Map(entries) = &self.value else {
            return None;
        };
        let found = entries.iter().find(|entry| entry.key == key)?;
        Some(&found.node)
    }

    /// The value as text, whatever its style.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            NodeValue::Scalar(scalar) if scalar.kind == ScalarKind::Text => Some(&scalar.text),
            NodeValue::Scalar(_) | NodeValue::List(_) | NodeValue::Map(_) => None,
        }
    }

    /// The line of what stands at a path, or of the nearest node above it.
    pub fn line_at(&self, path: &Path) -> u32 {
        let (mut node, mut line) = (self, self.mark.line);
        for step in path.steps() {
            let below = match (step, &node.value) {
                (Step::Key(key), NodeValue::Map(entries)) => entries
                    .iter()
                    .find(|entry| entry.key == *key)
                    .map(|entry| (entry.mark.line, &entry.node)),
                (Step::Index(index), NodeValue::List(items)) => {
                    items.get(*index).map(|item| (item.mark.line, item))
                }
                (Step::Key(_) | Step::Index(_), _) => None,
            };
            match below {
                Some(found) => (line, node) = found,
                None => break,
            }
        }
        line
    }

    /// The value without its places. Of duplicate keys the last one stays.
    pub fn to_json(&self) -> Value {
        match &self.value {
            NodeValue::Scalar(scalar) => scalar.to_json(),
            NodeValue::List(items) => items.iter().map(Self::to_json).collect(),
            NodeValue::Map(entries) => entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.node.to_json()))
                .collect(),
        }
    }

    /// For people: `a list`, `the number 5`.
    pub fn describe(&self) -> String {
        match &self.value {
            NodeValue::Scalar(scalar) => scalar.describe(),
            NodeValue::List(_) => "a list".to_owned(),
            NodeValue::Map(_) => "a map".to_owned(),
        }
    }
}

/// Counts the nodes of a document and refuses what is too large.
#[derive(Debug, Default)]
struct Budget {
    nodes: usize,
}

impl Budget {
    /// Takes `nodes` more at this depth.
    fn take(&mut self, nodes: usize, depth: usize) -> Result<(), String> {
        self.nodes += nodes;
        if depth > NESTING_MAX {
            return Err(format!(
                "the document is nested deeper than {NESTING_MAX} levels"
            ));
        }
        if self.nodes > NODES_MAX {
            return Err(format!(
                "the document has more than {NODES_MAX} nodes, what its aliases repeat included; split it"
            ));
        }
        Ok(())
    }
}
