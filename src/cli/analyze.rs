//! `analyze`: trace files → report.

use std::collections::BTreeMap;
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use crate::cli::summary::summary;
use crate::cli::traces::{TraceArgs, read_all};
use crate::clock::Clock;
use crate::evaluator::verdict::timestamp;
use crate::exporter::files::write_atomically;
use crate::exporter::slo_export::SloExport;
use crate::model::input::JudgedAgainst;
use crate::model::report::Report;
use crate::service::analysis::{Analysis, Neighbours};

const EXAMPLES: &str = "\
Examples:
  slo-copilot analyze traces.jsonl
  slo-copilot analyze 'traces/**/*.json.gz' --export-openslo-yaml slos.yaml
  slo-copilot analyze traces.jsonl --objectives slo-copilot-out/openslo/checkout.yaml
  zstdcat traces.zst | slo-copilot analyze - | jq .verdict

The report is JSON on standard output; a summary for people goes to standard error.";

/// Arguments of `analyze`.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    traces: TraceArgs,

    /// Telemetry of one day, 1.0 being the budget; may be repeated, the oldest first.
    #[arg(long, value_name = "RATIO")]
    telemetry_volume: Vec<f64>,

    /// An operation or span name that must occur; may be repeated, the most important first.
    #[arg(long, value_name = "NAME")]
    expected_signal: Vec<String>,

    /// A name that was observed elsewhere; may be repeated. Those of the traces count anyway.
    #[arg(long, value_name = "NAME")]
    observed_signal: Vec<String>,

    /// Write the suggested and adopted objectives as JSON (schema/slo_export.schema.json).
    #[arg(long, value_name = "FILE")]
    export_json: Option<PathBuf>,

    /// Write them as an OpenSLO v1 bundle in JSON.
    #[arg(long, value_name = "FILE")]
    export_openslo: Option<PathBuf>,

    /// Write them as OpenSLO v1 documents in YAML.
    #[arg(long, value_name = "FILE")]
    export_openslo_yaml: Option<PathBuf>,

    /// Leave out the telemetry budget.
    #[arg(long)]
    disable_caat: bool,

    /// Leave out root causes.
    #[arg(long)]
    disable_trag: bool,

    /// Leave out coverage.
    #[arg(long)]
    disable_ebpf: bool,
}

/// Reads the traces, judges them and prints the report.
pub fn run(args: &Args, clock: &Clock) -> anyhow::Result<ExitCode> {
    let config = args.traces.load_config()?;
    let inputs = args.traces.inputs()?;
    let objectives = args.traces.adopted(&config)?;
    let against = if objectives.is_empty() {
        JudgedAgainst::Itself
    } else {
        JudgedAgainst::Objectives
    };
    let mut analysis = Analysis::new(&config, &objectives);
    let neighbours = args.neighbours();
    if !neighbours.expected_signals.is_empty() {
        analysis.collect_signals(&args.observed_signal);
    }
    read_all(&mut analysis, &inputs)?;
    let candidates = analysis.candidates();
    let report = analysis.report(candidates, against, &neighbours, timestamp(clock.now()));
    args.export(&report)?;
    let mut json = serde_json::to_vec_pretty(&report)?;
    json.push(b'\n');
    stdout().lock().write_all(&json)?;
    stderr().lock().write_all(summary(&report).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn neighbours(&self) -> Neighbours {
        let mut integrations = BTreeMap::new();
        let mut say = |name: &str, text: String| integrations.insert(name.to_owned(), text);
        if self.disable_caat {
            say("caat", "off: --disable-caat".to_owned());
        } else if !self.telemetry_volume.is_empty() {
            let days = self.telemetry_volume.len();
            say(
                "caat",
                format!(
                    "{days} telemetry volumes were given; the forecast is not part of this build yet"
                ),
            );
        }
        if self.disable_trag {
            say("t-rag", "off: --disable-trag".to_owned());
        }
        let coverage = if self.disable_ebpf {
            "off: --disable-ebpf".to_owned()
        } else if self.expected_signal.is_empty() {
            "no coverage: name what should be there with --expected-signal".to_owned()
        } else {
            "on: expected signals are looked for among the operations and spans of the traces"
                .to_owned()
        };
        say("ebpf-bot", coverage);
        Neighbours {
            expected_signals: if self.disable_ebpf {
                Vec::new()
            } else {
                self.expected_signal.clone()
            },
            integrations,
        }
    }

    fn export(&self, report: &Report) -> anyhow::Result<()> {
        if let Some(path) = &self.export_json {
            let mut json = serde_json::to_vec_pretty(&SloExport::of(report))?;
            json.push(b'\n');
            write(path, &json)?;
        }
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write_atomically(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
