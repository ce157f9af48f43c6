//! Objectives and candidates as OpenSLO v1: `openslo/<service>.yaml` and `openslo/bundle.json`.

use async_trait::async_trait;

use crate::exporter::files::names::service_names;
use crate::exporter::files::{OutputDirectory, OutputFile};
use crate::exporter::{ExportError, Exporter};
use crate::model::report::Report;
use crate::openslo::grouping::objectives_by_service;
use crate::openslo::write;

const HEADER: &str = "\
# Written by slo-copilot and overwritten when its objectives or candidates change.
# Only SLOs with the annotation slo-copilot.dev/state: adopted are agreed on.
";

/// Writes the documents of all services.
pub(super) struct OpenSloExporter {
    directory: OutputDirectory,
}

impl OpenSloExporter {
    /// Writes to this directory.
    pub(super) fn new(directory: OutputDirectory) -> Self {
        Self { directory }
    }
}

#[async_trait]
impl Exporter for OpenSloExporter {
    fn name(&self) -> &'static str {
        "openslo"
    }

    async fn export(&mut self, report: &Report) -> Result<(), ExportError> {
        self.directory.publish(self.name(), render(report)?).await?;
        Ok(())
    }
}

fn render(report: &Report) -> Result<Vec<OutputFile>, ExportError> {
    let names = service_names(report);
    let mut bundle = Vec::new();
    let mut files = Vec::new();
    for (service, group) in objectives_by_service(report) {
        let Some(name) = names.get(&service) else {
            continue;
        };
        let documents = write::service_documents(name, &group);
        let path = format!("openslo/{name}.yaml");
        match write::yaml(&documents) {
            Ok(yaml) => files.push(OutputFile::of_service(path, format!("{HEADER}{yaml}"))),
            Err(cause) => return Err(not_rendered(path, cause)),
        }
        bundle.extend(documents);
    }
    let path = "openslo/bundle.json".to_owned();
    match write::bundle(&bundle) {
        Ok(json) => files.push(OutputFile::fixed(path, json)),
        Err(cause) => return Err(not_rendered(path, cause)),
    }
    Ok(files)
}

fn not_rendered(
    what: String,
    cause: impl std::error::Error + Send + Sync + 'static,
) -> ExportError {
    ExportError::Render {
        what,
        source: Box::new(cause),
    }
}
