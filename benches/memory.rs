//! Resident memory of a series whose windows are all warm: thirty days of events at two rates.
//!
//! `cargo bench --bench memory`; prints bytes a series. No criterion: one measurement says it.

use std::io::Write;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal};
use slo_copilot::model::NANOS_PER_SEC;
use slo_copilot::model::batch::EventBatch;
use slo_copilot::model::span::SpanKind;
use slo_copilot::receiver::whole::decode::Decoder;
use slo_copilot::trace::buffer::raw::{Encoding, Origin, RawSpan};
use slo_copilot::trace::buffer::{self, TraceBuffer};
use slo_copilot::trace::sampling::Randomness;
use slo_copilot::window::Windows;
use slo_copilot::window::event::{
    EntryKinds, EventRules, OperationScratch, ResourceAttributes, Sampling, Scalar, SpanInput,
    push_resource, push_span,
};
use slo_copilot::window::settings::{SliConfig, WindowsConfig};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW_SECS: u64 = 1_790_000_000;
const DAYS: u64 = 30;

fn main() {
    // Nothing is given back between the measurements.
    let mut kept = Vec::new();
    for (series, events_per_sec) in [(1_000, 0.01), (100, 1.0)] {
        let before = resident_bytes();
        let windows = fill(series, events_per_sec);
        let bytes = resident_bytes().saturating_sub(before);
        let line = format!(
            "{events_per_sec} events/s, {DAYS} days: {:.1} KiB a series ({series} series, {} held)",
            bytes as f64 / series as f64 / 1024.0,
            windows.usage().held
        );
        drop(writeln!(std::io::stdout(), "{line}"));
        kept.push(windows);
    }
    trace_buffer();
}

/// A trace buffer of the default size under far more traces than it holds: eight spans of 480 bytes each.
fn trace_buffer() {
    let before = resident_bytes();
    let decoder = Decoder::new(EventRules::new(&SliConfig::default()));
    let traces = TraceBuffer::new(&buffer::Config::default(), Box::new(decoder));
    let origin = Origin {
        encoding: Encoding::Protobuf,
        resource: b"resource",
        scope: b"scope",
    };
    for number in 0..500_000_u64 {
        let id = u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes();
        let span = RawSpan {
            trace_id: id,
            randomness: Randomness::of_trace_id(&id),
            bytes: &[b'x'; 480],
        };
        traces.insert(&origin, &[span; 8], NOW_SECS * NANOS_PER_SEC);
    }
    let counts = traces.counts();
    let mebibytes = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    let line = format!(
        "trace buffer: {:.1} MiB resident, {:.1} MiB counted, {} traces held, {} of all kept",
        mebibytes(resident_bytes().saturating_sub(before)),
        mebibytes(counts.bytes),
        counts.held_traces,
        counts.sampled_ratio
    );
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// Events of each series at this rate, lognormal around 50 ms, in steps of an hour with a tick after each.
fn fill(series: usize, events_per_sec: f64) -> Windows {
    let config = WindowsConfig {
        max_operations_per_service: u32::MAX,
        history_operations_per_service: 0,
        ..WindowsConfig::default()
    };
    let windows = Windows::new(config, &SliConfig::default());
    let mut rng = StdRng::seed_from_u64(7);
    let Ok(latency) = LogNormal::new(0.05_f64.ln(), 0.6) else {
        return windows;
    };
    let kinds = EntryKinds::new(&[SpanKind::Server]);
    let (mut batch, mut scratch) = (EventBatch::default(), OperationScratch::default());
    let names: Vec<String> = (0..series).map(|number| format!("op{number}")).collect();
    let mut resource = ResourceAttributes::default();
    resource.set(
        b"service.name",
        Scalar::Text(b"service"),
        b"service.version",
    );
    let step_secs = if events_per_sec < 0.1 { 3_600 } else { 60 };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small count"
    )]
    let events = (events_per_sec * step_secs as f64).round() as u64;
    for step in (0..DAYS * 86_400 / step_secs).rev() {
        let start_secs = NOW_SECS - (step + 1) * step_secs;
        let mut times: Vec<u64> = (0..events)
            .map(|_| rng.random_range(0..step_secs * NANOS_PER_SEC))
            .collect();
        times.sort_unstable();
        for at in times {
            let end = start_secs * NANOS_PER_SEC + at;
            batch.clear();
            push_resource(&mut batch, &mut scratch, &resource);
            for name in &names {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "seconds"
                )]
                let duration = (latency.sample(&mut rng) * NANOS_PER_SEC as f64) as u64;
                let span = SpanInput {
                    name: name.as_bytes(),
                    kind: SpanKind::Server,
                    start: end - duration,
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
            windows.record(&mut batch, end);
        }
        let now = (start_secs + step_secs) * NANOS_PER_SEC;
        windows.maintain(now);
        drop(windows.take_history());
    }
    windows
}

fn resident_bytes() -> usize {
    memory_stats::memory_stats().map_or(0, |usage| usage.physical_mem)
}
