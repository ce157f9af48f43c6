//! What a report made from trace files rests on.

use serde::{Deserialize, Serialize};

/// What objectives a file was judged against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum JudgedAgainst {
    /// Objectives that were adopted before: a file of them, the store or the configuration.
    Objectives,
    /// Candidates fitted on other trace files, the baseline.
    Baseline,
    /// What the old version did.
    OldVersion,
    /// Candidates fitted on the same trace files, which those can hardly violate.
    Itself,
}

impl JudgedAgainst {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Objectives => "adopted objectives",
            Self::OldVersion => "the old version",
            Self::Baseline => "candidates fitted on the baseline",
            Self::Itself => "candidates fitted on the same traces, which prove little",
        }
    }
}

/// One trace file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TraceFileReport {
    /// As it was named; `-` for standard input.
    pub file: String,
    /// Format, by its content; null for an empty file.
    pub format: Option<String>,
    /// Spans of every kind that could be used.
    pub spans: u64,
    /// Spans that could not be used: they end before they start, or have no id.
    pub rejected_spans: u64,
    /// Records (lines, messages, elements) that could not be read.
    pub unreadable_records: u64,
    /// Whether the file ends, or breaks, before it should: its end is missing.
    pub is_truncated: bool,
}

/// All trace files of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TraceInputReport {
    /// The files, in the order in which they were read.
    pub files: Vec<TraceFileReport>,
    /// Spans of every kind that could be used.
    pub spans: u64,
    /// Spans among them without a parent, each the start of a trace.
    pub traces: u64,
    /// Entry spans that were counted as events.
    pub events: u64,
    /// Events of operations that `sli.exclude` names.
    pub excluded_events: u64,
    /// Events that ended more than thirty days before the newest one: in no window.
    pub too_old_events: u64,
    /// Events that end more than four hundred days ahead of the wall clock, by a broken clock: in no window.
    pub future_events: u64,
    /// Events beyond `windows.max_series` and its like, counted in `_other`.
    pub overflowed_events: u64,
    /// End of the oldest span, RFC 3339; null without spans.
    pub first_event: Option<jiff::Timestamp>,
    /// End of the newest span, RFC 3339: the instant of the evaluation.
    pub last_event: Option<jiff::Timestamp>,
    /// What the events were judged against.
    pub judged_against: JudgedAgainst,
}
