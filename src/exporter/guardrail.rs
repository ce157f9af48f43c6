//! Verdicts for gates, `guardrail/verdict.json` over all services and `guardrail/<service>.verdict.json` for each; and the
//! guardrails as policies: `guardrail/policies/<objective>.{cel,rego,promql}` with their `input.json`.

use async_trait::async_trait;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::evaluator::burn_rate::Limits;
use crate::evaluator::composite::gating;
use crate::evaluator::policy::{Policy, composites, objectives, policies};
use crate::exporter::files::names::service_names;
use crate::exporter::files::{OutputDirectory, OutputFile, to_json};
use crate::exporter::{ExportError, Exporter};
use crate::model::report::{ObjectiveStatus, OutputScope, Report, VerdictReport};
use crate::model::slug::{is_rfc1123_label, name_with_hash};

/// Writes the verdicts and the policies.
pub(super) struct GuardrailExporter {
    directory: OutputDirectory,
    limits: Limits,
}

impl GuardrailExporter {
    /// Writes to this directory; `limits` are those that the verdicts come from.
    pub(super) fn new(directory: OutputDirectory, limits: Limits) -> Self {
        Self { directory, limits }
    }
}

#[async_trait]
impl Exporter for GuardrailExporter {
    fn name(&self) -> &'static str {
        "guardrail"
    }

    async fn export(&mut self, report: &Report) -> Result<(), ExportError> {
        let mut files = verdicts(report)?;
        files.extend(policy_files(report, self.limits)?);
        self.directory.publish(self.name(), files).await?;
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

fn verdicts(report: &Report) -> Result<Vec<OutputFile>, ExportError> {
    let json = |path: &str, verdict| {
        let scope = report.scope;
        to_json(path, &VerdictFile { verdict, scope })
    };
    let names = service_names(report);
    let path = "guardrail/verdict.json";
    let mut files = vec![OutputFile::fixed(path, json(path, &report.verdict)?)];
    for verdict in report.service_verdicts() {
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

/// What the policies read of a report: the same keys in a shorter document.
#[derive(Serialize)]
struct PolicyInput<'a> {
    schema_version: &'a str,
    generated_at: jiff::Timestamp,
    scope: OutputScope,
    verdict: &'a VerdictReport,
    objectives: Map<String, Value>,
    composites_by_name: Map<String, Value>,
}

fn policy_files(report: &Report, limits: Limits) -> Result<Vec<OutputFile>, ExportError> {
    if report.baseline_evaluations.is_empty() {
        return Ok(Vec::new());
    }
    let input = PolicyInput {
        schema_version: &report.schema_version,
        generated_at: report.generated_at,
        scope: report.scope,
        verdict: &report.verdict,
        objectives: objectives(&report.baseline_evaluations),
        composites_by_name: composites(&report.composites),
    };
    let path = "guardrail/policies/input.json";
    // It goes with the last objective, so it belongs to none of the fixed files.
    let mut files = vec![OutputFile::of_service(path, to_json(path, &input)?)];
    let statuses = &report.baseline_evaluations;
    let all: Vec<&ObjectiveStatus> = statuses.iter().collect();
    for policy in policies(gating(&all, &report.composites), statuses, limits) {
        let Policy {
            name,
            cel,
            rego,
            promql,
        } = policy;
        let stem = file_stem(&name);
        for (extension, text) in [("cel", cel), ("rego", rego), ("promql", promql)] {
            let path = format!("guardrail/policies/{stem}.{extension}");
            files.push(OutputFile::of_service(path, text));
        }
    }
    Ok(files)
}

/// The objective's name where it is safe as a file's name, else a label that ends in its hash.
fn file_stem(objective: &str) -> String {
    if is_rfc1123_label(objective) {
        objective.to_owned()
    } else {
        name_with_hash(&[objective], &[objective])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluator::objective::tests::status;
    use crate::evaluator::policy::{Input, Language, Source, evaluate};
    use crate::openslo::fixture::report;

    const LIMITS: Limits = Limits {
        error_ratio_max: 0.9,
        min_bad_events: 2,
    };

    async fn written(statuses: Vec<ObjectiveStatus>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let directory = OutputDirectory::new(folder.path().to_owned(), 100);
        let mut exporter = GuardrailExporter::new(directory, LIMITS);
        let mut report = report(7, &[]);
        report.baseline_evaluations = statuses;
        exporter.export(&report).await.unwrap();
        folder
    }

    #[tokio::test]
    async fn the_files_decide_over_the_input_beside_them() {
        let folder = written(vec![status("fine", 0, 1_000), status("spent", 15, 1_000)]).await;
        let policies = folder.path().join("guardrail/policies");
        let read = |name: &str| std::fs::read_to_string(policies.join(name)).unwrap();
        let input = Input::new(&serde_json::from_str(&read("input.json")).unwrap());
        for (objective, allow) in [("fine", true), ("spent", false)] {
            for extension in ["cel", "rego"] {
                let file = format!("{objective}.{extension}");
                let source = Source {
                    file: &file,
                    language: Language::of_file(&file).unwrap(),
                    text: &read(&file),
                };
                assert_eq!(evaluate(source, &input).unwrap().allow, allow, "{file}");
            }
            assert!(read(&format!("{objective}.promql")).contains("increase("));
        }
    }

    #[tokio::test]
    async fn without_objectives_there_are_no_policies() {
        let folder = written(Vec::new()).await;
        assert!(!folder.path().join("guardrail/policies").exists());
    }

    #[test]
    fn a_name_that_is_no_label_never_becomes_a_path() {
        assert_eq!(file_stem("availability-checkout"), "availability-checkout");
        assert_eq!(
            file_stem("../../etc/passwd"),
            name_with_hash(&["../../etc/passwd"], &["../../etc/passwd"])
        );
        assert!(is_rfc1123_label(&file_stem("../../etc/passwd")));
    }
}
