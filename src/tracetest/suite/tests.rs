//! Suite files: what is read, and what is said about mistakes.

use super::*;
use crate::openslo::tree::Tree;

const FULL: &str = include_str!("tests/full.yaml");
const EXAMPLE: &str = include_str!("../../../examples/trace-tests/suite.yaml");
const SCHEMA: &str = include_str!("../../../schema/trace_test.schema.json");

/// Whether the schema takes all documents of a text.
fn schema_takes(text: &str) -> bool {
    let schema = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::options().build(&schema).unwrap();
    let documents = Tree::read("suite.yaml", text).documents;
    !documents.is_empty()
        && documents
            .iter()
            .all(|(_, node)| validator.is_valid(&node.to_json()))
}

/// Fields that cannot be, one of each object that a suite has.
const WRONG_FIELDS: [&str; 14] = [
    "n_plus_one: {max: 1}\n  wrong: 1",
    "n_plus_one: {max: 1, wrong: 1}",
    "n_plus_one: {max: 1}\n  complete: {wrong: 1}",
    "n_plus_one: {max: 1}\n  over: {wrong: 1}",
    "n_plus_one: {max: 1}\n  outputs: [{name: a, value: '1', wrong: 1}]",
    "n_plus_one: {max: 1}\n  trigger: {type: http, httpRequest: {url: a}, wrong: 1}",
    "n_plus_one: {max: 1}\n  trigger: {type: http, httpRequest: {url: a, wrong: 1}}",
    "n_plus_one: {max: 1}\n  trigger: {type: http, httpRequest: {url: a, headers: [{key: a, value: b, wrong: 1}]}}",
    "specs: [{assertions: ['1 = 1'], wrong: 1}]",
    "specs: [{assertions: ['1 = 1'], over: {wrong: 1}}]",
    "edges: {require: [a -> b], wrong: 1}",
    "events: [{selector: span, forbid: [a], wrong: 1}]",
    "order: [{first: span, then: span, wrong: 1}]",
    "errors: {forbid: [span], wrong: 1}",
];

#[test]
fn the_schema_takes_what_is_read() {
    let inferred = crate::tracetest::infer::infer(&crate::tracetest::tests::fixture::shop(
        1,
        150,
        &crate::traffic::generate::Faults::none(),
    ));
    for text in [FULL, EXAMPLE, &inferred.yaml] {
        read("suite.yaml", text).unwrap();
        assert!(schema_takes(text), "{text}");
    }
}

#[test]
fn the_schema_and_the_reader_refuse_the_same_fields() {
    for fields in WRONG_FIELDS {
        let text = format!("type: Test\nspec:\n  name: a\n  {fields}\n");
        assert!(problems(&text).contains("has no field `wrong`"), "{text}");
        assert!(!schema_takes(&text), "{text}");
        let right = text
            .replace(", wrong: 1", "")
            .replace("wrong: 1", "")
            .replace("\n  \n", "\n");
        read("suite.yaml", &right).unwrap_or_else(|problems| panic!("{right}: {problems:?}"));
        assert!(schema_takes(&right), "{right}");
    }
}

fn problems(text: &str) -> String {
    let problems = read("suite.yaml", text).expect_err(text);
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    texts.join("\n")
}

#[test]
fn everything_that_a_suite_can_say_is_read() {
    let documents = read("dir/full.yaml", FULL).unwrap();
    let suites = arrange(&documents).unwrap();
    assert_eq!(suites.len(), 1);
    let [first, second] = suites[0].tests.as_slice() else {
        panic!("{suites:?}");
    };
    assert_eq!(suites[0].name, "an order and its answer");
    assert_eq!(
        (first.name.as_str(), first.line),
        ("checkout places an order", 3)
    );
    assert_eq!(first.complete.quiet, 2_000_000_000);
    assert_eq!(first.complete.incomplete, Incomplete::Fail);
    let names: Vec<&str> = first
        .checks
        .iter()
        .map(|check| check.name.as_str())
        .collect();
    insta::assert_snapshot!(names.join("\n"));
    let confident = first
        .checks
        .iter()
        .filter(|check| check.over.is_some_and(|over| over.confidence == Some(0.95)));
    assert_eq!(confident.count(), names.len() - 1);
    assert!(
        matches!(&second.trigger, Some(Trigger::Http(request)) if request.method == "POST" && request.headers.len() == 1)
    );
}

#[test]
fn a_mistake_in_an_assertion_is_shown_with_its_line_and_a_caret() {
    let text = "type: Test\nspec:\n  name: a\n  specs:\n    - selector: span[name=\"x\"]\n      assertions:\n        - attr:a | lenght = 1\n        - \"attr:b <> \\\"x\\\"\"\n        - 'attr:c = ''x'' )'\n        - |\n          attr:d = 1 1\n";
    insta::assert_snapshot!(problems(text));
}

#[test]
fn unknown_fields_name_the_allowed_ones_and_what_was_probably_meant() {
    let text = "type: Test\nspec:\n  name: a\n  spec: []\n  edges: {requires: [a -> b]}\n  over: {traces: 5, passrate: 99%}\n  errors: {hide: span}\n";
    insta::assert_snapshot!(problems(text));
}

#[test]
fn values_that_cannot_be_are_refused_with_a_remedy() {
    for (spec, words) in [
        (
            "specs: [{assertions: [1 = 1]}]\n  for: span[a=1] span[b=1]",
            "`for` selects root spans",
        ),
        ("complete: {quiet: 3, expect: span}", "a duration such as"),
        (
            "complete: {quiet: 3m, timeout: 1s, expect: span}",
            "`quiet` is longer",
        ),
        (
            "complete: {incomplete: drop, expect: span}",
            "skip, judge, fail",
        ),
        ("complete: {quiet: 1s}", "the test checks nothing"),
        ("edges: {require: [a to b]}", "write CALLER -> CALLEE"),
        ("n_plus_one: {selector: span}", "needs the field `max`"),
        ("n_plus_one: {max: many}", "a whole number"),
        ("events: [{selector: span}]", "needs `sequence` or `forbid`"),
        ("order: [{first: span}]", "{first: A, then: B}"),
        ("order: [{overlap: [span]}]", "{overlap: [A, B]}"),
        (
            "order: [{first: span, then: span, apart: [span, span]}]",
            "{first: A, then: B}",
        ),
        (
            "n_plus_one: {max: 1}\n  over: {pass_rate: 120%}",
            "no pass rate",
        ),
        (
            "n_plus_one: {max: 1}\n  over: {pass_rate: 99%, confidence: 2}",
            "between 0.8 and 0.9999",
        ),
        (
            "n_plus_one: {max: 1}\n  over: {confidence: 0.9}",
            "no number of traces",
        ),
        ("specs: [{selector: span}]", "needs `assertions`"),
        (
            "outputs: [{name: x}]\n  n_plus_one: {max: 1}",
            "needs the field `value`",
        ),
        (
            "trigger: {type: htp}\n  n_plus_one: {max: 1}",
            "`htp` is no trigger",
        ),
        (
            "trigger: {type: http}\n  n_plus_one: {max: 1}",
            "needs the field `httpRequest`",
        ),
        ("n_plus_one: {max: 1}\n  name: b", "stands here twice"),
    ] {
        let found = problems(&format!("type: Test\nspec:\n  name: a\n  {spec}\n"));
        assert!(found.contains(words), "{spec}: {found}");
        // What only the reader can see is named here.
        let is_beyond = [
            "`for` selects",
            "`quiet` is longer",
            "no pass rate",
            "no number of traces",
            "stands here twice",
        ]
        .iter()
        .any(|beyond| words.starts_with(beyond));
        let text = format!("type: Test\nspec:\n  name: a\n  {spec}\n");
        assert!(is_beyond || !schema_takes(&text), "{spec}");
    }
}

#[test]
fn files_that_hold_no_test_are_refused_with_a_remedy() {
    for (text, words) in [
        ("", "the file holds no test"),
        ("type: Tset\nspec: {name: a}", "allowed are Test, TestSuite"),
        ("type: Test", "needs the field `spec`"),
        (
            "type: Test\nspec: {n_plus_one: {max: 1}}",
            "needs the field `name`",
        ),
        ("type: [", "suite.yaml:2:1: "),
        ("type: TestSuite\nspec: {name: s}", "needs `steps`"),
        ("- a", "must be a map of type, spec"),
    ] {
        assert!(problems(text).contains(words), "{text}: {}", problems(text));
    }
}

#[test]
fn a_step_that_is_not_there_is_shown_where_it_stands() {
    let documents = read(
        "dir/s.yaml",
        "type: TestSuite\nspec:\n  name: s\n  steps:\n    - gone\n    - ./also.yaml\n",
    )
    .unwrap();
    let Document::Suite(suite) = &documents[0] else {
        panic!("{documents:?}");
    };
    assert_eq!(suite.steps[1].file.as_deref(), Some("dir/also.yaml"));
    let problem = arrange(&documents).unwrap_err();
    assert_eq!((problem.line, problem.column), (5, 7));
    assert!(problem.message.contains("there is no test `gone`"));
}

#[test]
fn tests_that_no_suite_names_run_on_their_own() {
    let one = |name: &str| format!("type: Test\nspec: {{name: {name}, n_plus_one: {{max: 1}}}}\n");
    let text = format!(
        "{}---\n{}---\ntype: TestSuite\nspec: {{name: s, steps: [b]}}\n",
        one("a"),
        one("b")
    );
    let suites = arrange(&read("f.yaml", &text).unwrap()).unwrap();
    let names: Vec<(&str, &str)> = suites
        .iter()
        .map(|suite| (suite.name.as_str(), suite.tests[0].name.as_str()))
        .collect();
    assert_eq!(names, [("s", "b"), ("f.yaml", "a")]);
}

#[test]
fn triggers_of_other_kinds_are_left_alone() {
    let text = "type: Test\nspec: {name: a, n_plus_one: {max: 1}, trigger: {type: grpc, grpc: {address: x}}}";
    let documents = read("f.yaml", text).unwrap();
    let Document::Test(test) = &documents[0] else {
        panic!("{documents:?}");
    };
    assert_eq!(test.trigger, Some(Trigger::Other("grpc".to_owned())));
}
