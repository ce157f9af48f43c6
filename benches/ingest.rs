//! The way of one request, stage by stage: scanning (and prost decoding beside it), collecting events, recording them.
//!
//! `cargo bench --bench ingest`; throughput is in spans.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use slo_copilot::clock::Clock;
use slo_copilot::model::NANOS_PER_SEC;
use slo_copilot::model::batch::EventBatch;
use slo_copilot::pipeline::Pipeline;
use slo_copilot::receiver::collect::collect_protobuf;
use slo_copilot::receiver::scan::{ResourceView, SpanView, Visitor, scan};
use slo_copilot::receiver::whole::decode::Decoder;
use slo_copilot::receiver::wire::Malformed;
use slo_copilot::store::journal::Journal;
use slo_copilot::store::{self, DurabilityConfig};
use slo_copilot::trace::buffer::raw::{Encoding, Origin, RawSpan};
use slo_copilot::trace::buffer::{self, TraceBuffer};
use slo_copilot::trace::sampling::Randomness;
use slo_copilot::traffic::batch::BatchShape;
use slo_copilot::traffic::workload::Workload;
use slo_copilot::window::Windows;
use slo_copilot::window::event::{EventRules, OperationScratch};
use slo_copilot::window::settings::{SliConfig, WindowsConfig};

const NOW: u64 = 1_790_000_000 * NANOS_PER_SEC;

/// Requests of 500 spans with 10 attributes each, over this many series.
fn requests(spans_per_request: usize, series: usize, count: u64) -> Vec<Vec<u8>> {
    let shape = BatchShape {
        spans_per_request,
        series,
        ..BatchShape::default()
    };
    let workload = Workload::batch(shape, 7);
    (0..count)
        .map(|number| {
            workload
                .request(number, spans_per_request, NOW)
                .body
                .to_vec()
        })
        .collect()
}

struct Count(u64);

impl<'a> Visitor<'a> for Count {
    fn resource(&mut self, resource: ResourceView<'a>) -> Result<(), Malformed> {
        black_box(resource);
        Ok(())
    }

    fn span(&mut self, span: &SpanView<'a>) -> Result<(), Malformed> {
        black_box(span);
        self.0 += 1;
        Ok(())
    }
}

fn scanning(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scan");
    group.throughput(Throughput::Elements(500));
    let request = requests(500, 80, 1).remove(0);
    group.bench_function("views", |bencher| {
        bencher.iter(|| {
            let mut count = Count(0);
            scan(black_box(&request), &mut count).map(|()| count.0)
        });
    });
    group.bench_function("prost", |bencher| {
        bencher.iter(|| ExportTraceServiceRequest::decode(black_box(request.as_slice())));
    });
    let rules = EventRules::new(&SliConfig::default());
    let (mut batch, mut scratch) = (EventBatch::default(), OperationScratch::default());
    group.bench_function("events", |bencher| {
        bencher.iter(|| collect_protobuf(black_box(&request), &rules, &mut batch, &mut scratch));
    });
    group.finish();
}

fn recording(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("record");
    group.throughput(Throughput::Elements(500));
    let rules = EventRules::new(&SliConfig::default());
    let mut scratch = OperationScratch::default();
    for series in [80, 10_000] {
        let config = WindowsConfig {
            max_series: 20_000,
            ..WindowsConfig::default()
        };
        let windows = Windows::new(config, &SliConfig::default());
        let mut batches: Vec<EventBatch> = requests(500, series, 64)
            .iter()
            .filter_map(|request| {
                let mut batch = EventBatch::default();
                collect_protobuf(request, &rules, &mut batch, &mut scratch)
                    .is_ok()
                    .then_some(batch)
            })
            .collect();
        let mut number = 0;
        group.bench_function(BenchmarkId::from_parameter(series), |bencher| {
            bencher.iter(|| {
                number = (number + 1) % batches.len();
                batches
                    .get_mut(number)
                    .map(|batch| windows.record(batch, NOW))
            });
        });
    }
    group.finish();
}

/// A whole request as a receiver takes it, without and with a trace buffer that keeps as few of so many traces as it does
/// under full load.
fn keeping(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request");
    group.throughput(Throughput::Elements(500));
    let requests = requests(500, 80, 64);
    for is_kept in [false, true] {
        let rules = EventRules::new(&SliConfig::default());
        let traces = is_kept.then(|| {
            let decoder = Box::new(Decoder::new(rules.clone()));
            Arc::new(TraceBuffer::new(&buffer::Config::default(), decoder))
        });
        if let Some(traces) = &traces {
            fill(traces, 400_000);
        }
        let windows = Windows::new(WindowsConfig::default(), &SliConfig::default());
        let pipeline = Pipeline::new(Arc::new(windows), rules, Clock::manual(NOW));
        let pipeline = pipeline.with_traces(traces);
        let mut number = 0;
        let name = if is_kept {
            "with a trace buffer"
        } else {
            "without"
        };
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                number = (number + 1) % requests.len();
                let request = requests.get(number).map(Vec::as_slice).unwrap_or_default();
                pipeline.consume(|rules, batch, scratch| {
                    collect_protobuf(black_box(request), rules, batch, scratch)
                })
            });
        });
    }
    group.finish();
}

/// A whole request, held up for checkpoints or logged besides. The log's bound is met on the way, so it has one that is not.
fn journaling(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("journal");
    group.throughput(Throughput::Elements(500));
    for series in [80, 10_000] {
        let requests = requests(500, series, 64);
        for durability in [
            DurabilityConfig::None,
            DurabilityConfig::Checkpoint,
            DurabilityConfig::Wal,
        ] {
            let Ok(dir) = tempfile::tempdir() else {
                return;
            };
            let storage = store::Config {
                dir: dir.path().to_owned(),
                durability,
                wal_max_bytes: u64::MAX,
                ..store::Config::default()
            };
            let config = WindowsConfig {
                max_series: 20_000,
                ..WindowsConfig::default()
            };
            let rules = EventRules::new(&SliConfig::default());
            let windows = Windows::new(config, &SliConfig::default());
            let pipeline = Pipeline::new(Arc::new(windows), rules, Clock::manual(NOW));
            let journal = Journal::open(&storage, 0).map(Arc::new);
            let pipeline = pipeline.with_journal(journal);
            let mut number = 0;
            let name = BenchmarkId::new(format!("{durability:?}"), series);
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    number = (number + 1) % requests.len();
                    let request = requests.get(number).map(Vec::as_slice).unwrap_or_default();
                    pipeline.consume(|rules, batch, scratch| {
                        collect_protobuf(black_box(request), rules, batch, scratch)
                    })
                });
            });
        }
    }
    group.finish();
}

/// A span of 480 bytes, of a trace that this number makes.
fn insert(traces: &TraceBuffer, number: u64) {
    let id = (u128::from(number) << 64 | u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .to_be_bytes();
    let span = RawSpan {
        trace_id: id,
        randomness: Randomness::of_trace_id(&id),
        bytes: &[b'x'; 480],
    };
    let origin = Origin {
        encoding: Encoding::Protobuf,
        resource: b"resource",
        scope: b"scope",
    };
    traces.insert(&origin, &[span; 8], NOW);
}

fn fill(traces: &TraceBuffer, count: u64) {
    for number in 0..count {
        insert(traces, number);
    }
}

/// Spans that are kept: copied into a trace of eight.
fn inserting(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("insert");
    group.throughput(Throughput::Elements(8));
    let config = buffer::Config {
        // So that all of them are kept, and the oldest go.
        retention: Duration::ZERO,
        ..buffer::Config::default()
    };
    let decoder = Decoder::new(EventRules::new(&SliConfig::default()));
    let traces = TraceBuffer::new(&config, Box::new(decoder));
    let mut number = 0;
    group.bench_function("a trace", |bencher| {
        bencher.iter(|| {
            number += 1;
            insert(&traces, number);
        });
    });
    group.finish();
}

criterion_group!(benches, scanning, recording, keeping, journaling, inserting);
criterion_main!(benches);
