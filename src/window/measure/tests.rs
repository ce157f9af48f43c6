//! Periods and slices against a model that keeps every event, across restarts and summer time.

use proptest::prelude::*;

use super::*;
use crate::model::NANOS_PER_SEC;
use crate::model::batch::EventBatch;
use crate::model::period::CalendarPeriod;
use crate::model::series::{SeriesId, SeriesKey, ServiceKey};
use crate::model::slo::{CompositeMember, EmptySlices, Sli};
use crate::model::span::SpanKind;
use crate::window::event::{
    EntryKinds, OperationScratch, ResourceAttributes, Sampling, Scalar, SpanInput, SpanStatus,
    push_resource, push_span,
};
use crate::window::ledger::LedgerDay;
use crate::window::settings::{SliConfig, WindowsConfig};

/// 2026-02-01 00:00 UTC.
const START_SECS: u64 = 20_485 * 86_400;

const LATE_SECS: u64 = 300;

/// (seconds, namespace, whether it failed)
type Kept = (u64, &'static str, bool);

fn windows() -> Windows {
    Windows::new(WindowsConfig::default(), &SliConfig::default())
}

fn record(windows: &Windows, (secs, namespace, bad): Kept, now_secs: u64) {
    let (mut batch, mut scratch) = (EventBatch::default(), OperationScratch::default());
    let mut resource = ResourceAttributes::default();
    resource.set(
        b"service.name",
        Scalar::Text(b"checkout"),
        b"service.version",
    );
    resource.set(
        b"service.namespace",
        Scalar::Text(namespace.as_bytes()),
        b"service.version",
    );
    push_resource(&mut batch, &mut scratch, &resource);
    let end = secs * NANOS_PER_SEC;
    let span = SpanInput {
        name: b"pay",
        kind: SpanKind::Server,
        start: end,
        end,
        status: if bad {
            SpanStatus::Error
        } else {
            SpanStatus::Unset
        },
        ..SpanInput::default()
    };
    let kinds = EntryKinds::new(&[SpanKind::Server]);
    push_span(
        &mut batch,
        &mut scratch,
        &span,
        kinds,
        &Sampling::Full.into(),
    );
    windows.record(&mut batch, now_secs * NANOS_PER_SEC);
}

fn objective(name: &str, window: &str, budgeting: Budgeting) -> Objective {
    Objective {
        window: Period::Rolling(window.parse().unwrap()),
        budgeting,
        ..Objective::new(name, "checkout", Sli::Availability, 0.99)
    }
}

fn timeslices(slice: &str, empty: EmptySlices) -> Budgeting {
    Budgeting::Timeslices {
        slice_target: 0.9,
        slice: slice.parse().unwrap(),
        empty,
    }
}

fn secs(time: &str) -> u64 {
    let time: jiff::Timestamp = time.parse().unwrap();
    time.as_second().try_into().unwrap()
}

fn view(windows: &Windows, now_secs: u64) -> ObjectiveView {
    windows.objectives(now_secs * NANOS_PER_SEC).remove(0)
}

/// What a stop leaves on the disk.
struct Stored {
    minutes: Vec<(SeriesId, crate::model::history::MinuteRow)>,
    days: Vec<crate::window::ledger::LedgerRow>,
}

fn stop(windows: &Windows, now_secs: u64) -> Stored {
    windows.maintain(now_secs * NANOS_PER_SEC);
    windows.close_minutes();
    let (minutes, lost) = windows.take_history();
    assert_eq!(lost, 0);
    Stored {
        minutes: minutes
            .into_iter()
            .map(|minute| (minute.series, minute.row))
            .collect(),
        days: windows.take_ledger_rows(),
    }
}

/// Starts again as the service does: windows from minutes, then objectives with their minutes and days.
fn start(objectives: &[Objective], stored: &Stored, now_secs: u64) -> Windows {
    let windows = windows();
    let minutes_of = |id: SeriesId| -> Vec<_> {
        let own = stored.minutes.iter().filter(|(series, _)| *series == id);
        own.map(|(_, row)| row.clone()).collect()
    };
    for namespace in ["", "eu", "us"] {
        let key = SeriesKey::service(ServiceKey {
            namespace: namespace.into(),
            ..ServiceKey::named("checkout")
        });
        let rows = minutes_of(key.id());
        windows.rebuild(key, &rows);
    }
    for objective in objectives {
        let objective = Arc::new(objective.clone());
        for (series, unsaved) in windows.adopt(&objective, now_secs * NANOS_PER_SEC) {
            assert!(unsaved.is_empty());
            windows.replay(&objective.name, series, &minutes_of(series));
        }
        let accounts = [Some(objective.account()), objective.composite_account()];
        for account in accounts.into_iter().flatten() {
            let mut days: std::collections::BTreeMap<SeriesId, Vec<LedgerDay>> =
                std::collections::BTreeMap::new();
            for row in stored.days.iter().filter(|row| *row.objective == *account) {
                days.entry(row.series).or_default().push(row.day);
            }
            windows.restore_days(&objective, &account, days.into_iter().collect());
        }
    }
    windows
}

fn run(windows: &Windows, from_secs: u64, until_secs: u64) {
    for now_secs in (from_secs..=until_secs).step_by(60) {
        windows.maintain(now_secs * NANOS_PER_SEC);
    }
}

/// March 2026 has 743 hours in Berlin: it begins on 28 February at 23:00 UTC and ends on 31 March at 22:00.
#[test]
fn a_calendar_month_is_exact_across_summer_time() {
    let windows = windows();
    let month = Period::Calendar(CalendarPeriod {
        duration: "1M".parse().unwrap(),
        start_time: "2026-01-01 00:00:00".parse().unwrap(),
        time_zone: "Europe/Berlin".to_owned(),
    });
    let objective = Objective {
        window: month,
        ..Objective::new("o", "checkout", Sli::Availability, 0.99)
    };
    windows.adopt(&Arc::new(objective), START_SECS * NANOS_PER_SEC);
    // An event at each full hour, which are the edges of days.
    let first = secs("2026-02-20T00:00:00Z");
    for now in (first..secs("2026-04-03T00:00:00Z")).step_by(3_600) {
        record(&windows, (now, "", false), now);
        let seen = view(&windows, now).period;
        let start = match now {
            now if now < secs("2026-02-28T23:00:00Z") => first,
            now if now < secs("2026-03-31T22:00:00Z") => secs("2026-02-28T23:00:00Z"),
            _ => secs("2026-03-31T22:00:00Z"),
        };
        assert_eq!(seen.sums.observed_total, (now - start) / 3_600 + 1, "{now}");
    }
    let last = secs("2026-03-31T21:59:59Z");
    let calendar = view(&windows, last).period.calendar.unwrap();
    let hours = (calendar.end - calendar.start) / NANOS_PER_SEC / 3_600;
    assert_eq!(hours, 743);
    assert!((calendar.elapsed_ratio - 1.0).abs() < 1e-6);
}

#[test]
fn a_quarter_is_the_sum_of_its_days_and_survives_the_service_that_sent_them() {
    let quarter = objective("o", "90d", Budgeting::Occurrences);
    let before = windows();
    before.adopt(&Arc::new(quarter.clone()), START_SECS * NANOS_PER_SEC);
    let day = |number: u64| START_SECS + number * 86_400;
    for number in 0..100 {
        record(&before, (day(number), "", number == 95), day(number));
    }
    let seen = view(&before, day(99)).period.sums;
    // The midnight of day 99 - 90 and all later ones.
    assert_eq!((seen.observed_total, seen.observed_bad), (91, 1));
    let stored = Stored {
        minutes: Vec::new(),
        days: stop(&before, day(99)).days,
    };
    // Forty days later no minute of it is left, and no series.
    let after = start(&[quarter], &stored, day(139));
    assert_eq!(after.usage().held, 0);
    let seen = view(&after, day(139)).period.sums;
    assert_eq!((seen.observed_total, seen.observed_bad), (51, 1));
    // When it comes back, its days go on.
    record(&after, (day(139), "", true), day(139));
    let seen = view(&after, day(139)).period.sums;
    assert_eq!((seen.observed_total, seen.observed_bad), (52, 2));
    assert_eq!(after.take_ledger_rows().len(), 1, "the others are kept");
}

#[test]
fn a_slice_is_judged_over_all_series_of_its_objective() {
    let windows = windows();
    let by_slices = objective("o", "30d", timeslices("5m", EmptySlices::Good));
    windows.adopt(&Arc::new(by_slices), START_SECS * NANOS_PER_SEC);
    // One namespace fails wholly, which is a tenth of the slice in the first and more in the second.
    for (slice, good) in [(0, 9), (1, 8)] {
        let at = START_SECS + slice * 300;
        record(&windows, (at, "eu", true), at);
        for n in 0..good {
            record(&windows, (at + n, "us", false), at + n);
        }
    }
    run(&windows, START_SECS, START_SECS + 600 + LATE_SECS);
    let seen = view(&windows, START_SECS + 600 + LATE_SECS).period.sums;
    assert_eq!((seen.total, seen.bad), (2.0, 1.0));
    assert_eq!((seen.observed_total, seen.observed_bad), (19, 2));
}

/// What a model that keeps every event says of slices up to `until_secs`: (expected, bad, empty).
fn naive(events: &[Kept], budgeting: Budgeting, until_secs: u64) -> (f64, f64, u64) {
    let slice_secs = budgeting.slice().unwrap().secs();
    let number = |secs: u64| secs / slice_secs;
    let until = number(until_secs);
    let known = events.iter().map(|event| number(event.0)).min();
    let (mut expected, mut bad, mut empty) = (0.0, 0.0, 0);
    for slice in known.unwrap_or(until)..until {
        let own: Vec<&Kept> = events
            .iter()
            .filter(|event| number(event.0) == slice)
            .collect();
        let failed = own.iter().filter(|event| event.2).count() as f64;
        let ratio = failed / own.len() as f64;
        let counts_as = match (own.is_empty(), budgeting) {
            (true, _) => {
                empty += 1;
                match budgeting.empty_slices() {
                    EmptySlices::Good => Some(0.0),
                    EmptySlices::Bad => Some(1.0),
                    EmptySlices::Excluded => None,
                }
            }
            (false, Budgeting::Timeslices { .. }) => Some(f64::from(u8::from(ratio > 0.1))),
            (false, Budgeting::RatioTimeslices { .. } | Budgeting::Occurrences) => Some(ratio),
        };
        expected += f64::from(u8::from(counts_as.is_some()));
        bad += counts_as.unwrap_or(0.0);
    }
    (expected, bad, empty)
}

fn any_budgeting() -> impl Strategy<Value = Budgeting> {
    let empty = prop_oneof![
        Just(EmptySlices::Good),
        Just(EmptySlices::Bad),
        Just(EmptySlices::Excluded)
    ];
    let slice = prop_oneof![Just("1m"), Just("5m"), Just("45m"), Just("1h")];
    (empty, slice, any::<bool>()).prop_map(|(empty, slice, by_target)| {
        if by_target {
            timeslices(slice, empty)
        } else {
            let slice = slice.parse().unwrap();
            Budgeting::RatioTimeslices { slice, empty }
        }
    })
}

/// Most events are on time, some come hours later.
fn delay() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 0..LATE_SECS, 1 => 0..6 * 3_600_u64]
}

/// In the order of their arrival, the first of each namespace on time: measuring begins with it.
fn arrange(events: &mut [(Kept, u64)]) {
    events.sort_by_key(|(event, _)| event.0);
    for namespace in ["eu", "us"] {
        let mut own = events.iter_mut();
        if let Some((_, delay)) = own.find(|(event, _)| event.1 == namespace) {
            *delay = 0;
        }
    }
    events.sort_by_key(|(event, delay)| event.0 + delay);
}

fn any_event() -> impl Strategy<Value = Kept> {
    (
        0..2 * 86_400_u64,
        prop_oneof![Just("eu"), Just("us")],
        any::<bool>(),
    )
        .prop_map(|(age, namespace, bad)| (START_SECS + age, namespace, bad))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whenever evaluations come, and with a restart and a pause in between, slices are those of the model.
    #[test]
    fn property_slices_are_those_of_a_model_that_keeps_every_event(
        mut events in proptest::collection::vec((any_event(), delay()), 1..80),
        budgeting in any_budgeting(),
        window in prop_oneof![Just("7d"), Just("30d"), Just("90d")],
        ticks in 600..20_000_u64,
        stop_after in 0..2 * 86_400_u64,
        pause_secs in 0..10_000_u64,
    ) {
        arrange(&mut events);
        let by_slices = objective("o", window, budgeting);
        let mut windows = windows();
        windows.adopt(&Arc::new(by_slices.clone()), START_SECS * NANOS_PER_SEC);
        let stop_at = START_SECS + stop_after;
        let mut next_tick = START_SECS;
        let mut stopped = false;
        let end = START_SECS + 3 * 86_400;
        // Nothing arrives while nobody is there.
        let pause = stop_at..=stop_at + pause_secs.max(ticks);
        events.retain(|(event, delay)| !pause.contains(&(event.0 + delay)));
        arrange(&mut events);
        let kept: Vec<Kept> = events.iter().map(|(event, _)| *event).collect();
        let mut pending = events.iter().peekable();
        while next_tick <= end {
            while let Some((event, delay)) = pending.next_if(|(event, delay)| event.0 + delay <= next_tick) {
                record(&windows, *event, event.0 + delay);
            }
            if !stopped && next_tick >= stop_at {
                let stored = stop(&windows, next_tick);
                next_tick = next_tick.max(stop_at + pause_secs);
                windows = start(std::slice::from_ref(&by_slices), &stored, next_tick);
                stopped = true;
            }
            windows.maintain(next_tick * NANOS_PER_SEC);
            next_tick += ticks;
        }
        let last = next_tick - ticks;
        let seen = view(&windows, last);
        let (expected, bad, empty) = naive(&kept, budgeting, last - LATE_SECS);
        prop_assert_eq!(seen.period.sums.total, expected);
        prop_assert!((seen.period.sums.bad - bad).abs() < 1e-6, "{:?} {}", seen.period, bad);
        prop_assert_eq!(seen.period.empty_slices, empty);
        prop_assert_eq!(seen.period.sums.observed_total, kept.iter().filter(|event| {
            let slice = budgeting.slice().unwrap().secs();
            event.0 / slice < (last - LATE_SECS) / slice
        }).count() as u64);
        // The windows agree with the days.
        prop_assert_eq!(seen.window(Window::D30).total, expected);
        prop_assert!((seen.window(Window::D30).bad - bad).abs() < 1e-6);
    }

    /// A composite's slice is bad if any member's is, also after a restart.
    #[test]
    fn property_slices_of_a_composite_are_those_of_a_model(
        mut events in proptest::collection::vec((any_event(), delay()), 1..80),
        restart in any::<bool>(),
    ) {
        arrange(&mut events);
        let budgeting = timeslices("5m", EmptySlices::Good);
        let members = ["eu", "us"].map(|namespace| Objective {
            namespace: Some(namespace.to_owned()),
            composite: Some(CompositeMember { name: "shop".to_owned(), weight: 1.0 }),
            ..objective(namespace, "30d", budgeting)
        });
        let mut windows = windows();
        for member in &members {
            windows.adopt(&Arc::new(member.clone()), START_SECS * NANOS_PER_SEC);
        }
        for (event, delay) in &events {
            let now_secs = event.0 + delay;
            record(&windows, *event, now_secs);
            windows.maintain(now_secs * NANOS_PER_SEC);
        }
        let first = events.iter().map(|(event, _)| event.0 / 300).min().unwrap();
        let end = START_SECS + 3 * 86_400;
        if restart {
            windows = start(&members, &stop(&windows, end - 7_200), end);
        }
        windows.maintain(end * NANOS_PER_SEC);
        let seen = windows.composites(end * NANOS_PER_SEC).remove(0);
        let until = (end - LATE_SECS) / 300;
        let bad = (first..until).filter(|slice| {
            ["eu", "us"].iter().any(|namespace| {
                let own = events.iter().map(|(event, _)| event);
                let own = own.filter(|event| event.1 == *namespace && event.0 / 300 == *slice);
                let failed = own.clone().filter(|event| event.2).count() as f64;
                failed / own.count() as f64 > 0.1
            })
        });
        prop_assert_eq!(seen.period.sums.bad, bad.count() as f64);
        prop_assert_eq!(seen.period.sums.total, (until - first) as f64);
    }
}
