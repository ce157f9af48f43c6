//! What a span did, as steps: its children in groups, those of a group at the same time.

use std::fmt::Write as _;

use crate::model::span::{Outcome, SpanKind};
use crate::model::trace::{AttributeValue, TraceSpan};
use crate::trace::tree::TraceTree;

/// Children that overlap by less than this part of the shorter one follow each other.
const OVERLAP: f64 = 0.05;

/// What a child is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A call to a request of this number; the caller has a span of its own.
    Call(usize),
    /// The same without a span of the caller.
    PlainCall(usize),
    /// A message to a request of this number.
    Publish(usize),
    /// A database statement: system, operation, collection.
    Query(String, String, String),
    /// Anything else with this name.
    Work(String, SpanKind),
}

/// A child with what it did itself.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) kind: Kind,
    pub(super) detached: bool,
    /// The spans: more than one where it is repeated.
    pub(super) spans: Vec<usize>,
    /// Attempts that failed and were followed by another one.
    pub(super) retried: Vec<usize>,
    /// What the first one did, if it is no request of its own.
    pub(super) groups: Vec<Group>,
}

/// Members at the same time.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) members: Vec<Member>,
}

impl Group {
    fn has(&self, tree: &TraceTree<'_>, child: &TraceSpan) -> bool {
        self.spans()
            .filter_map(|index| tree.span(index))
            .any(|own| overlap(own, child))
    }

    pub(super) fn spans(&self) -> impl Iterator<Item = usize> + '_ {
        self.members
            .iter()
            .flat_map(|member| member.retried.iter().chain(&member.spans))
            .copied()
    }
}

/// Two spans that really run at the same time.
fn overlap(a: &TraceSpan, b: &TraceSpan) -> bool {
    let shared = a.end.min(b.end).saturating_sub(a.start.max(b.start));
    let shorter = a.duration_nanos().min(b.duration_nanos());
    shared as f64 > OVERLAP * shorter as f64 && shared > 0
}

/// What a span did. `request_of` numbers the requests that children are, or answer.
pub(super) fn groups_of(
    tree: &TraceTree<'_>,
    index: usize,
    request_of: &impl Fn(usize) -> Option<usize>,
    depth: usize,
) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for child in tree.children(index) {
        let Some(span) = tree.span(*child) else {
            continue;
        };
        let member = member_of(tree, *child, span, request_of, depth);
        let joined = groups
            .last_mut()
            .filter(|last| !member.detached && last.has(tree, span));
        match joined {
            Some(last) => last.add(member),
            None => push_group(tree, &mut groups, member),
        }
    }
    for group in &mut groups {
        group.members.sort_by(|a, b| a.kind.cmp(&b.kind));
    }
    groups
}

/// A group of its own, unless it repeats what was done just before.
fn push_group(tree: &TraceTree<'_>, groups: &mut Vec<Group>, member: Member) {
    if let Some(Group { members }) = groups.last_mut()
        && let [last] = members.as_mut_slice()
        && last.kind == member.kind
        && last.detached == member.detached
        && last.groups.len() == member.groups.len()
    {
        let newest = last.spans.last().copied();
        let has_failed = newest.and_then(|own| tree.span(own));
        if has_failed.is_some_and(|own| own.outcome == Outcome::Error) {
            last.retried.extend(last.spans.pop());
        }
        last.spans.extend(member.spans);
        return;
    }
    groups.push(Group {
        members: vec![member],
    });
}

impl Group {
    fn add(&mut self, member: Member) {
        let same = self
            .members
            .iter_mut()
            .find(|own| own.kind == member.kind && own.groups.len() == member.groups.len());
        match same {
            Some(own) => own.spans.extend(member.spans),
            None => self.members.push(member),
        }
    }
}

fn member_of(
    tree: &TraceTree<'_>,
    index: usize,
    span: &TraceSpan,
    request_of: &impl Fn(usize) -> Option<usize>,
    depth: usize,
) -> Member {
    let answers = tree.children(index).iter().find_map(|child| {
        let own = tree.span(*child)?;
        let is_pair = matches!(
            (span.kind, own.kind),
            (SpanKind::Client, SpanKind::Server) | (SpanKind::Producer, SpanKind::Consumer)
        );
        is_pair.then(|| request_of(*child)).flatten()
    });
    let kind = match (request_of(index), answers, span.kind) {
        (Some(request), _, _) => Kind::PlainCall(request),
        (None, Some(request), SpanKind::Producer) => Kind::Publish(request),
        (None, Some(request), _) => Kind::Call(request),
        (None, None, _) => local_kind(span),
    };
    let is_local = matches!(kind, Kind::Work(..));
    Member {
        detached: !tree.is_waited_for(index),
        spans: vec![index],
        retried: Vec::new(),
        groups: if is_local && depth < 16 {
            groups_of(tree, index, request_of, depth + 1)
        } else {
            Vec::new()
        },
        kind,
    }
}

fn local_kind(span: &TraceSpan) -> Kind {
    let said = |keys: [&str; 2]| {
        let mut found = keys.iter().filter_map(|key| text_of(span, key));
        found.next().unwrap_or_default()
    };
    let system = said(["db.system.name", "db.system"]);
    if system.is_empty() {
        return Kind::Work(span.operation.to_string(), span.kind);
    }
    let operation = said(["db.operation.name", "db.operation"]);
    if operation.is_empty() {
        return Kind::Query(system, span.operation.to_string(), String::new());
    }
    let collection = said(["db.collection.name", "db.sql.table"]);
    Kind::Query(system, operation, collection)
}

/// An attribute of text.
pub(super) fn text_of(span: &TraceSpan, key: &str) -> Option<String> {
    match span.attribute(key)? {
        AttributeValue::Text(text) => Some(text.to_string()),
        AttributeValue::Int(number) => Some(number.to_string()),
        AttributeValue::Bool(_)
        | AttributeValue::Float(_)
        | AttributeValue::List(_)
        | AttributeValue::Map(_) => None,
    }
}

/// The same shape has the same text.
pub(super) fn signature(groups: &[Group]) -> String {
    let mut text = String::new();
    for group in groups {
        text.push('[');
        for member in &group.members {
            let mark = if member.detached { "~" } else { "" };
            let inner = signature(&member.groups);
            // Writing to a text cannot fail.
            write!(text, "{mark}{:?}({inner})|", member.kind).unwrap_or_default();
        }
        text.push(']');
    }
    text
}
