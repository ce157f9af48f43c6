//! Courses of events that make each alert fire and end, with the minutes at which it does.

use crate::exporter::rules::alerts::{METRIC_HOLD, least_events};
use crate::exporter::rules::proof::simulate::Traffic;
use crate::exporter::rules::slices::{SliceCounting, slice_counting};
use crate::exporter::rules::slo::{Counting, Pair, Slo, counting};
use crate::model::window::Window;

/// Steps after which a course that has not come to its end is given up.
const STEPS_MAX: usize = 6_000;

/// Error ratios that are tried until the minute is sure.
const TRIES: u64 = 300;

/// Healthy steps before slices burn.
const HEALTHY_STEPS_MAX: u64 = 360;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// A course of events, and the steps between which an alert fires.
#[derive(Clone, Debug)]
pub(super) struct Course {
    pub(super) traffic: Traffic,
    /// The first step at which it fires.
    pub(super) fires: usize,
    /// The first step at which it no longer does.
    pub(super) ends: usize,
}

/// Healthy traffic, then a share of bad events, then healthy traffic again.
struct Plan {
    step_secs: u64,
    /// Healthy steps before.
    healthy: u64,
    /// What is tried until the steps are sure.
    tries: Vec<Try>,
    /// Steps that it burns on after the alert, at least.
    tail: u64,
    /// It burns until a multiple of so many steps.
    align: u64,
}

/// Events of a step: all of them, and the bad ones of healthy and of burning steps.
#[derive(Clone, Copy, Debug)]
struct Try {
    total: u64,
    healthy_bad: u64,
    bad: u64,
}

/// A course that makes a pair's alert fire once its windows are full; where they are longer than a test can be, from the
/// start of all counting.
pub(super) fn burning(slo: &Slo, pair: &Pair) -> Option<Course> {
    let (long_secs, short_secs) = (pair.rule.long.secs(), pair.rule.short.secs());
    let (step_secs, healthy_secs, align_secs) = match (slo.slice_secs(), counting(long_secs)) {
        (Some(slice_secs), _) => {
            let step_secs = step_secs(slo);
            let align_secs = align_secs(long_secs, slice_secs);
            let healthy_secs = match slice_counting(long_secs, slice_secs) {
                SliceCounting::Direct { .. } => long_secs.min(HEALTHY_STEPS_MAX * step_secs),
                SliceCounting::Summed { .. } => 4 * align_secs,
            };
            // What burns begins with a slice.
            (
                step_secs,
                healthy_secs.next_multiple_of(align_secs),
                align_secs,
            )
        }
        (None, Counting::Direct) => {
            let step_secs = step_secs_for(long_secs);
            (step_secs, long_secs, step_secs)
        }
        (None, Counting::Summed { step_secs }) => (MINUTE, 12 * step_secs, step_secs),
    };
    let plan = Plan {
        step_secs,
        healthy: healthy_secs / step_secs,
        tries: tries(slo, pair.limit.ratio),
        tail: (short_secs / step_secs / 4).clamp(2, 60),
        align: align_secs / step_secs,
    };
    plan.course(|traffic| traffic.burns(slo, pair))
}

/// Length of a step that keeps a test of a window within some thousand of them.
fn step_secs_for(window_secs: u64) -> u64 {
    match window_secs / MINUTE {
        0..=360 => MINUTE,
        361..=4_320 => 5 * MINUTE,
        _ => 10 * MINUTE,
    }
}

/// Length of the steps by which an SLO is tested, except where windows are too long for it: a minute, or what three of fit
/// into a slice, since an increase needs two samples.
pub(super) fn step_secs(slo: &Slo) -> u64 {
    let Some(slice_secs) = slo.slice_secs() else {
        return MINUTE;
    };
    let fits = |step: &u64| {
        slice_secs.is_multiple_of(*step) && HOUR.is_multiple_of(*step) && 3 * step <= slice_secs
    };
    // Evaluations more than five minutes apart do not see each other.
    [5, 4, 3, 2, 1]
        .map(|minutes| minutes * MINUTE)
        .into_iter()
        .find(fits)
        .or_else(|| [40, 20].into_iter().find(fits))
        .unwrap_or(20)
}

/// Slices of a window are counted anew at multiples of this.
fn align_secs(window_secs: u64, slice_secs: u64) -> u64 {
    match slice_counting(window_secs, slice_secs) {
        SliceCounting::Direct { .. } => slice_secs,
        SliceCounting::Summed { step_secs, .. } => step_secs,
    }
}

/// Error ratios that exceed this limit.
fn tries(slo: &Slo, limit: f64) -> Vec<Try> {
    if let Some(allowed) = slo.budgeting.slice_bad_above() {
        // Healthy slices have nine tenths of the bad events that they may have, burning ones a tenth too many.
        let total = 100_000;
        let share = |ratio: f64| whole((ratio * total as f64).round()).min(total);
        let more = (0.1 * allowed).max(0.01).min(1.0 - allowed);
        return vec![Try {
            total,
            healthy_bad: share(0.9 * allowed),
            bad: share(allowed + more),
        }];
    }
    // Some hundred bad events a step, so that ratios can differ little.
    let total = whole((400.0 / limit).ceil().min(1e9));
    let most = (1.0 / limit).min(8.0);
    let least = (1.0 + 0.2 * (most - 1.0)).min(3.0);
    let tries = (0..TRIES).map(|attempt| {
        // The golden ratio spreads any number of tries over the whole range.
        let place = (0.5 + attempt as f64 * 0.618_034).fract();
        let ratio = limit * (least + (most - least) * place);
        Try {
            total,
            healthy_bad: 0,
            bad: whole((ratio * total as f64).round()).min(total),
        }
    });
    tries.collect()
}

/// A course that spends the budget, and earns it back by traffic: the period is longer than any test.
pub(super) fn spending(slo: &Slo, period_secs: u64) -> Option<Course> {
    if let Some(slice_secs) = slo.slice_secs() {
        return spending_slices(slo, period_secs, slice_secs);
    }
    let every = match counting(period_secs) {
        Counting::Direct => 1,
        Counting::Summed { step_secs } => step_secs / MINUTE,
    };
    let plan = Plan {
        step_secs: MINUTE,
        healthy: (6 * every).max(30),
        tries: tries(slo, slo.budget()),
        tail: 2 * every,
        align: every,
    };
    plan.course(|traffic| traffic.spent(slo, period_secs))
}

/// Bad slices, then healthy ones until there are enough to judge by, and on until the budget allows the bad ones.
fn spending_slices(slo: &Slo, period_secs: u64, slice_secs: u64) -> Option<Course> {
    const TOTAL: u64 = 1_000;
    // Slices are counted so many at a time, and as many are bad as spend the budget of the first that are enough.
    let at_once = align_secs(period_secs, slice_secs) / slice_secs;
    let enough = whole(least_events(slo.budget())).next_multiple_of(at_once);
    let bad = whole((slo.budget() * enough as f64 - 1e-6).ceil());
    let mut traffic = Traffic::new(step_secs(slo));
    traffic.go_on(bad * slice_secs / traffic.step_secs, TOTAL, TOTAL);
    let spent = |traffic: &Traffic| traffic.spent(slo, period_secs);
    if spent(&traffic)? {
        return None;
    }
    let fires = until(&mut traffic, [TOTAL, 0], &spent)?;
    let recovered = |traffic: &Traffic| Some(!spent(traffic)?);
    let ends = until(&mut traffic, [TOTAL, 0], &recovered)?;
    traffic.go_on(2, TOTAL, 0);
    Some(Course {
        traffic,
        fires,
        ends,
    })
}

impl Plan {
    /// The course with the first events for which every reading of the rules gives the same steps.
    fn course(&self, fires: impl Fn(&Traffic) -> Option<bool>) -> Option<Course> {
        let mut tries = self.tries.iter();
        tries.find_map(|events| self.attempt(*events, &fires))
    }

    fn attempt(&self, events: Try, fires: &impl Fn(&Traffic) -> Option<bool>) -> Option<Course> {
        let (healthy, burning) = (
            [events.total, events.healthy_bad],
            [events.total, events.bad],
        );
        let mut traffic = Traffic::new(self.step_secs);
        traffic.go_on(self.healthy, events.total, events.healthy_bad);
        if fires(&traffic)? {
            return None;
        }
        let starts = until(&mut traffic, burning, fires)?;
        traffic.go_on(self.tail, events.total, events.bad);
        while !(traffic.now() as u64).is_multiple_of(self.align) {
            traffic.go_on(1, events.total, events.bad);
        }
        if !fires(&traffic)? {
            return None;
        }
        let ends = until(&mut traffic, healthy, &|traffic: &Traffic| {
            Some(!fires(traffic)?)
        })?;
        traffic.go_on(2, events.total, events.healthy_bad);
        Some(Course {
            traffic,
            fires: starts,
            ends,
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rounded count of events, which is not negative"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

/// Goes on with these events, all and bad ones, until the condition holds; nothing if that is not sure at any step.
fn until(
    traffic: &mut Traffic,
    [total, bad]: [u64; 2],
    holds: &impl Fn(&Traffic) -> Option<bool>,
) -> Option<usize> {
    while traffic.now() < STEPS_MAX {
        traffic.go_on(1, total, bad);
        if holds(traffic)? {
            return Some(traffic.now());
        }
    }
    None
}

/// Nothing but one bad event, and later as many more as are asked for.
#[derive(Clone, Debug)]
pub(super) struct LowTraffic {
    pub(super) traffic: Traffic,
    /// The step before the others come: all windows have seen one event, and it was bad.
    pub(super) alone: usize,
    /// For each pair, the step at which its alert fires.
    pub(super) fires: Vec<usize>,
}

/// Low traffic, if alerts ask for more than one bad event.
pub(super) fn low_traffic(slo: &Slo) -> Option<LowTraffic> {
    let more = slo
        .limits
        .min_bad_events
        .checked_sub(1)
        .filter(|more| *more > 0)?;
    if slo.counts_empty_slices() {
        // Slices without events would be bad as well.
        return None;
    }
    let pairs = slo.pairs();
    let mut traffic = Traffic::new(step_secs(slo));
    let quiet = |traffic: &mut Traffic, steps| -> Option<()> {
        for _ in 0..steps {
            traffic.go_on(1, 0, 0);
            pairs
                .iter()
                .all(|pair| traffic.burns(slo, pair) == Some(false))
                .then_some(())?;
        }
        Some(())
    };
    quiet(&mut traffic, 32)?;
    traffic.go_on(1, 1, 1);
    quiet(&mut traffic, 3)?;
    // Points of summed windows stand so far apart.
    let mut every = traffic.steps_of(Window::M30.secs());
    if let Some(slice_secs) = slo.slice_secs() {
        let slice = traffic.steps_of(slice_secs).max(1);
        let ends = traffic.now().next_multiple_of(slice);
        let rest = ends - traffic.now();
        quiet(&mut traffic, rest)?;
        let long = pairs
            .iter()
            .map(|pair| align_secs(pair.rule.long.secs(), slice_secs));
        every = traffic.steps_of(long.max().unwrap_or(slice_secs));
    }
    let alone = traffic.now();
    traffic.go_on(1, more, more);
    let mut fires = vec![None; pairs.len()];
    for _ in 0..2 * every.max(1) {
        for (pair, fires) in pairs.iter().zip(&mut fires) {
            if fires.is_none() && traffic.burns(slo, pair)? {
                *fires = Some(traffic.now());
            }
        }
        if fires.iter().all(Option::is_some) {
            break;
        }
        traffic.go_on(1, 0, 0);
    }
    Some(LowTraffic {
        traffic,
        alone,
        fires: fires.into_iter().collect::<Option<Vec<usize>>>()?,
    })
}

/// Traffic that stays away.
#[derive(Clone, Debug)]
pub(super) struct Silence {
    pub(super) traffic: Traffic,
    /// The step at which a page fires, where slices without events are bad.
    pub(super) fires: Option<usize>,
}

/// Healthy slices, then none with events; nothing where events are counted.
pub(super) fn silence(slo: &Slo) -> Option<Silence> {
    let slice_secs = slo.slice_secs()?;
    let [page, ..] = slo.pairs();
    let mut traffic = Traffic::new(step_secs(slo));
    let slice = slice_secs / traffic.step_secs;
    traffic.go_on(2 * slice, 1_000, 0);
    if !slo.counts_empty_slices() {
        // Longer than the shortest window, which holds a slice at least.
        let short = traffic.steps_of(page.rule.short.secs()) as u64;
        traffic.go_on(short + 2 * slice, 0, 0);
        return Some(Silence {
            traffic,
            fires: None,
        });
    }
    let fires = until(&mut traffic, [0, 0], &|traffic: &Traffic| {
        traffic.burns(slo, &page)
    })?;
    traffic.go_on(2, 0, 0);
    Some(Silence {
        traffic,
        fires: Some(fires),
    })
}

/// The step of this length at which a condition that held from `since` on makes its alert fire.
pub(super) fn held_since(since: usize, step_secs: u64) -> Option<usize> {
    Some(since + usize::try_from(METRIC_HOLD.div_ceil(step_secs)).ok()?)
}
