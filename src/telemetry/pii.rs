//! The metrics of the PII guardrail.

use metrics::{counter, describe_counter};

/// Findings; labels `kind`, `action`.
const FINDINGS: &str = "slo_copilot_pii_findings_total";

/// Help texts.
pub(super) fn describe() {
    describe_counter!(
        FINDINGS,
        "Personal data and secrets that were found in traces and new names, by kind and by what was done."
    );
}

/// Counts findings of a kind; 0 makes the counter known.
pub fn count_pii_findings(kind: &str, action: &'static str, count: u64) {
    counter!(FINDINGS, "kind" => kind.to_owned(), "action" => action).increment(count);
}
