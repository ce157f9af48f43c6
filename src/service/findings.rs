//! What the PII guardrail finds, as metrics.

use crate::pii::{Action, Counts, Scrubber};
use crate::telemetry::count_pii_findings;

/// Begins the counters of all kinds at 0, so that the first finding is an increase.
pub(super) fn begin(scrubber: &Scrubber) {
    for (kind, action) in scrubber
        .kinds()
        .filter(|(_, action)| *action != Action::Keep)
    {
        count_pii_findings(kind, action.label(), 0);
    }
}

/// Adds findings to the counters.
pub(super) fn count(found: &Counts) {
    for finding in found.findings() {
        count_pii_findings(finding.kind, finding.action.label(), finding.count);
    }
}
