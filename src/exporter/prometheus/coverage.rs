//! The families of coverage.

use super::{Family, Labels, service_labels};
use crate::model::report::Report;

/// Covered over expected things, by their kind; `all` is the one that has the target.
const RATIO: &str = "slo_copilot_coverage_ratio";
/// The wanted ratio.
const TARGET: &str = "slo_copilot_coverage_target_ratio";
/// The Instrumentation Score of each service, as far as traces tell it.
const SCORE: &str = "slo_copilot_instrumentation_score";
/// What else is wrong, by its kind.
const FINDINGS: &str = "slo_copilot_coverage_findings";

/// Writes the families; nothing while coverage is off.
pub(super) fn render(page: &mut String, report: &Report) {
    let Some(coverage) = &report.coverage else {
        return;
    };
    let kind = |label: &str| Labels::new(&[("kind", label)]);
    let objective = &coverage.objective;
    let help = "Covered over expected signals, services, edges and workloads; all is all of them together.";
    let mut family = Family::gauge(page, RATIO, help);
    family.optional(&kind("all"), objective.ratio);
    for part in &objective.parts {
        family.optional(&kind(part.kind.label()), part.ratio);
    }
    let help = "Wanted ratio of all together (adapters.coverage.target).";
    let mut family = Family::gauge(page, TARGET, help);
    family.sample("", &kind("all"), objective.target);
    let Some(seen) = &coverage.instrumentation else {
        return;
    };
    let help = "Instrumentation Score of the service by the rules that traces answer, 0 to 100.";
    let mut family = Family::gauge(page, SCORE, help);
    for score in &seen.scores {
        family.optional(&service_labels(&score.service), score.score);
    }
    let help = "What is wrong with the instrumentation beyond the score, by its kind.";
    let mut family = Family::gauge(page, FINDINGS, help);
    for (name, count) in &seen.findings_by_kind {
        family.sample("", &kind(name), *count as f64);
    }
}
