//! The families of the metrics page that come from the windows, in the Prometheus text format
//! 0.0.4.
//!
//! Pure: a report in, a page out. Every series of a family has the same label names; a label that
//! does not apply is empty, which Prometheus treats as absent. Values that do not exist yet are
//! left out rather than written as `NaN`.

mod coverage;
#[cfg(test)]
pub(crate) mod fixture;
pub mod negotiate;
pub mod openmetrics;
pub mod query;
pub mod read;
mod sampling;
#[cfg(test)]
mod tests;
mod trace_tests;
mod verdicts;

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::model::report::{
    BurnRateCheck, CompositeStatus, DurationCounters, ErrorBudget, ObjectiveStatus, Report,
    SeriesCounters, WindowSli,
};
use crate::model::series::ServiceKey;
use crate::model::window::{LATENCY_LADDER_MICROS, Window};

/// Content type of the page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Adjusted count of entry spans of each operation, by outcome.
pub const REQUESTS: &str = "slo_copilot_requests_total";
/// Durations of entry spans on the latency ladder, by outcome.
pub const REQUEST_DURATION: &str = "slo_copilot_request_duration_seconds";
/// Good and bad events of each adopted objective.
pub use crate::model::slo::EVENTS_METRIC as SLO_EVENTS;
/// Target of each adopted objective.
pub const SLO_OBJECTIVE: &str = "slo_copilot_slo_objective_ratio";
/// Good over all events, by window.
pub const SLI: &str = "slo_copilot_sli_ratio";
/// Burn rate in each window of the objective's rules.
pub const BURN_RATE: &str = "slo_copilot_burn_rate";
/// What is left of the error budget.
pub const BUDGET_REMAINING: &str = "slo_copilot_error_budget_remaining_ratio";
/// What is left of the budget of a whole calendar period.
pub const BUDGET_PROJECTED: &str = "slo_copilot_error_budget_projected_remaining_ratio";
pub use self::verdicts::{CANARY_SCORE, CANARY_VERDICT, SCORE, VERDICT};

/// Encodes the report's families, in the order of the constants above and with sorted series.
pub fn render(report: &Report) -> String {
    let series = report.operation_counters.len() + report.service_counters.len();
    let mut page = String::with_capacity(4_096 + 400 * series);
    requests(&mut page, report);
    durations(&mut page, report);
    objectives(&mut page, report);
    verdicts::verdicts(&mut page, report);
    verdicts::canaries(&mut page, report);
    trace_tests::render(&mut page, report);
    coverage::render(&mut page, report);
    sampling::render(&mut page, report);
    // The page is kept until the next report.
    page.shrink_to_fit();
    page
}

fn requests(page: &mut String, report: &Report) {
    let mut family = Family::counter(
        page,
        REQUESTS,
        "Entry spans by operation and outcome, each weighing what its sampling says.",
    );
    for counters in sorted(&report.operation_counters) {
        let [ok, error] = outcome_labels(counters);
        family.sample("", &ok, counters.ok);
        family.sample("", &error, counters.error);
    }
}

/// Each service's durations come at one level only, so that `sum by (le, service)` counts no
/// request twice: at the operations' where every one of them exports a histogram, else at the
/// service's.
fn durations(page: &mut String, report: &Report) {
    let mut family = Family::histogram(
        page,
        REQUEST_DURATION,
        "Durations of entry spans by outcome; operation and kind are empty for a whole service.",
    );
    let mut by_operation: BTreeMap<&ServiceKey, bool> = BTreeMap::new();
    for counters in &report.operation_counters {
        let every = by_operation.entry(&counters.service).or_insert(true);
        *every &= counters.durations.is_some();
    }
    let finest = |service: &ServiceKey| by_operation.get(service).copied().unwrap_or(false);
    let operations = sorted(&report.operation_counters)
        .into_iter()
        .filter(|counters| finest(&counters.service));
    let services = sorted(&report.service_counters)
        .into_iter()
        .filter(|counters| !finest(&counters.service));
    let edges = LadderEdges::new();
    for counters in services.chain(operations) {
        if let Some(durations) = &counters.durations {
            let [ok, error] = outcome_labels(counters);
            edges.write(&mut family, &ok, &durations.ok);
            edges.write(&mut family, &error, &durations.error);
        }
    }
}

/// What the families of objectives show of an objective or of a composite.
struct Shown<'a> {
    labels: Labels,
    target: f64,
    windows: &'a [WindowSli],
    burn_rates: &'a [BurnRateCheck],
    budget: &'a ErrorBudget,
}

impl<'a> Shown<'a> {
    fn objective(status: &'a ObjectiveStatus) -> Self {
        let objective = &status.objective;
        Self {
            labels: slo_labels(&objective.name, &objective.service),
            target: objective.target,
            windows: &status.windows,
            burn_rates: &status.burn_rates,
            budget: &status.budget,
        }
    }

    /// The service is empty where members have different ones.
    fn composite(status: &'a CompositeStatus) -> Self {
        let service = match status.services.as_slice() {
            [only] => only,
            [] | [_, _, ..] => "",
        };
        Self {
            labels: slo_labels(&status.name, service),
            target: status.target,
            windows: &status.windows,
            burn_rates: &status.burn_rates,
            budget: &status.budget,
        }
    }
}

fn slo_labels(name: &str, service: &str) -> Labels {
    Labels::new(&[("slo", name), ("service", service)])
}

fn objectives(page: &mut String, report: &Report) {
    let mut statuses: Vec<&ObjectiveStatus> = report.baseline_evaluations.iter().collect();
    statuses.sort_by(|a, b| a.objective.name.cmp(&b.objective.name));
    let mut family = Family::counter(page, SLO_EVENTS, "Good and bad events of the objective.");
    for status in &statuses {
        let labels = slo_labels(&status.objective.name, &status.objective.service);
        let [good, bad] = ["good", "bad"].map(|result| labels.clone().and("result", result));
        family.sample("", &good, status.good_events);
        family.sample("", &bad, status.bad_events);
    }

    let composites = report.composites.iter().map(Shown::composite);
    let objectives = statuses.into_iter().map(Shown::objective);
    let shown: Vec<Shown<'_>> = objectives.chain(composites).collect();
    let mut family = Family::gauge(
        page,
        SLO_OBJECTIVE,
        "Wanted ratio of good events, or of good slices of time.",
    );
    for slo in &shown {
        family.sample("", &slo.labels, slo.target);
    }
    let mut family = Family::gauge(
        page,
        SLI,
        "Good over all events in the window, or over all slices of time.",
    );
    for slo in &shown {
        for sli in slo.windows {
            let labels = slo.labels.clone().and("window", sli.window.label());
            family.optional(&labels, sli.error_ratio.map(|bad| 1.0 - bad));
        }
    }
    let mut family = Family::gauge(
        page,
        BURN_RATE,
        "Error ratio in the window over the error budget; 1 spends it in one period.",
    );
    for slo in &shown {
        for (window, burn_rate) in burn_rates(slo.burn_rates) {
            let labels = slo.labels.clone().and("window", window.label());
            family.optional(&labels, burn_rate);
        }
    }
    budgets(page, &shown);
}

fn budgets(page: &mut String, shown: &[Shown<'_>]) {
    let mut family = Family::gauge(
        page,
        BUDGET_REMAINING,
        "Share of the period's error budget that is left; below 0 when overspent.",
    );
    for slo in shown {
        family.optional(&slo.labels, slo.budget.remaining_ratio);
    }
    let mut family = Family::gauge(
        page,
        BUDGET_PROJECTED,
        "Share that is left of the budget that the whole calendar period is expected to have.",
    );
    for slo in shown {
        family.optional(&slo.labels, slo.budget.projected_remaining_ratio);
    }
}

/// The burn rate of each window that a rule reads; one rule's long window may be another one's
/// short window.
fn burn_rates(checks: &[BurnRateCheck]) -> BTreeMap<Window, Option<f64>> {
    let mut rates = BTreeMap::new();
    for check in checks {
        rates.insert(check.long_window, check.long_burn_rate);
        rates.insert(check.short_window, check.short_burn_rate);
    }
    rates
}

/// By service, operation and kind; nearly free where the report is sorted already.
fn sorted(counters: &[SeriesCounters]) -> Vec<&SeriesCounters> {
    let mut sorted: Vec<&SeriesCounters> = counters.iter().collect();
    sorted.sort_by(|a, b| {
        (&a.service, &a.operation, a.kind).cmp(&(&b.service, &b.operation, b.kind))
    });
    sorted
}

fn service_labels(service: &ServiceKey) -> Labels {
    Labels::new(&[
        ("service_namespace", &service.namespace),
        ("environment", &service.environment),
        ("service", &service.name),
    ])
}

/// Labels of a series for its ok and its error events. A service's own series has neither operation
/// nor kind.
fn outcome_labels(counters: &SeriesCounters) -> [Labels; 2] {
    let kind = if counters.operation.is_empty() {
        ""
    } else {
        counters.kind.label()
    };
    let labels = service_labels(&counters.service)
        .and("operation", &counters.operation)
        .and("kind", kind);
    ["ok", "error"].map(|outcome| labels.clone().and("outcome", outcome))
}

/// Label pairs as they stand between the braces.
#[derive(Clone)]
struct Labels(String);

impl Labels {
    fn new(pairs: &[(&str, &str)]) -> Self {
        let empty = Self(String::with_capacity(160));
        pairs
            .iter()
            .fold(empty, |labels, (name, value)| labels.and(name, value))
    }

    fn and(mut self, name: &str, value: &str) -> Self {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(name);
        self.0.push_str("=\"");
        for character in value.chars() {
            match character {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                other => self.0.push(other),
            }
        }
        self.0.push('"');
        self
    }
}

/// One family on the page: its help and type are written when it begins.
struct Family<'a> {
    page: &'a mut String,
    name: &'static str,
}

impl<'a> Family<'a> {
    fn counter(page: &'a mut String, name: &'static str, help: &str) -> Self {
        Self::begin(page, name, "counter", help)
    }

    fn gauge(page: &'a mut String, name: &'static str, help: &str) -> Self {
        Self::begin(page, name, "gauge", help)
    }

    fn histogram(page: &'a mut String, name: &'static str, help: &str) -> Self {
        Self::begin(page, name, "histogram", help)
    }

    fn begin(page: &'a mut String, name: &'static str, kind: &str, help: &str) -> Self {
        for part in [
            "# HELP ",
            name,
            " ",
            help,
            "\n# TYPE ",
            name,
            " ",
            kind,
            "\n",
        ] {
            page.push_str(part);
        }
        Self { page, name }
    }

    /// Writes a value; one that is not a number is left out. Whole numbers have no fraction.
    fn sample(&mut self, suffix: &str, labels: &Labels, value: f64) {
        if value.is_finite() {
            self.line(suffix, labels, "", value);
        }
    }

    fn optional(&mut self, labels: &Labels, value: Option<f64>) {
        if let Some(value) = value {
            self.sample("", labels, value);
        }
    }

    /// `le` is a further pair with its comma, or empty.
    fn line(&mut self, suffix: &str, labels: &Labels, le: &str, value: impl Display) {
        for part in [self.name, suffix, "{", &labels.0, le, "} "] {
            self.page.push_str(part);
        }
        self.page.push_str(&value.to_string());
        self.page.push('\n');
    }
}

/// The `le` pairs of the latency ladder, formatted once a page.
struct LadderEdges(Vec<String>);

impl LadderEdges {
    fn new() -> Self {
        let pair = |micros: u64| format!(",le=\"{}\"", seconds(micros));
        Self(LATENCY_LADDER_MICROS.into_iter().map(pair).collect())
    }

    /// The pair of the bucket that a duration belongs to.
    fn pair_of(&self, nanos: u64) -> &str {
        let mut edges = LATENCY_LADDER_MICROS.iter().zip(&self.0);
        let pair = edges.find(|(edge, _)| nanos <= **edge * 1_000);
        pair.map_or(",le=\"+Inf\"", |(_, pair)| pair)
    }

    /// Buckets are cumulated here; what lies beyond the ladder is in `+Inf` alone.
    fn write(&self, family: &mut Family<'_>, labels: &Labels, durations: &DurationCounters) {
        let mut cumulated = 0;
        let counts = durations.buckets.iter().chain(std::iter::repeat(&0));
        for (le, count) in self.0.iter().zip(counts) {
            cumulated += count;
            family.line("_bucket", labels, le, cumulated);
        }
        let count: u64 = durations.buckets.iter().sum();
        family.line("_bucket", labels, ",le=\"+Inf\"", count);
        family.sample("_sum", labels, durations.sum_secs);
        family.line("_count", labels, "", count);
    }
}

/// Microseconds as exact decimal seconds without trailing zeros: `0.0005`, `2.5`, `60`.
fn seconds(micros: u64) -> String {
    let (whole, fraction) = (micros / 1_000_000, micros % 1_000_000);
    if fraction == 0 {
        return whole.to_string();
    }
    let fraction = format!("{fraction:06}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}
