//! `demo`: the real server on real ports, fed by a small shop with a healthy past, then a fault.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use humantime_serde::re::humantime::parse_duration;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;
use tokio::time::{Instant, interval, timeout_at};

use crate::api::{IncidentList, Said};
use crate::cli::endpoint::AdminEndpoint;
use crate::cli::serve::stop_signal;
use crate::clock::Clock;
use crate::config::{Adopt, Config};
use crate::model::NANOS_PER_SEC;
use crate::model::fault::{Fault, FaultTarget, LatencyChange};
use crate::model::incident::Incident;
use crate::model::rca::{Conclusion, RcaReport};
use crate::model::report::{Report, Verdict, VerdictReport};
use crate::model::slo::Sli;
use crate::service::{Service, ServiceError};
use crate::telemetry;
use crate::traffic::generate::{Faults, Generator, export_requests, span_count};
use crate::traffic::send::{Sender, Target};
use crate::traffic::shop;

const EXAMPLES: &str = "\
Examples:
  slo-copilot demo            # on a terminal it goes on until Ctrl-C, so that you can look around
  slo-copilot demo --once     # ends after the page and its root cause
  slo-copilot demo --again    # the same fault a second time, which the memory of incidents knows";

const SECS_PER_DAY: u64 = 86_400;
const SPANS_PER_REQUEST: usize = 500;

/// Visits a minute of the past and of the live traffic.
const PAST_TRACES_PER_MINUTE: f64 = 1.5;
const LIVE_TRACES_PER_MINUTE: f64 = 2_400.0;

/// Live spans are sent so long after the visit, as a batching SDK would.
const SEND_DELAY_NANOS: u64 = 2 * NANOS_PER_SEC;
const SEND_INTERVAL: Duration = Duration::from_millis(200);

/// The page comes within seconds by the arithmetic of burn rates; far later something is wrong.
const PAGE_DEADLINE: Duration = Duration::from_mins(3);

/// Traces are over after a quiet time, and an analysis takes less than a second.
const CAUSE_DEADLINE: Duration = Duration::from_mins(1);

/// Causes, and observations of each, that are shown.
const CAUSES_SHOWN: usize = 3;
const EVIDENCE_SHOWN: usize = 3;

/// Which service gets slow and fails.
const FAULTY: &str = "payment";

/// Arguments of `demo`.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Days of healthy past that are sent first.
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u64).range(1..=29))]
    pub history_days: u64,

    /// Healthy live traffic before the fault.
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    pub fault_after: Duration,

    /// Heal the fault and let it come again.
    #[arg(long)]
    pub again: bool,

    /// End after the page instead of waiting for Ctrl-C.
    #[arg(long)]
    pub once: bool,

    /// Take free ports even if the usual ones are free.
    #[arg(long)]
    pub free_ports: bool,

    /// Where the files go.
    #[arg(long, default_value = "./slo-copilot-out", value_name = "DIR")]
    pub output_dir: std::path::PathBuf,

    /// Set one configuration key, for example of a notifier; the demo's own settings win. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,

    /// Seed of the traffic.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
}

/// Runs the demo.
pub async fn run(args: Args, clock: Clock) -> anyhow::Result<ExitCode> {
    telemetry::init(telemetry::LogFormat::Text, "warn")?;
    let store = tempfile::tempdir().context("cannot make a directory for the demo's store")?;
    let service = start(&args, store.path(), clock.clone()).await?;
    let endpoints = service.endpoints;
    say(&format!(
        "slo-copilot takes OTLP/gRPC on {}, OTLP/HTTP on {}; look at http://{}/\n",
        endpoints.otlp_grpc, endpoints.otlp_http, endpoints.admin
    ))?;
    let sender = Sender::connect(&Target::new(format!("http://{}", endpoints.otlp_grpc))).await?;
    let mut shop = shop::generator(args.seed);
    backfill(&args, &sender, &mut shop, &clock).await?;

    service.refresh_candidates().await?;
    let refreshed_at = clock.now();
    let mut reports = service.reports.clone();
    let mut report = next_report(&mut reports).await?;
    while report.now < refreshed_at {
        report = next_report(&mut reports).await?;
    }
    show_objectives(&report)?;

    let (fault, faults) = watch::channel(Faults::none());
    let mut live = tokio::spawn(send_live(sender, shop, clock, faults));
    let paged = tokio::select! {
        paged = watch_verdict(&args, &mut reports, &fault) => paged?,
        ended = &mut live => {
            ended?.context("the live traffic stopped")?;
            false
        }
        () = stop_signal() => false,
    };
    let explained = paged
        && show_root_cause(&mut reports, |rca| rca.conclusion == Conclusion::Found).await?
        && (!args.again || show_second_occurrence(endpoints.admin, &mut reports, &fault).await?);
    if paged {
        show_where_to_look(&args, endpoints.admin)?;
        if !args.once && stdout().is_terminal() {
            say("\nThe fault stays. Ctrl-C ends the demo.")?;
            stop_signal().await;
        }
    }
    live.abort();
    service.stop().await?;
    Ok(if explained {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Starts the server on its usual ports, or on free ones if somebody has them.
async fn start(args: &Args, store: &std::path::Path, clock: Clock) -> anyhow::Result<Service> {
    let mut config = Config::load(None, [], &args.sets)?;
    config.storage.dir = store.to_owned();
    config.output.dir.clone_from(&args.output_dir);
    config.objectives.adopt = Adopt::Auto;
    config.evaluator.interval = Duration::from_secs(2);
    config.evaluator.recovery = Duration::from_mins(1);
    config.adapters.incident.analyse_every = Duration::from_secs(2);
    config.adapters.incident.recovery = Duration::from_secs(20);
    if !args.free_ports {
        match Service::start(config.clone(), clock.clone()).await {
            Err(ServiceError::Bind { endpoint, .. }) => {
                say(&format!("{endpoint} is taken, so free ports are used."))?;
            }
            started => return Ok(started?),
        }
    }
    config.receivers.otlp.grpc.endpoint.set_port(0);
    config.receivers.otlp.http.endpoint.set_port(0);
    config.admin.endpoint.set_port(0);
    Ok(Service::start(config, clock).await?)
}

/// Sends the healthy past over OTLP/gRPC, in event time.
async fn backfill(
    args: &Args,
    sender: &Sender,
    shop: &mut Generator,
    clock: &Clock,
) -> anyhow::Result<()> {
    let now = clock.now();
    let from = now - args.history_days * SECS_PER_DAY * NANOS_PER_SEC;
    let bar = progress_bar(&format!(
        "sending {} days of healthy past",
        args.history_days
    ));
    let started = Instant::now();
    let healthy = Faults::none();
    let traces = shop.traffic(
        from..now - SEND_DELAY_NANOS,
        PAST_TRACES_PER_MINUTE,
        &healthy,
    );
    let requests = export_requests(traces, SPANS_PER_REQUEST)
        .inspect(|request| bar.inc(span_count(request) as u64));
    let totals = sender.send_all(requests).await?;
    bar.finish_and_clear();
    anyhow::ensure!(
        totals.failed_requests == 0,
        "{} requests of the healthy past failed",
        totals.failed_requests
    );
    say(&format!(
        "1. {} days of healthy past: {} spans over OTLP/gRPC in {:.1} s",
        args.history_days,
        totals.accepted_spans,
        started.elapsed().as_secs_f64()
    ))
}

/// Sends the visits of the last moments, again and again.
async fn send_live(
    sender: Sender,
    mut shop: Generator,
    clock: Clock,
    faults: watch::Receiver<Faults>,
) -> Result<(), crate::traffic::send::SendError> {
    let mut ticks = interval(SEND_INTERVAL);
    let mut sent_until = clock.now() - SEND_DELAY_NANOS;
    loop {
        ticks.tick().await;
        let until = clock.now() - SEND_DELAY_NANOS;
        let faults = faults.borrow().clone();
        let traces = shop.traffic(sent_until..until, LIVE_TRACES_PER_MINUTE, &faults);
        let requests: Vec<_> = export_requests(traces, SPANS_PER_REQUEST).collect();
        sender.send_all(requests).await?;
        sent_until = until;
    }
}

/// Tells each change of the verdict; true once it is `fail` after the fault.
async fn watch_verdict(
    args: &Args,
    reports: &mut watch::Receiver<Option<Arc<Report>>>,
    fault: &watch::Sender<Faults>,
) -> anyhow::Result<bool> {
    say("\n3. Live traffic, 40 visits a second. The verdict:")?;
    let started = Instant::now();
    let fault_at = started + args.fault_after;
    let mut broken = false;
    let mut shown = None;
    loop {
        if !broken && Instant::now() >= fault_at {
            broken = true;
            fault.send_replace(harm());
            say(&format!(
                "   {:>5.1} s  fault: {} now takes 400 ms longer and fails 35 % of its calls",
                started.elapsed().as_secs_f64(),
                FAULTY
            ))?;
        }
        let wake = if broken {
            fault_at + PAGE_DEADLINE
        } else {
            fault_at
        };
        let Ok(report) = timeout_at(wake, next_report(reports)).await else {
            if broken {
                say("   no page came within three minutes: something is wrong")?;
                return Ok(false);
            }
            continue;
        };
        let report = report?;
        let verdict = &report.verdict;
        if shown != Some(verdict.verdict) {
            shown = Some(verdict.verdict);
            let score = verdict
                .score
                .map_or_else(|| "none".to_owned(), |score| format!("{score:.0}"));
            say(&format!(
                "   {:>5.1} s  {}  (score {score})",
                started.elapsed().as_secs_f64(),
                verdict.verdict.label().to_uppercase()
            ))?;
            for reason in &verdict.reasons {
                say(&format!("            {}", reason.text))?;
            }
        }
        if broken && faulty_verdict(&report).is_some_and(|own| own.verdict == Verdict::Fail) {
            say(&format!(
                "   {:>5.1} s  {} itself: FAIL",
                started.elapsed().as_secs_f64(),
                FAULTY
            ))?;
            for reason in faulty_verdict(&report).iter().flat_map(|own| &own.reasons) {
                say(&format!("            {}", reason.text))?;
            }
            return Ok(true);
        }
    }
}

/// What is wrong with the faulty service.
fn harm() -> Faults {
    let fault = Fault {
        latency: Some(LatencyChange::Added(Duration::from_millis(400))),
        ..Fault::error(0.35)
    };
    Faults::none().with(FaultTarget::service(FAULTY), fault)
}

/// Tells the root cause of the failed verdicts; false if none is found in time.
async fn show_root_cause(
    reports: &mut watch::Receiver<Option<Arc<Report>>>,
    is_it: impl Fn(&RcaReport) -> bool,
) -> anyhow::Result<bool> {
    let until = Instant::now() + CAUSE_DEADLINE;
    while let Ok(report) = timeout_at(until, next_report(reports)).await {
        let report = report?;
        let Some(rca) = report.rca.as_ref().filter(|rca| is_it(rca)) else {
            continue;
        };
        say(&format!("\n   Root cause: {}", rca.text))?;
        for (rank, cause) in (1..).zip(rca.ranked.iter().take(CAUSES_SHOWN)) {
            say(&format!(
                "   {rank}. {} (score {:.2})",
                cause.service, cause.score
            ))?;
            for evidence in cause.evidence.iter().take(EVIDENCE_SHOWN) {
                say(&format!("      {}", evidence.text))?;
            }
        }
        for similar in &rca.similar {
            let cause = similar.confirmed_cause.as_deref();
            say(&format!(
                "   Like incident {} ({:.0} %), whose cause was {}",
                similar.id,
                100.0 * similar.similarity,
                cause.unwrap_or("not confirmed")
            ))?;
        }
        return Ok(true);
    }
    say("   no root cause was found within a minute: something is wrong")?;
    Ok(false)
}

/// Heals the fault, confirms its cause as a person would, and lets it come again.
async fn show_second_occurrence(
    admin: SocketAddr,
    reports: &mut watch::Receiver<Option<Arc<Report>>>,
    fault: &watch::Sender<Faults>,
) -> anyhow::Result<bool> {
    fault.send_replace(Faults::none());
    say("\n   The fault is healed; waiting until the traces say so, too.")?;
    let endpoint = AdminEndpoint::new(&admin.to_string(), None)?;
    let until = Instant::now() + PAGE_DEADLINE;
    let id = loop {
        let list: IncidentList = endpoint.get(&["api", "v1", "incidents"]).await?;
        let found = |own: &&Incident| own.rca.conclusion == Conclusion::Found;
        let newest = list.incidents.iter().rfind(found);
        if let Some(over) = newest.filter(|own| own.ended_at.is_some()) {
            break over.id;
        }
        if timeout_at(until, next_report(reports)).await.is_err() {
            say("   the incident did not end within three minutes: something is wrong")?;
            return Ok(false);
        }
    };
    let said = Said {
        cause: FAULTY.to_owned(),
        resolution: "healed by the demo".to_owned(),
        by: Some("demo".to_owned()),
    };
    let verb = format!("{id}:confirm");
    let path = ["api", "v1", "incidents", &verb];
    let _: serde_json::Value = endpoint.post(&path, &said).await?;
    say(&format!(
        "   Incident {id} is over, and its cause is confirmed. The same fault again:"
    ))?;
    fault.send_replace(harm());
    show_root_cause(reports, |rca| {
        rca.conclusion == Conclusion::Found && rca.similar.iter().any(|own| own.id == id)
    })
    .await
}

fn faulty_verdict(report: &Report) -> Option<&VerdictReport> {
    let is_faulty = |verdict: &&VerdictReport| {
        verdict
            .service
            .as_ref()
            .is_some_and(|service| *service.name == *FAULTY)
    };
    report.service_verdicts().find(is_faulty)
}

async fn next_report(
    reports: &mut watch::Receiver<Option<Arc<Report>>>,
) -> anyhow::Result<Arc<Report>> {
    loop {
        reports.changed().await.context("the evaluator stopped")?;
        if let Some(report) = reports.borrow_and_update().clone() {
            return Ok(report);
        }
    }
}

fn show_objectives(report: &Report) -> anyhow::Result<()> {
    say(&format!(
        "2. {} candidates; the ready ones were adopted (objectives.adopt: auto):",
        report.slo_candidates.len()
    ))?;
    for status in &report.baseline_evaluations {
        let objective = &status.objective;
        if objective.operation.is_some() {
            continue;
        }
        let what = match objective.sli {
            Sli::Latency { threshold_micros } => {
                format!("within {} ms", threshold_micros as f64 / 1e3)
            }
            Sli::Availability | Sli::ErrorRate => "without an error".to_owned(),
        };
        let left = status.budget.remaining_ratio.unwrap_or_default();
        say(&format!(
            "   {:<28} {:>6} % {what:<20} {:>4.0} % of the {} budget left",
            objective.name,
            format!("{:.4}", objective.target * 100.0)
                .trim_end_matches('0')
                .trim_end_matches('.'),
            100.0 * left,
            objective.window.label(),
        ))?;
    }
    let operations = report.baseline_evaluations.iter();
    let operations = operations
        .filter(|status| status.objective.operation.is_some())
        .count();
    say(&format!("   and {operations} for single operations"))
}

fn show_where_to_look(args: &Args, admin: SocketAddr) -> anyhow::Result<()> {
    let out = args.output_dir.display();
    say(&format!(
        "\n4. Look around:
   curl http://{admin}/api/v1/verdict?service={FAULTY}
   curl http://{admin}/metrics | grep slo_copilot_burn_rate
   curl http://{admin}/api/v1/incidents
   open http://{admin}/ in a browser
   {out}/guardrail/verdict.json      what a gate reads
   {out}/openslo/{FAULTY}.yaml      objectives as OpenSLO v1
   {out}/report.json                 everything",
    ))
}

fn progress_bar(message: &str) -> ProgressBar {
    let bar = if stderr().is_terminal() {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::hidden()
    };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}: {human_pos} spans, {per_sec}")
    {
        bar.set_style(style);
    }
    bar.set_message(message.to_owned());
    bar
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}
