//! The telemetry budget (CAAT): what traces will cost, whether the budget holds, and which share of them is to be sampled.
//!
//! ```text
//! reports ─ meter ─ hours ─ forecast ─┐
//! traces ── roots ─ mix of root operations ┼─ controller ─ plan
//! verdicts and causes ─ incidents ────┘
//! ```
//!
//! [`controller`] spends a day's budget, [`allocate`] divides it so that estimates are best, [`forecast`] looks ahead with its
//! uncertainty, and [`recommend`] says it in words. [`policy`] learns to do the same and is judged in a study only.

pub mod allocate;
pub mod controller;
#[cfg(test)]
mod fixture;
pub mod forecast;
mod incidents;
pub mod meter;
pub mod outlook;
pub mod policy;
pub mod rates;
pub mod recommend;
pub mod roots;
pub mod settings;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use crate::adapter::Adapter;
use crate::adapter::sampling::allocate::{LOG_SD_UNKNOWN, Stratum};
use crate::adapter::sampling::controller::{Controller, Demand, Step};
use crate::adapter::sampling::incidents::Incidents;
use crate::adapter::sampling::meter::{Interval, Meter};
use crate::adapter::sampling::outlook::{HOURS_PER_DAY, Outlook, hour_of};
use crate::adapter::sampling::recommend::{Rule, fill, percent};
use crate::adapter::sampling::roots::Roots;
use crate::adapter::sampling::settings::Budget;
pub use crate::adapter::sampling::settings::Config;
use crate::model::UnixNanos;
use crate::model::advice::Advice;
use crate::model::recommendation::TelemetryRecommendation;
use crate::model::report::Report;
use crate::model::sampling::TelemetryVolume;
use crate::model::trace::Trace;
use crate::telemetry::SamplingMetrics;
use crate::window::event::asked::Asked;

/// Its name in the report's `integrations`, which is the seed's.
const NEIGHBOUR: &str = "caat";

/// Slow traces are those above the 99th percentile of their operation.
pub(crate) const SLOW_SHARE: f64 = 0.01;

const SECS_PER_DAY: f64 = 86_400.0;

/// What arrived so far.
pub type Arrived = Box<dyn Fn() -> TelemetryVolume + Send>;

/// Spans that were kept so far by the plan, where somebody counts them.
pub type KeptSoFar = Box<dyn Fn() -> Option<u64> + Send>;

/// Adjusted entry spans of all services by the hour since the Unix epoch, from before this start; asked once.
pub type Past = Box<dyn FnOnce() -> Vec<(u32, f64)> + Send>;

/// Where the adapter reads what reports do not say.
pub struct Sources {
    /// What arrived.
    pub volume: Arrived,
    /// What was kept of it.
    pub kept: KeptSoFar,
    /// What was before.
    pub past: Past,
    /// What senders were asked, which is told what those inherit whom they call.
    pub asked: Arc<Asked>,
}

/// The adapter.
pub struct Sampling {
    config: Config,
    budget: Option<Budget>,
    volume: Arrived,
    kept: KeptSoFar,
    kept_before: Option<u64>,
    past: Option<Past>,
    asked: Arc<Asked>,
    meter: Meter,
    roots: Roots,
    outlook: Outlook,
    incidents: Incidents,
    controller: Controller,
    pace: Pace,
    last: Step,
    made: Option<Arc<TelemetryRecommendation>>,
    state: String,
    metrics: SamplingMetrics,
}

/// When what was done last; 0 for never.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    started: UnixNanos,
    stepped: UnixNanos,
    /// When spans came last.
    fresh: UnixNanos,
}

/// How old the measurements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Freshness {
    Fresh,
    /// Rates stay.
    Held,
    /// Rates rise.
    Lost,
}

impl fmt::Debug for Sampling {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Sampling")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Sampling {
    /// An adapter that knows nothing yet: all is sampled in full.
    pub fn new(config: &Config, sources: Sources) -> Self {
        let budget = config.budget.budget();
        Self {
            config: config.clone(),
            budget,
            volume: sources.volume,
            kept: sources.kept,
            kept_before: None,
            past: Some(sources.past),
            asked: sources.asked,
            meter: Meter::default(),
            roots: Roots::new(config.max_operations),
            outlook: Outlook::default(),
            incidents: Incidents::new(config.full_for),
            controller: Controller::new(config),
            pace: Pace::default(),
            last: Step {
                kept_ratio: 1.0,
                wanted_ratio: 1.0,
                ..Step::default()
            },
            made: None,
            state: "on: waits for the first spans; all is sampled in full".to_owned(),
            metrics: SamplingMetrics::new(),
        }
    }

    /// The budget in spans a day, at their present size; `None` without one, or before sizes are known.
    fn budget_spans(&self) -> Option<f64> {
        let budget = self.budget?;
        let per_span = self.cost_of_span(budget)?;
        Some(budget.per_day / per_span)
    }

    fn cost_of_span(&self, budget: Budget) -> Option<f64> {
        let bytes = if budget.unit.needs_bytes() {
            self.meter.bytes_per_span()?
        } else {
            0.0
        };
        Some(budget.unit.of_span(bytes)).filter(|cost| *cost > 0.0)
    }

    /// The traces of a day by the operation that they begin with, at the present rate.
    fn demands(&self) -> Vec<Demand> {
        let in_full = self.incidents.services();
        let mut demands = Vec::new();
        for (name, root) in self.roots.iter() {
            let operation = (Arc::clone(&name.0), Arc::clone(&root.operation));
            let Some(rate) = self.meter.operation(&operation) else {
                continue;
            };
            let share = self.roots.root_share(&operation) * self.roots.name_share(name, root);
            demands.push(Demand {
                name: name.clone(),
                stratum: Stratum {
                    traces: rate.per_day * share,
                    spans_per_trace: root.spans_per_trace(),
                    error_ratio: rate.error_ratio,
                    log_sd: root.log_sd().unwrap_or(LOG_SD_UNKNOWN),
                    kept_anyway: kept_anyway(self.config.keep_errors_and_slow, rate.error_ratio),
                },
                is_incident: root.touches.iter().any(|service| in_full.contains(service)),
            });
        }
        // What whole traces cannot tell, since they are a sample, is how many spans there are: that was counted.
        let counted = self.meter.spans_per_second().unwrap_or(0.0) * SECS_PER_DAY;
        let told: f64 = demands.iter().map(|own| own.stratum.kept_spans(1.0)).sum();
        if counted > 0.0 && told > 0.0 {
            for own in &mut demands {
                own.stratum.spans_per_trace *= counted / told;
            }
        }
        demands
    }

    fn freshness(&self, now: UnixNanos) -> Freshness {
        let last = match self.pace.fresh {
            0 => self.pace.started,
            fresh => fresh,
        };
        let silence = now.saturating_sub(last);
        let limit = nanos(self.config.stale_after);
        if silence < limit {
            Freshness::Fresh
        } else if silence < limit.saturating_mul(2) {
            Freshness::Held
        } else {
            Freshness::Lost
        }
    }

    fn is_due(&self, now: UnixNanos) -> bool {
        // A clock that was set back must not stop the clockwork.
        let since = now.abs_diff(self.pace.stepped);
        self.pace.stepped == 0 || since >= nanos(self.config.interval)
    }

    /// Follows the budget, or holds still where nothing is known.
    fn advance(&mut self, now: UnixNanos) {
        if !self.is_due(now) {
            return;
        }
        let demands = self.demands();
        match (self.budget_spans(), self.freshness(now)) {
            (None, _) => self.pace.stepped = now,
            (Some(_), Freshness::Lost) => {
                self.controller.drift(now, &demands);
                self.pace.stepped = now;
            }
            (Some(budget), Freshness::Fresh) if !demands.is_empty() => {
                let per_entry = self.meter.spans_per_entry().unwrap_or(1.0);
                let present = self.meter.spans_per_second().unwrap_or(0.0) / per_entry;
                let outlook = &self.outlook;
                self.last = self.controller.step(now, &demands, budget, |from, to| {
                    per_entry * outlook.expected((from, to), present, now)
                });
                self.pace.stepped = now;
            }
            (Some(_), Freshness::Held | Freshness::Fresh) => {}
        }
        self.tell(now);
    }

    /// Says what those inherit that are called by services which were asked for less.
    fn inherit(&self, now: UnixNanos) {
        let demands = self.demands();
        let traffic = demands.iter().map(|own| (&own.name, own.stratum.traces));
        self.asked
            .inherit(&self.roots.reach(traffic, &self.asked), now);
    }

    /// Notes what was kept since the last report: as counted, else as it would be, were the plan followed.
    fn spend(&mut self, interval: Interval, now: UnixNanos) {
        let counted = (self.kept)();
        let before = std::mem::replace(&mut self.kept_before, counted);
        let Some(budget) = self.budget_spans() else {
            return;
        };
        let kept = match counted {
            Some(counted) => counted.saturating_sub(before.unwrap_or(counted)) as f64,
            None => interval.spans * self.planned_ratio(),
        };
        self.controller
            .spend(now, kept / budget, interval.spans / budget);
    }

    /// The share of all spans that the plan keeps.
    fn planned_ratio(&self) -> f64 {
        let demands = self.demands();
        let all: f64 = demands.iter().map(|own| own.stratum.kept_spans(1.0)).sum();
        if all > 0.0 {
            self.controller.kept_spans(&demands) / all
        } else {
            1.0
        }
    }

    /// Puts everything into words and metrics.
    fn tell(&mut self, now: UnixNanos) {
        let unit = self.budget.map_or("spans", |own| own.unit.label());
        let cost = self
            .budget
            .map_or(Some(1.0), |budget| self.cost_of_span(budget));
        let rule = Rule {
            budget_per_day: self.budget.map(|own| own.per_day),
            horizon_days: self.config.horizon_days,
            alert_probability: self.config.alert_probability,
        };
        let mut made = TelemetryRecommendation {
            sampling_action: self.last.action,
            budget_per_day: rule.budget_per_day,
            unit: unit.to_owned(),
            kept_ratio: self.budget.map(|_| self.last.kept_ratio),
            plan: self.budget.map(|_| Arc::clone(self.controller.plan())),
            ..TelemetryRecommendation::default()
        };
        let factor = self.meter.spans_per_entry().zip(cost);
        match (self.outlook.forecasted(), factor) {
            (Some(forecasted), Some((per_entry, cost))) => {
                let mut forecasted = forecasted.clone();
                forecasted.prediction = forecasted.prediction.scaled(per_entry * cost);
                fill(&mut made, &forecasted, HOURS_PER_DAY, &rule);
            }
            (Some(_), None) | (None, _) => made
                .notes
                .push("nothing is forecast before a whole hour was seen".to_owned()),
        }
        self.state = self.state_text(now);
        made.notes.push(self.state.clone());
        let refused = self.roots.refused();
        if refused > 0 {
            made.notes.push(format!(
                "{refused} traces began with operations that have no rate of their own, since adapters.sampling.max_operations is {}",
                self.config.max_operations
            ));
        }
        self.metrics.refused_traces.absolute(refused);
        self.made = Some(Arc::new(made));
    }

    fn state_text(&self, now: UnixNanos) -> String {
        if self.budget.is_none() {
            return "on: no budget is set (adapters.sampling.budget), so that all is sampled in full"
                .to_owned();
        }
        let plan = self.controller.plan();
        match self.freshness(now) {
            Freshness::Held => {
                return "stale: no spans came lately; the rates stay as they are".to_owned();
            }
            Freshness::Lost => {
                return "stale: no spans came for a while; the rates rise to full".to_owned();
            }
            Freshness::Fresh if plan.services.is_empty() => {
                return "on: waits for whole traces (trace_buffer) to tell operations apart; all is sampled in full"
                    .to_owned();
            }
            Freshness::Fresh => {}
        }
        let (spent, debt) = self.controller.spent();
        let incidents = self.incidents.services();
        let mut text = format!(
            "on: {} of all spans are kept, {} would fit the budget; {} of today's budget is spent",
            percent(self.last.kept_ratio),
            percent(self.last.wanted_ratio),
            percent(spent),
        );
        if debt > 0.0 {
            text.push_str(", ");
            text.push_str(&percent(debt));
            text.push_str(" of a day's budget is owed from days before");
        }
        if !incidents.is_empty() {
            let names: Vec<&str> = incidents.iter().map(|own| &**own).collect();
            text.push_str("; what touches ");
            text.push_str(&names.join(", "));
            text.push_str(" is sampled as fully as the budget allows since something is wrong");
        }
        text
    }
}

/// The share of an operation's traces that is kept whatever its rate.
pub(crate) fn kept_anyway(keeps_errors_and_slow: bool, error_ratio: f64) -> f64 {
    if keeps_errors_and_slow {
        (error_ratio + (1.0 - error_ratio) * SLOW_SHARE).min(1.0)
    } else {
        0.0
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Adapter for Sampling {
    fn name(&self) -> &'static str {
        "sampling"
    }

    fn on_traces(&mut self, traces: &[Arc<Trace>], now: UnixNanos) {
        self.roots.fade(now);
        for trace in traces {
            self.roots.add(trace);
        }
        // Reports may be missing.
        if self.pace.started > 0 && self.freshness(now) == Freshness::Lost {
            self.advance(now);
        }
    }

    fn on_report(&mut self, report: &Report, now: UnixNanos) {
        if let Some(past) = self.past.take() {
            for (hour, entries) in past() {
                self.outlook.add(hour, entries);
            }
            self.pace.started = now;
        }
        let interval = self.meter.observe(report, (self.volume)(), now);
        if interval.spans > 0.0 {
            self.pace.fresh = now;
        }
        self.outlook.add(hour_of(now), interval.entries);
        self.incidents.update(report, now);
        self.outlook.refresh(now, self.config.horizon_days);
        self.spend(interval, now);
        if self.is_due(now) {
            self.inherit(now);
        }
        self.advance(now);
    }

    fn advise(&self, advice: &mut Advice) {
        advice.telemetry.clone_from(&self.made);
        advice.sampling = self.budget.map(|_| Arc::clone(self.controller.plan()));
        advice.states.insert(NEIGHBOUR, self.state.clone());
    }
}
