//! The store against plain lists, and what survives a reopening.

use proptest::prelude::*;

use super::*;
use crate::model::NANOS_PER_SEC;
use crate::model::series::ServiceKey;
use crate::model::slo::{ObjectiveSource, Sli};
use crate::model::window::WindowSums;

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

fn objective(name: &str) -> Objective {
    let sli = Sli::Latency {
        threshold_micros: 1_000,
    };
    Objective {
        environment: Some("prod".into()),
        source: ObjectiveSource::Accepted,
        ..Objective::new(name, "s", sli, 0.95)
    }
}

fn transition(at: UnixNanos, to: &str) -> Transition {
    Transition {
        at,
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

#[test]
fn objectives_rejections_and_transitions_are_kept_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Config {
        max_transitions: 3,
        ..config(&dir)
    })
    .unwrap();
    store.reject("a", &transition(1, "rejected")).unwrap();
    assert_eq!(store.rejected().unwrap(), ["a"]);
    store
        .adopt(&objective("a"), &transition(2, "adopted"))
        .unwrap();
    assert_eq!(store.objectives().unwrap(), [objective("a")]);
    assert!(
        store.rejected().unwrap().is_empty(),
        "an accepted candidate is rejected no longer"
    );
    store
        .append_transitions(&[transition(3, "fail"), transition(3, "pass")])
        .unwrap();
    let kept: Vec<String> = store
        .transitions()
        .unwrap()
        .into_iter()
        .map(|t| t.to)
        .collect();
    assert_eq!(kept, ["adopted", "fail", "pass"]);
}

#[test]
fn a_second_opening_says_who_may_be_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let _store = Store::open(config(&dir)).unwrap();
    let error = Store::open(config(&dir)).unwrap_err().to_string();
    assert!(
        error.contains("storage.dir") && error.contains("slo-copilot.redb"),
        "{error}"
    );
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
