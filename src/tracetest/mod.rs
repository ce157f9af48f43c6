//! Trace-based tests: suites of assertions, judged on whole traces.
//!
//! ```text
//! file ─ suite::read ─ suite::arrange ─┐
//!                                      ├─ Session ─ observe(traces) ─ report(now)
//! variables, environment ──────────────┘
//! ```
//!
//! Invariant: pure. `now` is an argument, files are texts, and the environment is handed in.

pub mod fault;
pub mod infer;
pub mod judge;
pub mod language;
pub mod rate;
mod session;
mod settings;
pub mod suite;

#[cfg(test)]
pub(crate) mod tests;

pub use session::{Limits, Session, is_about};
pub use settings::Config;
