//! A trace as others read it: in the shape of OTLP/JSON, and as a tree for people.

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::model::one_line;
use crate::model::span::Outcome;
use crate::model::trace::{
    AttributeValue, Attributes, Completeness, StatusCode, Trace, TraceResource, TraceSpan,
};
use crate::trace::tree::TraceTree;

/// Lines of a tree of a whole trace; further spans are counted in the last one.
const LINES_MAX: usize = 5_000;

/// Deeper spans are not indented further.
const INDENTED_DEPTH_MAX: usize = 60;

/// The tree, a line a span with its mark before it and indented below its parent; spans of which `line_of` says nothing,
/// and those beyond `lines_max`, are counted at the end.
pub fn draw(
    tree: &TraceTree<'_>,
    lines_max: usize,
    line_of: impl Fn(usize, &TraceSpan) -> Option<(char, String)>,
) -> String {
    let mut text = String::new();
    let (mut lines, mut omitted) = (0, 0);
    for (index, depth) in tree.depth_first() {
        let Some(span) = tree.span(index) else {
            continue;
        };
        let Some((mark, line)) = line_of(index, span).filter(|_| lines < lines_max) else {
            omitted += 1;
            continue;
        };
        lines += 1;
        let indent = "  ".repeat(depth.min(INDENTED_DEPTH_MAX));
        // Spans say what they like. Writing to a string does not fail.
        writeln!(text, "{mark} {indent}{}", one_line(&line)).unwrap_or(());
    }
    if omitted > 0 {
        writeln!(text, "  … {omitted} more spans").unwrap_or(());
    }
    text
}

/// The trace as an `ExportTraceServiceRequest` of OTLP/JSON, which every command reads again.
pub fn otlp_json(trace: &Trace) -> Value {
    let same = |left: &TraceSpan, right: &TraceSpan| {
        Arc::ptr_eq(&left.resource, &right.resource) && left.scope == right.scope
    };
    let groups = trace.spans.chunk_by(same).map(|spans| {
        let (resource, scope) = spans.first().map_or((Value::Null, ""), |span| {
            (resource_json(&span.resource), &*span.scope)
        });
        let spans: Vec<Value> = spans.iter().map(|span| span_json(trace, span)).collect();
        json!({"resource": resource, "scopeSpans": [{"scope": {"name": scope}, "spans": spans}]})
    });
    json!({"resourceSpans": groups.collect::<Vec<Value>>()})
}

fn resource_json(resource: &TraceResource) -> Value {
    let mut attributes = attributes_json(&resource.attributes);
    // Where the service stood somewhere else, as in flat lists and in Zipkin's.
    let said = [
        ("service.name", &*resource.service.name),
        ("service.namespace", &*resource.service.namespace),
        (
            "deployment.environment.name",
            &*resource.service.environment,
        ),
        ("service.version", &*resource.version),
    ];
    for (key, value) in said {
        let old = key
            .strip_suffix(".name")
            .filter(|_| key.starts_with("deployment"));
        let mut keys = resource.attributes.iter().map(|(key, _)| &**key);
        if !value.is_empty() && !keys.any(|held| held == key || Some(held) == old) {
            attributes.push(json!({"key": key, "value": {"stringValue": value}}));
        }
    }
    json!({"attributes": attributes})
}

fn span_json(trace: &Trace, span: &TraceSpan) -> Value {
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| {
        members.insert(name.to_owned(), value);
    };
    put("traceId", json!(trace.trace_id));
    put("spanId", json!(span.span_id));
    if let Some(parent) = &span.parent_span_id {
        put("parentSpanId", json!(parent));
    }
    if let Some(trace_state) = trace_state(span.weight) {
        put("traceState", json!(trace_state));
    }
    put("name", json!(span.name));
    put("kind", json!(span.kind.number()));
    put("startTimeUnixNano", json!(span.start.to_string()));
    put("endTimeUnixNano", json!(span.end.to_string()));
    put(
        "attributes",
        Value::Array(attributes_json(&span.attributes)),
    );
    if !span.events.is_empty() {
        let events = span.events.iter().map(|event| {
            json!({
                "timeUnixNano": event.at.to_string(),
                "name": event.name,
                "attributes": attributes_json(&event.attributes),
            })
        });
        put("events", Value::Array(events.collect()));
    }
    if !span.links.is_empty() {
        let links = span.links.iter();
        let links = links.map(|link| json!({"traceId": link.trace_id, "spanId": link.span_id}));
        put("links", Value::Array(links.collect()));
    }
    let code = match span.status {
        StatusCode::Unset => 0,
        StatusCode::Ok => 1,
        StatusCode::Error => 2,
    };
    put(
        "status",
        json!({"code": code, "message": span.status_message}),
    );
    Value::Object(members)
}

/// What says the weight of a sampled span; nothing where every span arrives.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and 2⁵⁶"
)]
fn trace_state(weight: f64) -> Option<String> {
    let all = (1_u64 << 56) as f64;
    (weight > 1.0).then(|| {
        let threshold = (all * (1.0 - 1.0 / weight)) as u64;
        let digits = format!("{threshold:014x}");
        let digits = digits.trim_end_matches('0');
        format!("ot=th:{}", if digits.is_empty() { "0" } else { digits })
    })
}

fn attributes_json(attributes: &Attributes) -> Vec<Value> {
    let pairs = attributes.iter();
    let pairs = pairs.map(|(key, value)| json!({"key": key, "value": value_json(value)}));
    pairs.collect()
}

/// Readers take values of a hundred levels and a few at most, so this may recurse.
fn value_json(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::Bool(value) => json!({"boolValue": value}),
        AttributeValue::Int(number) => json!({"intValue": number.to_string()}),
        AttributeValue::Float(number) if number.is_finite() => json!({"doubleValue": number}),
        AttributeValue::Float(number) => {
            let name = match (number.is_nan(), *number > 0.0) {
                (true, _) => "NaN",
                (false, true) => "Infinity",
                (false, false) => "-Infinity",
            };
            json!({"doubleValue": name})
        }
        AttributeValue::Text(text) => json!({"stringValue": text}),
        AttributeValue::List(values) => {
            let values: Vec<Value> = values.iter().map(value_json).collect();
            json!({"arrayValue": {"values": values}})
        }
        AttributeValue::Map(values) => {
            let values = values.iter();
            let values: Vec<Value> = values
                .map(|(key, value)| json!({"key": key, "value": value_json(value)}))
                .collect();
            json!({"kvlistValue": {"values": values}})
        }
    }
}

/// The tree for people: each span with its start after the first one, its duration, what it took itself, and whether the
/// root's end waited for it (`*`).
pub fn tree_text(trace: &Trace) -> String {
    let tree = TraceTree::new(trace);
    let start = trace.spans.iter().map(|span| span.start).min().unwrap_or(0);
    let path = tree.root().map(|root| tree.critical_path(root));
    let on_path: HashSet<usize> = path.iter().flatten().map(|segment| segment.span).collect();
    let mut text = format!("trace {}, {} spans, ", trace.trace_id, trace.spans.len());
    // Writing to a string does not fail.
    match &trace.completeness {
        Completeness::Complete => text.push_str("complete\n"),
        Completeness::Incomplete(why) => writeln!(text, "incomplete: {why}").unwrap_or(()),
    }
    text + &draw(&tree, LINES_MAX, |index, span| {
        let mark = if on_path.contains(&index) { '*' } else { ' ' };
        let (service, kind) = (&span.resource.service.name, span.kind.label());
        let times = [
            span.start.saturating_sub(start),
            span.duration_nanos(),
            tree.self_nanos(index),
        ];
        let [after, took, own] = times.map(millis);
        let failed = match (span.outcome, &*span.status_message) {
            (Outcome::Ok, _) => String::new(),
            (Outcome::Error, "") => " ERROR".to_owned(),
            (Outcome::Error, message) => format!(" ERROR: {message}"),
        };
        let operation = &span.operation;
        let line =
            format!("{operation} [{service} {kind}] +{after} took {took}, itself {own}{failed}");
        Some((mark, line))
    })
}

fn millis(nanos: u64) -> String {
    format!("{}.{:03} ms", nanos / 1_000_000, nanos / 1_000 % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::span::SpanKind::{Client, Server};
    use crate::trace::assemble::assemble;
    use crate::trace::fixture::{failed, span};

    fn page() -> Trace {
        let millis = 1_000_000;
        let mut call = failed(span(
            "get-user",
            "page",
            "web",
            Client,
            (10 * millis, 40 * millis),
        ));
        call.status_message = "it\nfailed".into();
        call.weight = 4.0;
        let spans = vec![
            span("page", "", "web", Server, (0, 100 * millis)),
            call,
            span(
                "lost",
                "nowhere",
                "users",
                Server,
                (12 * millis, 12 * millis + 1_500),
            ),
        ];
        assemble("t".into(), spans, None).0
    }

    #[test]
    fn the_tree_shows_times_errors_and_the_critical_path() {
        let wanted = "\
trace t, 3 spans, incomplete: 1 spans whose parent is not there
* page [web server] +0.000 ms took 100.000 ms, itself 70.000 ms
*   get-user [web client] +10.000 ms took 30.000 ms, itself 30.000 ms ERROR: it failed
  lost [users server] +12.000 ms took 0.001 ms, itself 0.001 ms
";
        assert_eq!(tree_text(&page()), wanted);
    }

    #[test]
    fn otlp_json_says_service_weight_and_status() {
        let json = otlp_json(&page());
        let spans = |group: usize| {
            json["resourceSpans"][group]["scopeSpans"][0]["spans"]
                .as_array()
                .unwrap()
                .clone()
        };
        let service = &json["resourceSpans"][2]["resource"]["attributes"][0];
        assert_eq!(service["value"]["stringValue"], "users");
        let call = &spans(1)[0];
        // A quarter of the traces arrives: 2⁵⁶·3/4 is `c` and zeros.
        assert_eq!(call["traceState"], "ot=th:c");
        assert_eq!(call["status"], json!({"code": 2, "message": "it\nfailed"}));
        assert_eq!(call["parentSpanId"], "page");
        assert_eq!(spans(0)[0].get("parentSpanId"), None);
    }

    #[test]
    fn weights_become_thresholds_and_back() {
        for (weight, wanted) in [
            (1.0, None),
            (2.0, Some("ot=th:8")),
            (1e9, Some("ot=th:fffffffb")),
        ] {
            let said = trace_state(weight);
            assert_eq!(said.is_some(), wanted.is_some());
            if let (Some(said), Some(wanted)) = (&said, wanted) {
                assert!(said.starts_with(wanted), "{said}");
            }
        }
    }
}
