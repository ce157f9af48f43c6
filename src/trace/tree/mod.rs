//! The tree of a trace: who called whom, what each span did itself, and what the whole waited for.
//!
//! Spans are named by their index in [`Trace::spans`]. Whatever a trace holds (parents that are not there, parents in a
//! circle, ids that stand twice, a hundred thousand spans below each other), it becomes a forest in which each span has
//! one place; what was wrong can be asked for. No walk recurses.

mod calls;
mod critical_path;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::Range;

use crate::model::UnixNanos;
use crate::model::span::SpanKind;
use crate::model::trace::{Trace, TraceSpan};
pub use crate::trace::tree::calls::Call;
pub use crate::trace::tree::critical_path::Segment;

/// A forest over the spans of a trace.
#[derive(Clone, Debug)]
pub struct TraceTree<'a> {
    trace: &'a Trace,
    parents: Vec<Option<usize>>,
    /// The children of all spans, those of one span side by side.
    children: Vec<usize>,
    /// Where in `children` those of each span stand.
    ranges: Vec<Range<usize>>,
    tops: Vec<usize>,
    orphans: Vec<usize>,
    circles: Vec<usize>,
    duplicates: Vec<usize>,
}

impl<'a> TraceTree<'a> {
    /// The forest of a trace.
    pub fn new(trace: &'a Trace) -> Self {
        let spans = trace.spans.as_slice();
        let mut by_id: HashMap<&str, Vec<usize>> = HashMap::with_capacity(spans.len());
        let mut duplicates = Vec::new();
        for (index, span) in spans.iter().enumerate() {
            let same = by_id.entry(&*span.span_id).or_default();
            if !same.is_empty() {
                duplicates.push(index);
            }
            same.push(index);
        }
        let mut orphans = Vec::new();
        let mut parents = Vec::with_capacity(spans.len());
        for (index, span) in spans.iter().enumerate() {
            let parent = span.parent_span_id.as_deref().and_then(|id| {
                let same = by_id.get(id).map(Vec::as_slice);
                choose_parent(spans, index, same.unwrap_or_default())
            });
            if parent.is_none() && span.parent_span_id.is_some() {
                orphans.push(index);
            }
            parents.push(parent);
        }
        let circles = break_circles(&mut parents);
        let (children, ranges) = children_of(spans, &parents);
        let is_top = |index: &usize| parents.get(*index).is_some_and(Option::is_none);
        Self {
            trace,
            tops: (0..spans.len()).filter(is_top).collect(),
            parents,
            children,
            ranges,
            orphans,
            circles,
            duplicates,
        }
    }

    /// The trace.
    pub fn trace(&self) -> &'a Trace {
        self.trace
    }

    /// A span.
    pub fn span(&self, index: usize) -> Option<&'a TraceSpan> {
        self.trace.spans.get(index)
    }

    /// Its parent, if there is one and it is there.
    pub fn parent(&self, index: usize) -> Option<usize> {
        self.parents.get(index).copied().flatten()
    }

    /// Its children by their start.
    pub fn children(&self, index: usize) -> &[usize] {
        let range = self.ranges.get(index).cloned().unwrap_or_default();
        self.children.get(range).unwrap_or_default()
    }

    /// The spans that have no place below another one: roots, orphans, and one of each circle.
    pub fn tops(&self) -> &[usize] {
        &self.tops
    }

    /// The spans that name no parent.
    pub fn roots(&self) -> impl Iterator<Item = usize> {
        let is_root = |index: &usize| {
            self.span(*index)
                .is_some_and(|span| span.parent_span_id.is_none())
        };
        self.tops.iter().copied().filter(is_root)
    }

    /// The span that the trace is about: the first root, else the first of the tops. `None` for a trace without spans.
    pub fn root(&self) -> Option<usize> {
        self.roots().next().or_else(|| self.tops.first().copied())
    }

    /// The spans whose parent is not there.
    pub fn orphans(&self) -> &[usize] {
        &self.orphans
    }

    /// One span of each circle of parents, the first of it, which stands on top.
    pub fn circles(&self) -> &[usize] {
        &self.circles
    }

    /// The spans whose id another span before them has already.
    pub fn duplicates(&self) -> &[usize] {
        &self.duplicates
    }

    /// All spans with their depth, parents before their children.
    pub fn depth_first(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let mut open: Vec<(usize, usize)> = self.tops.iter().rev().map(|top| (*top, 0)).collect();
        std::iter::from_fn(move || {
            let (index, depth) = open.pop()?;
            let children = self.children(index).iter().rev();
            open.extend(children.map(|child| (*child, depth + 1)));
            Some((index, depth))
        })
    }

    /// Its parent, that one's parent, and so on.
    pub fn ancestors(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(self.parent(index), |index| self.parent(*index))
    }

    /// A span and all below it, parents before their children.
    pub fn subtree(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        let mut open = vec![index];
        std::iter::from_fn(move || {
            let index = open.pop()?;
            open.extend(self.children(index).iter().rev());
            Some(index)
        })
    }

    /// Whether a span is a synchronous part of its parent's work: no message between them, and it begins before the
    /// parent is over.
    pub fn is_synchronous(&self, child: usize) -> bool {
        let parent = self.parent(child).and_then(|parent| self.span(parent));
        let (Some(parent), Some(child)) = (parent, self.span(child)) else {
            return false;
        };
        let is_message = parent.kind == SpanKind::Producer || child.kind == SpanKind::Consumer;
        // What takes no time may begin at the very end.
        let begins_within = child.start < parent.end || child.end <= parent.end;
        !is_message && begins_within
    }

    /// Whether the parent's end waits for a span: synchronous work that is over before the parent is. The answer to a
    /// call is waited for even where the two clocks say otherwise.
    pub fn is_waited_for(&self, child: usize) -> bool {
        let parent = self.parent(child).and_then(|parent| self.span(parent));
        let (Some(parent), Some(span)) = (parent, self.span(child)) else {
            return false;
        };
        let is_answer = parent.kind == SpanKind::Client && span.kind == SpanKind::Server;
        self.is_synchronous(child) && (is_answer || span.end <= parent.end)
    }

    /// What a span took itself, in nanoseconds: its duration without the time in which synchronous children ran.
    pub fn self_nanos(&self, index: usize) -> u64 {
        let Some(span) = self.span(index) else {
            return 0;
        };
        let mut covered = 0;
        // Children are sorted by their start: one pass makes the union.
        let mut until = span.start;
        for child in self.children(index) {
            if !self.is_synchronous(*child) {
                continue;
            }
            let (start, end) = self.within(*child, until, span.end);
            covered += end - start;
            until = until.max(end);
        }
        span.duration_nanos() - covered
    }

    /// The part of a span between two times; empty, at `from` or later, if there is none.
    fn within(&self, index: usize, from: UnixNanos, to: UnixNanos) -> (UnixNanos, UnixNanos) {
        self.span(index).map_or((from, from), |span| {
            let start = span.start.max(from);
            (start, span.end.min(to).max(start))
        })
    }
}

/// The span that is meant, of those that have the parent's id. Zipkin gives both halves of a call one id: the server's
/// half stands below the client's, and what follows below the half of its own service.
fn choose_parent(spans: &[TraceSpan], child: usize, same: &[usize]) -> Option<usize> {
    let others = || same.iter().copied().filter(|other| *other != child);
    let span = spans.get(child)?;
    let fits = |other: &usize| {
        spans.get(*other).is_some_and(|parent| match span.kind {
            SpanKind::Server => parent.kind == SpanKind::Client,
            SpanKind::Consumer => parent.kind == SpanKind::Producer,
            SpanKind::Unspecified | SpanKind::Internal | SpanKind::Client | SpanKind::Producer => {
                parent.resource.service == span.resource.service
            }
        })
    };
    others().find(fits).or_else(|| others().next())
}

/// Takes its parent from the first span of each circle, and gives those.
fn break_circles(parents: &mut [Option<usize>]) -> Vec<usize> {
    let mut circles = Vec::new();
    // The walk that came by, so that one's own trail is told from an older one.
    let mut seen_by = vec![usize::MAX; parents.len()];
    for walk in 0..parents.len() {
        let mut index = walk;
        loop {
            match seen_by.get_mut(index) {
                Some(seen) if *seen == usize::MAX => *seen = walk,
                Some(seen) if *seen == walk => {
                    let first = first_of_circle(parents, index);
                    if let Some(parent) = parents.get_mut(first) {
                        *parent = None;
                    }
                    circles.push(first);
                    break;
                }
                Some(_) | None => break,
            }
            match parents.get(index).copied().flatten() {
                Some(parent) => index = parent,
                None => break,
            }
        }
    }
    circles
}

/// The least index of the circle that a span is in.
fn first_of_circle(parents: &[Option<usize>], member: usize) -> usize {
    let next = |index: &usize| {
        let parent = parents.get(*index).copied().flatten();
        parent.filter(|parent| *parent != member)
    };
    std::iter::successors(Some(member), next)
        .min()
        .unwrap_or(member)
}

/// The children of all spans by parent and start, and where those of each span stand.
fn children_of(spans: &[TraceSpan], parents: &[Option<usize>]) -> (Vec<usize>, Vec<Range<usize>>) {
    let mut placed: Vec<(usize, UnixNanos, usize)> = parents
        .iter()
        .zip(spans)
        .enumerate()
        .filter_map(|(index, (parent, span))| Some(((*parent)?, span.start, index)))
        .collect();
    placed.sort_unstable();
    let mut ranges = vec![0..0; parents.len()];
    let mut begin = 0;
    for family in placed.chunk_by(|left, right| left.0 == right.0) {
        let end = begin + family.len();
        let parent = family.first().and_then(|first| ranges.get_mut(first.0));
        if let Some(range) = parent {
            *range = begin..end;
        }
        begin = end;
    }
    let children = placed.into_iter().map(|(_, _, index)| index);
    (children.collect(), ranges)
}
