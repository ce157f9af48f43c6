//! Bounds of what is recorded of a rollout.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Section `rollouts`: what is kept of each version while two of a service take traffic. What goes over a bound
/// is counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RolloutsConfig {
    /// Minutes kept of each version, the newest ones. Default 6h; 10m to 24h.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// A rollout is over when one of its versions had no event for so long; a version that comes back after that is the
    /// new one. Default 30m; at least 1m.
    #[serde(with = "humantime_serde")]
    pub silent_after: Duration,
    /// Services whose rollouts are recorded at once; those of more are not. Default 20; 0 records none.
    pub max_services: usize,
    /// Operations of each version, as they come; more are in `_other`. An operation takes up to 200 KiB. Default 20; 0
    /// keeps the whole service alone.
    pub max_operations: usize,
    /// Ways of failing of each version; more are in `_other`. Default 50.
    pub max_error_kinds: usize,
    /// Dependencies of each version; more are in `_other`. Default 50.
    pub max_dependencies: usize,
    /// Spans of trace files that wait for their caller or their callees, about 100 bytes each. Default 500000.
    pub max_linked_spans: usize,
}

impl Default for RolloutsConfig {
    fn default() -> Self {
        Self {
            window: Duration::from_hours(6),
            silent_after: Duration::from_mins(30),
            max_services: 20,
            max_operations: 20,
            max_error_kinds: 50,
            max_dependencies: 50,
            max_linked_spans: 500_000,
        }
    }
}
