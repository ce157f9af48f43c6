//! SLO documents: of adopted objectives, of composites, and of candidates.

use std::collections::BTreeMap;

use crate::model::budget_policy::PolicyChoice;
use crate::model::candidate::{Candidate, CandidateState};
use crate::model::period::Period;
use crate::model::report::OutputScope;
use crate::model::slo::{Budgeting, Objective, ObjectiveSource};
use crate::openslo::annotation;
use crate::openslo::grouping::Composite;
use crate::openslo::text::{calendar_start_text, cut, evidence_text};
use crate::openslo::v1::{
    BudgetingMethod, Calendar, DESCRIPTION_CHARS, DISPLAY_NAME_CHARS, Document, Indicator,
    Metadata, ObjectiveSpec, SloSpec, Spec, TimeWindow,
};
use crate::openslo::write::promise::Promise;
use crate::openslo::write::scope_annotation;

/// The SLO of an adopted objective.
pub(super) fn adopted(service: &str, objective: &Objective, scope: OutputScope) -> Document {
    let promise = Promise::from(objective);
    let mut annotations = promise.annotations();
    annotations.extend(standing(objective));
    annotations.extend([state("adopted"), scope_annotation(scope)]);
    Slo {
        name: &objective.name,
        service,
        display_name: promise.display_name(""),
        description: promise.sentence(),
        annotations,
    }
    .document(
        &promise,
        Some(promise.indicator(BTreeMap::new())),
        vec![promise.objective()],
    )
}

/// The SLO of a candidate that waits for an answer.
pub(super) fn suggested(service: &str, candidate: &Candidate, scope: OutputScope) -> Document {
    let promise = Promise::from(candidate);
    let (mark, label, warning) = if candidate.state == CandidateState::Ready {
        let warning = "READY, BUT NOT ADOPTED: a suggestion whose evidence is enough; its events are counted once it \
                       is adopted."
            .to_owned();
        ("ready: ", "ready", warning)
    } else {
        let missing = match candidate.missing.as_slice() {
            [] => "more evidence".to_owned(),
            missing => missing.join("; "),
        };
        let warning = format!(
            "PROVISIONAL, DO NOT GATE OR PAGE ON IT: a suggestion whose events are counted once it is adopted; \
             missing: {missing}."
        );
        ("provisional: ", "provisional", warning)
    };
    let mut annotations = promise.annotations();
    let evidence = evidence_text(&candidate.evidence, candidate.sli);
    annotations.extend([
        state(label),
        scope_annotation(scope),
        (annotation::key(annotation::EVIDENCE), evidence),
    ]);
    Slo {
        name: &candidate.name,
        service,
        display_name: promise.display_name(mark),
        description: format!("{warning} {}", promise.sentence()),
        annotations,
    }
    .document(
        &promise,
        Some(promise.indicator(BTreeMap::new())),
        vec![promise.objective()],
    )
}

/// The SLO of a composite, whose objectives are its members; nothing without members.
pub(super) fn composite(
    service: &str,
    composite: &Composite<'_>,
    scope: OutputScope,
) -> Option<Document> {
    let promises: Vec<Promise<'_>> = composite
        .members
        .iter()
        .map(|member| Promise::from(*member))
        .collect();
    let members = composite
        .members
        .iter()
        .zip(&promises)
        .map(|(member, promise)| {
            let mut annotations = promise.annotations();
            annotations.extend(standing(member));
            let name = (annotation::key(annotation::OBJECTIVE), member.name.clone());
            annotations.extend([name]);
            ObjectiveSpec {
                display_name: Some(promise.display_name("")),
                indicator: Some(promise.indicator(annotations)),
                composite_weight: member.composite.as_ref().map(|composite| composite.weight),
                ..promise.objective()
            }
        })
        .collect();
    let names: Vec<&str> = composite
        .members
        .iter()
        .map(|member| member.name.as_str())
        .collect();
    let slo = Slo {
        name: composite.name,
        service,
        display_name: cut(
            &format!("{} (composite)", composite.name),
            DISPLAY_NAME_CHARS,
        ),
        description: format!("Judged in place of its members: {}.", names.join(", ")),
        annotations: BTreeMap::from([state("adopted"), scope_annotation(scope)]),
    };
    Some(slo.document(promises.first()?, None, members))
}

/// What documents of every standing share.
struct Slo<'a> {
    name: &'a str,
    service: &'a str,
    display_name: String,
    description: String,
    annotations: BTreeMap<String, String>,
}

impl Slo<'_> {
    /// The document, with the window and method of this promise.
    fn document(
        self,
        promise: &Promise<'_>,
        indicator: Option<Indicator>,
        objectives: Vec<ObjectiveSpec>,
    ) -> Document {
        Document {
            metadata: Metadata {
                name: self.name.to_owned(),
                display_name: Some(self.display_name),
                annotations: self.annotations,
                ..Metadata::default()
            },
            spec: Spec::Slo(Box::new(SloSpec {
                description: Some(cut(&self.description, DESCRIPTION_CHARS)),
                service: self.service.to_owned(),
                indicator,
                indicator_ref: None,
                time_window: vec![time_window(&promise.window)],
                budgeting_method: method(promise.budgeting),
                objectives,
                alert_policies: Vec::new(),
            })),
        }
    }
}

fn time_window(period: &Period) -> TimeWindow {
    match period {
        Period::Rolling(duration) => TimeWindow {
            duration: duration.to_string(),
            is_rolling: true,
            calendar: None,
        },
        Period::Calendar(calendar) => TimeWindow {
            duration: calendar.duration.to_string(),
            is_rolling: false,
            calendar: Some(Calendar {
                start_time: calendar_start_text(calendar.start_time),
                time_zone: calendar.time_zone.clone(),
            }),
        },
    }
}

fn method(budgeting: Budgeting) -> BudgetingMethod {
    match budgeting {
        Budgeting::Occurrences => BudgetingMethod::Occurrences,
        Budgeting::Timeslices { .. } => BudgetingMethod::Timeslices,
        Budgeting::RatioTimeslices { .. } => BudgetingMethod::RatioTimeslices,
    }
}

/// How an adopted objective is judged.
fn standing(objective: &Objective) -> Vec<(String, String)> {
    let mut said = vec![
        (
            annotation::SOURCE,
            source_label(objective.source).to_owned(),
        ),
        (annotation::REQUIRED, objective.required.to_string()),
        (annotation::WEIGHT, objective.weight.to_string()),
    ];
    // Steps of its own have no form here; a reader gives it the policy of all.
    if let Some(PolicyChoice::Named(name)) = &objective.policy {
        said.push((annotation::POLICY, name.clone()));
    }
    said.into_iter()
        .map(|(key, value)| (annotation::key(key), value))
        .collect()
}

fn state(label: &str) -> (String, String) {
    (annotation::key(annotation::STATE), label.to_owned())
}

fn source_label(source: ObjectiveSource) -> &'static str {
    match source {
        ObjectiveSource::Config => "config",
        ObjectiveSource::Accepted => "accepted",
        ObjectiveSource::Auto => "auto",
        ObjectiveSource::File => "file",
        ObjectiveSource::Fitted => "fitted",
    }
}
