//! Policies against the evaluator that they speak for, and files of all kinds against the rules of what decides.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::run::rego_decision;
use super::*;

mod composites;
use crate::evaluator::objective::status_of;
use crate::model::period::Period;
use crate::model::report::Verdict;
use crate::model::slo::{Budgeting, Objective, Sli};
use crate::model::window::{Window, WindowSums};
use crate::window::measure::{ObjectiveView, PeriodSums};

const LIMITS: Limits = Limits {
    error_ratio_max: 0.9,
    min_bad_events: 2,
};

/// Events of a window, all of this weight: (bad, total).
fn sums((bad, total): (u64, u64), weight: f64) -> WindowSums {
    WindowSums {
        total: total as f64 * weight,
        bad: bad as f64 * weight,
        squared: total as f64 * weight * weight,
        observed_total: total,
        observed_bad: bad,
    }
}

fn measured(objective: Objective, windows: &[WindowSums; 10], limits: Limits) -> ObjectiveStatus {
    let period = objective.window.window().unwrap_or(Window::D30);
    let at = Window::ALL.iter().position(|held| *held == period).unwrap();
    let view = ObjectiveView {
        objective: Arc::new(objective),
        period: PeriodSums {
            sums: windows[at],
            ..PeriodSums::default()
        },
        since_start: windows[9],
        windows: *windows,
    };
    status_of(&view, limits)
}

fn objective(target: f64) -> Objective {
    Objective::new(
        "availability-checkout",
        "checkout",
        Sli::Availability,
        target,
    )
}

/// An objective with the same events in every window.
fn steady(target: f64, bad: u64, total: u64) -> ObjectiveStatus {
    measured(objective(target), &[sums((bad, total), 1.0); 10], LIMITS)
}

fn decide(language: Language, text: &str, document: &Value) -> Result<Decision, PolicyError> {
    let file = match language {
        Language::Cel => "mine.cel",
        Language::Rego => "mine.rego",
    };
    let source = Source {
        file,
        language,
        text,
    };
    evaluate(source, &Input::new(document))
}

/// What the objective's own policies say: (CEL, Rego).
fn decisions(status: &ObjectiveStatus, limits: Limits) -> (Decision, Decision) {
    let document = json!({"objectives": objectives(std::slice::from_ref(status))});
    said(&policy(status, limits), &document)
}

/// What a policy says of a document: (CEL, Rego).
fn said(policy: &Policy, document: &Value) -> (Decision, Decision) {
    let say = |language, text: &str| {
        decide(language, text, document).unwrap_or_else(|error| panic!("{error}\n{text}"))
    };
    (
        say(Language::Cel, &policy.cel),
        say(Language::Rego, &policy.rego),
    )
}

/// The policy of an objective.
fn policy(status: &ObjectiveStatus, limits: Limits) -> Policy {
    let gating = [Gating::Objective(status)];
    policies(gating, &[], limits).next().unwrap()
}

fn assert_agreement(status: &ObjectiveStatus, limits: Limits) {
    let fails = status.state == Verdict::Fail;
    let (cel, rego) = decisions(status, limits);
    assert_eq!(!cel.allow, fails, "CEL: {status:#?}");
    assert_eq!(!rego.allow, fails, "Rego {rego:?}: {status:#?}");
    assert_eq!(rego.messages.is_empty(), rego.allow);
}

fn periods() -> impl Strategy<Value = Period> {
    let held = prop::sample::select(vec![Window::D7, Window::D28, Window::D30]);
    held.prop_map(Period::from)
}

/// Few and many events, mostly near the ratios that decide.
fn events() -> impl Strategy<Value = (u64, u64)> {
    let per_100_000 = prop::sample::select(vec![
        0, 10, 144, 600, 1_440, 6_000, 7_200, 10_000, 14_400, 60_000, 72_000, 90_000, 100_000,
    ]);
    let near = (0_u64..5, 0_u64..200_000, per_100_000).prop_map(|(more, total, ratio)| {
        let bad = total * ratio / 100_000;
        ((bad + more).min(total), total)
    });
    prop_oneof![Just((0, 0)), (0_u64..4, 4_u64..20), near]
}

/// Pieces of both languages.
const TOKENS: [&str; 36] = [
    "input",
    ".",
    "objectives",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    "\"",
    "'",
    ",",
    "1",
    "2.0",
    "1e999",
    "&&",
    "||",
    "!",
    "?",
    ":",
    "in",
    "all",
    "x",
    "//",
    "#",
    "\n",
    "\\",
    "not",
    "if",
    "deny",
    "allow",
    "contains",
    ":=",
    "==",
    "true",
    "-",
];

proptest! {
    #[test]
    fn property_cel_and_rego_deny_exactly_where_the_objective_fails(
        target in prop::sample::select(vec![0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999]),
        period in periods(),
        windows in prop::array::uniform10(events()),
        weight in prop::sample::select(vec![1.0, 1.0, 4.0, 3.3]),
        min_bad_events in 0_u64..4,
        error_ratio_max in prop::sample::select(vec![0.9, 0.5, 1.0]),
    ) {
        let limits = Limits { error_ratio_max, min_bad_events };
        let objective = Objective { window: period, ..objective(target) };
        let windows = windows.map(|counts| sums(counts, weight));
        assert_agreement(&measured(objective, &windows, limits), limits);
    }

    #[test]
    fn property_whatever_a_file_holds_there_is_an_answer(
        tokens in prop::collection::vec(prop::sample::select(TOKENS.to_vec()), 0..24),
        text in "\\PC{0,40}",
    ) {
        let document = json!({"objectives": {"a": 1}});
        let tokens = tokens.join(" ");
        for text in [&text, &tokens, &format!("package p\n{tokens}")] {
            for language in [Language::Cel, Language::Rego] {
                if let Ok(decision) = decide(language, text, &document) {
                    prop_assert_eq!(decision.allow, decision.messages.is_empty());
                }
            }
        }
    }
}

#[test]
fn at_the_limits_all_three_hold_and_a_bad_event_above_them_all_three_fail() {
    let cases = [
        // A page: 14.4 and 6 times the budget in all windows, the budget being spent as well.
        (0.9999, 144, 100_000, Verdict::Fail),
        // Five times the budget is a ticket's; of so few events the budget itself says nothing.
        (0.999, 5, 999, Verdict::Warn),
        (0.999, 1, 999, Verdict::Inconclusive),
        (0.999, 1, 1_000, Verdict::Pass),
        (0.999, 2, 1_000, Verdict::Fail),
        (0.99, 9, 1_000, Verdict::Pass),
        (0.99, 10, 1_000, Verdict::Fail),
        // One bad event alone is never enough.
        (0.99, 1, 1, Verdict::Inconclusive),
        // At 90 % the first page is capped at 90 %, the second asks for 60 %.
        (0.9, 6, 9, Verdict::Fail),
        (0.9, 3, 5, Verdict::Warn),
        (0.9, 0, 10, Verdict::Pass),
        (0.9, 0, 9, Verdict::Inconclusive),
        (0.999, 0, 0, Verdict::Inconclusive),
    ];
    for (target, bad, total, state) in cases {
        let status = steady(target, bad, total);
        assert_eq!(status.state, state, "{target}: {bad}/{total}");
        assert_agreement(&status, LIMITS);
    }
}

#[test]
fn numbers_are_written_without_the_noise_of_binary_arithmetic() {
    for (target, limits) in [
        (0.999, ["0.0144", "0.006", ">= 1000"]),
        (0.9999, ["0.00144", "0.0006", ">= 10000"]),
        (0.95, ["0.72", "0.3", ">= 20"]),
        (0.9, ["0.9", "0.6", ">= 10"]),
    ] {
        let policy = policy(&steady(target, 0, 10), LIMITS);
        for text in [&policy.cel, &policy.rego, &policy.promql] {
            for limit in limits {
                let found = text.match_indices(limit).any(|(at, _)| {
                    let rest = text
                        .get(at + limit.len()..)
                        .unwrap()
                        .trim_start_matches(".0");
                    !rest.starts_with(|next: char| next.is_ascii_digit())
                });
                assert!(found, "{limit} in\n{text}");
            }
        }
    }
}

#[test]
fn the_policies_of_an_objective_read_so() {
    let policy = policy(&steady(0.999, 2, 1_000), LIMITS);
    insta::assert_snapshot!("cel", policy.cel);
    insta::assert_snapshot!("rego", policy.rego);
    insta::assert_snapshot!("promql", policy.promql);
}

#[test]
fn a_name_cannot_leave_its_literal_or_its_comment() {
    let name = "a\"]) || true //\n} # '\\";
    let failing = Objective {
        name: name.to_owned(),
        operation: Some("GET /\n|| true".to_owned()),
        ..objective(0.99)
    };
    let status = measured(failing, &[sums((500, 1_000), 1.0); 10], LIMITS);
    assert_agreement(&status, LIMITS);
    let (_, rego) = decisions(&status, LIMITS);
    assert!(
        rego.messages
            .iter()
            .all(|message| message.starts_with(name))
    );
}

#[test]
fn an_objective_that_is_not_in_the_input_is_not_allowed() {
    let policy = policy(&steady(0.999, 0, 2_000), LIMITS);
    for document in [
        json!({"objectives": {}}),
        json!({}),
        json!({"objectives": {"availability-checkout": {"windows": {}}}}),
    ] {
        let rego = decide(Language::Rego, &policy.rego, &document).unwrap();
        assert_eq!(
            rego.messages,
            ["availability-checkout is not in the input"],
            "{document}"
        );
        let cel = decide(Language::Cel, &policy.cel, &document).unwrap_err();
        assert!(matches!(cel, PolicyError::Run { .. }), "{cel:?}");
    }
}

#[test]
fn the_input_tells_counts_by_window_and_the_budget() {
    let told = input(&steady(0.999, 2, 1_000));
    assert_eq!(told["objective"]["name"], "availability-checkout");
    assert_eq!(told["objective"]["error_budget"], 0.001);
    assert_eq!(told["state"], "fail");
    assert_eq!(
        told["windows"]["1h"],
        json!({"total": 1000.0, "bad": 2.0, "observed_total": 1000, "observed_bad": 2, "error_ratio": 0.002})
    );
    assert_eq!(told["windows"].as_object().unwrap().len(), 10);
    assert_eq!(told["budget"]["remaining_ratio"], -1.0);
    assert_eq!(told["budget"]["observed_bad"], 2);
    assert_eq!(told["burn_rates"][0]["error_ratio_limit"], 0.0144);
    let empty = input(&steady(0.999, 0, 0));
    assert_eq!(empty["windows"]["1h"]["error_ratio"], Value::Null);
}

#[test]
fn a_report_carries_the_policies_of_so_many_objectives() {
    let statuses: Vec<ObjectiveStatus> = (0..SNIPPET_OBJECTIVES_MAX + 5)
        .map(|n| {
            let named = Objective {
                name: format!("o-{n:03}"),
                ..objective(0.999)
            };
            measured(named, &[sums((0, 10), 1.0); 10], LIMITS)
        })
        .collect();
    let snippets = snippets(&statuses, &[], LIMITS);
    assert_eq!(snippets.len(), 3 * SNIPPET_OBJECTIVES_MAX);
    assert!(snippets["o-000.promql"].contains("slo=\"o-000\""));
    assert!(snippets.contains_key("o-099.cel") && !snippets.contains_key("o-100.rego"));
}

#[test]
fn promql_leaves_out_a_budget_that_no_range_holds() {
    let slices = Objective {
        budgeting: Budgeting::RatioTimeslices {
            slice: "5m".parse().unwrap(),
            empty: crate::model::slo::EmptySlices::Good,
        },
        ..objective(0.999)
    };
    let month = Objective {
        window: Period::Calendar(
            serde_json::from_value(
                json!({"duration": "1M", "start_time": "2026-01-01T00:00:00", "time_zone": "UTC"}),
            )
            .unwrap(),
        ),
        ..objective(0.999)
    };
    let weeks = Objective {
        window: Period::Rolling("4w".parse().unwrap()),
        ..objective(0.999)
    };
    for (objective, range) in [(slices, None), (month, None), (weeks, Some("[28d]"))] {
        let status = measured(objective, &[sums((0, 10), 1.0); 10], LIMITS);
        let promql = policy(&status, LIMITS).promql;
        assert_eq!(
            promql.contains("The budget itself is not part of it"),
            range.is_none()
        );
        assert!(range.is_none_or(|range| promql.contains(range)), "{promql}");
        assert!(promql.contains("[1h]"), "{promql}");
    }
}

#[test]
fn cel_decides_by_truth_by_messages_or_by_a_map() {
    let document = json!({"score": 40, "verdict": {"verdict": "fail"}, "name": "x"});
    for (text, allow, messages) in [
        ("input.score >= 40.0", true, vec![]),
        ("input.score > 40.0", false, vec!["the expression is false"]),
        // An integer compares with a double.
        ("input.score == 40", true, vec![]),
        ("[]", true, vec![]),
        (
            "input.score < 50.0 ? ['low ' + input.name] : []",
            false,
            vec!["low x"],
        ),
        ("{'allow': input.score > 30.0}", true, vec![]),
        (
            "{'allow': false, 'messages': ['a', 'b']}",
            false,
            vec!["a", "b"],
        ),
        ("{'allow': false}", false, vec!["`allow` is false"]),
        (
            "// why\nhas(input.verdict) && input.verdict.verdict in ['fail']",
            true,
            vec![],
        ),
        ("input.name.matches('^[a-z]$')", true, vec![]),
    ] {
        let decision = decide(Language::Cel, text, &document)
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(
            (decision.allow, decision.messages),
            (allow, messages.into_iter().map(String::from).collect()),
            "{text}"
        );
    }
}

#[test]
fn rego_decides_by_deny_and_without_it_by_allow() {
    let document = json!({"score": 40});
    let low = "package p\nimport rego.v1\ndeny contains \"low\" if input.score < 50";
    for (text, allow, messages) in [
        (low, false, vec!["low"]),
        (
            "package p\ndeny contains \"low\" if input.score < 30",
            true,
            vec![],
        ),
        (
            "package a.b[\"c d\"]\ndeny contains {\"msg\": \"low\", \"more\": 1} if input.score < 50",
            false,
            vec!["low"],
        ),
        (
            "package p\ndeny if input.score < 50",
            false,
            vec!["`deny` is true"],
        ),
        ("package p\ndeny if input.score < 30", true, vec![]),
        ("package p\nallow if input.score > 30", true, vec![]),
        (
            "package p\nallow if input.score > 50",
            false,
            vec!["`allow` is undefined"],
        ),
        (
            "package p\ndefault allow := false\nallow if input.score > 50",
            false,
            vec!["`allow` is false"],
        ),
        // The rule that says no comes first.
        (
            "package p\nallow := true\ndeny contains \"no\"",
            false,
            vec!["no"],
        ),
        (
            "package p\nimport rego.v1\ndeny contains m if { some m in [\"b\", \"a\"] }",
            false,
            vec!["a", "b"],
        ),
        (
            "package p\ndeny contains sprintf(\"%v\", [input.score])",
            false,
            vec!["40"],
        ),
    ] {
        let decision = decide(Language::Rego, text, &document)
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(
            (decision.allow, decision.messages),
            (allow, messages.into_iter().map(String::from).collect()),
            "{text}"
        );
    }
}

#[test]
fn errors_name_the_file_the_line_and_what_to_do() {
    let cases: [(Language, &str, &[&str]); 10] = [
        (
            Language::Cel,
            "true &&\n(",
            &["mine.cel:2: ", "see https://cel.dev"],
        ),
        (
            Language::Cel,
            "input.scor > 1.0",
            &["mine.cel: ", "scor", "check it against `input`"],
        ),
        (
            Language::Cel,
            "score > 1.0",
            &["mine.cel: ", "score", "check it against `input`"],
        ),
        (
            Language::Cel,
            "1 + 1",
            &["mine.cel: it gives int", "make it true or false"],
        ),
        (Language::Cel, "[1]", &["mine.cel: it gives list"]),
        (
            Language::Rego,
            "package p\n\ndeny contains {",
            &["mine.rego:3: ", "see https://www.openpolicyagent.org"],
        ),
        (Language::Rego, "deny := true", &["mine.rego:1: "]),
        (
            Language::Rego,
            "package p\nwarn := true",
            &["mine.rego: ", "neither `deny` nor `allow`"],
        ),
        (
            Language::Rego,
            "package p\ndeny := 7",
            &["mine.rego: it gives 7", "make `deny` a set of texts"],
        ),
        (
            Language::Rego,
            "package p\ndeny contains m if {\n  m := to_number(\"x\")\n}",
            &["mine.rego:3: "],
        ),
    ];
    for (language, text, parts) in cases {
        let error = decide(language, text, &json!({"score": 40}))
            .unwrap_err()
            .to_string();
        for part in parts {
            assert!(error.contains(part), "{part:?} in {error:?}");
        }
        assert!(!error.contains('\n'), "{error:?}");
    }
    let long = " ".repeat(POLICY_BYTES_MAX + 1);
    let error = decide(Language::Cel, &long, &json!({})).unwrap_err();
    assert!(
        error.to_string().contains("262145 bytes, at most 262144"),
        "{error}"
    );
    let error = Language::of_file("policy.yaml").unwrap_err().to_string();
    assert!(
        error.starts_with("policy.yaml: ") && error.contains(".rego"),
        "{error}"
    );
    assert_eq!(Language::of_file("a/b.rego").unwrap(), Language::Rego);
}

#[test]
fn many_messages_are_cut_and_counted() {
    let text = "package p\nimport rego.v1\ndeny contains sprintf(\"%d\", [n]) if { some n in numbers.range(1, 250) }";
    let decision = decide(Language::Rego, text, &json!({})).unwrap();
    assert_eq!(decision.messages.len(), 101);
    assert_eq!(decision.messages[100], "… and 150 more");
}

#[test]
fn a_rego_policy_that_does_not_end_is_stopped() {
    let text = "package p\nimport rego.v1\ndeny contains \"never\" if {\n\
                some a in numbers.range(1, 10000)\nsome b in numbers.range(1, 10000)\na * b < 0\n}";
    let source = Source {
        file: "endless.rego",
        language: Language::Rego,
        text,
    };
    let error = rego_decision(
        source,
        &regorus::Value::new_object(),
        Duration::from_millis(20),
    );
    let error = error.unwrap_err().to_string();
    assert!(
        error.starts_with("endless.rego: ") && error.contains("exceeded time limit"),
        "{error}"
    );
}

#[test]
fn a_document_is_the_report_and_its_objectives() {
    let mut report = crate::openslo::fixture::report(7, &[]);
    report.baseline_evaluations = vec![steady(0.999, 0, 2_000)];
    let document = document(&report).unwrap();
    assert_eq!(document["schema_version"], report.schema_version);
    let own = "package mine\nimport rego.v1\n\
               deny contains name if { some name, slo in input.objectives; slo.budget.remaining_ratio < 0.5 }";
    assert!(decide(Language::Rego, own, &document).unwrap().allow);
    let own = "input.objectives.all(name, input.objectives[name].state != 'fail')";
    assert!(decide(Language::Cel, own, &document).unwrap().allow);
}
