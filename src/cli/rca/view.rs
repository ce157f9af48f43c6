//! Root causes as people read them.

use std::fmt::Write as _;

use crate::exporter::ci::github::markdown as plain;
use crate::exporter::ci::visible;
use crate::model::rca::{Conclusion, RcaReport};

/// Width of the bars.
const BAR: usize = 20;

/// On a terminal: a bar for each cause, and its evidence below.
pub(super) fn text(report: &RcaReport) -> String {
    let mut text = format!("{}: {}\n", label(report.conclusion), report.text);
    let names = report.ranked.iter().map(|cause| cause.service.len());
    let width = names.max().unwrap_or(0);
    for (place, cause) in (1..).zip(&report.ranked) {
        let bar = bar(cause.score);
        let name = &cause.service;
        push(
            &mut text,
            &format!("\n{place}. {name:width$}  {bar} {:.2}", cause.score),
        );
        if !cause.instances.is_empty() {
            let instances = cause.instances.join(", ");
            push(&mut text, &format!("   only on {instances}"));
        }
        for evidence in &cause.evidence {
            let Some(example) = evidence.example_trace_ids.first() else {
                push(&mut text, &format!("   {}  {}", evidence.id, evidence.text));
                continue;
            };
            let line = format!("   {}  {}; trace {example}", evidence.id, evidence.text);
            push(&mut text, &line);
        }
    }
    if !report.changes.is_empty() {
        text.push_str("\nAlso changed:\n");
        for change in &report.changes {
            push(&mut text, &format!("   {}", change.text));
        }
    }
    visible(&text)
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a score is between 0 and 1"
)]
fn bar(score: f64) -> String {
    let filled = ((score * BAR as f64).round() as usize).min(BAR);
    "█".repeat(filled) + &"░".repeat(BAR - filled)
}

fn label(conclusion: Conclusion) -> &'static str {
    match conclusion {
        Conclusion::Found => "FOUND",
        Conclusion::NothingFound => "NOTHING FOUND",
        Conclusion::Inconclusive => "INCONCLUSIVE",
    }
}

/// For tickets: a table of causes, and lists.
pub(super) fn markdown(report: &RcaReport) -> String {
    let mut text = format!(
        "**{}**: {}\n",
        label(report.conclusion),
        plain(&report.text)
    );
    if !report.ranked.is_empty() {
        text.push_str("\n| | service | score | why |\n|---|---|---|---|\n");
    }
    for (place, cause) in (1..).zip(&report.ranked) {
        let why: Vec<String> = cause
            .evidence
            .iter()
            .map(|evidence| format!("{} {}", evidence.id, plain(&evidence.text)))
            .collect();
        // Writing into a string does not fail.
        writeln!(
            text,
            "| {place} | {} | {:.2} | {} |",
            plain(&cause.service),
            cause.score,
            why.join("<br>")
        )
        .unwrap_or_default();
    }
    if !report.changes.is_empty() {
        text.push_str("\nAlso changed:\n\n");
        for change in &report.changes {
            push(&mut text, &format!("- {}", plain(&change.text)));
        }
    }
    text
}
