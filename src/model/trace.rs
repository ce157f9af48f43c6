//! Whole traces: every span with all that it says. They are kept for a sample only; counts of them are never SLIs.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::UnixNanos;
use crate::model::series::ServiceKey;
use crate::model::span::{Outcome, SpanKind};

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AttributeValue {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text; bytes stand here in base64.
    Text(Box<str>),
    /// A list.
    List(Vec<Self>),
    /// Values by key.
    Map(BTreeMap<Box<str>, Self>),
}

impl AttributeValue {
    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::List(_) | Self::Map(_) => None,
        }
    }
}

/// Attributes in the order that the span has them; a key stands once, the last value holds.
pub type Attributes = Vec<(Box<str>, AttributeValue)>;

/// What reports spans.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceResource {
    /// The service.
    pub service: ServiceKey,
    /// Value of the attribute that tells versions apart; empty if not said.
    pub version: Box<str>,
    /// All its attributes.
    pub attributes: Attributes,
}

/// The status code of a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatusCode {
    /// Nothing said.
    #[default]
    Unset,
    /// Explicitly fine.
    Ok,
    /// An error.
    Error,
}

/// Something that happened during a span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpanEvent {
    /// When.
    pub at: UnixNanos,
    /// What, for example `exception`.
    pub name: Box<str>,
    /// Its attributes.
    pub attributes: Attributes,
}

/// A reference to a span of another trace, or of this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanLink {
    /// Its trace.
    pub trace_id: Box<str>,
    /// The span.
    pub span_id: Box<str>,
}

/// A span with all that it says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceSpan {
    /// Lower-case hexadecimal as a rule; files may hold any text.
    pub span_id: Box<str>,
    /// The parent's id; `None` for a root.
    pub parent_span_id: Option<Box<str>>,
    /// What reports it.
    pub resource: Arc<TraceResource>,
    /// Name of the instrumentation scope; empty if not said.
    pub scope: Box<str>,
    /// Name as the span says it.
    pub name: Box<str>,
    /// Templated operation as the windows have it: `GET /users/{id}`.
    pub operation: Box<str>,
    /// Kind.
    pub kind: SpanKind,
    /// Start.
    pub start: UnixNanos,
    /// End, not before the start.
    pub end: UnixNanos,
    /// Status code.
    pub status: StatusCode,
    /// Status message; empty if not said.
    pub status_message: Box<str>,
    /// How it ended by the rules of the windows (status, HTTP and gRPC codes), for spans of every kind.
    pub outcome: Outcome,
    /// Whether it is an entry span: an SLI event, excluded operations aside.
    pub is_entry: bool,
    /// Adjusted count of its sampling, 1 where every span arrives.
    pub weight: f64,
    /// Attributes.
    pub attributes: Attributes,
    /// Events in the order of their times.
    pub events: Vec<SpanEvent>,
    /// Links.
    pub links: Vec<SpanLink>,
}

impl TraceSpan {
    /// How long it took, in nanoseconds.
    pub fn duration_nanos(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// The value of an attribute of the span.
    pub fn attribute(&self, key: &str) -> Option<&AttributeValue> {
        let mut attributes = self.attributes.iter();
        attributes.find_map(|(name, value)| (**name == *key).then_some(value))
    }
}

/// Whether all of a trace is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Completeness {
    /// Exactly one root, every parent is there, and nothing came for the quiet time.
    #[default]
    Complete,
    /// Something is missing, or may be: why, for people.
    Incomplete(String),
}

/// A trace: at least one span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// Lower-case hexadecimal as a rule; files may hold any text.
    pub trace_id: Box<str>,
    /// Spans sorted by start, then with parents before their children.
    pub spans: Vec<TraceSpan>,
    /// Whether all of it is there.
    pub completeness: Completeness,
}

/// A trace that is over, as the trace buffer tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptTrace {
    /// The trace.
    pub trace: Arc<Trace>,
    /// Where it was kept by its id alone: the share of all traces that was kept so while it was under way, so that it stands
    /// for one over this many. `None` where it was kept for what was seen in it, or may lack its beginning: such traces show
    /// what there is, and must not be counted.
    pub sampled_ratio: Option<f64>,
}
