//! Calls that are made more often on behalf of one request: one for each row, or again and again since they fail.
//!
//! Who calls once more after a failure does so because of whom it calls; who just calls more often does so by itself.

use crate::adapter::rca::signals::{Detail, Finding, Sides, Signal, Subject, share};
use crate::adapter::rca::summary::Link;
use crate::adapter::rca::times::Times;

/// Calls that are repeated more often.
pub fn findings(sides: &Sides<'_>) -> Vec<Finding> {
    let links = sides.before.summary.links.iter();
    links
        .filter_map(|(id, before)| {
            let after = sides.after.summary.links.get(id)?;
            let (half, half_after) = (sides.before.half, sides.after.half);
            let requests = (before.requests.sum(half), after.requests.sum(half_after));
            if !sides.are_enough(requests) {
                return None;
            }
            let (above, sizes) = above(sides, before, after);
            let rise = share::rise(above, sizes);
            let mean_before = before.repeats.mean(half)?;
            let mean_after = after.repeats.mean(half_after)?;
            if rise <= 0.0 || mean_after <= mean_before {
                return None;
            }
            let retried = |link: &Link, half| link.retried.sum(half) / link.repeats.total(half);
            let retries = retried(after, half_after) - retried(before, half);
            let is_retry = retries >= 0.5 * (above.1 - above.0);
            let key = &after.key;
            let to_blame = if is_retry {
                &key.callee.service
            } else {
                &key.caller
            };
            let busiest = after.busiest.slowest.iter();
            Some(Finding {
                signal: Signal::RepeatedCalls,
                service: to_blame.clone(),
                operation: key.callee.clone(),
                subject: Subject::Link(*id),
                statistic: rise,
                before: mean_before,
                after: mean_after,
                spans: requests,
                detail: Detail::Repeated {
                    caller: key.caller.clone(),
                    is_retry,
                },
                examples: busiest.map(|(_, id)| id.to_string()).collect(),
                strength: 0.0,
                deviations: 0.0,
                is_significant: false,
            })
        })
        .collect()
}

/// Probability that chance alone repeats calls so much more often.
pub(super) fn chance(sides: &Sides<'_>, before: &Link, after: &Link) -> f64 {
    let (above, sizes) = above(sides, before, after);
    share::chance(above, sizes)
}

/// The shares of requests that call more often than most, and of how many.
fn above(sides: &Sides<'_>, before: &Link, after: &Link) -> ((f64, f64), (f64, f64)) {
    let (half, half_after) = (sides.before.half, sides.after.half);
    let sizes = (
        before.effective_requests(half),
        after.effective_requests(half_after),
    );
    let (one, other) = (&before.repeats, &after.repeats);
    let above = Times::above((one, half), (other, half_after), sizes);
    (above, sizes)
}
