//! The metrics of incidents and of what explains them.

use metrics::{Counter, counter, describe_counter};

/// Incidents that began.
const INCIDENTS: &str = "slo_copilot_incidents_total";
/// Questions to the language model; label `outcome`: `ok`, `unfounded`, `error`, `budget`.
const EXPLANATIONS: &str = "slo_copilot_explanations_total";
/// Times that an incident could not be read or kept.
const MEMORY_FAILURES: &str = "slo_copilot_incident_memory_failures_total";

/// Help texts.
pub(super) fn describe() {
    describe_counter!(INCIDENTS, "Incidents that began.");
    describe_counter!(
        EXPLANATIONS,
        "Questions to the language model, by outcome; budget: not asked, adapters.incident.llm.max_tokens_per_day is spent."
    );
    describe_counter!(
        MEMORY_FAILURES,
        "Times that an incident could not be read from the store or kept in it."
    );
}

/// What the incident adapter counts.
#[derive(Clone)]
pub struct IncidentMetrics {
    /// Incidents that began.
    pub incidents: Counter,
    /// Explanations that were taken.
    pub explained: Counter,
    /// Explanations that rest on nothing.
    pub unfounded: Counter,
    /// Explanations that did not come.
    pub failed: Counter,
    /// Questions for which there was no budget.
    pub over_budget: Counter,
    /// Times that the memory failed.
    pub memory_failures: Counter,
}

impl IncidentMetrics {
    /// Registers the metrics.
    pub fn new() -> Self {
        let explanations = |outcome| counter!(EXPLANATIONS, "outcome" => outcome);
        Self {
            incidents: counter!(INCIDENTS),
            explained: explanations("ok"),
            unfounded: explanations("unfounded"),
            failed: explanations("error"),
            over_budget: explanations("budget"),
            memory_failures: counter!(MEMORY_FAILURES),
        }
    }
}

impl Default for IncidentMetrics {
    fn default() -> Self {
        Self::new()
    }
}
