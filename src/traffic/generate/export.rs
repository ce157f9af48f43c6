//! From traces to export requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use crate::traffic::generate::{Reporter, Trace};

const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.45.0";

/// Packs `traces` into requests as a collector would: in order, each full to `max_spans` (at least 1) but the
/// last, spans grouped by who reports them. Lazy, so that weeks of traces never stand in memory at once.
pub fn export_requests<I>(
    traces: I,
    max_spans: usize,
) -> impl Iterator<Item = ExportTraceServiceRequest>
where
    I: IntoIterator<Item = Trace>,
{
    let max_spans = max_spans.max(1);
    let mut spans = traces.into_iter().flat_map(Trace::into_spans).peekable();
    std::iter::from_fn(move || {
        spans.peek()?;
        Some(export_request(spans.by_ref().take(max_spans)))
    })
}

/// One request with all of `spans`, grouped by who reports them.
pub fn export_request(
    spans: impl IntoIterator<Item = (Arc<Reporter>, Span)>,
) -> ExportTraceServiceRequest {
    let mut by_reporter: BTreeMap<usize, (Arc<Reporter>, Vec<Span>)> = BTreeMap::new();
    for (reporter, span) in spans {
        let group = by_reporter
            .entry(reporter.index)
            .or_insert((reporter, Vec::new()));
        group.1.push(span);
    }
    let groups = by_reporter.into_values();
    ExportTraceServiceRequest {
        resource_spans: groups
            .map(|(reporter, spans)| resource_spans(&reporter, spans))
            .collect(),
    }
}

/// How many spans `request` carries.
pub fn span_count(request: &ExportTraceServiceRequest) -> usize {
    let resources = request.resource_spans.iter();
    let scopes = resources.flat_map(|resource| &resource.scope_spans);
    scopes.map(|scope| scope.spans.len()).sum()
}

fn resource_spans(reporter: &Reporter, spans: Vec<Span>) -> ResourceSpans {
    ResourceSpans {
        resource: Some(reporter.resource.clone()),
        scope_spans: vec![ScopeSpans {
            scope: Some(reporter.scope.clone()),
            spans,
            schema_url: SCHEMA_URL.to_owned(),
        }],
        schema_url: SCHEMA_URL.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::generate::Faults;
    use crate::traffic::shop;

    fn traces(count: u64) -> Vec<Trace> {
        let mut shop = shop::generator(1);
        let starts = (0..count).map(|second| second * 1_000_000_000);
        starts
            .map(|start| shop.trace(start, &Faults::none()))
            .collect()
    }

    #[test]
    fn every_request_but_the_last_is_full_and_no_span_is_lost() {
        let traces = traces(40);
        let total: usize = traces.iter().map(|trace| trace.spans().len()).sum();
        let counts: Vec<usize> = export_requests(traces, 64)
            .map(|request| span_count(&request))
            .collect();
        assert_eq!(counts.iter().sum::<usize>(), total);
        let (last, full) = counts.split_last().unwrap();
        assert!(full.iter().all(|count| *count == 64), "{counts:?}");
        assert!((1..=64).contains(last), "{counts:?}");
    }

    #[test]
    fn a_request_names_each_service_once() {
        let request = export_requests(traces(40), usize::MAX).next().unwrap();
        assert_eq!(request.resource_spans.len(), 6);
    }

    #[test]
    fn no_traces_make_no_request() {
        assert_eq!(export_requests(Vec::new(), 10).count(), 0);
    }

    #[test]
    fn a_limit_of_zero_means_one_span_a_request() {
        assert!(export_requests(traces(1), 0).all(|request| span_count(&request) == 1));
    }
}
