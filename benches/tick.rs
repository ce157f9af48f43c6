//! One evaluation with 10 000 series and as many objectives: the objectives alone, and everything with the metrics page.
//!
//! `cargo bench --bench tick`

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use slo_copilot::evaluator::{Config, Evaluator};
use slo_copilot::exporter::prometheus;
use slo_copilot::model::NANOS_PER_SEC;
use slo_copilot::model::batch::EventBatch;
use slo_copilot::model::report::OutputScope;
use slo_copilot::model::slo::{Objective, Sli};
use slo_copilot::model::span::SpanKind;
use slo_copilot::window::Windows;
use slo_copilot::window::event::{
    EntryKinds, OperationScratch, ResourceAttributes, Sampling, Scalar, SpanInput, push_resource,
    push_span,
};
use slo_copilot::window::settings::{SliConfig, WindowsConfig};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW: u64 = 1_790_000_000 * NANOS_PER_SEC;
const SERVICES: usize = 100;
const OPERATIONS: usize = 100;

/// 10 000 operations with an objective each and some days of events.
fn windows() -> Windows {
    let config = WindowsConfig {
        max_series: 20_000,
        ..WindowsConfig::default()
    };
    let windows = Windows::new(config, &SliConfig::default());
    for service in 0..SERVICES {
        for operation in 0..OPERATIONS {
            let name = format!("availability-{service}-{operation}");
            let service = format!("service-{service}");
            let objective = Objective {
                operation: Some(format!("op{operation}")),
                ..Objective::new(&name, &service, Sli::Availability, 0.999)
            };
            windows.adopt(&Arc::new(objective), NOW);
        }
    }
    let kinds = EntryKinds::new(&[SpanKind::Server]);
    let (mut batch, mut scratch) = (EventBatch::default(), OperationScratch::default());
    for hour in (0..72).rev() {
        batch.clear();
        for service in 0..SERVICES {
            let name = format!("service-{service}");
            let mut resource = ResourceAttributes::default();
            resource.set(
                b"service.name",
                Scalar::Text(name.as_bytes()),
                b"service.version",
            );
            push_resource(&mut batch, &mut scratch, &resource);
            for operation in 0..OPERATIONS {
                let name = format!("op{operation}");
                let end = NOW - hour * 3_600 * NANOS_PER_SEC;
                let span = SpanInput {
                    name: name.as_bytes(),
                    kind: SpanKind::Server,
                    start: end - 1_000_000 * (1 + operation as u64),
                    end,
                    ..SpanInput::default()
                };
                push_span(
                    &mut batch,
                    &mut scratch,
                    &span,
                    kinds,
                    &Sampling::Full.into(),
                );
            }
        }
        windows.record(&mut batch, NOW);
    }
    windows
}

fn tick(criterion: &mut Criterion) {
    let windows = windows();
    let config = Config::default();
    let mut evaluator = Evaluator::new(config.clone(), OutputScope::Instance);
    let mut group = criterion.benchmark_group("tick");
    group.sample_size(20);
    group.bench_function("objectives", |bencher| {
        bencher.iter(|| {
            let snapshot = slo_copilot::window::snapshot::Snapshot {
                now: NOW,
                objectives: windows.objectives(NOW),
                ..Default::default()
            };
            evaluator.statuses(&snapshot).len()
        });
    });
    group.bench_function("maintain", |bencher| bencher.iter(|| windows.maintain(NOW)));
    group.bench_function("report", |bencher| {
        bencher.iter(|| {
            let snapshot = windows.snapshot(NOW, config.report_operations_per_service);
            evaluator.evaluate(snapshot, Vec::new(), 0).services.len()
        });
    });
    let snapshot = windows.snapshot(NOW, config.report_operations_per_service);
    let report = evaluator.evaluate(snapshot, Vec::new(), 0);
    group.bench_function("metrics_page", |bencher| {
        bencher.iter(|| prometheus::render(&report).len());
    });
    group.finish();
}

criterion_group!(benches, tick);
criterion_main!(benches);
