//! Reading trace files into batches of events, without what comes after.
//!
//! `cargo bench --bench files`; throughput is in spans. The figures of the targets are `otlp-json-lines/10 attributes` and
//! `otlp-json-lines/no attributes`.

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use slo_copilot::model::NANOS_PER_SEC;
use slo_copilot::model::batch::EventBatch;
use slo_copilot::receiver::file::{FileSettings, FileSink, TraceInput, read_traces};
use slo_copilot::traffic::batch::BatchShape;
use slo_copilot::traffic::workload::Workload;
use slo_copilot::window::event::EventRules;
use slo_copilot::window::settings::SliConfig;

const NOW: u64 = 1_790_000_000 * NANOS_PER_SEC;
const SPANS_PER_REQUEST: usize = 500;
const REQUESTS: u64 = 40;

fn requests(attributes: usize) -> impl Iterator<Item = ExportTraceServiceRequest> {
    let shape = BatchShape {
        spans_per_request: SPANS_PER_REQUEST,
        attributes,
        ..BatchShape::default()
    };
    let workload = Workload::batch(shape, 7);
    let encoded =
        (0..REQUESTS).map(move |number| workload.request(number, SPANS_PER_REQUEST, NOW).body);
    encoded.filter_map(|request| ExportTraceServiceRequest::decode(request).ok())
}

fn attributes_json(attributes: &[KeyValue]) -> String {
    let values = attributes.iter().filter_map(|attribute| {
        let value = match attribute.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => format!(r#"{{"stringValue":"{text}"}}"#),
            Value::IntValue(number) => format!(r#"{{"intValue":"{number}"}}"#),
            Value::BoolValue(_)
            | Value::DoubleValue(_)
            | Value::ArrayValue(_)
            | Value::KvlistValue(_)
            | Value::BytesValue(_)
            | Value::StringValueStrindex(_) => return None,
        };
        Some(format!(r#"{{"key":"{}","value":{value}}}"#, attribute.key))
    });
    values.collect::<Vec<_>>().join(",")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").ok();
        text
    })
}

/// As the Collector writes it.
fn span_json(span: &Span) -> String {
    format!(
        r#"{{"traceId":"{}","spanId":"{}","parentSpanId":"{}","flags":{},"name":"{}","kind":{},"startTimeUnixNano":"{}","endTimeUnixNano":"{}","attributes":[{}],"status":{{"code":{}}}}}"#,
        hex(&span.trace_id),
        hex(&span.span_id),
        hex(&span.parent_span_id),
        span.flags,
        span.name,
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        attributes_json(&span.attributes),
        span.status.as_ref().map_or(0, |status| status.code),
    )
}

fn request_json(request: &ExportTraceServiceRequest) -> String {
    let resources = request.resource_spans.iter().map(|resource_spans| {
        let attributes = resource_spans.resource.iter().flat_map(|held| &held.attributes);
        let attributes = attributes_json(&attributes.cloned().collect::<Vec<_>>());
        let spans = resource_spans.scope_spans.iter().flat_map(|scope| &scope.spans);
        let spans = spans.map(span_json).collect::<Vec<_>>().join(",");
        format!(
            r#"{{"resource":{{"attributes":[{attributes}]}},"scopeSpans":[{{"scope":{{}},"spans":[{spans}]}}]}}"#
        )
    });
    format!(
        r#"{{"resourceSpans":[{}]}}"#,
        resources.collect::<Vec<_>>().join(",")
    )
}

#[derive(Default)]
struct Count(u64);

impl FileSink for Count {
    fn batch(&mut self, batch: &mut EventBatch) {
        self.0 += black_box(batch.events.len()) as u64;
    }
}

fn write_lines(path: &Path, attributes: usize) -> io::Result<()> {
    let mut file = io::BufWriter::new(fs::File::create(path)?);
    for request in requests(attributes) {
        writeln!(file, "{}", request_json(&request))?;
    }
    file.flush()
}

/// One document, as a list of the spans.
fn write_list(path: &Path, attributes: usize) -> io::Result<()> {
    let mut file = io::BufWriter::new(fs::File::create(path)?);
    let spans = requests(attributes).flat_map(|request| request.resource_spans);
    let spans = spans
        .flat_map(|resource| resource.scope_spans)
        .flat_map(|scope| scope.spans);
    let spans: Vec<String> = spans.map(|span| span_json(&span)).collect();
    writeln!(file, "[{}]", spans.join(","))?;
    file.flush()
}

fn write_messages(path: &Path, attributes: usize) -> io::Result<()> {
    let messages = requests(attributes).map(|request| request.encode_length_delimited_to_vec());
    fs::write(path, messages.collect::<Vec<_>>().concat())
}

fn write_gzip(path: &Path, attributes: usize) -> io::Result<()> {
    let plain = path.with_extension("plain");
    write_lines(&plain, attributes)?;
    let file = fs::File::create(path)?;
    let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::default());
    io::copy(&mut fs::File::open(plain)?, &mut encoder)?;
    encoder.finish().map(|_| ())
}

type WriteFile = fn(&Path, usize) -> io::Result<()>;

const FILES: [(&str, WriteFile); 4] = [
    ("otlp-json-lines", write_lines),
    ("otlp-json-lines-gzip", write_gzip),
    ("span-list", write_list),
    ("otlp-protobuf", write_messages),
];

fn reading(criterion: &mut Criterion) {
    let Ok(folder) = tempfile::tempdir() else {
        return;
    };
    let rules = EventRules::new(&SliConfig::default());
    let settings = FileSettings::default();
    for (name, write) in FILES {
        let mut group = criterion.benchmark_group(name);
        group.sample_size(20);
        group.throughput(Throughput::Elements(SPANS_PER_REQUEST as u64 * REQUESTS));
        for (label, attributes) in [("10 attributes", 10), ("no attributes", 0)] {
            let path = folder.path().join(label);
            if write(&path, attributes).is_err() {
                continue;
            }
            let input = TraceInput::file(&path);
            group.bench_function(label, |bencher| {
                bencher.iter(|| {
                    let mut count = Count::default();
                    read_traces(&input, &rules, &settings, &mut count).map(|_| count.0)
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, reading);
criterion_main!(benches);
