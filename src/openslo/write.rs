//! Writes what a report says about objectives as OpenSLO v1 documents: a YAML stream or a JSON bundle.
//!
//! A service gets a Service document and one SLO for each adopted objective. A candidate that waits for an answer gets
//! one too, marked in its annotation `slo-copilot.dev/state`, its display name and its description, so that nobody
//! takes it for an agreement. An error rate is the complement of an availability and never a second SLO.
//!
//! The annotations `slo-copilot.dev/{service,namespace,environment,operation,sli,threshold}` hold the objective as this
//! program measures it; the queries ask Prometheus for the same counts. A namespace or an environment that is
//! not annotated is not restricted.

use std::collections::BTreeMap;

use crate::model::candidate::{Candidate, CandidateState};
use crate::model::period::Period;
use crate::model::report::OutputScope;
use crate::model::series::ServiceKey;
use crate::model::slo::{Objective, ObjectiveSource, Sli};
use crate::openslo::grouping::ServiceObjectives;
use crate::openslo::text::{
    cut, evidence_text, exact_ratio, percent, promql_string, threshold_label,
};
use crate::openslo::v1::{
    BudgetingMethod, DESCRIPTION_CHARS, DISPLAY_NAME_CHARS, Document, Indicator, Metadata, Metric,
    MetricSource, ObjectiveSpec, RatioMetric, ServiceSpec, SliSpec, SloSpec, Spec, TimeWindow,
};

/// Counter of the good and bad events of each adopted objective.
const EVENTS_METRIC: &str = "slo_copilot_slo_events_total";

/// The documents of one service; `name` is the RFC 1123 label that stands for it.
pub fn service_documents(name: &str, group: &ServiceObjectives<'_>) -> Vec<Document> {
    let service = service_document(name, group);
    let adopted = group
        .objectives
        .iter()
        .map(|objective| slo_document(name, &Slo::adopted(objective, &group.service), group.scope));
    let suggested = group
        .candidates
        .iter()
        .map(|candidate| slo_document(name, &Slo::suggested(candidate), group.scope));
    std::iter::once(service)
        .chain(adopted)
        .chain(suggested)
        .collect()
}

/// Documents as a YAML stream that readers of YAML 1.1 and 1.2 understand alike.
pub fn yaml(documents: &[Document]) -> Result<String, serde_saphyr::ser::Error> {
    // One line a scalar: folded queries are hard to copy.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_multiple_with_options(documents, options)
}

/// Documents as a JSON array.
pub fn bundle<'a>(
    documents: impl IntoIterator<Item = &'a Document>,
) -> Result<String, serde_json::Error> {
    let documents: Vec<&Document> = documents.into_iter().collect();
    serde_json::to_string_pretty(&documents).map(|json| json + "\n")
}

/// What an SLO document says, whether adopted or suggested.
struct Slo<'a> {
    name: &'a str,
    service: &'a ServiceKey,
    /// `None` means any.
    namespace: Option<&'a str>,
    /// `None` means any.
    environment: Option<&'a str>,
    operation: Option<&'a str>,
    sli: Sli,
    target: f64,
    window: Period,
    standing: Standing<'a>,
}

/// How binding an SLO is.
enum Standing<'a> {
    Adopted(&'a Objective),
    Suggested(&'a Candidate),
}

impl<'a> Slo<'a> {
    fn adopted(objective: &'a Objective, service: &'a ServiceKey) -> Self {
        Self {
            name: &objective.name,
            service,
            namespace: objective.namespace.as_deref(),
            environment: objective.environment.as_deref(),
            operation: objective.operation.as_deref(),
            sli: objective.sli,
            target: objective.target,
            window: objective.window.clone(),
            standing: Standing::Adopted(objective),
        }
    }

    fn suggested(candidate: &'a Candidate) -> Self {
        let said = |part: &'a str| (!part.is_empty()).then_some(part);
        Self {
            name: &candidate.name,
            service: &candidate.service,
            namespace: said(&candidate.service.namespace),
            environment: said(&candidate.service.environment),
            operation: candidate.operation.as_deref(),
            sli: candidate.sli,
            target: candidate.target,
            window: candidate.window.into(),
            standing: Standing::Suggested(candidate),
        }
    }

    /// For example `checkout GET /cart latency 300ms 99%`; what is too long is cut from the service and operation.
    fn display_name(&self) -> String {
        let mark = match &self.standing {
            Standing::Adopted(_) => "",
            Standing::Suggested(candidate) if candidate.state == CandidateState::Ready => "ready: ",
            Standing::Suggested(_) => "provisional: ",
        };
        let indicator = match self.sli {
            Sli::Availability | Sli::ErrorRate => "availability".to_owned(),
            Sli::Latency { threshold_micros } => {
                format!("latency {}", threshold_label(threshold_micros))
            }
        };
        let tail = format!("{indicator} {}", percent(self.target));
        let subject = match self.operation {
            Some(operation) => format!("{} {operation}", self.service.name),
            None => self.service.name.to_string(),
        };
        let room = DISPLAY_NAME_CHARS.saturating_sub(mark.len() + tail.len() + 1);
        cut(
            &format!("{mark}{} {tail}", cut(&subject, room)),
            DISPLAY_NAME_CHARS,
        )
    }

    fn description(&self) -> String {
        let warning = match &self.standing {
            Standing::Adopted(_) => String::new(),
            Standing::Suggested(candidate) if candidate.state == CandidateState::Ready => {
                "READY, BUT NOT ADOPTED: a suggestion whose evidence is enough; its events are \
                 counted once it is adopted. "
                    .to_owned()
            }
            Standing::Suggested(candidate) => {
                let missing = match candidate.missing.as_slice() {
                    [] => "more evidence".to_owned(),
                    missing => missing.join("; "),
                };
                format!(
                    "PROVISIONAL, DO NOT GATE OR PAGE ON IT: a suggestion whose events are counted \
                     once it is adopted; missing: {missing}. "
                )
            }
        };
        cut(&(warning + &self.promise()), DESCRIPTION_CHARS)
    }

    fn promise(&self) -> String {
        let requests = match self.operation {
            Some(operation) => format!("requests for {operation} of {}", self.service.name),
            None => format!("requests to {}", self.service.name),
        };
        let (target, window) = (percent(self.target), self.window.label());
        match self.sli {
            Sli::Availability | Sli::ErrorRate => {
                format!("{target} of the {requests} end without an error, over {window}.")
            }
            Sli::Latency { threshold_micros } => format!(
                "{target} of the {requests} that end without an error take at most {}, over {window}.",
                threshold_label(threshold_micros)
            ),
        }
    }

    fn annotations(&self, scope: OutputScope) -> BTreeMap<String, String> {
        let mut annotations = service_annotations(
            &self.service.name,
            [self.namespace, self.environment],
            scope,
        );
        let mut annotate = |key, value: String| annotations.insert(annotation(key), value);
        if let Some(operation) = self.operation {
            annotate("operation", operation.to_owned());
        }
        match self.sli {
            Sli::Availability | Sli::ErrorRate => annotate("sli", "availability".to_owned()),
            Sli::Latency { threshold_micros } => {
                annotate("threshold", threshold_label(threshold_micros));
                annotate("sli", "latency".to_owned())
            }
        };
        match &self.standing {
            Standing::Adopted(objective) => {
                annotate("state", "adopted".to_owned());
                annotate("source", source_label(objective.source).to_owned());
                annotate("required", objective.required.to_string());
                annotate("weight", objective.weight.to_string());
            }
            Standing::Suggested(candidate) => {
                let ready = candidate.state == CandidateState::Ready;
                annotate(
                    "state",
                    if ready { "ready" } else { "provisional" }.to_owned(),
                );
                annotate(
                    "evidence",
                    evidence_text(&candidate.evidence, candidate.sli),
                );
            }
        }
        annotations
    }

    /// The ratio of two counters that this program exports under the objective's name.
    fn indicator(&self) -> Indicator {
        let slo = promql_string(self.name);
        let service = promql_string(&self.service.name);
        let selector = format!("slo={slo},service={service}");
        Indicator {
            metadata: Metadata {
                name: self.name.to_owned(),
                ..Metadata::default()
            },
            spec: SliSpec {
                ratio_metric: Some(RatioMetric {
                    counter: true,
                    good: Some(prometheus(format!(
                        "sum({EVENTS_METRIC}{{{selector},result=\"good\"}})"
                    ))),
                    total: Some(prometheus(format!("sum({EVENTS_METRIC}{{{selector}}})"))),
                    ..RatioMetric::default()
                }),
                ..SliSpec::default()
            },
        }
    }
}

fn service_document(name: &str, group: &ServiceObjectives<'_>) -> Document {
    let service = &group.service;
    let said = |part| Some(part).filter(|part: &&str| !part.is_empty());
    let (namespace, environment) = (said(&*service.namespace), said(&*service.environment));
    let place = |word, part: Option<&str>| match part {
        Some(part) => format!(", in {word} {part}"),
        None => String::new(),
    };
    let description = format!(
        "{}, as its traces show it{}{}.",
        service.name,
        place("namespace", namespace),
        place("environment", environment),
    );
    Document {
        metadata: Metadata {
            name: name.to_owned(),
            display_name: said(&*service.name).map(|name| cut(name, DISPLAY_NAME_CHARS)),
            annotations: service_annotations(&service.name, [namespace, environment], group.scope),
            ..Metadata::default()
        },
        spec: Spec::Service(ServiceSpec {
            description: Some(cut(&description, DESCRIPTION_CHARS)),
        }),
    }
}

fn slo_document(service_name: &str, slo: &Slo<'_>, scope: OutputScope) -> Document {
    Document {
        metadata: Metadata {
            name: slo.name.to_owned(),
            display_name: Some(slo.display_name()),
            annotations: slo.annotations(scope),
            ..Metadata::default()
        },
        spec: Spec::Slo(Box::new(SloSpec {
            description: Some(slo.description()),
            service: service_name.to_owned(),
            indicator: Some(slo.indicator()),
            indicator_ref: None,
            time_window: vec![TimeWindow {
                duration: slo.window.label(),
                is_rolling: true,
                calendar: None,
            }],
            budgeting_method: BudgetingMethod::Occurrences,
            objectives: vec![ObjectiveSpec {
                target: Some(exact_ratio(slo.target)),
                ..ObjectiveSpec::default()
            }],
            alert_policies: Vec::new(),
        })),
    }
}

fn annotation(key: &str) -> String {
    format!("slo-copilot.dev/{key}")
}

fn service_annotations(
    service: &str,
    [namespace, environment]: [Option<&str>; 2],
    scope: OutputScope,
) -> BTreeMap<String, String> {
    let scope = match scope {
        OutputScope::Instance => "instance",
        OutputScope::Service => "service",
    };
    let parts = [
        ("service", Some(service)),
        ("namespace", namespace),
        ("environment", environment),
        ("scope", Some(scope)),
    ];
    parts
        .into_iter()
        .filter_map(|(key, value)| Some((annotation(key), value?.to_owned())))
        .collect()
}

fn source_label(source: ObjectiveSource) -> &'static str {
    match source {
        ObjectiveSource::Config => "config",
        ObjectiveSource::Accepted => "accepted",
        ObjectiveSource::Auto => "auto",
        ObjectiveSource::File => "file",
    }
}

fn prometheus(query: String) -> Metric {
    Metric {
        metric_source: MetricSource {
            metric_source_ref: None,
            source_type: Some("Prometheus".to_owned()),
            spec: BTreeMap::from([("query".to_owned(), query.into())]),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::model::report::Report;
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
        assert_eq!(violations(&parsed), Vec::<String>::new());
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
                let value =
                    &slo["metadata"]["annotations"][format!("slo-copilot.dev/{annotation}")];
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
}
