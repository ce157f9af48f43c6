//! Traces that are kept and left out, and what the spans of those that are kept say.

use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
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
