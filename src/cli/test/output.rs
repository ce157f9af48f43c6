//! Results of trace tests as people and CI systems read them.

use std::fmt::Write as _;

use crate::exporter::ci::{self, Case, Outcome, visible};
use crate::model::finding::{Finding, Level, Location};
use crate::model::report::Verdict;
use crate::model::test_result::{CheckResult, TestFailure, TestReport, TestResult};

/// Rule of a finding that is a failed check.
const FAILED: &str = "trace-test-failed";

/// Rule of a finding that is a check without decision.
const UNDECIDED: &str = "trace-test-undecided";

/// One line about all tests.
pub(crate) fn summary(report: &TestReport) -> String {
    format!(
        "{}: {} passed, {} failed, {} inconclusive, on {} traces",
        report.verdict.label().to_uppercase(),
        report.passed,
        report.failed,
        report.inconclusive,
        report.traces
    )
}

/// For people: a line a test, and what is wrong below it.
pub(super) fn text(report: &TestReport) -> String {
    let mut text = String::new();
    for test in &report.tests {
        let place = format!("{}:{}", test.file, test.line);
        push(
            &mut text,
            "",
            &format!("{}  {} ({place})", label(test.verdict), test.name),
        );
        push(&mut text, "      ", &test.text);
        if let Some(reason) = &test.incomplete_reason {
            push(
                &mut text,
                "      ",
                &format!("not whole, for example {reason}"),
            );
        }
        for (name, value) in &test.outputs {
            push(&mut text, "      ", &format!("{name} = {value}"));
        }
        for check in &test.checks {
            if check.verdict != Verdict::Pass {
                push_check(&mut text, check);
            }
        }
    }
    visible(&text)
}

fn push_check(text: &mut String, check: &CheckResult) {
    let name = format!("{}  {}: {}", label(check.verdict), check.group, check.name);
    push(text, "  ", &name);
    push(text, "        ", &check.text);
    for failure in &check.failures {
        for line in details(failure) {
            push(text, "        ", &line);
        }
    }
}

/// A failure in lines: the trace, the values, the tree.
fn details(failure: &TestFailure) -> Vec<String> {
    let span = failure.span.as_ref();
    let span = span.map_or(String::new(), |span| format!(" at {span}"));
    let mut lines = vec![format!(
        "trace {}{span}: {}",
        failure.trace_id, failure.text
    )];
    let values = [("seen", &failure.observed), ("wanted", &failure.wanted)];
    lines.extend(
        values
            .into_iter()
            .filter_map(|(word, value)| value.as_ref().map(|value| format!("  {word:<6} {value}"))),
    );
    lines.extend(failure.tree.lines().map(|line| format!("  {line}")));
    lines
}

fn push(text: &mut String, indent: &str, line: &str) {
    // Writing to a text cannot fail.
    let _written = writeln!(text, "{indent}{line}");
}

fn label(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass | Verdict::Warn => "ok  ",
        Verdict::Fail => "FAIL",
        Verdict::Inconclusive => "?   ",
    }
}

/// A suite a test, a case a check.
pub(super) fn junit(report: &TestReport) -> anyhow::Result<String> {
    Ok(ci::junit("slo-copilot test", &cases(report))?)
}

/// A case for each check.
pub(crate) fn cases(report: &TestReport) -> Vec<Case> {
    let checks = report
        .tests
        .iter()
        .flat_map(|test| test.checks.iter().map(move |check| (test, check)));
    checks
        .map(|(test, check)| Case {
            suite: test.name.clone(),
            name: format!("{}: {}", check.group, check.name),
            outcome: match check.verdict {
                Verdict::Pass | Verdict::Warn => Outcome::Passed,
                Verdict::Fail => Outcome::Failed {
                    message: check.text.clone(),
                    text: told(check),
                },
                Verdict::Inconclusive => Outcome::Skipped {
                    message: undecided(test, check),
                },
            },
            seconds: None,
        })
        .collect()
}

fn told(check: &CheckResult) -> String {
    let lines = check.failures.iter().flat_map(details);
    lines.collect::<Vec<_>>().join("\n")
}

fn undecided(test: &TestResult, check: &CheckResult) -> String {
    if test.traces == 0 {
        test.text.clone()
    } else {
        check.text.clone()
    }
}

/// What is not well, at the lines of the suites that say so.
pub(crate) fn findings(report: &TestReport) -> Vec<Finding> {
    let mut findings = Vec::new();
    for test in &report.tests {
        for check in &test.checks {
            let (rule, level, text) = match check.verdict {
                Verdict::Pass | Verdict::Warn => continue,
                Verdict::Fail => (FAILED, Level::Error, &check.text),
                Verdict::Inconclusive => (UNDECIDED, Level::Warning, &undecided(test, check)),
            };
            let first = check.failures.first();
            let first = first.map_or(String::new(), |failure| {
                format!("\n{}", details(failure).join("\n"))
            });
            findings.push(Finding {
                rule: rule.to_owned(),
                level,
                message: format!(
                    "{}: {}: {}: {text}{first}",
                    test.name, check.group, check.name
                ),
                location: Some(Location {
                    file: test.file.clone(),
                    line: Some(check.line),
                    ..Location::default()
                }),
            });
        }
    }
    findings
}

pub(super) fn sarif(report: &TestReport) -> anyhow::Result<String> {
    Ok(ci::sarif(&[], &findings(report))?)
}

pub(super) fn github(report: &TestReport) -> String {
    ci::github(&findings(report))
}
