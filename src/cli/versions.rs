//! Two versions on the command line: which traces are the old one's and which the new one's, and a table of what differs.

use std::fmt::{self, Write as _};

use crate::cli::Usage;
use crate::cli::traces::read_all;
use crate::config::Config;
use crate::model::UnixNanos;
use crate::model::canary::{CanaryMetric, CanaryReport, Comparison, Pairing};
use crate::model::report::Verdict;
use crate::model::slo::Objective;
use crate::receiver::file::{TraceInput, find_inputs};
use crate::service::analysis::{Analysis, Compared};
use crate::window::cohort::watch::Scope;

/// Comparisons of a service that the table lists at most; the JSON has them all.
const ROWS: usize = 12;

/// Names of services that a message lists at most.
const NAMES: usize = 5;

/// What is compared.
#[derive(Debug)]
pub(super) enum Versions<'a> {
    /// Two sets of traces as they are: the old version's.
    Sets {
        /// Trace files of the old version.
        baseline: &'a [String],
    },
    /// One set, split.
    Split {
        /// The new version.
        canary: &'a str,
        /// The old one; that with the most requests beside the new one unless it is named.
        baseline: Option<&'a str>,
    },
}

impl Versions<'_> {
    /// Reads the traces that are judged, and compares the versions. Says on which grounds.
    pub(super) fn read(
        &self,
        config: &Config,
        objectives: &[Objective],
        inputs: &[TraceInput],
        now: UnixNanos,
    ) -> anyhow::Result<(Analysis, String)> {
        let scope = match self {
            Self::Sets { .. } => Scope::Everything,
            Self::Split { .. } => Scope::Versions,
        };
        let new = |objectives| {
            Analysis::new(config, objectives, now)
                .recording(scope)
                .linking()
        };
        let mut analysis = new(objectives);
        read_all(&mut analysis, inputs)?;
        let mut notes = match self {
            Self::Sets { baseline } => {
                let mut old = new(&[]);
                read_all(&mut old, &find_inputs(baseline)?)?;
                compared_text(analysis.compare_with(&old))?
            }
            Self::Split { canary, baseline } => {
                let compared = analysis.compare_versions(Some(canary), *baseline);
                check(compared, canary, *baseline)?;
                compared_text(compared)?
            }
        };
        let unlinked = analysis.unlinked_spans();
        if unlinked > 0 {
            write!(
                notes,
                "\n{unlinked} spans waited for their callers for too long (rollouts.max_linked_spans): blame may be wrong"
            )?;
        }
        Ok((analysis, notes))
    }
}

/// A version that nobody has is a mistake of whoever named it.
fn check(compared: &Compared, canary: &str, baseline: Option<&str>) -> Result<(), Usage> {
    for (flag, version) in [
        ("--canary-version", Some(canary)),
        ("--baseline-version", baseline),
    ] {
        if let Some(version) = version
            && !compared.versions.contains(version)
        {
            let seen: Vec<&str> = compared.versions.iter().map(String::as_str).collect();
            let seen = match listed(&seen) {
                seen if seen.is_empty() => {
                    "no resource says a version (sli.version_attribute names the attribute)"
                        .to_owned()
                }
                seen => format!("versions seen: {seen}"),
            };
            return Err(Usage(format!(
                "{flag}: no service of the traces has version `{version}`; {seen}"
            )));
        }
    }
    Ok(())
}

fn compared_text(compared: &Compared) -> Result<String, fmt::Error> {
    let alone: Vec<&str> = compared.alone.iter().map(String::as_str).collect();
    let mut text = format!("{} services compared", compared.services());
    if !alone.is_empty() {
        write!(text, "; without a counterpart: {}", listed(&alone))?;
    }
    Ok(text)
}

fn listed(names: &[&str]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES).copied().collect();
    let shown = shown.join(", ");
    match names.len().saturating_sub(NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The comparisons as tables, a service each: those that fail first.
pub(super) fn tables(canaries: &[CanaryReport]) -> Result<String, fmt::Error> {
    let mut worst_first: Vec<&CanaryReport> = canaries.iter().collect();
    worst_first.sort_by_key(|own| std::cmp::Reverse(own.verdict));
    let mut text = String::new();
    for canary in worst_first {
        table(&mut text, canary)?;
    }
    Ok(text)
}

fn table(text: &mut String, canary: &CanaryReport) -> fmt::Result {
    let pairing = match canary.pairing {
        Pairing::Concurrent => "side by side, in the same minutes",
        Pairing::BeforeAfter => {
            "one after the other: what else changed meanwhile is part of the difference"
        }
    };
    writeln!(
        text,
        "\n{}  {} ({} requests) → {} ({} requests), {pairing}: {}",
        canary.service.name,
        canary.baseline.version,
        canary.baseline.requests,
        canary.canary.version,
        canary.canary.requests,
        canary.verdict.label().to_uppercase(),
    )?;
    if let Some(blame) = &canary.blame {
        writeln!(text, "  {}", blame.text)?;
    }
    // A pass of everything needs no table.
    let rows: Vec<&Comparison> = canary.comparisons.iter().take(ROWS).collect();
    if !rows.is_empty() {
        writeln!(
            text,
            "  {:<12}  {:<32}  {:<12}  {:>10}  {:>10}  {:>23}",
            "verdict", "operation", "metric", "old", "new", "difference (interval)"
        )?;
    }
    for row in rows {
        writeln!(
            text,
            "  {:<12}  {:<32}  {:<12}  {:>10}  {:>10}  {:>23}",
            row.verdict.label(),
            cut(row.operation.as_deref().unwrap_or("(whole service)"), 32),
            metric(row),
            amount(row, row.baseline),
            amount(row, row.canary),
            difference(row),
        )?;
    }
    if canary.comparisons.len() > ROWS {
        let more = canary.comparisons.len() - ROWS;
        writeln!(text, "  and {more} more in --format json")?;
    }
    for kind in &canary.new_error_kinds {
        writeln!(text, "  {}", kind.text)?;
    }
    for change in &canary.dependency_changes {
        writeln!(text, "  {}", change.text)?;
    }
    if let (Verdict::Inconclusive, Some(needed)) = (canary.verdict, canary.requests_needed) {
        writeln!(
            text,
            "  needs about {needed} more requests of the new version"
        )?;
    }
    Ok(())
}

fn metric(row: &Comparison) -> String {
    match (row.metric, row.quantile) {
        (CanaryMetric::ErrorRatio, _) => "errors".to_owned(),
        (CanaryMetric::Latency, _) => "latency".to_owned(),
        (CanaryMetric::TailLatency, Some(quantile)) => format!("p{}", quantile * 100.0),
        (CanaryMetric::TailLatency, None) => "tail".to_owned(),
    }
}

fn amount(row: &Comparison, value: Option<f64>) -> String {
    match (row.metric, value) {
        (_, None) => "-".to_owned(),
        (CanaryMetric::ErrorRatio, Some(ratio)) => format!("{:.2} %", ratio * 100.0),
        (CanaryMetric::Latency | CanaryMetric::TailLatency, Some(secs)) => {
            format!("{:.1} ms", secs * 1_000.0)
        }
    }
}

fn difference(row: &Comparison) -> String {
    let scale = match row.metric {
        CanaryMetric::ErrorRatio => 100.0,
        CanaryMetric::Latency | CanaryMetric::TailLatency => 1_000.0,
    };
    match (row.difference, row.lower.zip(row.upper)) {
        (Some(shift), Some((lower, upper))) => format!(
            "{:+.2} [{:+.2}, {:+.2}]",
            shift * scale,
            lower * scale,
            upper * scale
        ),
        (Some(shift), None) => format!("{:+.2}", shift * scale),
        (None, _) => "-".to_owned(),
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    kept + "…"
}
