//! What a candidate must show before it may be believed, and what is known about the sampling of its events.

use std::fmt;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::evaluator::burn_rate::Limits;
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

    /// Pages in thirty days that a target may cost in the replay; a target that costs more, and more than chance
    /// explains, is too tight. Default 2, so that a team with ten objectives stays below the two incidents of an
    /// on-call shift that the SRE book calls bearable. 0 accepts no page at all.
    #[serde(deserialize_with = "not_negative")]
    pub max_pages_per_30d: f64,

    /// Share of its budget that a target must use over the whole history not to be called too loose where a tighter
    /// one stands, a ratio. Default 0.05. 0 calls none too loose.
    #[serde(deserialize_with = "not_negative")]
    pub min_budget_consumed: f64,

    /// When the level of an indicator has changed.
    pub change: ChangeSettings,

    /// How a candidate is tried on data that it was not fitted on.
    pub replay: ReplaySettings,

    /// Bounds of the burn-rate rules that the replay applies: those of the evaluator. No key of its own, so that the
    /// replay's rules cannot differ from the alerts.
    #[serde(skip)]
    pub limits: Limits,
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
            max_pages_per_30d: 2.0,
            min_budget_consumed: 0.05,
            change: ChangeSettings::default(),
            replay: ReplaySettings::default(),
            limits: Limits::default(),
        }
    }
}

/// What counts as a lasting change of level. Data before the last one are not used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChangeSettings {
    /// How long a level must have lasted, before and after, a duration. Default `3d`. Shorter changes are incidents,
    /// which the bounds count. More than half of the history finds no change.
    #[serde(with = "humantime_serde")]
    pub min_duration: Duration,

    /// Least ratio between the levels, 1 or more. Default 1.5: less is about one step of the ladders, of which the
    /// replay can judge.
    #[serde(deserialize_with = "at_least_one")]
    pub min_ratio: f64,

    /// Probability with which a history without a change is said to have one, above 0 and at most 0.2. Default 0.03;
    /// below 0.001 nothing is found, since the test draws 999 permutations.
    #[serde(deserialize_with = "significance")]
    pub significance: f64,
}

impl Default for ChangeSettings {
    fn default() -> Self {
        Self {
            min_duration: Duration::from_hours(3 * 24),
            min_ratio: 1.5,
            significance: 0.03,
        }
    }
}

/// The hold-out replay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReplaySettings {
    /// Share of the history, its older part, that is fitted; the rest is replayed. Default 0.7, above 0 and below 1.
    #[serde(deserialize_with = "share")]
    pub fit_ratio: f64,

    /// The least that is fitted, a duration. Default `14d`: two weeks, so that each hour of the week was seen twice.
    #[serde(with = "humantime_serde")]
    pub min_fit: Duration,

    /// The least that is replayed, a duration. Default `1d`. With less history than both together there is no replay.
    #[serde(with = "humantime_serde")]
    pub min_holdout: Duration,

    /// Times at which each simulated fault is put into the hold-out, spread evenly over its traffic. Default 20; 0
    /// simulates none, and each costs up to a day of replay.
    pub fault_starts: u32,
}

impl Default for ReplaySettings {
    fn default() -> Self {
        Self {
            fit_ratio: 0.7,
            min_fit: Duration::from_hours(14 * 24),
            min_holdout: Duration::from_hours(24),
            fault_starts: 20,
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
    /// Spans say nothing although senders were asked to send less: they are weighed by what was asked.
    Assumed,
    /// Nothing. Spans with errors may be kept more often than others, so that no ratio can be trusted.
    Unknown,
}

impl Sampling {
    /// Whether ratios of the spans that arrive are ratios of all spans.
    pub fn is_known(self) -> bool {
        match self {
            Self::Full | Self::Tracestate => true,
            Self::Ratio(ratio) => 0.0 < ratio && ratio <= 1.0,
            Self::Assumed | Self::Unknown => false,
        }
    }
}

/// As evidence says it: `full`, the ratio, `tracestate`, `assumed` or `unknown`.
impl fmt::Display for Sampling {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => formatter.write_str("full"),
            Self::Ratio(ratio) => write!(formatter, "{ratio}"),
            Self::Tracestate => formatter.write_str("tracestate"),
            Self::Assumed => formatter.write_str("assumed"),
            Self::Unknown => formatter.write_str("unknown"),
        }
    }
}

/// A number for which `holds`, else an error that says what it is not.
fn number<'de, D: Deserializer<'de>>(
    deserializer: D,
    name: &str,
    holds: impl Fn(f64) -> bool,
    wanted: &str,
) -> Result<f64, D::Error> {
    let number = f64::deserialize(deserializer)?;
    if holds(number) {
        Ok(number)
    } else {
        Err(D::Error::custom(format!("{name} {number} is not {wanted}")))
    }
}

fn quantile<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let holds = |number| 0.0 < number && number < 1.0;
    number(deserializer, "quantile", holds, "above 0 and below 1")
}

fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let holds = |number| 0.0 < number && number < 1.0;
    number(deserializer, "fit_ratio", holds, "above 0 and below 1")
}

fn significance<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let holds = |number| 0.0 < number && number <= 0.2;
    number(
        deserializer,
        "significance",
        holds,
        "above 0 and at most 0.2",
    )
}

fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let holds = |number: f64| number >= 1.0 && number.is_finite();
    number(deserializer, "min_ratio", holds, "1 or more")
}

fn not_negative<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let holds = |number: f64| number >= 0.0 && number.is_finite();
    number(deserializer, "number", holds, "0 or more")
}

fn confidence<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let holds = |number| (CONFIDENCE_MIN..=CONFIDENCE_MAX).contains(&number);
    let wanted = format!("from {CONFIDENCE_MIN} to {CONFIDENCE_MAX}");
    number(deserializer, "confidence", holds, &wanted)
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
            "min_slices":50,"min_bad_events_in_budget":5.0,"max_pages_per_30d":4.0,
            "change":{"min_duration":"5days"},"replay":{"fit_ratio":0.5,"fault_starts":0}}"#;
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
            (r#"{"limits":{}}"#, "unknown field `limits`"),
            (r#"{"max_pages_per_30d":-1}"#, "-1 is not 0 or more"),
            (
                r#"{"change":{"significance":0.0}}"#,
                "significance 0 is not",
            ),
            (r#"{"change":{"min_ratio":0.9}}"#, "min_ratio 0.9 is not 1"),
            (
                r#"{"replay":{"fit_ratio":1.0}}"#,
                "fit_ratio 1 is not above",
            ),
            (r#"{"replay":{"weeks":4}}"#, "unknown field `weeks`"),
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
