//! Objectives and candidates as OpenSLO v1: `openslo/<service>.yaml` and `openslo/bundle.json`.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::exporter::files::names::service_names;
use crate::exporter::files::{OutputDirectory, OutputFile};
use crate::exporter::{ExportError, Exporter};
use crate::model::report::Report;
use crate::openslo::grouping::objectives_by_service;
use crate::openslo::v1::Document;
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
        let services = documents_by_name(report);
        self.directory
            .render_and_publish(self.name(), move || render(&services))
            .await?;
        Ok(())
    }
}

/// The documents of each service, by the name that stands for it.
pub fn documents_by_name(report: &Report) -> BTreeMap<String, Vec<Document>> {
    let mut names = service_names(report);
    objectives_by_service(report)
        .into_iter()
        .filter_map(|(service, group)| {
            let name = names.remove(&service)?;
            let documents = write::service_documents(&name, &group);
            Some((name, documents))
        })
        .collect()
}

fn render(services: &BTreeMap<String, Vec<Document>>) -> Result<Vec<OutputFile>, ExportError> {
    let path = "openslo/bundle.json";
    let json =
        write::bundle(services.values().flatten()).map_err(|cause| not_rendered(path, cause))?;
    let mut files = vec![OutputFile::fixed(path, json)];
    for (name, documents) in services {
        let path = format!("openslo/{name}.yaml");
        let yaml = write::yaml(documents).map_err(|cause| not_rendered(&path, cause))?;
        files.push(OutputFile::of_service(path, format!("{HEADER}{yaml}")));
    }
    Ok(files)
}

fn not_rendered(what: &str, cause: impl std::error::Error + Send + Sync + 'static) -> ExportError {
    ExportError::Render {
        what: what.to_owned(),
        source: Box::new(cause),
    }
}
