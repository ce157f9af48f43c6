//! Coverage: what was expected, what was seen, how well it is instrumented, and where to look next.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::finding::Level;
use crate::model::series::ServiceKey;

/// Expected signals against those that were observed, and what whole traces say about instrumentation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CoverageReport {
    /// Expected signals in the order in which they were named, each once.
    pub expected_signals: Vec<String>,
    /// Observed signals, sorted; a bounded number of them.
    pub observed_signals: Vec<String>,
    /// Observed signals that are not listed above.
    pub observed_signals_omitted: u64,
    /// Whether each expected signal was observed.
    pub coverage_map: BTreeMap<String, bool>,
    /// Expected signals that were observed, over all expected ones; null where none are expected.
    pub coverage_ratio: Option<f64>,
    /// Expected signals that were not observed, in the order in which they were named.
    pub missing_signals: Vec<String>,
    /// What to instrument first: the gap that hides the most calls, by the first of `probes`.
    pub next_probe: Option<String>,
    /// What to do about each missing signal.
    pub suggestions: Vec<String>,
    /// Everything that is not seen, the most valuable first; a bounded number.
    pub probes: Vec<Probe>,
    /// Coverage against its target. It counts in no verdict.
    pub objective: CoverageObjective,
    /// What whole traces say; null where only names were looked at.
    pub instrumentation: Option<Instrumentation>,
}

/// Coverage against its target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CoverageObjective {
    /// Wanted ratio.
    pub target: f64,
    /// Covered over expected things of all parts; null where nothing is expected.
    pub ratio: Option<f64>,
    /// Whether the ratio reaches the target.
    pub status: CoverageStatus,
    /// What the ratio is made of.
    pub parts: Vec<CoveragePart>,
}

/// Whether coverage reaches its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum CoverageStatus {
    /// It does.
    Met,
    /// It does not.
    Missed,
    /// Nothing is known yet.
    Unknown,
}

impl CoverageStatus {
    /// As in JSON.
    pub fn label(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::Unknown => "unknown",
        }
    }
}

/// Things of one kind, covered and expected.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CoveragePart {
    /// What is counted.
    pub kind: CoverageKind,
    /// Those that are seen.
    pub covered: u64,
    /// Those that should be.
    pub expected: u64,
    /// Covered over expected; null where none is expected.
    pub ratio: Option<f64>,
}

/// What coverage is counted of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum CoverageKind {
    /// Expected signals.
    Signals,
    /// Services: those with spans, of those and the dark peers. Databases, brokers and hosts of others are none.
    Services,
    /// Calls from service to service: those whose context arrives, of all that callers show.
    Edges,
    /// Workloads of the manifests: those that report spans.
    Workloads,
}

impl CoverageKind {
    /// As in JSON and labels.
    pub fn label(self) -> &'static str {
        match self {
            Self::Signals => "signals",
            Self::Services => "services",
            Self::Edges => "edges",
            Self::Workloads => "workloads",
        }
    }
}

/// What whole traces say about instrumentation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Instrumentation {
    /// Traces that were looked at; of a running server a sample.
    pub traces: u64,
    /// Those among them of which spans may be missing by no fault of the instrumentation; they prove no gap.
    pub partial_traces: u64,
    /// Their spans.
    pub spans: u64,
    /// End of the oldest span; null without traces.
    pub first: Option<jiff::Timestamp>,
    /// End of the newest span.
    pub last: Option<jiff::Timestamp>,
    /// How the scores came about.
    pub method: ScoreMethod,
    /// The Instrumentation Score of each service, by its rules alone.
    pub scores: Vec<InstrumentationScore>,
    /// Calls between services.
    pub edges: Vec<CoverageEdge>,
    /// Edges that are held but not listed.
    pub edges_omitted: u64,
    /// What else is wrong, the worst first. It is no part of the scores.
    pub findings: Vec<CoverageFinding>,
    /// Findings that are not listed.
    pub findings_omitted: u64,
    /// All findings by their kind.
    pub findings_by_kind: BTreeMap<String, u64>,
    /// What the bounds turned away, by the key of the bound.
    pub refused: BTreeMap<String, u64>,
}

/// What whoever compares scores must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ScoreMethod {
    /// The specification.
    pub specification: String,
    /// Rules that traces can answer.
    pub rules_judged: u64,
    /// All rules of the specification.
    pub rules_total: u64,
    /// Whether all rules are judged: they are not, since metrics and logs are not looked at.
    pub is_complete: bool,
    /// The window that scores are about, against the 30 days of the specification.
    pub window: String,
    /// Whose traces.
    pub sampling: String,
    /// Where the specification leaves a choice, and which one was made.
    pub choices: Vec<String>,
}

/// The Instrumentation Score of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct InstrumentationScore {
    /// The service.
    pub service: ServiceKey,
    /// 0 to 100; null where no rule applies.
    pub score: Option<f64>,
    /// What the score is called.
    pub category: Option<ScoreCategory>,
    /// `telemetry.sdk.language`.
    pub language: Option<String>,
    /// Its spans.
    pub spans: u64,
    /// The rules.
    pub rules: Vec<RuleResult>,
}

/// What a score is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ScoreCategory {
    /// 90 and more.
    Excellent,
    /// 75 and more.
    Good,
    /// 50 and more.
    NeedsImprovement,
    /// Less.
    Poor,
}

impl ScoreCategory {
    /// For people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Excellent => "excellent",
            Self::Good => "good",
            Self::NeedsImprovement => "needs improvement",
            Self::Poor => "poor",
        }
    }
}

/// How much a rule weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Impact {
    /// 10.
    Low,
    /// 20.
    Normal,
    /// 30.
    Important,
    /// 40.
    Critical,
}

/// What became of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RuleStatus {
    /// Nothing breaks it.
    Pass,
    /// Something does.
    Fail,
    /// Nothing it is about was seen; it counts neither way.
    NotApplicable,
}

/// One rule of the Instrumentation Score, judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RuleResult {
    /// Its id in the specification.
    pub id: String,
    /// How much it weighs.
    pub impact: Impact,
    /// What became of it.
    pub status: RuleStatus,
    /// Things that were looked at.
    pub checked: u64,
    /// Those that break it.
    pub broken: u64,
    /// What it asks for, and what was seen.
    pub text: String,
    /// Traces that show it.
    pub traces: Vec<String>,
}

/// Who is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum PeerKind {
    /// A service with spans.
    Service,
    /// One within reach that never shows a span.
    Dark,
    /// A database.
    Database,
    /// A broker of messages; its consumers are other traces.
    Messaging,
    /// A host of somebody else.
    External,
    /// The caller does not say whom it calls.
    Unnamed,
}

impl PeerKind {
    /// As in JSON.
    pub fn label(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Dark => "dark",
            Self::Database => "database",
            Self::Messaging => "messaging",
            Self::External => "external",
            Self::Unnamed => "unnamed",
        }
    }
}

/// Calls from a service to a peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CoverageEdge {
    /// Who calls.
    pub caller: ServiceKey,
    /// Name of the service, or what the caller says of it.
    pub peer: String,
    /// Who is called.
    pub kind: PeerKind,
    /// Calls in traces that prove something.
    pub calls: u64,
    /// Calls whose other side shows a span.
    pub answered: u64,
    /// Calls that failed without a span of the other side, which may never have been reached.
    pub failed: u64,
    /// `http`, `grpc` and so on, as far as the caller says it.
    pub protocol: Option<String>,
}

/// What is wrong, apart from the Instrumentation Score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CoverageFindingKind {
    /// The SDK's default name: several services share it.
    DefaultServiceName,
    /// The callee reports spans, but not in the caller's trace.
    LostContext,
    /// Entry spans whose caller's span never arrived.
    OrphanedEntries,
    /// Inner spans whose parent never arrived.
    OrphanedSpans,
    /// Traces that begin with a client span: no span tells what the call was for.
    ClientRoots,
    /// A peer that is called and never reports a span.
    DarkPeer,
    /// A workload of the manifests that reports no span.
    UninstrumentedWorkload,
    /// A process of this host that listens and reports no span.
    SilentListener,
    /// HTTP server spans without `http.route`.
    MissingRoute,
    /// Server spans with HTTP 5xx whose status is not an error.
    MissingErrorStatus,
    /// Spans with an exception whose status is unset.
    ExceptionWithoutStatus,
    /// No `service.version`.
    MissingVersion,
    /// The callee's span begins before the call, or after its answer.
    ClockSkew,
}

impl CoverageFindingKind {
    /// As in JSON and labels.
    pub fn label(self) -> &'static str {
        match self {
            Self::DefaultServiceName => "default_service_name",
            Self::LostContext => "lost_context",
            Self::OrphanedEntries => "orphaned_entries",
            Self::OrphanedSpans => "orphaned_spans",
            Self::ClientRoots => "client_roots",
            Self::DarkPeer => "dark_peer",
            Self::UninstrumentedWorkload => "uninstrumented_workload",
            Self::SilentListener => "silent_listener",
            Self::MissingRoute => "missing_route",
            Self::MissingErrorStatus => "missing_error_status",
            Self::ExceptionWithoutStatus => "exception_without_status",
            Self::MissingVersion => "missing_version",
            Self::ClockSkew => "clock_skew",
        }
    }

    /// How bad it is: an error makes indicators or traces wrong, a warning hides something, a note costs a feature.
    pub fn level(self) -> Level {
        match self {
            Self::DefaultServiceName | Self::LostContext => Level::Error,
            Self::OrphanedEntries
            | Self::OrphanedSpans
            | Self::ClientRoots
            | Self::DarkPeer
            | Self::UninstrumentedWorkload
            | Self::MissingRoute
            | Self::MissingErrorStatus
            | Self::ClockSkew => Level::Warning,
            Self::SilentListener | Self::ExceptionWithoutStatus | Self::MissingVersion => {
                Level::Note
            }
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CoverageFinding {
    /// What.
    pub kind: CoverageFindingKind,
    /// How bad it is.
    pub level: Level,
    /// Where it is to be mended; null where no service of this name reports spans.
    pub service: Option<ServiceKey>,
    /// The other side, the workload, or the process.
    pub peer: Option<String>,
    /// The language that the remedy is for.
    pub language: Option<String>,
    /// How often it was seen.
    pub count: u64,
    /// Of how many.
    pub checked: u64,
    /// What was seen, in a sentence.
    pub text: String,
    /// What to do.
    pub remedy: String,
    /// Traces that show it.
    pub traces: Vec<String>,
}

/// What a probe would look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ProbeKind {
    /// A peer that callers name.
    Peer,
    /// An expected signal that was not observed.
    Signal,
    /// A process of this host.
    Process,
    /// A workload of the manifests.
    Workload,
}

impl ProbeKind {
    /// As in JSON.
    pub fn label(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Signal => "signal",
            Self::Process => "process",
            Self::Workload => "workload",
        }
    }
}

/// A gap, and how a probe finds the process behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Probe {
    /// What is not seen.
    pub target: String,
    /// What kind of thing it is.
    pub kind: ProbeKind,
    /// Calls that it hides; of a signal, those of what resembles it, weighted by how much it does.
    pub value: f64,
    /// Services or processes that call it.
    pub callers: u64,
    /// Why it has this value.
    pub reason: String,
    /// The port that the process listens on, as far as callers or the host say it.
    pub port: Option<u16>,
    /// The protocol on it.
    pub protocol: Option<String>,
    /// The process.
    pub pid: Option<u32>,
    /// Path of its executable.
    pub executable: Option<String>,
    /// Its workload.
    pub workload: Option<WorkloadName>,
}

/// A workload of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WorkloadName {
    /// Its namespace; empty if the manifest says none.
    pub namespace: String,
    /// Its kind, for example `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
}
