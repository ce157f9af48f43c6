//! What is said while there is nothing to show, and of the state of the neighbour.

use crate::evaluator::verdict::timestamp;
use crate::model::incident::Incident;
use crate::model::rca::{Conclusion, RcaReport, TraceWindow};

/// No verdict fails.
pub(super) const QUIET: &str = "on: no verdict fails; root causes are looked for when one does";

/// The state in a sentence.
pub(super) fn state(open: Option<&Incident>) -> String {
    let Some(incident) = open else {
        return QUIET.to_owned();
    };
    let first = incident.rca.ranked.first();
    let cause = first.map_or_else(
        || incident.rca.text.clone(),
        |cause| format!("{} is ranked first", cause.service),
    );
    format!(
        "incident {} since {}: {cause}",
        incident.id,
        timestamp(incident.began_at)
    )
}

/// Before the first analysis.
pub(super) fn not_yet() -> RcaReport {
    RcaReport {
        conclusion: Conclusion::Inconclusive,
        text: "it was not analysed yet".to_owned(),
        ranked: Vec::new(),
        changes: Vec::new(),
        baseline: TraceWindow::default(),
        incident: TraceWindow::default(),
        similar: Vec::new(),
        explanation: None,
    }
}
