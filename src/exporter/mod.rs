//! Reports out: the seam that every exporter implements, and the loop that drives one.
//!
//! Each exporter runs in a task of its own and sees the newest report, so a slow one skips reports and holds up nobody.
//! To add one: a file with its `impl Exporter`, a field of [`Config`], a line in [`build`].

pub mod ci;
pub mod files;
mod guardrail;
pub mod markup;
pub mod openslo;
mod report;
pub mod rules;
mod sampling;
pub mod slo_export;
pub mod topology;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::error;

use crate::evaluator::burn_rate::Limits;
use crate::exporter::files::OutputDirectory;
use crate::exporter::guardrail::GuardrailExporter;
use crate::exporter::openslo::OpenSloExporter;
use crate::exporter::report::ReportExporter;
use crate::exporter::rules::{RulesConfig, RulesExporter};
pub use crate::exporter::sampling::SamplingConfig;
use crate::exporter::sampling::SamplingExporter;
use crate::forward;
use crate::model::report::{OutputScope, Report};
use crate::telemetry::ExporterCounters;

/// Hands reports to somebody outside.
#[async_trait]
pub trait Exporter: Send {
    /// As in logs and the `exporter` label.
    fn name(&self) -> &'static str;

    /// Called with the newest report, never twice at a time.
    ///
    /// The future is dropped when it takes longer than the timeout of [`run`]; the next call may follow at once.
    async fn export(&mut self, report: &Report) -> Result<(), ExportError>;
}

/// Why a report did not get out. The next report is the next attempt.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file system refused.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried, for example `write`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The report has no form in this format.
    #[error("cannot render {what}")]
    Render {
        /// The file or message.
        what: String,
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The thread that writes files stopped.
    #[error("the thread that writes files stopped")]
    Interrupted(#[source] tokio::task::JoinError),
}

/// `exporters`: which files are written, and where spans go on to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `openslo/<service>.yaml` and `openslo/bundle.json`: objectives and candidates as OpenSLO v1.
    pub openslo: FileExporterConfig,
    /// `guardrail/verdict.json` and `guardrail/<service>.verdict.json`: the verdicts that gates read.
    /// `guardrail/policies/<objective>.{cel,rego,promql}`: the guardrails as policies over `input.json` beside them.
    pub guardrail: FileExporterConfig,
    /// `prometheus/<service>.rules.yaml`: recording and alerting rules of adopted objectives.
    pub rules: RulesConfig,
    /// `sampling/plan.json`, `sampling/sdk.env`, `sampling/collector-{probabilistic,tail}.yaml`: the plan of sampling, once
    /// there is one.
    pub sampling: SamplingConfig,
    /// `report.json`: everything that the last evaluation found.
    pub report: FileExporterConfig,
    /// Spans on to a backend.
    pub forward: forward::Config,
}

/// Settings of an exporter that writes to the output directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileExporterConfig {
    /// Whether its files are written; default true. When false, files of an earlier run stay as they are.
    pub enabled: bool,
}

impl Default for FileExporterConfig {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// `output`: where files go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutputConfig {
    /// The output directory, made when it is missing; default `./slo-copilot-out`, seen from the working directory.
    /// It must belong to one running program: two would remove each other's files.
    pub dir: PathBuf,
    /// `instance` (default): files speak for this instance, as a sidecar's do. `service`: they speak for the whole
    /// service, as a gateway's do. The files say which.
    pub scope: OutputScope,
}

impl Default for OutputConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("./slo-copilot-out"),
            scope: OutputScope::default(),
        }
    }
}

/// `limits`: how much is written, and kept for those who ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Most files in the output directory that come and go with services and objectives, over all exporters; default 1000.
    /// An objective has three policies. Further files are refused and counted in
    /// `slo_copilot_exporter_refused_files_total`.
    /// 0 writes only the files that speak for all services.
    pub output_files: usize,
    /// Most canary analyses that are kept for `/api/v1/kayenta`, at least 1; default 1000. The oldest go, those that are
    /// complete first, and are counted in `slo_copilot_kayenta_dropped_executions_total`.
    pub canary_executions: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            output_files: 1000,
            canary_executions: 1000,
        }
    }
}

/// The exporters that are enabled; `rules` bound the burn-rate rules that policies state. Nothing is written before the
/// first report.
pub fn build(
    config: &Config,
    output: &OutputConfig,
    limits: &LimitsConfig,
    rules: Limits,
) -> Vec<Box<dyn Exporter>> {
    let Config {
        openslo,
        guardrail,
        rules: rules_config,
        sampling,
        report,
        // It takes spans, not reports.
        forward: _,
    } = config;
    let directory = OutputDirectory::new(output.dir.clone(), limits.output_files);
    let mut exporters: Vec<Box<dyn Exporter>> = Vec::new();
    if openslo.enabled {
        exporters.push(Box::new(OpenSloExporter::new(directory.clone())));
    }
    if guardrail.enabled {
        exporters.push(Box::new(GuardrailExporter::new(directory.clone(), rules)));
    }
    if rules_config.enabled {
        let directory = directory.clone();
        exporters.push(Box::new(RulesExporter::new(directory, rules_config, rules)));
    }
    if sampling.enabled {
        exporters.push(Box::new(SamplingExporter::new(directory.clone(), sampling)));
    }
    if report.enabled {
        exporters.push(Box::new(ReportExporter::new(directory)));
    }
    exporters
}

/// Help texts of this module's metrics, for the recorder that is installed.
pub fn describe() {
    files::describe();
}

/// Exports each report that is the newest when the exporter is free, until the sender is gone and the last report is out.
///
/// An export that takes longer than `limit` is given up; like an error it is logged and counted.
pub async fn run(
    mut exporter: Box<dyn Exporter>,
    mut reports: watch::Receiver<Option<Arc<Report>>>,
    limit: Duration,
) {
    let name = exporter.name();
    // All outcomes exist from the start: increase() does not see a counter that is born with its first error.
    let counters = ExporterCounters::new(name);

    reports.mark_changed();
    while reports.changed().await.is_ok() {
        let Some(report) = reports.borrow_and_update().clone() else {
            continue;
        };
        match timeout(limit, exporter.export(&report)).await {
            Ok(Ok(())) => counters.ok.increment(1),
            Ok(Err(cause)) => {
                counters.error.increment(1);
                let cause: &(dyn Error + 'static) = &cause;
                error!(
                    message = "Report not exported.",
                    exporter = name,
                    error = cause
                );
            }
            Err(_elapsed) => {
                counters.timeout.increment(1);
                error!(
                    message = "Report not exported in time.",
                    exporter = name,
                    timeout_secs = limit.as_secs_f64(),
                );
            }
        }
    }
}

pub mod prometheus;
#[cfg(test)]
pub(crate) mod schema;
#[cfg(test)]
mod tests;
