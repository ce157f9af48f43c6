//! A new version of a service against the old one: the canary judge.
//!
//! The way of two cohorts to a verdict:
//!
//! 1. `strata`: both arms side by side, minute by minute, so that what hits both alike cancels out; how much their counts
//!    scatter says what they are worth.
//! 2. `counts`: errors, by the exact conditional test; `distribution`: durations, by Mann–Whitney's U and the Hodges–Lehmann
//!    shift, and their tail quantiles by order statistics.
//! 3. `spending` and `correction`: the probability of failing a release that changed nothing is divided among the comparisons,
//!    and of each among all looks: a verdict may be asked for at any time.
//! 4. `judge`: the verdict on each comparison, for the service and for each of its operations.
//! 5. `kinds`: ways of failing and dependencies that only one version has.
//! 6. `blame`: where several services changed at once, which of the changes it was.
//!
//! Fail: worse beyond chance, and by more than is tolerated as far as is seen. Pass: the upper bound of the difference is within
//! the tolerance. Else inconclusive, with the requests that are still needed. A comparison can fail on far less than
//! it needs to pass.
//!
//! Invariant: pure. The two cohorts are the only input beside the settings; there is no clock and no memory of earlier looks.

#![doc = include_str!("study.md")]

mod blame;
mod correction;
mod counts;
mod distribution;
mod judge;
mod kinds;
mod settings;
mod spending;
mod strata;
mod text;

use crate::evaluator::verdict::timestamp;
use crate::model::canary::{
    ArmReport, CanaryMetric, CanaryReport, Cohort, Comparison, DependencyChange, NewErrorKind,
    OperationCohort, Pairing,
};
use crate::model::report::Verdict;
use crate::model::series::ServiceKey;
use crate::window::sketch::LatencyCounts;

pub use blame::assign_blame;
pub use settings::{Consequence, Settings};

use correction::Shares;
use distribution::Scale;
use judge::{Judge, Series, sums_of};
use kinds::{Traffic, dependency_changes, new_error_kinds, verdict_of};

/// Weights of the score: of the service's errors, latency and tail quantiles together.
const SCORE_WEIGHTS: [f64; 3] = [4.0, 2.0, 1.0];

/// Weight in the score of all operations together, against 7 of the service.
const SCORE_WEIGHT_OPERATIONS: f64 = 3.0;

/// Compares the new version of a service with the old one.
pub fn compare(
    service: &ServiceKey,
    baseline: &Cohort,
    canary: &Cohort,
    pairing: Pairing,
    settings: &Settings,
) -> CanaryReport {
    let scale = Scale::new();
    let judge = Judge {
        pairing,
        settings,
        scale: &scale,
    };
    let alpha = 1.0 - settings.confidence;
    let quantiles = settings.tail_quantiles.len();
    let whole = Series {
        operation: None,
        old: &baseline.service,
        new: &canary.service,
    };
    let judged = judge.judge(whole, Shares::of_service(alpha, quantiles));
    let mut comparisons = judged.comparisons;

    let pairs = operations_of_both(baseline, canary);
    // A single operation is the service again.
    if baseline.operations.len().max(canary.operations.len()) > 1 {
        let shares = Shares::of_operation(alpha, pairs.len(), quantiles);
        for (old, new) in pairs {
            let series = Series {
                operation: Some((&new.operation, new.kind)),
                old: &old.minutes,
                new: &new.minutes,
            };
            comparisons.extend(judge.judge(series, shares).comparisons);
        }
    }

    let (mut old, mut new) = (arm(baseline), arm(canary));
    let mut traffic = Traffic {
        old: old.requests,
        new: new.requests,
        share: new.requests as f64 / (old.requests + new.requests).max(1) as f64,
        dispersion: 1.0,
    };
    if let Some(counts) = judged.errors {
        old.n_eff /= counts.dispersion;
        new.n_eff /= counts.dispersion;
        traffic.dispersion = counts.dispersion;
        traffic.share = counts.share_of_requests();
    }
    let kinds = new_error_kinds(baseline, canary, traffic, settings);
    let dependencies = dependency_changes(baseline, canary, traffic, settings);

    let verdict = overall(&comparisons, &kinds, &dependencies, settings);
    let requests_needed = (verdict == Verdict::Inconclusive)
        .then(|| needed_in_all(&comparisons))
        .flatten();
    let score = score_of(&comparisons);
    // Stable: within each group the order above stays.
    comparisons.sort_by_key(|one| one.verdict != Verdict::Fail);
    let text = reason(
        verdict,
        &comparisons,
        &kinds,
        &dependencies,
        requests_needed,
    );
    CanaryReport {
        service: service.clone(),
        baseline: old,
        canary: new,
        pairing,
        verdict,
        score,
        requests_needed,
        comparisons,
        new_error_kinds: kinds,
        dependency_changes: dependencies,
        blame: None,
        text,
    }
}

/// Operations that both arms have; both are sorted by name and kind.
fn operations_of_both<'a>(
    baseline: &'a Cohort,
    canary: &'a Cohort,
) -> Vec<(&'a OperationCohort, &'a OperationCohort)> {
    let key = |one: &'a OperationCohort| (one.operation.as_str(), one.kind);
    canary
        .operations
        .iter()
        .filter_map(|new| {
            let at = baseline
                .operations
                .binary_search_by(|old| key(old).cmp(&key(new)))
                .ok()?;
            Some((baseline.operations.get(at)?, new))
        })
        .collect()
}

fn arm(cohort: &Cohort) -> ArmReport {
    let sums = sums_of(&cohort.service);
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

/// Comparisons of the whole service.
fn of_service(comparisons: &[Comparison]) -> impl Iterator<Item = &Comparison> {
    comparisons.iter().filter(|one| one.operation.is_none())
}

fn overall(
    comparisons: &[Comparison],
    kinds: &[NewErrorKind],
    dependencies: &[DependencyChange],
    settings: &Settings,
) -> Verdict {
    let found = kinds
        .iter()
        .map(|kind| kind.verdict)
        .chain(
            dependencies
                .iter()
                .map(|_| verdict_of(settings.dependency_changes)),
        )
        .max()
        .unwrap_or(Verdict::Pass);
    let fails = comparisons.iter().any(|one| one.verdict == Verdict::Fail);
    if fails || found == Verdict::Fail {
        return Verdict::Fail;
    }
    // Where a version has no durations at all, there is nothing to wait for.
    let is_open = |one: &Comparison| {
        one.verdict == Verdict::Inconclusive
            && (one.metric == CanaryMetric::ErrorRatio || one.difference.is_some())
    };
    if of_service(comparisons).any(is_open) {
        Verdict::Inconclusive
    } else {
        found
    }
}

/// Requests until the first comparison of the service fails, if one is about to; else until all of them pass.
fn needed_in_all(comparisons: &[Comparison]) -> Option<u64> {
    let open = || of_service(comparisons).filter(|one| one.verdict == Verdict::Inconclusive);
    let is_worse = |one: &&Comparison| {
        let limits = one.difference.zip(one.tolerance);
        limits.is_some_and(|(difference, tolerance)| difference > tolerance)
    };
    let failing = open()
        .filter(is_worse)
        .filter_map(|one| one.requests_needed);
    failing.min().or_else(|| {
        let passing: Option<Vec<u64>> = open()
            .filter(|one| one.difference.is_some())
            .map(|one| one.requests_needed)
            .collect();
        passing?.into_iter().max()
    })
}

/// 100·Σw·passed/Σw over the conclusive comparisons.
fn score_of(comparisons: &[Comparison]) -> Option<f64> {
    let count = |metric: CanaryMetric| {
        of_service(comparisons)
            .filter(|one| one.metric == metric)
            .count()
            .max(1) as f64
    };
    let of_operations = comparisons.len() - of_service(comparisons).count();
    let [errors, latency, tail] = SCORE_WEIGHTS;
    let (mut passed, mut all) = (0.0, 0.0);
    for one in comparisons {
        let weight = match (&one.operation, one.metric) {
            (Some(_), _) => SCORE_WEIGHT_OPERATIONS / of_operations.max(1) as f64,
            (None, CanaryMetric::ErrorRatio) => errors,
            (None, CanaryMetric::Latency) => latency,
            (None, CanaryMetric::TailLatency) => tail / count(CanaryMetric::TailLatency),
        };
        match one.verdict {
            Verdict::Pass => {
                passed += weight;
                all += weight;
            }
            Verdict::Fail => all += weight,
            Verdict::Warn | Verdict::Inconclusive => {}
        }
    }
    (all > 0.0).then(|| 100.0 * passed / all)
}

/// Why, in a sentence. The comparisons that fail come first.
fn reason(
    verdict: Verdict,
    comparisons: &[Comparison],
    kinds: &[NewErrorKind],
    dependencies: &[DependencyChange],
    needed: Option<u64>,
) -> String {
    let findings = || {
        let kinds = kinds.iter().map(|kind| kind.text.as_str());
        kinds.chain(dependencies.iter().map(|change| change.text.as_str()))
    };
    match verdict {
        Verdict::Fail => comparisons
            .iter()
            .filter(|one| one.verdict == Verdict::Fail)
            .map(|one| one.text.as_str())
            .chain(findings())
            .next()
            .unwrap_or_default()
            .to_owned(),
        Verdict::Warn => findings().next().unwrap_or_default().to_owned(),
        Verdict::Pass => "no worse than the old version, as far as is tolerated".to_owned(),
        Verdict::Inconclusive => {
            let open = of_service(comparisons)
                .find(|one| one.verdict == Verdict::Inconclusive && one.requests_needed == needed)
                .or_else(|| {
                    of_service(comparisons).find(|one| one.verdict == Verdict::Inconclusive)
                });
            open.map_or_else(String::new, |one| format!("not decided yet: {}", one.text))
        }
    }
}

#[cfg(test)]
mod tests;
