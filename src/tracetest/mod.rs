//! Trace-based tests: suites of assertions, judged on whole traces.

pub mod language;
pub mod suite;
pub mod trace;
