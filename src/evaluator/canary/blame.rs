//! Where several services changed at once: which of the changes is to blame.
//!
//! A caller gets worse when its callee does. So what got worse in a caller is compared with what its calls to changed
//! callees got worse by: failed calls of each request against failed requests, and time of its calls against its own. What they do not
//! explain is its own share. A caller with less than half of its own is innocent, and suffers from the callee
//! that explains most; if that is innocent too, from the one at the end of the chain. In a circle of callers
//! each may suffer from the other: then the one with the greatest share of its own is to blame.

use crate::model::canary::{Blame, CanaryMetric, CanaryReport, Comparison, ServiceEdge};
use crate::model::report::Verdict;
use crate::model::series::ServiceKey;

use super::text::percent;

/// With less of its own, a change is innocent.
const OWN_SHARE_MIN: f64 = 0.5;

/// What is known of one report.
#[derive(Clone, Copy, Debug)]
struct Suspicion {
    /// Share of what got worse that no callee explains.
    own_share: f64,
    /// How much worse it got by itself, in tolerances.
    weight: f64,
    /// The report whose service explains most.
    suffers_from: Option<usize>,
}

/// Says of each report that fails, where another service changed too, whether its change is to blame.
pub fn assign_blame(reports: &mut [CanaryReport], edges: &[ServiceEdge]) {
    if reports.len() < 2 {
        return;
    }
    let suspicions: Vec<Option<Suspicion>> = reports
        .iter()
        .map(|report| (report.verdict == Verdict::Fail).then(|| suspect(report, reports, edges)))
        .collect();
    let culprits: Vec<Option<usize>> = (0..reports.len())
        .map(|at| culprit_of(at, &suspicions))
        .collect();
    let suspicion = |at: usize| suspicions.get(at).copied().flatten();
    let mut guilty: Vec<(usize, f64)> = (0..)
        .zip(&culprits)
        .filter(|(at, culprit)| **culprit == Some(*at))
        .filter_map(|(at, _)| Some((at, suspicion(at)?.weight)))
        .collect();
    guilty.sort_by(|a, b| b.1.total_cmp(&a.1));
    let names: Vec<ServiceKey> = reports
        .iter()
        .map(|report| report.service.clone())
        .collect();
    for ((at, report), culprit) in (0..).zip(reports).zip(&culprits) {
        let Some(Suspicion { own_share, .. }) = suspicion(at) else {
            report.blame = None;
            continue;
        };
        let rank = guilty.iter().position(|(one, _)| *one == at);
        let suffers_from = culprit
            .filter(|culprit| *culprit != at)
            .and_then(|culprit| names.get(culprit).cloned());
        let text = match &suffers_from {
            Some(culprit) => format!(
                "{} suffers from {}: {} of what got worse is its own",
                report.service.name,
                culprit.name,
                percent(own_share),
            ),
            None => format!(
                "{} is to blame: {} of what got worse is its own",
                report.service.name,
                percent(own_share),
            ),
        };
        report.blame = Some(Blame {
            rank: rank.map(|rank| rank + 1),
            own_share,
            suffers_from,
            text,
        });
    }
}

/// Who is to blame for what a report shows: itself, or the end of the chain of those it suffers from.
fn culprit_of(at: usize, suspicions: &[Option<Suspicion>]) -> Option<usize> {
    let of = |at: usize| suspicions.get(at).copied().flatten();
    of(at)?;
    let mut path = vec![at];
    let mut here = at;
    while let Some(next) = of(here).and_then(|one| one.suffers_from) {
        if let Some(start) = path.iter().position(|seen| *seen == next) {
            // A circle: its members in an order that does not depend on where one entered it.
            let mut circle: Vec<usize> = path.into_iter().skip(start).collect();
            circle.sort_unstable();
            return circle.into_iter().max_by(|a, b| {
                let key = |at: usize| of(at).map_or(0.0, |one| one.own_share);
                key(*a).total_cmp(&key(*b)).then(b.cmp(a))
            });
        }
        path.push(next);
        here = next;
    }
    Some(here)
}

fn suspect(report: &CanaryReport, reports: &[CanaryReport], edges: &[ServiceEdge]) -> Suspicion {
    let mut suspicion = Suspicion {
        own_share: 0.0,
        weight: 0.0,
        suffers_from: None,
    };
    let mut most = 0.0;
    let mut any = false;
    for metric in failing_metrics(report) {
        let Some(worse) = service_comparison(report, metric) else {
            continue;
        };
        let (difference, tolerance) = (
            worse.difference.unwrap_or_default(),
            worse.tolerance.unwrap_or(1.0),
        );
        if difference <= 0.0 {
            continue;
        }
        any = true;
        let mut explained = 0.0;
        for (at, callee) in (0..).zip(reports) {
            if callee.service == report.service || !is_worse(callee, metric) {
                continue;
            }
            let share: f64 = edges
                .iter()
                .filter(|edge| edge.caller == report.service && edge.callee == callee.service)
                .map(|edge| explained_by(edge, report, worse) / difference)
                .sum();
            explained += share;
            if share > most {
                most = share;
                suspicion.suffers_from = Some(at);
            }
        }
        let own = 1.0 - explained.clamp(0.0, 1.0);
        suspicion.own_share = suspicion.own_share.max(own);
        suspicion.weight = suspicion.weight.max(own * difference / tolerance);
    }
    if !any {
        // New ways of failing alone: nobody else's.
        suspicion.own_share = 1.0;
    }
    if suspicion.own_share >= OWN_SHARE_MIN {
        suspicion.suffers_from = None;
    }
    suspicion
}

/// Metrics of which a comparison fails, of the service or of an operation.
fn failing_metrics(report: &CanaryReport) -> Vec<CanaryMetric> {
    let mut metrics = Vec::new();
    for one in &report.comparisons {
        if one.verdict == Verdict::Fail && !metrics.contains(&one.metric) {
            metrics.push(one.metric);
        }
    }
    metrics
}

/// The service's comparison of a metric that differs most from what is tolerated.
fn service_comparison(report: &CanaryReport, metric: CanaryMetric) -> Option<&Comparison> {
    let excess = |one: &Comparison| {
        one.difference.unwrap_or_default() / one.tolerance.unwrap_or(1.0).max(f64::MIN_POSITIVE)
    };
    report
        .comparisons
        .iter()
        .filter(|one| one.operation.is_none() && one.metric == metric)
        .max_by(|a, b| excess(a).total_cmp(&excess(b)))
}

/// Whether the callee itself got worse in this respect: a caller may also break what it calls.
fn is_worse(callee: &CanaryReport, metric: CanaryMetric) -> bool {
    let of = |one: &Comparison| {
        let same = match metric {
            CanaryMetric::ErrorRatio => one.metric == CanaryMetric::ErrorRatio,
            // A shift of the whole is a shift of its tail, and a caller of many may feel the tail as a whole.
            CanaryMetric::Latency | CanaryMetric::TailLatency => {
                one.metric != CanaryMetric::ErrorRatio
            }
        };
        let is_beyond = one
            .difference
            .zip(one.tolerance)
            .is_some_and(|(difference, tolerance)| difference > tolerance);
        same && is_beyond && one.verdict != Verdict::Pass
    };
    callee.verdict == Verdict::Fail && callee.comparisons.iter().any(of)
}

/// How much worse a request of the caller got by its calls on this edge: in the unit of the metric.
fn explained_by(edge: &ServiceEdge, report: &CanaryReport, worse: &Comparison) -> f64 {
    let (old, new) = (&edge.baseline, &edge.canary);
    if old.calls <= 0.0 || new.calls <= 0.0 {
        return 0.0;
    }
    let calls_per_request = new.observed as f64 / report.canary.requests.max(1) as f64;
    let per_call = match worse.metric {
        CanaryMetric::ErrorRatio => new.errors / new.calls - old.errors / old.calls,
        CanaryMetric::Latency | CanaryMetric::TailLatency => {
            new.duration_secs / new.calls - old.duration_secs / old.calls
        }
    };
    // The mean of all requests moves by the part that the tail is of them.
    let part = worse.quantile.map_or(1.0, |quantile| 1.0 - quantile);
    (per_call * calls_per_request / part).max(0.0)
}
