//! What a report's objectives look like as documents.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::model::candidate::{Candidate, CandidateState};
use crate::model::report::Report;
use crate::model::series::ServiceKey;
use crate::model::slo::Sli;
use crate::openslo::check::{parse_bundle, parse_yaml, violations};
use crate::openslo::fixture::{availability, latency_candidate, report, service, status};
use crate::openslo::grouping::objectives_by_service;

fn documents(report: &Report) -> Vec<Document> {
    objectives_by_service(report)
        .values()
        .enumerate()
        .flat_map(|(index, group)| service_documents(&format!("service-{index}"), group))
        .collect()
}

/// Renders both forms, and checks that they say the same and break no rule.
fn check(documents: &[Document]) -> (String, String) {
    let (yaml, json) = (yaml(documents).unwrap(), bundle(documents).unwrap());
    let parsed = parse_bundle(&json);
    let none = Vec::<String>::new();
    assert_eq!(violations("bundle.json", &json), none);
    assert_eq!(violations("service.yaml", &yaml), none, "{yaml}");
    assert_eq!(parse_yaml(&yaml), parsed);
    (yaml, json)
}

fn typical_report() -> Report {
    let checkout = service("shop", "prod", "checkout");
    let mut report = report(1_700_000_000, std::slice::from_ref(&checkout));
    report.baseline_evaluations = vec![status(availability(
        "availability-checkout",
        "checkout",
        0.999_000_000_000_000_1,
    ))];
    report.slo_candidates = vec![
        latency_candidate(
            "latency-p99-checkout-b",
            &checkout,
            CandidateState::Provisional,
        ),
        Candidate {
            operation: None,
            ..latency_candidate("latency-p99-checkout", &checkout, CandidateState::Ready)
        },
    ];
    report
}

#[test]
fn a_typical_service_is_written_as_yaml_and_json() {
    let (yaml, json) = check(&documents(&typical_report()));
    insta::assert_snapshot!("typical_yaml", yaml);
    insta::assert_snapshot!("typical_bundle", json);
}

#[test]
fn targets_are_printed_as_people_wrote_them() {
    for (target, printed) in [
        (0.999_000_000_000_000_1, "0.999"),
        (1.0 - 0.001, "0.999"),
        (0.1 + 0.2, "0.3"),
        (0.999_999_999_999_9, "0.9999999999999"),
    ] {
        let mut report = report(0, &[]);
        report.baseline_evaluations = vec![status(availability("a", "b", target))];
        let (yaml, json) = check(&documents(&report));
        assert!(yaml.contains(&format!("target: {printed}\n")), "{yaml}");
        assert!(json.contains(&format!("\"target\": {printed}\n")), "{json}");
    }
}

#[test]
fn error_rates_rejected_and_adopted_candidates_are_not_a_second_slo() {
    let checkout = service("", "", "checkout");
    let mut report = report(0, std::slice::from_ref(&checkout));
    let candidate = |name, state| latency_candidate(name, &checkout, state);
    report.baseline_evaluations = vec![status(availability("both", "checkout", 0.99))];
    report.slo_candidates = vec![
        Candidate {
            sli: Sli::ErrorRate,
            target: 0.001,
            ..candidate("error-rate-checkout", CandidateState::Ready)
        },
        candidate("rejected", CandidateState::Rejected),
        candidate("adopted", CandidateState::Adopted),
        candidate("both", CandidateState::Ready),
        Candidate {
            target: 1.0,
            ..candidate("impossible", CandidateState::Ready)
        },
        candidate("open", CandidateState::Provisional),
    ];
    let names: Vec<String> = documents(&report)
        .into_iter()
        .map(|document| document.metadata.name)
        .collect();
    assert_eq!(names, ["service-0", "both", "open"]);
}

#[test]
fn an_objective_of_any_environment_belongs_to_the_only_service_that_it_selects() {
    let prod = service("", "prod", "checkout");
    let staging = service("", "staging", "checkout");
    let mut report = report(0, std::slice::from_ref(&prod));
    report.baseline_evaluations = vec![status(availability("a", "checkout", 0.99))];
    let groups = objectives_by_service(&report);
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[&prod].objectives.len(), 1);

    report.services = self::report(0, &[prod.clone(), staging]).services;
    let groups = objectives_by_service(&report);
    assert_eq!(groups.len(), 3);
    assert_eq!(groups[&ServiceKey::named("checkout")].objectives.len(), 1);
    assert!(groups[&prod].objectives.is_empty());
}

#[test]
fn the_overflow_service_has_no_document() {
    assert!(documents(&report(0, &[ServiceKey::overflow()])).is_empty());
}

#[test]
fn strings_that_yaml_takes_for_other_types_stay_strings() {
    for name in [
        "123",
        "null",
        "1.10",
        "on",
        "no",
        "2026-11-22",
        "1e3",
        "0x1F",
        "12:30:45",
    ] {
        let key = service(name, name, name);
        let mut report = report(0, std::slice::from_ref(&key));
        report.slo_candidates = vec![Candidate {
            operation: Some(name.to_owned()),
            ..latency_candidate("a", &key, CandidateState::Ready)
        }];
        let (yaml, _) = check(&documents(&report));
        let slo = &parse_yaml(&yaml)[1];
        for annotation in ["service", "namespace", "environment", "operation"] {
            let value = &slo["metadata"]["annotations"][format!("slo-copilot.dev/{annotation}")];
            assert_eq!(*value, Value::from(name), "{yaml}");
        }
    }
}

#[test]
fn a_display_name_that_is_cut_keeps_its_mark_and_its_target() {
    let key = ServiceKey::named(&"x".repeat(300));
    let mut report = report(0, &[]);
    report.slo_candidates = vec![latency_candidate("a", &key, CandidateState::Provisional)];
    let display_name = documents(&report)[1].metadata.display_name.clone().unwrap();
    assert!(
        display_name.starts_with("provisional: xxx"),
        "{display_name}"
    );
    assert!(
        display_name.ends_with("xxx… latency 300ms 99%"),
        "{display_name}"
    );
    assert_eq!(display_name.chars().count(), 63);
}

proptest! {
    #[test]
    fn property_any_names_give_documents_that_break_no_rule(
        name in any::<String>(), operation in any::<String>(), long in "\\PC{0,1500}",
    ) {
        let key = service(&long, &operation, &name);
        let mut report = report(0, std::slice::from_ref(&key));
        report.baseline_evaluations = vec![status(availability("adopted", &name, 0.9))];
        report.slo_candidates = vec![Candidate {
            operation: Some(operation),
            missing: vec![long],
            ..latency_candidate("suggested", &key, CandidateState::Provisional)
        }];
        let documents = documents(&report);
        prop_assert_eq!(documents.len(), 3);
        check(&documents);
    }
}
