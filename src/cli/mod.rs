//! The commands, one file each: arguments, printing and exit codes; no calculation.

pub mod analyze;
pub mod candidates;
pub mod coverage;
pub mod demo;
mod documents;
mod endpoint;
pub mod gate;
pub mod incidents;
pub mod loadgen;
pub mod manifests;
pub mod plan;
mod process;
pub mod rca;
pub mod rules;
pub mod sampling;
#[cfg(test)]
mod schemas;
pub mod scrub;
pub mod serve;
mod source;
pub mod store;
mod summary;
pub mod test;
mod text;
pub mod topology;
pub mod traces;
pub mod validate;
mod versions;

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::adapter::fixed_sampling::PlanFileError;
use crate::cli::endpoint::EndpointError;
use crate::clock::Clock;
use crate::config::ConfigError;
use crate::evaluator::gate::GateError;
use crate::evaluator::policy::PolicyError;
use crate::notify::NotifyError;
use crate::receiver::file::FileError;
use crate::service::objective_files::ObjectiveFilesError;
use crate::store::file::StoreFileError;
use crate::telemetry::TelemetryError;
use crate::tracetest::fault::cases::FaultSuiteError;
use crate::traffic::model::ModelError;
use crate::traffic::write::WriteError;

/// Exit code of usage and broken input.
const EXIT_USAGE: u8 = 2;

/// Exit code of a gate that knows too little.
const EXIT_INCONCLUSIVE: u8 = 3;

/// Proposes, checks and gates service level objectives from OpenTelemetry traces.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    propagate_version = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: CliCommand,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Take OTLP traces, keep windows, evaluate objectives; works with no configuration.
    Serve(serve::Args),
    /// Trace files → report: candidates, objectives, verdicts, coverage.
    Analyze(analyze::Args),
    /// See it work: the real server, a small shop with a healthy past, then a fault.
    Demo(demo::Args),
    /// May this go on? Trace files, or a running server → exit code: 0 pass, 1 fail, 2 broken input, 3 inconclusive.
    Gate(gate::Args),
    /// Trace-based tests: suites against trace files, a running server, or a service that they drive.
    Test(test::Args),
    /// What caused it? Traces of the time before and of an incident → ranked root causes with evidence.
    Rca(rca::Args),
    /// Check OpenSLO v1 files by every rule of the specification, with file, line and path of each finding.
    Validate(validate::Args),
    /// OpenSLO v1 files → Prometheus recording and alerting rules, and unit tests for them.
    Rules(rules::Args),
    /// What failed before: root causes, incidents that looked alike, and what a person says was the cause.
    Incidents(incidents::Args),
    /// List suggested objectives, accept and reject them; in a store or on a running server.
    Candidates(candidates::Args),
    /// SLOs with their history: list, export, merge, replace; in a store or on a running server.
    Store(store::Args),
    /// Draw who calls whom, from trace files and Kubernetes manifests: JSON, DOT or SVG.
    Topology(topology::Args),
    /// Kubernetes manifests → a zero-touch plan: who is instrumented how, the Collector, patches, and what cannot be.
    Plan(plan::Args),
    /// Take personal data and secrets out of text, JSON and trace files.
    Scrub(scrub::Args),
    /// What reports no spans, how well the rest is instrumented, and which probes would see the gaps.
    Coverage(coverage::Args),
    /// What telemetry will cost, and which sampling rates a budget allows; of volumes, trace files, or a running server.
    Sampling(sampling::Args),
    /// Send synthetic traffic to an OTLP endpoint and measure.
    Loadgen(loadgen::Args),
}

/// Arguments that do not go together, or name what is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// Why a command ended, and with which code.
#[derive(Debug)]
pub struct Failure {
    error: anyhow::Error,
    is_broken_input: bool,
}

impl Failure {
    /// Of a gate whatever went wrong is broken input: 1 says that the release fails.
    fn broken_input(error: anyhow::Error) -> Self {
        Self {
            error,
            is_broken_input: true,
        }
    }

    /// 2 for usage and broken input, else 1.
    pub fn exit_code(&self) -> ExitCode {
        let usage = self.error.chain().any(|cause| {
            let telemetry = cause.downcast_ref::<TelemetryError>();
            let endpoint = cause.downcast_ref::<EndpointError>();
            cause.is::<Usage>()
                || cause.is::<ConfigError>()
                || cause.is::<FileError>()
                || cause.is::<GateError>()
                || cause.is::<PolicyError>()
                || cause.is::<NotifyError>()
                || cause.is::<PlanFileError>()
                || cause.is::<ObjectiveFilesError>()
                || cause.is::<StoreFileError>()
                || cause.is::<ModelError>()
                || cause.is::<FaultSuiteError>()
                || matches!(cause.downcast_ref(), Some(WriteError::Suffix { .. }))
                || matches!(endpoint, Some(EndpointError::Url { .. }))
                || matches!(telemetry, Some(TelemetryError::Filter { .. }))
        });
        if usage || self.is_broken_input {
            ExitCode::from(EXIT_USAGE)
        } else {
            ExitCode::FAILURE
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Some errors quote their cause themselves.
        let mut said = String::new();
        for cause in self.error.chain() {
            let text = cause.to_string();
            if !said.contains(&text) {
                let separator = if said.is_empty() { "" } else { ": " };
                write!(formatter, "{separator}{text}")?;
                said.push_str(&text);
            }
        }
        Ok(())
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            is_broken_input: false,
        }
    }
}

/// Runs a command to its end.
pub fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    crate::outgoing::install_crypto_provider();
    let clock = Clock::system();
    let code = match cli.command {
        CliCommand::Serve(args) => runtime.block_on(serve::run(args, clock))?,
        CliCommand::Demo(args) => runtime.block_on(demo::run(args, clock))?,
        CliCommand::Analyze(args) => analyze::run(&args, &clock)?,
        CliCommand::Gate(args) => {
            gate::run(&args, &clock, runtime.handle()).map_err(Failure::broken_input)?
        }
        CliCommand::Test(args) => runtime
            .block_on(test::run(&args, &clock))
            .map_err(Failure::broken_input)?,
        CliCommand::Rca(args) => rca::run(&args).map_err(Failure::broken_input)?,
        CliCommand::Validate(args) => validate::run(&args)?,
        CliCommand::Rules(args) => rules::run(&args)?,
        CliCommand::Incidents(args) => runtime.block_on(incidents::run(args, &clock))?,
        CliCommand::Candidates(args) => runtime.block_on(candidates::run(args, &clock))?,
        CliCommand::Store(args) => runtime.block_on(store::run(args, &clock))?,
        CliCommand::Topology(args) => topology::run(&args)?,
        CliCommand::Plan(args) => plan::run(&args)?,
        CliCommand::Scrub(args) => scrub::run(&args)?,
        CliCommand::Coverage(args) => coverage::run(&args).map_err(Failure::broken_input)?,
        CliCommand::Sampling(args) => runtime.block_on(sampling::run(args))?,
        CliCommand::Loadgen(args) => runtime.block_on(loadgen::run(args, clock.now()))?,
    };
    // A blocking task that hangs must not hold up the exit.
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(code)
}
