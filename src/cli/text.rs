//! How SLOs look on a terminal.

use std::io::{self, Write, stdout};

use clap::ValueEnum;
use serde::Serialize;

use crate::model::period::Period;
use crate::model::record::{Actor, Change, ChangeKind, RecordState, Terms};
use crate::model::slo::Sli;
use crate::openslo::text::{percent, threshold_label};

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For machines
    Json,
}

/// Prints lines as they are.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints JSON for people who read machines' answers.
pub(super) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    Ok(print(&(text + "\n"))?)
}

/// Rows as lines with aligned columns; the last column is as long as it is.
pub(super) fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let heads = heads.map(str::to_owned);
    let mut widths = [0; N];
    for row in rows.iter().chain([&heads]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in [&heads].into_iter().chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(cell);
            let padding = width.saturating_sub(cell.chars().count()) + 2;
            line.extend(std::iter::repeat_n(' ', padding));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// For example `latency <= 300ms for 95% over 30d`.
pub(super) fn promise(sli: Sli, target: f64, window: &Period) -> String {
    let window = window.label();
    let target = percent(target);
    match sli {
        Sli::Availability => format!("availability {target} over {window}"),
        Sli::ErrorRate => format!("error rate <= {target} over {window}"),
        Sli::Latency { threshold_micros } => format!(
            "latency <= {} for {target} over {window}",
            threshold_label(threshold_micros)
        ),
    }
}

fn promise_of(terms: &Terms) -> String {
    promise(terms.sli, terms.target, &terms.window)
}

/// What changed, in words.
pub(super) fn change(change: &Change) -> String {
    let Change { from, to, .. } = change;
    let arrow = |before: Option<String>, after: &str| match before {
        Some(before) => format!("{before} -> {after}"),
        None => after.to_owned(),
    };
    match change.what {
        ChangeKind::Created | ChangeKind::Imported => {
            format!("{}: {}", to.state.label(), promise_of(to))
        }
        ChangeKind::StateChanged => {
            let before = from.as_ref();
            let state = arrow(
                before.map(|terms| terms.state.label().to_owned()),
                to.state.label(),
            );
            let moved = before.is_some_and(|terms| !terms.same_promise(to));
            if moved || to.state == RecordState::Adopted {
                format!("{state}: {}", promise_of(to))
            } else {
                state
            }
        }
        ChangeKind::TargetChanged => arrow(from.as_ref().map(promise_of), &promise_of(to)),
        ChangeKind::ReadinessChanged => {
            let label = |terms: &Terms| match terms.ready {
                Some(true) => "ready",
                Some(false) => "provisional",
                None => "without evidence",
            };
            arrow(
                from.as_ref().map(|terms| label(terms).to_owned()),
                label(to),
            )
        }
        ChangeKind::SettingsChanged => "weight, required, composite or services".to_owned(),
    }
}

/// Who or what it was.
pub(super) fn actor(actor: &Actor) -> String {
    match actor {
        Actor::Person { name: Some(name) } => name.clone(),
        Actor::Person { name: None } => "a person".to_owned(),
        Actor::Auto => "objectives.adopt: auto".to_owned(),
        Actor::Config => "configuration".to_owned(),
        Actor::File => "objectives.files".to_owned(),
        Actor::Import { file } => format!("import of {file}"),
        Actor::Fit => "fit".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_characters_and_lines_end_without_blanks() {
        let rows = [["größe", "1"], ["b", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(table(["NAME", "N"], &rows), "NAME   N\ngröße  1\nb\n");
    }

    #[test]
    fn promises_name_indicator_target_and_period() {
        let latency = Sli::Latency {
            threshold_micros: 300_000,
        };
        let said = |sli, target| promise(sli, target, &Period::DEFAULT);
        assert_eq!(
            said(Sli::Availability, 0.999),
            "availability 99.9% over 30d"
        );
        assert_eq!(said(Sli::ErrorRate, 0.001), "error rate <= 0.1% over 30d");
        assert_eq!(said(latency, 0.95), "latency <= 300ms for 95% over 30d");
    }
}
