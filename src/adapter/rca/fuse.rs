//! One ranking of all signals.
//!
//! A service scores what its strongest signal does; signals are comparable since each strength is a logarithm over what is
//! worth a look. Services with a significant finding stand before those without, and those whose significant findings are
//! all explained by a service before them stand behind.

use std::collections::{BTreeMap, BTreeSet};

use crate::adapter::rca::signals::{Family, Finding, Sides};
use crate::adapter::rca::topology::{self, Role};
use crate::model::series::ServiceKey;

/// A service that may be the cause.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspect {
    /// Which.
    pub service: ServiceKey,
    /// The strength of its strongest signal.
    pub score: f64,
    /// Whether one of its findings is more than is seen when nothing is wrong.
    pub is_significant: bool,
    /// Whether a suspect before it explains all that is significant.
    pub is_explained: bool,
    /// How it explains delays, if it does.
    pub role: Option<Role>,
    /// Its findings by their index, the strongest first.
    pub findings: Vec<usize>,
}

/// Suspects, the likeliest cause first.
pub fn rank(findings: &[Finding], sides: &Sides<'_>) -> Vec<Suspect> {
    let explanations = topology::explain(findings, sides);
    let mut by_service: BTreeMap<&ServiceKey, Suspect> = BTreeMap::new();
    for (service, explanation) in explanations {
        let suspect = by_service.entry(service).or_insert_with(|| new(service));
        suspect.score = explanation.score;
        suspect.role = Some(explanation.role);
        suspect.findings = explanation.covers;
    }
    for (index, finding) in findings.iter().enumerate() {
        if finding.signal.family() == Family::Time {
            continue;
        }
        let suspect = by_service
            .entry(&finding.service)
            .or_insert_with(|| new(&finding.service));
        suspect.score = suspect.score.max(finding.strength);
        suspect.findings.push(index);
    }
    let mut suspects: Vec<Suspect> = by_service.into_values().collect();
    for suspect in &mut suspects {
        let of = |index: &usize| findings.get(*index);
        let strength = |index: &usize| of(index).map_or(0.0, |finding| finding.strength);
        suspect
            .findings
            .sort_by(|left, right| strength(right).total_cmp(&strength(left)));
        suspect.is_significant = suspect
            .findings
            .iter()
            .any(|index| of(index).is_some_and(|finding| finding.is_significant));
    }
    suspects.retain(|suspect| suspect.score > 0.0);
    sort(&mut suspects);
    explain_away(&mut suspects, findings);
    sort(&mut suspects);
    suspects
}

fn new(service: &ServiceKey) -> Suspect {
    Suspect {
        service: service.clone(),
        score: 0.0,
        is_significant: false,
        is_explained: false,
        role: None,
        findings: Vec::new(),
    }
}

fn sort(suspects: &mut [Suspect]) {
    suspects.sort_by(|left, right| {
        let class = |suspect: &Suspect| suspect.is_significant && !suspect.is_explained;
        let by_class = class(right).cmp(&class(left));
        let by_score = right.score.total_cmp(&left.score);
        let by_name = left.service.cmp(&right.service);
        by_class.then(by_score).then(by_name)
    });
}

fn explain_away(suspects: &mut [Suspect], findings: &[Finding]) {
    let mut explained: BTreeSet<usize> = BTreeSet::new();
    for suspect in suspects {
        let is_significant =
            |index: &usize| findings.get(*index).is_some_and(|one| one.is_significant);
        let mut significant = suspect
            .findings
            .iter()
            .filter(|index| is_significant(index));
        suspect.is_explained =
            suspect.is_significant && significant.all(|index| explained.contains(index));
        if suspect.is_significant && !suspect.is_explained {
            explained.extend(suspect.findings.iter().copied());
        }
    }
}
