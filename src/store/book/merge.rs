//! Two stores become one: what is told of by both is found by name or identity, and no history is lost.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::model::candidate::Candidate;
use crate::model::record::{ChangeKind, Edit, Identity, RecordState, SloRecord};
use crate::model::slo::{Objective, ObjectiveSource};
use crate::store::book::propose::is_only_fitted;
use crate::store::book::{Book, same_settings, transition};

/// What a merge or a replacement did, by names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoreUpdate {
    /// New here.
    pub added: Vec<String>,
    /// Their terms or settings changed.
    pub changed: Vec<String>,
    /// They say what they said before.
    pub kept: Vec<String>,
    /// Gone.
    pub removed: Vec<String>,
    /// Adopted before and no longer: removed, or changed to another state.
    pub released: Vec<String>,
    /// Not understood, each with the reason.
    pub skipped: Vec<String>,
}

/// Which side's terms hold where both sides speak of one SLO.
#[derive(Clone, Copy)]
enum Prevails {
    /// A decision over a suggestion, else the later change.
    Newer,
    Incoming,
}

impl Book {
    /// Adds records. Where both sides speak of one SLO, a decision prevails over a suggestion, else the later change;
    /// histories are united.
    pub fn merge(&mut self, incoming: Vec<SloRecord>, edit: &Edit) -> StoreUpdate {
        let mut update = StoreUpdate::default();
        self.take_in(incoming, edit, Prevails::Newer, &mut update);
        update
    }

    /// Puts records in place of all that are here. Those that both sides speak of keep their history.
    pub fn replace(&mut self, incoming: Vec<SloRecord>, edit: &Edit) -> StoreUpdate {
        let adopted: Vec<String> = self.adopted().map(|held| held.name.clone()).collect();
        let mut update = StoreUpdate::default();
        let before: Vec<String> = self.records.keys().cloned().collect();
        let present = self.take_in(incoming, edit, Prevails::Incoming, &mut update);
        for name in before {
            if !present.contains(&name) {
                self.remove(&name);
                update.removed.push(name);
            }
        }
        let is_adopted = |name: &String| {
            let record = self.get(name);
            record.is_some_and(|record| record.state == RecordState::Adopted)
        };
        update.released = adopted;
        update.released.retain(|name| !is_adopted(name));
        update
    }

    /// Returns the names under which the incoming records are here now.
    fn take_in(
        &mut self,
        mut incoming: Vec<SloRecord>,
        edit: &Edit,
        prevails: Prevails,
        update: &mut StoreUpdate,
    ) -> BTreeSet<String> {
        incoming.sort_by(|a, b| a.name().cmp(b.name()));
        let counterparts = self.counterparts(&incoming);
        let mut present: BTreeSet<String> = counterparts.iter().flatten().cloned().collect();
        for (record, counterpart) in incoming.into_iter().zip(counterparts) {
            let Some(name) = counterpart else {
                let name = self.add(record, edit);
                present.insert(name.clone());
                update.added.push(name);
                continue;
            };
            if self.unite(&name, record, edit, prevails) {
                update.changed.push(name);
            } else {
                update.kept.push(name);
            }
        }
        present
    }

    /// For each incoming record the name of the one here that it speaks of: of the same name and subject, else of the
    /// same identity. No record here has two counterparts.
    fn counterparts(&self, incoming: &[SloRecord]) -> Vec<Option<String>> {
        let mut claimed = BTreeSet::new();
        let mut counterparts: Vec<Option<String>> = incoming
            .iter()
            .map(|record| {
                let held = self.get(record.name())?;
                let same = held.identity().same_subject(&record.identity());
                (same && claimed.insert(held.name().to_owned())).then(|| held.name().to_owned())
            })
            .collect();
        let mut open: BTreeMap<Identity, Vec<&str>> = BTreeMap::new();
        for record in self.records().filter(|held| !claimed.contains(held.name())) {
            let rivals = open.entry(record.identity()).or_default();
            rivals.push(record.name());
        }
        for (record, counterpart) in incoming.iter().zip(&mut counterparts) {
            if counterpart.is_none()
                && let Some(rivals) = open.get_mut(&record.identity())
                && !rivals.is_empty()
            {
                *counterpart = Some(rivals.remove(0).to_owned());
            }
        }
        counterparts
    }

    fn add(&mut self, mut record: SloRecord, edit: &Edit) -> String {
        let identity = record.identity();
        let name = std::mem::take(&mut record.objective.name);
        record.objective.name = self.free_name(name, &identity);
        record.objective.source = imported_source(record.objective.source);
        if let Some(candidate) = &mut record.candidate {
            candidate.name.clone_from(&record.objective.name);
        }
        let told = record
            .history
            .last()
            .is_some_and(|change| (change.at, &change.actor) == (edit.at, &edit.actor));
        if told {
            record.bound_history(self.max_history);
        } else {
            record.push(ChangeKind::Imported, None, edit, self.max_history);
        }
        let name = record.name().to_owned();
        self.insert(record);
        name
    }

    /// Returns whether terms or settings changed.
    fn unite(&mut self, name: &str, incoming: SloRecord, edit: &Edit, prevails: Prevails) -> bool {
        let limit = self.max_history;
        let Some(held) = self.records.get_mut(name) else {
            return false;
        };
        let before = held.terms();
        let takes = match prevails {
            Prevails::Incoming => true,
            Prevails::Newer => is_newer(&incoming, held),
        };
        let history_grew = !is_fresh(&incoming) && unite_histories(held, &incoming, limit);
        let incoming = adapted(incoming, held);
        let same_terms = incoming.terms().same_as(&before);
        let service = incoming.identity().service;
        let changes = takes && !(same_terms && same_settings(&incoming.objective, &held.objective));
        if changes {
            held.state = incoming.state;
            held.objective = incoming.objective;
            held.candidate = incoming.candidate;
            let change = if same_terms {
                held.push(ChangeKind::SettingsChanged, Some(before), edit, limit)
            } else {
                held.note(&before, edit, limit)
            };
            let transition = change.and_then(|change| transition(name, service, change));
            self.transitions.extend(transition);
        } else if let Some(told) = held.history.last().map(|change| change.to.clone()) {
            // The last change tells what holds, also where a later one of the other side does not.
            held.note(&told, edit, limit);
        }
        if changes || history_grew {
            self.touched.insert(name.to_owned());
        }
        changes
    }
}

/// The incoming record as it stands in the place of the one here.
fn adapted(incoming: SloRecord, held: &SloRecord) -> SloRecord {
    let name = held.name().to_owned();
    let candidate = incoming.candidate.or_else(|| held.candidate.clone());
    SloRecord {
        candidate: candidate.map(|candidate| Candidate {
            name: name.clone(),
            ..candidate
        }),
        objective: Objective {
            name,
            source: imported_source(incoming.objective.source),
            ..incoming.objective
        },
        ..incoming
    }
}

/// What another place's configuration promised is here by a person's word, since no configuration of ours holds it.
fn imported_source(source: ObjectiveSource) -> ObjectiveSource {
    match source {
        ObjectiveSource::Config
        | ObjectiveSource::File
        | ObjectiveSource::Accepted
        | ObjectiveSource::Fitted => ObjectiveSource::Accepted,
        ObjectiveSource::Auto => ObjectiveSource::Auto,
    }
}

/// Whether the incoming record's terms hold rather than those here.
fn is_newer(incoming: &SloRecord, held: &SloRecord) -> bool {
    let decided = |record: &SloRecord| record.state != RecordState::Proposed;
    let rank = |record: &SloRecord| (decided(record), record.changed_at());
    rank(incoming) >= rank(held)
}

/// Whether a record is a suggestion that tells of nothing but itself: a fit of its own, not the history of a store.
pub(super) fn is_fresh(record: &SloRecord) -> bool {
    let told = record.history_dropped + record.history.len() as u64;
    record.state == RecordState::Proposed && told <= 1 && is_only_fitted(record)
}

/// Adds the changes that only the other side knows. Those older than what this side has room for went already.
fn unite_histories(held: &mut SloRecord, incoming: &SloRecord, limit: usize) -> bool {
    let oldest = held.history.first().map(|change| change.at);
    let oldest = oldest.filter(|_| held.history_dropped > 0);
    let dropped = held.history_dropped;
    let length = held.history.len();
    for change in &incoming.history {
        let went = oldest.is_some_and(|oldest| change.at < oldest);
        if !went && !held.history.iter().any(|own| own.same_as(change)) {
            let place = held.history.partition_point(|own| own.at <= change.at);
            held.history.insert(place, change.clone());
        }
    }
    let grew = held.history.len() > length;
    held.history_dropped = dropped.max(incoming.history_dropped);
    held.bound_history(limit);
    grew || held.history_dropped != dropped
}
