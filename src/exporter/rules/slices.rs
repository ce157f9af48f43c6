//! Slices of time in PromQL: each is judged at its end and recorded, and windows are sums of what was recorded.
//!
//! ```text
//! events of a slice ─ slo:slice_bad:ratio5m ─┬─ slo:slices_bad:sum1h ───┬─ slo:sli_error:ratio_rate1h
//!  (every evaluation)   (0, 1, or a ratio)   └─ slo:slices_total:sum1h ─┘
//! ```
//!
//! The slice is recorded with every evaluation, over the time before it. Subqueries pick the values at the slices' ends:
//! their points stand at multiples of the slice since 1970, as slices are cut from midnight UTC, and each takes the newest
//! value before it. So a slice begins and ends too early by less than one evaluation, and none is counted twice. A range
//! is a millisecond shorter than its slices, since Prometheus 2 takes a point at its very start and Prometheus 3 does
//! not. A window holds whole slices only, and of long windows sums of slices are summed.
//!
//! Slices are expected from the first one with events on, whether anything is measured or not: what was recorded last
//! tells that there was one. Only those are missing during which Prometheus itself did not work.

use crate::exporter::rules::model::Rule;
use crate::exporter::rules::recording::{error_ratio, event_ratio, of_window};
use crate::exporter::rules::slo::{Indicator, Member, Slo};
use crate::model::slo::{Budgeting, EmptySlices};
use crate::openslo::text::{promql_newest, promql_range};

/// How often slices are recorded.
pub(super) const EVALUATION_SECS: u64 = 60;

/// So many slices are summed by one range, with every evaluation; where there are more, sums of them are.
const DIRECT_SLICES_MAX: u64 = 360;

/// Shorter windows than this are summed from half hours, others from hours.
const LONG_SECS: u64 = 3 * 86_400;

/// A window ends with the last of what it is summed from: at most this part of it is missing then.
const STEPS_MIN: u64 = 30;

/// For so long Prometheus may not have worked without the slices beginning anew.
const REMEMBERED: &str = "1d";

/// What a window sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SliceCounting {
    /// So many slices.
    Direct { slices: u64 },
    /// So many sums of slices of this length.
    Summed { steps: u64, step_secs: u64 },
}

/// What a window of this length sums. It holds one slice at least.
pub(super) fn slice_counting(window_secs: u64, slice_secs: u64) -> SliceCounting {
    let slices = window_secs / slice_secs;
    let base_secs = if window_secs < LONG_SECS {
        1_800
    } else {
        3_600
    };
    // The least common multiple, since a step holds whole slices. Both are whole minutes.
    let mut multiples = (1..=slice_secs / 60).map(|times| times * base_secs);
    let step_secs = multiples.find(|step| step.is_multiple_of(slice_secs));
    let steps = step_secs.map_or(0, |step_secs| window_secs / step_secs);
    match step_secs {
        Some(step_secs) if slices > DIRECT_SLICES_MAX && steps >= STEPS_MIN => {
            SliceCounting::Summed { steps, step_secs }
        }
        Some(_) | None => SliceCounting::Direct { slices },
    }
}

/// Whether slices without events spend budget.
pub(super) fn empty_is_bad(budgeting: Budgeting) -> bool {
    budgeting.slice().is_some() && budgeting.empty_slices() == EmptySlices::Bad
}

/// The recordings from the slice to the ratios of all windows; nothing where events are counted.
pub(super) fn recordings(slo: &Slo) -> Vec<Rule> {
    let Some(slice_secs) = slo.slice_secs() else {
        return Vec::new();
    };
    let mut rules = Vec::new();
    for part in slo.parts() {
        rules.extend(judged(part, slice_secs));
    }
    if let Indicator::Members(members) = &slo.indicator {
        rules.extend(joined(slo, members, slice_secs));
    }
    let windows = slo.windows();
    for secs in &summed_windows(&windows, slice_secs) {
        rules.extend(sums(slo, *secs, slice_secs));
        if windows.contains(secs) {
            let expr = format!("{} / {}", slo.slices_bad(*secs), slo.slices_total(*secs));
            rules.push(of_window(slo, "slo:sli_error:ratio_rate", *secs, expr));
        }
    }
    rules
}

/// The slice that ends now, judged by its own events.
fn judged(slo: &Slo, slice_secs: u64) -> Vec<Rule> {
    let measured = measured(slo, slice_secs);
    let expr = slice(slo, slice_secs, &measured);
    let mut rules = vec![of_window(slo, "slo:slice_bad:ratio", slice_secs, expr)];
    if slo.counts_empty_slices() {
        let recorded = slo.slice_bad(slice_secs);
        let expr = format!("group({recorded}) unless on() {measured}");
        rules.push(of_window(slo, "slo:slice_empty:bool", slice_secs, expr));
    }
    rules
}

/// The slice of a composite: it is bad if any member's is, and shortfalls of ratios add up by weight.
fn joined(slo: &Slo, members: &[Member], slice_secs: u64) -> Vec<Rule> {
    let all = |of: &dyn Fn(&Member) -> String| {
        let parts: Vec<String> = members.iter().map(of).collect();
        parts.join(" or ")
    };
    let expr = match slo.budgeting {
        Budgeting::RatioTimeslices { .. } => {
            let weighed =
                all(&|member| format!("{} * {}", member.weight, member.slo.slice_bad(slice_secs)));
            format!("clamp_max(sum({weighed}), 1)")
        }
        Budgeting::Timeslices { .. } | Budgeting::Occurrences => {
            format!("max({})", all(&|member| member.slo.slice_bad(slice_secs)))
        }
    };
    let mut rules = vec![of_window(slo, "slo:slice_bad:ratio", slice_secs, expr)];
    if slo.counts_empty_slices() {
        let empty = all(&|member| member.slo.slice_empty(slice_secs));
        let expr = format!("sum({empty})");
        rules.push(of_window(slo, "slo:slice_empty:bool", slice_secs, expr));
    }
    rules
}

/// The windows with those that longer ones are made of, the shortest first.
fn summed_windows(windows: &[u64], slice_secs: u64) -> Vec<u64> {
    let steps = windows
        .iter()
        .filter_map(|secs| match slice_counting(*secs, slice_secs) {
            SliceCounting::Direct { .. } => None,
            SliceCounting::Summed { step_secs, .. } => Some(step_secs),
        });
    let mut all: Vec<u64> = windows.iter().copied().chain(steps).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The error ratio of the slice that ends now; nothing without events.
fn measured(slo: &Slo, slice_secs: u64) -> String {
    match &slo.indicator {
        Indicator::Events { .. } | Indicator::Members(_) => {
            format!("({})", event_ratio(slo, slice_secs))
        }
        Indicator::Ratio { is, query } => {
            let ratio = query.over(&promql_range(slice_secs));
            format!("({})", error_ratio(*is, &ratio))
        }
    }
}

/// What the slice that ends now spends.
fn slice(slo: &Slo, slice_secs: u64, measured: &str) -> String {
    let judged = match slo.budgeting.slice_bad_above() {
        Some(limit) => format!("max({measured} > bool {limit})"),
        // What is not a number would spoil every sum.
        None => format!("max({measured}) > -Inf"),
    };
    let recorded = slo.slice_bad(slice_secs);
    let known = format!("group(last_over_time({recorded}[{REMEMBERED}]))");
    match slo.budgeting.empty_slices() {
        EmptySlices::Good => format!("{judged} or 0 * {known}"),
        EmptySlices::Bad => format!("{judged} or {known}"),
        EmptySlices::Excluded => judged,
    }
}

/// The sums of a window. They are taken over what labels of the document have been meanwhile.
fn sums(slo: &Slo, secs: u64, slice_secs: u64) -> Vec<Rule> {
    let counted = slice_counting(secs, slice_secs);
    let (range, bad, total, empty) = match counted {
        SliceCounting::Direct { slices } => {
            let (bad, empty) = (slo.slice_bad(slice_secs), slo.slice_empty(slice_secs));
            (promql_newest(slices, slice_secs), bad.clone(), bad, empty)
        }
        SliceCounting::Summed { steps, step_secs } => (
            promql_newest(steps, step_secs),
            slo.slices_bad(step_secs),
            slo.slices_total(step_secs),
            slo.slices_empty(step_secs),
        ),
    };
    let count = match counted {
        SliceCounting::Direct { .. } => "count_over_time",
        SliceCounting::Summed { .. } => "sum_over_time",
    };
    let sum = |function: &str, series: &str| format!("sum({function}({series}[{range}]))");
    let mut rules = vec![
        of_window(slo, "slo:slices_total:sum", secs, sum(count, &total)),
        of_window(slo, "slo:slices_bad:sum", secs, sum("sum_over_time", &bad)),
    ];
    if slo.counts_empty_slices() {
        let expr = sum("sum_over_time", &empty);
        rules.push(of_window(slo, "slo:slices_empty:sum", secs, expr));
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    #[test]
    fn windows_of_many_slices_are_sums_of_what_whole_slices_fit_into() {
        let counted = |window, slice| slice_counting(window, slice * 60);
        let summed = |steps, step_secs| SliceCounting::Summed { steps, step_secs };
        assert_eq!(counted(3_600, 5), SliceCounting::Direct { slices: 12 });
        assert_eq!(counted(6 * 3_600, 1), SliceCounting::Direct { slices: 360 });
        assert_eq!(counted(DAY, 1), summed(48, 1_800));
        assert_eq!(counted(7_200, 45), SliceCounting::Direct { slices: 2 });
        assert_eq!(counted(3 * DAY, 1), summed(72, 3_600));
        assert_eq!(counted(30 * DAY, 5), summed(720, 3_600));
        assert_eq!(counted(90 * DAY, 45), summed(720, 3 * 3_600));
        for slice in (1..=60).filter(|minutes| 1_440 % minutes == 0) {
            for days in [1, 3, 7, 28, 30, 90, 400] {
                if let SliceCounting::Summed { steps, step_secs } = counted(days * DAY, slice) {
                    assert!(step_secs.is_multiple_of(slice * 60), "{slice}m");
                    assert!(steps >= 30, "{slice}m in {days}d: {steps}");
                    let sums = slice_counting(step_secs, slice * 60);
                    assert!(matches!(sums, SliceCounting::Direct { .. }), "{sums:?}");
                } else {
                    // Nine minutes hardly fit into anything.
                    assert!(days * 1_440 / slice <= 480, "{slice}m in {days}d");
                }
            }
        }
    }
}
