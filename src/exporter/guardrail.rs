//! Verdicts for gates: `guardrail/verdict.json` over all services and `guardrail/<service>.verdict.json` for each.

use async_trait::async_trait;
use serde::Serialize;

use crate::exporter::files::names::service_names;
use crate::exporter::files::{OutputDirectory, OutputFile, to_json};
use crate::exporter::{ExportError, Exporter};
use crate::model::report::{OutputScope, Report, VerdictReport};

/// Writes the verdicts.
pub(super) struct GuardrailExporter {
    directory: OutputDirectory,
}

impl GuardrailExporter {
    /// Writes to this directory.
    pub(super) fn new(directory: OutputDirectory) -> Self {
        Self { directory }
    }
}

#[async_trait]
impl Exporter for GuardrailExporter {
    fn name(&self) -> &'static str {
        "guardrail"
    }

    async fn export(&mut self, report: &Report) -> Result<(), ExportError> {
        self.directory.publish(self.name(), render(report)?).await?;
        Ok(())
    }
}

/// A verdict that says whose view it is.
#[derive(Serialize)]
struct VerdictFile<'a> {
    #[serde(flatten)]
    verdict: &'a VerdictReport,
    scope: OutputScope,
}

fn render(report: &Report) -> Result<Vec<OutputFile>, ExportError> {
    let json = |path: &str, verdict| {
        let scope = report.scope;
        to_json(path, &VerdictFile { verdict, scope })
    };
    let names = service_names(report);
    let path = "guardrail/verdict.json";
    let mut files = vec![OutputFile::fixed(path, json(path, &report.verdict)?)];
    for verdict in &report.verdicts {
        if let Some(name) = verdict
            .service
            .as_ref()
            .and_then(|service| names.get(service))
        {
            let path = format!("guardrail/{name}.verdict.json");
            let content = json(&path, verdict)?;
            files.push(OutputFile::of_service(path, content));
        }
    }
    Ok(files)
}
