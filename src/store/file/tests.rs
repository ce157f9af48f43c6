//! The file against writers at once, broken and foreign content, and its schema.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::model::candidate::{Candidate, CandidateState};
use crate::model::record::{Actor, RecordState};
use crate::model::series::ServiceKey;
use crate::model::slo::Objective;
use crate::openslo::fixture::latency_candidate;

const SCHEMA: &str = include_str!("../../../schema/slo_store.schema.json");

fn edit() -> Edit {
    Edit::new(Timestamp::from_second(1_000).unwrap(), Actor::Fit)
}

fn record(name: &str) -> SloRecord {
    let candidate = latency_candidate(name, &ServiceKey::named(name), CandidateState::Ready);
    SloRecord::proposed(&candidate, &edit())
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data/slos.json");
    (folder, path)
}

fn merge(path: &Path, records: &[SloRecord]) -> StoreUpdate {
    update(path, StoreMode::Merge, records, &edit()).unwrap()
}

fn names(path: &Path) -> Vec<String> {
    let records = read(path).unwrap().records;
    records.iter().map(|held| held.name().to_owned()).collect()
}

#[test]
fn a_missing_file_is_made_then_merged_into_and_replaced() {
    let (_folder, path) = folder();
    let added = merge(&path, &[record("b"), record("a")]).added;
    assert_eq!(added, ["a", "b"]);
    assert_eq!(merge(&path, &[record("c")]).added, ["c"]);
    assert_eq!(names(&path), ["a", "b", "c"]);
    let update = update(&path, StoreMode::Replace, &[record("b")], &edit()).unwrap();
    assert_eq!(
        (update.kept, update.removed),
        (vec!["b".into()], vec!["a".into(), "c".into()])
    );
    assert_eq!(names(&path), ["b"]);
}

#[test]
fn an_empty_store_is_a_file_too_and_a_file_that_stays_the_same_is_not_written() {
    let (_folder, path) = folder();
    merge(&path, &[]);
    assert!(names(&path).is_empty());
    merge(&path, &[record("a")]);
    // Laid out by somebody else.
    let value: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let compact = value.to_string();
    fs::write(&path, &compact).unwrap();
    assert_eq!(merge(&path, &[record("a")]).kept, ["a"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), compact);
}

#[test]
fn writers_at_once_lose_no_update() {
    const WRITERS: usize = 8;
    const UPDATES: usize = 12;
    let (_folder, path) = folder();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let path = &path;
            scope.spawn(move || {
                for n in 0..UPDATES {
                    merge(path, &[record(&format!("slo-{writer}-{n}"))]);
                }
            });
        }
    });
    assert_eq!(names(&path).len(), WRITERS * UPDATES);
}

#[test]
fn what_an_interrupted_writer_left_hinders_nobody() {
    let (_folder, path) = folder();
    merge(&path, &[record("a")]);
    let before = fs::read(&path).unwrap();
    // A writer that is killed before it renames: its lock ends with it, its temporary file stays.
    let held = lock(&path).unwrap();
    let half = disk::folder_of(&path).join(format!("{}x1y2z3", disk::TEMPORARY_PREFIX));
    fs::write(&half, &before[..before.len() / 2]).unwrap();
    drop(held);
    assert_eq!(names(&path), ["a"]);
    merge(&path, &[record("b")]);
    assert_eq!(names(&path), ["a", "b"]);
}

#[test]
fn a_file_that_is_not_understood_is_named_and_left_as_it_is() {
    let good = render(vec![record("a")]).unwrap();
    let twice = render(vec![record("a"), record("a")]).unwrap();
    let half = good.get(..good.len() / 2).unwrap().to_owned();
    let line = format!("line {}", half.lines().count());
    let newer = good.replace("slo-store/v1", "slo-store/v2");
    for (content, words) in [
        (half.as_str(), vec!["EOF while parsing", &line, "column"]),
        ("", vec!["line 1"]),
        ("{\"slos\": []}", vec!["schema_version", "is missing"]),
        (&newer, vec!["slo-store/v2", "slo-store/v1"]),
        ("[1, 2]", vec!["line 1 column"]),
        ("{\"openapi\": \"3\"}", vec!["schema_version"]),
        (
            &good.replace("\"state\"", "\"stat\""),
            vec!["missing field `state`", "line"],
        ),
        (
            &good.replace("0.99", "99"),
            vec!["slos[0].objective.target", "below 1"],
        ),
        (
            &good.replace("\"name\": \"a\"", "\"name\": \"A b\""),
            vec!["slos[0].objective.name"],
        ),
        (&twice, vec!["slos[1].objective.name", "twice"]),
    ] {
        let (_folder, path) = folder();
        fs::create_dir_all(disk::folder_of(&path)).unwrap();
        fs::write(&path, content).unwrap();
        for mode in [StoreMode::Merge, StoreMode::Replace] {
            let error = update(&path, mode, &[record("b")], &edit()).unwrap_err();
            let error = error.to_string();
            assert!(error.contains("slos.json"), "{error}");
            for word in &words {
                assert!(error.contains(word), "`{word}` is not in: {error}");
            }
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_store() {
    let (_folder, path) = folder();
    fs::create_dir_all(disk::folder_of(&path)).unwrap();
    merge(&path, &[record("a")]);
    let marked = format!("\u{feff}{}", fs::read_to_string(&path).unwrap());
    fs::write(&path, marked.replace('\n', "\r\n")).unwrap();
    merge(&path, &[record("b")]);
    assert_eq!(names(&path), ["a", "b"]);
}

#[test]
fn bytes_that_are_no_text_and_folders_are_named() {
    let (_folder, path) = folder();
    fs::create_dir_all(&path).unwrap();
    let error = update(&path, StoreMode::Merge, &[], &edit()).unwrap_err();
    assert!(error.to_string().contains("cannot read"), "{error}");
    fs::remove_dir(&path).unwrap();
    fs::write(&path, [0xff, 0xfe]).unwrap();
    let error = update(&path, StoreMode::Merge, &[], &edit()).unwrap_err();
    assert!(error.to_string().contains("UTF-8"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), [0xff, 0xfe]);
}

#[cfg(unix)]
#[test]
fn through_a_link_the_file_behind_it_is_replaced() {
    let (_folder, path) = folder();
    merge(&path, &[record("a")]);
    let link = disk::folder_of(&path).join("link.json");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    merge(&link, &[record("b")]);
    assert_eq!(names(&path), ["a", "b"]);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}

/// As the Python predecessor wrote it.
fn seed_slos() -> Value {
    let slo = |name: &str, metric: &str, comparator: &str, threshold: f64| {
        json!({
            "name": name, "service": "Payment Service", "description": "why", "labels": {},
            "target": {
                "metric": metric, "comparator": comparator,
                "threshold": threshold, "window_days": 28,
            },
        })
    };
    json!([
        slo("latency-p95-Payment Service", "latency_p95_ms", "<=", 187.5),
        slo("error-rate-payment", "error_rate", "<=", 0.02),
        slo("availability-payment", "availability", ">=", 0.98),
        slo("telemetry-coverage-probe_a", "coverage_ratio", ">=", 0.9),
        slo("availability-always", "availability", ">=", 1.0),
    ])
}

#[test]
fn files_of_the_predecessor_are_read_and_written_as_ours() {
    let store = json!({
        "schema_version": "slo-copilot/v1", "store_version": "slo-store/v1",
        "generated_at": "2026-01-02T03:04:05.678901+00:00",
        "updated_at": "2026-01-02T03:04:05.678901+00:00",
        "slos": seed_slos(),
    });
    for (content, at) in [
        (store, "2026-01-02T03:04:05.678901Z"),
        (seed_slos(), "1970-01-01T00:00:00Z"),
    ] {
        let (_folder, path) = folder();
        fs::create_dir_all(disk::folder_of(&path)).unwrap();
        fs::write(&path, content.to_string()).unwrap();
        let update = merge(&path, &[]);
        assert_eq!(update.skipped.len(), 2, "{update:?}");
        assert!(update.skipped[0].contains("coverage_ratio"), "{update:?}");
        assert!(update.skipped[1].contains("no error budget"), "{update:?}");

        let Loaded {
            records, skipped, ..
        } = read(&path).unwrap();
        assert!(skipped.is_empty());
        let said: Vec<_> = records
            .iter()
            .map(|held| (held.name(), held.objective.sli, held.objective.target))
            .collect();
        let latency = Sli::Latency {
            threshold_micros: 187_500,
        };
        assert_eq!(
            said,
            [
                ("availability-payment", Sli::Availability, 0.98),
                ("error-rate-payment", Sli::ErrorRate, 0.02),
                ("latency-p95-payment-service", latency, 0.95),
            ]
        );
        for record in records {
            assert_eq!(record.state, RecordState::Proposed);
            assert_eq!(record.objective.window.label(), "28d");
            assert_eq!(record.objective.service, "Payment Service");
            assert_eq!(record.history[0].at.to_string(), at);
            assert_eq!(record.history[0].text, "why");
        }
    }
}

fn validator() -> jsonschema::Validator {
    jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap()
}

/// A file with every state, actor and kind of change.
fn full_file() -> Value {
    let person = |name: Option<&str>| Edit {
        text: "agreed".to_owned(),
        ..Edit::new(
            Timestamp::from_second(2_000).unwrap(),
            Actor::Person {
                name: name.map(str::to_owned),
            },
        )
    };
    let mut book = Book::new([record("a"), record("b"), record("c")], 10);
    book.accept("a", &person(Some("ada"))).unwrap();
    book.reject("b", &person(None)).unwrap();
    let moved = Candidate {
        state: CandidateState::Provisional,
        ..record("c").candidate.unwrap()
    };
    book.propose(&mut [moved], &edit());
    let configured = Objective::new("d", "d", Sli::Availability, 0.9);
    book.configure(&[configured], edit().at);
    let file = "other.json".to_owned();
    book.merge(
        vec![record("e")],
        &Edit::new(edit().at, Actor::Import { file }),
    );
    serde_json::from_str(&render(book.into_records()).unwrap()).unwrap()
}

#[test]
fn what_we_write_is_what_the_schema_says() {
    let file = full_file();
    let errors: Vec<String> = validator()
        .iter_errors(&file)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(errors, Vec::<String>::new());
}

#[test]
fn the_schema_refuses_what_we_refuse_to_read() {
    let validator = validator();
    let good = full_file();
    for (pointer, wrong) in [
        ("/schema_version", json!("slo-copilot/v1")),
        ("/slos/0/state", json!("accepted")),
        ("/slos/0/objective/target", json!(99.9)),
        ("/slos/0/objective/name", json!("A b")),
        ("/slos/0/objective/window", json!("30 days")),
        ("/slos/0/history/0/actor", json!({"kind": "robot"})),
        ("/slos/0/history/0/at", json!(5)),
        ("/slos/0/objective/sli", json!({"type": "latency"})),
    ] {
        let mut file = good.clone();
        *file.pointer_mut(pointer).unwrap() = wrong;
        assert!(!validator.is_valid(&file), "{pointer}");
        assert!(
            parse(Path::new("a"), &file.to_string()).is_err(),
            "{pointer}"
        );
    }
}

proptest! {
    #[test]
    fn property_only_an_empty_list_is_a_store_by_chance(content in "[\\PC\n]{0,200}") {
        let is_list = content.replace(char::is_whitespace, "") == "[]";
        prop_assert_eq!(parse(Path::new("a"), &content).is_ok(), is_list);
    }

    #[test]
    fn property_a_file_that_is_cut_anywhere_is_refused(cut in 1..100_usize) {
        let text = render(vec![record("a")]).unwrap();
        let at = text.trim_end().len() * cut / 100;
        prop_assert!(parse(Path::new("a"), text.get(..at).unwrap()).is_err());
    }
}
