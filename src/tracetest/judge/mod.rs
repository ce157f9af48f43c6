//! One check against one trace.

mod calls;
mod drawing;
mod timing;

use crate::model::trace::Completeness;
use crate::trace::tree::TraceTree;
use crate::tracetest::language::{Assertion, Scope, Selector, Variables, service_of};
use crate::tracetest::suite::{Check, CheckKind, ErrorRule};

pub(crate) use calls::most_repeats;
pub use calls::{Called, calls_of};
pub use drawing::draw;

/// What a check says of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Holds,
    /// The trace has nothing that it is about.
    Silent,
    /// It does not hold.
    Fails(Offence),
}

/// Why a check does not hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offence {
    /// The spans that show it.
    pub spans: Vec<usize>,
    /// What is wrong, in a sentence.
    pub text: String,
    /// The value that was seen.
    pub observed: Option<String>,
    /// The value that is wanted.
    pub wanted: Option<String>,
}

/// Judges a trace by a check.
pub fn judge(check: &Check, tree: &TraceTree<'_>, variables: &Variables) -> Outcome {
    match &check.kind {
        CheckKind::Assertion {
            selector,
            assertion,
            optional,
        } => {
            let selected = select(selector.as_ref(), tree, variables);
            if selected.is_empty() && *optional {
                return Outcome::Silent;
            }
            asserted(assertion, (tree, selected), variables, &check.group)
        }
        CheckKind::Expected(selector) => {
            if selector.select(tree, variables).is_empty() {
                fails(format!("{} never came", selector.text), Vec::new())
            } else {
                Outcome::Holds
            }
        }
        CheckKind::Whole => match &tree.trace().completeness {
            Completeness::Complete => Outcome::Holds,
            Completeness::Incomplete(reason) => {
                fails(format!("the trace is not whole: {reason}"), Vec::new())
            }
        },
        CheckKind::Edge { edge, required } => calls::edge(tree, edge, *required),
        CheckKind::OnlyEdges(allowed) => calls::only(tree, allowed),
        CheckKind::Repeats { selector, max } => {
            let selector = selector.as_ref();
            let selected = selector.map(|selector| selector.select(tree, variables));
            calls::repeats(tree, selected, *max)
        }
        CheckKind::Events {
            selector,
            sequence,
            exact,
            forbid,
            optional,
        } => {
            let selected = selector.select(tree, variables);
            if selected.is_empty() {
                return missing(selector, *optional);
            }
            let rule = timing::EventRule {
                sequence,
                exact: *exact,
                forbid,
            };
            timing::events(tree, &selected, &rule)
        }
        CheckKind::Order {
            relation,
            left,
            right,
            tolerance,
            optional,
        } => {
            let [lefts, rights] = [left, right].map(|selector| selector.select(tree, variables));
            if lefts.is_empty() {
                missing(left, *optional)
            } else if rights.is_empty() {
                missing(right, *optional)
            } else {
                timing::order(tree, *relation, (&lefts, &rights), *tolerance)
            }
        }
        CheckKind::Errors { rule, selector } => {
            errors(*rule, &selector.select(tree, variables), tree)
        }
    }
}

/// Whether an assertion holds of each selected span; one about their number, of all of them together.
fn asserted(
    assertion: &Assertion,
    (tree, selected): (&TraceTree<'_>, Vec<usize>),
    variables: &Variables,
    group: &str,
) -> Outcome {
    let count = selected.len();
    let check = |index: Option<usize>| {
        assertion.check(Scope {
            span: index.and_then(|index| tree.span(index)),
            selected: count,
            variables,
        })
    };
    if selected.is_empty() || !assertion.needs_span() {
        let Some(seen) = check(None) else {
            return Outcome::Holds;
        };
        return Outcome::Fails(Offence {
            text: if selected.is_empty() && assertion.needs_span() {
                format!("no span matches {group}")
            } else {
                format!("{count} spans are selected")
            },
            observed: Some(seen.observed),
            wanted: Some(seen.wanted),
            spans: selected,
        });
    }
    let mut wrong = selected
        .iter()
        .filter_map(|index| Some((*index, check(Some(*index))?)));
    let Some((first, seen)) = wrong.next() else {
        return Outcome::Holds;
    };
    let spans: Vec<usize> = std::iter::once(first)
        .chain(wrong.map(|(index, _)| index))
        .collect();
    Outcome::Fails(Offence {
        text: format!("{} of {count} selected spans fail", spans.len()),
        observed: Some(seen.observed),
        wanted: Some(seen.wanted),
        spans,
    })
}

/// The spans of a selector, all without one.
fn select(selector: Option<&Selector>, tree: &TraceTree<'_>, variables: &Variables) -> Vec<usize> {
    match selector {
        Some(selector) => selector.select(tree, variables),
        None => (0..tree.trace().spans.len()).collect(),
    }
}

fn missing(selector: &Selector, optional: bool) -> Outcome {
    if optional {
        return Outcome::Silent;
    }
    fails(format!("no span matches {}", selector.text), Vec::new())
}

fn fails(text: String, spans: Vec<usize>) -> Outcome {
    Outcome::Fails(Offence {
        spans,
        text,
        observed: None,
        wanted: None,
    })
}

/// What errors of these spans do to the root.
fn errors(rule: ErrorRule, selected: &[usize], tree: &TraceTree<'_>) -> Outcome {
    let failed: Vec<usize> = selected
        .iter()
        .copied()
        .filter(|index| tree.is_failed(*index))
        .collect();
    if failed.is_empty() {
        return match rule {
            ErrorRule::Forbid => Outcome::Holds,
            ErrorRule::Surface | ErrorRule::Contain => Outcome::Silent,
        };
    }
    let root_fails = |index: usize| {
        let top = tree.ancestors(index).last().unwrap_or(index);
        tree.is_failed(top)
    };
    match rule {
        ErrorRule::Forbid => fails(format!("{} spans fail", failed.len()), failed),
        ErrorRule::Surface => {
            let mut swallowed: Vec<usize> = failed
                .into_iter()
                .filter(|index| !root_fails(*index))
                .collect();
            let Some(first) = swallowed.first().copied() else {
                return Outcome::Holds;
            };
            // The nearest one above that knows nothing of it swallowed it.
            let swallower = tree.ancestors(first).find(|above| !tree.is_failed(*above));
            let name = swallower.and_then(|index| tree.span(index));
            let by = name.map_or(String::new(), |span| {
                format!(": {} {} answers well", service_of(span), span.name)
            });
            swallowed.extend(swallower);
            fails(format!("an error does not reach the root{by}"), swallowed)
        }
        ErrorRule::Contain => {
            let is_unbroken =
                |index: &usize| tree.ancestors(*index).all(|above| tree.is_failed(above));
            let surfaced: Vec<usize> = failed.into_iter().filter(is_unbroken).collect();
            if surfaced.is_empty() {
                Outcome::Holds
            } else {
                fails("an error reaches the root".to_owned(), surfaced)
            }
        }
    }
}
