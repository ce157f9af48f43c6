//! What is kept, what is not, and what is said about it.

use proptest::prelude::*;

use super::raw::{Encoding, RawSpans};
use super::*;
use crate::model::batch::Event;
use crate::model::span::{Outcome, SpanKind};
use crate::model::trace::{Completeness, TraceSpan};
use crate::trace::fixture::{failed, span};

const SECOND: u64 = 1_000_000_000;
const NOW: u64 = 1_770_000_000 * SECOND;

/// Spans written as `id parent outcome padding`.
#[derive(Debug)]
struct Words;

impl DecodeSpans for Words {
    fn decode(&self, spans: &RawSpans) -> Vec<TraceSpan> {
        let spans = spans.iter().filter_map(|(origin, bytes)| {
            let text = std::str::from_utf8(bytes).ok()?;
            let mut words = text.split(' ');
            let (id, parent, outcome) = (words.next()?, words.next()?, words.next()?);
            let service = std::str::from_utf8(&origin.resource).ok()?;
            let parent = if parent == "-" { "" } else { parent };
            let made = span(id, parent, service, SpanKind::Server, (1, 5));
            Some(if outcome == "failed" {
                failed(made)
            } else {
                made
            })
        });
        spans.collect()
    }
}

fn buffer(config: &Config) -> TraceBuffer {
    TraceBuffer::new(config, Box::new(Words))
}

/// One mebibyte, so that little fills it.
fn small() -> Config {
    Config {
        max_bytes: 1 << 20,
        max_trace_bytes: 1 << 17,
        max_wanted_per_second: 1_000_000,
        ..Config::default()
    }
}

/// An id with this randomness.
fn id(randomness: u64) -> TraceId {
    u128::from(randomness | 0xab << 56).to_be_bytes()
}

fn raw(randomness: u64, bytes: &str) -> RawSpan<'_> {
    RawSpan {
        trace_id: id(randomness),
        randomness: Randomness::from_number(randomness),
        bytes: bytes.as_bytes(),
    }
}

const ORIGIN: Origin<'_> = Origin {
    encoding: Encoding::Protobuf,
    resource: b"shop",
    scope: b"",
};

/// A batch with one event of each trace.
fn batch(events: &[(u64, Outcome, u64)]) -> EventBatch {
    let mut batch = EventBatch::default();
    batch.wants_randomness = true;
    for (randomness, outcome, duration_nanos) in events {
        batch.randomness.push(*randomness);
        batch.events.push(Event {
            series: SeriesId(7),
            operation: crate::model::batch::Text::default(),
            end: NOW,
            duration_nanos: *duration_nanos,
            weight: 1.0,
            count: 1,
            randomness: *randomness,
            kind: SpanKind::Server,
            outcome: *outcome,
            excluded: false,
        });
    }
    batch
}

fn text(id: &TraceId) -> String {
    hex(id)
}

/// Fills the buffer by its ids, one trace of about a kilobyte after the other, until a smaller share is kept.
fn tighten(buffer: &TraceBuffer) {
    let padding = "x".repeat(1_000);
    let bytes = format!("a - ok {padding}");
    let mut number = 1_u64;
    while buffer.counts().sampled_ratio == 1.0 {
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        buffer.insert(&ORIGIN, &[raw(number >> 8, &bytes)], NOW);
    }
}

#[test]
fn a_quiet_trace_is_over_and_told_once() {
    let buffer = buffer(&Config::default());
    assert!(buffer.picks(&batch(&[(5, Outcome::Ok, 1)])));
    buffer.insert(
        &ORIGIN,
        &[raw(5, "a - ok"), raw(5, "b a ok"), raw(6, "a - failed")],
        NOW,
    );
    let told = buffer.tick(NOW + 4 * SECOND);
    assert!(told.is_empty(), "spans may still come");
    let under_way = buffer.trace(&text(&id(5))).unwrap();
    let why = Completeness::Incomplete("it is still under way".to_owned());
    assert_eq!((under_way.spans.len(), under_way.completeness), (2, why));

    let told = buffer.tick(NOW + 5 * SECOND);
    assert_eq!(told.len(), 2);
    assert!(
        told.iter()
            .all(|trace| trace.completeness == Completeness::Complete)
    );
    assert!(buffer.tick(NOW + 6 * SECOND).is_empty());
    let found = buffer.trace(&text(&id(5))).unwrap();
    assert!(told.iter().any(|trace| **trace == found));
    assert_eq!(buffer.trace(&text(&id(7))), None);
    assert_eq!(buffer.trace("no id"), None);

    let mut summaries = buffer.summaries();
    summaries.sort_by_key(|summary| summary.failed_spans);
    assert_eq!(summaries.len(), 2);
    assert_eq!((summaries[0].spans, summaries[0].failed_spans), (2, 0));
    assert_eq!(
        (summaries[1].outcome, summaries[1].reason),
        (Outcome::Error, Reason::Sampled)
    );
}

#[test]
fn a_trace_without_an_end_is_taken_as_it_is() {
    let buffer = buffer(&Config::default());
    for second in 0..=60 {
        let now = NOW + second * SECOND;
        buffer.insert(&ORIGIN, &[raw(5, &format!("s{second} - ok"))], now);
        let told = buffer.tick(now);
        assert_eq!(told.len(), usize::from(second == 60), "{second}");
        for trace in told {
            let Completeness::Incomplete(why) = &trace.completeness else {
                panic!("{trace:?}");
            };
            assert_eq!(why, "spans still came after trace_buffer.timeout");
        }
    }
}

/// The threshold keeps the ids at the top of the range, whatever was seen of the others.
#[test]
fn a_full_buffer_keeps_fewer_traces_and_the_same_everywhere() {
    let (first, second) = (buffer(&small()), buffer(&small()));
    tighten(&first);
    tighten(&second);
    let counts = first.counts();
    assert_eq!(counts.sampled_ratio, 0.125);
    assert!(
        counts.left_out_traces > 100 && counts.bytes <= 1 << 20,
        "{counts:?}"
    );
    let kept_from = 7_u64 << 53;
    for buffer in [&first, &second] {
        assert!(!buffer.picks(&batch(&[(kept_from - 1, Outcome::Ok, 1)])));
        assert!(buffer.picks(&batch(&[(kept_from, Outcome::Ok, 1)])));
        assert!(!buffer.is_picked(Randomness::from_number(kept_from - 1)));
    }
    let held = first.traces();
    let mut ids = held.held.keys();
    assert!(ids.all(|id| Randomness::of_trace_id(id).number() >= kept_from));
}

#[test]
fn a_trace_with_an_error_is_wanted_and_says_that_something_may_be_missing() {
    let buffer = buffer(&small());
    tighten(&buffer);
    let low = 77;
    assert!(!buffer.picks(&batch(&[(low, Outcome::Ok, 1)])));
    assert!(buffer.picks(&batch(&[(low, Outcome::Error, 1)])));
    buffer.insert(&ORIGIN, &[raw(low, "a - failed"), raw(78, "a - ok")], NOW);
    assert_eq!(buffer.counts().kept_traces.wanted, 1);
    // What follows belongs to it, however it ended.
    assert!(buffer.picks(&batch(&[(low, Outcome::Ok, 1)])));
    buffer.tick(NOW + 5 * SECOND);
    let trace = buffer.trace(&text(&id(low))).unwrap();
    let Completeness::Incomplete(why) = trace.completeness else {
        panic!("{trace:?}");
    };
    assert!(
        why.contains("spans from before, and late ones, may be missing"),
        "{why}"
    );
    assert_eq!(buffer.trace(&text(&id(78))), None);
}

#[test]
fn an_entry_span_is_slow_above_the_limit_of_its_operation() {
    let buffer = buffer(&small());
    tighten(&buffer);
    assert!(!buffer.picks(&batch(&[(9, Outcome::Ok, 1_000)])));
    buffer.set_slow([(SeriesId(7), 999)]);
    assert!(!buffer.picks(&batch(&[(9, Outcome::Ok, 999)])));
    assert!(buffer.picks(&batch(&[(9, Outcome::Ok, 1_000)])));
    let mut excluded = batch(&[(10, Outcome::Error, 1)]);
    excluded.events[0].excluded = true;
    assert!(!buffer.picks(&excluded), "sli.exclude names it");
    // Another operation has the place of this one in the table, and is not mistaken for it.
    buffer.set_slow([(SeriesId(7 | 1 << 64), 999)]);
    assert!(!buffer.picks(&batch(&[(11, Outcome::Ok, 1_000)])));
}

#[test]
fn a_storm_of_errors_does_not_drive_out_sampled_traces() {
    let buffer = buffer(&small());
    tighten(&buffer);
    let before = buffer.counts();
    let padding = "x".repeat(1_000);
    let bytes = format!("a - failed {padding}");
    let sampled = |buffer: &TraceBuffer| {
        let traces = buffer.traces();
        traces
            .held
            .values()
            .filter(|held| held.reason == Reason::Sampled)
            .count()
    };
    let normal = sampled(&buffer);
    for number in 0..5_000_u64 {
        let randomness = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 9;
        buffer.picks(&batch(&[(randomness, Outcome::Error, 1)]));
        buffer.insert(&ORIGIN, &[raw(randomness, &bytes)], NOW);
    }
    let after = buffer.counts();
    assert_eq!(sampled(&buffer), normal);
    assert_eq!(after.sampled_ratio, before.sampled_ratio);
    assert!(after.wanted_ratio < 0.2, "{after:?}");
    assert!(
        after.kept_traces.wanted > 300 && after.bytes <= 1 << 20,
        "{after:?}"
    );
}

/// Each costs a second look at a request.
#[test]
fn only_so_many_traces_become_wanted_in_a_second() {
    let buffer = buffer(&Config {
        max_wanted_per_second: 3,
        ..small()
    });
    tighten(&buffer);
    let picked = |first: u64| {
        let events: Vec<_> = (first..first + 10)
            .map(|id| (id, Outcome::Error, 1))
            .collect();
        buffer.picks(&batch(&events));
        // Once more: what is wanted already needs no place.
        buffer.picks(&batch(&events));
        let all = (first..first + 10).map(Randomness::from_number);
        all.filter(|randomness| buffer.is_picked(*randomness))
            .count()
    };
    assert_eq!(picked(100), 3);
    assert_eq!(picked(200), 0);
    assert_eq!(buffer.counts().passed_over_traces, 34);
    buffer.tick(NOW);
    assert_eq!(picked(300), 3);
}

#[test]
fn the_oldest_traces_go_when_they_are_old_enough() {
    let buffer = buffer(&small());
    let padding = "x".repeat(1_000);
    for number in 0..2_000_u64 {
        let bytes = format!("a - ok {padding}");
        // One in four seconds: 600 s hold 150 of them, and the memory more.
        let now = NOW + number * 4 * SECOND;
        buffer.insert(&ORIGIN, &[raw(number, &bytes)], now);
        buffer.tick(now);
    }
    let counts = buffer.counts();
    assert_eq!((counts.sampled_ratio, counts.left_out_traces), (1.0, 0));
    assert!(counts.evicted_traces > 1_000, "{counts:?}");
    assert!(buffer.trace(&text(&id(1_999))).is_some());
    assert!(buffer.trace(&text(&id(0))).is_none());
}

#[test]
fn more_traces_are_kept_again_when_memory_lies_idle() {
    let buffer = buffer(&small());
    tighten(&buffer);
    // Nothing new comes for an eighth of the retention.
    buffer.tick(NOW + 74 * SECOND);
    assert_eq!(buffer.counts().sampled_ratio, 0.125);
    buffer.tick(NOW + 75 * SECOND);
    assert_eq!(buffer.counts().sampled_ratio, 0.25);
    // A trace that began before could have lost its first spans.
    buffer.insert(&ORIGIN, &[raw(0xd0 << 48, "a - ok")], NOW + 76 * SECOND);
    buffer.tick(NOW + 81 * SECOND);
    let Completeness::Incomplete(why) = buffer.trace(&text(&id(0xd0 << 48))).unwrap().completeness
    else {
        panic!();
    };
    assert!(
        why.starts_with("more traces are kept since shortly before"),
        "{why}"
    );
}

#[test]
fn one_trace_takes_no_more_than_its_bound() {
    let config = small();
    let buffer = buffer(&config);
    let padding = "x".repeat(1_000);
    for number in 0..1_000 {
        buffer.insert(
            &ORIGIN,
            &[raw(5, &format!("s{number} - ok {padding}"))],
            NOW,
        );
    }
    buffer.insert(&ORIGIN, &[raw(6, "a - ok")], NOW);
    let counts = buffer.counts();
    assert!(counts.left_out_spans > 800, "{counts:?}");
    assert_eq!(counts.kept_spans + counts.left_out_spans, 1_001);
    assert!(
        (counts.bytes as u64) < 2 * config.max_trace_bytes,
        "{counts:?}"
    );
    buffer.tick(NOW + 5 * SECOND);
    let Completeness::Incomplete(why) = buffer.trace(&text(&id(5))).unwrap().completeness else {
        panic!();
    };
    let wanted = format!(
        "{} spans are left out, since one trace may take trace_buffer.max_trace_bytes",
        counts.left_out_spans
    );
    assert_eq!(why, wanted);
}

#[test]
fn without_a_share_nothing_is_wanted() {
    let buffer = buffer(&Config {
        wanted_share: 0.0,
        ..small()
    });
    tighten(&buffer);
    assert!(!buffer.picks(&batch(&[(5, Outcome::Error, 1)])));
}

#[test]
fn spans_that_cannot_be_read_are_counted_and_the_rest_stays() {
    let buffer = buffer(&Config::default());
    buffer.insert(&ORIGIN, &[raw(5, "broken"), raw(5, "a - ok")], NOW);
    buffer.insert(&ORIGIN, &[raw(6, "broken")], NOW);
    let told = buffer.tick(NOW + 5 * SECOND);
    assert_eq!(told.len(), 1, "a trace of nothing is none");
    assert_eq!(buffer.counts().unreadable_spans, 2);
}

#[test]
fn configurations_that_cannot_work_are_named() {
    assert_eq!(Config::default().check(), Ok(()));
    for (config, key) in [
        (
            Config {
                max_bytes: 1,
                ..small()
            },
            "trace_buffer.max_bytes",
        ),
        (
            Config {
                max_trace_bytes: 1 << 19,
                ..small()
            },
            "trace_buffer.max_trace_bytes",
        ),
        (
            Config {
                wanted_share: 1.0,
                ..small()
            },
            "trace_buffer.wanted_share",
        ),
        (
            Config {
                timeout: std::time::Duration::ZERO,
                ..small()
            },
            "trace_buffer.timeout",
        ),
    ] {
        assert_eq!(config.check().unwrap_err().0, key);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// However spans and ticks come: the memory is what its parts take, within its bound, and no trace is told twice.
    #[test]
    fn property_memory_is_bounded_and_counted(
        steps in prop::collection::vec((0..60_u64, 0..4_000_usize, any::<bool>(), 0..40_u64, 0..30_usize), 1..300),
    ) {
        let buffer = buffer(&small());
        let mut now = NOW;
        let mut told = std::collections::HashSet::new();
        for (trace, length, has_failed, seconds, service) in steps {
            now += seconds * SECOND;
            let randomness = trace.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 8;
            let outcome = if has_failed { Outcome::Error } else { Outcome::Ok };
            buffer.picks(&batch(&[(randomness, outcome, 1)]));
            let bytes = format!("s{now} - ok {}", "x".repeat(length));
            let resource = "r".repeat(service * 100);
            let origin = Origin { resource: resource.as_bytes(), ..ORIGIN };
            let spans: Vec<RawSpan<'_>> = (0..8).map(|_| raw(randomness, &bytes)).collect();
            buffer.insert(&origin, &spans, now);
            for trace in buffer.tick(now) {
                let begun = (trace.trace_id.clone(), trace.spans[0].span_id.clone());
                prop_assert!(told.insert(begun));
            }
            let counts = buffer.counts();
            prop_assert!(counts.bytes <= (1 << 20) + (1 << 17), "{:?}", counts);
            let traces = buffer.traces();
            prop_assert_eq!(traces.bytes(), traces.counted_again());
        }
    }
}

#[test]
fn whoever_reads_a_trace_sees_no_personal_data_and_it_is_counted_once() {
    let buffer = buffer(&Config::default()).scrubbing(Scrubber::default());
    assert!(buffer.picks(&batch(&[(5, Outcome::Ok, 1)])));
    buffer.insert(&ORIGIN, &[raw(5, "a@b.example - ok")], NOW);
    let name = |trace: &Trace| trace.spans[0].name.to_string();
    assert_eq!(name(&buffer.trace(&text(&id(5))).unwrap()), "[EMAIL]");
    assert!(buffer.take_findings().is_empty());
    let told = buffer.tick(NOW + 5 * SECOND);
    assert_eq!(name(&told[0]), "[EMAIL]");
    assert_eq!(*buffer.summaries()[0].operation, *"[EMAIL]");
    assert_eq!(name(&buffer.trace(&text(&id(5))).unwrap()), "[EMAIL]");
    assert_eq!(buffer.take_findings().total(), 1);
}
