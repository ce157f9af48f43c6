//! Confidence bounds from counts: quantile ranks, error ratios, incident rates, and what dependence costs them.
//!
//! Every function is total. Where nothing is known, it answers the bound that claims nothing (`None`, 1, infinity).
//!
//! Numerical trap: the incomplete beta function of `statrs` stops its continued fraction after 140 terms, so that
//! with ten million events and more a binomial probability within half a standard deviation of the mean is wrong,
//! by whole units. All searches here therefore start above that region and confidences
//! start at [`CONFIDENCE_MIN`]; up to [`EVENTS_MAX`] events the error is then below 1e-6.

use std::iter;

use statrs::distribution::{Binomial, ChiSquared, ContinuousCDF, DiscreteCDF};
use statrs::function::beta::checked_beta_reg;
use statrs::function::gamma::checked_gamma_lr;

/// Lowest one-sided confidence of any bound; a lower or undefined one is raised to it.
pub const CONFIDENCE_MIN: f64 = 0.8;

/// Highest one-sided confidence of any bound; a higher one is lowered to it.
pub const CONFIDENCE_MAX: f64 = 0.9999;

/// More events than this count as this many, which can only widen a bound.
pub const EVENTS_MAX: f64 = 1e9;

/// Distance from the mean at which the incomplete beta function has converged, in standard deviations. The quantile
/// of [`CONFIDENCE_MIN`] lies at 0.84.
const CLEAR_OF_MEAN_SIGMAS: f64 = 0.5;

/// Excess of the luckless among many windows of independent events, in standard deviations.
const CHANCE_SIGMAS: f64 = 3.0;

/// Events of one slice of time; real numbers, since weighted events count by their effective number.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Proportion {
    /// Bad events.
    pub bad: f64,
    /// All events.
    pub total: f64,
}

/// The fewest events from which the quantile has an upper bound at all: ⌈ln α / ln p⌉.
///
/// `None` where the quantile is not between 0 and 1.
pub fn events_needed(quantile: f64, confidence: f64) -> Option<u64> {
    let between = 0.0 < quantile && quantile < 1.0;
    between.then(|| whole((significance(confidence).ln() / quantile.ln()).ceil()))
}

/// The rank u (1 is the fastest event) whose order statistic is an upper bound of the quantile, whatever the
/// distribution: u = min{u : P(Bin(n, p) ≤ u − 1) ≥ 1 − α}. `None` with fewer events than [`events_needed`].
///
/// `events` may be an effective number; its whole part counts, [`EVENTS_MAX`] at most.
pub fn order_statistic_rank(events: f64, quantile: f64, confidence: f64) -> Option<u64> {
    let sample = whole(events).min(whole(EVENTS_MAX));
    if sample < events_needed(quantile, confidence)? {
        return None;
    }
    let binomial = Binomial::new(quantile, sample).ok()?;
    let wanted = 1.0 - significance(confidence);
    let mean = sample as f64 * quantile;
    let deviation = (mean * (1.0 - quantile)).sqrt();

    // Invariant: P(Bin ≤ below) < wanted ≤ P(Bin ≤ reached), where below may be −1, hence the shift by one.
    let mut reached = sample;
    let mut below = whole(mean + CLEAR_OF_MEAN_SIGMAS * deviation).min(sample);
    while below > 0 && binomial.cdf(below - 1) >= wanted {
        reached = below;
        below -= (1 + whole(deviation)).min(below);
    }
    while reached - below > 1 {
        let middle = below + (reached - below) / 2;
        if binomial.cdf(middle - 1) >= wanted {
            reached = middle;
        } else {
            below = middle;
        }
    }
    Some(reached)
}

/// The same rank in a sample of `events`, of which only `effective_events` speak independently: the rank is found in
/// the smaller sample and scaled back, rounded up.
pub fn scaled_order_statistic_rank(
    events: u64,
    effective_events: f64,
    quantile: f64,
    confidence: f64,
) -> Option<u64> {
    let sample = whole(effective_events).min(events).min(whole(EVENTS_MAX));
    let rank = order_statistic_rank(sample as f64, quantile, confidence)?;
    let scaled = (u128::from(rank) * u128::from(events)).div_ceil(u128::from(sample.max(1)));
    u64::try_from(scaled).ok().map(|scaled| scaled.min(events))
}

/// Clopper–Pearson: the one-sided upper bound of a ratio of which `bad` of `events` were seen, the (1 − α) quantile
/// of Beta(bad + 1, events − bad). Both may be real numbers: an effective sample keeps the ratio, not whole events.
///
/// 1 where nothing is known or everything was bad.
pub fn clopper_pearson_upper(bad: f64, events: f64, confidence: f64) -> f64 {
    let shrink = EVENTS_MAX / events.max(EVENTS_MAX);
    let (bad, events) = (bad.max(0.0) * shrink, events * shrink);
    let alpha = significance(confidence);
    let good = events - bad;
    if good.is_nan() || good <= 0.0 {
        return 1.0;
    }
    if bad == 0.0 {
        // 1 − α^(1/n), without losing the digits of a small bound.
        return -(alpha.ln() / events).exp_m1();
    }
    // The probability that the ratio is above `ratio`; falls from 1 to 0.
    let above = |ratio: f64| 1.0 - checked_beta_reg(bad + 1.0, good, ratio).unwrap_or(1.0);

    let mean = (bad + 1.0) / (events + 1.0);
    let deviation = (mean * (1.0 - mean) / (events + 2.0)).sqrt();
    let start = mean + CLEAR_OF_MEAN_SIGMAS * deviation;
    let mut low = if start < 1.0 && above(start) > alpha {
        start.ln()
    } else {
        (bad / events).ln()
    };
    let mut high = 0.0_f64;
    // In ln(ratio), so that a bound of 1e-9 has as many digits as one of 0.5.
    while high - low > 1e-12 {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            break;
        }
        if above(middle.exp()) > alpha {
            low = middle;
        } else {
            high = middle;
        }
    }
    high.exp()
}

/// Clopper–Pearson: the one-sided lower bound of a ratio of which `bad` of `events` were seen, the α quantile of
/// Beta(bad, events − bad + 1). Both may be real numbers, as above.
///
/// 0 where nothing is known or nothing was bad.
pub fn clopper_pearson_lower(bad: f64, events: f64, confidence: f64) -> f64 {
    let shrink = EVENTS_MAX / events.max(EVENTS_MAX);
    let (bad, events) = (bad * shrink, events * shrink);
    let alpha = significance(confidence);
    if bad.is_nan() || bad <= 0.0 || events.is_nan() || events <= 0.0 {
        return 0.0;
    }
    let good = (events - bad).max(0.0);
    // The probability that the ratio is below `ratio`; rises from 0 to 1.
    let below = |ratio: f64| checked_beta_reg(bad, good + 1.0, ratio).unwrap_or(0.0);

    let mean = bad / (events + 1.0);
    let deviation = (mean * (1.0 - mean) / (events + 2.0)).sqrt();
    let start = mean - CLEAR_OF_MEAN_SIGMAS * deviation;
    let mut high = if start > 0.0 && below(start) > alpha {
        start.ln()
    } else {
        (bad / events).min(1.0).ln()
    };
    let mut low = f64::MIN_POSITIVE.ln();
    while high - low > 1e-12 {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            break;
        }
        if below(middle.exp()) > alpha {
            high = middle;
        } else {
            low = middle;
        }
    }
    low.exp()
}

/// Over-dispersion of the bad events between slices of time, Pearson's φ = (1/(K−1))·Σ(xᵢ−nᵢp̂)²/(nᵢp̂(1−p̂)) over the
/// K slices that had events; at least 1, which independent events have, and 1 where it cannot be known.
pub fn over_dispersion(slices: impl Iterator<Item = Proportion> + Clone) -> f64 {
    let seen = slices.filter(|slice| slice.total > 0.0);
    let (mut count, mut bad, mut total) = (0_u64, 0.0, 0.0);
    for slice in seen.clone() {
        count += 1;
        bad += slice.bad;
        total += slice.total;
    }
    let ratio = bad / total;
    let variance = ratio * (1.0 - ratio);
    if count < 2 || variance <= 0.0 {
        return 1.0;
    }
    let chi_squared: f64 = seen
        .map(|slice| (slice.bad - slice.total * ratio).powi(2) / (slice.total * variance))
        .sum();
    (chi_squared / (count - 1) as f64).max(1.0)
}

/// Over-dispersion of the bad events of slices that follow each other in time, with dependence that lasts clearly
/// less than a `window` of so many slices; those without events hold zeros. At least 1, which independent events have,
/// and 1 where it cannot be known.
///
/// The variance of the bad events is estimated as Newey and West do with Bartlett's weights: of the excesses
/// eₜ = xₜ − nₜ·p̂, V = Σₜ Σₕ max(0, 1 − |h|/L)·eₜ·eₜ₊ₕ, which is the mean square of the excess in all windows of L
/// slices, divided by 1 − b + b²/3 with b = L/K of K slices, by which it falls short since excesses add up to 0 (Kiefer
/// and Vogelsang 2005).
///
/// V alone covers too seldom where a few incidents of uneven size are most of it. As in the interval of Fay and Feuer
/// (1997) for weighted sums of Poisson numbers, the next incident may therefore be as large as w, the largest excess of
/// a window, less what chance alone explains: the variance is V + w², and the sum is as skewed as one of incidents of size w. The margin of a Poisson
/// bound of k incidents of size s is about z·(√k·s + s) (within 5 % from k = 10 on, for confidences up to 0.99), so that
/// φ solves √(φ·x) + φ = √(V + w²) + w, with x the variance of independent events. Where all bad events come in even incidents,
/// φ is their size; where most come singly, as beyond a latency quantile, it is more than the ratio of the variances.
pub fn windowed_over_dispersion(slices: &[Proportion], window: usize) -> f64 {
    let (bad, total) = slices.iter().fold((0.0, 0.0), |(bad, total), slice| {
        (bad + slice.bad, total + slice.total)
    });
    let ratio = bad / total;
    let independent = bad * (1.0 - ratio);
    if slices.len() < 2 || independent.is_nan() || independent <= 0.0 {
        return 1.0;
    }
    let window = window.clamp(1, slices.len());
    let excesses = || slices.iter().map(|slice| slice.bad - slice.total * ratio);
    let zeros = |count| iter::repeat_n(0.0, count);
    // Windows that stand out over either end are among them, as Bartlett's weights ask.
    let steps = excesses()
        .chain(zeros(window - 1))
        .zip(zeros(window).chain(excesses()));
    let (mut excess, mut squares, mut largest) = (0.0, 0.0, 0.0_f64);
    for (entering, leaving) in steps {
        excess += entering - leaving;
        squares += excess * excess;
        largest = largest.max(excess);
    }
    let share = window as f64 / slices.len() as f64;
    let variance = squares / window as f64 / (1.0 - share + share * share / 3.0);
    let incident = (largest - CHANCE_SIGMAS * (independent * share).sqrt()).max(0.0);
    let margin = (variance + incident * incident).sqrt() + incident;
    let root = f64::midpoint((independent + 4.0 * margin).sqrt(), -independent.sqrt());
    (root * root).max(1.0)
}

/// The probability that independent events of which `mean` are expected are `count` or more, by Poisson.
pub fn poisson_tail(count: f64, mean: f64) -> f64 {
    if count.is_nan() || count <= 0.0 {
        return 1.0;
    }
    if mean > 0.0 {
        checked_gamma_lr(count, mean).unwrap_or(1.0)
    } else {
        0.0
    }
}

/// How many independent events a sample is worth: (Σw)²/Σw² / max(1, φ).
pub fn effective_events(weights: f64, squared_weights: f64, over_dispersion: f64) -> f64 {
    if squared_weights > 0.0 {
        weights * weights / squared_weights / over_dispersion.max(1.0)
    } else {
        0.0
    }
}

/// The one-sided upper bound of a Poisson rate of which `count` were seen in `duration`: χ²₍₁₋α₎,₂₍ₖ₊₁₎/2D, per unit
/// of `duration`. Infinite where there was no time to see any.
pub fn poisson_rate_upper(count: u64, duration: f64, confidence: f64) -> f64 {
    let Ok(chi_squared) = ChiSquared::new(2.0 * (count as f64 + 1.0)) else {
        return f64::INFINITY;
    };
    if duration > 0.0 {
        chi_squared.inverse_cdf(1.0 - significance(confidence)) / (2.0 * duration)
    } else {
        f64::INFINITY
    }
}

/// The one-sided lower bound of a Poisson rate of which `count` were seen in `duration`: χ²₍α₎,₂ₖ/2D, per unit of
/// `duration`. 0 where nothing was seen.
pub fn poisson_rate_lower(count: u64, duration: f64, confidence: f64) -> f64 {
    match ChiSquared::new(2.0 * count as f64) {
        Ok(chi_squared) if duration > 0.0 => {
            chi_squared.inverse_cdf(significance(confidence)) / (2.0 * duration)
        }
        Ok(_) | Err(_) => 0.0,
    }
}

/// α of a one-sided confidence.
fn significance(confidence: f64) -> f64 {
    if confidence.is_nan() {
        return 1.0 - CONFIDENCE_MIN;
    }
    1.0 - confidence.clamp(CONFIDENCE_MIN, CONFIDENCE_MAX)
}

/// The whole part of a number, 0 where it is negative or undefined.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the conversion saturates, and maps NaN to 0"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests;
