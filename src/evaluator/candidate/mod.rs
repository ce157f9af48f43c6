//! What the history of a series suggests as objectives.
//!
//! Each suggestion rests on an upper bound that holds whatever the distribution: Clopper–Pearson of the error ratio,
//! and an order statistic of the latency. Both take an *effective* number of events, since events of one incident do
//! not fail independently. Bounds then snap to ladders, to the looser side, so that an objective is never violated
//! by the data it was born from.
//!
//! Invariant: pure. The history is the only input beside the settings; there is no clock.

mod names;
mod settings;
mod slices;

use std::time::Duration;

use crate::evaluator::statistics::{
    clopper_pearson_upper, effective_events, events_needed, poisson_rate_upper,
};
use crate::model::candidate::{Candidate, CandidateState, Evidence};
use crate::model::history::MinuteRow;
use crate::model::series::ServiceKey;
use crate::model::slo::Sli;
use crate::model::window::{WindowSums, ladder_edge_micros};
use crate::window::sketch::{LatencyCounts, bucket_bounds_micros};

pub use names::assign_names;
pub use settings::{Sampling, Settings};

use slices::{DataUsed, LatencyBound, Slice, dispersion, incidents, observed_without_error};

/// Targets that availability candidates may have, the highest first.
pub const TARGET_LADDER: [f64; 7] = [0.999_9, 0.999_5, 0.999, 0.995, 0.99, 0.95, 0.9];

/// The loosest target of [`TARGET_LADDER`].
const TARGET_MIN: f64 = 0.9;

const SECS_PER_DAY: f64 = 86_400.0;

/// Everything that is kept of one series.
#[derive(Clone, Copy, Debug)]
pub struct SeriesHistory<'a> {
    /// The service.
    pub service: &'a ServiceKey,
    /// One operation; `None` means the whole service.
    pub operation: Option<&'a str>,
    /// Its minutes, sorted; several rows of one minute add up.
    pub rows: &'a [MinuteRow],
    /// What is known about the sampling of its spans.
    pub sampling: Sampling,
}

/// The candidates of one series: availability, error rate (the same seen from the other side) and latency; each only
/// where the history supports one. Their names are those of [`assign_names`] without collisions.
///
/// With too little data for a bound, a candidate is shown all the same, as provisional, and says what is missing.
pub fn fit(history: &SeriesHistory<'_>, settings: &Settings) -> Vec<Candidate> {
    let Some(data) = DataUsed::of(history.rows) else {
        return Vec::new();
    };
    let fit = Fit {
        history,
        settings,
        data,
        sums: data.sums(),
    };
    let mut candidates = Vec::with_capacity(3);
    if let Some(availability) = fit.availability() {
        let error_rate = error_rate_of(&availability);
        candidates.extend([availability, error_rate]);
    }
    candidates.extend(fit.latency());
    for candidate in &mut candidates {
        candidate.name = names::plain_name(candidate);
    }
    candidates
}

/// The highest target of the ladder that is at most `bound`.
fn target_at_most(bound: f64) -> Option<f64> {
    TARGET_LADDER.into_iter().find(|target| *target <= bound)
}

/// The complement of an availability candidate: the same data, bounded from the other side.
fn error_rate_of(availability: &Candidate) -> Candidate {
    Candidate {
        sli: Sli::ErrorRate,
        target: complement(availability.target),
        ..availability.clone()
    }
}

/// 1 − ratio without the noise of binary fractions: 0.001, not 0.0010000000000000009.
fn complement(ratio: f64) -> f64 {
    ((1.0 - ratio) * 1e9).round() / 1e9
}

/// One fit under way.
struct Fit<'a> {
    history: &'a SeriesHistory<'a>,
    settings: &'a Settings,
    data: DataUsed<'a>,
    sums: WindowSums,
}

/// What one indicator's data say.
struct Finding<'a> {
    sli: Sli,
    target: f64,
    /// Events seen.
    events: u64,
    /// Their effective number by weight alone.
    weighted_events: f64,
    /// Over-dispersion.
    over_dispersion: f64,
    method: &'static str,
    confidence: f64,
    measured: f64,
    bound: f64,
    /// Slices whose bad events are those that the objective counts.
    slices: &'a [Slice],
    /// Why the bound does not carry the objective, if so.
    unsupported: Option<String>,
}

impl Fit<'_> {
    fn availability(&self) -> Option<Candidate> {
        let slices = self.data.error_slices();
        let over_dispersion = dispersion(&slices);
        let error_ratio = self.sums.error_ratio()?;
        let effective = effective_events(self.sums.total, self.sums.squared, over_dispersion);
        let confidence = self.settings.confidence;
        let bound = 1.0 - clopper_pearson_upper(error_ratio * effective, effective, confidence);
        let measured = 1.0 - error_ratio;
        let (target, unsupported) = match target_at_most(bound) {
            Some(target) => (target, None),
            // Strictly above, since a budget that is spent at birth is as bad as a violated target.
            None if measured > TARGET_MIN => {
                let text = format!(
                    "more events: so far the bound of availability is {bound:.3}, and the lowest target is {TARGET_MIN}"
                );
                (TARGET_MIN, Some(text))
            }
            None => return None,
        };
        Some(self.candidate(&Finding {
            sli: Sli::Availability,
            target,
            events: self.sums.observed_total,
            weighted_events: self.sums.effective_events(),
            over_dispersion,
            method: "clopper-pearson",
            confidence,
            measured,
            bound,
            slices: &slices,
            unsupported,
        }))
    }

    fn latency(&self) -> Option<Candidate> {
        let Settings {
            quantile,
            confidence,
            ..
        } = *self.settings;
        let needed = events_needed(quantile, confidence)?;
        let mut counts = LatencyCounts::default();
        for (bucket, count) in self.data.rows.iter().flat_map(|row| &row.latency) {
            counts.add_bucket(*bucket, *count);
        }
        let LatencyBound {
            bucket,
            is_supported,
            weighted_events,
            over_dispersion,
        } = self.data.latency_bound(&counts, quantile, confidence)?;
        let effective = weighted_events / over_dispersion;
        let (_, bound_micros) = bucket_bounds_micros(bucket);
        let threshold_micros = ladder_edge_micros(bound_micros)?;
        let unsupported = (!is_supported).then(|| {
            format!(
                "{} of {needed} independent events; so far the largest latency stands for the bound",
                tenths(effective)
            )
        });
        // The largest of n events is above the quantile with probability 1 − pⁿ.
        let confidence_of_largest = 1.0 - quantile.powf(effective.floor());
        let slices = self
            .data
            .slow_slices(|bucket| bucket_bounds_micros(bucket).1 > threshold_micros);
        Some(self.candidate(&Finding {
            sli: Sli::Latency { threshold_micros },
            target: quantile,
            events: observed_without_error(&self.sums),
            weighted_events,
            over_dispersion,
            method: if is_supported {
                "order-statistic"
            } else {
                "largest-seen"
            },
            confidence: if is_supported {
                confidence
            } else {
                confidence_of_largest
            },
            measured: counts.quantile_secs(quantile)?,
            bound: bound_micros as f64 / 1e6,
            slices: &slices,
            unsupported,
        }))
    }

    fn candidate(&self, finding: &Finding<'_>) -> Candidate {
        let missing = self.missing(finding);
        let budget = complement(finding.target);
        let incidents = incidents(finding.slices, budget);
        let days = self.data.secs() as f64 / SECS_PER_DAY;
        Candidate {
            name: String::new(),
            service: self.history.service.clone(),
            operation: self.history.operation.map(str::to_owned),
            sli: finding.sli,
            target: finding.target,
            window: self.settings.period,
            state: if missing.is_empty() {
                CandidateState::Ready
            } else {
                CandidateState::Provisional
            },
            missing,
            evidence: Evidence {
                events: finding.events,
                effective_events: finding.weighted_events / finding.over_dispersion,
                over_dispersion: finding.over_dispersion,
                slices_with_traffic: finding.slices.len() as u64,
                history_secs: self.data.secs(),
                coverage_ratio: finding.slices.len() as f64 / f64::from(self.data.slices),
                method: finding.method.to_owned(),
                confidence: finding.confidence,
                measured: finding.measured,
                bound: finding.bound,
                sampling: self.history.sampling.to_string(),
                incidents,
                incidents_per_day_upper: poisson_rate_upper(
                    incidents,
                    days,
                    self.settings.confidence,
                ),
            },
        }
    }

    /// What keeps a candidate from being ready, in words.
    fn missing(&self, finding: &Finding<'_>) -> Vec<String> {
        let settings = self.settings;
        let mut missing = Vec::new();
        if Duration::from_secs(self.data.available_secs) < settings.min_history {
            let wanted_secs = settings.min_history.as_secs_f64();
            let (unit, unit_secs) = if wanted_secs < SECS_PER_DAY {
                ("hours", 3_600.0)
            } else {
                ("days", SECS_PER_DAY)
            };
            missing.push(format!(
                "{} of {} {unit} of history",
                tenths(self.data.available_secs as f64 / unit_secs),
                tenths(wanted_secs / unit_secs),
            ));
        }
        let slices = finding.slices.len() as u64;
        if slices < settings.min_slices {
            missing.push(format!(
                "{slices} of {} five-minute slices with traffic",
                settings.min_slices
            ));
        }
        // Observed bad events decide, so that sampled events count once, not by their weight.
        let periods = settings.period.secs() as f64 / self.data.secs() as f64;
        let in_budget = complement(finding.target) * finding.weighted_events * periods;
        // Rounding aside: exactly the wanted number is enough.
        if in_budget < settings.min_bad_events_in_budget - 1e-6 {
            missing.push(format!(
                "{} of {} bad events that the budget of {} must allow: too little traffic for target {}",
                tenths(in_budget),
                tenths(settings.min_bad_events_in_budget),
                settings.period.label(),
                finding.target,
            ));
        }
        if !self.history.sampling.is_known() {
            missing.push("knowledge of the sampling: set sli.sampling".to_owned());
        }
        missing.extend(finding.unsupported.clone());
        missing
    }
}

/// A number with one digit, rounded down, so that what is missing never looks complete; whole numbers without it.
fn tenths(number: f64) -> String {
    let text = format!("{:.1}", (number * 10.0).floor() / 10.0);
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests;
