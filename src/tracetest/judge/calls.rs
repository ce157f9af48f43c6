//! Calls between services and to what they depend on, and calls that repeat.

use std::collections::BTreeMap;

use wildmatch::WildMatch;

use super::{Offence, Outcome, fails};
use crate::model::span::SpanKind;
use crate::model::trace::TraceSpan;
use crate::trace::tree::TraceTree;
use crate::tracetest::language::{service_of, value_of};
use crate::tracetest::suite::EdgePattern;

/// What names a dependency that reports no spans, the most telling first.
const PEERS: [&str; 5] = [
    "peer.service",
    "db.system.name",
    "messaging.system",
    "rpc.service",
    "server.address",
];

/// What makes two calls of one parent alike: what is asked for, without the values of it.
const ALIKE: [&str; 8] = [
    "db.query.summary",
    "db.query.text",
    "db.operation.name",
    "db.collection.name",
    "rpc.service",
    "rpc.method",
    "http.request.method",
    "messaging.destination.name",
];

/// A call from a service to another one, or to a dependency that reports no spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    /// The caller's service.
    pub from: String,
    /// The callee's service, or what its dependency is called: `postgresql`.
    pub to: String,
    /// The spans of it.
    pub spans: Vec<usize>,
}

/// All calls of a trace, once for each caller and callee.
pub fn calls_of(tree: &TraceTree<'_>) -> Vec<Called> {
    let mut found: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
    for call in tree.calls() {
        let (Some(from), Some(to)) = (tree.span(call.caller), tree.span(call.callee)) else {
            continue;
        };
        let (from, to) = (service_of(from), service_of(to));
        if from != to {
            let spans = found.entry((from.to_owned(), to.to_owned())).or_default();
            spans.extend([call.caller, call.callee]);
        }
    }
    for (index, span) in tree.trace().spans.iter().enumerate() {
        let is_call = matches!(span.kind, SpanKind::Client | SpanKind::Producer);
        if is_call
            && tree.children(index).is_empty()
            && let Some(peer) = peer_of(span)
        {
            let key = (service_of(span).to_owned(), peer);
            found.entry(key).or_default().push(index);
        }
    }
    let calls = found.into_iter();
    calls
        .map(|((from, to), spans)| Called { from, to, spans })
        .collect()
}

fn peer_of(span: &TraceSpan) -> Option<String> {
    let mut keys = PEERS.iter();
    keys.find_map(|key| value_of(span, key).map(|value| value.to_string()))
}

impl EdgePattern {
    fn matches(&self, call: &Called) -> bool {
        WildMatch::new(&self.from).matches(&call.from) && WildMatch::new(&self.to).matches(&call.to)
    }
}

pub(super) fn edge(tree: &TraceTree<'_>, edge: &EdgePattern, required: bool) -> Outcome {
    let calls = calls_of(tree);
    let found = calls.iter().find(|call| edge.matches(call));
    match (found, required) {
        (Some(_), true) | (None, false) => Outcome::Holds,
        (Some(call), false) => fails(
            format!("{} calls {}", call.from, call.to),
            call.spans.clone(),
        ),
        (None, true) => {
            let from = WildMatch::new(&edge.from);
            let callers = tree.trace().spans.iter().enumerate();
            let callers = callers.filter(|(_, span)| from.matches(service_of(span)));
            let spans: Vec<usize> = callers.map(|(index, _)| index).take(1).collect();
            let others = calls.iter().filter(|call| from.matches(&call.from));
            let others: Vec<&str> = others.map(|call| call.to.as_str()).collect();
            Outcome::Fails(Offence {
                text: if spans.is_empty() {
                    format!("{} has no spans in this trace", edge.from)
                } else {
                    format!("{} does not call {}", edge.from, edge.to)
                },
                observed: (!spans.is_empty()).then(|| match others.as_slice() {
                    [] => "no calls".to_owned(),
                    others => format!("calls to {}", others.join(", ")),
                }),
                wanted: Some(format!("a call to {}", edge.to)),
                spans,
            })
        }
    }
}

pub(super) fn only(tree: &TraceTree<'_>, allowed: &[EdgePattern]) -> Outcome {
    let calls = calls_of(tree);
    let is_new = |call: &&Called| !allowed.iter().any(|edge| edge.matches(call));
    match calls.iter().find(is_new) {
        None => Outcome::Holds,
        Some(call) => fails(
            format!("{} calls {}, which is not in the list", call.from, call.to),
            call.spans.clone(),
        ),
    }
}

/// The selected spans, or all calls without a selection, by parent and by what they ask for.
pub(super) fn repeats(tree: &TraceTree<'_>, selected: Option<Vec<usize>>, max: u64) -> Outcome {
    let worst = most_alike(tree, selected);
    let Some((parent, spans)) = worst.filter(|(_, spans)| spans.len() as u64 > max) else {
        return Outcome::Holds;
    };
    let first = spans.first().and_then(|index| tree.span(*index));
    let name = first.map_or("", |span| &span.name);
    let by = parent.and_then(|parent| tree.span(parent));
    let by = by.map_or("one parent".to_owned(), |span| {
        format!("{} {}", service_of(span), span.name)
    });
    Outcome::Fails(Offence {
        text: format!("`{name}` is called {} times by {by}", spans.len()),
        observed: Some(format!("{} alike calls", spans.len())),
        wanted: Some(format!("<= {max}")),
        spans,
    })
}

/// The most calls of one parent that ask for the same.
fn most_alike(
    tree: &TraceTree<'_>,
    selected: Option<Vec<usize>>,
) -> Option<(Option<usize>, Vec<usize>)> {
    let selected = selected.unwrap_or_else(|| {
        let spans = tree.trace().spans.iter().enumerate();
        let is_call = |span: &TraceSpan| matches!(span.kind, SpanKind::Client | SpanKind::Producer);
        let calls = spans.filter(|(_, span)| is_call(span));
        calls.map(|(index, _)| index).collect()
    });
    let mut groups: BTreeMap<(Option<usize>, String), Vec<usize>> = BTreeMap::new();
    for index in selected {
        if let Some(span) = tree.span(index) {
            let key = (tree.parent(index), likeness(span));
            groups.entry(key).or_default().push(index);
        }
    }
    let worst = groups.into_iter().max_by_key(|(_, spans)| spans.len());
    worst.map(|((parent, _), spans)| (parent, spans))
}

/// How many alike calls one parent makes at most.
pub(crate) fn most_repeats(tree: &TraceTree<'_>) -> u64 {
    most_alike(tree, None).map_or(0, |(_, spans)| spans.len() as u64)
}

/// The same for two spans that ask for the same: values in statements do not count.
fn likeness(span: &TraceSpan) -> String {
    let mut parts = vec![service_of(span).to_owned(), span.operation.to_string()];
    for key in ALIKE {
        parts.extend(value_of(span, key).map(|value| without_values(&value.to_string())));
    }
    parts.join("\n")
}

/// Digits and quoted texts become `?`, lists of them one.
fn without_values(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let (mut quoted, mut before) = (false, ' ');
    for character in text.chars() {
        if character == '\'' {
            quoted = !quoted;
        }
        let is_number = character.is_ascii_digit() && !before.is_alphabetic();
        let is_value = quoted || character == '\'' || is_number;
        if !is_value {
            plain.push(character);
        } else if !plain.ends_with('?') {
            plain.push('?');
        }
        if !is_number {
            before = character;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_alike_whatever_their_values() {
        let plain = without_values("SELECT * FROM t2 WHERE id = 4711 AND name = 'o''hara'");
        assert_eq!(plain, "SELECT * FROM t2 WHERE id = ? AND name = ?");
    }
}
