//! Which objectives and candidates of a report belong to which service.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;
use std::sync::Arc;

use crate::model::candidate::{Candidate, CandidateState};
use crate::model::report::{OutputScope, Report};
use crate::model::series::{OVERFLOW, ServiceKey};
use crate::model::slo::{Objective, ObjectiveSource, Sli};

/// What a report says about the objectives of one service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceObjectives<'a> {
    /// The service.
    pub service: ServiceKey,
    /// Whose view this is.
    pub scope: OutputScope,
    /// Adopted objectives by name; those of composites stand there.
    pub objectives: Vec<&'a Objective>,
    /// Composites by name, each where its first member belongs.
    pub composites: Vec<Composite<'a>>,
    /// Candidates that wait for an answer: the ready ones, then the provisional ones, by name.
    pub candidates: Vec<&'a Candidate>,
}

/// Objectives that are judged together.
#[derive(Clone, Debug, PartialEq)]
pub struct Composite<'a> {
    /// Its name, which none of the objectives has.
    pub name: &'a str,
    /// At least one, by name, all of one period and one budgeting method, as OpenSLO writes them once for all.
    pub members: Vec<&'a Objective>,
}

/// Sorts the report's objectives and candidates by the service that they speak of.
///
/// An objective that selects exactly one known service belongs to it. One that selects several, or none yet, belongs to
/// the service as the objective itself names it.
/// Left out are objectives that nobody adopted, error rates, and targets that OpenSLO cannot express (0 < target < 1).
pub fn objectives_by_service(report: &Report) -> BTreeMap<ServiceKey, ServiceObjectives<'_>> {
    let seen = report.services.iter().map(|found| &found.service);
    let adopted = report.baseline_evaluations.iter();
    let adopted = adopted.map(|status| &status.objective);
    let adopted = adopted.filter(|objective| objective.source != ObjectiveSource::Fitted);
    group_by_service(report.scope, seen, adopted, &report.slo_candidates)
}

/// The same of objectives and candidates that come from elsewhere; `seen` are services that have a group whatever is
/// known of them.
pub fn group_by_service<'a>(
    scope: OutputScope,
    seen: impl Iterator<Item = &'a ServiceKey>,
    adopted: impl Iterator<Item = &'a Objective> + Clone,
    candidates: &'a [Candidate],
) -> BTreeMap<ServiceKey, ServiceObjectives<'a>> {
    let mut groups = Groups::new(scope);
    let suggested = candidates.iter().map(|found| &found.service);
    for service in seen.chain(suggested).filter(|key| *key.name != *OVERFLOW) {
        groups.of(service);
    }

    let known = KnownServices::new(groups.by_service.keys());
    let mut taken_names: BTreeSet<&str> = adopted.clone().map(|one| one.name.as_str()).collect();
    let (alone, composites) = apart(
        adopted.filter(|objective| is_expressible(objective.target)),
        &taken_names,
    );
    for objective in alone {
        let service = known.service_of(objective);
        groups.of(&service).objectives.push(objective);
    }
    for composite in composites {
        taken_names.insert(composite.name);
        if let Some(first) = composite.members.first() {
            let service = known.service_of(first);
            groups.of(&service).composites.push(composite);
        }
    }
    for candidate in candidates {
        if awaits_answer(candidate) && !taken_names.contains(candidate.name.as_str()) {
            groups.of(&candidate.service).candidates.push(candidate);
        }
    }
    groups.sorted()
}

/// The objectives that stand alone, and the composites by name. A composite that no single document can express falls
/// apart into its members.
fn apart<'a>(
    objectives: impl Iterator<Item = &'a Objective>,
    taken_names: &BTreeSet<&str>,
) -> (Vec<&'a Objective>, Vec<Composite<'a>>) {
    let mut alone = Vec::new();
    let mut by_composite: BTreeMap<&str, Vec<&Objective>> = BTreeMap::new();
    for objective in objectives {
        match &objective.composite {
            Some(composite) => by_composite
                .entry(&composite.name)
                .or_default()
                .push(objective),
            None => alone.push(objective),
        }
    }
    let mut composites = Vec::new();
    for (name, mut members) in by_composite {
        let is_shared = members.windows(2).all(|pair| {
            matches!(pair, [a, b] if a.window == b.window
                && discriminant(&a.budgeting) == discriminant(&b.budgeting))
        });
        if is_shared && !taken_names.contains(name) {
            members.sort_by(|a, b| a.name.cmp(&b.name));
            composites.push(Composite { name, members });
        } else {
            alone.extend(members);
        }
    }
    (alone, composites)
}

struct Groups<'a> {
    scope: OutputScope,
    by_service: BTreeMap<ServiceKey, ServiceObjectives<'a>>,
}

impl<'a> Groups<'a> {
    fn new(scope: OutputScope) -> Self {
        Self {
            scope,
            by_service: BTreeMap::new(),
        }
    }

    fn of(&mut self, service: &ServiceKey) -> &mut ServiceObjectives<'a> {
        self.by_service
            .entry(service.clone())
            .or_insert_with_key(|service| ServiceObjectives {
                service: service.clone(),
                scope: self.scope,
                objectives: Vec::new(),
                composites: Vec::new(),
                candidates: Vec::new(),
            })
    }

    fn sorted(mut self) -> BTreeMap<ServiceKey, ServiceObjectives<'a>> {
        for group in self.by_service.values_mut() {
            group.objectives.sort_by(|a, b| a.name.cmp(&b.name));
            group.candidates.sort_by(|a, b| {
                let rank = |one: &Candidate| one.state != CandidateState::Ready;
                (rank(a), &a.name).cmp(&(rank(b), &b.name))
            });
        }
        self.by_service
    }
}

/// The services of a report by `service.name`.
struct KnownServices(BTreeMap<Arc<str>, Vec<ServiceKey>>);

impl KnownServices {
    fn new<'a>(services: impl Iterator<Item = &'a ServiceKey>) -> Self {
        let mut by_name: BTreeMap<Arc<str>, Vec<ServiceKey>> = BTreeMap::new();
        for service in services {
            by_name
                .entry(Arc::clone(&service.name))
                .or_default()
                .push(service.clone());
        }
        Self(by_name)
    }

    fn service_of(&self, objective: &Objective) -> ServiceKey {
        let namesakes = self.0.get(objective.service.as_str()).into_iter().flatten();
        let mut selected = namesakes.filter(|service| objective.selects(service));
        match (selected.next(), selected.next()) {
            (Some(service), None) => service.clone(),
            (None | Some(_), _) => ServiceKey {
                namespace: objective.namespace.as_deref().unwrap_or_default().into(),
                environment: objective.environment.as_deref().unwrap_or_default().into(),
                name: objective.service.as_str().into(),
            },
        }
    }
}

fn is_expressible(target: f64) -> bool {
    target > 0.0 && target < 1.0
}

/// Whether a candidate is neither adopted nor rejected, and can be an SLO of its own.
fn awaits_answer(candidate: &Candidate) -> bool {
    let open = match candidate.state {
        CandidateState::Provisional | CandidateState::Ready => true,
        CandidateState::Adopted | CandidateState::Rejected => false,
    };
    open && candidate.sli != Sli::ErrorRate && is_expressible(candidate.target)
}
