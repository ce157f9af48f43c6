//! `topology`: the service graph of trace files, joined with manifests.

use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, ValueEnum};

use crate::adapter::topology::{compare, graph_of, join};
use crate::cli::Usage;
use crate::cli::manifests::ManifestArguments;
use crate::cli::test::source::assemble_files;
use crate::config::Config;
use crate::disk;
use crate::exporter::topology::{dot, svg};
use crate::model::topology::{NodeKind, ServiceGraph};
use crate::receiver::file::find_inputs;

const EXAMPLES: &str = "\
Examples:
  slo-copilot topology traces.jsonl --format svg -o shop.svg
  slo-copilot topology traces/ --manifests k8s/ --format svg -o shop.svg
  slo-copilot topology today.jsonl --baseline yesterday.jsonl --format text
  slo-copilot topology traces.jsonl --format dot | dot -Tpdf -o shop.pdf

Nodes are services, and the databases, destinations of messages and others that they call and that report no spans. Each
edge has its calls, errors, latency and the share of its errors that reach the caller's work; each node its PageRank, depth and
whom its failure would hit. Manifests name what runs each node; what was never seen is drawn dashed. Numbers are adjusted for
sampling (tracestate ot=th, sli.sampling). schema/topology.schema.json describes the JSON. A running server has the same at
/api/v1/topology.

Exit codes: 0 the graph was drawn, 2 broken input.";

/// Arguments of `topology`.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Trace files, directories or globs; `-` reads standard input. All formats that `analyze` reads.
    #[arg(value_name = "TRACE")]
    pub traces: Vec<String>,

    /// The same as a TRACE; may be repeated.
    #[arg(long = "trace", value_name = "TRACE", num_args = 1..)]
    pub more_traces: Vec<String>,

    /// What runs.
    #[command(flatten)]
    pub manifests: ManifestArguments,

    /// Traces of the time before: edges that only they have are vanished, those that only TRACE has are new.
    #[arg(long, value_name = "TRACE", num_args = 1..)]
    pub baseline: Vec<String>,

    /// How the graph is written.
    #[arg(long, value_enum, default_value_t = Format::Json)]
    pub format: Format,

    /// Write to this file; standard output without it.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Configuration file (YAML), as `serve` takes it.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Set one configuration key; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}

/// How the graph is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Everything
    Json,
    /// For Graphviz
    Dot,
    /// A picture
    Svg,
    /// One line an edge
    Text,
}

/// Draws the graph.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(args.config.as_deref(), std::env::vars(), &args.sets)?;
    let patterns: Vec<String> = args
        .traces
        .iter()
        .chain(&args.more_traces)
        .cloned()
        .collect();
    anyhow::ensure!(
        !patterns.is_empty(),
        Usage(
            "name at least one trace file, directory or glob, or - for standard input".to_owned()
        )
    );
    let mut graph = graph_of_files(&patterns, &config)?;
    if !args.baseline.is_empty() {
        compare(&mut graph, &graph_of_files(&args.baseline, &config)?);
    }
    if let Some(inventory) = args.manifests.read()? {
        join(&mut graph, &inventory);
    }
    let text = match args.format {
        Format::Json => serde_json::to_string_pretty(&graph)? + "\n",
        Format::Dot => dot(&graph),
        Format::Svg => svg(&graph),
        Format::Text => graph.to_text(usize::MAX),
    };
    match &args.output {
        Some(path) => disk::replace(path, text.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?,
        None => stdout().lock().write_all(text.as_bytes())?,
    }
    writeln!(stderr().lock(), "topology: {}", summary(&graph))?;
    Ok(ExitCode::SUCCESS)
}

fn graph_of_files(patterns: &[String], config: &Config) -> anyhow::Result<ServiceGraph> {
    let assembled = assemble_files(config, &find_inputs(patterns)?)?;
    anyhow::ensure!(
        !assembled.traces.is_empty(),
        Usage(format!("{}: no traces with ids", patterns.join(" ")))
    );
    let graph = graph_of(
        &assembled.traces,
        assembled.kept_ratio,
        &config.adapters.topology,
    );
    if graph.refused_calls > 0 {
        writeln!(
            stderr().lock(),
            "warning: {} calls had no place of their own (adapters.topology.max_nodes, adapters.topology.max_edges)",
            graph.refused_calls
        )?;
    }
    Ok(graph)
}

fn summary(graph: &ServiceGraph) -> String {
    let of = |kind: NodeKind| graph.nodes.iter().filter(|node| node.kind == kind).count();
    let mut parts = vec![format!(
        "{} services, {} databases, {} queues, {} others, {} edges from {} traces",
        of(NodeKind::Service),
        of(NodeKind::Database),
        of(NodeKind::Queue),
        of(NodeKind::External),
        graph.edges.len(),
        graph.traces
    )];
    if of(NodeKind::Workload) > 0 {
        parts.push(format!("{} workloads never seen", of(NodeKind::Workload)));
    }
    let changes = &graph.changes;
    if !changes.compared_with.is_empty() {
        parts.push(format!(
            "{} new and {} vanished edges",
            changes.new.len(),
            changes.vanished.len()
        ));
    }
    parts.join("; ")
}
