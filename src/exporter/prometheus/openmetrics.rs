//! The same page in OpenMetrics 1.0, with exemplars.
//!
//! Pure: a page of the text format 0.0.4 in, one of OpenMetrics out. Counters lose `_total` in their family's name, edges
//! of buckets are written as floats, units are said, and the caller ends the page with [`EOF`].

use std::collections::HashMap;
use std::fmt::Write;

use super::{
    Labels, LadderEdges, REQUEST_DURATION, REQUESTS, SLO_EVENTS, service_labels, slo_labels,
};
use crate::model::report::Report;
use crate::model::slo::Sli;
use crate::model::span::Outcome;
use crate::model::{NANOS_PER_SEC, UnixNanos};
use crate::trace::buffer::{TraceEntry, TraceSummary};

/// Content type of the page.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The last line of a page.
pub const EOF: &str = "# EOF\n";

/// Units that the end of a family's name says.
const UNITS: [&str; 3] = ["seconds", "bytes", "ratio"];

/// Traces that stand for samples: by the sample as the text format writes it, name and labels.
#[derive(Debug, Default)]
pub struct Exemplars(HashMap<String, Exemplar>);

#[derive(Debug)]
struct Exemplar {
    trace_id: Box<str>,
    value: f64,
    at: UnixNanos,
}

impl Exemplars {
    /// The newest event of each sample, of those that the report has counted.
    pub fn new<'a>(traces: impl IntoIterator<Item = &'a TraceSummary>, report: &Report) -> Self {
        let mut exemplars = Self::default();
        let edges = LadderEdges::new();
        for trace in traces {
            for entry in trace.entries.iter().filter(|entry| entry.end <= report.now) {
                exemplars.add(trace, entry, report, &edges);
            }
        }
        exemplars
    }

    fn add(
        &mut self,
        trace: &TraceSummary,
        entry: &TraceEntry,
        report: &Report,
        edges: &LadderEdges,
    ) {
        let outcome = match entry.outcome {
            Outcome::Ok => "ok",
            Outcome::Error => "error",
        };
        let of_operation = labels(entry, &entry.operation, entry.kind.label(), outcome);
        let of_service = labels(entry, "", "", outcome);
        let le = edges.pair_of(entry.duration_nanos);
        for labels in [&of_operation, &of_service] {
            self.put(
                format!("{REQUEST_DURATION}_bucket{{{}{le}}}", labels.0),
                trace,
                entry,
            );
        }
        if entry.outcome == Outcome::Error {
            self.put(format!("{REQUESTS}{{{}}}", of_operation.0), trace, entry);
        }
        for status in &report.baseline_evaluations {
            let objective = &status.objective;
            let operation = objective.operation.as_deref();
            let is_bad = match objective.sli {
                Sli::Availability | Sli::ErrorRate => entry.outcome == Outcome::Error,
                Sli::Latency { threshold_micros } => {
                    entry.outcome == Outcome::Ok && entry.duration_nanos / 1_000 > threshold_micros
                }
            };
            if is_bad
                && objective.selects(&entry.service)
                && operation.is_none_or(|operation| *operation == *entry.operation)
            {
                let labels = slo_labels(&objective.name, &objective.service).and("result", "bad");
                self.put(format!("{SLO_EVENTS}{{{}}}", labels.0), trace, entry);
            }
        }
    }

    fn put(&mut self, sample: String, trace: &TraceSummary, entry: &TraceEntry) {
        let exemplar = Exemplar {
            trace_id: trace.trace_id.clone(),
            value: entry.duration_nanos as f64 / NANOS_PER_SEC as f64,
            at: entry.end,
        };
        match self.0.get_mut(&sample) {
            Some(held) if held.at >= exemplar.at => {}
            Some(held) => *held = exemplar,
            None => {
                self.0.insert(sample, exemplar);
            }
        }
    }

    fn write(&self, page: &mut String, sample: &str) {
        if let Some(exemplar) = self.0.get(sample) {
            let (secs, millis) = (exemplar.at / NANOS_PER_SEC, exemplar.at / 1_000_000 % 1_000);
            // Writing to a string does not fail.
            write!(
                page,
                " # {{trace_id=\"{}\"}} {} {secs}.{millis:03}",
                exemplar.trace_id,
                float(exemplar.value)
            )
            .unwrap_or(());
        }
    }
}

fn labels(entry: &TraceEntry, operation: &str, kind: &str, outcome: &str) -> Labels {
    let labels = service_labels(&entry.service).and("operation", operation);
    labels.and("kind", kind).and("outcome", outcome)
}

/// Writes families of the text format as OpenMetrics has them. [`EOF`] is left to the caller.
pub fn translate(text: &str, exemplars: &Exemplars) -> String {
    let mut page = String::with_capacity(text.len() + text.len() / 8);
    let mut help = ("", "");
    let mut is_histogram = false;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').unwrap_or((rest, ""));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "unknown"));
            is_histogram = kind == "histogram";
            begin_family(&mut page, name, kind, help);
        } else if !line.is_empty() {
            sample(&mut page, line, is_histogram, exemplars);
        }
    }
    page
}

fn begin_family(page: &mut String, name: &str, kind: &str, (help_of, help): (&str, &str)) {
    let (family, kind) = match kind {
        "counter" => (name.strip_suffix("_total").unwrap_or(name), kind),
        "gauge" => match name.strip_suffix("_info") {
            Some(family) => (family, "info"),
            None => (name, kind),
        },
        "untyped" => (name, "unknown"),
        _ => (name, kind),
    };
    let mut line = |what: &str, text: &str| {
        for part in ["# ", what, " ", family, " ", text, "\n"] {
            page.push_str(part);
        }
    };
    line("TYPE", kind);
    let unit = UNITS.iter().find(|unit| {
        let before = family.strip_suffix(**unit);
        before.is_some_and(|before| before.ends_with('_'))
    });
    if let Some(unit) = unit {
        line("UNIT", unit);
    }
    if help_of == name && !help.is_empty() {
        line("HELP", &quoted(help));
    }
}

/// Quotation marks are escaped here, and not in the text format.
fn quoted(help: &str) -> String {
    let mut quoted = String::with_capacity(help.len());
    let mut is_escaped = false;
    for character in help.chars() {
        if character == '"' && !is_escaped {
            quoted.push('\\');
        }
        is_escaped = character == '\\' && !is_escaped;
        quoted.push(character);
    }
    quoted
}

fn sample(page: &mut String, line: &str, is_histogram: bool, exemplars: &Exemplars) {
    // A space within quotation marks is never the last one.
    let (sample, value) = line.rsplit_once(' ').unwrap_or((line, ""));
    let edge = is_histogram.then(|| split_edge(sample)).flatten();
    match edge {
        Some((before, edge, after)) if edge.parse::<u64>().is_ok() => {
            for part in [before, edge, ".0", after] {
                page.push_str(part);
            }
        }
        Some(_) | None => page.push_str(sample),
    }
    page.push(' ');
    page.push_str(value);
    exemplars.write(page, sample);
    page.push('\n');
}

/// The value of `le`, the last label, and what stands before and after it.
fn split_edge(sample: &str) -> Option<(&str, &str, &str)> {
    const LE: &str = "le=\"";
    let begin = sample.rfind(LE)? + LE.len();
    let (before, rest) = sample.split_at_checked(begin)?;
    let (edge, after) = rest.split_at_checked(rest.find('"')?)?;
    Some((before, edge, after))
}

/// A number as a float: with a point.
fn float(number: f64) -> String {
    let text = number.to_string();
    if text.contains('.') {
        text
    } else {
        format!("{text}.0")
    }
}
