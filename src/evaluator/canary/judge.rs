//! The comparisons of one series: errors, latency and tail, each with its interval and its verdict.

use super::correction::{
    ERRORS_FAIL, ERRORS_PASS, LATENCY_FAIL, LATENCY_PASS, Shares, TAIL_FAIL, TAIL_PASS,
};
use super::counts::{Counts, above_sigmas, sigmas_of, wilson};
use super::distribution::{Arm, Durations, Scale};
use super::settings::Settings;
use super::spending::Schedule;
use super::strata::{align, blocks};
use super::text;
use crate::evaluator::statistics::Proportion;
use crate::model::canary::{CanaryMetric, Comparison, Pairing};
use crate::model::history::MinuteRow;
use crate::model::report::Verdict;
use crate::model::span::SpanKind;
use crate::model::window::WindowSums;

/// Both arms of one series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Series<'a> {
    /// The operation; `None` for the whole service.
    pub(super) operation: Option<(&'a str, SpanKind)>,
    pub(super) old: &'a [MinuteRow],
    pub(super) new: &'a [MinuteRow],
}

/// What all comparisons share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judge<'a> {
    pub(super) pairing: Pairing,
    pub(super) settings: &'a Settings,
    pub(super) scale: &'a Scale,
}

/// All comparisons of one series, and what they rest on.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) comparisons: Vec<Comparison>,
    /// The error counts.
    pub(super) errors: Option<Counts>,
}

/// Sums of all rows.
pub(super) fn sums_of(rows: &[MinuteRow]) -> WindowSums {
    rows.iter()
        .fold(WindowSums::default(), |sums, row| sums.plus(row.sums))
}

/// What one event of the arm is worth where weights make the sample smaller: Kish's effective number over the sum of weights.
fn worth(sums: &WindowSums) -> f64 {
    if sums.squared > 0.0 {
        sums.total / sums.squared
    } else {
        1.0
    }
}

impl Judge<'_> {
    /// Compares both arms of a series.
    pub(super) fn judge(&self, series: Series<'_>, shares: Shares) -> Judged {
        let sums = (sums_of(series.old), sums_of(series.new));
        let scales = (worth(&sums.0), worth(&sums.1));
        let slots = align(series.old, series.new, scales, |row| Proportion {
            bad: row.sums.bad,
            total: row.sums.total,
        });
        let errors = Counts::of(&slots, self.pairing);
        let mut comparisons = vec![self.errors(series, sums, errors.as_ref(), shares)];

        let of_row = |row: &MinuteRow| Proportion {
            bad: 0.0,
            total: (row.sums.total - row.sums.bad).max(0.0),
        };
        let slots = align(series.old, series.new, scales, of_row);
        let blocks = blocks(&slots, self.pairing);
        let durations = Durations::of((series.old, series.new), &blocks, self.scale);
        let arms = LatencyArms {
            series,
            sums,
            scales,
            durations: durations.as_ref(),
            sizes: blocks
                .iter()
                .filter(|block| block.old.total > 0.0 && block.new.total > 0.0)
                .fold((0.0, 0.0), |(new, old), block| {
                    (new + block.new.total, old + block.old.total)
                }),
        };
        comparisons.push(self.latency(&arms, shares));
        for quantile in &self.settings.tail_quantiles {
            comparisons.push(self.tail(&arms, *quantile, shares));
        }
        Judged {
            comparisons,
            errors,
        }
    }

    fn errors(
        &self,
        series: Series<'_>,
        (old, new): (WindowSums, WindowSums),
        counts: Option<&Counts>,
        shares: Shares,
    ) -> Comparison {
        let requests = (old.observed_total, new.observed_total);
        let blank = blank(series, CanaryMetric::ErrorRatio, None, requests);
        let Some(counts) = counts else {
            return Comparison {
                baseline: old.error_ratio(),
                canary: new.error_ratio(),
                ..blank
            };
        };
        let tolerance = self.settings.error_tolerance;
        let alpha = shares.alpha * shares.errors;
        let fails = |counts: &Counts| {
            counts.difference() > tolerance && counts.anytime(ERRORS_FAIL) <= alpha
        };
        let upper = |counts: &Counts| {
            counts.upper(ERRORS_PASS.level(shares.alpha, counts.information_at(tolerance)))
        };
        let passes = |counts: &Counts| upper(counts) <= tolerance;
        let decided = Verdicts {
            fails: fails(counts),
            passes: passes(counts),
        };
        let is_worse = counts.difference() > tolerance;
        let needed = || {
            requests_needed(new.observed_total, |factor| {
                let later = counts.continued(factor);
                if is_worse {
                    fails(&later)
                } else {
                    passes(&later)
                }
            })
        };
        let (old_compared, new_compared) = counts.compared();
        self.finish(
            Comparison {
                baseline_requests: part(old.observed_total, old_compared, old.total * worth(&old)),
                canary_requests: part(new.observed_total, new_compared, new.total * worth(&new)),
                baseline: Some(counts.old_ratio()),
                canary: Some(counts.new_ratio()),
                difference: Some(counts.difference()),
                lower: Some(counts.lower(ERRORS_FAIL.level(alpha, counts.information()))),
                upper: Some(upper(counts)),
                tolerance: Some(tolerance),
                p_value: Some((counts.anytime(ERRORS_FAIL) / shares.errors).min(1.0)),
                ..blank
            },
            decided,
            needed,
        )
    }

    fn latency(&self, arms: &LatencyArms<'_>, shares: Shares) -> Comparison {
        let blank = arms.blank(CanaryMetric::Latency, None);
        let Some((durations, counts)) = arms.beyond(0.5, self.pairing) else {
            return blank;
        };
        let sizes = counts.effective();
        let information = information_of(sizes);
        let deviation = durations.deviation(sizes);
        let alpha = shares.alpha * shares.latency;
        let shift_at = |level: f64, sign: f64| {
            durations.shift((0.5 + sign * sigmas_of(level) * deviation).clamp(0.0, 1.0))
        };
        let shift = Shift {
            estimate: durations.shift(0.5),
            lower: Some(shift_at(LATENCY_FAIL.level(alpha, information), -1.0)),
            upper: Some(shift_at(LATENCY_PASS.level(shares.alpha, information), 1.0)),
            tolerance: self.settings.latency_tolerance.ln_1p(),
            information,
            sizes,
            quantile: 0.5,
            pairing: self.pairing,
        };
        let excess = (durations.superiority() - 0.5) / deviation;
        let p_value = if deviation > 0.0 {
            LATENCY_FAIL.anytime(above_sigmas(excess), information)
        } else {
            1.0
        };
        let limits = Limits {
            fail: (LATENCY_FAIL, alpha),
            pass: (LATENCY_PASS, shares.alpha),
            rejects: true,
        };
        let old = durations.quantile(Arm::Old, 0.5);
        let found = Comparison {
            p_value: Some((p_value / shares.latency).min(1.0)),
            ..shift.fill(blank, old, durations.quantile(Arm::New, 0.5))
        };
        self.decide(&found, &shift, limits)
    }

    fn tail(&self, arms: &LatencyArms<'_>, quantile: f64, shares: Shares) -> Comparison {
        let blank = arms.blank(CanaryMetric::TailLatency, Some(quantile));
        let Some((durations, counts)) = arms.beyond(quantile, self.pairing) else {
            return blank;
        };
        let sizes = counts.effective();
        let information = information_of(sizes) * quantile * (1.0 - quantile);
        let alpha = shares.alpha * shares.tail;
        let (old, new) = (
            durations.quantile(Arm::Old, quantile),
            durations.quantile(Arm::New, quantile),
        );
        // The order statistic that bounds the quantile of one arm; none where it lies beyond the slowest request.
        let bound = |arm: Arm, requests: f64, sigmas: f64| {
            let rank = wilson(quantile, requests, sigmas);
            (sigmas.is_finite() && is_bounded(rank, requests))
                .then(|| durations.quantile(arm, rank))
        };
        let distance = |level: f64, sign: f64| {
            let sigmas = sign * sigmas_of(level);
            let new = bound(Arm::New, sizes.0, sigmas)? - new;
            let old = bound(Arm::Old, sizes.1, -sigmas)? - old;
            Some(new.hypot(old))
        };
        let estimate = new - old;
        let shift = Shift {
            estimate,
            lower: distance(TAIL_FAIL.level(alpha, information), -1.0).map(|one| estimate - one),
            upper: distance(TAIL_PASS.level(shares.alpha, information), 1.0)
                .map(|one| estimate + one),
            tolerance: self.settings.tail_tolerance.ln_1p(),
            information,
            sizes,
            quantile,
            pairing: self.pairing,
        };
        let p_value = counts.anytime(TAIL_FAIL) / shares.tail;
        let found = Comparison {
            p_value: Some(p_value.min(1.0)),
            ..shift.fill(blank, old, new)
        };
        let limits = Limits {
            fail: (TAIL_FAIL, alpha),
            pass: (TAIL_PASS, shares.alpha),
            rejects: p_value <= shares.alpha,
        };
        self.decide(&found, &shift, limits)
    }

    /// The verdict on a shift.
    fn decide(&self, found: &Comparison, shift: &Shift, limits: Limits) -> Comparison {
        let bar = self.settings.min_shift_share * shift.estimate.abs();
        let is_worse = shift.estimate > shift.tolerance;
        let decided = Verdicts {
            fails: limits.rejects && is_worse && shift.lower.is_some_and(|lower| lower > bar),
            passes: shift.upper.is_some_and(|upper| upper <= shift.tolerance),
        };
        let needed = || {
            let (end, goal, (schedule, alpha)) = if is_worse {
                (shift.lower, bar, limits.fail)
            } else {
                (shift.upper, shift.tolerance, limits.pass)
            };
            let Some(end) = end else {
                // At least until the quantile has a bound at all.
                return requests_needed(found.canary_requests, |factor| {
                    let growth = shift.growth(factor);
                    let sigmas = sigmas_of(schedule.level(alpha, shift.information * growth));
                    shift.has_bounds(factor, sigmas)
                });
            };
            let now = sigmas_of(schedule.level(alpha, shift.information));
            requests_needed(found.canary_requests, |factor| {
                let growth = shift.growth(factor);
                let sigmas = sigmas_of(schedule.level(alpha, shift.information * growth));
                let width = (end - shift.estimate) * sigmas / now / growth.sqrt();
                if is_worse {
                    shift.estimate + width > goal
                } else {
                    shift.estimate + width <= goal
                }
            })
        };
        self.finish(found.clone(), decided, needed)
    }

    fn finish(
        &self,
        mut comparison: Comparison,
        decided: Verdicts,
        needed: impl FnOnce() -> Option<u64>,
    ) -> Comparison {
        let minimum = self.settings.min_requests;
        let missing = minimum.saturating_sub(comparison.canary_requests);
        comparison.verdict = if missing > 0 {
            Verdict::Inconclusive
        } else if decided.fails {
            Verdict::Fail
        } else if decided.passes {
            Verdict::Pass
        } else {
            Verdict::Inconclusive
        };
        if comparison.verdict == Verdict::Inconclusive {
            comparison.requests_needed = needed().map(|needed| needed.max(missing));
        }
        comparison.text = text::sentence(&comparison);
        comparison
    }
}

/// At which levels a shift fails and passes.
#[derive(Clone, Copy, Debug)]
struct Limits {
    fail: (Schedule, f64),
    pass: (Schedule, f64),
    /// What a second test says that must agree for a failure.
    rejects: bool,
}

/// What a look says of itself.
#[derive(Clone, Copy, Debug)]
struct Verdicts {
    fails: bool,
    passes: bool,
}

/// How many of these requests lie in the stretches that are compared, which hold so much of all weight.
fn part(requests: u64, compared: f64, all: f64) -> u64 {
    if all > 0.0 {
        whole((requests as f64 * (compared / all).min(1.0)).round())
    } else {
        0
    }
}

/// A comparison of which nothing is known.
fn blank(
    series: Series<'_>,
    metric: CanaryMetric,
    quantile: Option<f64>,
    (baseline_requests, canary_requests): (u64, u64),
) -> Comparison {
    let mut blank = Comparison {
        metric,
        operation: series.operation.map(|(name, _)| name.to_owned()),
        kind: series.operation.map(|(_, kind)| kind),
        quantile,
        verdict: Verdict::Inconclusive,
        baseline: None,
        canary: None,
        baseline_requests,
        canary_requests,
        difference: None,
        lower: None,
        upper: None,
        tolerance: None,
        p_value: None,
        requests_needed: None,
        text: String::new(),
    };
    blank.text = text::sentence(&blank);
    blank
}

/// Requests that the new version still needs until `decides` says yes of that many times what it had.
fn requests_needed(had: u64, decides: impl Fn(f64) -> bool) -> Option<u64> {
    const DOUBLINGS: i32 = 14;
    let doublings = (1..=DOUBLINGS).find(|doublings| decides(2.0_f64.powi(*doublings)))?;
    let (mut low, mut high) = (2.0_f64.powi(doublings - 1), 2.0_f64.powi(doublings));
    for _ in 0..6 {
        let middle = f64::midpoint(low, high);
        if decides(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(whole((had as f64 * (high - 1.0)).ceil()))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the conversion saturates, and maps NaN to 0"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

/// Whether a request stands for this rank: none is beyond the slowest.
fn is_bounded(rank: f64, requests: f64) -> bool {
    requests * (1.0 - rank) >= 1.0
}

fn information_of((new, old): (f64, f64)) -> f64 {
    new * old / (new + old)
}

/// A shift of durations, in logarithms.
struct Shift {
    estimate: f64,
    lower: Option<f64>,
    upper: Option<f64>,
    tolerance: f64,
    information: f64,
    /// Effective requests of the new and of the old version.
    sizes: (f64, f64),
    /// The quantile that shifts.
    quantile: f64,
    pairing: Pairing,
}

impl Shift {
    /// How much the information grows with so many times as many requests of the new version.
    fn growth(&self, factor: f64) -> f64 {
        let (new, old) = self.sizes;
        match self.pairing {
            Pairing::Concurrent => factor,
            Pairing::BeforeAfter => factor * (new + old) / (new * factor + old),
        }
    }

    /// Whether the quantile will have bounds in both arms.
    fn has_bounds(&self, factor: f64, sigmas: f64) -> bool {
        let (new, old) = self.sizes;
        let old_factor = match self.pairing {
            Pairing::Concurrent => factor,
            Pairing::BeforeAfter => 1.0,
        };
        [new * factor, old * old_factor]
            .into_iter()
            .all(|requests| is_bounded(wilson(self.quantile, requests, sigmas), requests))
    }

    /// The numbers of a comparison, in seconds; `old` and `new` are logarithms of microseconds.
    fn fill(&self, blank: Comparison, old: f64, new: f64) -> Comparison {
        let seconds = |log: f64| log.exp() / 1e6;
        let old_secs = seconds(old);
        let difference = |log: f64| old_secs * log.exp_m1();
        Comparison {
            baseline: Some(old_secs),
            canary: Some(seconds(new)),
            difference: Some(difference(self.estimate)),
            lower: self.lower.map(difference),
            upper: self.upper.map(difference),
            tolerance: Some(difference(self.tolerance)),
            ..blank
        }
    }
}

/// The durations of both arms of a series.
struct LatencyArms<'a> {
    series: Series<'a>,
    sums: (WindowSums, WindowSums),
    scales: (f64, f64),
    durations: Option<&'a Durations>,
    /// Effective requests of the new and of the old arm.
    sizes: (f64, f64),
}

impl LatencyArms<'_> {
    fn blank(&self, metric: CanaryMetric, quantile: Option<f64>) -> Comparison {
        let (new_compared, old_compared) = self.sizes;
        let requests = |sums: &WindowSums, scale: f64, compared: f64| {
            let without_error = sums.observed_total - sums.observed_bad;
            match self.durations {
                Some(_) => part(without_error, compared, (sums.total - sums.bad) * scale),
                None => without_error,
            }
        };
        let requests = (
            requests(&self.sums.0, self.scales.0, old_compared),
            requests(&self.sums.1, self.scales.1, new_compared),
        );
        blank(self.series, metric, quantile, requests)
    }

    /// The requests of both arms beyond the quantile that they have together.
    fn beyond(&self, quantile: f64, pairing: Pairing) -> Option<(&Durations, Counts)> {
        let durations = self.durations?;
        let threshold = durations.pooled_bucket(quantile, self.sizes);
        let slots = align(self.series.old, self.series.new, self.scales, |row| {
            let from = row
                .latency
                .partition_point(|(bucket, _)| *bucket <= threshold);
            let slow = row.latency.get(from..).unwrap_or_default();
            let bad = slow.iter().map(|(_, count)| *count).sum::<u64>() as f64;
            Proportion {
                bad,
                total: (row.sums.total - row.sums.bad).max(bad),
            }
        });
        Some((durations, Counts::of(&slots, pairing)?))
    }
}
