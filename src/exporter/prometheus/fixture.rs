//! Hand-made reports for the tests of the metrics page and of the admin endpoint.

use std::collections::BTreeMap;

use crate::model::canary::{ArmReport, CanaryReport, Pairing};
use crate::model::candidate::{Candidate, CandidateState, Evidence};
use crate::model::report::{
    BurnRateCheck, CompositeStatus, DurationCounters, ErrorBudget, MemberStatus, ObjectiveStatus,
    OutcomeDurations, OutputScope, REPORT_SCHEMA_VERSION, Reason, Report, SeriesCounters,
    SeriesUsage, ServiceReport, Severity, Verdict, VerdictEvidence, VerdictReport, VersionReport,
    WindowSli,
};
use crate::model::series::ServiceKey;
use crate::model::slo::{Objective, Sli};
use crate::model::span::SpanKind;
use crate::model::window::{LATENCY_LADDER_MICROS, Window, WindowSums};

/// The instant of every report here.
pub(crate) fn generated_at() -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_790_000_000).unwrap()
}

/// A report of `checkout`, whose budget burns, and of `search`, of which nothing is adopted.
pub(crate) fn report() -> Report {
    let checkout = ServiceKey::named("checkout");
    let search = ServiceKey::named("search");
    Report {
        schema_version: REPORT_SCHEMA_VERSION.to_owned(),
        generated_at: generated_at(),
        now: 1_790_000_000_000_000_000,
        scope: OutputScope::Instance,
        slo_candidates: vec![candidate("availability-search", &search)],
        baseline_evaluations: vec![objective_status("availability-checkout", "checkout")],
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
        verdict: verdict(None, Verdict::Fail),
        verdicts: vec![
            verdict(Some(checkout.clone()), Verdict::Fail),
            verdict(Some(search.clone()), Verdict::Inconclusive),
        ],
        services: vec![service(&checkout), service(&search)],
        series: SeriesUsage {
            held: 4,
            limit: 10_000,
            demand: 4,
        },
        operation_counters: vec![
            counters(&checkout, "POST /orders", (900.0, 100.0)),
            counters(&search, "GET /search", (12.5, 0.0)),
        ],
        service_counters: vec![
            with_durations(counters(&checkout, "", (900.0, 100.0))),
            with_durations(counters(&search, "", (12.5, 0.0))),
        ],
    }
}

/// A service with one version and one window.
pub(crate) fn service(key: &ServiceKey) -> ServiceReport {
    ServiceReport {
        service: key.clone(),
        versions: vec![VersionReport {
            version: "1.4.0".to_owned(),
            windows: vec![window_sli(Window::H1, 1_000.0, 100.0)],
            latency: Vec::new(),
        }],
        windows: vec![window_sli(Window::H1, 1_000.0, 100.0)],
        latency: Vec::new(),
        operations: Vec::new(),
        operations_omitted: 0,
    }
}

/// A verdict with one reason, or for an inconclusive one with one undecided objective.
pub(crate) fn verdict(service: Option<ServiceKey>, verdict: Verdict) -> VerdictReport {
    let reason = Reason {
        source: "burn_rate".to_owned(),
        name: "availability-checkout".to_owned(),
        window: Some("1h/5m".to_owned()),
        observed: Some(100.0),
        limit: Some(14.4),
        text: "burn rate 100 over 1h and 5m is above 14.4".to_owned(),
    };
    let inconclusive = verdict == Verdict::Inconclusive;
    let (reasons, undecided) = if inconclusive {
        (Vec::new(), vec![reason])
    } else {
        (vec![reason], Vec::new())
    };
    VerdictReport {
        verdict,
        ok: matches!(verdict, Verdict::Pass | Verdict::Warn),
        score: (!inconclusive).then_some(0.0),
        service,
        version: None,
        window: None,
        reasons,
        undecided,
        evidence: VerdictEvidence {
            spans: 1_000,
            traces: Some(400),
            n_eff: 950.5,
        },
        action: None,
        generated_at: generated_at(),
    }
}

/// A 99.9 % availability objective that burns a hundredfold for an hour and has seen nothing in the
/// last five minutes.
pub(crate) fn objective_status(name: &str, service: &str) -> ObjectiveStatus {
    let quiet = WindowSli {
        window: Window::M5,
        sums: WindowSums::default(),
        error_ratio: None,
    };
    ObjectiveStatus {
        objective: Objective::new(name, service, Sli::Availability, 0.999),
        state: Verdict::Fail,
        text: "the error budget is spent".to_owned(),
        windows: vec![quiet, window_sli(Window::H1, 1_000.0, 100.0)],
        burn_rates: vec![BurnRateCheck {
            severity: Severity::Page,
            factor: 14.4,
            long_window: Window::H1,
            short_window: Window::M5,
            error_ratio_limit: 0.0144,
            capped: false,
            long_burn_rate: Some(100.0),
            short_burn_rate: None,
            firing: false,
        }],
        budget: ErrorBudget {
            remaining_ratio: Some(-99.0),
            allowed_bad: 1.0,
            bad: 100.0,
            total: 1_000.0,
            observed_bad: 100,
            ..ErrorBudget::default()
        },
        slices: None,
        policy: None,
        good_events: 900.0,
        bad_events: 100.0,
    }
}

/// A composite that stands as [`objective_status`] does, of one member a service.
pub(crate) fn composite(name: &str, services: &[&str]) -> CompositeStatus {
    let status = objective_status(name, "checkout");
    let members = services.iter().map(|service| MemberStatus {
        name: format!("availability-{service}"),
        weight: 1.0,
        state: Verdict::Fail,
        remaining_ratio: Some(-99.0),
    });
    CompositeStatus {
        name: name.to_owned(),
        services: services.iter().map(|&service| service.to_owned()).collect(),
        members: members.collect(),
        budgeting: status.objective.budgeting,
        window: status.objective.window,
        target: status.objective.target,
        required: false,
        weight: 1.0,
        state: status.state,
        text: status.text,
        windows: status.windows,
        burn_rates: status.burn_rates,
        budget: status.budget,
        slices: None,
        policy: None,
    }
}

/// A comparison of two versions that found this, without its parts.
pub(crate) fn canary(
    service: &str,
    baseline: &str,
    version: &str,
    verdict: Verdict,
) -> CanaryReport {
    let arm = |version: &str| ArmReport {
        version: version.to_owned(),
        from: generated_at(),
        until: generated_at(),
        requests: 1_000,
        n_eff: 1_000.0,
        ..ArmReport::default()
    };
    CanaryReport {
        service: ServiceKey::named(service),
        baseline: arm(baseline),
        canary: arm(version),
        pairing: Pairing::Concurrent,
        verdict,
        score: (verdict != Verdict::Inconclusive).then_some(25.0),
        requests_needed: None,
        comparisons: Vec::new(),
        new_error_kinds: Vec::new(),
        dependency_changes: Vec::new(),
        blame: None,
        text: format!("version {version} against {baseline}: {}", verdict.label()),
    }
}

/// A provisional availability candidate.
pub(crate) fn candidate(name: &str, service: &ServiceKey) -> Candidate {
    Candidate {
        name: name.to_owned(),
        service: service.clone(),
        operation: None,
        sli: Sli::Availability,
        target: 0.99,
        window: Window::D30,
        state: CandidateState::Provisional,
        missing: vec!["14 days of history".to_owned()],
        evidence: Evidence {
            events: 13,
            effective_events: 12.5,
            over_dispersion: 1.0,
            slices_with_traffic: 1,
            history_secs: 60,
            coverage_ratio: 1.0,
            method: "clopper-pearson".to_owned(),
            confidence: 0.95,
            measured: 1.0,
            bound: 0.99,
            sampling: "full".to_owned(),
            incidents: 0,
            incidents_per_day_upper: 4_000.0,
            ..Evidence::default()
        },
    }
}

/// A window with these adjusted counts, every event weighing 1.
pub(crate) fn window_sli(window: Window, total: f64, bad: f64) -> WindowSli {
    let sums = WindowSums {
        total,
        bad,
        squared: total,
        ..WindowSums::default()
    };
    WindowSli {
        window,
        sums,
        error_ratio: sums.error_ratio(),
    }
}

/// Counters without histograms; `counts` are (ok, error).
pub(crate) fn counters(
    service: &ServiceKey,
    operation: &str,
    counts: (f64, f64),
) -> SeriesCounters {
    SeriesCounters {
        service: service.clone(),
        operation: operation.to_owned(),
        kind: SpanKind::Server,
        ok: counts.0,
        error: counts.1,
        durations: None,
    }
}

/// The same counters with histograms: one ok event in each bucket, the last beyond the ladder, and
/// no error.
pub(crate) fn with_durations(counters: SeriesCounters) -> SeriesCounters {
    let histogram = |count, sum_secs| DurationCounters {
        buckets: vec![count; LATENCY_LADDER_MICROS.len() + 1],
        sum_secs,
    };
    SeriesCounters {
        durations: Some(OutcomeDurations {
            ok: histogram(1, 201.25),
            error: histogram(0, 0.0),
        }),
        ..counters
    }
}
