//! How the probability of failing a release that changed nothing is divided among its comparisons.
//!
//! Hierarchical Bonferroni: the service as a whole takes most of it, its operations share the rest evenly. The shares sum
//! to 1, so that the probabilities sum to 1 − confidence, whatever the comparisons have to do with each other. Passing needs no
//! share: a release passes if *all* comparisons of the service pass, and such an intersection–union test holds at the
//! level of each (Berger 1982).

use super::spending::Schedule;

/// Errors of the service: few requests must show them, so they take the most.
const SERVICE_ERRORS: f64 = 0.8;
/// Its latency, and its tail quantiles together: two thousand requests leave room.
const SERVICE_LATENCY: f64 = 0.04;
const SERVICE_TAIL: f64 = 0.04;
/// All operations together.
const OPERATIONS: f64 = 0.12;
/// Of one operation's share.
const OPERATION_ERRORS: f64 = 0.6;
const OPERATION_LATENCY: f64 = 0.2;
const OPERATION_TAIL: f64 = 0.2;

/// Five points more errors in two hundred requests beside two thousand have about this information.
pub(super) const ERRORS_FAIL: Schedule = Schedule::of_counts(2.5);
/// A version like the old one passes with about this much.
pub(super) const ERRORS_PASS: Schedule = Schedule::of_sums(30.0);
/// Requests m·n/(m + n): six hundred of each version.
pub(super) const LATENCY_FAIL: Schedule = Schedule::of_sums(300.0);
/// Two thousand of each.
pub(super) const LATENCY_PASS: Schedule = Schedule::of_sums(1_000.0);
/// Requests beyond the quantile: p95 of sixteen hundred of each version, p99 of eight thousand.
pub(super) const TAIL_FAIL: Schedule = Schedule::of_sums(20.0);
/// The same.
pub(super) const TAIL_PASS: Schedule = Schedule::of_sums(20.0);

/// The shares of one level: the service, or one operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shares {
    /// 1 − confidence.
    pub(super) alpha: f64,
    /// Share of the error comparison.
    pub(super) errors: f64,
    /// Of the latency.
    pub(super) latency: f64,
    /// Of each tail quantile.
    pub(super) tail: f64,
}

impl Shares {
    /// Of the whole service.
    pub(super) fn of_service(alpha: f64, quantiles: usize) -> Self {
        Self {
            alpha,
            errors: SERVICE_ERRORS,
            latency: SERVICE_LATENCY,
            tail: SERVICE_TAIL / quantiles.max(1) as f64,
        }
    }

    /// Of each of so many operations.
    pub(super) fn of_operation(alpha: f64, operations: usize, quantiles: usize) -> Self {
        let share = OPERATIONS / operations.max(1) as f64;
        Self {
            alpha,
            errors: share * OPERATION_ERRORS,
            latency: share * OPERATION_LATENCY,
            tail: share * OPERATION_TAIL / quantiles.max(1) as f64,
        }
    }
}
