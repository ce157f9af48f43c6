//! What trace tests do to verdicts and gates.

use crate::evaluator::verdict::Opinion;
use crate::model::report::{Reason, Report, Verdict};
use crate::model::test_result::{TEST_SOURCE, TestReport, TestResult};

/// Name of the tests among the integrations of a report.
pub(super) const NEIGHBOUR: &str = "trace-tests";

/// Weight of a test in the score; objectives have 1 unless they say otherwise.
const WEIGHT: f64 = 1.0;

/// What tests say in a verdict.
pub fn opinions<'t>(tests: impl Iterator<Item = &'t TestResult>) -> impl Iterator<Item = Opinion> {
    tests.map(|test| Opinion {
        required: false,
        weight: WEIGHT,
        state: test.verdict,
        reason: match test.verdict {
            Verdict::Fail | Verdict::Inconclusive => Some(reason(test)),
            Verdict::Pass | Verdict::Warn => None,
        },
    })
}

/// What a verdict says of a test.
pub fn reason(test: &TestResult) -> Reason {
    Reason {
        source: TEST_SOURCE.to_owned(),
        name: test.name.clone(),
        window: None,
        observed: None,
        limit: None,
        text: format!("trace test {}: {}", test.name, test.text),
    }
}

/// Puts results into a report that was made without them; its verdicts stay those of the objectives.
pub fn add(report: &mut Report, tests: TestReport) {
    report
        .integrations
        .insert(NEIGHBOUR.to_owned(), state(Some(&tests)));
    report.test_results = Some(tests);
}

/// State of the tests among the integrations of a report.
pub(super) fn state(tests: Option<&TestReport>) -> String {
    tests.map_or_else(
        || "no suites: name them in tests.suites, or with --suite".to_owned(),
        |tests| format!("{} tests", tests.tests.len()),
    )
}

/// The tests of a report that are about a service; all without one.
pub fn of_service<'t>(
    tests: Option<&'t TestReport>,
    service: Option<&str>,
) -> impl Iterator<Item = &'t TestResult> {
    let tests = tests.into_iter().flat_map(|tests| &tests.tests);
    tests.filter(move |test| service.is_none_or(|service| test.service.as_deref() == Some(service)))
}

/// Leaves in a report only the tests that are about a service.
pub fn narrow_to_service(report: &mut Report, service: &str) {
    let Some(tests) = report.test_results.take() else {
        return;
    };
    let own: Vec<TestResult> = of_service(Some(&tests), Some(service)).cloned().collect();
    report.test_results = (!own.is_empty()).then(|| TestReport::new(own, tests.traces));
}

/// What the tests of a report say to a gate.
pub(super) fn part(report: &Report) -> (Verdict, String) {
    let Some(tests) = &report.test_results else {
        let text = "no trace-based tests were run; name suites with --suite";
        return (Verdict::Inconclusive, text.to_owned());
    };
    let count = tests.tests.len();
    let first = tests
        .tests
        .iter()
        .find(|test| test.verdict == tests.verdict);
    let first = first.map_or(String::new(), |test| {
        format!("; {}: {}", test.name, test.text)
    });
    let text = match tests.verdict {
        Verdict::Pass | Verdict::Warn => {
            format!("all {count} tests pass on {} traces", tests.traces)
        }
        Verdict::Fail => format!("{} of {count} tests fail{first}", tests.failed),
        Verdict::Inconclusive => {
            format!(
                "{} of {count} tests cannot be decided{first}",
                tests.inconclusive
            )
        }
    };
    (tests.verdict, text)
}

/// The reasons of failed tests, and of those that cannot be decided.
pub(super) fn reasons(report: &Report) -> (Vec<Reason>, Vec<Reason>) {
    let of = |verdict: Verdict| {
        let tests = of_service(report.test_results.as_ref(), None);
        tests
            .filter(|test| test.verdict == verdict)
            .map(reason)
            .collect()
    };
    (of(Verdict::Fail), of(Verdict::Inconclusive))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::evaluator::objective::Standing;
    use crate::evaluator::objective::tests::status;
    use crate::evaluator::verdict::judge_all;
    use crate::model::report::VerdictReport;

    fn test(name: &str, verdict: Verdict) -> TestResult {
        TestResult {
            suite: "shop.yaml".to_owned(),
            name: name.to_owned(),
            service: Some("frontend".to_owned()),
            file: "shop.yaml".to_owned(),
            line: 1,
            verdict,
            text: "it says so".to_owned(),
            traces: 1,
            incomplete_traces: 0,
            incomplete_reason: None,
            outputs: BTreeMap::new(),
            checks: Vec::new(),
        }
    }

    fn weighed(standings: &[Standing<'_>], tests: &[TestResult]) -> VerdictReport {
        judge_all(None, standings, opinions(tests.iter()), 0)
    }

    #[test]
    fn a_failed_test_fails_a_verdict_that_passes_and_lowers_its_score() {
        let good = status("a", 0, 1_000);
        let verdict = weighed(&[Standing::from(&good)], &[test("t", Verdict::Fail)]);
        assert_eq!((verdict.verdict, verdict.ok), (Verdict::Fail, false));
        assert!((verdict.score.unwrap() - 50.0).abs() < 1e-9);
        assert_eq!(verdict.reasons[0].source, "test");
        assert_eq!(verdict.reasons[0].text, "trace test t: it says so");
    }

    #[test]
    fn passing_tests_decide_where_there_are_no_objectives() {
        let verdict = weighed(&[], &[test("t", Verdict::Pass)]);
        assert_eq!((verdict.verdict, verdict.reasons.len()), (Verdict::Pass, 0));
        let open = weighed(&[], &[test("t", Verdict::Inconclusive)]);
        assert_eq!(
            (open.verdict, open.undecided.len()),
            (Verdict::Inconclusive, 1)
        );
    }

    #[test]
    fn passing_tests_do_not_stand_for_a_required_objective() {
        let mut required = status("b", 0, 5);
        required.objective.required = true;
        let verdict = weighed(&[Standing::from(&required)], &[test("t", Verdict::Pass)]);
        assert_eq!(
            (verdict.verdict, verdict.score),
            (Verdict::Inconclusive, None)
        );
    }

    #[test]
    fn tests_leave_a_failure_of_objectives_as_it_is() {
        let bad = status("c", 100, 1_000);
        let verdict = weighed(&[Standing::from(&bad)], &[test("t", Verdict::Pass)]);
        assert_eq!(verdict.verdict, Verdict::Fail);
        assert!((verdict.score.unwrap() - 50.0).abs() < 1e-9);
    }
}
