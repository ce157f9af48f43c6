//! Everything that an evaluation found: `report.json`.

use async_trait::async_trait;

use crate::exporter::files::{OutputDirectory, OutputFile, to_json};
use crate::exporter::{ExportError, Exporter};
use crate::model::report::Report;

/// Writes the report.
pub(super) struct ReportExporter {
    directory: OutputDirectory,
}

impl ReportExporter {
    /// Writes to this directory.
    pub(super) fn new(directory: OutputDirectory) -> Self {
        Self { directory }
    }
}

#[async_trait]
impl Exporter for ReportExporter {
    fn name(&self) -> &'static str {
        "report"
    }

    async fn export(&mut self, report: &Report) -> Result<(), ExportError> {
        let path = "report.json";
        let file = OutputFile::fixed(path, to_json(path, report)?);
        self.directory.publish(self.name(), vec![file]).await?;
        Ok(())
    }
}
