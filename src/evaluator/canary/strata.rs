//! Both arms minute by minute, and how much more their counts scatter than those of independent requests.
//!
//! Arms that take traffic in the same minutes are compared within stretches of time (as Mantel and Haenszel compare within
//! strata): whatever makes both fail alike, a blip of a dependency or the hour of the day, then cancels out, and so does a
//! share of the traffic that grows during a rollout.

use std::iter::Peekable;

use crate::evaluator::statistics::Proportion;
use crate::model::canary::Pairing;
use crate::model::history::MinuteRow;

/// Requests of either arm that a stretch of time has at least.
const BLOCK_REQUESTS: f64 = 20.0;

/// Stretches in minutes over which dependence is looked for.
const WINDOWS_MINUTES: [u32; 3] = [1, 5, 30];

/// What an excess of scatter must surpass to count as dependence: the 95 % quantile of a standard normal number.
const EVIDENT_SIGMAS: f64 = 1.644_853_6;

/// One stretch of time in both arms; real numbers, since weighted requests count by their effective number.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Slot {
    /// Its first minute.
    pub(super) minute: u32,
    /// The old version.
    pub(super) old: Proportion,
    /// The new version.
    pub(super) new: Proportion,
}

impl Slot {
    fn plus(self, other: Self) -> Self {
        let add = |a: Proportion, b: Proportion| Proportion {
            bad: a.bad + b.bad,
            total: a.total + b.total,
        };
        Self {
            minute: self.minute,
            old: add(self.old, other.old),
            new: add(self.new, other.new),
        }
    }
}

/// Puts the rows of both arms side by side, each minute once. `read` says what counts in a row, `scales` what an event of
/// the old and of the new arm is worth.
pub(super) fn align(
    old: &[MinuteRow],
    new: &[MinuteRow],
    scales: (f64, f64),
    read: impl Fn(&MinuteRow) -> Proportion,
) -> Vec<Slot> {
    let mut slots = Vec::with_capacity(old.len().max(new.len()));
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    while let Some(minute) = [old.peek(), new.peek()]
        .into_iter()
        .flatten()
        .map(|row| row.minute)
        .min()
    {
        slots.push(Slot {
            minute,
            old: take(&mut old, minute, scales.0, &read),
            new: take(&mut new, minute, scales.1, &read),
        });
    }
    slots
}

/// The rows of this minute, together.
fn take<'a>(
    rows: &mut Peekable<impl Iterator<Item = &'a MinuteRow>>,
    minute: u32,
    scale: f64,
    read: impl Fn(&MinuteRow) -> Proportion,
) -> Proportion {
    let mut sum = Proportion::default();
    while let Some(row) = rows.next_if(|row| row.minute == minute) {
        let part = read(row);
        sum.bad += part.bad * scale;
        sum.total += part.total * scale;
    }
    sum
}

/// Stretches of time in which both arms have requests enough to be compared: all of the time where the arms follow each
/// other. What is left at the end belongs to the last one.
pub(super) fn blocks(slots: &[Slot], pairing: Pairing) -> Vec<Slot> {
    let mut blocks: Vec<Slot> = Vec::new();
    let mut open: Option<Slot> = None;
    for slot in slots {
        let block = open.map_or(*slot, |open| open.plus(*slot));
        let is_full = block.old.total >= BLOCK_REQUESTS && block.new.total >= BLOCK_REQUESTS;
        if is_full && pairing == Pairing::Concurrent {
            blocks.push(block);
            open = None;
        } else {
            open = Some(block);
        }
    }
    if let Some(rest) = open {
        match blocks.last_mut() {
            // A tail that only one arm has says nothing: it stays a stretch of its own.
            Some(last) if rest.old.total > 0.0 && rest.new.total > 0.0 => *last = last.plus(rest),
            Some(_) | None => blocks.push(rest),
        }
    }
    blocks
}

/// How much more the counts scatter than those of independent requests, at least 1. Of arms that share their minutes it is
/// the scatter of the new arm's part of each minute's bad events, of arms that follow each other the greater of the
/// scatters within them: if nothing changed, what one of them shows is true of the other.
pub(super) fn dispersion(slots: &[Slot], pairing: Pairing) -> f64 {
    match pairing {
        Pairing::Concurrent => {
            let ratio = ratio_of_ratios(slots);
            evident(&slots.iter().map(|slot| Residual::between(slot, ratio)))
        }
        Pairing::BeforeAfter => {
            let within = |arm: fn(&Slot) -> Proportion| {
                let (bad, total) = slots.iter().map(arm).fold((0.0, 0.0), |sum, part| {
                    (sum.0 + part.bad, sum.1 + part.total)
                });
                let residuals = slots.iter().map(|slot| {
                    let of = arm(slot);
                    Residual::of(slot.minute, of.bad, of.total, bad / total, 1.0)
                });
                evident(&residuals)
            };
            within(|slot| slot.old).max(within(|slot| slot.new))
        }
    }
}

/// Mantel and Haenszel's estimate of the new version's bad ratio over the old one's.
fn ratio_of_ratios(slots: &[Slot]) -> f64 {
    let (mut new, mut old) = (0.0, 0.0);
    for slot in slots {
        let total = slot.old.total + slot.new.total;
        if total > 0.0 {
            new += slot.new.bad * slot.old.total / total;
            old += slot.old.bad * slot.new.total / total;
        }
    }
    new / old
}

/// How far a count is from what was expected.
#[derive(Clone, Copy, Debug, Default)]
struct Residual {
    minute: u32,
    excess: f64,
    /// Its variance if all are independent.
    variance: f64,
    /// Its fourth cumulant, which says how much its square varies.
    fourth: f64,
}

impl Residual {
    /// A count of so many draws with this probability; `spread` corrects its variance.
    fn of(minute: u32, count: f64, draws: f64, probability: f64, spread: f64) -> Self {
        let single = probability * (1.0 - probability);
        let variance = draws * single * spread;
        if variance.is_nan() || variance <= 0.0 {
            return Self {
                minute,
                ..Self::default()
            };
        }
        Self {
            minute,
            excess: count - draws * probability,
            variance,
            fourth: variance * (1.0 - 6.0 * single),
        }
    }

    /// The new arm's part of the bad events of both.
    fn between(slot: &Slot, ratio: f64) -> Self {
        let bad = slot.old.bad + slot.new.bad;
        let total = slot.old.total + slot.new.total;
        let share = ratio * slot.new.total / (ratio * slot.new.total + slot.old.total);
        // Drawn without putting back: where all of a minute fail, nothing is left to chance.
        let spread = ((total - bad) / (total - 1.0).max(1.0)).clamp(0.0, 1.0);
        Self::of(slot.minute, slot.new.bad, bad, share, spread)
    }
}

/// Over-dispersion as far as it is evident: the ratio of the squared residuals to their variance, over what chance makes of
/// it in one of twenty independent streams. The chance is that of a χ² of as many degrees of freedom as the
/// squares vary by (Satterthwaite), by the approximation of Wilson and Hilferty, so that few minutes and rare errors alone make nothing dependent.
fn evident(residuals: &(impl Iterator<Item = Residual> + Clone)) -> f64 {
    let mut most = 1.0_f64;
    for window in WINDOWS_MINUTES {
        let (mut squares, mut variance, mut spread, mut groups) = (0.0, 0.0, 0.0, 0.0);
        let mut residuals = residuals.clone().peekable();
        while let Some(first) = residuals.next() {
            let mut sum = first;
            while let Some(next) =
                residuals.next_if(|next| next.minute / window == first.minute / window)
            {
                sum.excess += next.excess;
                sum.variance += next.variance;
                sum.fourth += next.fourth;
            }
            if sum.variance > 0.0 {
                squares += sum.excess * sum.excess;
                variance += sum.variance;
                spread += sum.fourth + 2.0 * sum.variance * sum.variance;
                groups += 1.0;
            }
        }
        if groups < 2.0 || spread <= 0.0 {
            continue;
        }
        // One degree of freedom went into the expectation.
        let ratio = squares / variance * groups / (groups - 1.0);
        let freedom = (2.0 * variance * variance / spread).min(groups - 1.0);
        let width = 2.0 / (9.0 * freedom);
        let chance = (1.0 - width + EVIDENT_SIGMAS * width.sqrt()).powi(3);
        most = most.max(ratio / chance.max(1.0));
    }
    most
}
