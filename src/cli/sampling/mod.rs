//! `sampling`: what telemetry will cost, and which rates a budget allows.

mod summary;
mod volumes;

use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use serde::Serialize;

use crate::adapter::sampling::Config;
use crate::adapter::sampling::outlook::{HOURS_PER_DAY, Outlook, hour_of};
use crate::adapter::sampling::rates::{Rate, plan, rates};
use crate::adapter::sampling::recommend::{BUDGETS, Rule, fill, of_volumes, percent};
use crate::adapter::sampling::roots::Roots;
use crate::adapter::sampling::settings::{Budget, Unit};
use crate::cli::Usage;
use crate::cli::endpoint::AdminEndpoint;
use crate::cli::sampling::summary::summary;
use crate::cli::sampling::volumes::{check_volumes, read_volumes};
use crate::cli::text::print_json;
use crate::cli::traces::{read_each, show_findings};
use crate::model::NANOS_PER_SEC;
use crate::model::recommendation::{SamplingAction, TelemetryRecommendation};
use crate::model::report::Report;
use crate::model::trace::Trace;
use crate::receiver::file::find_inputs;
use crate::service::whole_traces::WholeTraces;

const EXAMPLES: &str = "\
Examples:
  # daily volumes as multiples of their budget, the oldest first
  slo-copilot sampling --volume 0.8 --volume 0.9 --volume 1.1

  # daily spans of a CSV file (its last column) or of a JSON array, against a budget
  slo-copilot sampling --volumes spans.csv --spans-per-day 20000000

  # rates of each root operation, from recorded traces
  slo-copilot sampling traces.jsonl --spans-per-day 5000000

  # what a running server recommends
  slo-copilot sampling --endpoint http://127.0.0.1:9464

The answer is JSON on standard output; tables for people go to standard error.";

/// Traces of less than a day are taken as a part of it; of less than this, in seconds, with a warning.
const SECS_TRUSTED: f64 = 3_600.0;

const SECS_PER_DAY: f64 = 86_400.0;

/// Arguments of `sampling`.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Trace files, directories or globs; `-` reads standard input. OTLP (JSON, JSON lines, protobuf), span lists,
    /// Jaeger and Zipkin JSON, each plain, gzip or zstd; told apart by content.
    #[arg(value_name = "TRACE")]
    traces: Vec<String>,

    /// Configuration file (YAML), as `serve` takes it.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Set one configuration key; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,

    /// Telemetry of one day, the oldest first: in multiples of the budget, or in its unit where one is given. May be
    /// repeated.
    #[arg(long, value_name = "VOLUME")]
    volume: Vec<f64>,

    /// Daily volumes of a file, the oldest first: CSV, of which the last column counts, or JSON: an array of numbers, or of
    /// objects with `volume`.
    #[arg(long, value_name = "FILE", conflicts_with = "volume")]
    volumes: Option<PathBuf>,

    /// The budget in spans a day; short for `--set adapters.sampling.budget.spans_per_day=N`.
    #[arg(long, value_name = "N")]
    spans_per_day: Option<f64>,

    /// Bytes of a span of the traces, for budgets in bytes or money: files do not say how large their spans are as OTLP.
    #[arg(long, value_name = "N")]
    bytes_per_span: Option<f64>,

    /// Ask the admin endpoint of a running server.
    #[arg(long, value_name = "URL", conflicts_with_all = ["volume", "volumes", "traces"])]
    endpoint: Option<String>,

    /// Certificates in PEM form that https trusts beside the system's.
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    ca_file: Option<PathBuf>,
}

/// What the command prints.
#[derive(Debug, Serialize)]
struct Answer {
    #[serde(flatten)]
    recommendation: TelemetryRecommendation,
    /// Root operations with their rates; empty without traces and a budget.
    rates: Vec<Rate>,
}

/// Runs the command.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let answer = match &args.endpoint {
        Some(url) => ask(url, args.ca_file.as_deref()).await?,
        None => args.answer()?,
    };
    stderr().lock().write_all(summary(&answer).as_bytes())?;
    print_json(&answer)?;
    Ok(ExitCode::SUCCESS)
}

async fn ask(url: &str, ca_file: Option<&Path>) -> anyhow::Result<Answer> {
    let report: Report = AdminEndpoint::new(url, ca_file)?
        .get(&["api", "v1", "report"])
        .await?;
    let recommendation = report.telemetry_recommendation.ok_or_else(|| {
        Usage("this server has no telemetry recommendation: adapters.sampling.enabled is false, or it has just started".to_owned())
    })?;
    Ok(Answer {
        recommendation: (*recommendation).clone(),
        rates: Vec::new(),
    })
}

/// The rule of a configuration.
fn rule(config: &Config, budget_per_day: Option<f64>) -> Rule {
    Rule {
        budget_per_day,
        horizon_days: config.horizon_days,
        alert_probability: config.alert_probability,
    }
}

/// What `analyze` says about volumes that are multiples of their budget.
pub(super) fn of_budgets(
    volumes: &[f64],
    config: &Config,
    is_incident: bool,
) -> anyhow::Result<TelemetryRecommendation> {
    check_volumes(volumes, "--telemetry-volume")?;
    Ok(of_volumes(
        volumes,
        BUDGETS,
        &rule(config, Some(1.0)),
        is_incident,
    ))
}

impl Args {
    fn config(&self) -> anyhow::Result<crate::config::Config> {
        let mut config =
            crate::config::Config::load(self.config.as_deref(), std::env::vars(), &self.sets)?;
        let sampling = &mut config.adapters.sampling;
        if self.spans_per_day.is_some() {
            sampling.budget.spans_per_day = self.spans_per_day;
        }
        sampling
            .check()
            .map_err(|(key, message)| Usage(format!("{key}: {message}")))?;
        Ok(config)
    }

    fn answer(&self) -> anyhow::Result<Answer> {
        let config = self.config()?;
        let sampling = &config.adapters.sampling;
        let has_traces = !self.traces.is_empty();
        let told = match &self.volumes {
            Some(path) => Some((read_volumes(path)?, path.display().to_string())),
            None if self.volume.is_empty() => None,
            None => Some((self.volume.clone(), "--volume".to_owned())),
        };
        let Some((volumes, source)) = told else {
            anyhow::ensure!(
                has_traces,
                Usage("name trace files, --volume, --volumes or --endpoint".to_owned())
            );
            return self.of_traces(&config);
        };
        check_volumes(&volumes, &source)?;
        let budget = sampling.budget.budget();
        let unit = budget.map_or(BUDGETS, |own| own.unit.label());
        let per_day = budget.map_or(1.0, |own| own.per_day);
        let recommendation = of_volumes(&volumes, unit, &rule(sampling, Some(per_day)), false);
        if !has_traces {
            return Ok(Answer {
                recommendation,
                rates: Vec::new(),
            });
        }
        let answer = self.of_traces(&config)?;
        Ok(Answer {
            recommendation: TelemetryRecommendation {
                kept_ratio: answer.recommendation.kept_ratio,
                plan: answer.recommendation.plan,
                ..recommendation
            },
            rates: answer.rates,
        })
    }

    fn of_traces(&self, config: &crate::config::Config) -> anyhow::Result<Answer> {
        let inputs = find_inputs(&self.traces)?;
        let mut whole = WholeTraces::new(config);
        read_each(&inputs, |input, progress| whole.read(input, progress))?;
        show_findings(whole.findings())?;
        let assembled = whole.finish();
        let sampling = &config.adapters.sampling;
        let budget = sampling.budget.budget();
        let cost = self.cost_of_span(budget)?;
        anyhow::ensure!(
            !assembled.traces.is_empty(),
            Usage("the traces hold no spans to measure".to_owned())
        );
        let mut measured = Measured::of(&assembled.traces, sampling.max_operations);
        measured.scale = 1.0 / assembled.kept_ratio.max(f64::MIN_POSITIVE);
        let mut answer = measured.answer(sampling, budget, cost);
        if assembled.left_out_spans > 0 {
            answer.recommendation.notes.push(format!(
                "{} of the traces were held in memory; raise tests.max_trace_bytes to read all",
                percent(assembled.kept_ratio)
            ));
        }
        Ok(answer)
    }

    /// What one span costs in the unit of the budget.
    fn cost_of_span(&self, budget: Option<Budget>) -> anyhow::Result<f64> {
        let unit = budget.map_or(Unit::Spans, |own| own.unit);
        let bytes = match self.bytes_per_span {
            Some(bytes) if bytes.is_finite() && bytes > 0.0 => bytes,
            Some(bytes) => {
                return Err(Usage(format!("--bytes-per-span {bytes}: must be above 0")).into());
            }
            None if unit.needs_bytes() => {
                let message = "a budget in bytes, or in money by price_per_gb, needs --bytes-per-span: files do not say how large their spans are as OTLP";
                return Err(Usage(message.to_owned()).into());
            }
            None => 0.0,
        };
        Ok(unit.of_span(bytes))
    }
}

/// What traces of files say.
struct Measured {
    roots: Roots,
    outlook: Outlook,
    spans: f64,
    first: u64,
    last: u64,
    /// Traces for each one that was held.
    scale: f64,
}

impl Measured {
    fn of(traces: &[Trace], max_operations: usize) -> Self {
        let mut measured = Self {
            roots: Roots::new(max_operations),
            outlook: Outlook::default(),
            spans: 0.0,
            first: u64::MAX,
            last: 0,
            scale: 1.0,
        };
        for trace in traces {
            measured.roots.add(trace);
            for span in &trace.spans {
                measured.first = measured.first.min(span.start);
                measured.last = measured.last.max(span.end);
                measured.spans += span.weight;
                measured.outlook.add(hour_of(span.end), span.weight);
            }
        }
        measured
    }

    fn answer(mut self, config: &Config, budget: Option<Budget>, cost: f64) -> Answer {
        let rule = rule(config, budget.map(|own| own.per_day));
        let secs = self.last.saturating_sub(self.first) as f64 / NANOS_PER_SEC as f64;
        let days = secs.max(1.0) / SECS_PER_DAY;
        let per_day = self.spans / days * self.scale;
        let mut made = TelemetryRecommendation {
            unit: budget.map_or("spans", |own| own.unit.label()).to_owned(),
            budget_per_day: rule.budget_per_day,
            ..TelemetryRecommendation::default()
        };
        self.outlook.refresh(self.last, config.horizon_days);
        match self.outlook.forecasted() {
            Some(forecasted) if secs > 3.0 * SECS_TRUSTED => {
                let mut forecasted = forecasted.clone();
                forecasted.prediction = forecasted.prediction.scaled(cost * self.scale);
                fill(&mut made, &forecasted, HOURS_PER_DAY, &rule);
            }
            Some(_) | None => {
                let volume = per_day * cost;
                let told = of_volumes(&[volume], &made.unit, &rule, false);
                made.forecast = told.forecast;
                made.method = told.method;
                made.probability_over_budget = told.probability_over_budget;
                made.budget_alert = told.budget_alert;
                made.notes.push(
                    "the traces span less than three hours: their rate is taken for that of a day, with wide bounds"
                        .to_owned(),
                );
            }
        }
        let Some(budget) = budget else {
            made.notes.push(
                "no budget is set (--spans-per-day, or adapters.sampling.budget): all is sampled in full"
                    .to_owned(),
            );
            return Answer {
                recommendation: made,
                rates: Vec::new(),
            };
        };
        let rates = rates(
            &self.roots,
            days / self.scale,
            budget.per_day / cost,
            config,
        );
        let all: f64 = rates
            .iter()
            .map(|rate| rate.traces_per_day * rate.spans_per_trace)
            .sum();
        let kept: f64 = rates.iter().map(|rate| rate.kept_spans_per_day).sum();
        made.kept_ratio = (all > 0.0).then(|| kept / all);
        made.sampling_action = if made.kept_ratio.is_some_and(|kept| kept < 0.999) {
            SamplingAction::DecreaseSampling
        } else {
            SamplingAction::MaintainSampling
        };
        made.plan = Some(Arc::new(plan(&rates)));
        Answer {
            recommendation: made,
            rates,
        }
    }
}
