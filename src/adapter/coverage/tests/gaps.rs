//! Peers, edges, workloads and processes that are not seen, and the probes for them.

use super::*;
use crate::adapter::coverage::host::{HostView, Listener};
use crate::adapter::coverage::probes::files;
use crate::adapter::kubernetes::{Inventory, read_manifests};
use crate::model::coverage::{CoverageKind, CoverageStatus, ProbeKind};
use crate::openslo::read::SourceFile;

/// A request to `a` that calls what these attributes say, and gets no span back.
fn unanswered(id: &str, attributes: &[(&str, &str)]) -> Trace {
    let call = span("call", "root", "a", SpanKind::Client, (10, 90));
    trace(
        id,
        vec![
            span("root", "", "a", SpanKind::Server, (0, 100)),
            with(call, attributes),
        ],
    )
}

/// A request that arrives at `b` from outside.
fn entry(id: &str) -> Trace {
    trace(id, vec![span("entry", "", "b", SpanKind::Server, (20, 80))])
}

fn part(report: &CoverageReport, kind: CoverageKind) -> (u64, u64) {
    let mut parts = report.objective.parts.iter();
    let part = parts.find(|part| part.kind == kind).unwrap();
    (part.covered, part.expected)
}

#[test]
fn a_peer_that_never_shows_a_span_is_dark_and_databases_and_others_are_not() {
    let http = [
        ("server.address", "pricing"),
        ("server.port", "8080"),
        ("http.request.method", "GET"),
    ];
    let report = report(&[
        unanswered("1", &http),
        unanswered("2", &http),
        unanswered(
            "3",
            &[("db.system", "postgresql"), ("server.address", "db")],
        ),
        unanswered("4", &[("url.full", "https://api.stripe.com/v1")]),
        unanswered("5", &[("messaging.system", "kafka")]),
        unanswered("6", &[]),
    ]);
    let dark: Vec<&CoverageFinding> = findings(&report)
        .iter()
        .filter(|finding| finding.kind == Kind::DarkPeer)
        .collect();
    let [dark] = dark.as_slice() else {
        panic!("{dark:?}");
    };
    assert_eq!(dark.peer.as_deref(), Some("pricing:8080"));
    assert_eq!((dark.count, dark.traces.len()), (2, 2));
    let edges = &report.instrumentation.as_ref().unwrap().edges;
    let kinds: BTreeMap<&str, PeerKind> = edges
        .iter()
        .map(|edge| (edge.peer.as_str(), edge.kind))
        .collect();
    let expected = [
        ("api.stripe.com:443", PeerKind::External),
        ("call", PeerKind::Unnamed),
        ("kafka", PeerKind::Messaging),
        ("postgresql db", PeerKind::Database),
        ("pricing:8080", PeerKind::Dark),
    ];
    assert_eq!(kinds, expected.into_iter().collect());
    // `a` of `a` and `pricing`; the one edge to it is not covered.
    assert_eq!(part(&report, CoverageKind::Services), (1, 2));
    assert_eq!(part(&report, CoverageKind::Edges), (0, 1));
    assert_eq!(report.objective.status, CoverageStatus::Missed);
    let probe = &report.probes[0];
    assert_eq!(report.next_probe.as_deref(), Some("pricing:8080"));
    assert_eq!(
        (probe.kind, probe.port, probe.protocol.as_deref()),
        (ProbeKind::Peer, Some(8080), Some("http"))
    );
}

#[test]
fn a_call_that_failed_may_never_have_arrived_and_proves_nothing() {
    let mut failed = unanswered("1", &[("server.address", "pricing")]);
    for span in &mut failed.spans {
        span.outcome = Outcome::Error;
    }
    let report = report(&[failed]);
    assert!(!kinds(&report).contains(&Kind::DarkPeer));
    let edges = &report.instrumentation.as_ref().unwrap().edges;
    assert_eq!((edges[0].calls, edges[0].failed), (1, 1));
    assert_eq!(part(&report, CoverageKind::Edges), (0, 0));
}

#[test]
fn a_trace_that_lost_spans_on_its_way_here_proves_no_gap() {
    let mut lost = unanswered("1", &[("server.address", "pricing")]);
    lost.completeness = Completeness::Incomplete("earlier spans may be missing".to_owned());
    let report = report(&[lost]);
    assert!(!kinds(&report).contains(&Kind::DarkPeer));
    assert_eq!(report.instrumentation.unwrap().partial_traces, 1);
}

#[test]
fn an_outer_span_of_a_call_that_two_libraries_tell_is_no_second_call() {
    let spans = vec![
        span("root", "", "a", SpanKind::Server, (0, 100)),
        with(
            span("outer", "root", "a", SpanKind::Client, (10, 90)),
            &[("server.address", "wrapped")],
        ),
        with(
            span("inner", "outer", "a", SpanKind::Client, (20, 80)),
            &[("server.address", "pricing")],
        ),
    ];
    let report = report(&[trace("1", spans)]);
    let edges = &report.instrumentation.as_ref().unwrap().edges;
    let peers: Vec<&str> = edges.iter().map(|edge| edge.peer.as_str()).collect();
    assert_eq!(peers, ["pricing"]);
}

#[test]
fn a_context_is_lost_where_the_callee_reports_but_not_in_the_callers_trace() {
    let call = [("server.address", "b"), ("server.port", "80")];
    let report = report(&[unanswered("1", &call), entry("2"), entry("3")]);
    let finding = find(&report, Kind::LostContext);
    let service = finding.service.as_ref().unwrap();
    assert_eq!((&*service.name, finding.peer.as_deref()), ("a", Some("b")));
    assert_eq!((finding.count, finding.checked), (1, 1));
    assert!(
        finding.text.contains("2 traces begin at `b`"),
        "{finding:?}"
    );
    assert!(
        finding.remedy.contains("SetTextMapPropagator"),
        "{finding:?}"
    );
    assert!(!kinds(&report).contains(&Kind::DarkPeer));
    assert_eq!(part(&report, CoverageKind::Services), (2, 2));
    assert_eq!(part(&report, CoverageKind::Edges), (0, 1));
    assert_eq!(report.next_probe, None);
}

#[test]
fn an_address_is_learnt_from_the_calls_that_were_answered() {
    let address = [("server.address", "10.0.0.7"), ("server.port", "8080")];
    let mut spans = answered((110, 190));
    spans[1] = with(spans[1].clone(), &address);
    // Nineteen of twenty calls are answered: 95 %.
    let mut traces: Vec<Trace> = (0..19)
        .map(|n| trace(&n.to_string(), spans.clone()))
        .collect();
    traces.push(unanswered("lost", &address));
    let covered = report(&traces);
    assert!(!kinds(&covered).contains(&Kind::LostContext));
    assert!(!kinds(&covered).contains(&Kind::DarkPeer));
    assert_eq!(part(&covered, CoverageKind::Edges), (1, 1));
    traces.push(unanswered("lost, too", &address));
    let lost = report(&traces);
    assert_eq!(find(&lost, Kind::LostContext).count, 2);
    // Without an answer nobody knows whose address it is.
    let unknown = report(&[unanswered("1", &address), entry("2")]);
    assert!(kinds(&unknown).contains(&Kind::DarkPeer));
}

/// A trace that one in `weight` of its kind was kept for.
fn weighing(mut trace: Trace, weight: f64) -> Trace {
    for span in &mut trace.spans {
        span.weight = weight;
    }
    trace
}

/// Of `pay`, 100 calls were answered and sampled by a hundredth; one that was not was kept in full: 1 % is missing, not a half.
#[test]
fn calls_compare_by_what_they_stand_for_and_not_by_how_many_were_kept() {
    let http = [("server.address", "pay")];
    let mut answered = unanswered("1", &http);
    answered
        .spans
        .push(span("answer", "call", "b", SpanKind::Server, (20, 80)));
    let lost = |weight: f64| weighing(unanswered("2", &http), weight);
    for (weight, covered) in [(1.0, 1), (100.0, 0)] {
        let report = report(&[weighing(answered.clone(), 100.0), lost(weight)]);
        assert_eq!(part(&report, CoverageKind::Edges), (covered, 1), "{weight}");
    }
    let dark =
        |name: &'static str, weight| weighing(unanswered("3", &[("server.address", name)]), weight);
    let report = report(&[dark("often", 1.0), dark("often", 1.0), dark("seldom", 90.0)]);
    let values: Vec<f64> = report.probes.iter().map(|probe| probe.value).collect();
    assert_eq!(values, [90.0, 2.0]);
    assert_eq!(report.next_probe.as_deref(), Some("seldom"));
}

#[test]
fn the_gap_that_hides_the_most_calls_comes_first_and_fan_in_decides_between_equals() {
    let busy = [("server.address", "busy")];
    let shared = [("server.address", "shared")];
    let single = [("server.address", "single")];
    let other = |id: &str| {
        let mut trace = unanswered(id, &shared);
        for span in &mut trace.spans {
            span.resource = Arc::new(TraceResource {
                service: ServiceKey::named("other"),
                ..(*span.resource).clone()
            });
        }
        trace
    };
    let traces = [
        unanswered("1", &single),
        unanswered("2", &single),
        unanswered("3", &shared),
        other("4"),
        unanswered("5", &busy),
        unanswered("6", &busy),
        unanswered("7", &busy),
    ];
    let config = Config {
        expected_signals: ["nightly", "GET /busy/{id}"].map(str::to_owned).to_vec(),
        ..Config::default()
    };
    let report = report_with(&traces, &config, Around::default());
    let order: Vec<(&str, u64)> = report
        .probes
        .iter()
        .map(|probe| (probe.target.as_str(), probe.callers))
        .collect();
    // The signal resembles `busy` wholly, but hides no more than it.
    assert_eq!(
        order,
        [
            ("busy", 1),
            ("GET /busy/{id}", 1),
            ("shared", 2),
            ("single", 1),
            ("nightly", 0)
        ]
    );
    assert_eq!(report.next_probe.as_deref(), Some("busy"));
    assert_eq!(report.coverage_ratio, Some(0.0));
    assert_eq!(part(&report, CoverageKind::Signals), (0, 2));
}

fn shop() -> Inventory {
    let file = SourceFile {
        name: "shop.yaml".to_owned(),
        text: include_str!("shop.yaml").to_owned(),
    };
    read_manifests(&[file], "default").0
}

#[test]
fn a_workload_without_spans_is_found_and_known_by_what_its_callers_call_it() {
    let inventory = shop();
    let around = Around {
        inventory: Some(&inventory),
        host: None,
    };
    let call = [("server.address", "pricing.shop"), ("server.port", "80")];
    let config = Config::default();
    // `pricing.shop` could be a host of the internet; the manifests tell that it is not.
    let report = report_with(&[unanswered("1", &call)], &config, around);
    let workloads: Vec<&str> = findings(&report)
        .iter()
        .filter(|finding| finding.kind == Kind::UninstrumentedWorkload)
        .filter_map(|finding| finding.peer.as_deref())
        .collect();
    assert_eq!(
        workloads,
        [
            "Deployment shop/web",
            "Deployment shop/checkout",
            "Deployment shop/pricing"
        ]
    );
    assert_eq!(part(&report, CoverageKind::Workloads), (0, 3));
    let dark = find(&report, Kind::DarkPeer);
    assert_eq!(dark.language.as_deref(), Some("python"));
    assert!(dark.remedy.contains("opentelemetry-instrument"), "{dark:?}");
    let first = &report.probes[0];
    assert_eq!((first.kind, first.port), (ProbeKind::Peer, Some(8000)));
    assert_eq!(first.workload.as_ref().unwrap().name, "pricing");
    // The other two, and `pricing` not again.
    assert_eq!(report.probes.len(), 3);
}

fn host() -> HostView {
    let listener = |pid: u32, name: &str, port: u16, connections| Listener {
        pid,
        name: name.to_owned(),
        executable: Some(format!("/usr/bin/{name}")),
        ports: [port].into(),
        connections,
        ..Listener::default()
    };
    HostView {
        listeners: vec![
            listener(1, "sshd", 22, 5),
            listener(2, "postgres", 5432, 9),
            listener(3, "node", 3000, 1),
            listener(4, "python3", 9000, 2),
            listener(5, "java", 8080, 7),
        ],
        ..HostView::default()
    }
}

#[test]
fn a_process_that_listens_and_never_reports_is_found() {
    let host = host();
    let around = Around {
        inventory: None,
        host: Some(&host),
    };
    let call = [("server.address", "localhost"), ("server.port", "9000")];
    let mut traces = vec![unanswered("1", &call)];
    // The process with id 5 reports spans.
    traces.push(reported_by(
        "2",
        &[("service.name", "a"), ("process.pid", "5")],
    ));
    let report = report_with(&traces, &Config::default(), around);
    // sshd is the machine's, postgres is seen by its callers, python3 is the dark peer.
    let silent: Vec<&str> = findings(&report)
        .iter()
        .filter(|finding| finding.kind == Kind::SilentListener)
        .filter_map(|finding| finding.peer.as_deref())
        .collect();
    assert_eq!(silent, ["node (pid 3)"]);
    assert_eq!(
        find(&report, Kind::SilentListener).language.as_deref(),
        Some("nodejs")
    );
    let dark = &report.probes[0];
    assert_eq!((dark.kind, dark.pid), (ProbeKind::Peer, Some(4)));
    assert_eq!(dark.executable.as_deref(), Some("/usr/bin/python3"));
}

#[test]
fn the_files_of_the_probes_select_what_is_dark_and_nothing_else() {
    let (inventory, host) = (shop(), host());
    let around = Around {
        inventory: Some(&inventory),
        host: Some(&host),
    };
    let traces = [
        unanswered("1", &[("server.address", "pricing")]),
        unanswered(
            "2",
            &[
                ("server.address", "legacy\n- exe_path: '*'"),
                ("server.port", "7070"),
            ],
        ),
    ];
    let report = report_with(&traces, &Config::default(), around);
    let files = files(&report.probes, "http://127.0.0.1:4318");
    let names: Vec<&str> = files.iter().map(|file| file.name).collect();
    assert_eq!(names, ["obi-config.yaml", "beyla-config.yaml", "probes.bt"]);
    let [obi, _, script] = files.as_slice() else {
        panic!("{files:?}");
    };
    insta::assert_snapshot!(obi.text);
    insta::assert_snapshot!(script.text);
    let read: serde_json::Value = serde_saphyr::from_str(&obi.text).unwrap();
    let selectors = read["discovery"]["instrument"].as_array().unwrap();
    assert_eq!(selectors.len(), report.probes.len());
    for selector in selectors {
        for value in selector.as_object().unwrap().values() {
            assert!(value.is_string() && value != "*", "{selector}");
        }
    }
    assert_eq!(
        read["otel_traces_export"]["endpoint"],
        "http://127.0.0.1:4318"
    );
}

#[test]
fn a_gap_without_a_process_has_no_probe() {
    let report = report(&[unanswered("1", &[("rpc.service", "shop.Cart")])]);
    assert_eq!(report.probes.len(), 1);
    assert_eq!(files(&report.probes, "http://127.0.0.1:4318"), Vec::new());
}

#[test]
fn before_the_first_trace_nothing_is_missed() {
    let config = Config {
        expected_signals: vec!["GET /".to_owned()],
        ..Config::default()
    };
    let status = |traces: &[Trace]| {
        let report = report_with(traces, &config, Around::default());
        report.objective.status
    };
    assert_eq!(status(&[]), CoverageStatus::Unknown);
    assert_eq!(status(&[entry("1")]), CoverageStatus::Missed);
}

#[test]
fn what_the_bounds_turn_away_is_counted() {
    let config = Config {
        max_services: 2,
        max_edges: 1,
        max_names_per_service: 1,
        ..Config::default()
    };
    let instance = |id: &str| {
        let attributes = [("service.instance.id", id), ("host.name", "h")];
        reported_by(id, &attributes)
    };
    let traces = [
        unanswered("1", &[("server.address", "x")]),
        unanswered("2", &[("server.address", "y")]),
        instance("i"),
        instance("j"),
        entry("3"),
        trace("4", vec![span("c", "", "c", SpanKind::Server, (0, 1))]),
    ];
    let tally = count(&traces, &config);
    let refused = tally.refused;
    assert_eq!((refused.services, refused.edges, refused.names), (1, 1, 1));
    assert_eq!((tally.services.len(), tally.calls.len()), (2, 1));
}

/// The own process is left out; that others are seen is tested on the binary.
#[cfg(target_os = "linux")]
#[test]
fn this_host_is_read_from_proc_without_this_process() {
    let own = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = own.local_addr().unwrap().port();
    let view = host::observe().unwrap();
    let mut listeners = view.listeners.iter();
    assert!(listeners.all(|listener| listener.pid != std::process::id()));
    assert!(!view.unknown_ports.contains(&port));
}
