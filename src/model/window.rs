//! The windows that are always answered, their sums, and the fixed ladder of latency thresholds.

use serde::{Deserialize, Serialize};

use crate::model::NANOS_PER_SEC;

/// A rolling window that ends now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Window {
    /// Five minutes.
    #[serde(rename = "5m")]
    M5,
    /// Thirty minutes.
    #[serde(rename = "30m")]
    M30,
    /// One hour.
    #[serde(rename = "1h")]
    H1,
    /// Two hours.
    #[serde(rename = "2h")]
    H2,
    /// Six hours.
    #[serde(rename = "6h")]
    H6,
    /// One day.
    #[serde(rename = "1d")]
    D1,
    /// Three days.
    #[serde(rename = "3d")]
    D3,
    /// Seven days.
    #[serde(rename = "7d")]
    D7,
    /// Twenty-eight days: four whole weeks.
    #[serde(rename = "28d")]
    D28,
    /// Thirty days.
    #[serde(rename = "30d")]
    D30,
}

impl Window {
    /// All windows, the shortest first.
    pub const ALL: [Self; 10] = [
        Self::M5,
        Self::M30,
        Self::H1,
        Self::H2,
        Self::H6,
        Self::D1,
        Self::D3,
        Self::D7,
        Self::D28,
        Self::D30,
    ];

    /// Length in seconds.
    pub const fn secs(self) -> u64 {
        match self {
            Self::M5 => 300,
            Self::M30 => 1_800,
            Self::H1 => 3_600,
            Self::H2 => 7_200,
            Self::H6 => 21_600,
            Self::D1 => 86_400,
            Self::D3 => 3 * 86_400,
            Self::D7 => 7 * 86_400,
            Self::D28 => 28 * 86_400,
            Self::D30 => 30 * 86_400,
        }
    }

    /// Length in nanoseconds.
    pub const fn nanos(self) -> u64 {
        self.secs() * NANOS_PER_SEC
    }

    /// As written in PromQL and OpenSLO.
    pub const fn label(self) -> &'static str {
        match self {
            Self::M5 => "5m",
            Self::M30 => "30m",
            Self::H1 => "1h",
            Self::H2 => "2h",
            Self::H6 => "6h",
            Self::D1 => "1d",
            Self::D3 => "3d",
            Self::D7 => "7d",
            Self::D28 => "28d",
            Self::D30 => "30d",
        }
    }

    /// The held window whose length is nearest by ratio to `secs`.
    pub fn nearest(secs: f64) -> Self {
        let distance = |window: &Self| {
            let ratio = window.secs() as f64 / secs.max(1.0);
            ratio.max(1.0 / ratio)
        };
        Self::ALL
            .into_iter()
            .min_by(|a, b| distance(a).total_cmp(&distance(b)))
            .unwrap_or(Self::D30)
    }
}

/// The sums of a window.
///
/// `total` and `bad` are adjusted counts (each event weighs what its sampling says); `observed_*` are the events seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WindowSums {
    /// Adjusted count of the events.
    pub total: f64,
    /// Adjusted count of the bad events.
    pub bad: f64,
    /// Sum of the squared weights, for the effective sample size (Σw)²/Σw².
    pub squared: f64,
    /// Events seen.
    pub observed_total: u64,
    /// Bad events seen.
    pub observed_bad: u64,
}

impl WindowSums {
    /// Bad over all, `None` without events.
    pub fn error_ratio(&self) -> Option<f64> {
        (self.total > 0.0).then(|| self.bad / self.total)
    }

    /// Kish's effective number of events: (Σw)²/Σw².
    pub fn effective_events(&self) -> f64 {
        if self.squared > 0.0 {
            self.total * self.total / self.squared
        } else {
            0.0
        }
    }

    /// What is left of these sums without a part of them.
    #[must_use]
    pub fn minus(self, part: Self) -> Self {
        Self {
            total: self.total - part.total,
            bad: self.bad - part.bad,
            squared: self.squared - part.squared,
            observed_total: self.observed_total - part.observed_total,
            observed_bad: self.observed_bad - part.observed_bad,
        }
    }

    /// Both sums together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            total: self.total + other.total,
            bad: self.bad + other.bad,
            squared: self.squared + other.squared,
            observed_total: self.observed_total + other.observed_total,
            observed_bad: self.observed_bad + other.observed_bad,
        }
    }
}

/// The edges that latency thresholds and histogram buckets use everywhere, in microseconds.
pub const LATENCY_LADDER_MICROS: [u64; 30] = [
    500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 50_000, 75_000, 100_000, 150_000, 200_000,
    250_000, 300_000, 400_000, 500_000, 750_000, 1_000_000, 1_500_000, 2_000_000, 2_500_000,
    3_000_000, 4_000_000, 5_000_000, 7_500_000, 10_000_000, 15_000_000, 20_000_000, 30_000_000,
    60_000_000,
];

/// The ladder's edge at or above a latency, `None` above the last one.
pub fn ladder_edge_micros(latency_micros: u64) -> Option<u64> {
    LATENCY_LADDER_MICROS
        .into_iter()
        .find(|edge| *edge >= latency_micros)
}
