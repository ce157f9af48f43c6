//! Simulated faults against faults that really were in the traffic: systems, faults, and the figures of their entries.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use slo_copilot::config::Config;
use slo_copilot::model::fault::{Fault, FaultTarget, LatencyChange, RetryStorm, TimeoutFault};
use slo_copilot::model::span::Outcome;
use slo_copilot::model::trace::Trace;
use slo_copilot::receiver::file::find_inputs;
use slo_copilot::service::whole_traces::WholeTraces;
use slo_copilot::trace::tree::TraceTree;
use slo_copilot::tracetest::fault::edges::{Edges, PROPAGATION_PRIOR};
use slo_copilot::tracetest::fault::{Callers, PlacedFault, Simulation};
use slo_copilot::traffic::generate::{self, Faults, Generator, Plan, export_requests};
use slo_copilot::traffic::learn::{Learner, Limits};
use slo_copilot::traffic::model::Model;
use slo_copilot::traffic::write::TraceFile;

/// One after the other: the fault is in the second of four.
const CHAIN: &str = "
load: [{service: a, operation: a, per_minute: 600}]
services:
  a: {operations: {a: {http: {method: GET, route: /a}, time: {lognormal: {median_ms: 8, sigma: 0.4}},
      steps: [{call: {service: faulty, operation: b}}]}}}
  faulty: {operations: {b: {grpc: {method: t.B/b}, time: {lognormal: {median_ms: 30, sigma: 0.5}},
      errors: [{ratio: 0.004, type: E}], steps: [{call: {service: c, operation: c}}]}}}
  c: {operations: {c: {http: {method: POST, route: '/c/{id}'}, time: {lognormal: {median_ms: 12, sigma: 0.4}},
      steps: [{query: {system: postgresql, operation: SELECT, collection: t}, time: {lognormal: {median_ms: 5, sigma: 0.6}}}]}}}
";

/// Three at the same time, then one more: the fault is in one of the three, beside a slower one.
const FAN_OUT: &str = "
load: [{service: a, operation: a, per_minute: 600}]
services:
  a: {operations: {a: {http: {method: GET, route: /a}, time: {lognormal: {median_ms: 10, sigma: 0.3}},
      steps: [{parallel: [{call: {service: b, operation: b}}, {call: {service: faulty, operation: c}},
               {call: {service: d, operation: d}}]}, {call: {service: e, operation: e}}]}}}
  b: {operations: {b: {grpc: {method: t.B/b}, time: {lognormal: {median_ms: 60, sigma: 0.3}}}}}
  faulty: {operations: {c: {grpc: {method: t.C/c}, time: {lognormal: {median_ms: 40, sigma: 0.5}},
      errors: [{ratio: 0.004, type: E}]}}}
  d: {operations: {d: {grpc: {method: t.D/d}, time: {lognormal: {median_ms: 15, sigma: 0.8}}}}}
  e: {operations: {e: {http: {method: GET, route: /e}, time: {lognormal: {median_ms: 9, sigma: 0.4}}}}}
";

/// A database, a message, repeated calls, and a caller that does without half of the failures.
const MIXED: &str = "
load: [{service: a, operation: a, per_minute: 600}]
services:
  a: {operations: {a: {http: {method: POST, route: /a}, time: {lognormal: {median_ms: 6, sigma: 0.3}},
      steps: [{work: {name: check}, time: {lognormal: {median_ms: 4, sigma: 0.5}}},
              {parallel: [{call: {service: faulty, operation: b}, propagation: 0.5},
                          {query: {system: redis, operation: GET}, time: {lognormal: {median_ms: 2, sigma: 0.5}}}]},
              {call: {service: c, operation: c}, count: {1: 0.7, 3: 0.3}},
              {publish: {service: m, operation: m}}]}}}
  faulty: {operations: {b: {http: {method: GET, route: '/b/{id}'}, time: {lognormal: {median_ms: 25, sigma: 0.5}},
      errors: [{ratio: 0.1, type: E}],
      steps: [{query: {system: postgresql, operation: SELECT, collection: t},
               time: {mixture: [{share: 0.9, of: {lognormal: {median_ms: 3, sigma: 0.3}}},
                                {share: 0.1, of: {lognormal: {median_ms: 40, sigma: 0.3}}}]}}]}}}
  c: {operations: {c: {grpc: {method: t.C/c}, time: {lognormal: {median_ms: 7, sigma: 0.4}}}}}
  m: {operations: {m: {consumer: {destination: q}, time: {lognormal: {median_ms: 20, sigma: 0.4}}}}}
";

/// The systems by name.
pub(crate) fn systems() -> [(&'static str, Model); 3] {
    let read = |name, yaml| (name, Model::from_yaml(name, yaml).unwrap());
    [
        read("chain", CHAIN),
        read("fan-out", FAN_OUT),
        read("mixed", MIXED),
    ]
}

/// The faults by name; each of them is in the service `faulty`.
pub(crate) fn faults() -> Vec<(&'static str, Fault)> {
    let added = |ms| Fault::latency(LatencyChange::Added(Duration::from_millis(ms)));
    let timeout = TimeoutFault {
        after: Duration::from_millis(400),
        ratio: 0.2,
    };
    let storm = RetryStorm {
        ratio: 0.5,
        attempts: 3,
        backoff: Duration::from_millis(20),
    };
    vec![
        ("+50 ms", added(50)),
        ("+200 ms", added(200)),
        ("×1.5", Fault::latency(LatencyChange::Factor(1.5))),
        ("error 5 %", Fault::error(0.05)),
        ("error 20 %", Fault::error(0.2)),
        (
            "outage 10 %",
            Fault {
                partial_outage: 0.1,
                ..Fault::default()
            },
        ),
        (
            "timeout 20 %",
            Fault {
                timeout: Some(timeout),
                ..Fault::default()
            },
        ),
        (
            "retry storm",
            Fault {
                retry_storm: Some(storm),
                ..Fault::default()
            },
        ),
    ]
}

/// The entry spans of a system in figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) p95_ms: f64,
    pub(crate) error_ratio: f64,
    pub(crate) count: usize,
}

impl Entry {
    fn of(mut entries: Vec<(f64, bool)>) -> Self {
        entries.sort_by(|a, b| a.0.total_cmp(&b.0));
        let count = entries.len();
        Self {
            p95_ms: entries[count * 95 / 100].0,
            error_ratio: entries.iter().filter(|(_, failed)| *failed).count() as f64 / count as f64,
            count,
        }
    }

    /// The roots of whole traces.
    pub(crate) fn of_traces(traces: &[Trace]) -> Self {
        let spans = traces.iter().flat_map(|trace| &trace.spans);
        let roots = spans.filter(|span| span.parent_span_id.is_none());
        Self::of(
            roots
                .map(|span| {
                    (
                        span.duration_nanos() as f64 / 1e6,
                        span.outcome == Outcome::Error,
                    )
                })
                .collect(),
        )
    }

    /// The roots of generated traces.
    pub(crate) fn of_generated(traces: &[generate::Trace]) -> Self {
        let roots = traces.iter().filter_map(|trace| trace.spans().last());
        Self::of(
            roots
                .map(|(_, span)| {
                    let nanos = span.end_time_unix_nano - span.start_time_unix_nano;
                    (
                        nanos as f64 / 1e6,
                        span.status.as_ref().is_some_and(|status| status.code == 2),
                    )
                })
                .collect(),
        )
    }
}

/// Traffic of a model for so many seconds at ten visits a second.
pub(crate) fn traffic(
    model: &Model,
    secs: u64,
    seed: u64,
    fault: Option<&Fault>,
) -> Vec<generate::Trace> {
    let mut generator = Generator::new(Arc::new(Plan::new(model)), seed);
    let faults = match fault {
        Some(fault) => Faults::none().with(FaultTarget::service("faulty"), fault.clone()),
        None => Faults::none(),
    };
    let start = 1_760_000_000_000_000_000;
    generator
        .scheduled(start..start + secs * 1_000_000_000, start, 1.0, &faults)
        .collect()
}

/// Generated traces written to a file and read again as a stranger's would be.
pub(crate) fn recorded(traces: Vec<generate::Trace>, folder: &Path) -> Vec<Trace> {
    let path = folder.join("recorded.pb");
    let mut file = TraceFile::create(&path).unwrap();
    for request in export_requests(traces, 1_000) {
        file.write(&request).unwrap();
    }
    file.finish().unwrap();
    let mut config = Config::default();
    config.tests.max_trace_bytes = 4 << 30;
    let mut whole = WholeTraces::new(&config);
    for input in find_inputs(&[path.display().to_string()]).unwrap() {
        whole.read(&input, |_| ()).unwrap();
    }
    assert!(whole.findings().is_empty(), "{:?}", whole.findings());
    whole.finish().traces
}

/// The recorded traces as they would have been with the fault.
pub(crate) fn simulated(healthy: &[Trace], fault: &Fault) -> Entry {
    let mut edges = Edges::new(PROPAGATION_PRIOR);
    for trace in healthy {
        edges.observe(&TraceTree::new(trace));
    }
    let placed = [PlacedFault {
        target: FaultTarget::service("faulty"),
        fault: fault.clone(),
        callers: Callers::default(),
    }];
    let mut simulation = Simulation::new(&placed, &edges, 5);
    let traces: Vec<Trace> = healthy
        .iter()
        .map(|trace| simulation.apply(trace))
        .collect();
    Entry::of_traces(&traces)
}

/// A model of recorded traces.
pub(crate) fn learned(traces: &[Trace]) -> Model {
    let mut learner = Learner::new(Limits::default());
    for trace in traces {
        learner.observe(trace);
    }
    let model = learner.finish(1.0).model;
    model.check("learnt").unwrap();
    model
}
