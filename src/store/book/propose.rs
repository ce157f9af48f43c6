//! What fits suggest, and what becomes of suggestions that nobody decides about.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::model::candidate::{Candidate, CandidateState};
use crate::model::record::{Actor, Edit, Identity, RecordState, SloRecord};
use crate::model::series::ServiceKey;
use crate::model::slo::Objective;
use crate::store::book::Book;

impl Book {
    /// Takes note of what a fit suggests. Each candidate gets the name that its record has, and the state that people
    /// gave it. A suggestion whose terms are as before changes nothing.
    pub fn propose(&mut self, candidates: &mut [Candidate], edit: &Edit) {
        let mut names = self.names_of_identities();
        let adopted: Vec<Objective> = self.adopted().cloned().collect();
        let mut by_service: BTreeMap<&str, Vec<&Objective>> = BTreeMap::new();
        for objective in &adopted {
            let namesakes = by_service.entry(&objective.service).or_default();
            namesakes.push(objective);
        }
        for candidate in candidates {
            let namesakes = by_service.get(&*candidate.service.name);
            let mut rivals = namesakes.into_iter().flatten();
            let covered = rivals.any(|objective| candidate.is_covered_by(objective));
            let identity = Identity::of_candidate(candidate);
            match names.get(&identity) {
                Some(name) => {
                    candidate.name.clone_from(name);
                    self.refresh(candidate, covered, edit);
                }
                None if covered => candidate.state = CandidateState::Adopted,
                None => {
                    self.insert_proposed(candidate, &identity, edit);
                    names.insert(identity, candidate.name.clone());
                }
            }
        }
    }

    /// The most binding record of each identity. Suggestions beside an objective of their identity go, unless somebody
    /// touched them.
    fn names_of_identities(&mut self) -> BTreeMap<Identity, String> {
        let mut records: Vec<&SloRecord> = self.records().collect();
        records.sort_by_key(|record| match record.state {
            RecordState::Adopted => 0,
            RecordState::Rejected => 1,
            RecordState::Proposed => 2,
        });
        let mut names: BTreeMap<Identity, String> = BTreeMap::new();
        let mut redundant = Vec::new();
        for record in records {
            let name = record.name().to_owned();
            match names.entry(record.identity()) {
                Entry::Vacant(vacant) => {
                    vacant.insert(name);
                }
                Entry::Occupied(_) if is_only_fitted(record) => redundant.push(name),
                Entry::Occupied(_) => {}
            }
        }
        for name in redundant {
            self.remove(&name);
        }
        names
    }

    fn insert_proposed(&mut self, candidate: &mut Candidate, identity: &Identity, edit: &Edit) {
        let rejection = self.rejected_names.remove(&candidate.name);
        let suggested = std::mem::take(&mut candidate.name);
        candidate.name = self.free_name(suggested, identity);
        self.insert(SloRecord::proposed(candidate, edit));
        if let Some(text) = rejection {
            let actor = Actor::Person { name: None };
            let rejected = Edit {
                text,
                ..Edit::new(edit.at, actor)
            };
            self.change(&candidate.name, &rejected, |record| {
                record.state = RecordState::Rejected;
            });
            candidate.state = CandidateState::Rejected;
        }
    }

    fn refresh(&mut self, candidate: &mut Candidate, covered: bool, edit: &Edit) {
        let Some(record) = self.records.get(&candidate.name) else {
            return;
        };
        match record.state {
            RecordState::Adopted => candidate.state = CandidateState::Adopted,
            RecordState::Rejected => candidate.state = CandidateState::Rejected,
            RecordState::Proposed if covered => {
                if is_only_fitted(record) {
                    self.remove(&candidate.name);
                }
                candidate.state = CandidateState::Adopted;
            }
            RecordState::Proposed => {
                let suggested = candidate.clone();
                self.change(&candidate.name, edit, |record| suggest(record, suggested));
            }
        }
    }

    /// Keeps the newest evidence of proposals whose terms are as they were, without a change in their history.
    pub fn keep_evidence(&mut self, candidates: &[Candidate]) {
        for candidate in candidates {
            let Some(record) = self.records.get_mut(&candidate.name) else {
                continue;
            };
            let evidence = Some(candidate.clone());
            let newest = SloRecord {
                candidate: evidence,
                ..record.clone()
            };
            // Of what another objective stands for, the evidence is no longer asked for.
            let is_open = match candidate.state {
                CandidateState::Provisional | CandidateState::Ready => true,
                CandidateState::Adopted | CandidateState::Rejected => false,
            };
            let is_same = record.candidate == newest.candidate;
            if is_open && !is_same && newest.terms().same_as(&record.terms()) {
                *record = newest;
                self.touched.insert(candidate.name.clone());
            }
        }
    }

    /// Forgets proposals that nobody but fits ever touched, and whose history is gone. Returns how many.
    pub fn forget(&mut self, has_history: impl Fn(&ServiceKey, Option<&str>) -> bool) -> usize {
        let forgotten: Vec<String> = self
            .records()
            .filter(|record| record.state == RecordState::Proposed && is_only_fitted(record))
            .filter(|record| {
                let identity = record.identity();
                !has_history(&identity.service, identity.operation.as_deref())
            })
            .map(|record| record.name().to_owned())
            .collect();
        for name in &forgotten {
            self.remove(name);
        }
        forgotten.len()
    }
}

/// Puts what a fit suggests in place of what it suggested before, unless it says the same.
fn suggest(record: &mut SloRecord, candidate: Candidate) {
    let mut suggested = record.clone();
    suggested.objective.sli = candidate.sli;
    suggested.objective.target = candidate.target;
    suggested.objective.window = candidate.window.into();
    suggested.candidate = Some(candidate);
    if !suggested.terms().same_as(&record.terms()) {
        *record = suggested;
    }
}

/// Whether nobody but fits ever touched a record.
pub(super) fn is_only_fitted(record: &SloRecord) -> bool {
    record
        .history
        .iter()
        .all(|change| change.actor == Actor::Fit)
}
