//! Traces timed anew, by hand and against what must always hold.

use std::time::Duration;

use proptest::prelude::*;

use super::cases::{FaultCase, FaultSuite};
use super::*;
use crate::model::fault::{LatencyChange, RetryStorm, TimeoutFault};
use crate::model::report::Severity;
use crate::model::simulation::Noticed;
use crate::model::span::{Outcome, SpanKind};
use crate::model::trace::TraceSpan;
use crate::trace::fixture::{failed, span, trace};

const MS: u64 = 1_000_000;

fn ms(from: u64, to: u64) -> (u64, u64) {
    (from * MS, to * MS)
}

/// `a` calls `b`, then `c` and `d` at the same time, and sends a message to `e`.
///
/// ```text
/// a      0─────────────────────────────────────100
/// to_b     10───────────40
/// b          12───────38
/// to_c                    50──────────90
/// c                        52───────88
/// to_d                    50────70
/// d                        52──68
/// send                                  92─94
/// e                                           105──120
/// ```
fn shop() -> Trace {
    use SpanKind::{Client, Consumer, Producer, Server};
    trace(vec![
        span("a", "", "a", Server, ms(0, 100)),
        span("to_b", "a", "a", Client, ms(10, 40)),
        span("b", "to_b", "b", Server, ms(12, 38)),
        span("to_c", "a", "a", Client, ms(50, 90)),
        span("to_d", "a", "a", Client, ms(50, 70)),
        span("c", "to_c", "c", Server, ms(52, 88)),
        span("d", "to_d", "d", Server, ms(52, 68)),
        span("send", "a", "a", Producer, ms(92, 94)),
        TraceSpan {
            is_entry: true,
            ..span("e", "send", "e", Consumer, ms(105, 120))
        },
    ])
}

fn on(service: &str, fault: Fault) -> PlacedFault {
    PlacedFault {
        target: FaultTarget::service(service),
        fault,
        callers: Callers::default(),
    }
}

fn added(millis: u64) -> Fault {
    Fault::latency(LatencyChange::Added(Duration::from_millis(millis)))
}

fn simulate(faults: &[PlacedFault]) -> Trace {
    let trace = shop();
    let mut edges = Edges::default();
    edges.observe(&TraceTree::new(&trace));
    Simulation::new(faults, &edges, 1).apply(&trace)
}

#[track_caller]
fn assert_times(trace: &Trace, wanted: &[(&str, u64, u64)]) {
    for (id, from, to) in wanted {
        let span = trace.spans.iter().find(|span| *span.span_id == **id);
        let span = span.unwrap_or_else(|| panic!("no {id}"));
        assert_eq!((span.start, span.end), ms(*from, *to), "{id}");
    }
}

fn is_failed(trace: &Trace, id: &str) -> bool {
    let found = trace.spans.iter().find(|span| *span.span_id == *id);
    found.unwrap().outcome == Outcome::Error
}

fn ids(trace: &Trace) -> Vec<&str> {
    let mut ids: Vec<&str> = trace.spans.iter().map(|span| &*span.span_id).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn without_a_fault_nothing_moves() {
    assert_eq!(simulate(&[]), shop());
    assert_eq!(simulate(&[on("b", Fault::default())]), shop());
}

#[test]
fn a_delay_moves_all_that_waited_for_it_and_keeps_the_gaps() {
    let slow = simulate(&[on("b", added(200))]);
    assert_times(
        &slow,
        &[
            ("a", 0, 300),
            ("to_b", 10, 240),
            ("b", 12, 238),
            ("to_c", 250, 290),
            ("d", 252, 268),
            ("send", 292, 294),
            ("e", 305, 320),
        ],
    );
}

#[test]
fn the_slack_beside_a_longer_sibling_is_used_up_first() {
    assert_times(
        &simulate(&[on("d", added(15))]),
        &[("a", 0, 100), ("to_d", 50, 85)],
    );
    assert_times(
        &simulate(&[on("d", added(30))]),
        &[("a", 0, 110), ("to_d", 50, 100), ("send", 102, 104)],
    );
}

#[test]
fn nobody_waits_for_a_message() {
    assert_times(
        &simulate(&[on("e", added(500))]),
        &[("a", 0, 100), ("e", 105, 620)],
    );
}

#[test]
fn own_time_is_multiplied_without_the_calls_and_all_of_it_with_them() {
    // Own time of a: 10 before, 10 between, 2 before the message, 6 after it.
    let own = simulate(&[on("a", Fault::latency(LatencyChange::Factor(2.0)))]);
    assert_times(
        &own,
        &[
            ("a", 0, 128),
            ("to_b", 20, 50),
            ("to_c", 70, 110),
            ("send", 114, 116),
        ],
    );
    let all = simulate(&[on("b", Fault::latency(LatencyChange::TotalFactor(2.0)))]);
    assert_times(&all, &[("b", 12, 64), ("to_b", 10, 66), ("a", 0, 126)]);
}

#[test]
fn an_error_ends_the_caller_where_it_would_have_gone_on() {
    let broken = simulate(&[on("b", Fault::error(1.0))]);
    assert_eq!(ids(&broken), ["a", "b", "to_b"]);
    for id in ["a", "b", "to_b"] {
        assert!(is_failed(&broken, id), "{id}");
    }
    // After the failed call comes what came after the last one.
    assert_times(&broken, &[("b", 12, 38), ("a", 0, 46)]);
}

#[test]
fn siblings_that_had_begun_end_and_the_message_is_not_sent() {
    let broken = simulate(&[on("d", Fault::error(1.0))]);
    assert_eq!(ids(&broken), ["a", "b", "c", "d", "to_b", "to_c", "to_d"]);
    assert_times(&broken, &[("to_c", 50, 90), ("a", 0, 96)]);
    assert!(!is_failed(&broken, "c") && is_failed(&broken, "a"));
}

#[test]
fn errors_travel_up_as_often_as_they_were_seen_to() {
    let mut forgiven = shop();
    for id in ["b", "to_b"] {
        let at = forgiven
            .spans
            .iter()
            .position(|span| *span.span_id == *id)
            .unwrap();
        forgiven.spans[at] = failed(forgiven.spans[at].clone());
    }
    let mut edges = Edges::default();
    for _ in 0..9 {
        edges.observe(&TraceTree::new(&forgiven));
    }
    assert_eq!(edges.failed_calls(("a", "a"), ("b", "b")), 9);
    let faults = [on("b", Fault::error(1.0))];
    let mut simulation = Simulation::new(&faults, &edges, 1);
    let roots = (0..1_000)
        .filter(|_| is_failed(&simulation.apply(&shop()), "a"))
        .count();
    // (0 + 1 · 1) / (9 + 1): the prior counts as one call.
    assert!((95..=105).contains(&roots), "{roots}");
}

#[test]
fn a_service_that_is_out_refuses_at_once_and_a_silent_one_is_not_seen() {
    let out = |silent| Fault {
        outage: true,
        silent,
        ..Fault::default()
    };
    let refused = simulate(&[on("b", out(false))]);
    assert_times(&refused, &[("b", 12, 13), ("to_b", 10, 15), ("a", 0, 21)]);
    assert_eq!(ids(&simulate(&[on("b", out(true))])), ["a", "to_b"]);
}

#[test]
fn callers_give_up_while_the_callee_goes_on() {
    let hang = TimeoutFault {
        after: Duration::from_millis(80),
        ratio: 1.0,
    };
    let hung = simulate(&[on(
        "b",
        Fault {
            timeout: Some(hang),
            ..Fault::default()
        },
    )]);
    assert_times(&hung, &[("b", 12, 92), ("to_b", 10, 90), ("a", 0, 96)]);
    assert!(is_failed(&hung, "a"));
    let callers = Callers {
        timeout: Some(Duration::from_millis(35)),
        ..Callers::default()
    };
    let cut = simulate(&[PlacedFault {
        callers,
        ..on("b", added(200))
    }]);
    assert_times(&cut, &[("b", 12, 238), ("to_b", 10, 45), ("a", 0, 51)]);
}

#[test]
fn a_call_that_fails_is_repeated_with_everything_below_it() {
    let storm = RetryStorm {
        ratio: 1.0,
        attempts: 3,
        backoff: Duration::from_millis(5),
    };
    let stormy = simulate(&[on(
        "b",
        Fault {
            retry_storm: Some(storm),
            ..Fault::default()
        },
    )]);
    assert_eq!(
        ids(&stormy),
        ["a", "b", "b-2", "b-3", "to_b", "to_b-2", "to_b-3"]
    );
    let again = stormy
        .spans
        .iter()
        .find(|span| *span.span_id == *"b-3")
        .unwrap();
    assert_eq!(again.parent_span_id.as_deref(), Some("to_b-3"));
    let call = stormy
        .spans
        .iter()
        .find(|span| *span.span_id == *"to_b-2")
        .unwrap();
    assert_eq!(call.parent_span_id.as_deref(), Some("a"));
    assert_times(
        &stormy,
        &[
            ("to_b", 10, 40),
            ("to_b-2", 45, 75),
            ("to_b-3", 80, 110),
            ("a", 0, 116),
        ],
    );
}

#[test]
fn a_recorded_failure_is_tried_again_too_and_what_came_of_it_is_gone() {
    let mut broken = shop();
    for span in &mut broken.spans {
        if ["a", "b", "to_b"].contains(&&*span.span_id) {
            *span = failed(span.clone());
        }
    }
    let mut edges = Edges::default();
    for _ in 0..99 {
        edges.observe(&TraceTree::new(&shop()));
    }
    edges.observe(&TraceTree::new(&broken));
    let callers = Callers {
        attempts: 3,
        ..Callers::default()
    };
    let faults = [PlacedFault {
        callers,
        ..on("b", Fault::default())
    }];
    let mut simulation = Simulation::new(&faults, &edges, 1);
    let roots = (0..200)
        .filter(|_| is_failed(&simulation.apply(&broken), "a"))
        .count();
    // Both further attempts fail in one of ten thousand.
    assert!(roots <= 1, "{roots}");
    assert!(
        is_failed(&simulation.apply(&broken), "b"),
        "the first attempt stays as it was"
    );
}

#[test]
fn of_many_requests_just_the_wanted_share_is_met() {
    let faults = [on("b", Fault::error(0.05))];
    let edges = Edges::default();
    let mut simulation = Simulation::new(&faults, &edges, 3);
    let failed = (0..2_000)
        .filter(|_| is_failed(&simulation.apply(&shop()), "b"))
        .count();
    assert!((99..=101).contains(&failed), "{failed}");
}

#[test]
fn expectations_are_read_as_they_are_written_and_a_page_does_for_a_ticket() {
    let page = Expectation::parse("page within 10m").unwrap();
    let within = Duration::from_mins(10);
    assert_eq!(
        page,
        Expectation::Alert {
            severity: Severity::Page,
            within
        }
    );
    for text in ["page within 10m", "ticket within 1day", "stays green"] {
        assert_eq!(Expectation::parse(text).unwrap().to_string(), text);
    }
    let noticed = |page_secs, ticket_secs| Noticed {
        page_secs,
        ticket_secs,
    };
    let ticket = Expectation::parse("ticket within 10m").unwrap();
    assert!(page.is_met(noticed(Some(600), None)) && !page.is_met(noticed(Some(601), Some(1))));
    assert!(ticket.is_met(noticed(Some(600), None)) && !ticket.is_met(noticed(None, Some(601))));
    assert!(Expectation::StaysGreen.is_met(Noticed::default()));
    assert!(!Expectation::StaysGreen.is_met(noticed(None, Some(60))));
    for wrong in ["page", "page within soon", "is green"] {
        assert!(
            Expectation::parse(wrong)
                .unwrap_err()
                .contains("stays green")
        );
    }
}

#[test]
fn a_file_of_cases_says_what_is_wrong_with_it() {
    let good = "cases:\n  - name: slow\n    target: {service: b}\n    fault: {latency: +200ms}\n    expect: page within 10m\n";
    let suite = FaultSuite::from_yaml("f.yaml", good).unwrap();
    assert_eq!(suite.cases[0].placed(), on("b", added(200)));
    for (was, is, said) in [
        ("+200ms", "200ms", "such as +200ms"),
        ("expect: page", "expect: pager", "stays green"),
        ("target", "tarket", "tarket"),
        ("name: slow", "description: slow", "cases[0] has no name"),
        (
            "fault: {latency: +200ms}",
            "fault: {error: 2}",
            "cases[0].fault: error is 2",
        ),
        ("fault:", "for: 5s\n    fault:", "cases[0].for"),
    ] {
        let error = FaultSuite::from_yaml("f.yaml", &good.replace(was, is))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("f.yaml: ") && error.contains(said),
            "{error}"
        );
    }
}

#[test]
fn the_four_cases_of_every_service_have_their_names() {
    let names = FaultCase::defaults_of("cart").map(|case| case.name);
    assert_eq!(
        names,
        ["baseline", "latency-spike", "error-burst", "partial-outage"]
    );
}

proptest! {
    #[test]
    fn property_a_delay_never_makes_anything_end_sooner_and_no_more_than_the_delay_later(
        service in prop::sample::select(vec!["a", "b", "c", "d", "e"]),
        millis in 0_u64..500,
    ) {
        let slow = simulate(&[on(service, added(millis))]);
        let before = shop();
        prop_assert_eq!(slow.spans.len(), before.spans.len());
        for span in &before.spans {
            let now = slow.spans.iter().find(|own| own.span_id == span.span_id).unwrap();
            prop_assert!(now.end >= span.end && now.end <= span.end + millis * MS);
            prop_assert!(now.start >= span.start);
        }
        let tree = TraceTree::new(&slow);
        for index in 0..slow.spans.len() {
            prop_assert!(index == 0 || tree.parent(index).is_some());
        }
    }
}
