//! How the probability of a false alarm is spent over all looks, so that a verdict may be asked for at any time.
//!
//! A look at information `v` rejects where its fixed-sample p-value is at most c·g(v/peak), with the shape
//! g(u) = min(u², max(u⁻², 0.1/u)). It is a spending function in the sense of Lan and `DeMets` (1983), written as a boundary of
//! the p-value: most is spent about the peak, where the regressions that matter are to be found, little before, where
//! hardly anything can be found, and what is left (0.1/u) at every later size, so that a small regression is found late rather than never.
//! No look needs to know of an earlier one.
//!
//! Mixture boundaries (Robbins 1970; Johari et al. 2017; Howard et al. 2021; for 2×2 tables Turner, Ly and Grünwald 2021)
//! are as stateless and hold without any calibration. But of the counts that five points more errors leave in two hundred requests, 8 against 20 of 2 000,
//! even the greatest likelihood ratio is 83: no e-value can reach the 125 that 0.8 % ask for, while the
//! exact p-value is 0.003. That is why the probability is spent here.
//!
//! c is α over the inflation: how much likelier it is to cross at any look than at the one of the peak. It was computed by
//! dynamic programming of the exact walk in which each bad event belongs to the new version with the
//! probability of its share of the traffic, with a look at every single event (the tests do it again). The walk
//! does not depend on the error ratio, which is why it holds for all of them.

/// Where the probability of one comparison is spent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// Information at which most of it is spent.
    pub(super) peak: f64,
    /// Inflation of all looks at c = 1, and what each decade below adds.
    inflation: (f64, f64),
}

/// Share of the level at the peak that is left at u = 1, falling as 1/u.
const LATE: f64 = 0.1;

impl Schedule {
    /// Of few events: their discreteness alone keeps most looks from spending anything.
    pub(super) const fn of_counts(peak: f64) -> Self {
        Self {
            peak,
            inflation: (1.02, 0.425),
        }
    }

    /// Of sums of many small parts: a Brownian motion, looked at all the time.
    pub(super) const fn of_sums(peak: f64) -> Self {
        Self {
            peak,
            inflation: (1.1, 1.3),
        }
    }

    /// The p-value that a look must not exceed to reject, where `alpha` is to hold over all looks.
    pub(super) fn level(self, alpha: f64, information: f64) -> f64 {
        // α = c·inflation(c); three steps from above settle the first three digits.
        let mut at_peak = alpha;
        for _ in 0..4 {
            at_peak = alpha / self.inflation_at(at_peak);
        }
        at_peak * self.shape(information)
    }

    /// The smallest α at which a look with this p-value rejects: a p-value that holds at any look.
    pub(super) fn anytime(self, p_value: f64, information: f64) -> f64 {
        let shape = self.shape(information);
        if shape <= 0.0 || p_value >= shape {
            return 1.0;
        }
        let at_peak = p_value / shape;
        (at_peak * self.inflation_at(at_peak)).min(1.0)
    }

    fn shape(self, information: f64) -> f64 {
        let u = information / self.peak;
        if u > 0.0 {
            (u * u).min((u * u).recip().max(LATE / u)).min(1.0)
        } else {
            0.0
        }
    }

    fn inflation_at(self, at_peak: f64) -> f64 {
        let (first, decade) = self.inflation;
        (first - decade * at_peak.max(f64::MIN_POSITIVE).log10()).max(1.0)
    }
}
