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

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::time::Instant;

use crate::forward::deliver::Receipt;
use crate::forward::settings::{SamplingConfig, Share};
use crate::model::sampling::SamplingPlan;
use crate::model::trace_state::with_threshold;
use crate::trace::sampling::{Randomness, Threshold};

/// Bits of a threshold that are not used, so that five hexadecimal digits write it. Shares are off by less than 10⁻⁶.
const UNUSED_BITS: u32 = 36;

/// What a held span costs beside its own bytes, about.
const OVERHEAD_BYTES: u64 = 256;

/// A request that is made becomes about so large.
const REQUEST_BYTES: u64 = 1 << 20;

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

/// A span and where it came from.
struct Fragment {
    head: Arc<Head>,
    span: Span,
    receipt: Arc<Receipt>,
}

/// What stands above a span in its request.
struct Head {
    /// Of the encoded resource and its schema.
    resource_key: u128,
    scope_key: u128,
    service: String,
    resource: Option<Resource>,
    resource_schema: String,
    scope: Option<InstrumentationScope>,
    scope_schema: String,
}

/// A request of spans that go on.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) request: ExportTraceServiceRequest,
    pub(super) spans: u64,
    pub(super) receipts: Vec<Arc<Receipt>>,
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

fn key_of(message: Option<&impl Message>, schema: &str) -> u128 {
    let mut bytes = message.map_or_else(Vec::new, Message::encode_to_vec);
    bytes.push(u8::from(message.is_some()));
    bytes.extend_from_slice(schema.as_bytes());
    xxhash_rust::xxh3::xxh3_128(&bytes)
}

fn service_of(resource: Option<&Resource>) -> &str {
    let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
    match value_of(attributes, "service.name") {
        Some(Any::StringValue(name)) if !name.is_empty() => name,
        _ => "unknown_service",
    }
}

fn value_of<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Any> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    attribute.value.as_ref()?.value.as_ref()
}

fn is_root(span: &Span) -> bool {
    span.parent_span_id.iter().all(|byte| *byte == 0)
}

/// What the windows count as an error of a request, and errors of calls.
fn is_error(span: &Span) -> bool {
    let code = span.status.as_ref().map_or(0, |status| status.code);
    if code != i32::from(StatusCode::Unset) {
        return code == i32::from(StatusCode::Error);
    }
    let number = |key| match value_of(&span.attributes, key) {
        Some(Any::IntValue(number)) => Some(*number),
        Some(Any::StringValue(text)) => text.parse().ok(),
        _ => None,
    };
    let http = number("http.response.status_code").or_else(|| number("http.status_code"));
    let grpc = number("rpc.grpc.status_code");
    span.kind == i32::from(SpanKind::Server)
        && (http.is_some_and(|status| status >= 500)
            || grpc.is_some_and(|code| [2, 4, 12, 13, 14, 15].contains(&code)))
}

/// Entry spans alone: what waits in the background is no slow request.
fn is_slow(span: &Span, limit: Option<Duration>) -> bool {
    let is_entry = is_root(span)
        || [SpanKind::Server, SpanKind::Consumer]
            .map(i32::from)
            .contains(&span.kind);
    let nanos = span
        .end_time_unix_nano
        .saturating_sub(span.start_time_unix_nano);
    is_entry && limit.is_some_and(|limit| Duration::from_nanos(nanos) >= limit)
}

/// Requests of what goes on, spans of one resource and scope together.
fn batches(kept: Vec<Fragment>) -> Vec<Batch> {
    let mut batches = Vec::new();
    let mut building = Building::default();
    for fragment in kept {
        building.add(fragment);
        if building.bytes >= REQUEST_BYTES {
            batches.extend(std::mem::take(&mut building).finish());
        }
    }
    batches.extend(building.finish());
    batches
}

#[derive(Default)]
struct Building {
    request: ExportTraceServiceRequest,
    /// Where the spans of a head go.
    places: HashMap<(u128, u128), (usize, usize)>,
    resources: HashMap<u128, usize>,
    receipts: Vec<Arc<Receipt>>,
    spans: u64,
    bytes: u64,
}

impl Building {
    fn add(&mut self, fragment: Fragment) {
        let Fragment {
            head,
            span,
            receipt,
        } = fragment;
        self.spans += 1;
        self.bytes += span.encoded_len() as u64;
        let (at, scope_at) = self.place(&head);
        let scopes = self.request.resource_spans.get_mut(at);
        let scope = scopes.and_then(|own| own.scope_spans.get_mut(scope_at));
        if let Some(scope) = scope {
            scope.spans.push(span);
        }
        let is_last = self.receipts.last();
        if is_last.is_none_or(|last| !Arc::ptr_eq(last, &receipt)) {
            self.receipts.push(receipt);
        }
    }

    fn place(&mut self, head: &Head) -> (usize, usize) {
        let key = (head.resource_key, head.scope_key);
        if let Some(place) = self.places.get(&key) {
            return *place;
        }
        let resources = &mut self.request.resource_spans;
        let at = *self.resources.entry(head.resource_key).or_insert_with(|| {
            resources.push(ResourceSpans {
                resource: head.resource.clone(),
                scope_spans: Vec::new(),
                schema_url: head.resource_schema.clone(),
            });
            resources.len() - 1
        });
        let mut scope_at = 0;
        if let Some(own) = resources.get_mut(at) {
            scope_at = own.scope_spans.len();
            own.scope_spans.push(ScopeSpans {
                scope: head.scope.clone(),
                spans: Vec::new(),
                schema_url: head.scope_schema.clone(),
            });
        }
        self.places.insert(key, (at, scope_at));
        (at, scope_at)
    }

    fn finish(self) -> Option<Batch> {
        (self.spans > 0).then_some(Batch {
            request: self.request,
            spans: self.spans,
            receipts: self.receipts,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::forward::deliver::Done;
    use crate::model::NANOS_PER_SEC;
    use crate::model::sampling::{OperationSampling, ServiceSampling};
    use crate::model::trace_state;
    use crate::window::event::tracestate_weight;

    fn sampler(share: Share) -> Sampler {
        Sampler::new(SamplingConfig {
            share,
            ..SamplingConfig::default()
        })
    }

    /// The entry span of a service; `number` is its own id.
    fn span(trace_id: u128, number: u64, parent: u64) -> Span {
        Span {
            trace_id: trace_id.to_be_bytes().to_vec(),
            span_id: number.to_be_bytes().to_vec(),
            parent_span_id: match parent {
                0 => Vec::new(),
                parent => parent.to_be_bytes().to_vec(),
            },
            name: "GET /cart".to_owned(),
            kind: SpanKind::Server.into(),
            start_time_unix_nano: NANOS_PER_SEC,
            end_time_unix_nano: NANOS_PER_SEC + 1_000_000,
            ..Span::default()
        }
    }

    fn failed(span: Span) -> Span {
        let status = opentelemetry_proto::tonic::trace::v1::Status {
            code: StatusCode::Error.into(),
            ..Default::default()
        };
        Span {
            status: Some(status),
            ..span
        }
    }

    fn request(service: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
        let name = opentelemetry_proto::tonic::common::v1::AnyValue {
            value: Some(Any::StringValue(service.to_owned())),
        };
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource {
                    attributes: vec![KeyValue {
                        key: "service.name".to_owned(),
                        value: Some(name),
                        ..KeyValue::default()
                    }],
                    ..Resource::default()
                }),
                scope_spans: vec![ScopeSpans {
                    spans,
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }],
        }
    }

    /// Takes a request in at second 0.
    fn take(sampler: &mut Sampler, service: &str, spans: Vec<Span>, plan: &Plan) -> Vec<Span> {
        let receipt = Receipt::new(1, &Done::new());
        let now = Instant::now();
        spans_of(sampler.take(request(service, spans), &receipt, plan, now))
    }

    fn spans_of(batches: Vec<Batch>) -> Vec<Span> {
        let resources = batches
            .into_iter()
            .flat_map(|batch| batch.request.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    fn weight(span: &Span) -> f64 {
        tracestate_weight(span.trace_state.as_bytes()).unwrap()
    }

    /// 20 000 traces of two spans, every 50th with an error: what is kept stands for all of them, and for their errors.
    /// The variance of Σw is Σ(1−p)/p over the traces that are kept by chance.
    #[test]
    fn the_weights_of_what_is_kept_add_up_to_what_there_was() {
        const TRACES: u64 = 20_000;
        for (keep_errors, ratio) in [(true, 0.1), (false, 0.1), (true, 0.013), (false, 0.6)] {
            let mut sampler = sampler(Share::Ratio(ratio));
            sampler.config.keep_errors = keep_errors;
            let mut random = StdRng::seed_from_u64(7);
            for number in 0..TRACES {
                let id = random.random();
                let mut root = span(id, 1, 0);
                if number % 50 == 0 {
                    root = failed(root);
                }
                // The root comes last, as it ends last.
                let kept = take(&mut sampler, "cart", vec![span(id, 2, 1), root], &None);
                assert!(kept.is_empty());
            }
            let kept = spans_of(sampler.decide_due(None, &None));
            let roots: Vec<&Span> = kept.iter().filter(|span| is_root(span)).collect();
            assert_eq!(kept.len(), 2 * roots.len());
            let sum = |wanted: &dyn Fn(&Span) -> bool| -> f64 {
                let wanted = roots.iter().filter(|span| wanted(span));
                wanted.map(|span| weight(span)).sum()
            };
            let (all, errors) = (sum(&|_| true), sum(&is_error));
            let variance = (1.0 - ratio) / ratio;
            let (n, bad) = (TRACES as f64, TRACES as f64 / 50.0);
            let by_chance = if keep_errors { n - bad } else { n };
            let off = (all - n).abs() / (by_chance * variance).sqrt();
            assert!(
                off < 3.5,
                "{ratio}: {all} for {n}, {off} standard deviations"
            );
            if keep_errors {
                assert!((errors - bad).abs() < 1e-6, "{errors}");
            } else {
                let off = (errors - bad).abs() / (bad * variance).sqrt();
                assert!(off < 3.5, "{ratio}: {errors} for {bad}");
            }
            assert_eq!(sampler.counts.sampled_out, 2 * TRACES - kept.len() as u64);
            assert_eq!((sampler.bytes, sampler.held.len()), (0, 0));
        }
    }

    fn plan() -> Arc<SamplingPlan> {
        let service = |name: &str, default_ratio, operation: &str, ratio| ServiceSampling {
            service: name.to_owned(),
            default_ratio,
            operations: vec![OperationSampling {
                operation: operation.to_owned(),
                ratio,
            }],
        };
        Arc::new(SamplingPlan {
            services: vec![
                service("cart", 0.5, "GET /cart", 0.25),
                service("stock", 0.125, "GET /stock", 0.0625),
            ],
            ..SamplingPlan::default()
        })
    }

    /// An id of this randomness, a share of 2⁵⁶.
    fn id_of(share: f64) -> u128 {
        let all = (1_u64 << 56) as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "below 2⁵⁶"
        )]
        let number = (all * share) as u64;
        (1 << 100) + u128::from(number)
    }

    #[test]
    fn a_trace_is_decided_by_its_root_and_late_spans_follow_it() {
        let mut sampler = sampler(Share::Plan);
        for (randomness, is_kept) in [(0.74, false), (0.76, true)] {
            let id = id_of(randomness);
            assert!(take(&mut sampler, "stock", vec![span(id, 2, 1)], &Some(plan())).is_empty());
            assert!(take(&mut sampler, "cart", vec![span(id, 1, 0)], &Some(plan())).is_empty());
            let kept = spans_of(sampler.decide_due(None, &Some(plan())));
            assert_eq!(kept.len(), if is_kept { 2 } else { 0 });
            let late = take(
                &mut sampler,
                "stock",
                vec![failed(span(id, 3, 1))],
                &Some(plan()),
            );
            assert_eq!(late.len(), usize::from(is_kept));
            for span in kept.iter().chain(&late) {
                assert_eq!(span.trace_state, "ot=th:c");
            }
        }
    }

    #[test]
    fn without_a_root_the_largest_share_of_the_services_holds_and_without_a_plan_all_goes_on() {
        let mut sampler = sampler(Share::Plan);
        take(
            &mut sampler,
            "stock",
            vec![span(id_of(0.88), 2, 1)],
            &Some(plan()),
        );
        take(
            &mut sampler,
            "cart",
            vec![span(id_of(0.51), 2, 1)],
            &Some(plan()),
        );
        take(
            &mut sampler,
            "other",
            vec![span(id_of(0.0), 2, 1)],
            &Some(plan()),
        );
        let kept = spans_of(sampler.decide_due(None, &Some(plan())));
        let states: Vec<&str> = kept.iter().map(|span| &*span.trace_state).collect();
        assert_eq!(states, ["ot=th:e", "ot=th:8", "ot=th:0"]);
        take(
            &mut sampler,
            "stock",
            vec![span(id_of(0.0) + 1, 1, 0)],
            &None,
        );
        assert_eq!(spans_of(sampler.decide_due(None, &None)).len(), 1);
    }

    #[test]
    fn errors_and_slow_entry_spans_take_their_whole_trace_along() {
        let slow = Span {
            end_time_unix_nano: 4 * NANOS_PER_SEC,
            ..span(id_of(0.0), 2, 1)
        };
        let waiting = Span {
            kind: SpanKind::Internal.into(),
            ..slow.clone()
        };
        let http = Span {
            attributes: vec![KeyValue {
                key: "http.response.status_code".to_owned(),
                value: Some(opentelemetry_proto::tonic::common::v1::AnyValue {
                    value: Some(Any::IntValue(503)),
                }),
                ..KeyValue::default()
            }],
            ..span(id_of(0.0), 2, 1)
        };
        for (child, is_kept) in [
            (failed(span(id_of(0.0), 2, 1)), true),
            (http, true),
            (slow, true),
            (waiting, false),
            (span(id_of(0.0), 2, 1), false),
        ] {
            let mut sampler = sampler(Share::Ratio(0.01));
            take(
                &mut sampler,
                "cart",
                vec![child, span(id_of(0.0), 1, 0)],
                &None,
            );
            let kept = spans_of(sampler.decide_due(None, &None));
            assert_eq!(kept.len(), if is_kept { 2 } else { 0 });
            assert!(kept.iter().all(|span| span.trace_state == "ot=th:0"));
        }
    }

    /// What came with a threshold was sampled before: the higher one says what chance it had.
    #[test]
    fn a_threshold_that_a_span_came_with_holds_if_it_is_higher() {
        for (before, ratio, after) in [
            ("ot=th:8", 0.25, Some("ot=th:c")),
            ("ot=th:e", 0.25, Some("ot=th:e")),
            (
                "v=1,ot=rv:f0000000000000;th:8",
                0.25,
                Some("ot=th:c;rv:f0000000000000,v=1"),
            ),
            // Its randomness is not the id's.
            ("ot=rv:10000000000000", 0.25, None),
            // It would not have passed this threshold, which is wrong then.
            ("ot=th:ff", 0.25, Some("ot=th:c")),
        ] {
            let mut sampler = sampler(Share::Ratio(ratio));
            let span = Span {
                trace_state: before.to_owned(),
                ..span(id_of(0.95), 1, 0)
            };
            take(&mut sampler, "cart", vec![span], &None);
            let kept = spans_of(sampler.decide_due(None, &None));
            let states: Vec<&str> = kept.iter().map(|span| &*span.trace_state).collect();
            assert_eq!(states, Vec::from_iter(after), "{before}");
        }
    }

    #[test]
    fn a_trace_is_held_for_its_time_and_no_longer() {
        let mut sampler = sampler(Share::Ratio(1.0));
        let (receipt, start) = (Receipt::new(1, &Done::new()), Instant::now());
        let spans = vec![span(id_of(0.5), 1, 0)];
        sampler.take(request("cart", spans), &receipt, &None, start);
        let at = |millis| Some(start + Duration::from_millis(millis));
        assert!(sampler.decide_due(at(9_999), &None).is_empty());
        assert_eq!(spans_of(sampler.decide_due(at(10_000), &None)).len(), 1);
    }

    #[test]
    fn over_its_bound_the_oldest_traces_are_decided_early_and_counted() {
        let mut sampler = sampler(Share::Ratio(1.0));
        sampler.config.max_bytes = 3_500;
        sampler.config.remembered_traces = 4;
        let mut kept = Vec::new();
        for number in 0..100 {
            kept.extend(take(&mut sampler, "cart", vec![span(number, 1, 0)], &None));
            assert!(sampler.bytes <= 3_500);
        }
        let held = sampler.held.len();
        assert_eq!(kept.len(), 100 - held);
        assert!((5..15).contains(&held), "{held}");
        assert_eq!(sampler.counts.early, kept.len() as u64);
        assert_eq!(sampler.counts.forgotten, kept.len() as u64 - 4);
        assert_eq!((sampler.decided.len(), sampler.decided_order.len()), (4, 4));
    }

    proptest! {
        /// However the spans of traces come, each trace goes on whole or not at all, as its randomness says, with one
        /// threshold.
        #[test]
        fn property_a_trace_is_kept_whole(
            ids in prop::collection::vec(any::<u128>(), 1..8),
            spans in prop::collection::vec((any::<prop::sample::Index>(), 1..4_u64, any::<bool>()), 1..60),
            ratio in 0.01..1.0_f64,
        ) {
            let mut sampler = sampler(Share::Ratio(ratio));
            let mut kept = Vec::new();
            for (number, (index, parent, decides)) in (1..).zip(&spans) {
                let own = span(ids[index.index(ids.len())], number, parent - 1);
                kept.extend(take(&mut sampler, "cart", vec![own], &None));
                if *decides {
                    kept.extend(spans_of(sampler.decide_due(None, &None)));
                }
            }
            kept.extend(spans_of(sampler.decide_due(None, &None)));
            let threshold = rounded(Threshold::ALL.scaled(ratio));
            prop_assert!((threshold.ratio() - ratio).abs() < 1e-6);
            let is_kept = |id: &u128| threshold.keeps(Randomness::of_trace_id(&id.to_be_bytes()));
            let sent = spans.iter().filter(|(index, _, _)| is_kept(&ids[index.index(ids.len())]));
            prop_assert_eq!(kept.len(), sent.count());
            for span in kept {
                let written = trace_state::threshold(span.trace_state.as_bytes());
                prop_assert_eq!(written, Some(threshold.number()));
            }
        }
    }
}
