//! The report: everything one evaluation found, the only thing exporters see.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::UnixNanos;
use crate::model::budget_policy::PolicyStatus;
use crate::model::canary::CanaryReport;
use crate::model::candidate::Candidate;
use crate::model::coverage::CoverageReport;
use crate::model::input::TraceInputReport;
use crate::model::period::Period;
use crate::model::rca::RcaReport;
use crate::model::recommendation::TelemetryRecommendation;
use crate::model::sampling::SamplingPlan;
use crate::model::series::ServiceKey;
use crate::model::simulation::FaultReport;
use crate::model::slo::{Budgeting, Objective};
use crate::model::span::SpanKind;
use crate::model::test_result::TestReport;
use crate::model::window::{Window, WindowSums};

/// Version of the JSON shape of [`Report`].
pub const REPORT_SCHEMA_VERSION: &str = "slo-copilot/report/v1";

/// The answer to "may this go on?".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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

    /// Whether a release may go on: true for pass and warn.
    pub fn is_ok(self) -> bool {
        match self {
            Self::Pass | Self::Warn => true,
            Self::Fail | Self::Inconclusive => false,
        }
    }

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
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Wakes a person.
    Page,
    /// Waits for working hours.
    Ticket,
}

/// One window of one service level indicator.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
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

/// The error budget over the objective's period. Events are counted, or slices of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ErrorBudget {
    /// 1 − Σbad/(B·Σtotal) so far; below 0 when overspent; null without events. This one decides.
    pub remaining_ratio: Option<f64>,
    /// The same against the total that the whole calendar period is expected to have: what is left if nothing bad happens
    /// any more. It does not recover as the total grows. Null for rolling periods.
    #[serde(default)]
    pub projected_remaining_ratio: Option<f64>,
    /// Bad ones that the budget allows of the total so far.
    pub allowed_bad: f64,
    /// Bad ones so far.
    pub bad: f64,
    /// All so far; of slices, those that were expected.
    pub total: f64,
    /// Bad events seen, which sampling does not multiply.
    pub observed_bad: u64,
    /// Start of the calendar period; null for rolling ones.
    #[serde(default)]
    pub period_start: Option<jiff::Timestamp>,
    /// End of the calendar period; null for rolling ones.
    #[serde(default)]
    pub period_end: Option<jiff::Timestamp>,
}

/// How much of an objective's period was measured, where slices of time are judged.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SliceCoverage {
    /// Slices that count against the budget.
    pub expected: f64,
    /// Slices without events, which count as the objective says.
    pub empty: u64,
    /// Slices with events over all that passed; null before the first one.
    pub measured_ratio: Option<f64>,
    /// Events that came too late to change their slice, since the start.
    pub late_events: u64,
}

/// An adopted objective, measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ObjectiveStatus {
    /// The objective.
    pub objective: Objective,
    /// pass, warn, fail, or inconclusive while undecided.
    pub state: Verdict,
    /// Why, in a sentence.
    pub text: String,
    /// Bad ratio of every window: of events, or of slices.
    pub windows: Vec<WindowSli>,
    /// Burn-rate rules.
    pub burn_rates: Vec<BurnRateCheck>,
    /// Error budget.
    pub budget: ErrorBudget,
    /// Slices of the period; null where events are counted.
    #[serde(default)]
    pub slices: Option<SliceCoverage>,
    /// The error budget policy, with the steps that apply now; null where it was not looked at.
    #[serde(default)]
    pub policy: Option<PolicyStatus>,
    /// Monotonic adjusted count of good events since the first start.
    pub good_events: f64,
    /// Monotonic adjusted count of bad events since the first start.
    pub bad_events: f64,
}

/// An objective's part in a composite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemberStatus {
    /// Name of the objective, which stands in the report too.
    pub name: String,
    /// Its weight in the composite.
    pub weight: f64,
    /// How it stands on its own; it does not gate.
    pub state: Verdict,
    /// What is left of its own budget.
    pub remaining_ratio: Option<f64>,
}

/// A composite, judged by the rules of objectives in place of its members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CompositeStatus {
    /// Its name.
    pub name: String,
    /// Services of its members, sorted.
    pub services: Vec<String>,
    /// Its members, in the order of their adoption.
    pub members: Vec<MemberStatus>,
    /// How good and bad are counted.
    pub budgeting: Budgeting,
    /// Period of the budget.
    pub window: Period,
    /// Target of an objective that would burn as the composite does.
    pub target: f64,
    /// Whether a member is required.
    pub required: bool,
    /// Weight in the score: that of all members.
    pub weight: f64,
    /// pass, warn, fail, or inconclusive while undecided.
    pub state: Verdict,
    /// Why, in a sentence.
    pub text: String,
    /// Bad ratio of every window.
    pub windows: Vec<WindowSli>,
    /// Burn-rate rules.
    pub burn_rates: Vec<BurnRateCheck>,
    /// Error budget; totals are those of all members, bad ones are weighted.
    pub budget: ErrorBudget,
    /// Slices of the period; null where events are counted.
    #[serde(default)]
    pub slices: Option<SliceCoverage>,
    /// The error budget policy: that of the first member that has one of its own.
    #[serde(default)]
    pub policy: Option<PolicyStatus>,
}

/// One reason of a verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Reason {
    /// `burn_rate`, `error_budget`, `objective`, `canary`, `test`, `policy_step`.
    pub source: String,
    /// Name of the objective; of a canary, the new version.
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    /// What the error budget policy asks for: the action of the strictest step that applies; null if none does.
    pub action: Option<String>,
    /// When, RFC 3339.
    pub generated_at: jiff::Timestamp,
}

/// How full the bounded tables are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Report {
    /// Version of this shape.
    #[cfg_attr(test, schemars(extend("const" = REPORT_SCHEMA_VERSION)))]
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
    /// Composites of them by name; they gate in place of their members.
    #[serde(default)]
    pub composites: Vec<CompositeStatus>,
    /// New versions against old ones.
    #[serde(default)]
    pub canaries: Vec<CanaryReport>,
    /// Trace-based tests; null while no suites are configured.
    pub test_results: Option<TestReport>,
    /// Faults simulated on the traces, and which objectives notice; null where nobody asked, and on running servers.
    #[serde(default)]
    pub fault_cases: Option<FaultReport>,
    /// Coverage of the expected signals; null where none are.
    pub coverage: Option<Arc<CoverageReport>>,
    /// The shares that senders are told to sample; null while they are told to sample everything.
    #[serde(default)]
    pub sampling: Option<Arc<SamplingPlan>>,
    /// Services whose spans do not say what they stand for (`ot=th`) although their senders, or those of their callers, were asked
    /// for a share of the traces within the last day: they are weighed by that share, which is an assumption.
    #[serde(default)]
    pub assumed_sampling: Vec<String>,
    /// The telemetry budget; null while its adapter is off, and in commands that were told no volumes.
    pub telemetry_recommendation: Option<Arc<TelemetryRecommendation>>,
    /// Root causes of the incident that is under way, or of the last one; null while there was none.
    pub rca: Option<Arc<RcaReport>>,
    /// Guardrail policies of the first hundred objectives: `<objective>.cel`, `<objective>.rego`, `<objective>.promql`.
    pub policy_snippets: BTreeMap<String, String>,
    /// State of each neighbour, with the reason where it gives nothing.
    pub integrations: BTreeMap<String, String>,
    /// The verdict over all services.
    pub verdict: VerdictReport,
    /// One verdict per service.
    pub verdicts: Vec<VerdictReport>,
    /// The trace files that this was made from; null for a live report.
    pub input: Option<TraceInputReport>,
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

impl Report {
    /// The verdict of a service over all of its versions.
    pub fn verdict_of(&self, service: &ServiceKey) -> Option<&VerdictReport> {
        self.service_verdicts()
            .find(|verdict| verdict.service.as_ref() == Some(service))
    }

    /// One verdict a service, without those about single versions.
    pub fn service_verdicts(&self) -> impl Iterator<Item = &VerdictReport> {
        let verdicts = self.verdicts.iter();
        verdicts.filter(|verdict| verdict.version.is_none())
    }
}
