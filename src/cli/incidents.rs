//! `incidents`: what the memory knows, and the word of a person about its cause.

use std::fmt::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::api::{IncidentList, Said};
use crate::cli::source::SourceArgs;
use crate::cli::text::{Format, print, print_json, table};
use crate::clock::Clock;
use crate::evaluator::verdict::timestamp;
use crate::model::incident::Incident;

const EXAMPLES: &str = "\
Examples:
  # of a running server
  slo-copilot incidents list --endpoint http://127.0.0.1:9464
  slo-copilot incidents show 3 --endpoint http://127.0.0.1:9464
  slo-copilot incidents confirm 3 --cause payment --resolution 'rolled back 2.4.1' \\
      --endpoint http://127.0.0.1:9464

  # of the store of a stopped one
  slo-copilot incidents list --storage-dir /var/lib/slo-copilot";

/// Arguments of `incidents`.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: IncidentsCommand,
}

/// What to do with incidents.
#[derive(Debug, Subcommand)]
pub enum IncidentsCommand {
    /// Show all incidents, the oldest first.
    List(ListArgs),
    /// Show one incident with its evidence and those that looked alike.
    Show(ShowArgs),
    /// Say what the cause was, so that the next one that looks alike can tell.
    Confirm(ConfirmArgs),
}

/// Arguments of `incidents list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,

    /// Where they are.
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Arguments of `incidents show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// Number of the incident.
    pub id: u64,

    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,

    /// Where it is.
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Arguments of `incidents confirm`.
#[derive(Debug, clap::Args)]
pub struct ConfirmArgs {
    /// Number of the incident.
    pub id: u64,

    /// The service that was the cause, or what else it was.
    #[arg(long, value_name = "SERVICE")]
    pub cause: String,

    /// How it was resolved.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub resolution: String,

    /// Who says so. Without it, the environment variable USER does.
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
        IncidentsCommand::List(args) => list(args).await?,
        IncidentsCommand::Show(args) => {
            let incident = args.source.open()?.incident(args.id).await?;
            show(args.format, &incident)?;
        }
        IncidentsCommand::Confirm(args) => confirm(args, clock).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let incidents = args.source.open()?.incidents().await?;
    match args.format {
        Format::Json => print_json(&IncidentList { incidents }),
        Format::Text if incidents.is_empty() => Ok(print(
            "No incidents yet: a server remembers one for each time that verdicts failed.\n",
        )?),
        Format::Text => Ok(print(&overview(&incidents))?),
    }
}

async fn confirm(args: ConfirmArgs, clock: &Clock) -> anyhow::Result<()> {
    let user = || std::env::var("USER").ok().filter(|user| !user.is_empty());
    let said = Said {
        cause: args.cause,
        resolution: args.resolution,
        by: args.by.or_else(user),
    };
    let source = args.source.open()?;
    let at = timestamp(clock.now());
    let incident = source.confirm_incident(args.id, said, at).await?;
    match args.format {
        Format::Json => print_json(&incident),
        Format::Text => {
            let cause = incident.confirmation.map(|said| said.cause);
            let cause = cause.unwrap_or_default();
            Ok(print(&format!(
                "incident {}: {cause} is remembered as the cause\n",
                incident.id
            ))?)
        }
    }
}

fn overview(incidents: &[Incident]) -> String {
    let rows: Vec<[String; 6]> = incidents
        .iter()
        .map(|incident| {
            let first = incident.rca.ranked.first();
            [
                incident.id.to_string(),
                timestamp(incident.began_at).to_string(),
                ended(incident),
                incident.failing.join(", "),
                first.map(|own| own.service.clone()).unwrap_or_default(),
                incident
                    .confirmation
                    .as_ref()
                    .map(|said| said.cause.clone())
                    .unwrap_or_default(),
            ]
        })
        .collect();
    let heads = [
        "ID",
        "BEGAN",
        "ENDED",
        "FAILING",
        "RANKED FIRST",
        "CONFIRMED",
    ];
    table(heads, &rows)
}

fn ended(incident: &Incident) -> String {
    let ended = incident.ended_at.map(|at| timestamp(at).to_string());
    ended.unwrap_or_else(|| "under way".to_owned())
}

fn show(format: Format, incident: &Incident) -> anyhow::Result<()> {
    match format {
        Format::Json => print_json(incident),
        Format::Text => Ok(print(&details(incident))?),
    }
}

fn details(incident: &Incident) -> String {
    let mut text = format!(
        "Incident {}: {} to {}\nFailing: {}\n",
        incident.id,
        timestamp(incident.began_at),
        ended(incident),
        incident.failing.join(", ")
    );
    let rca = &incident.rca;
    // Writing to a string does not fail.
    writeln!(text, "{}", rca.text).ok();
    for (rank, cause) in (1..).zip(&rca.ranked) {
        writeln!(text, "{rank}. {} (score {:.2})", cause.service, cause.score).ok();
        for evidence in &cause.evidence {
            writeln!(text, "   [{}] {}", evidence.id, evidence.text).ok();
        }
    }
    for change in &rca.changes {
        writeln!(text, "Changed: {}", change.text).ok();
    }
    for similar in &rca.similar {
        let cause = similar.confirmed_cause.as_deref();
        let known = cause.map_or_else(
            || "its cause was not confirmed".to_owned(),
            |cause| format!("its cause was {cause}"),
        );
        let how = similar.resolution.as_deref();
        let how = how.map_or_else(String::new, |how| format!(", resolved by: {how}"));
        writeln!(
            text,
            "Like incident {} ({:.0} %): {known}{how}",
            similar.id,
            100.0 * similar.similarity
        )
        .ok();
    }
    if let Some(explanation) = &rca.explanation {
        writeln!(text, "{} writes: {}", explanation.model, explanation.text).ok();
    }
    if let Some(said) = &incident.confirmation {
        let by = said.by.as_deref().unwrap_or("somebody");
        writeln!(
            text,
            "Confirmed by {by}: {}. {}",
            said.cause, said.resolution
        )
        .ok();
    }
    text
}
