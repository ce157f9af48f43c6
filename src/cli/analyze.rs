//! `analyze`: trace files → report.

use std::collections::BTreeMap;
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;

use crate::cli::Usage;
use crate::cli::sampling::of_budgets;
use crate::cli::summary::summary;
use crate::cli::traces::{TraceArgs, read_all, show_findings};
use crate::clock::Clock;
use crate::config::Config;
use crate::disk;
use crate::evaluator::verdict::timestamp;
use crate::exporter::openslo::documents_by_name;
use crate::exporter::slo_export::SloExport;
use crate::model::candidate::CandidateState;
use crate::model::finding::Level;
use crate::model::input::JudgedAgainst;
use crate::model::recommendation::TelemetryRecommendation;
use crate::model::record::{Actor, Edit, RecordState, SloRecord};
use crate::model::report::{Report, Verdict};
use crate::model::simulation::FaultReport;
use crate::model::slo::{Objective, ObjectiveSource};
use crate::openslo::read::{SourceFile, read};
use crate::openslo::v1::Document;
use crate::openslo::write;
use crate::receiver::file::TraceInput;
use crate::service::analysis::{Analysis, Neighbours};
use crate::service::objective_files;
use crate::service::simulation::Recording;
use crate::service::whole_traces::WholeTraces;
use crate::store::{self, file::StoreMode};
use crate::tracetest::fault::edges::PROPAGATION_PRIOR;
use crate::window::cohort::watch::Scope;

const EXAMPLES: &str = "\
Examples:
  slo-copilot analyze traces.jsonl
  slo-copilot analyze 'traces/**/*.json.gz' --export-openslo-yaml slos.yaml
  slo-copilot analyze traces.jsonl --objectives slo-copilot-out/openslo/checkout.yaml
  zstdcat traces.zst | slo-copilot analyze - | jq .verdict

The report is JSON on standard output; a summary for people goes to standard error.";

/// Files whose traces are held in memory for simulated faults: 64 MiB.
const FAULT_BYTES_MAX: u64 = 64 << 20;

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

    /// Write the suggested and adopted objectives as JSON (`schema/slo_export.schema.json`).
    #[arg(long, value_name = "FILE")]
    export_json: Option<PathBuf>,

    /// Write them as an OpenSLO v1 bundle in JSON.
    #[arg(long, value_name = "FILE")]
    export_openslo: Option<PathBuf>,

    /// Write them as OpenSLO v1 documents in YAML.
    #[arg(long, value_name = "FILE")]
    export_openslo_yaml: Option<PathBuf>,

    /// Validate OpenSLO documents: those of this report, or those of FILE. Errors end with exit code 1.
    #[arg(long, value_name = "FILE")]
    #[expect(
        clippy::option_option,
        reason = "the flag is absent, alone, or names a file"
    )]
    validate_openslo: Option<Option<PathBuf>>,

    /// Keep the objectives in a JSON store (`schema/slo_store.schema.json`), which is made if it is missing.
    #[arg(long, value_name = "FILE")]
    slo_store: Option<PathBuf>,

    /// How the store takes them.
    #[arg(long, value_name = "MODE", default_value = "merge")]
    store_mode: StoreMode,

    /// Simulate the usual faults of each service (latency ×1.5, 5 % errors, 10 % not served) where the files are no longer
    /// than so many bytes, since their traces are held in memory; 0 leaves it out.
    #[arg(long, value_name = "BYTES", default_value_t = FAULT_BYTES_MAX)]
    faults_max_bytes: u64,

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
    let mut analysis = Analysis::new(&config, &objectives, clock.now()).recording(Scope::Versions);
    let neighbours = args.neighbours();
    if !neighbours.expected_signals.is_empty() {
        analysis.collect_signals(&args.observed_signal);
    }
    read_all(&mut analysis, &inputs)?;
    analysis.compare_versions(None, None);
    let candidates = analysis.candidates();
    let mut report = analysis.report(candidates, against, &neighbours, timestamp(clock.now()));
    report.telemetry_recommendation = args.telemetry(&config, &report)?;
    report.fault_cases = args.fault_cases(&config, &inputs, &report);
    let is_valid = args.validate(&report)?;
    args.export(&report)?;
    args.keep(&report)?;
    let mut json = serde_json::to_vec_pretty(&report)?;
    json.push(b'\n');
    stdout().lock().write_all(&json)?;
    stderr().lock().write_all(summary(&report).as_bytes())?;
    Ok(if is_valid {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Args {
    /// The four usual cases of each service, held against its own objectives.
    fn fault_cases(
        &self,
        config: &Config,
        inputs: &[TraceInput],
        report: &Report,
    ) -> Option<FaultReport> {
        let bytes: Option<u64> = inputs.iter().map(TraceInput::bytes).sum();
        if bytes.is_none_or(|bytes| bytes > self.faults_max_bytes) || self.faults_max_bytes == 0 {
            return None;
        }
        let mut whole = WholeTraces::new(config);
        for input in inputs {
            // What cannot be read was said when it was read the first time.
            let _broken = whole.read(input, |_| ());
        }
        let recording = Recording::new(whole.finish().traces, config, PROPAGATION_PRIOR);
        let objectives: Vec<Objective> = report
            .baseline_evaluations
            .iter()
            .map(|own| own.objective.clone())
            .collect();
        Some(recording.try_defaults(&objectives))
    }

    /// What is to be done about sampling, where volumes were given.
    fn telemetry(
        &self,
        config: &Config,
        report: &Report,
    ) -> anyhow::Result<Option<Arc<TelemetryRecommendation>>> {
        if self.disable_caat || self.telemetry_volume.is_empty() {
            return Ok(None);
        }
        let is_incident = matches!(report.verdict.verdict, Verdict::Warn | Verdict::Fail);
        let sampling = &config.adapters.sampling;
        let made = of_budgets(&self.telemetry_volume, sampling, is_incident)?;
        Ok(Some(Arc::new(made)))
    }

    fn neighbours(&self) -> Neighbours {
        let mut integrations = BTreeMap::new();
        let mut say = |name: &str, text: String| integrations.insert(name.to_owned(), text);
        if self.disable_caat {
            say("caat", "off: --disable-caat".to_owned());
        } else if self.telemetry_volume.is_empty() {
            let text = "no recommendation: say the volumes of past days with --telemetry-volume";
            say("caat", text.to_owned());
        } else {
            let text = "on: the volumes that were given are forecast and held against their budget";
            say("caat", text.to_owned());
        }
        let root_causes = if self.disable_trag {
            "off: --disable-trag"
        } else {
            "no root causes: they need a time before to compare with; `slo-copilot rca --baseline FILE --incident FILE` does that"
        };
        say("t-rag", root_causes.to_owned());
        let coverage = if self.disable_ebpf {
            "off: --disable-ebpf".to_owned()
        } else if self.expected_signal.is_empty() {
            "no coverage: name what should be there with --expected-signal; the command coverage looks at the traces themselves".to_owned()
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
        if let Some(path) = &self.export_openslo {
            write(path, write::bundle(&documents(report))?.as_bytes())?;
        }
        if let Some(path) = &self.export_openslo_yaml {
            write(path, write::yaml(&documents(report))?.as_bytes())?;
        }
        Ok(())
    }

    /// Merges the objectives into the JSON store, or replaces what it holds.
    fn keep(&self, report: &Report) -> anyhow::Result<()> {
        let Some(path) = &self.slo_store else {
            return Ok(());
        };
        let edit = Edit::new(report.generated_at, Actor::Fit);
        let adopted = report
            .baseline_evaluations
            .iter()
            .map(|status| &status.objective)
            .filter(|objective| objective.source != ObjectiveSource::Fitted)
            .map(|objective| SloRecord::written(RecordState::Adopted, objective.clone(), &edit));
        let suggested = report
            .slo_candidates
            .iter()
            .filter(|candidate| candidate.state != CandidateState::Adopted)
            .map(|candidate| SloRecord::proposed(candidate, &edit));
        let records: Vec<SloRecord> = adopted.chain(suggested).collect();
        anyhow::ensure!(
            !(records.is_empty() && self.store_mode == StoreMode::Replace),
            Usage(format!(
                "there is nothing to replace the SLOs of {} by",
                path.display()
            ))
        );
        let update = store::file::update(path, self.store_mode, &records, &edit)?;
        writeln!(
            stderr(),
            "{}: {} added, {} changed, {} kept, {} removed",
            path.display(),
            update.added.len(),
            update.changed.len(),
            update.kept.len(),
            update.removed.len(),
        )?;
        for (what, names) in [
            ("no longer adopted", update.released),
            (
                "not understood, and not in the rewritten file",
                update.skipped,
            ),
        ] {
            if !names.is_empty() {
                writeln!(stderr(), "  {what}: {}", names.join(", "))?;
            }
        }
        Ok(())
    }

    /// Whether the OpenSLO documents that are to be validated have no error; says what they have.
    fn validate(&self, report: &Report) -> anyhow::Result<bool> {
        let Some(path) = &self.validate_openslo else {
            return Ok(true);
        };
        let file = match path {
            Some(path) => objective_files::read_file(path)?,
            None => SourceFile {
                name: "this report".to_owned(),
                text: write::yaml(&documents(report))?,
            },
        };
        let (name, reading) = (file.name.clone(), read(&[file]));
        let errors = reading
            .findings
            .iter()
            .filter(|finding| finding.level == Level::Error)
            .count();
        show_findings(&reading.findings)?;
        if errors == 0 {
            let count = reading.document_count;
            writeln!(stderr(), "{name}: {count} documents, valid OpenSLO v1")?;
        } else {
            writeln!(stderr(), "{name}: {errors} errors, not valid OpenSLO v1")?;
        }
        Ok(errors == 0)
    }
}

/// The documents of all services, in the order of their names.
fn documents(report: &Report) -> Vec<Document> {
    let by_name = documents_by_name(report);
    by_name.into_values().flatten().collect()
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    disk::replace(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
