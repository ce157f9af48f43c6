//! What spans log: more errors, or other events than before, or in another order.
//!
//! As with failed spans, errors are counted where they begin. An operation of a service that logged nothing at all before
//! is not said to log in a new order: its logging is what is new. Errors count all the same, and the finding says so.

use crate::adapter::rca::signals::structure::{NOVELTY, shares};
use crate::adapter::rca::signals::{Detail, Finding, Pair, Sides, Signal, share};

/// Changes of what is logged.
pub fn findings(sides: &Sides<'_>) -> Vec<Finding> {
    let logged = sides.services_that_logged();
    let mut findings = Vec::new();
    for pair in sides.operations() {
        let logged_before = logged.contains(&pair.before.key.service);
        findings.extend(errors(sides, &pair, logged_before));
        if logged_before {
            findings.extend(order(sides, &pair));
        }
    }
    findings
}

fn errors(sides: &Sides<'_>, pair: &Pair<'_>, logged_before: bool) -> Option<Finding> {
    let before = pair.before.logged_errors.sum(sides.before.half) / pair.weights.0;
    let after = pair.after.logged_errors.sum(sides.after.half) / pair.weights.1;
    let rise = share::rise((before, after), pair.spans);
    let logged = pair.after.examples.logged.iter();
    (rise > 0.0).then(|| Finding {
        examples: logged.map(ToString::to_string).collect(),
        detail: if logged_before {
            Detail::None
        } else {
            Detail::LoggedNothingBefore
        },
        ..Finding::of(pair, Signal::ErrorEvents, rise, (before, after))
    })
}

fn order(sides: &Sides<'_>, pair: &Pair<'_>) -> Option<Finding> {
    let shares = shares(sides, &pair.before.events, &pair.after.events);
    let commoner = shares.iter().filter(|(_, (before, after))| after > before);
    let (mut new, mut examples) = ((0.0, 0.0), Vec::new());
    for (sequence, (before, after)) in commoner {
        new = (new.0 + before, new.1 + after);
        let shapes = pair.after.events.iter();
        let same = shapes.filter(|shape| shape.parts == *sequence);
        examples.extend(same.map(|shape| shape.example.to_string()));
    }
    let rise = NOVELTY * share::rise(new, pair.spans);
    examples.sort_unstable();
    (rise > 0.0).then(|| Finding {
        examples,
        ..Finding::of(pair, Signal::EventOrder, rise, new)
    })
}
