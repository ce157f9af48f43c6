//! The rules of what an event is, as tables.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::window::settings::SliConfig;

const NO_ATTRIBUTES: &[(&str, Scalar<'static>)] = &[];

fn text(text: &str) -> Scalar<'_> {
    Scalar::Text(text.as_bytes())
}

fn attributes<'a>(pairs: &[(&str, Scalar<'a>)]) -> SpanAttributes<'a> {
    let mut attributes = SpanAttributes::default();
    for (key, value) in pairs {
        let is_set = format!("{attributes:?}");
        attributes.set(key.as_bytes(), *value);
        if format!("{attributes:?}") != is_set {
            assert!(SpanAttributes::may_read(key.as_bytes()), "{key}");
        }
    }
    attributes
}

fn server_span<'a>(pairs: &[(&str, Scalar<'a>)]) -> SpanInput<'a> {
    SpanInput {
        name: b"the name",
        kind: SpanKind::Server,
        span_id: &[1; 8],
        attributes: attributes(pairs),
        ..SpanInput::default()
    }
}

fn operation(pairs: &[(&str, Scalar<'_>)]) -> String {
    let mut out = Vec::new();
    write_operation(&mut out, &server_span(pairs));
    template(&out)
}

/// Pushes one span of one resource.
fn batch_of(resource: &ResourceAttributes<'_>, span: &SpanInput<'_>) -> EventBatch {
    let (mut batch, mut scratch) = (EventBatch::default(), OperationScratch::default());
    let rules = EventRules::new(&SliConfig::default());
    push_resource(&mut batch, &mut scratch, resource);
    push_span(
        &mut batch,
        &mut scratch,
        span,
        rules.entry_kinds,
        &Sampling::Full.into(),
    );
    batch
}

#[test]
fn an_operation_is_named_by_the_conventions_old_and_new() {
    let rows: &[(&[(&str, Scalar<'_>)], &str)] = &[
        (&[], "the name"),
        (
            &[
                ("http.request.method", text("GET")),
                ("http.route", text("/u/{id}")),
            ],
            "GET /u/{id}",
        ),
        (
            &[("http.method", text("PUT")), ("http.route", text("/u/17"))],
            "PUT /u/{id}",
        ),
        (&[("http.request.method", text("GET"))], "the name"),
        (&[("http.route", text("/u"))], "the name"),
        (
            &[
                ("http.request.method", text("")),
                ("http.route", text("/u")),
            ],
            "the name",
        ),
        (
            &[
                ("http.request.method", Scalar::Int(1)),
                ("http.route", text("/u")),
            ],
            "the name",
        ),
        (
            &[
                ("rpc.service", text("pkg.Svc")),
                ("rpc.method", text("Get")),
            ],
            "pkg.Svc/Get",
        ),
        (&[("rpc.method", text("pkg.Svc/Get"))], "pkg.Svc/Get"),
        (&[("rpc.service", text("pkg.Svc"))], "the name"),
        (
            &[
                ("messaging.operation.name", text("process")),
                ("messaging.destination.name", text("orders")),
            ],
            "process orders",
        ),
        (
            &[
                ("messaging.operation", text("process")),
                ("messaging.destination", text("orders")),
            ],
            "process orders",
        ),
        (
            &[
                ("messaging.operation.type", text("receive")),
                ("messaging.destination.name", text("orders")),
            ],
            "receive orders",
        ),
        (&[("messaging.operation", text("process"))], "the name"),
        (
            &[("messaging.destination.name", text("orders"))],
            "the name",
        ),
    ];
    for (pairs, expected) in rows {
        assert_eq!(operation(pairs), *expected, "{pairs:?}");
    }
}

#[test]
fn http_comes_before_rpc_before_messaging_and_templates_before_names() {
    let all = [
        ("messaging.operation.type", text("receive")),
        ("messaging.destination.name", text("orders-eu")),
        ("messaging.operation.name", text("poll")),
        ("messaging.destination.template", text("orders-{region}")),
        ("rpc.method", text("Get")),
        ("rpc.service", text("pkg.Svc")),
        ("http.route", text("/u")),
        ("http.request.method", text("GET")),
    ];
    for (known, expected) in [
        (8, "GET /u"),
        (7, "pkg.Svc/Get"),
        (5, "Get"),
        (4, "poll orders-{region}"),
        (3, "poll orders-eu"),
        (2, "receive orders-eu"),
    ] {
        assert_eq!(operation(&all[..known]), expected);
        let mut reversed = all[..known].to_vec();
        reversed.reverse();
        assert_eq!(operation(&reversed), expected, "reversed");
    }
}

#[test]
fn grpc_codes_that_blame_the_server_are_errors_by_number_and_by_name() {
    let codes = [
        ("OK", false),
        ("CANCELLED", false),
        ("UNKNOWN", true),
        ("INVALID_ARGUMENT", false),
        ("DEADLINE_EXCEEDED", true),
        ("NOT_FOUND", false),
        ("ALREADY_EXISTS", false),
        ("PERMISSION_DENIED", false),
        ("RESOURCE_EXHAUSTED", false),
        ("FAILED_PRECONDITION", false),
        ("ABORTED", false),
        ("OUT_OF_RANGE", false),
        ("UNIMPLEMENTED", true),
        ("INTERNAL", true),
        ("UNAVAILABLE", true),
        ("DATA_LOSS", true),
        ("UNAUTHENTICATED", false),
    ];
    for (number, (name, is_error)) in codes.into_iter().enumerate() {
        let expected = if is_error {
            Outcome::Error
        } else {
            Outcome::Ok
        };
        let digits = number.to_string();
        let number = Scalar::Int(i64::try_from(number).unwrap());
        for value in [number, text(&digits), text(name)] {
            for key in ["rpc.grpc.status_code", "rpc.response.status_code"] {
                assert_eq!(
                    outcome_of(&server_span(&[(key, value)])),
                    expected,
                    "{name} {value:?}"
                );
                let fine = SpanInput {
                    status: SpanStatus::Ok,
                    ..server_span(&[(key, value)])
                };
                assert_eq!(outcome_of(&fine), Outcome::Ok, "{name} with status OK");
            }
        }
    }
}

#[test]
fn http_codes_from_500_are_errors_of_whoever_serves() {
    for (code, expected) in [
        (100, Outcome::Ok),
        (200, Outcome::Ok),
        (404, Outcome::Ok),
        (429, Outcome::Ok),
        (499, Outcome::Ok),
        (500, Outcome::Error),
        (503, Outcome::Error),
        (599, Outcome::Error),
        (-1, Outcome::Ok),
    ] {
        for key in ["http.response.status_code", "http.status_code"] {
            let digits = code.to_string();
            for value in [Scalar::Int(code), text(&digits)] {
                let span = server_span(&[(key, value)]);
                assert_eq!(outcome_of(&span), expected, "{code}");
                let consumer = SpanInput {
                    kind: SpanKind::Consumer,
                    ..span
                };
                assert_eq!(outcome_of(&consumer), Outcome::Ok, "{code} of a consumer");
            }
        }
    }
    assert_eq!(
        outcome_of(&server_span(&[("http.status_code", text("teapot"))])),
        Outcome::Ok
    );
}

#[test]
fn the_status_of_the_span_wins_over_every_other_sign() {
    let failed = [("http.response.status_code", Scalar::Int(500))];
    for (number, pairs, expected) in [
        (0, NO_ATTRIBUTES, Outcome::Ok),
        (1, NO_ATTRIBUTES, Outcome::Ok),
        (2, NO_ATTRIBUTES, Outcome::Error),
        (3, NO_ATTRIBUTES, Outcome::Ok),
        (0, &failed[..], Outcome::Error),
        (1, &failed[..], Outcome::Ok),
    ] {
        let span = SpanInput {
            status: SpanStatus::from_otlp(number),
            ..server_span(pairs)
        };
        assert_eq!(outcome_of(&span), expected, "{number} {pairs:?}");
    }
}

#[test]
fn entry_spans_are_those_that_serve_and_internal_ones_without_a_parent() {
    let kinds = EventRules::new(&SliConfig::default()).entry_kinds;
    for (kind, as_root, as_child) in [
        (SpanKind::Unspecified, true, true),
        (SpanKind::Internal, true, false),
        (SpanKind::Server, true, true),
        (SpanKind::Client, false, false),
        (SpanKind::Producer, false, false),
        (SpanKind::Consumer, true, true),
    ] {
        assert_eq!(kinds.is_entry(kind, false), as_root, "{kind:?}");
        assert_eq!(kinds.is_entry(kind, true), as_child, "{kind:?}");
        let span = SpanInput {
            kind,
            has_parent: true,
            ..SpanInput::default()
        };
        let batch = batch_of(&ResourceAttributes::default(), &span);
        assert_eq!(batch.events.len(), usize::from(as_child), "{kind:?}");
        assert_eq!((batch.spans, batch.roots), (1, 0));
    }
    assert!(!EntryKinds::new(&[]).is_entry(SpanKind::Server, false));
}

#[test]
fn the_threshold_of_the_tracestate_is_a_weight() {
    let two_to_56 = 2.0_f64.powi(56);
    for (trace_state, expected) in [
        ("ot=th:0", Some(1.0)),
        ("ot=th:00000000000000", Some(1.0)),
        ("ot=th:8", Some(2.0)),
        ("ot=th:80000000000000", Some(2.0)),
        ("ot=th:c", Some(4.0)),
        ("ot=th:C", Some(4.0)),
        ("ot=th:fd70a3d70a3d71", Some(100.0)),
        ("ot=th:fd70a4", Some(100.0)),
        ("ot=th:ffffffffffffff", Some(two_to_56)),
        ("ot=th:fffffffffffffe", Some(two_to_56 / 2.0)),
        ("ot=rv:6e6d1a75832a2f;th:8", Some(2.0)),
        ("ot=th:8;rv:6e6d1a75832a2f", Some(2.0)),
        ("vendor=a:b,ot=th:c", Some(4.0)),
        ("vendor=th:c, ot=th:8 ,other=1", Some(2.0)),
        ("", None),
        ("vendor=th:8", None),
        ("bot=th:8", None),
        ("ot=", None),
        ("ot=rv:8", None),
        ("ot=th:", None),
        ("ot=th:g", None),
        ("ot=th:-8", None),
        ("ot=th:8 8", None),
        ("ot=th:800000000000000", None),
    ] {
        let weight = tracestate_weight(trace_state.as_bytes());
        let is_near = match (weight, expected) {
            (Some(weight), Some(expected)) => (weight / expected - 1.0).abs() < 1e-4,
            (weight, expected) => weight == expected,
        };
        assert!(is_near, "{trace_state}: {weight:?}, not {expected:?}");
    }
    assert_eq!(tracestate_weight(b"ot=th:0"), Some(1.0));
}

#[test]
fn without_a_threshold_the_configured_sampling_holds() {
    for (trace_state, sampling, expected) in [
        ("", Sampling::Full, 1.0),
        ("", Sampling::Unknown, 1.0),
        ("", Sampling::Ratio(0.25), 4.0),
        ("ot=th:8", Sampling::Ratio(0.25), 2.0),
        ("ot=th:x", Sampling::Ratio(0.25), 4.0),
        ("ot=th:ffffffffffffff", Sampling::Full, WEIGHT_MAX),
        // 1 / 5e-324 is infinite.
        ("", Sampling::Ratio(5e-324), WEIGHT_MAX),
    ] {
        let span = SpanInput {
            trace_state: trace_state.as_bytes(),
            ..SpanInput::default()
        };
        let weight = weight_of(&span, &sampling.into());
        assert!(
            (weight - expected).abs() < 1e-9,
            "{trace_state} {sampling:?}: {weight}"
        );
    }
}

#[test]
fn the_sampling_of_a_service_stands_before_that_of_all() {
    let config = SliConfig {
        sampling: Sampling::Ratio(0.5),
        sampling_by_service: BTreeMap::from([("a".to_owned(), Sampling::Unknown)]),
        ..SliConfig::default()
    };
    let rules = EventRules::new(&config);
    assert_eq!(rules.sampling_of(b"a"), Sampling::Unknown);
    assert_eq!(rules.sampling_of(b"b"), Sampling::Ratio(0.5));
}

#[test]
fn whole_counts_are_right_on_average() {
    for weight in [1.0, 1.25, 2.0, 3.999, 100.5] {
        let ids = 0..20_000_u64;
        let sum: u64 = ids
            .clone()
            .map(|id| u64::from(whole_count(weight, &id.to_be_bytes())))
            .sum();
        let mean = sum as f64 / ids.count() as f64;
        // Four standard errors of a coin at its worst.
        assert!(
            (mean - weight).abs() < 4.0 * 0.5 / 20_000_f64.sqrt(),
            "{mean} for {weight}"
        );
    }
    assert_eq!(whole_count(f64::INFINITY, &[]), u32::MAX);
    assert_eq!(whole_count(WEIGHT_MAX, &[1]), u32::MAX);
}

proptest! {
    #[test]
    fn property_a_whole_count_is_its_weight_rounded_up_or_down(
        weight in 1.0..1e6_f64,
        span_id: [u8; 8],
    ) {
        let count = f64::from(whole_count(weight, &span_id));
        prop_assert!((count - weight).abs() < 1.0, "{}", count);
    }

    #[test]
    fn property_no_tracestate_gives_a_weight_below_one_or_none_at_all(
        trace_state in prop_oneof!["ot=th:[0-9a-f]{0,16}", "[ot=th:;,0-9a-f ]{0,30}"],
    ) {
        if let Some(weight) = tracestate_weight(trace_state.as_bytes()) {
            prop_assert!(weight >= 1.0 && weight.is_finite(), "{}", weight);
        }
    }

    /// A checkpoint finds a series by its key, an event by its bytes.
    #[test]
    fn property_the_ids_of_an_event_are_those_of_its_keys(
        service in prop::collection::vec(any::<u8>(), 0..6),
        name in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..12),
            "[é€😀]{80,130}".prop_map(String::into_bytes),
        ],
    ) {
        let mut resource = ResourceAttributes::default();
        resource.set(b"service.name", Scalar::Text(&service), b"service.version");
        resource.set(b"deployment.environment", Scalar::Text(&name), b"service.version");
        resource.set(b"service.version", Scalar::Text(&name), b"service.version");
        let span = SpanInput { name: &name, ..server_span(&[]) };
        let batch = batch_of(&resource, &span);
        let (resource, event) = (batch.resources[0], batch.events[0]);
        let key = ServiceKey {
            namespace: "".into(),
            environment: batch.text(resource.environment).into(),
            name: batch.text(resource.service).into(),
        };
        prop_assert_eq!(resource.service_hash, key.hash());
        let operation = template(batch.bytes(event.operation));
        let series = crate::model::series::SeriesKey::operation(key, &operation, SpanKind::Server);
        prop_assert_eq!(event.series, series.id());
        let version = batch.text(resource.version);
        prop_assert_eq!(batch.bytes(resource.version), version.as_bytes());
    }
}

#[test]
fn resources_are_read_by_old_and_new_keys() {
    let mut resource = ResourceAttributes::default();
    resource.set(b"deployment.environment", text("old"), b"service.version");
    resource.set(b"service.namespace", text("shop"), b"service.version");
    let batch = batch_of(&resource, &server_span(&[]));
    assert_eq!(batch.text(batch.resources[0].environment), "old");
    assert_eq!(batch.text(batch.resources[0].namespace), "shop");
    assert_eq!(batch.text(batch.resources[0].service), UNKNOWN_SERVICE);
    resource.set(
        b"deployment.environment.name",
        text("new"),
        b"service.version",
    );
    resource.set(b"service.name", text(""), b"service.version");
    let batch = batch_of(&resource, &server_span(&[]));
    assert_eq!(batch.text(batch.resources[0].environment), "new");
    assert_eq!(batch.text(batch.resources[0].service), UNKNOWN_SERVICE);
}

#[test]
fn a_span_that_ends_before_it_starts_is_rejected_and_the_longest_one_is_not() {
    let backwards = SpanInput {
        start: 1,
        end: 0,
        ..server_span(&[])
    };
    let batch = batch_of(&ResourceAttributes::default(), &backwards);
    assert_eq!(
        (batch.spans, batch.rejected, batch.events.len()),
        (0, [1, 0], 0)
    );
    let endless = SpanInput {
        start: 0,
        end: u64::MAX,
        ..server_span(&[])
    };
    let batch = batch_of(&ResourceAttributes::default(), &endless);
    assert_eq!(batch.events[0].duration_nanos, u64::MAX);
}
