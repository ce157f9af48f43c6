//! What is drawn of a small graph, and that names cannot leave their place.

use super::*;
use crate::model::series::ServiceKey;
use crate::model::topology::{BlastRadius, Hit, LatencyQuantiles};

fn traffic(calls: f64, error_ratio: f64) -> Traffic {
    Traffic {
        calls,
        calls_per_sec: calls / 60.0,
        errors: calls * error_ratio,
        error_ratio: Some(error_ratio),
        latency: Some(LatencyQuantiles {
            p50: 0.01,
            p95: 0.05,
            p99: 0.2,
        }),
        observed: 10,
        observed_errors: 0,
    }
}

fn node(kind: NodeKind, name: &str, technology: &str) -> GraphNode {
    let key = ServiceKey::named(name);
    let is_observed = kind != NodeKind::Workload;
    GraphNode {
        id: kind.id(&key),
        kind,
        key,
        technology: technology.to_owned(),
        is_observed,
        workloads: vec![format!("Deployment shop/{name}")],
        traffic: if is_observed {
            traffic(120.0, 0.02)
        } else {
            Traffic::default()
        },
        in_degree: 1,
        out_degree: 1,
        page_rank: 0.25,
        depth: 1,
        blast_radius: BlastRadius {
            requests_ratio: Some(0.5),
            nodes: 1,
            hit: vec![Hit {
                node: "web".to_owned(),
                ratio: 0.5,
            }],
        },
    }
}

fn edge(from: &str, to: &str, kind: EdgeKind, error_ratio: f64) -> GraphEdge {
    GraphEdge {
        from: from.to_owned(),
        to: to.to_owned(),
        kind,
        traffic: traffic(60.0, error_ratio),
        propagation_ratio: (error_ratio > 0.0).then_some(0.75),
        first_seen: 0,
        last_seen: 0,
    }
}

fn small(web: &str) -> ServiceGraph {
    let mut nodes = vec![
        node(NodeKind::Service, web, ""),
        node(NodeKind::Service, "cart", ""),
        node(NodeKind::Database, "carts", "redis"),
        node(NodeKind::Queue, "orders", "kafka"),
        node(NodeKind::External, "api.example.com", ""),
        node(NodeKind::Workload, "mailer", ""),
    ];
    nodes.sort_by(|one, other| one.id.cmp(&other.id));
    let id = NodeKind::Service.id(&ServiceKey::named(web));
    let mut graph = ServiceGraph {
        from: 1_790_000_000_000_000_000,
        to: 1_790_000_060_000_000_000,
        traces: 60,
        counted_traces: 60,
        nodes,
        edges: vec![
            edge(&id, "cart", EdgeKind::Http, 0.06),
            edge(&id, "cart", EdgeKind::Rpc, 0.0),
            edge(&id, "queue:orders", EdgeKind::Messaging, 0.0),
            edge("cart", "database:carts", EdgeKind::Database, 0.002),
            edge("cart", "external:api.example.com", EdgeKind::Http, 0.0),
            edge("cart", &id, EdgeKind::Http, 0.0),
            edge("cart", "cart", EdgeKind::Http, 0.0),
        ],
        ..ServiceGraph::default()
    };
    graph.changes.new.push(graph.edges[4].name());
    graph.changes.vanished.push(EdgeName {
        from: id,
        to: "database:carts".to_owned(),
        kind: EdgeKind::Database,
    });
    graph
}

#[test]
fn a_small_graph_is_drawn_as_it_always_was() {
    let graph = small("web");
    insta::assert_snapshot!("dot", dot(&graph));
    insta::assert_snapshot!("svg", svg(&graph));
}

#[test]
fn names_from_telemetry_stay_text() {
    let name = "<script>alert('1')</script>\"];x\\\u{1}";
    let graph = small(name);
    let picture = svg(&graph);
    assert!(!picture.contains("<script"), "{picture}");
    assert!(picture.contains("&lt;script&gt;alert"), "{picture}");
    assert!(!picture.contains('\u{1}'), "{picture}");
    let text = dot(&graph);
    assert!(text.contains(r#"script>\"];x\\ ""#), "{text}");
}

/// Every element that is opened is closed, in its order.
#[test]
fn the_picture_is_well_formed() {
    for graph in [small("web"), ServiceGraph::default()] {
        let picture = svg(&graph);
        let mut open = Vec::new();
        for tag in picture.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').unwrap();
            let name = tag.split([' ', '/']).find(|part| !part.is_empty()).unwrap();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name), "{picture}");
            } else if !tag.ends_with('/') {
                open.push(name);
            }
        }
        assert_eq!(open, Vec::<&str>::new());
    }
}

#[test]
fn of_very_many_nodes_the_picture_has_the_most_important_ones_and_says_so() {
    let nodes = (0..400).map(|at| GraphNode {
        page_rank: f64::from(at),
        ..node(NodeKind::Service, &format!("s{at:03}"), "")
    });
    let graph = ServiceGraph {
        nodes: nodes.collect(),
        edges: (1..400)
            .map(|at| edge("s000", &format!("s{at:03}"), EdgeKind::Http, 0.0))
            .collect(),
        ..ServiceGraph::default()
    };
    let picture = svg(&graph);
    assert!(picture.contains("250 more nodes in JSON and DOT"));
    assert!(picture.contains("s399") && !picture.contains(">s010<"));
    assert_eq!(dot(&graph).matches(" -> ").count(), 399);
}

#[test]
fn rates_are_told_by_the_unit_that_reads_best() {
    for (per_sec, text) in [
        (12.34, "12.3/s"),
        (0.5, "0.5/s"),
        (0.1, "6/min"),
        (0.001, "3.6/h"),
    ] {
        assert_eq!(rate(per_sec), text);
    }
}
