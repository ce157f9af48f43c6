//! The metrics of coverage's own bounds; scores and findings come from the report.

use metrics::{Counter, counter, describe_counter};

/// What the bounds of `adapters.coverage` turned away; label `bound`.
const REFUSED: &str = "slo_copilot_coverage_refused_total";

/// Help texts.
pub(super) fn describe() {
    describe_counter!(
        REFUSED,
        "Spans, calls and names that a bound of adapters.coverage turned away."
    );
}

/// What coverage reports of itself.
#[derive(Clone)]
pub struct CoverageMetrics {
    /// Spans of services over `max_services`.
    pub services: Counter,
    /// Calls over `max_edges`.
    pub edges: Counter,
    /// Names over `max_names_per_service`.
    pub names: Counter,
    /// Signals over `max_signals`.
    pub signals: Counter,
}

impl CoverageMetrics {
    /// Registers the metrics.
    pub fn new() -> Self {
        let of = |bound: &'static str| counter!(REFUSED, "bound" => bound);
        Self {
            services: of("max_services"),
            edges: of("max_edges"),
            names: of("max_names_per_service"),
            signals: of("max_signals"),
        }
    }
}

impl Default for CoverageMetrics {
    fn default() -> Self {
        Self::new()
    }
}
