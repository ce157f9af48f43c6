//! The Instrumentation Score: the rules that traces can answer, their weights, and the formula.
//!
//! Rules and formula are those of the specification at `github.com/instrumentation-score/spec`, version 0.1. Nothing else may
//! enter the score; what we find beyond it is a finding.

use crate::model::coverage::{Impact, RuleStatus, ScoreCategory, ScoreMethod};

/// Rules of the specification, metrics and logs included.
const RULES_TOTAL: u64 = 19;

/// A rule that traces and their resources can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// `service.instance.id` is there.
    InstanceId,
    /// It is unique.
    InstanceIdIsUnique,
    /// `k8s.pod.uid` is there in pods.
    PodUid,
    /// Attributes of the semantic conventions stand at their level.
    AttributeLevels,
    /// `service.name` is there.
    ServiceName,
    /// Few INTERNAL spans.
    InternalSpans,
    /// No orphans.
    Orphans,
    /// Few span names.
    SpanNames,
    /// No CLIENT roots.
    ClientRoots,
    /// Few short spans.
    ShortSpans,
    /// The runtime is supported by the SDK.
    Runtime,
}

impl Rule {
    /// All of them, in the order of their ids.
    pub const ALL: [Self; 11] = [
        Self::InstanceId,
        Self::InstanceIdIsUnique,
        Self::PodUid,
        Self::AttributeLevels,
        Self::ServiceName,
        Self::InternalSpans,
        Self::Orphans,
        Self::SpanNames,
        Self::ClientRoots,
        Self::ShortSpans,
        Self::Runtime,
    ];

    /// The id in the specification.
    pub fn id(self) -> &'static str {
        match self {
            Self::InstanceId => "RES-001",
            Self::InstanceIdIsUnique => "RES-002",
            Self::PodUid => "RES-003",
            Self::AttributeLevels => "RES-004",
            Self::ServiceName => "RES-005",
            Self::InternalSpans => "SPA-001",
            Self::Orphans => "SPA-002",
            Self::SpanNames => "SPA-003",
            Self::ClientRoots => "SPA-004",
            Self::ShortSpans => "SPA-005",
            Self::Runtime => "SDK-001",
        }
    }

    /// The impact in the specification.
    pub fn impact(self) -> Impact {
        match self {
            Self::ServiceName => Impact::Critical,
            Self::InstanceIdIsUnique
            | Self::PodUid
            | Self::AttributeLevels
            | Self::SpanNames
            | Self::ClientRoots
            | Self::ShortSpans => Impact::Important,
            Self::InstanceId | Self::InternalSpans | Self::Orphans => Impact::Normal,
            Self::Runtime => Impact::Low,
        }
    }

    /// What it asks for.
    pub fn text(self) -> &'static str {
        match self {
            Self::InstanceId => "resources say service.instance.id",
            Self::InstanceIdIsUnique => {
                "no two pods, containers or hosts share a service.instance.id"
            }
            Self::PodUid => "resources of pods say k8s.pod.uid",
            Self::AttributeLevels => {
                "attributes stand where the semantic conventions put them: on the resource or on the span"
            }
            Self::ServiceName => "resources say a service.name that is not empty",
            Self::InternalSpans => "at most 10 INTERNAL spans in a trace",
            Self::Orphans => "every parent is in the trace",
            Self::SpanNames => "span names are few",
            Self::ClientRoots => "no trace begins with a CLIENT span",
            Self::ShortSpans => "at most 20 spans below 5 ms in a trace",
            Self::Runtime => "the SDK supports the version of the runtime",
        }
    }
}

/// The weight of an impact.
pub fn weight(impact: Impact) -> u64 {
    match impact {
        Impact::Low => 10,
        Impact::Normal => 20,
        Impact::Important => 30,
        Impact::Critical => 40,
    }
}

/// Σ passed·weight over Σ all·weight, times 100. What does not apply stands in neither sum; `None` where nothing applies.
pub fn score(rules: impl IntoIterator<Item = (Impact, RuleStatus)>) -> Option<f64> {
    let (mut passed, mut all) = (0, 0);
    for (impact, status) in rules {
        let weight = weight(impact);
        match status {
            RuleStatus::Pass => {
                passed += weight;
                all += weight;
            }
            RuleStatus::Fail => all += weight,
            RuleStatus::NotApplicable => {}
        }
    }
    (all > 0).then(|| 100.0 * passed as f64 / all as f64)
}

/// What a score is called.
pub fn category(score: f64) -> ScoreCategory {
    match score {
        _ if score >= 90.0 => ScoreCategory::Excellent,
        _ if score >= 75.0 => ScoreCategory::Good,
        _ if score >= 50.0 => ScoreCategory::NeedsImprovement,
        _ => ScoreCategory::Poor,
    }
}

/// What whoever compares scores must know.
pub fn method(window: String, sampling: String, max_span_names: usize) -> ScoreMethod {
    ScoreMethod {
        specification: "instrumentation-score 0.1".to_owned(),
        rules_judged: Rule::ALL.len() as u64,
        rules_total: RULES_TOTAL,
        is_complete: false,
        window,
        sampling,
        choices: vec![
            "incomplete: rules about metrics and logs (LOG, MET) are not judged".to_owned(),
            "a rule is boolean: one thing that breaks it fails it; a rule without data counts neither way".to_owned(),
            "the specification asks for 30 days; the window here is what `window` says".to_owned(),
            format!("SPA-003 has no criterion in the specification: more than {max_span_names} names of a service break it (adapters.coverage.max_span_names)"),
            "SPA-001 and SPA-005 count the spans of the service in a trace; SPA-005 counts those of every kind".to_owned(),
            "SPA-002 looks at traces that lost no spans on their way here".to_owned(),
            "sampled spans are not weighed: no rule compares shares, and one thing that breaks a rule fails it however often it stands for".to_owned(),
            "RES-002 tells resources apart by k8s.pod.uid, k8s.pod.name, container.id, host.id or host.name".to_owned(),
            "SDK-001 knows the minimum versions of Python, Node.js, Java and .NET, where process.runtime.version is said".to_owned(),
        ],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(impact: Impact, passed: usize, all: usize) -> Vec<(Impact, RuleStatus)> {
        let status = |n| {
            if n < passed {
                RuleStatus::Pass
            } else {
                RuleStatus::Fail
            }
        };
        (0..all).map(|n| (impact, status(n))).collect()
    }

    #[test]
    fn the_example_of_the_specification_gives_its_score() {
        // "Score Calculation Formula": 530/830 × 100 ≈ 63.86; with all critical rules 83.13, with all low ones 68.67.
        let of = |critical, low| {
            let all = [
                rules(Impact::Critical, critical, 8),
                rules(Impact::Important, 8, 10),
                rules(Impact::Normal, 6, 8),
                rules(Impact::Low, low, 5),
            ];
            score(all.concat()).unwrap()
        };
        assert!((of(4, 1) - 63.86).abs() < 0.005, "{}", of(4, 1));
        assert!((of(8, 1) - 83.13).abs() < 0.005, "{}", of(8, 1));
        assert!((of(4, 5) - 68.67).abs() < 0.005, "{}", of(4, 5));
    }

    #[test]
    fn a_rule_that_does_not_apply_stands_in_neither_sum() {
        let applies = rules(Impact::Normal, 1, 2);
        let more = [
            applies.clone(),
            vec![(Impact::Critical, RuleStatus::NotApplicable)],
        ];
        assert_eq!(score(more.concat()), score(applies));
        assert_eq!(score([(Impact::Low, RuleStatus::NotApplicable)]), None);
    }

    #[test]
    fn categories_begin_where_the_specification_says() {
        let named = [100.0, 90.0, 89.99, 75.0, 74.0, 50.0, 49.0, 0.0].map(category);
        let [excellent, good, needs, poor] = [
            ScoreCategory::Excellent,
            ScoreCategory::Good,
            ScoreCategory::NeedsImprovement,
            ScoreCategory::Poor,
        ];
        assert_eq!(
            named,
            [excellent, excellent, good, good, needs, needs, poor, poor]
        );
    }

    #[test]
    fn the_eleven_rules_weigh_290() {
        let ids: Vec<&str> = Rule::ALL.iter().map(|rule| rule.id()).collect();
        assert_eq!(ids.len(), 11);
        let sum: u64 = Rule::ALL.iter().map(|rule| weight(rule.impact())).sum();
        // 40 + 6·30 + 3·20 + 10.
        assert_eq!(sum, 290);
    }

    fn status() -> impl Strategy<Value = RuleStatus> {
        prop_oneof![
            Just(RuleStatus::Pass),
            Just(RuleStatus::Fail),
            Just(RuleStatus::NotApplicable)
        ]
    }

    proptest! {
        #[test]
        fn a_score_is_a_percentage_and_mending_a_rule_never_lowers_it(
            statuses in prop::array::uniform11(status()), mended in 0..11_usize,
        ) {
            let judged = Rule::ALL.iter().zip(statuses).map(|(rule, status)| (rule.impact(), status));
            let mut judged: Vec<_> = judged.collect();
            let before = score(judged.clone());
            prop_assert!(before.is_none_or(|score| (0.0..=100.0).contains(&score)));
            if judged[mended].1 == RuleStatus::Fail {
                judged[mended].1 = RuleStatus::Pass;
                prop_assert!(score(judged) > before);
            }
        }
    }
}
