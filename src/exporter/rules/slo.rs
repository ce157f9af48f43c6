//! An SLO as rules need it: names, limits, windows, and the questions to Prometheus.

use crate::evaluator::burn_rate::{ErrorRatioLimit, Limits, Rule as BurnRateRule, rules_over};
use crate::exporter::rules::model::Labels;
use crate::exporter::rules::query::{Query, is_part};
use crate::model::period::Period;
use crate::model::slo::exact_ratio;
use crate::model::window::Window;
use crate::openslo::text::{promql_range, promql_string};
use crate::openslo::v1::RawType;

const DAY: u64 = 86_400;

/// Longer windows are sums of recorded counts: a range of raw counters costs its length, times their number.
const DIRECT_SECS_MAX: u64 = 7 * DAY;

/// Up to this length the counts of half hours are summed up, beyond it those of hours. Shorter steps cost more, and lose more:
/// what happens between the last sample of a step and the first of the next is in neither.
const FINE_SECS_MAX: u64 = 30 * DAY;

/// What becomes the rules of one SLO.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slo {
    /// `<service>-<name>`, unique.
    pub(super) id: String,
    pub(super) service: String,
    pub(super) name: String,
    /// Labels of the document.
    pub(super) labels: Labels,
    /// For people.
    pub(super) title: String,
    pub(super) target: f64,
    pub(super) period: Period,
    pub(super) indicator: Indicator,
    pub(super) limits: Limits,
}

/// How good and bad are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Indicator {
    /// Counts of events.
    Events {
        /// Of what the part is.
        part_is: RawType,
        part: Query,
        total: Query,
    },
    /// A ratio that the source computes.
    Ratio { is: RawType, query: Query },
}

/// A rule with its windows and the error ratio that it asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pair {
    pub(super) rule: BurnRateRule,
    pub(super) limit: ErrorRatioLimit,
}

/// How the events of a window are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counting {
    /// By the counters themselves.
    Direct,
    /// By adding up what was recorded for each step.
    Summed { step_secs: u64 },
}

impl Slo {
    /// The error budget as a ratio.
    pub(super) fn budget(&self) -> f64 {
        exact_ratio(1.0 - self.target)
    }

    /// The burn-rate rules, the same that the evaluator applies.
    pub(super) fn pairs(&self) -> [Pair; 4] {
        let budget = self.budget();
        rules_over(self.period.secs(), None).map(|rule| Pair {
            rule,
            limit: rule.error_ratio_limit(budget, self.limits),
        })
    }

    /// The period as a window; a range of PromQL begins nowhere that a calendar says.
    pub(super) fn rolling_secs(&self) -> Option<u64> {
        match &self.period {
            Period::Rolling(duration) => Some(duration.secs()),
            Period::Calendar(_) => None,
        }
    }

    /// The windows of all rules, the shortest first. Five minutes and an hour are always among them: dashboards ask for
    /// both, and longer windows are made of them.
    pub(super) fn windows(&self) -> Vec<u64> {
        let mut windows = vec![Window::M5.secs(), Window::H1.secs()];
        for pair in self.pairs() {
            windows.extend([pair.rule.short.secs(), pair.rule.long.secs()]);
        }
        windows.extend(self.rolling_secs());
        let steps: Vec<u64> = windows
            .iter()
            .filter_map(|secs| match counting(*secs) {
                Counting::Direct => None,
                Counting::Summed { step_secs } => Some(step_secs),
            })
            .collect();
        windows.extend(steps);
        windows.sort_unstable();
        windows.dedup();
        windows
    }

    /// The labels that every series of the SLO has.
    pub(super) fn identity(&self) -> [(&'static str, &str); 3] {
        [
            ("sloth_id", &self.id),
            ("sloth_service", &self.service),
            ("sloth_slo", &self.name),
        ]
    }

    /// A recorded series of this SLO.
    pub(super) fn series(&self, metric: &str) -> String {
        let matchers = self
            .identity()
            .map(|(label, value)| format!("{label}={}", promql_string(value)));
        format!("{metric}{{{}}}", matchers.join(", "))
    }

    /// The error ratio over a window.
    pub(super) fn ratio(&self, secs: u64) -> String {
        self.series(&format!("slo:sli_error:ratio_rate{}", promql_range(secs)))
    }

    /// The bad events in a window.
    pub(super) fn bad(&self, secs: u64) -> String {
        self.series(&format!("slo:events_bad:increase{}", promql_range(secs)))
    }

    /// All events in a window.
    pub(super) fn total(&self, secs: u64) -> String {
        self.series(&format!("slo:events_total:increase{}", promql_range(secs)))
    }

    /// Whether events are counted, so that alerts can ask for a number of them.
    pub(super) fn counts_events(&self) -> bool {
        match self.indicator {
            Indicator::Events { .. } => true,
            Indicator::Ratio { .. } => false,
        }
    }

    /// Whether the part is counted by the whole whatever happens, so that it can never be more.
    pub(super) fn is_coherent(&self) -> bool {
        match &self.indicator {
            Indicator::Events { part, total, .. } => {
                let selectors = part.selector().zip(total.selector());
                selectors.is_some_and(|(part, total)| is_part(&part, &total))
            }
            Indicator::Ratio { .. } => false,
        }
    }

    /// More bad events than this are asked for. Half an event less than the least number: `increase()` extrapolates, so
    /// that one event may count as a little more than one, and two as a little less than two.
    pub(super) fn bad_events_above(&self) -> f64 {
        self.limits.min_bad_events as f64 - 0.5
    }
}

/// How the events of a window of this length are counted.
pub(super) fn counting(secs: u64) -> Counting {
    if secs <= DIRECT_SECS_MAX {
        return Counting::Direct;
    }
    let step = if secs <= FINE_SECS_MAX {
        Window::M30
    } else {
        Window::H1
    };
    Counting::Summed {
        step_secs: step.secs(),
    }
}
