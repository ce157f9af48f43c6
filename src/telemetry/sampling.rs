//! The metrics of remote sampling: who asked, and what was answered.

use metrics::{Counter, counter, describe_counter};

use super::Transport;

/// Questions; labels `transport`, `answer`.
const REQUESTS: &str = "slo_copilot_sampling_requests_total";

/// Help texts.
pub(super) fn describe() {
    describe_counter!(
        REQUESTS,
        "Questions for the sampling of a service: plan, full (no plan names the service), invalid."
    );
}

/// What one transport of the sampling server counts. All answers exist from the start.
#[derive(Clone)]
pub struct SamplingCounters {
    /// The plan of the service was answered.
    pub plan: Counter,
    /// No plan names the service: all of its traces.
    pub full: Counter,
    /// The question names no service, or several.
    pub invalid: Counter,
}

impl SamplingCounters {
    /// Registers the metrics of one transport.
    pub fn new(transport: Transport) -> Self {
        let answer =
            |answer| counter!(REQUESTS, "transport" => transport.label(), "answer" => answer);
        Self {
            plan: answer("plan"),
            full: answer("full"),
            invalid: answer("invalid"),
        }
    }
}
