//! What a test checks: specs, edges, repeats, events, order, errors.

use super::reader::{Fields, Reader};
use super::{
    Check, CheckKind, CompletenessRule, EdgePattern, ErrorRule, Incomplete, Over, Relation,
};
use crate::evaluator::statistics::{CONFIDENCE_MAX, CONFIDENCE_MIN};
use crate::openslo::tree::Node;

/// The checks of a test in the order of this list, those of its completeness rule first.
pub(super) fn checks(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    complete: &CompletenessRule,
) -> Vec<Check> {
    let over = fields.get("over").and_then(|node| over(reader, node));
    let mut list = List {
        checks: Vec::new(),
        over,
    };
    if let Some(node) = fields.get("complete") {
        let line = node.mark.line;
        if complete.incomplete == Incomplete::Fail {
            list.push("complete", "the trace is whole", line, CheckKind::Whole);
        }
        if let Some(expect) = &complete.expect {
            let kind = CheckKind::Expected(expect.clone());
            list.push("complete", &format!("expect {}", expect.text), line, kind);
        }
    }
    let own_checks = list.checks.len();
    for node in fields.items("specs") {
        spec(reader, node, &mut list);
    }
    edges(reader, fields, &mut list);
    for node in fields.items("n_plus_one") {
        repeats(reader, node, &mut list);
    }
    for node in fields.items("events") {
        events(reader, node, &mut list);
    }
    for node in fields.items("order") {
        order(reader, node, &mut list);
    }
    errors(reader, fields, &mut list);
    // A completeness rule alone is no test.
    if list.checks.len() == own_checks && complete.expect.is_none() {
        list.checks.clear();
    }
    list.checks
}

struct List {
    checks: Vec<Check>,
    over: Option<Over>,
}

impl List {
    fn push(&mut self, group: &str, name: &str, line: u32, kind: CheckKind) {
        self.checks.push(Check {
            group: group.to_owned(),
            name: name.to_owned(),
            line,
            kind,
            over: self.over,
        });
    }
}

fn spec(reader: &mut Reader<'_>, node: &Node, list: &mut List) {
    let what = "a spec";
    let allowed = ["name", "selector", "assertions", "optional", "over"];
    let Some(fields) = reader.fields(what, node, &allowed) else {
        return;
    };
    let selector = reader.optional_selector(&fields, "selector");
    let name = reader.optional_text(&fields, "name");
    let optional = reader.boolean(&fields, "optional");
    let own = fields.get("over").and_then(|node| over(reader, node));
    let group = name.unwrap_or_else(|| {
        let selector = selector.as_ref();
        selector.map_or("every span".to_owned(), |selector| selector.text.clone())
    });
    let assertions = fields.items("assertions");
    if assertions.is_empty() {
        reader.report(fields.mark, "a spec needs `assertions`, a list of texts");
    }
    for node in assertions {
        if let Some(assertion) = reader.assertion(node) {
            list.checks.push(Check {
                group: group.clone(),
                name: assertion.text.clone(),
                line: node.mark.line,
                kind: CheckKind::Assertion {
                    selector: selector.clone(),
                    assertion,
                    optional,
                },
                over: own.or(list.over),
            });
        }
    }
}

fn edges(reader: &mut Reader<'_>, fields: &Fields<'_>, list: &mut List) {
    let Some(node) = fields.get("edges") else {
        return;
    };
    let Some(fields) = reader.fields("`edges`", node, &["require", "forbid", "only"]) else {
        return;
    };
    for (key, required) in [("require", true), ("forbid", false)] {
        for node in fields.items(key) {
            if let Some(edge) = edge(reader, node) {
                let name = format!("{key} {} -> {}", edge.from, edge.to);
                let kind = CheckKind::Edge { edge, required };
                list.push("edges", &name, node.mark.line, kind);
            }
        }
    }
    let mut only = Vec::new();
    for node in fields.items("only") {
        only.extend(edge(reader, node));
    }
    if let Some(node) = fields.get("only") {
        let kind = CheckKind::OnlyEdges(only);
        list.push("edges", "no other edges", node.mark.line, kind);
    }
}

fn edge(reader: &mut Reader<'_>, node: &Node) -> Option<EdgePattern> {
    let text = reader.text("an edge", node)?;
    let parts = text.split_once("->");
    let parts = parts.map(|(from, to)| (from.trim().to_owned(), to.trim().to_owned()));
    match parts {
        Some((from, to)) if !from.is_empty() && !to.is_empty() => Some(EdgePattern { from, to }),
        Some(_) | None => {
            let message = format!(
                "`{text}` is no edge; write CALLER -> CALLEE, for example \"checkout -> payment\", `*` for any letters"
            );
            reader.report(node.mark, message);
            None
        }
    }
}

fn repeats(reader: &mut Reader<'_>, node: &Node, list: &mut List) {
    let what = "`n_plus_one`";
    let Some(fields) = reader.fields(what, node, &["max", "selector"]) else {
        return;
    };
    let selector = reader.optional_selector(&fields, "selector");
    let Some(max) = reader.count(&fields, "max") else {
        if fields.get("max").is_none() {
            let message = "`n_plus_one` needs the field `max`: the most alike calls of one parent";
            reader.report(fields.mark, message);
        }
        return;
    };
    let of = selector.as_ref();
    let of = of.map_or(String::new(), |selector| format!(" of {}", selector.text));
    let name = format!("at most {max} alike calls{of} of one parent");
    let kind = CheckKind::Repeats { selector, max };
    list.push("n_plus_one", &name, node.mark.line, kind);
}

fn events(reader: &mut Reader<'_>, node: &Node, list: &mut List) {
    let what = "an item of `events`";
    let allowed = ["selector", "sequence", "exact", "forbid", "optional"];
    let Some(fields) = reader.fields(what, node, &allowed) else {
        return;
    };
    let mut texts = |key| {
        let items = fields.items(key);
        let texts = items
            .iter()
            .filter_map(|node| reader.text("an event", node));
        texts.collect::<Vec<String>>()
    };
    let (sequence, forbid) = (texts("sequence"), texts("forbid"));
    if sequence.is_empty() && forbid.is_empty() {
        reader.report(
            fields.mark,
            "an item of `events` needs `sequence` or `forbid`, names of events",
        );
    }
    let (exact, optional) = (
        reader.boolean(&fields, "exact"),
        reader.boolean(&fields, "optional"),
    );
    let Some(selector) = reader.required_selector(&fields, what, "selector") else {
        return;
    };
    let mut said = Vec::new();
    if !sequence.is_empty() {
        let alone = if exact { " alone" } else { "" };
        said.push(format!("{}{alone}", sequence.join(", ")));
    }
    if !forbid.is_empty() {
        said.push(format!("never {}", forbid.join(", ")));
    }
    let name = format!("{}: {}", selector.text, said.join("; "));
    let kind = CheckKind::Events {
        selector,
        sequence,
        exact,
        forbid,
        optional,
    };
    list.push("events", &name, node.mark.line, kind);
}

fn order(reader: &mut Reader<'_>, node: &Node, list: &mut List) {
    let what = "an item of `order`";
    let allowed = ["first", "then", "overlap", "apart", "tolerance", "optional"];
    let Some(fields) = reader.fields(what, node, &allowed) else {
        return;
    };
    let tolerance = reader.duration(&fields, "tolerance").unwrap_or(0);
    let optional = reader.boolean(&fields, "optional");
    let is_there = |key| fields.get(key).is_some();
    let (relation, nodes) = match (
        is_there("first") || is_there("then"),
        is_there("overlap"),
        is_there("apart"),
    ) {
        (true, false, false) => {
            let pair = fields.get("first").zip(fields.get("then"));
            (Relation::Before, pair.map(|(first, then)| [first, then]))
        }
        (false, true, false) => (Relation::Overlap, pair(&fields, "overlap")),
        (false, false, true) => (Relation::Apart, pair(&fields, "apart")),
        _ => (Relation::Before, None),
    };
    let Some([left, right]) = nodes else {
        let message = "an item of `order` is {first: A, then: B}, {overlap: [A, B]} or {apart: [A, B]}, \
                       with selectors A and B";
        reader.report(fields.mark, message);
        return;
    };
    let (left, right) = (reader.selector(left), reader.selector(right));
    let (Some(left), Some(right)) = (left, right) else {
        return;
    };
    let word = match relation {
        Relation::Before => "before",
        Relation::Overlap => "overlaps",
        Relation::Apart => "apart from",
    };
    let name = format!("{} {word} {}", left.text, right.text);
    let kind = CheckKind::Order {
        relation,
        left,
        right,
        tolerance,
        optional,
    };
    list.push("order", &name, node.mark.line, kind);
}

fn pair<'n>(fields: &Fields<'n>, key: &str) -> Option<[&'n Node; 2]> {
    match fields.items(key) {
        [left, right] => Some([left, right]),
        _ => None,
    }
}

fn errors(reader: &mut Reader<'_>, fields: &Fields<'_>, list: &mut List) {
    let Some(node) = fields.get("errors") else {
        return;
    };
    let rules = [
        ("surface", ErrorRule::Surface),
        ("contain", ErrorRule::Contain),
        ("forbid", ErrorRule::Forbid),
    ];
    let allowed = rules.map(|(key, _)| key);
    let Some(fields) = reader.fields("`errors`", node, &allowed) else {
        return;
    };
    for (key, rule) in rules {
        for node in fields.items(key) {
            if let Some(selector) = reader.selector(node) {
                let name = format!("{key} {}", selector.text);
                let kind = CheckKind::Errors { rule, selector };
                list.push("errors", &name, node.mark.line, kind);
            }
        }
    }
}

fn over(reader: &mut Reader<'_>, node: &Node) -> Option<Over> {
    let allowed = ["traces", "window", "pass_rate", "confidence"];
    let fields = reader.fields("`over`", node, &allowed)?;
    let traces = reader.count(&fields, "traces").unwrap_or(1).max(1);
    let window = reader.duration(&fields, "window");
    let confidence = reader.number(&fields, "confidence");
    if confidence.is_some_and(|confidence| !(CONFIDENCE_MIN..=CONFIDENCE_MAX).contains(&confidence))
    {
        let mark = fields
            .get("confidence")
            .map_or(fields.mark, |node| node.mark);
        let message = format!("`confidence` must be between {CONFIDENCE_MIN} and {CONFIDENCE_MAX}");
        reader.report(mark, message);
    }
    let pass_rate = match fields.get("pass_rate") {
        None => 1.0,
        Some(node) => {
            let text = reader.text("pass_rate", node)?;
            let Some(ratio) = ratio(&text) else {
                let message = format!("`{text}` is no pass rate; write \">= 99%\", 99% or 0.99");
                reader.report(node.mark, message);
                return None;
            };
            ratio
        }
    };
    if pass_rate >= 1.0 && confidence.is_some() {
        let message = "no number of traces shows that all pass with a confidence below 1; \
                       lower `pass_rate`, or leave `confidence` out";
        reader.report(fields.mark, message);
    }
    Some(Over {
        traces,
        window,
        pass_rate,
        confidence,
    })
}

/// `>= 99%`, `99%` or `0.99`.
fn ratio(text: &str) -> Option<f64> {
    let text = text.trim().trim_start_matches(">=").trim();
    let ratio = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().ok()? / 100.0,
        None => text.parse().ok()?,
    };
    (ratio > 0.0 && ratio <= 1.0).then_some(ratio)
}
