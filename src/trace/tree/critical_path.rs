//! The critical path: of each moment of a trace, the span that its end waited for.
//!
//! The walk goes back from the root's end, as CRISP does (Zhang et al., USENIX ATC 2022): the child that ends last before
//! the cursor is what the parent waited for; the gap belongs to the parent; the cursor moves to where that child began.

use crate::model::UnixNanos;
use crate::trace::tree::TraceTree;

/// A piece of the critical path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The span that was waited for.
    pub span: usize,
    /// From here.
    pub start: UnixNanos,
    /// To here, later than `start`.
    pub end: UnixNanos,
}

impl Segment {
    /// How long it is.
    pub fn nanos(self) -> u64 {
        self.end - self.start
    }
}

/// A span on the way.
struct Step {
    span: usize,
    /// No piece of it begins before.
    from: UnixNanos,
    /// What lies behind belongs to somebody already.
    cursor: UnixNanos,
    /// Children that the span waited for, the last to end at the end of the list.
    waiting: Vec<(UnixNanos, usize)>,
}

impl TraceTree<'_> {
    /// The critical path of a span by time: pieces that touch each other and fill it from its start to its end. Pieces
    /// of one span may stand apart.
    pub fn critical_path(&self, of: usize) -> Vec<Segment> {
        let mut path = Vec::new();
        let Some(span) = self.span(of) else {
            return path;
        };
        let mut open = vec![self.step(of, span.start, span.end)];
        while let Some(step) = open.last_mut() {
            let index = step.span;
            let next = loop {
                let Some((_, child)) = step.waiting.pop() else {
                    break None;
                };
                let (start, end) = self.within(child, step.from, step.end_of_parent(self));
                if end <= step.cursor && start < end {
                    break Some((child, start, end));
                }
            };
            match next {
                Some((child, start, end)) => {
                    push(&mut path, index, end, step.cursor);
                    step.cursor = start;
                    let below = self.step(child, start, end);
                    open.push(below);
                }
                None => {
                    push(&mut path, index, step.from, step.cursor);
                    open.pop();
                }
            }
        }
        path.reverse();
        path
    }

    fn step(&self, span: usize, from: UnixNanos, cursor: UnixNanos) -> Step {
        let children = self.children(span).iter().copied();
        let waited_for = children.filter(|child| self.is_waited_for(*child));
        let mut waiting: Vec<(UnixNanos, usize)> = waited_for
            .filter_map(|child| Some((self.span(child)?.end, child)))
            .collect();
        waiting.sort_unstable();
        Step {
            span,
            from,
            cursor,
            waiting,
        }
    }
}

impl Step {
    /// An answer may seem to end after its call, by two clocks.
    fn end_of_parent(&self, tree: &TraceTree<'_>) -> UnixNanos {
        tree.span(self.span).map_or(self.cursor, |span| span.end)
    }
}

fn push(path: &mut Vec<Segment>, span: usize, start: UnixNanos, end: UnixNanos) {
    if start < end {
        path.push(Segment { span, start, end });
    }
}
