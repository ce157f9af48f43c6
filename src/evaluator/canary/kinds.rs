//! What only one of the versions does: ways of failing, and whom it calls.
//!
//! If nothing changed, each event of a kind belongs to the new version with the probability θ of its share of the traffic. That
//! the first x of a kind all do has the probability θˣ, whatever the kind's ratio is and whenever one looks: at
//! the next event of the old version the kind is no longer new. So these need no spending over looks, only a correction for the number of kinds.

use super::settings::{Consequence, Settings};
use super::text::count;
use crate::evaluator::figures::tenths;
use crate::evaluator::statistics::clopper_pearson_upper;
use crate::model::canary::{CallSums, Cohort, DependencyChange, NewErrorKind};
use crate::model::report::Verdict;

/// How the traffic is divided, and how much less than its number an event says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traffic {
    /// Requests seen of the old version.
    pub(super) old: u64,
    /// Of the new version.
    pub(super) new: u64,
    /// The new version's share of the requests in the minutes that both have.
    pub(super) share: f64,
    /// Over-dispersion of the errors.
    pub(super) dispersion: f64,
}

/// Ways of failing that the old version would have shown, the most frequent first.
pub(super) fn new_error_kinds(
    baseline: &Cohort,
    canary: &Cohort,
    traffic: Traffic,
    settings: &Settings,
) -> Vec<NewErrorKind> {
    let alpha = (1.0 - settings.confidence) / canary.error_kinds.len().max(1) as f64;
    let events = traffic.old as f64 / traffic.dispersion;
    let expected_max = clopper_pearson_upper(0.0, events, settings.confidence) * traffic.new as f64;
    let mut kinds: Vec<NewErrorKind> = canary
        .error_kinds
        .iter()
        .filter(|(kind, sums)| {
            let is_known = baseline
                .error_kinds
                .get(*kind)
                .is_some_and(|old| old.observed > 0);
            let events = sums.observed as f64 / traffic.dispersion;
            !is_known && traffic.old > 0 && traffic.share.powf(events) <= alpha
        })
        .map(|(kind, sums)| NewErrorKind {
            kind: kind.clone(),
            observed: sums.observed,
            expected_max,
            example_trace_id: sums.example_trace_id.clone(),
            verdict: verdict_of(settings.new_error_kinds),
            text: format!(
                "new error {kind}: {} of {} requests; the old version had none in {}, so at most {} would be chance",
                count(sums.observed),
                count(traffic.new),
                count(traffic.old),
                tenths(expected_max),
            ),
        })
        .collect();
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind.observed));
    kinds
}

/// What a finding alone makes of a comparison that would pass.
pub(super) fn verdict_of(consequence: Consequence) -> Verdict {
    match consequence {
        Consequence::Ignore => Verdict::Pass,
        Consequence::Warn => Verdict::Warn,
        Consequence::Fail => Verdict::Fail,
    }
}

/// Whom only one of the versions calls, beyond chance: new ones first, each by name.
pub(super) fn dependency_changes(
    baseline: &Cohort,
    canary: &Cohort,
    traffic: Traffic,
    settings: &Settings,
) -> Vec<DependencyChange> {
    let (old, new) = (&baseline.dependencies, &canary.dependencies);
    let alpha = (1.0 - settings.confidence) / (old.len() + new.len()).max(1) as f64;
    let change = |name: &str, sums: &CallSums, is_new: bool| {
        let (own, other, share) = if is_new {
            (traffic.new, traffic.old, traffic.share)
        } else {
            (traffic.old, traffic.new, 1.0 - traffic.share)
        };
        // Calls of one request come together.
        let requests = sums.observed.min(own) as f64;
        let expected = sums.observed as f64 * (1.0 - share) / share;
        let is_chance = share.powf(requests) > alpha;
        (own > 0 && other > 0 && share > 0.0 && share < 1.0 && !is_chance).then(|| {
            let (doer, missing) = if is_new { ("new", "old") } else { ("old", "new") };
            DependencyChange {
                dependency: name.to_owned(),
                is_new,
                observed: sums.observed,
                expected,
                text: format!(
                    "{name} is called by the {doer} version alone: {} calls in {} requests, none in {} of the {missing} one",
                    count(sums.observed),
                    count(own),
                    count(other),
                ),
            }
        })
    };
    let missing_in = |names: &std::collections::BTreeMap<String, CallSums>, name: &String| {
        names.get(name).is_none_or(|sums| sums.observed == 0)
    };
    let added = new
        .iter()
        .filter(|(name, _)| missing_in(old, name))
        .filter_map(|(name, sums)| change(name, sums, true));
    let vanished = old
        .iter()
        .filter(|(name, _)| missing_in(new, name))
        .filter_map(|(name, sums)| change(name, sums, false));
    added.chain(vanished).collect()
}
