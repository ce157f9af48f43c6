//! What the shop promises: a determined story, well-formed trees, good health, and faults that show.

use std::collections::{BTreeMap, HashMap};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use proptest::prelude::*;

use super::*;

const START: UnixNanos = 1_700_000_000 * NANOS_PER_SEC;

fn attribute<'a>(span: &'a Span, key: &str) -> Option<&'a Value> {
    span.attributes
        .iter()
        .find(|attribute| attribute.key == key)
        .and_then(|attribute| attribute.value.as_ref()?.value.as_ref())
}

fn is_entry(span: &Span) -> bool {
    matches!(span.kind(), SpanKind::Server | SpanKind::Consumer)
}

fn is_error(span: &Span) -> bool {
    span.status
        .as_ref()
        .is_some_and(|status| status.code() == StatusCode::Error)
}

fn duration_ms(span: &Span) -> f64 {
    (span.end_time_unix_nano - span.start_time_unix_nano) as f64 / 1e6
}

/// The entry spans of `service` in `count` visits, one each second.
fn entries(service: ShopService, count: u64, faults: &Faults) -> Vec<Span> {
    let mut shop = Shop::new(7);
    (0..count)
        .flat_map(|second| shop.trace(START + second * NANOS_PER_SEC, faults).spans)
        .filter(|(reporter, span)| *reporter == service && is_entry(span))
        .map(|(_, span)| span)
        .collect()
}

fn error_ratio(spans: &[Span]) -> f64 {
    spans.iter().filter(|span| is_error(span)).count() as f64 / spans.len() as f64
}

fn p95_ms(spans: &[Span]) -> f64 {
    let mut durations: Vec<f64> = spans.iter().map(duration_ms).collect();
    durations.sort_by(f64::total_cmp);
    durations[durations.len() * 95 / 100]
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let story = |seed| Shop::new(seed).trace(START, &Faults::none());
    assert_eq!(story(3), story(3));
    assert_ne!(story(3), story(4));
}

#[test]
fn a_healthy_shop_is_fast_and_fails_rarely() {
    let mut shop = Shop::new(7);
    let mut by_service: BTreeMap<ShopService, Vec<Span>> = BTreeMap::new();
    for second in 0..40_000 {
        let trace = shop.trace(START + second * NANOS_PER_SEC, &Faults::none());
        for (service, span) in trace.spans {
            if is_entry(&span) {
                by_service.entry(service).or_default().push(span);
            }
        }
    }
    assert_eq!(by_service.len(), ShopService::ALL.len());
    for (service, spans) in &by_service {
        let errors = error_ratio(spans);
        assert!(errors < 0.001, "{service:?}: error ratio {errors}");
        let p95 = p95_ms(spans);
        assert!(p95 < 150.0, "{service:?}: p95 {p95} ms");
    }
    let frontend = error_ratio(&by_service[&ShopService::Frontend]);
    assert!((0.000_1..0.000_7).contains(&frontend), "{frontend}");
}

#[test]
fn a_slow_and_failing_service_shows_in_itself_and_in_its_callers_only() {
    let fault = Fault {
        added_latency: Duration::from_millis(800),
        error_ratio: 0.3,
        ..Fault::default()
    };
    let faults = Faults::none().with(ShopService::Payment, fault);
    let payment = entries(ShopService::Payment, 5_000, &faults);
    let checkout = entries(ShopService::Checkout, 5_000, &faults);
    let catalog = entries(ShopService::Catalog, 5_000, &faults);
    let fulfilment = entries(ShopService::Fulfilment, 5_000, &faults);
    assert!((error_ratio(&payment) - 0.3).abs() < 0.05);
    assert!((error_ratio(&checkout) - 0.3).abs() < 0.05);
    assert!(p95_ms(&payment) > 800.0 && p95_ms(&checkout) > 800.0);
    assert!(error_ratio(&catalog) < 0.001 && p95_ms(&catalog) < 50.0);
    assert!(
        fulfilment.len() < checkout.len() * 4 / 5,
        "unpaid orders are not fulfilled"
    );
}

#[test]
fn the_home_page_does_without_the_cart() {
    let fault = Fault {
        error_ratio: 1.0,
        ..Fault::default()
    };
    let spans = entries(
        ShopService::Frontend,
        500,
        &Faults::none().with(ShopService::Cart, fault),
    );
    for span in &spans {
        let needs_cart = span.name.starts_with("POST");
        assert_eq!(is_error(span), needs_cart, "{}", span.name);
    }
}

#[test]
fn a_product_that_is_not_there_is_no_error_of_the_shop() {
    let missing: Vec<Span> = entries(ShopService::Frontend, 2_000, &Faults::none())
        .into_iter()
        .filter(|span| attribute(span, "http.response.status_code") == Some(&Value::IntValue(404)))
        .collect();
    assert!(!missing.is_empty());
    assert!(missing.iter().all(|span| !is_error(span)));
}

#[test]
fn a_later_fault_of_the_same_service_replaces_the_earlier() {
    let slow = Fault {
        latency_factor: 3.0,
        ..Fault::default()
    };
    let faults = Faults::none()
        .with(ShopService::Cart, slow)
        .with(ShopService::Cart, Fault::default());
    assert_eq!(faults.of(ShopService::Cart), Fault::default());
}

#[test]
fn traffic_keeps_to_its_period_and_rate() {
    let period = START..START + 3_600 * NANOS_PER_SEC;
    let starts: Vec<UnixNanos> = Shop::new(1)
        .traffic(period.clone(), 120.0, &Faults::none())
        .map(|trace| trace.spans.last().unwrap().1.start_time_unix_nano)
        .collect();
    assert!(starts.is_sorted());
    assert!(starts.iter().all(|start| period.contains(start)));
    // 7 200 expected, standard deviation 85
    assert!((6_800..7_600).contains(&starts.len()), "{}", starts.len());
}

#[test]
fn no_rate_means_no_traffic() {
    let period = START..START + NANOS_PER_SEC;
    assert_eq!(
        Shop::new(1).traffic(period, 0.0, &Faults::none()).count(),
        0
    );
}

#[test]
fn seconds_that_are_no_duration_go_to_the_nearest_end() {
    assert_eq!(nanos(f64::INFINITY), u64::MAX);
    assert_eq!(nanos(-1.0), 0);
    assert_eq!(nanos(f64::NAN), 0);
    assert_eq!(nanos(1.5), 1_500_000_000);
}

proptest! {
    #[test]
    fn property_every_trace_is_one_tree_and_synchronous_callers_outlast_their_callees(
        seed: u64,
        error_ratio in 0.0..1.0,
    ) {
        let fault = Fault { error_ratio, ..Fault::default() };
        let faults = Faults::none().with(ShopService::Payment, fault);
        let trace = Shop::new(seed).trace(START, &faults);
        let by_id: HashMap<&[u8], &Span> =
            trace.spans.iter().map(|(_, span)| (span.span_id.as_slice(), span)).collect();
        prop_assert_eq!(by_id.len(), trace.spans.len());
        let mut roots = 0;
        for (_, span) in &trace.spans {
            prop_assert_eq!(&span.trace_id, &trace.spans[0].1.trace_id);
            prop_assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
            prop_assert!(span.end_time_unix_nano <= trace.end());
            if span.parent_span_id.is_empty() {
                roots += 1;
                continue;
            }
            let parent = by_id[span.parent_span_id.as_slice()];
            prop_assert!(parent.start_time_unix_nano <= span.start_time_unix_nano);
            if parent.kind() != SpanKind::Producer {
                prop_assert!(span.end_time_unix_nano <= parent.end_time_unix_nano);
            }
            if is_entry(span) {
                prop_assert!(matches!(parent.kind(), SpanKind::Client | SpanKind::Producer));
            }
        }
        prop_assert_eq!(roots, 1);
    }
}
