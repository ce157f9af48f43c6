//! Patched requests against their decoded form.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const NOW: UnixNanos = 1_800_000_000 * NANOS_PER_SEC;

fn shape(spans_per_request: usize, attributes: usize, series: usize) -> BatchShape {
    BatchShape {
        spans_per_request,
        attributes,
        series,
        ..BatchShape::default()
    }
}

fn patched(template: &BatchTemplate, variation: &Variation, seed: u64) -> Vec<(String, Span)> {
    let mut buffer = template.encoded().to_vec();
    template.patch(&mut buffer, variation, seed, NOW);
    decoded(&buffer)
}

/// The spans of a request with the name of their service.
fn decoded(encoded: &[u8]) -> Vec<(String, Span)> {
    let request = ExportTraceServiceRequest::decode(encoded).unwrap();
    let mut spans = Vec::new();
    for resource_spans in request.resource_spans {
        let attributes = resource_spans.resource.unwrap().attributes;
        let name = attributes
            .iter()
            .find(|attribute| attribute.key == "service.name")
            .map(|attribute| format!("{:?}", attribute.value))
            .unwrap();
        for scope in resource_spans.scope_spans {
            spans.extend(scope.spans.into_iter().map(|span| (name.clone(), span)));
        }
    }
    spans
}

fn is_error(span: &Span) -> bool {
    span.status.as_ref().unwrap().code() == StatusCode::Error
}

#[test]
fn a_patched_request_decodes_to_valid_and_distinct_spans() {
    let template = BatchTemplate::new(&shape(250, 10, 80), 0);
    let spans = patched(&template, &Variation::new(0.0, 1), 9);
    assert_eq!(spans.len(), 250);
    let trace_ids: BTreeSet<&[u8]> = spans.iter().map(|(_, s)| s.trace_id.as_slice()).collect();
    let span_ids: BTreeSet<&[u8]> = spans.iter().map(|(_, s)| s.span_id.as_slice()).collect();
    assert_eq!((trace_ids.len(), span_ids.len()), (250, 250));
    for (_, span) in &spans {
        assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
        assert!(span.end_time_unix_nano <= NOW);
        assert!(span.end_time_unix_nano > NOW - NANOS_PER_SEC);
        let millis = (span.end_time_unix_nano - span.start_time_unix_nano) / 1_000_000;
        assert!((1..=2_000).contains(&millis), "{millis} ms");
        assert_eq!(span.kind(), SpanKind::Server);
        assert_eq!(span.attributes.len(), 10);
        assert!(!is_error(span));
    }
}

#[test]
fn patching_changes_nothing_but_ids_times_and_outcome() {
    let template = BatchTemplate::new(&shape(50, 12, 80), 0);
    let before = decoded(template.encoded());
    let after = patched(&template, &Variation::new(1.0, 1), 9);
    for ((service, mut before), (same_service, after)) in before.into_iter().zip(after) {
        assert_eq!(service, same_service);
        before.trace_id.clone_from(&after.trace_id);
        before.span_id.clone_from(&after.span_id);
        before.start_time_unix_nano = after.start_time_unix_nano;
        before.end_time_unix_nano = after.end_time_unix_nano;
        for attribute in &mut before.attributes {
            if attribute.key == "http.response.status_code" {
                *attribute = int("http.response.status_code", 500);
            }
        }
        assert_eq!(before, after);
    }
}

#[test]
fn a_second_patch_of_the_same_buffer_replaces_the_first() {
    let template = BatchTemplate::new(&shape(20, 10, 80), 0);
    let mut buffer = template.encoded().to_vec();
    template.patch(&mut buffer, &Variation::new(1.0, 1), 9, NOW);
    template.patch(&mut buffer, &Variation::new(0.0, 1), 10, NOW);
    assert_eq!(
        decoded(&buffer),
        patched(&template, &Variation::new(0.0, 1), 10)
    );
}

#[test]
fn a_span_with_10_attributes_takes_about_476_bytes() {
    let template = BatchTemplate::new(&shape(500, 10, 80), 0);
    let bytes = template.encoded().len() as f64 / 500.0;
    assert!((466.0..486.0).contains(&bytes), "{bytes} bytes a span");
}

#[test]
fn the_series_come_up_evenly_and_no_service_has_more_than_20_operations() {
    for (spans_per_request, series) in [(100, 80), (50, 80), (500, 1_000), (7, 1)] {
        let templates = BatchTemplate::covering(&shape(spans_per_request, 3, series));
        let variation = Variation::new(0.0, 1);
        let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
        for (service, span) in templates.iter().flat_map(|t| patched(t, &variation, 1)) {
            *counts.entry((service, span.name)).or_default() += 1;
        }
        assert_eq!(counts.len(), series);
        let services: BTreeSet<&String> = counts.keys().map(|(service, _)| service).collect();
        assert_eq!(services.len(), series.div_ceil(OPERATIONS_PER_SERVICE));
        let (least, most) = (
            counts.values().min().unwrap(),
            counts.values().max().unwrap(),
        );
        assert!(most - least <= 1, "{least} to {most} spans a series");
    }
}

#[test]
fn the_wanted_shares_fail_and_are_entries() {
    let shape = BatchShape {
        entry_ratio: 0.25,
        ..shape(10_000, 3, 80)
    };
    let spans = patched(&BatchTemplate::new(&shape, 0), &Variation::new(0.1, 1), 3);
    let errors = spans.iter().filter(|(_, span)| is_error(span)).count();
    assert!((900..1_100).contains(&errors), "{errors} of 10 000");
    let entries = spans
        .iter()
        .filter(|(_, span)| span.kind() == SpanKind::Server);
    assert_eq!(entries.count(), 2_500);
}

#[test]
fn a_share_of_entries_still_makes_entries_of_every_series() {
    let shape = BatchShape {
        entry_ratio: 0.25,
        ..shape(100, 3, 80)
    };
    let variation = Variation::new(0.0, 1);
    let entries: BTreeSet<(String, String)> = BatchTemplate::covering(&shape)
        .iter()
        .flat_map(|template| patched(template, &variation, 1))
        .filter(|(_, span)| span.kind() == SpanKind::Server)
        .map(|(service, span)| (service, span.name))
        .collect();
    assert_eq!(entries.len(), 80);
}

#[test]
fn spans_without_attributes_still_fail_by_their_status() {
    let template = BatchTemplate::new(&shape(10, 0, 80), 0);
    let spans = patched(&template, &Variation::new(1.0, 1), 1);
    assert!(
        spans
            .iter()
            .all(|(_, span)| span.attributes.is_empty() && is_error(span))
    );
}

#[test]
fn a_buffer_of_another_request_is_left_alone() {
    let template = BatchTemplate::new(&shape(10, 10, 80), 0);
    let mut buffer = vec![0; 17];
    template.patch(&mut buffer, &Variation::new(0.0, 1), 1, NOW);
    assert_eq!(buffer, vec![0; 17]);
}
