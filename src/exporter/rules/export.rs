//! The exporter of rules: `prometheus/<service>.rules.yaml` for adopted objectives.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use tracing::{error, info};

use crate::evaluator::burn_rate::Limits;
use crate::exporter::files::{OutputDirectory, OutputFile};
use crate::exporter::openslo::documents_by_name;
use crate::exporter::rules::{Format, Placement, Problem, RuleSet};
use crate::exporter::{ExportError, Exporter};
use crate::model::finding::Level;
use crate::model::report::Report;
use crate::openslo::v1::Document;

const HEADER: &str = "\
# Written by slo-copilot and overwritten when its objectives change.
# Budgets need a Prometheus that keeps data for their period (--storage.tsdb.retention.time) and evaluates at least every 5m.
";

/// `exporters.rules`: which rules are written, and in which form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RulesConfig {
    /// Whether its files are written; default true. When false, files of an earlier run stay as they are.
    pub enabled: bool,
    /// `prometheus` (default): for `rule_files`. `operator`: objects of kind `PrometheusRule`.
    pub format: Format,
    /// Namespace of a `PrometheusRule`; none by default.
    pub namespace: Option<String>,
    /// Labels of a `PrometheusRule`, by which an operator selects rules; none by default.
    pub labels: BTreeMap<String, String>,
}

impl Default for RulesConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            format: Format::default(),
            namespace: None,
            labels: BTreeMap::new(),
        }
    }
}

/// Writes the rules of all services.
pub(in crate::exporter) struct RulesExporter {
    directory: OutputDirectory,
    format: Format,
    placement: Placement,
    limits: Limits,
    /// What was said already, so that it is said once.
    said: BTreeSet<String>,
    /// The documents of the last report and their files: making these anew would parse every expression of them.
    rendered: Option<Rendered>,
}

/// Documents by the name of their service, and the files that they became.
struct Rendered {
    services: BTreeMap<String, Vec<Document>>,
    files: Vec<OutputFile>,
}

impl RulesExporter {
    /// Writes to this directory; `limits` are those of the verdicts.
    pub(in crate::exporter) fn new(
        directory: OutputDirectory,
        config: &RulesConfig,
        limits: Limits,
    ) -> Self {
        Self {
            directory,
            format: config.format,
            placement: Placement {
                namespace: config.namespace.clone(),
                labels: config.labels.clone(),
            },
            limits,
            said: BTreeSet::new(),
            rendered: None,
        }
    }

    /// The files of these documents.
    async fn files(
        &mut self,
        services: BTreeMap<String, Vec<Document>>,
    ) -> Result<Vec<OutputFile>, ExportError> {
        if let Some(rendered) = &self.rendered
            && rendered.services == services
        {
            return Ok(rendered.files.clone());
        }
        let documents: Vec<&Document> = services.values().flatten().collect();
        let (rules, problems) = RuleSet::of(&documents, self.limits);
        self.say(&problems);
        let (format, placement) = (self.format, self.placement.clone());
        let rendered = spawn_blocking(move || render(&rules, format, &placement));
        let files = rendered.await.map_err(ExportError::Interrupted)??;
        self.rendered = Some(Rendered {
            services,
            files: files.clone(),
        });
        Ok(files)
    }

    fn say(&mut self, problems: &[Problem]) {
        for problem in problems {
            // Candidates are suggestions by their nature.
            if problem.rule.level != Level::Note && self.said.insert(problem.message.clone()) {
                let (rule, message) = (problem.rule.id, &problem.message);
                info!(
                    message = "An objective has no Prometheus rules, or not all.",
                    rule,
                    reason = message
                );
            }
        }
    }
}

#[async_trait]
impl Exporter for RulesExporter {
    fn name(&self) -> &'static str {
        "rules"
    }

    async fn export(&mut self, report: &Report) -> Result<(), ExportError> {
        let files = self.files(documents_by_name(report)).await?;
        self.directory.publish(self.name(), files).await?;
        Ok(())
    }
}

fn render(
    rules: &RuleSet,
    format: Format,
    placement: &Placement,
) -> Result<Vec<OutputFile>, ExportError> {
    let mut files = Vec::new();
    for service in rules.services() {
        let path = format!("prometheus/{service}.rules.yaml");
        let groups = rules.groups(Some(service));
        let defects = groups.defects();
        if !defects.is_empty() {
            // Prometheus would refuse the file with every rule in it.
            error!(
                message = "Rules are not written: this is a defect.",
                path,
                ?defects
            );
            continue;
        }
        let yaml = match format {
            Format::Prometheus => groups.to_yaml(),
            Format::Operator => groups.to_operator_yaml(service, placement),
        };
        let yaml = yaml.map_err(|cause| ExportError::Render {
            what: path.clone(),
            source: Box::new(cause),
        })?;
        files.push(OutputFile::of_service(path, format!("{HEADER}{yaml}")));
    }
    Ok(files)
}
