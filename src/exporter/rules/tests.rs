//! What documents become, and that every expression is one that Prometheus understands.

use super::*;
use crate::exporter::rules::query::Query;
use crate::exporter::rules::slo::Indicator;
use crate::model::period::Period;
use crate::model::slo::Budgeting;
use crate::openslo::read::{SourceFile, read};
use crate::openslo::rules::prometheus;
use crate::openslo::v1::RawType;

pub(super) const LIMITS: Limits = Limits {
    error_ratio_max: 0.9,
    min_bad_events: 2,
};

/// An SLO of counters, without a document.
pub(super) fn slo(good: &str, total: &str, target: f64, period: &str) -> Slo {
    let query = |text| Query::of_events(text, true).unwrap();
    Slo {
        id: "checkout-requests".to_owned(),
        service: "checkout".to_owned(),
        name: "requests".to_owned(),
        labels: BTreeMap::new(),
        title: "Requests".to_owned(),
        target,
        period: Period::Rolling(period.parse().unwrap()),
        budgeting: Budgeting::Occurrences,
        indicator: Indicator::Events {
            part_is: RawType::Success,
            part: query(good),
            total: query(total),
        },
        limits: LIMITS,
    }
}

fn ruled(text: &str) -> (RuleSet, Vec<Problem>) {
    let reading = read(&[SourceFile {
        name: "slo.yaml".to_owned(),
        text: text.to_owned(),
    }]);
    assert_eq!(reading.findings, [], "{text}");
    let documents: Vec<&Document> = reading.documents.iter().map(|found| &found.value).collect();
    RuleSet::of(&documents, LIMITS)
}

#[test]
fn the_examples_of_the_rules_keep_or_break_that_rule_alone() {
    for rule in prometheus::RULES {
        let (set, problems) = ruled(rule.valid);
        assert_eq!(problems, [], "{}", rule.id);
        assert!(!set.is_empty(), "{}", rule.id);
        let (_, problems) = ruled(rule.invalid);
        let ids: Vec<&str> = problems.iter().map(|problem| problem.rule.id).collect();
        assert_eq!(ids, [rule.id], "{}", rule.invalid);
    }
}
