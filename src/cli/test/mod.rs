//! `test`: trace-based tests. Suites and traces → exit code.

mod drive;
mod faults;
mod init;
pub(crate) mod output;
mod remote;
pub mod source;

use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};

use crate::cli::Usage;
use crate::cli::test::drive::DriveArgs;
use crate::cli::test::init::InitArgs;
use crate::cli::test::source::SourceArgs;
use crate::clock::Clock;
use crate::config::Config;
use crate::disk;
use crate::model::report::Verdict;
use crate::model::test_result::TestReport;
use crate::service::suite_files;
use crate::tracetest::Session;
use crate::tracetest::language::{Value, Variables};
use crate::tracetest::suite::Suite;

const EXAMPLES: &str = "\
Examples:
  slo-copilot test shop.yaml --trace traces.jsonl
  slo-copilot test tests/ --endpoint 127.0.0.1:9464 --wait 2m
  slo-copilot test shop.yaml --trace traces/ --format junit > tests.xml
  slo-copilot test init --trace traces.jsonl -o shop.yaml
  slo-copilot test shop.yaml --drive --rate 20 --for 30s
  slo-copilot test --faults faults.yaml --trace traces.jsonl --objectives openslo/

A test, in Tracetest's format with more in it:
  type: Test
  spec:
    name: checkout places an order
    for: span[service.name=\"frontend\" name=\"POST /checkout\"]    # which traces: by their root span
    specs:
      - selector: span[service.name=\"payment\" kind=\"server\"]
        assertions: [\"attr:tracetest.selected_spans.count = 1\", \"attr:tracetest.span.duration <= 500ms\"]
    edges: {require: [checkout -> payment], forbid: [frontend -> payment]}
    n_plus_one: {max: 3}
    errors: {surface: ['span[service.name=\"payment\"]']}

A fault case, simulated on the traces (latency: +200ms | ×1.5 | a distribution; error, partial_outage: a share;
outage; timeout; retry_storm):
  cases:
    - name: payment is slow
      target: {service: payment}
      fault: {latency: +200ms}
      expect: page within 10m                                     # or: ticket within 1d, stays green

Exit code: 0 pass, 1 fail, 2 usage or broken input, 3 inconclusive.";

/// Arguments of `test`.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// Suites: files, directories or globs (YAML or JSON).
    #[arg(value_name = "SUITE", required_unless_present = "faults")]
    suites: Vec<PathBuf>,

    #[command(flatten)]
    source: SourceArgs,

    #[command(flatten)]
    simulated: faults::FaultArgs,

    /// Wait so long for traces that decide every test, for example 2m; with --endpoint.
    #[arg(long, value_name = "DURATION", value_parser = drive::duration, requires = "endpoint")]
    wait: Option<std::time::Duration>,

    #[command(flatten)]
    drive: DriveArgs,

    /// Set a variable that tests read as `var:NAME`; may be repeated.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    variables: Vec<String>,

    /// Form of the answer on standard output.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,

    /// Write the results as JSON, too.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// What else there is.
#[derive(Debug, Subcommand)]
enum Command {
    /// Write a first suite from observed traces.
    Init(InitArgs),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// All results.
    Json,
    /// `JUnit` XML: a suite a test, a case a check.
    Junit,
    /// SARIF 2.1.0, located in the suites.
    Sarif,
    /// GitHub workflow commands.
    Github,
}

/// Runs the tests; the exit code says how it went.
pub async fn run(args: &Args, clock: &Clock) -> anyhow::Result<ExitCode> {
    if let Some(Command::Init(args)) = &args.command {
        return init::run(args).await;
    }
    if let Some(file) = &args.simulated.faults {
        let out = (args.format, args.report.as_deref());
        return faults::run(file, &args.simulated, &args.source, out, clock).await;
    }
    // Clap lets it through where --trace is given, which conflicts with the --endpoint that it requires.
    anyhow::ensure!(
        args.wait.is_none() || args.source.endpoint.is_some(),
        Usage("--wait needs --endpoint: what is in a file is there at once".to_owned())
    );
    let plan = Plan {
        config: args.source.load_config()?,
        suites: suite_files::load(&args.suites)?,
        variables: variables(&args.variables)?,
    };
    let report = if args.drive.drive {
        let endpoint = args.source.endpoint.as_deref();
        drive::run(&args.drive, endpoint, &plan, clock).await?
    } else {
        let waiting = args.wait.unwrap_or_default();
        let session = plan.session();
        args.source
            .judge(&plan.config, session, waiting, clock)
            .await?
    };
    finish(&report, args.format, args.report.as_deref())
}

/// What `var:` and `env:` stand for.
fn variables(given: &[String]) -> anyhow::Result<Variables> {
    let mut variables = Variables::new(std::env::vars());
    for argument in given {
        let (name, value) = argument.split_once('=').ok_or_else(|| {
            Usage(format!(
                "--var {argument}: expected NAME=VALUE, for example --var region=eu"
            ))
        })?;
        variables.set(name, Value::Text(value.to_owned()));
    }
    Ok(variables)
}

/// What is to be tested.
struct Plan {
    config: Config,
    suites: Vec<Suite>,
    variables: Variables,
}

impl Plan {
    /// The suites before they have seen anything.
    fn session(&self) -> Session {
        let limits = self.config.tests.limits_of_command();
        Session::new(self.suites.clone(), &self.variables, limits)
    }
}

fn finish(
    report: &TestReport,
    format: Format,
    file: Option<&std::path::Path>,
) -> anyhow::Result<ExitCode> {
    if let Some(path) = file {
        let json = serde_json::to_vec_pretty(report)?;
        disk::replace(path, &json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let text = match format {
        Format::Text => output::text(report),
        Format::Json => serde_json::to_string_pretty(report)? + "\n",
        Format::Junit => output::junit(report)?,
        Format::Sarif => output::sarif(report)?,
        Format::Github => output::github(report),
    };
    stdout().lock().write_all(text.as_bytes())?;
    writeln!(stderr().lock(), "test: {}", output::summary(report))?;
    Ok(match report.verdict {
        Verdict::Pass | Verdict::Warn => ExitCode::SUCCESS,
        Verdict::Fail => ExitCode::FAILURE,
        Verdict::Inconclusive => ExitCode::from(super::EXIT_INCONCLUSIVE),
    })
}
