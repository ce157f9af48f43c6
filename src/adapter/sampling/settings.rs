//! Configuration of the telemetry budget.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Bytes of a gigabyte, as providers bill it.
const GIGABYTE: f64 = 1e9;

/// Section `adapters.sampling`: what telemetry may cost a day, and how sampling follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether volumes are forecast and rates recommended at all. Default true.
    pub enabled: bool,
    /// What may be kept a day. Default nothing said: all is sampled in full.
    pub budget: BudgetConfig,
    /// Days that the forecast looks ahead. Default 7; 1 to 28.
    pub horizon_days: u32,
    /// Alert where the days of the forecast exceed their budget with a higher probability. Default 0.2.
    pub alert_probability: f64,
    /// Time between changes of the rates. Default 1m; at least 1s.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// A rate rises by this factor at most in one interval. Default 1.5; above 1.
    pub max_rise: f64,
    /// A rate falls by this factor at most in one interval. Default 2; above 1.
    pub max_fall: f64,
    /// Traces a day that are kept of each operation at least, while the budget allows. Default 500.
    pub min_traces_per_operation: f64,
    /// Traces with an error, and those above the 99th percentile of their operation, are kept in full by whoever sees whole
    /// traces: their cost is taken from the budget first. Default true.
    pub keep_errors_and_slow: bool,
    /// Weight of the latency in the question which operations need more traces; the rest is for errors. Default 0.5;
    /// 0 to 1.
    pub latency_weight: f64,
    /// What an incident touches is sampled in full from the moment that a verdict worsens to warn or fail, or that a new
    /// root cause is found, for so long at most, and as far as the next two keys allow. Default 2h.
    #[serde(with = "humantime_serde")]
    pub full_for: Duration,
    /// Incidents may take this part of what is left of a day's budget; the rest of the day goes without it. Default 0.5;
    /// 0 to 1.
    pub incident_share: f64,
    /// They may go over the budget of a day by this part of it, which the days after pay back, a tenth of a budget each.
    /// Default 0.1; 0 to 1.
    pub incident_overdraft: f64,
    /// Without new spans for so long, rates stay as they are; for twice as long, they rise to full. Default 5m.
    #[serde(with = "humantime_serde")]
    pub stale_after: Duration,
    /// Root operations that have a rate of their own, over all services; further ones have the mean rate of their
    /// service and are counted. Default 500; at least 1.
    pub max_operations: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            budget: BudgetConfig::default(),
            horizon_days: 7,
            alert_probability: 0.2,
            interval: Duration::from_mins(1),
            max_rise: 1.5,
            max_fall: 2.0,
            min_traces_per_operation: 500.0,
            keep_errors_and_slow: true,
            latency_weight: 0.5,
            full_for: Duration::from_hours(2),
            incident_share: 0.5,
            incident_overdraft: 0.1,
            stale_after: Duration::from_mins(5),
            max_operations: 500,
        }
    }
}

/// Section `adapters.sampling.budget`: one of the three amounts, or none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetConfig {
    /// Spans a day.
    pub spans_per_day: Option<f64>,
    /// Bytes a day, as OTLP unpacked.
    pub bytes_per_day: Option<f64>,
    /// Money a day, by the prices below.
    pub money_per_day: Option<f64>,
    /// Price of a million spans. Default 0.
    pub price_per_million_spans: f64,
    /// Price of 10⁹ bytes of OTLP, unpacked. Default 0.
    pub price_per_gb: f64,
}

/// What is counted against a budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unit {
    /// Spans.
    Spans,
    /// Bytes of OTLP, unpacked.
    Bytes,
    /// Money, by the price of a span and of a byte.
    Money {
        /// Price of one span.
        span: f64,
        /// Price of one byte.
        byte: f64,
    },
}

impl Unit {
    /// As in reports.
    pub fn label(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::Bytes => "bytes",
            Self::Money { .. } => "money",
        }
    }

    /// What a span costs, if it has so many bytes.
    pub fn of_span(self, bytes: f64) -> f64 {
        match self {
            Self::Spans => 1.0,
            Self::Bytes => bytes,
            Self::Money { span, byte } => span + byte * bytes,
        }
    }

    /// Whether the size of the spans must be known.
    pub fn needs_bytes(self) -> bool {
        match self {
            Self::Spans => false,
            Self::Bytes => true,
            Self::Money { byte, .. } => byte > 0.0,
        }
    }
}

/// What may be kept a day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// How much.
    pub per_day: f64,
    /// Of what.
    pub unit: Unit,
}

impl BudgetConfig {
    /// The budget, if one is set.
    pub fn budget(&self) -> Option<Budget> {
        let money = Unit::Money {
            span: self.price_per_million_spans / 1e6,
            byte: self.price_per_gb / GIGABYTE,
        };
        [
            (self.spans_per_day, Unit::Spans),
            (self.bytes_per_day, Unit::Bytes),
            (self.money_per_day, money),
        ]
        .into_iter()
        .find_map(|(per_day, unit)| {
            let per_day = per_day?;
            Some(Budget { per_day, unit })
        })
    }

    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let amounts = [self.spans_per_day, self.bytes_per_day, self.money_per_day];
        if amounts.iter().flatten().count() > 1 {
            let message = "must say one of spans_per_day, bytes_per_day and money_per_day";
            return Err(("adapters.sampling.budget", message));
        }
        let is_amount = |amount: &f64| amount.is_finite() && *amount > 0.0;
        if !amounts.iter().flatten().all(is_amount) {
            return Err((
                "adapters.sampling.budget",
                "must be above 0; leave it out for no budget",
            ));
        }
        let prices = [self.price_per_million_spans, self.price_per_gb];
        if !prices
            .iter()
            .all(|price| price.is_finite() && *price >= 0.0)
        {
            return Err(("adapters.sampling.budget", "has a price below 0"));
        }
        if self.money_per_day.is_some() && prices.iter().all(|price| *price <= 0.0) {
            let message = "money_per_day needs price_per_million_spans or price_per_gb";
            return Err(("adapters.sampling.budget", message));
        }
        Ok(())
    }
}

impl Config {
    /// The key of the first value that is not allowed, and what is.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        self.budget.check()?;
        let factor = |factor: f64| factor.is_finite() && factor > 1.0;
        let rules = [
            (
                (1..=28).contains(&self.horizon_days),
                "adapters.sampling.horizon_days",
                "must be between 1 and 28",
            ),
            (
                self.alert_probability > 0.0 && self.alert_probability < 1.0,
                "adapters.sampling.alert_probability",
                "must be above 0 and below 1",
            ),
            (
                self.interval >= Duration::from_secs(1),
                "adapters.sampling.interval",
                "must be at least 1s",
            ),
            (
                factor(self.max_rise),
                "adapters.sampling.max_rise",
                "must be above 1",
            ),
            (
                factor(self.max_fall),
                "adapters.sampling.max_fall",
                "must be above 1",
            ),
            (
                self.min_traces_per_operation.is_finite() && self.min_traces_per_operation >= 0.0,
                "adapters.sampling.min_traces_per_operation",
                "must be at least 0",
            ),
            (
                (0.0..=1.0).contains(&self.latency_weight),
                "adapters.sampling.latency_weight",
                "must be between 0 and 1",
            ),
            (
                (0.0..=1.0).contains(&self.incident_share),
                "adapters.sampling.incident_share",
                "must be between 0 and 1",
            ),
            (
                (0.0..=1.0).contains(&self.incident_overdraft),
                "adapters.sampling.incident_overdraft",
                "must be between 0 and 1",
            ),
            (
                self.stale_after >= self.interval,
                "adapters.sampling.stale_after",
                "must be at least adapters.sampling.interval",
            ),
            (
                self.max_operations > 0,
                "adapters.sampling.max_operations",
                "must be at least 1",
            ),
        ];
        let broken = rules.into_iter().find(|(holds, _, _)| !holds);
        broken.map_or(Ok(()), |(_, key, message)| Err((key, message)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_one_amount_and_money_needs_a_price() {
        let said = |budget: BudgetConfig| {
            let config = Config {
                budget,
                ..Config::default()
            };
            config.check().err().map(|(_, message)| message)
        };
        assert_eq!(said(BudgetConfig::default()), None);
        let spans = BudgetConfig {
            spans_per_day: Some(1e6),
            ..BudgetConfig::default()
        };
        assert_eq!(said(spans.clone()), None);
        let both = BudgetConfig {
            bytes_per_day: Some(1e9),
            ..spans.clone()
        };
        assert!(said(both).unwrap().contains("one of"));
        let nothing = BudgetConfig {
            spans_per_day: Some(0.0),
            ..spans
        };
        assert!(said(nothing).unwrap().contains("above 0"));
        let money = BudgetConfig {
            money_per_day: Some(12.0),
            ..BudgetConfig::default()
        };
        assert!(said(money.clone()).unwrap().contains("price"));
        let priced = BudgetConfig {
            price_per_million_spans: 2.0,
            price_per_gb: 0.5,
            ..money
        };
        assert_eq!(said(priced.clone()), None);
        // 2 money for a million spans, 0.5 for the 10⁹ bytes that a million of 1 000 bytes each have.
        let unit = priced.budget().unwrap().unit;
        assert!((1e6 * unit.of_span(1_000.0) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn a_value_out_of_its_bounds_is_refused_by_its_key() {
        let wrong = [
            Config {
                max_rise: 1.0,
                ..Config::default()
            },
            Config {
                alert_probability: 1.0,
                ..Config::default()
            },
            Config {
                stale_after: Duration::from_secs(1),
                ..Config::default()
            },
            Config {
                max_operations: 0,
                ..Config::default()
            },
        ];
        let keys: Vec<&str> = wrong
            .iter()
            .map(|config| config.check().unwrap_err().0.rsplit_once('.').unwrap().1)
            .collect();
        assert_eq!(
            keys,
            [
                "max_rise",
                "alert_probability",
                "stale_after",
                "max_operations"
            ]
        );
    }
}
