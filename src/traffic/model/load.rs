//! How often a system is asked, how that changes over time, and what goes wrong meanwhile.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::fault::{Fault, FaultTarget};
use crate::traffic::model::OperationRef;

/// Seconds of an hour.
const HOUR_SECS: f64 = 3_600.0;

/// Hours of a day.
const DAY_HOURS: f64 = 24.0;

/// 1 January 1970 was a Thursday; weeks here begin on Monday.
const EPOCH_WEEKDAY: f64 = 3.0;

/// An operation that is asked from outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RootLoad {
    /// Name of the service in the model.
    pub service: String,
    /// Name of the operation in the model.
    pub operation: String,
    /// How often, on average.
    pub per_minute: f64,
}

impl RootLoad {
    /// The operation.
    pub fn target(&self) -> OperationRef {
        OperationRef {
            service: self.service.clone(),
            operation: self.operation.clone(),
        }
    }
}

/// How the load changes over time; factors multiply.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct LoadShape {
    /// A factor for the middle of each hour of the day in UTC, 24 of them or none; straight lines between.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub daily: Vec<f64>,
    /// A factor for each day of the week from Monday, 7 of them or none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weekly: Vec<f64>,
    /// Times with more or less.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bursts: Vec<Burst>,
}

/// A time with more load, or less.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// When it begins, after the start of the traffic.
    #[serde(with = "humantime_serde")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub at: Duration,
    /// How long it lasts.
    #[serde(rename = "for", with = "humantime_serde")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub lasts: Duration,
    /// How often it comes again, counted from start to start; once if not said.
    #[serde(
        default,
        with = "humantime_serde",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub every: Option<Duration>,
    /// The load is multiplied by this.
    pub factor: f64,
}

/// A fault, and when it is there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ScheduledFault {
    /// For people.
    pub name: String,
    /// When it begins, after the start of the traffic.
    #[serde(with = "humantime_serde")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub at: Duration,
    /// How long it lasts; to the end if not said.
    #[serde(
        rename = "for",
        with = "humantime_serde",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub lasts: Option<Duration>,
    /// Where.
    pub target: FaultTarget,
    /// What.
    pub fault: Fault,
}

/// A version that takes over from the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// Name of the service in the model.
    pub service: String,
    /// The new version.
    pub version: String,
    /// When it begins, after the start of the traffic.
    #[serde(with = "humantime_serde")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub at: Duration,
    /// How long it takes from the first share to the last, in a straight line.
    #[serde(with = "humantime_serde")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub over: Duration,
    /// Its share of the requests at the start.
    #[serde(default)]
    pub from: f64,
    /// Its share of the requests at the end, which stays.
    #[serde(default = "all")]
    pub to: f64,
}

fn all() -> f64 {
    1.0
}

impl LoadShape {
    /// The factor at a time: seconds since the Unix epoch, and seconds since the start of the traffic.
    pub fn factor(&self, epoch_secs: f64, since_start_secs: f64) -> f64 {
        let hours = epoch_secs / HOUR_SECS;
        let mut factor = self.daily_factor(hours.rem_euclid(DAY_HOURS));
        let weekday = ((hours / DAY_HOURS).floor() + EPOCH_WEEKDAY).rem_euclid(7.0);
        factor *= self.weekly.get(index(weekday)).copied().unwrap_or(1.0);
        for burst in &self.bursts {
            if burst.is_on(since_start_secs) {
                factor *= burst.factor;
            }
        }
        factor
    }

    /// No factor is greater.
    pub fn max_factor(&self) -> f64 {
        let most = |factors: &[f64]| factors.iter().copied().reduce(f64::max).unwrap_or(1.0);
        let bursts: f64 = self
            .bursts
            .iter()
            .map(|burst| burst.factor.max(1.0))
            .product();
        most(&self.daily) * most(&self.weekly) * bursts
    }

    fn daily_factor(&self, hour: f64) -> f64 {
        let count = self.daily.len();
        if count == 0 {
            return 1.0;
        }
        // A factor holds in the middle of its hour.
        let at = (hour - 0.5).rem_euclid(DAY_HOURS);
        let before = index(at.floor()) % count;
        let of = |hour: usize| self.daily.get(hour % count).copied().unwrap_or(1.0);
        let part = at - at.floor();
        of(before) * (1.0 - part) + of(before + 1) * part
    }
}

impl Burst {
    fn is_on(&self, since_start_secs: f64) -> bool {
        let since = since_start_secs - self.at.as_secs_f64();
        let since = match self.every {
            Some(every) if since >= 0.0 => since.rem_euclid(every.as_secs_f64()),
            Some(_) | None => since,
        };
        (0.0..self.lasts.as_secs_f64()).contains(&since)
    }
}

impl ScheduledFault {
    /// Whether it is there so long after the start of the traffic.
    pub fn is_on(&self, since_start: Duration) -> bool {
        since_start
            .checked_sub(self.at)
            .is_some_and(|since| self.lasts.is_none_or(|lasts| since < lasts))
    }
}

impl Rollout {
    /// The share of the new version; `None` before it begins.
    pub fn share(&self, since_start: Duration) -> Option<f64> {
        let since = since_start.checked_sub(self.at)?.as_secs_f64();
        let part = if self.over.is_zero() {
            1.0
        } else {
            (since / self.over.as_secs_f64()).min(1.0)
        };
        Some(self.from + (self.to - self.from) * part)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a whole number from 0 to 24"
)]
fn index(number: f64) -> usize {
    number as usize
}
