//! Two versions of a service side by side: what each of them did, and what the comparison found.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::UnixNanos;
use crate::model::history::MinuteRow;
use crate::model::report::Verdict;
use crate::model::series::ServiceKey;
use crate::model::span::SpanKind;

/// What one version of a service did while it was watched: one arm of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cohort {
    /// Value of the attribute that tells versions apart, `service.version` unless configured.
    pub version: String,
    /// Start of the first minute that counts.
    pub from: UnixNanos,
    /// End of the newest event.
    pub until: UnixNanos,
    /// Entry spans of the whole service, one row a minute, the oldest first.
    pub service: Vec<MinuteRow>,
    /// The same by operation, sorted by name and kind. Those over the bound are in the operation `_other`.
    pub operations: Vec<OperationCohort>,
    /// Entry spans with an error, by what went wrong: `exception type`, else `error.type`, else the status code.
    pub error_kinds: BTreeMap<String, ErrorKindSums>,
    /// Calls that the service made, by whom it called.
    pub dependencies: BTreeMap<String, CallSums>,
}

/// One operation of a [`Cohort`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperationCohort {
    /// Templated name.
    pub operation: String,
    /// Kind of its entry spans.
    pub kind: SpanKind,
    /// One row a minute, the oldest first.
    pub minutes: Vec<MinuteRow>,
}

/// Entry spans that failed in one way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorKindSums {
    /// Adjusted count.
    pub count: f64,
    /// Spans seen.
    pub observed: u64,
    /// Trace id of one of them, in hexadecimal; empty if it is not known.
    pub example_trace_id: String,
}

/// Calls to one dependency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CallSums {
    /// Adjusted count of calls.
    pub calls: f64,
    /// Adjusted count of calls that failed.
    pub errors: f64,
    /// Calls seen.
    pub observed: u64,
    /// Sum of their durations in seconds, by adjusted count.
    pub duration_secs: f64,
}

/// Calls of one service to another, both of which changed: what the callee's change did to them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceEdge {
    /// Who calls.
    pub caller: ServiceKey,
    /// Who is called.
    pub callee: ServiceKey,
    /// Calls of the caller's old version: those of its baseline arm.
    pub baseline: CallSums,
    /// Calls of the caller's new version while it is watched.
    pub canary: CallSums,
}

/// How the two arms stand to each other in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Pairing {
    /// Both took traffic in the same minutes.
    Concurrent,
    /// One after the other: what changed in the world meanwhile is part of the difference.
    BeforeAfter,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CanaryMetric {
    /// Ratio of entry spans with an error.
    ErrorRatio,
    /// Durations of entry spans without an error, all of the distribution.
    Latency,
    /// The slowest part of them: a quantile.
    TailLatency,
}

/// One arm in the report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ArmReport {
    /// Its version.
    pub version: String,
    /// Start of what was compared, RFC 3339.
    pub from: jiff::Timestamp,
    /// End of what was compared.
    pub until: jiff::Timestamp,
    /// Entry spans seen.
    pub requests: u64,
    /// What they are worth: less where sampling or clusters of errors make them dependent.
    pub n_eff: f64,
    /// Bad over all by adjusted counts; null without events.
    pub error_ratio: Option<f64>,
    /// Median in seconds of entry spans without an error; null without them.
    pub p50: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
}

/// One metric of the service or of one of its operations, compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Comparison {
    /// What was compared.
    pub metric: CanaryMetric,
    /// The operation; null for the whole service.
    pub operation: Option<String>,
    /// Kind of the operation's entry spans; null for the whole service.
    pub kind: Option<SpanKind>,
    /// The quantile of `tail_latency`; null for the other metrics.
    pub quantile: Option<f64>,
    /// `fail`: worse beyond chance, and by more than is tolerated as far as is seen; `pass`: not worse than tolerated, beyond
    /// chance; else `inconclusive`.
    pub verdict: Verdict,
    /// Of the old version: a ratio, or seconds; null without events. Where both versions ran at once, each is measured by
    /// the requests of the new one's times.
    pub baseline: Option<f64>,
    /// Of the new version.
    pub canary: Option<f64>,
    /// Entry spans of the old version that the comparison rests on: those of times in which the new one had requests, too.
    pub baseline_requests: u64,
    /// Entry spans of the new version that the comparison rests on.
    pub canary_requests: u64,
    /// New less old, in the unit of the metric; of durations the Hodges–Lehmann shift or the shift of the quantile.
    pub difference: Option<f64>,
    /// Lower end of the interval of the difference; null where nothing is known.
    pub lower: Option<f64>,
    /// Upper end of it.
    pub upper: Option<f64>,
    /// The greatest difference that is tolerated.
    pub tolerance: Option<f64>,
    /// Probability of such a difference, or a greater one, at any look if nothing were worse; corrected for the number of
    /// comparisons. Null where nothing is known.
    pub p_value: Option<f64>,
    /// Requests that the new version still needs for an answer, if it goes on like this; null where one was given or none
    /// is in sight.
    pub requests_needed: Option<u64>,
    /// A sentence for people.
    pub text: String,
}

/// A way of failing that the old version did not have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NewErrorKind {
    /// What went wrong.
    pub kind: String,
    /// Entry spans of the new version that failed so.
    pub observed: u64,
    /// How many there would be at most if nothing had changed: at the highest ratio that the old version's requests, none of
    /// which failed so, leave possible at the configured confidence.
    pub expected_max: f64,
    /// Trace id of one of them; empty if it is not known.
    pub example_trace_id: String,
    /// Whether it makes the comparison fail, or only warns.
    pub verdict: Verdict,
    /// A sentence for people.
    pub text: String,
}

/// Someone whom only one of the versions calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DependencyChange {
    /// Whom.
    pub dependency: String,
    /// True: only the new version calls it. False: only the old one does.
    pub is_new: bool,
    /// Calls seen of the version that does.
    pub observed: u64,
    /// Calls that the other version would have made at the same ratio.
    pub expected: f64,
    /// A sentence for people.
    pub text: String,
}

/// Whether a change is to blame where several services changed at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Blame {
    /// 1 is the change that most probably is to blame; null for one that is innocent.
    pub rank: Option<usize>,
    /// Share of what got worse that its callees do not explain, 0 to 1.
    pub own_share: f64,
    /// The changed service that it suffers from; null if none.
    pub suffers_from: Option<ServiceKey>,
    /// A sentence for people.
    pub text: String,
}

/// A new version of a service against the old one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CanaryReport {
    /// The service.
    pub service: ServiceKey,
    /// The old version.
    pub baseline: ArmReport,
    /// The new version.
    pub canary: ArmReport,
    /// How they stand to each other in time.
    pub pairing: Pairing,
    /// `fail` if a comparison fails beyond chance; `pass` if the comparisons of the whole service are conclusive and none
    /// fails, `warn` instead for new ways of failing or changed dependencies alone; else `inconclusive`.
    pub verdict: Verdict,
    /// 100·Σw·passed/Σw over the conclusive comparisons; null if there are none. The service's errors weigh 4, its latency 2,
    /// its tail quantiles 1 together, all operations 3 together.
    pub score: Option<f64>,
    /// Requests that the new version still needs for an answer; null where one was given or none is in sight.
    pub requests_needed: Option<u64>,
    /// Those that fail first, then those of the whole service, then by operation.
    pub comparisons: Vec<Comparison>,
    /// Ways of failing that the old version did not have.
    pub new_error_kinds: Vec<NewErrorKind>,
    /// Whom only one of them calls.
    pub dependency_changes: Vec<DependencyChange>,
    /// Whether it is to blame; null unless it fails while another service changed too.
    pub blame: Option<Blame>,
    /// Why, in a sentence.
    pub text: String,
}
