//! `store`: SLOs with their history, to read, to hand on, and to take from files.

use std::collections::BTreeSet;
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand, ValueEnum};

use crate::cli::source::{SourceArgs, StoreArgs};
use crate::cli::text::{Format, actor, change, print, print_json, promise, table};
use crate::clock::Clock;
use crate::disk;
use crate::evaluator::verdict::timestamp;
use crate::exporter::files::names::unique_names;
use crate::model::candidate::Candidate;
use crate::model::record::{Actor, Edit, RecordState, SloList, SloRecord};
use crate::model::report::OutputScope;
use crate::model::slo::Sli;
use crate::openslo::grouping::group_by_service;
use crate::openslo::v1::Document;
use crate::openslo::write;
use crate::store::Store;
use crate::store::book::StoreUpdate;
use crate::store::file::{self, StoreMode};

const EXAMPLES: &str = "\
Examples:
  slo-copilot store list --state adopted
  slo-copilot store history availability-checkout --endpoint http://127.0.0.1:9464
  slo-copilot store export slos.json
  slo-copilot store export --openslo > slos.yaml

  # into the store of a stopped server
  slo-copilot store merge slos.json --storage-dir /var/lib/slo-copilot
  slo-copilot store replace slos.json --yes

A running server locks its store: stop it, or ask it with --endpoint.";

/// Arguments of `store`.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: StoreCommand,
}

/// What to do with the store.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Show all SLOs.
    List(ListArgs),
    /// Show who or what changed an SLO, when and why.
    History(HistoryArgs),
    /// Add the SLOs of a file: a decision prevails over a suggestion, else the later change; no history is lost.
    Merge(MergeArgs),
    /// Put the SLOs of a file in place of all others; those that both sides know keep their history.
    Replace(ReplaceArgs),
    /// Write all SLOs with their history, or as OpenSLO.
    Export(ExportArgs),
}

/// Arguments of `store list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Only SLOs in this state.
    #[arg(long, value_enum)]
    pub state: Option<StateArg>,

    /// How it is printed; `json` is the format of `store export`.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,

    /// Where they are.
    #[command(flatten)]
    pub source: SourceArgs,
}

/// A state, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StateArg {
    /// Suggested
    Proposed,
    /// Measured and judged
    Adopted,
    /// Not suggested again
    Rejected,
}

impl From<StateArg> for RecordState {
    fn from(state: StateArg) -> Self {
        match state {
            StateArg::Proposed => Self::Proposed,
            StateArg::Adopted => Self::Adopted,
            StateArg::Rejected => Self::Rejected,
        }
    }
}

/// Arguments of `store history`.
#[derive(Debug, clap::Args)]
pub struct HistoryArgs {
    /// The SLO.
    pub name: String,

    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,

    /// Where it is.
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Arguments of `store merge`.
#[derive(Debug, clap::Args)]
pub struct MergeArgs {
    /// What `store export` or `analyze --slo-store` wrote.
    pub file: PathBuf,

    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,

    /// The store of a stopped server; made if it is missing.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Arguments of `store replace`.
#[derive(Debug, clap::Args)]
pub struct ReplaceArgs {
    /// Also if adopted SLOs are removed by it.
    #[arg(long)]
    pub yes: bool,

    /// What is taken, and where to.
    #[command(flatten)]
    pub merge: MergeArgs,
}

/// Arguments of `store export`.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// The file to write, whole or not at all; standard output without it.
    pub file: Option<PathBuf>,

    /// As OpenSLO v1, without history: a YAML stream, or a JSON bundle if FILE ends in .json.
    #[arg(long)]
    pub openslo: bool,

    /// Where they are.
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Runs the command.
pub async fn run(args: Args, clock: &Clock) -> anyhow::Result<ExitCode> {
    match args.command {
        StoreCommand::List(args) => list(args).await?,
        StoreCommand::History(args) => history(args).await?,
        StoreCommand::Merge(args) => take_in(&args, StoreMode::Merge, false, clock)?,
        StoreCommand::Replace(args) => {
            take_in(&args.merge, StoreMode::Replace, !args.yes, clock)?;
        }
        StoreCommand::Export(args) => export(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let mut slos = args.source.open()?.slos().await?;
    if let Some(state) = args.state {
        slos.retain(|record| record.state == state.into());
    }
    if args.format == Format::Json {
        return print_json(&SloList::new(slos));
    }
    let rows: Vec<[String; 6]> = slos.iter().map(row).collect();
    let heads = ["NAME", "STATE", "PROMISE", "SERVICE", "CHANGED", "BY"];
    Ok(print(&table(heads, &rows))?)
}

fn row(record: &SloRecord) -> [String; 6] {
    let objective = &record.objective;
    let last = record.history.last();
    [
        objective.name.clone(),
        record.state.label().to_owned(),
        promise(objective.sli, objective.target, &objective.window),
        objective.service.clone(),
        last.map_or_else(String::new, |change| format!("{:.0}", change.at)),
        last.map_or_else(String::new, |change| actor(&change.actor)),
    ]
}

async fn history(args: HistoryArgs) -> anyhow::Result<()> {
    let record = args.source.open()?.slo(&args.name).await?;
    if args.format == Format::Json {
        return print_json(&record);
    }
    let rows: Vec<[String; 4]> = record
        .history
        .iter()
        .map(|told| {
            [
                format!("{:.0}", told.at),
                actor(&told.actor),
                change(told),
                told.text.clone(),
            ]
        })
        .collect();
    print(&table(["AT", "BY", "CHANGE", "WHY"], &rows))?;
    if record.history_dropped > 0 {
        let dropped = record.history_dropped;
        print(&format!(
            "{dropped} older changes went, see storage.max_history_per_slo\n"
        ))?;
    }
    Ok(())
}

/// Merges or replaces; with `ask_first`, not if an adopted SLO goes by it.
fn take_in(
    args: &MergeArgs,
    mode: StoreMode,
    ask_first: bool,
    clock: &Clock,
) -> anyhow::Result<()> {
    let loaded = file::read(&args.file)?;
    let store = Store::open(args.store.settings()?)?;
    let file = args.file.display().to_string();
    let edit = Edit::new(timestamp(clock.now()), Actor::Import { file });
    let mut update = store.edit_slos(|book| {
        let update = match mode {
            StoreMode::Merge => book.merge(loaded.records, &edit),
            StoreMode::Replace => book.replace(loaded.records, &edit),
        };
        if ask_first && !update.released.is_empty() {
            bail!(
                "adopted SLOs would be judged no longer: {}; say --yes if that is meant",
                update.released.join(", ")
            );
        }
        Ok(update)
    })?;
    update.skipped = loaded.skipped;
    match args.format {
        Format::Json => print_json(&update),
        Format::Text => Ok(print(&summary(&update))?),
    }
}

fn summary(update: &StoreUpdate) -> String {
    let StoreUpdate {
        added,
        changed,
        kept,
        removed,
        released,
        skipped,
    } = update;
    let line = |what: &str, names: &[String]| match names {
        [] => format!("{what}: 0\n"),
        names => format!("{what}: {} ({})\n", names.len(), names.join(", ")),
    };
    let always = [("added", added), ("changed", changed), ("removed", removed)];
    let sometimes = [("no longer adopted", released), ("skipped", skipped)];
    let sometimes = sometimes.into_iter().filter(|(_, names)| !names.is_empty());
    let lines = always.into_iter().chain(sometimes);
    let lines = lines.map(|(what, names)| line(what, names));
    lines.chain([format!("kept: {}\n", kept.len())]).collect()
}

async fn export(args: ExportArgs) -> anyhow::Result<()> {
    let slos = args.source.open()?.slos().await?;
    let is_json = |path: &Path| path.extension().is_some_and(|end| end == "json");
    let text = if args.openslo {
        let documents = documents(&slos)?;
        if args.file.as_deref().is_some_and(is_json) {
            write::bundle(&documents)?
        } else {
            write::yaml(&documents)?
        }
    } else {
        file::render(slos)?
    };
    match &args.file {
        None => Ok(print(&text)?),
        Some(path) => disk::replace(path, text.as_bytes())
            .with_context(|| format!("cannot write {}", path.display())),
    }
}

/// The adopted SLOs and the suggested ones with evidence, grouped by their services.
fn documents(slos: &[SloRecord]) -> anyhow::Result<Vec<Document>> {
    let suggested: Vec<Candidate> = slos
        .iter()
        .filter(|record| record.state == RecordState::Proposed)
        .filter(|record| record.objective.sli != Sli::ErrorRate)
        .filter_map(SloRecord::as_candidate)
        .collect();
    let adopted = slos
        .iter()
        .filter(|record| record.state == RecordState::Adopted)
        .map(|record| &record.objective);
    let groups = group_by_service(
        OutputScope::Service,
        std::iter::empty(),
        adopted,
        &suggested,
    );
    let bare = slos
        .iter()
        .filter(|record| record.state == RecordState::Proposed && record.candidate.is_none())
        .count();
    if bare > 0 {
        writeln!(
            stderr(),
            "{bare} proposals have no evidence of ours and are left out"
        )?;
    }
    let names = unique_names(groups.keys().cloned().collect::<BTreeSet<_>>());
    Ok(groups
        .iter()
        .filter_map(|(service, group)| Some(write::service_documents(names.get(service)?, group)))
        .flatten()
        .collect())
}
