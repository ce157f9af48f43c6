//! What documents become, and that what is written is read as the same.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::model::period::Shorthand;
use crate::model::report::Report;
use crate::model::slo::{EmptySlices, Sli};
use crate::openslo::fixture::{availability, report, status};
use crate::openslo::grouping::objectives_by_service;
use crate::openslo::read::{Reading, SourceFile, read};
use crate::openslo::v1::Document;
use crate::openslo::write;

fn reading(name: &str, text: &str) -> Reading {
    let name = name.to_owned();
    let text = text.to_owned();
    read(&[SourceFile { name, text }])
}

fn adopted(text: &str) -> (Vec<Objective>, Vec<Finding>) {
    let reading = reading("slo.yaml", text);
    assert_eq!(reading.findings, []);
    objectives(&reading.documents)
}

/// What the exporter writes for these objectives.
fn documents(objectives: &[Objective]) -> Vec<Document> {
    let report = Report {
        baseline_evaluations: objectives.iter().cloned().map(status).collect(),
        ..report(0, &[])
    };
    objectives_by_service(&report)
        .values()
        .enumerate()
        .flat_map(|(index, group)| write::service_documents(&format!("service-{index}"), group))
        .collect()
}

#[track_caller]
fn check_round_trip(mut objectives: Vec<Objective>) {
    let documents = documents(&objectives);
    for objective in &mut objectives {
        objective.source = ObjectiveSource::File;
    }
    objectives.sort_by(|a, b| a.name.cmp(&b.name));
    let yaml = write::yaml(&documents).unwrap();
    let json = write::bundle(&documents).unwrap();
    for (name, text) in [("a.yaml", yaml), ("a.json", json)] {
        let reading = reading(name, &text);
        assert_eq!(reading.findings, [], "{text}");
        let (mut adopted, findings) = super::objectives(&reading.documents);
        assert_eq!(findings, [], "{text}");
        adopted.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(adopted, objectives, "{text}");
        let values: Vec<Document> = reading
            .documents
            .into_iter()
            .map(|read| read.value)
            .collect();
        assert_eq!(values, documents);
    }
}

const SLICES: &str = "\
apiVersion: openslo/v1
kind: Service
metadata: {name: checkout}
spec: {}
---
apiVersion: openslo/v1
kind: SLI
metadata:
  name: quick
  annotations:
    slo-copilot.dev/sli: latency
    slo-copilot.dev/threshold: 1500us
    slo-copilot.dev/empty-slices: excluded
spec:
  ratioMetric:
    good: {metricSource: {type: Prometheus, spec: {query: good}}}
    total: {metricSource: {type: Prometheus, spec: {query: total}}}
---
apiVersion: openslo/v1
kind: SLO
metadata:
  name: checkout-quick
  annotations: {slo-copilot.dev/service: Checkout, slo-copilot.dev/weight: '2.5', slo-copilot.dev/required: 'true'}
spec:
  service: checkout
  indicatorRef: quick
  budgetingMethod: Timeslices
  timeWindow: [{duration: 1Q, calendar: {startTime: '2026-01-01 00:00:00', timeZone: Europe/Berlin}}]
  objectives: [{targetPercent: 99.9, timeSliceTarget: 0.95, timeSliceWindow: 5m}]
";

#[test]
fn a_document_by_hand_becomes_the_objective_that_it_says() {
    let (objectives, findings) = adopted(SLICES);
    assert_eq!(findings, []);
    let wanted = Objective {
        sli: Sli::Latency {
            threshold_micros: 1_500,
        },
        window: Period::Calendar(CalendarPeriod {
            duration: "1Q".parse().unwrap(),
            start_time: "2026-01-01T00:00:00".parse().unwrap(),
            time_zone: "Europe/Berlin".to_owned(),
        }),
        budgeting: Budgeting::Timeslices {
            slice_target: 0.95,
            slice: "5m".parse().unwrap(),
            empty: EmptySlices::Excluded,
        },
        required: true,
        weight: 2.5,
        source: ObjectiveSource::File,
        ..availability("checkout-quick", "Checkout", 0.999)
    };
    assert_eq!(objectives, [wanted]);
}

#[test]
fn several_targets_are_objectives_that_are_told_apart_by_title_or_number() {
    let several = "[{targetPercent: 99.9, timeSliceTarget: 0.95, timeSliceWindow: 5m, displayName: Very Tight},
      {target: 0.9, timeSliceTarget: 0.5, timeSliceWindow: 1h}]";
    let one = "[{targetPercent: 99.9, timeSliceTarget: 0.95, timeSliceWindow: 5m}]";
    let (objectives, findings) = adopted(&SLICES.replace(one, several));
    assert_eq!(findings, []);
    let names: Vec<&str> = objectives.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["checkout-quick-very-tight", "checkout-quick-2"]);
    assert!(objectives.iter().all(|one| one.composite.is_none()));
}

const COMPOSITE: &str = "\
apiVersion: openslo/v1
kind: Service
metadata: {name: shop}
spec: {}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: shop, annotations: {slo-copilot.dev/sli: availability}}
spec:
  service: shop
  budgetingMethod: Occurrences
  timeWindow: [{duration: 4w, isRolling: true}]
  objectives:
  - target: 0.99
    compositeWeight: 3
    displayName: Paying
    indicator:
      metadata: {name: payment, annotations: {slo-copilot.dev/service: payment}}
      spec: {ratioMetric: {rawType: success, raw: {metricSource: {type: P, spec: {query: a}}}}}
  - target: 0.95
    indicator:
      metadata: {name: cart, annotations: {slo-copilot.dev/service: cart}}
      spec: {ratioMetric: {rawType: success, raw: {metricSource: {type: P, spec: {query: b}}}}}
";

#[test]
fn a_composite_becomes_its_members() {
    let (objectives, findings) = adopted(COMPOSITE);
    assert_eq!(findings, []);
    let said: Vec<(&str, &str, CompositeMember)> = objectives
        .iter()
        .map(|one| {
            let composite = one.composite.clone().unwrap();
            (one.name.as_str(), one.service.as_str(), composite)
        })
        .collect();
    let member = |weight| CompositeMember {
        name: "shop".to_owned(),
        weight,
    };
    assert_eq!(
        said,
        [
            ("shop-paying", "payment", member(3.0)),
            ("shop-2", "cart", member(1.0)),
        ]
    );
}

#[test]
fn a_composite_with_a_foreign_member_is_left_out_as_a_whole() {
    let foreign = COMPOSITE.replace(
        "{name: cart, annotations: {slo-copilot.dev/service: cart}}",
        "{name: cart}",
    );
    let (objectives, findings) = adopted(&foreign);
    assert_eq!(objectives, []);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].level, Level::Note);
    assert!(findings[0].message.contains("slo-copilot.dev/service"));
}

#[test]
fn a_document_with_an_error_gives_no_objective_and_every_error_is_said_once() {
    let wrong = COMPOSITE
        .replace(
            "slo-copilot.dev/sli: availability",
            "slo-copilot.dev/sli: avail, slo-copilot.dev/weight: '-1'",
        )
        .replace("duration: 4w", "duration: 3d")
        .replace("target: 0.95", "target: 0");
    let (objectives, findings) = adopted(&wrong);
    assert_eq!(objectives, []);
    let mut said: Vec<(String, Option<u32>)> = findings
        .into_iter()
        .map(|finding| (finding.rule, finding.location.unwrap().line))
        .collect();
    said.sort();
    let wanted = [
        ("adopt-annotation", 8),
        ("adopt-annotation", 8),
        ("adopt-period", 12),
        ("adopt-target", 20),
    ];
    assert_eq!(
        said,
        wanted.map(|(rule, line)| (rule.to_owned(), Some(line)))
    );
}

#[test]
fn names_are_unique_over_all_documents() {
    let again = COMPOSITE
        .replace("name: shop, annotations", "name: shop-2, annotations")
        .replace("displayName: Paying", "displayName: x");
    let again = again.split_once("---\n").unwrap().1;
    let alone = SLICES.split_once("---\n").unwrap().1;
    let alone = alone
        .replace("name: checkout-quick", "name: shop-2-x")
        .replace("service: checkout", "service: shop");
    let (objectives, findings) = adopted(&format!("{COMPOSITE}---\n{again}---\n{alone}"));
    let names: Vec<&str> = objectives.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["shop-paying", "shop-2", "shop-2-x", "shop-2-2"]);
    assert_eq!(findings.len(), 1);
    assert_eq!(
        (findings[0].rule.as_str(), findings[0].level),
        ("adopt-name", Level::Error)
    );
}

#[test]
fn a_composite_of_services_is_written_once_and_read_as_the_same() {
    let member = |name: &str, service: &str, weight| Objective {
        composite: Some(CompositeMember {
            name: "shop".to_owned(),
            weight,
        }),
        ..availability(name, service, 0.99)
    };
    let objectives = vec![
        member("b", "payment", 1.0),
        member("a", "search", 0.25),
        availability("alone", "payment", 0.999),
    ];
    assert_eq!(documents(&objectives).len(), 4);
    check_round_trip(objectives);
}

fn shorthands(texts: &'static [&'static str]) -> impl Strategy<Value = Shorthand> {
    select(texts).prop_map(|text| text.parse().unwrap())
}

prop_compose! {
    fn any_period()(
        rolling in shorthands(&["7d", "28d", "30d", "4w", "90d", "1Q", "400d", "168h"]),
        calendar in shorthands(&["1w", "1M", "1Q", "1Y", "14d"]),
        is_rolling in any::<bool>(),
        zone in select(&["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"][..]),
        start in select(&["2026-01-01T00:00:00", "2024-02-29T23:59:59", "1999-12-31T06:30:00"][..]),
    ) -> Period {
        if is_rolling {
            return Period::Rolling(rolling);
        }
        Period::Calendar(CalendarPeriod {
            duration: calendar,
            start_time: start.parse().unwrap(),
            time_zone: zone.to_owned(),
        })
    }
}

prop_compose! {
    fn any_budgeting()(
        method in 0..3,
        slice in shorthands(&["1m", "5m", "15m", "1h", "60m"]),
        slice_permille in 1_u32..=1_000,
        empty in select(&[EmptySlices::Good, EmptySlices::Bad, EmptySlices::Excluded][..]),
    ) -> Budgeting {
        match method {
            0 => Budgeting::Occurrences,
            1 => Budgeting::Timeslices {
                slice_target: f64::from(slice_permille) / 1_000.0,
                slice,
                empty,
            },
            _ => Budgeting::RatioTimeslices { slice, empty },
        }
    }
}

prop_compose! {
    fn any_objective()(
        service in ".{1,70}",
        namespace in proptest::option::of("\\PC{0,9}|no|1|~|2026-01-01"),
        environment in proptest::option::of(".{0,9}|on|0x1"),
        operation in proptest::option::of(".{0,90}|12:30:45"),
        threshold_micros in proptest::option::of(1_u64..10_000_000_000),
        target in 1_u32..1_000_000,
        weight in 1e-9..1e9,
        required in any::<bool>(),
    ) -> Objective {
        Objective {
            namespace,
            environment,
            operation,
            sli: threshold_micros.map_or(Sli::Availability, |threshold_micros| Sli::Latency { threshold_micros }),
            required,
            weight,
            ..availability("", &service, f64::from(target) / 1e6)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn property_objectives_are_written_and_read_as_the_same(
        alone in proptest::collection::vec((any_objective(), any_period(), any_budgeting()), 1..4),
        members in proptest::collection::vec((any_objective(), 1e-6..1e6), 0..4),
        shared in (any_period(), any_budgeting()),
    ) {
        let mut objectives = Vec::new();
        for (index, (objective, window, budgeting)) in alone.into_iter().enumerate() {
            let name = format!("alone-{index}");
            objectives.push(Objective { name, window, budgeting, ..objective });
        }
        for (index, (objective, weight)) in members.into_iter().enumerate() {
            objectives.push(Objective {
                name: format!("member-{index}"),
                window: shared.0.clone(),
                budgeting: shared.1,
                composite: Some(CompositeMember { name: "all".to_owned(), weight }),
                ..objective
            });
        }
        check_round_trip(objectives);
    }
}
