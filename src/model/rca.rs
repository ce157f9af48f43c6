//! Root causes: which service changed, why we think so, and what else changed at that time.

use serde::{Deserialize, Serialize};

use crate::model::UnixNanos;
use crate::model::series::ServiceKey;

/// What an analysis of an incident against a baseline found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RcaReport {
    /// Whether anything was found.
    pub conclusion: Conclusion,
    /// The same in a sentence.
    pub text: String,
    /// Causes, the likeliest first; empty unless found.
    pub ranked: Vec<RankedCause>,
    /// What else changed at that time: versions, edges, operations.
    pub changes: Vec<Change>,
    /// Traces of the time before.
    pub baseline: TraceWindow,
    /// Traces of the incident.
    pub incident: TraceWindow,
    /// Past incidents that looked alike, the nearest first.
    #[serde(default)]
    pub similar: Vec<SimilarIncident>,
    /// What a language model wrote about the above, if one is asked.
    #[serde(default)]
    pub explanation: Option<Explanation>,
}

/// Whether a cause was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// At least one service changed more than services do when nothing is wrong.
    Found,
    /// None did.
    NothingFound,
    /// There are too few traces to say so.
    Inconclusive,
}

/// A service that may be the cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RankedCause {
    /// `service.name`.
    pub service: String,
    /// All of its identity.
    pub key: ServiceKey,
    /// Between 0 and 1, comparable within one report only.
    pub score: f64,
    /// Its operations that changed, the most changed first.
    pub operations: Vec<String>,
    /// Its instances that changed, where only some of them did.
    pub instances: Vec<String>,
    /// Why, the strongest first.
    pub evidence: Vec<Evidence>,
}

/// One observation that a person can check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Evidence {
    /// `E1`, `E2` …, unique within the report.
    pub id: String,
    /// Which signal: `self_time`, `error_origin`, `structure`, `events` …
    pub signal: String,
    /// Operation of the service, if it is about one.
    pub operation: Option<String>,
    /// Size in standard deviations of what is seen when nothing is wrong.
    pub score: f64,
    /// Value in the time before, in `unit`.
    pub baseline: Option<f64>,
    /// Value in the incident, in `unit`.
    pub incident: Option<f64>,
    /// Unit of the two: `s`, `ratio`, `calls` …; empty if there is none.
    pub unit: String,
    /// The sentence why.
    pub text: String,
    /// Traces of the incident that show it.
    pub example_trace_ids: Vec<String>,
}

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Change {
    /// `new_version`, `new_edge`, `vanished_edge`, `new_operation`, `vanished_operation`, `new_instance` …
    pub kind: String,
    /// `service.name`.
    pub service: String,
    /// What: a version, a callee, an operation.
    pub subject: String,
    /// The same in a sentence.
    pub text: String,
}

/// The traces of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TraceWindow {
    /// Start of the first span.
    pub from: UnixNanos,
    /// End of the last one.
    pub to: UnixNanos,
    /// Traces.
    pub traces: u64,
    /// Spans.
    pub spans: u64,
}

/// A past incident that looked alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SimilarIncident {
    /// Its id in the memory.
    pub id: u64,
    /// When it began.
    pub began_at: UnixNanos,
    /// Cosine of the two vectors, at most 1.
    pub similarity: f64,
    /// The cause that was ranked first then.
    pub ranked_first: Option<String>,
    /// The cause that a person confirmed.
    pub confirmed_cause: Option<String>,
    /// How it was resolved, in a person's words.
    pub resolution: Option<String>,
}

/// What a language model wrote; it changes no ranking.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Explanation {
    /// Name of the model.
    pub model: String,
    /// Its text.
    pub text: String,
    /// Ids of the evidence that it cites; each exists.
    pub cited: Vec<String>,
}
