//! Traffic into files, and models out of files.

use std::io::{Write, stderr, stdout};
use std::path::Path;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use crate::cli::Usage;
use crate::cli::loadgen::source::ModelArgs;
use crate::cli::traces::{read_each, show_findings};
use crate::config::Config;
use crate::disk;
use crate::model::UnixNanos;
use crate::receiver::file::find_inputs;
use crate::service::whole_traces::WholeTraces;
use crate::traffic::generate::{Faults, export_requests};
use crate::traffic::learn::{Learned, Learner, Limits};
use crate::traffic::write::TraceFile;

/// Writes the traffic of a model into a file. Event time goes as fast as the processor can.
pub(super) fn write(
    args: &ModelArgs,
    path: &Path,
    (seed, spans_per_request): (u64, usize),
    now: UnixNanos,
) -> anyhow::Result<()> {
    let mut generator = args.generator(seed)?;
    let start = args.starts_at(now)?;
    let lasts = u64::try_from(args.lasts().as_nanos()).unwrap_or(u64::MAX);
    let end = start.saturating_add(lasts);
    let mut file = TraceFile::create(path)?;
    let bar = ProgressBar::new(args.lasts().as_secs());
    // The template is a constant, and a wrong one only costs the looks.
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {percent} % {msg}, {eta} left") {
        bar.set_style(style);
    }
    let began = Instant::now();
    let mut traces = 0_u64;
    let faults = Faults::none();
    let visits = generator.scheduled(start..end, start, args.scale, &faults);
    let counted = visits.inspect(|_| traces += 1);
    for request in export_requests(counted, spans_per_request) {
        file.write(&request)?;
        let written = file.written();
        if written.requests.is_multiple_of(64) {
            let newest = request.resource_spans.first().and_then(|resource| {
                resource
                    .scope_spans
                    .first()?
                    .spans
                    .first()
                    .map(|span| span.start_time_unix_nano)
            });
            bar.set_position(newest.unwrap_or(start).saturating_sub(start) / 1_000_000_000);
            bar.set_message(format!("{} spans", written.spans));
        }
    }
    let written = file.finish()?;
    bar.finish_and_clear();
    let secs = began.elapsed().as_secs_f64().max(1e-9);
    let memory = memory_stats::memory_stats().map_or(0, |stats| stats.physical_mem >> 20);
    writeln!(
        stderr().lock(),
        "{traces} traces, {} spans in {secs:.1} s: {:.0} traces and {:.0} spans a second, {memory} MiB of memory; {}",
        written.spans,
        traces as f64 / secs,
        written.spans as f64 / secs,
        path.display()
    )?;
    if generator.left_out() > 0 {
        writeln!(
            stderr().lock(),
            "warning: {} steps were left out, their traces had max_spans_per_trace already",
            generator.left_out()
        )?;
    }
    Ok(())
}

/// Learns a model from trace files.
pub(super) fn learn(args: &ModelArgs) -> anyhow::Result<()> {
    let config = Config::load(None, std::env::vars(), &[])?;
    let mut whole = WholeTraces::new(&config);
    let inputs = find_inputs(&args.learn)?;
    read_each(&inputs, |input, progress| whole.read(input, progress))?;
    show_findings(whole.findings())?;
    let assembled = whole.finish();
    let mut learner = Learner::new(Limits::default());
    for trace in &assembled.traces {
        learner.observe(trace);
    }
    let learned = learner.finish(assembled.kept_ratio);
    anyhow::ensure!(
        !learned.model.load.is_empty(),
        Usage(format!(
            "nothing can be learnt from {} traces: a model needs whole traces with entry spans (kind SERVER or CONSUMER)",
            assembled.traces.len()
        ))
    );
    learned.model.check("the learnt model")?;
    let yaml = learned.model.to_yaml()?;
    match &args.model_out {
        Some(path) => disk::replace(path, yaml.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?,
        None => stdout().lock().write_all(yaml.as_bytes())?,
    }
    tell(&learned, assembled.kept_ratio)
}

fn tell(learned: &Learned, kept_ratio: f64) -> anyhow::Result<()> {
    let model = &learned.model;
    let mut err = stderr().lock();
    writeln!(
        err,
        "learnt {} services and {} operations from {} traces",
        model.services.len(),
        model
            .services
            .values()
            .map(|service| service.operations.len())
            .sum::<usize>(),
        learned.traces
    )?;
    if kept_ratio < 1.0 {
        writeln!(
            err,
            "warning: the traces take more than tests.max_trace_bytes; a fair sample of about {:.1} % of them was \
             looked at, and the rates are scaled up",
            100.0 * kept_ratio
        )?;
    }
    for (count, what) in [
        (
            learned.left_out_operations,
            "requests of operations beyond the 2000 that are told apart",
        ),
        (
            learned.left_out_ways,
            "requests that went a way beyond the 32 of their operation",
        ),
        (
            learned.skewed_calls,
            "calls whose two clocks contradict each other; the time between was halved",
        ),
    ] {
        if count > 0 {
            writeln!(err, "warning: {count} {what}")?;
        }
    }
    Ok(())
}
