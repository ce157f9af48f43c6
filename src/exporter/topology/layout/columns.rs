//! Circles are broken, each node gets a column, and edges over several columns a place in each of them.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::greedy_feedback_arc_set;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use super::Layered;

/// An edge from a left node to a right one, and whether it is drawn against its direction.
pub(super) type Way = ((usize, usize), bool);

/// The vertices of each way, its two nodes included.
pub(super) type Chains = BTreeMap<Way, Vec<usize>>;

/// The column of each node, and the edges from left to right.
pub(super) fn assign(
    count: usize,
    pairs: &BTreeSet<(usize, usize)>,
) -> (Vec<usize>, BTreeSet<Way>) {
    let mut graph: DiGraph<(), ()> = DiGraph::new();
    for _ in 0..count {
        graph.add_node(());
    }
    for (from, to) in pairs {
        graph.add_edge(NodeIndex::new(*from), NodeIndex::new(*to), ());
    }
    let against: BTreeSet<(usize, usize)> = greedy_feedback_arc_set(&graph)
        .map(|edge| (edge.source().index(), edge.target().index()))
        .collect();
    let forward: BTreeSet<Way> = pairs
        .iter()
        .map(|pair| {
            let is_flipped = against.contains(pair);
            (
                if is_flipped { (pair.1, pair.0) } else { *pair },
                is_flipped,
            )
        })
        .collect();
    let mut columns = vec![0_usize; count];
    let edges: BTreeSet<(usize, usize)> = forward.iter().map(|(pair, _)| *pair).collect();
    // Without circles, as many rounds as there are nodes are enough.
    for _ in 0..count {
        let mut is_changed = false;
        for (from, to) in &edges {
            let least = columns.get(*from).copied().unwrap_or_default() + 1;
            if let Some(column) = columns.get_mut(*to).filter(|column| **column < least) {
                *column = least;
                is_changed = true;
            }
        }
        if !is_changed {
            break;
        }
    }
    pull_right(&mut columns, &edges);
    let first = columns.iter().copied().min().unwrap_or_default();
    for column in &mut columns {
        *column -= first;
    }
    (columns, forward)
}

/// Nodes with more callees than callers stand next to their callees: that makes edges shorter.
fn pull_right(columns: &mut [usize], edges: &BTreeSet<(usize, usize)>) {
    let mut callees: Vec<Vec<usize>> = vec![Vec::new(); columns.len()];
    let mut callers = vec![0_usize; columns.len()];
    for (from, to) in edges {
        if let Some(list) = callees.get_mut(*from) {
            list.push(*to);
        }
        if let Some(count) = callers.get_mut(*to) {
            *count += 1;
        }
    }
    for _ in 0..columns.len() {
        let mut is_changed = false;
        for node in 0..columns.len() {
            let own = callees.get(node).map(Vec::as_slice).unwrap_or_default();
            if own.len() <= callers.get(node).copied().unwrap_or_default() {
                continue;
            }
            let nearest = own.iter().filter_map(|callee| columns.get(*callee)).min();
            let wanted = nearest.map_or(0, |nearest| nearest.saturating_sub(1));
            if let Some(column) = columns.get_mut(node).filter(|column| **column < wanted) {
                *column = wanted;
                is_changed = true;
            }
        }
        if !is_changed {
            break;
        }
    }
}

/// Adds a vertex in each column that an edge passes.
pub(super) fn with_passages(column_of: &[usize], forward: &BTreeSet<Way>) -> (Layered, Chains) {
    let mut layered = Layered {
        columns: vec![Vec::new(); column_of.iter().max().map_or(0, |last| last + 1)],
        column_of: column_of.to_vec(),
        before: vec![Vec::new(); column_of.len()],
        behind: vec![Vec::new(); column_of.len()],
        nodes: column_of.len(),
    };
    for (node, column) in column_of.iter().enumerate() {
        if let Some(list) = layered.columns.get_mut(*column) {
            list.push(node);
        }
    }
    let mut chains = Chains::new();
    for (pair, is_flipped) in forward {
        let (from, to) = *pair;
        let of = |node: usize| column_of.get(node).copied().unwrap_or_default();
        let mut chain = vec![from];
        for column in of(from) + 1..of(to) {
            let vertex = layered.column_of.len();
            layered.column_of.push(column);
            layered.before.push(Vec::new());
            layered.behind.push(Vec::new());
            if let Some(list) = layered.columns.get_mut(column) {
                list.push(vertex);
            }
            chain.push(vertex);
        }
        chain.push(to);
        for (left, right) in chain.iter().zip(chain.iter().skip(1)) {
            if let Some(list) = layered.behind.get_mut(*left) {
                list.push(*right);
            }
            if let Some(list) = layered.before.get_mut(*right) {
                list.push(*left);
            }
        }
        chains.insert((*pair, *is_flipped), chain);
    }
    (layered, chains)
}
