//! Takes a whole trace into a summary.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::adapter::rca::cells::Cell;
use crate::adapter::rca::keys::{LinkId, LinkKey, OperationKey};
use crate::adapter::rca::settings::Settings;
use crate::adapter::rca::summary::{Operation, Refused, Summary, few, instance_of};
use crate::model::UnixNanos;
use crate::model::distribution::nanos;
use crate::model::series::{SeriesId, ServiceKey};
use crate::model::span::SpanKind;
use crate::model::trace::{AttributeValue, Attributes, SpanEvent, Trace, TraceResource, TraceSpan};
use crate::trace::tree::TraceTree;

/// Events of one span that are looked at.
const EVENTS: usize = 16;

/// Where resources say which instance they are, the most exact first.
const INSTANCE_KEYS: [&str; 3] = ["service.instance.id", "k8s.pod.name", "host.name"];

/// Where events say how grave they are.
const SEVERITY_KEYS: [&str; 4] = ["log.severity", "severity", "log.level", "level"];

/// How grave an event is that tells of a failure.
const GRAVE: [&str; 4] = ["error", "fatal", "critical", "severe"];

/// What is done for the span by which a trace enters a service.
#[derive(Default)]
struct Segment {
    /// Operations of the service itself, and those that it calls.
    calls: BTreeSet<SeriesId>,
    /// How often each of them was called.
    counts: BTreeMap<SeriesId, Repeats>,
    /// The call that was answered last.
    last: Option<(UnixNanos, SeriesId)>,
}

/// Calls to one operation on behalf of one request.
struct Repeats {
    /// One of the called spans.
    callee: usize,
    count: u64,
    has_failed: bool,
    /// Whether one failed and another one followed.
    is_retried: bool,
}

impl Summary {
    /// Takes a whole trace.
    pub fn observe(&mut self, trace: &Trace, settings: &Settings) {
        let (Some(from), Some(to)) = (
            trace.spans.iter().map(|span| span.start).min(),
            trace.spans.iter().map(|span| span.end).max(),
        ) else {
            return;
        };
        let is_first = self.window.traces == 0;
        self.window.from = if is_first {
            from
        } else {
            self.window.from.min(from)
        };
        self.window.to = self.window.to.max(to);
        self.window.traces += 1;
        self.window.spans += trace.spans.len() as u64;
        let cell = Cell::of(&trace.trace_id, from, nanos(settings.block));
        self.traces.add(cell, 1.0);
        let observer = Observer {
            tree: TraceTree::new(trace),
            ids: ids(&trace.spans),
            cell,
            settings,
        };
        observer.links(self);
        observer.operations(self);
        observer.segments(self);
    }
}

/// The hash of each span's operation.
fn ids(spans: &[TraceSpan]) -> Vec<SeriesId> {
    let mut buffer = Vec::with_capacity(128);
    let id = |span: &TraceSpan| {
        let service = &span.resource.service;
        let hash = ServiceKey::hash_parts(
            &mut buffer,
            service.namespace.as_bytes(),
            service.environment.as_bytes(),
            service.name.as_bytes(),
        );
        SeriesId::of_operation(&mut buffer, hash, span.kind, span.operation.as_bytes())
    };
    spans.iter().map(id).collect()
}

struct Observer<'a> {
    tree: TraceTree<'a>,
    ids: Vec<SeriesId>,
    cell: Cell,
    settings: &'a Settings,
}

impl Observer<'_> {
    fn trace_id(&self) -> &str {
        &self.tree.trace().trace_id
    }

    fn id(&self, index: usize) -> SeriesId {
        self.ids.get(index).copied().unwrap_or(SeriesId(0))
    }

    /// The answer to a client span: its only child, on the server's side.
    fn answer(&self, index: usize) -> Option<usize> {
        let span = self.tree.span(index)?;
        let [child] = self.tree.children(index) else {
            return None;
        };
        let is_pair = matches!(
            (span.kind, self.tree.span(*child)?.kind),
            (SpanKind::Client, SpanKind::Server)
        );
        is_pair.then_some(*child)
    }

    /// How long the caller of a span waited beyond what the span took. Both ends are measured by one clock each.
    fn waited(&self, callee: usize) -> Option<(usize, u64)> {
        let caller = self.tree.parent(callee)?;
        let (from, to) = (self.tree.span(caller)?, self.tree.span(callee)?);
        let waited = match (from.kind, to.kind) {
            (SpanKind::Client, SpanKind::Server) if self.answer(caller) == Some(callee) => {
                from.duration_nanos().saturating_sub(to.duration_nanos())
            }
            (SpanKind::Producer, SpanKind::Consumer) => to.start.saturating_sub(from.end),
            _ => return None,
        };
        Some((caller, waited))
    }

    fn links(&self, summary: &mut Summary) {
        let mut weights: BTreeMap<LinkId, f64> = BTreeMap::new();
        for (callee, to) in self.tree.trace().spans.iter().enumerate() {
            let Some((caller, waited)) = self.waited(callee) else {
                continue;
            };
            let Some(from) = self.tree.span(caller) else {
                continue;
            };
            let caller = &from.resource.service;
            let id = LinkId::of(caller, self.id(callee));
            let key = || LinkKey {
                caller: caller.clone(),
                callee: key(to),
            };
            match summary.link(id, self.settings, key) {
                Some(link) => {
                    link.calls.add(self.cell, 1.0);
                    *weights.entry(id).or_default() += to.weight;
                    link.times.add(self.cell, waited, to.weight);
                    link.examples.slow(waited, self.trace_id());
                }
                None => summary.refused.calls += 1,
            }
        }
        for (id, weight) in weights {
            if let Some(link) = summary.links.get_mut(&id) {
                link.squares.add(self.cell, weight * weight);
            }
        }
    }

    fn operations(&self, summary: &mut Summary) {
        let below = self.logged_below();
        let mut seen: Option<&Arc<TraceResource>> = None;
        let mut held: BTreeMap<SeriesId, (f64, bool)> = BTreeMap::new();
        for (index, span) in self.tree.trace().spans.iter().enumerate() {
            if !seen.is_some_and(|seen| Arc::ptr_eq(seen, &span.resource)) {
                seen = Some(&span.resource);
                let service = &span.resource.service;
                let instance = instance(&span.resource.attributes).unwrap_or_default();
                summary.version(service, &span.resource.version, self.settings);
                summary.instance(service, instance, self.settings);
            }
            let (weight, has_failed) = held.entry(self.id(index)).or_default();
            *weight += span.weight;
            *has_failed |= self.tree.is_error_origin(index);
            let refused = match summary.operation(self.id(index), self.settings, || key(span)) {
                Some(operation) => self.operation(operation, (index, span), &below),
                None => Refused {
                    spans: 1,
                    ..Refused::default()
                },
            };
            summary.refused.add(refused);
        }
        for (id, (weight, has_failed)) in held {
            if let Some(operation) = summary.operations.get_mut(&id) {
                operation.traces.add(self.cell, 1.0);
                operation.squares.add(self.cell, weight * weight);
                let failed = f64::from(u8::from(has_failed));
                operation.failed_traces.add(self.cell, failed);
            }
        }
    }

    fn operation(
        &self,
        operation: &mut Operation,
        (index, span): (usize, &TraceSpan),
        below: &[bool],
    ) -> Refused {
        let (cell, weight) = (self.cell, span.weight);
        operation.spans.add(cell, 1.0);
        operation.weight.add(cell, weight);
        let children = self.tree.children(index);
        let is_origin = self.tree.is_error_origin(index);
        if is_origin {
            operation.origins.add(cell, weight);
            few(&mut operation.examples.failed, self.trace_id());
        }
        let logged = |child: &usize| below.get(*child).copied().unwrap_or_default();
        if span.events.iter().any(is_grave) && !children.iter().any(logged) {
            operation.logged_errors.add(cell, weight);
            few(&mut operation.examples.logged, self.trace_id());
        }
        let own = self
            .answer(index)
            .is_none()
            .then(|| self.tree.self_nanos(index));
        if let Some(own) = own {
            operation.times.add(cell, own, weight);
            operation.examples.slow(own, self.trace_id());
        }
        Refused {
            shapes: self.shapes(operation, (index, span)),
            instances: self.instance(operation, span, (own, is_origin)),
            ..Refused::default()
        }
    }

    /// Counts what a span logged, and what answers a client; how often a bound had no place for it.
    fn shapes(&self, operation: &mut Operation, (index, span): (usize, &TraceSpan)) -> u64 {
        let counted = (self.cell, span.weight);
        if !span.events.is_empty() {
            operation.logged.add(self.cell, span.weight);
        }
        let (most, trace_id) = (self.settings.max_shapes, self.trace_id());
        let labels = span.events.iter().take(EVENTS).map(label).collect();
        let is_kept = operation
            .events
            .add((labels, None), counted, trace_id, most);
        let mut refused = u64::from(!is_kept);
        if span.kind.is_call() {
            let called = self
                .tree
                .children(index)
                .iter()
                .map(|child| self.id(*child));
            let called: BTreeSet<SeriesId> = called.collect();
            let shape = (called.into_iter().collect(), None);
            let is_kept = operation.calls.add(shape, counted, trace_id, most);
            refused += u64::from(!is_kept);
        }
        refused
    }

    /// Counts a span for its instance; 1 if the bound had no place for it.
    fn instance(
        &self,
        operation: &mut Operation,
        span: &TraceSpan,
        (own, is_origin): (Option<u64>, bool),
    ) -> u64 {
        let Some(name) = instance(&span.resource.attributes) else {
            return 0;
        };
        let Some(instance) = instance_of(&mut operation.instances, name, self.settings) else {
            return 1;
        };
        let origin = if is_origin { span.weight } else { 0.0 };
        instance.spans.add(self.cell, 1.0);
        instance.weight.add(self.cell, span.weight);
        instance.origins.add(self.cell, origin);
        if let Some(own) = own {
            instance.times.add(self.cell, own, span.weight);
        }
        0
    }

    /// Of each span, whether it or one of its descendants logged an error.
    fn logged_below(&self) -> Vec<bool> {
        let spans = &self.tree.trace().spans;
        let mut logged: Vec<bool> = spans
            .iter()
            .map(|span| span.events.iter().any(is_grave))
            .collect();
        let order: Vec<usize> = self.tree.depth_first().map(|(index, _)| index).collect();
        for index in order.into_iter().rev() {
            let logs = logged.get(index).copied().unwrap_or_default();
            if let Some(parent) = self.tree.parent(index).filter(|_| logs)
                && let Some(logged) = logged.get_mut(parent)
            {
                *logged = true;
            }
        }
        logged
    }

    /// What is done and called on behalf of each span by which the trace enters a service.
    fn segments(&self, summary: &mut Summary) {
        let entries = self.tree.entries();
        let mut segments: Vec<Segment> = Vec::new();
        segments.resize_with(entries.len(), Segment::default);
        for (index, span) in self.tree.trace().spans.iter().enumerate() {
            let entry = entries.get(index).copied().unwrap_or(index);
            if entry != index {
                let is_call = span.kind.is_call();
                // A call stands for what answers it.
                if !is_call || self.tree.children(index).is_empty() {
                    insert(&mut segments, entry, self.id(index), None);
                }
                if is_call && self.tree.children(index).is_empty() {
                    self.repeat(&mut segments, entry, (index, self.tree.is_failed(index)));
                }
            } else if let Some(parent) = self.tree.parent(index) {
                let caller = entries.get(parent).copied().unwrap_or(parent);
                let answered = self.tree.span(parent).map_or(span.end, |parent| {
                    if parent.kind == SpanKind::Client {
                        parent.end
                    } else {
                        span.end
                    }
                });
                let answered = (span.kind != SpanKind::Consumer).then_some(answered);
                insert(&mut segments, caller, self.id(index), answered);
                // A server that fails may do so for other reasons.
                let asked = self.tree.span(parent);
                let is_refused =
                    asked.is_some_and(|span| span.kind.is_call()) && self.tree.is_failed(parent);
                let is_failed = self.tree.is_failed(index) || is_refused;
                self.repeat(&mut segments, caller, (index, is_failed));
            }
        }
        for (index, segment) in segments.into_iter().enumerate() {
            let Some(span) = self.tree.span(index) else {
                continue;
            };
            // Of those the operation has what answers them.
            let is_call = span.kind.is_call();
            if entries.get(index) != Some(&index) || is_call {
                continue;
            }
            self.repeats(summary, span, &segment.counts);
            let last = segment.last.map(|(_, callee)| callee);
            let shape = (segment.calls.into_iter().collect(), last);
            let counted = (self.cell, span.weight);
            let most = self.settings.max_shapes;
            if let Some(operation) = summary.operations.get_mut(&self.id(index)) {
                let is_kept = operation.calls.add(shape, counted, self.trace_id(), most);
                summary.refused.shapes += u64::from(!is_kept);
            }
        }
    }
}

impl Observer<'_> {
    /// Counts a call on behalf of a request. Spans come by their start.
    fn repeat(&self, segments: &mut [Segment], entry: usize, (callee, is_failed): (usize, bool)) {
        let Some(segment) = segments.get_mut(entry) else {
            return;
        };
        let repeats = segment
            .counts
            .entry(self.id(callee))
            .or_insert_with(|| Repeats {
                callee,
                count: 0,
                has_failed: false,
                is_retried: false,
            });
        repeats.count += 1;
        repeats.is_retried |= repeats.has_failed;
        repeats.has_failed |= is_failed;
    }

    fn repeats(
        &self,
        summary: &mut Summary,
        entry: &TraceSpan,
        counts: &BTreeMap<SeriesId, Repeats>,
    ) {
        let caller = &entry.resource.service;
        for (id, repeats) in counts {
            let Some(callee) = self.tree.span(repeats.callee) else {
                continue;
            };
            let make = || LinkKey {
                caller: caller.clone(),
                callee: key(callee),
            };
            match summary.link(LinkId::of(caller, *id), self.settings, make) {
                Some(link) => {
                    link.requests.add(self.cell, 1.0);
                    link.repeats
                        .add_count(self.cell, repeats.count, entry.weight);
                    let squared = entry.weight * entry.weight;
                    link.request_squares.add(self.cell, squared);
                    link.busiest.slow(repeats.count, self.trace_id());
                    if repeats.is_retried {
                        link.retried.add(self.cell, entry.weight);
                    }
                }
                // Those that are waited for were refused before.
                None if self.waited(repeats.callee).is_none() => {
                    summary.refused.calls += repeats.count;
                }
                None => {}
            }
        }
    }
}

fn insert(segments: &mut [Segment], entry: usize, called: SeriesId, answered: Option<UnixNanos>) {
    let Some(segment) = segments.get_mut(entry) else {
        return;
    };
    segment.calls.insert(called);
    if let Some(answered) = answered {
        segment.last = segment.last.max(Some((answered, called)));
    }
}

fn key(span: &TraceSpan) -> OperationKey {
    OperationKey {
        service: span.resource.service.clone(),
        operation: (*span.operation).into(),
        kind: span.kind,
    }
}

fn text<'a>(attributes: &'a Attributes, key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|(name, _)| **name == *key);
    match found.map(|(_, value)| value) {
        Some(AttributeValue::Text(text)) if !text.is_empty() => Some(text),
        Some(_) | None => None,
    }
}

fn instance(attributes: &Attributes) -> Option<&str> {
    INSTANCE_KEYS.iter().find_map(|key| text(attributes, key))
}

/// Whether an event tells of a failure.
fn is_grave(event: &SpanEvent) -> bool {
    if *event.name == *"exception" {
        return true;
    }
    let severity = SEVERITY_KEYS
        .iter()
        .find_map(|key| text(&event.attributes, key));
    severity.is_some_and(|severity| {
        GRAVE
            .iter()
            .any(|grave| severity.eq_ignore_ascii_case(grave))
    })
}

/// How an event is told from others: by its name, and an exception by its type.
fn label(event: &SpanEvent) -> Arc<str> {
    match text(&event.attributes, "exception.type") {
        Some(kind) => format!("{} {kind}", event.name).into(),
        None => (*event.name).into(),
    }
}
