//! A model from real traces: what was asked how often, what it did, how long that took and how it failed.
//!
//! Of each operation the ways that it went are told apart by what was called in which order, each with its share, its
//! own times and the gaps between its steps. Errors travel by the ratios that were seen. Memory is bounded by the
//! [`Limits`]; what is beyond is counted.

mod build;
mod failures;
mod shape;
mod sketch;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::model::NANOS_PER_SEC;
use crate::model::span::{Outcome, SpanKind};
use crate::model::trace::{Trace, TraceResource, TraceSpan};
use crate::trace::tree::TraceTree;
use crate::traffic::learn::failures::{observe_calls, own_error};
use crate::traffic::learn::shape::{Group, Kind, Member, groups_of, signature};
use crate::traffic::learn::sketch::Sketch;
use crate::traffic::model::Model;

/// What learning may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Operations; spans of others are taken for work of their callers.
    pub operations: usize,
    /// Ways of one operation; rarer ones that come later are left out.
    pub ways: usize,
    /// Steps of one way.
    pub steps: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            operations: 2_000,
            ways: 32,
            steps: 200,
        }
    }
}

/// A model, and how sure it is.
#[derive(Clone, Debug)]
pub struct Learned {
    /// The model.
    pub model: Model,
    /// Traces that were looked at.
    pub traces: u64,
    /// Requests that the operations were learnt from.
    pub requests: u64,
    /// Requests that went a way for which there was no place any more.
    pub left_out_ways: u64,
    /// Requests of operations for which there was no place.
    pub left_out_operations: u64,
    /// Calls whose two clocks contradict each other; the time between was halved.
    pub skewed_calls: u64,
}

/// Looks at one trace after the other.
#[derive(Debug, Default)]
pub struct Learner {
    limits: Limits,
    indexes: HashMap<RequestKey, usize>,
    requests: Vec<Request>,
    roots: BTreeMap<usize, u64>,
    /// Traces by hour since the Unix epoch.
    hours: BTreeMap<u64, u64>,
    first: Option<u64>,
    last: u64,
    traces: u64,
    seen: u64,
    left_out_ways: u64,
    left_out_operations: u64,
    skewed_calls: u64,
}

/// Service, operation and kind.
type RequestKey = (crate::model::series::ServiceKey, Box<str>, SpanKind);

/// An operation as it was seen.
#[derive(Debug)]
struct Request {
    key: RequestKey,
    resource: Arc<TraceResource>,
    versions: BTreeMap<Box<str>, u64>,
    /// Attributes of the first span, which say the protocol.
    sample: TraceSpan,
    count: u64,
    /// Own failures by exception type, message and status.
    errors: BTreeMap<(String, String, String), u64>,
    ways: BTreeMap<String, Way>,
    calls: BTreeMap<Kind, CallSeen>,
}

/// A way that an operation went.
#[derive(Clone, Debug, Default)]
struct Way {
    count: u64,
    own: Sketch,
    /// Sums of the gaps in nanoseconds, one more than there are steps.
    gaps: Vec<f64>,
    steps: Vec<Vec<Slot>>,
}

/// A step as it was seen.
#[derive(Clone, Debug, Default)]
struct Slot {
    kind: Option<Kind>,
    detached: bool,
    counts: BTreeMap<u32, u64>,
    fan_outs: u64,
    there: Sketch,
    back: Sketch,
    /// What it did itself, if it is no request.
    inner: Way,
    errors: u64,
    seen: u64,
}

/// Calls from one operation that failed.
#[derive(Clone, Copy, Debug, Default)]
struct CallSeen {
    failed: u64,
    propagated: u64,
    attempts: u32,
    backoff_nanos: u64,
    retried: u64,
    timed_out: u64,
    timeout_nanos: u64,
}

impl Learner {
    /// Nothing seen yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Looks at a trace.
    pub fn observe(&mut self, trace: &Trace) {
        let tree = TraceTree::new(trace);
        let Some(root) = tree.root() else {
            return;
        };
        self.traces += 1;
        let numbers: Vec<Option<usize>> = (0..trace.spans.len())
            .map(|index| self.number(&tree, index))
            .collect();
        let request_of = |index: usize| numbers.get(index).copied().flatten();
        if let (Some(number), Some(span)) = (request_of(root), tree.span(root)) {
            *self.roots.entry(number).or_default() += 1;
            *self
                .hours
                .entry(span.start / NANOS_PER_SEC / 3_600)
                .or_default() += 1;
            self.first = Some(self.first.map_or(span.start, |first| first.min(span.start)));
            self.last = self.last.max(span.start);
        }
        for index in 0..trace.spans.len() {
            if let (Some(number), Some(span)) = (request_of(index), tree.span(index)) {
                let groups = groups_of(&tree, index, &request_of, 0);
                self.request(&tree, number, (index, span), &groups);
            }
        }
    }

    /// The number of the request that a span is; `None` if it is work or a call of another one.
    fn number(&mut self, tree: &TraceTree<'_>, index: usize) -> Option<usize> {
        let span = tree.span(index)?;
        let parent = tree.parent(index).and_then(|parent| tree.span(parent));
        let comes_in = parent.is_none_or(|parent| {
            let is_pair = matches!(
                (parent.kind, span.kind),
                (SpanKind::Client, SpanKind::Server) | (SpanKind::Producer, SpanKind::Consumer)
            );
            is_pair || parent.resource.service != span.resource.service
        });
        if !comes_in {
            return None;
        }
        let key = (
            span.resource.service.clone(),
            span.operation.clone(),
            span.kind,
        );
        if let Some(number) = self.indexes.get(&key) {
            return Some(*number);
        }
        if self.requests.len() >= self.limits.operations {
            self.left_out_operations += 1;
            return None;
        }
        let number = self.requests.len();
        self.indexes.insert(key.clone(), number);
        self.requests.push(Request {
            key,
            resource: Arc::clone(&span.resource),
            versions: BTreeMap::new(),
            sample: span.clone(),
            count: 0,
            errors: BTreeMap::new(),
            ways: BTreeMap::new(),
            calls: BTreeMap::new(),
        });
        Some(number)
    }

    fn request(
        &mut self,
        tree: &TraceTree<'_>,
        number: usize,
        (index, span): (usize, &TraceSpan),
        groups: &[Group],
    ) {
        self.seen += 1;
        let limits = self.limits;
        let Some(request) = self.requests.get_mut(number) else {
            return;
        };
        request.count += 1;
        *request
            .versions
            .entry(span.resource.version.clone())
            .or_default() += 1;
        let has_failed = span.outcome == Outcome::Error;
        let mut failed_below = false;
        observe_calls(
            tree,
            groups,
            has_failed,
            &mut request.calls,
            &mut failed_below,
        );
        if let Some(error) = own_error(tree, index, span, failed_below) {
            *request.errors.entry(error).or_default() += 1;
        }
        if has_failed {
            // What a failed request did not come to says nothing about its ways.
            return;
        }
        let signature = signature(groups);
        if !request.ways.contains_key(&signature)
            && (request.ways.len() >= limits.ways || count_steps(groups) > limits.steps)
        {
            self.left_out_ways += 1;
            return;
        }
        let way = request.ways.entry(signature).or_default();
        way.observe(tree, span, groups, &mut self.skewed_calls);
    }

    /// The model. `kept_ratio` is the share of the traces that was looked at.
    pub fn finish(self, kept_ratio: f64) -> Learned {
        let (traces, requests) = (self.traces, self.seen);
        let (left_out_ways, left_out_operations) = (self.left_out_ways, self.left_out_operations);
        let skewed_calls = self.skewed_calls;
        Learned {
            model: build::model(&self, kept_ratio),
            traces,
            requests,
            left_out_ways,
            left_out_operations,
            skewed_calls,
        }
    }
}

impl Way {
    fn observe(
        &mut self,
        tree: &TraceTree<'_>,
        span: &TraceSpan,
        groups: &[Group],
        skewed: &mut u64,
    ) {
        self.count += 1;
        self.gaps.resize(groups.len() + 1, 0.0);
        self.steps.resize(groups.len(), Vec::new());
        let (mut cursor, mut own) = (span.start, 0_u64);
        for ((gap, slots), group) in self.gaps.iter_mut().zip(&mut self.steps).zip(groups) {
            let spans = || group.spans().filter_map(|index| tree.span(index));
            let start = spans().map(|span| span.start).min().unwrap_or(cursor);
            let idle = if group.members.len() == 1 {
                idle_nanos(spans())
            } else {
                0
            };
            let before = start.saturating_sub(cursor).saturating_add(idle);
            *gap += before as f64;
            own += before;
            let is_detached = group.members.iter().all(|member| member.detached);
            let end = if is_detached {
                start
            } else {
                spans().map(|span| span.end).max().unwrap_or(start)
            };
            cursor = cursor.max(end.min(span.end));
            slots.resize_with(group.members.len(), Slot::default);
            for (slot, member) in slots.iter_mut().zip(&group.members) {
                slot.observe(tree, member, skewed);
            }
        }
        let after = span.end.saturating_sub(cursor);
        if let Some(gap) = self.gaps.last_mut() {
            *gap += after as f64;
        }
        self.own.add_nanos(own + after);
    }
}

impl Slot {
    fn observe(&mut self, tree: &TraceTree<'_>, member: &Member, skewed: &mut u64) {
        self.kind = Some(member.kind.clone());
        self.detached = member.detached;
        self.seen += 1;
        let count = u32::try_from(member.spans.len()).unwrap_or(u32::MAX);
        *self.counts.entry(count).or_default() += 1;
        let spans: Vec<&TraceSpan> = member
            .spans
            .iter()
            .filter_map(|index| tree.span(*index))
            .collect();
        if let [first, .., last] = spans.as_slice() {
            self.fan_outs += u64::from(last.start < first.end);
        }
        for (index, span) in member.spans.iter().zip(&spans) {
            match member.kind {
                Kind::Call(_) | Kind::Publish(_) => self.between(tree, *index, span, skewed),
                Kind::PlainCall(_) => {
                    self.there.add_nanos(0);
                    self.back.add_nanos(0);
                }
                Kind::Query(..) | Kind::Work(..) => {
                    self.errors += u64::from(span.outcome == Outcome::Error);
                }
            }
        }
        if matches!(member.kind, Kind::Query(..) | Kind::Work(..))
            && let Some(first) = spans.first()
        {
            self.inner.observe(tree, first, &member.groups, skewed);
        }
    }

    /// The time on the way there and back.
    fn between(&mut self, tree: &TraceTree<'_>, index: usize, span: &TraceSpan, skewed: &mut u64) {
        let answer = tree
            .children(index)
            .iter()
            .find_map(|child| tree.span(*child));
        let Some(answer) = answer else {
            return;
        };
        if span.kind == SpanKind::Producer {
            self.there.add_nanos(span.duration_nanos());
            self.back.add_nanos(answer.start.saturating_sub(span.end));
            return;
        }
        if span.end < answer.end && span.outcome == Outcome::Error {
            // The caller gave up: only the way there is known.
            self.there
                .add_nanos(answer.start.saturating_sub(span.start));
            return;
        }
        if answer.start >= span.start && answer.end <= span.end {
            self.there.add_nanos(answer.start - span.start);
            self.back.add_nanos(span.end - answer.end);
        } else {
            *skewed += 1;
            let both = span
                .duration_nanos()
                .saturating_sub(answer.duration_nanos());
            self.there.add_nanos(both / 2);
            self.back.add_nanos(both / 2);
        }
    }
}

/// Time between the spans of a step that is repeated: own time of the one who repeats it, which a model has before the
/// first.
fn idle_nanos<'t>(spans: impl Iterator<Item = &'t TraceSpan>) -> u64 {
    let mut times: Vec<(u64, u64)> = spans.map(|span| (span.start, span.end)).collect();
    times.sort_unstable();
    let mut until = times.first().map_or(0, |first| first.0);
    let mut idle = 0;
    for (start, end) in times {
        idle += start.saturating_sub(until);
        until = until.max(end);
    }
    idle
}

fn count_steps(groups: &[Group]) -> usize {
    let members = groups.iter().flat_map(|group| &group.members);
    members.map(|member| 1 + count_steps(&member.groups)).sum()
}
