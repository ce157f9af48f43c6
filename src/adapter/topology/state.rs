//! What is remembered of traces: nodes, edges and names, within bounds.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::adapter::topology::observe::{Seen, SeenCall, SeenRequest, observe};
use crate::adapter::topology::sent::Sent;
use crate::adapter::topology::tally::{Facts, Slots, Tally};
use crate::model::UnixNanos;
use crate::model::topology::{EdgeKind, KnownEdge, KnownEdges, NodeKind, NodeRef};
use crate::model::trace::Trace;
use crate::trace::tree::TraceTree;

/// An edge by its ends and its protocol.
pub(super) type EdgeRef = (NodeRef, NodeRef, EdgeKind);

/// What is held at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) max_nodes: usize,
    pub(super) max_edges: usize,
    pub(super) max_linked_spans: usize,
    /// Nanoseconds that are counted; none counts all.
    pub(super) window: Option<u64>,
    /// Nanoseconds of today, and of yesterday.
    pub(super) baseline: u64,
}

/// A node with what was seen of it.
#[derive(Clone, Debug)]
pub(super) struct NodeState {
    pub(super) requests: Tally,
    pub(super) technology: Arc<str>,
    last_seen: UnixNanos,
}

/// All that is remembered.
#[derive(Debug)]
pub(super) struct State {
    pub(super) bounds: Bounds,
    pub(super) slots: Slots,
    pub(super) nodes: BTreeMap<NodeRef, NodeState>,
    pub(super) edges: BTreeMap<EdgeRef, Tally>,
    /// Who answers to a name in an environment; none where several do.
    pub(super) aliases: BTreeMap<(Arc<str>, Arc<str>), Option<NodeRef>>,
    sent: Sent,
    /// Since when edges are remembered, if since before the start.
    pub(super) known_since: Option<UnixNanos>,
    /// End of the first call, and start of the first span.
    pub(super) first_end: Option<UnixNanos>,
    pub(super) first_start: UnixNanos,
    pub(super) last_end: UnixNanos,
    /// All traces; those that may not be counted are its failed ones.
    pub(super) traces: Tally,
    pub(super) refused_calls: u64,
}

impl State {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            slots: Slots::new(bounds.window),
            nodes: BTreeMap::new(),
            edges: BTreeMap::new(),
            aliases: BTreeMap::new(),
            sent: Sent::new(bounds.max_linked_spans),
            known_since: None,
            first_end: None,
            first_start: UnixNanos::MAX,
            last_end: 0,
            traces: Tally::new(),
            refused_calls: 0,
        }
    }

    /// Links of consumers to spans that are not remembered.
    pub(super) fn unresolved_links(&self) -> u64 {
        self.sent.unresolved
    }

    /// Takes what was remembered before a restart: that there are such edges, without numbers. Of more than the bound has place
    /// for, those that were seen last.
    pub(super) fn restore(&mut self, known: KnownEdges) {
        self.known_since = Some(known.since);
        let mut edges = known.edges;
        edges.sort_by_key(|edge| std::cmp::Reverse(edge.last_seen));
        for edge in edges {
            let ends = (
                self.admit(&edge.from, edge.last_seen),
                self.admit(&edge.to, edge.last_seen),
            );
            let key = (ends.0, ends.1, edge.kind);
            if self.edges.len() < self.bounds.max_edges || self.edges.contains_key(&key) {
                let tally = self.edges.entry(key).or_insert_with(Tally::new);
                tally.first_seen = tally.first_seen.min(edge.first_seen);
                tally.last_seen = tally.last_seen.max(edge.last_seen);
            }
        }
        for (environment, name, node) in known.names {
            if self.aliases.len() < self.bounds.max_nodes {
                self.aliases.insert((environment, name), Some(node));
            }
        }
    }

    /// What a restart must not forget.
    pub(super) fn known(&self, now: UnixNanos) -> KnownEdges {
        let edges = self.edges.iter();
        let names = self.aliases.iter();
        KnownEdges {
            since: self.known_since.or(self.first_end).unwrap_or(now),
            until: now,
            edges: edges
                .map(|((from, to, kind), tally)| KnownEdge {
                    from: from.clone(),
                    to: to.clone(),
                    kind: *kind,
                    first_seen: tally.first_seen,
                    last_seen: tally.last_seen,
                })
                .collect(),
            names: names
                .filter_map(|((environment, name), node)| {
                    Some((Arc::clone(environment), Arc::clone(name), node.clone()?))
                })
                .collect(),
        }
    }

    /// Takes a trace. `factor` is what it stands for; without one it only shows what there is.
    pub(super) fn add(&mut self, trace: &Trace, factor: Option<f64>, now: UnixNanos) {
        let observed = observe(&TraceTree::new(trace), &mut self.sent);
        let seen = Seen {
            weight: 1.0,
            is_failed: factor.is_none(),
            duration_nanos: 0,
            end: trace.spans.iter().map(|span| span.end).max().unwrap_or(now),
        };
        self.traces.add(&seen, Facts::default(), self.slots, now);
        for span in &trace.spans {
            self.first_start = self.first_start.min(span.start);
            self.last_end = self.last_end.max(span.end.min(now));
            let first = self.first_end.unwrap_or(UnixNanos::MAX);
            self.first_end = Some(first.min(span.end));
        }
        for request in &observed.requests {
            self.add_request(request, factor, now);
        }
        for call in &observed.calls {
            self.add_call(call, factor, now);
        }
    }

    fn add_request(&mut self, request: &SeenRequest, factor: Option<f64>, now: UnixNanos) {
        let node = self.admit(&request.node, now);
        let facts = Facts {
            factor,
            is_propagated: false,
            is_from_outside: request.is_from_outside,
        };
        let slots = self.slots;
        if let Some(state) = self.nodes.get_mut(&node) {
            state.requests.add(&request.seen, facts, slots, now);
        }
    }

    fn add_call(&mut self, call: &SeenCall, factor: Option<f64>, now: UnixNanos) {
        let from = self.admit(&call.from, now);
        let to = self.admit(&call.to, now);
        if from != call.from || to != call.to {
            self.refused_calls += 1;
        }
        for node in [&from, &to] {
            if let Some(state) = self.nodes.get_mut(node)
                && state.technology.is_empty()
                && node.kind != NodeKind::Service
            {
                state.technology = Arc::clone(&call.technology);
            }
        }
        if let Some(alias) = &call.alias {
            self.learn(alias, &call.from, &to);
        }
        let key = (from, to, call.kind);
        if !self.edges.contains_key(&key) && self.edges.len() >= self.bounds.max_edges {
            self.refused_calls += 1;
            return;
        }
        let facts = Facts {
            factor,
            is_propagated: call.is_propagated,
            is_from_outside: false,
        };
        let tally = self.edges.entry(key).or_insert_with(Tally::new);
        tally.add(&call.seen, facts, self.slots, now);
    }

    /// The node, or the one that takes the place of those that there is no room for.
    fn admit(&mut self, node: &NodeRef, now: UnixNanos) -> NodeRef {
        let is_known = self.nodes.contains_key(node);
        let admitted = if is_known || self.nodes.len() < self.bounds.max_nodes {
            node.clone()
        } else {
            NodeRef::overflow(node.kind)
        };
        let state = self
            .nodes
            .entry(admitted.clone())
            .or_insert_with(|| NodeState {
                requests: Tally::new(),
                technology: "".into(),
                last_seen: now,
            });
        state.last_seen = state.last_seen.max(now);
        admitted
    }

    /// Remembers who answers to a name.
    fn learn(&mut self, alias: &Arc<str>, caller: &NodeRef, callee: &NodeRef) {
        let key = (Arc::clone(&caller.key.environment), Arc::clone(alias));
        let room = self.aliases.len() < self.bounds.max_nodes;
        match self.aliases.get_mut(&key) {
            Some(known) if known.as_ref() != Some(callee) => *known = None,
            None if room => {
                self.aliases.insert(key, Some(callee.clone()));
            }
            Some(_) | None => {}
        }
    }

    /// Forgets what was not seen for two days, or what the baseline has for days.
    pub(super) fn forget(&mut self, now: UnixNanos) {
        let held = self.bounds.baseline.saturating_mul(2);
        let oldest = now.saturating_sub(held.max(self.bounds.window.unwrap_or(u64::MAX)));
        let slots = self.slots;
        self.traces.forget(slots, now);
        self.edges.retain(|_, tally| {
            tally.forget(slots, now);
            tally.last_seen >= oldest
        });
        self.nodes.retain(|_, state| {
            state.requests.forget(slots, now);
            state.last_seen >= oldest
        });
        let nodes = &self.nodes;
        self.aliases
            .retain(|_, known| known.as_ref().is_none_or(|node| nodes.contains_key(node)));
    }
}
