//! What changed between reports, kept for those who were not watching.

use std::collections::BTreeMap;

use tokio::sync::watch;

use crate::model::UnixNanos;
use crate::model::canary::CanaryReport;
use crate::model::record::{Transition, TransitionPage};
use crate::model::report::{Report, Verdict, VerdictReport};
use crate::model::test_result::TestResult;
use crate::notify::{LogError, TransitionLog};
use crate::service::keeper::{CanaryKey, Keeper, Shown, ShownVerdict};
use crate::store::StoreError;

impl Keeper {
    /// What changed, with what is on its way to the store.
    pub(in crate::service) fn transitions(
        &self,
        since: Option<UnixNanos>,
        limit: usize,
    ) -> Result<Vec<Transition>, StoreError> {
        self.keep_transitions()?;
        self.store.transitions(since, limit)
    }

    /// What changed after the transition of this number, with what is on its way to the store.
    pub(in crate::service) fn transitions_after(
        &self,
        cursor: u64,
        limit: usize,
    ) -> Result<TransitionPage, StoreError> {
        self.keep_transitions()?;
        self.store.transitions_after(cursor, limit)
    }

    /// The number of the last transition that was kept, as it grows.
    pub(in crate::service) fn told(&self) -> watch::Receiver<u64> {
        self.store.told()
    }

    /// Ends when a tick left transitions.
    pub(in crate::service) async fn news(&self) {
        self.news.notified().await;
    }

    /// Writes the transitions that ticks left.
    pub(in crate::service) fn keep_transitions(&self) -> Result<(), StoreError> {
        let _passage = self.passage();
        self.save_transitions()
    }

    /// Remembers what was told last, so that a restart tells what changed since then and nothing a second time.
    pub(super) fn remember_verdicts(&self) -> Result<(), StoreError> {
        let mut shown = self.shown();
        for told in self.store.transitions(Some(0), usize::MAX)? {
            let of_service = shown.verdicts.entry(told.service.clone());
            match told.kind.as_str() {
                "verdict" => {
                    let mut labels = Verdict::ALL.into_iter();
                    if let Some(verdict) = labels.find(|verdict| verdict.label() == told.to) {
                        of_service
                            .or_insert_with(|| ShownVerdict::of(verdict))
                            .verdict = verdict;
                    }
                }
                "action" => {
                    let action = (!told.to.is_empty()).then_some(told.to);
                    of_service.and_modify(|shown| shown.action = action);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Notes the changes of verdicts and of what policies ask for since the report before; the next flush keeps them.
    pub(in crate::service) fn note_transitions(&self, report: &Report) {
        let mut shown = self.shown();
        let mut verdicts = BTreeMap::new();
        for verdict in std::iter::once(&report.verdict).chain(report.service_verdicts()) {
            let before = shown.verdicts.get(&verdict.service).cloned();
            let now = ShownVerdict {
                verdict: verdict.verdict,
                action: verdict.action.clone(),
            };
            shown.note(report.now, verdict, before.as_ref(), &now);
            verdicts.insert(verdict.service.clone(), now);
        }
        // Services that are gone are forgotten.
        shown.verdicts = verdicts;
        shown.note_canaries(report);
        shown.note_tests(report);
        // The store keeps no more either.
        let limit = usize::try_from(self.max_transitions).unwrap_or(usize::MAX);
        let excess = shown.transitions.len().saturating_sub(limit);
        shown.transitions.drain(..excess);
        if !shown.transitions.is_empty() {
            self.news.notify_one();
        }
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

impl TransitionLog for Keeper {
    fn after(&self, cursor: u64, limit: usize) -> Result<TransitionPage, LogError> {
        Ok(self.store.transitions_after(cursor, limit)?)
    }

    fn cursor(&self, reader: &str) -> Result<Option<u64>, LogError> {
        Ok(self.store.cursor(reader)?)
    }

    fn keep_cursor(&self, reader: &str, cursor: u64) -> Result<(), LogError> {
        Ok(self.store.keep_cursor(reader, cursor)?)
    }
}

impl Shown {
    fn note(
        &mut self,
        at: UnixNanos,
        verdict: &VerdictReport,
        before: Option<&ShownVerdict>,
        now: &ShownVerdict,
    ) {
        let texts = verdict.reasons.iter().map(|reason| reason.text.as_str());
        let text = texts.collect::<Vec<_>>().join("; ");
        let service = verdict.service.as_ref();
        let subject = service.map_or_else(|| "*".to_owned(), |service| service.name.to_string());
        let changes = [
            (
                "verdict",
                before.map_or("", |before| before.verdict.label()),
                now.verdict.label(),
            ),
            (
                "action",
                before.map_or("", ShownVerdict::action),
                now.action(),
            ),
        ];
        for (kind, from, to) in changes {
            if from == to {
                continue;
            }
            if before.is_some() {
                tracing::info!(
                    service = subject,
                    kind,
                    from,
                    to,
                    reasons = text,
                    "Verdict changed."
                );
            }
            self.transitions.push(Transition {
                sequence: 0,
                at,
                kind: kind.to_owned(),
                subject: subject.clone(),
                service: verdict.service.clone(),
                from: from.to_owned(),
                to: to.to_owned(),
                text: text.clone(),
            });
        }
    }
}

impl Shown {
    /// Notes what changed about the new versions of rollouts, and which rollouts are over.
    fn note_canaries(&mut self, report: &Report) {
        let canaries: BTreeMap<CanaryKey, Verdict> = report
            .canaries
            .iter()
            .map(|canary| (canary_key(canary), canary.verdict))
            .collect();
        let before = std::mem::replace(&mut self.canaries, canaries);
        let held = &self.canaries;
        let ended = before.iter().filter(|(key, _)| !held.contains_key(*key));
        let ended = ended.map(|(key, verdict)| ended_transition(report.now, key, *verdict));
        let changed = report.canaries.iter().filter_map(|canary| {
            let before = before.get(&canary_key(canary)).copied();
            (before != Some(canary.verdict)).then(|| canary_transition(report.now, canary, before))
        });
        self.transitions.extend(ended.chain(changed));
    }
}

impl Shown {
    /// Notes the changes of trace tests.
    fn note_tests(&mut self, report: &Report) {
        let mut tests = BTreeMap::new();
        for test in report.test_results.iter().flat_map(|tests| &tests.tests) {
            let key = (test.suite.clone(), test.name.clone());
            let before = self.tests.get(&key).copied();
            tests.insert(key, test.verdict);
            if before != Some(test.verdict) {
                self.transitions
                    .push(test_transition(report.now, test, before));
            }
        }
        self.tests = tests;
    }
}

fn test_transition(now: UnixNanos, test: &TestResult, before: Option<Verdict>) -> Transition {
    let (from, to) = (before.map_or("", Verdict::label), test.verdict.label());
    if before.is_some() {
        tracing::info!(
            test = test.name,
            from,
            to,
            reason = test.text,
            "Trace test changed."
        );
    }
    Transition {
        sequence: 0,
        at: now,
        kind: "test".to_owned(),
        subject: test.name.clone(),
        service: None,
        from: from.to_owned(),
        to: to.to_owned(),
        text: test.text.clone(),
    }
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
        sequence: 0,
        at: now,
        kind: "canary".to_owned(),
        subject,
        service: Some(canary.service.clone()),
        from: before.map_or("", Verdict::label).to_owned(),
        to: to.to_owned(),
        text: canary.text.clone(),
    }
}

/// A rollout is over: the last finding stays here.
fn ended_transition(now: UnixNanos, key: &CanaryKey, last: Verdict) -> Transition {
    let subject = canary_subject(key);
    tracing::info!(canary = subject, last = last.label(), "Rollout ended.");
    let (service, version) = key;
    Transition {
        sequence: 0,
        at: now,
        kind: "canary".to_owned(),
        text: format!(
            "the rollout of `{version}` is over: only one version takes requests, or a newer one came"
        ),
        subject,
        service: Some(service.clone()),
        from: last.label().to_owned(),
        to: "ended".to_owned(),
    }
}

fn canary_subject((service, version): &CanaryKey) -> String {
    format!("{}@{version}", service.name)
}

impl ShownVerdict {
    fn of(verdict: Verdict) -> Self {
        Self {
            verdict,
            action: None,
        }
    }

    fn action(&self) -> &str {
        self.action.as_deref().unwrap_or_default()
    }
}
