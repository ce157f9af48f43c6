//! What becomes of candidates, who decides about them, and what changed: the keeper's part of the store's SLOs.

use std::sync::PoisonError;

use crate::api::Decision;
use crate::config::Adopt;
use crate::evaluator::verdict::timestamp;
use crate::model::candidate::{Candidate, CandidateState};
use crate::model::record::{Accepted, Actor, Edit, SloRecord};
use crate::model::slo::{Objective, Sli};
use crate::service::keeper::Keeper;
use crate::store::StoreError;
use crate::store::book::{Book, DecisionError};

impl Keeper {
    /// Fits candidates, keeps them as proposals, and adopts ready ones if so configured.
    pub(in crate::service) fn refresh_candidates(&self) -> Result<(), StoreError> {
        let _fitting = self.fitting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut candidates = self.fit_candidates()?;
        let at = timestamp(self.clock.now());
        let mut passage = self.passage();
        let adopted = self.store.edit_slos(|book| {
            book.propose(&mut candidates, &Edit::new(at, Actor::Fit));
            Ok::<_, StoreError>(match self.adopt {
                Adopt::Manual => Vec::new(),
                Adopt::Auto => adopt_ready(book, &mut candidates, &Edit::new(at, Actor::Auto)),
            })
        })?;
        self.attach_all(&mut passage, adopted);
        // Before the passage is free: a decision after it must not be shown as open again.
        self.shown().candidates = candidates;
        Ok(())
    }

    /// The candidates with the state that people gave them.
    pub(in crate::service) fn candidates(&self) -> Vec<Candidate> {
        self.shown().candidates.clone()
    }

    /// Adopts the candidate with this name for a person.
    pub(in crate::service) fn accept(
        &self,
        name: &str,
        decision: Decision,
    ) -> Result<Accepted, StoreError> {
        let mut passage = self.passage();
        let edit = self.edit_by(decision);
        let accepted = self.store.edit_slos(|book| {
            let accepted = book.accept(name, &edit);
            accepted.map_err(|error| match (error, self.shown_complement(name)) {
                (DecisionError::NotFound { .. }, Some(complement)) => complement.into(),
                (error, _) => self.known(error),
            })
        })?;
        self.attach_all(&mut passage, vec![accepted.objective.clone()]);
        self.show(name, CandidateState::Adopted);
        Ok(accepted)
    }

    /// Refuses the candidate with this name for a person.
    pub(in crate::service) fn reject(
        &self,
        name: &str,
        decision: Decision,
    ) -> Result<(), StoreError> {
        let _passage = self.passage();
        let edit = self.edit_by(decision);
        self.store.edit_slos(|book| {
            let rejected = book.reject(name, &edit);
            rejected.map_err(|error| self.known(error))
        })?;
        self.show(name, CandidateState::Rejected);
        Ok(())
    }

    fn edit_by(&self, decision: Decision) -> Edit {
        let Decision { by, reason } = decision;
        Edit {
            at: timestamp(self.clock.now()),
            actor: Actor::Person { name: by },
            text: reason.unwrap_or_default(),
        }
    }

    /// A candidate that another objective stands for has no record, yet it is shown.
    fn known(&self, error: DecisionError) -> StoreError {
        let error = match error {
            DecisionError::NotFound { name } => {
                let shown = self.shown();
                let found = shown.candidates.iter().find(|held| held.name == name);
                if found.is_some_and(|held| held.state == CandidateState::Adopted) {
                    DecisionError::AlreadyAdopted { name, rival: None }
                } else {
                    DecisionError::NotFound { name }
                }
            }
            other @ (DecisionError::AlreadyAdopted { .. } | DecisionError::Complement { .. }) => {
                other
            }
        };
        StoreError::Decision(error)
    }

    /// Nobody can accept an error rate that is shown, whether or not a fit has left it out of the store by now.
    fn shown_complement(&self, name: &str) -> Option<DecisionError> {
        let shown = self.shown();
        let mut rates = shown
            .candidates
            .iter()
            .filter(|held| held.sli == Sli::ErrorRate);
        let rate = rates.find(|held| held.name == name)?;
        Some(DecisionError::Complement {
            name: name.to_owned(),
            service: rate.service.name.to_string(),
        })
    }

    /// Shows a decision at the next tick rather than after the next fit.
    fn show(&self, name: &str, state: CandidateState) {
        let mut shown = self.shown();
        let Some(decided) = shown
            .candidates
            .iter()
            .find(|held| held.name == name)
            .cloned()
        else {
            return;
        };
        for candidate in &mut shown.candidates {
            let same_subject = (&candidate.service, &candidate.operation)
                == (&decided.service, &decided.operation);
            // An error rate is judged with the availability that it is the complement of.
            let complement = state == CandidateState::Adopted
                && candidate.sli == Sli::ErrorRate
                && decided.sli == Sli::Availability;
            if candidate.name == name || (same_subject && complement) {
                candidate.state = state;
            }
        }
    }

    /// Keeps the newest evidence of proposals that changed nothing else since.
    pub(super) fn keep_evidence(&self) -> Result<(), StoreError> {
        let candidates = self.candidates();
        self.store.edit_slos(|book| {
            book.keep_evidence(&candidates);
            Ok(())
        })
    }

    /// The SLOs of the store with their histories.
    pub(in crate::service) fn slos(&self) -> Result<Vec<SloRecord>, StoreError> {
        self.store.slos()
    }

    /// One SLO of the store.
    pub(in crate::service) fn slo(&self, name: &str) -> Result<SloRecord, StoreError> {
        let not_found = || DecisionError::NotFound {
            name: name.to_owned(),
        };
        Ok(self.store.slo(name)?.ok_or_else(not_found)?)
    }
}

/// Adopts the candidates whose evidence is enough and that nobody decided about.
fn adopt_ready(book: &mut Book, candidates: &mut [Candidate], edit: &Edit) -> Vec<Objective> {
    let ready = candidates.iter_mut().filter(|candidate| {
        candidate.state == CandidateState::Ready && candidate.sli != Sli::ErrorRate
    });
    ready
        .filter_map(|candidate| {
            let accepted = book.accept(&candidate.name, edit).ok()?;
            candidate.state = CandidateState::Adopted;
            Some(accepted.objective)
        })
        .collect()
}
