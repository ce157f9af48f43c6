//! Which traces go on: whole ones, each decided once, and each span says what it stands for.
//!
//! ```text
//! span ─ its trace decided? ─ yes ─ as decided
//!                        └─ no ── held for decision_wait ─ error or slow: all of it
//!                                                        └ else: R ≥ T of the root's (service, operation)
//! ```
//!
//! T comes from a share; R from `rv` or the trace id. All spans of a trace get the same T, which is written to their
//! tracestate as `ot=th:`, or the T they came with where that is higher: what is kept weighs 1 ÷ the chance that it was
//! kept, so that every sum of weights downstream is right on average, whatever made T what it is.
//!
//! Invariant: T never depends on R, else the weights would be wrong.

mod rebuild;
mod spans;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use prost::Message;
use tokio::time::Instant;

pub(super) use self::rebuild::Batch;
use self::rebuild::{Fragment, Head, batches, key_of};
use self::spans::{is_error, is_root, is_slow, service_of};
use crate::forward::deliver::Receipt;
use crate::forward::settings::{SamplingConfig, Share};
use crate::model::sampling::SamplingPlan;
use crate::model::trace_state::with_threshold;
use crate::trace::sampling::{Randomness, Threshold};

/// Bits of a threshold that are not used, so that five hexadecimal digits write it. Shares are off by less than 10⁻⁶.
const UNUSED_BITS: u32 = 36;

/// What a held span costs beside its own bytes, about.
const OVERHEAD_BYTES: u64 = 256;

type TraceId = Vec<u8>;

/// The plan that holds; none keeps all.
pub(super) type Plan = Option<Arc<SamplingPlan>>;

/// Holds spans by trace until it is decided.
pub(super) struct Sampler {
    config: SamplingConfig,
    held: HashMap<TraceId, Held>,
    /// Traces in the order that they are due; those that are decided stand here until their time.
    due: VecDeque<(Instant, TraceId)>,
    bytes: u64,
    decided: HashMap<TraceId, Decision>,
    decided_order: VecDeque<TraceId>,
    pub(super) counts: Counts,
}

/// What was done since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) sampled_out: u64,
    pub(super) early: u64,
    pub(super) forgotten: u64,
}

#[derive(Default)]
struct Held {
    spans: Vec<Fragment>,
    bytes: u64,
    /// `rv` of a span of it.
    randomness: Option<Randomness>,
    is_wanted: bool,
    /// Service and name of the root.
    root: Option<(String, String)>,
}

#[derive(Clone, Copy, Debug)]
struct Decision {
    threshold: Threshold,
    randomness: Randomness,
}
impl Sampler {
    pub(super) fn new(config: SamplingConfig) -> Self {
        Self {
            config,
            held: HashMap::new(),
            due: VecDeque::new(),
            bytes: 0,
            decided: HashMap::new(),
            decided_order: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// Takes a request in and returns what goes on now: spans of traces that are decided.
    pub(super) fn take(
        &mut self,
        request: ExportTraceServiceRequest,
        receipt: &Arc<Receipt>,
        plan: &Plan,
        now: Instant,
    ) -> Vec<Batch> {
        let mut kept = Vec::new();
        for resource_spans in request.resource_spans {
            let ResourceSpans {
                resource,
                scope_spans,
                schema_url: resource_schema,
            } = resource_spans;
            let resource_key = key_of(resource.as_ref(), &resource_schema);
            for scope_spans in scope_spans {
                let ScopeSpans {
                    scope,
                    spans,
                    schema_url: scope_schema,
                } = scope_spans;
                let head = Arc::new(Head {
                    resource_key,
                    scope_key: key_of(scope.as_ref(), &scope_schema),
                    service: service_of(resource.as_ref()).to_owned(),
                    resource: resource.clone(),
                    resource_schema: resource_schema.clone(),
                    scope,
                    scope_schema,
                });
                for span in spans {
                    let fragment = Fragment {
                        head: Arc::clone(&head),
                        span,
                        receipt: Arc::clone(receipt),
                    };
                    self.add(fragment, now, &mut kept);
                }
            }
        }
        while self.bytes > self.config.max_bytes {
            let Some((_, id)) = self.due.pop_front() else {
                break;
            };
            if self.decide(id, plan, &mut kept) {
                self.counts.early += 1;
            }
        }
        batches(kept)
    }

    fn add(&mut self, fragment: Fragment, now: Instant, kept: &mut Vec<Fragment>) {
        let id = &fragment.span.trace_id;
        if let Some(decision) = self.decided.get(id).copied() {
            self.pass(decision, fragment, kept);
            return;
        }
        let bytes = fragment.span.encoded_len() as u64 + OVERHEAD_BYTES;
        self.bytes += bytes;
        let held = if let Some(held) = self.held.get_mut(id) {
            held
        } else {
            let due = now.checked_add(self.config.decision_wait).unwrap_or(now);
            self.due.push_back((due, id.clone()));
            self.held.entry(id.clone()).or_default()
        };
        held.bytes += bytes;
        let span = &fragment.span;
        let state = span.trace_state.as_bytes();
        held.randomness = held
            .randomness
            .or_else(|| Randomness::of_trace_state(state));
        held.is_wanted |= self.config.keep_errors && is_error(span)
            || is_slow(span, self.config.keep_slower_than);
        if is_root(span) {
            held.root = Some((fragment.head.service.clone(), span.name.clone()));
        }
        held.spans.push(fragment);
    }

    /// Decides the traces whose time has come, or all of them.
    pub(super) fn decide_due(&mut self, now: Option<Instant>, plan: &Plan) -> Vec<Batch> {
        let mut kept = Vec::new();
        while let Some((_, id)) = self
            .due
            .pop_front_if(|(due, _)| now.is_none_or(|now| *due <= now))
        {
            self.decide(id, plan, &mut kept);
        }
        batches(kept)
    }

    /// Whether it was undecided.
    fn decide(&mut self, id: TraceId, plan: &Plan, kept: &mut Vec<Fragment>) -> bool {
        let Some(held) = self.held.remove(&id) else {
            return false;
        };
        self.bytes -= held.bytes;
        let ratio = self.ratio(&held, plan);
        let decision = Decision {
            threshold: rounded(Threshold::ALL.scaled(ratio)),
            randomness: held
                .randomness
                .unwrap_or_else(|| Randomness::of_trace_id(&id)),
        };
        for fragment in held.spans {
            self.pass(decision, fragment, kept);
        }
        self.remember(id, decision);
        true
    }

    fn ratio(&self, held: &Held, plan: &Plan) -> f64 {
        if held.is_wanted {
            return 1.0;
        }
        match (self.config.share, plan) {
            (Share::Ratio(ratio), _) => ratio,
            (Share::Plan, Some(plan)) => {
                // Without a root, the largest share that a trace of these services may have.
                let services = held.spans.iter().map(|fragment| &*fragment.head.service);
                let any = services.map(|service| largest(plan, service));
                let root = held.root.as_ref();
                root.map_or_else(
                    || any.fold(0.0, f64::max),
                    |(service, operation)| plan.ratio(service, operation),
                )
            }
            (Share::Plan, None) | (Share::Off, _) => 1.0,
        }
    }

    fn pass(&mut self, decision: Decision, mut fragment: Fragment, kept: &mut Vec<Fragment>) {
        let Decision {
            threshold,
            randomness,
        } = decision;
        if !threshold.keeps(randomness) {
            self.counts.sampled_out += 1;
            return;
        }
        let state = &mut fragment.span.trace_state;
        // A threshold that would not have let it pass says nothing.
        let before = Threshold::of_trace_state(state.as_bytes());
        let before = before.filter(|before| before.keeps(randomness));
        let both = before.map_or(threshold, |before| before.max(threshold));
        *state = with_threshold(state, both.number());
        kept.push(fragment);
    }

    fn remember(&mut self, id: TraceId, decision: Decision) {
        if self.decided_order.len() >= self.config.remembered_traces
            && let Some(oldest) = self.decided_order.pop_front()
        {
            self.decided.remove(&oldest);
            self.counts.forgotten += 1;
        }
        self.decided_order.push_back(id.clone());
        self.decided.insert(id, decision);
    }
}

/// Never more than before is left out.
fn rounded(threshold: Threshold) -> Threshold {
    Threshold::from_number(threshold.number() >> UNUSED_BITS << UNUSED_BITS)
}

/// The largest share of the traces that begin in a service.
fn largest(plan: &SamplingPlan, service: &str) -> f64 {
    plan.service(service).map_or(1.0, |own| {
        let operations = own.operations.iter().map(|operation| operation.ratio);
        operations.fold(own.default_ratio, f64::max)
    })
}
