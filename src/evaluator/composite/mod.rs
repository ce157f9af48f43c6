//! Composites: several objectives that gate as one.
//!
//! The prose of OpenSLO leaves the sums open, so it is said here. By occurrences, a composite burns at the weighted mean of
//! its members' burn rates, Σwᵢ·BRᵢ/Σwᵢ, and spends its budget likewise; a member without events burns nothing. By
//! slices, members were joined slice by slice (`window::slices`) and share one target.

use std::collections::{BTreeMap, BTreeSet};

use crate::evaluator::burn_rate::Limits;
use crate::evaluator::objective::{Measured, Standing, window_slis};
use crate::model::report::{CompositeStatus, MemberStatus, ObjectiveStatus};
use crate::model::slo::Budgeting;
use crate::model::window::WindowSums;
use crate::window::measure::{ObjectiveView, PeriodSums};
use crate::window::snapshot::{AllWindows, Snapshot};

/// A member: what was measured of it, how it stands, its weight.
type Member<'a> = (&'a ObjectiveView, &'a ObjectiveStatus, f64);

/// Measures every composite. `statuses` are those of the snapshot's objectives, in their order.
pub fn composite_statuses(
    snapshot: &Snapshot,
    statuses: &[ObjectiveStatus],
    limits: Limits,
) -> Vec<CompositeStatus> {
    let mut composites: BTreeMap<&str, Vec<Member<'_>>> = BTreeMap::new();
    for (view, status) in snapshot.objectives.iter().zip(statuses) {
        let Some(composite) = &view.objective.composite else {
            continue;
        };
        let members = composites.entry(&composite.name).or_default();
        let first = members.first();
        // One that does not fit its composite goes on gating by itself.
        if first.is_none_or(|(first, ..)| first.objective.agrees_with(&view.objective).is_ok()) {
            members.push((view, status, composite.weight));
        }
    }
    let statuses = composites
        .iter()
        .filter_map(|(name, members)| status_of(name, members, snapshot, limits));
    statuses.collect()
}

/// What gates: an objective by itself, or a composite in place of its members.
#[derive(Clone, Copy, Debug)]
pub enum Gating<'a> {
    /// An objective.
    Objective(&'a ObjectiveStatus),
    /// A composite.
    Composite(&'a CompositeStatus),
}

/// What gates of these objectives: composites stand in place of their members.
pub fn gating<'a>(
    statuses: &[&'a ObjectiveStatus],
    composites: &'a [CompositeStatus],
) -> Vec<Gating<'a>> {
    let mut seen = BTreeSet::new();
    let gating = statuses.iter().filter_map(|status| {
        let Some(composite) = composite_of(status, composites) else {
            return Some(Gating::Objective(status));
        };
        seen.insert(&composite.name)
            .then_some(Gating::Composite(composite))
    });
    gating.collect()
}

/// What verdicts weigh of these objectives.
pub fn standings<'a>(
    statuses: &[&'a ObjectiveStatus],
    composites: &'a [CompositeStatus],
) -> Vec<Standing<'a>> {
    let gating = gating(statuses, composites).into_iter();
    let standings = gating.map(|gating| match gating {
        Gating::Objective(status) => Standing::from(status),
        Gating::Composite(composite) => Standing::from(composite),
    });
    standings.collect()
}

/// The composite that gates in place of an objective. Composites come by name.
fn composite_of<'a>(
    status: &ObjectiveStatus,
    composites: &'a [CompositeStatus],
) -> Option<&'a CompositeStatus> {
    let name = &status.objective.composite.as_ref()?.name;
    let at = composites
        .binary_search_by(|composite| composite.name.cmp(name))
        .ok()?;
    composites.get(at).filter(|composite| {
        let mut members = composite.members.iter();
        members.any(|member| member.name == status.objective.name)
    })
}

fn status_of(
    name: &str,
    members: &[Member<'_>],
    snapshot: &Snapshot,
    limits: Limits,
) -> Option<CompositeStatus> {
    let first = members.first()?.0.objective.as_ref();
    let (budget, windows, period) = match first.budgeting {
        Budgeting::Occurrences => weighted(members),
        Budgeting::Timeslices { .. } | Budgeting::RatioTimeslices { .. } => {
            let mut views = snapshot.composites.iter();
            let view = views.find(|view| view.name == name)?;
            (first.budget(), view.windows, view.period)
        }
    };
    let measured = Measured {
        name,
        budget,
        window: &first.window,
        budgeting: first.budgeting,
        windows: &windows,
        period,
    };
    let judgement = measured.judge(limits);
    let services: BTreeSet<&str> = members
        .iter()
        .map(|(view, ..)| view.objective.service.as_str())
        .collect();
    Some(CompositeStatus {
        name: name.to_owned(),
        services: services.into_iter().map(str::to_owned).collect(),
        members: members.iter().map(member_status).collect(),
        budgeting: first.budgeting,
        window: first.window.clone(),
        target: 1.0 - budget,
        required: members.iter().any(|(view, ..)| view.objective.required),
        weight: members.iter().map(|(view, ..)| view.objective.weight).sum(),
        state: judgement.state,
        text: judgement.text,
        windows: window_slis(&windows),
        burn_rates: judgement.burn_rates,
        budget: judgement.budget,
        slices: judgement.slices,
        policy: None,
    })
}

fn member_status((_, status, weight): &Member<'_>) -> MemberStatus {
    MemberStatus {
        name: status.objective.name.clone(),
        weight: *weight,
        state: status.state,
        remaining_ratio: status.budget.remaining_ratio,
    }
}

/// One objective that burns as the members do together: with cᵢ = wᵢ/Bᵢ its error ratio is Σcᵢ·eᵢ/Σcᵢ and its budget
/// Σwᵢ/Σcᵢ, so that its burn rate is Σwᵢ·BRᵢ/Σwᵢ.
fn weighted(members: &[Member<'_>]) -> (f64, AllWindows, PeriodSums) {
    let share = |member: &Member<'_>| member.2 / member.0.objective.budget();
    let shares: f64 = members.iter().map(share).sum();
    let weights: f64 = members.iter().map(|(.., weight)| weight).sum();
    let together = |sums_of: &dyn Fn(&ObjectiveView) -> WindowSums| {
        let mut ratio = 0.0;
        let mut together = WindowSums::default();
        for member in members {
            let sums = sums_of(member.0);
            ratio += share(member) / shares * sums.error_ratio().unwrap_or(0.0);
            together = together.plus(sums);
        }
        WindowSums {
            bad: ratio * together.total,
            ..together
        }
    };
    let mut windows = AllWindows::default();
    for (at, sums) in windows.iter_mut().enumerate() {
        *sums = together(&|view| view.windows.get(at).copied().unwrap_or_default());
    }
    let period = PeriodSums {
        sums: together(&|view| view.period.sums),
        calendar: members.first().and_then(|(view, ..)| view.period.calendar),
        ..PeriodSums::default()
    };
    (weights / shares, windows, period)
}

#[cfg(test)]
mod tests;
