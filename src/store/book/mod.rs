//! The SLOs of a store in memory: who may decide what, and how two stores become one.
//!
//! Pure: the database and the JSON file load a book, change it, and keep what changed.

mod merge;
mod propose;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::model::UnixNanos;
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
            adopted.find(|objective| candidate.is_covered_by(objective))
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

    /// Changes a record and notes what that changed of its terms, or else of its settings.
    fn change(&mut self, name: &str, edit: &Edit, alter: impl FnOnce(&mut SloRecord)) -> bool {
        let Some(record) = self.records.get_mut(name) else {
            return false;
        };
        let (terms, objective) = (record.terms(), record.objective.clone());
        alter(record);
        let service = record.identity().service;
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
        self.transitions.extend(transition(name, service, change));
        self.touched.insert(name.to_owned());
        true
    }

    fn insert(&mut self, record: SloRecord) {
        let name = record.name().to_owned();
        let created = record.history.last();
        let service = record.identity().service;
        self.transitions
            .extend(created.and_then(|change| transition(&name, service, change)));
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
    let doubt = record.candidate.as_ref()?.doubt()?;
    let name = record.name();
    Some(format!(
        "{name} gates all the same from now on; it is {doubt}"
    ))
}

/// A change that is more than a moving suggestion.
fn transition(name: &str, service: ServiceKey, change: &Change) -> Option<Transition> {
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
        sequence: 0,
        service: Some(service),
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
