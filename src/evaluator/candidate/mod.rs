//! What the history of a series suggests as objectives.
//!
//! Each suggestion rests on an upper bound that holds whatever the distribution: Clopper–Pearson of the error ratio,
//! and an order statistic of the latency. Both take an *effective* number of events, since events of one incident do
//! not fail independently. Bounds then snap to ladders, to the looser side, so that an objective is never violated
//! by the data it was born from.
//!
//! The way of a history to a candidate:
//!
//! 1. `change_point`: what is older than the last lasting change of level is left out.
//! 2. `slices` and `fitting`: the bound of the rest, and the step of the ladder that it carries.
//! 3. `walk`: from there down the `ladder` to the tightest step that can be promised. What a step would have done on data
//!    that came after those it was fitted on says the `replay`, by the very rules that page.
//! 4. `strata`: the hour of the week that does worse, if there is one.
//!
//! Invariant: pure. The history is the only input beside the settings; there is no clock.

#![doc = include_str!("study.md")]

mod change_point;
mod fitting;
mod ladder;
mod names;
mod replay;
mod settings;
mod slices;
mod strata;
mod walk;

use std::time::Duration;

use crate::evaluator::statistics::poisson_rate_upper;
use crate::model::candidate::{Candidate, CandidateState, Evidence};
use crate::model::history::MinuteRow;
use crate::model::series::ServiceKey;
use crate::model::slo::Sli;

pub use ladder::TARGET_LADDER;
pub use names::assign_names;
pub use replay::{Onset, onset};
pub use settings::{ChangeSettings, ReplaySettings, Sampling, Settings};

use crate::evaluator::figures::tenths;
use change_point::{Change, Indicator, last_change};
use fitting::{Estimate, estimate, slices_of};
use ladder::{budget_of, complement};
use replay::{Trial, time_of};
use slices::{DataUsed, Slice, incidents};
use strata::worst_hour;
use walk::{Choice, Walk, bad_events_in_budget, is_too_few};

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
/// where the history has events for it. Their names are those of [`assign_names`] without collisions.
///
/// With too little data for a bound, a candidate is shown all the same, as provisional, and says what is missing.
/// Where not even the loosest step of the ladder holds, it is shown as rejected, and says why.
pub fn fit(history: &SeriesHistory<'_>, settings: &Settings) -> Vec<Candidate> {
    let mut candidates = Vec::with_capacity(3);
    if let Some(availability) = candidate(history, Indicator::Errors, settings) {
        let error_rate = error_rate_of(&availability);
        candidates.extend([availability, error_rate]);
    }
    let latency = Indicator::Latency(settings.quantile);
    candidates.extend(candidate(history, latency, settings));
    for candidate in &mut candidates {
        candidate.name = names::plain_name(candidate);
    }
    candidates
}

/// The complement of an availability candidate: the same data, bounded from the other side.
fn error_rate_of(availability: &Candidate) -> Candidate {
    Candidate {
        sli: Sli::ErrorRate,
        target: complement(availability.target),
        ..availability.clone()
    }
}

/// The candidate of one indicator.
fn candidate(
    history: &SeriesHistory<'_>,
    indicator: Indicator,
    settings: &Settings,
) -> Option<Candidate> {
    let change = last_change(history.rows, indicator, settings);
    let since = change.as_ref().map_or(0, |change| change.minute);
    let older = history.rows.partition_point(|row| row.minute < since);
    let rows = history.rows.get(older..)?;
    let data = DataUsed::of(rows)?;
    let estimate = estimate(&data, indicator, settings)?;
    let trial = Trial::new(rows, indicator, settings);
    let walk = Walk {
        data: &data,
        estimate: &estimate,
        trial: trial.as_ref().ok(),
        settings,
    };
    let choice = walk.choose();
    let slices = slices_of(&data, choice.step.sli);
    let finding = Finding {
        history,
        settings,
        data,
        estimate: &estimate,
        choice: &choice,
        change: change.as_ref(),
        slices: &slices,
    };
    let missing = finding.missing();
    let mut evidence = finding.evidence();
    match trial.map(|trial| trial.replay(choice.step)) {
        Ok(Some(replay)) => evidence.replay = Some(replay),
        Ok(None) => evidence.replay_missing = Some("the hold-out has no events".to_owned()),
        Err(missing) => evidence.replay_missing = Some(missing),
    }
    let state = if evidence.rejection.is_some() {
        CandidateState::Rejected
    } else if missing.is_empty() {
        CandidateState::Ready
    } else {
        CandidateState::Provisional
    };
    Some(Candidate {
        name: String::new(),
        service: history.service.clone(),
        operation: history.operation.map(str::to_owned),
        sli: choice.step.sli,
        target: choice.step.target,
        window: settings.period,
        state,
        missing,
        evidence,
    })
}

/// What was found of one indicator.
struct Finding<'a> {
    history: &'a SeriesHistory<'a>,
    settings: &'a Settings,
    data: DataUsed<'a>,
    estimate: &'a Estimate,
    choice: &'a Choice,
    change: Option<&'a Change>,
    /// Slices whose bad events are those that the objective counts.
    slices: &'a [Slice],
}

impl Finding<'_> {
    fn evidence(&self) -> Evidence {
        let Estimate {
            events,
            weighted_events,
            over_dispersion,
            confidence,
            measured,
            bound,
            ..
        } = *self.estimate;
        let incidents = incidents(self.slices, budget_of(self.choice.step));
        let days = self.data.secs() as f64 / SECS_PER_DAY;
        Evidence {
            events,
            effective_events: weighted_events / over_dispersion,
            over_dispersion,
            slices_with_traffic: self.slices.len() as u64,
            history_secs: self.data.secs(),
            coverage_ratio: self.slices.len() as f64 / f64::from(self.data.slices),
            method: self.estimate.method.to_owned(),
            confidence,
            measured,
            bound,
            sampling: self.history.sampling.to_string(),
            incidents,
            incidents_per_day_upper: poisson_rate_upper(incidents, days, self.settings.confidence),
            regime_since: self.change.map(|change| time_of(change.minute)),
            regime_change: self.change.map(|change| change.text.clone()),
            worst_hour: worst_hour(
                self.data.rows,
                self.choice.step.sli,
                self.settings.confidence,
            ),
            considered: self.choice.considered.clone(),
            replay: None,
            replay_missing: None,
            rejection: self.choice.rejection.clone(),
        }
    }

    /// What keeps a candidate from being ready, in words.
    fn missing(&self) -> Vec<String> {
        let settings = self.settings;
        let mut missing = Vec::new();
        if Duration::from_secs(self.data.available_secs) < settings.min_history {
            let wanted_secs = settings.min_history.as_secs_f64();
            let (unit, unit_secs) = if wanted_secs < SECS_PER_DAY {
                ("hours", 3_600.0)
            } else {
                ("days", SECS_PER_DAY)
            };
            let since = self.change.map_or_else(String::new, |change| {
                format!(" since {} at {}", change.text, time_of(change.minute))
            });
            missing.push(format!(
                "{} of {} {unit} of history{since}",
                tenths(self.data.available_secs as f64 / unit_secs),
                tenths(wanted_secs / unit_secs),
            ));
        }
        let slices = self.slices.len() as u64;
        if slices < settings.min_slices {
            missing.push(format!(
                "{slices} of {} five-minute slices with traffic",
                settings.min_slices
            ));
        }
        // Observed bad events decide, so that sampled events count once, not by their weight.
        let step = self.choice.step;
        let in_budget = bad_events_in_budget(step, self.estimate, self.data.secs(), settings);
        if is_too_few(in_budget, settings) {
            missing.push(format!(
                "{} of {} bad events that the budget of {} must allow: too little traffic for target {}",
                tenths(in_budget),
                tenths(settings.min_bad_events_in_budget),
                settings.period.label(),
                step.target,
            ));
        }
        if self.history.sampling == Sampling::Assumed {
            missing.push(format!(
                "knowledge of the sampling: senders were asked for a share (sampling_server) that their spans do not say, so \
                 that they are weighed by an assumption; let them write ot=th, or set sli.sampling_by_service.{}",
                self.history.service.name
            ));
        } else if !self.history.sampling.is_known() {
            missing.push("knowledge of the sampling: set sli.sampling".to_owned());
        }
        missing.extend(self.estimate.unsupported.clone());
        missing
    }
}

#[cfg(test)]
mod tests;
