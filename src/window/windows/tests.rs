//! The windows against a model that keeps every event.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::places::VERSIONS_MAX;
use super::*;
use crate::model::slo::Sli;
use crate::model::span::{Outcome, SpanKind};
use crate::model::window::{Window, WindowSums};
use crate::model::{NANOS_PER_SEC, UnixNanos};
use crate::window::event::{
    EventRules, ResourceAttributes, Sampling, Scalar, SpanInput, SpanStatus, push_resource,
    push_span,
};
use crate::window::rolling::HELD_SECS;
use crate::window::snapshot::{SeriesView, Snapshot};

/// 2026-02-01 00:00 UTC, a boundary of every tier.
const NOW_SECS: u64 = 20_485 * 86_400;
const NOW: UnixNanos = NOW_SECS * NANOS_PER_SEC;

#[derive(Clone, Debug)]
struct Span {
    operation: &'static str,
    kind: SpanKind,
    bad: bool,
    /// Seconds before the request's now; negative ones are ahead.
    age_secs: i64,
    trace_state: &'static str,
}

#[derive(Clone, Debug)]
struct Resource {
    service: &'static str,
    version: &'static str,
    spans: Vec<Span>,
}

type Request = Vec<Resource>;

impl Span {
    fn new(operation: &'static str) -> Self {
        Self {
            operation,
            kind: SpanKind::Server,
            bad: false,
            age_secs: 0,
            trace_state: "",
        }
    }

    fn end_secs(&self, now_secs: u64) -> u64 {
        now_secs.checked_add_signed(-self.age_secs).unwrap()
    }

    fn weight(&self) -> f64 {
        match self.trace_state {
            "ot=th:8" => 2.0,
            "ot=th:c" => 4.0,
            _ => 1.0,
        }
    }
}

fn one(service: &'static str, span: Span) -> Request {
    vec![Resource {
        service,
        version: "",
        spans: vec![span],
    }]
}

fn push(batch: &mut EventBatch, service: &str, version: &str, spans: &[SpanInput<'_>]) {
    let mut scratch = crate::window::event::OperationScratch::default();
    let mut resource = ResourceAttributes::default();
    resource.set(
        b"service.name",
        Scalar::Text(service.as_bytes()),
        b"service.version",
    );
    resource.set(
        b"service.version",
        Scalar::Text(version.as_bytes()),
        b"service.version",
    );
    push_resource(batch, &mut scratch, &resource);
    let kinds = EventRules::new(&SliConfig::default()).entry_kinds;
    for span in spans {
        push_span(batch, &mut scratch, span, kinds, &Sampling::Full.into());
    }
}

fn batch_of(request: &Request, now_secs: u64) -> EventBatch {
    let mut batch = EventBatch::default();
    for resource in request {
        let spans: Vec<SpanInput<'_>> = resource
            .spans
            .iter()
            .map(|span| {
                let end = span.end_secs(now_secs) * NANOS_PER_SEC;
                SpanInput {
                    name: span.operation.as_bytes(),
                    kind: span.kind,
                    span_id: &[7; 8],
                    trace_state: span.trace_state.as_bytes(),
                    start: end - 1_000_000,
                    end,
                    status: if span.bad {
                        SpanStatus::Error
                    } else {
                        SpanStatus::Unset
                    },
                    ..SpanInput::default()
                }
            })
            .collect();
        push(&mut batch, resource.service, resource.version, &spans);
    }
    batch
}

fn windows(config: WindowsConfig) -> Windows {
    Windows::new(config, &SliConfig::default())
}

fn record(windows: &Windows, request: &Request, now_secs: u64) -> Recorded {
    windows.record(&mut batch_of(request, now_secs), now_secs * NANOS_PER_SEC)
}

/// Records each request when it comes.
fn record_all(windows: &Windows, requests: &[(u64, Request)]) -> Recorded {
    let mut all = Recorded::default();
    for (now_secs, request) in requests {
        all.add(record(windows, request, *now_secs));
    }
    all
}

/// An event of the model.
#[derive(Clone, Copy, Debug)]
struct Kept {
    service: &'static str,
    version: &'static str,
    end_secs: u64,
    is_windowed: bool,
    bad: bool,
    weight: f64,
}

fn keep_all(requests: &[(u64, Request)]) -> (Vec<Kept>, Recorded) {
    let (mut kept, mut wanted) = (Vec::new(), Recorded::default());
    for (now_secs, request) in requests {
        for resource in request {
            for span in &resource.spans {
                if span.operation.ends_with("/health") {
                    wanted.excluded += 1;
                    continue;
                }
                let too_old = span.age_secs > i64::try_from(HELD_SECS).unwrap();
                let too_new = span.age_secs < -60;
                wanted.counted += 1;
                wanted.too_old += u64::from(too_old);
                wanted.too_new += u64::from(too_new);
                wanted.late += u64::from(span.age_secs > 300 && !too_old);
                kept.push(Kept {
                    service: resource.service,
                    version: resource.version,
                    end_secs: span.end_secs(*now_secs),
                    is_windowed: !too_old && !too_new,
                    bad: span.bad,
                    weight: span.weight(),
                });
            }
        }
    }
    (kept, wanted)
}

fn sum<'a>(events: impl IntoIterator<Item = &'a Kept>) -> WindowSums {
    events
        .into_iter()
        .fold(WindowSums::default(), |sums, kept| {
            sums.plus(crate::window::rolling::sums_of_one(kept.bad, kept.weight))
        })
}

fn plus(all: &[&SeriesView], of: impl Fn(&SeriesView) -> WindowSums) -> WindowSums {
    all.iter()
        .fold(WindowSums::default(), |sums, view| sums.plus(of(view)))
}

fn assert_equal(seen: WindowSums, wanted: WindowSums, what: &str) {
    assert_eq!(seen.observed_total, wanted.observed_total, "{what}");
    assert_eq!(seen.observed_bad, wanted.observed_bad, "{what}");
    for (seen, wanted) in [
        (seen.total, wanted.total),
        (seen.bad, wanted.bad),
        (seen.squared, wanted.squared),
    ] {
        assert!((seen - wanted).abs() < 1e-6, "{what}: {seen}, not {wanted}");
    }
}

/// All of `seen` is between the model's windows whose start is 1/30 later and 1/30 earlier.
fn assert_within_a_thirtieth(seen: &SeriesView, events: &[Kept], what: &str) {
    for window in Window::ALL {
        let sums = seen.window(window);
        let slack = window.secs() / 30;
        let from = |secs: u64| {
            sum(events
                .iter()
                .filter(|kept| kept.is_windowed && kept.end_secs >= secs))
        };
        let start = NOW_SECS - window.secs();
        let (least, most) = (from(start + slack), from(start - slack));
        let is_within = least.observed_total <= sums.observed_total
            && sums.observed_total <= most.observed_total
            && least.observed_bad <= sums.observed_bad
            && sums.observed_bad <= most.observed_bad
            && least.total - 1e-6 <= sums.total
            && sums.total <= most.total + 1e-6
            && least.bad - 1e-6 <= sums.bad
            && sums.bad <= most.bad + 1e-6;
        assert!(
            is_within,
            "{what} {window:?}: {least:?} ≤ {sums:?} ≤ {most:?}"
        );
    }
}

/// Every service's series, and the sum of its operations, says what the model kept.
fn check_against_model(snapshot: &Snapshot, kept: &[Kept]) {
    let held: BTreeSet<&str> = snapshot
        .services
        .iter()
        .map(|view| &*view.key.service.name)
        .collect();
    for service in &snapshot.services {
        let name = &*service.key.service.name;
        let own: Vec<Kept> = kept
            .iter()
            .filter(|kept| {
                kept.service == name || (name == OVERFLOW && !held.contains(kept.service))
            })
            .copied()
            .collect();
        assert_within_a_thirtieth(service, &own, name);
        assert_equal(service.since_start, sum(&own), name);
        let operations: Vec<&SeriesView> = snapshot
            .operations
            .iter()
            .filter(|view| view.key.service == service.key.service)
            .collect();
        assert_equal(plus(&operations, |view| view.since_start), sum(&own), name);
        for window in Window::ALL {
            let seen = plus(&operations, |view| view.window(window));
            assert_equal(seen, service.window(window), name);
        }
    }
    let services: Vec<&SeriesView> = snapshot.services.iter().collect();
    assert_equal(plus(&services, |view| view.since_start), sum(kept), "all");
    check_versions(snapshot, kept);
}

fn check_versions(snapshot: &Snapshot, kept: &[Kept]) {
    let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
    for view in &snapshot.versions {
        let SeriesScope::Version { version } = &view.key.scope else {
            panic!("{view:?} is no version");
        };
        let service = &*view.key.service.name;
        *versions.entry(service).or_default() += 1;
        let own = kept
            .iter()
            .filter(|kept| kept.service == service && *kept.version == **version);
        let most = sum(own);
        assert!(view.since_start.observed_total <= most.observed_total);
        assert!(view.since_start.observed_bad <= most.observed_bad);
    }
    assert!(
        versions.values().all(|held| *held <= VERSIONS_MAX),
        "{versions:?}"
    );
}

/// The counters of the caps are what the map holds, and the caps hold but for the reserved series.
fn check_caps(windows: &Windows, snapshot: &Snapshot) {
    let (mut reserved, mut services, mut operations) = (0, 0, BTreeMap::<_, u32>::new());
    for view in snapshot.services.iter().chain(&snapshot.operations) {
        let is_reserved = match view.key.operation_name() {
            None => *view.key.service.name == *OVERFLOW,
            Some(name) => name == OVERFLOW,
        };
        if is_reserved {
            reserved += 1;
        } else if view.key.operation_name().is_some() {
            *operations.entry(&view.key.service).or_default() += 1;
        } else {
            services += 1;
        }
    }
    let config = &windows.config;
    let held = snapshot.services.len() + snapshot.operations.len() + snapshot.versions.len();
    assert_eq!(windows.usage().held, held as u64);
    assert!(windows.usage().held <= config.max_series + reserved);
    assert_eq!(
        windows
            .held_services
            .load(std::sync::atomic::Ordering::Relaxed),
        services
    );
    assert!(services <= config.max_services);
    assert!(
        operations
            .values()
            .all(|held| *held <= config.max_operations_per_service)
    );
    for series in windows.export() {
        if series.key.scope == SeriesScope::Service {
            let wanted = operations
                .get(&series.key.service)
                .copied()
                .unwrap_or_default();
            assert_eq!(series.operations, wanted, "{:?}", series.key);
        }
    }
}

fn span() -> impl Strategy<Value = Span> {
    let operation =
        prop::sample::select(vec!["/a", "GET /b", "/c", "/d", "GET /health", "/health"]);
    let kind = prop::sample::select(vec![
        SpanKind::Server,
        SpanKind::Server,
        SpanKind::Consumer,
        SpanKind::Unspecified,
    ]);
    let age_secs = prop_oneof![
        4 => 0..300_i64,
        1 => 0..7_200_i64,
        1 => 0..2_592_000_i64,
        1 => -60..0_i64,
        1 => -86_400..-60_i64,
        1 => 2_592_001..4_000_000_i64,
    ];
    let trace_state = prop::sample::select(vec!["", "", "", "ot=th:0", "ot=th:8", "ot=th:c"]);
    (operation, kind, any::<bool>(), age_secs, trace_state).prop_map(
        |(operation, kind, bad, age_secs, trace_state)| Span {
            operation,
            kind,
            bad,
            age_secs,
            trace_state,
        },
    )
}

fn request(versions: Vec<&'static str>) -> impl Strategy<Value = Request> {
    let service = prop::sample::select(vec!["a", "b", "c", "d"]);
    let resource = (
        service,
        prop::sample::select(versions),
        prop::collection::vec(span(), 0..6),
    );
    let resource = resource.prop_map(|(service, version, spans)| Resource {
        service,
        version,
        spans,
    });
    prop::collection::vec(resource, 1..4)
}

/// Requests and when they come, the last one now.
fn requests(versions: Vec<&'static str>) -> impl Strategy<Value = Vec<(u64, Request)>> {
    prop::collection::vec((0..120_u64, request(versions)), 1..12).prop_map(|steps| {
        let mut ahead: u64 = steps.iter().map(|(step, _)| step).sum();
        steps
            .into_iter()
            .map(|(step, request)| {
                ahead -= step;
                (NOW_SECS - ahead, request)
            })
            .collect()
    })
}

fn small_caps() -> impl Strategy<Value = WindowsConfig> {
    (1..24_u64, 1..5_u64, 0..4_u32).prop_map(|(max_series, max_services, max_operations)| {
        WindowsConfig {
            max_series,
            max_services,
            max_operations_per_service: max_operations,
            ..WindowsConfig::default()
        }
    })
}

const VERSIONS: [&str; 6] = ["", "1", "2", "3", "4", "5"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn property_windows_say_what_a_model_that_keeps_every_event_says(
        requests in requests(VERSIONS.to_vec()),
        config in prop_oneof![small_caps(), Just(WindowsConfig::default())],
    ) {
        let windows = windows(config);
        let recorded = record_all(&windows, &requests);
        let (kept, wanted) = keep_all(&requests);
        prop_assert_eq!(Recorded { overflowed: 0, ..recorded }, wanted);
        let snapshot = windows.snapshot(NOW, 0);
        check_against_model(&snapshot, &kept);
        check_caps(&windows, &snapshot);
    }

    #[test]
    fn property_merged_windows_are_those_of_one_that_saw_everything(
        requests in requests(VERSIONS[..3].to_vec()),
        split: u16,
    ) {
        let [whole, left, right] = std::array::from_fn(|_| windows(WindowsConfig::default()));
        let objective = Arc::new(objective(Sli::Availability));
        for windows in [&whole, &left, &right] {
            windows.adopt(&objective, NOW);
        }
        record_all(&whole, &requests);
        for (at, (now_secs, request)) in requests.iter().enumerate() {
            let side = if split >> at & 1 == 0 { &left } else { &right };
            record(side, request, *now_secs);
        }
        left.merge(right.export());
        let (seen, wanted) = (left.snapshot(NOW, 9), whole.snapshot(NOW, 9));
        check_equal(&seen, &wanted);
        check_caps(&left, &seen);
    }

    #[test]
    fn property_a_checkpoint_restores_what_was_there(
        requests in requests(VERSIONS.to_vec()),
        config in small_caps(),
    ) {
        let before = windows(config.clone());
        before.adopt(&Arc::new(objective(Sli::Availability)), NOW);
        record_all(&before, &requests);
        let bytes = postcard::to_stdvec(&before.export()).unwrap();
        let after = windows(config);
        after.merge(postcard::from_bytes(&bytes).unwrap());
        prop_assert_eq!(postcard::to_stdvec(&after.export()).unwrap(), bytes);
        let snapshot = after.snapshot(NOW, 9);
        check_caps(&after, &snapshot);
        check_equal(&snapshot, &before.snapshot(NOW, 9));
    }
}

fn check_equal(seen: &Snapshot, wanted: &Snapshot) {
    let all = |snapshot: &Snapshot| -> Vec<SeriesView> {
        let operations = snapshot.operations.iter().chain(&snapshot.versions);
        snapshot
            .services
            .iter()
            .chain(operations)
            .cloned()
            .collect()
    };
    let keys =
        |views: &[SeriesView]| -> Vec<_> { views.iter().map(|view| view.key.clone()).collect() };
    let (seen_views, wanted_views) = (all(seen), all(wanted));
    assert_eq!(keys(&seen_views), keys(&wanted_views));
    for (seen, wanted) in seen_views.iter().zip(&wanted_views) {
        let what = format!("{:?}", wanted.key);
        for (seen, wanted) in seen.windows.iter().zip(wanted.windows) {
            assert_equal(*seen, wanted, &what);
        }
        assert_equal(seen.since_start, wanted.since_start, &what);
        assert_eq!(seen.durations, wanted.durations, "{what}");
        assert_eq!(
            seen.last_event.max(NOW),
            wanted.last_event.max(NOW),
            "{what}"
        );
    }
    for (seen, wanted) in seen.objectives.iter().zip(&wanted.objectives) {
        assert_equal(seen.period.sums, wanted.period.sums, "period");
        for (seen, wanted) in seen.windows.iter().zip(wanted.windows) {
            assert_equal(*seen, wanted, "objective");
        }
    }
}

fn objective(sli: Sli) -> Objective {
    Objective::new("o", "a", sli, 0.9)
}

#[test]
fn an_objective_adopted_after_its_events_knows_them_once_they_are_replayed() {
    let latency = Sli::Latency {
        threshold_micros: 1_500,
    };
    for sli in [Sli::Availability, latency] {
        let [before, after] = std::array::from_fn(|_| windows(WindowsConfig::default()));
        let objective = Arc::new(objective(sli));
        before.adopt(&objective, NOW);
        for minute in 0..90_i64 {
            let span = Span {
                bad: minute % 4 == 0,
                age_secs: minute * 60,
                trace_state: if minute % 3 == 0 { "ot=th:c" } else { "" },
                ..Span::new("/a")
            };
            for windows in [&before, &after] {
                record(windows, &one("a", span.clone()), NOW_SECS);
            }
        }
        for (series, rows) in after.adopt(&objective, NOW) {
            after.replay("o", series, &rows);
        }
        assert!(after.adopt(&objective, NOW).is_empty(), "adopted twice");
        let [seen, wanted] = [&after, &before].map(|windows| windows.objectives(NOW).remove(0));
        for window in Window::ALL {
            assert_equal(seen.window(window), wanted.window(window), window.label());
        }
        assert!(seen.window(Window::H1).observed_total > 40);
        let [seen, wanted] = [&after, &before].map(Windows::take_ledger_rows);
        assert_eq!(seen.len(), wanted.len());
        for (seen, wanted) in seen.iter().zip(&wanted) {
            assert_equal(seen.day.sums, wanted.day.sums, "day");
        }
    }
}

#[test]
fn series_without_events_for_long_are_forgotten_unless_an_objective_is_attached() {
    let windows = windows(WindowsConfig::default());
    windows.adopt(&Arc::new(objective(Sli::Availability)), NOW);
    for service in ["a", "b"] {
        record(&windows, &one(service, Span::new("/a")), NOW_SECS);
    }
    let week = WindowsConfig::default().idle_expiry;
    let later = NOW + u64::try_from(week.as_nanos()).unwrap();
    windows.maintain(NOW);
    windows.maintain(later);
    assert_eq!(windows.usage().held, 4);
    windows.maintain(later + 1);
    assert_eq!(
        windows.usage().held,
        4,
        "their minutes are not in the history yet"
    );
    assert!(!windows.take_history().0.is_empty());
    // Operations go first, then their services.
    windows.maintain(later + 1);
    windows.maintain(later + 1);
    let snapshot = windows.snapshot(later, 0);
    let names: Vec<&str> = snapshot
        .services
        .iter()
        .map(|view| &*view.key.service.name)
        .collect();
    assert_eq!(names, ["a"]);
    assert!(snapshot.operations.is_empty());
    check_caps(&windows, &snapshot);
}

/// A past that is being sent is not idle, however old its events are.
#[test]
fn a_series_that_still_gets_old_events_is_not_forgotten() {
    let windows = windows(WindowsConfig::default());
    for round in 0..3 {
        let old = Span {
            age_secs: 20 * 86_400,
            ..Span::new("/a")
        };
        record(&windows, &one("a", old), NOW_SECS);
        windows.maintain(NOW + round * NANOS_PER_SEC);
        windows.take_history();
        assert_eq!(windows.usage().held, 2);
    }
}

/// The reserved service took no place, but gave one back when it was forgotten: below zero.
#[test]
fn forgotten_services_make_room_and_the_reserved_one_makes_none() {
    let windows = windows(WindowsConfig {
        max_services: 1,
        max_operations_per_service: 1,
        idle_expiry: Duration::from_mins(1),
        ..WindowsConfig::default()
    });
    for round in 0..3 {
        let now_secs = NOW_SECS + round * 1_000;
        for (service, overflowed) in [("a", 0), ("b", 1), ("c", 1)] {
            let recorded = record(&windows, &one(service, Span::new("/a")), now_secs);
            assert_eq!(
                recorded.overflowed, overflowed,
                "{service} in round {round}"
            );
        }
        // A second operation, which goes to the reserved one.
        assert_eq!(
            record(&windows, &one("a", Span::new("/b")), now_secs).overflowed,
            1
        );
        check_caps(&windows, &windows.snapshot(now_secs * NANOS_PER_SEC, 0));
        windows.maintain(now_secs * NANOS_PER_SEC);
        for _ in 0..3 {
            windows.maintain((now_secs + 100) * NANOS_PER_SEC);
            windows.take_history();
        }
        assert_eq!(windows.usage().held, 0);
    }
}

/// The name of a number, in letters alone so that it is no id.
fn letters(mut number: u32) -> String {
    let mut name = String::from("/");
    for _ in 0..5 {
        name.push(char::from(b'a' + u8::try_from(number % 26).unwrap()));
        number /= 26;
    }
    name
}

fn record_named(windows: &Windows, service: &str, operation: &str) -> Recorded {
    let span = SpanInput {
        name: operation.as_bytes(),
        kind: SpanKind::Server,
        start: NOW,
        end: NOW,
        ..SpanInput::default()
    };
    let mut batch = EventBatch::default();
    push(&mut batch, service, "", &[span]);
    windows.record(&mut batch, NOW)
}

#[test]
fn countless_names_are_counted_in_bounded_memory() {
    const NAMES: u32 = 20_000;
    let windows = windows(WindowsConfig {
        max_series: 100,
        ..WindowsConfig::default()
    });
    let mut recorded = Recorded::default();
    for number in 0..NAMES {
        recorded.add(record_named(&windows, "a", &letters(number)));
        recorded.add(record_named(
            &windows,
            "a",
            &format!("/health{}", letters(number)),
        ));
    }
    assert_eq!(
        (recorded.counted, recorded.excluded),
        (NAMES.into(), NAMES.into())
    );
    let snapshot = windows.snapshot(NOW, 0);
    check_caps(&windows, &snapshot);
    assert_eq!(windows.usage().held, 101);
    assert_eq!(
        snapshot.services[0].since_start.observed_total,
        u64::from(NAMES)
    );
    // What is excluded takes no place, and few marks.
    assert!(windows.map.len() as u64 <= 101 + EXCLUDED_MARKS_MAX);
    let demand = windows.usage().demand;
    assert!(
        demand.abs_diff(NAMES.into()) < u64::from(NAMES) / 20,
        "{demand}"
    );
}

#[test]
fn countless_services_are_counted_in_bounded_memory() {
    let windows = windows(WindowsConfig {
        max_services: 5,
        ..WindowsConfig::default()
    });
    for number in 0..5_000 {
        let recorded = record_named(&windows, &letters(number), &letters(number));
        assert_eq!(
            (recorded.counted, recorded.overflowed),
            (1, u64::from(number >= 5))
        );
        // The cap of services does not turn probes into events.
        let recorded = record_named(&windows, &letters(number), "GET /healthz");
        assert_eq!((recorded.counted, recorded.excluded), (0, 1));
    }
    let snapshot = windows.snapshot(NOW, 0);
    check_caps(&windows, &snapshot);
    assert_eq!((snapshot.services.len(), snapshot.operations.len()), (6, 6));
}

#[test]
fn threads_that_record_at_once_lose_nothing() {
    const ROUNDS: u32 = 200;
    const THREADS: u32 = 4;
    let windows = windows(WindowsConfig::default());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let windows = &windows;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    // All threads make the same series at the same time.
                    record_named(windows, &letters(round / 10), &letters(round));
                    if (round + thread) % 50 == 0 {
                        windows.maintain(NOW);
                        windows.snapshot(NOW, 1);
                    }
                }
            });
        }
    });
    let snapshot = windows.snapshot(NOW, 0);
    let total = |views: &[SeriesView]| -> u64 {
        views
            .iter()
            .map(|view| view.since_start.observed_total)
            .sum()
    };
    let wanted = u64::from(ROUNDS * THREADS);
    assert_eq!(
        (total(&snapshot.services), total(&snapshot.operations)),
        (wanted, wanted)
    );
    check_caps(&windows, &snapshot);
}

#[test]
fn a_restored_series_gets_the_account_of_an_objective_adopted_before() {
    let [before, after] = std::array::from_fn(|_| windows(WindowsConfig::default()));
    record(&before, &one("a", Span::new("/a")), NOW_SECS);
    after.adopt(&Arc::new(objective(Sli::Availability)), NOW);
    after.merge(before.export());
    record(&after, &one("a", Span::new("/a")), NOW_SECS);
    assert_eq!(
        after.objectives(NOW)[0].window(Window::H1).observed_total,
        1
    );
}

#[test]
fn a_fourth_version_waits_until_another_one_is_idle() {
    let windows = windows(WindowsConfig::default());
    let versions_at = |version: &'static str, now_secs: u64| -> Vec<String> {
        let spans = vec![Span::new("/a")];
        let request = vec![Resource {
            service: "a",
            version,
            spans,
        }];
        record(&windows, &request, now_secs);
        let views = windows.snapshot(now_secs * NANOS_PER_SEC, 0).versions;
        let name = |view: &SeriesView| match &view.key.scope {
            SeriesScope::Version { version } => version.to_string(),
            SeriesScope::Service | SeriesScope::Operation { .. } => panic!("{:?}", view.key),
        };
        views.iter().map(name).collect()
    };
    for (at, version) in ["1", "2", "3"].into_iter().enumerate() {
        versions_at(version, NOW_SECS + at as u64);
    }
    assert_eq!(versions_at("4", NOW_SECS + 300), ["1", "2", "3"]);
    assert_eq!(versions_at("4", NOW_SECS + 301), ["2", "3", "4"]);
}

proptest! {
    #[test]
    fn property_no_time_panics(
        steps in prop::collection::vec((absurd_time(), absurd_time(), absurd_time()), 1..8),
    ) {
        let windows = windows(WindowsConfig::default());
        windows.adopt(&Arc::new(objective(Sli::Availability)), steps[0].0);
        for (now, start, end) in &steps {
            let span = SpanInput {
                name: b"/a",
                kind: SpanKind::Server,
                trace_state: b"ot=th:ffffffffffffff",
                start: *start.min(end),
                end: *end.max(start),
                ..SpanInput::default()
            };
            let mut batch = EventBatch::default();
            push(&mut batch, "a", "1", &[span, span]);
            windows.record(&mut batch, *now);
            windows.maintain(*now);
            windows.snapshot(*now, 1);
            windows.take_history();
        }
        let snapshot = windows.snapshot(steps[0].0, 1);
        let total = snapshot.services.first().map(|view| view.since_start.observed_total);
        // A jump of the clock makes the service idle, so only what came since may be there.
        prop_assert!(total.is_none_or(|total| total <= 2 * steps.len() as u64));
        for view in &snapshot.services {
            prop_assert!(view.since_start.total.is_finite() && view.since_start.squared.is_finite());
        }
    }
}

fn absurd_time() -> impl Strategy<Value = u64> {
    let edges = vec![
        0,
        1,
        NANOS_PER_SEC,
        NOW - 1,
        NOW,
        NOW + NANOS_PER_SEC,
        u64::MAX - 1,
        u64::MAX,
    ];
    prop_oneof![prop::sample::select(edges), any::<u64>()]
}

#[test]
fn an_event_of_584_years_reaches_the_duration_sum_more_than_once() {
    let windows = windows(WindowsConfig::default());
    let span = SpanInput {
        kind: SpanKind::Server,
        end: u64::MAX,
        ..SpanInput::default()
    };
    let mut batch = EventBatch::default();
    push(&mut batch, "a", "", &[span, span, span]);
    assert_eq!(windows.record(&mut batch, NOW).too_new, 3);
    let durations = windows.snapshot(NOW, 0).services[0]
        .durations
        .clone()
        .unwrap();
    assert!((durations.ok.sum_secs / 55_340_232_221.0 - 1.0).abs() < 1e-6);
    assert_eq!(batch.events[0].outcome, Outcome::Ok);
}

#[test]
fn operations_that_differ_in_personal_data_alone_are_one_under_a_name_without_it() {
    let windows = windows(WindowsConfig::default()).scrubbing(Scrubber::default());
    for operation in [
        "GET /people/12345678Z",
        "GET /people/X1234567L",
        "GET /people/{id}",
        "GET /people/12345678Z",
    ] {
        let mut batch = batch_of(&one("shop", Span::new(operation)), NOW_SECS);
        windows.record(&mut batch, NOW);
        let snapshot = windows.snapshot(NOW, 10);
        let mut held = snapshot.operations.iter().map(|view| view.key.id());
        // Whatever goes by the series of an event finds it.
        assert!(held.any(|id| id == batch.events[0].series), "{operation}");
    }
    let snapshot = windows.snapshot(NOW, 10);
    let mut seen: Vec<(&str, u64)> = snapshot
        .operations
        .iter()
        .map(|view| {
            (
                view.key.operation_name().unwrap(),
                view.since_start.observed_total,
            )
        })
        .collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        [("GET /people/[NATIONAL_ID]", 3), ("GET /people/{id}", 1)]
    );
    check_caps(&windows, &snapshot);
    assert_eq!(windows.take_findings().of("national_id"), 1);
    assert!(windows.take_findings().is_empty());
}
