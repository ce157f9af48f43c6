//! Traces and suites for tests.

use crate::config::Config;
use crate::model::test_result::TestReport;
use crate::model::trace::Trace;
use crate::receiver::file::TraceInput;
use crate::service::whole_traces::WholeTraces;
use crate::tracetest::language::Variables;
use crate::tracetest::suite::{Suite, arrange, read};
use crate::tracetest::{Limits, Session};
use crate::traffic::generate::{Faults, export_requests};
use crate::traffic::shop;
use prost::Message;

/// Nanoseconds at which the shop opens.
const START: u64 = 1_700_000_000_000_000_000;

/// So many visits to the shop, one a second, read as a file of them would be.
pub(crate) fn shop(seed: u64, visits: u64, faults: &Faults) -> Vec<Trace> {
    let mut visited = shop::generator(seed);
    let traces = (0..visits).map(|second| visited.trace(START + second * 1_000_000_000, faults));
    let requests: Vec<Vec<u8>> = export_requests(traces, usize::MAX)
        .map(|request| request.encode_to_vec())
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("traces.pb");
    std::fs::write(&path, requests.concat()).unwrap();
    let mut whole = WholeTraces::new(&Config::default());
    whole.read(&TraceInput::file(&path), |_| {}).unwrap();
    whole.finish().traces
}

/// The suites of one text.
pub(crate) fn suites(text: &str) -> Vec<Suite> {
    let documents = read("suite.yaml", text);
    let documents = documents.unwrap_or_else(|problems| {
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{}\n{text}", texts.join("\n"))
    });
    arrange(&documents).unwrap()
}

/// What the suites of a text say of traces.
pub(crate) fn run(text: &str, traces: &[Trace]) -> TestReport {
    let mut session = Session::new(suites(text), &Variables::default(), Limits::default());
    session.observe(traces);
    let ends = traces.iter().flat_map(|trace| &trace.spans);
    session.report(ends.map(|span| span.end).max().unwrap_or(0))
}
