//! Where the traces of tests come from: files, or a running server.

use std::collections::BTreeSet;
use std::io::{Write, stderr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::cli::Usage;
use crate::cli::test::remote::Remote;
use crate::cli::traces::{read_each, show_findings};
use crate::clock::Clock;
use crate::config::Config;
use crate::model::UnixNanos;
use crate::model::report::Verdict;
use crate::model::test_result::TestReport;
use crate::model::trace::Trace;
use crate::receiver::file::{TraceInput, find_inputs};
use crate::service::whole_traces::WholeTraces;
use crate::trace::assemble::Assembled;
use crate::tracetest::Session;

/// Time between two looks at a server.
const LOOK: Duration = Duration::from_secs(1);

/// Where traces are.
#[derive(Debug, clap::Args)]
pub struct SourceArgs {
    /// Trace files, directories or globs; `-` reads standard input. All formats that `analyze` reads.
    #[arg(long = "trace", value_name = "TRACE", num_args = 1..)]
    pub traces: Vec<String>,

    /// Admin endpoint of a running server whose trace buffer holds the traces, for example 127.0.0.1:9464.
    #[arg(long, value_name = "URL", conflicts_with = "traces")]
    pub endpoint: Option<String>,

    /// Configuration file (YAML), as `serve` takes it.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Set one configuration key; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}

impl SourceArgs {
    /// The configuration.
    pub(super) fn load_config(&self) -> anyhow::Result<Config> {
        let environment = std::env::vars();
        Ok(Config::load(
            self.config.as_deref(),
            environment,
            &self.sets,
        )?)
    }

    /// The traces that are there now.
    pub(super) async fn traces(&self, config: &Config) -> anyhow::Result<Vec<Trace>> {
        match &self.endpoint {
            Some(endpoint) => {
                let remote = Remote::new(endpoint, config)?;
                remote.new_traces(&mut BTreeSet::new()).await
            }
            None => Ok(self.files(config)?.assembled.traces),
        }
    }

    fn files(&self, config: &Config) -> anyhow::Result<ReadFiles> {
        anyhow::ensure!(
            !self.traces.is_empty(),
            Usage(
                "name at least one trace file with --trace, or a server with --endpoint".to_owned()
            )
        );
        read_and_tell(config, &find_inputs(&self.traces)?)
    }

    /// The results of tests on these traces. A server is asked again until every test is decided or the time is over.
    pub(super) async fn judge(
        &self,
        config: &Config,
        mut session: Session,
        waiting: Duration,
        clock: &Clock,
    ) -> anyhow::Result<TestReport> {
        let Some(endpoint) = &self.endpoint else {
            let files = self.files(config)?;
            let traces = files.assembled.traces;
            session.observe(&traces);
            let mut report = session.report(newest(&traces));
            if files.is_cut_off && report.verdict == Verdict::Pass {
                let said =
                    "a trace file is cut off, and what is missing may be what fails: inconclusive";
                writeln!(stderr().lock(), "{said}")?;
                report.verdict = Verdict::Inconclusive;
            }
            return Ok(report);
        };
        let remote = Remote::new(endpoint, config)?;
        let deadline = Instant::now() + waiting;
        let (mut known, mut held) = (BTreeSet::new(), Vec::<String>::new());
        loop {
            let mut traces = remote.new_traces(&mut known).await?;
            for id in std::mem::take(&mut held) {
                traces.extend(remote.trace(&id).await?);
            }
            let is_last = Instant::now() >= deadline;
            let now = clock.now();
            if !is_last {
                traces.retain(|trace| {
                    let is_awaited = session.awaits(trace, now);
                    held.extend(is_awaited.then(|| trace.trace_id.to_string()));
                    !is_awaited
                });
            }
            session.observe(&traces);
            if is_last || (held.is_empty() && session.is_decided(now)) {
                return Ok(session.report(now));
            }
            sleep(LOOK.min(deadline.saturating_duration_since(Instant::now()))).await;
        }
    }
}

/// The whole traces of files; says on standard error what is not there.
pub(crate) fn read_files(config: &Config, inputs: &[TraceInput]) -> anyhow::Result<Vec<Trace>> {
    Ok(assemble_files(config, inputs)?.traces)
}

/// The same with the share of them that is there.
pub(crate) fn assemble_files(config: &Config, inputs: &[TraceInput]) -> anyhow::Result<Assembled> {
    Ok(read_and_tell(config, inputs)?.assembled)
}

/// What files held.
struct ReadFiles {
    assembled: Assembled,
    /// Whether one of them ended before it should.
    is_cut_off: bool,
}

fn read_and_tell(config: &Config, inputs: &[TraceInput]) -> anyhow::Result<ReadFiles> {
    let mut whole = WholeTraces::new(config);
    read_each(inputs, |input, progress| whole.read(input, progress))?;
    show_findings(whole.findings())?;
    let is_cut_off = whole.is_cut_off();
    let assembled = whole.finish();
    if assembled.left_out_spans > 0 {
        writeln!(
            stderr().lock(),
            "warning: the traces take more than tests.max_trace_bytes; a fair sample of about {:.1} % of them is taken",
            100.0 * assembled.kept_ratio
        )?;
    }
    if assembled.spans_without_trace_id > 0 {
        writeln!(
            stderr().lock(),
            "warning: {} spans say no trace id and were left out",
            assembled.spans_without_trace_id
        )?;
    }
    Ok(ReadFiles {
        assembled,
        is_cut_off,
    })
}

/// The end of the newest span.
pub(crate) fn newest(traces: &[Trace]) -> UnixNanos {
    let spans = traces.iter().flat_map(|trace| &trace.spans);
    spans.map(|span| span.end).max().unwrap_or(0)
}
