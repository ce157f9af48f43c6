//! Two versions in trace files: which arms are compared, and who calls whom.
//!
//! A set of traces is split by version, or two sets stand against each other as they are.

use std::collections::{BTreeMap, BTreeSet};

use crate::evaluator::rollout::for_many;
use crate::model::canary::{CallSums, Cohort, ServiceEdge};
use crate::model::series::ServiceKey;
use crate::receiver::file::SpanLink;
use crate::service::analysis::Analysis;
use crate::window::cohort::edges::{EdgeJoin, LinkedSpan};
use crate::window::cohort::settings::RolloutsConfig;
use crate::window::cohort::watch::Scope;
use crate::window::cohort::{Rollout, choose_arms, pairing_of};
use crate::window::event::ResourceAttributes;

/// Calls by caller, its version, and callee.
type Calls = BTreeMap<(ServiceKey, String, ServiceKey), CallSums>;

/// What is compared, and what is not.
#[derive(Clone, Debug, Default)]
pub struct Compared {
    /// Arms that stand against each other.
    pub(super) rollouts: Vec<Rollout>,
    /// Calls between their services.
    pub(super) edges: Vec<ServiceEdge>,
    /// Services of which there is no second arm, sorted.
    pub alone: Vec<String>,
    /// Versions that were seen, sorted.
    pub versions: BTreeSet<String>,
}

impl Compared {
    /// How many services are compared.
    pub fn services(&self) -> usize {
        self.rollouts.len()
    }
}

impl Analysis {
    /// Looks for who calls whom, too, for the question whose change is to blame.
    #[must_use]
    pub fn linking(self) -> Self {
        let most = self.config.rollouts.max_linked_spans;
        let links = Links::new(most, self.windows.watch().scope());
        Self {
            links: Some(links),
            ..self
        }
    }

    /// Records what the scope says, version by version.
    #[must_use]
    pub fn recording(self, scope: Scope) -> Self {
        let bounds = RolloutsConfig {
            max_services: usize::try_from(self.config.windows.max_services).unwrap_or(usize::MAX),
            ..self.config.rollouts.clone()
        };
        let windows = self.windows.recording(bounds, scope);
        Self {
            rules: self.rules.watching(windows.watch()),
            windows,
            ..self
        }
    }

    /// Splits the traces by version. Without names, the version that came last stands against the one with the most
    /// requests beside it.
    pub fn compare_versions(&mut self, canary: Option<&str>, baseline: Option<&str>) -> &Compared {
        let mut compared = Compared::default();
        for (service, cohorts) in self.windows.cohorts() {
            let versions = cohorts.iter().map(|cohort| cohort.version.clone());
            compared.versions.extend(versions);
            let is_asked = canary.is_none_or(|version| {
                let mut cohorts = cohorts.iter();
                cohorts.any(|cohort| cohort.version == *version)
            });
            match choose_arms(cohorts, canary, baseline) {
                Some((old, new)) => compared.rollouts.push(rollout_of(service, old, new)),
                None if is_asked && canary.is_some() => {
                    compared.alone.push(service.name.to_string());
                }
                None => {}
            }
        }
        let calls = self.links.as_ref().map(Links::calls).unwrap_or_default();
        compared.edges = edges_of(&compared.rollouts, |rollout, callee| {
            let of = |version: &str| {
                let key = (rollout.service.clone(), version.to_owned(), callee.clone());
                calls.get(&key).copied().unwrap_or_default()
            };
            (of(&rollout.baseline.version), of(&rollout.canary.version))
        });
        self.compared = compared;
        &self.compared
    }

    /// Takes these traces for the new version's, and those of `baseline` for the old one's.
    pub fn compare_with(&mut self, baseline: &Self) -> &Compared {
        let mut old: BTreeMap<ServiceKey, Vec<Cohort>> =
            baseline.windows.cohorts().into_iter().collect();
        let mut compared = Compared::default();
        for (service, new) in self.windows.cohorts() {
            let old = old
                .remove(&service)
                .and_then(|cohorts| cohorts.into_iter().next());
            match old.zip(new.into_iter().next()) {
                Some((old, new)) => {
                    let (old, new) = (labelled(old, "baseline"), labelled(new, "canary"));
                    compared.rollouts.push(rollout_of(service, old, new));
                }
                None => compared.alone.push(service.name.to_string()),
            }
        }
        compared
            .alone
            .extend(old.keys().map(|service| service.name.to_string()));
        compared.alone.sort();
        let [before, after] = [&baseline.links, &self.links]
            .map(|links| links.as_ref().map(Links::calls).unwrap_or_default());
        compared.edges = edges_of(&compared.rollouts, |rollout, callee| {
            let of = |calls: &Calls| {
                let key = (rollout.service.clone(), String::new(), callee.clone());
                calls.get(&key).copied().unwrap_or_default()
            };
            (of(&before), of(&after))
        });
        self.compared = compared;
        &self.compared
    }

    /// How sure a comparison must be: several services at once are no more often wrong than one alone.
    pub(super) fn canary_settings(&self) -> crate::evaluator::canary::Settings {
        for_many(&self.config.canary, self.compared.rollouts.len())
    }

    /// Spans that fell out before anybody knew who called whom.
    pub fn unlinked_spans(&self) -> u64 {
        self.links.as_ref().map_or(0, |links| links.join.fallen())
    }
}

/// A set that says no version is called by the part that it plays.
fn labelled(cohort: Cohort, part: &str) -> Cohort {
    if cohort.version.is_empty() {
        let version = part.to_owned();
        return Cohort { version, ..cohort };
    }
    cohort
}

fn rollout_of(service: ServiceKey, baseline: Cohort, canary: Cohort) -> Rollout {
    Rollout {
        service,
        pairing: pairing_of(&baseline, &canary),
        baseline,
        canary,
    }
}

/// Edges between the services that are compared.
fn edges_of(
    rollouts: &[Rollout],
    calls: impl Fn(&Rollout, &ServiceKey) -> (CallSums, CallSums),
) -> Vec<ServiceEdge> {
    let mut edges = Vec::new();
    for caller in rollouts {
        for callee in rollouts.iter().map(|rollout| &rollout.service) {
            let (baseline, canary) = calls(caller, callee);
            if baseline.observed + canary.observed > 0 {
                edges.push(ServiceEdge {
                    caller: caller.service.clone(),
                    callee: callee.clone(),
                    baseline,
                    canary,
                });
            }
        }
    }
    edges
}

/// The spans of all files on their way to edges.
#[derive(Debug)]
pub(super) struct Links {
    join: EdgeJoin,
    is_split: bool,
    buffer: Vec<u8>,
}

impl Links {
    fn new(most: usize, scope: Scope) -> Self {
        Self {
            join: EdgeJoin::new(most),
            is_split: scope != Scope::Everything,
            buffer: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, link: &SpanLink<'_>) {
        let service: &ResourceAttributes<'_> = link.service;
        let version = if self.is_split {
            service.version()
        } else {
            b""
        };
        let owner = self
            .join
            .owner(service.service_hash(&mut self.buffer), version, || {
                let version = String::from_utf8_lossy(version).into_owned();
                (service.service_key(), version)
            });
        let Some(owner) = owner else {
            return;
        };
        let span = LinkedSpan {
            owner,
            is_entry: link.is_entry,
            outcome: link.outcome,
            duration_nanos: link.duration_nanos,
            weight: link.weight,
        };
        let ids = (link.span_id, link.parent_span_id);
        self.join.add(link.trace_id, ids, span);
    }

    fn calls(&self) -> Calls {
        self.join.calls()
    }
}
