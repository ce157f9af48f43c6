//! From OpenSLO documents to SLOs that can become rules, and findings about those that cannot.

mod composite;

use std::collections::{BTreeMap, BTreeSet};

use crate::evaluator::burn_rate::Limits;
use crate::exporter::rules::model::Labels;
use crate::exporter::rules::query::{Query, Refusal};
use crate::exporter::rules::slo::{self, Slo};
use crate::model::period::Period;
use crate::model::slo::{Budgeting, EmptySlices};
use crate::openslo::adopt::{empty_slices, objective_name, suggested_state};
use crate::openslo::rules::Rule;
use crate::openslo::rules::prometheus::{
    CALENDAR, INDICATOR, NAME_TAKEN, PERIOD, RATE, RAW, SLICE, SOURCE, SUGGESTION, TARGET,
};
use crate::openslo::tree::Path;
use crate::openslo::v1::{
    BudgetingMethod, Document, Indicator, LabelValue, Metadata, Metric, ObjectiveSpec, RatioMetric,
    RawType, SliSpec, SloSpec, Spec,
};

/// The types of metric sources whose rulers evaluate Prometheus rules by Prometheus' own engine.
const TYPES: [&str; 4] = ["Prometheus", "Thanos", "Mimir", "Cortex"];

/// Something about a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// What is broken.
    pub rule: &'static Rule,
    /// Which of the documents, from 0.
    pub document: usize,
    /// Where in it.
    pub path: Path,
    /// What is wrong and what would be right.
    pub message: String,
}

/// A value, in which document it stands and where.
struct Placed<'d, T> {
    value: &'d T,
    document: usize,
    path: Path,
}

/// The SLOs that can become rules, by document.
pub(super) fn slos(documents: &[&Document], limits: Limits) -> (Vec<Slo>, Vec<Problem>) {
    let mut sources = Sources::of(documents);
    let mut slos = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        if let Spec::Slo(spec) = &document.spec {
            slos.extend(sources.take(index, &document.metadata, spec, limits));
        }
    }
    (slos, sources.problems)
}

/// What SLOs refer to, and what was found.
struct Sources<'d> {
    /// SLIs that stand alone, by name.
    indicators: BTreeMap<&'d str, (usize, &'d SliSpec, &'d Metadata)>,
    /// Types of data sources, by name.
    types: BTreeMap<&'d str, &'d str>,
    ids: BTreeSet<String>,
    problems: Vec<Problem>,
}

impl<'d> Sources<'d> {
    fn of(documents: &[&'d Document]) -> Self {
        let mut sources = Self {
            indicators: BTreeMap::new(),
            types: BTreeMap::new(),
            ids: BTreeSet::new(),
            problems: Vec::new(),
        };
        for (index, document) in documents.iter().enumerate() {
            let name = document.metadata.name.as_str();
            if let Spec::Sli(sli) = &document.spec {
                let sli = (index, &**sli, &document.metadata);
                sources.indicators.insert(name, sli);
            }
            if let Spec::DataSource(source) = &document.spec {
                sources.types.insert(name, &source.source_type);
            }
        }
        sources
    }

    fn found(&mut self, rule: &'static Rule, document: usize, path: Path, message: String) {
        self.problems.push(Problem {
            rule,
            document,
            path,
            message,
        });
    }

    /// The SLOs of a document, one an objective.
    fn take(
        &mut self,
        document: usize,
        metadata: &'d Metadata,
        spec: &'d SloSpec,
        limits: Limits,
    ) -> Vec<Slo> {
        let own = Placed {
            value: metadata,
            document,
            path: Path::default(),
        };
        if spec.objectives.iter().any(ObjectiveSpec::has_indicator) {
            return self.composite(&own, spec, limits).into_iter().collect();
        }
        let levels = (spec.indicator.as_ref(), spec.indicator_ref.as_deref());
        let (indicator, of_indicator) = self.indicator(document, &spec_path(), levels).unzip();
        // The nearest to what is measured wins, as where objectives are adopted.
        let said: Vec<Placed<'_, Metadata>> = of_indicator.into_iter().chain([own]).collect();
        let state = said.iter().find_map(|said| suggested_state(said.value));
        if let Some(state) = state {
            self.suggested(document, &metadata.name, state);
            return Vec::new();
        }
        let period = self.period(document, spec);
        let empty = self.empty_slices(&said, spec.budgeting_method);
        let indicator = indicator.and_then(|indicator| self.questions(&indicator));
        let (Some(period), Some(indicator), Some(empty)) = (period, indicator, empty) else {
            return Vec::new();
        };
        let mut slos = Vec::new();
        for (index, objective) in spec.objectives.iter().enumerate() {
            let path = spec_path().key("objectives").index(index);
            let target = self.target(document, &path, objective);
            let budgeting =
                self.budgeting(document, &path, objective, (spec.budgeting_method, empty));
            let (Some(target), Some(budgeting)) = (target, budgeting) else {
                continue;
            };
            let name = objective_name(&metadata.name, spec, index);
            let Some(id) = self.id(document, &path, &spec.service, &name) else {
                continue;
            };
            slos.push(Slo {
                id,
                service: spec.service.clone(),
                title: metadata
                    .display_name
                    .clone()
                    .unwrap_or_else(|| name.clone()),
                name,
                labels: labels(metadata),
                target,
                period: period.clone(),
                budgeting,
                indicator: indicator.clone(),
                limits,
            });
        }
        slos
    }

    /// An SLO that nobody agreed on.
    fn suggested(&mut self, document: usize, name: &str, state: &str) {
        let message = format!(
            "the SLO `{name}` gets no rules: it is a suggestion ({state}); set slo-copilot.dev/state to adopted once it is \
             agreed on"
        );
        self.found(
            &SUGGESTION,
            document,
            Path::default().key("metadata"),
            message,
        );
    }

    /// The name of an SLO's rules, unless others have it.
    fn id(&mut self, document: usize, path: &Path, service: &str, name: &str) -> Option<String> {
        let id = format!("{service}-{name}");
        if self.ids.insert(id.clone()) {
            return Some(id);
        }
        let message = format!(
            "rules are named `{id}` already; give this objective another displayName, or the SLO another name"
        );
        self.found(&NAME_TAKEN, document, path.clone(), message);
        None
    }

    /// What is measured, inline or referred to below a path, with its metadata.
    fn indicator(
        &self,
        document: usize,
        path: &Path,
        (inline, referred): (Option<&'d Indicator>, Option<&str>),
    ) -> Option<(Placed<'d, SliSpec>, Placed<'d, Metadata>)> {
        if let Some(indicator) = inline {
            let placed = Placed {
                value: &indicator.spec,
                document,
                path: path.key("indicator").key("spec"),
            };
            let metadata = Placed {
                value: &indicator.metadata,
                document,
                path: path.key("indicator"),
            };
            return Some((placed, metadata));
        }
        let (document, sli, metadata) = self.indicators.get(referred?)?;
        let placed = Placed {
            value: *sli,
            document: *document,
            path: spec_path(),
        };
        let metadata = Placed {
            value: *metadata,
            document: *document,
            path: Path::default(),
        };
        Some((placed, metadata))
    }

    fn period(&mut self, document: usize, spec: &SloSpec) -> Option<Period> {
        let path = spec_path().key("timeWindow").index(0);
        match spec.period()? {
            Err(message) => {
                self.found(&PERIOD, document, path.key("duration"), message);
                None
            }
            Ok(period) => {
                if let Period::Calendar(_) = period {
                    let message = "burn-rate alerts are written, but nothing about what is left of the budget: no range of \
                                   PromQL follows a calendar; use a rolling window, or the budget that `slo-copilot serve` exports"
                        .to_owned();
                    self.found(&CALENDAR, document, path.key("calendar"), message);
                }
                Some(period)
            }
        }
    }

    fn target(&mut self, document: usize, path: &Path, objective: &ObjectiveSpec) -> Option<f64> {
        let target = objective.target_ratio()?;
        if target > 0.0 {
            return Some(target);
        }
        let message = "a target of 0 promises nothing; the target must be above 0".to_owned();
        self.found(&TARGET, document, path.key(objective.target_key()), message);
        None
    }

    /// What slices without events count as, by the first of these metadata that says it.
    fn empty_slices(
        &mut self,
        said: &[Placed<'_, Metadata>],
        method: BudgetingMethod,
    ) -> Option<EmptySlices> {
        if method == BudgetingMethod::Occurrences {
            return Some(EmptySlices::default());
        }
        let found = said.iter().find_map(|said| {
            let (key, meant) = empty_slices(said.value)?;
            let path = said.path.key("metadata").key("annotations").key(&key);
            Some((said.document, path, meant))
        });
        match found {
            None => Some(EmptySlices::default()),
            Some((_, _, Ok(meant))) => Some(meant),
            Some((document, path, Err(message))) => {
                self.found(&SLICE, document, path, message);
                None
            }
        }
    }

    /// What the budget of an objective counts.
    fn budgeting(
        &mut self,
        document: usize,
        path: &Path,
        objective: &ObjectiveSpec,
        (method, empty): (BudgetingMethod, EmptySlices),
    ) -> Option<Budgeting> {
        let slice = || objective.time_slice_window.as_deref()?.parse().ok();
        let budgeting = match method {
            BudgetingMethod::Occurrences => Budgeting::Occurrences,
            BudgetingMethod::Timeslices => Budgeting::Timeslices {
                slice_target: objective.time_slice_target?,
                slice: slice()?,
                empty,
            },
            BudgetingMethod::RatioTimeslices => Budgeting::RatioTimeslices {
                slice: slice()?,
                empty,
            },
        };
        let Err((field, remedy)) = budgeting.check() else {
            return Some(budgeting);
        };
        let key = match field {
            "slice" => "timeSliceWindow",
            _ => "timeSliceTarget",
        };
        self.found(&SLICE, document, path.key(key), format!("{key} {remedy}"));
        None
    }

    /// What Prometheus is asked.
    fn questions(&mut self, sli: &Placed<'d, SliSpec>) -> Option<slo::Indicator> {
        let Some(ratio) = &sli.value.ratio_metric else {
            let message = "a thresholdMetric has no events to count: give a ratioMetric, for example of the requests \
                           within the threshold and of all requests"
                .to_owned();
            self.found(
                &INDICATOR,
                sli.document,
                sli.path.key("thresholdMetric"),
                message,
            );
            return None;
        };
        let ratio = Placed {
            value: ratio,
            document: sli.document,
            path: sli.path.key("ratioMetric"),
        };
        if let Some(raw) = &ratio.value.raw {
            return self.raw(&ratio, raw);
        }
        let (part_is, part, key) = match (&ratio.value.good, &ratio.value.bad) {
            (Some(good), _) => (RawType::Success, good, "good"),
            (None, Some(bad)) => (RawType::Failure, bad, "bad"),
            (None, None) => return None,
        };
        let total = ratio.value.total.as_ref()?;
        let is_counter = ratio.value.counter;
        let mut count = |metric, key| {
            self.query(&ratio, metric, key, |text| {
                Query::of_events(text, is_counter)
            })
        };
        let (part, total) = (count(part, key), count(total, "total"));
        Some(slo::Indicator::Events {
            part_is,
            part: part?,
            total: total?,
        })
    }

    fn raw(&mut self, ratio: &Placed<'d, RatioMetric>, raw: &'d Metric) -> Option<slo::Indicator> {
        let query = self.query(ratio, raw, "raw", Query::of_ratio)?;
        let message = "the ratio says nothing of how many events there are: a single failure among few can alert, and \
                       nobody is told when the metric is gone; give good and total events instead"
            .to_owned();
        self.found(&RAW, ratio.document, ratio.path.key("raw"), message);
        Some(slo::Indicator::Ratio {
            is: ratio.value.raw_type?,
            query,
        })
    }

    /// What one metric is asked, if it is of Prometheus.
    fn query(
        &mut self,
        ratio: &Placed<'d, RatioMetric>,
        metric: &'d Metric,
        key: &str,
        parse: impl FnOnce(&str) -> Result<Query, Refusal>,
    ) -> Option<Query> {
        let source = &metric.metric_source;
        let path = ratio.path.key(key).key("metricSource");
        let referred = source.metric_source_ref.as_deref();
        let referred = referred.and_then(|name| self.types.get(name).copied());
        let source_type = source.source_type.as_deref().or(referred);
        let is_known = |found: &str| TYPES.iter().any(|known| known.eq_ignore_ascii_case(found));
        if let Some(found) = source_type.filter(|found| !is_known(found)) {
            let message = format!(
                "the metric is of type `{found}`, which Prometheus cannot ask; rules need metrics of type {}",
                TYPES.join(", ")
            );
            self.found(&SOURCE, ratio.document, path.key("type"), message);
            return None;
        }
        let Some(text) = source.spec.get("query").and_then(|query| query.as_str()) else {
            let message = "spec.query is missing: the PromQL that counts the events".to_owned();
            self.found(&SOURCE, ratio.document, path.key("spec"), message);
            return None;
        };
        let path = path.key("spec").key("query");
        match parse(text) {
            Ok(query) => {
                if query.was_rate {
                    let message =
                        "rate() becomes increase() in the rules, so that events are counted"
                            .to_owned();
                    self.found(&RATE, ratio.document, path, message);
                }
                Some(query)
            }
            Err(Refusal { rule, message }) => {
                self.found(rule, ratio.document, path, message);
                None
            }
        }
    }
}

fn spec_path() -> Path {
    Path::default().key("spec")
}

/// The document's labels, as far as Prometheus and our own labels allow.
fn labels(metadata: &Metadata) -> Labels {
    let mut labels = Labels::new();
    for (key, value) in &metadata.labels {
        let name = label_name(key);
        let value = match value {
            LabelValue::One(value) => value.clone(),
            LabelValue::Many(values) => values.join(","),
        };
        if !is_reserved(&name) {
            labels.entry(name).or_insert(value);
        }
    }
    labels
}

/// A label's name as Prometheus allows it.
fn label_name(key: &str) -> String {
    let mut name: String = key
        .chars()
        .map(|character| {
            if character.is_ascii_alphanumeric() {
                character
            } else {
                '_'
            }
        })
        .collect();
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

fn is_reserved(name: &str) -> bool {
    name.starts_with("sloth_")
        || name.starts_with("__")
        || ["alertname", "severity", "long", "short"].contains(&name)
}
