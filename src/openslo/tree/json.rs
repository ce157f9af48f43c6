//! JSON by its own strict rules, with the lines of its values.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Budget, Entry, Mark, Node, NodeValue, Problem, Scalar, ScalarKind, Tree};

/// Whether a text is JSON of the kind that holds documents: an object or an array.
pub(super) fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Reads one document.
pub(super) fn read(text: &str) -> Tree {
    let mut tree = Tree::default();
    match document(text) {
        Ok(node) => tree.documents.push((0, node)),
        Err(problem) => tree.problems.push(problem),
    }
    tree
}

fn document(text: &str) -> Result<Node, Problem> {
    let root: &RawValue = serde_json::from_str(text).map_err(|error| Problem {
        document: 0,
        mark: Mark {
            line: u32::try_from(error.line()).unwrap_or(u32::MAX).max(1),
            column: u32::try_from(error.column()).unwrap_or(u32::MAX),
        },
        excessive: false,
        message: error.to_string(),
    })?;
    let mut reader = Reader {
        text,
        line_starts: std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect(),
        budget: Budget::default(),
    };
    reader.node(root, 0)
}

struct Reader<'text> {
    text: &'text str,
    line_starts: Vec<usize>,
    budget: Budget,
}

impl<'text> Reader<'text> {
    /// The text of each value is read again for each level above it, which the bound on levels makes cheap.
    fn node(&mut self, raw: &'text RawValue, depth: usize) -> Result<Node, Problem> {
        let mark = self.mark(raw);
        let problem = |excessive, message| Problem {
            document: 0,
            mark,
            excessive,
            message,
        };
        self.budget
            .take(1, depth)
            .map_err(|message| problem(true, message))?;
        let broken = |error: serde_json::Error| problem(false, error.to_string());
        let json = raw.get();
        let value = match json.bytes().next() {
            Some(b'{') => {
                let fields: Fields<'text> = serde_json::from_str(json).map_err(broken)?;
                let mut entries = Vec::with_capacity(fields.0.len());
                for (key, raw) in fields.0 {
                    let node = self.node(raw, depth + 1)?;
                    let mark = node.mark;
                    entries.push(Entry { key, mark, node });
                }
                NodeValue::Map(entries)
            }
            Some(b'[') => {
                let items: Vec<&'text RawValue> = serde_json::from_str(json).map_err(broken)?;
                let nodes = items.into_iter().map(|raw| self.node(raw, depth + 1));
                NodeValue::List(nodes.collect::<Result<_, _>>()?)
            }
            Some(b'"') => {
                NodeValue::Scalar(Scalar::quoted(serde_json::from_str(json).map_err(broken)?))
            }
            Some(_) | None => NodeValue::Scalar(Scalar {
                text: json.to_owned(),
                kind: match serde_json::from_str(json).map_err(broken)? {
                    serde_json::Value::Bool(value) => ScalarKind::Boolean(value),
                    serde_json::Value::Number(number) => ScalarKind::Number(number),
                    serde_json::Value::Null
                    | serde_json::Value::String(_)
                    | serde_json::Value::Array(_)
                    | serde_json::Value::Object(_) => ScalarKind::Null,
                },
                plain: false,
            }),
        };
        Ok(Node { mark, value })
    }

    /// A borrowed value lies in the text, so that its address says where.
    fn mark(&self, raw: &RawValue) -> Mark {
        let offset = raw.get().as_ptr().addr() - self.text.as_ptr().addr();
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|at| self.line_starts.get(at));
        let before = start.and_then(|start| self.text.get(*start..offset));
        let column = before.map_or(0, |before| before.chars().count()) + 1;
        Mark {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
        }
    }
}

/// The fields of an object, duplicates included.
struct Fields<'text>(Vec<(String, &'text RawValue)>);

impl<'text> Deserialize<'text> for Fields<'text> {
    fn deserialize<D: Deserializer<'text>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'text> Visitor<'text> for FieldsVisitor {
    type Value = Fields<'text>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'text>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Fields(fields))
    }
}
