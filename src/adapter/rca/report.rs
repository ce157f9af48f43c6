//! The report: numbers, traces and sentences that a person can check.

use std::collections::{BTreeMap, BTreeSet};

use crate::adapter::rca::cells::Half;
use crate::adapter::rca::fuse::Suspect;
use crate::adapter::rca::keys::OperationKey;
use crate::adapter::rca::sentence::sentence;
use crate::adapter::rca::settings::Settings;
use crate::adapter::rca::signals::{Family, Finding, Sides, Signal, Subject, self_time};
use crate::adapter::rca::summary::{Instance, Summary};
use crate::model::rca::{Change, Conclusion, Evidence, RankedCause, RcaReport};
use crate::model::series::{SeriesId, ServiceKey};

/// Traces that evidence names.
const EXAMPLES: usize = 3;

/// Writes down what was found.
pub fn write(
    sides: &Sides<'_>,
    suspects: &[Suspect],
    findings: &[Finding],
    settings: &Settings,
) -> RcaReport {
    let (before, after) = (sides.before.summary.window, sides.after.summary.window);
    let is_too_few = before.traces.min(after.traces) < settings.min_traces;
    let causes = suspects
        .iter()
        .filter(|suspect| suspect.is_significant && !suspect.is_explained)
        .take(settings.max_causes);
    let mut writer = Writer {
        sides,
        findings,
        settings,
        evidence: 0,
    };
    let ranked: Vec<RankedCause> = if is_too_few {
        Vec::new()
    } else {
        causes.map(|suspect| writer.cause(suspect)).collect()
    };
    let conclusion = match (is_too_few, ranked.is_empty()) {
        (true, _) => Conclusion::Inconclusive,
        (false, true) => Conclusion::NothingFound,
        (false, false) => Conclusion::Found,
    };
    let text = match (conclusion, ranked.first()) {
        (Conclusion::Found, Some(first)) => format!(
            "{} is the likeliest cause: {}",
            first.service,
            first
                .evidence
                .first()
                .map_or("", |evidence| evidence.text.as_str())
        ),
        (Conclusion::Inconclusive, _) => format!(
            "too few traces to say: {} before and {} of the incident, where {} of each are needed \
             (adapters.rca.min_traces)",
            before.traces, after.traces, settings.min_traces
        ),
        (Conclusion::Found | Conclusion::NothingFound, _) => format!(
            "nothing changed more than it does when nothing is wrong, in {} traces against {} before",
            after.traces, before.traces
        ),
    };
    RcaReport {
        conclusion,
        text,
        ranked,
        changes: changes(sides, settings.max_changes),
        baseline: before,
        incident: after,
        similar: Vec::new(),
        explanation: None,
    }
}

struct Writer<'a> {
    sides: &'a Sides<'a>,
    findings: &'a [Finding],
    settings: &'a Settings,
    evidence: usize,
}

impl Writer<'_> {
    fn cause(&mut self, suspect: &Suspect) -> RankedCause {
        let all: Vec<&Finding> = suspect
            .findings
            .iter()
            .filter_map(|index| self.findings.get(*index))
            .collect();
        let mut operations: Vec<String> = Vec::new();
        for finding in &all {
            let name = finding.operation.operation.to_string();
            if finding.operation.service == suspect.service && !operations.contains(&name) {
                operations.push(name);
            }
        }
        let shown = all.iter().take(self.settings.max_evidence);
        let evidence = shown
            .map(|finding| self.evidence(finding, suspect))
            .collect();
        RankedCause {
            service: suspect.service.name.to_string(),
            key: suspect.service.clone(),
            score: suspect.score / (1.0 + suspect.score),
            operations,
            instances: self.instances(suspect, &all),
            evidence,
        }
    }

    fn evidence(&mut self, finding: &Finding, suspect: &Suspect) -> Evidence {
        self.evidence += 1;
        let unit = match finding.signal.family() {
            Family::Time => "s",
            Family::Errors | Family::ErrorEvents | Family::Missing | Family::Novelty => "ratio",
            Family::Repeats => "calls",
        };
        let mut examples = finding.examples.clone();
        examples.truncate(EXAMPLES);
        Evidence {
            id: format!("E{}", self.evidence),
            signal: finding.signal.label().to_owned(),
            operation: Some(finding.operation.operation.to_string()),
            score: finding.deviations,
            baseline: Some(finding.before),
            incident: Some(finding.after),
            unit: unit.to_owned(),
            text: sentence(finding, suspect),
            example_trace_ids: examples,
        }
    }

    /// The instances that changed, where only some of those that can be told did.
    fn instances(&self, suspect: &Suspect, findings: &[&Finding]) -> Vec<String> {
        let mut changed: BTreeSet<&str> = BTreeSet::new();
        let mut unchanged: BTreeSet<&str> = BTreeSet::new();
        for finding in findings {
            let Subject::Operation(id) = finding.subject else {
                continue;
            };
            if finding.operation.service != suspect.service {
                continue;
            }
            for (name, is_changed) in self.changed_instances(id, finding) {
                if is_changed {
                    changed.insert(name);
                } else {
                    unchanged.insert(name);
                }
            }
        }
        let only_some = unchanged.iter().any(|name| !changed.contains(name));
        let changed = changed.into_iter().filter(|_| only_some);
        changed.map(str::to_owned).collect()
    }

    fn changed_instances(&self, id: SeriesId, finding: &Finding) -> Vec<(&str, bool)> {
        let (before, after) = (self.sides.before, self.sides.after);
        let (Some(was), Some(is)) = (
            before.summary.operations.get(&id),
            after.summary.operations.get(&id),
        ) else {
            return Vec::new();
        };
        let is_changed = |instance: &Instance| match finding.signal {
            Signal::SelfTime => {
                let quartiles = was.times.quartiles(before.half)?;
                let median = instance.times.quartiles(after.half)?.median;
                let spans = (finding.spans.0, instance.spans.sum(after.half));
                let statistic = self_time::statistic(&quartiles, median, spans, 0.0);
                // Half of the whole service's shift: an instance among sick ones is no better for being the mildest.
                Some(statistic > 2.0 && median / 1e6 > f64::midpoint(finding.before, finding.after))
            }
            Signal::ErrorOrigin => {
                let share = instance.origins.sum(after.half) / instance.weight.sum(after.half);
                Some(share > f64::midpoint(finding.before, finding.after))
            }
            Signal::LinkTime
            | Signal::ErrorEvents
            | Signal::MissingCalls
            | Signal::MissingAnswers
            | Signal::NewCalls
            | Signal::EventOrder
            | Signal::RepeatedCalls => None,
        };
        let enough = is.instances.iter().filter(|(_, instance)| {
            instance.spans.sum(after.half) >= self.settings.min_spans as f64
        });
        enough
            .filter_map(|(name, instance)| Some((&**name, is_changed(instance)?)))
            .collect()
    }
}

/// What is new and what is gone: versions, links between services, operations, instances.
fn changes(sides: &Sides<'_>, most: usize) -> Vec<Change> {
    let (before, after) = (sides.before.summary, sides.after.summary);
    let mut changes = Vec::new();
    for (id, service) in &after.services {
        let known = before.services.get(id);
        let name = &service.key.name;
        let Some(known) = known else {
            let text = format!("{name} was not seen before");
            changes.push(change("new_service", &service.key, name, text));
            continue;
        };
        for version in service.versions.difference(&known.versions) {
            let text = format!("{name} runs version {version}, which was not seen before");
            changes.push(change("new_version", &service.key, version, text));
        }
        for instance in service.instances.difference(&known.instances) {
            let text = format!("{name} has the instance {instance}, which was not seen before");
            changes.push(change("new_instance", &service.key, instance, text));
        }
    }
    for (id, service) in &before.services {
        if !after.services.contains_key(id) {
            let name = &service.key.name;
            let text = format!("{name} is not seen any more");
            changes.push(change("vanished_service", &service.key, name, text));
        }
    }
    let (edges_before, edges_after) = (edges(before), edges(after));
    for (edge, (from, to)) in &edges_after {
        if !edges_before.contains_key(edge) {
            let text = format!("{} calls {}, which it did not before", from.name, to.name);
            changes.push(change("new_edge", from, &to.name, text));
        }
    }
    for (edge, (from, to)) in &edges_before {
        if !edges_after.contains_key(edge) {
            let text = format!("{} does not call {} any more", from.name, to.name);
            changes.push(change("vanished_edge", from, &to.name, text));
        }
    }
    for (kind, here, there, verb) in [
        ("new_operation", after, before, "was not seen before"),
        ("vanished_operation", before, after, "is not seen any more"),
    ] {
        for (id, operation) in &here.operations {
            // What was seen once or twice comes and goes.
            let spans = operation.spans.sum(Half::ALL);
            let is_common = spans >= sides.settings.min_spans as f64;
            let service = SeriesId::of_service(operation.key.service.hash());
            let is_known = there.services.contains_key(&service);
            if is_common && is_known && !there.operations.contains_key(id) {
                let OperationKey {
                    service, operation, ..
                } = &operation.key;
                let text = format!("{operation} of {} {verb}", service.name);
                changes.push(change(kind, service, operation, text));
            }
        }
    }
    changes.truncate(most);
    changes
}

fn change(kind: &str, service: &ServiceKey, subject: &str, text: String) -> Change {
    Change {
        kind: kind.to_owned(),
        service: service.name.to_string(),
        subject: subject.to_owned(),
        text,
    }
}

/// Who calls whom.
fn edges(summary: &Summary) -> BTreeMap<(u128, u128), (&ServiceKey, &ServiceKey)> {
    let mut edges = BTreeMap::new();
    for operation in summary.operations.values() {
        let from = &operation.key.service;
        let called = operation.calls.iter().flat_map(|shape| &shape.parts);
        for callee in called.filter_map(|id| summary.operations.get(id)) {
            let to = &callee.key.service;
            if from != to {
                edges.insert((from.hash(), to.hash()), (from, to));
            }
        }
    }
    edges
}
