//! Events in their order, and spans in time.

use std::collections::BTreeSet;

use super::{Offence, Outcome};
use crate::model::trace::TraceSpan;
use crate::trace::tree::TraceTree;
use crate::tracetest::language::{duration_text, service_of};
use crate::tracetest::suite::Relation;

/// What is asked of events.
pub(super) struct EventRule<'a> {
    /// In this order.
    pub(super) sequence: &'a [String],
    /// No others, and none twice.
    pub(super) exact: bool,
    /// None of these.
    pub(super) forbid: &'a [String],
}

pub(super) fn events(tree: &TraceTree<'_>, selected: &[usize], rule: &EventRule<'_>) -> Outcome {
    for index in selected {
        let Some(span) = tree.span(*index) else {
            continue;
        };
        let names: Vec<&str> = span.events.iter().map(|event| &*event.name).collect();
        let observed = || match names.as_slice() {
            [] => "no events".to_owned(),
            names => names.join(", "),
        };
        let is_forbidden = |name: &&str| rule.forbid.iter().any(|forbidden| forbidden == name);
        if let Some(name) = names.iter().copied().find(is_forbidden) {
            return Outcome::Fails(Offence {
                spans: vec![*index],
                text: format!("{} {} has the event {name}", service_of(span), span.name),
                observed: Some(observed()),
                wanted: Some(format!("never {}", rule.forbid.join(", "))),
            });
        }
        let holds = if rule.exact {
            names == rule.sequence
        } else {
            let mut seen = names.iter();
            let mut wanted = rule.sequence.iter();
            wanted.all(|wanted| seen.any(|name| name == wanted))
        };
        if !holds {
            return Outcome::Fails(Offence {
                spans: vec![*index],
                text: format!(
                    "the events of {} {} are others",
                    service_of(span),
                    span.name
                ),
                observed: Some(observed()),
                wanted: Some(rule.sequence.join(", ")),
            });
        }
    }
    Outcome::Holds
}

pub(super) fn order(
    tree: &TraceTree<'_>,
    relation: Relation,
    (lefts, rights): (&[usize], &[usize]),
    tolerance: u64,
) -> Outcome {
    let pairs = lefts.iter().flat_map(|left| {
        let others = rights.iter().filter(move |right| *right != left);
        others.map(move |right| (*left, *right))
    });
    let mut pairs = pairs.filter_map(|(left, right)| {
        Some(Pair {
            indices: [left, right],
            left: tree.span(left)?,
            right: tree.span(right)?,
        })
    });
    let offence = match relation {
        Relation::Before => pairs.find_map(|pair| pair.not_before(tolerance)),
        Relation::Apart => pairs.find_map(|pair| pair.not_apart(tree, tolerance)),
        Relation::Overlap => {
            let met: BTreeSet<usize> = pairs
                .filter(|pair| pair.meets(tolerance))
                .map(
                    |Pair {
                         indices: [left, _], ..
                     }| left,
                )
                .collect();
            let mut alone = lefts.iter().filter(|left| !met.contains(*left));
            alone.next().map(|alone| Offence {
                spans: std::iter::once(alone).chain(rights).copied().collect(),
                text: format!(
                    "{} runs at the same time as none of the others",
                    tree.span(*alone).map(shown).unwrap_or_default()
                ),
                ..Offence::default()
            })
        }
    };
    offence.map_or(Outcome::Holds, Outcome::Fails)
}

/// Two spans.
#[derive(Clone, Copy)]
struct Pair<'a> {
    indices: [usize; 2],
    left: &'a TraceSpan,
    right: &'a TraceSpan,
}

impl Pair<'_> {
    fn not_before(self, tolerance: u64) -> Option<Offence> {
        let (first, second) = (self.left, self.right);
        let is_late = first.end > second.start.saturating_add(tolerance);
        is_late.then(|| Offence {
            spans: self.indices.to_vec(),
            text: format!("{} is not over when {} begins", shown(first), shown(second)),
            observed: Some(format!("{} too long", gap(second.start, first.end))),
            wanted: Some("the end of the first before the start of the second".to_owned()),
        })
    }

    /// A span runs within those above it by nature.
    fn not_apart(self, tree: &TraceTree<'_>, tolerance: u64) -> Option<Offence> {
        let [left, right] = self.indices;
        let is_related = tree.ancestors(left).any(|above| above == right)
            || tree.ancestors(right).any(|above| above == left);
        let (one, other) = (self.left, self.right);
        let common = one
            .end
            .min(other.end)
            .saturating_sub(one.start.max(other.start));
        (!is_related && common > tolerance).then(|| Offence {
            spans: self.indices.to_vec(),
            text: format!("{} and {} overlap", shown(one), shown(other)),
            observed: Some(format!("{} together", gap(0, common))),
            wanted: Some("never at the same time".to_owned()),
        })
    }

    fn meets(self, tolerance: u64) -> bool {
        self.left.start < self.right.end.saturating_add(tolerance)
            && self.right.start < self.left.end.saturating_add(tolerance)
    }
}

fn shown(span: &TraceSpan) -> String {
    format!("{} {}", service_of(span), span.name)
}
fn gap(from: u64, to: u64) -> String {
    duration_text(to.saturating_sub(from) as f64)
}
