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

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::adapter::Adapter;
use crate::adapter::kubernetes::Inventory;
use crate::adapter::topology::state::{Bounds, State};
use crate::model::UnixNanos;
use crate::model::advice::Advice;
use crate::model::report::Report;
use crate::model::topology::{EdgeMemory, GraphEdge, NodeKind, ServiceGraph};
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
    /// How often the edges go to the store, so that a restart forgets none; new ones go at once. Default 1m; at least 1s.
    #[serde(with = "humantime_serde")]
    pub store_interval: Duration,
    /// Kubernetes manifests that say what runs the nodes, and what runs unseen: files, directories or patterns. None by default.
    pub manifests: Vec<PathBuf>,
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
            store_interval: Duration::from_mins(1),
            manifests: Vec::new(),
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
        if self.store_interval < Duration::from_secs(1) {
            return Err(("adapters.topology.store_interval", "must be at least 1s"));
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
    inventory: Option<Inventory>,
    memory: Arc<dyn EdgeMemory>,
    /// When edges went to the memory last, and how many.
    kept: (UnixNanos, usize),
}

impl Topology {
    /// A graph of what `memory` knows at `now`. Traces are told when nothing came for `quiet`.
    pub fn new(
        config: &Config,
        quiet: Duration,
        inventory: Option<Inventory>,
        memory: Arc<dyn EdgeMemory>,
        now: UnixNanos,
    ) -> Self {
        let mut state = State::new(config.bounds(Some(config.window)));
        match memory.edges() {
            // After a longer time without a look, edges that were there all along would be said to have vanished.
            Ok(known) => {
                let is_recent = now.saturating_sub(known.until) <= nanos(config.baseline);
                if is_recent && !known.edges.is_empty() {
                    state.restore(known);
                }
            }
            Err(error) => tracing::warn!(
                %error,
                "Cannot read the edges of the time before; new and vanished ones are told from here on."
            ),
        }
        let kept = (now, state.edges.len());
        Self {
            state,
            lag: nanos(quiet),
            graph: None,
            metrics: DependencyMetrics::new(config.max_metric_edges),
            config: config.clone(),
            inventory,
            memory,
            kept,
        }
    }

    fn renew(&mut self, now: UnixNanos) -> ServiceGraph {
        self.state.forget(now);
        let mut graph = graph::of_window(&self.state, now, self.lag);
        if let Some(inventory) = &self.inventory {
            manifests::join(&mut graph, inventory);
        }
        let (at, edges) = self.kept;
        let is_due = now.saturating_sub(at) >= nanos(self.config.store_interval);
        let now_known = self.state.edges.len();
        if now_known > 0 && (is_due || now_known > edges) {
            self.kept = (now, now_known);
            if let Err(error) = self.memory.keep_edges(&self.state.known(now)) {
                tracing::warn!(%error, "Cannot keep the edges of the service graph; a restart forgets them.");
            }
        }
        graph
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
        let graph = self.renew(now);
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

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
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
    let unseen = graph
        .nodes
        .iter()
        .filter(|node| node.kind == NodeKind::Workload);
    let unseen = unseen.count();
    if unseen > 0 {
        // Writing into a string does not fail.
        write!(text, "; {unseen} workloads of the manifests were not seen").unwrap_or_default();
    }
    if graph.refused_calls > 0 {
        text.push_str("; some calls had no place (adapters.topology.max_nodes, max_edges)");
    }
    text
}
