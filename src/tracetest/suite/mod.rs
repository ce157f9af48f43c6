//! Suites: what a file says, resolved into tests that can be run.

mod arrange;
mod checks;
mod problem;
mod read;
mod reader;
mod trigger;

#[cfg(test)]
mod tests;

use crate::tracetest::language::{Assertion, Expression, Selector};

pub use arrange::{Suite, arrange};
pub use problem::Problem;
pub use read::{Document, StepReference, SuiteDocument, read};
pub use trigger::{HttpRequest, Trigger};

/// One test: which traces, and what must hold of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// Its `id`, by which suites name it.
    pub id: Option<String>,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The file.
    pub file: String,
    /// The line on which it begins.
    pub line: u32,
    /// Which traces: those with such a root span. All without it.
    pub root: Option<Selector>,
    /// When a trace is complete.
    pub complete: CompletenessRule,
    /// What must hold.
    pub checks: Vec<Check>,
    /// What is handed on to later tests of the suite.
    pub outputs: Vec<Output>,
    /// The request that makes a trace, for `--drive`.
    pub trigger: Option<Trigger>,
}

/// When a trace is complete, and what becomes of one that is not.
#[derive(Clone, Debug, PartialEq)]
pub struct CompletenessRule {
    /// Nanoseconds without a new span after which nothing more is expected.
    pub quiet: u64,
    /// Nanoseconds after which a trace is judged as it is.
    pub timeout: u64,
    /// Spans that must have come.
    pub expect: Option<Selector>,
    /// What becomes of traces that are not whole.
    pub incomplete: Incomplete,
}

/// What becomes of traces that are not whole: parents are missing, or spans were lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Incomplete {
    /// They are counted and not judged.
    #[default]
    Skip,
    /// They are judged as if they were whole.
    Judge,
    /// They fail.
    Fail,
}

impl Default for CompletenessRule {
    fn default() -> Self {
        Self {
            quiet: 3_000_000_000,
            timeout: 30_000_000_000,
            expect: None,
            incomplete: Incomplete::default(),
        }
    }
}

/// One thing that must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What it belongs to: the selector or the name of the spec, `edges`, `order` …
    pub group: String,
    /// What it says.
    pub name: String,
    /// The line that says so.
    pub line: u32,
    /// What it asks for.
    pub kind: CheckKind,
    /// How many traces must satisfy it; all without it.
    pub over: Option<Over>,
}

/// What a check asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckKind {
    /// An assertion holds of every selected span.
    Assertion {
        /// The spans; all without it.
        selector: Option<Selector>,
        /// The assertion.
        assertion: Assertion,
        /// Traces without such a span say nothing.
        optional: bool,
    },
    /// The spans that a complete trace has are there.
    Expected(Selector),
    /// The trace is whole.
    Whole,
    /// One service calls another one, or does not.
    Edge {
        /// Caller and callee; `*` stands for any letters.
        edge: EdgePattern,
        /// Whether it must be there, or must not.
        required: bool,
    },
    /// No other calls than these.
    OnlyEdges(Vec<EdgePattern>),
    /// No parent makes more calls of one kind than so many.
    Repeats {
        /// The calls; those with the kind client or producer without it.
        selector: Option<Selector>,
        /// At most so many.
        max: u64,
    },
    /// The events of the selected spans.
    Events {
        /// The spans.
        selector: Selector,
        /// In this order.
        sequence: Vec<String>,
        /// No others, and none twice.
        exact: bool,
        /// None of these.
        forbid: Vec<String>,
        /// Traces without such a span say nothing.
        optional: bool,
    },
    /// How spans lie in time.
    Order {
        /// How.
        relation: Relation,
        /// Some spans.
        left: Selector,
        /// Other spans.
        right: Selector,
        /// Nanoseconds by which clocks may differ.
        tolerance: u64,
        /// Traces without such spans say nothing.
        optional: bool,
    },
    /// What errors do.
    Errors {
        /// What.
        rule: ErrorRule,
        /// Where they happen.
        selector: Selector,
    },
}

/// How two sets of spans lie in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// All of the first end before any of the second begins.
    Before,
    /// Each of the first runs at the same time as one of the second.
    Overlap,
    /// None of the first runs at the same time as one of the second.
    Apart,
}

/// What errors of some spans do to the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorRule {
    /// They make the root fail.
    Surface,
    /// They do not reach the root.
    Contain,
    /// There are none.
    Forbid,
}

/// Caller and callee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgePattern {
    /// The caller's name, in which `*` stands for any letters.
    pub from: String,
    /// The callee's.
    pub to: String,
}

/// Over how many traces a check is judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Over {
    /// At least so many traces are judged.
    pub traces: u64,
    /// Nanoseconds before now from which traces count.
    pub window: Option<u64>,
    /// The ratio of traces that must satisfy it.
    pub pass_rate: f64,
    /// How sure that must be; nothing takes the ratio that was seen.
    pub confidence: Option<f64>,
}

/// A value for later tests.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The name of the variable.
    pub name: String,
    /// The span, the first one selected.
    pub selector: Option<Selector>,
    /// What of it.
    pub value: Expression,
}
