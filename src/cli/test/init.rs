//! `test init`: a first suite from observed traces.

use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use crate::cli::Usage;
use crate::cli::test::source::SourceArgs;
use crate::disk;
use crate::tracetest::infer::infer;

const EXAMPLES: &str = "\
Examples:
  slo-copilot test init --trace traces.jsonl -o shop.yaml
  slo-copilot test init --endpoint 127.0.0.1:9464 > shop.yaml

It writes what is stable in the traces: calls, numbers of spans, alike calls, latencies and errors of each root operation.
Comments say which number comes from where. Give it at least 59 traces of each root operation, and some with errors: what
errors inside do to the answer is learnt from three of a kind.";

/// Root operations without tests that are named.
const SHOWN_MAX: usize = 5;

/// Arguments of `test init`.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(super) struct InitArgs {
    #[command(flatten)]
    source: SourceArgs,

    /// Write the suite to this file; standard output without it.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes a suite.
pub(super) async fn run(args: &InitArgs) -> anyhow::Result<ExitCode> {
    let config = args.source.load_config()?;
    let traces = args.source.traces(&config).await?;
    let inferred = infer(&traces);
    let mut messages = stderr().lock();
    for (name, count) in inferred.left_out.iter().take(SHOWN_MAX) {
        writeln!(messages, "no test for {name}: {count} traces are too few")?;
    }
    if inferred.left_out.len() > SHOWN_MAX {
        let more = inferred.left_out.len() - SHOWN_MAX;
        writeln!(messages, "nor for {more} more root operations")?;
    }
    anyhow::ensure!(
        inferred.operations > 0,
        Usage(format!(
            "{} traces carry no test: each root operation needs 5 whole traces that are answered well, and {} traces are not whole",
            traces.len(),
            inferred.incomplete_traces
        ))
    );
    match &args.output {
        Some(path) => disk::replace(path, inferred.yaml.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?,
        None => stdout().lock().write_all(inferred.yaml.as_bytes())?,
    }
    writeln!(
        messages,
        "test init: tests of {} root operations from {} traces",
        inferred.operations,
        traces.len()
    )?;
    Ok(ExitCode::SUCCESS)
}
