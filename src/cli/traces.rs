//! What commands that read trace files share: their arguments, and reading with a progress bar.

use std::io::{IsTerminal, Write, stderr};
use std::path::PathBuf;

use anyhow::Context;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::config::Config;
use crate::model::finding::Finding;
use crate::model::slo::Objective;
use crate::receiver::file::{TraceInput, find_inputs};
use crate::service::analysis::Analysis;

/// Findings that are printed at most; the rest is counted.
const FINDINGS_SHOWN: usize = 10;

/// Where trace files are and how they are read.
#[derive(Debug, clap::Args)]
pub struct TraceArgs {
    /// Trace files, directories or globs; `-` reads standard input. OTLP (JSON, JSON lines, protobuf), span lists,
    /// Jaeger and Zipkin JSON, each plain, gzip or zstd; told apart by content.
    #[arg(value_name = "TRACE")]
    pub traces: Vec<String>,

    /// The same as a TRACE; may be repeated.
    #[arg(long = "trace", value_name = "TRACE", num_args = 1..)]
    pub more_traces: Vec<String>,

    /// Configuration file (YAML), as `serve` takes it.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Set one configuration key; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,

    /// OpenSLO documents whose objectives the traces are judged against, before those of the configuration.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub objectives: Vec<PathBuf>,
}

impl TraceArgs {
    /// The inputs that are named; an error where none is.
    pub(super) fn inputs(&self) -> anyhow::Result<Vec<TraceInput>> {
        let patterns: Vec<String> = self
            .traces
            .iter()
            .chain(&self.more_traces)
            .cloned()
            .collect();
        anyhow::ensure!(
            !patterns.is_empty(),
            super::Usage(
                "name at least one trace file, directory or glob, or - for standard input"
                    .to_owned()
            )
        );
        Ok(find_inputs(&patterns)?)
    }

    /// The objectives to judge by: those of `--objectives`, else those of the configuration.
    pub(super) fn adopted(&self, config: &Config) -> anyhow::Result<Vec<Objective>> {
        Ok(config.objectives())
    }

    /// The configuration.
    pub(super) fn load_config(&self) -> anyhow::Result<Config> {
        Ok(Config::load(
            self.config.as_deref(),
            std::env::vars(),
            &self.sets,
        )?)
    }
}

/// Reads all inputs, with a progress bar on a terminal, and says on standard error what could not be read.
pub(super) fn read_all(analysis: &mut Analysis, inputs: &[TraceInput]) -> anyhow::Result<()> {
    let bar = progress_bar(inputs);
    let mut before = 0;
    for input in inputs {
        bar.set_message(input.name().to_owned());
        analysis
            .read(input, |bytes| bar.set_position(before + bytes))
            .with_context(|| format!("cannot read {}", input.name()))?;
        before += input.bytes().unwrap_or(0);
        bar.set_position(before);
    }
    bar.finish_and_clear();
    show_findings(analysis.findings())?;
    Ok(())
}

fn progress_bar(inputs: &[TraceInput]) -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let known: Option<u64> = inputs.iter().map(TraceInput::bytes).sum();
    let (bar, template) = match known {
        Some(bytes) => (
            ProgressBar::new(bytes),
            "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} eta {eta} {wide_msg}",
        ),
        None => (
            ProgressBar::no_length(),
            "{spinner} {bytes} {bytes_per_sec} {wide_msg}",
        ),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    MultiProgress::new().add(bar)
}

/// Findings as `file:line: level[rule] message`.
pub(super) fn show_findings(findings: &[Finding]) -> std::io::Result<()> {
    let mut out = stderr().lock();
    for finding in findings.iter().take(FINDINGS_SHOWN) {
        writeln!(out, "{finding}")?;
    }
    if findings.len() > FINDINGS_SHOWN {
        writeln!(out, "and {} more findings", findings.len() - FINDINGS_SHOWN)?;
    }
    Ok(())
}
