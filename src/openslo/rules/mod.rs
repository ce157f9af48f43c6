//! The rules of the validator: what `validate --rules` prints, with an example that keeps each rule and one that
//! breaks it and no other.

#[macro_use]
mod example;

pub mod adoption;
pub mod alert;
pub mod document;
pub mod metric;
pub mod objective;
pub mod prometheus;
pub mod reference;
pub mod slo;

#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::model::finding::Level;

/// A rule, its reason, and what it looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Stable name, in kebab case.
    pub id: &'static str,
    /// How bad it is to break it.
    pub level: Level,
    /// What it demands, in a sentence.
    pub summary: &'static str,
    /// Who demands it: the specification's prose, its reference validator (SDK), or good practice.
    pub basis: &'static str,
    /// A file that keeps it.
    pub valid: &'static str,
    /// A file that breaks it and no other rule.
    pub invalid: &'static str,
}

impl Rule {
    const fn new(level: Level, [id, summary, basis]: [&'static str; 3]) -> Self {
        Self {
            id,
            level,
            summary,
            basis,
            valid: "",
            invalid: "",
        }
    }

    const fn error(id: &'static str, summary: &'static str, basis: &'static str) -> Self {
        Self::new(Level::Error, [id, summary, basis])
    }

    const fn warning(id: &'static str, summary: &'static str, basis: &'static str) -> Self {
        Self::new(Level::Warning, [id, summary, basis])
    }

    const fn note(id: &'static str, summary: &'static str, basis: &'static str) -> Self {
        Self::new(Level::Note, [id, summary, basis])
    }

    const fn examples(self, valid: &'static str, invalid: &'static str) -> Self {
        Self {
            valid,
            invalid,
            ..self
        }
    }
}

/// The rules of documents, in the order in which a document is read.
pub fn validation() -> impl Iterator<Item = &'static Rule> {
    [
        document::RULES,
        slo::RULES,
        objective::RULES,
        metric::RULES,
        alert::RULES,
        reference::RULES,
    ]
    .into_iter()
    .flatten()
}

/// The rules of documents, then those of taking objectives from them and of making Prometheus rules of them.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    validation().chain(adoption::RULES).chain(prometheus::RULES)
}
