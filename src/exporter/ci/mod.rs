//! What CI systems read: SARIF, GitHub's workflow commands and job summaries, JUnit. Pure functions from data to text.

pub(crate) mod github;
mod junit;
mod sarif;

pub use self::github::{github, github_summary};
pub use self::junit::{Case, Outcome, junit};
pub use self::sarif::sarif;

use crate::model::finding::{Finding, Level, Location};
use crate::model::report::{BurnRateCheck, ObjectiveStatus, Reason, Verdict, VerdictReport};

/// What a verdict has against the release, the worst first: each reason, then each objective that could not be decided.
///
/// The rule is the reason's source with hyphens: `burn-rate`, `error-budget`, `objective` …; what could not be decided
/// has the rule `undecided`. Reasons are errors where the verdict is fail, otherwise warnings; the undecided are notes,
/// and warnings where the verdict is inconclusive because of them. Nothing has a location; see [`located`].
pub fn findings_of(verdict: &VerdictReport) -> Vec<Finding> {
    let level = match verdict.verdict {
        Verdict::Fail => Level::Error,
        Verdict::Warn | Verdict::Pass | Verdict::Inconclusive => Level::Warning,
    };
    let open = match verdict.verdict {
        Verdict::Inconclusive => Level::Warning,
        Verdict::Fail | Verdict::Warn | Verdict::Pass => Level::Note,
    };
    let finding = |rule: String, level, reason: &Reason| Finding {
        rule,
        level,
        message: reason.text.clone(),
        location: None,
    };
    let reasons = verdict
        .reasons
        .iter()
        .map(|reason| finding(reason.source.replace('_', "-"), level, reason));
    let undecided = verdict
        .undecided
        .iter()
        .map(|reason| finding("undecided".to_owned(), open, reason));
    reasons.chain(undecided).collect()
}

/// The findings, those without a location at this file: the one that was judged, or that holds the objectives.
///
/// GitHub's code scanning refuses a whole SARIF file for one result without a location.
pub fn located(mut findings: Vec<Finding>, file: &str) -> Vec<Finding> {
    for finding in &mut findings {
        finding.location.get_or_insert_with(|| Location {
            file: file.to_owned(),
            ..Location::default()
        });
    }
    findings
}

/// One case for each objective, in the suite of its service: failed where it fails, skipped where it is inconclusive, with
/// what is missing, else passed.
pub fn cases_of(statuses: &[ObjectiveStatus]) -> Vec<Case> {
    statuses
        .iter()
        .map(|status| Case {
            suite: status.objective.service.clone(),
            name: status.objective.name.clone(),
            outcome: match status.state {
                Verdict::Pass | Verdict::Warn => Outcome::Passed,
                Verdict::Fail => Outcome::Failed {
                    message: status.text.clone(),
                    text: measurements(status),
                },
                Verdict::Inconclusive => Outcome::Skipped {
                    message: status.text.clone(),
                },
            },
            seconds: None,
        })
        .collect()
}

/// What was measured of an objective, a line for its budget and one for each rule.
fn measurements(status: &ObjectiveStatus) -> String {
    let mut lines = vec![format!(
        "{:.0} bad of {:.0} events in {}; the error budget allows {:.1}, {} is left",
        status.budget.bad,
        status.budget.total,
        status.objective.window.label(),
        status.budget.allowed_bad,
        percent_left(status),
    )];
    lines.extend(status.burn_rates.iter().map(burn_rate_line));
    lines.join("\n")
}

fn burn_rate_line(check: &BurnRateCheck) -> String {
    let rate = |rate: Option<f64>| rate.map_or("no events".to_owned(), |rate| format!("{rate:.1}"));
    format!(
        "burn rate {} over {}, {} over {}; limit {}{}",
        rate(check.long_burn_rate),
        check.long_window.label(),
        rate(check.short_burn_rate),
        check.short_window.label(),
        check.factor,
        if check.firing { ", fires" } else { "" },
    )
}

/// How much of its error budget an objective has left, `-` without events.
fn percent_left(status: &ObjectiveStatus) -> String {
    let remaining = status.budget.remaining_ratio;
    remaining.map_or("-".to_owned(), |ratio| format!("{:.1} %", 100.0 * ratio))
}

/// The text with its control characters as `\u{1b}`, line breaks and tabs excepted: no terminal obeys them, XML forbids them.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        let is_forbidden = matches!(character, '\u{fffe}' | '\u{ffff}');
        if is_forbidden || character.is_control() && !matches!(character, '\n' | '\r' | '\t') {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests;
