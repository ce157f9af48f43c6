//! How often the evidence of many histories of one stream covers its truth.

use std::collections::BTreeMap;

use super::streams::Stream;
use super::{Candidate, MinuteRow, Sampling, SeriesHistory, ServiceKey, Settings, Sli, fit};

/// What the evidence of many histories said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Share of the histories whose bound covers the truth; a history without a bound does not.
    pub(super) covered: f64,
    /// Median of the bounds, as a multiple of the truth.
    pub(super) bound_median: f64,
    /// Incidents of a history on average, as its own objective sees them.
    pub(super) incidents: f64,
    /// Those that the evidence counts.
    pub(super) incidents_counted: f64,
    /// Share of the histories whose incident rate that cannot be excluded is at least the stream's.
    pub(super) rate_covered: f64,
}

impl Tally {
    /// Fits the histories of the seeds below `histories`.
    pub(super) fn of(stream: &Stream, histories: u64) -> Self {
        let truth = stream
            .true_quantile_secs()
            .unwrap_or(stream.true_error_ratio());
        let (candidates, spared): (Vec<_>, Vec<_>) = (0..histories)
            .map(|seed| {
                let history = stream.history(seed);
                (candidate(stream, &history.rows), history.spared)
            })
            .unzip();
        let candidates: Vec<Candidate> = candidates.into_iter().flatten().collect();
        let mut bounds: Vec<f64> = candidates.iter().map(bound).collect();
        bounds.sort_by(f64::total_cmp);

        // What an incident is depends on the objective: its rate is that of all histories together.
        let mut rates = BTreeMap::new();
        let mut tally = Self::default();
        for candidate in &candidates {
            let evidence = &candidate.evidence;
            let incidents = *rates.entry(objective(candidate)).or_insert_with(|| {
                let (sli, target) = (candidate.sli, candidate.target);
                let counts = spared.iter().map(|one| stream.incidents(one, sli, target));
                counts.sum::<u64>() as f64 / histories as f64
            });
            let per_day = incidents / f64::from(stream.days);
            tally.incidents += incidents;
            tally.incidents_counted += evidence.incidents as f64;
            tally.rate_covered += f64::from(u8::from(evidence.incidents_per_day_upper >= per_day));
        }
        tally.incidents /= candidates.len() as f64;
        tally.incidents_counted /= candidates.len() as f64;
        tally.rate_covered /= histories as f64;
        let covering = bounds.iter().filter(|bound| **bound >= truth).count();
        tally.covered = covering as f64 / histories as f64;
        tally.bound_median = bounds
            .get(bounds.len() / 2)
            .map_or(f64::NAN, |median| median / truth);
        tally
    }
}

/// The candidate that the stream is about.
fn candidate(stream: &Stream, rows: &[MinuteRow]) -> Option<Candidate> {
    let history = SeriesHistory {
        service: &ServiceKey::named("study"),
        operation: None,
        rows,
        sampling: Sampling::Tracestate,
    };
    let candidates = fit(&history, &Settings::default());
    candidates
        .into_iter()
        .find(|candidate| match candidate.sli {
            Sli::Latency { .. } => stream.durations.is_some(),
            Sli::Availability => stream.durations.is_none(),
            Sli::ErrorRate => false,
        })
}

/// The upper bound of the latency in seconds, or of the error ratio.
fn bound(candidate: &Candidate) -> f64 {
    match candidate.sli {
        Sli::Latency { .. } => candidate.evidence.bound,
        Sli::Availability | Sli::ErrorRate => 1.0 - candidate.evidence.bound,
    }
}

/// What tells objectives apart: threshold and target.
fn objective(candidate: &Candidate) -> (u64, u64) {
    let threshold_micros = match candidate.sli {
        Sli::Latency { threshold_micros } => threshold_micros,
        Sli::Availability | Sli::ErrorRate => 0,
    };
    (threshold_micros, candidate.target.to_bits())
}
