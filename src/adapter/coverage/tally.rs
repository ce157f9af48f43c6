//! What is counted: a bounded number of services, calls and names, with a few examples each. Tallies merge.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::adapter::coverage::Config;
use crate::adapter::coverage::score::Rule;
use crate::model::UnixNanos;
use crate::model::coverage::{CoverageFindingKind, PeerKind};
use crate::model::series::ServiceKey;

/// Traces that are named for each thing that is wrong.
const EXAMPLES_MAX: usize = 3;

/// Things that were looked at, and those that are wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// All.
    pub all: u64,
    /// Those that are wrong.
    pub wrong: u64,
    /// Traces that show it.
    pub traces: Vec<Box<str>>,
    /// The first one that is wrong, in words.
    pub example: Option<Box<str>>,
}

impl Checked {
    /// Looks at one thing.
    pub fn see(&mut self, is_wrong: bool, trace_id: &str) {
        self.all += 1;
        if is_wrong {
            self.wrong += 1;
            self.name(trace_id);
        }
    }

    fn name(&mut self, trace_id: &str) {
        let is_new = self.traces.iter().all(|known| **known != *trace_id);
        if is_new && self.traces.len() < EXAMPLES_MAX {
            self.traces.push(trace_id.into());
        }
    }

    fn merge(&mut self, other: &Self) {
        self.all += other.all;
        self.wrong += other.wrong;
        for trace in &other.traces {
            self.name(trace);
        }
        if self.example.is_none() {
            self.example.clone_from(&other.example);
        }
    }
}

/// Which pod, container or host reports: the attribute that tells, and its value.
pub(super) type Place = (&'static str, Box<str>);

/// What is known of a service.
#[derive(Clone, Debug, Default)]
pub struct ServiceTally {
    /// Its spans.
    pub spans: u64,
    /// Its entry spans.
    pub entries: u64,
    /// Its server and consumer spans that begin a trace.
    pub entry_roots: u64,
    /// `telemetry.sdk.language`.
    pub language: Option<Box<str>>,
    /// What the rules of the score looked at, those about sets aside.
    pub rules: BTreeMap<Rule, Checked>,
    /// What findings looked at.
    pub flaws: BTreeMap<CoverageFindingKind, Checked>,
    /// Where each `service.instance.id` was seen.
    pub instances: BTreeMap<Box<str>, Vec<Place>>,
    /// Hashes of its span names.
    pub names: HashSet<u64>,
    /// What others call it.
    pub aliases: BTreeSet<Box<str>>,
    /// Names of its workload in Kubernetes: namespace and name.
    pub workloads: BTreeSet<(Box<str>, Box<str>)>,
    /// Ports that it serves.
    pub ports: BTreeSet<u16>,
    /// Its processes.
    pub pids: BTreeSet<u32>,
}

impl ServiceTally {
    /// Looks at a thing that a rule is about.
    pub fn rule(&mut self, rule: Rule, is_broken: bool, trace_id: &str) {
        self.rules.entry(rule).or_default().see(is_broken, trace_id);
    }

    /// Looks at a thing that a finding is about.
    pub fn flaw(&mut self, kind: CoverageFindingKind, is_wrong: bool, trace_id: &str) {
        self.flaws.entry(kind).or_default().see(is_wrong, trace_id);
    }

    /// Takes an instance and where it is; whether the same instance was seen elsewhere.
    pub fn instance(&mut self, id: &str, places: Vec<Place>, most: usize) -> Taken<bool> {
        if let Some(known) = self.instances.get(id) {
            return Taken::Yes(are_elsewhere(known, &places));
        }
        if self.instances.len() >= most {
            return Taken::Refused;
        }
        self.instances.insert(id.into(), places);
        Taken::Yes(false)
    }

    fn merge(&mut self, other: &Self, most: usize) {
        self.spans += other.spans;
        self.entries += other.entries;
        self.entry_roots += other.entry_roots;
        if self.language.is_none() {
            self.language.clone_from(&other.language);
        }
        for (rule, checked) in &other.rules {
            self.rules.entry(*rule).or_default().merge(checked);
        }
        for (kind, checked) in &other.flaws {
            self.flaws.entry(*kind).or_default().merge(checked);
        }
        for (id, places) in &other.instances {
            let known = self
                .instances
                .entry(id.clone())
                .or_insert_with(|| places.clone());
            if are_elsewhere(known, places) {
                let checked = self.rules.entry(Rule::InstanceIdIsUnique).or_default();
                checked.wrong = checked.wrong.max(1);
            }
        }
        self.names.extend(&other.names);
        let take = |own: &mut BTreeSet<Box<str>>, theirs: &BTreeSet<Box<str>>| {
            own.extend(theirs.iter().take(most).cloned());
        };
        take(&mut self.aliases, &other.aliases);
        self.workloads.extend(other.workloads.iter().cloned());
        self.ports.extend(&other.ports);
        self.pids.extend(&other.pids);
    }
}

/// Whether two places that are told by the same attribute differ.
fn are_elsewhere(a: &[Place], b: &[Place]) -> bool {
    let pairs = a.iter().flat_map(|a| b.iter().map(move |b| (a, b)));
    let mut same_kind = pairs.filter(|(a, b)| a.0 == b.0);
    // The places stand from the finest to the coarsest; the finest that both say decides.
    same_kind.next().is_some_and(|(a, b)| a.1 != b.1)
}

/// What became of something that a bound may turn away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken<T> {
    /// It was taken.
    Yes(T),
    /// The bound is reached.
    Refused,
}

/// The other side of calls.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// A service that answered with a span.
    Service(ServiceKey),
    /// What the caller says of it.
    Named(PeerKind, Box<str>),
}

/// Calls of a service to a peer.
#[derive(Clone, Debug, Default)]
pub struct CallTally {
    /// Calls in traces that prove something.
    pub calls: u64,
    /// Those whose other side shows a span.
    pub answered: u64,
    /// Those that failed without one.
    pub failed: u64,
    /// Those that went well and show no span of the other side, among all of them.
    pub unanswered: Checked,
    /// What the answered ones stand for by their sampling: where operations are sampled by different shares, only so do calls
    /// compare.
    pub answered_weight: f64,
    /// What the unanswered ones stand for.
    pub unanswered_weight: f64,
    /// The port, as the caller says it.
    pub port: Option<u16>,
    /// The protocol, as the caller says it.
    pub protocol: Option<Box<str>>,
    /// Spans of the other side whose times cannot be.
    pub skew: Checked,
    /// By how much at most, in nanoseconds; above 0 if the callee's clock is ahead.
    pub skew_nanos: i64,
}

impl CallTally {
    fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        self.answered += other.answered;
        self.failed += other.failed;
        self.unanswered.merge(&other.unanswered);
        self.answered_weight += other.answered_weight;
        self.unanswered_weight += other.unanswered_weight;
        self.skew.merge(&other.skew);
        if other.skew_nanos.abs() > self.skew_nanos.abs() {
            self.skew_nanos = other.skew_nanos;
        }
        self.port = self.port.or(other.port);
        if self.protocol.is_none() {
            self.protocol.clone_from(&other.protocol);
        }
    }

    /// The same calls among those of another name for the peer.
    pub fn add(&mut self, other: &Self) {
        self.merge(other);
    }
}

/// How much the bounds turned away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Spans of services over `max_services`.
    pub services: u64,
    /// Calls over `max_edges`.
    pub edges: u64,
    /// Names, instances, ports and processes over `max_names_per_service`.
    pub names: u64,
}

impl Refused {
    /// The sum with more of it.
    pub fn plus(self, other: Self) -> Self {
        Self {
            services: self.services + other.services,
            edges: self.edges + other.edges,
            names: self.names + other.names,
        }
    }
}

/// What traces say, counted.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Traces.
    pub traces: u64,
    /// Those of which spans may be missing by no fault of the instrumentation.
    pub partial_traces: u64,
    /// Spans.
    pub spans: u64,
    /// End of the oldest span; 0 without one.
    pub first: UnixNanos,
    /// End of the newest span.
    pub last: UnixNanos,
    /// By service.
    pub services: BTreeMap<ServiceKey, ServiceTally>,
    /// By caller and peer.
    pub calls: BTreeMap<(ServiceKey, Peer), CallTally>,
    /// What was turned away.
    pub refused: Refused,
}

impl Tally {
    /// Adds what another one counted; the bounds hold for the sum.
    pub fn merge(&mut self, other: &Self, bounds: &Config) {
        self.traces += other.traces;
        self.partial_traces += other.partial_traces;
        self.spans += other.spans;
        if self.first == 0 || (other.first > 0 && other.first < self.first) {
            self.first = other.first;
        }
        self.last = self.last.max(other.last);
        self.refused = self.refused.plus(other.refused);
        for (key, theirs) in &other.services {
            let has_room = self.services.len() < bounds.max_services;
            match self.services.get_mut(key) {
                Some(own) => own.merge(theirs, bounds.max_names_per_service),
                None if has_room => {
                    self.services.insert(key.clone(), theirs.clone());
                }
                None => self.refused.services += theirs.spans,
            }
        }
        for (key, theirs) in &other.calls {
            let has_room = self.calls.len() < bounds.max_edges;
            match self.calls.get_mut(key) {
                Some(own) => own.merge(theirs),
                None if has_room => {
                    self.calls.insert(key.clone(), theirs.clone());
                }
                None => self.refused.edges += theirs.calls,
            }
        }
    }
}

/// The newest traces: two halves that take turns, so that what is told is about half a window to a whole one.
#[derive(Clone, Debug, Default)]
pub(super) struct Rolling {
    newer: Tally,
    older: Tally,
    began: Option<UnixNanos>,
    /// What was turned away in halves that are gone.
    refused_before: Refused,
}

impl Rolling {
    /// Goes on to `now`; whether a new half begins once, or, after a long time, twice.
    pub(super) fn turn(&mut self, now: UnixNanos, window_nanos: u64) -> u64 {
        let half = (window_nanos / 2).max(1);
        let began = *self.began.get_or_insert(now);
        let turns = (now.saturating_sub(began) / half).min(2);
        for _ in 0..turns {
            let gone = std::mem::replace(&mut self.older, std::mem::take(&mut self.newer));
            self.refused_before = self.refused_before.plus(gone.refused);
            self.began = Some(now);
        }
        turns
    }

    /// The half that is filled now.
    pub(super) fn newest(&mut self) -> &mut Tally {
        &mut self.newer
    }

    /// Both halves.
    pub(super) fn both(&self, bounds: &Config) -> Tally {
        let mut both = self.older.clone();
        both.merge(&self.newer, bounds);
        both
    }

    /// All that was turned away since the start.
    pub(super) fn refused(&self) -> Refused {
        let held = self.older.refused.plus(self.newer.refused);
        self.refused_before.plus(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_halves_take_turns_and_what_is_older_is_gone() {
        let bounds = Config::default();
        let mut rolling = Rolling::default();
        let mut traces_at = |now: u64| {
            rolling.turn(now, 100);
            rolling.newest().traces += 1;
            rolling.both(&bounds).traces
        };
        let held = [0, 49, 50, 99, 100, 149, 300, 10_000].map(&mut traces_at);
        assert_eq!(held, [1, 2, 3, 4, 3, 4, 1, 1]);
    }

    #[test]
    fn what_was_turned_away_is_told_for_good() {
        let mut rolling = Rolling::default();
        for now in [0, 60, 120, 500] {
            rolling.turn(now, 100);
            rolling.newest().refused.edges += 1;
        }
        assert_eq!(rolling.refused().edges, 4);
    }

    #[test]
    fn an_instance_is_elsewhere_where_the_finest_attribute_that_both_say_differs() {
        let place = |kind: &'static str, value: &str| (kind, Box::from(value));
        let pod = [place("k8s.pod.uid", "1"), place("host.name", "a")];
        let other = [place("k8s.pod.uid", "2"), place("host.name", "a")];
        let host = [place("host.name", "b")];
        assert!(are_elsewhere(&pod, &other));
        assert!(!are_elsewhere(&pod, &pod));
        assert!(are_elsewhere(&pod, &host));
        assert!(!are_elsewhere(&[], &host));
    }

    #[test]
    fn the_bounds_hold_for_the_sum_of_two_tallies() {
        let bounds = Config {
            max_services: 1,
            ..Config::default()
        };
        let of = |name: &str| {
            let tally = ServiceTally {
                spans: 3,
                ..ServiceTally::default()
            };
            Tally {
                services: BTreeMap::from([(ServiceKey::named(name), tally)]),
                ..Tally::default()
            }
        };
        let mut sum = of("a");
        sum.merge(&of("a"), &bounds);
        sum.merge(&of("b"), &bounds);
        assert_eq!(sum.services[&ServiceKey::named("a")].spans, 6);
        assert_eq!((sum.services.len(), sum.refused.services), (1, 3));
    }
}
