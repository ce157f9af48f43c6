//! Which operations take longer themselves, and which calls wait longer between caller and callee.
//!
//! The shift of the median, in units of the spread of the middle half. The spread of few durations is drawn towards the
//! spread that is usual in these traces, and is never taken for less than a quarter of the median or 0.2 ms: below that
//! nobody would look.
//!
//! Where an operation has several instances, each is compared with its own past, too, or with that of all if it is new: one
//! slow instance of three moves no median. The instances take the place of their operation where one is far worse.

use std::collections::BTreeMap;
use std::sync::Arc;

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::adapter::rca::cells::Half;
use crate::adapter::rca::signals::{Detail, Finding, Pair, Sides, Signal, Subject};
use crate::adapter::rca::summary::{Examples, Instance, Operation};
use crate::adapter::rca::times::{Quartiles, Times};

/// The least spread, as a share of the median before.
const SPREAD_OF_MEDIAN: f64 = 0.25;

/// The least spread, in microseconds.
const SPREAD_MICROS: f64 = 200.0;

/// So many durations weigh as much as what is usual.
const USUAL_WEIGHS: f64 = 4.0;

/// What a finding will be made of.
struct Shift {
    before: Quartiles,
    after: Quartiles,
    finding: Finding,
}

/// An instance takes the place of its operation where its statistic is so many times larger.
const WORSE: f64 = 1.5;

/// Delays of operations and links.
pub fn findings(sides: &Sides<'_>) -> Vec<Finding> {
    let mut shifts = Vec::new();
    for pair in sides.operations() {
        shifts.extend(operation(sides, &pair));
        shifts.extend(instances(sides, &pair));
    }
    shifts.extend(links(sides));
    let usual = usual_spread(&shifts);
    let judged = shifts.into_iter().map(|shift| shift.judged(usual));
    let found: Vec<Finding> = judged.filter(|finding| finding.statistic > 0.0).collect();
    either(found)
}

/// Of each operation, the finding about all of it or those about its instances.
fn either(found: Vec<Finding>) -> Vec<Finding> {
    let is_of_instance = |finding: &Finding| matches!(finding.detail, Detail::Instance(_));
    let mut largest: BTreeMap<(Subject, bool), f64> = BTreeMap::new();
    for finding in &found {
        let key = (finding.subject, is_of_instance(finding));
        let known = largest.entry(key).or_default();
        *known = known.max(finding.statistic);
    }
    let of = |subject, is_of_instance| {
        let known = largest.get(&(subject, is_of_instance));
        known.copied().unwrap_or(0.0)
    };
    let stays = |finding: &Finding| {
        let (all, worst) = (of(finding.subject, false), of(finding.subject, true));
        is_of_instance(finding) == (worst > WORSE * all)
    };
    found.into_iter().filter(stays).collect()
}

impl Shift {
    fn judged(self, usual: f64) -> Finding {
        let (n, m) = self.finding.spans;
        let statistic = statistic(&self.before, self.after.median, (n, m), usual);
        Finding {
            statistic,
            ..self.finding
        }
    }
}

/// How far the median rose.
pub(in crate::adapter::rca) fn statistic(
    before: &Quartiles,
    median: f64,
    (n, m): (f64, f64),
    usual: f64,
) -> f64 {
    let expected = usual * before.median.max(SPREAD_MICROS);
    let own = before.high - before.low;
    let spread = (n * own * own + USUAL_WEIGHS * expected * expected) / (n + USUAL_WEIGHS);
    let floor = (SPREAD_OF_MEDIAN * before.median).max(SPREAD_MICROS);
    let shift = (median - before.median) / spread.sqrt().max(floor);
    shift / (1.0 + 4.0 / n + 4.0 / m).sqrt()
}

/// The probability of [`chance`] for an operation, or for the instance that the finding is about.
pub(super) fn chance_of_operation(
    sides: &Sides<'_>,
    finding: &Finding,
    (was, is): (&Operation, &Operation),
) -> Option<f64> {
    let (half, half_after) = (sides.before.half, sides.after.half);
    let (mut one, mut other) = (&was.times, &is.times);
    if let Detail::Instance(name) = &finding.detail {
        let past = was.instances.get(name);
        one = past
            .filter(|past| sides.is_past(past))
            .map_or(one, |past| &past.times);
        other = is.instances.get(name).map_or(other, |now| &now.times);
    }
    // Of the spans of an instance as many are independent as of all.
    let independent =
        |operation: &Operation, half| operation.effective(half) / operation.spans.sum(half);
    let sizes = (
        finding.spans.0 * independent(was, half),
        finding.spans.1 * independent(is, half_after),
    );
    chance((one, half), (other, half_after), sizes)
}

/// Probability that chance alone makes durations so much longer: Student's test of their logarithms. They are seldom normal;
/// but long tails make it err on the side of silence, as do modes that the median would jump between. A few equal
/// durations are no proof that they always are: the usual spread counts for four more.
pub(in crate::adapter::rca) fn chance(
    (one, half): (&Times, Half),
    (other, other_half): (&Times, Half),
    (n, m): (f64, f64),
) -> Option<f64> {
    let before = one.logarithms(half, SPREAD_MICROS)?;
    let after = other.logarithms(other_half, SPREAD_MICROS)?;
    let freedom = n + m - 2.0;
    if freedom < 1.0 {
        return None;
    }
    let usual = USUAL_WEIGHS * SPREAD_OF_MEDIAN * SPREAD_OF_MEDIAN;
    let variance = (n * before.1 + m * after.1 + usual) / (freedom + USUAL_WEIGHS);
    let statistic = (after.0 - before.0) / (variance * (1.0 / n + 1.0 / m)).sqrt();
    let student = StudentsT::new(0.0, 1.0, freedom).ok()?;
    Some(student.sf(statistic))
}

/// The spread of the middle half as a share of the median that is usual: the median over everything that is compared.
fn usual_spread(shifts: &[Shift]) -> f64 {
    let spread = |shift: &Shift| {
        let before = &shift.before;
        (before.high - before.low) / before.median.max(SPREAD_MICROS)
    };
    let mut spreads: Vec<f64> = shifts.iter().map(spread).collect();
    spreads.sort_unstable_by(f64::total_cmp);
    spreads.get(spreads.len() / 2).copied().unwrap_or(0.0)
}

fn operation(sides: &Sides<'_>, pair: &Pair<'_>) -> Option<Shift> {
    shift(
        sides,
        (&pair.before.times, &pair.after.times),
        Finding::of(pair, Signal::SelfTime, 0.0, (0.0, 0.0)),
        &pair.after.examples,
    )
}

fn instances(sides: &Sides<'_>, pair: &Pair<'_>) -> Vec<Shift> {
    let (before, after) = (sides.before.half, sides.after.half);
    let now = pair.after.instances.iter();
    let now: Vec<_> = now
        .map(|(name, instance)| (name, instance, instance.spans.sum(after)))
        .filter(|(_, _, spans)| *spans >= sides.settings.min_spans as f64)
        .collect();
    if now.len() < 2 {
        return Vec::new();
    }
    let shift = |(name, instance, spans): (&Arc<str>, &Instance, f64)| {
        let past = pair.before.instances.get(name);
        let past = past.filter(|past| sides.is_past(past));
        let past = past.map(|past| (&past.times, past.spans.sum(before)));
        let (times, spans_before) = past.unwrap_or((&pair.before.times, pair.spans.0));
        let finding = Finding {
            spans: (spans_before, spans),
            detail: Detail::Instance(Arc::clone(name)),
            ..Finding::of(pair, Signal::SelfTime, 0.0, (0.0, 0.0))
        };
        shift(
            sides,
            (times, &instance.times),
            finding,
            &pair.after.examples,
        )
    };
    now.into_iter().filter_map(shift).collect()
}

fn links<'a>(sides: &'a Sides<'a>) -> impl Iterator<Item = Shift> + 'a {
    let (before, after) = (sides.before, sides.after);
    before.summary.links.iter().filter_map(move |(id, link)| {
        let now = after.summary.links.get(id)?;
        let spans = (link.calls.sum(before.half), now.calls.sum(after.half));
        if !sides.are_enough(spans) {
            return None;
        }
        let finding = Finding {
            signal: Signal::LinkTime,
            service: link.key.callee.service.clone(),
            operation: link.key.callee.clone(),
            subject: Subject::Link(*id),
            statistic: 0.0,
            before: 0.0,
            after: 0.0,
            spans,
            detail: Detail::Caller(link.key.caller.clone()),
            examples: Vec::new(),
            strength: 0.0,
            deviations: 0.0,
            is_significant: false,
        };
        shift(sides, (&link.times, &now.times), finding, &now.examples)
    })
}

fn shift(
    sides: &Sides<'_>,
    (before, after): (&Times, &Times),
    finding: Finding,
    examples: &Examples,
) -> Option<Shift> {
    let before = before.quartiles(sides.before.half)?;
    let after = after.quartiles(sides.after.half)?;
    let slowest = examples.slowest.iter().map(|(_, id)| id.to_string());
    let finding = Finding {
        before: before.median / 1e6,
        after: after.median / 1e6,
        examples: slowest.collect(),
        ..finding
    };
    Some(Shift {
        before,
        after,
        finding,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::rca::cells::Cell;

    fn times(micros: &[u64]) -> Times {
        let mut times = Times::default();
        for micros in micros {
            times.add(Cell::of("t", 0, 1), micros * 1_000, 1.0);
        }
        times
    }

    /// scipy 1.16: with `b = log([20, 30, 40, 50]·3 + 200)`, `a = log([30, 40, 50, 60]·3 + 200)` and the variance
    /// `(12·var(b) + 12·var(a) + 4·0.25²)/26`, `t.sf((mean(a) − mean(b))/√(variance·(1/12 + 1/12)), 22)`.
    #[test]
    fn the_probability_of_longer_durations_equals_that_of_scipy() {
        let (before, after) = (times(&[20, 30, 40, 50]), times(&[30, 40, 50, 60]));
        let (before, after) = ((&before, Half::ALL), (&after, Half::ALL));
        let probability = chance(before, after, (12.0, 12.0)).unwrap();
        assert!(
            (probability - 0.176_530_923_812).abs() < 1e-9,
            "{probability}"
        );
        let less = chance(after, before, (12.0, 12.0)).unwrap();
        assert!((probability + less - 1.0).abs() < 1e-9);
        assert_eq!(chance(before, after, (1.0, 1.5)), None);
    }

    #[test]
    fn a_median_that_jumps_between_two_modes_proves_nothing() {
        let half = |slow: usize| {
            let mut micros = vec![5_000; 100 - slow];
            micros.resize(100, 69_000);
            times(&micros)
        };
        let (before, after) = (half(48), half(52));
        let probability = chance((&before, Half::ALL), (&after, Half::ALL), (100.0, 100.0));
        assert!(probability.unwrap() > 0.1);
    }
}
