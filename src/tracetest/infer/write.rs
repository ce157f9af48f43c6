//! The suite as text, with comments that say where each number comes from.

use std::fmt::Write as _;

use super::observe::{Operation, SpanGroup};
use super::{
    ALIKE_CALLS_MIN, CONFIDENCE, COUNT_MARGIN, ERROR_MARGIN, ERRORS_MIN, LATENCY_MARGIN,
    error_pass_rate, latency_bound, structure_rate,
};
use crate::evaluator::verdict::timestamp;
use crate::model::one_line;
use crate::model::span::SpanKind;
use crate::tracetest::language::duration_text;

/// Nothing that is waited for is shorter, in nanoseconds.
const QUIET_MIN: u64 = 1_000_000_000;

/// Lines of text.
struct Text(String);

impl Text {
    fn line(&mut self, indent: usize, line: &str) {
        // Writing to a text cannot fail.
        let _written = writeln!(self.0, "{:indent$}{line}", "");
    }

    fn comment(&mut self, indent: usize, comment: &str) {
        self.line(indent, &format!("# {comment}"));
    }
}

pub(super) fn suite(
    operations: &[&Operation],
    left_out: &[(String, usize)],
    traces: usize,
    incomplete: usize,
) -> String {
    let mut text = Text(String::new());
    text.comment(
        0,
        &format!("Trace tests, written by `slo-copilot test init` from {traces} traces."),
    );
    text.comment(0, "Bounds hold with 95 % confidence for the traffic that was seen; the comments say how they were made.");
    text.comment(
        0,
        "Read it, take out what is chance, and tighten what you know better.",
    );
    if incomplete > 0 {
        text.comment(
            0,
            &format!("{incomplete} traces are not whole and were not looked at."),
        );
    }
    for (name, count) in left_out {
        text.comment(
            0,
            &format!(
                "Too seldom for a test: {} ({count} traces).",
                one_line(name)
            ),
        );
    }
    for operation in operations {
        structure(&mut text, operation);
        latency(&mut text, operation);
        errors(&mut text, operation);
    }
    text.0
}

fn head(text: &mut Text, operation: &Operation, subject: &str, answered: bool) {
    let (first, last) = (timestamp(operation.first), timestamp(operation.last));
    text.line(0, "---");
    text.line(0, "type: Test");
    text.line(0, "spec:");
    let name = format!("{}: {subject}", operation.label());
    text.line(2, &format!("name: {}", quoted(&name)));
    text.comment(
        2,
        &format!(
            "Seen in {} traces from {first:.0} to {last:.0}; {} of them failed.",
            operation.traces, operation.failed
        ),
    );
    text.line(
        2,
        &format!("for: {}", quoted(&root_selector(operation, answered))),
    );
}

fn structure(text: &mut Text, operation: &Operation) {
    let seen = operation.answered.len();
    let Some(rate) = structure_rate(seen) else {
        return;
    };
    head(text, operation, "structure", true);
    text.comment(
        2,
        &format!(
            "All of {seen} traces that were answered well are so; as many more can show at least {}.",
            percent(rate)
        ),
    );
    text.line(2, &over(rate));
    let (always, sometimes) = operation.groups();
    completeness(text, operation, &always);
    text.line(2, "specs:");
    for (group, least, most) in &always {
        count(text, operation, group, *least, *most);
    }
    for (group, most, traces) in &sometimes {
        text.comment(4, &format!("In {traces} of {seen} traces, {most} at most."));
        text.line(
            4,
            &format!("- selector: {}", quoted(&selector(operation, group))),
        );
        text.line(6, "optional: true");
        text.line(
            6,
            &format!("assertions: ['{COUNT} <= {}']", most * COUNT_MARGIN),
        );
    }
    edges(text, operation, seen);
    let repeats = operation.answered.iter().map(|trace| trace.repeats).max();
    let repeats = repeats.unwrap_or(0);
    let max = (repeats * COUNT_MARGIN).max(ALIKE_CALLS_MIN);
    text.comment(
        2,
        &format!(
            "One parent made {repeats} alike calls at most; {COUNT_MARGIN} times that, and at least {ALIKE_CALLS_MIN}."
        ),
    );
    text.line(2, &format!("n_plus_one: {{max: {max}}}"));
}

const COUNT: &str = "attr:tracetest.selected_spans.count";

fn count(text: &mut Text, operation: &Operation, group: &SpanGroup, least: u64, most: u64) {
    let selector = quoted(&selector(operation, group));
    if least == most {
        text.comment(4, &format!("{least} in every trace."));
        text.line(4, &format!("- selector: {selector}"));
        text.line(6, &format!("assertions: ['{COUNT} = {least}']"));
    } else {
        text.comment(
            4,
            &format!(
                "{least} to {most} a trace; at least one, at most {COUNT_MARGIN} times the most."
            ),
        );
        text.line(4, &format!("- selector: {selector}"));
        let most = most * COUNT_MARGIN;
        text.line(
            6,
            &format!("assertions: ['{COUNT} >= 1', '{COUNT} <= {most}']"),
        );
    }
}

/// What comes late is waited for.
fn completeness(text: &mut Text, operation: &Operation, always: &[(SpanGroup, u64, u64)]) {
    let gap = operation.answered.iter().map(|trace| trace.gap).max();
    let gap = gap.unwrap_or(0);
    let quiet = (gap * 3).max(QUIET_MIN).div_ceil(QUIET_MIN);
    text.comment(
        2,
        &format!(
            "Between two ends of spans of a trace lay {} at most; three times that, and at least 1s.",
            nanos(gap)
        ),
    );
    let mut late = always
        .iter()
        .filter(|(group, ..)| group.kind == SpanKind::Consumer);
    let expect = late.next().map_or(String::new(), |(group, ..)| {
        format!(", expect: {}", quoted(&selector(operation, group)))
    });
    text.line(
        2,
        &format!(
            "complete: {{quiet: {quiet}s, timeout: {}s{expect}}}",
            quiet * 10
        ),
    );
}

fn edges(text: &mut Text, operation: &Operation, seen: usize) {
    if operation.edges.is_empty() {
        return;
    }
    text.line(2, "edges:");
    let stable = operation.stable_edges();
    let list = |edges: &mut dyn Iterator<Item = &(String, String)>| {
        let edges = edges.map(|(from, to)| quoted(&format!("{from} -> {to}")));
        edges.collect::<Vec<_>>().join(", ")
    };
    if !stable.is_empty() {
        text.comment(4, &format!("In all of {seen} traces."));
        text.line(4, &format!("require: [{}]", list(&mut stable.iter())));
    }
    text.comment(4, "Every call of any trace; a new one is news.");
    text.line(4, &format!("only: [{}]", list(&mut operation.edges.iter())));
}

fn latency(text: &mut Text, operation: &Operation) {
    let mut groups = vec![operation.root.clone()];
    let (always, _) = operation.groups();
    let entries = always.into_iter().map(|(group, ..)| group);
    groups.extend(entries.filter(|group| group.is_entry() && *group != operation.root));
    let bounds: Vec<_> = groups
        .into_iter()
        .filter_map(|group| {
            let durations = operation.durations(&group);
            Some((latency_bound(&durations)?, durations.len(), group))
        })
        .collect();
    if bounds.is_empty() {
        return;
    }
    head(text, operation, "latency", true);
    text.line(2, "specs:");
    for (bound, seen, group) in bounds {
        text.comment(
            4,
            &format!(
                "p{:.0} is at most {} (rank {} of {seen}), times {LATENCY_MARGIN}; {} must keep it.",
                bound.quantile * 100.0,
                nanos(bound.bound),
                bound.rank,
                percent(bound.pass_rate),
            ),
        );
        text.line(
            4,
            &format!("- selector: {}", quoted(&selector(operation, &group))),
        );
        let limit = nanos(bound.limit);
        text.line(
            6,
            &format!("assertions: ['attr:tracetest.span.duration <= {limit}']"),
        );
        text.line(6, &over(bound.pass_rate));
    }
}

fn errors(text: &mut Text, operation: &Operation) {
    let rate = error_pass_rate(operation.failed, operation.traces);
    let of_kind = |surface: bool| {
        let places = operation.errors.iter().filter(move |(_, (seen, reached))| {
            *seen >= ERRORS_MIN && *reached == if surface { *seen } else { 0 }
        });
        places.collect::<Vec<_>>()
    };
    let (surfaced, contained) = (of_kind(true), of_kind(false));
    if let Some(rate) = rate {
        head(text, operation, "errors", false);
        text.comment(
            2,
            &format!(
                "{} of {} roots failed; the upper bound of that ratio, times {ERROR_MARGIN:.0}.",
                operation.failed, operation.traces
            ),
        );
        text.line(2, &over(rate));
        text.line(2, "specs:");
        let root = root_selector(operation, false);
        text.line(4, &format!("- selector: {}", quoted(&root)));
        text.line(6, "assertions: ['attr:tracetest.span.outcome = \"ok\"']");
    }
    if surfaced.is_empty() && contained.is_empty() {
        return;
    }
    head(text, operation, "what errors inside do", false);
    text.line(2, "errors:");
    for (word, done, places) in [
        ("surface", "reached the root", surfaced),
        ("contain", "stayed inside", contained),
    ] {
        if places.is_empty() {
            continue;
        }
        text.line(4, &format!("{word}:"));
        for (group, (seen, _)) in places {
            text.comment(6, &format!("All of {seen} errors here {done}."));
            text.line(6, &format!("- {}", quoted(&selector(operation, group))));
        }
    }
}

fn root_selector(operation: &Operation, answered: bool) -> String {
    let root = &operation.root;
    let key = if operation.is_name {
        "name"
    } else {
        "operation"
    };
    let answered = if answered {
        " tracetest.span.outcome=\"ok\""
    } else {
        ""
    };
    format!(
        "span[service.name={} {key}={} kind=\"{}\"{answered}]",
        literal(&root.service),
        literal(&root.operation),
        root.kind.label()
    )
}

fn selector(operation: &Operation, group: &SpanGroup) -> String {
    if *group == operation.root {
        return root_selector(operation, false);
    }
    format!(
        "span[service.name={} tracetest.span.operation={} kind=\"{}\"]",
        literal(&group.service),
        literal(&group.operation),
        group.kind.label()
    )
}

fn over(rate: f64) -> String {
    format!(
        "over: {{pass_rate: '>= {}', confidence: {CONFIDENCE}}}",
        percent(rate)
    )
}

fn percent(rate: f64) -> String {
    format!("{}%", (rate * 1_000.0).round() / 10.0)
}

fn nanos(nanos: u64) -> String {
    duration_text(nanos as f64)
}

/// A text of the language.
fn literal(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", one_line(&escaped))
}

/// A text of YAML.
fn quoted(text: &str) -> String {
    format!("'{}'", one_line(text).replace('\'', "''"))
}
