//! Small traces and graphs by hand, figures of others, and properties against naive models.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::adapter::kubernetes::read_manifests;
use crate::model::NANOS_PER_SEC;
use crate::model::incident::MemoryError;
use crate::model::series::ServiceKey;
use crate::model::span::SpanKind::{Client, Consumer, Internal, Producer, Server};
use crate::model::topology::{BlastRadius, EdgeKind, EdgeName, GraphNode, KnownEdges, Traffic};
use crate::model::trace::{AttributeValue, SpanLink, TraceResource, TraceSpan};
use crate::openslo::read::SourceFile;
use crate::trace::fixture::{failed, span, trace};
use crate::trace::sampling::{Randomness, Threshold};

const NOW: u64 = 1_790_000_000 * NANOS_PER_SEC;

fn with(span: TraceSpan, attributes: &[(&str, &str)]) -> TraceSpan {
    let text = |(key, value): &(&str, &str)| ((*key).into(), AttributeValue::Text((*value).into()));
    TraceSpan {
        attributes: attributes.iter().map(text).collect(),
        ..span
    }
}

fn placed(span: TraceSpan, namespace: &str, environment: &str) -> TraceSpan {
    let service = ServiceKey {
        namespace: namespace.into(),
        environment: environment.into(),
        name: Arc::clone(&span.resource.service.name),
    };
    let resource = TraceResource {
        service,
        ..(*span.resource).clone()
    };
    TraceSpan {
        resource: Arc::new(resource),
        ..span
    }
}

fn graph(traces: &[Trace]) -> ServiceGraph {
    graph_of(traces, 1.0, &Config::default())
}

/// Edges as `caller -> callee kind calls/errors`.
fn edges(graph: &ServiceGraph) -> Vec<String> {
    let edges = graph.edges.iter().map(|edge| {
        let Traffic { calls, errors, .. } = edge.traffic;
        let kind = edge.kind.label();
        format!("{} -> {} {kind} {calls}/{errors}", edge.from, edge.to)
    });
    edges.collect()
}

#[test]
fn a_call_is_one_edge_with_the_time_that_its_caller_waits() {
    let spans = vec![
        span("1", "", "web", Server, (0, 100_000_000)),
        span("2", "1", "web", Internal, (0, 90_000_000)),
        with(
            span("3", "2", "web", Client, (0, 80_000_000)),
            &[
                ("http.request.method", "GET"),
                ("server.address", "cart.shop.svc"),
            ],
        ),
        failed(span("4", "3", "cart", Server, (10_000_000, 20_000_000))),
    ];
    let graph = graph(&[trace(spans)]);
    assert_eq!(edges(&graph), ["web -> cart http 1/1"]);
    let edge = &graph.edges[0];
    let p95 = edge.traffic.latency.unwrap().p95;
    assert!((p95 - 0.08).abs() < 0.002, "{p95}");
    assert_eq!(edge.propagation_ratio, Some(0.0), "the caller did well");
    let cart = graph.node("cart").unwrap();
    assert_eq!((cart.traffic.calls, cart.traffic.errors), (1.0, 1.0));
    assert_eq!((cart.in_degree, cart.out_degree, cart.depth), (1, 0, 1));
}

#[test]
fn what_reports_no_spans_is_known_by_old_and_new_attributes() {
    let call = |id: &str, attributes: &[(&str, &str)]| {
        with(span(id, "1", "web", Client, (0, 9)), attributes)
    };
    let spans = vec![
        span("1", "", "web", Server, (0, 100)),
        call(
            "2",
            &[("db.system", "mysql"), ("net.peer.name", "orders-db")],
        ),
        call("3", &[("db.system.name", "redis")]),
        call(
            "4",
            &[
                ("db.system.name", "postgresql"),
                ("server.address", "db.eu.example.com"),
            ],
        ),
        call(
            "5",
            &[("http.method", "GET"), ("net.peer.name", "api.stripe.com")],
        ),
        call("6", &[("rpc.service", "shop.Tax"), ("rpc.method", "Get")]),
        call(
            "7",
            &[
                ("messaging.operation.type", "receive"),
                ("messaging.destination.name", "x"),
            ],
        ),
        call("8", &[]),
    ];
    let spans = spans
        .into_iter()
        .map(|span| placed(span, "shop", "prod"))
        .collect();
    let graph = graph(&[trace(spans)]);
    assert_eq!(
        edges(&graph),
        [
            "shop/web@prod -> database:db.eu.example.com@prod database 1/0",
            "shop/web@prod -> database:shop/orders-db@prod database 1/0",
            "shop/web@prod -> database:shop/redis@prod database 1/0",
            "shop/web@prod -> external:api.stripe.com@prod http 1/0",
            "shop/web@prod -> external:shop.Tax@prod rpc 1/0",
        ]
    );
    let database = graph.node("database:shop/orders-db@prod").unwrap();
    assert_eq!(
        (&*database.technology, database.traffic.calls),
        ("mysql", 1.0)
    );
}

#[test]
fn messages_go_by_their_destination_over_traces_and_namespaces() {
    let orders = [
        ("messaging.destination.name", "orders"),
        ("messaging.system", "kafka"),
    ];
    let sent = vec![
        placed(span("1", "", "checkout", Server, (0, 10)), "shop", ""),
        placed(
            with(span("2", "1", "checkout", Producer, (1, 2)), &orders),
            "shop",
            "",
        ),
    ];
    let taken = placed(
        with(span("3", "", "depot", Consumer, (50, 60)), &orders),
        "store",
        "",
    );
    let same_trace = vec![
        with(span("4", "", "a", Producer, (0, 1)), &[]),
        with(span("5", "4", "b", Consumer, (5, 6)), &orders),
        with(span("6", "5", "b", Consumer, (5, 6)), &orders),
    ];
    let graph = graph(&[trace(sent), trace(vec![taken]), trace(same_trace)]);
    assert_eq!(
        edges(&graph),
        [
            "a -> queue:orders messaging 1/0",
            "queue:orders -> b messaging 1/0",
            "queue:orders -> store/depot messaging 1/0",
            "shop/checkout -> queue:orders messaging 1/0",
        ]
    );
    let queue = graph.node("queue:orders").unwrap();
    assert_eq!((&*queue.technology, queue.traffic.calls), ("kafka", 2.0));
    let depot = graph.node("store/depot").unwrap();
    assert!(depot.blast_radius.hit.is_empty(), "senders go on");
}

#[test]
fn a_consumer_that_names_no_destination_is_joined_by_its_links() {
    let mut sent = trace(vec![span("1", "", "a", Producer, (0, 1))]);
    sent.trace_id = "first".into();
    let link = |span: &str| SpanLink {
        trace_id: "first".into(),
        span_id: span.into(),
    };
    let mut taken = span("9", "", "b", Consumer, (5, 6));
    taken.links = vec![link("1"), link("1"), link("2")];
    let mut state = State::new(Config::default().bounds(None));
    for trace in [sent, trace(vec![taken])] {
        state.add(&trace, Some(1.0), u64::MAX);
    }
    assert_eq!(edges(&graph::of_all(&state)), ["a -> b messaging 1/0"]);
    assert_eq!(state.unresolved_links(), 1);
}

#[test]
fn a_call_whose_server_span_is_missing_leads_to_the_service_of_that_name() {
    let call = |id: &str, host: &str| {
        with(
            span(id, "1", "web", Client, (0, 9)),
            &[("http.method", "GET"), ("server.address", host)],
        )
    };
    let whole = vec![
        span("1", "", "web", Server, (0, 100)),
        call("2", "basket"),
        span("3", "2", "cart", Server, (0, 5)),
    ];
    let parts = vec![
        span("1", "", "web", Server, (0, 100)),
        call("2", "basket"),
        call("3", "cart"),
    ];
    let graph = graph(&[trace(whole), trace(parts)]);
    // `basket` answered as `cart` once.
    assert_eq!(edges(&graph), ["web -> cart http 3/0"]);

    let of =
        |id: &str, namespace: &str| placed(span(id, "", "cart", Server, (0, 5)), namespace, "");
    let outside = vec![span("1", "", "web", Server, (0, 100)), call("3", "cart")];
    let two = [
        trace(vec![of("1", "a")]),
        trace(vec![of("2", "b")]),
        trace(outside),
    ];
    let graph = graph_of(&two, 1.0, &Config::default());
    assert_eq!(
        edges(&graph),
        ["web -> external:cart http 1/0"],
        "either may be meant"
    );
}

/// A server names its own host, which is no name of whom it calls.
#[test]
fn what_a_server_says_of_itself_is_no_name_of_its_callee() {
    let web = [
        ("http.request.method", "GET"),
        ("server.address", "shop.example.com"),
    ];
    let whole = vec![
        with(span("1", "", "web", Server, (0, 100)), &web),
        with(
            span("2", "1", "cart", Server, (0, 9)),
            &[("rpc.method", "Get")],
        ),
    ];
    let other = with(span("3", "", "partner", Client, (0, 9)), &web);
    let graph = graph(&[trace(whole), trace(vec![other])]);
    assert_eq!(
        edges(&graph),
        [
            "partner -> external:shop.example.com http 1/0",
            "web -> cart rpc 1/0"
        ]
    );
    assert_eq!((graph.traces, graph.counted_traces), (2, 2));
}

#[test]
fn a_wrapped_call_is_one_and_an_answer_of_404_is_no_failure() {
    let http = |id: &str, parent: &str, status: i64| {
        let made = with(
            span(id, parent, "web", Client, (0, 9)),
            &[
                ("http.request.method", "GET"),
                ("server.address", "api.example.com"),
            ],
        );
        let mut made = failed(made);
        made.attributes.push((
            "http.response.status_code".into(),
            AttributeValue::Int(status),
        ));
        made
    };
    let spans = vec![
        failed(span("1", "", "web", Server, (0, 100))),
        http("2", "1", 404),
        http("3", "2", 404),
        http("4", "1", 503),
    ];
    let graph = graph(&[trace(spans)]);
    assert_eq!(edges(&graph), ["web -> external:api.example.com http 2/1"]);
    assert_eq!(graph.edges[0].propagation_ratio, Some(1.0));
}

/// A graph of services with these calls; each has as many requests as it is called, and entries 100 from outside.
fn shape(names: &[&str], calls: &[(&str, &str, f64)]) -> ServiceGraph {
    let nodes = names.iter().map(|name| {
        let into = calls.iter().filter(|(_, to, _)| to == name);
        let requests: f64 = into.map(|(_, _, calls)| calls).sum();
        GraphNode {
            id: (*name).to_owned(),
            kind: NodeKind::Service,
            key: ServiceKey::named(name),
            technology: String::new(),
            is_observed: true,
            workloads: Vec::new(),
            traffic: Traffic {
                calls: if requests > 0.0 { requests } else { 100.0 },
                ..Traffic::default()
            },
            in_degree: 0,
            out_degree: 0,
            page_rank: 0.0,
            depth: 0,
            blast_radius: BlastRadius::default(),
        }
    });
    let edges = calls.iter().map(|(from, to, calls)| GraphEdge {
        from: (*from).to_owned(),
        to: (*to).to_owned(),
        kind: EdgeKind::Http,
        traffic: Traffic {
            calls: *calls,
            ..Traffic::default()
        },
        propagation_ratio: None,
        first_seen: 0,
        last_seen: 0,
    });
    let mut graph = ServiceGraph {
        nodes: nodes.collect(),
        edges: edges.collect(),
        ..ServiceGraph::default()
    };
    let outside: Vec<f64> = graph
        .nodes
        .iter()
        .map(|node| {
            let is_called = calls.iter().any(|(_, to, _)| *to == node.id);
            if is_called { 0.0 } else { 100.0 }
        })
        .collect();
    analysis::analyse(&mut graph, &outside);
    graph
}

/// networkx 3 `pagerank(alpha=0.85, weight="weight", tol=1e-14)` of the same graph.
#[test]
fn page_rank_is_that_of_networkx() {
    let calls = [
        ("a", "b", 10.0),
        ("a", "c", 30.0),
        ("b", "c", 5.0),
        ("c", "d", 20.0),
        ("d", "b", 2.0),
        ("e", "c", 7.0),
    ];
    let graph = shape(&["a", "b", "c", "d", "e", "f"], &calls);
    let ranks: Vec<f64> = graph.nodes.iter().map(|node| node.page_rank).collect();
    let wanted = [
        0.029_126_214,
        0.291_335_258,
        0.320_086_426,
        0.301_199_675,
        0.029_126_214,
        0.029_126_214,
    ];
    for (rank, wanted) in ranks.iter().zip(wanted) {
        assert!((rank - wanted).abs() < 2e-9, "{ranks:?}");
    }
    assert_eq!(graph.cycles, [["b", "c", "d"].map(str::to_owned)]);
    let depths: Vec<u32> = graph.nodes.iter().map(|node| node.depth).collect();
    assert_eq!(depths, [0, 1, 1, 1, 0, 0]);
}

#[test]
fn who_is_hit_follows_calls_and_what_errors_did_before() {
    // Half of the requests of `web` ask `cart`, a tenth `ads`; each of `cart` asks `store`.
    let mut graph = shape(
        &["ads", "cart", "store", "web"],
        &[
            ("cart", "store", 50.0),
            ("web", "ads", 10.0),
            ("web", "cart", 50.0),
        ],
    );
    let radius = |graph: &ServiceGraph, id: &str| {
        let radius = &graph.node(id).unwrap().blast_radius;
        let hit = radius
            .hit
            .iter()
            .map(|hit| (hit.node.clone(), (100.0 * hit.ratio).round()));
        (
            radius.requests_ratio.map(|ratio| (100.0 * ratio).round()),
            hit.collect::<Vec<_>>(),
        )
    };
    let named = |name: &str, percent: f64| (name.to_owned(), percent);
    let store = (Some(50.0), vec![named("cart", 100.0), named("web", 50.0)]);
    assert_eq!(radius(&graph, "store"), store);
    assert_eq!(
        radius(&graph, "ads"),
        (Some(10.0), vec![named("web", 10.0)])
    );
    assert_eq!(radius(&graph, "web"), (Some(100.0), Vec::new()));
    assert_eq!(graph.critical, ["cart", "store"]);

    // 99 failed calls of `cart` did nothing to `web`; one more is counted as if it had.
    let edge = graph
        .edges
        .iter_mut()
        .find(|edge| edge.to == "cart")
        .unwrap();
    edge.traffic.observed_errors = 99;
    edge.propagation_ratio = Some(0.0);
    analysis::analyse(&mut graph, &[0.0, 0.0, 0.0, 100.0]);
    let (requests, hit) = radius(&graph, "store");
    assert_eq!((requests, hit), (Some(1.0), vec![named("cart", 100.0)]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Who is hit is the best product over all ways; ranks add up to 1; what calls each other stands in one circle.
    #[test]
    fn property_analyses_are_those_of_a_naive_model(
        calls in prop::collection::btree_map((0..6_usize, 0..6_usize), 1..50_u32, 0..14),
    ) {
        const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
        let calls: BTreeMap<(usize, usize), u32> = calls.into_iter().filter(|((from, to), _)| from != to).collect();
        let listed: Vec<(&str, &str, f64)> = calls
            .iter()
            .map(|((from, to), count)| (NAMES[*from], NAMES[*to], f64::from(*count)))
            .collect();
        let graph = shape(&NAMES, &listed);
        let sum: f64 = graph.nodes.iter().map(|node| node.page_rank).sum();
        prop_assert!((sum - 1.0).abs() < 1e-9);
        // As Floyd and Warshall have it, with products.
        let mut best = [[0.0_f64; 6]; 6];
        for ((from, to), count) in &calls {
            let requests = graph.nodes[*from].traffic.calls;
            best[*from][*to] = (f64::from(*count) / requests).min(1.0);
        }
        for by in 0..6 {
            for from in 0..6 {
                for to in 0..6 {
                    best[from][to] = best[from][to].max(best[from][by] * best[by][to]);
                }
            }
        }
        for (failing, node) in graph.nodes.iter().enumerate() {
            let hit: BTreeMap<&str, f64> = node.blast_radius.hit.iter().map(|hit| (hit.node.as_str(), hit.ratio)).collect();
            for (caller, name) in NAMES.iter().enumerate().filter(|(caller, _)| *caller != failing) {
                let wanted = best[caller][failing];
                let told = hit.get(name).copied().unwrap_or_default();
                prop_assert!((told - wanted).abs() < 1e-9 || (wanted < 0.011 && told == 0.0), "{name}: {told}, not {wanted}");
            }
            let in_circle = graph.cycles.iter().any(|circle| circle.contains(&node.id));
            prop_assert_eq!(in_circle, best[failing][failing] > 0.0);
        }
    }
}

#[test]
fn what_the_bounds_have_no_place_for_is_counted() {
    let config = Config {
        max_nodes: 3,
        max_edges: 2,
        ..Config::default()
    };
    let calls = (0..6).map(|at| {
        let host = format!("peer-{at}");
        let call = span("2", "1", "web", Client, (0, 9));
        let call = with(call, &[("http.method", "GET"), ("server.address", &host)]);
        trace(vec![span("1", "", "web", Server, (0, 100)), call])
    });
    let graph = graph_of(&calls.collect::<Vec<_>>(), 1.0, &config);
    assert_eq!(
        edges(&graph),
        [
            "web -> external:peer-0 http 1/0",
            "web -> external:peer-1 http 1/0"
        ]
    );
    assert!(graph.nodes.len() <= 4, "{:?}", graph.nodes);
    // Four peers were refused by name, and their edge to `_other` for want of edges.
    assert_eq!(graph.refused_calls, 8);
}

/// Keeps edges as a store does.
#[derive(Debug, Default)]
struct Kept(Mutex<(KnownEdges, u32)>);

impl EdgeMemory for Kept {
    fn edges(&self) -> Result<KnownEdges, MemoryError> {
        Ok(self.0.lock().unwrap().0.clone())
    }

    fn keep_edges(&self, edges: &KnownEdges) -> Result<(), MemoryError> {
        let mut kept = self.0.lock().unwrap();
        *kept = (edges.clone(), kept.1 + 1);
        Ok(())
    }
}

fn topology(config: &Config) -> Topology {
    started(config, &Arc::default(), NOW)
}

fn started(config: &Config, kept: &Arc<Kept>, now: u64) -> Topology {
    let memory = Arc::clone(kept) as Arc<dyn EdgeMemory>;
    Topology::new(config, Duration::ZERO, None, memory, now)
}

#[test]
fn a_restart_forgets_no_edges() {
    let hour = 3_600 * NANOS_PER_SEC;
    let kept = Arc::<Kept>::default();
    let config = Config::default();
    let mut topology = started(&config, &kept, NOW);
    topology.renew(NOW);
    assert_eq!(kept.0.lock().unwrap().1, 0, "there is nothing to keep");
    for (number, to) in (0..).zip(["old", "cart"]) {
        let now = NOW + number * hour;
        topology.on_traces(&[Arc::new(request(to, now, false))], now);
        topology.renew(now);
    }
    // New edges go at once, others from time to time.
    assert_eq!(kept.0.lock().unwrap().1, 2);
    topology.renew(NOW + hour + NANOS_PER_SEC);
    assert_eq!(kept.0.lock().unwrap().1, 2);
    topology.renew(NOW + hour + 60 * NANOS_PER_SEC);
    assert_eq!(kept.0.lock().unwrap().1, 3);

    let now = NOW + 24 * hour + hour / 2;
    let mut topology = started(&config, &kept, now);
    topology.on_traces(&[Arc::new(request("fresh", now, false))], now);
    let graph = topology.renew(now);
    let names = |edges: &[EdgeName]| edges.iter().map(|edge| edge.to.clone()).collect::<Vec<_>>();
    let changes = (names(&graph.changes.new), names(&graph.changes.vanished));
    assert_eq!(changes, (vec!["fresh".to_owned()], vec!["old".to_owned()]));
    // Rates are those since the restart.
    assert!(now - graph.from < NANOS_PER_SEC);
    let remembered = graph.edges.iter().find(|edge| edge.to == "cart").unwrap();
    assert_eq!(remembered.traffic.observed, 0);
    assert_eq!(remembered.first_seen, NOW + hour);
}

#[test]
fn after_a_long_time_without_a_look_nothing_is_said_to_have_vanished() {
    let hour = 3_600 * NANOS_PER_SEC;
    let kept = Arc::<Kept>::default();
    let config = Config::default();
    let mut topology = started(&config, &kept, NOW);
    topology.on_traces(&[Arc::new(request("cart", NOW, false))], NOW);
    topology.renew(NOW);
    let now = NOW + 25 * hour;
    let graph = started(&config, &kept, now).renew(now);
    assert_eq!((graph.edges.len(), graph.changes.vanished.len()), (0, 0));
    assert!(graph.changes.compared_with.starts_with("nothing yet"));
}

#[test]
fn a_smaller_bound_keeps_the_edges_that_were_seen_last() {
    let kept = Arc::<Kept>::default();
    let mut topology = started(&Config::default(), &kept, NOW);
    for (number, to) in (0..).zip(["old", "cart", "fresh"]) {
        let now = NOW + number * NANOS_PER_SEC;
        topology.on_traces(&[Arc::new(request(to, now, false))], now);
    }
    let now = NOW + 60 * NANOS_PER_SEC;
    topology.renew(now);
    let config = Config {
        max_edges: 2,
        ..Config::default()
    };
    let graph = started(&config, &kept, now).renew(now);
    assert_eq!(
        edges(&graph),
        ["web -> cart other 0/0", "web -> fresh other 0/0"]
    );
}

/// One request of `web` that asks `to`.
fn request(to: &str, end: u64, has_failed: bool) -> Trace {
    let mut entry = span("1", "", "web", Server, (end - 1_000_000, end));
    let mut answer = span("3", "2", to, Server, (end - 900_000, end));
    if has_failed {
        (entry, answer) = (failed(entry), failed(answer));
    }
    trace(vec![
        entry,
        span("2", "1", "web", Client, (end - 950_000, end)),
        answer,
    ])
}

fn tick(topology: &mut Topology, now: u64) -> Arc<ServiceGraph> {
    topology.state.forget(now);
    Arc::new(graph::of_window(&topology.state, now, 0))
}

/// Kept traces are a sample with too many errors in it, and the rates are those of all.
#[test]
fn rates_are_those_of_all_requests_though_failed_ones_are_kept_rather() {
    let mut topology = topology(&Config::default());
    let threshold = Threshold::ALL.scaled(0.1);
    let (mut all, mut failures, mut kept_traces) = (0_u32, 0_u32, 0_u32);
    for number in 0..20_000_u64 {
        let end = NOW + number * 50_000_000;
        let has_failed = number % 50 == 0;
        all += 1;
        failures += u32::from(has_failed);
        let is_sampled = threshold.keeps(Randomness::of_text(&format!("{number}")));
        if !is_sampled && !has_failed {
            continue;
        }
        kept_traces += 1;
        let kept = KeptTrace {
            trace: Arc::new(request("cart", end, has_failed)),
            sampled_ratio: is_sampled.then(|| threshold.ratio()),
        };
        topology.on_kept(&[kept], end + NANOS_PER_SEC);
    }
    let now = NOW + 20_000 * 50_000_000;
    let graph = tick(&mut topology, now);
    let edge = &graph.edges[0].traffic;
    assert_eq!(edge.observed, u64::from(kept_traces));
    assert!((edge.calls / f64::from(all) - 1.0).abs() < 0.05, "{edge:?}");
    assert!((edge.calls_per_sec / 20.0 - 1.0).abs() < 0.05, "{edge:?}");
    let ratio = edge.error_ratio.unwrap();
    let truth = f64::from(failures) / f64::from(all);
    assert!((ratio - truth).abs() < 0.01, "{ratio}, not {truth}");
    let naive = edge.observed_errors as f64 / edge.observed as f64;
    assert!(naive > 4.0 * truth, "what is kept would say {naive}");
}

#[test]
fn edges_are_new_and_vanish_against_the_time_before() {
    let hour = 3_600 * NANOS_PER_SEC;
    let mut topology = topology(&Config::default());
    let show = |topology: &mut Topology, to: &str, now: u64| {
        // Such a trace is not counted, and shows that there is the call.
        topology.on_traces(&[Arc::new(request(to, now, false))], now);
        let graph = tick(topology, now);
        let names = |edges: &[EdgeName]| -> Vec<String> {
            edges.iter().map(|edge| edge.to.clone()).collect()
        };
        let changes = &graph.changes;
        (
            names(&changes.new),
            names(&changes.vanished),
            graph.edges.len(),
        )
    };
    let none = || Vec::<String>::new();
    assert_eq!(show(&mut topology, "old", NOW), (none(), none(), 1));
    assert_eq!(show(&mut topology, "cart", NOW + hour), (none(), none(), 2));
    // From the second day on.
    let now = NOW + 24 * hour;
    assert_eq!(show(&mut topology, "cart", now), (none(), none(), 2));
    let now = NOW + 25 * hour;
    let seen = show(&mut topology, "fresh", now);
    assert_eq!(seen, (vec!["fresh".to_owned()], vec!["old".to_owned()], 2));
    // Two days later nobody knows of it.
    let now = NOW + 50 * hour;
    let (new, vanished, edges) = show(&mut topology, "fresh", now);
    assert_eq!((new, vanished, edges), (none(), vec!["cart".to_owned()], 1));
}

#[test]
fn a_window_forgets_what_is_older() {
    let mut topology = topology(&Config::default());
    let minute = 60 * NANOS_PER_SEC;
    for number in 0..180_u64 {
        let now = NOW + number * minute;
        let kept = KeptTrace {
            trace: Arc::new(request("cart", now, number < 90)),
            sampled_ratio: Some(1.0),
        };
        topology.on_kept(&[kept], now);
    }
    let graph = tick(&mut topology, NOW + 179 * minute);
    let edge = graph.edges[0].traffic;
    assert!((55.0..=60.0).contains(&edge.calls), "{edge:?}");
    assert!((edge.calls_per_sec * 60.0 - 1.0).abs() < 0.05, "{edge:?}");
    assert_eq!(edge.error_ratio, Some(0.0));
}

#[test]
fn a_graph_beside_another_one_says_what_is_new_and_what_is_gone() {
    let of = |to: &[&str]| {
        let traces: Vec<Trace> = to.iter().map(|to| request(to, NOW, false)).collect();
        graph(&traces)
    };
    let mut today = of(&["cart", "fresh"]);
    compare(&mut today, &of(&["cart", "old"]));
    let text = today.to_text(1);
    let wanted = "3 services, 3 nodes, 2 edges from 2 traces\n\
        web -> cart other 1/s errors 0% p95 0.952ms\n\
        and 1 more edges\n\
        critical: cart, fresh\n\
        new: web -> fresh other\n\
        vanished: web -> old other\n";
    assert_eq!(text, wanted);
}

const MANIFESTS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {containers: [{name: main, image: cart}]}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: staging}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {containers: [{name: main, image: cart}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: redis, namespace: shop}
spec:
  serviceName: redis
  selector: {matchLabels: {app: redis}}
  template:
    metadata: {labels: {app: redis}}
    spec: {containers: [{name: main, image: redis}]}
";

#[test]
fn manifests_name_what_runs_each_node_and_add_what_was_never_seen() {
    let file = SourceFile {
        name: "k8s.yaml".to_owned(),
        text: MANIFESTS.to_owned(),
    };
    let (inventory, findings) = read_manifests(&[file], "default");
    assert_eq!(findings, []);
    let spans = vec![
        placed(span("1", "", "cart", Server, (0, 100)), "shop", "prod"),
        placed(
            with(
                span("2", "1", "cart", Client, (0, 9)),
                &[("db.system", "redis")],
            ),
            "shop",
            "prod",
        ),
    ];
    let mut graph = graph(&[trace(spans)]);
    join(&mut graph, &inventory);
    let nodes: Vec<(&str, bool, Vec<&str>)> = graph
        .nodes
        .iter()
        .map(|node| {
            let workloads = node.workloads.iter().map(String::as_str).collect();
            (node.id.as_str(), node.is_observed, workloads)
        })
        .collect();
    assert_eq!(
        nodes,
        [
            (
                "database:shop/redis@prod",
                true,
                vec!["StatefulSet shop/redis"]
            ),
            (
                "shop/cart@prod",
                true,
                vec!["Deployment shop/cart", "Service shop/cart"]
            ),
            (
                "workload:staging/cart",
                false,
                vec!["Deployment staging/cart"]
            ),
        ]
    );
}

#[test]
fn configurations_that_cannot_work_are_named() {
    assert_eq!(Config::default().check(), Ok(()));
    let minutes = Duration::from_mins;
    for (config, key) in [
        (
            Config {
                window: Duration::ZERO,
                ..Config::default()
            },
            "adapters.topology.window",
        ),
        (
            Config {
                baseline: minutes(5),
                ..Config::default()
            },
            "adapters.topology.baseline",
        ),
        (
            Config {
                max_nodes: 0,
                ..Config::default()
            },
            "adapters.topology.max_nodes",
        ),
        (
            Config {
                max_edges: 0,
                ..Config::default()
            },
            "adapters.topology.max_edges",
        ),
    ] {
        assert_eq!(config.check().unwrap_err().0, key);
    }
}
