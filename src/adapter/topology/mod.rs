//! The service graph from whole traces: who calls whom, how often, how well, and who is hit when one fails.
//!
//! ```text
//! traces ─ observe ─ calls between nodes ─ state (slots, bounds) ─ graph ─ analysis ─┬─ exporter: DOT, SVG
//! manifests ─────────────────────────────────────────────────────┘                   └─ API, advice, metrics
//! ```
//!
//! Rates come only from traces that were kept by their id, each counted as many times as it stands for; edges are learnt
//! from all traces.

mod analysis;
mod graph;
mod manifests;
mod observe;
mod sent;
mod state;
mod tally;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::adapter::Adapter;
use crate::adapter::kubernetes::Inventory;
use crate::adapter::topology::state::{Bounds, State};
use crate::model::UnixNanos;
use crate::model::advice::Advice;
use crate::model::report::Report;
use crate::model::topology::{GraphEdge, NodeKind, ServiceGraph};
use crate::model::trace::{KeptTrace, Trace};
use crate::telemetry::{DependencyMetrics, DependencySample};

/// Name among the integrations of a report.
const NEIGHBOUR: &str = "topology-rca";

/// Section `adapters.topology`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether the graph is drawn. Default true; it needs `trace_buffer.enabled`.
    pub enabled: bool,
    /// Rates, errors and latencies are those of the last so long. Default 1h; 1m to 24h.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// Edges are new if they were not there in so long before the last so long, and have vanished if they were there only
    /// then. Default 24h; at least `window`, at most 7d.
    #[serde(with = "humantime_serde")]
    pub baseline: Duration,
    /// Most nodes; calls of further ones go to `_other`. Default 500.
    pub max_nodes: usize,
    /// Most edges; calls of further ones are refused. Default 2000.
    pub max_edges: usize,
    /// Sent messages that are remembered for consumers that link to them. Default 10000.
    pub max_linked_spans: usize,
    /// Edges with metrics of their own. Default 200.
    pub max_metric_edges: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            window: Duration::from_hours(1),
            baseline: Duration::from_hours(24),
            max_nodes: 500,
            max_edges: 2_000,
            max_linked_spans: 10_000,
            max_metric_edges: 200,
        }
    }
}

impl Config {
    /// The key of the first value that is not allowed, and what is.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if !(Duration::from_mins(1)..=Duration::from_hours(24)).contains(&self.window) {
            return Err(("adapters.topology.window", "must be 1m to 24h"));
        }
        if !(self.window..=Duration::from_hours(7 * 24)).contains(&self.baseline) {
            let message = "must be at least adapters.topology.window and at most 7d";
            return Err(("adapters.topology.baseline", message));
        }
        for (key, most) in [
            ("adapters.topology.max_nodes", self.max_nodes),
            ("adapters.topology.max_edges", self.max_edges),
            ("adapters.topology.max_linked_spans", self.max_linked_spans),
        ] {
            if most == 0 {
                return Err((key, "must be at least 1"));
            }
        }
        Ok(())
    }

    fn bounds(&self, window: Option<Duration>) -> Bounds {
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Bounds {
            max_nodes: self.max_nodes,
            max_edges: self.max_edges,
            max_linked_spans: self.max_linked_spans,
            window: window.map(nanos),
            baseline: nanos(self.baseline),
        }
    }
}

/// The graph of traces that are all there. `kept_ratio` is the share of them that the memory had room for.
pub fn graph_of<'t>(
    traces: impl IntoIterator<Item = &'t Trace>,
    kept_ratio: f64,
    config: &Config,
) -> ServiceGraph {
    let mut state = State::new(config.bounds(None));
    let factor = (kept_ratio > 0.0).then(|| 1.0 / kept_ratio);
    for trace in traces {
        state.add(trace, factor, UnixNanos::MAX);
    }
    graph::of_all(&state)
}

/// Says in a graph what is new and what is gone beside another one.
pub fn compare(graph: &mut ServiceGraph, baseline: &ServiceGraph) {
    graph::compare(graph, baseline);
}

/// Adds what manifests know: what runs each node, and what runs and was never seen.
pub fn join(graph: &mut ServiceGraph, inventory: &Inventory) {
    manifests::join(graph, inventory);
}

/// The live graph.
#[derive(Debug)]
pub struct Topology {
    config: Config,
    /// Traces are told so many nanoseconds after their last span.
    lag: u64,
    state: State,
    graph: Option<Arc<ServiceGraph>>,
    metrics: DependencyMetrics,
}

impl Topology {
    /// A graph of nothing yet. Traces are told when nothing came for `quiet`.
    pub fn new(config: &Config, quiet: Duration) -> Self {
        Self {
            state: State::new(config.bounds(Some(config.window))),
            lag: u64::try_from(quiet.as_nanos()).unwrap_or(u64::MAX),
            graph: None,
            metrics: DependencyMetrics::new(config.max_metric_edges),
            config: config.clone(),
        }
    }

    fn tell(&mut self, graph: &ServiceGraph) {
        let mut edges: Vec<&GraphEdge> = graph.edges.iter().collect();
        edges.sort_by(|one, other| other.traffic.calls.total_cmp(&one.traffic.calls));
        let samples: Vec<DependencySample<'_>> = edges
            .into_iter()
            .map(|edge| DependencySample {
                labels: [&edge.from, &edge.to, edge.kind.label()],
                calls_per_sec: edge.traffic.calls_per_sec,
                error_ratio: edge.traffic.error_ratio,
                p95_secs: edge.traffic.latency.map(|latency| latency.p95),
                propagation_ratio: edge.propagation_ratio,
            })
            .collect();
        self.metrics.tell(graph.nodes.len(), &samples);
        self.metrics.refused_calls.absolute(graph.refused_calls);
        let unresolved = self.state.unresolved_links();
        self.metrics.unresolved_links.absolute(unresolved);
    }
}

impl Adapter for Topology {
    fn name(&self) -> &'static str {
        "topology"
    }

    /// Nobody says what they stand for, so they only show what there is.
    fn on_traces(&mut self, traces: &[Arc<Trace>], now: UnixNanos) {
        for trace in traces {
            self.state.add(trace, None, now);
        }
    }

    fn on_kept(&mut self, kept: &[KeptTrace], now: UnixNanos) {
        for kept in kept {
            let factor = kept.sampled_ratio.map(|ratio| 1.0 / ratio);
            self.state.add(&kept.trace, factor, now);
        }
    }

    fn on_report(&mut self, _report: &Report, now: UnixNanos) {
        self.state.forget(now);
        let graph = graph::of_window(&self.state, now, self.lag);
        self.tell(&graph);
        self.graph = Some(Arc::new(graph));
    }

    fn advise(&self, advice: &mut Advice) {
        advice.topology.clone_from(&self.graph);
        let state = match &self.graph {
            None => "on: no graph yet, the first one comes with the first evaluation".to_owned(),
            Some(graph) => said(graph, &self.config),
        };
        advice.states.insert(NEIGHBOUR, state);
    }
}

/// The state of the graph in a sentence.
fn said(graph: &ServiceGraph, config: &Config) -> String {
    let services = graph
        .nodes
        .iter()
        .filter(|node| node.kind == NodeKind::Service);
    let window = humantime_serde::re::humantime::format_duration(config.window);
    let mut text = format!(
        "on: {} services and {} edges in GET /api/v1/topology, rates of the last {window}",
        services.count(),
        graph.edges.len(),
    );
    if graph.refused_calls > 0 {
        text.push_str("; some calls had no place (adapters.topology.max_nodes, max_edges)");
    }
    text
}
