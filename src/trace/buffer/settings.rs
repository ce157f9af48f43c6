//! Configuration of the trace buffer.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Section `trace_buffer`: which whole traces are kept, and for how long. Every bound is counted on `/metrics`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether whole traces are kept at all. Default true.
    pub enabled: bool,
    /// Memory of the kept traces in bytes. Default 16 MiB; at least 1 MiB.
    pub max_bytes: u64,
    /// Bytes of one trace; further spans of it are left out. Default 1 MiB; at most an eighth of `max_bytes`.
    pub max_trace_bytes: u64,
    /// Share of the memory for traces with an error or a slow entry span that sampling alone would not keep. The rest is
    /// for traces that are kept by their id. Default 0.5; 0 to 0.9.
    pub wanted_share: f64,
    /// Traces that become wanted in a second; further ones are passed over, since each costs a second look at a request.
    /// Default 50.
    pub max_wanted_per_second: u64,
    /// So long a trace should be kept: where the memory does not suffice, fewer are kept. Default 10m.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// A trace is over when no span of it came for so long. Default 5s.
    #[serde(with = "humantime_serde")]
    pub quiet: Duration,
    /// A trace that is under way for longer is taken as it is. Default 1m; at least `quiet`.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            max_bytes: 16 << 20,
            max_trace_bytes: 1 << 20,
            wanted_share: 0.5,
            max_wanted_per_second: 50,
            retention: Duration::from_mins(10),
            quiet: Duration::from_secs(5),
            timeout: Duration::from_mins(1),
        }
    }
}

impl Config {
    /// The key of the first value that is not allowed, and what is.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let mebibyte = 1 << 20;
        if self.max_bytes < mebibyte {
            return Err(("trace_buffer.max_bytes", "must be at least 1048576"));
        }
        if !(1..=self.max_bytes / 8).contains(&self.max_trace_bytes) {
            let message = "must be at least 1 and at most an eighth of trace_buffer.max_bytes";
            return Err(("trace_buffer.max_trace_bytes", message));
        }
        if !(0.0..=0.9).contains(&self.wanted_share) {
            return Err(("trace_buffer.wanted_share", "must be between 0 and 0.9"));
        }
        if self.timeout < self.quiet {
            let message = "must be at least trace_buffer.quiet";
            return Err(("trace_buffer.timeout", message));
        }
        Ok(())
    }
}
