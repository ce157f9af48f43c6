//! Which of the expected signals were seen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Expected signals against those that were observed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CoverageReport {
    /// Expected signals in the order in which they were named, each once.
    pub expected_signals: Vec<String>,
    /// Observed signals, sorted; a bounded number of them.
    pub observed_signals: Vec<String>,
    /// Observed signals that are not listed above.
    pub observed_signals_omitted: u64,
    /// Whether each expected signal was observed.
    pub coverage_map: BTreeMap<String, bool>,
    /// Expected signals that were observed, over all expected ones.
    pub coverage_ratio: f64,
    /// Expected signals that were not observed, in the order in which they were named.
    pub missing_signals: Vec<String>,
    /// The missing signal to instrument first: the one that was named first.
    pub next_probe: Option<String>,
    /// What to do about each missing signal.
    pub suggestions: Vec<String>,
}
