//! Whole tests against small traces: each kind of check holds, fails and says nothing where it should.

pub(crate) mod fixture;

use crate::model::report::Verdict;
use crate::model::span::SpanKind::{Client, Consumer, Internal, Producer, Server};
use crate::model::test_result::{CheckResult, TestReport};
use crate::model::trace::{AttributeValue, Completeness, SpanEvent, Trace, TraceSpan};
use crate::trace::fixture::{failed, span, trace};
use crate::tracetest::Session;
use crate::tracetest::language::Variables;
use crate::tracetest::tests::fixture::{run, suites};

const MS: u64 = 1_000_000;

/// a calls b and c one after the other; b asks a database; a sends a message to d.
fn visit() -> Vec<TraceSpan> {
    let query = TraceSpan {
        attributes: vec![
            (
                "db.system.name".into(),
                AttributeValue::Text("postgresql".into()),
            ),
            (
                "db.query.text".into(),
                AttributeValue::Text("SELECT x FROM t WHERE id = 1".into()),
            ),
        ],
        ..span("query", "b", "b", Client, (30 * MS, 50 * MS))
    };
    vec![
        span("root", "", "a", Server, (0, 200 * MS)),
        span("to b", "root", "a", Client, (10 * MS, 70 * MS)),
        span("b", "to b", "b", Server, (20 * MS, 60 * MS)),
        query,
        span("to c", "root", "a", Client, (80 * MS, 120 * MS)),
        span("c", "to c", "c", Server, (90 * MS, 110 * MS)),
        span("send", "root", "a", Producer, (130 * MS, 131 * MS)),
        span("d", "send", "d", Consumer, (300 * MS, 350 * MS)),
    ]
}

fn named(name: &str, change: impl Fn(TraceSpan) -> TraceSpan) -> Vec<TraceSpan> {
    let spans = visit().into_iter();
    spans
        .map(|span| {
            if &*span.name == name {
                change(span)
            } else {
                span
            }
        })
        .collect()
}

fn report(spec: &str, spans: Vec<TraceSpan>) -> TestReport {
    run(
        &format!("type: Test\nspec:\n  name: t\n  {spec}\n"),
        &[trace(spans)],
    )
}

fn only(report: &TestReport) -> &CheckResult {
    let [test] = report.tests.as_slice() else {
        panic!("{report:#?}");
    };
    let [check] = test.checks.as_slice() else {
        panic!("{test:#?}");
    };
    check
}

fn assert_holds(spec: &str, spans: Vec<TraceSpan>) {
    let report = report(spec, spans);
    assert_eq!(only(&report).verdict, Verdict::Pass, "{spec}: {report:#?}");
    assert_eq!(only(&report).passed, 1, "{spec}");
}

fn assert_fails(spec: &str, spans: Vec<TraceSpan>, words: &str) {
    let report = report(spec, spans);
    let check = only(&report);
    assert_eq!(
        (check.verdict, report.verdict),
        (Verdict::Fail, Verdict::Fail),
        "{spec}"
    );
    let text = &check.failures[0].text;
    assert!(text.contains(words), "{spec}: {text}");
}

fn assert_silent(spec: &str, spans: Vec<TraceSpan>) {
    let report = report(spec, spans);
    assert_eq!(
        (only(&report).silent, only(&report).verdict),
        (1, Verdict::Pass),
        "{spec}"
    );
}

#[test]
fn edges_are_required_forbidden_and_closed() {
    for edge in [
        "a -> b",
        "a -> c",
        "a -> d",
        "b -> postgresql",
        "* -> postgres*",
    ] {
        assert_holds(&format!("edges: {{require: ['{edge}']}}"), visit());
        assert_fails(&format!("edges: {{forbid: ['{edge}']}}"), visit(), "calls");
    }
    assert_fails("edges: {require: ['c -> b']}", visit(), "c does not call b");
    assert_fails("edges: {require: ['x -> b']}", visit(), "x has no spans");
    assert_holds("edges: {forbid: ['c -> *']}", visit());
    assert_holds("edges: {only: ['a -> *', 'b -> postgresql']}", visit());
    assert_fails("edges: {only: ['a -> *']}", visit(), "b calls postgresql");
}

#[test]
fn alike_calls_of_one_parent_are_counted_whatever_their_values() {
    let looped = |parent: &str| {
        let mut spans = visit();
        for number in 0..4 {
            let template = spans[3].clone();
            spans.push(TraceSpan {
                span_id: format!("query {number}").into(),
                parent_span_id: Some(parent.into()),
                attributes: vec![
                    (
                        "db.system.name".into(),
                        AttributeValue::Text("postgresql".into()),
                    ),
                    (
                        "db.query.text".into(),
                        AttributeValue::Text(format!("SELECT x FROM t WHERE id = {number}").into()),
                    ),
                ],
                ..template
            });
        }
        spans
    };
    assert_fails("n_plus_one: {max: 4}", looped("b"), "called 5 times by b b");
    assert_holds("n_plus_one: {max: 5}", looped("b"));
    assert_holds("n_plus_one: {max: 4}", looped("c"));
    assert_holds(
        "n_plus_one: {max: 2, selector: 'span[kind=\"server\"]'}",
        looped("b"),
    );
}

#[test]
fn events_come_in_their_order() {
    let with = |names: &[&str]| {
        named("b", |span| TraceSpan {
            events: names
                .iter()
                .map(|name| SpanEvent {
                    at: 1,
                    name: (*name).into(),
                    attributes: Vec::new(),
                })
                .collect(),
            ..span
        })
    };
    let rule = |rest: &str| format!("events: [{{selector: 'span[name=\"b\"]', {rest}}}]");
    assert_holds(&rule("sequence: [x, z]"), with(&["x", "y", "z"]));
    assert_fails(
        &rule("sequence: [z, x]"),
        with(&["x", "y", "z"]),
        "are others",
    );
    assert_fails(
        &rule("sequence: [x, z], exact: true"),
        with(&["x", "y", "z"]),
        "are others",
    );
    assert_holds(&rule("sequence: [x, z], exact: true"), with(&["x", "z"]));
    assert_fails(
        &rule("forbid: [exception]"),
        with(&["exception"]),
        "has the event exception",
    );
    let gone = "events: [{selector: 'span[name=\"gone\"]', sequence: [x]";
    assert_fails(&format!("{gone}}}]"), visit(), "no span matches");
    assert_silent(&format!("{gone}, optional: true}}]"), visit());
}

#[test]
fn spans_lie_in_time_as_they_should() {
    let select = |name: &str| format!("'span[name=\"{name}\"]'");
    let rule = |first: &str, then: &str, rest: &str| {
        format!(
            "order: [{{first: {}, then: {}{rest}}}]",
            select(first),
            select(then)
        )
    };
    assert_holds(&rule("to b", "to c", ""), visit());
    assert_fails(&rule("to c", "to b", ""), visit(), "is not over when");
    let late = || {
        named("to b", |span| TraceSpan {
            end: 85 * MS,
            ..span
        })
    };
    assert_fails(
        &rule("to b", "to c", ""),
        late(),
        "a to b is not over when a to c begins",
    );
    assert_holds(&rule("to b", "to c", ", tolerance: 5ms"), late());
    assert_fails(&rule("to b", "gone", ""), visit(), "no span matches");
    assert_silent(&rule("to b", "gone", ", optional: true"), visit());
    let pair = |word: &str, left: &str, right: &str| {
        format!("order: [{{{word}: [{}, {}]}}]", select(left), select(right))
    };
    assert_holds(&pair("apart", "to b", "to c"), visit());
    assert_fails(&pair("apart", "to b", "to c"), late(), "overlap");
    assert_fails(
        &pair("overlap", "to b", "to c"),
        visit(),
        "at the same time as none",
    );
    assert_holds(&pair("overlap", "to b", "to c"), late());
    // A span runs within its parent by nature.
    assert_holds(&pair("apart", "to b", "b"), visit());
}

#[test]
fn errors_surface_or_stay_inside() {
    let failing = |names: &[&str]| {
        visit()
            .into_iter()
            .map(|span| {
                if names.contains(&&*span.name) {
                    failed(span)
                } else {
                    span
                }
            })
            .collect::<Vec<_>>()
    };
    let surface = "errors: {surface: ['span[service.name=\"b\"]']}";
    assert_silent(surface, visit());
    assert_holds(surface, failing(&["b", "to b", "root"]));
    assert_fails(
        surface,
        failing(&["b", "to b"]),
        "does not reach the root: a root answers well",
    );
    let contain = "errors: {contain: ['span[service.name=\"b\"]']}";
    assert_silent(contain, visit());
    assert_holds(contain, failing(&["b", "to b"]));
    assert_fails(contain, failing(&["b", "to b", "root"]), "reaches the root");
    // The root fails for another reason.
    assert_holds(contain, failing(&["b", "root"]));
    let forbid = "errors: {forbid: ['span[service.name=\"b\"]']}";
    assert_holds(forbid, visit());
    assert_fails(forbid, failing(&["query"]), "1 spans fail");
}

#[test]
fn a_spec_without_a_span_fails_unless_it_is_optional_or_asks_for_the_number() {
    let spec = |rest: &str| format!("specs: [{{selector: 'span[name=\"gone\"]', {rest}}}]");
    assert_fails(
        &spec("assertions: ['attr:name = \"x\"']"),
        visit(),
        "no span matches",
    );
    assert_silent(
        &spec("assertions: ['attr:name = \"x\"'], optional: true"),
        visit(),
    );
    assert_holds(
        &spec("assertions: ['attr:tracetest.selected_spans.count = 0']"),
        visit(),
    );
    assert_fails(
        "specs: [{assertions: ['attr:tracetest.span.duration < 100ms']}]",
        visit(),
        "1 of 8 selected spans fail",
    );
}

#[test]
fn what_never_came_fails_and_what_is_not_whole_is_said() {
    assert_holds("complete: {expect: 'span[service.name=\"d\"]'}", visit());
    assert_fails(
        "complete: {expect: 'span[service.name=\"e\"]'}",
        visit(),
        "never came",
    );
    let broken = Trace {
        completeness: Completeness::Incomplete("2 roots".to_owned()),
        ..trace(visit())
    };
    let with = |rule: &str| {
        let text = format!(
            "type: Test\nspec:\n  name: t\n  n_plus_one: {{max: 1}}\n  complete: {{{rule}}}\n"
        );
        run(&text, std::slice::from_ref(&broken))
    };
    let skipped = with("incomplete: skip");
    assert_eq!(skipped.verdict, Verdict::Inconclusive);
    assert_eq!(skipped.tests[0].incomplete_traces, 1);
    assert_eq!(
        skipped.tests[0].incomplete_reason.as_deref(),
        Some("t: 2 roots")
    );
    assert_eq!(with("incomplete: judge").verdict, Verdict::Pass);
    let failing = with("incomplete: fail");
    assert_eq!(failing.verdict, Verdict::Fail);
    assert_eq!(
        failing.tests[0].checks[0].failures[0].text,
        "the trace is not whole: 2 roots"
    );
}

#[test]
fn a_test_is_about_the_traces_that_its_root_selector_names() {
    let other = report(
        "for: span[service.name=\"z\"]\n  n_plus_one: {max: 1}",
        visit(),
    );
    assert_eq!(other.verdict, Verdict::Inconclusive);
    assert_eq!(other.tests[0].text, "no trace has such a root span");
    assert_eq!(other.tests[0].service.as_deref(), Some("z"));
    // b is no root.
    let inner = report(
        "for: span[service.name=\"b\"]\n  n_plus_one: {max: 1}",
        visit(),
    );
    assert_eq!(inner.tests[0].traces, 0);
}

#[test]
fn outputs_are_handed_on_to_later_tests() {
    let text = "type: Test\nspec:\n  name: one\n  n_plus_one: {max: 1}\n  outputs: [{name: WHO, selector: 'span[kind=\"server\"]:last', value: 'attr:service.name'}]\n\
        ---\ntype: Test\nspec:\n  name: two\n  specs: [{selector: 'span[name=\"c\"]', assertions: ['attr:service.name = var:WHO']}]\n\
        ---\ntype: TestSuite\nspec: {name: s, steps: [one, two]}\n";
    let report = run(text, &[trace(visit())]);
    assert_eq!(report.verdict, Verdict::Pass, "{report:#?}");
    assert_eq!(report.tests[0].outputs["WHO"], "c");
}

#[test]
fn a_failure_shows_the_trace_with_the_span_marked() {
    let report = report(
        "specs: [{selector: 'span[name=\"query\"]', assertions: ['attr:tracetest.span.duration < 10ms']}]",
        visit(),
    );
    let failure = &only(&report).failures[0];
    assert_eq!(failure.span.as_deref(), Some("b query"));
    assert_eq!(
        (failure.observed.as_deref(), failure.wanted.as_deref()),
        (Some("20ms"), Some("< 10ms"))
    );
    insta::assert_snapshot!(failure.tree);
}

#[test]
fn long_traces_are_shown_around_what_is_wrong() {
    let mut spans = visit();
    for number in 0..5_000 {
        spans.push(span(
            &format!("step {number}"),
            "c",
            "c",
            Internal,
            (95 * MS, 96 * MS),
        ));
    }
    let report = report(
        "errors: {forbid: ['span[name=\"query\"]']}",
        spans
            .into_iter()
            .map(|span| {
                if &*span.name == "query" {
                    failed(span)
                } else {
                    span
                }
            })
            .collect(),
    );
    let tree = &only(&report).failures[0].tree;
    assert!(tree.lines().count() <= 25, "{tree}");
    assert!(tree.contains("> ") && tree.contains("more spans"), "{tree}");
}

#[test]
fn old_traces_leave_the_window_and_their_failures_with_them() {
    let text = "type: Test\nspec: {name: t, errors: {forbid: [span]}, over: {window: 10s}}\n";
    let mut session = Session::new(
        suites(text),
        &Variables::default(),
        crate::tracetest::Limits::default(),
    );
    let later = |spans: Vec<TraceSpan>, by: u64| {
        let moved = spans.into_iter().map(|span| TraceSpan {
            start: span.start + by,
            end: span.end + by,
            ..span
        });
        trace(moved.collect())
    };
    let bad = visit().into_iter().map(failed).collect();
    session.observe([&later(bad, 0)]);
    assert_eq!(session.report(1_000 * MS).verdict, Verdict::Fail);
    session.observe([&later(visit(), 20_000 * MS)]);
    let report = session.report(21_000 * MS);
    assert_eq!(
        (
            report.verdict,
            only(&report).failed,
            only(&report).failures.len()
        ),
        (Verdict::Pass, 0, 0)
    );
}

#[test]
fn a_session_keeps_no_more_judgements_than_it_may() {
    let limits = crate::tracetest::Limits {
        traces_per_test: 10,
        failures_per_check: 2,
        window: None,
    };
    let text = "type: Test\nspec: {name: t, errors: {forbid: [span]}}\n";
    let mut session = Session::new(suites(text), &Variables::default(), limits);
    let bad = trace(visit().into_iter().map(failed).collect());
    for _ in 0..50 {
        session.observe([&bad]);
    }
    let report = session.report(u64::MAX);
    assert_eq!(
        (
            only(&report).failed,
            only(&report).failures.len(),
            report.traces
        ),
        (10, 2, 50)
    );
}

#[test]
fn a_trace_is_awaited_until_its_timeout() {
    let text = "type: Test\nspec: {name: t, complete: {timeout: 5s, expect: 'span[service.name=\"e\"]'}}\n";
    let session = Session::new(
        suites(text),
        &Variables::default(),
        crate::tracetest::Limits::default(),
    );
    let trace = trace(visit());
    assert!(session.awaits(&trace, 5_000 * MS));
    assert!(!session.awaits(&trace, 5_350 * MS));
}
