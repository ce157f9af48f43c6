//! Checkpoints and logs against windows that never stopped.

use std::convert::Infallible;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::model::NANOS_PER_SEC;
use crate::model::batch::EventBatch;
use crate::model::history::SeriesMinute;
use crate::model::series::ServiceKey;
use crate::model::slo::{Budgeting, EmptySlices, Sli};
use crate::model::span::SpanKind;
use crate::pii::Scrubber;
use crate::window::cohort::settings::RolloutsConfig;
use crate::window::cohort::watch::Scope;
use crate::window::event::detail::{DetailAttributes, push_call, push_failure};
use crate::window::event::{
    EventRules, OperationScratch, ResourceAttributes, Sampling, Scalar, SpanInput, SpanStatus,
    push_resource, push_span,
};
use crate::window::logged::{LogScratch, log_upkeep, read_logged};
use crate::window::settings::{SliConfig, WindowsConfig};

/// 2026-02-01 00:00 UTC.
const START: UnixNanos = 20_485 * 86_400 * NANOS_PER_SEC;

#[derive(Clone, Debug)]
struct Span {
    operation: &'static str,
    bad: bool,
    age_secs: u64,
    trace_state: &'static str,
}

#[derive(Clone, Debug)]
struct Request {
    service: &'static str,
    version: &'static str,
    spans: Vec<Span>,
}

#[derive(Clone, Debug)]
enum Step {
    /// So many seconds pass, then the request comes.
    Request(u64, Request),
    /// What an evaluation does.
    Maintain,
    /// Closed minutes and days go to the history.
    Flush,
}

fn windows() -> Windows {
    // Its patterns are made once.
    static SCRUBBER: LazyLock<Scrubber> = LazyLock::new(Scrubber::default);
    let windows = Windows::new(WindowsConfig::default(), &SliConfig::default());
    windows
        .scrubbing(SCRUBBER.clone())
        .recording(RolloutsConfig::default(), Scope::Rollouts)
}

fn objectives() -> Vec<Objective> {
    let sliced = Objective {
        budgeting: Budgeting::RatioTimeslices {
            slice: "1m".parse().unwrap(),
            empty: EmptySlices::Good,
        },
        ..Objective::new("sliced", "a", Sli::Availability, 0.9)
    };
    let latency = Sli::Latency {
        threshold_micros: 1_500,
    };
    vec![
        Objective::new("days", "a", Sli::Availability, 0.9),
        Objective::new("latency", "b", latency, 0.9),
        sliced,
    ]
}

fn started() -> Windows {
    let windows = windows();
    for objective in objectives() {
        windows.adopt(&Arc::new(objective), START);
    }
    windows
}

/// With failures and calls, which are read where a rollout is watched.
fn batch_of(request: &Request, now: UnixNanos) -> EventBatch {
    let (mut batch, mut scratch) = (EventBatch::default(), OperationScratch::default());
    let mut resource = ResourceAttributes::default();
    for (key, value) in [
        ("service.name", request.service),
        ("service.version", request.version),
    ] {
        let value = Scalar::Text(value.as_bytes());
        resource.set(key.as_bytes(), value, b"service.version");
    }
    push_resource(&mut batch, &mut scratch, &resource);
    let kinds = EventRules::new(&SliConfig::default()).entry_kinds;
    for span in &request.spans {
        let end = now - span.age_secs * NANOS_PER_SEC;
        let input = SpanInput {
            name: span.operation.as_bytes(),
            kind: SpanKind::Server,
            span_id: &[7; 8],
            trace_state: span.trace_state.as_bytes(),
            start: end - 1_000_000 * (1 + span.age_secs % 3),
            end,
            status: if span.bad {
                SpanStatus::Error
            } else {
                SpanStatus::Unset
            },
            ..SpanInput::default()
        };
        push_span(
            &mut batch,
            &mut scratch,
            &input,
            kinds,
            &Sampling::Full.into(),
        );
        if span.bad {
            let mut details = DetailAttributes::default();
            details.set(b"error.type", Scalar::Text(b"mail a@b.example failed"));
            push_failure(&mut batch, &input, &details, b"abc");
        }
        let call = SpanInput {
            kind: SpanKind::Client,
            ..input
        };
        let mut details = DetailAttributes::default();
        details.set(b"peer.service", Scalar::Text(b"db"));
        push_call(&mut batch, &call, &details, &Sampling::Full.into());
    }
    batch
}

fn log_of(windows: &Windows, batch: &EventBatch, now: UnixNanos, names_all: bool) -> Vec<u8> {
    let (mut entry, mut scratch) = (Vec::new(), LogScratch::default());
    windows.log(batch, now, names_all, (&mut entry, &mut scratch));
    entry
}

fn replay(windows: &Windows, log: &[Vec<u8>]) {
    let mut batch = EventBatch::default();
    for entry in log {
        let logged = read_logged(entry, &mut batch).expect("an entry of ours");
        windows.replay_logged(logged, &mut batch);
    }
}

fn checkpoint_of(draft: Draft<'_>, beside: Beside) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = draft.write(beside, |piece| {
        bytes.extend_from_slice(piece);
        Ok::<_, Infallible>(())
    });
    written.unwrap();
    bytes
}

fn loaded(bytes: &[u8]) -> Windows {
    let windows = windows();
    let checkpoint = Checkpoint::read(&mut { bytes }).unwrap();
    let known = windows.load(checkpoint, &objectives(), START);
    assert_eq!(known.len(), objectives().len());
    windows
}

/// All that can be seen: windows, counters, latency, objectives, rollouts, caps.
fn seen(windows: &Windows, now: UnixNanos) -> String {
    let snapshot = windows.snapshot(now, 10);
    format!("{snapshot:#?}")
}

/// What goes to the history, and the days that changed, in an order of their own.
fn kept(windows: &Windows) -> (Vec<SeriesMinute>, String) {
    let (mut rows, lost) = windows.take_history();
    assert_eq!(lost, 0);
    // Late parts of a minute are rows of their own; they add up.
    rows.sort_by_key(|minute| (minute.series, minute.row.minute));
    let mut days = windows.take_ledger_rows();
    days.sort_by(|a, b| (&a.objective, a.series).cmp(&(&b.objective, b.series)));
    (rows, format!("{days:?}"))
}

fn spans() -> impl Strategy<Value = Vec<Span>> {
    let operation = prop::sample::select(vec![
        "GET /users/123",
        "POST /pay",
        "GET /people/12345678Z",
        "GET /healthz",
    ]);
    let span = (
        operation,
        any::<bool>(),
        prop_oneof![4 => 0..90_u64, 1 => 0..100_000_u64],
        prop::sample::select(vec!["", "", "ot=th:8"]),
    );
    let span = span.prop_map(|(operation, bad, age_secs, trace_state)| Span {
        operation,
        bad,
        age_secs,
        trace_state,
    });
    prop::collection::vec(span, 0..6)
}

fn step() -> impl Strategy<Value = Step> {
    let request = (
        0..50_u64,
        prop::sample::select(vec!["a", "b"]),
        prop::sample::select(vec!["", "1", "2"]),
        spans(),
    );
    let request = request.prop_map(|(secs, service, version, spans)| {
        let request = Request {
            service,
            version,
            spans,
        };
        Step::Request(secs, request)
    });
    prop_oneof![6 => request, 1 => Just(Step::Maintain), 1 => Just(Step::Flush)]
}

/// The history of a run, with the rows written after the last cut.
#[derive(Clone, Default)]
struct History {
    rows: Vec<SeriesMinute>,
    recent: Vec<SeriesMinute>,
}

impl History {
    fn flush(&mut self, windows: &Windows) {
        self.recent.extend(windows.take_history().0);
    }

    fn by_minute(&self) -> BTreeMap<(SeriesId, u32), MinuteSums> {
        let mut all = BTreeMap::new();
        for minute in self.rows.iter().chain(&self.recent) {
            let held: &mut MinuteSums = all.entry((minute.series, minute.row.minute)).or_default();
            held.0 += minute.row.sums.observed_total;
            held.1 += minute.row.sums.observed_bad;
            held.2 += minute.row.latency.iter().map(|held| held.1).sum::<u64>();
        }
        all
    }

    /// What a start does with the rows that the checkpoint does not know of.
    fn reconcile(&mut self, windows: &Windows) {
        let mut by_series: BTreeMap<SeriesId, Vec<SeriesMinute>> = BTreeMap::new();
        for minute in self.recent.drain(..) {
            by_series.entry(minute.series).or_default().push(minute);
        }
        for (series, own) in by_series {
            let rows = own.iter().map(|minute| minute.row.clone()).collect();
            if !windows.holds(series) {
                continue;
            }
            let rewritten = windows.reconcile(series, rows);
            let stays = own.into_iter();
            self.rows
                .extend(stays.filter(|minute| !rewritten.contains(&minute.row.minute)));
        }
    }
}

/// Events, bad ones, and durations.
type MinuteSums = (u64, u64, u64);

/// A run up to a crash: the windows, their history, the checkpoint and the log after it.
struct Run {
    windows: Arc<Windows>,
    history: History,
    checkpoint: Vec<u8>,
    log: Vec<Vec<u8>>,
    now: UnixNanos,
}

impl Run {
    fn begin() -> Self {
        let windows = Arc::new(started());
        let draft = windows.begin_checkpoint(&windows.pause_upkeep());
        let checkpoint = checkpoint_of(draft, Beside::default());
        Self {
            windows,
            history: History::default(),
            checkpoint,
            log: Vec::new(),
            now: START,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Request(secs, request) => {
                self.now += secs * NANOS_PER_SEC;
                let mut batch = batch_of(request, self.now);
                self.log
                    .push(log_of(&self.windows, &batch, self.now, false));
                self.windows.record(&mut batch, self.now);
            }
            Step::Maintain => {
                let mut entry = Vec::new();
                log_upkeep(self.now, &mut entry);
                self.log.push(entry);
                self.windows.maintain(self.now);
            }
            Step::Flush => self.history.flush(&self.windows),
        }
    }

    /// A checkpoint whose writing is overtaken by these steps: no series is copied yet when they come.
    fn checkpoint(&mut self, meanwhile: &[Step]) {
        let windows = Arc::clone(&self.windows);
        let draft = windows.begin_checkpoint(&windows.pause_upkeep());
        self.history.rows.append(&mut self.history.recent);
        self.log.clear();
        let mut bytes = Vec::new();
        let written = draft.write(Beside::default(), |piece| {
            if bytes.is_empty() {
                for step in meanwhile {
                    self.step(step);
                }
            }
            bytes.extend_from_slice(piece);
            Ok::<_, Infallible>(())
        });
        written.unwrap();
        self.checkpoint = bytes;
    }

    fn steps(steps: &[Step], at: usize, overtaking: usize) -> Self {
        let mut run = Self::begin();
        let (before, after) = steps.split_at(at.min(steps.len()));
        let (meanwhile, after) = after.split_at(overtaking.min(after.len()));
        for step in before {
            run.step(step);
        }
        run.checkpoint(meanwhile);
        for step in after {
            run.step(step);
        }
        run
    }
}

fn steps() -> impl Strategy<Value = (Vec<Step>, usize, usize)> {
    prop::collection::vec(step(), 1..25).prop_flat_map(|steps| {
        let count = steps.len();
        (Just(steps), 0..=count, 0..6_usize)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Wherever the checkpoint was made, and whatever overtook its writing.
    #[test]
    fn property_a_checkpoint_and_the_log_after_it_are_the_windows_that_never_stopped(
        (steps, at, overtaking) in steps(),
    ) {
        let run = Run::steps(&steps, at, overtaking);
        let after = loaded(&run.checkpoint);
        replay(&after, &run.log);
        for windows in [&*run.windows, &after] {
            windows.maintain(run.now);
        }
        prop_assert_eq!(seen(&after, run.now), seen(&run.windows, run.now));
        let later = run.now + 1_200 * NANOS_PER_SEC;
        for windows in [&*run.windows, &after] {
            windows.maintain(later);
        }
        prop_assert_eq!(seen(&after, later), seen(&run.windows, later));
    }

    /// What batches and upkeep change while a checkpoint is written is copied before.
    #[test]
    fn property_a_checkpoint_is_the_windows_at_its_cut(
        (steps, at, _) in steps(),
    ) {
        let mut run = Run::begin();
        let (before, meanwhile) = steps.split_at(at);
        for step in before {
            run.step(step);
        }
        let (now, wanted) = (run.now, seen(&run.windows, run.now));
        run.checkpoint(meanwhile);
        prop_assert_eq!(seen(&loaded(&run.checkpoint), now), wanted);
    }

    /// With a whole log, every minute stands in the history as if nothing had happened; rows that were written after
    /// the checkpoint are written again, once.
    #[test]
    fn property_the_history_after_a_crash_is_that_of_windows_that_never_stopped(
        (steps, at, overtaking) in steps(),
    ) {
        let run = Run::steps(&steps, at, overtaking);
        let after = loaded(&run.checkpoint);
        replay(&after, &run.log);
        let mut history = run.history.clone();
        history.reconcile(&after);
        let mut wanted = run.history.clone();
        for (windows, history) in [(&after, &mut history), (&*run.windows, &mut wanted)] {
            windows.close_minutes();
            history.flush(windows);
        }
        prop_assert_eq!(history.by_minute(), wanted.by_minute());
        prop_assert_eq!(kept(&after), kept(&run.windows));
        // Replayed minutes are in the windows once, too.
        prop_assert_eq!(seen(&after, run.now), seen(&run.windows, run.now));
    }

    /// Without a log, the history holds what it held and what the checkpoint has beyond it, and the windows hold the same.
    #[test]
    fn property_without_a_log_windows_and_history_hold_the_same(
        (steps, at, overtaking) in steps(),
    ) {
        let run = Run::steps(&steps, at, overtaking);
        let before = run.history.by_minute();
        let mut history = run.history.clone();
        let after = loaded(&run.checkpoint);
        let at_cut = loaded(&run.checkpoint);
        // Series that came after the cut are rebuilt by the history alone.
        history.recent.retain(|minute| after.holds(minute.series));
        history.reconcile(&after);
        after.close_minutes();
        history.flush(&after);
        at_cut.close_minutes();
        let mut cut = History { rows: run.history.rows.clone(), ..History::default() };
        cut.flush(&at_cut);
        let seen = history.by_minute();
        let cut = cut.by_minute();
        for (key, sums) in &seen {
            let known = before.get(key).copied().unwrap_or_default();
            let saved = cut.get(key).copied().unwrap_or_default();
            prop_assert_eq!(sums.0, known.0.max(saved.0), "{:?}", key);
            prop_assert_eq!(sums.2, known.2.max(saved.2), "{:?}", key);
        }
        for (id, key) in after.history_keys() {
            if key.scope != SeriesScope::Service {
                continue;
            }
            let own = seen.iter().filter(|((series, _), _)| *series == id);
            let total: u64 = own.map(|(_, sums)| sums.0).sum();
            let snapshot = after.snapshot(run.now, 0);
            let view = snapshot.services.iter().find(|view| view.id == id).unwrap();
            prop_assert_eq!(view.window(crate::model::window::Window::D30).observed_total, total);
        }
    }

    /// Requests that are under way together may stand in the log in either order.
    #[test]
    fn property_the_order_of_requests_does_not_matter(
        (steps, _, _) in steps(),
        seed in any::<u64>(),
    ) {
        let (writer, mut now) = (started(), START);
        let mut log = Vec::new();
        for step in &steps {
            if let Step::Request(secs, request) = step {
                now += secs * NANOS_PER_SEC;
                // Which of two versions is the new one depends on which came first.
                let request = Request {
                    version: "",
                    // A service that is first heard of by a probe counts the probe as its last sign of life.
                    spans: request.spans.iter().filter(|span| span.operation != "GET /healthz").cloned().collect(),
                    ..request.clone()
                };
                log.push(log_of(&writer, &batch_of(&request, now), now, true));
            }
        }
        let [in_order, shuffled] = [started(), started()];
        replay(&in_order, &log);
        log.sort_by_key(|entry| xxhash_rust::xxh3::xxh3_64_with_seed(entry, seed));
        replay(&shuffled, &log);
        prop_assert_eq!(seen(&shuffled, now), seen(&in_order, now));
    }

    #[test]
    fn property_no_bytes_panic_the_readers(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut batch = EventBatch::default();
        read_logged(&bytes, &mut batch);
        assert!(Checkpoint::read(&mut { &bytes[..] }).is_err());
    }
}

#[test]
fn a_rollout_goes_on_after_a_restart_with_its_failures_and_calls() {
    let mut run = Run::begin();
    let request = |version| Request {
        service: "a",
        version,
        spans: vec![Span {
            operation: "POST /pay",
            bad: true,
            age_secs: 0,
            trace_state: "ot=th:8",
        }],
    };
    for secs in 0..20 {
        run.step(&Step::Request(secs, request("1")));
        run.step(&Step::Request(0, request("2")));
        if secs == 10 {
            run.checkpoint(&[]);
        }
    }
    let after = loaded(&run.checkpoint);
    replay(&after, &run.log);
    let rollouts = after.rollouts();
    assert_eq!(rollouts.len(), 1);
    let canary = &rollouts[0].canary;
    assert!(
        canary.error_kinds.contains_key("mail [EMAIL] failed"),
        "{canary:?}"
    );
    assert!(canary.dependencies["db"].observed >= 19, "{canary:?}");
    assert_eq!(seen(&after, run.now), seen(&run.windows, run.now));
}

#[test]
fn the_log_holds_no_personal_data_and_no_name_that_is_held() {
    let windows = windows();
    let request = Request {
        service: "a",
        version: "",
        spans: vec![Span {
            operation: "GET /people/12345678Z",
            bad: true,
            age_secs: 0,
            trace_state: "",
        }],
    };
    let holds = |entry: &[u8], text: &str| {
        entry
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    let batch = batch_of(&request, START);
    let entry = log_of(&windows, &batch, START, false);
    assert!(!holds(&entry, "12345678Z") && !holds(&entry, "a@b.example"));
    assert!(holds(&entry, "[NATIONAL_ID]") && holds(&entry, "[EMAIL]"));
    // A name without personal data is said once.
    let plain = Request {
        spans: vec![Span {
            operation: "POST /pay",
            ..request.spans[0].clone()
        }],
        ..request
    };
    let mut batch = batch_of(&plain, START);
    assert!(holds(&log_of(&windows, &batch, START, false), "POST /pay"));
    windows.record(&mut batch, START);
    assert!(!holds(
        &log_of(&windows, &batch_of(&plain, START), START, false),
        "POST /pay"
    ));
    assert!(holds(
        &log_of(&windows, &batch_of(&plain, START), START, true),
        "POST /pay"
    ));
}

#[test]
fn forgotten_counters_begin_at_zero_and_windows_stay() {
    let mut run = Run::begin();
    let spans = vec![Span {
        operation: "POST /pay",
        bad: true,
        age_secs: 0,
        trace_state: "ot=th:8",
    }];
    let request = Request {
        service: "a",
        version: "1",
        spans,
    };
    run.step(&Step::Request(1, request.clone()));
    run.windows.forget_counters();
    run.step(&Step::Request(1, request));
    let view = run.windows.snapshot(run.now, 0).services.remove(0);
    assert_eq!(view.since_start.observed_total, 1);
    assert!((view.since_start.total - 2.0).abs() < 1e-9);
    assert_eq!(
        view.window(crate::model::window::Window::H1).observed_total,
        2
    );
    let durations = view.durations.unwrap();
    assert_eq!(
        durations.error.buckets.iter().sum::<u64>(),
        2,
        "adjusted count of one"
    );
}

#[test]
fn an_objective_that_changed_or_is_gone_is_not_gone_on_with() {
    let mut run = Run::begin();
    let request = Request {
        service: "a",
        version: "",
        spans: vec![Span {
            operation: "POST /pay",
            bad: false,
            age_secs: 0,
            trace_state: "",
        }],
    };
    run.step(&Step::Request(1, request));
    run.checkpoint(&[]);
    let windows = windows();
    let changed = Objective {
        sli: Sli::Latency {
            threshold_micros: 7_000,
        },
        ..objectives().remove(0)
    };
    let checkpoint = Checkpoint::read(&mut { &run.checkpoint[..] }).unwrap();
    let known = windows.load(checkpoint, &[changed, objectives().remove(2)], run.now);
    assert_eq!(known.into_iter().collect::<Vec<_>>(), ["sliced"]);
    let attached = windows.adopt(&Arc::new(objectives().remove(0)), run.now);
    let service = SeriesKey::service(ServiceKey::named("a")).id();
    assert_eq!(attached.len(), 1);
    assert_eq!(attached[0].0, service, "it has no account there any more");
    assert_eq!(attached[0].1[0].sums.observed_total, 1);
}
