//! Suites against traces as they come: what each test says of each trace, and the results so far.

use std::collections::{BTreeMap, VecDeque};

use crate::model::UnixNanos;
use crate::model::report::Verdict;
use crate::model::test_result::{CheckResult, TestFailure, TestReport, TestResult, worst};
use crate::model::trace::{Completeness, Trace};
use crate::trace::tree::TraceTree;
use crate::tracetest::judge::{Offence, Outcome, draw, judge};
use crate::tracetest::language::{Scope, Value, Variables, service_of};
use crate::tracetest::rate::{Counts, rate};
use crate::tracetest::suite::{Check, Incomplete, Suite, Test};

/// What a session keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Judgements of each test; older ones are forgotten.
    pub traces_per_test: usize,
    /// Failures of each check that are shown.
    pub failures_per_check: usize,
    /// Nanoseconds before now from which traces count where a test does not say it; all without it.
    pub window: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            traces_per_test: 100_000,
            failures_per_check: 3,
            window: None,
        }
    }
}

/// Suites under way.
#[derive(Clone, Debug)]
pub struct Session {
    limits: Limits,
    suites: Vec<SuiteState>,
    traces: u64,
}

#[derive(Clone, Debug)]
struct SuiteState {
    name: String,
    variables: Variables,
    tests: Vec<TestState>,
}

#[derive(Clone, Debug)]
struct TestState {
    test: Test,
    records: VecDeque<Record>,
    failures: Vec<VecDeque<(UnixNanos, TestFailure)>>,
    incomplete_reason: Option<String>,
    outputs: BTreeMap<String, Value>,
}

/// What a test says of a trace; no marks if the trace is not whole.
#[derive(Clone, Debug)]
struct Record {
    end: UnixNanos,
    marks: Option<Box<[Mark]>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Holds,
    Silent,
    Fails,
}

impl Session {
    /// A session that has seen nothing. `variables` are there for every suite.
    pub fn new(suites: Vec<Suite>, variables: &Variables, limits: Limits) -> Self {
        let test_state = |test: Test| TestState {
            failures: vec![VecDeque::new(); test.checks.len()],
            records: VecDeque::new(),
            incomplete_reason: None,
            outputs: BTreeMap::new(),
            test,
        };
        let suites = suites.into_iter().map(|suite| SuiteState {
            name: suite.name,
            variables: variables.clone(),
            tests: suite.tests.into_iter().map(test_state).collect(),
        });
        Self {
            limits,
            suites: suites.collect(),
            traces: 0,
        }
    }

    /// Judges traces by every test that is about them, test by test, so that later tests know the outputs of earlier ones.
    pub fn observe<'t>(&mut self, traces: impl IntoIterator<Item = &'t Trace>) {
        let trees: Vec<TraceTree<'_>> = traces.into_iter().map(TraceTree::new).collect();
        self.traces += trees.len() as u64;
        for suite in &mut self.suites {
            for state in &mut suite.tests {
                for tree in &trees {
                    if is_about(&state.test, tree, &suite.variables) {
                        state.observe(tree, &mut suite.variables, &self.limits);
                    }
                }
            }
        }
    }

    /// Judges one trace by one test, whatever its root: the trace of a request that the test made.
    pub fn observe_for(&mut self, suite: usize, test: usize, trace: &Trace) {
        let tree = TraceTree::new(trace);
        self.traces += 1;
        if let Some(suite) = self.suites.get_mut(suite)
            && let Some(state) = suite.tests.get_mut(test)
        {
            state.observe(&tree, &mut suite.variables, &self.limits);
        }
    }

    /// Whether a test waits for spans that a trace should have and has not, at `now`.
    pub fn awaits(&self, trace: &Trace, now: UnixNanos) -> bool {
        let tree = TraceTree::new(trace);
        let ends = trace.spans.iter().map(|span| span.end);
        let end = ends.max().unwrap_or(0);
        self.suites.iter().any(|suite| {
            suite.tests.iter().any(|state| {
                let rule = &state.test.complete;
                let is_missing = || {
                    let expect = rule.expect.as_ref();
                    expect.is_some_and(|expect| expect.select(&tree, &suite.variables).is_empty())
                };
                now < end.saturating_add(rule.timeout)
                    && is_about(&state.test, &tree, &suite.variables)
                    && is_missing()
            })
        })
    }

    /// Whether every test is decided at `now`.
    pub fn is_decided(&self, now: UnixNanos) -> bool {
        let report = self.report(now);
        report.inconclusive == 0
    }

    /// The variables of a suite, with what its tests handed on so far.
    pub fn variables(&self, suite: usize) -> Variables {
        let suite = self.suites.get(suite);
        suite
            .map(|suite| suite.variables.clone())
            .unwrap_or_default()
    }

    /// The results at `now`.
    pub fn report(&self, now: UnixNanos) -> TestReport {
        let tests = self.suites.iter().flat_map(|suite| {
            let tests = suite.tests.iter();
            tests.map(|state| state.result(&suite.name, now, &self.limits))
        });
        TestReport::new(tests.collect(), self.traces)
    }
}

/// Whether a test is about a trace: whether its `for` selects a root. Of a trace without a root it looks at the tops.
pub fn is_about(test: &Test, tree: &TraceTree<'_>, variables: &Variables) -> bool {
    let Some(root) = &test.root else {
        return true;
    };
    let matches = |index: usize| {
        let span = tree.span(index);
        span.is_some_and(|span| root.matches(span, variables))
    };
    if tree.roots().next().is_some() {
        tree.roots().any(matches)
    } else {
        tree.tops().iter().copied().any(matches)
    }
}

impl TestState {
    fn observe(&mut self, tree: &TraceTree<'_>, variables: &mut Variables, limits: &Limits) {
        let ends = tree.trace().spans.iter().map(|span| span.end);
        let end = ends.max().unwrap_or(0);
        while self.records.len() >= limits.traces_per_test.max(1) {
            self.records.pop_front();
        }
        if let Completeness::Incomplete(reason) = &tree.trace().completeness
            && self.test.complete.incomplete == Incomplete::Skip
        {
            self.incomplete_reason = Some(format!("{}: {reason}", tree.trace().trace_id));
            self.records.push_back(Record { end, marks: None });
            return;
        }
        let mut marks = Vec::with_capacity(self.test.checks.len());
        for (check, failures) in self.test.checks.iter().zip(&mut self.failures) {
            marks.push(match judge(check, tree, variables) {
                Outcome::Holds => Mark::Holds,
                Outcome::Silent => Mark::Silent,
                Outcome::Fails(offence) => {
                    while failures.len() >= limits.failures_per_check.max(1) {
                        failures.pop_front();
                    }
                    failures.push_back((end, failure(offence, tree)));
                    Mark::Fails
                }
            });
        }
        self.records.push_back(Record {
            end,
            marks: Some(marks.into_boxed_slice()),
        });
        self.hand_on(tree, variables);
    }

    fn hand_on(&mut self, tree: &TraceTree<'_>, variables: &mut Variables) {
        for output in &self.test.outputs {
            let selected = match &output.selector {
                Some(selector) => selector.select(tree, variables),
                None => (0..tree.trace().spans.len()).collect(),
            };
            let scope = Scope {
                span: selected.first().and_then(|index| tree.span(*index)),
                selected: selected.len(),
                variables,
            };
            if let Ok(value) = output.value.value(scope) {
                variables.set(&output.name, value.clone());
                self.outputs.insert(output.name.clone(), value);
            }
        }
    }

    fn result(&self, suite: &str, now: UnixNanos, limits: &Limits) -> TestResult {
        let test = &self.test;
        let from = |window: Option<u64>| {
            let window = window.or(limits.window);
            window.map_or(0, |window| now.saturating_sub(window))
        };
        let recent = || {
            let from = from(None);
            self.records.iter().filter(move |record| record.end >= from)
        };
        let traces = recent().filter(|record| record.marks.is_some()).count() as u64;
        let incomplete = recent().count() as u64 - traces;
        let checks: Vec<CheckResult> = test
            .checks
            .iter()
            .enumerate()
            .map(|(index, check)| {
                let window = check.over.and_then(|over| over.window);
                self.check_result(index, check, from(window))
            })
            .collect();
        let verdict = worst(checks.iter().map(|check| check.verdict));
        TestResult {
            suite: suite.to_owned(),
            name: test.name.clone(),
            service: test
                .root
                .as_ref()
                .and_then(|root| root.service().map(str::to_owned)),
            file: test.file.clone(),
            line: test.line,
            verdict,
            text: text(&checks, verdict, traces, incomplete),
            traces,
            incomplete_traces: incomplete,
            incomplete_reason: self.incomplete_reason.clone().filter(|_| incomplete > 0),
            outputs: self
                .outputs
                .iter()
                .map(|(name, value)| (name.clone(), value.to_json()))
                .collect(),
            checks,
        }
    }

    fn check_result(&self, index: usize, check: &Check, from: UnixNanos) -> CheckResult {
        let mut counts = Counts::default();
        let records = self.records.iter().filter(|record| record.end >= from);
        for mark in records.filter_map(|record| record.marks.as_ref()?.get(index)) {
            match mark {
                Mark::Holds => counts.passed += 1,
                Mark::Silent => counts.silent += 1,
                Mark::Fails => counts.failed += 1,
            }
        }
        let rated = rate(check.over, counts);
        let failures = self.failures.get(index).into_iter().flatten();
        CheckResult {
            group: check.group.clone(),
            name: check.name.clone(),
            line: check.line,
            verdict: rated.verdict,
            text: rated.text,
            passed: counts.passed,
            failed: counts.failed,
            silent: counts.silent,
            pass_rate: check.over.map(|over| over.pass_rate),
            needed_traces: rated.needed,
            failures: failures
                .filter(|(end, _)| *end >= from)
                .map(|(_, failure)| failure.clone())
                .collect(),
        }
    }
}

fn failure(offence: Offence, tree: &TraceTree<'_>) -> TestFailure {
    let first = offence.spans.first().and_then(|index| tree.span(*index));
    TestFailure {
        trace_id: tree.trace().trace_id.to_string(),
        text: offence.text,
        span: first.map(|span| format!("{} {}", service_of(span), span.name)),
        observed: offence.observed,
        wanted: offence.wanted,
        tree: draw(tree, &offence.spans),
    }
}

/// Why a test has its verdict.
fn text(checks: &[CheckResult], verdict: Verdict, traces: u64, incomplete: u64) -> String {
    let of_verdict = || checks.iter().filter(|check| check.verdict == verdict);
    let count = of_verdict().count();
    let all = checks.len();
    let aside = match incomplete {
        0 => String::new(),
        incomplete => format!("; {incomplete} traces are not whole and were not judged"),
    };
    let first = of_verdict().next();
    let first = first.map_or(String::new(), |check| {
        format!("{}: {}", check.name, check.text)
    });
    match verdict {
        Verdict::Pass | Verdict::Warn => format!("all {all} checks hold of {traces} traces{aside}"),
        Verdict::Fail => format!("{count} of {all} checks fail; {first}{aside}"),
        Verdict::Inconclusive if traces == 0 && incomplete > 0 => {
            format!(
                "none of {incomplete} traces is whole, so none was judged (complete.incomplete: judge judges them)"
            )
        }
        Verdict::Inconclusive if traces == 0 => "no trace has such a root span".to_owned(),
        Verdict::Inconclusive => {
            format!("{count} of {all} checks cannot be decided; {first}{aside}")
        }
    }
}
