//! What the shape of a graph says: degrees, `PageRank`, depth, circles, and who is hit when a node fails.
//!
//! A call carries a failure of its callee with the share of the caller's requests that make it, times the share of failed calls
//! after which the caller failed too. That one is measured; where little failed, it leans on what calls do as a rule: the
//! caller of a request fails with it, the sender of a message does not mind what becomes of it.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::{dijkstra, tarjan_scc};
use petgraph::graph::{DiGraph, NodeIndex};

use crate::model::topology::{BlastRadius, EdgeKind, GraphEdge, Hit, NodeKind, ServiceGraph};

/// Damping of `PageRank`, as everybody has it.
const DAMPING: f64 = 0.85;

/// Rounds of `PageRank` at most, and the change in all that is none.
const ROUNDS_MAX: usize = 200;
const CHANGE_MIN: f64 = 1e-12;

/// A node is hit where at least this share of its requests would fail.
const HIT_MIN: f64 = 0.01;

/// Nodes that are listed as hit.
const HITS_MAX: usize = 20;

/// A node is critical if its failure hits this share of the requests from outside.
const CRITICAL_MIN: f64 = 0.5;

/// All calls between two nodes.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    calls: f64,
    /// Calls that would take the caller with them, had they failed.
    carried: f64,
}

/// Fills in what follows from nodes and edges. `outside` holds the requests from outside that each node gets.
pub(super) fn analyse(graph: &mut ServiceGraph, outside: &[f64]) {
    let links = links(graph);
    let mut shape: DiGraph<(), f64> = DiGraph::new();
    for _ in &graph.nodes {
        shape.add_node(());
    }
    // Against the calls: from who fails to who is hit.
    let mut failures = shape.clone();
    for ((from, to), link) in &links {
        let (caller, callee) = (NodeIndex::new(*from), NodeIndex::new(*to));
        shape.add_edge(caller, callee, link.calls);
        let ratio = carried_ratio(graph, *from, link);
        if from != to && ratio > 0.0 {
            failures.add_edge(callee, caller, -ratio.ln());
        }
    }
    let circles = tarjan_scc(&shape);
    let depths = depths(&shape, &circles);
    let ranks = page_ranks(graph.nodes.len(), &links);
    let total: f64 = outside.iter().sum();
    let mut critical = Vec::new();
    let ids: Vec<String> = graph.nodes.iter().map(|node| node.id.clone()).collect();
    for (at, node) in graph.nodes.iter_mut().enumerate() {
        node.in_degree = degree(&links, |(from, to)| {
            (to == at && from != at).then_some(from)
        });
        node.out_degree = degree(&links, |(from, to)| (from == at && to != at).then_some(to));
        node.page_rank = ranks.get(at).copied().unwrap_or_default();
        node.depth = depths.get(at).copied().unwrap_or_default();
        let costs = dijkstra(&failures, NodeIndex::new(at), None, |edge| *edge.weight());
        let hit: BTreeMap<usize, f64> = costs
            .into_iter()
            .map(|(node, cost)| (node.index(), (-cost).exp()))
            .collect();
        node.blast_radius = blast_radius(at, &hit, &ids, (outside, total));
        let requests = node.blast_radius.requests_ratio.unwrap_or_default();
        if node.in_degree > 0 && requests >= CRITICAL_MIN {
            critical.push((requests, node.id.clone()));
        }
    }
    critical.sort_by(|one, other| other.0.total_cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
    graph.critical = critical.into_iter().map(|(_, id)| id).collect();
    graph.cycles = named_circles(&circles, &ids);
}

/// Calls by caller and callee, whatever their protocol.
fn links(graph: &ServiceGraph) -> BTreeMap<(usize, usize), Link> {
    let place = |id: &str| {
        let found = graph
            .nodes
            .binary_search_by(|node| node.id.as_str().cmp(id));
        found.ok()
    };
    let mut links: BTreeMap<(usize, usize), Link> = BTreeMap::new();
    for edge in &graph.edges {
        let (Some(from), Some(to)) = (place(&edge.from), place(&edge.to)) else {
            continue;
        };
        // What may not be counted is there all the same.
        let calls = edge
            .traffic
            .calls
            .max(edge.traffic.observed as f64)
            .max(1e-9);
        let is_from_queue = graph
            .nodes
            .get(from)
            .is_some_and(|node| node.kind == NodeKind::Queue);
        let is_to_queue = graph
            .nodes
            .get(to)
            .is_some_and(|node| node.kind == NodeKind::Queue);
        let is_let_go = is_from_queue || (edge.kind == EdgeKind::Messaging && !is_to_queue);
        let link = links.entry((from, to)).or_default();
        link.calls += calls;
        link.carried += calls * propagation(edge, !is_let_go);
    }
    links
}

/// The measured share with one more failed call, which does as a rule has it.
fn propagation(edge: &GraphEdge, does_as_a_rule: bool) -> f64 {
    let failed = edge.traffic.observed_errors as f64;
    let measured = edge.propagation_ratio.unwrap_or_default();
    // Without calls that may be counted nothing was measured.
    let failed = if edge.propagation_ratio.is_some() {
        failed
    } else {
        0.0
    };
    (measured * failed + f64::from(u8::from(does_as_a_rule))) / (failed + 1.0)
}

/// The share of the caller's requests that would fail if all its calls to one callee did.
fn carried_ratio(graph: &ServiceGraph, caller: usize, link: &Link) -> f64 {
    let traffic = graph
        .nodes
        .get(caller)
        .map(|node| node.traffic)
        .unwrap_or_default();
    let requests = traffic.calls.max(traffic.observed as f64);
    // Who gets no requests works on its own account: each call is one.
    let requests = if requests > 0.0 { requests } else { link.calls };
    (link.carried / requests).min(1.0)
}

fn degree(
    links: &BTreeMap<(usize, usize), Link>,
    other: impl Fn((usize, usize)) -> Option<usize>,
) -> u32 {
    let others: BTreeSet<usize> = links.keys().filter_map(|ends| other(*ends)).collect();
    u32::try_from(others.len()).unwrap_or(u32::MAX)
}

/// `PageRank` over calls; what calls nobody shares its rank out among all.
fn page_ranks(count: usize, links: &BTreeMap<(usize, usize), Link>) -> Vec<f64> {
    let even = 1.0 / count.max(1) as f64;
    let mut outgoing = vec![0.0; count];
    for ((from, _), link) in links {
        if let Some(sum) = outgoing.get_mut(*from) {
            *sum += link.calls;
        }
    }
    let mut ranks = vec![even; count];
    for _ in 0..ROUNDS_MAX {
        let held = ranks.iter().zip(&outgoing);
        let dangling: f64 = held
            .filter(|(_, out)| **out == 0.0)
            .map(|(rank, _)| rank)
            .sum();
        let mut next = vec![(1.0 - DAMPING + DAMPING * dangling) * even; count];
        for ((from, to), link) in links {
            let share = ranks.get(*from).zip(outgoing.get(*from));
            if let (Some((rank, out)), Some(place)) = (share, next.get_mut(*to)) {
                *place += DAMPING * rank * link.calls / out;
            }
        }
        let change: f64 = next
            .iter()
            .zip(&ranks)
            .map(|(new, old)| (new - old).abs())
            .sum();
        ranks = next;
        if change < CHANGE_MIN {
            break;
        }
    }
    ranks
}

/// The longest way from an entry, circles counted once. `circles` come with callees before their callers.
fn depths(shape: &DiGraph<(), f64>, circles: &[Vec<NodeIndex>]) -> Vec<u32> {
    let mut circle_of = vec![0; shape.node_count()];
    for (at, circle) in circles.iter().enumerate() {
        for node in circle {
            if let Some(place) = circle_of.get_mut(node.index()) {
                *place = at;
            }
        }
    }
    let of = |node: NodeIndex| circle_of.get(node.index()).copied().unwrap_or_default();
    let mut depths = vec![0_u32; circles.len()];
    for (at, circle) in circles.iter().enumerate().rev() {
        let own = depths.get(at).copied().unwrap_or_default();
        for node in circle {
            for callee in shape.neighbors(*node) {
                if let Some(place) = depths.get_mut(of(callee)).filter(|_| of(callee) != at) {
                    *place = (*place).max(own + 1);
                }
            }
        }
    }
    let circles = circle_of.iter();
    circles
        .map(|circle| depths.get(*circle).copied().unwrap_or_default())
        .collect()
}

fn blast_radius(
    at: usize,
    hit: &BTreeMap<usize, f64>,
    ids: &[String],
    (outside, total): (&[f64], f64),
) -> BlastRadius {
    let lost = hit
        .iter()
        .map(|(node, ratio)| ratio * outside.get(*node).copied().unwrap_or(0.0));
    let mut others: Vec<(usize, f64)> = hit
        .iter()
        .map(|(node, ratio)| (*node, *ratio))
        .filter(|(node, ratio)| *node != at && *ratio >= HIT_MIN)
        .collect();
    others.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
    let listed = others.iter().take(HITS_MAX).filter_map(|(node, ratio)| {
        let node = ids.get(*node)?.clone();
        Some(Hit {
            node,
            ratio: *ratio,
        })
    });
    BlastRadius {
        requests_ratio: (total > 0.0).then(|| lost.sum::<f64>() / total),
        hit: listed.collect(),
        nodes: u32::try_from(others.len()).unwrap_or(u32::MAX),
    }
}

fn named_circles(circles: &[Vec<NodeIndex>], ids: &[String]) -> Vec<Vec<String>> {
    let mut named: Vec<Vec<String>> = circles
        .iter()
        .filter(|circle| circle.len() > 1)
        .map(|circle| {
            let names = circle
                .iter()
                .filter_map(|node| ids.get(node.index()).cloned());
            let mut names: Vec<String> = names.collect();
            names.sort();
            names
        })
        .collect();
    named.sort();
    named
}
