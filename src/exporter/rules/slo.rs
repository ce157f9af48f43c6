//! An SLO as rules need it: names, limits, windows, and the questions to Prometheus.

use crate::evaluator::burn_rate::{ErrorRatioLimit, Limits, Rule as BurnRateRule, rules_over};
use crate::exporter::rules::model::Labels;
use crate::exporter::rules::query::{Query, is_part};
use crate::exporter::rules::slices;
use crate::model::period::{Period, Shorthand};
use crate::model::slo::{Budgeting, exact_ratio};
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
    /// What the budget counts: events, or slices of time.
    pub(super) budgeting: Budgeting,
    pub(super) indicator: Indicator,
    pub(super) limits: Limits,
}

/// How good and bad are asked for.
#[derive(Clone, Debug, PartialEq)]
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
    /// Counts of the events of a composite's members, which burn one budget.
    Members(Vec<Member>),
}

/// A member of a composite.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    /// What it would be by itself. Its counts and slices alone are recorded.
    pub(super) slo: Slo,
    pub(super) weight: f64,
}

impl Member {
    /// What an error ratio of the member weighs, the smaller its budget the more.
    pub(super) fn share(&self) -> f64 {
        self.weight / self.slo.budget()
    }
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

    /// Length of a slice, where slices are counted.
    pub(super) fn slice_secs(&self) -> Option<u64> {
        self.budgeting.slice().map(Shorthand::secs)
    }

    /// The burn-rate rules, the same that the evaluator applies.
    pub(super) fn pairs(&self) -> [Pair; 4] {
        let budget = self.budget();
        rules_over(self.period.secs(), self.slice_secs()).map(|rule| Pair {
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

    /// The windows whose error ratio is recorded, the shortest first. Five minutes and an hour are among them, since
    /// dashboards ask for both; where slices are counted, only windows that hold one.
    pub(super) fn windows(&self) -> Vec<u64> {
        let mut windows = vec![Window::M5.secs(), Window::H1.secs()];
        for pair in self.pairs() {
            windows.extend([pair.rule.short.secs(), pair.rule.long.secs()]);
        }
        windows.extend(self.rolling_secs());
        let least = self.slice_secs().unwrap_or(0);
        windows.retain(|secs| *secs >= least);
        sorted(windows)
    }

    /// The windows whose events are counted, the shortest first, with those that longer ones are made of. Where slices are
    /// counted, these are the slice, an hour to check the metrics by, and the windows in which alerts ask for bad events.
    pub(super) fn event_windows(&self) -> Vec<u64> {
        let mut windows = match self.slice_secs() {
            None => self.windows(),
            Some(slice) if self.counts_events() => {
                let long = self.pairs().map(|pair| pair.rule.long.secs());
                let windows = long.into_iter().chain(self.rolling_secs());
                windows.chain([slice, Window::H1.secs()]).collect()
            }
            Some(_) => Vec::new(),
        };
        let steps = windows.iter().filter_map(|secs| match counting(*secs) {
            Counting::Direct => None,
            Counting::Summed { step_secs } => Some(step_secs),
        });
        windows.extend(steps.collect::<Vec<u64>>());
        sorted(windows)
    }

    /// The shortest windows: of the error ratio, and of the counts by which metrics are known to be there.
    pub(super) fn shortest(&self) -> (u64, u64) {
        let shortest = self.windows().first().copied();
        let shortest = shortest.unwrap_or(Window::M5.secs());
        (shortest, self.slice_secs().unwrap_or(shortest))
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

    /// The budget that the slice spends which ends now: 0, 1 or any ratio between.
    pub(super) fn slice_bad(&self, slice_secs: u64) -> String {
        self.series(&format!("slo:slice_bad:ratio{}", promql_range(slice_secs)))
    }

    /// 1 while the slice that ends now is without events and counts as bad.
    pub(super) fn slice_empty(&self, slice_secs: u64) -> String {
        self.series(&format!("slo:slice_empty:bool{}", promql_range(slice_secs)))
    }

    /// The budget that the slices of a window spend, in slices.
    pub(super) fn slices_bad(&self, secs: u64) -> String {
        self.series(&format!("slo:slices_bad:sum{}", promql_range(secs)))
    }

    /// The slices that were expected in a window.
    pub(super) fn slices_total(&self, secs: u64) -> String {
        self.series(&format!("slo:slices_total:sum{}", promql_range(secs)))
    }

    /// The slices of a window that were without events and count as bad.
    pub(super) fn slices_empty(&self, secs: u64) -> String {
        self.series(&format!("slo:slices_empty:sum{}", promql_range(secs)))
    }

    /// What the budget counts in a window: events or slices.
    pub(super) fn counted(&self, secs: u64) -> String {
        match self.slice_secs() {
            None => self.total(secs),
            Some(_) => self.slices_total(secs),
        }
    }

    /// Whether slices without events are bad, each of which stands for a bad event.
    pub(super) fn counts_empty_slices(&self) -> bool {
        slices::empty_is_bad(self.budgeting) && self.counts_events()
    }

    /// Whether events are counted, so that alerts can ask for a number of them.
    pub(super) fn counts_events(&self) -> bool {
        match self.indicator {
            Indicator::Events { .. } | Indicator::Members(_) => true,
            Indicator::Ratio { .. } => false,
        }
    }

    /// The members of a composite, or the SLO itself: what has counters of its own.
    pub(super) fn parts(&self) -> Vec<&Self> {
        match &self.indicator {
            Indicator::Events { .. } | Indicator::Ratio { .. } => vec![self],
            Indicator::Members(members) => members.iter().map(|member| &member.slo).collect(),
        }
    }

    /// Whether the part is counted by the whole whatever happens, so that it can never be more.
    pub(super) fn is_coherent(&self) -> bool {
        match &self.indicator {
            Indicator::Events { part, total, .. } => {
                let selectors = part.selector().zip(total.selector());
                selectors.is_some_and(|(part, total)| is_part(&part, &total))
            }
            Indicator::Members(_) => self.parts().iter().all(|part| part.is_coherent()),
            Indicator::Ratio { .. } => false,
        }
    }

    /// More bad events than this are asked for. Half an event less than the least number: `increase()` extrapolates, so
    /// that one event may count as a little more than one, and two as a little less than two.
    pub(super) fn bad_events_above(&self) -> f64 {
        self.limits.min_bad_events as f64 - 0.5
    }
}

fn sorted(mut windows: Vec<u64>) -> Vec<u64> {
    windows.sort_unstable();
    windows.dedup();
    windows
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
