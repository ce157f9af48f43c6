//! What is done and called on behalf of a span: which calls are missing, which were not seen before.
//!
//! Sets of calls that became commoner are told apart. Where one is a part of a set that became rarer, the work ended early:
//! what answered last before that is to blame, or the service itself if nothing did. Other new sets may come from new data
//! as well as from faults; they weigh a quarter.

use std::collections::BTreeMap;

use crate::adapter::rca::keys::OperationKey;
use crate::adapter::rca::shapes::{Shape, Shapes};
use crate::adapter::rca::signals::{Detail, Finding, Pair, Sides, Signal, share};
use crate::model::series::SeriesId;

/// What a new way to do the work weighs, beside missing calls.
pub(super) const NOVELTY: f64 = 0.25;

/// From this share of its calls on, a caller usually gets an answer.
const USUALLY: f64 = 0.5;

/// Changes of what is called.
pub fn findings(sides: &Sides<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for pair in sides.operations() {
        if pair.after.key.kind.is_call() {
            findings.extend(answers(sides, &pair));
        } else {
            segments(sides, &pair, &mut findings);
        }
    }
    findings
}

/// Shares before and after of each shape, whatever was answered last.
pub(super) fn shares<'a, T: Ord + Clone>(
    sides: &Sides<'_>,
    before: &'a Shapes<T>,
    after: &'a Shapes<T>,
) -> BTreeMap<&'a [T], (f64, f64)> {
    let mut shares: BTreeMap<&[T], (f64, f64)> = BTreeMap::new();
    let totals = (
        before.total(sides.before.half),
        after.total(sides.after.half),
    );
    if totals.0 <= 0.0 || totals.1 <= 0.0 {
        return shares;
    }
    for shape in before.iter() {
        let share = shape.weight.sum(sides.before.half) / totals.0;
        shares.entry(&shape.parts).or_default().0 += share;
    }
    for shape in after.iter() {
        let share = shape.weight.sum(sides.after.half) / totals.1;
        shares.entry(&shape.parts).or_default().1 += share;
    }
    shares
}

/// Work that ended early, by what was answered last.
#[derive(Default)]
struct Early {
    share: (f64, f64),
    /// The largest part of it so far, and what it lacks.
    largest: f64,
    lacks: Vec<SeriesId>,
    examples: Vec<String>,
}

fn segments(sides: &Sides<'_>, pair: &Pair<'_>, findings: &mut Vec<Finding>) {
    let shares = shares(sides, &pair.before.calls, &pair.after.calls);
    let rarer: Vec<(&[SeriesId], f64)> = shares
        .iter()
        .filter(|(_, (before, after))| before > after)
        .map(|(parts, (before, after))| (*parts, before - after))
        .collect();
    let mut early: BTreeMap<Option<SeriesId>, Early> = BTreeMap::new();
    let mut new = (0.0, 0.0);
    let mut examples = Vec::new();
    for (parts, (before, after)) in &shares {
        if after <= before {
            continue;
        }
        let wholes = rarer.iter().filter(|(whole, _)| is_part(parts, whole));
        let shapes = pair.after.calls.iter();
        let shapes: Vec<_> = shapes.filter(|shape| shape.parts == *parts).collect();
        let Some((whole, _)) = wholes.max_by(|left, right| left.1.total_cmp(&right.1)) else {
            new = (new.0 + before, new.1 + after);
            examples.extend(shapes.iter().map(|shape| shape.example.to_string()));
            continue;
        };
        let total: f64 = shapes
            .iter()
            .map(|shape| shape.weight.sum(sides.after.half))
            .sum();
        for shape in shapes {
            let share = shape.weight.sum(sides.after.half) / total;
            let found = early.entry(shape.last).or_default();
            found.share.0 += before * share;
            found.share.1 += after * share;
            if after * share > found.largest {
                found.largest = after * share;
                found.lacks = lacking(parts, whole);
            }
            found.examples.push(shape.example.to_string());
        }
    }
    for (last, early) in early {
        findings.extend(ended_early(sides, pair, last, early));
    }
    let rise = NOVELTY * share::rise(new, pair.spans);
    if rise > 0.0 {
        examples.sort_unstable();
        findings.push(Finding {
            examples,
            ..Finding::of(pair, Signal::NewCalls, rise, new)
        });
    }
}

fn ended_early(
    sides: &Sides<'_>,
    pair: &Pair<'_>,
    last: Option<SeriesId>,
    mut early: Early,
) -> Option<Finding> {
    let rise = share::rise(early.share, pair.spans);
    if rise <= 0.0 {
        return None;
    }
    let name = |id: &SeriesId| {
        let after = sides.after.summary.operations.get(id);
        let known = after.or_else(|| sides.before.summary.operations.get(id));
        known.map(|operation| operation.key.clone())
    };
    let last = last.as_ref().and_then(name);
    early.examples.sort_unstable();
    let mut finding = Finding {
        examples: early.examples,
        ..Finding::of(pair, Signal::MissingCalls, rise, early.share)
    };
    if let Some(last) = &last {
        finding.service = last.service.clone();
    }
    finding.detail = Detail::Missing {
        calls: early.lacks.iter().filter_map(name).collect(),
        last,
    };
    Some(finding)
}

/// Whether a sorted set is a proper part of another one.
fn is_part(part: &[SeriesId], whole: &[SeriesId]) -> bool {
    part.len() < whole.len() && part.iter().all(|one| whole.binary_search(one).is_ok())
}

fn lacking(part: &[SeriesId], whole: &[SeriesId]) -> Vec<SeriesId> {
    let is_lacking = |one: &&SeriesId| part.binary_search(one).is_err();
    whole.iter().filter(is_lacking).copied().collect()
}

/// Calls of a client, or messages, that nobody answers any more.
fn answers(sides: &Sides<'_>, pair: &Pair<'_>) -> Option<Finding> {
    let callee = lost_answer(sides, pair)?;
    let (before, after) = unanswered(sides, pair);
    let rise = share::rise((before, after), pair.spans);
    let lonely = pair.after.calls.iter();
    let lonely = lonely.filter(|shape| shape.parts.is_empty());
    let mut finding = Finding {
        examples: lonely.map(|shape| shape.example.to_string()).collect(),
        ..Finding::of(pair, Signal::MissingAnswers, rise, (before, after))
    };
    finding.detail = Detail::Unanswered(pair.after.key.clone());
    finding.service = callee.service.clone();
    finding.operation = callee;
    Some(finding)
}

/// The shares of a client's calls without an answer.
fn unanswered(sides: &Sides<'_>, pair: &Pair<'_>) -> (f64, f64) {
    let shares = shares(sides, &pair.before.calls, &pair.after.calls);
    let empty: &[SeriesId] = &[];
    shares.get(empty).copied().unwrap_or_default()
}

/// Who usually answered a client's calls, where more of them than before get no answer.
pub(super) fn lost_answer(sides: &Sides<'_>, pair: &Pair<'_>) -> Option<OperationKey> {
    if !pair.after.key.kind.is_call() {
        return None;
    }
    let (before, after) = unanswered(sides, pair);
    if before > 1.0 - USUALLY || after <= before {
        return None;
    }
    let shapes = pair.before.calls.iter();
    let answered = shapes.filter(|shape| !shape.parts.is_empty());
    let half = sides.before.half;
    let weight = |shape: &&Shape<SeriesId>| shape.weight.sum(half);
    let usual = answered.max_by(|left, right| weight(left).total_cmp(&weight(right)))?;
    let callee = sides.before.summary.operations.get(usual.parts.first()?)?;
    Some(callee.key.clone())
}
