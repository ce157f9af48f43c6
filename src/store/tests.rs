//! The store against plain lists, and what survives a reopening.

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::model::NANOS_PER_SEC;
use crate::model::candidate::{Candidate, CandidateState};
use crate::model::record::{Actor, Edit, RecordState, Transition};
use crate::model::series::ServiceKey;
use crate::model::slo::ObjectiveSource;
use crate::model::window::WindowSums;
use crate::openslo::fixture::latency_candidate;

fn config(dir: &tempfile::TempDir) -> Config {
    Config {
        dir: dir.path().join("data"),
        ..Config::default()
    }
}

fn row(minute: u32, total: u64) -> MinuteRow {
    MinuteRow {
        minute,
        sums: WindowSums {
            total: total as f64,
            bad: 1.0,
            squared: total as f64,
            observed_total: total,
            observed_bad: 1,
        },
        latency: vec![(10, 1), (700, total - 1)],
    }
}

fn minute(series: u128, minute: u32, total: u64) -> SeriesMinute {
    SeriesMinute {
        series: SeriesId(series),
        row: row(minute, total),
    }
}

fn transition(at: UnixNanos, to: &str) -> Transition {
    Transition {
        sequence: 0,
        at,
        service: None,
        kind: "verdict".into(),
        subject: "s".into(),
        from: String::new(),
        to: to.into(),
        text: "why".into(),
    }
}

#[test]
fn minutes_come_back_in_order_after_a_reopening_and_late_ones_stand_beside() {
    let dir = tempfile::tempdir().unwrap();
    let key = SeriesKey::service(ServiceKey::named("s"));
    {
        let store = Store::open(config(&dir)).unwrap();
        let rows = [minute(7, 300, 5), minute(7, 299, 4), minute(8, 300, 9)];
        store
            .append(&rows, &[(SeriesId(7), key.clone())], &[])
            .unwrap();
        store.append(&[minute(7, 300, 2)], &[], &[]).unwrap();
    }
    let store = Store::open(config(&dir)).unwrap();
    let minutes = store.minutes(SeriesId(7), 0).unwrap();
    assert_eq!(minutes, vec![row(299, 4), row(300, 5), row(300, 2)]);
    assert_eq!(store.minutes(SeriesId(7), 300).unwrap().len(), 2);
    assert_eq!(store.series().unwrap(), vec![(SeriesId(7), key)]);
}

#[test]
fn a_ledger_day_replaces_the_one_before_and_accounts_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(&dir)).unwrap();
    let row = |account: &str, series, day, empty_slices| LedgerRow {
        objective: account.into(),
        series: SeriesId(series),
        day: LedgerDay {
            day,
            empty_slices,
            ..LedgerDay::default()
        },
    };
    let rows = [row("o", 1, 5, 1), row("o", 9, 4, 2), row("o@1", 1, 5, 3)];
    store.append(&[], &[], &rows).unwrap();
    let rows = [row("o", 1, 5, 4), row("o", 1, 6, 5)];
    store.append(&[], &[], &rows).unwrap();
    let kept: Vec<(u128, Vec<u32>)> = store
        .ledgers("o")
        .unwrap()
        .into_iter()
        .map(|(series, days)| (series.0, days.iter().map(|day| day.empty_slices).collect()))
        .collect();
    assert_eq!(kept, [(1, vec![4, 5]), (9, vec![2])]);
    assert!(store.ledgers("p").unwrap().is_empty());
}

#[test]
fn pruning_removes_the_minutes_before_the_history_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(&dir)).unwrap();
    let today = 20_000_u32;
    let key = SeriesKey::service(ServiceKey::named("s"));
    let rows = [
        minute(7, (today - 36) * 1_440, 2),
        minute(7, (today - 35) * 1_440, 3),
    ];
    store.append(&rows, &[(SeriesId(7), key)], &[]).unwrap();
    let now = u64::from(today) * 86_400 * NANOS_PER_SEC;
    assert_eq!(store.prune(now).unwrap(), 1);
    assert_eq!(
        store.minutes(SeriesId(7), 0).unwrap(),
        vec![row((today - 35) * 1_440, 3)]
    );
}

fn person() -> Edit {
    let actor = Actor::Person {
        name: Some("ada".to_owned()),
    };
    Edit {
        text: "agreed".to_owned(),
        ..Edit::new(Timestamp::from_second(2).unwrap(), actor)
    }
}

fn fit() -> Edit {
    Edit::new(Timestamp::from_second(1).unwrap(), Actor::Fit)
}

fn candidate(name: &str) -> Candidate {
    latency_candidate(name, &ServiceKey::named(name), CandidateState::Ready)
}

fn edit<T>(store: &Store, edit: impl FnOnce(&mut book::Book) -> T) -> T {
    store
        .edit_slos(|book| Ok::<_, StoreError>(edit(book)))
        .unwrap()
}

#[test]
fn slos_and_their_histories_come_back_after_a_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let before = {
        let store = Store::open(config(&dir)).unwrap();
        edit(&store, |book| {
            book.propose(&mut [candidate("a"), candidate("b")], &fit());
            book.accept("a", &person()).unwrap();
        });
        store.slos().unwrap()
    };
    let store = Store::open(config(&dir)).unwrap();
    assert_eq!(store.slos().unwrap(), before);
    assert_eq!(
        before.iter().map(|held| held.state).collect::<Vec<_>>(),
        [RecordState::Adopted, RecordState::Proposed]
    );
    assert_eq!(store.slo("a").unwrap().as_ref(), before.first());
    assert_eq!(store.slo("c").unwrap(), None);
    let told = store.transitions(None, 10).unwrap();
    let said = |told: &Transition| (told.subject.clone(), told.to.clone(), told.text.clone());
    let adopted = ("a", "adopted", "agreed");
    let (subject, to, text) = adopted;
    assert_eq!(
        told.iter().map(said).collect::<Vec<_>>(),
        [(subject.to_owned(), to.to_owned(), text.to_owned())]
    );
}

#[test]
fn an_edit_that_fails_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(&dir)).unwrap();
    let failed = store.edit_slos(|book| {
        book.propose(&mut [candidate("a")], &fit());
        book.accept("b", &person())?;
        Ok::<_, StoreError>(())
    });
    let error = failed.unwrap_err().to_string();
    assert!(error.contains("no SLO is called b"), "{error}");
    assert!(store.slos().unwrap().is_empty());
}

#[test]
fn transitions_are_bounded_and_told_from_a_time_on_or_the_newest_ones() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Config {
        max_transitions: 3,
        ..config(&dir)
    })
    .unwrap();
    let first = [transition(1, "a"), transition(2, "b")];
    store.append_transitions(&first).unwrap();
    store
        .append_transitions(&[transition(3, "c"), transition(3, "d")])
        .unwrap();
    let told = |since, limit| {
        let told = store.transitions(since, limit).unwrap();
        told.into_iter().map(|told| told.to).collect::<String>()
    };
    assert_eq!(told(None, 10), "bcd");
    assert_eq!(told(None, 2), "cd");
    assert_eq!(told(Some(0), 2), "bc");
    assert_eq!(told(Some(3), 10), "cd");
    assert_eq!(told(Some(4), 10), "");
}

#[test]
fn proposals_go_with_the_history_that_they_come_from_and_decisions_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(&dir)).unwrap();
    let operation = |name: &str| Candidate {
        operation: None,
        ..candidate(name)
    };
    let today = 20_000_u32;
    let rows = [minute(7, today * 1_440, 2)];
    let key = SeriesKey::service(ServiceKey::named("kept"));
    store.append(&rows, &[(SeriesId(7), key)], &[]).unwrap();
    edit(&store, |book| {
        let mut suggested = ["kept", "live", "gone", "refused"].map(operation);
        book.propose(&mut suggested, &fit());
        book.reject("refused", &person()).unwrap();
    });
    // Its first minute is not closed yet.
    let live = SeriesKey::service(ServiceKey::named("live"));
    assert_eq!(store.forget_proposals(&[(SeriesId(8), live)]).unwrap(), 1);
    let names: Vec<String> = store
        .slos()
        .unwrap()
        .iter()
        .map(|held| held.name().to_owned())
        .collect();
    assert_eq!(names, ["kept", "live", "refused"]);
}

/// The tables of version 0.1.0, as it wrote them.
fn write_older_store(dir: &tempfile::TempDir) {
    const OBJECTIVES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objectives");
    const REJECTED: TableDefinition<'_, &str, &str> = TableDefinition::new("rejected");
    const TRANSITIONS: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("transitions");
    let config = config(dir);
    std::fs::create_dir_all(&config.dir).unwrap();
    let database = Database::create(config.dir.join(FILE_NAME)).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let objective = br#"{"name":"availability-a","service":"a","namespace":"","environment":"",
            "operation":null,"sli":{"type":"availability"},"target":0.999,"window":"30d",
            "required":false,"weight":1.0,"source":"accepted"}"#;
        let mut table = transaction.open_table(OBJECTIVES).unwrap();
        table
            .insert("availability-a", objective.as_slice())
            .unwrap();
        let mut table = transaction.open_table(REJECTED).unwrap();
        table.insert("b", "rejected by a person").unwrap();
        // Postcard: a varint of 1.5 s in nanoseconds, then five texts with their lengths.
        let mut adopted = vec![0x80, 0xde, 0xa0, 0xcb, 0x05];
        for text in ["objective", "availability-a", "candidate", "adopted", "why"] {
            adopted.push(u8::try_from(text.len()).unwrap());
            adopted.extend_from_slice(text.as_bytes());
        }
        let mut table = transaction.open_table(TRANSITIONS).unwrap();
        table
            .insert((1_500_000_000, 0), adopted.as_slice())
            .unwrap();
    }
    transaction.commit().unwrap();
}

#[test]
fn a_store_of_the_version_before_is_taken_over_with_its_decisions() {
    let dir = tempfile::tempdir().unwrap();
    write_older_store(&dir);
    for _ in 0..2 {
        let store = Store::open(config(&dir)).unwrap();
        let slos = store.slos().unwrap();
        assert_eq!(slos.len(), 1);
        let record = &slos[0];
        assert_eq!(record.name(), "availability-a");
        assert_eq!(record.state, RecordState::Adopted);
        assert_eq!(record.objective.source, ObjectiveSource::Accepted);
        let change = &record.history[0];
        assert_eq!(change.at, Timestamp::from_millisecond(1_500).unwrap());
        assert_eq!(change.actor, Actor::Person { name: None });
        assert_eq!(store.transitions(None, 10).unwrap().len(), 1);
    }
    // The rejected name is known by what it measures as soon as it is suggested, whatever it is called after that.
    let store = Store::open(config(&dir)).unwrap();
    let mut suggested = [candidate("b")];
    edit(&store, |book| book.propose(&mut suggested, &fit()));
    assert_eq!(suggested[0].state, CandidateState::Rejected);
    let mut renamed = [Candidate {
        name: "b-123456".to_owned(),
        ..candidate("b")
    }];
    edit(&store, |book| book.propose(&mut renamed, &fit()));
    assert_eq!(renamed[0].state, CandidateState::Rejected);
    let record = store.slo("b").unwrap().unwrap();
    assert_eq!(record.state, RecordState::Rejected);
    assert_eq!(record.history[1].text, "rejected by a person");
}

#[test]
fn a_second_opening_says_who_may_be_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let _store = Store::open(config(&dir)).unwrap();
    let error = Store::open(config(&dir)).unwrap_err().to_string();
    for word in ["storage.dir", "slo-copilot.redb", "--endpoint"] {
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn a_store_that_is_not_there_is_named_and_not_made_by_readers() {
    let dir = tempfile::tempdir().unwrap();
    let error = Store::open_existing(config(&dir)).unwrap_err().to_string();
    assert!(error.contains("slo-copilot.redb"), "{error}");
    assert!(!config(&dir).dir.exists());
}

proptest! {
    #[test]
    fn property_a_row_survives_its_encoding(
        minute in any::<u32>(),
        total in 0..1_000_000_u64,
        weight in prop_oneof![Just(1.0), 1.0..100.0_f64],
        buckets in proptest::collection::btree_map(0..900_u16, 1..1_000_000_u64, 0..50),
    ) {
        let row = MinuteRow {
            minute,
            sums: WindowSums {
                total: total as f64 * weight,
                bad: 0.0,
                squared: total as f64 * weight * weight,
                observed_total: total,
                observed_bad: 0,
            },
            latency: buckets.into_iter().collect(),
        };
        prop_assert_eq!(decode_row(minute, &encode_row(&row)).unwrap(), row);
    }

    #[test]
    fn property_keys_sort_as_series_then_minute(
        a in (any::<u128>(), any::<u32>()), b in (any::<u128>(), any::<u32>()),
    ) {
        let key = |(series, minute)| HistoryKey::new(SeriesId(series), minute);
        prop_assert_eq!(key(a).bytes().cmp(&key(b).bytes()), a.cmp(&b));
        prop_assert_eq!(HistoryKey::from_bytes(&key(a).bytes()), key(a));
    }
}
