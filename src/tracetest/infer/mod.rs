//! A first suite from observed traces: what is stable in them, with the figures that each bound comes from.
//!
//! For each root operation up to three tests are made:
//!
//! 1. *structure*, of traces whose root is answered well: calls between services that every trace has, no others than
//!    were seen, numbers of spans, alike calls of one parent, and what errors inside did to the root;
//! 2. *latency*, of the same traces: an upper bound of a quantile of the root and of every entry span, by order statistics,
//!    whatever the distribution, with a margin;
//! 3. *errors*, of all traces: an upper bound of the error ratio by Clopper–Pearson, with a margin.
//!
//! All are statistical: how high a pass rate they ask for depends on how many traces were seen, so that as many traces again
//! can decide them.

mod observe;
#[cfg(test)]
mod tests;
mod write;

use crate::evaluator::statistics::{clopper_pearson_upper, events_needed, order_statistic_rank};
use crate::model::trace::Trace;

use observe::{Operation, operations};

/// Confidence of every bound.
pub(crate) const CONFIDENCE: f64 = 0.95;

/// Root operations that get tests, the busiest first.
const OPERATIONS_MAX: usize = 50;

/// What a latency bound is multiplied by: machines, releases and times of day differ.
const LATENCY_MARGIN: f64 = 1.25;

/// What the bound of the error ratio is multiplied by.
const ERROR_MARGIN: f64 = 2.0;

/// What the highest number of spans of one kind, or of alike calls, is multiplied by where it varies.
const COUNT_MARGIN: u64 = 2;

/// Alike calls that are no loop yet.
const ALIKE_CALLS_MIN: u64 = 3;

/// Errors at one place from which on it is believed what they do to the root.
const ERRORS_MIN: u64 = 3;

/// Pass rates of tests about structure, the highest that the traces carry.
const STRUCTURE_RATES: [f64; 4] = [0.95, 0.9, 0.8, 0.5];

/// Quantiles of durations, each with the pass rate that is asked for: less than the quantile, since fresh traces scatter.
const LATENCY_RATES: [(f64, f64); 4] = [(0.95, 0.9), (0.9, 0.8), (0.75, 0.5), (0.5, 0.35)];

/// A suite of these traces, and for whom it could not be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inferred {
    /// The file.
    pub yaml: String,
    /// Root operations that have tests.
    pub operations: usize,
    /// Root operations that were seen too seldom, or are beyond the number that get tests: name and traces.
    pub left_out: Vec<(String, usize)>,
    /// Traces that are not whole and were not looked at.
    pub incomplete_traces: usize,
}

/// Writes a suite. It passes on these traces.
pub fn infer(traces: &[Trace]) -> Inferred {
    let (operations, incomplete_traces) = operations(traces);
    let (told, seldom): (Vec<Operation>, Vec<Operation>) = operations
        .into_iter()
        .partition(|operation| structure_rate(operation.answered.len()).is_some());
    let beyond = told.iter().skip(OPERATIONS_MAX);
    let left_out = beyond.chain(&seldom);
    let left_out = left_out.map(|operation| (operation.label(), operation.traces));
    let left_out: Vec<(String, usize)> = left_out.collect();
    let told: Vec<&Operation> = told.iter().take(OPERATIONS_MAX).collect();
    Inferred {
        yaml: write::suite(&told, &left_out, traces.len(), incomplete_traces),
        operations: told.len(),
        left_out,
        incomplete_traces,
    }
}

/// The highest pass rate that so many traces without a failure show.
fn structure_rate(traces: usize) -> Option<f64> {
    let mut rates = STRUCTURE_RATES.into_iter();
    rates
        .find(|rate| events_needed(*rate, CONFIDENCE).is_some_and(|needed| traces as u64 >= needed))
}

/// An upper bound of a quantile.
#[derive(Clone, Copy, Debug, PartialEq)]
struct LatencyBound {
    quantile: f64,
    pass_rate: f64,
    /// The order statistic, in nanoseconds.
    bound: u64,
    /// Its rank.
    rank: u64,
    /// With the margin, rounded up.
    limit: u64,
}

/// The bound of the highest quantile that the durations carry.
fn latency_bound(durations: &[u64]) -> Option<LatencyBound> {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    LATENCY_RATES.into_iter().find_map(|(quantile, pass_rate)| {
        let rank = order_statistic_rank(sorted.len() as f64, quantile, CONFIDENCE)?;
        let index = usize::try_from(rank).ok()?.checked_sub(1)?;
        let bound = *sorted.get(index)?;
        Some(LatencyBound {
            quantile,
            pass_rate,
            bound,
            rank,
            limit: rounded_up(bound as f64 * LATENCY_MARGIN),
        })
    })
}

/// Two digits, upwards, of at least a microsecond.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "durations are positive and below 2^63 nanoseconds"
)]
fn rounded_up(nanos: f64) -> u64 {
    let digits = nanos.max(1_000.0).log10().floor() - 1.0;
    let unit = 10_f64.powf(digits).max(1_000.0);
    ((nanos / unit).ceil().max(1.0) * unit) as u64
}

/// The lowest pass rate of roots that is still as good as what was seen, in thousandths.
fn error_pass_rate(failed: usize, traces: usize) -> Option<f64> {
    let upper = clopper_pearson_upper(failed as f64, traces as f64, CONFIDENCE);
    let rate = ((1.0 - ERROR_MARGIN * upper) * 1_000.0).floor() / 1_000.0;
    (rate >= 0.5).then_some(rate)
}
