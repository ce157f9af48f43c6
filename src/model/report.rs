//! The report: everything one evaluation found, the only thing exporters see.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::UnixNanos;
use crate::model::candidate::Candidate;
use crate::model::series::ServiceKey;
use crate::model::slo::Objective;
use crate::model::span::SpanKind;
use crate::model::window::{Window, WindowSums};

/// Version of the JSON shape of [`Report`].
pub const REPORT_SCHEMA_VERSION: &str = "slo-copilot/report/v1";

/// The answer to "may this go on?".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Not enough is known.
    Inconclusive,
    /// Every conclusive objective holds.
    Pass,
    /// A ticket's burn rate fires.
    Warn,
    /// A page's burn rate fires, or a budget is spent.
    Fail,
}

impl Verdict {
    /// All verdicts, in the order they are exported.
    pub const ALL: [Self; 4] = [Self::Pass, Self::Warn, Self::Fail, Self::Inconclusive];

    /// As in JSON and labels.
    pub fn label(self) -> &'static str {
        match self {
            Self::Inconclusive => "inconclusive",
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// How loud a burn-rate pair is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Wakes a person.
    Page,
    /// Waits for working hours.
    Ticket,
}

/// One window of one service level indicator.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowSli {
    /// The window.
    pub window: Window,
    /// Its sums.
    #[serde(flatten)]
    pub sums: WindowSums,
    /// Bad over all; null without events.
    pub error_ratio: Option<f64>,
}

/// Latency quantiles of one window, of events without an error, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyQuantiles {
    /// The window.
    pub window: Window,
    /// Events in it.
    pub events: u64,
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
}

/// The monotonic counters of one series, as Prometheus sees them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesCounters {
    /// The service.
    pub service: ServiceKey,
    /// The operation.
    pub operation: String,
    /// The kind of its entry spans.
    pub kind: SpanKind,
    /// Adjusted count of events without an error.
    pub ok: f64,
    /// Adjusted count of events with an error.
    pub error: f64,
    /// Duration histograms, if this level exports them.
    pub durations: Option<OutcomeDurations>,
}

/// Duration histograms by outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutcomeDurations {
    /// Of events without an error.
    pub ok: DurationCounters,
    /// Of events with an error.
    pub error: DurationCounters,
}

/// A classic histogram on the latency ladder; counts are not yet cumulated over the edges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DurationCounters {
    /// Events per edge of the ladder, the last one beyond it.
    pub buckets: Vec<u64>,
    /// Sum of the durations in seconds.
    pub sum_secs: f64,
}

/// One operation in the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperationReport {
    /// Its name.
    pub operation: String,
    /// The kind of its entry spans.
    pub kind: SpanKind,
    /// All windows.
    pub windows: Vec<WindowSli>,
    /// Latency, where it is reported.
    pub latency: Vec<LatencyQuantiles>,
}

/// One service in the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceReport {
    /// The service.
    pub service: ServiceKey,
    /// Versions seen lately, the newest first.
    pub versions: Vec<VersionReport>,
    /// All windows of all its entry spans.
    pub windows: Vec<WindowSli>,
    /// Latency of all its entry spans.
    pub latency: Vec<LatencyQuantiles>,
    /// Its operations with the most traffic.
    pub operations: Vec<OperationReport>,
    /// Operations that are held but not listed above.
    pub operations_omitted: usize,
}

/// One version of a service in the report; windows up to six hours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionReport {
    /// `service.version`.
    pub version: String,
    /// Windows up to six hours.
    pub windows: Vec<WindowSli>,
    /// Latency of its entry spans.
    pub latency: Vec<LatencyQuantiles>,
}

/// One multi-window burn-rate rule applied to an objective.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BurnRateCheck {
    /// How loud it is.
    pub severity: Severity,
    /// Burn-rate factor.
    pub factor: f64,
    /// Long window.
    pub long_window: Window,
    /// Short window.
    pub short_window: Window,
    /// Error ratio that both windows must exceed: min(factor · budget, cap).
    pub error_ratio_limit: f64,
    /// Whether the cap decided the limit.
    pub capped: bool,
    /// Burn rate over the long window; null without events.
    pub long_burn_rate: Option<f64>,
    /// Burn rate over the short window; null without events.
    pub short_burn_rate: Option<f64>,
    /// Both exceed the limit and enough bad events were seen.
    pub firing: bool,
}

/// The error budget over the objective's period.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorBudget {
    /// 1 − Σbad/(B·Σtotal); below 0 when overspent; null without events.
    pub remaining_ratio: Option<f64>,
    /// Bad events that the budget allows over the events so far.
    pub allowed_bad: f64,
    /// Bad events so far.
    pub bad: f64,
    /// Events so far.
    pub total: f64,
    /// Bad events seen, which sampling does not multiply.
    pub observed_bad: u64,
}

/// An adopted objective, measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveStatus {
    /// The objective.
    pub objective: Objective,
    /// pass, warn, fail, or inconclusive while undecided.
    pub state: Verdict,
    /// Why, in a sentence.
    pub text: String,
    /// Bad ratio of every window.
    pub windows: Vec<WindowSli>,
    /// Burn-rate rules.
    pub burn_rates: Vec<BurnRateCheck>,
    /// Error budget.
    pub budget: ErrorBudget,
    /// Monotonic adjusted count of good events since the first start.
    pub good_events: f64,
    /// Monotonic adjusted count of bad events since the first start.
    pub bad_events: f64,
}

/// One reason of a verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// `burn_rate`, `error_budget`, `objective`.
    pub source: String,
    /// Name of the objective.
    pub name: String,
    /// The window that decided, as a label.
    pub window: Option<String>,
    /// What was seen.
    pub observed: Option<f64>,
    /// What is allowed.
    pub limit: Option<f64>,
    /// A sentence for people.
    pub text: String,
}

/// What a verdict rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VerdictEvidence {
    /// Entry spans seen in the objectives' periods.
    pub spans: u64,
    /// Root spans accepted, each the start of a trace; null where it is not known for the service alone.
    pub traces: Option<u64>,
    /// Effective sample size.
    pub n_eff: f64,
}

/// A verdict with its reasons, the JSON that gates read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerdictReport {
    /// The verdict.
    pub verdict: Verdict,
    /// True for pass and warn.
    pub ok: bool,
    /// 100·Σw·s/Σw over conclusive objectives; null if inconclusive.
    pub score: Option<f64>,
    /// The service, null for all together.
    pub service: Option<ServiceKey>,
    /// The version asked about, if one was.
    pub version: Option<String>,
    /// The window asked about, if one was.
    pub window: Option<String>,
    /// Why.
    pub reasons: Vec<Reason>,
    /// Names of the objectives that could not be decided, with the reason.
    pub undecided: Vec<Reason>,
    /// What it rests on.
    pub evidence: VerdictEvidence,
    /// What the error budget policy asks for, null without a policy.
    pub action: Option<String>,
    /// When, RFC 3339.
    pub generated_at: jiff::Timestamp,
}

/// How full the bounded tables are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesUsage {
    /// Series held.
    pub held: u64,
    /// Most that may be held.
    pub limit: u64,
    /// Estimate of how many were wanted.
    pub demand: u64,
}

/// Whose view files and verdicts are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputScope {
    /// Of one instance: a sidecar.
    #[default]
    Instance,
    /// Of the whole service: a gateway.
    Service,
}

/// Everything one evaluation found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`REPORT_SCHEMA_VERSION`].
    pub schema_version: String,
    /// When, RFC 3339.
    pub generated_at: jiff::Timestamp,
    /// The same instant in nanoseconds, for those who calculate.
    #[serde(skip)]
    pub now: UnixNanos,
    /// Whose view this is.
    pub scope: OutputScope,
    /// Suggested objectives.
    pub slo_candidates: Vec<Candidate>,
    /// Adopted objectives, measured.
    pub baseline_evaluations: Vec<ObjectiveStatus>,
    /// Trace-based tests; null while no suites are configured.
    pub test_results: Option<serde_json::Value>,
    /// Coverage; null while the adapter is off.
    pub coverage: Option<serde_json::Value>,
    /// Sampling advice; null while the adapter is off.
    pub telemetry_recommendation: Option<serde_json::Value>,
    /// Root causes; null while the adapter is off.
    pub rca: Option<serde_json::Value>,
    /// Ready-made guardrail policies by name.
    pub policy_snippets: BTreeMap<String, String>,
    /// State of each neighbour, with the reason where it gives nothing.
    pub integrations: BTreeMap<String, String>,
    /// The verdict over all services.
    pub verdict: VerdictReport,
    /// One verdict per service.
    pub verdicts: Vec<VerdictReport>,
    /// Services with their windows.
    pub services: Vec<ServiceReport>,
    /// How full the table of series is.
    pub series: SeriesUsage,
    /// Counters of every operation's series, for the metrics page.
    #[serde(skip)]
    pub operation_counters: Vec<SeriesCounters>,
    /// Duration histograms of the services, for the metrics page; `operation` is empty.
    #[serde(skip)]
    pub service_counters: Vec<SeriesCounters>,
}
