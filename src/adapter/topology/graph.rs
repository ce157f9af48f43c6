//! From what is remembered to a graph: names that mean one node become one, sums become rates.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use humantime_serde::re::humantime::format_duration;

use crate::adapter::topology::analysis::analyse;
use crate::adapter::topology::state::{EdgeRef, State};
use crate::adapter::topology::tally::{Tally, secs_between};
use crate::model::UnixNanos;
use crate::model::series::ServiceKey;
use crate::model::topology::{
    BlastRadius, EdgeChanges, EdgeName, GraphEdge, GraphNode, NodeKind, NodeRef, ServiceGraph,
};

/// A node under way.
struct Gathered {
    requests: Tally,
    technology: Arc<str>,
}

/// The graph of all that was read, from the first span to the last one.
pub(super) fn of_all(state: &State) -> ServiceGraph {
    let from = state.first_start.min(state.last_end);
    graph(state, from, state.last_end, None)
}

/// The graph of the window at `now`. Traces are told late by `lag`, and not yet complete after it.
pub(super) fn of_window(state: &State, now: UnixNanos, lag: u64) -> ServiceGraph {
    let to = now.saturating_sub(lag);
    let began = state.first_end.unwrap_or(to);
    let from = state.slots.start(now).max(began).min(to);
    let known_since = state.known_since.unwrap_or(began);
    graph(state, from, to, Some((known_since, now)))
}

fn graph(
    state: &State,
    from: UnixNanos,
    to: UnixNanos,
    watched: Option<(UnixNanos, UnixNanos)>,
) -> ServiceGraph {
    let (mut nodes, edges) = gather(state);
    let mut changes = EdgeChanges::default();
    let mut vanished = BTreeSet::new();
    if let Some((began, now)) = watched {
        (changes, vanished) = changes_of(&edges, state.bounds.baseline, began, now);
    }
    // What is called is known by the calls alone, unless it reports spans.
    for ((_, callee, _), tally) in &edges {
        if callee.kind != NodeKind::Service
            && let Some(node) = nodes.get_mut(callee)
        {
            node.requests.merge(tally);
        }
    }
    // At least a second, so that the first call is no rate of thousands.
    let secs = secs_between(from, to).max(1.0);
    let mut made: Vec<(GraphNode, f64)> = nodes
        .iter()
        .map(|(node, gathered)| {
            let totals = gathered.requests.totals(secs);
            let made = GraphNode {
                id: node.kind.id(&node.key),
                kind: node.kind,
                key: node.key.clone(),
                technology: gathered.technology.to_string(),
                is_observed: true,
                workloads: Vec::new(),
                traffic: totals.traffic,
                in_degree: 0,
                out_degree: 0,
                page_rank: 0.0,
                depth: 0,
                blast_radius: BlastRadius::default(),
            };
            (made, totals.from_outside)
        })
        .collect();
    made.sort_by(|one, other| one.0.id.cmp(&other.0.id));
    let (nodes, outside): (Vec<GraphNode>, Vec<f64>) = made.into_iter().unzip();
    let mut made: Vec<GraphEdge> = edges
        .iter()
        .filter(|(edge, _)| !vanished.contains(*edge))
        .map(|(edge, tally)| {
            let totals = tally.totals(secs);
            let EdgeName { from, to, kind } = name(edge);
            GraphEdge {
                from,
                to,
                kind,
                traffic: totals.traffic,
                propagation_ratio: totals.propagation_ratio,
                first_seen: tally.first_seen,
                last_seen: tally.last_seen,
            }
        })
        .collect();
    made.sort_by_cached_key(GraphEdge::name);
    let traces = state.traces.totals(secs).traffic;
    let mut graph = ServiceGraph {
        from,
        to,
        traces: traces.observed,
        counted_traces: traces.observed - traces.observed_errors,
        nodes,
        edges: made,
        changes,
        refused_calls: state.refused_calls,
        ..ServiceGraph::default()
    };
    analyse(&mut graph, &outside);
    graph
}

fn name((from, to, kind): &EdgeRef) -> EdgeName {
    EdgeName {
        from: from.kind.id(&from.key),
        to: to.kind.id(&to.key),
        kind: *kind,
    }
}

/// New edges are those that were first seen within the baseline, once one baseline was watched before; those not seen within it
/// have vanished.
fn changes_of(
    edges: &BTreeMap<EdgeRef, Tally>,
    baseline: u64,
    began: UnixNanos,
    now: UnixNanos,
) -> (EdgeChanges, BTreeSet<&EdgeRef>) {
    let span = Duration::from_nanos(baseline);
    let span = format_duration(span);
    let known_from = began.saturating_add(baseline);
    let today = now.saturating_sub(baseline);
    let vanished: BTreeSet<&EdgeRef> = edges
        .iter()
        .filter(|(_, tally)| tally.last_seen < today)
        .map(|(edge, _)| edge)
        .collect();
    let new = edges
        .iter()
        .filter(|(_, tally)| tally.first_seen >= known_from.max(today));
    let mut changes = EdgeChanges {
        compared_with: if now < known_from {
            format!("nothing yet: edges are remembered for less than {span}")
        } else {
            format!("the {span} before the last {span}")
        },
        new: new.map(|(edge, _)| name(edge)).collect(),
        vanished: vanished.iter().map(|edge| name(edge)).collect(),
    };
    changes.new.sort();
    changes.vanished.sort();
    (changes, vanished)
}

/// What is new and what is gone beside another graph, such as that of yesterday's files.
pub(super) fn compare(graph: &mut ServiceGraph, baseline: &ServiceGraph) {
    let names = |graph: &ServiceGraph| -> BTreeSet<EdgeName> {
        graph.edges.iter().map(GraphEdge::name).collect()
    };
    let (now, then) = (names(graph), names(baseline));
    graph.changes = EdgeChanges {
        compared_with: format!("{} traces of the baseline", baseline.traces),
        new: now.difference(&then).cloned().collect(),
        vanished: then.difference(&now).cloned().collect(),
    };
}

/// Nodes and edges with one name for each.
fn gather(state: &State) -> (BTreeMap<NodeRef, Gathered>, BTreeMap<EdgeRef, Tally>) {
    let names = Names::new(state);
    let mut nodes: BTreeMap<NodeRef, Gathered> = state
        .nodes
        .iter()
        .filter(|(node, _)| node.kind == NodeKind::Service)
        .map(|(node, held)| {
            let gathered = Gathered {
                requests: held.requests.clone(),
                technology: "".into(),
            };
            (node.clone(), gathered)
        })
        .collect();
    let mut edges: BTreeMap<EdgeRef, Tally> = BTreeMap::new();
    for ((from, to, kind), tally) in &state.edges {
        let callee = names.resolve(from, to);
        for (own, node) in [(from, from), (to, &callee)] {
            nodes.entry(node.clone()).or_insert_with(|| Gathered {
                requests: Tally::new(),
                technology: state
                    .nodes
                    .get(own)
                    .map_or_else(|| "".into(), |held| Arc::clone(&held.technology)),
            });
        }
        let edge = (from.clone(), callee, *kind);
        edges.entry(edge).or_insert_with(Tally::new).merge(tally);
    }
    (nodes, edges)
}

/// Who is meant by the names that callers have for others.
struct Names<'a> {
    state: &'a State,
    services: BTreeMap<(&'a str, &'a str), Vec<&'a NodeRef>>,
}

impl<'a> Names<'a> {
    fn new(state: &'a State) -> Self {
        let mut services: BTreeMap<(&str, &str), Vec<&NodeRef>> = BTreeMap::new();
        for node in state.nodes.keys() {
            if node.kind == NodeKind::Service {
                let ServiceKey {
                    environment, name, ..
                } = &node.key;
                services.entry((environment, name)).or_default().push(node);
            }
        }
        Self { state, services }
    }

    /// The service that answers to the name of something that seemed to report no spans: one that did answer to it, else the
    /// one of that name in the caller's namespace, else the only one.
    fn resolve(&self, caller: &NodeRef, callee: &NodeRef) -> NodeRef {
        if callee.kind != NodeKind::External {
            return callee.clone();
        }
        let ServiceKey {
            environment, name, ..
        } = &callee.key;
        let key = (Arc::clone(environment), Arc::clone(name));
        if let Some(Some(known)) = self.state.aliases.get(&key) {
            return known.clone();
        }
        let named = self.services.get(&(&**environment, &**name));
        let named = named.map(Vec::as_slice).unwrap_or_default();
        let mut near = named
            .iter()
            .filter(|node| node.key.namespace == caller.key.namespace);
        match (near.next(), named) {
            (Some(node), _) => (*node).clone(),
            (None, [only]) => (*only).clone(),
            (None, _) => callee.clone(),
        }
    }
}
