//! Reports for the tests of documents and exporters.

use std::collections::BTreeMap;

use crate::model::candidate::{Candidate, CandidateState, Evidence};
use crate::model::report::{
    ErrorBudget, ObjectiveStatus, OutputScope, REPORT_SCHEMA_VERSION, Report, SeriesUsage,
    ServiceReport, Verdict, VerdictEvidence, VerdictReport,
};
use crate::model::series::ServiceKey;
use crate::model::slo::{Objective, Sli};
use crate::model::window::Window;

/// A service with all three parts of its identity.
pub(crate) fn service(namespace: &str, environment: &str, name: &str) -> ServiceKey {
    ServiceKey {
        namespace: namespace.into(),
        environment: environment.into(),
        name: name.into(),
    }
}

/// A report of these services, without objectives, `second` seconds after the epoch.
pub(crate) fn report(second: i64, services: &[ServiceKey]) -> Report {
    let generated_at = jiff::Timestamp::from_second(second).unwrap();
    Report {
        schema_version: REPORT_SCHEMA_VERSION.to_owned(),
        generated_at,
        now: u64::try_from(second).unwrap() * 1_000_000_000,
        scope: OutputScope::Instance,
        slo_candidates: Vec::new(),
        baseline_evaluations: Vec::new(),
        composites: Vec::new(),
        canaries: Vec::new(),
        test_results: None,
        fault_cases: None,
        coverage: None,
        input: None,
        telemetry_recommendation: None,
        sampling: None,
        assumed_sampling: Vec::new(),
        rca: None,
        policy_snippets: BTreeMap::new(),
        integrations: BTreeMap::new(),
        verdict: verdict(generated_at, None),
        verdicts: services
            .iter()
            .map(|service| verdict(generated_at, Some(service.clone())))
            .collect(),
        services: services.iter().cloned().map(service_report).collect(),
        series: SeriesUsage::default(),
        operation_counters: Vec::new(),
        service_counters: Vec::new(),
    }
}

/// An adopted availability objective of any service of this name.
pub(crate) fn availability(name: &str, service: &str, target: f64) -> Objective {
    Objective::new(name, service, Sli::Availability, target)
}

/// A latency candidate.
pub(crate) fn latency_candidate(
    name: &str,
    service: &ServiceKey,
    state: CandidateState,
) -> Candidate {
    Candidate {
        name: name.to_owned(),
        service: service.clone(),
        operation: Some("GET /users/{id}".to_owned()),
        sli: Sli::Latency {
            threshold_micros: 300_000,
        },
        target: 0.99,
        window: Window::D30,
        state,
        missing: vec!["14 days of history (has 2.0)".to_owned()],
        evidence: Evidence {
            events: 12_345,
            effective_events: 4_115.0,
            over_dispersion: 3.0,
            slices_with_traffic: 570,
            history_secs: 172_800,
            coverage_ratio: 0.99,
            method: "order statistics".to_owned(),
            confidence: 0.95,
            measured: 0.2511,
            bound: 0.2874,
            sampling: "full".to_owned(),
            incidents: 0,
            incidents_per_day_upper: 1.5,
            ..Evidence::default()
        },
    }
}

/// An objective as the evaluator reports it.
pub(crate) fn status(objective: Objective) -> ObjectiveStatus {
    ObjectiveStatus {
        objective,
        state: Verdict::Pass,
        text: "holds".to_owned(),
        windows: Vec::new(),
        burn_rates: Vec::new(),
        budget: ErrorBudget {
            remaining_ratio: Some(0.75),
            allowed_bad: 4.0,
            bad: 1.0,
            total: 4_000.0,
            observed_bad: 1,
            ..ErrorBudget::default()
        },
        slices: None,
        policy: None,
        good_events: 3_999.0,
        bad_events: 1.0,
    }
}

fn service_report(service: ServiceKey) -> ServiceReport {
    ServiceReport {
        service,
        versions: Vec::new(),
        windows: Vec::new(),
        latency: Vec::new(),
        operations: Vec::new(),
        operations_omitted: 0,
    }
}

fn verdict(generated_at: jiff::Timestamp, service: Option<ServiceKey>) -> VerdictReport {
    VerdictReport {
        verdict: Verdict::Pass,
        ok: true,
        score: Some(100.0),
        service,
        version: None,
        window: None,
        reasons: Vec::new(),
        undecided: Vec::new(),
        evidence: VerdictEvidence {
            spans: 4_000,
            traces: None,
            n_eff: 4_000.0,
        },
        action: None,
        generated_at,
    }
}
