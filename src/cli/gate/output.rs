//! What a gate decided, in every form.

use std::fs::OpenOptions;
use std::io::{Write, stdout};

use anyhow::Context;

use crate::cli::gate::Format;
use crate::cli::test;
use crate::cli::versions::tables;
use crate::evaluator::gate::{FailOn, GatePart, GateReport, POLICY_SOURCE};
use crate::exporter::ci::{self, Case, Outcome};
use crate::model::finding::Finding;
use crate::model::report::{Report, Verdict};
use crate::model::test_result::TEST_SOURCE;

/// Prints what was decided.
pub(super) fn print(format: Format, decided: &GateReport, report: &Report) -> anyhow::Result<()> {
    let text = match format {
        Format::Text => text(decided)?,
        Format::Json => serde_json::to_string_pretty(decided)? + "\n",
        Format::Junit => ci::junit("slo-copilot gate", &cases(decided, report))?,
        Format::Sarif => ci::sarif(&[], &findings(decided, report))?,
        Format::Github => {
            summarize_job(decided, report)?;
            ci::github(&ci::findings_of(&decided.verdict))
        }
    };
    stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

/// A case for each thing that decides: objectives, composites in place of their members, trace tests, and policies that
/// deny.
fn cases(decided: &GateReport, report: &Report) -> Vec<Case> {
    let mut cases = Vec::new();
    if decided.fail_on.includes(GatePart::Baseline) {
        let statuses = report.baseline_evaluations.iter();
        let alone = statuses.filter(|status| status.objective.composite.is_none());
        cases.extend(ci::cases_of(&alone.cloned().collect::<Vec<_>>()));
        cases.extend(report.composites.iter().map(|composite| {
            let (state, text) = (composite.state, composite.text.clone());
            case("composite", &composite.name, state, text)
        }));
    }
    if decided.fail_on.includes(GatePart::Canary) {
        cases.extend(report.canaries.iter().map(|canary| {
            let name = format!(
                "{} {} → {}",
                canary.service.name, canary.baseline.version, canary.canary.version
            );
            let suite = GatePart::Canary.label();
            case(suite, &name, canary.verdict, canary.text.clone())
        }));
    }
    let tests = report.test_results.as_ref();
    if let Some(tests) = tests.filter(|_| decided.fail_on.includes(GatePart::Tests)) {
        cases.extend(test::output::cases(tests));
    } else if decided.fail_on == FailOn::Tests {
        let tests = decided
            .parts
            .iter()
            .filter(|part| part.part == GatePart::Tests);
        cases.extend(
            tests.map(|part| case("tests", "trace-tests", part.verdict, part.text.clone())),
        );
    }
    let denied = decided.verdict.reasons.iter();
    let denied = denied.filter(|reason| reason.source == POLICY_SOURCE);
    cases.extend(denied.map(|reason| {
        let suite = GatePart::Guardrail.label();
        case(suite, &reason.name, Verdict::Fail, reason.text.clone())
    }));
    if let Some(action) = &decided.failed_action {
        cases.push(case(
            "error-budget-policy",
            action,
            Verdict::Fail,
            decided.decided_by.clone(),
        ));
    }
    if cases.is_empty() {
        // A live verdict may speak of a version, of which no objective speaks.
        let text = decided.decided_by.clone();
        cases.push(case("verdict", "verdict", decided.verdict.verdict, text));
    }
    cases
}

fn case(suite: &str, name: &str, state: Verdict, text: String) -> Case {
    let message = text.clone();
    Case {
        suite: suite.to_owned(),
        name: name.to_owned(),
        outcome: match state {
            Verdict::Pass | Verdict::Warn => Outcome::Passed,
            Verdict::Fail => Outcome::Failed { message, text },
            Verdict::Inconclusive => Outcome::Skipped { message },
        },
        seconds: None,
    }
}

/// Located at the first trace file, since code scanning refuses results without a place.
fn findings(decided: &GateReport, report: &Report) -> Vec<Finding> {
    let tests = report.test_results.as_ref();
    let tests = tests.filter(|_| decided.fail_on.includes(GatePart::Tests));
    let mut own = tests.map(test::output::findings).unwrap_or_default();
    let files = report.input.iter().flat_map(|input| &input.files);
    let first = files.map(|file| file.file.as_str()).next();
    let mut others = ci::findings_of(&decided.verdict);
    if !own.is_empty() {
        // The tests say it at their own lines.
        others.retain(|finding| finding.rule != TEST_SOURCE);
    }
    own.extend(ci::located(others, first.unwrap_or("-")));
    own
}

fn text(decided: &GateReport) -> Result<String, std::fmt::Error> {
    let mut lines = Vec::new();
    for part in &decided.parts {
        let mark = if part.decides {
            ""
        } else {
            " (does not decide)"
        };
        lines.push(format!(
            "{:<9}  {:<12}  {}{mark}",
            part.part.label(),
            part.verdict.label(),
            part.text,
        ));
    }
    for reason in &decided.verdict.reasons {
        lines.push(format!("  {}", reason.text));
    }
    for reason in &decided.verdict.undecided {
        lines.push(format!("  undecided: {}", reason.text));
    }
    Ok(lines.join("\n") + "\n" + &tables(&decided.canaries)?)
}

/// Appends to the job summary where GitHub says that there is one.
fn summarize_job(decided: &GateReport, report: &Report) -> anyhow::Result<()> {
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY") else {
        return Ok(());
    };
    let summary = ci::github_summary(&decided.verdict, &report.baseline_evaluations);
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .context("cannot open $GITHUB_STEP_SUMMARY")?;
    file.write_all(summary.as_bytes())?;
    Ok(())
}
