//! A trace with its family ties, as tests look at it.

use std::collections::BTreeMap;

use crate::model::trace::{Trace, TraceSpan};

/// A trace whose parents and children are known. Spans are named by their index.
#[derive(Clone, Debug)]
pub struct TestedTrace<'a> {
    /// The trace.
    pub trace: &'a Trace,
    parents: Vec<Option<usize>>,
    children: Vec<Vec<usize>>,
}

impl<'a> TestedTrace<'a> {
    /// Finds the parents.
    pub fn new(trace: &'a Trace) -> Self {
        let by_id: BTreeMap<&str, usize> = trace
            .spans
            .iter()
            .enumerate()
            .map(|(index, span)| (&*span.span_id, index))
            .collect();
        let mut parents = Vec::with_capacity(trace.spans.len());
        let mut children = vec![Vec::new(); trace.spans.len()];
        for (index, span) in trace.spans.iter().enumerate() {
            let parent = span.parent_span_id.as_deref();
            let parent = parent.and_then(|id| by_id.get(id).copied());
            let parent = parent.filter(|parent| *parent != index);
            if let Some(siblings) = parent.and_then(|parent| children.get_mut(parent)) {
                siblings.push(index);
            }
            parents.push(parent);
        }
        Self {
            trace,
            parents,
            children,
        }
    }

    /// The spans with their indices, by their starts.
    pub fn spans(&self) -> impl Iterator<Item = (usize, &'a TraceSpan)> {
        self.trace.spans.iter().enumerate()
    }

    /// A span.
    pub fn span(&self, index: usize) -> Option<&'a TraceSpan> {
        self.trace.spans.get(index)
    }

    /// The parent of a span, if it is there.
    pub fn parent(&self, index: usize) -> Option<usize> {
        self.parents.get(index).copied().flatten()
    }

    /// The children of a span, by their starts.
    pub fn children(&self, index: usize) -> &[usize] {
        self.children.get(index).map_or(&[], Vec::as_slice)
    }

    /// From the parent of a span to its root. Broken traces hold circles: no more steps than there are spans.
    pub fn ancestors(&self, index: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(self.parent(index), |at| self.parent(*at))
            .take(self.trace.spans.len())
    }

    /// Spans whose parent is not there.
    pub fn roots(&self) -> impl Iterator<Item = usize> {
        let parents = self.parents.iter().enumerate();
        parents.filter_map(|(index, parent)| parent.is_none().then_some(index))
    }
}
