//! A suite that is written from the shop's traffic holds of fresh traffic and catches what is done to it.

use std::sync::LazyLock;
use std::time::Duration;

use super::infer;
use crate::model::fault::{Fault, FaultTarget, LatencyChange};
use crate::model::report::Verdict;
use crate::model::span::{Outcome, SpanKind};
use crate::model::test_result::TestReport;
use crate::model::trace::{StatusCode, Trace, TraceSpan};
use crate::trace::assemble::assemble;
use crate::trace::tree::TraceTree;
use crate::tracetest::tests::fixture::{run, shop};
use crate::traffic::generate::Faults;

/// Payment fails now and then, so that there is something to learn from errors.
fn ordinary() -> Faults {
    Faults::none().with(FaultTarget::service("payment"), Fault::error(0.05))
}

/// Written once.
static SUITE: LazyLock<String> = LazyLock::new(|| infer(&shop(1, 1_000, &ordinary())).yaml);

fn is_of(span: &TraceSpan, service: &str) -> bool {
    &*span.resource.service.name == service
}

/// The traces, each with its spans changed and put together again.
fn changed(mut traces: Vec<Trace>, change: impl Fn(&mut Vec<TraceSpan>)) -> Vec<Trace> {
    traces = traces
        .into_iter()
        .map(|trace| {
            let mut spans = trace.spans;
            change(&mut spans);
            assemble(trace.trace_id, spans, None).0
        })
        .collect();
    traces
}

/// The names of the checks that fail.
fn failing(report: &TestReport) -> Vec<String> {
    let tests = report.tests.iter();
    let checks = tests.flat_map(|test| test.checks.iter().map(move |check| (test, check)));
    checks
        .filter(|(_, check)| check.verdict == Verdict::Fail)
        .map(|(test, check)| format!("{} / {}: {}", test.name, check.group, check.name))
        .collect()
}

fn assert_caught(traces: &[Trace], by: &str) {
    let report = run(&SUITE, traces);
    let failing = failing(&report);
    assert_eq!(report.verdict, Verdict::Fail);
    assert!(
        failing.iter().any(|check| check.contains(by)),
        "{failing:#?}"
    );
    for check in report.tests.iter().flat_map(|test| &test.checks) {
        assert_eq!(
            check.failed > 0,
            !check.failures.is_empty(),
            "{}",
            check.name
        );
    }
}

#[test]
fn the_suite_holds_of_the_traces_that_it_was_made_of_and_of_fresh_ones() {
    for (seed, visits) in [(1, 1_000), (2, 1_000), (3, 1_000)] {
        let report = run(&SUITE, &shop(seed, visits, &ordinary()));
        assert_eq!(
            report.verdict,
            Verdict::Pass,
            "{seed}: {:#?}",
            failing(&report)
        );
        assert_eq!(report.passed, 13, "{seed}");
    }
}

#[test]
fn few_traces_are_inconclusive_and_say_how_many_more_decide() {
    let report = run(&SUITE, &shop(2, 30, &Faults::none()));
    assert_eq!(report.verdict, Verdict::Inconclusive);
    let checks = report.tests.iter().flat_map(|test| &test.checks);
    let needed = checks.filter_map(|check| check.needed_traces).max();
    assert!(needed > Some(30), "{needed:?}");
}

#[test]
fn a_loop_of_queries_is_caught() {
    let looped = changed(shop(2, 500, &ordinary()), |spans| {
        let query = spans
            .iter()
            .find(|span| span.kind == SpanKind::Client && is_of(span, "catalog"));
        let query = query.cloned();
        for number in 0..8 {
            spans.extend(query.clone().map(|span| TraceSpan {
                span_id: format!("{}{number}", span.span_id).into(),
                ..span
            }));
        }
    });
    assert_caught(&looped, "alike calls");
}

#[test]
fn a_missing_span_is_caught() {
    let without = changed(shop(2, 500, &ordinary()), |spans| {
        spans.retain(|span| &*span.name != "calculate total");
    });
    assert_caught(&without, "calculate total");
}

#[test]
fn doubled_latency_of_a_service_is_caught() {
    let fault = Fault {
        latency: Some(LatencyChange::Factor(2.0)),
        ..Fault::error(0.05)
    };
    let slow = shop(
        2,
        600,
        &Faults::none().with(FaultTarget::service("payment"), fault),
    );
    assert_caught(&slow, "payment");
}

#[test]
fn a_swallowed_error_is_caught() {
    let swallowed = changed(shop(2, 500, &ordinary()), |spans| {
        for span in spans {
            let is_above = is_of(span, "frontend") || is_of(span, "checkout");
            if is_above && span.outcome == Outcome::Error {
                span.outcome = Outcome::Ok;
                span.status = StatusCode::Unset;
            }
        }
    });
    assert_caught(&swallowed, "errors: surface");
}

#[test]
fn a_vanished_dependency_is_caught() {
    let without = changed(shop(2, 500, &ordinary()), |spans| {
        let calls: Vec<Box<str>> = spans
            .iter()
            .filter(|span| is_of(span, "cart") && span.kind == SpanKind::Server)
            .filter_map(|span| span.parent_span_id.clone())
            .collect();
        spans.retain(|span| !is_of(span, "cart") && !calls.contains(&span.span_id));
    });
    assert_caught(&without, "require checkout -> cart");
}

#[test]
fn a_slow_consumer_behind_a_queue_is_caught() {
    let fault = Fault::latency(LatencyChange::Added(Duration::from_millis(60)));
    let slow = shop(
        2,
        500,
        &ordinary().with(FaultTarget::service("fulfilment"), fault),
    );
    assert_caught(&slow, "fulfilment");
}

#[test]
fn a_new_call_is_caught() {
    let mut traces = shop(2, 500, &ordinary());
    for trace in &mut traces {
        let root = TraceTree::new(trace).root().unwrap();
        let root = trace.spans[root].clone();
        trace.spans.push(TraceSpan {
            span_id: "new".into(),
            parent_span_id: Some(root.span_id.clone()),
            kind: SpanKind::Client,
            attributes: vec![(
                "peer.service".into(),
                crate::model::trace::AttributeValue::Text("tracker".into()),
            )],
            ..root
        });
    }
    assert_caught(&traces, "no other edges");
}

#[test]
fn the_suite_says_where_its_numbers_come_from() {
    let traces = shop(1, 400, &Faults::none());
    insta::assert_snapshot!(infer(&traces).yaml);
}

#[test]
fn without_traces_there_is_no_test() {
    assert_eq!(infer(&[]).operations, 0);
    let few = infer(&shop(1, 6, &Faults::none()));
    assert_eq!(few.operations, 0);
    assert!(few.yaml.contains("Too seldom for a test"), "{}", few.yaml);
}
