//! The metrics of what drives the adapters.

use metrics::{Counter, counter, describe_counter};

/// Batches of traces that came faster than an adapter could look at them; label `adapter`.
const MISSED: &str = "slo_copilot_adapter_missed_batches_total";

/// Help texts.
pub(super) fn describe() {
    describe_counter!(
        MISSED,
        "Batches of traces that an adapter missed since they came too fast."
    );
}

/// What the task of an adapter reports.
#[derive(Clone)]
pub struct AdapterMetrics {
    /// Batches missed.
    pub missed_batches: Counter,
}

impl AdapterMetrics {
    /// Registers the metrics of the adapter with this name.
    pub fn new(adapter: &'static str) -> Self {
        Self {
            missed_batches: counter!(MISSED, "adapter" => adapter),
        }
    }
}
