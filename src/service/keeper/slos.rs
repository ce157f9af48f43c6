//! What becomes of candidates, who decides about them, and what changed: the keeper's part of the store's SLOs.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use crate::api::Decision;
use crate::config::Adopt;
use crate::evaluator::verdict::timestamp;
use crate::model::UnixNanos;
use crate::model::canary::CanaryReport;
use crate::model::candidate::{Candidate, CandidateState};
use crate::model::record::{Accepted, Actor, Edit, SloRecord, Transition};
use crate::model::report::{Report, Verdict, VerdictReport};
use crate::model::slo::{Objective, Sli};
use crate::service::keeper::{CanaryKey, Keeper};
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
            accepted.map_err(|error| self.known(error))
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

    /// What changed, with what is on its way to the store.
    pub(in crate::service) fn transitions(
        &self,
        since: Option<UnixNanos>,
        limit: usize,
    ) -> Result<Vec<Transition>, StoreError> {
        let _passage = self.passage();
        self.save_transitions()?;
        self.store.transitions(since, limit)
    }

    /// Notes the changes of verdicts since the report before; the next flush keeps them.
    pub(in crate::service) fn note_transitions(&self, report: &Report) {
        let mut shown = self.shown();
        let mut verdicts = BTreeMap::new();
        for verdict in std::iter::once(&report.verdict).chain(report.service_verdicts()) {
            let before = shown.verdicts.get(&verdict.service).copied();
            verdicts.insert(verdict.service.clone(), verdict.verdict);
            if before != Some(verdict.verdict) {
                shown
                    .transitions
                    .push(verdict_transition(report.now, verdict, before));
            }
        }
        // Services that are gone are forgotten.
        shown.verdicts = verdicts;
        let canaries: BTreeMap<CanaryKey, Verdict> = report
            .canaries
            .iter()
            .map(|canary| (canary_key(canary), canary.verdict))
            .collect();
        let before = std::mem::replace(&mut shown.canaries, canaries);
        let changed = report.canaries.iter().filter_map(|canary| {
            let before = before.get(&canary_key(canary)).copied();
            (before != Some(canary.verdict)).then(|| canary_transition(report.now, canary, before))
        });
        let held = &shown.canaries;
        let ended = before.iter().filter(|(key, _)| !held.contains_key(*key));
        let ended = ended.map(|(key, verdict)| ended_transition(report.now, key, *verdict));
        let transitions: Vec<Transition> = ended.chain(changed).collect();
        shown.transitions.extend(transitions);
        // The store keeps no more either.
        let limit = usize::try_from(self.max_transitions).unwrap_or(usize::MAX);
        let excess = shown.transitions.len().saturating_sub(limit);
        shown.transitions.drain(..excess);
    }

    /// Writes the transitions that ticks left; the caller holds the passage, so that they stay in order.
    pub(super) fn save_transitions(&self) -> Result<(), StoreError> {
        let transitions = std::mem::take(&mut self.shown().transitions);
        if transitions.is_empty() {
            return Ok(());
        }
        self.store
            .append_transitions(&transitions)
            .inspect_err(|_| {
                self.shown().transitions.splice(0..0, transitions);
            })
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

fn canary_key(canary: &CanaryReport) -> CanaryKey {
    let version = canary.canary.version.clone();
    (canary.service.clone(), version)
}

/// What changed about the new version of a rollout.
fn canary_transition(now: UnixNanos, canary: &CanaryReport, before: Option<Verdict>) -> Transition {
    let (subject, to) = (canary_subject(&canary_key(canary)), canary.verdict.label());
    tracing::info!(
        canary = subject,
        to,
        why = canary.text,
        "Canary verdict changed."
    );
    Transition {
        at: now,
        kind: "canary".to_owned(),
        subject,
        from: before.map_or("", Verdict::label).to_owned(),
        to: to.to_owned(),
        text: canary.text.clone(),
    }
}

/// A rollout is over: the last finding stays here.
fn ended_transition(now: UnixNanos, key: &CanaryKey, last: Verdict) -> Transition {
    let subject = canary_subject(key);
    tracing::info!(canary = subject, last = last.label(), "Rollout ended.");
    Transition {
        at: now,
        kind: "canary".to_owned(),
        text: format!(
            "the rollout of `{}` is over: only one version takes requests, or a newer one came",
            key.1
        ),
        subject,
        from: last.label().to_owned(),
        to: "ended".to_owned(),
    }
}

fn canary_subject((service, version): &CanaryKey) -> String {
    format!("{}@{version}", service.name)
}

fn verdict_transition(
    now: UnixNanos,
    verdict: &VerdictReport,
    before: Option<Verdict>,
) -> Transition {
    let service = verdict.service.as_ref();
    let subject = service.map_or_else(|| "*".to_owned(), |service| service.name.to_string());
    let texts = verdict.reasons.iter().map(|reason| reason.text.as_str());
    let text = texts.collect::<Vec<_>>().join("; ");
    let (from, to) = (before.map_or("", Verdict::label), verdict.verdict.label());
    if before.is_some() {
        tracing::info!(
            service = subject,
            from,
            to,
            reasons = text,
            "Verdict changed."
        );
    }
    Transition {
        at: now,
        kind: "verdict".to_owned(),
        subject,
        from: from.to_owned(),
        to: to.to_owned(),
        text,
    }
}
