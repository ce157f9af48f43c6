//! The families of trace tests.

use super::{Family, Labels};
use crate::model::report::{Report, Verdict};
use crate::model::test_result::TestResult;

/// 1 for the verdict of a trace test that holds, 0 for the others.
const TEST_VERDICT: &str = "slo_copilot_test_verdict";
/// Traces that a trace test judged, in its window.
const TEST_TRACES: &str = "slo_copilot_test_traces";
/// Checks of a trace test by their verdict.
const TEST_CHECKS: &str = "slo_copilot_test_checks";

/// The verdicts that a test can have.
const VERDICTS: [Verdict; 3] = [Verdict::Pass, Verdict::Fail, Verdict::Inconclusive];

/// Writes the families; nothing while no suites are configured.
pub(super) fn render(page: &mut String, report: &Report) {
    let Some(tests) = &report.test_results else {
        return;
    };
    let labels = |test: &TestResult| {
        let service = test.service.as_deref().unwrap_or_default();
        Labels::new(&[
            ("suite", &test.suite),
            ("test", &test.name),
            ("service", service),
        ])
    };
    let help = "1 for the verdict of a trace test that holds, else 0.";
    let mut family = Family::gauge(page, TEST_VERDICT, help);
    for test in &tests.tests {
        for verdict in VERDICTS {
            let labels = labels(test).and("verdict", verdict.label());
            family.sample("", &labels, f64::from(u8::from(verdict == test.verdict)));
        }
    }
    let help = "Traces in the window of a trace test: judged, or not whole.";
    let mut family = Family::gauge(page, TEST_TRACES, help);
    for test in &tests.tests {
        for (result, count) in [
            ("incomplete", test.incomplete_traces),
            ("judged", test.traces),
        ] {
            family.sample("", &labels(test).and("result", result), count as f64);
        }
    }
    let help = "Checks of a trace test by their verdict.";
    let mut family = Family::gauge(page, TEST_CHECKS, help);
    for test in &tests.tests {
        for verdict in VERDICTS {
            let checks = test.checks.iter();
            let count = checks.filter(|check| check.verdict == verdict).count();
            let labels = labels(test).and("verdict", verdict.label());
            family.sample("", &labels, count as f64);
        }
    }
}
