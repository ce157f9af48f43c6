//! What trace-based tests found.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::report::Verdict;

/// `source` of a reason that is a trace test's.
pub const TEST_SOURCE: &str = "test";

/// All tests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TestReport {
    /// `fail > inconclusive > pass` over the tests.
    pub verdict: Verdict,
    /// Tests that pass.
    pub passed: u64,
    /// Tests that fail.
    pub failed: u64,
    /// Tests that cannot be decided.
    pub inconclusive: u64,
    /// Traces that were looked at, those that no test is about included.
    pub traces: u64,
    /// The tests in the order of their suites.
    pub tests: Vec<TestResult>,
}

impl TestReport {
    /// The results of these tests on so many traces.
    pub fn new(tests: Vec<TestResult>, traces: u64) -> Self {
        let count = |verdict| tests.iter().filter(|test| test.verdict == verdict).count() as u64;
        Self {
            verdict: worst(tests.iter().map(|test| test.verdict)),
            passed: count(Verdict::Pass),
            failed: count(Verdict::Fail),
            inconclusive: count(Verdict::Inconclusive),
            traces,
            tests,
        }
    }
}

/// `fail > inconclusive > pass`; inconclusive without any.
pub fn worst(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    let badness = |verdict: &Verdict| match verdict {
        Verdict::Pass | Verdict::Warn => 0,
        Verdict::Inconclusive => 1,
        Verdict::Fail => 2,
    };
    verdicts
        .max_by_key(badness)
        .unwrap_or(Verdict::Inconclusive)
}

/// One test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TestResult {
    /// The suite; of a test that stands alone, its file.
    pub suite: String,
    /// Its name.
    pub name: String,
    /// The service whose root spans it is about, if it names one.
    pub service: Option<String>,
    /// The file that it stands in.
    pub file: String,
    /// The line on which it begins.
    pub line: u32,
    /// `fail > inconclusive > pass` over its checks.
    pub verdict: Verdict,
    /// Why, in a sentence.
    pub text: String,
    /// Traces that were judged.
    pub traces: u64,
    /// Traces that are not whole and were therefore not judged.
    pub incomplete_traces: u64,
    /// What is missing of one of those.
    pub incomplete_reason: Option<String>,
    /// What it hands on to later tests of its suite.
    pub outputs: BTreeMap<String, serde_json::Value>,
    /// Its checks.
    pub checks: Vec<CheckResult>,
}

/// One thing that must hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CheckResult {
    /// The spec or the section that it stands in.
    pub group: String,
    /// What it says.
    pub name: String,
    /// The line that says so.
    pub line: u32,
    /// pass, fail, or inconclusive while too few traces are known.
    pub verdict: Verdict,
    /// Why, in a sentence.
    pub text: String,
    /// Traces that satisfy it.
    pub passed: u64,
    /// Traces that do not.
    pub failed: u64,
    /// Traces in which it has nothing to judge.
    pub silent: u64,
    /// The ratio of traces that must satisfy it; null where all must.
    pub pass_rate: Option<f64>,
    /// So many more traces decide it, if they all satisfy it; null where it is decided.
    pub needed_traces: Option<u64>,
    /// The newest traces that do not satisfy it.
    pub failures: Vec<TestFailure>,
}

/// A trace that does not satisfy a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TestFailure {
    /// The trace.
    pub trace_id: String,
    /// What is wrong, in a sentence.
    pub text: String,
    /// The span that shows it, as `service name`; null where spans are missing.
    pub span: Option<String>,
    /// The value that was seen.
    pub observed: Option<String>,
    /// The value that is wanted.
    pub wanted: Option<String>,
    /// The trace as a small tree, the spans that show it marked with `>`.
    pub tree: String,
}
