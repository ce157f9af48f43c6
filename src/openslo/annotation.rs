//! The annotations that hold an objective as this program measures it: what [`super::write`] writes and
//! [`super::adopt`] reads.

/// The domain of our annotations.
pub(super) const PREFIX: &str = "slo-copilot.dev/";

/// `service.name`.
pub(super) const SERVICE: &str = "service";
/// `service.namespace`; any without it.
pub(super) const NAMESPACE: &str = "namespace";
/// `deployment.environment.name`; any without it.
pub(super) const ENVIRONMENT: &str = "environment";
/// One operation; the whole service without it.
pub(super) const OPERATION: &str = "operation";
/// `availability` or `latency`.
pub(super) const SLI: &str = "sli";
/// Of a latency: an integer and `us`, `ms` or `s`.
pub(super) const THRESHOLD: &str = "threshold";
/// `true` or `false`, by default the latter.
pub(super) const REQUIRED: &str = "required";
/// Weight in the score, by default 1.
pub(super) const WEIGHT: &str = "weight";
/// Name of the error budget policy; the one that holds for all without it.
pub(super) const POLICY: &str = "policy";
/// `good`, `bad` or `excluded`, by default the first.
pub(super) const EMPTY_SLICES: &str = "empty-slices";
/// Name of the member of a composite.
pub(super) const OBJECTIVE: &str = "objective";
/// `adopted`, by default, or `ready` or `provisional`, which are suggestions.
pub(super) const STATE: &str = "state";
/// Who adopted it; for people.
pub(super) const SOURCE: &str = "source";
/// Whose view the document is; for people.
pub(super) const SCOPE: &str = "scope";
/// Why a suggestion may be believed; for people.
pub(super) const EVIDENCE: &str = "evidence";

/// All of them.
pub(super) const ALL: [&str; 15] = [
    SERVICE,
    NAMESPACE,
    ENVIRONMENT,
    OPERATION,
    SLI,
    THRESHOLD,
    REQUIRED,
    WEIGHT,
    POLICY,
    EMPTY_SLICES,
    OBJECTIVE,
    STATE,
    SOURCE,
    SCOPE,
    EVIDENCE,
];

/// The key of an annotation.
pub(super) fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}
