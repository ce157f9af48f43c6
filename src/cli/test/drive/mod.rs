//! `test --drive`: sends the requests of tests to a service, takes the spans that come back, and judges.

mod request;
mod settle;

use std::io::{Write, stderr};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::cli::Usage;
use crate::cli::test::Plan;
use crate::cli::test::drive::request::{Client, Ids, Prepared};
use crate::cli::test::drive::settle::settled;
use crate::cli::test::remote::Remote;
use crate::clock::Clock;
use crate::config::Config;
use crate::model::test_result::TestReport;
use crate::model::trace::Trace;
use crate::service::Service;
use crate::tracetest::language::Variables;
use crate::tracetest::suite::{HttpRequest, Suite, Test, Trigger};

/// How requests are sent.
#[derive(Debug, clap::Args)]
pub(super) struct DriveArgs {
    /// Send the requests that the tests hold (`trigger`) and judge the traces that come of them. The service exports its
    /// spans to this command (--otlp-grpc, --otlp-http), or to the server of --endpoint.
    #[arg(long)]
    pub drive: bool,

    /// Requests a test sends.
    #[arg(long, value_name = "COUNT", default_value_t = 1, requires = "drive")]
    pub requests: u32,

    /// Send for so long instead, for example 30s.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration, conflicts_with = "requests", requires = "drive")]
    pub duration: Option<Duration>,

    /// Requests a second. They are sent at their time, whether or not earlier ones were answered.
    #[arg(long, value_name = "RATE", default_value_t = 10.0, requires = "drive")]
    pub rate: f64,

    /// Requests that are under way at most; one beyond it waits, and that is said.
    #[arg(long, value_name = "COUNT", default_value_t = 64, requires = "drive")]
    pub concurrency: u32,

    /// Where spans are taken over OTLP/gRPC; port 0 takes a free one.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:4317",
        requires = "drive"
    )]
    pub otlp_grpc: SocketAddr,

    /// Where spans are taken over OTLP/HTTP; port 0 takes a free one.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:4318",
        requires = "drive"
    )]
    pub otlp_http: SocketAddr,
}

/// A duration such as `30s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    use crate::tracetest::language::{Expression, Value};
    match Expression::parse(text) {
        Ok(Expression::Literal(Value::Duration(nanos))) => Ok(Duration::from_secs_f64(nanos / 1e9)),
        Ok(_) | Err(_) => Err("expected a duration such as 30s or 5m".to_owned()),
    }
}

/// Who takes the spans.
enum Receiver {
    /// This process, with a store that goes with it.
    Own(Box<Service>, tempfile::TempDir),
    /// A server that runs already.
    Other,
}

/// Sends, waits and judges, test by test.
pub(super) async fn run(
    args: &DriveArgs,
    endpoint: Option<&str>,
    plan: &Plan,
    clock: &Clock,
) -> anyhow::Result<TestReport> {
    check(args, &plan.suites)?;
    let (receiver, remote) = match endpoint {
        Some(endpoint) => (Receiver::Other, Remote::new(endpoint, &plan.config)?),
        None => own_receiver(args, &plan.config, clock).await?,
    };
    let mut session = plan.session();
    let client = Client::new()?;
    let mut ids = Ids::new(clock.now());
    for (at, suite) in plan.suites.iter().enumerate() {
        for (number, test) in suite.tests.iter().enumerate() {
            let Some(Trigger::Http(request)) = &test.trigger else {
                continue;
            };
            let known = session.variables(at);
            let sent = send_all(args, &client, request, &known, &mut ids).await?;
            let traces = collect(&remote, test, &sent).await?;
            tell(test, &sent, traces.len())?;
            for trace in &traces {
                session.observe_for(at, number, trace);
            }
        }
    }
    let report = session.report(clock.now());
    if let Receiver::Own(service, _store) = receiver {
        service.stop().await?;
    }
    Ok(report)
}

fn check(args: &DriveArgs, suites: &[Suite]) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.rate.is_finite() && args.rate > 0.0,
        Usage("--rate must be above 0".to_owned())
    );
    let mut triggers = suites
        .iter()
        .flat_map(|suite| &suite.tests)
        .filter_map(|test| Some((test, test.trigger.as_ref()?)))
        .peekable();
    anyhow::ensure!(
        triggers.peek().is_some(),
        Usage(
            "no test has a trigger; --drive sends `trigger: {type: http, httpRequest: {url: …}}`"
                .to_owned()
        )
    );
    let other = triggers.find_map(|(test, trigger)| match trigger {
        Trigger::Other(kind) => Some((test, kind)),
        Trigger::Http(_) => None,
    });
    if let Some((test, kind)) = other {
        anyhow::bail!(Usage(format!(
            "{}:{}: {} has a trigger of type {kind}, which --drive cannot send; trigger it yourself and give the traces with --trace or --endpoint",
            test.file, test.line, test.name
        )));
    }
    Ok(())
}

/// A server of our own that keeps every trace and writes nothing that stays.
async fn own_receiver(
    args: &DriveArgs,
    config: &Config,
    clock: &Clock,
) -> anyhow::Result<(Receiver, Remote)> {
    let folder = tempfile::tempdir().context("cannot make a directory for the store")?;
    let mut config = config.clone();
    config.tests.suites.clear();
    config.storage.dir = folder.path().join("store");
    config.output.dir = folder.path().join("out");
    config.receivers.otlp.grpc.endpoint = args.otlp_grpc;
    config.receivers.otlp.http.endpoint = args.otlp_http;
    // Every trace is kept, and by its id alone.
    config.trace_buffer.enabled = true;
    config.trace_buffer.max_bytes = config.tests.max_trace_bytes;
    config.trace_buffer.wanted_share = 0.0;
    config.admin.endpoint.set_port(0);
    let service = Service::start(config.clone(), clock.clone()).await?;
    let endpoints = service.endpoints;
    writeln!(
        stderr().lock(),
        "spans are taken on {} (OTLP/gRPC) and {} (OTLP/HTTP)",
        endpoints.otlp_grpc,
        endpoints.otlp_http
    )?;
    let remote = Remote::new(&endpoints.admin.to_string(), &config)?;
    Ok((Receiver::Own(Box::new(service), folder), remote))
}

/// What became of the requests of a test.
#[derive(Debug, Default)]
struct Sent {
    /// Those that were answered, by whatever status.
    answered: Vec<Prepared>,
    /// Why others were not.
    failed: Vec<String>,
    /// Those that had to wait for earlier ones.
    delayed: u32,
}

/// Sends the requests at their times.
async fn send_all(
    args: &DriveArgs,
    client: &Client,
    request: &HttpRequest,
    variables: &Variables,
    ids: &mut Ids,
) -> anyhow::Result<Sent> {
    let count = args.duration.map_or(args.requests, |duration| {
        whole(duration.as_secs_f64() * args.rate)
    });
    let places = Arc::new(Semaphore::new(usize::try_from(args.concurrency.max(1))?));
    let started = Instant::now();
    let mut under_way = JoinSet::new();
    let mut sent = Sent::default();
    for number in 0..count.max(1) {
        sleep_until(started + Duration::from_secs_f64(f64::from(number) / args.rate)).await;
        let prepared = Client::prepare(request, variables, ids)
            .map_err(|message| anyhow::Error::new(Usage(message)))?;
        if places.available_permits() == 0 {
            sent.delayed += 1;
        }
        let place = Arc::clone(&places).acquire_owned().await?;
        let client = client.clone();
        under_way.spawn(async move {
            let ended = client.send(&prepared).await;
            drop(place);
            (prepared, ended)
        });
    }
    while let Some(ended) = under_way.join_next().await {
        let (prepared, ended) = ended?;
        match ended {
            Ok(_status) => sent.answered.push(prepared),
            Err(error) => sent.failed.push(error),
        }
    }
    Ok(sent)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the conversion saturates"
)]
fn whole(number: f64) -> u32 {
    number.ceil() as u32
}

/// The traces of the requests, each when it is complete or its time is over.
async fn collect(remote: &Remote, test: &Test, sent: &Sent) -> anyhow::Result<Vec<Trace>> {
    let began = Instant::now();
    let mut traces = Vec::with_capacity(sent.answered.len());
    for prepared in &sent.answered {
        traces.extend(settled(remote, &test.complete, prepared, began).await?);
    }
    Ok(traces)
}

/// What went wrong on the way, on standard error.
fn tell(test: &Test, sent: &Sent, traces: usize) -> anyhow::Result<()> {
    let mut out = stderr().lock();
    let all = sent.answered.len() + sent.failed.len();
    if let Some(first) = sent.failed.first() {
        let failed = sent.failed.len();
        writeln!(
            out,
            "{}: {failed} of {all} requests were not answered: {first}",
            test.name
        )?;
    }
    if sent.delayed > 0 {
        let delayed = sent.delayed;
        writeln!(
            out,
            "{}: {delayed} of {all} requests were sent late: more than --concurrency were under way",
            test.name
        )?;
    }
    let missing = sent.answered.len().saturating_sub(traces);
    if missing > 0 {
        writeln!(
            out,
            "{}: {missing} of {all} traces never came; does the service take `traceparent` over, and does it export to the addresses above?",
            test.name
        )?;
    }
    anyhow::ensure!(
        !sent.answered.is_empty(),
        "no request of {} was answered; is the service running?",
        test.name
    );
    Ok(())
}
