//! Checkpoints and log on a real disk, and what is left of them after a crash.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use super::*;
use crate::model::NANOS_PER_SEC;
use crate::model::span::SpanKind;
use crate::window::checkpoint::Beside;
use crate::window::event::{
    EventRules, OperationScratch, ResourceAttributes, Sampling, Scalar, SpanInput, push_resource,
    push_span,
};
use crate::window::settings::{SliConfig, WindowsConfig};

const NOW: UnixNanos = 1_790_000_000 * NANOS_PER_SEC;

fn config(dir: &TempDir, durability: DurabilityConfig) -> Config {
    Config {
        dir: dir.path().to_owned(),
        durability,
        ..Config::default()
    }
}

fn windows() -> Windows {
    Windows::new(WindowsConfig::default(), &SliConfig::default())
}

/// So many requests of an operation, in one batch.
fn batch(service: &str, operation: &str, count: usize) -> EventBatch {
    let (mut batch, mut scratch) = (EventBatch::default(), OperationScratch::default());
    let mut resource = ResourceAttributes::default();
    resource.set(
        b"service.name",
        Scalar::Text(service.as_bytes()),
        b"service.version",
    );
    push_resource(&mut batch, &mut scratch, &resource);
    let kinds = EventRules::new(&SliConfig::default()).entry_kinds;
    for _ in 0..count {
        let span = SpanInput {
            name: operation.as_bytes(),
            kind: SpanKind::Server,
            start: NOW - 1_000_000,
            end: NOW,
            ..SpanInput::default()
        };
        push_span(
            &mut batch,
            &mut scratch,
            &span,
            kinds,
            &Sampling::Full.into(),
        );
    }
    batch
}

fn count(journal: &Journal, windows: &Windows, mut batch: EventBatch) {
    let turn = journal.enter(windows, &batch, NOW);
    windows.record(&mut batch, NOW);
    drop(turn);
}

fn checkpoint(journal: &Journal, windows: &Windows) -> Result<u64, StoreError> {
    let upkeep = windows.pause_upkeep();
    let cut = journal.cut(|| windows.begin_checkpoint(&upkeep));
    drop(upkeep);
    let beside = Beside {
        segment: cut.number,
        is_logged: true,
        ..Beside::default()
    };
    journal.keep(cut.number, |write| cut.taken.write(beside, write))
}

fn recover(dir: &TempDir) -> (Windows, Replayed) {
    let windows = windows();
    let mut recovered = Recovered::find(dir.path()).unwrap();
    if let Some(checkpoint) = recovered.checkpoint.take() {
        windows.load(checkpoint, &[], NOW);
    }
    let replayed = recovered.replay(&windows);
    (windows, replayed.unwrap())
}

/// Events of each operation.
fn operations(windows: &Windows) -> Vec<(String, u64)> {
    let views = windows.snapshot(NOW, 0).operations.into_iter();
    let counted = views.map(|view| {
        let name = view.key.operation_name().unwrap().to_owned();
        (name, view.since_start.observed_total)
    });
    counted.collect()
}

fn newest_part(dir: &TempDir) -> PathBuf {
    log::parts(dir.path()).unwrap().pop_last().unwrap().1
}

fn names(dir: &TempDir) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn requests_that_were_logged_come_back_and_a_torn_end_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(&config(&dir, DurabilityConfig::Wal), 0).unwrap();
    let live = windows();
    checkpoint(&journal, &live).unwrap();
    for request in 1..=3 {
        count(&journal, &live, batch("a", "/a", request));
    }
    // As a crash in the middle of a write leaves it.
    let path = newest_part(&dir);
    let whole = fs::metadata(&path).unwrap().len();
    let mut torn = OpenOptions::new().append(true).open(&path).unwrap();
    torn.write_all(&[200, 0, 0, 0, 1, 2, 3]).unwrap();
    let (recovered, replayed) = recover(&dir);
    assert_eq!((replayed.requests, replayed.torn), (3, 7));
    assert_eq!(operations(&recovered), [("/a".to_owned(), 6)]);
    assert_eq!(fs::metadata(&path).unwrap().len(), whole);

    // What comes after it goes to a part of its own.
    let journal = Journal::open(&config(&dir, DurabilityConfig::Wal), 2).unwrap();
    count(&journal, &recovered, batch("a", "/b", 1));
    let (recovered, replayed) = recover(&dir);
    assert_eq!((replayed.requests, replayed.torn), (4, 0));
    let wanted = [("/a".to_owned(), 6), ("/b".to_owned(), 1)];
    assert_eq!(operations(&recovered), wanted);
}

#[test]
fn a_bit_that_flipped_ends_the_log_there() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(&config(&dir, DurabilityConfig::Wal), 0).unwrap();
    let live = windows();
    for _ in 0..3 {
        count(&journal, &live, batch("a", "/a", 1));
    }
    let path = newest_part(&dir);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (recovered, replayed) = recover(&dir);
    assert_eq!(replayed.requests, 2);
    assert!(replayed.torn > 0);
    assert_eq!(operations(&recovered), [("/a".to_owned(), 2)]);
}

#[test]
fn a_checkpoint_replaces_the_log_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(&config(&dir, DurabilityConfig::Wal), 0).unwrap();
    let live = windows();
    count(&journal, &live, batch("a", "/a", 1));
    let before = journal.log_status().unwrap();
    let bytes = checkpoint(&journal, &live).unwrap();
    assert_eq!(
        bytes,
        fs::metadata(dir.path().join(CHECKPOINT_NAME))
            .unwrap()
            .len()
    );
    let after = journal.log_status().unwrap();
    assert!(after.bytes < before.bytes && after.requests == 1);
    count(&journal, &live, batch("a", "/a", 1));
    let (recovered, replayed) = recover(&dir);
    assert_eq!(replayed.requests, 1);
    assert_eq!(operations(&recovered), [("/a".to_owned(), 2)]);
    assert_eq!(names(&dir).len(), 2, "{:?}", names(&dir));
}

#[test]
fn a_damaged_cut_or_foreign_checkpoint_is_set_aside_and_the_log_is_still_read() {
    let damage = |bytes: &mut Vec<u8>, how: &str| match how {
        "damaged" => {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        "format 7" => bytes[12..16].copy_from_slice(&7_u32.to_le_bytes()),
        "none of ours" => bytes.truncate(5),
        _ => unreachable!(),
    };
    for how in ["damaged", "format 7", "none of ours"] {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(&config(&dir, DurabilityConfig::Wal), 0).unwrap();
        let live = windows();
        count(&journal, &live, batch("a", "/lost", 1));
        checkpoint(&journal, &live).unwrap();
        count(&journal, &live, batch("a", "/lost", 1));
        count(&journal, &live, batch("a", "/new", 1));
        let path = dir.path().join(CHECKPOINT_NAME);
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes, how);
        fs::write(&path, bytes).unwrap();
        let said = checkpoint::read(&path).unwrap_err().to_string();
        assert!(said.contains(how), "{said}");
        let (recovered, replayed) = recover(&dir);
        assert_eq!((replayed.broken, replayed.requests), (1, 2), "{how}");
        assert_eq!(operations(&recovered).last().unwrap().0, "/new", "{how}");
        assert!(dir.path().join("windows.checkpoint.broken").exists());
        assert!(!path.exists());
    }
}

#[test]
fn a_part_of_another_format_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(&config(&dir, DurabilityConfig::Wal), 0).unwrap();
    count(&journal, &windows(), batch("a", "/a", 1));
    let path = newest_part(&dir);
    let mut bytes = fs::read(&path).unwrap();
    bytes[12] = 99;
    fs::write(&path, bytes).unwrap();
    let (recovered, replayed) = recover(&dir);
    assert_eq!((replayed.broken, replayed.requests), (1, 0));
    assert!(operations(&recovered).is_empty());
    assert!(names(&dir).iter().all(|name| name.ends_with(".broken")));
}

#[test]
fn an_interrupted_checkpoint_leaves_the_one_before_and_no_file_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(&config(&dir, DurabilityConfig::Wal), 0).unwrap();
    let live = windows();
    count(&journal, &live, batch("a", "/a", 1));
    checkpoint(&journal, &live).unwrap();
    count(&journal, &live, batch("a", "/a", 1));
    let cut = journal.cut(|| ());
    let full = || io::Error::from(io::ErrorKind::StorageFull);
    let failed = journal.keep(cut.number, |_| Err(CheckpointError::Write(full())));
    assert!(
        failed
            .unwrap_err()
            .to_string()
            .contains("room in storage.dir")
    );
    count(&journal, &live, batch("a", "/a", 1));
    // A crash leaves its temporary file; the next start removes it.
    fs::write(dir.path().join(format!("{TEMPORARY_PREFIX}x")), "half").unwrap();
    let (recovered, replayed) = recover(&dir);
    assert_eq!(replayed.requests, 2);
    assert_eq!(operations(&recovered), [("/a".to_owned(), 3)]);
    assert!(
        names(&dir)
            .iter()
            .all(|name| !name.starts_with(TEMPORARY_PREFIX))
    );
}

#[cfg(target_os = "linux")]
#[test]
fn requests_that_a_full_disk_does_not_take_are_counted_and_safe_with_the_next_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(&config(&dir, DurabilityConfig::Wal), 0).unwrap();
    let live = windows();
    checkpoint(&journal, &live).unwrap();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    journal.log.as_ref().unwrap().break_by(full);
    for _ in 0..3 {
        count(&journal, &live, batch("a", "/a", 1));
    }
    assert_eq!(journal.log_status().unwrap().unlogged, 3);
    assert_eq!(operations(&live), [("/a".to_owned(), 3)]);
    checkpoint(&journal, &live).unwrap();
    count(&journal, &live, batch("a", "/a", 1));
    let (recovered, replayed) = recover(&dir);
    assert_eq!(replayed.requests, 1);
    assert_eq!(operations(&recovered), [("/a".to_owned(), 4)]);
}

/// The name that a request brought which was not logged is said by the next one.
#[cfg(target_os = "linux")]
#[test]
fn a_log_that_misses_requests_says_every_name() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(&config(&dir, DurabilityConfig::Wal), 0).unwrap();
    let live = windows();
    checkpoint(&journal, &live).unwrap();
    let path = newest_part(&dir);
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    journal.log.as_ref().unwrap().break_by(full);
    count(&journal, &live, batch("a", "/a", 1));
    // The disk has room again, but no checkpoint was made.
    let cut = journal.cut(|| ());
    assert_ne!(newest_part(&dir), path);
    assert_eq!(cut.number, 3);
    count(&journal, &live, batch("a", "/a", 1));
    let (recovered, _) = recover(&dir);
    assert_eq!(operations(&recovered), [("/a".to_owned(), 1)]);
}

#[tokio::test]
async fn a_log_that_is_half_full_asks_for_a_checkpoint_and_a_full_one_takes_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        wal_max_bytes: 20_000,
        ..config(&dir, DurabilityConfig::Wal)
    };
    let journal = Journal::open(&config, 0).unwrap();
    let live = windows();
    while journal.log_status().unwrap().unlogged == 0 {
        count(&journal, &live, batch("a", "/a", 10));
        assert!(journal.log_status().unwrap().bytes <= 20_000);
    }
    journal.due().await;
    assert!(newest_part(&dir).metadata().unwrap().len() <= 20_000);
    checkpoint(&journal, &live).unwrap();
    count(&journal, &live, batch("a", "/a", 10));
    assert_eq!(journal.log_status().unwrap().unlogged, 1);
}

/// The invariant: all batches before the cut are in the checkpoint, all after it are in the log, whoever runs meanwhile.
#[test]
fn threads_that_count_while_checkpoints_are_made_lose_nothing_and_count_nothing_twice() {
    const THREADS: usize = 3;
    const REQUESTS: usize = 400;
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(&config(&dir, DurabilityConfig::Wal), 0).unwrap();
    let live = windows();
    checkpoint(&journal, &live).unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let counting: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (journal, live) = (&journal, &live);
                scope.spawn(move || {
                    for request in 0..REQUESTS {
                        let service = ["a", "b", "c"][request % 3];
                        let operation = format!("/{}", ["x", "y", "z"][(request + thread) % 3]);
                        count(journal, live, batch(service, &operation, 1 + request % 4));
                        if request % 50 == 0 {
                            live.maintain(NOW);
                        }
                    }
                })
            })
            .collect();
        let checkpoints = scope.spawn(|| {
            let mut made = 0;
            while !is_done.load(Ordering::Relaxed) {
                checkpoint(&journal, &live).unwrap();
                made += 1;
            }
            made
        });
        for counting in counting {
            counting.join().unwrap();
        }
        is_done.store(true, Ordering::Relaxed);
        assert!(checkpoints.join().unwrap() > 0);
    });
    // What every thread is sure of, whatever the last checkpoint had.
    let (recovered, replayed) = recover(&dir);
    assert_eq!(replayed.torn, 0);
    assert_eq!(operations(&recovered), operations(&live));
    let snapshots = [&recovered, &live].map(|windows| {
        windows.maintain(NOW);
        format!("{:?}", windows.snapshot(NOW, 5))
    });
    assert_eq!(snapshots[0], snapshots[1]);
}

#[test]
fn without_a_log_only_checkpoints_are_kept_and_without_durability_nothing_is() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Journal::open(&config(&dir, DurabilityConfig::None), 0).is_none());
    let journal = Journal::open(&config(&dir, DurabilityConfig::Checkpoint), 0).unwrap();
    let live = windows();
    count(&journal, &live, batch("a", "/a", 1));
    checkpoint(&journal, &live).unwrap();
    count(&journal, &live, batch("a", "/a", 1));
    assert_eq!(names(&dir), [CHECKPOINT_NAME]);
    let (recovered, _) = recover(&dir);
    assert_eq!(operations(&recovered), [("/a".to_owned(), 1)]);
    remove(dir.path()).unwrap();
    assert!(names(&dir).is_empty());
}

#[test]
fn a_directory_that_is_gone_is_said_and_requests_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir, DurabilityConfig::Wal);
    let live = Arc::new(windows());
    drop(dir);
    let journal = Journal::open(&config, 0).unwrap();
    count(&journal, &live, batch("a", "/a", 1));
    assert_eq!(journal.log_status().unwrap().unlogged, 1);
    assert_eq!(operations(&live), [("/a".to_owned(), 1)]);
    fs::write(&config.dir, "a file, no directory").unwrap();
    let failed = checkpoint(&journal, &live).unwrap_err().to_string();
    assert!(failed.contains("windows.checkpoint"), "{failed}");
    fs::remove_file(&config.dir).unwrap();
}
