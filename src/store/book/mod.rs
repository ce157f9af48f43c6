//! The SLOs of a store in memory: who may decide what, and how two stores become one.
//!
//! Pure: the database and the JSON file load a book, change it, and keep what changed.

mod merge;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::model::UnixNanos;
use crate::model::candidate::{Candidate, CandidateState};
use crate::model::record::{
    Accepted, Actor, Change, ChangeKind, Edit, Identity, RecordState, SloRecord, Transition,
};
use crate::model::series::ServiceKey;
use crate::model::slo::{Objective, ObjectiveSource, Sli};
use crate::model::slug::{name_with_hash, name_with_long_hash};

pub use merge::StoreUpdate;

/// Why a decision cannot be executed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecisionError {
    /// Nothing has this name.
    #[error("no SLO is called {name}; `slo-copilot store list` shows those that there are")]
    NotFound {
        /// As asked.
        name: String,
    },
    /// It is an objective already, or another objective stands for it.
    #[error("{name} is adopted already{}", rival.as_ref().map(|rival| format!(": objective {rival} stands for it")).unwrap_or_default())]
    AlreadyAdopted {
        /// As asked.
        name: String,
        /// The objective that stands for it, if it is another one.
        rival: Option<String>,
    },
    /// An error rate is never an objective of its own.
    #[error(
        "{name} is the complement of an availability candidate, and both would count every error twice; \
         accept the availability candidate of {service} instead"
    )]
    Complement {
        /// As asked.
        name: String,
        /// Its service.
        service: String,
    },
}

/// The records by name, and what changed since they were loaded.
#[derive(Clone, Debug, Default)]
pub struct Book {
    records: BTreeMap<String, SloRecord>,
    /// Names that an earlier version rejected, with the reason: it did not keep what they measure.
    rejected_names: BTreeMap<String, String>,
    max_history: usize,
    touched: BTreeSet<String>,
    transitions: Vec<Transition>,
}

impl Book {
    /// A book of these records, each of which keeps at most `max_history` changes.
    pub fn new(records: impl IntoIterator<Item = SloRecord>, max_history: usize) -> Self {
        let records = records.into_iter();
        Self {
            records: records
                .map(|record| (record.name().to_owned(), record))
                .collect(),
            max_history,
            ..Self::default()
        }
    }

    /// The same with names that an earlier version rejected.
    pub(super) fn with_rejected_names(self, rejected_names: BTreeMap<String, String>) -> Self {
        Self {
            rejected_names,
            ..self
        }
    }

    /// The records by name.
    pub fn records(&self) -> impl Iterator<Item = &SloRecord> {
        self.records.values()
    }

    /// One record.
    pub fn get(&self, name: &str) -> Option<&SloRecord> {
        self.records.get(name)
    }

    /// The adopted objectives by name.
    pub fn adopted(&self) -> impl Iterator<Item = &Objective> {
        let adopted = self
            .records()
            .filter(|record| record.state == RecordState::Adopted);
        adopted.map(|record| &record.objective)
    }

    /// All records by name.
    pub fn into_records(self) -> Vec<SloRecord> {
        self.records.into_values().collect()
    }

    /// Whether anything changed since the book was loaded.
    pub fn is_changed(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Names of the records that are new, changed or gone.
    pub(super) fn touched(&self) -> &BTreeSet<String> {
        &self.touched
    }

    /// What people want to hear of.
    pub(super) fn transitions(&self) -> &[Transition] {
        &self.transitions
    }

    /// Whether a name is still one of those that an earlier version rejected.
    pub(super) fn is_rejected_name(&self, name: &str) -> bool {
        self.rejected_names.contains_key(name)
    }

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
            let covered = rivals.any(|objective| covers(objective, candidate));
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
            if let Some(record) = self.records.get_mut(&candidate.name)
                && record.state == RecordState::Proposed
                && record.candidate.as_ref() != Some(candidate)
            {
                record.candidate = Some(candidate.clone());
                self.touched.insert(candidate.name.clone());
            }
        }
    }

    /// Makes an objective of a proposal, or of one that was rejected.
    pub fn accept(&mut self, name: &str, edit: &Edit) -> Result<Accepted, DecisionError> {
        if let Some(record) = self.get(name)
            && record.objective.sli == Sli::ErrorRate
        {
            return Err(DecisionError::Complement {
                name: name.to_owned(),
                service: record.objective.service.clone(),
            });
        }
        let record = self.open(name)?;
        let warning = warning(record);
        self.change(name, edit, |record| {
            record.state = RecordState::Adopted;
            record.objective.source = match edit.actor {
                Actor::Auto => ObjectiveSource::Auto,
                Actor::Person { .. }
                | Actor::Config
                | Actor::File
                | Actor::Import { .. }
                | Actor::Fit => ObjectiveSource::Accepted,
            };
        });
        let objective = self.open_objective(name)?;
        Ok(Accepted { objective, warning })
    }

    /// Refuses a proposal, so that it is not suggested again whatever it is called then.
    pub fn reject(&mut self, name: &str, edit: &Edit) -> Result<(), DecisionError> {
        self.open(name)?;
        self.change(name, edit, |record| record.state = RecordState::Rejected);
        Ok(())
    }

    /// A record that somebody may still decide about.
    fn open(&self, name: &str) -> Result<&SloRecord, DecisionError> {
        let not_found = || DecisionError::NotFound {
            name: name.to_owned(),
        };
        let record = self.get(name).ok_or_else(not_found)?;
        let adopted = |rival| {
            Err(DecisionError::AlreadyAdopted {
                name: name.to_owned(),
                rival,
            })
        };
        if record.state == RecordState::Adopted {
            return adopted(None);
        }
        let rival = record.candidate.as_ref().and_then(|candidate| {
            let mut adopted = self.adopted();
            adopted.find(|objective| covers(objective, candidate))
        });
        match rival {
            Some(rival) => adopted(Some(rival.name.clone())),
            None => Ok(record),
        }
    }

    fn open_objective(&self, name: &str) -> Result<Objective, DecisionError> {
        let record = self.get(name).ok_or_else(|| DecisionError::NotFound {
            name: name.to_owned(),
        })?;
        Ok(record.objective.clone())
    }

    /// Adopts what configuration and files promise, whatever stood under these names, and withdraws what they promised
    /// before and do no longer: it becomes a proposal.
    pub fn configure(&mut self, objectives: &[Objective], at: Timestamp) {
        for objective in objectives {
            let edit = Edit::new(at, author(objective.source));
            match self.records.get(&objective.name) {
                None => {
                    let record = SloRecord::written(RecordState::Adopted, objective.clone(), &edit);
                    self.insert(record);
                }
                Some(record)
                    if record.state == RecordState::Adopted && record.objective == *objective => {}
                Some(_) => {
                    self.change(&objective.name, &edit, |record| {
                        record.state = RecordState::Adopted;
                        record.objective = objective.clone();
                    });
                }
            }
        }
        let promised: BTreeSet<&str> = objectives
            .iter()
            .map(|objective| objective.name.as_str())
            .collect();
        let withdrawn: Vec<Objective> = self
            .adopted()
            .filter(|objective| is_configured(objective) && !promised.contains(&*objective.name))
            .cloned()
            .collect();
        for objective in withdrawn {
            let edit = Edit {
                text: "no longer in the configuration".to_owned(),
                ..Edit::new(at, author(objective.source))
            };
            self.change(&objective.name, &edit, |record| {
                record.state = RecordState::Proposed;
            });
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

    /// Changes a record and notes what that changed of its terms, or else of its settings.
    fn change(&mut self, name: &str, edit: &Edit, alter: impl FnOnce(&mut SloRecord)) -> bool {
        let Some(record) = self.records.get_mut(name) else {
            return false;
        };
        let (terms, objective) = (record.terms(), record.objective.clone());
        alter(record);
        let limit = self.max_history;
        let change = if record.terms().same_as(&terms) {
            let settings_changed = !same_settings(&record.objective, &objective)
                || record.objective.source != objective.source;
            settings_changed
                .then(|| record.push(ChangeKind::SettingsChanged, Some(terms), edit, limit))
                .flatten()
        } else {
            record.note(&terms, edit, limit)
        };
        let Some(change) = change else {
            return false;
        };
        self.transitions.extend(transition(name, change));
        self.touched.insert(name.to_owned());
        true
    }

    fn insert(&mut self, record: SloRecord) {
        let name = record.name().to_owned();
        let created = record.history.last();
        self.transitions
            .extend(created.and_then(|change| transition(&name, change)));
        self.touched.insert(name.clone());
        self.records.insert(name, record);
    }

    fn remove(&mut self, name: &str) {
        self.records.remove(name);
        self.touched.insert(name.to_owned());
    }

    /// This name, or one that ends in a hash of the identity where it is taken.
    fn free_name(&self, name: String, identity: &Identity) -> String {
        let is_free = |name: &String| !self.records.contains_key(name);
        if is_free(&name) {
            return name;
        }
        let hashed = name_with_hash(&[&name], &identity.parts());
        if is_free(&hashed) {
            return hashed;
        }
        name_with_long_hash(&[&name], &identity.parts())
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

/// Whether an objective stands for a candidate, whatever both are called and promise.
fn covers(objective: &Objective, candidate: &Candidate) -> bool {
    let kind = |sli: Sli| match sli {
        Sli::Availability | Sli::ErrorRate => Sli::Availability.slug(),
        Sli::Latency { .. } => sli.slug(),
    };
    objective.selects(&candidate.service)
        && objective.operation == candidate.operation
        && kind(objective.sli) == kind(candidate.sli)
}

/// Whether nobody but fits ever touched a record.
fn is_only_fitted(record: &SloRecord) -> bool {
    record
        .history
        .iter()
        .all(|change| change.actor == Actor::Fit)
}

fn is_configured(objective: &Objective) -> bool {
    match objective.source {
        ObjectiveSource::Config | ObjectiveSource::File => true,
        ObjectiveSource::Accepted | ObjectiveSource::Auto | ObjectiveSource::Fitted => false,
    }
}

fn author(source: ObjectiveSource) -> Actor {
    match source {
        ObjectiveSource::Config => Actor::Config,
        ObjectiveSource::File => Actor::File,
        ObjectiveSource::Auto => Actor::Auto,
        ObjectiveSource::Accepted => Actor::Person { name: None },
        ObjectiveSource::Fitted => Actor::Fit,
    }
}

/// Whether two objectives differ in nothing but their terms and who adopted them.
fn same_settings(left: &Objective, right: &Objective) -> bool {
    let settings = |objective: &Objective| Objective {
        name: String::new(),
        sli: Sli::Availability,
        target: 0.0,
        window: right.window.clone(),
        budgeting: right.budgeting,
        source: ObjectiveSource::Config,
        ..objective.clone()
    };
    settings(left) == settings(right)
}

fn warning(record: &SloRecord) -> Option<String> {
    let candidate = record.candidate.as_ref()?;
    (candidate.state == CandidateState::Provisional).then(|| {
        format!(
            "{} is provisional and gates all the same from now on: {}",
            record.name(),
            candidate.missing.join("; ")
        )
    })
}

/// A change that is more than a moving suggestion.
fn transition(name: &str, change: &Change) -> Option<Transition> {
    let before = change.from.as_ref();
    let from = before.map(|terms| terms.state);
    let adopted = [from, Some(change.to.state)].contains(&Some(RecordState::Adopted));
    let (from, to) = match change.what {
        ChangeKind::Created | ChangeKind::Imported | ChangeKind::StateChanged => (
            from.map_or("", RecordState::label).to_owned(),
            change.to.state.label().to_owned(),
        ),
        ChangeKind::TargetChanged => (
            before.map_or_else(String::new, |terms| terms.target.to_string()),
            change.to.target.to_string(),
        ),
        ChangeKind::ReadinessChanged | ChangeKind::SettingsChanged => return None,
    };
    if !adopted && change.what != ChangeKind::StateChanged {
        return None;
    }
    Some(Transition {
        at: UnixNanos::try_from(change.at.as_nanosecond()).unwrap_or(0),
        kind: if adopted { "objective" } else { "candidate" }.to_owned(),
        subject: name.to_owned(),
        from,
        to,
        text: change.text.clone(),
    })
}

#[cfg(test)]
mod tests;
