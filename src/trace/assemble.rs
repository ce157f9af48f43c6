//! From spans in any order to traces, in bounded memory.

use std::collections::{BTreeMap, HashMap};

use crate::model::trace::{AttributeValue, Attributes, Completeness, Trace, TraceSpan};
use crate::trace::sampling::{Randomness, Threshold};
use crate::trace::tree::TraceTree;

/// No trace takes more than this part of the memory.
const TRACES_AT_LEAST: usize = 4;

/// Collects the spans of traces over requests and files. Where the memory is full, whole traces are left out by
/// [`crate::trace::sampling`]: what stays is a fair sample, and the same one whatever the order of the files.
#[derive(Debug)]
pub struct TraceAssembler {
    traces: HashMap<Box<str>, Gathered>,
    bytes: usize,
    max_bytes: usize,
    threshold: Threshold,
    left_out: u64,
    without_trace_id: u64,
}

#[derive(Debug, Default)]
struct Gathered {
    spans: Vec<TraceSpan>,
    bytes: usize,
    left_out: u64,
}

/// What was collected.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assembled {
    /// The traces by their start.
    pub traces: Vec<Trace>,
    /// Spans that the memory had no place for.
    pub left_out_spans: u64,
    /// Spans that say no trace id.
    pub spans_without_trace_id: u64,
    /// Spans that came twice, each time the same.
    pub repeated_spans: u64,
    /// The share of the traces that was kept; 1 unless the memory was full.
    pub kept_ratio: f64,
}

impl TraceAssembler {
    /// Nothing yet; the spans may take about `max_bytes`.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            traces: HashMap::new(),
            bytes: 0,
            max_bytes,
            threshold: Threshold::ALL,
            left_out: 0,
            without_trace_id: 0,
        }
    }

    /// Adds a span to its trace.
    pub fn add(&mut self, trace_id: Box<str>, span: TraceSpan) {
        if trace_id.is_empty() {
            self.without_trace_id += 1;
            return;
        }
        if !self.threshold.keeps(Randomness::of_text(&trace_id)) {
            self.left_out += 1;
            return;
        }
        let trace = self.traces.entry(trace_id).or_default();
        let bytes = span_bytes(&span);
        if trace.bytes.saturating_add(bytes) > self.max_bytes / TRACES_AT_LEAST {
            trace.left_out += 1;
            self.left_out += 1;
            return;
        }
        trace.bytes += bytes;
        trace.spans.push(span);
        self.bytes += bytes;
        while self.bytes > self.max_bytes {
            self.leave_out();
        }
    }

    /// Leaves out half of the traces.
    fn leave_out(&mut self) {
        self.threshold = self.threshold.scaled(0.5);
        let threshold = self.threshold;
        let (mut spans, mut bytes) = (0, 0);
        self.traces.retain(|id, trace| {
            let is_kept = threshold.keeps(Randomness::of_text(id));
            if !is_kept {
                spans += trace.spans.len() as u64;
                bytes += trace.bytes;
            }
            is_kept
        });
        self.left_out += spans;
        self.bytes -= bytes;
    }

    /// Bytes that the spans take, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All that was collected. Nothing more comes, so a trace is complete if its spans say so.
    pub fn finish(self) -> Assembled {
        let mut assembled = Assembled {
            left_out_spans: self.left_out,
            spans_without_trace_id: self.without_trace_id,
            kept_ratio: self.threshold.ratio(),
            ..Assembled::default()
        };
        for (trace_id, gathered) in self.traces {
            if gathered.spans.is_empty() {
                continue;
            }
            let missing = (gathered.left_out > 0).then(|| {
                let count = gathered.left_out;
                format!("{count} spans more than one trace may take of the memory")
            });
            let (trace, repeated) = assemble(trace_id, gathered.spans, missing);
            assembled.repeated_spans += repeated;
            assembled.traces.push(trace);
        }
        let order = |trace: &Trace| {
            let start = trace.spans.first().map(|span| span.start);
            (start, trace.trace_id.clone())
        };
        assembled.traces.sort_by_cached_key(order);
        assembled
    }
}

/// A trace of spans in any order, and how many of them came again. `missing` says what is known to be missing, if
/// anything is.
pub fn assemble(
    trace_id: Box<str>,
    mut spans: Vec<TraceSpan>,
    missing: Option<String>,
) -> (Trace, u64) {
    let before = spans.len();
    leave_out_repeated(&mut spans);
    let repeated = (before - spans.len()) as u64;
    spans.sort_by_key(|span| span.start);
    let mut trace = Trace {
        trace_id,
        spans,
        completeness: Completeness::Complete,
    };
    let tree = TraceTree::new(&trace);
    let completeness = missing.map_or_else(|| completeness_of(&tree), Completeness::Incomplete);
    let mut depths = vec![0; trace.spans.len()];
    for (index, depth) in tree.depth_first() {
        if let Some(place) = depths.get_mut(index) {
            *place = depth;
        }
    }
    trace.completeness = completeness;
    // Of spans that start at one time, parents come first.
    let mut depths = depths.into_iter();
    let mut placed: Vec<(usize, TraceSpan)> = trace
        .spans
        .into_iter()
        .map(|span| (depths.next().unwrap_or(0), span))
        .collect();
    placed.sort_by_key(|(depth, span)| (span.start, *depth));
    trace.spans = placed.into_iter().map(|(_, span)| span).collect();
    (trace, repeated)
}

/// Takes out what came again, as a client sends a request again that it got no answer to.
fn leave_out_repeated(spans: &mut Vec<TraceSpan>) {
    let mut by_id: HashMap<Box<str>, Vec<usize>> = HashMap::with_capacity(spans.len());
    let mut repeated = Vec::new();
    for (index, span) in spans.iter().enumerate() {
        let same = by_id.entry(span.span_id.clone()).or_default();
        let is_repeated = same.iter().any(|other| spans.get(*other) == Some(span));
        repeated.push(is_repeated);
        // Many different spans with one id are no reason to compare them all with each other.
        if !is_repeated && same.len() < COMPARED_MAX {
            same.push(index);
        }
    }
    let mut repeated = repeated.into_iter();
    spans.retain(|_| !repeated.next().unwrap_or(false));
}

/// Spans with one id that are compared.
const COMPARED_MAX: usize = 4;

/// Whether a trace is whole, as far as its spans say it.
pub fn completeness_of(tree: &TraceTree<'_>) -> Completeness {
    let roots = tree.roots().count();
    let orphans = tree.orphans().len();
    let mut wrong = Vec::new();
    match roots {
        1 => {}
        0 => wrong.push("no root".to_owned()),
        _ => wrong.push(format!("{roots} roots")),
    }
    if orphans > 0 {
        wrong.push(format!("{orphans} spans whose parent is not there"));
    }
    if !tree.circles().is_empty() {
        wrong.push("parents in a circle".to_owned());
    }
    if wrong.is_empty() {
        Completeness::Complete
    } else {
        Completeness::Incomplete(wrong.join(", "))
    }
}

/// Memory that a span takes, about. What it shares with others is not counted.
pub fn span_bytes(span: &TraceSpan) -> usize {
    let texts = [
        &span.span_id,
        &span.scope,
        &span.name,
        &span.operation,
        &span.status_message,
    ];
    let parent = span.parent_span_id.as_ref().map_or(0, |id| id.len());
    let events = span
        .events
        .iter()
        .map(|event| size_of_val(event) + event.name.len() + attributes_bytes(&event.attributes));
    let links = span
        .links
        .iter()
        .map(|link| size_of_val(link) + link.trace_id.len() + link.span_id.len());
    size_of_val(span)
        + parent
        + texts.map(|text| text.len()).iter().sum::<usize>()
        + attributes_bytes(&span.attributes)
        + events.sum::<usize>()
        + links.sum::<usize>()
}

fn attributes_bytes(attributes: &Attributes) -> usize {
    let bytes = attributes
        .iter()
        .map(|(key, value)| key.len() + value_bytes(value));
    attributes.len() * size_of::<Box<str>>() + bytes.sum::<usize>()
}

/// Readers take values of a hundred levels and a few at most, so this may recurse.
fn value_bytes(value: &AttributeValue) -> usize {
    let below = match value {
        AttributeValue::Bool(_) | AttributeValue::Int(_) | AttributeValue::Float(_) => 0,
        AttributeValue::Text(text) => text.len(),
        AttributeValue::List(values) => values.iter().map(value_bytes).sum(),
        AttributeValue::Map(values) => map_bytes(values),
    };
    size_of::<AttributeValue>() + below
}

fn map_bytes(values: &BTreeMap<Box<str>, AttributeValue>) -> usize {
    let bytes = values
        .iter()
        .map(|(key, value)| key.len() + size_of_val(key) + value_bytes(value));
    bytes.sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::span::SpanKind::{Client, Internal, Server};
    use crate::trace::fixture::span;

    fn completeness(spans: Vec<TraceSpan>) -> Completeness {
        assemble("t".into(), spans, None).0.completeness
    }

    fn incomplete(why: &str) -> Completeness {
        Completeness::Incomplete(why.to_owned())
    }

    #[test]
    fn spans_come_together_by_trace_id_and_stand_by_start_with_parents_first() {
        let mut assembler = TraceAssembler::new(1 << 20);
        assembler.add("later".into(), span("x", "", "a", Server, (50, 60)));
        for (id, parent, times) in [
            ("c", "b", (10, 11)),
            ("b", "a", (10, 12)),
            ("d", "a", (9, 12)),
            ("a", "", (9, 30)),
        ] {
            assembler.add("first".into(), span(id, parent, "a", Internal, times));
        }
        assembler.add("".into(), span("y", "", "a", Server, (1, 2)));
        let assembled = assembler.finish();
        let ids: Vec<&str> = assembled
            .traces
            .iter()
            .map(|trace| &*trace.trace_id)
            .collect();
        assert_eq!(ids, ["first", "later"]);
        let spans = assembled.traces[0].spans.iter();
        assert_eq!(
            spans.map(|span| &*span.span_id).collect::<Vec<_>>(),
            ["a", "d", "b", "c"]
        );
        assert_eq!(assembled.traces[0].completeness, Completeness::Complete);
        assert_eq!(assembled.spans_without_trace_id, 1);
        assert_eq!((assembled.left_out_spans, assembled.kept_ratio), (0, 1.0));
    }

    #[test]
    fn a_trace_is_complete_with_one_root_and_all_parents() {
        let root = || span("a", "", "x", Server, (0, 9));
        let child = |parent| span("b", parent, "x", Client, (1, 2));
        assert_eq!(
            completeness(vec![root(), child("a")]),
            Completeness::Complete
        );
        assert_eq!(
            completeness(vec![root(), child("gone")]),
            incomplete("1 spans whose parent is not there")
        );
        assert_eq!(
            completeness(vec![child("gone")]),
            incomplete("no root, 1 spans whose parent is not there")
        );
        assert_eq!(completeness(vec![root(), child("")]), incomplete("2 roots"));
        assert_eq!(
            completeness(vec![
                root(),
                span("b", "c", "x", Internal, (1, 2)),
                span("c", "b", "x", Internal, (1, 2))
            ]),
            incomplete("parents in a circle")
        );
    }

    #[test]
    fn what_is_sent_again_stands_once() {
        let root = span("a", "", "x", Server, (0, 9));
        let other = span("a", "", "y", Server, (0, 9));
        let mut assembler = TraceAssembler::new(1 << 20);
        for span in [&root, &other, &root, &root] {
            assembler.add("t".into(), span.clone());
        }
        let assembled = assembler.finish();
        assert_eq!(assembled.repeated_spans, 2);
        assert_eq!(assembled.traces[0].spans, [root, other]);
    }

    #[test]
    fn one_trace_cannot_take_all_the_memory() {
        let mut assembler = TraceAssembler::new(40_000);
        for index in 0..1_000 {
            let id = index.to_string();
            assembler.add("large".into(), span(&id, "", "x", Internal, (index, index)));
        }
        assembler.add("small".into(), span("a", "", "x", Server, (0, 1)));
        let assembled = assembler.finish();
        let [large, small] = &assembled.traces[..] else {
            panic!("{assembled:?}")
        };
        let left_out = assembled.left_out_spans;
        assert_eq!(large.spans.len() as u64 + left_out, 1_000);
        let why = format!("{left_out} spans more than one trace may take of the memory");
        assert_eq!(large.completeness, incomplete(&why));
        assert_eq!(small.completeness, Completeness::Complete);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Whole traces are left out, never parts of one, and nothing is lost from the count.
        #[test]
        fn property_a_full_memory_keeps_whole_traces(
            ids in prop::collection::vec(0..200_u32, 200..400),
        ) {
            let max_bytes = 40_000;
            let mut assembler = TraceAssembler::new(max_bytes);
            let mut counts: HashMap<String, usize> = HashMap::new();
            for (index, id) in ids.iter().enumerate() {
                let id = format!("trace-{id}");
                assembler.add(id.as_str().into(), span(&index.to_string(), "", "x", Internal, (0, 1)));
                *counts.entry(id).or_default() += 1;
                prop_assert!(assembler.bytes() <= max_bytes);
            }
            let assembled = assembler.finish();
            let mut kept = 0;
            for trace in &assembled.traces {
                prop_assert_eq!(trace.spans.len(), counts[&*trace.trace_id]);
                kept += trace.spans.len();
            }
            prop_assert!(assembled.left_out_spans > 0 && assembled.kept_ratio < 1.0);
            prop_assert_eq!(kept as u64 + assembled.left_out_spans, ids.len() as u64);
        }
    }
}
