//! Courses of events that make each alert fire and end, with the minutes at which it does.

use crate::exporter::rules::alerts::METRIC_HOLD;
use crate::exporter::rules::proof::simulate::Traffic;
use crate::exporter::rules::slo::{Counting, Pair, Slo, counting};

/// Steps after which a course that has not come to its end is given up.
const STEPS_MAX: usize = 6_000;

/// Error ratios that are tried until the minute is sure.
const TRIES: u64 = 300;

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
    step: u64,
    /// Healthy steps before.
    healthy: u64,
    /// Error ratio that must be exceeded.
    limit: f64,
    /// Steps that it burns on after the alert, at least.
    tail: u64,
    /// It burns until a multiple of so many steps.
    align: u64,
}

/// A course that makes a pair's alert fire once its windows are full; where they are longer than a test can be, from the
/// start of all counting.
pub(super) fn burning(slo: &Slo, pair: &Pair) -> Option<Course> {
    let long = pair.rule.long.secs() / 60;
    let (step, healthy, align) = match counting(pair.rule.long.secs()) {
        Counting::Direct => {
            let step = step_for(long);
            (step, long / step, 1)
        }
        Counting::Summed { step_secs } => (1, 12 * step_secs / 60, step_secs / 60),
    };
    let short = pair.rule.short.secs() / 60 / step;
    let plan = Plan {
        step,
        healthy,
        limit: pair.limit.ratio,
        tail: (short / 4).clamp(2, 60),
        align,
    };
    plan.course(|traffic| traffic.burns(slo, pair))
}

/// Minutes of a step that keeps a test of a window within some thousand steps.
fn step_for(minutes: u64) -> u64 {
    match minutes {
        0..=360 => 1,
        361..=4_320 => 5,
        _ => 10,
    }
}

/// A course that spends the budget, and earns it back by traffic: the period is longer than any test.
pub(super) fn spending(slo: &Slo, period_secs: u64) -> Option<Course> {
    let every = match counting(period_secs) {
        Counting::Direct => 1,
        Counting::Summed { step_secs } => step_secs / 60,
    };
    let plan = Plan {
        step: 1,
        healthy: (6 * every).max(30),
        limit: slo.budget(),
        tail: 2 * every,
        align: every,
    };
    plan.course(|traffic| traffic.spent(slo, period_secs))
}

impl Plan {
    /// The course with the first error ratio for which every reading of the rules gives the same steps.
    fn course(&self, fires: impl Fn(&Traffic) -> Option<bool>) -> Option<Course> {
        // Some hundred bad events a step, so that ratios can differ little.
        let total = whole((400.0 / self.limit).ceil().min(1e9));
        let most = (1.0 / self.limit).min(8.0);
        let least = (1.0 + 0.2 * (most - 1.0)).min(3.0);
        (0..TRIES).find_map(|attempt| {
            // The golden ratio spreads any number of tries over the whole range.
            let place = (0.5 + attempt as f64 * 0.618_034).fract();
            let ratio = self.limit * (least + (most - least) * place);
            let bad = whole((ratio * total as f64).round()).min(total);
            self.attempt(total, bad, &fires)
        })
    }

    fn attempt(
        &self,
        total: u64,
        bad: u64,
        fires: &impl Fn(&Traffic) -> Option<bool>,
    ) -> Option<Course> {
        let mut traffic = Traffic::new(self.step);
        traffic.go_on(self.healthy, total, 0);
        if fires(&traffic)? {
            return None;
        }
        let starts = until(&mut traffic, [total, bad], fires)?;
        traffic.go_on(self.tail, total, bad);
        while !(traffic.now() as u64).is_multiple_of(self.align) {
            traffic.go_on(1, total, bad);
        }
        if !fires(&traffic)? {
            return None;
        }
        let ends = until(&mut traffic, [total, 0], &|traffic: &Traffic| {
            Some(!fires(traffic)?)
        })?;
        traffic.go_on(2, total, 0);
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
    let pairs = slo.pairs();
    let mut traffic = Traffic::new(1);
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
    let alone = traffic.now();
    traffic.go_on(1, more, more);
    let mut fires = vec![None; pairs.len()];
    // Points of summed windows stand half an hour apart.
    for _ in 0..60 {
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

/// The step of a minute at which a condition that held from `since` on makes its alert fire.
pub(super) fn held_since(since: usize) -> Option<usize> {
    Some(since + usize::try_from(METRIC_HOLD / 60).ok()?)
}
