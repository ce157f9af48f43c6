//! What a candidate must show before it may be believed, and what is known about the sampling of its events.

use std::fmt;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::evaluator::statistics::{CONFIDENCE_MAX, CONFIDENCE_MIN};
use crate::model::window::Window;

/// How candidates are fitted and when they are ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The latency quantile that candidates bound, a ratio; also their target. Default 0.95. Above 0 and below 1;
    /// higher quantiles need more traffic: 59 independent events at 0.95, 299 at 0.99, 2 995 at 0.999.
    #[serde(deserialize_with = "quantile")]
    pub quantile: f64,

    /// One-sided confidence of every bound, a ratio. Default 0.95. From 0.8 to 0.9999; a higher one gives looser
    /// objectives that need more data.
    #[serde(deserialize_with = "confidence")]
    pub confidence: f64,

    /// Period of the error budget, a held window. Default `30d`. With a short one, single incidents decide.
    pub period: Window,

    /// History without which a candidate stays provisional, a duration. Default `14d`. `0s` asks for none; more than
    /// the history that is kept (35 days) leaves every candidate provisional.
    #[serde(with = "humantime_serde")]
    pub min_history: Duration,

    /// Five-minute slices with traffic without which a candidate stays provisional. Default 200, `0` asks for none.
    pub min_slices: u64,

    /// Bad events that the budget of one period must allow, else a candidate stays provisional: with fewer, one
    /// incident decides. Default 10, `0` asks for none.
    pub min_bad_events_in_budget: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            quantile: 0.95,
            confidence: 0.95,
            period: Window::D30,
            min_history: Duration::from_hours(14 * 24),
            min_slices: 200,
            min_bad_events_in_budget: 10.0,
        }
    }
}

/// What is known about the sampling of a series' spans.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sampling {
    /// Every span arrives.
    Full,
    /// This share of the spans arrives, chosen without regard to their outcome; above 0, at most 1.
    Ratio(f64),
    /// Each span says its own weight in its tracestate.
    Tracestate,
    /// Nothing. Spans with errors may be kept more often than others, so that no ratio can be trusted.
    Unknown,
}

impl Sampling {
    /// Whether ratios of the spans that arrive are ratios of all spans.
    pub fn is_known(self) -> bool {
        match self {
            Self::Full | Self::Tracestate => true,
            Self::Ratio(ratio) => 0.0 < ratio && ratio <= 1.0,
            Self::Unknown => false,
        }
    }
}

/// As evidence says it: `full`, the ratio, `tracestate` or `unknown`.
impl fmt::Display for Sampling {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => formatter.write_str("full"),
            Self::Ratio(ratio) => write!(formatter, "{ratio}"),
            Self::Tracestate => formatter.write_str("tracestate"),
            Self::Unknown => formatter.write_str("unknown"),
        }
    }
}

fn quantile<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let quantile = f64::deserialize(deserializer)?;
    if 0.0 < quantile && quantile < 1.0 {
        Ok(quantile)
    } else {
        Err(D::Error::custom(format!(
            "quantile {quantile} is not above 0 and below 1"
        )))
    }
}

fn confidence<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let confidence = f64::deserialize(deserializer)?;
    if (CONFIDENCE_MIN..=CONFIDENCE_MAX).contains(&confidence) {
        Ok(confidence)
    } else {
        Err(D::Error::custom(format!(
            "confidence {confidence} is not from {CONFIDENCE_MIN} to {CONFIDENCE_MAX}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_configuration_is_the_default() {
        let settings: Settings = serde_json::from_str("{}").unwrap();
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn settings_read_as_they_are_written() {
        let text = r#"{"quantile":0.99,"confidence":0.9,"period":"28d","min_history":"7days",
            "min_slices":50,"min_bad_events_in_budget":5.0}"#;
        let settings: Settings = serde_json::from_str(text).unwrap();
        assert_eq!(settings.min_history, Duration::from_hours(7 * 24));
        let written = serde_json::to_string(&settings).unwrap();
        assert_eq!(
            serde_json::from_str::<Settings>(&written).unwrap(),
            settings
        );
    }

    #[test]
    fn wrong_values_and_unknown_keys_are_refused_by_name() {
        let cases = [
            (r#"{"quantile":1.0}"#, "quantile 1 is not above 0"),
            (r#"{"quantile":0.0}"#, "quantile 0 is not above 0"),
            (r#"{"confidence":0.5}"#, "confidence 0.5 is not from 0.8"),
            (r#"{"confidence":95}"#, "confidence 95 is not from 0.8"),
            (r#"{"percentile":0.9}"#, "unknown field `percentile`"),
        ];
        for (text, wanted) in cases {
            let error = serde_json::from_str::<Settings>(text).unwrap_err();
            assert!(error.to_string().contains(wanted), "{error}");
        }
    }

    #[test]
    fn only_a_possible_ratio_is_known_sampling() {
        assert!(Sampling::Full.is_known());
        assert!(Sampling::Tracestate.is_known());
        assert!(Sampling::Ratio(0.1).is_known());
        assert!(Sampling::Ratio(1.0).is_known());
        for sampling in [
            Sampling::Unknown,
            Sampling::Ratio(0.0),
            Sampling::Ratio(1.5),
            Sampling::Ratio(f64::NAN),
        ] {
            assert!(!sampling.is_known(), "{sampling}");
        }
    }

    #[test]
    fn evidence_names_the_sampling() {
        let texts = [
            Sampling::Full,
            Sampling::Ratio(0.1),
            Sampling::Tracestate,
            Sampling::Unknown,
        ]
        .map(|sampling| sampling.to_string());
        assert_eq!(texts, ["full", "0.1", "tracestate", "unknown"]);
    }
}
