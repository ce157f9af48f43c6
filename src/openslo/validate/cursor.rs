//! Where the validator stands in a document.

use std::collections::BTreeMap;

use crate::openslo::tree::{Node, Path};
use crate::openslo::validate::RawDocument;

/// A node, its path, and the line that people look at for it: that of its key.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    pub(super) node: &'a Node,
    pub(super) path: Path,
    pub(super) line: u32,
}

/// The fields of a map; of duplicate keys the first.
#[derive(Clone, Debug)]
pub(super) struct Object<'a> {
    /// The map itself.
    pub(super) at: Cursor<'a>,
    pub(super) fields: BTreeMap<&'a str, Cursor<'a>>,
}

impl<'a> Cursor<'a> {
    /// The object of a document.
    pub(super) fn root(document: &'a RawDocument) -> Self {
        Self {
            node: &document.node,
            path: document.path.clone(),
            line: document.node.mark.line,
        }
    }
}

impl<'a> Object<'a> {
    pub(super) fn get(&self, key: &str) -> Option<&Cursor<'a>> {
        self.fields.get(key)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.fields.contains_key(key)
    }

    /// How many of these keys are there.
    pub(super) fn count(&self, keys: &[&str]) -> usize {
        keys.iter().filter(|key| self.has(key)).count()
    }
}
