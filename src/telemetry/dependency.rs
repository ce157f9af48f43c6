//! The metrics of the service graph: gauges of a bounded number of edges, over the graph's window.

use std::collections::BTreeMap;

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

/// Calls in a second; labels `caller`, `callee` (ids of the graph) and `kind`, here and below.
const CALLS: &str = "slo_copilot_dependency_calls_per_second";
/// Failed calls of all.
const ERRORS: &str = "slo_copilot_dependency_error_ratio";
/// 95th percentile of the time that calls take. Prometheus keeps the label `quantile` for summaries.
const LATENCY: &str = "slo_copilot_dependency_latency_p95_seconds";
/// Failed calls after which the caller failed too, of all failed ones.
const PROPAGATION: &str = "slo_copilot_dependency_propagation_ratio";
/// Nodes of the graph.
const NODES: &str = "slo_copilot_topology_nodes";
/// Edges of the graph.
const EDGES: &str = "slo_copilot_topology_edges";
/// Edges without metrics of their own.
const UNTOLD: &str = "slo_copilot_topology_untold_edges";
/// Calls that the bounds had no place for.
const REFUSED: &str = "slo_copilot_topology_refused_calls_total";
/// Links of consumers that lead to no remembered message.
const UNRESOLVED: &str = "slo_copilot_topology_unresolved_links_total";

/// Help texts.
pub(super) fn describe() {
    describe_gauge!(
        CALLS,
        "Calls of an edge of the service graph in a second, adjusted for sampling; an estimate from whole traces, no SLI."
    );
    describe_gauge!(
        ERRORS,
        "Failed calls of an edge of the service graph, of all."
    );
    describe_gauge!(
        LATENCY,
        "95th percentile of the time that calls of an edge of the service graph take."
    );
    describe_gauge!(
        PROPAGATION,
        "Failed calls of an edge after which the caller's own work failed too, of all failed ones."
    );
    describe_gauge!(NODES, "Nodes of the service graph.");
    describe_gauge!(EDGES, "Edges of the service graph.");
    describe_gauge!(
        UNTOLD,
        "Edges of the service graph without metrics of their own (adapters.topology.max_metric_edges)."
    );
    describe_counter!(
        REFUSED,
        "Calls for which the service graph had no place (adapters.topology.max_nodes, max_edges)."
    );
    describe_counter!(
        UNRESOLVED,
        "Links of consumers to messages that are not remembered (adapters.topology.max_linked_spans)."
    );
}

/// An edge as it is told.
#[derive(Clone, Copy, Debug)]
pub struct DependencySample<'a> {
    /// Caller, callee and protocol.
    pub labels: [&'a str; 3],
    /// Calls in a second.
    pub calls_per_sec: f64,
    /// Failed ones of all.
    pub error_ratio: Option<f64>,
    /// 95th percentile in seconds.
    pub p95_secs: Option<f64>,
    /// Failed ones that took the caller with them.
    pub propagation_ratio: Option<f64>,
}

struct EdgeGauges {
    calls: Gauge,
    errors: Gauge,
    latency: Gauge,
    propagation: Gauge,
}

/// What the topology reports.
pub struct DependencyMetrics {
    most: usize,
    edges: BTreeMap<[String; 3], EdgeGauges>,
    nodes_held: Gauge,
    edges_held: Gauge,
    untold: Gauge,
    /// Calls refused.
    pub refused_calls: Counter,
    /// Links unresolved.
    pub unresolved_links: Counter,
}

impl DependencyMetrics {
    /// Registers the metrics; at most so many edges will have their own.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            edges: BTreeMap::new(),
            nodes_held: gauge!(NODES),
            edges_held: gauge!(EDGES),
            untold: gauge!(UNTOLD),
            refused_calls: counter!(REFUSED),
            unresolved_links: counter!(UNRESOLVED),
        }
    }

    /// Tells the newest graph. The edges with the most calls should come first: once there is no room, further ones are only
    /// counted. An edge that is gone has no calls.
    pub fn tell(&mut self, nodes: usize, samples: &[DependencySample<'_>]) {
        for gauges in self.edges.values() {
            gauges.calls.set(0.0);
            for gauge in [&gauges.errors, &gauges.latency, &gauges.propagation] {
                gauge.set(f64::NAN);
            }
        }
        let mut untold = 0_u32;
        for sample in samples {
            let key = sample.labels.map(str::to_owned);
            if !self.edges.contains_key(&key) && self.edges.len() >= self.most {
                untold += 1;
                continue;
            }
            let gauges = self
                .edges
                .entry(key)
                .or_insert_with(|| EdgeGauges::new(sample.labels));
            gauges.calls.set(sample.calls_per_sec);
            gauges.errors.set(sample.error_ratio.unwrap_or(f64::NAN));
            gauges.latency.set(sample.p95_secs.unwrap_or(f64::NAN));
            gauges
                .propagation
                .set(sample.propagation_ratio.unwrap_or(f64::NAN));
        }
        self.nodes_held.set(nodes as f64);
        self.edges_held.set(samples.len() as f64);
        self.untold.set(f64::from(untold));
    }
}

impl EdgeGauges {
    fn new([caller, callee, kind]: [&str; 3]) -> Self {
        let labels = [
            ("caller", caller.to_owned()),
            ("callee", callee.to_owned()),
            ("kind", kind.to_owned()),
        ];
        Self {
            calls: gauge!(CALLS, &labels),
            errors: gauge!(ERRORS, &labels),
            latency: gauge!(LATENCY, &labels),
            propagation: gauge!(PROPAGATION, &labels),
        }
    }
}

impl std::fmt::Debug for DependencyMetrics {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let told = self.edges.len();
        out.debug_struct("DependencyMetrics")
            .field("told", &told)
            .finish_non_exhaustive()
    }
}
