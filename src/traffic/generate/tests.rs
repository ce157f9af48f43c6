//! What a generator promises: a determined story, well-formed trees, good health, and faults that show.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use proptest::prelude::*;

use super::*;
use crate::model::fault::{LatencyChange, RetryStorm, TimeoutFault};
use crate::traffic::model::Model;
use crate::traffic::shop;

const START: UnixNanos = 1_700_000_000 * NANOS_PER_SEC;

fn attribute<'a>(span: &'a Span, key: &str) -> Option<&'a Value> {
    let found = span
        .attributes
        .iter()
        .find(|attribute| attribute.key == key);
    found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref())
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

fn on(service: &str, fault: Fault) -> Faults {
    Faults::none().with(FaultTarget::service(service), fault)
}

/// The spans of `service` in `count` visits, one each second.
fn spans_of(generator: &mut Generator, service: &str, count: u64, faults: &Faults) -> Vec<Span> {
    let visits = (0..count).flat_map(|second| {
        generator
            .trace(START + second * NANOS_PER_SEC, faults)
            .into_spans()
    });
    visits
        .filter(|(from, _)| from.service == service)
        .map(|(_, span)| span)
        .collect()
}

fn entries(service: &str, count: u64, faults: &Faults) -> Vec<Span> {
    let mut spans = spans_of(&mut shop::generator(7), service, count, faults);
    spans.retain(is_entry);
    spans
}

fn error_ratio(spans: &[Span]) -> f64 {
    spans.iter().filter(|span| is_error(span)).count() as f64 / spans.len() as f64
}

fn p95_ms(spans: &[Span]) -> f64 {
    let mut durations: Vec<f64> = spans.iter().map(duration_ms).collect();
    durations.sort_by(f64::total_cmp);
    durations[durations.len() * 95 / 100]
}

/// One service that is asked and a second one that it calls, as `steps` say.
fn two_services(steps: &str) -> Generator {
    let yaml = format!(
        "{{defaults: {{network: {{constant_ms: 1}}}}, load: [{{service: a, operation: a, per_minute: 60}}], \
         services: {{a: {{versions: {{'1': 1}}, operations: {{a: {{http: {{method: GET, route: /a}}, \
         time: {{constant_ms: 4}}, steps: [{steps}]}}}}}}, \
         b: {{versions: {{'1': 1}}, operations: {{b: {{grpc: {{method: p.B/b}}, time: {{constant_ms: 10}}}}}}}}}}}}"
    );
    Generator::new(
        Arc::new(Plan::new(&Model::from_yaml("test", &yaml).unwrap())),
        1,
    )
}

const CALL_B: &str = "call: {service: b, operation: b}";

#[test]
fn the_same_seed_tells_the_same_story() {
    let story = |seed| shop::generator(seed).trace(START, &Faults::none());
    assert_eq!(story(3), story(3));
    assert_ne!(story(3), story(4));
}

#[test]
fn a_healthy_shop_is_fast_and_fails_rarely() {
    let mut shop = shop::generator(7);
    let mut by_service: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    for second in 0..20_000 {
        let trace = shop.trace(START + second * NANOS_PER_SEC, &Faults::none());
        for (from, span) in trace.into_spans() {
            if is_entry(&span) {
                by_service
                    .entry(from.service.clone())
                    .or_default()
                    .push(span);
            }
        }
    }
    assert_eq!(by_service.len(), 6);
    for (service, spans) in &by_service {
        let errors = error_ratio(spans);
        assert!(errors < 0.0015, "{service}: error ratio {errors}");
        let p95 = p95_ms(spans);
        assert!(p95 < 150.0, "{service}: p95 {p95} ms");
    }
    // Of 20 000 visits 6 fail as expected, by the sum of the ratios on the way.
    let frontend = error_ratio(&by_service["frontend"]);
    assert!((0.000_05..0.000_9).contains(&frontend), "{frontend}");
}

#[test]
fn a_slow_and_failing_service_shows_in_itself_and_in_its_callers_only() {
    let fault = Fault {
        latency: Some(LatencyChange::Added(Duration::from_millis(800))),
        ..Fault::error(0.3)
    };
    let faults = on("payment", fault);
    let payment = entries("payment", 5_000, &faults);
    let checkout = entries("checkout", 5_000, &faults);
    let catalog = entries("catalog", 5_000, &faults);
    let fulfilment = entries("fulfilment", 5_000, &faults);
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
    let spans = entries("frontend", 500, &on("cart", Fault::error(1.0)));
    let (writes, reads): (Vec<Span>, Vec<Span>) = spans
        .into_iter()
        .partition(|span| span.name.starts_with("POST"));
    assert!(
        writes.iter().all(is_error),
        "nothing is bought without a cart"
    );
    // One page in ten thousand fails by itself.
    assert!(error_ratio(&reads) < 0.01, "{}", error_ratio(&reads));
}

#[test]
fn a_product_that_is_not_there_is_no_error_of_the_shop() {
    let mut missing = entries("frontend", 2_000, &Faults::none());
    missing
        .retain(|span| attribute(span, "http.response.status_code") == Some(&Value::IntValue(404)));
    assert!(!missing.is_empty());
    assert!(missing.iter().all(|span| !is_error(span)));
}

#[test]
fn a_later_fault_of_the_same_target_replaces_the_earlier() {
    let slow = Fault::latency(LatencyChange::Factor(3.0));
    let faults = on("cart", slow).with(FaultTarget::service("cart"), Fault::error(0.5));
    assert_eq!(faults.of("cart", "GET /", None), [&Fault::error(0.5)]);
}

#[test]
fn traffic_keeps_to_its_period_and_rate() {
    let period = START..START + 3_600 * NANOS_PER_SEC;
    let starts: Vec<UnixNanos> = shop::generator(1)
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
        shop::generator(1)
            .traffic(period, 0.0, &Faults::none())
            .count(),
        0
    );
}

#[test]
fn a_caller_gives_up_and_the_callee_goes_on() {
    let mut system = two_services(&format!("{{{CALL_B}, timeout: 5ms}}"));
    let trace = system.trace(START, &Faults::none()).into_spans();
    let [(_, server), (_, client), (_, root)] = &trace[..] else {
        panic!("{trace:?}")
    };
    assert!((duration_ms(server) - 10.0).abs() < 1e-6);
    assert!((duration_ms(client) - 5.0).abs() < 1e-6);
    assert!(
        (duration_ms(root) - 9.0).abs() < 1e-6,
        "2 before, 5 waiting, 2 after"
    );
    assert!(!is_error(server) && is_error(client) && is_error(root));
    let status = attribute(client, "rpc.response.status_code");
    assert_eq!(
        status,
        Some(&Value::StringValue("DEADLINE_EXCEEDED".to_owned()))
    );
}

#[test]
fn a_failed_call_is_tried_again_as_often_as_the_model_says() {
    let mut system = two_services(&format!(
        "{{{CALL_B}, retries: {{attempts: 3, backoff: 7ms}}}}"
    ));
    let trace = system
        .trace(START, &on("b", Fault::error(1.0)))
        .into_spans();
    let kinds: Vec<SpanKind> = trace.iter().map(|(_, span)| span.kind()).collect();
    let attempt = [SpanKind::Server, SpanKind::Client];
    assert_eq!(
        kinds,
        [&attempt[..], &attempt, &attempt, &[SpanKind::Server]].concat()
    );
    // 2 before, 3 · (1 + 10 + 1), 2 · 7, 2 after
    assert!((duration_ms(&trace[6].1) - 54.0).abs() < 1e-6);
}

/// Each fault of `b` with the time of its caller in milliseconds, whether that fails, and how many spans there are.
fn described_faults() -> [(Fault, f64, bool, usize); 8] {
    let ms = Duration::from_millis;
    let timeout = TimeoutFault {
        after: ms(100),
        ratio: 1.0,
    };
    let storm = RetryStorm {
        ratio: 1.0,
        attempts: 2,
        backoff: ms(3),
    };
    // Without a fault: 2 + 1 + 10 + 1 + 2 = 16.
    [
        (Fault::latency(LatencyChange::Added(ms(50))), 66.0, false, 3),
        (Fault::latency(LatencyChange::Factor(1.5)), 21.0, false, 3),
        (
            Fault::latency(LatencyChange::TotalFactor(3.0)),
            36.0,
            false,
            3,
        ),
        (Fault::error(1.0), 16.0, true, 3),
        (
            Fault {
                outage: true,
                ..Fault::default()
            },
            7.0,
            true,
            3,
        ),
        (
            Fault {
                outage: true,
                silent: true,
                ..Fault::default()
            },
            7.0,
            true,
            2,
        ),
        (
            Fault {
                timeout: Some(timeout),
                ..Fault::default()
            },
            104.0,
            true,
            3,
        ),
        (
            Fault {
                retry_storm: Some(storm),
                ..Fault::default()
            },
            31.0,
            true,
            5,
        ),
    ]
}

#[test]
fn faults_act_as_they_are_described() {
    for (fault, root_ms, is_failed, spans) in described_faults() {
        let mut system = two_services(&format!("{{{CALL_B}}}"));
        let trace = system.trace(START, &on("b", fault.clone())).into_spans();
        let root = &trace.last().unwrap().1;
        assert!(
            (duration_ms(root) - root_ms).abs() < 1e-3,
            "{fault:?}: {}",
            duration_ms(root)
        );
        assert_eq!(
            (is_error(root), trace.len()),
            (is_failed, spans),
            "{fault:?}"
        );
    }
}

#[test]
fn steps_at_the_same_time_end_with_the_last_and_detached_ones_are_not_waited_for() {
    let both =
        format!("{{parallel: [{{{CALL_B}}}, {{work: {{name: w}}, time: {{constant_ms: 3}}}}]}}");
    for (steps, root_ms, spans) in [
        (both.as_str(), 16.0, 4),
        (&format!("{{{CALL_B}, detached: true}}"), 4.0, 3),
        (&format!("{{{CALL_B}, count: {{3: 1}}}}"), 40.0, 7),
        (
            &format!("{{{CALL_B}, count: {{3: 1}}, fan_out: true}}"),
            16.0,
            7,
        ),
        (&format!("{{{CALL_B}, probability: 0}}"), 4.0, 1),
        (&format!("{{{CALL_B}, without_client_span: true}}"), 16.0, 2),
    ] {
        let trace = two_services(steps)
            .trace(START, &Faults::none())
            .into_spans();
        let root = &trace.last().unwrap().1;
        assert!(
            (duration_ms(root) - root_ms).abs() < 1e-6,
            "{steps}: {}",
            duration_ms(root)
        );
        assert_eq!(trace.len(), spans, "{steps}");
    }
}

#[test]
fn failures_travel_up_by_their_propagation() {
    let mut system = two_services(&format!("{{{CALL_B}, propagation: 0.3}}"));
    let spans = spans_of(&mut system, "a", 4_000, &on("b", Fault::error(1.0)));
    let roots: Vec<Span> = spans.into_iter().filter(is_entry).collect();
    assert!((error_ratio(&roots) - 0.3).abs() < 0.03);
}

#[test]
fn a_schedule_has_its_rates_its_faults_and_its_versions_at_their_times() {
    let mut model = shop::model();
    let more = "{shape: {bursts: [{at: 10m, for: 10m, factor: 3}]}, \
        faults: [{name: f, at: 20m, for: 10m, target: {service: cart}, fault: {error: 1}}], \
        rollouts: [{service: cart, version: 2.0.0, at: 30m, over: 10m}]}";
    let more: Model = serde_saphyr::from_str(more).unwrap();
    (model.shape, model.faults, model.rollouts) = (more.shape, more.faults, more.rollouts);
    model.check("shop").unwrap();
    let mut generator = Generator::new(Arc::new(Plan::new(&model)), 3);
    let period = START..START + 3_000 * NANOS_PER_SEC;
    // Of each ten minutes: visits, failures of the cart, its versions.
    let mut seen = vec![(0_u64, 0_u64, BTreeSet::new()); 5];
    for trace in generator.scheduled(period, START, 0.1, &Faults::none()) {
        let start = trace.spans.last().unwrap().1.start_time_unix_nano;
        let tenth = usize::try_from((start - START) / (600 * NANOS_PER_SEC)).unwrap();
        let (visits, failures, versions) = &mut seen[tenth];
        *visits += 1;
        for (from, span) in trace
            .spans
            .iter()
            .filter(|(from, _)| from.service == "cart")
        {
            *failures += u64::from(is_entry(span) && is_error(span));
            versions.insert(from.version.clone());
        }
    }
    // 1 500 visits in ten minutes at a tenth of the rate.
    assert!((1_350..1_650).contains(&seen[0].0), "{seen:?}");
    assert!((4_200..4_800).contains(&seen[1].0), "{seen:?}");
    assert!(seen[2].1 > 500 && seen[0].1 + seen[3].1 < 10, "{seen:?}");
    let versions = |tenth: usize| seen[tenth].2.iter().cloned().collect::<Vec<_>>();
    assert_eq!(
        (versions(2), versions(4)),
        (vec!["1.12.3".to_owned()], vec!["2.0.0".to_owned()])
    );
    assert_eq!(versions(3).len(), 2);
}

#[test]
fn an_operation_that_may_call_itself_ends_and_says_what_it_left_out() {
    let yaml = "{load: [{service: a, operation: a, per_minute: 1}], max_spans_per_trace: 50, services: \
        {a: {operations: {a: {http: {method: GET, route: /}, steps: \
        [{call: {service: a, operation: a}, probability: 0.99, count: {2: 1}}]}}}}}";
    let model = Model::from_yaml("loop", yaml).unwrap();
    let mut generator = Generator::new(Arc::new(Plan::new(&model)), 1);
    let spans = generator.trace(START, &Faults::none()).spans.len();
    assert!((50..500).contains(&spans), "{spans}");
    assert!(generator.left_out() > 0);
}

proptest! {
    #[test]
    fn property_every_trace_is_one_tree_and_synchronous_callers_outlast_their_callees(
        seed: u64,
        error_ratio in 0.0..1.0,
    ) {
        let trace = shop::generator(seed).trace(START, &on("payment", Fault::error(error_ratio)));
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
