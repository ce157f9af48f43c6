//! The families of verdicts and of comparisons of versions.

use std::collections::BTreeSet;

use super::{Family, Labels, service_labels};
use crate::model::canary::CanaryReport;
use crate::model::report::{Report, Verdict, VerdictReport};
use crate::model::series::ServiceKey;

/// 1 for the verdict that holds, 0 for the three others.
pub const VERDICT: &str = "slo_copilot_verdict";
/// 0 to 100; none while the verdict is inconclusive.
pub const SCORE: &str = "slo_copilot_verdict_score";
/// 1 for what the comparison of two versions found, 0 for the three others.
pub const CANARY_VERDICT: &str = "slo_copilot_canary_verdict";
/// 0 to 100; none without a conclusive comparison.
pub const CANARY_SCORE: &str = "slo_copilot_canary_score";

/// The verdict over everything has empty labels. Verdicts about a version or a window are other questions, and a second
/// one for the same service would be a duplicate sample.
pub(super) fn verdicts(page: &mut String, report: &Report) {
    let overall = ServiceKey::named("");
    let mut seen = BTreeSet::from([&overall]);
    let mut services: Vec<(&ServiceKey, &VerdictReport)> = report
        .service_verdicts()
        .filter_map(|verdict| Some((verdict.service.as_ref()?, verdict)))
        .collect();
    services.sort_by_key(|(service, _)| *service);
    services.retain(|(service, _)| seen.insert(service));
    services.insert(0, (&overall, &report.verdict));

    let mut family = Family::gauge(
        page,
        VERDICT,
        "1 for the verdict that holds, else 0; an empty service stands for all together.",
    );
    for (service, verdict) in &services {
        one_of_four(&mut family, &service_labels(service), verdict.verdict);
    }
    let mut family = Family::gauge(
        page,
        SCORE,
        "Weighted share of the objectives that hold, 0 to 100; left out while inconclusive.",
    );
    for (service, verdict) in &services {
        family.optional(&service_labels(service), verdict.score);
    }
}

/// The newest comparison of each pair of versions.
pub(super) fn canaries(page: &mut String, report: &Report) {
    let mut seen = BTreeSet::new();
    let mut canaries: Vec<&CanaryReport> = report.canaries.iter().collect();
    canaries.sort_by_key(|canary| pair(canary));
    canaries.retain(|canary| seen.insert(pair(canary)));
    let mut family = Family::gauge(
        page,
        CANARY_VERDICT,
        "1 for what the comparison of the version with its baseline found, else 0.",
    );
    for canary in &canaries {
        one_of_four(&mut family, &canary_labels(canary), canary.verdict);
    }
    let mut family = Family::gauge(
        page,
        CANARY_SCORE,
        "Weighted share of the comparisons that passed, 0 to 100; left out while none is conclusive.",
    );
    for canary in &canaries {
        family.optional(&canary_labels(canary), canary.score);
    }
}

fn pair(canary: &CanaryReport) -> (&ServiceKey, &str, &str) {
    (
        &canary.service,
        &canary.canary.version,
        &canary.baseline.version,
    )
}

fn canary_labels(canary: &CanaryReport) -> Labels {
    service_labels(&canary.service)
        .and("version", &canary.canary.version)
        .and("baseline_version", &canary.baseline.version)
}

fn one_of_four(family: &mut Family<'_>, labels: &Labels, verdict: Verdict) {
    for candidate in Verdict::ALL {
        let labels = labels.clone().and("verdict", candidate.label());
        family.sample("", &labels, f64::from(u8::from(candidate == verdict)));
    }
}
