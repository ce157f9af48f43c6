//! The language: what is read, what it means, and what is said about mistakes.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::span::SpanKind::{Client, Internal, Server};
use crate::model::trace::{AttributeValue, StatusCode, Trace, TraceResource, TraceSpan};
use crate::trace::fixture::{failed, span, trace};
use crate::trace::tree::TraceTree;

fn with(span: TraceSpan, attributes: &[(&str, AttributeValue)]) -> TraceSpan {
    let attributes = attributes.iter();
    TraceSpan {
        attributes: attributes
            .map(|(key, value)| ((*key).into(), value.clone()))
            .collect(),
        ..span
    }
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::Text(text.into())
}

/// frontend calls cart twice, and cart asks redis in the first call.
fn visit() -> Trace {
    trace(vec![
        with(
            span("GET /", "", "frontend", Server, (0, 500_000_000)),
            &[
                ("http.response.status_code", AttributeValue::Int(200)),
                (
                    "body",
                    text(r#"{"items": [{"id": 7}, {"id": 8}], "total": "12.5"}"#),
                ),
                ("tags", AttributeValue::List(vec![text("a"), text("b")])),
                ("user", text("id=42;name=x")),
            ],
        ),
        span("call 1", "GET /", "frontend", Client, (10, 100)),
        with(
            span("cart 1", "call 1", "cart", Server, (20, 90)),
            &[("retry", AttributeValue::Bool(false))],
        ),
        with(
            span("HGETALL", "cart 1", "cart", Client, (30, 80)),
            &[("db.system.name", text("redis"))],
        ),
        span("call 2", "GET /", "frontend", Client, (200, 300)),
        failed(span("cart 2", "call 2", "cart", Server, (210, 290))),
        span("work", "GET /", "frontend", Internal, (400, 450)),
    ])
}

fn selected(selector: &str) -> Vec<String> {
    let mut variables = Variables::new([("PLACE".to_owned(), "cart".to_owned())]);
    variables.set("kind", Value::Text("server".to_owned()));
    let trace = visit();
    let tree = TraceTree::new(&trace);
    let selector =
        Selector::parse(selector).unwrap_or_else(|error| panic!("{selector}: {error:?}"));
    let indices = selector.select(&tree, &variables);
    indices
        .iter()
        .map(|index| trace.spans[*index].name.to_string())
        .collect()
}

#[test]
fn selectors_pick_spans_by_attributes_nesting_and_place() {
    for (selector, wanted) in [
        (
            "span",
            vec![
                "GET /", "call 1", "cart 1", "HGETALL", "call 2", "cart 2", "work",
            ],
        ),
        (
            "span[]",
            vec![
                "GET /", "call 1", "cart 1", "HGETALL", "call 2", "cart 2", "work",
            ],
        ),
        (
            r#"span[service.name="cart" kind="server"]"#,
            vec!["cart 1", "cart 2"],
        ),
        // Old files separate by commas.
        (
            r#"span[service.name="cart", kind="server"]"#,
            vec!["cart 1", "cart 2"],
        ),
        (r#"span[name contains "art"]"#, vec!["cart 1", "cart 2"]),
        (r#"span[name starts-with "call"]"#, vec!["call 1", "call 2"]),
        (r#"span[name ends-with "2"]"#, vec!["call 2", "cart 2"]),
        (
            r#"span[kind != "server" name not-contains "call"]"#,
            vec!["HGETALL", "work"],
        ),
        // At all levels.
        (
            r#"span[name="GET /"] span[service.name="cart"]"#,
            vec!["cart 1", "HGETALL", "cart 2"],
        ),
        (
            r#"span[name="call 1"] span[kind="client"]"#,
            vec!["HGETALL"],
        ),
        (
            r#"span[service.name="cart"] span[service.name="cart"]"#,
            vec!["HGETALL"],
        ),
        // An inner step that nothing matches selects nothing.
        (r#"span[name="none"] span"#, vec![]),
        (
            r#"span[name="work"], span[name="GET /"]"#,
            vec!["GET /", "work"],
        ),
        (r#"span[kind="client"]:first"#, vec!["call 1"]),
        (r#"span[kind="client"]:last"#, vec!["call 2"]),
        (r#"span[kind="client"]:nth_child(2)"#, vec!["HGETALL"]),
        (r#"span[kind="client"]:nth_child(4)"#, vec![]),
        (r#"span[kind="client"]:last span"#, vec!["cart 2"]),
        (r"span[db.system.name]", vec!["HGETALL"]),
        // By its older name.
        (r#"span[db.system="redis"]"#, vec!["HGETALL"]),
        (r"span[http.status_code >= 200]", vec!["GET /"]),
        (r"span[tracetest.span.duration > 100ms]", vec!["GET /"]),
        (r#"span[tracetest.span.type="database"]"#, vec!["HGETALL"]),
        (r#"span[tracetest.span.status="error"]"#, vec!["cart 2"]),
        (r"span[retry=false]", vec!["cart 1"]),
        (
            r"span[service.name=env:PLACE kind=var:kind]",
            vec!["cart 1", "cart 2"],
        ),
        (r"span[service.name=env:NOWHERE]", vec![]),
    ] {
        assert_eq!(selected(selector), wanted, "{selector}");
    }
}

/// Nothing if the assertion holds of the root.
fn checked(assertion: &str) -> Option<Seen> {
    let trace = visit();
    let mut variables = Variables::new([("HOME".to_owned(), "/root".to_owned())]);
    variables.set("limit", Value::Number(300.0));
    let assertion =
        Assertion::parse(assertion).unwrap_or_else(|error| panic!("{assertion}: {error:?}"));
    assertion.check(Scope {
        span: trace.spans.first(),
        selected: 3,
        variables: &variables,
    })
}

#[test]
fn assertions_hold() {
    for assertion in [
        r#"attr:name = "GET /""#,
        "attr:tracetest.span.name = 'GET /'",
        r#"attr:kind = "server""#,
        r#"attr:service.name != "cart""#,
        "attr:http.response.status_code = 200",
        "attr:http.status_code = 200",
        r#"attr:http.status_code = "200""#,
        "attr:http.status_code < var:limit",
        "attr:tracetest.span.duration <= 500ms",
        "attr:tracetest.span.duration = 0.5s",
        "attr:tracetest.span.duration < 1s - 499ms",
        "attr:tracetest.span.duration * 2 = 1s",
        "attr:tracetest.span.duration / 100ms = 5",
        "attr:tracetest.selected_spans.count = 3",
        "1 + 2 * 3 = 7",
        "(1 + 2) * 3 = 9",
        "-1 < 0",
        "10 - 2 - 3 = 5",
        r#"attr:name contains "ET""#,
        r#"attr:name not-contains "POST""#,
        r#"attr:name starts-with "GET""#,
        r#"attr:name ends-with "/""#,
        r#"attr:tags contains "a""#,
        r#"attr:tags = ["a", "b"]"#,
        "attr:body | json_path '$.items[0].id' = 7",
        "attr:body | json_path '.items[*].id' | get_index 1 = 8",
        "attr:body | json_path '.items[*].id' | get_index 'last' = 8",
        "attr:body | json_path '$.items' | length = 2",
        "attr:body | json_path '$.total' >= 12.5",
        "attr:body | type = 'json'",
        "attr:http.status_code | type = 'number'",
        r#"attr:body json-contains '{"items": [{"id": 8}]}'"#,
        r"attr:user | regex '[0-9]+' = 42",
        r"attr:user | regex '\d+' = 42",
        r"attr:user | regex_group 'id=(\d+)' = 42",
        r"attr:user | regex_group '(\w+)=(\w+)' | get_index 3 = 'x'",
        "attr:name | length = 5",
        r#"env:HOME = "/root""#,
        r#""${env:HOME}/x ${1 + 1}" = "/root/x 2""#,
        r#""${attr:service.name}" + "-1" = "frontend-1""#,
        "true = true",
        "attr:tracetest.span.outcome = 'ok'",
    ] {
        assert_eq!(checked(assertion), None, "{assertion}");
    }
}

#[test]
fn assertions_that_fail_say_what_was_seen_and_what_is_wanted() {
    for (assertion, observed, wanted) in [
        ("attr:http.status_code = 201", "200", "= 201"),
        ("attr:name = 'POST /'", "\"GET /\"", "= \"POST /\""),
        ("attr:tracetest.span.duration <= 250ms", "500ms", "<= 250ms"),
        (
            "attr:nothing = 1",
            "the span has no attribute nothing",
            "= 1",
        ),
        (
            "attr:nothing != 1",
            "the span has no attribute nothing",
            "!= 1",
        ),
        (
            "var:nothing = 1",
            "the variable nothing has no value",
            "= 1",
        ),
        (
            "attr:name = env:NOTHING",
            "\"GET /\"",
            "the environment has no variable NOTHING",
        ),
        (
            "attr:name > 5",
            "`>` orders numbers and durations, and \"GET /\" is none",
            "> 5",
        ),
        ("1 / 0 = 1", "1 is divided by 0", "= 1"),
        (
            "attr:body | json_path '$.none' = 1",
            "$.none selects nothing in",
            "= 1",
        ),
    ] {
        let seen = checked(assertion).unwrap_or_else(|| panic!("{assertion} holds"));
        assert!(seen.observed.starts_with(observed), "{assertion}: {seen:?}");
        assert_eq!(seen.wanted, wanted, "{assertion}");
    }
}

#[test]
fn mistakes_are_shown_at_their_place_with_a_remedy() {
    let assertion = |text: &str| Assertion::parse(text).unwrap_err();
    let selector = |text: &str| Selector::parse(text).unwrap_err();
    for (error, at, words) in [
        (assertion("attr:a <> 1"), 8, "expected a value"),
        (assertion("attr:a"), 6, "expected an operator (= !="),
        (
            assertion("attr:a = 1 2"),
            11,
            "expected the end, found the number 2",
        ),
        (
            assertion("name = 1"),
            0,
            "an attribute is written attr:name",
        ),
        (assertion("attr:a = 'x"), 9, "not closed"),
        (
            assertion("attr:a = 5parsecs"),
            9,
            "neither a number nor a duration",
        ),
        (assertion("attr: = 1"), 0, "wants a name"),
        (
            assertion("attr:a | lenght = 1"),
            9,
            "did you mean `length`?",
        ),
        (
            assertion("attr:a | regex '(' = 1"),
            15,
            "no regular expression",
        ),
        (assertion("attr:a | json_path '$[' = 1"), 19, "no JSON path"),
        (assertion("attr:a | get_index = 1"), 19, "found `=`"),
        (assertion("attr:a = \"${attr:}\""), 12, "wants a name"),
        (assertion("attr:a = \"${1\""), 9, "not closed"),
        (assertion("(1 = 1"), 3, "expected `)`"),
        (
            assertion(&format!("{}1 = 1", "(".repeat(100))),
            33,
            "deeper than 32",
        ),
        (selector(""), 0, "expected `span[…]`, found the end"),
        (
            selector("spam[a=\"b\"]"),
            0,
            "expected `span[…]`, found `spam`",
        ),
        (selector("span[a=\"b\""), 10, "or `]`, found the end"),
        (selector("span[a=b]"), 7, "a text in quotes"),
        (selector("span[a ~ 1]"), 7, "`~` means nothing"),
        (selector("span[]:frist"), 7, "`first`, `last`"),
        (selector("span[]:nth_child(0)"), 17, "from 1"),
        (selector("span[] x"), 7, "expected `span[…]`"),
    ] {
        assert!(error.message.contains(words), "{error:?}");
        assert_eq!(error.at, at, "{error:?}");
    }
}

#[test]
fn a_selector_knows_the_service_that_it_is_about() {
    let service = |text: &str| Selector::parse(text).unwrap().service().map(str::to_owned);
    assert_eq!(
        service(r#"span[service.name="a" kind="server"]"#),
        Some("a".to_owned())
    );
    assert_eq!(
        service(r#"span[service.name="a"], span[service.name="b"]"#),
        None
    );
    assert_eq!(service(r#"span[service.name!="a"]"#), None);
}

#[test]
fn attributes_of_the_span_come_before_those_of_its_resource() {
    let own = with(
        span("s", "", "a", Server, (0, 1)),
        &[("zone", text("span"))],
    );
    let resource = TraceResource {
        attributes: vec![
            ("zone".into(), text("resource")),
            ("host".into(), text("h")),
        ],
        ..(*own.resource).clone()
    };
    let own = TraceSpan {
        resource: Arc::new(resource),
        status: StatusCode::Ok,
        ..own
    };
    let value = |key| value_of(&own, key).map(|value| value.to_string());
    assert_eq!(value("zone").as_deref(), Some("span"));
    assert_eq!(value("host").as_deref(), Some("h"));
    assert_eq!(value("status").as_deref(), Some("ok"));
    assert_eq!(value("service.name").as_deref(), Some("a"));
    assert_eq!(value("none"), None);
}

#[test]
fn durations_are_shown_in_the_unit_that_people_read() {
    for (nanos, shown) in [
        (0.0, "0ns"),
        (999.0, "999ns"),
        (1_500.0, "1.5us"),
        (430_000_000.0, "430ms"),
        (1_234_567_890.0, "1.23s"),
        (90e9, "1.5m"),
        (7.2e12, "2h"),
    ] {
        assert_eq!(duration_text(nanos), shown);
    }
}

proptest! {
    #[test]
    fn property_no_text_panics_and_every_mistake_is_inside_of_it(text in "(span|\\[|\\]|\\(|\\)|=|<|attr:|var:|a|\\.|-|\"|'|\\$\\{|\\}| |1|ms|\\||regex|,|:|first|é){0,24}") {
        let length = text.chars().count();
        for error in [Assertion::parse(&text).err(), Selector::parse(&text).err()].into_iter().flatten() {
            prop_assert!(error.at <= length, "{error:?}");
        }
    }

    #[test]
    fn property_arithmetic_of_the_language_is_that_of_numbers(a in -1000_i32..1000, b in -1000_i32..1000, c in 1_i32..1000) {
        let wanted = f64::from(a) + f64::from(b) * f64::from(c);
        let assertion = Assertion::parse(&format!("{a} + {b} * {c} = {wanted}")).unwrap();
        let variables = Variables::default();
        let seen = assertion.check(Scope { span: None, selected: 0, variables: &variables });
        prop_assert_eq!(seen, None);
    }
}

/// A test that waits for them would hold for good.
#[test]
fn keys_and_kinds_that_no_span_ever_has_are_mistakes() {
    let assertion = |text: &str| Assertion::parse(text).unwrap_err();
    let selector = |text: &str| Selector::parse(text).unwrap_err();
    for (error, at, words) in [
        (
            assertion("attr:tracetest.span.duraton < 1s"),
            0,
            "did you mean `tracetest.span.duration`?",
        ),
        (
            selector("span[tracetest.span.outcom=\"error\"]"),
            5,
            "did you mean `tracetest.span.outcome`?",
        ),
        (
            selector("span[kind=\"sever\"]"),
            10,
            "did you mean `server`?",
        ),
        (
            selector("span[tracetest.span.status != \"failed\"]"),
            30,
            "one of unset, ok, error",
        ),
    ] {
        assert!(error.message.contains(words), "{error:?}");
        assert_eq!(error.at, at, "{error:?}");
    }
    // What a span reports itself may be anything.
    for good in [
        "span[status=\"failed\"]",
        "span[kind contains \"er\"]",
        "span[kinds=\"a\"]",
    ] {
        Selector::parse(good).unwrap();
    }
}
