//! A small shop that is healthy until told otherwise: seeded, so that the same seed tells the same story.
//!
//! A visit walks the static call tree of [`ShopService`]s. Latencies are lognormal, callers wait for their
//! callees, and failures travel up to the visitor where the caller cannot do without the answer. Left
//! alone, every service fails in 0.01 to 0.05 % of its requests, independently, and p95 is below 150 ms.

mod conventions;
mod export;
mod services;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp1, StandardNormal};

use crate::model::{NANOS_PER_SEC, UnixNanos};
use crate::traffic::shop::conventions::{
    Reply, describe_call, describe_entry, describe_step, exception,
};
use crate::traffic::shop::services::{Endpoint, Latency, Step, VISITS};

pub(super) use export::export_request;
pub use export::{export_requests, span_count};
pub use services::ShopService;

type SpanId = [u8; 8];

/// One way over the network inside the cluster.
const NETWORK: Latency = Latency {
    median_ms: 0.3,
    sigma: 0.3,
};

/// Handing a message to the broker.
const SEND: Latency = Latency {
    median_ms: 1.2,
    sigma: 0.3,
};

/// From the broker to the consumer.
const QUEUE: Latency = Latency {
    median_ms: 15.0,
    sigma: 0.5,
};

/// What is wrong with a service. The default is nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// Added to the service's own time in every request.
    pub added_latency: Duration,
    /// The service's own time is multiplied by this, 1 for no change; below 0 counts as 0.
    pub latency_factor: f64,
    /// Share of the requests that fail beside those that always do, 0 to 1.
    pub error_ratio: f64,
}

impl Default for Fault {
    fn default() -> Self {
        Self {
            added_latency: Duration::ZERO,
            latency_factor: 1.0,
            error_ratio: 0.0,
        }
    }
}

/// Which services are in trouble. The default is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults(Vec<(ShopService, Fault)>);

impl Faults {
    /// A shop without trouble.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a fault, in place of an earlier one of the same service.
    #[must_use]
    pub fn with(mut self, service: ShopService, fault: Fault) -> Self {
        self.0.retain(|(troubled, _)| *troubled != service);
        self.0.push((service, fault));
        self
    }

    /// What is wrong with `service`.
    pub fn of(&self, service: ShopService) -> Fault {
        self.0
            .iter()
            .find(|(troubled, _)| *troubled == service)
            .map_or_else(Fault::default, |(_, fault)| *fault)
    }
}

/// The spans of one visit, each with the service that reports it. Children stand before their parents, as
/// they end first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    spans: Vec<(ShopService, Span)>,
}

impl Trace {
    /// The spans and who reports them.
    pub fn spans(&self) -> &[(ShopService, Span)] {
        &self.spans
    }

    /// The spans by value.
    pub fn into_spans(self) -> Vec<(ShopService, Span)> {
        self.spans
    }

    /// When the last span ends. Live traffic is sent no earlier, since nobody reports an unfinished span.
    pub fn end(&self) -> UnixNanos {
        self.spans
            .iter()
            .map(|(_, span)| span.end_time_unix_nano)
            .max()
            .unwrap_or(0)
    }
}

/// The shop. It holds nothing but the state of its random numbers.
#[derive(Debug)]
pub struct Shop {
    rng: StdRng,
}

impl Shop {
    /// A shop whose traces are determined by `seed` and the order of the calls.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// One visit that begins at `start`.
    pub fn trace(&mut self, start: UnixNanos, faults: &Faults) -> Trace {
        let trace_id = self.rng.random::<[u8; 16]>().to_vec();
        let endpoint = self.visit();
        let mut visit = Visit {
            rng: &mut self.rng,
            faults,
            trace_id,
            spans: Vec::with_capacity(16),
        };
        visit.serve(endpoint, None, start);
        Trace { spans: visit.spans }
    }

    /// The visits that begin within `period`, in order, as a Poisson process of `traces_per_minute`. Calls
    /// with adjoining periods make the same process as one call with all of it.
    pub fn traffic(
        &mut self,
        period: Range<UnixNanos>,
        traces_per_minute: f64,
        faults: &Faults,
    ) -> impl Iterator<Item = Trace> {
        let mean_gap_secs = 60.0 / traces_per_minute;
        let mut at = period.start;
        std::iter::from_fn(move || {
            let gap: f64 = Exp1.sample(&mut self.rng);
            at = at.saturating_add(nanos(gap * mean_gap_secs));
            (at < period.end).then(|| self.trace(at, faults))
        })
    }

    fn visit(&mut self) -> &'static Endpoint {
        let mut left: f64 = self.rng.random();
        let [(_, first), ..] = &VISITS;
        for (share, endpoint) in &VISITS {
            left -= share;
            if left < 0.0 {
                return endpoint;
            }
        }
        first
    }
}

/// A visit on its way through the shop.
struct Visit<'a> {
    rng: &'a mut StdRng,
    faults: &'a Faults,
    trace_id: Vec<u8>,
    spans: Vec<(ShopService, Span)>,
}

/// Who makes a step.
#[derive(Clone, Copy)]
struct Caller {
    service: ShopService,
    span_id: SpanId,
}

/// When somebody is done, and how it went.
#[derive(Clone, Copy)]
struct Answer {
    end: UnixNanos,
    reply: Reply,
}

impl Visit<'_> {
    /// Handles one request: the entry span of `endpoint` and everything below it.
    fn serve(
        &mut self,
        endpoint: &'static Endpoint,
        parent: Option<SpanId>,
        start: UnixNanos,
    ) -> Answer {
        let service = endpoint.service;
        let span_id = self.rng.random();
        let fault = self.faults.of(service);
        let half_work = self.work(endpoint, fault) / 2;
        let mut reply = self.fate(endpoint, fault);
        let fails_itself = reply == Reply::Failed;

        let mut now = start.saturating_add(half_work);
        for step in endpoint.steps {
            if reply == Reply::Failed {
                break;
            }
            let answer = self.step(step, Caller { service, span_id }, now);
            now = answer.end;
            reply = reply.max(answer.reply);
        }
        let end = now.saturating_add(half_work);

        let subject = self.rng.random_range(1..10_000);
        let mut span = describe_entry(
            self.span(span_id, parent, start..end),
            endpoint,
            reply,
            subject,
        );
        if fails_itself {
            span.events.push(exception(service, now));
        }
        self.spans.push((service, span));
        Answer { end, reply }
    }

    fn step(&mut self, step: &'static Step, caller: Caller, start: UnixNanos) -> Answer {
        match step {
            Step::Call(callee) => self.call(callee, caller, start),
            Step::Optional(callees) => {
                let mut end = start;
                for callee in *callees {
                    end = end.max(self.call(callee, caller, start).end);
                }
                Answer {
                    end,
                    reply: Reply::Ok,
                }
            }
            Step::Query { latency, .. } | Step::Compute { latency, .. } => {
                let end = start.saturating_add(self.sample(*latency));
                let span_id = self.rng.random();
                let span = self.span(span_id, Some(caller.span_id), start..end);
                self.spans.push((caller.service, describe_step(span, step)));
                Answer {
                    end,
                    reply: Reply::Ok,
                }
            }
            Step::Publish(consumer) => self.publish(consumer, caller, start),
        }
    }

    /// A synchronous call: the caller's CLIENT span around the callee's SERVER span.
    fn call(&mut self, callee: &'static Endpoint, caller: Caller, start: UnixNanos) -> Answer {
        let span_id = self.rng.random();
        let arrival = start.saturating_add(self.sample(NETWORK));
        let Answer { end, reply } = self.serve(callee, Some(span_id), arrival);
        let end = end.saturating_add(self.sample(NETWORK));
        self.record_call(callee, caller, self.span(span_id, None, start..end), reply);
        Answer { end, reply }
    }

    /// A message: the caller goes on when the broker has it, whatever the consumer makes of it later.
    fn publish(&mut self, consumer: &'static Endpoint, caller: Caller, start: UnixNanos) -> Answer {
        let span_id = self.rng.random();
        let end = start.saturating_add(self.sample(SEND));
        let arrival = end.saturating_add(self.sample(QUEUE));
        self.serve(consumer, Some(span_id), arrival);
        let reply = Reply::Ok;
        self.record_call(
            consumer,
            caller,
            self.span(span_id, None, start..end),
            reply,
        );
        Answer { end, reply }
    }

    fn record_call(&mut self, callee: &Endpoint, caller: Caller, span: Span, reply: Reply) {
        let subject = self.rng.random_range(1..10_000);
        let span = Span {
            parent_span_id: caller.span_id.to_vec(),
            ..describe_call(span, callee, reply, subject)
        };
        self.spans.push((caller.service, span));
    }

    fn span(&self, id: SpanId, parent: Option<SpanId>, time: Range<UnixNanos>) -> Span {
        Span {
            trace_id: self.trace_id.clone(),
            span_id: id.to_vec(),
            parent_span_id: parent.map_or_else(Vec::new, |parent| parent.to_vec()),
            start_time_unix_nano: time.start,
            end_time_unix_nano: time.end,
            ..Span::default()
        }
    }

    /// The service's own time in nanoseconds.
    fn work(&mut self, endpoint: &Endpoint, fault: Fault) -> u64 {
        let healthy_secs = self.sample(endpoint.work) as f64 / NANOS_PER_SEC as f64;
        nanos(healthy_secs * fault.latency_factor + fault.added_latency.as_secs_f64())
    }

    /// How the request ends as far as it depends on this service alone.
    fn fate(&mut self, endpoint: &Endpoint, fault: Fault) -> Reply {
        let lot: f64 = self.rng.random();
        let failing = endpoint.error_ratio + fault.error_ratio;
        if lot < failing {
            Reply::Failed
        } else if lot < failing + endpoint.not_found_ratio {
            Reply::NotFound
        } else {
            Reply::Ok
        }
    }

    fn sample(&mut self, latency: Latency) -> u64 {
        let z: f64 = StandardNormal.sample(self.rng);
        nanos(latency.median_ms / 1e3 * (latency.sigma * z).exp())
    }
}

/// Seconds to nanoseconds; what does not fit goes to the nearest end of the range, NaN to 0.
fn nanos(secs: f64) -> u64 {
    let most = if secs > 0.0 { u64::MAX } else { 0 };
    Duration::try_from_secs_f64(secs).map_or(most, |duration| {
        u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
    })
}
