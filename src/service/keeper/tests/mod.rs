//! What a slow or broken disk must not do, and what a crash must not cost.

mod crashes;

use redb::{Database, TableDefinition};
use tempfile::TempDir;

use super::*;
use crate::api::Decision;
use crate::evaluator::Evaluator;
use crate::evaluator::verdict::timestamp;
use crate::model::NANOS_PER_SEC;
use crate::model::candidate::CandidateState;
use crate::model::record::{Actor, Edit, RecordState};
use crate::model::sampling::ServiceSampling;
use crate::model::slo::{ObjectiveSource, Sli};
use crate::model::window::WindowSums;
use crate::openslo::fixture::{latency_candidate, report};
use crate::window::event::SpanInput;
use crate::window::ledger::LedgerDay;

const NOW_SECS: u64 = 1_790_000_000;
const NAME: &str = "availability-checkout";
const EVENTS: u32 = 10;

fn config(dir: &TempDir) -> Config {
    let mut config = Config::default();
    config.storage.dir = dir.path().to_owned();
    config
}

fn service() -> ServiceKey {
    ServiceKey::named("checkout")
}

fn suggested() -> Candidate {
    Candidate {
        operation: None,
        sli: Sli::Availability,
        ..latency_candidate(NAME, &service(), CandidateState::Ready)
    }
}

/// As it is once the candidate is accepted.
fn objective() -> Objective {
    suggested().objective(ObjectiveSource::Accepted)
}

fn day() -> u32 {
    u32::try_from(NOW_SECS / 86_400).unwrap()
}

/// A store with a minute of a service and a candidate for it.
fn prepare(config: &Config) {
    let store = Store::open(config.storage.clone()).unwrap();
    let key = SeriesKey::service(service());
    let events = f64::from(EVENTS);
    let row = MinuteRow {
        minute: u32::try_from(NOW_SECS / 60 - 60).unwrap(),
        sums: WindowSums {
            total: events,
            squared: events,
            observed_total: EVENTS.into(),
            ..WindowSums::default()
        },
        latency: Vec::new(),
    };
    let series = key.id();
    let minute = SeriesMinute { series, row };
    store.append(&[minute], &[(series, key)], &[]).unwrap();
    let mut suggested = [suggested()];
    let edit = Edit::new(timestamp(1), Actor::Fit);
    let propose = |book: &mut store::book::Book| {
        book.propose(&mut suggested, &edit);
        Ok::<_, StoreError>(())
    };
    store.edit_slos(propose).unwrap();
}

fn keeper(config: &Config) -> Keeper {
    let windows = Arc::new(Windows::new(config.windows.clone(), &config.sli));
    let store = Store::open(config.storage.clone()).unwrap();
    let clock = Clock::manual(NOW_SECS * NANOS_PER_SEC);
    let keeper = Keeper::new(config, windows, store, clock);
    assert_eq!(keeper.restore(&[]).unwrap().rebuilt, 1);
    keeper
}

/// What is measured of each objective: its name and events.
fn measured(config: &Config, keeper: &Keeper) -> Vec<(String, f64)> {
    let snapshot = keeper.windows.snapshot(keeper.clock.now(), 0);
    let mut evaluator = Evaluator::new(config.evaluator.clone(), config.output.scope);
    let report = evaluator.evaluate(snapshot, Vec::new(), 0);
    let statuses = report.baseline_evaluations.into_iter();
    statuses
        .map(|status| (status.objective.name, status.budget.total))
        .collect()
}

#[test]
fn a_tick_does_not_wait_for_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir);
    prepare(&config);
    let keeper = keeper(&config);
    {
        // As while a flush waits for the disk.
        let _passage = keeper.passage();
        keeper.note_transitions(&report(1, &[service()]));
        assert!(keeper.candidates().is_empty());
    }
    keeper.flush().unwrap();
    let told = keeper.transitions(None, 10).unwrap();
    let subjects: Vec<&str> = told.iter().map(|told| told.subject.as_str()).collect();
    assert_eq!(subjects, ["*", "checkout"]);
    // The same verdicts again are no news.
    keeper.note_transitions(&report(2, &[service()]));
    assert_eq!(keeper.transitions(None, 10).unwrap().len(), 2);
}

#[test]
fn transitions_that_wait_for_the_disk_are_bounded_as_in_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&dir);
    config.storage.max_transitions = 3;
    prepare(&config);
    let keeper = keeper(&config);
    let services: Vec<ServiceKey> = ["a", "b", "c"].map(ServiceKey::named).into();
    keeper.note_transitions(&report(1, &services));
    assert_eq!(keeper.shown().transitions.len(), 3);
    assert_eq!(keeper.transitions(None, 10).unwrap().len(), 3);
}

#[test]
fn an_objective_whose_past_cannot_be_read_is_adopted_and_measured_later_with_all_of_it() {
    const LEDGER: TableDefinition<'_, (&str, u128, u32), &[u8]> = TableDefinition::new("ledger");
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir);
    prepare(&config);
    let series = SeriesKey::service(service()).id();
    {
        let database = Database::create(dir.path().join("slo-copilot.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        let account = objective().account();
        let unreadable = (account.as_str(), series.0, day());
        transaction
            .open_table(LEDGER)
            .unwrap()
            .insert(unreadable, &[0xff_u8][..])
            .unwrap();
        transaction.commit().unwrap();
    }
    let keeper = keeper(&config);
    keeper.accept(NAME, Decision::default()).unwrap();
    assert_eq!(keeper.slo(NAME).unwrap().state, RecordState::Adopted);
    assert!(measured(&config, &keeper).is_empty(), "not in half");
    keeper.flush().unwrap();
    assert_eq!(keeper.passage().unattached.len(), 1, "tried again");

    let readable = LedgerRow {
        objective: objective().account().into(),
        series,
        day: LedgerDay {
            day: day(),
            ..LedgerDay::default()
        },
    };
    keeper.store.append(&[], &[], &[readable]).unwrap();
    keeper.flush().unwrap();
    assert!(keeper.passage().unattached.is_empty());
    let expected = vec![(NAME.to_owned(), f64::from(EVENTS))];
    assert_eq!(measured(&config, &keeper), expected);
}

/// A day of which spans were weighed by an assumption stays one after a restart, and goes with the history.
#[test]
fn what_was_assumed_of_a_day_is_known_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir);
    prepare(&config);
    let end = NOW_SECS * NANOS_PER_SEC;
    let told = ServiceSampling {
        service: "checkout".to_owned(),
        default_ratio: 0.5,
        operations: Vec::new(),
    };
    let sampling_of = |keeper: &Keeper| {
        keeper.fit_candidates().unwrap()[0]
            .evidence
            .sampling
            .clone()
    };
    {
        let asked = Arc::new(Asked::default());
        let keeper = keeper(&config).heeding(Arc::clone(&asked));
        assert_eq!(sampling_of(&keeper), "full");
        asked.answered("checkout", Some(&told), 1);
        assert_eq!(sampling_of(&keeper), "full", "nothing came yet");
        // A clock that is years ahead says nothing about the history.
        for end in [end * 2, end] {
            let span = SpanInput {
                start: end - 1,
                end,
                ..SpanInput::default()
            };
            asked.service(b"checkout").unwrap().weight(&span);
            keeper.flush().unwrap();
        }
        assert_eq!(sampling_of(&keeper), "assumed");
    }
    let mut keeper = keeper(&config);
    assert_eq!(keeper.store.assumed_days().unwrap().len(), 1);
    assert_eq!(sampling_of(&keeper), "assumed");
    keeper.clock = Clock::manual(end + 40 * 86_400 * NANOS_PER_SEC);
    keeper.prune().unwrap();
    assert!(keeper.store.assumed_days().unwrap().is_empty());
}
