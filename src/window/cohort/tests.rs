//! What a recording holds, against a model that keeps everything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::batch::{Call, EventBatch, Failure};
use crate::model::span::Outcome;
use crate::window::event::{
    EventRules, OperationScratch, ResourceAttributes, Scalar, SpanInput, SpanStatus, push_resource,
    push_span,
};
use crate::window::minutes::NANOS_PER_MINUTE;
use crate::window::settings::SliConfig;

/// A minute that blocks of ten begin with.
const FIRST_MINUTE: u64 = 29_000_000;

/// One span of a version: its minute, whether it failed, its name.
type Row = (u64, bool, u8);

fn guard() -> Arc<Guard> {
    Arc::new(Guard::new(crate::pii::Scrubber::default()))
}

fn batch_of(version: &str, rows: &[Row]) -> EventBatch {
    let (mut batch, mut scratch) = (EventBatch::default(), OperationScratch::default());
    let mut resource = ResourceAttributes::default();
    let version_key = b"service.version";
    resource.set(b"service.name", Scalar::Text(b"cart"), version_key);
    resource.set(version_key, Scalar::Text(version.as_bytes()), version_key);
    push_resource(&mut batch, &mut scratch, &resource);
    let kinds = EventRules::new(&SliConfig::default()).entry_kinds;
    for (minute, failed, name) in rows {
        let end = (FIRST_MINUTE + minute) * NANOS_PER_MINUTE;
        let name = [b'a' + name];
        let span = SpanInput {
            name: &name,
            kind: SpanKind::Server,
            start: end - 1_000_000,
            end,
            status: if *failed {
                SpanStatus::Error
            } else {
                SpanStatus::Unset
            },
            ..SpanInput::default()
        };
        push_span(
            &mut batch,
            &mut scratch,
            &span,
            kinds,
            &crate::window::event::Sampling::Full.into(),
        );
        let event = u32::try_from(batch.events.len() - 1).unwrap();
        if *failed {
            let kind = batch.push_text(&name);
            let trace_id = batch.push_text(b"00ff");
            batch.failures.push(Failure {
                event,
                kind,
                trace_id,
            });
        }
        let to = batch.push_text(&name);
        batch.calls.push(Call {
            to,
            end,
            duration_nanos: 1_000_000,
            weight: 1.0,
            outcome: Outcome::Ok,
        });
    }
    batch
}

fn record(cohorts: &Cohorts, version: &str, rows: &[Row]) {
    let batch = batch_of(version, rows);
    let part = Part {
        batch: &batch,
        resource: &batch.resources[0],
        events: &batch.events,
        failures: &batch.failures,
        calls: &batch.calls,
    };
    cohorts.record(part, || ServiceKey::named("cart"), |_| true);
}

fn an_hour() -> RolloutsConfig {
    RolloutsConfig {
        window: Duration::from_hours(1),
        max_operations: 2,
        max_error_kinds: 2,
        max_dependencies: 2,
        ..RolloutsConfig::default()
    }
}

proptest! {
    #[test]
    fn property_a_cohort_holds_the_newest_blocks_and_counts_the_rest(
        rows in proptest::collection::vec((0..150_u64, any::<bool>(), 0..4_u8), 1..200),
    ) {
        let cohorts = Cohorts::new(an_hour(), Scope::Versions, guard(), Arc::default());
        // One by one, so that blocks are dropped as they would be live.
        let (mut held, mut newest, mut too_old) = (Vec::new(), 0, 0);
        for row in &rows {
            record(&cohorts, "1", &[*row]);
            let block = row.0 / 10;
            newest = newest.max(block);
            if block + 6 <= newest {
                too_old += 1;
            } else {
                held.push(*row);
            }
            held.retain(|row| row.0 / 10 + 6 > newest);
        }
        let all = cohorts.cohorts();
        let cohort = &all[0].1[0];
        let mut model: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for (minute, failed, _) in &held {
            let sums = model.entry(*minute).or_default();
            sums.0 += 1;
            sums.1 += u64::from(*failed);
        }
        let seen: BTreeMap<u64, (u64, u64)> = cohort
            .service
            .iter()
            .map(|row| (u64::from(row.minute) - FIRST_MINUTE, (row.sums.observed_total, row.sums.observed_bad)))
            .collect();
        prop_assert_eq!(&seen, &model);
        let usage = cohorts.usage();
        prop_assert_eq!(usage.too_old_events, too_old);
        // Operations, failures and calls speak of the same events.
        let total = |rows: &[MinuteRow]| rows.iter().map(|row| row.sums.observed_total).sum::<u64>();
        let by_operation: u64 = cohort.operations.iter().map(|own| total(&own.minutes)).sum();
        prop_assert_eq!(by_operation, held.len() as u64);
        let failures: u64 = cohort.error_kinds.values().map(|sums| sums.observed).sum();
        prop_assert_eq!(failures, held.iter().filter(|row| row.1).count() as u64);
        prop_assert!(cohort.dependencies.values().map(|sums| sums.observed).sum::<u64>() >= held.len() as u64);
        // At most two names of each beside the reserved one.
        let names: BTreeSet<&str> = cohort.operations.iter().map(|own| &*own.operation).collect();
        prop_assert!(names.len() <= 3 && cohort.error_kinds.len() <= 3 && cohort.dependencies.len() <= 3);
        let distinct: BTreeSet<u8> = rows.iter().map(|row| row.2).collect();
        if too_old == 0 && distinct.len() > 2 {
            prop_assert!(usage.other_operations > 0 && usage.other_dependencies > 0);
        }
    }
}

#[test]
fn nobody_is_recorded_while_nobody_is_watched() {
    let cohorts = Cohorts::new(
        RolloutsConfig::default(),
        Scope::Rollouts,
        guard(),
        Arc::default(),
    );
    assert!(!cohorts.watch().is_on());
    record(&cohorts, "1", &[(0, false, 0)]);
    assert!(cohorts.cohorts().is_empty());
}

#[test]
fn sets_are_taken_whole_and_named_by_their_versions() {
    let cohorts = Cohorts::new(an_hour(), Scope::Everything, guard(), Arc::default());
    record(&cohorts, "2", &[(0, false, 0)]);
    record(&cohorts, "1", &[(1, true, 0)]);
    let all = cohorts.cohorts();
    assert_eq!(all[0].1.len(), 1);
    let cohort = &all[0].1[0];
    assert_eq!((&*cohort.version, cohort.service.len()), ("1, 2", 2));
    assert_eq!(cohort.error_kinds["a"].example_trace_id, "00ff");
}

#[test]
fn numbers_in_versions_are_compared_as_numbers() {
    let sorted = [
        "1.9.0",
        "1.10.0",
        "1.10.0-rc1",
        "2",
        "v2.0",
        "v2.0.1",
        "v10",
    ];
    for (at, version) in sorted.iter().enumerate() {
        for (other, later) in sorted.iter().enumerate() {
            assert_eq!(
                compare_versions(version, later),
                at.cmp(&other),
                "{version} {later}"
            );
        }
    }
    assert_eq!(
        compare_versions("1.01", "1.1"),
        Order::Less,
        "a total order"
    );
}

fn cohort_of(version: &str, minutes: impl IntoIterator<Item = u32>) -> Cohort {
    let row = |minute| MinuteRow {
        minute,
        sums: crate::window::rolling::sums_of_one(false, 1.0),
        latency: Vec::new(),
    };
    let service: Vec<MinuteRow> = minutes.into_iter().map(row).collect();
    Cohort {
        version: version.to_owned(),
        from: service
            .first()
            .map_or(0, |row| u64::from(row.minute) * NANOS_PER_MINUTE),
        service,
        ..Cohort::default()
    }
}

#[test]
fn arms_are_concurrent_if_they_share_half_of_the_new_ones_minutes() {
    let canary = cohort_of("2", 10..20);
    for (old, wanted) in [
        (cohort_of("1", 0..15), Pairing::Concurrent),
        (cohort_of("1", 0..14), Pairing::BeforeAfter),
        (cohort_of("1", 30..40), Pairing::BeforeAfter),
        (cohort_of("1", []), Pairing::BeforeAfter),
    ] {
        assert_eq!(pairing_of(&old, &canary), wanted, "{old:?}");
    }
}

#[test]
fn the_newest_version_stands_against_the_busiest_one_beside_it() {
    let all = || {
        vec![
            cohort_of("1", 0..20),
            cohort_of("2", 0..5),
            cohort_of("3", 10..20),
        ]
    };
    let versions = |chosen: Option<(Cohort, Cohort)>| {
        chosen.map(|(old, new)| (old.version, new.version)).unwrap()
    };
    assert_eq!(
        versions(choose_arms(all(), None, None)),
        ("1".into(), "3".into())
    );
    assert_eq!(
        versions(choose_arms(all(), Some("2"), None)),
        ("1".into(), "2".into())
    );
    assert_eq!(
        versions(choose_arms(all(), Some("1"), Some("2"))),
        ("2".into(), "1".into())
    );
    assert!(choose_arms(all(), Some("4"), None).is_none());
    assert!(choose_arms(vec![cohort_of("1", 0..3)], None, None).is_none());
}
