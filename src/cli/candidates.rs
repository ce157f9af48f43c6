//! `candidates`: what the history suggests, and the word of a person about it.

use std::collections::BTreeMap;
use std::io::{Write, stderr};
use std::process::ExitCode;

use anyhow::bail;
use clap::{Parser, Subcommand};

use crate::cli::source::SourceArgs;
use crate::cli::text::{Format, print, print_json, promise, table};
use crate::clock::Clock;
use crate::evaluator::verdict::timestamp;
use crate::model::candidate::Candidate;
use crate::model::record::{Actor, Edit};

const EXAMPLES: &str = "\
Examples:
  # of a running server
  slo-copilot candidates list --endpoint http://127.0.0.1:9464
  slo-copilot candidates accept availability-checkout --by ada --reason 'agreed with payments' \\
      --endpoint http://127.0.0.1:9464

  # of the store of a stopped one; an accepted candidate is an objective from its next start on
  slo-copilot candidates list latency-p95-checkout
  slo-copilot candidates reject latency-p95-checkout --storage-dir /var/lib/slo-copilot";

/// Arguments of `candidates`.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: CandidatesCommand,
}

/// What to do with candidates.
#[derive(Debug, Subcommand)]
pub enum CandidatesCommand {
    /// Show all candidates, or one with its evidence.
    List(ListArgs),
    /// Make an objective of a candidate.
    Accept(DecideArgs),
    /// Do not suggest a candidate again.
    Reject(DecideArgs),
}

/// Arguments of `candidates list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// The candidate to show.
    pub name: Option<String>,

    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,

    /// Where they are.
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Arguments of a decision.
#[derive(Debug, clap::Args)]
pub struct DecideArgs {
    /// The candidate.
    pub name: String,

    /// Why; kept in its history.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,

    /// Who decides; kept in its history. Without it, the environment variable USER says so.
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,

    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,

    /// Where it is.
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Runs the command.
pub async fn run(args: Args, clock: &Clock) -> anyhow::Result<ExitCode> {
    match args.command {
        CandidatesCommand::List(args) => list(args).await?,
        CandidatesCommand::Accept(args) => accept(&args, clock).await?,
        CandidatesCommand::Reject(args) => reject(&args, clock).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let mut candidates = args.source.open()?.candidates().await?;
    if let Some(name) = &args.name {
        candidates.retain(|candidate| candidate.name == *name);
        if candidates.is_empty() {
            bail!("no candidate is called {name}; `slo-copilot candidates list` shows all");
        }
    }
    match args.format {
        Format::Json => print_json(&BTreeMap::from([("candidates", candidates)])),
        Format::Text if args.name.is_some() => {
            let texts: Vec<String> = candidates.iter().map(details).collect();
            Ok(print(&texts.concat())?)
        }
        Format::Text if candidates.is_empty() => Ok(print(
            "No candidates yet: they are fitted to the history that a server keeps.\n",
        )?),
        Format::Text => Ok(print(&overview(&candidates))?),
    }
}

fn overview(candidates: &[Candidate]) -> String {
    let rows: Vec<[String; 6]> = candidates
        .iter()
        .map(|candidate| {
            [
                candidate.name.clone(),
                candidate.state.label().to_owned(),
                promise(candidate.sli, candidate.target, &candidate.window.into()),
                candidate.service.name.to_string(),
                candidate.operation.clone().unwrap_or_default(),
                candidate.missing.join("; "),
            ]
        })
        .collect();
    let heads = [
        "NAME",
        "STATE",
        "PROMISE",
        "SERVICE",
        "OPERATION",
        "MISSING",
    ];
    table(heads, &rows)
}

fn details(candidate: &Candidate) -> String {
    let evidence = &candidate.evidence;
    let unit = |ratio_or_seconds: f64| format!("{ratio_or_seconds:.6}");
    let rows = [
        ["state", candidate.state.label()].map(str::to_owned),
        [
            "promise".to_owned(),
            promise(candidate.sli, candidate.target, &candidate.window.into()),
        ],
        ["service".to_owned(), candidate.service.name.to_string()],
        [
            "operation".to_owned(),
            candidate
                .operation
                .clone()
                .unwrap_or_else(|| "all".to_owned()),
        ],
        ["missing".to_owned(), candidate.missing.join("; ")],
        ["measured".to_owned(), unit(evidence.measured)],
        [
            "bound".to_owned(),
            format!(
                "{} ({}, confidence {})",
                unit(evidence.bound),
                evidence.method,
                evidence.confidence
            ),
        ],
        [
            "events".to_owned(),
            format!(
                "{} ({:.0} effective, over-dispersion {:.2}, sampling {})",
                evidence.events,
                evidence.effective_events,
                evidence.over_dispersion,
                evidence.sampling
            ),
        ],
        [
            "history".to_owned(),
            format!(
                "{:.1} days, {:.0}% of its slices with traffic",
                evidence.history_secs as f64 / 86_400.0,
                evidence.coverage_ratio * 100.0
            ),
        ],
        [
            "incidents".to_owned(),
            format!(
                "{} seen; up to {:.2} a day cannot be excluded",
                evidence.incidents, evidence.incidents_per_day_upper
            ),
        ],
    ];
    table([candidate.name.as_str(), ""], &rows)
}

async fn accept(args: &DecideArgs, clock: &Clock) -> anyhow::Result<()> {
    let accepted = args
        .source
        .open()?
        .accept(&args.name, &args.edit(clock))
        .await?;
    if let Some(warning) = &accepted.warning {
        writeln!(stderr(), "warning: {warning}")?;
    }
    match args.format {
        Format::Json => print_json(&accepted),
        Format::Text => {
            let objective = &accepted.objective;
            let promise = promise(objective.sli, objective.target, &objective.window);
            let from = match args.source.endpoint {
                Some(_) => "now",
                None => "the next start of the server",
            };
            Ok(print(&format!(
                "{}: adopted, {promise}; measured and judged from {from} on\n",
                objective.name
            ))?)
        }
    }
}

async fn reject(args: &DecideArgs, clock: &Clock) -> anyhow::Result<()> {
    let edit = args.edit(clock);
    args.source.open()?.reject(&args.name, &edit).await?;
    match args.format {
        Format::Json => print_json(&BTreeMap::from([
            ("name", args.name.as_str()),
            ("state", "rejected"),
        ])),
        Format::Text => Ok(print(&format!("{}: rejected\n", args.name))?),
    }
}

impl DecideArgs {
    fn edit(&self, clock: &Clock) -> Edit {
        let user = || std::env::var("USER").ok().filter(|user| !user.is_empty());
        Edit {
            at: timestamp(clock.now()),
            actor: Actor::Person {
                name: self.by.clone().or_else(user),
            },
            text: self.reason.clone().unwrap_or_default(),
        }
    }
}
