//! Files of every format, whole and broken.

mod broken;
mod render;
mod whole;

use std::fs;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::span::Outcome;
use crate::receiver::file::tests::render::{packed, plain_span, render};
use crate::window::settings::SliConfig;

/// The seed's sample.
const SAMPLE: &str = r#"[
  {"traceId": "trace-1", "spanId": "span-1", "parentSpanId": null, "name": "GET /checkout",
   "startTimeUnixNano": 1710000000000000000, "endTimeUnixNano": 1710000000450000000,
   "attributes": [
     {"key": "service.name", "value": {"stringValue": "checkout-service"}},
     {"key": "http.status_code", "value": {"intValue": 200}}
   ],
   "status": {"code": "OK"}},
  {"traceId": "trace-1", "spanId": "span-2", "parentSpanId": "span-1", "name": "POST /payment",
   "startTimeUnixNano": 1710000000500000000, "endTimeUnixNano": 1710000001200000000,
   "attributes": [
     {"key": "service.name", "value": {"stringValue": "payment-service"}},
     {"key": "http.status_code", "value": {"intValue": 500}}
   ],
   "status": {"code": "ERROR"}}
]"#;

/// What is compared of an event.
type SeenEvent = (Vec<String>, String, u64, u64, String);

#[derive(Debug, Default)]
struct Seen {
    events: Vec<SeenEvent>,
    names: Vec<(String, String)>,
    progress: Vec<u64>,
    batches: Vec<u64>,
}

impl FileSink for Seen {
    fn batch(&mut self, batch: &mut EventBatch) {
        let mut events = batch.events.iter();
        for resource in &batch.resources {
            let service = [
                resource.service,
                resource.namespace,
                resource.environment,
                resource.version,
            ];
            let service = service.map(|text| batch.text(text).into_owned()).to_vec();
            for event in events.by_ref().take(resource.events as usize) {
                let rest = (
                    event.weight,
                    event.count,
                    event.kind,
                    event.outcome,
                    event.series,
                );
                self.events.push((
                    service.clone(),
                    batch.text(event.operation).into_owned(),
                    event.end,
                    event.duration_nanos,
                    format!("{rest:?}"),
                ));
            }
        }
        assert!(events.next().is_none(), "events without a resource");
        self.batches.push(batch.spans);
    }

    fn span_name(&mut self, service: &[u8], name: &[u8]) {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        self.names.push((text(service), text(name)));
    }

    fn progress(&mut self, bytes_read: u64) {
        self.progress.push(bytes_read);
    }
}

impl Seen {
    fn services(&self) -> Vec<&str> {
        self.events
            .iter()
            .map(|event| event.0[0].as_str())
            .collect()
    }

    fn operations(&self) -> Vec<&str> {
        self.events.iter().map(|event| event.1.as_str()).collect()
    }
}

fn try_read_with(bytes: &[u8], settings: &FileSettings) -> (Result<FileSummary, FileError>, Seen) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("traces");
    fs::write(&path, bytes).unwrap();
    let rules = EventRules::new(&SliConfig::default());
    let mut seen = Seen::default();
    let summary = read_traces(&TraceInput::file(&path), &rules, settings, &mut seen);
    (summary, seen)
}

fn read_with(bytes: &[u8], settings: &FileSettings) -> (FileSummary, Seen) {
    let (summary, seen) = try_read_with(bytes, settings);
    (summary.unwrap(), seen)
}

fn read(bytes: impl AsRef<[u8]>) -> (FileSummary, Seen) {
    read_with(bytes.as_ref(), &FileSettings::default())
}

/// A line of OTLP/JSON with these spans.
fn otlp_line(spans: &[serde_json::Value]) -> String {
    json!({"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": spans}]}]}).to_string()
}

fn server_span(name: &str) -> serde_json::Value {
    json!({"traceId": "t", "spanId": "s", "name": name, "kind": 2, "startTimeUnixNano": "1710000000000000000",
        "endTimeUnixNano": "1710000001000000000"})
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn property_every_format_says_the_same_of_the_same_spans(
        spans in prop::collection::vec(plain_span(), 2..8),
    ) {
        let rendered = render(&spans);
        let (wanted, wanted_seen) = read(&rendered[0].2);
        prop_assert_eq!(wanted.spans, spans.len() as u64);
        prop_assert_eq!(wanted_seen.names.len(), spans.len());
        for (format, layout, bytes) in rendered {
            for (packing, bytes) in packed(&bytes) {
                let (summary, seen) = read(&bytes);
                let at = format!("{} {layout} {packing}", format.label());
                prop_assert_eq!(&summary, &FileSummary { format: Some(format), ..wanted.clone() }, "{}", at);
                prop_assert_eq!(&seen.events, &wanted_seen.events, "{}", at);
                prop_assert_eq!(&seen.names, &wanted_seen.names, "{}", at);
                prop_assert_eq!(seen.progress.last(), Some(&(bytes.len() as u64)), "{}", at);
            }
        }
    }
}

#[test]
fn the_sample_of_the_seed_is_read_as_it_stands() {
    let (summary, seen) = read(SAMPLE);
    assert_eq!(summary.format, Some(TraceFormat::SpanList));
    assert_eq!(
        (summary.spans, summary.roots, summary.rejected),
        (2, 1, [0, 0])
    );
    assert_eq!(summary.findings, []);
    assert_eq!(seen.services(), ["checkout-service", "payment-service"]);
    assert_eq!(seen.operations(), ["GET /checkout", "POST /payment"]);
    assert_eq!(
        (seen.events[1].2, seen.events[1].3),
        (1_710_000_001_200_000_000, 700_000_000)
    );
    assert!(seen.events[0].4.contains(&format!("{:?}", Outcome::Ok)));
    assert!(seen.events[1].4.contains(&format!("{:?}", Outcome::Error)));
}

#[test]
fn a_file_without_anything_has_no_format() {
    for text in ["", "\n\n", "[]", "{}", "\u{feff}"] {
        let (summary, seen) = read(text);
        assert_eq!(summary, FileSummary::default(), "{text:?}");
        assert_eq!(seen.batches, [0; 0]);
    }
    let (summary, _) = read(render::gzip(b""));
    assert_eq!(summary.format, None);
}

#[test]
fn a_file_of_something_else_is_refused_with_its_beginning() {
    let (refused, _) = try_read_with(b"time,service\n1,checkout\n", &FileSettings::default());
    let message = refused.unwrap_err().to_string();
    for part in [
        "traces: begins with `time,service\\n1,checkout\\n`",
        "Zipkin v2 JSON",
        "zstd",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let missing = TraceInput::file(std::path::Path::new("/no/such/file"));
    let rules = EventRules::new(&SliConfig::default());
    let refused = read_traces(
        &missing,
        &rules,
        &FileSettings::default(),
        &mut Seen::default(),
    );
    assert!(matches!(refused, Err(FileError::Open { .. })));
}

#[test]
fn a_byte_order_mark_and_tempos_name_for_the_list_are_known() {
    let line = otlp_line(&[server_span("work")]).replace("resourceSpans", "batches");
    let (summary, seen) = read(format!("\u{feff}{line}"));
    assert_eq!(
        (summary.format, summary.spans),
        (Some(TraceFormat::OtlpJson), 1)
    );
    assert_eq!(seen.operations(), ["work"]);
}

#[test]
fn times_in_coarser_units_are_told_apart_by_their_magnitude() {
    for (start, end) in [
        (json!(1_710_000_000), json!(1_710_000_000.45)),
        (json!(1_710_000_000_000_u64), json!("1710000000450")),
        (json!("1710000000000000"), json!(1_710_000_000_450_000_u64)),
        (
            json!("2024-03-09T16:00:00Z"),
            json!("2024-03-09T16:00:00.450Z"),
        ),
    ] {
        let mut span = server_span("work");
        span["startTimeUnixNano"] = start.clone();
        span["endTimeUnixNano"] = end;
        for text in [json!([span]).to_string(), otlp_line(&[span])] {
            let (_, seen) = read(text);
            let event = &seen.events[0];
            // A fraction of seconds has 53 bits like every other number.
            assert!(
                event.2.abs_diff(1_710_000_000_450_000_000) < 200,
                "{start}: {}",
                event.2
            );
            assert!(event.3.abs_diff(450_000_000) < 200, "{start}: {}", event.3);
        }
    }
}

#[test]
fn every_way_of_writing_a_status_is_read() {
    for (status, outcome) in [
        (json!({"code": "OK"}), Outcome::Ok),
        (json!({"code": "ERROR"}), Outcome::Error),
        (json!({"code": "STATUS_CODE_ERROR"}), Outcome::Error),
        (json!({"code": 2}), Outcome::Error),
        (json!({"code": "2"}), Outcome::Error),
        (json!({"code": 1}), Outcome::Ok),
        (json!({"code": null}), Outcome::Ok),
        (json!({}), Outcome::Ok),
        (json!(null), Outcome::Ok),
    ] {
        let mut span = server_span("work");
        span["status"] = status.clone();
        let (_, seen) = read(json!([span]).to_string());
        assert!(
            seen.events[0].4.contains(&format!("{outcome:?}")),
            "{status}"
        );
    }
}

#[test]
fn the_service_of_a_span_counts_only_where_the_resource_names_none() {
    let attribute =
        |service: &str| json!([{"key": "service.name", "value": {"stringValue": service}}]);
    let mut span = server_span("work");
    span["attributes"] = attribute("of-the-span");
    let scopes = json!([{"spans": [span]}]);
    for (resource, service) in [
        (
            json!({"attributes": attribute("of-the-resource")}),
            "of-the-resource",
        ),
        (json!({"attributes": []}), "of-the-span"),
        (json!(null), "of-the-span"),
    ] {
        let document = json!({"resourceSpans": [{"resource": resource, "scopeSpans": scopes}]});
        // The resource stands behind its spans as well.
        let turned =
            format!(r#"{{"resourceSpans":[{{"scopeSpans":{scopes},"resource":{resource}}}]}}"#);
        for text in [document.to_string(), turned] {
            let (_, seen) = read(&text);
            assert_eq!(seen.services(), [service], "{text}");
            assert_eq!(seen.names[0].0, service);
        }
    }
}

#[test]
fn values_that_other_readers_refuse_are_read() {
    let mut span = server_span("work");
    span["parentSpanId"] = json!(null);
    span["events"] = json!(null);
    span["attributes"] = json!([
        {"key": "a", "value": {"doubleValue": "NaN"}},
        {"key": "http.route", "value": {"arrayValue": {}}},
        {"key": "http.method", "value": null},
        {"key": "http.method", "value": {}},
    ]);
    let (summary, seen) = read(otlp_line(&[span]));
    assert_eq!(
        (summary.spans, summary.unreadable_records),
        (1, 0),
        "{summary:?}"
    );
    assert_eq!(seen.operations(), ["work"]);
}

#[test]
fn a_span_without_an_end_is_rejected() {
    let mut unfinished = server_span("work");
    unfinished["endTimeUnixNano"] = json!(null);
    let (summary, _) = read(otlp_line(&[unfinished, server_span("work")]));
    assert_eq!((summary.spans, summary.rejected), (1, [1, 0]));
    let zipkin = json!([{"traceId": "a", "id": "b", "kind": "SERVER", "timestamp": 1_710_000_000_000_000_u64}]);
    assert_eq!(read(zipkin.to_string()).0.rejected, [1, 0]);
}

#[test]
fn the_parents_of_jaeger_and_zipkin_are_understood() {
    let span = |members: serde_json::Value| {
        let mut span = json!({"traceID": "t", "spanID": "s", "operationName": "o",
            "startTime": 1_710_000_000_000_000_u64, "duration": 5,
            "process": {"serviceName": "inline"}});
        span.as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        span
    };
    for (members, roots) in [
        (json!({}), 1),
        (json!({"parentSpanID": "p"}), 0),
        (json!({"parentSpanID": "0"}), 1),
        (json!({"references": null}), 1),
        (
            json!({"references": [{"refType": "FOLLOWS_FROM", "traceID": "t", "spanID": "p"}]}),
            0,
        ),
        (
            json!({"references": [{"refType": "FOLLOWS_FROM", "traceID": "other", "spanID": "p"}]}),
            1,
        ),
    ] {
        let document =
            json!({"data": [{"traceID": "t", "spans": [span(members.clone())]}], "errors": null});
        let (summary, seen) = read(document.to_string());
        assert_eq!((summary.spans, summary.roots), (1, roots), "{members}");
        assert_eq!(seen.services(), ["inline"]);
    }
    for (shared, roots) in [(json!(null), 1), (json!(false), 1), (json!(true), 0)] {
        let span = json!({"traceId": "a", "id": "b", "shared": shared, "kind": "SERVER",
            "timestamp": 1_710_000_000_000_000_u64, "duration": 5});
        assert_eq!(read(json!([span]).to_string()).0.roots, roots);
    }
}

#[test]
fn metrics_and_logs_between_the_spans_are_passed_over() {
    let spans = otlp_line(&[server_span("work")]);
    let text =
        format!("{{\"resourceMetrics\":[{{}}]}}\n{spans}\n{{\"resourceLogs\":[]}}\n{spans}\n");
    let (summary, _) = read(text);
    assert_eq!((summary.spans, summary.unreadable_records), (2, 0));
}

#[test]
fn batches_are_bounded_however_long_a_record_is() {
    let spans = vec![server_span("work"); 20_000];
    for text in [otlp_line(&spans), json!(spans).to_string()] {
        let (summary, seen) = read(text);
        assert_eq!((summary.spans, seen.events.len()), (20_000, 20_000));
        assert_eq!(seen.batches, [8_192, 8_192, 3_616]);
    }
    let mut long = server_span("work");
    long["name"] = json!("x".repeat(600_000));
    let (_, seen) = read(otlp_line(&vec![long; 4]));
    assert_eq!(seen.batches, [2, 2]);
}
