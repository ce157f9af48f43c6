//! The conditions of a guardrail over `slo_copilot_slo_events_total`, as PromQL: of an objective, of the members of a
//! composite, and of slices of time.

use crate::model::period::Period;
use crate::model::slo::{Budgeting, EmptySlices, Objective};
use crate::openslo::text::{events_selector, promql_newest, promql_range};

/// What one budget counts.
pub(super) struct Counted<'a> {
    /// The objective, or the members of a composite with their weights.
    pub(super) members: Vec<(&'a Objective, f64)>,
    pub(super) is_composite: bool,
    pub(super) budgeting: Budgeting,
    pub(super) budget: f64,
    pub(super) window: &'a Period,
}

impl Counted<'_> {
    /// What a sample cannot say of the budget, if it can say nothing of it.
    pub(super) fn missing(&self) -> Option<&'static str> {
        match (self.window, self.budgeting.slice()) {
            (Period::Calendar(_), _) => Some(
                "The budget itself is not part of it, since no range of Prometheus follows a calendar; \
                 slo_copilot_error_budget_remaining_ratio has it.",
            ),
            (Period::Rolling(_), Some(_)) => Some(
                "The budget itself is not part of it, since its slices are too many for one question; \
                 slo_copilot_error_budget_remaining_ratio has it.",
            ),
            (Period::Rolling(_), None) => None,
        }
    }

    /// The period as a range, if the budget is one of events over a range.
    pub(super) fn period(&self) -> Option<String> {
        match self.window {
            Period::Rolling(duration) if self.missing().is_none() => {
                Some(promql_range(duration.secs()))
            }
            Period::Rolling(_) | Period::Calendar(_) => None,
        }
    }

    /// Whether a window's error ratio is above, or not below, a limit.
    pub(super) fn ratio_is(&self, secs: u64, comparison: &str, limit: f64) -> String {
        let range = promql_range(secs);
        if let Some(slice) = self.budgeting.slice() {
            let slices = self.slices(slice.secs());
            let range = promql_newest(secs / slice.secs(), slice.secs());
            return format!("  avg_over_time((\n{slices}  )[{range}]) {comparison} {limit}\n");
        }
        if self.is_composite {
            let burn_limit = (limit / self.budget * 1e9).round() / 1e9;
            return format!("{} {comparison} {burn_limit}\n", self.burn_rate(&range));
        }
        let (bad, all) = (self.sum(Some("bad"), &range), self.sum(None, &range));
        format!("  {bad}\n    / {all} {comparison} {limit}\n")
    }

    /// Whether so many events, all or bad ones, are in a window.
    pub(super) fn events_are(&self, result: Option<&str>, secs: u64, least: f64) -> String {
        let range = promql_range(secs);
        if !self.is_composite && !self.counts_empty(result) {
            return format!("  {} >= {least}\n", self.sum(result, &range));
        }
        let members = self.members.iter();
        let mut counts: Vec<String> = members
            .map(|(member, _)| or_zero(&increase(member, result, &range)))
            .collect();
        if let Some(slice) = self.budgeting.slice()
            && self.counts_empty(result)
        {
            let range = promql_newest(secs / slice.secs(), slice.secs());
            let slice = promql_range(slice.secs());
            counts.extend(self.members.iter().map(|(member, _)| {
                or_zero(&format!(
                    "count_over_time(({} unless on() {} > 0)[{range}])",
                    known(member),
                    increase(member, None, &slice)
                ))
            }));
        }
        format!("  {} >= {least}\n", counts.join("\n    + "))
    }

    /// Whether a slice that is bad for want of events stands for one of these.
    fn counts_empty(&self, result: Option<&str>) -> bool {
        result == Some("bad") && self.budgeting.empty_slices() == EmptySlices::Bad
    }

    /// The increase of an objective's events over a range.
    fn sum(&self, result: Option<&str>, range: &str) -> String {
        let sums = self.members.iter().map(|(objective, _)| {
            let selector = events_selector(&objective.name, &objective.service, result);
            format!("sum by (slo) (increase({selector}[{range}]))")
        });
        sums.collect::<Vec<_>>().join(" + ")
    }

    /// How fast the members burn, by weight; one without events burns nothing.
    fn burn_rate(&self, range: &str) -> String {
        let weights: f64 = self.members.iter().map(|(_, weight)| weight).sum();
        let terms = self.members.iter().map(|(member, weight)| {
            let (bad, all) = (
                increase(member, Some("bad"), range),
                increase(member, None, range),
            );
            format!(
                "    {weight} / {} * ({bad}\n      / {all} > -Inf or vector(0))\n",
                member.budget()
            )
        });
        let terms: Vec<String> = terms.collect();
        format!("  (\n{}  ) / {weights}", terms.join("    +\n"))
    }

    /// What the slice that ends at a point spends: of a composite, a slice is bad if any member's is, and shortfalls of ratios
    /// add up by weight.
    fn slices(&self, slice_secs: u64) -> String {
        let range = promql_range(slice_secs);
        if !self.is_composite {
            let slices = self.members.iter();
            let slices = slices.map(|(objective, _)| format!("    {}\n", slice(objective, &range)));
            return slices.collect::<Vec<_>>().concat();
        }
        let is_ratio = matches!(self.budgeting, Budgeting::RatioTimeslices { .. });
        let slices = self
            .members
            .iter()
            .enumerate()
            .map(|(at, (member, weight))| {
                let weight = if is_ratio {
                    format!("{weight} * ")
                } else {
                    String::new()
                };
                format!(
                    "      label_replace({weight}({}), \"member\", \"{at}\", \"\", \"\")\n",
                    slice(member, &range)
                )
            });
        let slices = slices.collect::<Vec<_>>().join("      or\n");
        if is_ratio {
            format!("    clamp_max(sum(\n{slices}    ), 1)\n")
        } else {
            format!("    max(\n{slices}    )\n")
        }
    }
}

/// What an objective's slice that ends at a point spends; nothing where it is not expected.
fn slice(objective: &Objective, range: &str) -> String {
    let (bad, all) = (
        increase(objective, Some("bad"), range),
        increase(objective, None, range),
    );
    let ratio = format!("({bad} / ({all} > 0))");
    let judged = match objective.budgeting.slice_bad_above() {
        Some(limit) => format!("({ratio} > bool {limit})"),
        None => ratio,
    };
    match objective.budgeting.empty_slices() {
        EmptySlices::Good => format!("{judged} or 0 * {}", known(objective)),
        EmptySlices::Bad => format!("{judged} or {}", known(objective)),
        EmptySlices::Excluded => judged,
    }
}

/// 1 while the counter is there, with events or without.
fn known(objective: &Objective) -> String {
    let selector = events_selector(&objective.name, &objective.service, None);
    format!("group({selector})")
}

fn increase(objective: &Objective, result: Option<&str>, range: &str) -> String {
    let selector = events_selector(&objective.name, &objective.service, result);
    format!("sum(increase({selector}[{range}]))")
}

fn or_zero(count: &str) -> String {
    format!("({count} or vector(0))")
}
