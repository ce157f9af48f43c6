//! Incidents that were seen: what they looked like, and what a person said was the cause.

use std::error::Error;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::UnixNanos;
use crate::model::rca::RcaReport;

/// An incident: from the first failed verdict until all hold again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Incident {
    /// Its number in the memory; 0 until it is kept.
    pub id: u64,
    /// About when it began: when the traces changed, not when somebody noticed.
    pub began_at: UnixNanos,
    /// When all verdicts held again; null while it is under way.
    pub ended_at: Option<UnixNanos>,
    /// `service.name` of the services whose verdict failed.
    pub failing: Vec<String>,
    /// What the verdicts said, a sentence each.
    pub reasons: Vec<String>,
    /// What it looked like: how much each signal of each operation deviated.
    pub features: Vec<Feature>,
    /// The newest analysis.
    pub rca: RcaReport,
    /// What a person said about it.
    pub confirmation: Option<Confirmation>,
}

/// How much one signal of one operation deviated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Feature {
    /// `service.name`.
    pub service: String,
    /// Operation; empty for what is about the whole service.
    pub operation: String,
    /// Signal, as in [`crate::model::rca::Evidence`].
    pub signal: String,
    /// Size, above 0.
    pub score: f64,
}

/// The cause and the remedy in a person's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Confirmation {
    /// `service.name` of the cause, or what else it was.
    pub cause: String,
    /// How it was resolved; empty if not said.
    pub resolution: String,
    /// Who says so.
    pub by: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Why a memory does not answer.
pub type MemoryError = Box<dyn Error + Send + Sync>;

/// Keeps incidents. Its calls may wait for a disk.
pub trait IncidentMemory: Send + Sync {
    /// All incidents, the oldest first.
    fn incidents(&self) -> Result<Vec<Incident>, MemoryError>;

    /// Keeps an incident under its id, or under the next one if it is 0, and returns that. What a person said about it
    /// since stays.
    fn keep(&self, incident: &Incident) -> Result<u64, MemoryError>;
}
