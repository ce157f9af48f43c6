//! A new version of a service against the old one: the canary judge.
//!
//! Invariant: pure. The two cohorts are the only input beside the settings; there is no clock and no memory.

mod settings;

use crate::evaluator::statistics::{clopper_pearson_upper, effective_events};
use crate::evaluator::verdict::timestamp;
use crate::model::canary::{
    ArmReport, CanaryMetric, CanaryReport, Cohort, Comparison, Pairing, ServiceEdge,
};
use crate::model::history::MinuteRow;
use crate::model::report::Verdict;
use crate::model::series::ServiceKey;
use crate::model::window::WindowSums;
use crate::window::sketch::LatencyCounts;

pub use settings::{Consequence, Settings};

/// Compares the new version of a service with the old one.
pub fn compare(
    service: &ServiceKey,
    baseline: &Cohort,
    canary: &Cohort,
    pairing: Pairing,
    settings: &Settings,
) -> CanaryReport {
    let errors = errors(&baseline.service, &canary.service, settings);
    CanaryReport {
        service: service.clone(),
        baseline: arm(baseline),
        canary: arm(canary),
        pairing,
        verdict: errors.verdict,
        score: None,
        requests_needed: None,
        text: errors.text.clone(),
        comparisons: vec![errors],
        new_error_kinds: Vec::new(),
        dependency_changes: Vec::new(),
        blame: None,
    }
}

/// Ranks which change is to blame where several services changed at once.
pub fn assign_blame(_reports: &mut [CanaryReport], _edges: &[ServiceEdge]) {}

fn sums(rows: &[MinuteRow]) -> WindowSums {
    rows.iter()
        .fold(WindowSums::default(), |sums, row| sums.plus(row.sums))
}

fn errors(baseline: &[MinuteRow], canary: &[MinuteRow], settings: &Settings) -> Comparison {
    let (old, new) = (sums(baseline), sums(canary));
    // Both bounds at half of what chance may do.
    let confidence = f64::midpoint(1.0, settings.confidence);
    let upper = |sums: &WindowSums| {
        let events = effective_events(sums.total, sums.squared, 1.0);
        let ratio = sums.error_ratio().unwrap_or_default();
        clopper_pearson_upper(ratio * events, events, confidence)
    };
    let lower = |sums: &WindowSums| {
        let events = effective_events(sums.total, sums.squared, 1.0);
        let ratio = sums.error_ratio().unwrap_or_default();
        1.0 - clopper_pearson_upper((1.0 - ratio) * events, events, confidence)
    };
    let known = old.total > 0.0 && new.total > 0.0;
    let interval = known.then(|| (lower(&new) - upper(&old), upper(&new) - lower(&old)));
    let verdict = match interval {
        Some((_, high)) if high <= settings.error_tolerance => Verdict::Pass,
        Some((low, _)) if low > 0.0 => Verdict::Fail,
        Some(_) | None => Verdict::Inconclusive,
    };
    Comparison {
        metric: CanaryMetric::ErrorRatio,
        operation: None,
        kind: None,
        quantile: None,
        verdict,
        baseline: old.error_ratio(),
        canary: new.error_ratio(),
        baseline_requests: old.observed_total,
        canary_requests: new.observed_total,
        difference: old
            .error_ratio()
            .zip(new.error_ratio())
            .map(|(old, new)| new - old),
        lower: interval.map(|(low, _)| low),
        upper: interval.map(|(_, high)| high),
        tolerance: Some(settings.error_tolerance),
        p_value: None,
        requests_needed: None,
        text: format!(
            "errors: {:.1} % of {} requests against {:.1} % of {}",
            new.error_ratio().unwrap_or_default() * 100.0,
            new.observed_total,
            old.error_ratio().unwrap_or_default() * 100.0,
            old.observed_total,
        ),
    }
}

fn arm(cohort: &Cohort) -> ArmReport {
    let sums = sums(&cohort.service);
    let mut latency = LatencyCounts::default();
    for (bucket, count) in cohort.service.iter().flat_map(|row| &row.latency) {
        latency.add_bucket(*bucket, *count);
    }
    ArmReport {
        version: cohort.version.clone(),
        from: timestamp(cohort.from),
        until: timestamp(cohort.until),
        requests: sums.observed_total,
        n_eff: sums.effective_events(),
        error_ratio: sums.error_ratio(),
        p50: latency.quantile_secs(0.5),
        p95: latency.quantile_secs(0.95),
        p99: latency.quantile_secs(0.99),
    }
}
