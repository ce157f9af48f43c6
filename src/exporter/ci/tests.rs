//! Verdicts and objectives as findings and cases.

use super::*;
use crate::evaluator::objective::tests::status;
use crate::evaluator::verdict::judge;

fn verdict(statuses: &[ObjectiveStatus]) -> VerdictReport {
    judge(None, &statuses.iter().collect::<Vec<_>>(), 0)
}

fn rules_and_levels(statuses: &[ObjectiveStatus]) -> Vec<(String, Level)> {
    findings_of(&verdict(statuses))
        .into_iter()
        .map(|finding| (finding.rule, finding.level))
        .collect()
}

#[test]
fn each_reason_of_a_verdict_is_a_finding() {
    let found = |rule: &str, level| (rule.to_owned(), level);
    let burning = status("burning", 500, 1_000);
    let spent = status("spent", 15, 1_000);
    let open = status("open", 0, 10);
    let fine = status("fine", 0, 1_000);
    assert_eq!(
        rules_and_levels(&[fine.clone(), open.clone(), burning, spent]),
        [
            found("burn-rate", Level::Error),
            found("error-budget", Level::Error),
            found("undecided", Level::Note),
        ]
    );
    assert_eq!(
        rules_and_levels(&[open]),
        [found("undecided", Level::Warning)]
    );
    assert_eq!(rules_and_levels(&[fine]), []);
    assert_eq!(rules_and_levels(&[]), [found("objective", Level::Warning)]);
}

#[test]
fn what_has_no_location_is_told_one_and_the_others_keep_theirs() {
    let findings = findings_of(&verdict(&[]));
    let here = located(findings, "traces.json");
    assert_eq!(here[0].location.as_ref().unwrap().file, "traces.json");
    let there = located(here, "elsewhere.json");
    assert_eq!(there[0].location.as_ref().unwrap().file, "traces.json");
}

#[test]
fn an_objective_fails_is_skipped_or_passes_as_its_state_is() {
    let cases = cases_of(&[
        status("fine", 0, 1_000),
        status("open", 0, 10),
        status("burning", 500, 1_000),
    ]);
    assert_eq!(cases[0].outcome, Outcome::Passed);
    assert_eq!(cases[0].suite, "checkout");
    let Outcome::Skipped { message } = &cases[1].outcome else {
        panic!("{:?}", cases[1]);
    };
    assert!(message.contains("100 are needed"), "{message}");
    let Outcome::Failed { message, text } = &cases[2].outcome else {
        panic!("{:?}", cases[2]);
    };
    assert!(message.contains("50.0 times too fast"), "{message}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "500 bad of 1000 events in 30d; the error budget allows 10.0, -4900.0 % is left"
    );
    assert_eq!(
        lines[1],
        "burn rate 50.0 over 1h, 50.0 over 5m; limit 14.4, fires"
    );
    assert_eq!(lines.len(), 5);
}

#[test]
fn control_characters_are_shown_and_line_breaks_stay() {
    assert_eq!(
        visible("a\u{1b}[31m\nb\t\u{0}\u{ffff}"),
        "a\\u{1b}[31m\nb\t\\u{0}\\u{ffff}"
    );
}
