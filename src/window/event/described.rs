//! What the rules of events say about a span of any kind, for whole traces.

use crate::model::span::Outcome;
use crate::window::event::{EventRules, SpanInput, outcome_of, weight_of, write_operation};
use crate::window::operation::template;

/// A span by the rules of events.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// Templated operation.
    pub operation: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether it is an entry span.
    pub is_entry: bool,
    /// Adjusted count.
    pub weight: f64,
}

/// Describes a span of a service as the windows count it.
pub fn describe(span: &SpanInput<'_>, service: &[u8], rules: &EventRules) -> Described {
    let mut operation = Vec::new();
    write_operation(&mut operation, span);
    Described {
        operation: template(String::from_utf8_lossy(&operation).as_bytes()),
        outcome: outcome_of(span),
        is_entry: rules.entry_kinds.is_entry(span.kind, span.has_parent),
        weight: weight_of(span, &rules.weighing(service)),
    }
}
