//! `rca`: traces of the time before and of an incident → ranked root causes.

mod evaluate;
mod view;

use std::io::{Write, stderr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::adapter::rca::{self, Settings, Summary};
use crate::cli::text::{print, print_json};
use crate::cli::traces::{read_each, show_findings};
use crate::cli::{EXIT_INCONCLUSIVE, Usage};
use crate::config::Config;
use crate::model::rca::Conclusion;
use crate::receiver::file::find_inputs;
use crate::service::whole_traces::WholeTraces;
use crate::trace::assemble::Assembled;

const EXAMPLES: &str = "\
Examples:
  slo-copilot rca --baseline before.jsonl --incident incident.jsonl
  slo-copilot rca --baseline 'monday/*.json.gz' --incident incident/ --format text
  slo-copilot rca --baseline before.jsonl --incident incident.jsonl | jq -r '.ranked[0].service'
  slo-copilot rca evaluate incidents/ --json

The answer is JSON on standard output, and a summary for people on standard error. `conclusion` tells the answers apart:
`found` (there are causes in `ranked`), `nothing_found` (nothing changed more than it does when nothing is wrong),
`inconclusive` (too few traces).

Exit code: 0 found or nothing found, 2 usage or broken input, 3 inconclusive.";

/// Arguments of `rca`.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// Traces of a time when all was well: files, directories or globs, of any form that `analyze` reads.
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    baseline: Vec<String>,

    /// Traces of the incident.
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    incident: Vec<String>,

    #[command(flatten)]
    settings: SettingsArgs,

    /// Form of the answer on standard output.
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    format: Format,
}

/// Where the settings come from.
#[derive(Debug, clap::Args)]
struct SettingsArgs {
    /// Configuration file (YAML), as `serve` takes it; its section `adapters.rca` holds.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Set one configuration key; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

impl SettingsArgs {
    fn load(&self) -> anyhow::Result<Config> {
        let config = self.config.as_deref();
        Ok(Config::load(config, std::env::vars(), &self.sets)?)
    }
}

/// What else there is.
#[derive(Debug, Subcommand)]
enum Command {
    /// Judge the analysis on incidents whose cause is known.
    Evaluate(evaluate::Args),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For machines; people's view goes to standard error.
    Json,
    /// For people.
    Text,
    /// For tickets and chats.
    Markdown,
}

/// Analyses or evaluates; the exit code says whether there is an answer.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(Command::Evaluate(args)) = &args.command {
        return evaluate::run(args);
    }
    let config = args.settings.load()?;
    let settings = &config.adapters.rca;
    let baseline = summary(&args.baseline, "--baseline", &config, settings)?;
    let incident = summary(&args.incident, "--incident", &config, settings)?;
    let report = rca::analyse(&baseline, &incident, settings);
    match args.format {
        Format::Json => {
            print_json(&report)?;
            stderr().lock().write_all(view::text(&report).as_bytes())?;
        }
        Format::Text => print(&view::text(&report))?,
        Format::Markdown => print(&view::markdown(&report))?,
    }
    Ok(match report.conclusion {
        Conclusion::Found | Conclusion::NothingFound => ExitCode::SUCCESS,
        Conclusion::Inconclusive => ExitCode::from(EXIT_INCONCLUSIVE),
    })
}

/// Reads whole traces, and says what could not be read.
fn read(patterns: &[String], config: &Config) -> anyhow::Result<Assembled> {
    let mut reading = WholeTraces::new(config);
    read_each(&find_inputs(patterns)?, |input, progress| {
        reading.read(input, progress)
    })?;
    show_findings(reading.findings())?;
    Ok(reading.finish())
}

fn summary(
    patterns: &[String],
    option: &str,
    config: &Config,
    settings: &Settings,
) -> anyhow::Result<Summary> {
    let read = read(patterns, config)?;
    anyhow::ensure!(
        !read.traces.is_empty(),
        Usage(format!("{option}: the files hold no traces with ids"))
    );
    let mut summary = Summary::default();
    for trace in &read.traces {
        summary.observe(trace, settings);
    }
    let mut out = stderr().lock();
    if read.left_out_spans > 0 {
        writeln!(
            out,
            "warning: {option}: {} spans had no place in memory, so that {:.0} % of the traces are looked at; raise \
             tests.max_trace_bytes to look at more",
            read.left_out_spans,
            read.kept_ratio * 100.0
        )?;
    }
    if summary.refused.total() > 0 {
        writeln!(
            out,
            "warning: {option}: bounds of adapters.rca were reached: {:?}",
            summary.refused
        )?;
    }
    Ok(summary)
}
