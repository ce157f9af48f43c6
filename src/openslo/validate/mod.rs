//! The strict validator of OpenSLO v1: every rule of [`super::rules`], all findings, over all documents given together.
//!
//! Where the specification's prose and its reference validator disagree, the stricter one wins, so that what passes
//! here passes there.

mod alert;
mod check;
mod cursor;
mod declared;
mod envelope;
mod metric;
mod names;
mod objective;
mod slo;

#[cfg(test)]
mod tests;

use crate::model::finding::{Finding, Location};
use crate::openslo::tree::{Node, Path};
use crate::openslo::v1::Kind;
use check::Check;
use cursor::Cursor;
use declared::Declared;

/// A document that is not checked yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RawDocument {
    /// The file as it was named.
    pub(super) file: String,
    /// The document of the file, from 0.
    pub(super) index: u32,
    /// Where the object stands in it: the root, or an item of a list.
    pub(super) path: Path,
    /// The object.
    pub(super) node: Node,
}

impl RawDocument {
    /// Where something below the object is; steps that lead nowhere give the nearest line above.
    pub(super) fn location(&self, below: &Path) -> Location {
        Location {
            file: self.file.clone(),
            line: Some(self.node.line_at(below)),
            document: Some(self.index),
            path: Some(self.path.join(below).to_string()),
        }
    }
}

/// The findings of each document, each in the order of its lines.
pub(super) fn validate(documents: &[RawDocument]) -> Vec<Vec<Finding>> {
    let declared = Declared::by(documents);
    documents
        .iter()
        .map(|document| {
            let mut check = Check::new(document, &declared);
            envelope::document(&mut check, &Cursor::root(document));
            check.into_findings()
        })
        .collect()
}

/// Checks the `spec` of a kind.
fn spec<'a>(check: &mut Check<'a>, kind: Kind, at: &Cursor<'a>) {
    match kind {
        Kind::DataSource => envelope::data_source(check, at),
        Kind::Service => envelope::service(check, at),
        Kind::Slo => slo::spec(check, at),
        Kind::Sli => drop(metric::indicator_spec(check, at)),
        Kind::AlertPolicy => alert::policy(check, at),
        Kind::AlertCondition => alert::condition(check, at),
        Kind::AlertNotificationTarget => alert::target(check, at),
    }
}
