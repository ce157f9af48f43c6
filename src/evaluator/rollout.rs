//! Rollouts in the report: each new version compared with the old one, who is to blame, and what verdicts say of it.

use std::collections::BTreeSet;

use crate::evaluator::canary::{Settings, assign_blame, compare};
use crate::evaluator::objective::Standing;
use crate::evaluator::verdict::{judge_standings, timestamp};
use crate::model::UnixNanos;
use crate::model::canary::{CallSums, CanaryReport, Cohort, ServiceEdge};
use crate::model::report::{Reason, Verdict, VerdictEvidence, VerdictReport};
use crate::model::series::ServiceKey;
use crate::window::cohort::Rollout;

/// `source` of a reason that comes from the comparison of two versions.
pub const CANARY_SOURCE: &str = "canary";

/// Compares every rollout, and ranks who is to blame where several services changed. Edges that are not known exactly
/// (`edges` is empty) are guessed from the names that callers have for their dependencies.
pub fn compare_all(
    rollouts: &[Rollout],
    edges: &[ServiceEdge],
    settings: &Settings,
) -> Vec<CanaryReport> {
    let mut reports: Vec<CanaryReport> = rollouts
        .iter()
        .map(|rollout| {
            compare(
                &rollout.service,
                &rollout.baseline,
                &rollout.canary,
                rollout.pairing,
                settings,
            )
        })
        .collect();
    if reports.len() > 1 {
        if edges.is_empty() {
            assign_blame(&mut reports, &named_edges(rollouts));
        } else {
            assign_blame(&mut reports, edges);
        }
    }
    reports
}

/// The same settings where `comparisons` releases are judged at once: a gate over all of them is wrong no more often than
/// one over a single release.
pub fn for_many(settings: &Settings, comparisons: usize) -> Settings {
    let error = (1.0 - settings.confidence) / comparisons.max(1) as f64;
    Settings {
        confidence: 1.0 - error,
        ..settings.clone()
    }
}

/// Edges between services that roll out at the same time, as far as callers call their callees by name.
fn named_edges(rollouts: &[Rollout]) -> Vec<ServiceEdge> {
    let mut edges = Vec::new();
    for caller in rollouts {
        let of = |cohort: &Cohort, name: &str| -> CallSums {
            cohort.dependencies.get(name).copied().unwrap_or_default()
        };
        let names = [&caller.baseline, &caller.canary].into_iter();
        let names: BTreeSet<&String> = names.flat_map(|arm| arm.dependencies.keys()).collect();
        for name in names {
            let Some(callee) = callee_named(rollouts, &caller.service, name) else {
                continue;
            };
            edges.push(ServiceEdge {
                caller: caller.service.clone(),
                callee: callee.clone(),
                baseline: of(&caller.baseline, name),
                canary: of(&caller.canary, name),
            });
        }
    }
    edges
}

/// The service that a caller means by a name: one of its own namespace and environment first.
fn callee_named<'a>(
    rollouts: &'a [Rollout],
    caller: &ServiceKey,
    name: &str,
) -> Option<&'a ServiceKey> {
    let services = rollouts.iter().map(|rollout| &rollout.service);
    let named = services.filter(|service| *service.name == *name && *service != caller);
    named.max_by_key(|service| {
        (
            service.environment == caller.environment,
            service.namespace == caller.namespace,
        )
    })
}

/// What a verdict says of a rollout; `None` while it passes.
pub fn reason(report: &CanaryReport) -> Option<Reason> {
    let requests = report.canary.requests;
    let (observed, limit) = match report.verdict {
        Verdict::Pass => return None,
        Verdict::Inconclusive => {
            let needed = report.requests_needed;
            let limit = needed.map(|needed| (requests + needed) as f64);
            (Some(requests as f64), limit)
        }
        Verdict::Warn | Verdict::Fail => match report.comparisons.first() {
            Some(worst) if worst.verdict == Verdict::Fail => {
                let limit = worst.baseline.zip(worst.tolerance);
                (worst.canary, limit.map(|(old, tolerance)| old + tolerance))
            }
            Some(_) | None => (None, None),
        },
    };
    Some(Reason {
        source: CANARY_SOURCE.to_owned(),
        name: report.canary.version.clone(),
        window: None,
        observed,
        limit,
        text: report.text.clone(),
    })
}

/// The verdicts about the two versions of a rollout. Nothing holds a finding back here: the comparison is made to be looked
/// at again and again.
pub fn verdicts_of(report: &CanaryReport, now: UnixNanos) -> [VerdictReport; 2] {
    let standing = Standing::from(report);
    let mut canary = judge_standings(Some(&report.service), &[standing], now);
    canary.version = Some(report.canary.version.clone());
    canary.score = report
        .score
        .filter(|_| report.verdict != Verdict::Inconclusive);
    canary.evidence = VerdictEvidence {
        spans: report.canary.requests,
        traces: None,
        n_eff: report.canary.n_eff,
    };
    let (old, new) = (&report.baseline.version, &report.canary.version);
    let text = format!(
        "`{old}` is the old version that `{new}` is compared with; the service's verdict without a version speaks of it"
    );
    let baseline = VerdictReport {
        verdict: Verdict::Inconclusive,
        ok: false,
        score: None,
        service: Some(report.service.clone()),
        version: Some(old.clone()),
        window: None,
        reasons: vec![Reason {
            source: CANARY_SOURCE.to_owned(),
            name: old.clone(),
            window: None,
            observed: None,
            limit: None,
            text,
        }],
        undecided: Vec::new(),
        evidence: VerdictEvidence {
            spans: report.baseline.requests,
            traces: None,
            n_eff: report.baseline.n_eff,
        },
        action: None,
        generated_at: timestamp(now),
    };
    [canary, baseline]
}
