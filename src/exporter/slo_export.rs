//! The SLO export: suggested and adopted objectives as a flat list for other programs.
//!
//! One entry an objective, in the form `metric comparator threshold over window_days`; `schema/slo_export.schema.json`
//! describes it.

use serde::Serialize;

use crate::model::candidate::{Candidate, CandidateState, Evidence};
use crate::model::report::Report;
use crate::model::slo::{Objective, ObjectiveSource, Sli};

/// Version of the JSON shape of [`SloExport`].
pub const SLO_EXPORT_SCHEMA_VERSION: &str = "slo-copilot/slo-export/v1";

/// Objectives for other programs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SloExport<'a> {
    /// Version of this shape.
    #[cfg_attr(test, schemars(extend("const" = SLO_EXPORT_SCHEMA_VERSION)))]
    pub schema_version: &'static str,
    /// When, RFC 3339.
    pub generated_at: jiff::Timestamp,
    /// The adopted objectives, then the candidates.
    pub slos: Vec<ExportedSlo<'a>>,
}

/// One objective.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ExportedSlo<'a> {
    /// RFC 1123 label.
    pub name: &'a str,
    /// `service.name`.
    pub service: &'a str,
    /// `service.namespace`; null means any.
    pub namespace: Option<&'a str>,
    /// `deployment.environment.name`; null means any.
    pub environment: Option<&'a str>,
    /// One operation; null means the whole service.
    pub operation: Option<&'a str>,
    /// What holds.
    pub target: ExportedTarget,
    /// `adopted`, or how far the candidate has come.
    pub state: CandidateState,
    /// What is missing until a candidate is ready.
    pub missing: &'a [String],
    /// Why a candidate may be believed; null for an adopted objective.
    pub evidence: Option<&'a Evidence>,
}

/// `metric comparator threshold`, for `objective_ratio` of the events over `window_days`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ExportedTarget {
    /// `availability`, `error_rate` or `latency`.
    #[cfg_attr(test, schemars(extend("enum" = ["availability", "error_rate", "latency"])))]
    pub metric: &'static str,
    /// `>=` or `<=`.
    #[cfg_attr(test, schemars(extend("enum" = [">=", "<="])))]
    pub comparator: &'static str,
    /// Ratio of events; for latency milliseconds.
    pub threshold: f64,
    /// `ratio` or `ms`.
    #[cfg_attr(test, schemars(extend("enum" = ["ratio", "ms"])))]
    pub unit: &'static str,
    /// Latency: the ratio of events that must be within the threshold; null otherwise.
    pub objective_ratio: Option<f64>,
    /// Length of the period in days.
    pub window_days: f64,
}

impl<'a> SloExport<'a> {
    /// The objectives of a report. Objectives that are candidates in disguise appear once, as candidates.
    pub fn of(report: &'a Report) -> Self {
        let adopted = report
            .baseline_evaluations
            .iter()
            .map(|status| &status.objective)
            .filter(|objective| objective.source != ObjectiveSource::Fitted)
            .map(adopted);
        let open = |candidate: &&Candidate| candidate.state != CandidateState::Adopted;
        let suggested = report.slo_candidates.iter().filter(open).map(suggested);
        Self {
            schema_version: SLO_EXPORT_SCHEMA_VERSION,
            generated_at: report.generated_at,
            slos: adopted.chain(suggested).collect(),
        }
    }
}

fn adopted(objective: &Objective) -> ExportedSlo<'_> {
    ExportedSlo {
        name: &objective.name,
        service: &objective.service,
        namespace: objective.namespace.as_deref(),
        environment: objective.environment.as_deref(),
        operation: objective.operation.as_deref(),
        target: target(objective.sli, objective.target, objective.window.secs()),
        state: CandidateState::Adopted,
        missing: &[],
        evidence: None,
    }
}

fn suggested(candidate: &Candidate) -> ExportedSlo<'_> {
    ExportedSlo {
        name: &candidate.name,
        service: &candidate.service.name,
        namespace: Some(&candidate.service.namespace),
        environment: Some(&candidate.service.environment),
        operation: candidate.operation.as_deref(),
        target: target(candidate.sli, candidate.target, candidate.window.secs()),
        state: candidate.state,
        missing: &candidate.missing,
        evidence: Some(&candidate.evidence),
    }
}

fn target(sli: Sli, ratio: f64, window_secs: u64) -> ExportedTarget {
    let window_days = window_secs as f64 / 86_400.0;
    let of = |metric, comparator| ExportedTarget {
        metric,
        comparator,
        threshold: ratio,
        unit: "ratio",
        objective_ratio: None,
        window_days,
    };
    match sli {
        Sli::Availability => of("availability", ">="),
        Sli::ErrorRate => of("error_rate", "<="),
        Sli::Latency { threshold_micros } => ExportedTarget {
            metric: "latency",
            comparator: "<=",
            threshold: threshold_micros as f64 / 1e3,
            unit: "ms",
            objective_ratio: Some(ratio),
            window_days,
        },
    }
}
