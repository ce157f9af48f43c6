//! How two versions of a service are compared: section `canary`.

use serde::{Deserialize, Serialize};

/// Section `canary`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Probability that a release which changes nothing never fails, however often it is looked at, a ratio. Default 0.99.
    /// From 0.9 to 0.9999; a higher one needs more requests to fail a bad release.
    pub confidence: f64,

    /// Difference of the error ratios that is tolerated, a ratio. Default 0.005: half a point. Above 0 and below 1; a
    /// smaller one needs more requests to pass.
    pub error_tolerance: f64,

    /// Shift of the latency that is tolerated, as a share of the old version's median. Default 0.1. Above 0.
    pub latency_tolerance: f64,

    /// Shift of a tail quantile that is tolerated, as a share of the old version's quantile. Default 0.2. Above 0.
    pub tail_tolerance: f64,

    /// Share of the estimated shift of the latency that the shift must exceed beyond chance to fail. Default 0.25, as in
    /// Kayenta. 0 lets any shift fail that is not chance; at most 0.9.
    pub min_shift_share: f64,

    /// Quantiles that stand for the slowest part of the requests. Default 0.95 and 0.99. At most 4, each from 0.5 to 0.999;
    /// a high one needs many requests. `[]` compares no tail.
    pub tail_quantiles: Vec<f64>,

    /// Requests that the new version must have taken before anything is decided. Default 20; 0 asks for none.
    pub min_requests: u64,

    /// What a way of failing does that the old version did not have. Default `warn`.
    pub new_error_kinds: Consequence,

    /// What a dependency does that only one of the versions calls. Default `warn`.
    pub dependency_changes: Consequence,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            confidence: 0.99,
            error_tolerance: 0.005,
            latency_tolerance: 0.1,
            tail_tolerance: 0.2,
            min_shift_share: 0.25,
            tail_quantiles: vec![0.95, 0.99],
            min_requests: 20,
            new_error_kinds: Consequence::Warn,
            dependency_changes: Consequence::Warn,
        }
    }
}

/// What a finding does to the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consequence {
    /// It is reported, and that is all.
    Ignore,
    /// The verdict is `warn` where it would be `pass`.
    Warn,
    /// The verdict is `fail`.
    Fail,
}

impl Settings {
    /// The first key whose value is not allowed, with what is.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let shares = [
            ("latency_tolerance", self.latency_tolerance),
            ("tail_tolerance", self.tail_tolerance),
        ];
        if !(0.9..=0.9999).contains(&self.confidence) {
            return Err(("confidence", "must be from 0.9 to 0.9999"));
        }
        if !(self.error_tolerance > 0.0 && self.error_tolerance < 1.0) {
            return Err(("error_tolerance", "must be above 0 and below 1"));
        }
        for (key, share) in shares {
            if !(share > 0.0 && share.is_finite()) {
                return Err((key, "must be above 0"));
            }
        }
        if !(0.0..=0.9).contains(&self.min_shift_share) {
            return Err(("min_shift_share", "must be from 0 to 0.9"));
        }
        let quantiles = &self.tail_quantiles;
        if quantiles.len() > 4 || !quantiles.iter().all(|one| (0.5..=0.999).contains(one)) {
            return Err((
                "tail_quantiles",
                "must be at most 4 quantiles from 0.5 to 0.999",
            ));
        }
        Ok(())
    }
}
