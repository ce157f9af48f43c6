//! What is read out of small traces.

use super::*;
use crate::model::distribution::Distribution;
use crate::trace::fixture::{failed, span, trace};
use crate::traffic::model::{Operation, Step};
use SpanKind::{Client, Internal, Server};

const MS: u64 = 1_000_000;

fn ms(from: u64, to: u64) -> (u64, u64) {
    (from * MS, to * MS)
}

fn learnt(traces: &[Trace]) -> Learned {
    let mut learner = Learner::new(Limits::default());
    for trace in traces {
        learner.observe(trace);
    }
    let learned = learner.finish(1.0);
    learned.model.check("learnt").unwrap();
    learned
}

fn operation<'a>(learned: &'a Learned, service: &str) -> &'a Operation {
    learned.model.services[service]
        .operations
        .values()
        .next()
        .unwrap()
}

/// A call of `b` by `a`, as two spans.
fn call(number: u64, (from, to): (u64, u64)) -> [TraceSpan; 2] {
    let client = format!("c{number}");
    let mut server = span(
        &format!("s{number}"),
        &client,
        "b",
        Server,
        ms(from + 1, to - 2),
    );
    server.operation = "b".into();
    [span(&client, "a", "a", Client, ms(from, to)), server]
}

fn with_calls(calls: &[[TraceSpan; 2]]) -> Trace {
    let mut spans = vec![span("a", "", "a", Server, ms(0, 100))];
    spans.extend(calls.iter().flatten().cloned());
    trace(spans)
}

fn only_step(learned: &Learned) -> &Step {
    let [step] = operation(learned, "a").steps.as_slice() else {
        panic!("{:?}", operation(learned, "a"))
    };
    step
}

#[test]
fn calls_after_each_other_are_counted_and_calls_at_once_fan_out() {
    let one_after_the_other = learnt(&[with_calls(&[
        call(1, (10, 30)),
        call(2, (40, 60)),
        call(3, (60, 80)),
    ])]);
    let step = only_step(&one_after_the_other);
    assert_eq!(step.call.as_ref().unwrap().service, "b");
    assert_eq!(
        (step.count.clone(), step.fan_out),
        (BTreeMap::from([(3, 1.0)]), false)
    );
    assert_eq!(step.there, Some(Distribution::ConstantMs(1.0)));
    assert_eq!(step.back, Some(Distribution::ConstantMs(2.0)));
    let at_once = learnt(&[with_calls(&[call(1, (10, 30)), call(2, (11, 60))])]);
    let step = only_step(&at_once);
    assert_eq!(
        (step.count.clone(), step.fan_out),
        (BTreeMap::from([(2, 1.0)]), true)
    );
}

#[test]
fn own_time_and_its_places_are_told_apart_from_the_calls() {
    let learned = learnt(&[with_calls(&[call(1, (10, 40))])]);
    let own = operation(&learned, "a");
    assert_eq!(own.time, Some(Distribution::ConstantMs(70.0)));
    assert_eq!(own.gaps, [0.1429, 0.8571]);
}

#[test]
fn ways_have_their_shares() {
    let hit = trace(vec![span("a", "", "a", Server, ms(0, 5))]);
    let miss = with_calls(&[call(1, (10, 40))]);
    let learned = learnt(&[hit.clone(), hit.clone(), hit, miss]);
    let shares: Vec<(f64, usize)> = operation(&learned, "a")
        .one_of
        .iter()
        .map(|way| (way.share, way.steps.len()))
        .collect();
    assert_eq!(shares, [(0.75, 0), (0.25, 1)]);
}

#[test]
fn errors_are_told_apart_from_those_that_travelled_up() {
    let [client, server] = call(1, (10, 40));
    let passed_on = trace(vec![
        failed(span("a", "", "a", Server, ms(0, 50))),
        failed(client.clone()),
        failed(server.clone()),
    ]);
    let forgiven = trace(vec![
        span("a", "", "a", Server, ms(0, 50)),
        failed(client.clone()),
        failed(server.clone()),
    ]);
    let good = with_calls(&[[client, server]]);
    let learned = learnt(&[passed_on, forgiven, good.clone(), good]);
    assert!(operation(&learned, "a").errors.is_empty());
    let is_half = |ratio: f64| (ratio - 0.5).abs() < 1e-9;
    assert!(is_half(operation(&learned, "b").errors[0].ratio));
    assert!(is_half(only_step(&learned).propagation));
}

#[test]
fn a_failed_call_that_is_made_again_is_a_retry() {
    let [client, server] = call(1, (10, 20));
    let again = with_calls(&[[failed(client), failed(server)], call(2, (25, 35))]);
    let learned = learnt(&[again]);
    let step = only_step(&learned);
    let retries = step.retries.unwrap();
    assert_eq!((retries.attempts, retries.backoff.as_millis()), (2, 5));
    assert!(step.count.is_empty() && step.propagation > 0.999);
}

#[test]
fn work_holds_what_it_did_and_whoever_is_not_waited_for_is_detached() {
    let mut late = span("late", "a", "b", Server, ms(90, 130));
    late.operation = "b".into();
    let learned = learnt(&[trace(vec![
        span("a", "", "a", Server, ms(0, 100)),
        span("work", "a", "a", Internal, ms(10, 50)),
        span("inner", "work", "a", Internal, ms(20, 30)),
        late,
    ])]);
    let steps = &operation(&learned, "a").steps;
    assert_eq!(steps[0].work.as_ref().unwrap().name, "work");
    assert_eq!(steps[0].time, Some(Distribution::ConstantMs(30.0)));
    assert_eq!(steps[0].steps[0].work.as_ref().unwrap().name, "inner");
    assert!(steps[1].detached && steps[1].without_client_span);
}

#[test]
fn what_has_no_place_is_counted() {
    let mut learner = Learner::new(Limits {
        operations: 1,
        ways: 1,
        steps: 10,
    });
    learner.observe(&trace(vec![span("a", "", "a", Server, ms(0, 5))]));
    learner.observe(&with_calls(&[call(1, (10, 40))]));
    let learned = learner.finish(1.0);
    assert_eq!((learned.left_out_operations, learned.left_out_ways), (1, 1));
    assert_eq!((learned.traces, learned.requests), (2, 2));
}
