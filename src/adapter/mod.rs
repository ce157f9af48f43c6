//! The neighbours, each with its own view of the same traces and reports.
//!
//! In `serve` each [`Adapter`] is driven by a task of its own, off the hot path: it is given whole traces as they are over (a
//! sample, whose counts are no SLIs) and each report, and what it found last joins the next report. To add one: a file with
//! its `impl Adapter`, a line in [`crate::service`]'s `adapters`, a documented section of `adapters`.

pub mod coverage;
pub mod fixed_sampling;
pub mod incident;
pub mod kubernetes;
pub mod rca;
pub mod sampling;
pub mod topology;
pub mod zero_touch;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::UnixNanos;
use crate::model::advice::Advice;
use crate::model::report::Report;
use crate::model::trace::{KeptTrace, Trace};

/// Looks at traces and reports, and gives advice. Called on a thread that may block, one call at a time.
pub trait Adapter: Send {
    /// As in logs.
    fn name(&self) -> &'static str;

    /// Traces that were over within a second or so, each once; `now` is when they were seen to be.
    fn on_traces(&mut self, traces: &[Arc<Trace>], now: UnixNanos);

    /// The same, with what each trace stands for. Whoever counts takes this one.
    fn on_kept(&mut self, kept: &[KeptTrace], now: UnixNanos) {
        let traces: Vec<Arc<Trace>> = kept.iter().map(|kept| Arc::clone(&kept.trace)).collect();
        self.on_traces(&traces, now);
    }

    /// The newest report; some may be skipped. What takes more than a second belongs into a thread of its own, whose result
    /// a later call picks up.
    fn on_report(&mut self, report: &Report, now: UnixNanos);

    /// Writes its newest finished advice and its state in words. Called after each of the above.
    fn advise(&self, advice: &mut Advice);
}

/// Section `adapters`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A plan of sampling that people write.
    pub fixed_sampling: fixed_sampling::Config,
    /// Coverage.
    pub coverage: coverage::Config,
    /// The service graph.
    pub topology: topology::Config,
    /// Incidents: root causes when verdicts fail, and the memory of them.
    pub incident: incident::Config,
    /// Root causes.
    pub rca: rca::Settings,
    /// What telemetry may cost, and how sampling follows.
    pub sampling: sampling::Config,
}

impl Config {
    /// The key of the first value that is not allowed, and what is.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        self.coverage.check()?;
        self.topology.check()?;
        self.incident.check()?;
        self.rca.check()?;
        self.sampling.check()
    }
}
