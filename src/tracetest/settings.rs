//! Section `tests` of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Limits;

/// Section `tests`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Suites of trace tests: files, directories or globs; judged on the traces of the trace buffer. Default none.
    pub suites: Vec<PathBuf>,
    /// Traces that ended within this time count, where a test does not say `over.window`. Default 10m.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// Judgements that are kept of each test; older ones are forgotten. Default 2000; at least 1.
    pub max_traces_per_test: usize,
    /// Failures of each check that are shown, the newest. Default 3; at least 1.
    pub max_failures_per_check: usize,
    /// Traces that wait for spans which a test expects (`complete.expect`); more are judged as they are. Default 1000.
    pub max_awaited_traces: usize,
    /// Bytes of memory that whole traces of files may take in commands; beyond it a fair sample of whole traces is kept.
    /// Default 1073741824.
    pub max_trace_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            suites: Vec::new(),
            window: Duration::from_mins(10),
            max_traces_per_test: 2_000,
            max_failures_per_check: 3,
            max_awaited_traces: 1_000,
            max_trace_bytes: 1 << 30,
        }
    }
}

impl Config {
    /// What cannot be: the key, and what it must be.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let counts = [
            ("tests.max_traces_per_test", self.max_traces_per_test),
            ("tests.max_failures_per_check", self.max_failures_per_check),
        ];
        match counts.into_iter().find(|(_, count)| *count == 0) {
            Some((key, _)) => Err((key, "must be at least 1")),
            None => Ok(()),
        }
    }

    /// What a session of a server keeps.
    pub fn limits(&self) -> Limits {
        Limits {
            traces_per_test: self.max_traces_per_test,
            failures_per_check: self.max_failures_per_check,
            window: Some(u64::try_from(self.window.as_nanos()).unwrap_or(u64::MAX)),
        }
    }

    /// What a command keeps: all that it was given.
    pub fn limits_of_command(&self) -> Limits {
        Limits {
            failures_per_check: self.max_failures_per_check,
            ..Limits::default()
        }
    }
}
