//! Where more errors begin: failed spans without a failed child, by the requests that they stand for.
//!
//! Who only passes an error on is no origin. A call that nobody answered fails at the caller's client span; where the same
//! call used to be answered, the one that answered is to blame.

use crate::adapter::rca::signals::structure::lost_answer;
use crate::adapter::rca::signals::{Detail, Finding, Sides, Signal, share};

/// Operations in which more errors begin.
pub fn findings(sides: &Sides<'_>) -> Vec<Finding> {
    sides
        .operations()
        .filter_map(|pair| {
            let before = pair.before.origins.sum(sides.before.half) / pair.weights.0;
            let after = pair.after.origins.sum(sides.after.half) / pair.weights.1;
            let rise = share::rise((before, after), pair.spans);
            if rise <= 0.0 {
                return None;
            }
            let failed = pair.after.examples.failed.iter();
            let mut finding = Finding {
                examples: failed.map(ToString::to_string).collect(),
                ..Finding::of(&pair, Signal::ErrorOrigin, rise, (before, after))
            };
            if let Some(callee) = lost_answer(sides, &pair) {
                finding.detail = Detail::Unanswered(pair.after.key.clone());
                finding.service = callee.service.clone();
                finding.operation = callee;
            }
            Some(finding)
        })
        .collect()
}
