//! What all documents together declare, for references between them.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::finding::Location;
use crate::model::slug::{is_rfc1123_label, rfc1123_slug};
use crate::openslo::rules::reference::{REFERENCE_NAME, REFERENCE_UNCHECKED, REFERENCE_UNRESOLVED};
use crate::openslo::suggest::nearest;
use crate::openslo::tree::Path;
use crate::openslo::v1::{API_VERSION, Kind};
use crate::openslo::validate::RawDocument;
use crate::openslo::validate::check::Check;
use crate::openslo::validate::cursor::Cursor;
use crate::openslo::validate::metric::MetricKind;

/// The names that the documents of each kind have.
#[derive(Debug, Default)]
pub(super) struct Declared {
    names: BTreeMap<(Kind, String), Declaration>,
    kinds: BTreeSet<Kind>,
}

/// The first document of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Declaration {
    /// Where the object is.
    pub(super) location: Location,
    /// What an SLI measures, where it says so.
    metric: Option<MetricKind>,
}

impl Declared {
    /// Reads names only: a document with mistakes is still the one that others mean.
    pub(super) fn by(documents: &[RawDocument]) -> Self {
        let mut declared = Self::default();
        for document in documents {
            let node = &document.node;
            let text = |key: &str| node.get(key)?.text();
            let kind = text("kind").and_then(Kind::named);
            let name = node
                .get("metadata")
                .and_then(|metadata| metadata.get("name"));
            let (Some(API_VERSION), Some(kind)) = (text("apiVersion"), kind) else {
                continue;
            };
            declared.kinds.insert(kind);
            let Some(name) = name.and_then(|name| name.text()) else {
                continue;
            };
            let spec = node.get("spec");
            let has = |key: &str| spec.is_some_and(|spec| spec.get(key).is_some());
            declared
                .names
                .entry((kind, name.to_owned()))
                .or_insert_with(|| Declaration {
                    location: document.location(&Path::default()),
                    metric: MetricKind::of(has("ratioMetric"), has("thresholdMetric")),
                });
        }
        declared
    }

    /// The first document of this name.
    pub(super) fn first(&self, kind: Kind, name: &str) -> Option<&Declaration> {
        self.names.get(&(kind, name.to_owned()))
    }
}

impl<'a> Check<'a> {
    /// A reference to a document of a kind.
    pub(super) fn reference(&mut self, kind: Kind, at: &Cursor<'a>) -> Option<&'a str> {
        let name = self.text(at)?;
        if !is_rfc1123_label(name) {
            let message = format!(
                "`{name}` is no name of a document: lower-case letters, digits and `-`, at most 63; for example `{}`",
                rfc1123_slug(name)
            );
            self.report(&REFERENCE_NAME, at, message);
            return None;
        }
        let declared = self.declared;
        if declared.first(kind, name).is_none() {
            // The reference validator resolves neither services nor data sources.
            let may_be_elsewhere =
                matches!(kind, Kind::Service | Kind::DataSource) && !declared.kinds.contains(&kind);
            let rule = if may_be_elsewhere {
                &REFERENCE_UNCHECKED
            } else {
                &REFERENCE_UNRESOLVED
            };
            let message = unresolved(declared, kind, name);
            self.report(rule, at, message);
        }
        Some(name)
    }

    /// What the SLI of this name measures, if it is given.
    pub(super) fn metric_of(&self, name: &str) -> Option<MetricKind> {
        self.declared.first(Kind::Sli, name)?.metric
    }
}

fn unresolved(declared: &Declared, kind: Kind, name: &str) -> String {
    let of_kind = declared.names.keys().filter(|(other, _)| *other == kind);
    let names: Vec<&str> = of_kind.map(|(_, name)| name.as_str()).collect();
    let kind = kind.name();
    match nearest(name, &names) {
        Some(near) => format!("no {kind} is named `{name}`; did you mean `{near}`?"),
        None if names.is_empty() => {
            format!("no {kind} is given, so `{name}` cannot be found; name its file too")
        }
        None => format!("no {kind} is named `{name}`"),
    }
}
