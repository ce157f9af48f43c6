//! `loadgen`: synthetic traffic to any OTLP endpoint or into a file, and models of traffic from traces.

mod files;
mod source;

use std::io::{Write, stderr, stdout};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use humantime_serde::re::humantime::parse_duration;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::interval;

use crate::cli::Usage;
use crate::cli::loadgen::source::ModelArgs;
use crate::model::UnixNanos;
use crate::otlp::client::Compression as SendCompression;
use crate::traffic::batch::BatchShape;
use crate::traffic::report::{LoadReport, ProcessUsage};
use crate::traffic::send::{Load, Protocol as SendProtocol, Sender, Target, Totals};
use crate::traffic::workload::Workload;

const EXAMPLES: &str = "\
Examples:
  # 1000 spans a second for 10 seconds to the local server
  slo-copilot loadgen

  # what a server takes at most, and what that costs it
  slo-copilot loadgen --rate max --duration 30s --spans-per-request 500 --connections 2 \\
      --in-flight 4 --report --server-pid \"$(pidof slo-copilot)\"

  # exactly one million spans over 10000 series
  slo-copilot loadgen --rate max --spans 1000000 --series 10000 --report

  # a month of the shop in a file, with the faults of another file
  slo-copilot loadgen --output shop.jsonl.zst --for 30d --scale 0.01 --faults faults.yaml

  # a model of what is really going on, and its traffic to a local server
  slo-copilot loadgen --learn traces/ -o model.yaml
  slo-copilot loadgen --model model.yaml --duration 10m";

/// The rate of a run that names none.
const DEFAULT_SPANS_PER_SEC: f64 = 1_000.0;

/// The time of a run that is not limited otherwise.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);

/// How often the progress is drawn.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Send synthetic traffic to an OTLP endpoint and measure how it is taken, or write it into a file.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Where to send
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4317", default_value_ifs = [
        ("protocol", "http", "http://127.0.0.1:4318"), ("protocol", "http-json", "http://127.0.0.1:4318")
    ])]
    pub endpoint: String,

    /// How to send
    #[arg(long, value_enum, default_value_t = Protocol::Grpc)]
    pub protocol: Protocol,

    /// Spans per second, or `max` to send as fast as the server answers [default: 1000, the rates of the model with
    /// --model]
    #[arg(long, value_name = "SPANS|max", conflicts_with = "output")]
    pub rate: Option<Rate>,

    /// End after this time [default: 10s, without limit if --spans is given]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "output")]
    pub duration: Option<Duration>,

    /// End after exactly so many spans
    #[arg(long, value_name = "SPANS", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "output")]
    pub spans: Option<u64>,

    /// Spans in a request
    #[arg(long, value_name = "SPANS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub spans_per_request: u32,

    /// What the spans are about
    #[arg(long, value_enum, default_value_t = Profile::Batch)]
    pub profile: Profile,

    /// Distinct operations, at most 20 a service (batch profile)
    #[arg(long, value_name = "COUNT", default_value_t = 80, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub series: u32,

    /// Attributes of a span; with 10 a span takes about 476 bytes (batch profile)
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=1_000))]
    pub attributes: u32,

    /// Share of the spans that fail, from 0 to 1 (batch profile)
    #[arg(long, value_name = "RATIO", default_value = "0.001", value_parser = parse_ratio)]
    pub error_ratio: f64,

    /// Share of the spans that are of kind SERVER, from 0 to 1; the others are of kind CLIENT (batch profile)
    #[arg(long, value_name = "RATIO", default_value = "1", value_parser = parse_ratio)]
    pub entry_ratio: f64,

    /// Connections to the server
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub connections: u16,

    /// Requests in flight on each connection
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub in_flight: u16,

    /// Compression of the requests
    #[arg(long, value_enum, default_value_t = Compression::None)]
    pub compression: Compression,

    /// Determines ids, durations and outcomes
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,

    /// Print a report on the standard output, as JSON
    #[arg(long)]
    pub report: bool,

    /// Which model, what goes wrong in it, and files instead of a server.
    #[command(flatten)]
    pub source: ModelArgs,

    /// Process id of the server, to measure its CPU time and memory (Linux)
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<i32>,
}

/// How fast to send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// As fast as the server answers.
    Max,
    /// Spans per second, above 0.
    SpansPerSec(f64),
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.parse::<f64>() {
            Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(Self::SpansPerSec(rate)),
            Ok(_) | Err(_) => Err("a number of spans per second above 0, or `max`".to_owned()),
        }
    }
}

/// How to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// OTLP/gRPC
    Grpc,
    /// OTLP/HTTP with protobuf
    Http,
    /// OTLP/HTTP with JSON
    HttpJson,
}

/// What the spans are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// HTTP server spans, encoded beforehand: the cheapest to send
    Batch,
    /// Whole traces of a small shop
    Shop,
}

/// Compression of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    /// As they are
    None,
    /// gzip
    Gzip,
}

fn parse_ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        Ok(_) | Err(_) => Err("a number from 0 to 1".to_owned()),
    }
}

impl Args {
    /// The endpoint, which other commands take without a scheme, too.
    fn url(&self) -> String {
        if self.endpoint.contains("://") {
            self.endpoint.clone()
        } else {
            format!("http://{}", self.endpoint)
        }
    }

    fn target(&self) -> Target {
        Target {
            connections: self.connections.into(),
            in_flight: self.in_flight.into(),
            protocol: match self.protocol {
                Protocol::Grpc => SendProtocol::Grpc,
                Protocol::Http => SendProtocol::Http,
                Protocol::HttpJson => SendProtocol::HttpJson,
            },
            compression: match self.compression {
                Compression::None => SendCompression::None,
                Compression::Gzip => SendCompression::Gzip,
            },
            ..Target::new(self.url())
        }
    }

    fn load(&self, started_at: UnixNanos) -> Load {
        let unlimited = self.spans.is_none() && self.duration.is_none();
        Load {
            spans_per_request: count(self.spans_per_request),
            spans_per_sec: match self.rate {
                Some(Rate::Max) => None,
                Some(Rate::SpansPerSec(rate)) => Some(rate),
                None => Some(DEFAULT_SPANS_PER_SEC),
            },
            max_spans: self.spans,
            max_duration: self.duration.or(unlimited.then_some(DEFAULT_DURATION)),
            started_at,
        }
    }

    /// What is sent; `now` is its event time at the start.
    fn workload(&self, now: UnixNanos) -> anyhow::Result<Workload> {
        let has_model = self.source.model.is_some();
        if has_model && self.rate.is_none() {
            if self.spans.is_some() {
                let said = "--spans needs a --rate: without one, the model says how much is sent";
                return Err(Usage(said.to_owned()).into());
            }
            let generator = self.source.generator(self.seed)?;
            let per_request = count(self.spans_per_request);
            return Ok(Workload::scheduled(
                generator,
                now,
                self.source.scale,
                per_request,
            ));
        }
        Ok(match self.profile {
            Profile::Batch if !has_model => {
                if let Some(option) = self.source.given_for_a_model() {
                    let said =
                        format!("{option} needs a model: add --profile shop, or --model FILE");
                    return Err(Usage(said).into());
                }
                let shape = BatchShape {
                    spans_per_request: count(self.spans_per_request),
                    attributes: count(self.attributes),
                    series: count(self.series),
                    entry_ratio: self.entry_ratio,
                    error_ratio: self.error_ratio,
                };
                Workload::batch(shape, self.seed)
            }
            Profile::Batch | Profile::Shop => {
                anyhow::ensure!(
                    self.source.scale.to_bits() == 1_f64.to_bits(),
                    Usage("--scale multiplies the rates of the model, and --rate says another one; leave one out".to_owned())
                );
                Workload::model(self.source.generator(self.seed)?, now)
            }
        })
    }
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Runs the load that `args` describes; `now` is its event time at the start. The code is 1 if requests failed or
/// no span was accepted.
pub async fn run(args: Args, now: UnixNanos) -> anyhow::Result<ExitCode> {
    if !args.source.learn.is_empty() {
        files::learn(&args.source)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(path) = &args.source.output {
        let shape = (args.seed, count(args.spans_per_request));
        files::write(&args.source, path, shape, now)?;
        return Ok(ExitCode::SUCCESS);
    }
    let target = args.target();
    let workload = Arc::new(args.workload(now)?);
    let sender = Sender::connect(&target).await?;
    let load = args.load(now);

    let usage = || args.server_pid.map(ProcessUsage::of).transpose();
    let before = usage()?;
    let accepted = Arc::new(AtomicU64::new(0));
    let totals = {
        let _progress = Progress::start(&load, Arc::clone(&accepted));
        sender.run(workload, load, accepted).await?
    };
    let after = usage().context("the server ended during the run")?;

    let report = LoadReport::new(&totals, before.zip(after));
    write_summary(&report, &totals)?;
    if args.report {
        let json = serde_json::to_string_pretty(&report)?;
        writeln!(stdout(), "{json}").context("cannot write the report")?;
    }
    let taken = report.accepted_spans > 0 && report.failed_requests == 0;
    Ok(if taken {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn write_summary(report: &LoadReport, totals: &Totals) -> anyhow::Result<()> {
    let mut err = stderr().lock();
    write!(
        err,
        "{} spans accepted in {:.1} s, {:.0} a second; {} requests, p50 {:.1} ms, p99 {:.1} ms since they were due \
         ({:.1} and {:.1} since they were sent)",
        report.accepted_spans,
        report.elapsed_secs,
        report.accepted_spans_per_sec,
        report.requests,
        report.request_latency_ms_p50,
        report.request_latency_ms_p99,
        report.answer_latency_ms_p50,
        report.answer_latency_ms_p99,
    )?;
    if let Some(per_cpu_sec) = report.spans_per_cpu_sec {
        write!(err, "; {per_cpu_sec:.0} spans per CPU-second")?;
    }
    writeln!(err)?;
    if report.rejected_spans > 0 {
        writeln!(err, "{} spans rejected", report.rejected_spans)?;
    }
    if report.refused_requests > 0 {
        writeln!(err, "{} requests refused", report.refused_requests)?;
    }
    if let Some(failure) = &totals.failure {
        writeln!(err, "{} requests failed: {failure}", report.failed_requests)?;
    }
    Ok(())
}

/// A bar on the terminal, if there is one, until it is dropped.
struct Progress {
    bar: ProgressBar,
    ticker: tokio::task::JoinHandle<()>,
}

impl Progress {
    fn start(load: &Load, accepted: Arc<AtomicU64>) -> Self {
        let (bar, template) = match load.max_spans {
            Some(spans) => (
                ProgressBar::new(spans),
                "{wide_bar} {human_pos}/{human_len} spans, {per_sec}, {eta} left",
            ),
            None => (
                ProgressBar::new_spinner(),
                "{spinner} {human_pos} spans, {per_sec}, {elapsed}",
            ),
        };
        // The templates are constants, and a wrong one only costs the looks.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let drawn = bar.clone();
        let ticker = tokio::spawn(async move {
            let mut ticks = interval(PROGRESS_INTERVAL);
            loop {
                ticks.tick().await;
                drawn.set_position(accepted.load(Ordering::Relaxed));
            }
        });
        Self { bar, ticker }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.ticker.abort();
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(arguments: &[&str]) -> Result<Args, clap::Error> {
        let program = ["loadgen"];
        Cli::try_parse_from(program.iter().chain(arguments)).map(|cli| cli.args)
    }

    #[test]
    fn without_arguments_it_sends_a_thousand_spans_a_second_for_ten_seconds() {
        let load = parse(&[]).unwrap().load(7);
        assert_eq!(load.spans_per_sec, Some(1_000.0));
        assert_eq!(load.max_duration, Some(Duration::from_secs(10)));
        assert_eq!((load.max_spans, load.started_at), (None, 7));
    }

    #[test]
    fn a_number_of_spans_lifts_the_default_time_but_not_a_given_one() {
        let load = parse(&["--spans", "5000"]).unwrap().load(0);
        assert_eq!((load.max_spans, load.max_duration), (Some(5_000), None));
        let load = parse(&["--spans", "5000", "--duration", "2m"])
            .unwrap()
            .load(0);
        assert_eq!(load.max_duration, Some(Duration::from_mins(2)));
    }

    #[test]
    fn the_rate_is_a_number_above_zero_or_max() {
        assert_eq!("max".parse(), Ok(Rate::Max));
        assert_eq!("2.5e6".parse(), Ok(Rate::SpansPerSec(2_500_000.0)));
        for wrong in ["0", "-1", "NaN", "inf", "fast", ""] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for arguments in [
            ["--spans-per-request", "0"],
            ["--series", "0"],
            ["--connections", "0"],
            ["--in-flight", "0"],
            ["--error-ratio", "1.5"],
            ["--duration", "soon"],
        ] {
            assert!(parse(&arguments).is_err(), "{arguments:?}");
        }
    }

    #[tokio::test]
    async fn a_run_to_nobody_fails_with_the_endpoint() {
        // Port 9 (discard) of the loopback is not served.
        let args = parse(&["--endpoint", "http://127.0.0.1:9"]).unwrap();
        let error = run(args, 0).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot connect to http://127.0.0.1:9");
        let args = parse(&["--endpoint", "127.0.0.1:9"]).unwrap();
        let error = run(args, 0).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot connect to http://127.0.0.1:9");
    }

    #[test]
    fn what_would_be_passed_over_is_refused() {
        for arguments in [
            ["--output", "a.jsonl", "--rate", "max"],
            ["--output", "a.jsonl", "--duration", "10s"],
            ["--output", "a.jsonl", "--spans", "10"],
            ["--endpoint", "127.0.0.1:9", "--for", "10s"],
        ] {
            assert!(parse(&arguments).is_err(), "{arguments:?}");
        }
        for arguments in [
            &["--faults", "faults.yaml"][..],
            &["--service-version", "payment=2"],
            &["--scale", "2"],
            &["--profile", "shop", "--scale", "2"],
        ] {
            let error = parse(arguments).unwrap().workload(0).unwrap_err();
            assert!(error.is::<Usage>(), "{arguments:?}: {error}");
        }
    }
}
