//! From a model to traces: seeded, so that the same seed tells the same story, byte for byte.
//!
//! A visit walks the call tree of an operation. Callers wait for their callees, and failures travel up where the
//! caller cannot do without the answer.

mod conventions;
mod export;
mod plan;
mod reply;
mod schedule;
#[cfg(test)]
mod tests;
mod visit;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution as _, Exp1};

use crate::model::distribution::{nanos_of_ms, pick};
use crate::model::fault::{Fault, FaultTarget};
use crate::model::{NANOS_PER_SEC, UnixNanos};
use crate::traffic::generate::visit::Visit;

pub(super) use conventions::operation_name;
pub use export::{export_request, export_requests, span_count};
pub use plan::{Plan, Reporter};
pub use schedule::Moment;

/// What is wrong where. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults(Vec<(FaultTarget, Fault)>);

impl Faults {
    /// A system without trouble.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a fault, in place of an earlier one of the same target.
    #[must_use]
    pub fn with(mut self, target: FaultTarget, fault: Fault) -> Self {
        self.0.retain(|(troubled, _)| *troubled != target);
        self.0.push((target, fault));
        self
    }

    /// What is wrong with an operation. The version is `None` for a caller who does not know which one will answer.
    pub fn of(&self, service: &str, operation: &str, version: Option<&str>) -> Vec<&Fault> {
        let faults = self.0.iter();
        faults
            .filter(|(target, _)| target.matches(service, operation, version))
            .map(|(_, fault)| fault)
            .collect()
    }
}

/// The spans of one visit, each with who reports it. Children stand before their parents, as they end first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    spans: Vec<(Arc<Reporter>, Span)>,
}

impl Trace {
    /// The spans and who reports them.
    pub fn spans(&self) -> &[(Arc<Reporter>, Span)] {
        &self.spans
    }

    /// The spans by value.
    pub fn into_spans(self) -> Vec<(Arc<Reporter>, Span)> {
        self.spans
    }

    /// When the last span ends. Live traffic is sent no earlier, since nobody reports an unfinished span.
    pub fn end(&self) -> UnixNanos {
        let ends = self.spans.iter().map(|(_, span)| span.end_time_unix_nano);
        ends.max().unwrap_or(0)
    }
}

/// Makes traces. It holds nothing but the plan and the state of its random numbers.
#[derive(Debug)]
pub struct Generator {
    plan: Arc<Plan>,
    rng: StdRng,
    left_out: u64,
}

impl Generator {
    /// A generator whose traces are determined by the plan, by `seed` and by the order of the calls.
    pub fn new(plan: Arc<Plan>, seed: u64) -> Self {
        Self {
            plan,
            rng: StdRng::seed_from_u64(seed),
            left_out: 0,
        }
    }

    /// The plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Steps that were left out since their trace had `max_spans_per_trace` already.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// One visit that begins at `start`.
    pub fn trace(&mut self, start: UnixNanos, faults: &Faults) -> Trace {
        self.visit(start, Duration::ZERO, faults)
    }

    /// The visits that begin within `period`, in order, as a Poisson process of `traces_per_minute`, whatever the
    /// model says about load and faults. Calls with adjoining periods make the same process as one call with all of it.
    pub fn traffic(
        &mut self,
        period: Range<UnixNanos>,
        traces_per_minute: f64,
        faults: &Faults,
    ) -> impl Iterator<Item = Trace> {
        let mean_gap_ms = 60_000.0 / traces_per_minute;
        let mut at = period.start;
        std::iter::from_fn(move || {
            at = at.saturating_add(self.gap(mean_gap_ms));
            (at < period.end).then(|| self.trace(at, faults))
        })
    }

    /// Time until the next visit of a Poisson process.
    fn gap(&mut self, mean_ms: f64) -> u64 {
        let gap: f64 = Exp1.sample(&mut self.rng);
        nanos_of_ms(gap * mean_ms)
    }

    /// One visit, so long after the start of the traffic.
    fn visit(&mut self, start: UnixNanos, since_start: Duration, faults: &Faults) -> Trace {
        let plan = Arc::clone(&self.plan);
        let trace_id = self.rng.random::<[u8; 16]>().to_vec();
        let shares = plan.load.iter().map(|load| load.per_minute);
        let Some(root) = pick(&mut self.rng, shares).and_then(|index| plan.load.get(index)) else {
            return Trace::default();
        };
        let mut visit = Visit::new(&plan, &mut self.rng, faults, since_start, trace_id);
        visit.serve(root.operation, None, start);
        self.left_out += visit.left_out;
        Trace { spans: visit.spans }
    }
}

/// Nanoseconds as a duration.
fn duration(nanos: u64) -> Duration {
    Duration::new(
        nanos / NANOS_PER_SEC,
        u32::try_from(nanos % NANOS_PER_SEC).unwrap_or(0),
    )
}
