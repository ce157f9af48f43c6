//! `coverage`: traces, manifests and this host → scores, findings, gaps and the probes for them.

use std::fmt::Write as _;
use std::io::{Write as _, stderr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use crate::adapter::coverage::host::{self, HostView};
use crate::adapter::coverage::probes::{ProbeFile, files};
use crate::adapter::coverage::{
    Around, Config as CoverageConfig, ObservedSignals, Tally, Terms, add_signals, disclosure,
    observe, of_traces, summary,
};
use crate::adapter::kubernetes::Inventory;
use crate::cli::manifests::ManifestArguments;
use crate::cli::test::source::read_files;
use crate::cli::text::{print, print_json, table};
use crate::cli::{EXIT_INCONCLUSIVE, Usage};
use crate::config::Config;
use crate::disk;
use crate::exporter::ci::visible;
use crate::model::coverage::{
    CoverageReport, Instrumentation, InstrumentationScore, PeerKind, RuleStatus,
};
use crate::openslo::text::cut;
use crate::receiver::file::find_inputs;
use crate::service::manifests;

const EXAMPLES: &str = "\
Examples:
  slo-copilot coverage traces.jsonl
  slo-copilot coverage traces/ --manifests k8s/ --expected-signal 'GET /checkout' -o probes
  slo-copilot coverage traces.jsonl --min-score 75 --min-ratio 0.9
  slo-copilot coverage --host -o probes
  slo-copilot coverage traces.jsonl --json | jq .instrumentation.findings

Exit codes: 0 fine, 1 below a minimum, 2 usage or broken input, 3 a minimum cannot be judged for want of data.
A running server tells the same at /api/v1/coverage.";

/// Services, edges, findings and gaps that are shown to people.
const ROWS_SHOWN: usize = 30;

/// Characters of a name that are shown.
const NAME_WIDTH: usize = 40;

/// Arguments of `coverage`.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Trace files, directories or globs; `-` reads standard input. All formats that `analyze` reads.
    #[arg(value_name = "TRACE", required_unless_present_any = ["host", "manifests", "more_traces"])]
    traces: Vec<String>,

    /// The same as a TRACE; may be repeated.
    #[arg(long = "trace", value_name = "TRACE", num_args = 1..)]
    more_traces: Vec<String>,

    /// Configuration file (YAML), as `serve` takes it.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Set one configuration key; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,

    #[command(flatten)]
    manifests: ManifestArguments,

    /// An operation or span name that must occur; may be repeated.
    #[arg(long, value_name = "NAME")]
    expected_signal: Vec<String>,

    /// A name that was observed elsewhere; may be repeated. Those of the traces count anyway.
    #[arg(long, value_name = "NAME")]
    observed_signal: Vec<String>,

    /// Also look at the processes of this host that listen on TCP (Linux; as root those of other users, too).
    #[arg(long)]
    host: bool,

    /// Write coverage.json, and the configuration of probes for the gaps: obi-config.yaml, beyla-config.yaml, probes.bt.
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Where the probes send their spans; the OTLP/HTTP receiver of the configuration if it is left out.
    #[arg(long, value_name = "URL")]
    probe_endpoint: Option<String>,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    /// End with exit code 1 if the Instrumentation Score of a service is lower.
    #[arg(long, value_name = "SCORE")]
    min_score: Option<f64>,

    /// End with exit code 1 if the coverage ratio is lower.
    #[arg(long, value_name = "RATIO")]
    min_ratio: Option<f64>,
}

/// Looks, prints, writes, and says by its exit code whether the minima hold.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut config = Config::load(args.config.as_deref(), std::env::vars(), &args.sets)?;
    let mut named = args.expected_signal.clone();
    let expected = &mut config.adapters.coverage.expected_signals;
    expected.append(&mut named);
    let inventory = args.inventory(&config.adapters.coverage)?;
    let host = args.host(&config.adapters.coverage)?;
    let report = args.report(&config, inventory.as_ref(), host.as_ref())?;
    if args.json {
        print_json(&report)?;
    } else {
        print(&text_of(&report))?;
    }
    if let Some(host) = &host {
        say_of_host(host)?;
    }
    if let Some(folder) = &args.output {
        write(folder, &report, &args.endpoint(&config))?;
    }
    args.judge(&report)
}

impl Args {
    fn inventory(&self, config: &CoverageConfig) -> anyhow::Result<Option<Inventory>> {
        let given = self.manifests.read()?;
        let inventory = match given {
            Some(given) => Some(given),
            None => manifests::configured(&config.manifests)?,
        };
        let has_workload = |inventory: &Inventory| !inventory.workloads.is_empty();
        anyhow::ensure!(
            inventory.as_ref().is_none_or(has_workload),
            Usage(
                "the manifests hold no workload (Deployment, StatefulSet, DaemonSet …)".to_owned()
            )
        );
        Ok(inventory)
    }

    fn host(&self, config: &CoverageConfig) -> anyhow::Result<Option<HostView>> {
        if !self.host && !config.host_peers {
            return Ok(None);
        }
        let view = host::observe().map_err(|error| Usage(error.to_string()))?;
        Ok(Some(view))
    }

    fn report(
        &self,
        config: &Config,
        inventory: Option<&Inventory>,
        host: Option<&HostView>,
    ) -> anyhow::Result<CoverageReport> {
        let own = &config.adapters.coverage;
        let mut tally = Tally::default();
        let mut observed = ObservedSignals::new(own.max_signals);
        for name in &self.observed_signal {
            observed.hold(name.as_bytes());
        }
        let patterns = [self.traces.as_slice(), &self.more_traces].concat();
        if !patterns.is_empty() {
            for trace in read_files(config, &find_inputs(&patterns)?)? {
                observe(&mut tally, &trace, own);
                add_signals(&mut observed, &trace);
            }
        }
        let terms = Terms {
            window: "all traces of the files".to_owned(),
            sampling: "as the files have it".to_owned(),
            refused: tally.refused,
        };
        let around = Around { inventory, host };
        Ok(of_traces(&tally, &observed, own, around, terms))
    }

    fn endpoint(&self, config: &Config) -> String {
        self.probe_endpoint.clone().unwrap_or_else(|| {
            let mut address = config.receivers.otlp.http.endpoint;
            if address.ip().is_unspecified() {
                address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
            }
            format!("http://{address}")
        })
    }

    fn judge(&self, report: &CoverageReport) -> anyhow::Result<ExitCode> {
        let mut code = ExitCode::SUCCESS;
        let mut out = stderr().lock();
        let scores = report
            .instrumentation
            .iter()
            .flat_map(|seen| &seen.scores)
            .filter_map(|own| Some((own.score?, &own.service.name)));
        let scores: Vec<_> = scores.collect();
        if let Some(least) = self.min_score {
            if scores.is_empty() {
                writeln!(out, "no service has a score: there are no traces")?;
                code = ExitCode::from(EXIT_INCONCLUSIVE);
            }
            for (score, name) in scores.iter().filter(|(score, _)| *score < least) {
                let name = visible(name);
                writeln!(out, "{name}: score {score:.1} is below {least}")?;
                code = ExitCode::FAILURE;
            }
        }
        if let Some(least) = self.min_ratio {
            match report.objective.ratio {
                None if code == ExitCode::SUCCESS => {
                    writeln!(out, "there is no coverage ratio: nothing is expected")?;
                    code = ExitCode::from(EXIT_INCONCLUSIVE);
                }
                Some(ratio) if ratio < least => {
                    writeln!(out, "coverage {ratio:.3} is below {least}")?;
                    code = ExitCode::FAILURE;
                }
                _ => {}
            }
        }
        Ok(code)
    }
}

/// What could not be seen of this host.
fn say_of_host(host: &HostView) -> std::io::Result<()> {
    let mut out = stderr().lock();
    writeln!(
        out,
        "{} processes of this host listen",
        host.listeners.len()
    )?;
    if !host.unknown_ports.is_empty() {
        let ports: Vec<String> = host.unknown_ports.iter().map(u16::to_string).collect();
        writeln!(
            out,
            "warning: who listens on port {} cannot be seen; run it as root",
            ports.join(", ")
        )?;
    }
    if host.omitted > 0 {
        writeln!(out, "warning: {} more sockets were left out", host.omitted)?;
    }
    Ok(())
}

fn write(folder: &Path, report: &CoverageReport, endpoint: &str) -> anyhow::Result<()> {
    let mut json = serde_json::to_string_pretty(report)?;
    json.push('\n');
    let own = ProbeFile {
        name: "coverage.json",
        text: json,
    };
    let probes = files(&report.probes, endpoint);
    let mut out = stderr().lock();
    if probes.is_empty() {
        writeln!(
            out,
            "no probe: no gap has a process that could be told from others"
        )?;
    }
    for file in [own].iter().chain(&probes) {
        let path = folder.join(file.name);
        disk::replace(&path, file.text.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
        writeln!(out, "{}", path.display())?;
    }
    Ok(())
}

/// The report for people.
fn text_of(report: &CoverageReport) -> String {
    let mut text = summary(report) + "\n";
    if let Some(seen) = &report.instrumentation {
        write_scores(&mut text, seen);
        write_edges(&mut text, seen);
        write_findings(&mut text, seen);
    }
    if !report.probes.is_empty() {
        text.push_str("\ngaps, the most valuable first:\n");
        for probe in report.probes.iter().take(ROWS_SHOWN) {
            let (target, kind) = (shown(&probe.target), probe.kind.label());
            line(
                &mut text,
                format_args!("  {target} ({kind}): {}", visible(&probe.reason)),
            );
        }
        more(&mut text, report.probes.len().saturating_sub(ROWS_SHOWN));
    }
    text
}

fn write_scores(text: &mut String, seen: &Instrumentation) {
    if seen.scores.is_empty() {
        return;
    }
    let rows: Vec<[String; 6]> = seen.scores.iter().take(ROWS_SHOWN).map(score_row).collect();
    text.push('\n');
    text.push_str(&table(
        [
            "SERVICE", "SCORE", "CATEGORY", "LANGUAGE", "SPANS", "BROKEN",
        ],
        &rows,
    ));
    more(text, seen.scores.len().saturating_sub(ROWS_SHOWN));
    line(text, format_args!("{}", disclosure(&seen.method)));
}

fn score_row(own: &InstrumentationScore) -> [String; 6] {
    let broken = own
        .rules
        .iter()
        .filter(|rule| rule.status == RuleStatus::Fail)
        .map(|rule| rule.id.as_str());
    let broken: Vec<&str> = broken.collect();
    let category = own.category.map_or("", |category| category.label());
    [
        shown(&own.service.name),
        own.score
            .map_or_else(|| "-".to_owned(), |score| format!("{score:.1}")),
        category.to_owned(),
        own.language.as_deref().map(shown).unwrap_or_default(),
        own.spans.to_string(),
        broken.join(" "),
    ]
}

fn write_edges(text: &mut String, seen: &Instrumentation) {
    let between = seen
        .edges
        .iter()
        .filter(|edge| edge.kind != PeerKind::Service || edge.answered + edge.failed < edge.calls);
    let rows: Vec<[String; 6]> = between
        .take(ROWS_SHOWN)
        .map(|edge| {
            [
                shown(&edge.caller.name),
                shown(&edge.peer),
                edge.kind.label().to_owned(),
                edge.calls.to_string(),
                edge.answered.to_string(),
                edge.failed.to_string(),
            ]
        })
        .collect();
    if !rows.is_empty() {
        text.push_str("\ncalls that end where no span answers:\n");
        text.push_str(&table(
            ["CALLER", "PEER", "KIND", "CALLS", "ANSWERED", "FAILED"],
            &rows,
        ));
    }
}

fn write_findings(text: &mut String, seen: &Instrumentation) {
    if seen.findings.is_empty() {
        return;
    }
    text.push_str("\nfindings (no part of the score):\n");
    for finding in seen.findings.iter().take(ROWS_SHOWN) {
        let (level, kind) = (finding.level, finding.kind.label());
        line(
            text,
            format_args!("{level}[{kind}] {}", visible(&finding.text)),
        );
        let language = finding
            .language
            .as_deref()
            .map_or_else(String::new, |language| format!(" ({})", shown(language)));
        line(text, format_args!("  to do{language}: {}", finding.remedy));
        if !finding.traces.is_empty() {
            line(
                text,
                format_args!("  traces: {}", visible(&finding.traces.join(" "))),
            );
        }
    }
    let listed = seen.findings.len() as u64 + seen.findings_omitted;
    let omitted = listed.saturating_sub(ROWS_SHOWN as u64);
    more(text, usize::try_from(omitted).unwrap_or(usize::MAX));
}

fn shown(name: &str) -> String {
    cut(&visible(name), NAME_WIDTH)
}

fn more(text: &mut String, omitted: usize) {
    if omitted > 0 {
        line(text, format_args!("and {omitted} more; --json has them"));
    }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let written = writeln!(text, "{arguments}");
    debug_assert!(written.is_ok(), "a string takes whatever is written");
}
