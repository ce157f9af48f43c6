//! The service graph: who calls whom, how often, how well, and who is hit when one of them fails.

use std::fmt::{self, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::UnixNanos;
use crate::model::incident::MemoryError;
use crate::model::series::ServiceKey;

/// A graph of what was seen in traces, and of what manifests say besides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ServiceGraph {
    /// Start of what is counted, nanoseconds since 1970.
    pub from: UnixNanos,
    /// End of it.
    pub to: UnixNanos,
    /// Traces of that time that were looked at.
    pub traces: u64,
    /// Those of them that were kept by their id alone, or because all were: rates come from them.
    pub counted_traces: u64,
    /// Sorted by id.
    pub nodes: Vec<GraphNode>,
    /// Sorted by caller, callee and kind.
    pub edges: Vec<GraphEdge>,
    /// Nodes that call each other in a circle, each sorted by id.
    pub cycles: Vec<Vec<String>>,
    /// Ids of the nodes besides entries whose failure would hit at least half of the requests from outside, the most first.
    pub critical: Vec<String>,
    /// What is new and what is gone.
    pub changes: EdgeChanges,
    /// Calls to or from what the bounds have no place for.
    pub refused_calls: u64,
}

/// What calls or is called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GraphNode {
    /// Unique in its graph: `shop/checkout@prod`, `database:shop/postgresql@prod`, `queue:orders@prod`,
    /// `external:api.stripe.com`, `workload:shop/mailer`.
    pub id: String,
    /// What it is.
    pub kind: NodeKind,
    /// Its name, with namespace and environment where they are known. `service.name` of services.
    pub key: ServiceKey,
    /// `postgresql`, `kafka` …; empty if not said.
    pub technology: String,
    /// Whether it was seen in traces; what only manifests know was not.
    pub is_observed: bool,
    /// What runs it, by its manifest: `Deployment/checkout`, `Service/checkout`.
    pub workloads: Vec<String>,
    /// Requests that it got: entry spans of services, calls of others.
    pub traffic: Traffic,
    /// Nodes that call it.
    pub in_degree: u32,
    /// Nodes that it calls.
    pub out_degree: u32,
    /// How much of all calls ends up here: `PageRank` over calls, damping 0.85; adds up to 1 over all nodes.
    pub page_rank: f64,
    /// Calls between it and the farthest entry, circles counted once.
    pub depth: u32,
    /// Who is hit when it fails.
    pub blast_radius: BlastRadius,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// It reports spans.
    Service,
    /// A database, by what its clients say.
    Database,
    /// A destination of messages.
    Queue,
    /// Something else that is called and reports no spans.
    External,
    /// A workload of the manifests that was never seen.
    Workload,
}

/// How often, how well and how fast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Traffic {
    /// Adjusted for sampling.
    pub calls: f64,
    /// The same in a second.
    pub calls_per_sec: f64,
    /// Failed ones, adjusted.
    pub errors: f64,
    /// Failed ones of all; `null` where none may be counted.
    pub error_ratio: Option<f64>,
    /// How long they took, in seconds; `null` where none may be counted.
    pub latency: Option<LatencyQuantiles>,
    /// Spans behind these numbers, whether they may be counted or only show that something is there.
    pub observed: u64,
    /// Failed ones of them.
    pub observed_errors: u64,
}

/// Quantiles in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LatencyQuantiles {
    /// Half are at most as slow.
    pub p50: f64,
    /// 95 % are.
    pub p95: f64,
    /// 99 % are.
    pub p99: f64,
}

/// Calls from one node to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GraphEdge {
    /// Id of the caller.
    pub from: String,
    /// Id of the callee.
    pub to: String,
    /// By which protocol.
    pub kind: EdgeKind,
    /// As the caller sees them, where its span is there.
    pub traffic: Traffic,
    /// Share of the failed calls after which the caller's own work failed too; `null` where no call failed.
    pub propagation_ratio: Option<f64>,
    /// First call that is remembered.
    pub first_seen: UnixNanos,
    /// Last call.
    pub last_seen: UnixNanos,
}

/// By which protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EdgeKind {
    /// HTTP.
    Http,
    /// gRPC and other remote procedure calls.
    Rpc,
    /// A message, whose sender goes on.
    Messaging,
    /// A statement.
    Database,
    /// Nobody says.
    Other,
}

/// Who is hit when a node fails.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BlastRadius {
    /// Share of the requests from outside that would fail; `null` where no requests from outside were seen.
    pub requests_ratio: Option<f64>,
    /// Nodes that would be hit in at least 1 % of their requests.
    pub nodes: u32,
    /// The first 20 of them, the most hit first.
    pub hit: Vec<Hit>,
}

/// A node that is hit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Hit {
    /// Its id.
    pub node: String,
    /// Share of its requests that would fail, by the likeliest way alone: at least so many.
    pub ratio: f64,
}

/// What is new and what is gone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EdgeChanges {
    /// What this graph is compared with, in words; empty if with nothing.
    pub compared_with: String,
    /// Edges that were not there then.
    pub new: Vec<EdgeName>,
    /// Edges that were there then and are not now.
    pub vanished: Vec<EdgeName>,
}

/// An edge without its numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EdgeName {
    /// Id of the caller.
    pub from: String,
    /// Id of the callee.
    pub to: String,
    /// By which protocol.
    pub kind: EdgeKind,
}

/// A node by what tells it from others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeRef {
    /// What it is.
    pub kind: NodeKind,
    /// Its name.
    pub key: ServiceKey,
}

/// The edges that were seen so far: what tells new and vanished ones after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownEdges {
    /// When it was begun to look.
    pub since: UnixNanos,
    /// When it was looked last.
    pub until: UnixNanos,
    /// In no order.
    pub edges: Vec<KnownEdge>,
    /// Who answers to a name that callers have for it: environment, name, node.
    pub names: Vec<(Arc<str>, Arc<str>, NodeRef)>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownEdge {
    /// Who calls.
    pub from: NodeRef,
    /// Who is called.
    pub to: NodeRef,
    /// By which protocol.
    pub kind: EdgeKind,
    /// First call.
    pub first_seen: UnixNanos,
    /// Last call.
    pub last_seen: UnixNanos,
}

/// Keeps the edges over a restart. Its calls may wait for a disk.
pub trait EdgeMemory: Send + Sync + fmt::Debug {
    /// What was kept last; nothing if nothing ever was.
    fn edges(&self) -> Result<KnownEdges, MemoryError>;

    /// Keeps these in place of what was kept before.
    fn keep_edges(&self, edges: &KnownEdges) -> Result<(), MemoryError>;
}

impl NodeKind {
    /// As ids and people have it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Database => "database",
            Self::Queue => "queue",
            Self::External => "external",
            Self::Workload => "workload",
        }
    }

    /// The id of a node of this kind. Characters that part an id are escaped in the parts of it.
    pub fn id(self, key: &ServiceKey) -> String {
        let mut id = String::new();
        if self != Self::Service {
            id.push_str(self.label());
            id.push(':');
        }
        if !key.namespace.is_empty() {
            push_escaped(&mut id, &key.namespace);
            id.push('/');
        }
        push_escaped(&mut id, &key.name);
        if !key.environment.is_empty() {
            id.push('@');
            push_escaped(&mut id, &key.environment);
        }
        id
    }
}

fn push_escaped(id: &mut String, part: &str) {
    for character in part.chars() {
        match character {
            '%' => id.push_str("%25"),
            '/' => id.push_str("%2F"),
            ':' => id.push_str("%3A"),
            '@' => id.push_str("%40"),
            _ => id.push(character),
        }
    }
}

impl EdgeKind {
    /// As people have it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Rpc => "rpc",
            Self::Messaging => "messaging",
            Self::Database => "database",
            Self::Other => "other",
        }
    }
}

impl GraphEdge {
    /// The edge without its numbers.
    pub fn name(&self) -> EdgeName {
        EdgeName {
            from: self.from.clone(),
            to: self.to.clone(),
            kind: self.kind,
        }
    }
}

impl ServiceGraph {
    /// The node with this id.
    pub fn node(&self, id: &str) -> Option<&GraphNode> {
        let at = self.nodes.binary_search_by(|node| node.id.as_str().cmp(id));
        at.ok().and_then(|at| self.nodes.get(at))
    }

    /// The graph as lines of text, short enough to be a part of a question to a language model: at most so many edges, those
    /// with the most calls.
    pub fn to_text(&self, max_edges: usize) -> String {
        let mut text = String::new();
        self.write_text(&mut text, max_edges).ok();
        text
    }

    fn write_text(&self, text: &mut String, max_edges: usize) -> fmt::Result {
        let services = self
            .nodes
            .iter()
            .filter(|node| node.kind == NodeKind::Service);
        writeln!(
            text,
            "{} services, {} nodes, {} edges from {} traces",
            services.count(),
            self.nodes.len(),
            self.edges.len(),
            self.traces
        )?;
        let mut edges: Vec<&GraphEdge> = self.edges.iter().collect();
        edges.sort_by(|one, other| {
            let by_calls = other.traffic.calls.total_cmp(&one.traffic.calls);
            by_calls.then_with(|| one.name().cmp(&other.name()))
        });
        for edge in edges.iter().take(max_edges) {
            write!(text, "{} -> {} {}", edge.from, edge.to, edge.kind.label())?;
            write_traffic(text, &edge.traffic)?;
            if let Some(ratio) = edge.propagation_ratio {
                write!(text, " propagates {:.0}%", 100.0 * ratio)?;
            }
            text.push('\n');
        }
        if edges.len() > max_edges {
            writeln!(text, "and {} more edges", edges.len() - max_edges)?;
        }
        for cycle in &self.cycles {
            writeln!(text, "circle: {}", cycle.join(", "))?;
        }
        if !self.critical.is_empty() {
            writeln!(text, "critical: {}", self.critical.join(", "))?;
        }
        for (what, edges) in [
            ("new", &self.changes.new),
            ("vanished", &self.changes.vanished),
        ] {
            for edge in edges.iter().take(max_edges) {
                let kind = edge.kind.label();
                writeln!(text, "{what}: {} -> {} {kind}", edge.from, edge.to)?;
            }
        }
        Ok(())
    }
}

fn write_traffic(text: &mut String, traffic: &Traffic) -> fmt::Result {
    if traffic.calls > 0.0 {
        write!(text, " {}/s", significant(traffic.calls_per_sec))?;
    } else {
        write!(text, " seen {} times", traffic.observed)?;
    }
    if let Some(ratio) = traffic.error_ratio {
        write!(text, " errors {}%", significant(100.0 * ratio))?;
    }
    if let Some(latency) = &traffic.latency {
        write!(text, " p95 {}ms", significant(1_000.0 * latency.p95))?;
    }
    Ok(())
}

/// Three significant digits, for people: `0.0123`, `1.23`, `123`, `12345`.
pub fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return "0".to_owned();
    }
    let digits = [1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0];
    // Counted from what rounding makes of it, so that 9.999 is 10.0 and not 10.00.
    let magnitude = value.abs() * 1.0005;
    let decimals = digits.iter().filter(|edge| magnitude < **edge).count();
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_readable_and_tell_every_node_from_every_other() {
        let key = |namespace: &str, name: &str, environment: &str| ServiceKey {
            namespace: namespace.into(),
            name: name.into(),
            environment: environment.into(),
        };
        for (kind, key, id) in [
            (NodeKind::Service, key("", "cart", ""), "cart"),
            (
                NodeKind::Service,
                key("shop", "cart", "prod"),
                "shop/cart@prod",
            ),
            (
                NodeKind::Service,
                key("", "queue:shop/a@b%", ""),
                "queue%3Ashop%2Fa%40b%25",
            ),
            (NodeKind::Queue, key("shop", "a", "b"), "queue:shop/a@b"),
            (
                NodeKind::External,
                key("", "api.example.com", ""),
                "external:api.example.com",
            ),
        ] {
            assert_eq!(kind.id(&key), id);
        }
    }

    #[test]
    fn numbers_have_three_significant_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.001_234, "0.00123"),
            (0.5, "0.5"),
            (1.0, "1"),
            (1.234, "1.23"),
            (9.999, "10"),
            (12.34, "12.3"),
            (123.4, "123"),
            (100.0, "100"),
            (12_345.6, "12346"),
        ] {
            assert_eq!(significant(value), text, "{value}");
        }
    }
}
