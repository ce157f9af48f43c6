//! `gate --endpoint`: a running server's verdict, waited for until it is conclusive.

use std::io::{IsTerminal, Write, stderr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args as ClapArgs;
use humantime_serde::re::humantime::{format_duration, parse_duration};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, sleep};

use crate::cli::Usage;
use crate::cli::endpoint::{AdminEndpoint, EndpointError};
use crate::cli::gate::{Args, finish, read_policy};
use crate::evaluator::gate::gate;
use crate::evaluator::trace_tests::narrow_to_service;
use crate::evaluator::verdict::REQUEST_SOURCE;
use crate::model::report::{Reason, Report, Verdict, VerdictReport};
use crate::model::series::ServiceKey;

/// Verdict and report come in two answers; an evaluation between them makes another attempt.
const ATTEMPTS_AT_ONE_EVALUATION: usize = 5;

/// Whose verdict is asked for, and how long.
#[derive(Debug, ClapArgs)]
pub(super) struct EndpointArgs {
    /// Admin endpoint of a running server, for example 127.0.0.1:9464; with https before it where TLS is. Its
    /// verdict decides.
    #[arg(long, value_name = "URL", conflicts_with_all = ["traces", "more_traces", "baseline", "objectives", "storage_dir"])]
    pub(super) endpoint: Option<String>,

    /// service.name; all services together if it is left out.
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    pub(super) service: Option<String>,

    /// service.namespace, where several services share the name.
    #[arg(long, value_name = "NAME", requires = "service")]
    pub(super) namespace: Option<String>,

    /// deployment.environment.name, where several services share the name.
    #[arg(long, value_name = "NAME", requires = "service")]
    pub(super) environment: Option<String>,

    /// service.version; a version that the server computes nothing for is inconclusive.
    #[arg(long, value_name = "VERSION", requires = "service")]
    pub(super) version: Option<String>,

    /// A window such as 1h, where the server computes a verdict for it.
    #[arg(long, value_name = "WINDOW", requires = "endpoint")]
    pub(super) window: Option<String>,

    /// Wait so long for a conclusive verdict, or for a server that is away; 0s takes the answer of now.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration)]
    pub(super) wait: Duration,

    /// The verdict must stay good for so long; a fail ends the wait at once. Part of --wait.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration, requires = "endpoint")]
    pub(super) hold: Duration,

    /// Time between questions.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    pub(super) interval: Duration,

    /// Certificates in PEM form that https trusts beside the system's.
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    pub(super) ca_file: Option<PathBuf>,
}

/// Asks, judges and prints.
pub(super) async fn run(args: &Args, url: &str) -> anyhow::Result<ExitCode> {
    let live = &args.live;
    anyhow::ensure!(
        live.hold <= live.wait,
        Usage("--hold is part of --wait: give --wait at least as long".to_owned())
    );
    anyhow::ensure!(
        !live.interval.is_zero(),
        Usage("--interval must be above 0s".to_owned())
    );
    let config = args.traces.load_config()?;
    let policies = args
        .policy
        .iter()
        .map(|path| read_policy(path))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let server = AdminEndpoint::new(url, live.ca_file.as_deref())?;
    let report = live.wait_for_report(&server).await?;
    let limits = config.evaluator.limits();
    let decided = gate(&report, args.fail_on.into(), &policies, limits)?;
    finish(args, decided, &report, &format!("the objectives of {url}"))
}

/// What to do after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// It counts.
    Done,
    /// Ask again.
    Again,
}

/// Since when the verdict is good.
#[derive(Clone, Copy, Debug, Default)]
struct Hold {
    since: Option<Instant>,
}

impl Hold {
    /// A fail counts at once, what is inconclusive is waited out, and what is good must stay so for `hold`.
    fn next(&mut self, verdict: Verdict, now: Instant, hold: Duration) -> Next {
        match verdict {
            Verdict::Fail => Next::Done,
            Verdict::Inconclusive => {
                self.since = None;
                Next::Again
            }
            Verdict::Pass | Verdict::Warn => {
                let since = *self.since.get_or_insert(now);
                if now.duration_since(since) >= hold {
                    Next::Done
                } else {
                    Next::Again
                }
            }
        }
    }
}

impl EndpointArgs {
    /// The options that mean something to a server alone, and whether they are given.
    pub(super) fn given(&self) -> [(&'static str, bool); 8] {
        [
            ("--service", self.service.is_some()),
            ("--namespace", self.namespace.is_some()),
            ("--environment", self.environment.is_some()),
            ("--version", self.version.is_some()),
            ("--window", self.window.is_some()),
            ("--wait", !self.wait.is_zero()),
            ("--hold", !self.hold.is_zero()),
            ("--ca-file", self.ca_file.is_some()),
        ]
    }

    fn question(&self) -> Vec<(&'static str, &str)> {
        let said = [
            ("service", &self.service),
            ("namespace", &self.namespace),
            ("environment", &self.environment),
            ("version", &self.version),
            ("window", &self.window),
        ];
        let said = said.into_iter();
        said.filter_map(|(key, value)| Some((key, value.as_deref()?)))
            .collect()
    }

    /// The report about what was asked, at the time when its verdict counts or the wait is over.
    async fn wait_for_report(&self, server: &AdminEndpoint) -> Result<Report, EndpointError> {
        let deadline = Instant::now() + self.wait;
        let progress = Progress::new();
        let mut hold = Hold::default();
        loop {
            let asked = self.ask(server).await;
            let now = Instant::now();
            let is_over = now + self.interval > deadline;
            let again = match asked {
                Ok(report) => {
                    let verdict = &report.verdict;
                    let next = hold.next(verdict.verdict, now, self.hold);
                    if next == Next::Done {
                        return Ok(report);
                    }
                    if is_over {
                        return Ok(self.not_held(report));
                    }
                    said(verdict, hold.since.map(|since| now.duration_since(since)))
                }
                Err(error) if error.is_passing() && !is_over => {
                    hold = Hold::default();
                    error.to_string()
                }
                Err(error) => return Err(error),
            };
            progress.tell(&again, deadline.saturating_duration_since(now));
            sleep(self.interval).await;
        }
    }

    /// A good verdict that did not stay for long enough is none yet.
    fn not_held(&self, report: Report) -> Report {
        if !report.verdict.ok {
            return report;
        }
        let text = format!(
            "the verdict is {}, but the wait was over before it had been good for {}",
            report.verdict.verdict.label(),
            format_duration(self.hold)
        );
        let reason = Reason {
            source: REQUEST_SOURCE.to_owned(),
            name: String::new(),
            window: None,
            observed: None,
            limit: Some(self.hold.as_secs_f64()),
            text,
        };
        let verdict = VerdictReport {
            verdict: Verdict::Inconclusive,
            ok: false,
            score: None,
            reasons: vec![reason],
            ..report.verdict
        };
        Report { verdict, ..report }
    }

    /// One answer: the verdict, and the report of the same evaluation where there is one.
    async fn ask(&self, server: &AdminEndpoint) -> Result<Report, EndpointError> {
        let mut attempt = 1;
        loop {
            let question = self.question();
            let verdict: VerdictReport = server.ask(&["api", "v1", "verdict"], &question).await?;
            let report: Report = server.get(&["api", "v1", "report"]).await?;
            if report.generated_at == verdict.generated_at || attempt == ATTEMPTS_AT_ONE_EVALUATION
            {
                return Ok(self.narrowed(report, verdict));
            }
            attempt += 1;
        }
    }

    /// Only what was asked about, so that no part decides that speaks of something else: objectives and trace tests
    /// speak of all versions and of their own windows, comparisons of a version and of no window.
    fn narrowed(&self, mut report: Report, verdict: VerdictReport) -> Report {
        if self.version.is_some() || self.window.is_some() {
            report.baseline_evaluations.clear();
            report.composites.clear();
            report.test_results = None;
        }
        if self.window.is_some() {
            report.canaries.clear();
        }
        if let Some(version) = &self.version {
            report
                .canaries
                .retain(|canary| canary.canary.version == *version);
        }
        if let Some(service) = &verdict.service {
            let is_member = |names: &[String]| names.iter().any(|name| **name == *service.name);
            report
                .baseline_evaluations
                .retain(|status| status.objective.selects(service));
            report
                .composites
                .retain(|composite| is_member(&composite.services));
            report.canaries.retain(|canary| canary.service == *service);
            narrow_to_service(&mut report, &service.name);
        }
        Report { verdict, ..report }
    }
}

/// What is waited for, in a line.
fn said(verdict: &VerdictReport, good_for: Option<Duration>) -> String {
    let whose = verdict
        .service
        .as_ref()
        .map_or("all services", service_name);
    let label = verdict.verdict.label();
    if let Some(good_for) = good_for {
        let secs = Duration::from_secs(good_for.as_secs());
        return format!("{whose}: {label} for {}", format_duration(secs));
    }
    let mut reasons = verdict.reasons.iter().chain(&verdict.undecided);
    let why = reasons.next().map_or("", |reason| &*reason.text);
    format!("{whose}: {label}; {why}")
}

fn service_name(service: &ServiceKey) -> &str {
    &service.name
}

/// A spinner on a terminal; else a line whenever there is something new.
struct Progress {
    spinner: Option<ProgressBar>,
    last: std::cell::RefCell<String>,
}

impl Progress {
    fn new() -> Self {
        let spinner = stderr().is_terminal().then(|| {
            let spinner = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                spinner.set_style(style);
            }
            spinner.enable_steady_tick(Duration::from_millis(200));
            spinner
        });
        let last = std::cell::RefCell::default();
        Self { spinner, last }
    }

    fn tell(&self, what: &str, left: Duration) {
        let left = format_duration(Duration::from_secs(left.as_secs()));
        if let Some(spinner) = &self.spinner {
            spinner.set_message(format!("{what} ({left} left)"));
        } else if *self.last.borrow() != what {
            // Nobody reads it if standard error is closed.
            drop(writeln!(stderr(), "waiting, {left} left: {what}"));
            what.clone_into(&mut self.last.borrow_mut());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fail_counts_at_once_and_what_is_good_must_stay_so() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let hold = Duration::from_secs(30);
        let mut state = Hold::default();
        let mut next = |verdict, secs| state.next(verdict, at(secs), hold);
        assert_eq!(next(Verdict::Pass, 0), Next::Again);
        assert_eq!(next(Verdict::Warn, 29), Next::Again);
        assert_eq!(next(Verdict::Pass, 30), Next::Done);
        // What cannot be said interrupts.
        assert_eq!(next(Verdict::Inconclusive, 31), Next::Again);
        assert_eq!(next(Verdict::Pass, 32), Next::Again);
        assert_eq!(next(Verdict::Pass, 61), Next::Again);
        assert_eq!(next(Verdict::Fail, 61), Next::Done);
        let at_once = Hold::default().next(Verdict::Pass, start, Duration::ZERO);
        assert_eq!(at_once, Next::Done);
    }
}
