//! Makes objectives of SLO documents whose annotations say what they measure in traces.
//!
//! An SLO is one objective of its name; one with several targets, or a composite with several indicators, is as many.
//! Annotations are looked for on the indicator first, inline or referenced, then on the SLO.

mod annotations;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::budget_policy::PolicyChoice;
use crate::model::finding::{Finding, Level, Location};
use crate::model::period::{CalendarPeriod, DurationUnit, Period, Shorthand};
use crate::model::slo::{Budgeting, CompositeMember, Objective, ObjectiveSource};
use crate::model::slug;
pub use crate::openslo::adopt::annotations::empty_slices;
use crate::openslo::adopt::annotations::{Annotations, Standing};
use crate::openslo::annotation;
use crate::openslo::read::Located;
use crate::openslo::rules::Rule;
use crate::openslo::rules::adoption::{
    NAME_TAKEN, NOT_ANNOTATED, PERIOD, SLICE, SUGGESTION, TARGET,
};
use crate::openslo::text::{calendar_start, exact_ratio};
use crate::openslo::tree::Path;
use crate::openslo::v1::{
    BudgetingMethod, Document, Metadata, ObjectiveSpec, SloSpec, Spec, TimeWindow,
};

const SECS_PER_DAY: u64 = 86_400;

/// Days of the shortest and the longest period that can be judged.
const PERIOD_DAYS: std::ops::RangeInclusive<u64> = 7..=400;

/// Seconds of the longest slice that can be counted.
const SLICE_SECS_MAX: u64 = 3_600;

/// The objectives of all annotated and agreed SLOs, and what was found about those left out.
///
/// A document with an error gives no objective at all, so that nobody is gated by half of an agreement.
pub fn objectives(documents: &[Located<Document>]) -> (Vec<Objective>, Vec<Finding>) {
    let mut adoption = Adoption {
        indicators: indicators(documents),
        names: BTreeSet::new(),
        objectives: Vec::new(),
        findings: Vec::new(),
    };
    for document in documents {
        if let Spec::Slo(slo) = &document.value.spec {
            adoption.take(&Source { document, slo });
        }
    }
    (adoption.objectives, adoption.findings)
}

/// The SLIs that stand alone, by name.
fn indicators(documents: &[Located<Document>]) -> BTreeMap<&str, &Located<Document>> {
    let indicators = documents
        .iter()
        .filter(|document| matches!(document.value.spec, Spec::Sli(_)));
    indicators
        .map(|document| (document.value.metadata.name.as_str(), document))
        .collect()
}

struct Adoption<'d> {
    indicators: BTreeMap<&'d str, &'d Located<Document>>,
    names: BTreeSet<String>,
    objectives: Vec<Objective>,
    findings: Vec<Finding>,
}

/// An SLO document.
#[derive(Clone, Copy)]
struct Source<'d> {
    document: &'d Located<Document>,
    slo: &'d SloSpec,
}

impl<'d> Source<'d> {
    fn metadata(&self) -> &'d Metadata {
        &self.document.value.metadata
    }

    fn objective_path(index: usize) -> Path {
        spec_path().key("objectives").index(index)
    }

    fn at(&self, path: &Path) -> Location {
        self.document.location(path)
    }
}

fn spec_path() -> Path {
    Path::default().key("spec")
}

/// A finding of this rule.
fn finding(rule: &Rule, location: Location, message: String) -> Finding {
    Finding {
        rule: rule.id.to_owned(),
        level: rule.level,
        message,
        location: Some(location),
    }
}

impl<'d> Adoption<'d> {
    fn take(&mut self, source: &Source<'d>) {
        let annotated: Vec<Annotations<'d>> = source
            .slo
            .objectives
            .iter()
            .enumerate()
            .map(|(index, objective)| self.annotations(source, objective, index))
            .collect();
        if let Some(left_out) = left_out(source, &annotated) {
            self.findings.push(left_out);
            return;
        }
        let mut wrong = Vec::new();
        for annotations in &annotated {
            annotations.check_names(&mut wrong);
        }
        let mut taken = Vec::new();
        let window = period(source, &mut wrong);
        for (index, (spec, annotations)) in source.slo.objectives.iter().zip(&annotated).enumerate()
        {
            let read = Reader {
                source,
                spec,
                index,
                annotations,
                window: window.clone(),
            };
            taken.extend(read.objective(&mut wrong));
        }
        for (index, objective) in taken.iter().enumerate() {
            if !self.names.insert(objective.name.clone()) {
                let message = format!(
                    "an objective is named `{}` already; give this one another displayName or annotation {}",
                    objective.name,
                    annotation::key(annotation::OBJECTIVE)
                );
                let at = source.at(&Source::objective_path(index));
                wrong.push(finding(&NAME_TAKEN, at, message));
            }
        }
        let is_sound = wrong.iter().all(|finding| finding.level != Level::Error);
        for finding in wrong {
            // Objectives of one SLO share annotations, about which one finding is enough.
            if !self.findings.contains(&finding) {
                self.findings.push(finding);
            }
        }
        if is_sound {
            self.objectives.append(&mut taken);
        }
    }

    /// The annotations that speak of an objective, the nearest first.
    fn annotations(
        &self,
        source: &Source<'d>,
        objective: &'d ObjectiveSpec,
        index: usize,
    ) -> Annotations<'d> {
        let mut annotations = Annotations::default();
        let own = Source::objective_path(index);
        let levels = [
            (own, &objective.indicator, &objective.indicator_ref),
            (
                spec_path(),
                &source.slo.indicator,
                &source.slo.indicator_ref,
            ),
        ];
        for (path, inline, reference) in levels {
            if let Some(indicator) = inline {
                let path = path.key("indicator");
                annotations.add(source.document, &path, &indicator.metadata);
            }
            let referenced = reference.as_deref();
            if let Some(sli) = referenced.and_then(|name| self.indicators.get(name)) {
                annotations.add(sli, &Path::default(), &sli.value.metadata);
            }
        }
        annotations.add(source.document, &Path::default(), source.metadata());
        annotations
    }
}

/// Why an SLO is none of ours, or not agreed on.
fn left_out(source: &Source<'_>, annotated: &[Annotations<'_>]) -> Option<Finding> {
    let name = &source.metadata().name;
    let missing: BTreeSet<&str> = annotated
        .iter()
        .flat_map(|annotations| {
            [annotation::SERVICE, annotation::SLI].map(|key| (annotations, key))
        })
        .filter(|(annotations, key)| annotations.get(key).is_none())
        .map(|(_, key)| key)
        .collect();
    if !missing.is_empty() {
        let keys: Vec<String> = missing.into_iter().map(annotation::key).collect();
        let message = format!(
            "the SLO `{name}` is not adopted: the annotation {} is missing, which says what it measures in traces",
            keys.join(" and ")
        );
        return Some(finding(
            &NOT_ANNOTATED,
            source.at(&Path::default()),
            message,
        ));
    }
    let suggestion = annotated
        .iter()
        .find_map(|annotations| match annotations.standing() {
            Standing::Suggested(state, location) => Some((state, location)),
            Standing::Adopted => None,
        });
    let (state, location) = suggestion?;
    let message = format!(
        "the SLO `{name}` is not adopted: it is a suggestion ({state}); set {} to adopted once it is agreed on",
        annotation::key(annotation::STATE)
    );
    Some(finding(&SUGGESTION, location, message))
}

/// The period, if it can be judged.
fn period(source: &Source<'_>, wrong: &mut Vec<Finding>) -> Option<Period> {
    match source.slo.period()? {
        Ok(period) => Some(period),
        Err(message) => {
            let path = spec_path().key("timeWindow").index(0).key("duration");
            wrong.push(finding(&PERIOD, source.at(&path), message));
            None
        }
    }
}

impl SloSpec {
    /// The period of the budget, or why it cannot be judged; nothing of what the validator refuses.
    pub fn period(&self) -> Option<Result<Period, String>> {
        let window = self.time_window.first()?;
        period_of(window).transpose()
    }
}

fn period_of(window: &TimeWindow) -> Result<Option<Period>, String> {
    let Ok(duration) = window.duration.parse::<Shorthand>() else {
        return Ok(None);
    };
    let is_of_days = match &window.calendar {
        None => duration.secs().is_multiple_of(SECS_PER_DAY),
        // Hours of a calendar drift against its days where clocks change.
        Some(_) => !matches!(duration.unit(), DurationUnit::Minute | DurationUnit::Hour),
    };
    if !is_of_days || !PERIOD_DAYS.contains(&(duration.secs() / SECS_PER_DAY)) {
        return Err(format!(
            "a period of {duration} cannot be judged: it must be of whole days, {} to {} of them, for example 28d",
            PERIOD_DAYS.start(),
            PERIOD_DAYS.end()
        ));
    }
    let Some(calendar) = &window.calendar else {
        return Ok(Some(Period::Rolling(duration)));
    };
    let start_time = calendar_start(&calendar.start_time);
    Ok(start_time.map(|start_time| {
        Period::Calendar(CalendarPeriod {
            duration,
            start_time,
            time_zone: calendar.time_zone.clone(),
        })
    }))
}

/// One objective of an SLO.
struct Reader<'r, 'd> {
    source: &'r Source<'d>,
    spec: &'d ObjectiveSpec,
    index: usize,
    annotations: &'r Annotations<'d>,
    window: Option<Period>,
}

impl Reader<'_, '_> {
    /// The objective, unless something is wrong.
    fn objective(&self, wrong: &mut Vec<Finding>) -> Option<Objective> {
        let annotations = self.annotations;
        let text = |key| annotations.get(key).map(|found| found.value.to_owned());
        let sli = annotations.sli(wrong);
        let judged = annotations.judged(wrong);
        let budgeting = self.budgeting(wrong);
        let target = self.target(wrong);
        let name = self.name(wrong);
        let composite = self.spec.has_indicator().then(|| CompositeMember {
            name: self.source.metadata().name.clone(),
            weight: self.spec.composite_weight.unwrap_or(1.0),
        });
        let (required, weight) = judged?;
        Some(Objective {
            name: name?,
            service: text(annotation::SERVICE)?,
            namespace: text(annotation::NAMESPACE),
            environment: text(annotation::ENVIRONMENT),
            operation: text(annotation::OPERATION),
            sli: sli?,
            target: target?,
            window: self.window.clone()?,
            budgeting: budgeting?,
            composite,
            required,
            weight,
            policy: text(annotation::POLICY).map(PolicyChoice::Named),
            source: ObjectiveSource::File,
        })
    }

    fn path(&self, key: &str) -> Path {
        Source::objective_path(self.index).key(key)
    }

    /// The SLO's own name; of several objectives, with what tells this one apart.
    fn name(&self, wrong: &mut Vec<Finding>) -> Option<String> {
        if self.spec.has_indicator() && self.annotations.get(annotation::OBJECTIVE).is_some() {
            return self.annotations.member_name(wrong);
        }
        let slo = &self.source.metadata().name;
        Some(objective_name(slo, self.source.slo, self.index))
    }

    fn target(&self, wrong: &mut Vec<Finding>) -> Option<f64> {
        let target = self.spec.target_ratio()?;
        if target <= 0.0 {
            let key = self.spec.target_key();
            let message = "a target of 0 promises nothing; the target must be above 0".to_owned();
            wrong.push(finding(&TARGET, self.source.at(&self.path(key)), message));
            return None;
        }
        Some(target)
    }

    fn budgeting(&self, wrong: &mut Vec<Finding>) -> Option<Budgeting> {
        let method = self.source.slo.budgeting_method;
        if method == BudgetingMethod::Occurrences {
            return Some(Budgeting::Occurrences);
        }
        let empty = self.annotations.empty_slices(wrong);
        let slice: Shorthand = self.spec.time_slice_window.as_deref()?.parse().ok()?;
        if slice.secs() > SLICE_SECS_MAX || !SECS_PER_DAY.is_multiple_of(slice.secs()) {
            let message = format!(
                "slices of {slice} cannot be counted: they must be of whole minutes, at most 60, that divide a day, for \
                 example 5m"
            );
            let at = self.source.at(&self.path("timeSliceWindow"));
            wrong.push(finding(&SLICE, at, message));
            return None;
        }
        let empty = empty?;
        Some(match method {
            BudgetingMethod::Timeslices => Budgeting::Timeslices {
                slice_target: self.spec.time_slice_target?,
                slice,
                empty,
            },
            BudgetingMethod::RatioTimeslices => Budgeting::RatioTimeslices { slice, empty },
            BudgetingMethod::Occurrences => Budgeting::Occurrences,
        })
    }
}

/// The name of an SLO's objective: the SLO's own; of several objectives, with what tells this one apart.
pub fn objective_name(slo: &str, spec: &SloSpec, index: usize) -> String {
    let objective = spec.objectives.get(index);
    if spec.objectives.len() == 1 && !objective.is_some_and(ObjectiveSpec::has_indicator) {
        return slo.to_owned();
    }
    let number = (index + 1).to_string();
    let display_name = objective.and_then(|objective| objective.display_name.as_deref());
    let part = display_name.unwrap_or(&number);
    slug::name(&[slo, part], &[slo, part])
}

/// The state of a suggestion that nobody agreed on, `ready` or `provisional`, as annotations say it.
pub fn suggested_state(metadata: &Metadata) -> Option<&str> {
    let state = metadata
        .annotations
        .get(&annotation::key(annotation::STATE))?;
    is_suggestion(state).then_some(state)
}

/// The name that annotations give the member of a composite.
pub fn member_name(metadata: &Metadata) -> Option<&str> {
    let key = annotation::key(annotation::OBJECTIVE);
    metadata.annotations.get(&key).map(String::as_str)
}

fn is_suggestion(state: &str) -> bool {
    ["ready", "provisional"].contains(&state)
}

impl ObjectiveSpec {
    /// Whether it is the member of a composite.
    pub fn has_indicator(&self) -> bool {
        self.indicator.is_some() || self.indicator_ref.is_some()
    }

    /// The target as a ratio, however it is written.
    pub fn target_ratio(&self) -> Option<f64> {
        let percent = self.target_percent;
        let percent = percent.map(|percent| exact_ratio(percent / 100.0));
        self.target.or(percent)
    }

    /// The key that the target stands at.
    pub fn target_key(&self) -> &'static str {
        if self.target.is_none() && self.target_percent.is_some() {
            "targetPercent"
        } else {
            "target"
        }
    }
}
