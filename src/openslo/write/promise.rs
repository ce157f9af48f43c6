//! What one objective promises, adopted or suggested, in words, annotations and queries.

use std::collections::BTreeMap;

use crate::model::candidate::Candidate;
use crate::model::period::Period;
use crate::model::slo::{Budgeting, EmptySlices, Objective, Sli};
use crate::openslo::annotation;
use crate::openslo::text::{
    calendar_start_text, cut, events_selector, exact_ratio, percent, threshold_label,
};
use crate::openslo::v1::{
    DISPLAY_NAME_CHARS, Indicator, Metadata, Metric, MetricSource, ObjectiveSpec, RatioMetric,
    SliSpec,
};
use crate::openslo::write::service_annotations;

/// What is promised, whoever agreed to it.
pub(super) struct Promise<'a> {
    name: &'a str,
    service: &'a str,
    /// `None` means any.
    namespace: Option<&'a str>,
    /// `None` means any.
    environment: Option<&'a str>,
    operation: Option<&'a str>,
    sli: Sli,
    target: f64,
    pub(super) window: Period,
    pub(super) budgeting: Budgeting,
}

impl<'a> From<&'a Objective> for Promise<'a> {
    fn from(objective: &'a Objective) -> Self {
        Self {
            name: &objective.name,
            service: &objective.service,
            namespace: objective.namespace.as_deref(),
            environment: objective.environment.as_deref(),
            operation: objective.operation.as_deref(),
            sli: objective.sli,
            target: objective.target,
            window: objective.window.clone(),
            budgeting: objective.budgeting,
        }
    }
}

impl<'a> From<&'a Candidate> for Promise<'a> {
    fn from(candidate: &'a Candidate) -> Self {
        let said = |part: &'a str| (!part.is_empty()).then_some(part);
        Self {
            name: &candidate.name,
            service: &candidate.service.name,
            namespace: said(&candidate.service.namespace),
            environment: said(&candidate.service.environment),
            operation: candidate.operation.as_deref(),
            sli: candidate.sli,
            target: candidate.target,
            window: candidate.window.into(),
            budgeting: Budgeting::Occurrences,
        }
    }
}

impl Promise<'_> {
    /// For example `checkout GET /cart latency 300ms 99%`; what is too long is cut from the service and operation.
    pub(super) fn display_name(&self, mark: &str) -> String {
        let indicator = match self.sli {
            Sli::Availability | Sli::ErrorRate => "availability".to_owned(),
            Sli::Latency { threshold_micros } => {
                format!("latency {}", threshold_label(threshold_micros))
            }
        };
        let tail = format!("{indicator} {}", percent(self.target));
        let subject = match self.operation {
            Some(operation) => format!("{} {operation}", self.service),
            None => self.service.to_owned(),
        };
        let room = DISPLAY_NAME_CHARS.saturating_sub(mark.len() + tail.len() + 1);
        cut(
            &format!("{mark}{} {tail}", cut(&subject, room)),
            DISPLAY_NAME_CHARS,
        )
    }

    /// In a sentence.
    pub(super) fn sentence(&self) -> String {
        let requests = match self.operation {
            Some(operation) => format!("requests for {operation} of {}", self.service),
            None => format!("requests to {}", self.service),
        };
        let good = match self.sli {
            Sli::Availability | Sli::ErrorRate => format!("the {requests} end without an error"),
            Sli::Latency { threshold_micros } => format!(
                "the {requests} that end without an error take at most {}",
                threshold_label(threshold_micros)
            ),
        };
        let (target, over) = (percent(self.target), over(&self.window));
        match self.budgeting {
            Budgeting::Occurrences => format!("{target} of {good}, over {over}."),
            Budgeting::Timeslices {
                slice_target,
                slice,
                empty,
            } => format!(
                "In {target} of the slices of {slice}, {} of {good}, over {over}; slices without requests {}.",
                percent(slice_target),
                counted(empty)
            ),
            Budgeting::RatioTimeslices { slice, empty } => format!(
                "In the mean of the slices of {slice}, {target} of {good}, over {over}; slices without requests {}.",
                counted(empty)
            ),
        }
    }

    /// What is measured, for our own reader.
    pub(super) fn annotations(&self) -> BTreeMap<String, String> {
        let mut annotations = service_annotations(self.service, [self.namespace, self.environment]);
        let mut annotate = |key, value: String| annotations.insert(annotation::key(key), value);
        if let Some(operation) = self.operation {
            annotate(annotation::OPERATION, operation.to_owned());
        }
        match self.sli {
            Sli::Availability | Sli::ErrorRate => {
                annotate(annotation::SLI, Sli::Availability.slug().to_owned());
            }
            Sli::Latency { threshold_micros } => {
                annotate(annotation::THRESHOLD, threshold_label(threshold_micros));
                annotate(annotation::SLI, self.sli.slug().to_owned());
            }
        }
        match self.budgeting {
            Budgeting::Occurrences => {}
            Budgeting::Timeslices { empty, .. } | Budgeting::RatioTimeslices { empty, .. } => {
                annotate(annotation::EMPTY_SLICES, empty_label(empty).to_owned());
            }
        }
        annotations
    }

    /// The ratio of two counters that this program exports under the objective's name.
    pub(super) fn indicator(&self, annotations: BTreeMap<String, String>) -> Indicator {
        let sum = |result| {
            let selector = events_selector(self.name, self.service, result);
            prometheus(format!("sum({selector})"))
        };
        Indicator {
            metadata: Metadata {
                name: self.name.to_owned(),
                annotations,
                ..Metadata::default()
            },
            spec: SliSpec {
                ratio_metric: Some(RatioMetric {
                    counter: true,
                    good: Some(sum(Some("good"))),
                    total: Some(sum(None)),
                    ..RatioMetric::default()
                }),
                ..SliSpec::default()
            },
        }
    }

    /// The target and how slices are judged against it.
    pub(super) fn objective(&self) -> ObjectiveSpec {
        let (time_slice_target, time_slice_window) = match self.budgeting {
            Budgeting::Occurrences => (None, None),
            Budgeting::Timeslices {
                slice_target,
                slice,
                ..
            } => (Some(exact_ratio(slice_target)), Some(slice.to_string())),
            Budgeting::RatioTimeslices { slice, .. } => (None, Some(slice.to_string())),
        };
        ObjectiveSpec {
            target: Some(exact_ratio(self.target)),
            time_slice_target,
            time_slice_window,
            ..ObjectiveSpec::default()
        }
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

/// A period in a sentence.
fn over(period: &Period) -> String {
    match period {
        Period::Rolling(duration) => duration.to_string(),
        Period::Calendar(calendar) => format!(
            "each {} from {} {}",
            calendar.duration,
            calendar_start_text(calendar.start_time),
            calendar.time_zone
        ),
    }
}

fn counted(empty: EmptySlices) -> &'static str {
    match empty {
        EmptySlices::Good => "count as good",
        EmptySlices::Bad => "count as bad",
        EmptySlices::Excluded => "do not count",
    }
}

/// As the annotation has it.
fn empty_label(empty: EmptySlices) -> &'static str {
    match empty {
        EmptySlices::Good => "good",
        EmptySlices::Bad => "bad",
        EmptySlices::Excluded => "excluded",
    }
}
