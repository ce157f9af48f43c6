//! Sent messages, remembered for those who take them in other traces.

use std::collections::{HashMap, VecDeque};

use xxhash_rust::xxh3::Xxh3Default;

use crate::model::topology::NodeRef;

/// Sent messages by their spans, for consumers that link to them from another trace. The oldest ones go.
#[derive(Debug)]
pub(super) struct Sent {
    most: usize,
    by_span: HashMap<u128, (NodeRef, Option<NodeRef>)>,
    order: VecDeque<u128>,
    /// Links that lead to no span that is remembered.
    pub(super) unresolved: u64,
}

impl Sent {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            by_span: HashMap::new(),
            order: VecDeque::new(),
            unresolved: 0,
        }
    }

    /// Remembers who sent a message in this trace by this span, and where to, if that is said.
    pub(super) fn remember(
        &mut self,
        (trace, span): (&str, &str),
        sender: NodeRef,
        to: Option<NodeRef>,
    ) {
        let id = id_of(trace, span);
        if self.by_span.insert(id, (sender, to)).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > self.most {
            if let Some(oldest) = self.order.pop_front() {
                self.by_span.remove(&oldest);
            }
        }
    }

    /// Who sent the message of a span, and where to.
    pub(super) fn sender(&self, trace: &str, span: &str) -> Option<&(NodeRef, Option<NodeRef>)> {
        self.by_span.get(&id_of(trace, span))
    }
}

fn id_of(trace: &str, span: &str) -> u128 {
    let mut hash = Xxh3Default::new();
    hash.update(trace.as_bytes());
    hash.update(&[0]);
    hash.update(span.as_bytes());
    hash.digest128()
}
