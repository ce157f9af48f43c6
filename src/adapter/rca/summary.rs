//! What is kept of many traces: bounded, mergeable, serialisable.
//!
//! Merging is associative and takes any order as long as no bound is reached. Over a bound what came first stays, the rest
//! is counted in [`Refused`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::adapter::rca::cells::{Cells, Half};
use crate::adapter::rca::keys::{LinkId, LinkKey, OperationKey};
use crate::adapter::rca::settings::Settings;
use crate::adapter::rca::shapes::Shapes;
use crate::adapter::rca::times::Times;
use crate::model::rca::TraceWindow;
use crate::model::series::{SeriesId, ServiceKey};

/// Traces that are named as examples of one thing.
const EXAMPLES: usize = 3;

/// Many traces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// When, and how many.
    pub window: TraceWindow,
    /// Traces by cell.
    pub traces: Cells,
    /// Operations by the hash of their key.
    pub operations: BTreeMap<SeriesId, Operation>,
    /// Links by the hash of theirs.
    pub links: BTreeMap<LinkId, Link>,
    /// Services by the hash of theirs.
    pub services: BTreeMap<SeriesId, Service>,
    /// What the bounds had no place for.
    pub refused: Refused,
}

/// Spans of one name and kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Whose, and which.
    pub key: OperationKey,
    /// How many spans.
    pub spans: Cells,
    /// How many requests they stand for: the sum of their adjusted counts.
    pub weight: Cells,
    /// Traces that hold any.
    pub traces: Cells,
    /// Of each trace, the square of what its spans weigh: spans of one trace are not independent of each other.
    pub squares: Cells,
    /// Traces in which an error began here.
    pub failed_traces: Cells,
    /// What they took themselves. Of a client span that was answered, [`Link::times`] has it.
    pub times: Times,
    /// Those of `weight` that failed without a failed child.
    pub origins: Cells,
    /// Those that logged an error, none of their descendants having logged one.
    pub logged_errors: Cells,
    /// Those that logged anything.
    pub logged: Cells,
    /// What they call: of the span by which a trace enters a service, all that is done for it there and all that it calls;
    /// of a client span, what answers.
    pub calls: Shapes<SeriesId>,
    /// Which events they have, in order.
    pub events: Shapes<Arc<str>>,
    /// Their instances.
    pub instances: BTreeMap<Arc<str>, Instance>,
    /// Traces to look at.
    pub examples: Examples,
}

/// Calls of a service to an operation of another one, or calls of its own that nothing in the trace answers, such as those to
/// a database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Between whom.
    pub key: LinkKey,
    /// How many calls.
    pub calls: Cells,
    /// Of each trace, the square of what its calls weigh.
    pub squares: Cells,
    /// How long the caller waited beyond what the callee took; of a message, how long it waited to be taken.
    pub times: Times,
    /// Requests to the caller that made such calls.
    pub requests: Cells,
    /// How many calls each of them made.
    pub repeats: Times,
    /// Of each of them, the square of what it weighs.
    pub request_squares: Cells,
    /// Weight of those that called again after a call had failed.
    pub retried: Cells,
    /// Traces to look at.
    pub examples: Examples,
    /// Those with the most calls for one request, with their number.
    pub busiest: Examples,
}

/// One instance of an operation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// How many spans.
    pub spans: Cells,
    /// How many requests they stand for.
    pub weight: Cells,
    /// What they took themselves.
    pub times: Times,
    /// Those of `weight` that failed without a failed child.
    pub origins: Cells,
}

/// What is known of a service beside its operations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Which.
    pub key: ServiceKey,
    /// Versions that it said.
    pub versions: BTreeSet<Arc<str>>,
    /// Instances that it said.
    pub instances: BTreeSet<Arc<str>>,
}

/// Trace ids, few of each kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Examples {
    /// The slowest, with their nanoseconds, the slowest first.
    pub slowest: Vec<(u64, Box<str>)>,
    /// Some that failed.
    pub failed: BTreeSet<Box<str>>,
    /// Some that logged an error.
    pub logged: BTreeSet<Box<str>>,
}

/// Counts of what the bounds had no place for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Spans of operations over `max_operations`.
    pub spans: u64,
    /// Calls of links over `max_links`.
    pub calls: u64,
    /// Spans whose shape is over `max_shapes`; they are counted as one shape.
    pub shapes: u64,
    /// Spans of instances over `max_instances`; they are counted in their operation.
    pub instances: u64,
    /// Times that a version or an instance of a service over `max_versions` was seen.
    pub versions: u64,
}

impl Refused {
    /// All of them.
    pub fn total(self) -> u64 {
        self.spans + self.calls + self.shapes + self.instances + self.versions
    }

    pub(super) fn add(&mut self, other: Self) {
        self.spans += other.spans;
        self.calls += other.calls;
        self.shapes += other.shapes;
        self.instances += other.instances;
        self.versions += other.versions;
    }
}

impl Examples {
    /// A trace that took so long.
    pub(super) fn slow(&mut self, nanos: u64, trace_id: &str) {
        let is_slower = |least: &(u64, Box<str>)| nanos >= least.0;
        if self.slowest.len() >= EXAMPLES && !self.slowest.last().is_some_and(is_slower) {
            return;
        }
        self.take_slow((nanos, trace_id.into()));
    }

    fn take_slow(&mut self, one: (u64, Box<str>)) {
        // One trace once, with its slowest span.
        if let Some(known) = self.slowest.iter_mut().find(|known| known.1 == one.1) {
            known.0 = known.0.max(one.0);
        } else {
            self.slowest.push(one);
        }
        self.slowest
            .sort_unstable_by(|left, right| right.0.cmp(&left.0).then(left.1.cmp(&right.1)));
        self.slowest.truncate(EXAMPLES);
    }

    fn merge(&mut self, other: &Self) {
        for one in &other.slowest {
            self.take_slow(one.clone());
        }
        for id in &other.failed {
            few(&mut self.failed, id);
        }
        for id in &other.logged {
            few(&mut self.logged, id);
        }
    }
}

/// Keeps the least few ids.
pub(super) fn few(ids: &mut BTreeSet<Box<str>>, id: &str) {
    let is_full = ids.len() >= EXAMPLES;
    if is_full && ids.last().is_some_and(|greatest| **greatest <= *id) || ids.contains(id) {
        return;
    }
    ids.insert(id.into());
    if is_full {
        ids.pop_last();
    }
}

impl Operation {
    /// Nothing yet.
    pub(super) fn new(key: OperationKey) -> Self {
        Self {
            key,
            spans: Cells::default(),
            weight: Cells::default(),
            traces: Cells::default(),
            squares: Cells::default(),
            failed_traces: Cells::default(),
            times: Times::default(),
            origins: Cells::default(),
            logged_errors: Cells::default(),
            logged: Cells::default(),
            calls: Shapes::default(),
            events: Shapes::default(),
            instances: BTreeMap::new(),
            examples: Examples::default(),
        }
    }

    /// Spans over some cells, and the requests that they stand for.
    pub fn counts(&self, half: Half) -> (f64, f64) {
        (self.spans.sum(half), self.weight.sum(half))
    }

    /// How many independent spans tell as much as these do.
    pub fn effective(&self, half: Half) -> f64 {
        effective(self.weight.sum(half), self.squares.sum(half))
    }

    fn merge(&mut self, other: &Self, settings: &Settings, refused: &mut Refused) {
        self.spans.merge(&other.spans);
        self.weight.merge(&other.weight);
        self.traces.merge(&other.traces);
        self.squares.merge(&other.squares);
        self.failed_traces.merge(&other.failed_traces);
        self.times.merge(&other.times);
        self.origins.merge(&other.origins);
        self.logged_errors.merge(&other.logged_errors);
        self.logged.merge(&other.logged);
        refused.shapes += self.calls.merge(&other.calls, settings.max_shapes);
        refused.shapes += self.events.merge(&other.events, settings.max_shapes);
        for (name, instance) in &other.instances {
            match instance_of(&mut self.instances, name, settings) {
                Some(mine) => mine.merge(instance),
                None => refused.instances += 1,
            }
        }
        self.examples.merge(&other.examples);
    }
}

impl Link {
    /// How many independent calls tell as much as these do.
    pub fn effective(&self, half: Half) -> f64 {
        effective(self.times.total(half), self.squares.sum(half))
    }

    /// How many requests of equal weight tell as much as those that made such calls.
    pub fn effective_requests(&self, half: Half) -> f64 {
        effective(self.repeats.total(half), self.request_squares.sum(half))
    }
}

/// Kish's effective sample size, the spans of one trace taken for one.
fn effective(weight: f64, squares: f64) -> f64 {
    if squares > 0.0 {
        weight * weight / squares
    } else {
        0.0
    }
}

/// The instance of this name; `None` if there is no place for one more.
pub(super) fn instance_of<'a>(
    instances: &'a mut BTreeMap<Arc<str>, Instance>,
    name: &str,
    settings: &Settings,
) -> Option<&'a mut Instance> {
    if !instances.contains_key(name) {
        if instances.len() >= settings.max_instances {
            return None;
        }
        instances.insert(name.into(), Instance::default());
    }
    instances.get_mut(name)
}

impl Instance {
    fn merge(&mut self, other: &Self) {
        self.spans.merge(&other.spans);
        self.weight.merge(&other.weight);
        self.times.merge(&other.times);
        self.origins.merge(&other.origins);
    }
}

impl Summary {
    /// Adds all of another.
    pub fn merge(&mut self, other: &Self, settings: &Settings) {
        if other.window.traces > 0 {
            let is_first = self.window.traces == 0;
            let from = self.window.from.min(other.window.from);
            self.window.from = if is_first { other.window.from } else { from };
            self.window.to = self.window.to.max(other.window.to);
        }
        self.window.traces += other.window.traces;
        self.window.spans += other.window.spans;
        self.traces.merge(&other.traces);
        self.refused.add(other.refused);
        let mut refused = Refused::default();
        for (id, operation) in &other.operations {
            match self.operation(*id, settings, || operation.key.clone()) {
                Some(mine) => mine.merge(operation, settings, &mut refused),
                None => refused.spans += whole(operation.spans.sum(Half::ALL)),
            }
        }
        for (id, link) in &other.links {
            match self.link(*id, settings, || link.key.clone()) {
                Some(mine) => {
                    mine.calls.merge(&link.calls);
                    mine.squares.merge(&link.squares);
                    mine.requests.merge(&link.requests);
                    mine.repeats.merge(&link.repeats);
                    mine.request_squares.merge(&link.request_squares);
                    mine.retried.merge(&link.retried);
                    mine.busiest.merge(&link.busiest);
                    mine.times.merge(&link.times);
                    mine.examples.merge(&link.examples);
                }
                None => refused.calls += whole(link.calls.sum(Half::ALL)),
            }
        }
        for service in other.services.values() {
            // Also one that says neither.
            service_of(&mut self.services, &service.key);
            for version in &service.versions {
                self.version(&service.key, version, settings);
            }
            for instance in &service.instances {
                self.instance(&service.key, instance, settings);
            }
        }
        self.refused.add(refused);
    }

    /// An operation; `None` if there is no place for one more.
    pub(super) fn operation(
        &mut self,
        id: SeriesId,
        settings: &Settings,
        key: impl FnOnce() -> OperationKey,
    ) -> Option<&mut Operation> {
        let is_full = self.operations.len() >= settings.max_operations;
        if is_full && !self.operations.contains_key(&id) {
            return None;
        }
        let operation = self.operations.entry(id);
        Some(operation.or_insert_with(|| Operation::new(key())))
    }

    /// A link; `None` if there is no place for one more.
    pub(super) fn link(
        &mut self,
        id: LinkId,
        settings: &Settings,
        key: impl FnOnce() -> LinkKey,
    ) -> Option<&mut Link> {
        let is_full = self.links.len() >= settings.max_links;
        if is_full && !self.links.contains_key(&id) {
            return None;
        }
        Some(self.links.entry(id).or_insert_with(|| Link {
            key: key(),
            calls: Cells::default(),
            squares: Cells::default(),
            times: Times::default(),
            requests: Cells::default(),
            repeats: Times::default(),
            request_squares: Cells::default(),
            retried: Cells::default(),
            examples: Examples::default(),
            busiest: Examples::default(),
        }))
    }

    /// A service said this version.
    pub(super) fn version(&mut self, service: &ServiceKey, version: &str, settings: &Settings) {
        let known = &mut service_of(&mut self.services, service).versions;
        self.refused.versions += u64::from(!remember(known, version, settings.max_versions));
    }

    /// A service said this instance.
    pub(super) fn instance(&mut self, service: &ServiceKey, instance: &str, settings: &Settings) {
        let known = &mut service_of(&mut self.services, service).instances;
        self.refused.versions += u64::from(!remember(known, instance, settings.max_instances));
    }
}

fn service_of<'a>(
    services: &'a mut BTreeMap<SeriesId, Service>,
    key: &ServiceKey,
) -> &'a mut Service {
    let id = SeriesId::of_service(key.hash());
    services.entry(id).or_insert_with(|| Service {
        key: key.clone(),
        versions: BTreeSet::new(),
        instances: BTreeSet::new(),
    })
}

fn remember(known: &mut BTreeSet<Arc<str>>, one: &str, most: usize) -> bool {
    if one.is_empty() || known.contains(one) {
        return true;
    }
    let has_place = known.len() < most;
    if has_place {
        known.insert(one.into());
    }
    has_place
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a sum of ones"
)]
fn whole(count: f64) -> u64 {
    count as u64
}
