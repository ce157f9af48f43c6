//! What traces have in common, by their root operation.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::UnixNanos;
use crate::model::span::SpanKind;
use crate::model::trace::{Completeness, Trace, TraceSpan};
use crate::trace::tree::TraceTree;
use crate::tracetest::judge::{calls_of, most_repeats};
use crate::tracetest::language::service_of;

/// Spans of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SpanGroup {
    pub(super) service: String,
    /// Templated where names hold values.
    pub(super) operation: String,
    pub(super) kind: SpanKind,
}

/// A group that every trace has, with its lowest and highest number.
pub(super) type Stable = (SpanGroup, u64, u64);

/// A group that some traces have, with its highest number and the traces that have it.
pub(super) type Seldom = (SpanGroup, u64, usize);

/// What was seen of a root operation.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) root: SpanGroup,
    /// Whether every span of the operation has it as its name.
    pub(super) is_name: bool,
    /// All its traces.
    pub(super) traces: usize,
    /// Those whose root failed.
    pub(super) failed: usize,
    /// Those whose root was answered well.
    pub(super) answered: Vec<Answered>,
    /// What errors at a place did: the place, how many, and how many of them reached the root.
    pub(super) errors: BTreeMap<SpanGroup, (u64, u64)>,
    /// Calls of any trace.
    pub(super) edges: BTreeSet<(String, String)>,
    pub(super) first: UnixNanos,
    pub(super) last: UnixNanos,
}

/// A trace whose root was answered well.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    /// How many spans of each group.
    pub(super) counts: BTreeMap<SpanGroup, u64>,
    /// The longest span of each group of entry spans, in nanoseconds.
    pub(super) longest: BTreeMap<SpanGroup, u64>,
    pub(super) edges: BTreeSet<(String, String)>,
    /// The most alike calls of one parent.
    pub(super) repeats: u64,
    /// The longest time in which nothing ended.
    pub(super) gap: u64,
}

impl SpanGroup {
    fn of(span: &TraceSpan) -> Self {
        Self {
            service: service_of(span).to_owned(),
            operation: span.operation.to_string(),
            kind: span.kind,
        }
    }

    /// Whether it is the entry of a service.
    pub(super) fn is_entry(&self) -> bool {
        matches!(self.kind, SpanKind::Server | SpanKind::Consumer)
    }
}

impl Operation {
    /// For people.
    pub(super) fn label(&self) -> String {
        format!("{} of {}", self.root.operation, self.root.service)
    }

    /// The groups that every answered trace has, each with its lowest and highest number; and those that some have.
    pub(super) fn groups(&self) -> (Vec<Stable>, Vec<Seldom>) {
        let mut seen: BTreeMap<&SpanGroup, (u64, u64, usize)> = BTreeMap::new();
        for trace in &self.answered {
            for (group, count) in &trace.counts {
                let entry = seen.entry(group).or_insert((u64::MAX, 0, 0));
                entry.0 = entry.0.min(*count);
                entry.1 = entry.1.max(*count);
                entry.2 += 1;
            }
        }
        let (mut always, mut sometimes) = (Vec::new(), Vec::new());
        for (group, (least, most, traces)) in seen {
            if traces == self.answered.len() {
                always.push((group.clone(), least, most));
            } else {
                sometimes.push((group.clone(), most, traces));
            }
        }
        (always, sometimes)
    }

    /// Calls that every answered trace has.
    pub(super) fn stable_edges(&self) -> BTreeSet<(String, String)> {
        let mut traces = self.answered.iter();
        let Some(first) = traces.next() else {
            return BTreeSet::new();
        };
        traces.fold(first.edges.clone(), |stable, trace| {
            stable.intersection(&trace.edges).cloned().collect()
        })
    }

    /// Durations of the longest span of a group in each answered trace that has one.
    pub(super) fn durations(&self, group: &SpanGroup) -> Vec<u64> {
        let traces = self.answered.iter();
        traces
            .filter_map(|trace| trace.longest.get(group).copied())
            .collect()
    }
}

/// The root operations, the busiest first, and the number of traces that are not whole.
pub(super) fn operations(traces: &[Trace]) -> (Vec<Operation>, usize) {
    let mut found: BTreeMap<SpanGroup, Operation> = BTreeMap::new();
    let mut incomplete = 0;
    for trace in traces {
        let tree = TraceTree::new(trace);
        let root = tree.root().and_then(|root| Some((root, tree.span(root)?)));
        let Some((index, root)) = root.filter(|_| trace.completeness == Completeness::Complete)
        else {
            incomplete += 1;
            continue;
        };
        let group = SpanGroup::of(root);
        let operation = found.entry(group.clone()).or_insert_with(|| Operation {
            root: group,
            is_name: true,
            traces: 0,
            failed: 0,
            answered: Vec::new(),
            errors: BTreeMap::new(),
            edges: BTreeSet::new(),
            first: UnixNanos::MAX,
            last: 0,
        });
        operation.add(&tree, index, root);
    }
    let mut operations: Vec<Operation> = found.into_values().collect();
    operations.sort_by_key(|operation| std::cmp::Reverse(operation.traces));
    (operations, incomplete)
}

impl Operation {
    fn add(&mut self, tree: &TraceTree<'_>, index: usize, root: &TraceSpan) {
        self.traces += 1;
        self.is_name &= root.name == root.operation;
        self.first = self.first.min(root.start);
        self.last = self.last.max(root.end);
        let edges: BTreeSet<(String, String)> = calls_of(tree)
            .into_iter()
            .map(|call| (call.from, call.to))
            .collect();
        self.edges.extend(edges.iter().cloned());
        let root_fails = tree.is_failed(index);
        for (at, span) in tree.trace().spans.iter().enumerate() {
            let group = SpanGroup::of(span);
            if at != index && group.is_entry() && tree.is_failed(at) {
                let errors = self.errors.entry(group).or_default();
                errors.0 += 1;
                errors.1 += u64::from(root_fails);
            }
        }
        if root_fails {
            self.failed += 1;
            return;
        }
        let mut answered = Answered {
            counts: BTreeMap::new(),
            longest: BTreeMap::new(),
            edges,
            repeats: most_repeats(tree),
            gap: gap(tree),
        };
        for span in &tree.trace().spans {
            let group = SpanGroup::of(span);
            if group.is_entry() || group == self.root {
                let longest = answered.longest.entry(group.clone()).or_default();
                *longest = (*longest).max(span.duration_nanos());
            }
            *answered.counts.entry(group).or_default() += 1;
        }
        self.answered.push(answered);
    }
}

/// The longest time between two ends of spans.
fn gap(tree: &TraceTree<'_>) -> u64 {
    let mut ends: Vec<UnixNanos> = tree.trace().spans.iter().map(|span| span.end).collect();
    ends.sort_unstable();
    let pairs = ends.iter().zip(ends.iter().skip(1));
    pairs
        .map(|(before, after)| after - before)
        .max()
        .unwrap_or(0)
}
