//! What one indicator's data say by themselves: the measured value, its bound, and the step of the ladder that the
//! bound carries.

use crate::evaluator::statistics::{clopper_pearson_upper, effective_events, events_needed};
use crate::model::candidate::{LARGEST_SEEN, Step};
use crate::model::history::MinuteRow;
use crate::model::slo::Sli;
use crate::model::window::{LATENCY_LADDER_MICROS, ladder_edge_micros};
use crate::window::sketch::{LatencyCounts, bucket_bounds_micros};

use super::Settings;
use super::change_point::Indicator;
use super::ladder::{TARGET_MIN, target_at_most};
use super::slices::{DataUsed, LatencyBound, Slice, dispersion, observed_without_error};
use crate::evaluator::figures::{milliseconds, percentage, percentile, tenths};

/// What the data say.
#[derive(Clone, Debug)]
pub(super) struct Estimate {
    /// The tightest step that the bound carries; the loosest of the ladder where it carries none.
    pub(super) step: Step,
    /// Events seen.
    pub(super) events: u64,
    /// Their effective number by weight alone.
    pub(super) weighted_events: f64,
    /// Over-dispersion.
    pub(super) over_dispersion: f64,
    pub(super) method: &'static str,
    pub(super) confidence: f64,
    pub(super) measured: f64,
    pub(super) bound: f64,
    /// Why the bound does not carry the step yet, if so.
    pub(super) unsupported: Option<String>,
    /// Why no step of the ladder holds, if what was measured says so.
    pub(super) rejection: Option<String>,
}

/// The estimate of an indicator; `None` where there is nothing that it measures.
pub(super) fn estimate(
    data: &DataUsed<'_>,
    indicator: Indicator,
    settings: &Settings,
) -> Option<Estimate> {
    match indicator {
        Indicator::Errors => availability(data, settings.confidence),
        Indicator::Latency(quantile) => latency(data, quantile, settings.confidence),
    }
}

/// The slices of an indicator, in which an event is bad when an objective of this indicator counts it so.
pub(super) fn slices_of(data: &DataUsed<'_>, sli: Sli) -> Vec<Slice> {
    match sli {
        Sli::Availability | Sli::ErrorRate => data.error_slices(),
        Sli::Latency { threshold_micros } => {
            data.slow_slices(|bucket| bucket_bounds_micros(bucket).1 > threshold_micros)
        }
    }
}

/// The durations of all these minutes together.
pub(super) fn latency_counts<'a>(rows: impl IntoIterator<Item = &'a MinuteRow>) -> LatencyCounts {
    let mut counts = LatencyCounts::default();
    for (bucket, count) in rows.into_iter().flat_map(|row| &row.latency) {
        counts.add_bucket(*bucket, *count);
    }
    counts
}

fn availability(data: &DataUsed<'_>, confidence: f64) -> Option<Estimate> {
    let sums = data.sums();
    let error_ratio = sums.error_ratio()?;
    let over_dispersion = dispersion(&data.error_slices());
    let effective = effective_events(sums.total, sums.squared, over_dispersion);
    let bound = 1.0 - clopper_pearson_upper(error_ratio * effective, effective, confidence);
    let measured = 1.0 - error_ratio;
    let target = target_at_most(bound);
    // At exactly the lowest target too, since a budget that is spent at birth is as bad as a violated target.
    let is_hopeless = measured <= TARGET_MIN;
    Some(Estimate {
        step: Step {
            sli: Sli::Availability,
            target: target.unwrap_or(TARGET_MIN),
        },
        events: sums.observed_total,
        weighted_events: sums.effective_events(),
        over_dispersion,
        method: "clopper-pearson",
        confidence,
        measured,
        bound,
        unsupported: (target.is_none() && !is_hopeless).then(|| {
            format!(
                "more events: so far the bound of availability is {bound:.3}, and the lowest target is {TARGET_MIN}"
            )
        }),
        rejection: is_hopeless.then(|| {
            format!(
                "{} of {} events failed: even {} does not hold; find the cause before promising anything",
                sums.observed_bad,
                sums.observed_total,
                percentage(TARGET_MIN),
            )
        }),
    })
}

fn latency(data: &DataUsed<'_>, quantile: f64, confidence: f64) -> Option<Estimate> {
    let needed = events_needed(quantile, confidence)?;
    let sums = data.sums();
    let counts = latency_counts(data.rows);
    let measured = counts.bucket_at_quantile(quantile)?;
    let LatencyBound {
        bucket,
        is_supported,
        weighted_events,
        over_dispersion,
    } = data.latency_bound(&counts, quantile, confidence)?;
    let effective = weighted_events / over_dispersion;
    let (_, bound_micros) = bucket_bounds_micros(bucket);
    let [.., slowest] = LATENCY_LADDER_MICROS;
    let threshold = ladder_edge_micros(bound_micros);
    let is_hopeless = bucket_bounds_micros(measured).1 > slowest;
    let unsupported = if is_supported {
        threshold.is_none().then(|| {
            format!(
                "more events: so far the bound of the latency is {}, and the highest threshold is {}",
                milliseconds(bound_micros as f64 / 1e6),
                milliseconds(slowest as f64 / 1e6),
            )
        })
    } else {
        Some(format!(
            "{} of {needed} independent events; so far the largest latency stands for the bound",
            tenths(effective)
        ))
    };
    // The largest of n events is above the quantile with probability 1 − pⁿ.
    let confidence_of_largest = 1.0 - quantile.powf(effective.floor());
    Some(Estimate {
        step: Step {
            sli: Sli::Latency {
                threshold_micros: threshold.unwrap_or(slowest),
            },
            target: quantile,
        },
        events: observed_without_error(&sums),
        weighted_events,
        over_dispersion,
        method: if is_supported {
            "order-statistic"
        } else {
            LARGEST_SEEN
        },
        confidence: if is_supported {
            confidence
        } else {
            confidence_of_largest
        },
        measured: counts.quantile_secs(quantile)?,
        bound: bound_micros as f64 / 1e6,
        unsupported: unsupported.filter(|_| !is_hopeless),
        rejection: is_hopeless.then(|| {
            format!(
                "the {} of the latency is {}: even {} does not hold; find the cause before promising anything",
                percentile(quantile),
                milliseconds(bucket_bounds_micros(measured).1 as f64 / 1e6),
                milliseconds(slowest as f64 / 1e6),
            )
        }),
    })
}
