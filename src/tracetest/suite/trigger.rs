//! Triggers: what makes a trace.

use super::reader::Reader;
use crate::openslo::tree::{Node, NodeValue};
use crate::tracetest::language::Expression;

/// What makes a trace.
#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// A request over HTTP.
    Http(HttpRequest),
    /// Another trigger of Tracetest, which only passive runs can do without.
    Other(String),
}

/// A request over HTTP; all texts may hold `${…}`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpRequest {
    /// `GET` where it is not said.
    pub method: String,
    /// Where to.
    pub url: Expression,
    /// Headers in their order.
    pub headers: Vec<(String, Expression)>,
    /// The body.
    pub body: Option<Expression>,
}

const OTHERS: [&str; 9] = [
    "grpc",
    "kafka",
    "graphql",
    "traceid",
    "cypress",
    "playwright",
    "playwrightengine",
    "k6",
    "artillery",
];

pub(super) fn trigger(reader: &mut Reader<'_>, node: &Node) -> Option<Trigger> {
    let what = "a trigger";
    let NodeValue::Map(_) = &node.value else {
        reader.fields(what, node, &["type", "httpRequest"]);
        return None;
    };
    let kind = node.get("type").and_then(Node::text).unwrap_or_default();
    if OTHERS.contains(&kind) {
        // What belongs to it is not ours to check.
        return Some(Trigger::Other(kind.to_owned()));
    }
    let fields = reader.fields(what, node, &["type", "httpRequest"])?;
    let kind = reader.required_text(&fields, what, "type");
    if kind != "http" {
        let mark = fields.get("type").map_or(fields.mark, |node| node.mark);
        let message = format!(
            "`{kind}` is no trigger; allowed are http, {}",
            OTHERS.join(", ")
        );
        reader.report(mark, message);
        return None;
    }
    let Some(node) = fields.get("httpRequest") else {
        reader.report(fields.mark, "an http trigger needs the field `httpRequest`");
        return None;
    };
    let what = "an http request";
    let fields = reader.fields(what, node, &["url", "method", "headers", "body"])?;
    let method = reader.optional_text(&fields, "method");
    let Some(url) = fields.get("url") else {
        reader.report(fields.mark, "an http request needs the field `url`");
        return None;
    };
    let url = reader.template("url", url);
    let headers = fields.get("headers");
    let headers = headers.map(|node| headers_of(reader, node));
    let body = fields.get("body");
    let body = body.and_then(|node| reader.template("body", node));
    Some(Trigger::Http(HttpRequest {
        method: method.unwrap_or_else(|| "GET".to_owned()).to_uppercase(),
        url: url?,
        headers: headers.unwrap_or_default(),
        body,
    }))
}

/// A list of keys and values, as Tracetest has them, or a map.
fn headers_of(reader: &mut Reader<'_>, node: &Node) -> Vec<(String, Expression)> {
    let mut headers = Vec::new();
    match &node.value {
        NodeValue::Map(entries) => {
            for entry in entries {
                let value = reader.template("the value of a header", &entry.node);
                headers.extend(value.map(|value| (entry.key.clone(), value)));
            }
        }
        NodeValue::List(items) => {
            for item in items {
                let what = "a header";
                let Some(fields) = reader.fields(what, item, &["key", "value"]) else {
                    continue;
                };
                let key = reader.required_text(&fields, what, "key");
                let value = fields.get("value");
                let value = value.and_then(|node| reader.template("the value of a header", node));
                headers.extend(value.map(|value| (key, value)));
            }
        }
        NodeValue::Scalar(_) => {
            reader.report(
                node.mark,
                "`headers` must be a map, or a list of {key, value}",
            );
        }
    }
    headers
}
