//! Faults as data: what is wrong, and where. The traffic generator makes them, the simulation adds them to traces.
//!
//! Both mean the same by each of them:
//!
//! - `latency` changes the own time of a request: what the entry span and the internal spans below it spend outside
//!   calls and queries. What is added is added before the first call.
//! - `error` makes a share of the requests fail: after their own time, and without any of their calls.
//! - `outage` and `partial_outage` refuse all requests or a share of them: after a millisecond, with an error. A
//!   `silent` outage leaves no span of the service, as a process that is gone reports nothing.
//! - `timeout` lets a share of the requests hang until their callers give up.
//! - `retry_storm` makes a share of the requests fail as `error` does, and their callers try again.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::distribution::Distribution;

/// How long a service that is out takes to refuse, in milliseconds.
pub const REFUSAL_MS: f64 = 1.0;

/// Where a fault is: everything that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct FaultTarget {
    /// Name of the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Operation as the windows name it, `GET /users/{id}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Version of the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl FaultTarget {
    /// Every operation of a service.
    pub fn service(name: impl Into<String>) -> Self {
        Self {
            service: Some(name.into()),
            ..Self::default()
        }
    }

    /// Whether requests of this operation are meant. `version` is `None` where it is not known yet.
    pub fn matches(&self, service: &str, operation: &str, version: Option<&str>) -> bool {
        let is = |wanted: &Option<String>, seen: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == seen)
        };
        is(&self.service, service)
            && is(&self.operation, operation)
            && version.is_none_or(|version| is(&self.version, version))
    }
}

/// How latency changes.
#[derive(Clone, Debug, PartialEq)]
pub enum LatencyChange {
    /// A fixed time is added to each request: `+200ms`.
    Added(Duration),
    /// The own time is multiplied: `×1.5` or `x1.5`.
    Factor(f64),
    /// The whole time of each request is multiplied, its calls and all: `×1.5 total`.
    TotalFactor(f64),
    /// A time drawn from a distribution is added to each request.
    Drawn(Distribution),
}

/// What is wrong. All that is given happens together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// Requests take longer, or shorter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyChange>,
    /// Share of the requests that fail beside those that always do, 0 to 1.
    #[serde(skip_serializing_if = "is_zero")]
    pub error: f64,
    /// No request is served.
    #[serde(skip_serializing_if = "is_false")]
    pub outage: bool,
    /// Share of the requests that are not served, 0 to 1.
    #[serde(skip_serializing_if = "is_zero")]
    pub partial_outage: f64,
    /// What is not served leaves no span of the service either.
    #[serde(skip_serializing_if = "is_false")]
    pub silent: bool,
    /// Requests hang.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<TimeoutFault>,
    /// Requests fail and are tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_storm: Option<RetryStorm>,
}

/// Requests that hang until their callers give up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TimeoutFault {
    /// When the callers give up.
    #[serde(with = "humantime_serde")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub after: Duration,
    /// Share of the requests that hang.
    #[serde(default = "one")]
    pub ratio: f64,
}

/// Requests that fail and are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RetryStorm {
    /// Share of the requests that fail, each attempt by itself.
    pub ratio: f64,
    /// How often a caller tries, the first time included.
    pub attempts: u32,
    /// How long it waits before it tries again.
    #[serde(default, with = "humantime_serde")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub backoff: Duration,
}

fn one() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(ratio: &f64) -> bool {
    *ratio == 0.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Fault {
    /// A fault that only makes requests fail.
    pub fn error(ratio: f64) -> Self {
        Self {
            error: ratio,
            ..Self::default()
        }
    }

    /// A fault that only changes latency.
    pub fn latency(change: LatencyChange) -> Self {
        Self {
            latency: Some(change),
            ..Self::default()
        }
    }

    /// Whether nothing is wrong.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Share of the requests that are not served.
    pub fn outage_ratio(&self) -> f64 {
        if self.outage {
            1.0
        } else {
            self.partial_outage
        }
    }

    /// Share of the requests that fail after their own time.
    pub fn error_ratio(&self) -> f64 {
        let storm = self.retry_storm.map_or(0.0, |storm| storm.ratio);
        self.error + storm * (1.0 - self.error)
    }

    /// What is wrong with the description, if anything.
    pub fn check(&self) -> Result<(), String> {
        let ratio = |name: &str, value: f64| {
            let told = format!("{name} is {value}, not a share from 0 to 1");
            (0.0..=1.0).contains(&value).then_some(()).ok_or(told)
        };
        ratio("error", self.error)?;
        ratio("partial_outage", self.partial_outage)?;
        if let Some(timeout) = self.timeout {
            ratio("timeout.ratio", timeout.ratio)?;
        }
        if let Some(storm) = self.retry_storm {
            ratio("retry_storm.ratio", storm.ratio)?;
            if !(1..=20).contains(&storm.attempts) {
                return Err("retry_storm.attempts is not from 1 to 20".to_owned());
            }
        }
        match &self.latency {
            Some(LatencyChange::Factor(factor) | LatencyChange::TotalFactor(factor)) => {
                let told = format!("a latency factor is from 0 to 1000, not {factor}");
                (0.0..=1_000.0).contains(factor).then_some(()).ok_or(told)
            }
            Some(LatencyChange::Drawn(distribution)) => distribution.check(),
            Some(LatencyChange::Added(_)) | None => Ok(()),
        }
    }
}

impl LatencyChange {
    /// Reads `+200ms`, `×1.5`, `x1.5` or `×1.5 total`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no change of latency such as +200ms, ×1.5, ×1.5 total, or a distribution"
            )
        };
        let trimmed = text.trim();
        if let Some(added) = trimmed.strip_prefix('+') {
            let parsed = humantime_serde::re::humantime::parse_duration(added.trim());
            return parsed.map(Self::Added).map_err(|_| wrong());
        }
        let factor = trimmed.strip_prefix(['×', 'x']).ok_or_else(wrong)?;
        let (number, is_total) = match factor.strip_suffix("total") {
            Some(number) => (number, true),
            None => (factor, false),
        };
        let factor: f64 = number.trim().parse().map_err(|_| wrong())?;
        Ok(if is_total {
            Self::TotalFactor(factor)
        } else {
            Self::Factor(factor)
        })
    }

    /// As [`Self::parse`] reads it; `None` for a distribution.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Added(added) => Some(format!(
                "+{}",
                humantime_serde::re::humantime::format_duration(*added)
            )),
            Self::Factor(factor) => Some(format!("×{factor}")),
            Self::TotalFactor(factor) => Some(format!("×{factor} total")),
            Self::Drawn(_) => None,
        }
    }
}

/// A change of latency as it stands in a file.
#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
enum Written {
    /// `+200ms`, `×1.5`, `×1.5 total`.
    Text(String),
    /// Added, drawn anew for each request.
    Drawn(Distribution),
}

impl Serialize for LatencyChange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Drawn(distribution) => distribution.serialize(serializer),
            Self::Added(_) | Self::Factor(_) | Self::TotalFactor(_) => {
                self.text().unwrap_or_default().serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for LatencyChange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Text(text) => Self::parse(&text).map_err(serde::de::Error::custom),
            Written::Drawn(distribution) => Ok(Self::Drawn(distribution)),
        }
    }
}

#[cfg(test)]
impl schemars::JsonSchema for LatencyChange {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LatencyChange".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Written::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_is_read_as_it_is_written() {
        for (text, change) in [
            ("+200ms", LatencyChange::Added(Duration::from_millis(200))),
            ("×1.5", LatencyChange::Factor(1.5)),
            ("×2 total", LatencyChange::TotalFactor(2.0)),
        ] {
            assert_eq!(LatencyChange::parse(text), Ok(change.clone()));
            assert_eq!(change.text().as_deref(), Some(text));
        }
        assert_eq!(LatencyChange::parse("x1.5"), Ok(LatencyChange::Factor(1.5)));
        for wrong in ["200ms", "+soon", "×fast", "-5ms", ""] {
            let error = LatencyChange::parse(wrong).unwrap_err();
            assert!(error.contains("such as +200ms"), "{error}");
        }
    }

    #[test]
    fn a_fault_in_yaml_may_draw_its_latency_and_refuses_unknown_fields() {
        let yaml = "latency: {lognormal: {median_ms: 80, sigma: 0.4}}\nerror: 0.05\n";
        let fault: Fault = serde_saphyr::from_str(yaml).unwrap();
        let drawn = LatencyChange::Drawn(Distribution::lognormal(80.0, 0.4));
        assert_eq!(fault.latency, Some(drawn));
        assert_eq!(fault.check(), Ok(()));
        let plain: Fault = serde_saphyr::from_str("latency: +200ms").unwrap();
        assert_eq!(
            plain.latency,
            Some(LatencyChange::Added(Duration::from_millis(200)))
        );
        let error = serde_saphyr::from_str::<Fault>("eror: 0.05")
            .unwrap_err()
            .to_string();
        assert!(error.contains("eror"), "{error}");
    }

    #[test]
    fn attempts_of_a_storm_and_other_errors_add_up_as_chances_do() {
        let storm = RetryStorm {
            ratio: 0.5,
            attempts: 3,
            backoff: Duration::ZERO,
        };
        let fault = Fault {
            error: 0.2,
            retry_storm: Some(storm),
            ..Fault::default()
        };
        assert!((fault.error_ratio() - 0.6).abs() < 1e-12);
    }

    #[test]
    fn a_fault_that_cannot_be_says_so() {
        assert!(
            Fault::error(1.5)
                .check()
                .unwrap_err()
                .contains("error is 1.5")
        );
        let fast = Fault::latency(LatencyChange::Factor(-2.0));
        assert!(fast.check().unwrap_err().contains("factor"));
    }

    #[test]
    fn a_target_matches_what_it_names() {
        let target = FaultTarget {
            version: Some("2".to_owned()),
            ..FaultTarget::service("cart")
        };
        assert!(target.matches("cart", "GET /", Some("2")));
        assert!(target.matches("cart", "GET /", None));
        assert!(!target.matches("cart", "GET /", Some("1")));
        assert!(!target.matches("card", "GET /", Some("2")));
    }
}
