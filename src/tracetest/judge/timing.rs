//! Events in their order, and spans in time.

use super::{Offence, Outcome, fails};
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
    let pairs = || {
        lefts.iter().flat_map(move |left| {
            let others = rights.iter().filter(move |right| *right != left);
            others.map(move |right| (*left, *right))
        })
    };
    let spans = |left, right| Some((tree.span(left)?, tree.span(right)?));
    match relation {
        Relation::Before => {
            for (left, right) in pairs() {
                let Some((first, second)) = spans(left, right) else {
                    continue;
                };
                if first.end > second.start.saturating_add(tolerance) {
                    return Outcome::Fails(Offence {
                        spans: vec![left, right],
                        text: format!(
                            "{} is not over when {} begins",
                            shown(first),
                            shown(second)
                        ),
                        observed: Some(format!("{} too long", gap(second.start, first.end))),
                        wanted: Some("the end of the first before the start of the second".to_owned()),
                    });
                }
            }
            Outcome::Holds
        }
        Relation::Overlap => {
            let alone = lefts.iter().copied().find(|left| {
                let mut others = rights.iter().copied().filter(|right| right != left);
                !others.any(|right| {
                    let pair = spans(*left, right);
                    pair.is_some_and(|(left, right)| {
                        left.start < right.end.saturating_add(tolerance)
                            && right.start < left.end.saturating_add(tolerance)
                    })
                })
            });
            let Some(alone) = alone else {
                return Outcome::Holds;
            };
            let name = tree.span(alone).map(shown).unwrap_or_default();
            let mut marked = vec![alone];
            marked.extend(rights);
            fails(format!("{name} runs at the same time as none of the others"), marked)
        }
        Relation::Apart => {
            for (left, right) in pairs() {
                // A span runs within those above it by nature.
                let is_related = tree.ancestors(left).any(|above| above == right)
                    || tree.ancestors(right).any(|above| above == left);
                let Some((one, other)) = spans(left, right).filter(|_| !is_related) else {
                    continue;
                };
                let common = one.end.min(other.end).saturating_sub(one.start.max(other.start));
                if common > tolerance {
                    return Outcome::Fails(Offence {
                        spans: vec![left, right],
                        text: format!("{} and {} overlap", shown(one), shown(other)),
                        observed: Some(format!("{} together", gap(0, common))),
                        wanted: Some("never at the same time".to_owned()),
                    });
                }
            }
            Outcome::Holds
        }
    }
}

fn shown(span: &TraceSpan) -> String {
    format!("{} {}", service_of(span), span.name)
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn gap(from: u64, to: u64) -> String {
    duration_text(to.saturating_sub(from) as f64)
}
