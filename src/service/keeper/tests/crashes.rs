//! Keepers that end without a word, and what the next one knows.

use crate::model::batch::EventBatch;
use crate::model::span::SpanKind;
use crate::store::DurabilityConfig;
use crate::window::event::{
    OperationScratch, ResourceAttributes, Sampling, Scalar, SpanInput, SpanStatus, push_resource,
    push_span,
};

use super::*;

const START: UnixNanos = NOW_SECS * NANOS_PER_SEC;

/// A keeper in a directory, its clock, and what was counted by it.
struct Run {
    config: Config,
    clock: Clock,
    keeper: Keeper,
    restored: Restored,
}

impl Run {
    fn start(config: Config, now: UnixNanos) -> Self {
        let windows = Arc::new(Windows::new(config.windows.clone(), &config.sli));
        let store = Store::open(config.storage.clone()).unwrap();
        let clock = Clock::manual(now);
        let keeper = Keeper::new(&config, windows, store, clock.clone());
        let restored = keeper.restore(&[objective()]).unwrap();
        Self {
            config,
            clock,
            keeper,
            restored,
        }
    }

    fn new(dir: &TempDir, durability: DurabilityConfig) -> Self {
        let mut config = config(dir);
        config.storage.durability = durability;
        Self::start(config, START)
    }

    /// As `kill -9` and a start after it.
    fn crash(self) -> Self {
        let (config, now) = (self.config, self.clock.now());
        drop(self.keeper);
        Self::start(config, now)
    }

    /// So many requests that ended now, of which one failed, and an evaluation some minutes later.
    fn count(&self, operation: &str, count: usize) {
        let (mut batch, mut scratch) = (EventBatch::default(), OperationScratch::default());
        let mut resource = ResourceAttributes::default();
        resource.set(
            b"service.name",
            Scalar::Text(b"checkout"),
            b"service.version",
        );
        resource.set(b"service.version", Scalar::Text(b"1"), b"service.version");
        push_resource(&mut batch, &mut scratch, &resource);
        let now = self.clock.now();
        for number in 0..count {
            let span = SpanInput {
                name: operation.as_bytes(),
                kind: SpanKind::Server,
                start: now - 1_000_000,
                end: now,
                status: if number == 0 {
                    SpanStatus::Error
                } else {
                    SpanStatus::Unset
                },
                ..SpanInput::default()
            };
            let kinds = self.keeper.rules.entry_kinds;
            push_span(
                &mut batch,
                &mut scratch,
                &span,
                kinds,
                &Sampling::Full.into(),
            );
        }
        let journal = self.keeper.journal();
        let turn = journal.map(|journal| journal.enter(&self.keeper.windows, &batch, now));
        self.keeper.windows.record(&mut batch, now);
        drop(turn);
    }

    fn wait(&self, minutes: u64) {
        self.clock
            .set(self.clock.now() + 60 * minutes * NANOS_PER_SEC);
    }

    /// Time passes; what is over goes to the history.
    fn pass(&self, minutes: u64) {
        self.wait(minutes);
        self.keeper.windows.maintain(self.clock.now());
        self.keeper.flush().unwrap();
    }

    /// Windows, counters, objectives, caps.
    fn seen(&self) -> String {
        let now = self.clock.now();
        self.keeper.windows.maintain(now);
        format!("{:#?}", self.keeper.windows.snapshot(now, 5))
    }

    fn in_windows(&self) -> u64 {
        let snapshot = self.keeper.windows.snapshot(self.clock.now(), 0);
        let service = snapshot.services.first();
        service.map_or(0, |view| {
            view.window(crate::model::window::Window::D30)
                .observed_total
        })
    }

    fn counter(&self) -> u64 {
        let snapshot = self.keeper.windows.snapshot(self.clock.now(), 0);
        snapshot.services[0].since_start.observed_total
    }

    /// Events of the service in the history and in the days of the ledger.
    fn kept(&self) -> (u64, f64) {
        let series = SeriesKey::service(service()).id();
        let rows = self.keeper.store.minutes(series, 0).unwrap();
        let rows = rows.iter().map(|row| row.sums.observed_total);
        let days = self.keeper.store.ledgers(&objective().account()).unwrap();
        let days = days.iter().flat_map(|(_, days)| days);
        (rows.sum(), days.map(|day| day.sums.total).sum())
    }

    fn in_budget(&self) -> f64 {
        measured(&self.config, &self.keeper)[0].1
    }
}

/// Open minutes at the cut, minutes that were closed and written after it, late parts of them, and a name that came after.
fn busy(run: &Run) {
    run.count("/a", 10);
    run.keeper.checkpoint().unwrap().unwrap();
    run.count("/a", 5);
    run.pass(3);
    run.count("/late", 7);
    run.keeper.windows.maintain(run.clock.now());
    run.pass(2);
    run.count("/a", 3);
}

#[test]
fn with_a_log_nothing_is_missing_and_nothing_is_kept_twice() {
    let dir = tempfile::tempdir().unwrap();
    let run = Run::new(&dir, DurabilityConfig::Wal);
    busy(&run);
    let (wanted, budget) = (run.seen(), run.in_budget());
    assert_eq!((run.in_windows(), run.counter()), (25, 25));
    // Again before any checkpoint of its own.
    let mut run = run;
    for _ in 0..3 {
        run = run.crash();
        assert_eq!(run.restored.log.requests, 3);
        assert_eq!(run.seen(), wanted);
        assert!((run.in_budget() - budget).abs() < 1e-9);
    }
    run.pass(3);
    assert_eq!(run.kept(), (25, 25.0));
    // And after it wrote them.
    run = run.crash();
    assert_eq!((run.in_windows(), run.counter()), (25, 25));
    run.keeper.close().unwrap();
    assert_eq!(run.kept(), (25, 25.0));
    run = run.crash();
    assert_eq!((run.in_windows(), run.counter()), (25, 25));
    assert_eq!(run.restored.log.requests, 0);
}

#[test]
fn with_checkpoints_the_history_adds_what_it_knows_and_counters_begin_anew() {
    let dir = tempfile::tempdir().unwrap();
    let run = Run::new(&dir, DurabilityConfig::Checkpoint);
    busy(&run);
    let mut run = run.crash();
    // The last three were in no closed minute.
    assert_eq!((run.in_windows(), run.counter()), (22, 0));
    assert!((run.in_budget() - 22.0).abs() < 1e-9, "{}", run.in_budget());
    run = run.crash();
    assert_eq!((run.in_windows(), run.counter()), (22, 0));
    run.count("/a", 4);
    run.pass(3);
    assert_eq!(run.kept(), (26, 26.0));
    run.keeper.close().unwrap();
    let run = run.crash();
    assert_eq!(
        (run.in_windows(), run.counter()),
        (26, 4),
        "an orderly stop"
    );
    let run = run.crash();
    assert_eq!(
        (run.in_windows(), run.counter()),
        (26, 0),
        "a crash after it"
    );
}

#[test]
fn a_lost_checkpoint_costs_what_was_open_at_its_cut() {
    let dir = tempfile::tempdir().unwrap();
    let run = Run::new(&dir, DurabilityConfig::Wal);
    run.count("/a", 10);
    run.pass(3);
    busy(&run);
    let path = dir.path().join("windows.checkpoint");
    std::fs::write(&path, "no checkpoint").unwrap();
    let run = run.crash();
    assert_eq!((run.restored.log.broken, run.restored.loaded), (1, 0));
    // The history has all but the last three, which the log has.
    assert_eq!(run.in_windows(), 35);
    assert!((run.in_budget() - 35.0).abs() < 1e-9);
    assert_eq!(run.counter(), 0);
    run.pass(3);
    assert_eq!(run.kept(), (35, 35.0));
    let run = run.crash();
    assert_eq!(run.in_windows(), 35);
}

#[test]
fn an_objective_adopted_after_the_checkpoint_knows_its_past_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::new(&dir, DurabilityConfig::Wal);
    busy(&run);
    let late = Objective {
        name: "late".to_owned(),
        ..objective()
    };
    // The next start configures it, and its checkpoint does not measure it.
    let (config, now) = (run.config.clone(), run.clock.now());
    drop(run.keeper);
    let windows = Arc::new(Windows::new(config.windows.clone(), &config.sli));
    let store = Store::open(config.storage.clone()).unwrap();
    let keeper = Keeper::new(&config, windows, store, Clock::manual(now));
    run.restored = keeper.restore(&[objective(), late]).unwrap();
    run.keeper = keeper;
    let measured = measured(&run.config, &run.keeper);
    let totals: Vec<f64> = measured.iter().map(|(_, total)| *total).collect();
    assert_eq!(measured.len(), 2);
    assert!(
        totals.iter().all(|total| (total - 25.0).abs() < 1e-9),
        "{measured:?}"
    );
}

#[test]
fn minutes_that_the_store_did_not_take_come_back_with_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let run = Run::new(&dir, DurabilityConfig::Wal);
    run.count("/a", 10);
    run.wait(3);
    run.keeper.windows.maintain(run.clock.now());
    // As a write that failed leaves them.
    let (minutes, _) = run.keeper.windows.take_history();
    assert_eq!(minutes.len(), 2);
    run.keeper.passage().minutes = minutes;
    run.keeper.passage().days = run.keeper.windows.take_ledger_rows();
    run.keeper.checkpoint().unwrap();
    let run = run.crash();
    run.pass(1);
    assert_eq!(run.kept(), (10, 10.0));
    assert_eq!(run.in_windows(), 10);
}

#[test]
fn what_is_kept_goes_with_the_last_start_that_keeps_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::new(&dir, DurabilityConfig::Wal);
    busy(&run);
    run.config.storage.durability = DurabilityConfig::None;
    let run = run.crash();
    assert_eq!((run.in_windows(), run.counter()), (25, 25));
    let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(files.len(), 1, "{files:?}");
    run.pass(3);
    assert_eq!(run.kept(), (25, 25.0));
    let run = run.crash();
    assert_eq!((run.in_windows(), run.counter()), (25, 0));
}
