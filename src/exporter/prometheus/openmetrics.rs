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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::exporter::prometheus::fixture;
    use crate::exporter::prometheus::render;
    use crate::model::report::SeriesCounters;
    use crate::model::series::ServiceKey;
    use crate::model::span::SpanKind;
    use crate::trace::assemble::assemble;
    use crate::trace::buffer::Reason;
    use crate::trace::fixture::{failed, span};

    const ID: &str = "0af7651916cd43dd8448eb211c80319c";

    /// A trace of one request to `checkout` that took so long and ended before the report.
    fn summary(duration_nanos: u64, has_failed: bool) -> TraceSummary {
        let end = fixture::report().now - 1_500_000_000;
        let mut made = span(
            "a",
            "",
            "checkout",
            SpanKind::Server,
            (end - duration_nanos, end),
        );
        made.operation = "GET /checkout".into();
        let made = if has_failed { failed(made) } else { made };
        let (trace, _) = assemble(ID.into(), vec![made], None);
        TraceSummary::new(&trace, Reason::Sampled).unwrap()
    }

    fn report() -> Report {
        let service = ServiceKey::named("checkout");
        let counters = fixture::counters(&service, "GET /checkout", (990.0, 10.0));
        let of_service = SeriesCounters {
            operation: String::new(),
            ..fixture::with_durations(counters.clone())
        };
        Report {
            operation_counters: vec![counters],
            service_counters: vec![of_service],
            ..fixture::report()
        }
    }

    fn page(traces: &[TraceSummary]) -> String {
        let report = report();
        translate(&render(&report), &Exemplars::new(traces, &report)) + EOF
    }

    /// A sample: its name with labels, value, exemplar.
    type Sample = (String, f64, Option<String>);

    /// Panics at what OpenMetrics does not allow: lines of unknown kinds, a family that comes twice or has no type,
    /// samples outside of their family or with a suffix that its type has not, exemplars elsewhere than at buckets and
    /// counters, edges that are no floats, anything after the end.
    fn parse(page: &str) -> BTreeMap<String, Vec<Sample>> {
        let body = page.strip_suffix(EOF).expect("the page ends");
        let mut families: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
        let (mut family, mut kind) = (String::new(), String::new());
        for line in body.lines() {
            if let Some(described) = line.strip_prefix("# ") {
                let (what, rest) = described.split_once(' ').unwrap();
                let (name, text) = rest.split_once(' ').unwrap();
                match what {
                    "TYPE" => {
                        assert!(
                            ["counter", "gauge", "histogram", "info"].contains(&text),
                            "{line}"
                        );
                        assert!(
                            !name.ends_with("_total") && !name.ends_with("_info"),
                            "{line}"
                        );
                        assert!(
                            families.insert(name.to_owned(), Vec::new()).is_none(),
                            "{line}"
                        );
                        (family, kind) = (name.to_owned(), text.to_owned());
                    }
                    "UNIT" => assert!(
                        family == name && name.ends_with(&format!("_{text}")),
                        "{line}"
                    ),
                    "HELP" => {
                        assert_eq!(name, family);
                        assert!(!text.replace("\\\"", "").contains('"'), "{line}");
                    }
                    _ => panic!("{line}"),
                }
                continue;
            }
            let (sample, exemplar) = match line.split_once(" # ") {
                Some((sample, exemplar)) => (sample, Some(exemplar.to_owned())),
                None => (line, None),
            };
            let (series, value) = sample.rsplit_once(' ').expect(line);
            let (name, _) = series.split_once('{').unwrap_or((series, ""));
            let suffix = name.strip_prefix(&family).expect(line);
            let allowed: &[&str] = match kind.as_str() {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                "info" => &["_info"],
                _ => &[""],
            };
            assert!(allowed.contains(&suffix), "{line}");
            assert!(
                exemplar.is_none() || ["_bucket", "_total"].contains(&suffix),
                "{line}"
            );
            if suffix == "_bucket" {
                let (_, edge, _) = split_edge(series).unwrap();
                assert!(edge == "+Inf" || edge.contains('.'), "{line}");
            }
            let sample = (series.to_owned(), value.parse().expect(line), exemplar);
            families.get_mut(&family).unwrap().push(sample);
        }
        for (name, samples) in &families {
            let series: BTreeSet<&String> = samples.iter().map(|sample| &sample.0).collect();
            assert_eq!(series.len(), samples.len(), "{name}");
        }
        families
    }

    #[test]
    fn the_page_says_the_same_as_the_text_format() {
        let text = render(&report());
        let families = parse(&page(&[]));
        let values: Vec<f64> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
            .collect();
        let mut translated: Vec<f64> = families.values().flatten().map(|sample| sample.1).collect();
        let mut wanted = values.clone();
        translated.sort_by(f64::total_cmp);
        wanted.sort_by(f64::total_cmp);
        assert_eq!(translated, wanted);
        assert!(
            families["slo_copilot_requests"]
                .iter()
                .all(|sample| sample.2.is_none())
        );
        let edges = &families["slo_copilot_request_duration_seconds"];
        assert!(edges.iter().any(|sample| sample.0.ends_with("le=\"1.0\"}")));
        assert!(
            edges
                .iter()
                .any(|sample| sample.0.ends_with("le=\"0.0005\"}"))
        );
    }

    #[test]
    fn errors_are_exemplars_of_requests_and_of_objectives() {
        let families = parse(&page(&[summary(20_000_000, true)]));
        let with = |family: &str| -> Vec<&Sample> {
            families[family]
                .iter()
                .filter(|sample| sample.2.is_some())
                .collect()
        };
        let wanted = format!("{{trace_id=\"{ID}\"}} 0.02 1789999998.500");
        let requests = with("slo_copilot_requests");
        assert_eq!(requests.len(), 1);
        assert!(
            requests[0].0.contains("outcome=\"error\""),
            "{}",
            requests[0].0
        );
        assert_eq!(requests[0].2.as_deref(), Some(wanted.as_str()));
        let events = with("slo_copilot_slo_events");
        assert_eq!(events.len(), 1);
        assert!(events[0].0.contains("result=\"bad\""));
        let buckets = with("slo_copilot_request_duration_seconds");
        assert_eq!(buckets.len(), 1);
        assert!(buckets[0].0.contains("le=\"0.02\""), "{}", buckets[0].0);
    }

    #[test]
    fn the_newest_trace_that_the_report_knows_stands_for_a_sample() {
        let (old, mut new, mut unknown) = (
            summary(20_000_000, true),
            summary(19_000_000, true),
            summary(18_000_000, true),
        );
        new.entries[0].end += 1_000;
        unknown.entries[0].end = report().now + 1;
        let families = parse(&page(&[old, new, unknown]));
        let exemplars = families["slo_copilot_requests"]
            .iter()
            .filter_map(|sample| sample.2.as_ref());
        let exemplars: Vec<&String> = exemplars.collect();
        assert!(
            exemplars.len() == 1 && exemplars[0].contains(" 0.019 "),
            "{exemplars:?}"
        );
    }

    #[test]
    fn quotation_marks_of_help_are_escaped_once_and_infos_are_infos() {
        let text = "# HELP a_total say \"x\" and \\\"y\\\"\n# TYPE a_total counter\na_total 1\n\n\
            # HELP b_info Of \\ the build.\n# TYPE b_info gauge\nb_info{version=\"a b\"} 1\n";
        let wanted = "# TYPE a counter\n# HELP a say \\\"x\\\" and \\\"y\\\"\na_total 1\n\
            # TYPE b info\n# HELP b Of \\ the build.\nb_info{version=\"a b\"} 1\n";
        assert_eq!(translate(text, &Exemplars::default()), wanted);
    }

    proptest! {
        #[test]
        fn property_an_exemplar_lies_within_its_bucket(duration_nanos in 0..100_000_000_000_u64, has_failed: bool) {
            let families = parse(&page(&[summary(duration_nanos, has_failed)]));
            let mut lower = 0.0_f64;
            let mut found = 0;
            for (series, _, exemplar) in &families["slo_copilot_request_duration_seconds"] {
                let Some((_, edge, _)) = split_edge(series).filter(|_| series.contains("_bucket")) else {
                    continue;
                };
                let upper: f64 = if edge == "+Inf" { f64::INFINITY } else { edge.parse().unwrap() };
                let begins_anew = upper < lower;
                if let Some(exemplar) = exemplar {
                    let value: f64 = exemplar.split(' ').nth(1).unwrap().parse().unwrap();
                    prop_assert!(value <= upper && (begins_anew || value >= lower), "{} {}", series, exemplar);
                    prop_assert!(exemplar.chars().count() <= 128);
                    found += 1;
                }
                lower = upper;
            }
            prop_assert_eq!(found, 1);
        }
    }
}
