//! What commands that read trace files share: their arguments, and reading with a progress bar.

use std::io::{IsTerminal, Write, stderr};
use std::path::PathBuf;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::cli::Usage;
use crate::config::Config;
use crate::model::finding::{Finding, Level};
use crate::model::record::RecordState;
use crate::model::slo::Objective;
use crate::receiver::file::{FileError, STANDARD_INPUT, TraceInput, find_inputs};
use crate::service::analysis::Analysis;
use crate::service::objective_files;
use crate::store::{self, Store};

/// Findings that are printed at most; the rest is counted.
const FINDINGS_SHOWN: usize = 5;

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

    /// OpenSLO files, directories or globs whose adopted objectives the traces are judged against; without them, the
    /// store's and then the configuration's are.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub objectives: Vec<PathBuf>,

    /// Directory of a stopped server's store: the traces are judged against the objectives that were adopted there.
    #[arg(long, value_name = "DIR")]
    pub storage_dir: Option<PathBuf>,
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
            Usage(
                "name at least one trace file, directory or glob, or - for standard input"
                    .to_owned()
            )
        );
        Ok(find_inputs(&patterns)?)
    }

    /// The objectives to judge by: those of `--objectives`, else the store's, else the configuration's. None of the last
    /// two is no mistake.
    pub(super) fn adopted(&self, config: &Config) -> anyhow::Result<Vec<Objective>> {
        if !self.objectives.is_empty() {
            let (objectives, findings) = objective_files::adopted(&self.objectives)?;
            let telling = |finding: &Finding| objectives.is_empty() || finding.level > Level::Note;
            let told: Vec<Finding> = findings.into_iter().filter(telling).collect();
            show_findings(&told)?;
            anyhow::ensure!(
                !objectives.is_empty(),
                Usage("--objectives holds no adopted objective; a suggestion is adopted by its annotation slo-copilot.dev/state: adopted".to_owned())
            );
            objective_files::check_policies(&objectives, config)?;
            return Ok(objectives);
        }
        if let Some(dir) = &self.storage_dir {
            let settings = store::Config {
                dir: dir.clone(),
                ..config.storage.clone()
            };
            let adopted = Store::open_existing(settings)?
                .slos()?
                .into_iter()
                .filter(|record| record.state == RecordState::Adopted)
                .map(|record| record.objective);
            let adopted: Vec<Objective> = adopted.collect();
            if !adopted.is_empty() {
                return Ok(adopted);
            }
        }
        Ok(objective_files::configured(config)?)
    }

    /// Whether one of the traces is standard input.
    pub(super) fn reads_standard_input(&self) -> bool {
        let mut all = self.traces.iter().chain(&self.more_traces);
        all.any(|one| one == STANDARD_INPUT)
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
    read_each(inputs, |input, progress| analysis.read(input, progress))?;
    show_findings(analysis.findings())?;
    Ok(())
}

/// Gives all inputs to `take`, with a progress bar on a terminal.
pub(super) fn read_each(
    inputs: &[TraceInput],
    mut take: impl FnMut(&TraceInput, &mut dyn FnMut(u64)) -> Result<(), FileError>,
) -> anyhow::Result<()> {
    let bar = progress_bar(inputs);
    let (mut before, mut read, mut passed_over) = (0, 0, 0);
    for input in inputs {
        bar.set_message(input.name().to_owned());
        match take(input, &mut |bytes| bar.set_position(before + bytes)) {
            Ok(()) => read += 1,
            // Directories hold other files too.
            Err(error @ FileError::UnknownContent { .. }) if !input.is_named() => {
                passed_over += 1;
                if passed_over <= FINDINGS_SHOWN {
                    bar.suspend(|| writeln!(stderr(), "warning: passed over: {error}"))?;
                }
            }
            Err(error) => return Err(error.into()),
        }
        before += input.bytes().unwrap_or(0);
        bar.set_position(before);
    }
    bar.finish_and_clear();
    if passed_over > FINDINGS_SHOWN {
        writeln!(
            stderr(),
            "warning: {passed_over} files of directories were passed over"
        )?;
    }
    anyhow::ensure!(
        read > 0,
        Usage("none of the files that were found holds traces".to_owned())
    );
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
