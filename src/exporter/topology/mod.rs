//! The service graph as pictures: DOT for Graphviz, and SVG that needs nothing.

mod dot;
mod layout;
mod svg;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::topology::{
    EdgeKind, EdgeName, GraphEdge, GraphNode, NodeKind, ServiceGraph, Traffic, significant,
};

pub use self::dot::dot;
pub use self::svg::svg;

/// From here on an edge is a little, more and very red.
const ERROR_STEPS: [f64; 3] = [0.001, 0.01, 0.05];

/// Nodes that are named as hit.
const HITS_NAMED: usize = 5;

/// All calls from one node to another, as one line of a picture.
#[derive(Clone, Debug)]
struct Arrow<'a> {
    from: usize,
    to: usize,
    edges: Vec<&'a GraphEdge>,
    calls: f64,
    calls_per_sec: f64,
    error_ratio: Option<f64>,
    /// Whether all of them are messages.
    is_message: bool,
    is_new: bool,
    /// Whether it was there before only.
    is_gone: bool,
}

/// Nodes by importance as far as they are drawn, and what is between them.
struct Picture<'a> {
    nodes: Vec<&'a GraphNode>,
    arrows: Vec<Arrow<'a>>,
    left_out: usize,
}

impl<'a> Picture<'a> {
    /// At most so many nodes: those that were seen, then those with the highest `PageRank`.
    fn new(graph: &'a ServiceGraph, most: usize) -> Self {
        let mut nodes: Vec<&GraphNode> = graph.nodes.iter().collect();
        nodes.sort_by(|one, other| {
            let observed = other.is_observed.cmp(&one.is_observed);
            let ranked = other.page_rank.total_cmp(&one.page_rank);
            observed.then(ranked).then_with(|| one.id.cmp(&other.id))
        });
        let left_out = nodes.len().saturating_sub(most);
        nodes.truncate(most);
        nodes.sort_by(|one, other| one.id.cmp(&other.id));
        let places: BTreeMap<&str, usize> =
            nodes.iter().map(|node| node.id.as_str()).zip(0..).collect();
        let new: BTreeSet<&EdgeName> = graph.changes.new.iter().collect();
        let mut arrows: BTreeMap<(usize, usize), Arrow<'_>> = BTreeMap::new();
        for edge in &graph.edges {
            let ends = places
                .get(edge.from.as_str())
                .zip(places.get(edge.to.as_str()));
            let Some((from, to)) = ends else { continue };
            let arrow = arrows
                .entry((*from, *to))
                .or_insert_with(|| Arrow::between(*from, *to));
            arrow.is_message &= edge.kind == EdgeKind::Messaging;
            arrow.is_new |= new.contains(&edge.name());
            arrow.edges.push(edge);
        }
        for gone in &graph.changes.vanished {
            let ends = places
                .get(gone.from.as_str())
                .zip(places.get(gone.to.as_str()));
            let Some((from, to)) = ends else { continue };
            arrows.entry((*from, *to)).or_insert_with(|| Arrow {
                is_gone: true,
                is_message: false,
                ..Arrow::between(*from, *to)
            });
        }
        for arrow in arrows.values_mut() {
            arrow.add_up();
        }
        Self {
            nodes,
            arrows: arrows.into_values().collect(),
            left_out,
        }
    }
}

impl Arrow<'_> {
    fn between(from: usize, to: usize) -> Self {
        Self {
            from,
            to,
            edges: Vec::new(),
            calls: 0.0,
            calls_per_sec: 0.0,
            error_ratio: None,
            is_message: true,
            is_new: false,
            is_gone: false,
        }
    }

    fn add_up(&mut self) {
        let sum = |of: fn(&Traffic) -> f64| -> f64 {
            self.edges.iter().map(|edge| of(&edge.traffic)).sum()
        };
        self.calls = sum(|traffic| traffic.calls);
        self.calls_per_sec = sum(|traffic| traffic.calls_per_sec);
        let errors = sum(|traffic| traffic.errors);
        self.error_ratio = (self.calls > 0.0).then(|| errors / self.calls);
    }

    /// How red it is, 0 to 3.
    fn severity(&self) -> usize {
        severity(self.error_ratio)
    }

    /// Of the edges of one callee, the one with the most to say has its tag.
    fn weight_of_tag(&self) -> (bool, bool, u64) {
        let errors = self.error_ratio.filter(|_| self.severity() > 1);
        // Ratios are not negative, so their bits are in their order.
        let errors = errors.unwrap_or_default().to_bits();
        (self.is_new, self.is_gone, errors)
    }

    /// For each protocol a line with its numbers.
    fn describe(&self, nodes: &[&GraphNode]) -> String {
        let name = |at: usize| nodes.get(at).map_or("", |node| node.id.as_str());
        let mut lines = vec![format!("{} → {}", name(self.from), name(self.to))];
        for (word, holds) in [("new", self.is_new), ("vanished", self.is_gone)] {
            if holds {
                lines.push(word.to_owned());
            }
        }
        lines.extend(self.edges.iter().map(|edge| {
            let line = format!("{}: {}", edge.kind.label(), numbers(&edge.traffic));
            match edge.propagation_ratio {
                Some(ratio) => {
                    let ratio = significant(100.0 * ratio);
                    format!("{line} · {ratio} % of the errors reach the caller's work")
                }
                None => line,
            }
        }));
        lines.join("\n")
    }
}

/// How red something is, 0 to 3.
fn severity(error_ratio: Option<f64>) -> usize {
    let ratio = error_ratio.unwrap_or_default();
    ERROR_STEPS.iter().filter(|step| ratio >= **step).count()
}

/// `12.3/s · 0.02 % · p95 120 ms`.
fn numbers(traffic: &Traffic) -> String {
    if traffic.calls <= 0.0 {
        return match traffic.observed {
            0 => "no calls".to_owned(),
            1 => "seen once".to_owned(),
            more => format!("seen {more} times"),
        };
    }
    let mut parts = vec![rate(traffic.calls_per_sec)];
    let errors = traffic.error_ratio;
    parts.extend(errors.map(|ratio| format!("{} %", significant(100.0 * ratio))));
    let latency = traffic.latency.as_ref();
    parts.extend(latency.map(|latency| format!("p95 {}", duration(latency.p95))));
    parts.join(" · ")
}

/// A rate by the second, the minute or the hour, whichever reads best.
fn rate(per_sec: f64) -> String {
    let (value, unit) = match per_sec {
        rate if rate >= 0.5 => (rate, "s"),
        rate if rate * 60.0 >= 0.5 => (rate * 60.0, "min"),
        rate => (rate * 3_600.0, "h"),
    };
    format!("{}/{unit}", significant(value))
}

fn duration(secs: f64) -> String {
    if secs >= 1.0 {
        format!("{} s", significant(secs))
    } else {
        format!("{} ms", significant(1_000.0 * secs))
    }
}

/// What stands above the name of a node.
fn caption(node: &GraphNode, has_several_places: bool) -> String {
    let mut words = vec![
        match node.kind {
            NodeKind::Service => "service",
            NodeKind::Database => "database",
            NodeKind::Queue => "queue",
            NodeKind::External if node.workloads.is_empty() => "external",
            NodeKind::External => "reports no spans",
            NodeKind::Workload => "never seen",
        }
        .to_owned(),
    ];
    if !node.technology.is_empty() && node.technology != *node.key.name {
        words.push(node.technology.clone());
    }
    if node.kind == NodeKind::Workload {
        words.extend(node.workloads.first().cloned());
    }
    if has_several_places {
        for part in [&node.key.namespace, &node.key.environment] {
            if !part.is_empty() {
                words.push(part.to_string());
            }
        }
    }
    words.join(" · ")
}

/// Whether nodes have to say where they are.
fn has_several_places(nodes: &[&GraphNode]) -> bool {
    let places = |of: fn(&GraphNode) -> &str| {
        let places = nodes
            .iter()
            .map(|node| of(node))
            .filter(|part| !part.is_empty());
        places.collect::<BTreeSet<&str>>().len()
    };
    places(|node| &node.key.namespace) > 1 || places(|node| &node.key.environment) > 1
}

/// All that is known of a node, for those who point at it.
fn describe(node: &GraphNode) -> String {
    let mut lines = vec![node.id.clone()];
    if node.is_observed {
        lines.push(numbers(&node.traffic));
        lines.extend(node.traffic.latency.as_ref().map(|latency| {
            format!(
                "p50 {}, p99 {}",
                duration(latency.p50),
                duration(latency.p99)
            )
        }));
        lines.push(format!(
            "called by {}, calls {}; PageRank {}, depth {}",
            node.in_degree,
            node.out_degree,
            significant(node.page_rank),
            node.depth
        ));
    }
    let radius = &node.blast_radius;
    let requests = radius.requests_ratio.filter(|ratio| *ratio > 0.0);
    lines.extend(requests.map(|ratio| {
        let ratio = significant(100.0 * ratio);
        format!("if it fails: {ratio} % of the requests from outside")
    }));
    let hit = radius.hit.iter().take(HITS_NAMED);
    let hit = hit.map(|hit| format!("{} {} %", hit.node, significant(100.0 * hit.ratio)));
    let hit: Vec<String> = hit.collect();
    for (word, names) in [("hits ", &hit), ("", &node.workloads)] {
        if !names.is_empty() {
            lines.push(format!("{word}{}", names.join(", ")));
        }
    }
    lines.join("\n")
}
