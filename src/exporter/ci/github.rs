//! GitHub Actions: annotations by workflow commands, and the job's summary in Markdown.

use std::collections::BTreeSet;

use super::{percent_left, visible};
use crate::model::finding::{Finding, Level};
use crate::model::report::{ObjectiveStatus, Reason, Verdict, VerdictReport};

/// Most rows of the table in a summary: GitHub cuts a step's summary off at 1 MiB.
const SUMMARY_ROWS_MAX: usize = 500;

/// Most characters of a text in a summary.
const SUMMARY_TEXT_LENGTH_MAX: usize = 300;

/// The findings as workflow commands, a line each: `::error file=slo.yaml,line=3,title=slo-target-range::…`.
pub fn github(findings: &[Finding]) -> String {
    findings.iter().map(command).collect()
}

fn command(finding: &Finding) -> String {
    let command = match finding.level {
        Level::Note => "notice",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    let mut properties = Vec::new();
    if let Some(location) = &finding.location {
        properties.push(format!("file={}", escaped_property(&location.file)));
        properties.extend(location.line.map(|line| format!("line={line}")));
    }
    properties.push(format!("title={}", escaped_property(&finding.rule)));
    let message = escaped(&finding.message);
    format!("::{command} {}::{message}\n", properties.join(","))
}

/// A message as the runner decodes it: no line break of it ends the command and begins another.
fn escaped(text: &str) -> String {
    visible(text)
        .replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn escaped_property(text: &str) -> String {
    escaped(text).replace(':', "%3A").replace(',', "%2C")
}

/// The verdict and its objectives as Markdown for `$GITHUB_STEP_SUMMARY`, the worst objective first.
pub fn github_summary(report: &VerdictReport, statuses: &[ObjectiveStatus]) -> String {
    let mut worst_first: Vec<&ObjectiveStatus> = statuses.iter().collect();
    worst_first.sort_by_key(|status| place(status.state));
    let mut summary = heading(report);
    let listed: BTreeSet<&str> = statuses
        .iter()
        .map(|status| status.objective.name.as_str())
        .collect();
    // What the table does not tell.
    let others: Vec<&Reason> = report
        .reasons
        .iter()
        .chain(&report.undecided)
        .filter(|reason| !listed.contains(reason.name.as_str()))
        .collect();
    for reason in others.iter().take(SUMMARY_ROWS_MAX) {
        push_line(&mut summary, &format!("- {}", markdown(&reason.text)));
    }
    push_omitted(&mut summary, others.len());
    if !others.is_empty() {
        push_line(&mut summary, "");
    }
    if !worst_first.is_empty() {
        push_line(
            &mut summary,
            "| Objective | Service | State | Target | Period | Budget left | Why |",
        );
        push_line(&mut summary, "|---|---|---|--:|---|--:|---|");
        for status in worst_first.iter().take(SUMMARY_ROWS_MAX) {
            push_line(&mut summary, &row(status));
        }
        push_line(&mut summary, "");
        push_omitted(&mut summary, worst_first.len());
    }
    summary
}

fn heading(report: &VerdictReport) -> String {
    let service = report.service.as_ref();
    let parts = [
        Some(format!("### slo-copilot: {}", shown(report.verdict))),
        service.map(|service| format!(" for {}", markdown(&service.name))),
        report
            .version
            .as_deref()
            .map(|version| format!(" {}", markdown(version))),
        report.score.map(|score| format!(", score {score:.0}")),
        Some("\n\n".to_owned()),
    ];
    parts.into_iter().flatten().collect()
}

fn row(status: &ObjectiveStatus) -> String {
    let objective = &status.objective;
    // Rounded to the digits that targets are written with: 1 − 0.0001 is not exactly 0.9999.
    let target = (objective.target * 1e8).round() / 1e6;
    format!(
        "| {} | {} | {} | {target} % | {} | {} | {} |",
        markdown(&objective.name),
        markdown(&objective.service),
        shown(status.state),
        objective.window.label(),
        percent_left(status),
        markdown(&status.text),
    )
}

fn shown(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "✅ pass",
        Verdict::Warn => "⚠️ warn",
        Verdict::Fail => "❌ fail",
        Verdict::Inconclusive => "❔ inconclusive",
    }
}

fn place(state: Verdict) -> u8 {
    match state {
        Verdict::Fail => 0,
        Verdict::Warn => 1,
        Verdict::Inconclusive => 2,
        Verdict::Pass => 3,
    }
}

fn push_omitted(summary: &mut String, count: usize) {
    if let Some(omitted @ 1..) = count.checked_sub(SUMMARY_ROWS_MAX) {
        push_line(summary, &format!("… and {omitted} more."));
    }
}

fn push_line(summary: &mut String, line: &str) {
    summary.push_str(line);
    summary.push('\n');
}

/// A text as plain text in one cell: neither Markdown nor HTML, on one line and not too long.
pub(crate) fn markdown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (index, character) in text.chars().enumerate() {
        if index == SUMMARY_TEXT_LENGTH_MAX {
            shown.push('…');
            break;
        }
        match character {
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            '&' => shown.push_str("&amp;"),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '#' | '~' | '!' => {
                shown.push('\\');
                shown.push(character);
            }
            control if control.is_control() => shown.push(' '),
            other => shown.push(other),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluator::objective::tests::status;
    use crate::evaluator::verdict::judge;
    use crate::model::finding::Location;

    fn summary(statuses: &[ObjectiveStatus]) -> String {
        let verdict = judge(None, &statuses.iter().collect::<Vec<_>>(), 0);
        github_summary(&verdict, statuses)
    }

    #[test]
    fn a_finding_becomes_a_workflow_command() {
        let finding = Finding {
            rule: "slo-target-range".to_owned(),
            level: Level::Error,
            message: "target 99.9 is above 1".to_owned(),
            location: Some(Location {
                file: "slo/checkout.yaml".to_owned(),
                line: Some(12),
                ..Location::default()
            }),
        };
        let warning = Finding {
            level: Level::Warning,
            location: None,
            ..finding.clone()
        };
        assert_eq!(
            github(&[finding, warning]),
            "::error file=slo/checkout.yaml,line=12,title=slo-target-range::target 99.9 is above 1\n\
             ::warning title=slo-target-range::target 99.9 is above 1\n"
        );
    }

    /// As `escapeData` and `escapeProperty` of the actions toolkit.
    #[test]
    fn no_text_can_begin_a_command_of_its_own() {
        let finding = Finding {
            rule: "a:b,c%".to_owned(),
            level: Level::Note,
            message: "100%\r\n::stop-commands::now, really".to_owned(),
            location: Some(Location {
                file: "C:\\a,b.yaml".to_owned(),
                ..Location::default()
            }),
        };
        assert_eq!(
            github(&[finding]),
            "::notice file=C%3A\\a%2Cb.yaml,title=a%3Ab%2Cc%25::100%25%0D%0A::stop-commands::now, really\n"
        );
    }

    #[test]
    fn a_summary_has_the_verdict_and_a_row_for_each_objective_the_worst_first() {
        let text = summary(&[
            status("fine", 0, 1_000),
            status("open", 0, 10),
            status("spent", 15, 1_000),
        ]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "### slo-copilot: ❌ fail, score 50");
        assert_eq!(
            lines[4],
            "| spent | checkout | ❌ fail | 99 % | 30d | -50.0 % | \
             spent: the error budget of 30d is spent (15 bad events of 10 allowed) |"
        );
        assert!(
            lines[5].starts_with("| open | checkout | ❔ inconclusive |"),
            "{text}"
        );
        assert!(
            lines[6].starts_with("| fine | checkout | ✅ pass | 99 % | 30d | 100.0 % |"),
            "{text}"
        );
    }

    #[test]
    fn without_objectives_the_summary_says_what_to_do() {
        let text = summary(&[]);
        assert!(
            text.starts_with("### slo-copilot: ❔ inconclusive\n\n- no objective is adopted"),
            "{text}"
        );
        assert!(!text.contains('|'), "{text}");
    }

    #[test]
    fn names_cannot_break_out_of_their_cell() {
        assert_eq!(
            markdown("a|b\n<script>`x` [y](z) \u{1b}[31m"),
            "a\\|b &lt;script&gt;\\`x\\` \\[y\\](z)  \\[31m"
        );
        assert_eq!(markdown(&"x".repeat(400)).chars().count(), 301);
    }

    #[test]
    fn a_long_table_is_cut_and_says_so() {
        let statuses: Vec<ObjectiveStatus> = (0..502)
            .map(|n| status(&format!("o-{n}"), 0, 1_000))
            .collect();
        let text = summary(&statuses);
        assert_eq!(
            text.lines().filter(|line| line.starts_with("| o-")).count(),
            500
        );
        assert!(text.ends_with("… and 2 more.\n"), "{text}");
    }
}
