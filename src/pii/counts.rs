//! What was found, without the values.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::pii::Action;
use crate::pii::replace::Label;

/// Fields that are told apart for each kind; more are counted as `_other`.
const FIELDS_MAX: usize = 100;

/// Findings by kind and action, and by field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<(Arc<str>, Action), Tally>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tally {
    count: u64,
    fields: BTreeMap<Box<str>, u64>,
}

/// The findings of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Finding<'c> {
    /// Name of the kind, or of the rule of the configuration.
    pub kind: &'c str,
    /// What was done.
    pub action: Action,
    /// How many.
    pub count: u64,
    /// Under which keys, and how many; those in text without a key are not among them.
    pub fields: &'c BTreeMap<Box<str>, u64>,
}

impl Counts {
    pub(super) fn add(&mut self, label: &Label, field: Option<&str>) {
        let key = (Arc::clone(&label.name), label.action);
        let tally = self.0.entry(key).or_default();
        tally.count += 1;
        if let Some(field) = field {
            tally.add(field, 1);
        }
    }

    /// Adds what was found elsewhere.
    pub fn merge(&mut self, other: &Self) {
        for (key, theirs) in &other.0 {
            let tally = self.0.entry(key.clone()).or_default();
            tally.count += theirs.count;
            for (field, count) in &theirs.fields {
                tally.add(field, *count);
            }
        }
    }

    /// All findings.
    pub fn total(&self) -> u64 {
        self.0.values().map(|tally| tally.count).sum()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The findings by kind, sorted.
    pub fn findings(&self) -> impl Iterator<Item = Finding<'_>> {
        self.0.iter().map(|((kind, action), tally)| Finding {
            kind,
            action: *action,
            count: tally.count,
            fields: &tally.fields,
        })
    }

    /// Findings of one kind, whatever was done.
    pub fn of(&self, kind: &str) -> u64 {
        let own = self.findings().filter(|finding| finding.kind == kind);
        own.map(|finding| finding.count).sum()
    }
}

impl Tally {
    fn add(&mut self, field: &str, count: u64) {
        if let Some(held) = self.fields.get_mut(field) {
            *held += count;
            return;
        }
        let field = if self.fields.len() < FIELDS_MAX {
            field
        } else {
            "_other"
        };
        *self.fields.entry(field.into()).or_default() += count;
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.findings())
    }
}
