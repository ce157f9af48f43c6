//! What faults make of a request, and how it fails by itself.

use rand::RngExt;

use crate::model::UnixNanos;
use crate::model::distribution::nanos_of_ms;
use crate::model::fault::{Fault, LatencyChange, REFUSAL_MS};
use crate::traffic::generate::conventions::exception;
use crate::traffic::generate::plan::{PlannedOperation, Reporter};
use crate::traffic::generate::reply::{Failure, Reply};
use crate::traffic::generate::visit::{Answer, Caller, SpanId, Visit, nanos};

/// What faults make of one request.
pub(super) struct Effects<'a> {
    pub(super) faults: Vec<&'a Fault>,
    pub(super) factor: f64,
    pub(super) total_factor: f64,
    pub(super) added_nanos: u64,
    pub(super) error_ratio: f64,
}

impl<'a> Visit<'a> {
    pub(super) fn effects(
        &mut self,
        operation: &PlannedOperation,
        reporter: &Reporter,
    ) -> Effects<'a> {
        let version = Some(reporter.version.as_str());
        let faults = self.faults.of(&reporter.service, &operation.name, version);
        let (mut factor, mut total_factor, mut added_nanos) = (1.0, 1.0, 0_u64);
        for fault in &faults {
            match &fault.latency {
                Some(LatencyChange::Added(added)) => {
                    added_nanos = added_nanos.saturating_add(nanos(*added));
                }
                Some(LatencyChange::Drawn(added)) => {
                    added_nanos = added_nanos.saturating_add(self.sample(added));
                }
                Some(LatencyChange::Factor(own)) => factor *= own,
                Some(LatencyChange::TotalFactor(own)) => total_factor *= own,
                None => {}
            }
        }
        let served = faults.iter().map(|fault| 1.0 - fault.error_ratio());
        Effects {
            error_ratio: 1.0 - served.product::<f64>(),
            faults,
            factor,
            total_factor,
            added_nanos,
        }
    }

    /// The answer of a service that is out or hangs; `None` if it serves.
    pub(super) fn unserved(
        &mut self,
        operation: &PlannedOperation,
        effects: &Effects<'_>,
        caller: &Caller,
        (parent, start): (Option<SpanId>, UnixNanos),
    ) -> Option<Answer> {
        for fault in &effects.faults {
            let is_out = fault.outage_ratio() > 0.0
                && self.rng.random_bool(fault.outage_ratio().clamp(0.0, 1.0));
            let hangs = fault
                .timeout
                .filter(|timeout| self.rng.random_bool(timeout.ratio));
            let (failure, nanos) = if is_out {
                (Failure::outage(), nanos_of_ms(REFUSAL_MS))
            } else if let Some(timeout) = hangs {
                (Failure::timeout(timeout.after), nanos(timeout.after))
            } else {
                continue;
            };
            let end = start.saturating_add(nanos);
            let reply = Reply::of(&failure);
            if !(is_out && fault.silent) {
                let span = self.span(caller.span_id, parent, start..end);
                let thrown = failure
                    .exception
                    .map(|(kind, message)| exception(&kind, &message, end));
                self.finish(&operation.entry, span, &caller.reporter, (&reply, thrown));
            }
            return Some(Answer { end, reply });
        }
        None
    }

    /// How a request ends as far as it depends on the one who serves it alone.
    pub(super) fn fate(&mut self, failures: &'a [Failure], added_ratio: f64) -> Option<Failure> {
        let mut lot: f64 = self.rng.random();
        if added_ratio > 0.0 {
            if lot < added_ratio {
                return Some(Failure::with_status("INTERNAL"));
            }
            lot = (lot - added_ratio) / (1.0 - added_ratio);
        }
        for failure in failures {
            if lot < failure.ratio {
                return Some(failure.clone());
            }
            lot -= failure.ratio;
        }
        None
    }
}
