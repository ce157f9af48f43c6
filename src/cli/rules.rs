//! `rules`: Prometheus rules from OpenSLO files, and unit tests for them.

use std::collections::BTreeMap;
use std::io::{Write as _, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};

use super::EXIT_USAGE;
use crate::cli::documents::{counted, line, sort, sources};
use crate::cli::{Failure, Usage};
use crate::disk;
use crate::evaluator::burn_rate::Limits;
use crate::exporter::rules::{self, Placement, Problem, RuleSet};
use crate::model::finding::{Finding, Level};
use crate::openslo::read::{Reading, read};
use crate::openslo::v1::Document;

const EXAMPLES: &str = "\
Examples:
  slo-copilot rules slos/ > slo.rules.yaml
  slo-copilot rules slos/ --output prometheus/ --tests && promtool test rules prometheus/*.test.yaml
  slo-copilot rules 'slo-copilot-out/openslo/*.yaml' | promtool check rules --lint=all --lint-fatal
  cat slo.yaml | slo-copilot rules - --format operator --namespace monitoring --label release=prometheus | kubectl apply -f -

An indicator counts events over [{{.window}}], as in Sloth, or is a selector of a counter with counter: true. Series and
groups have the names of Sloth, so that its Grafana dashboards work; burn rates and budgets go by events, not by the mean of
ratios. `validate --rules` lists what keeps an SLO from becoming rules (rules-*).

Slices of time (Timeslices, RatioTimeslices) are cut from midnight UTC, judged at their ends and summed; their group is
evaluated each minute. A slice needs two scrapes at least, four are better. What slices without events count as says the
annotation slo-copilot.dev/empty-slices: good (default), bad or excluded. Composites burn by compositeWeight or slice by slice.

Prometheus sees no increase in a counter that is born with its first error: counters should start at 0. Budgets need data
for their whole period (--storage.tsdb.retention.time) and an evaluation every 5m at least.

Exit codes: 0 rules for every SLO, 1 some SLO has none, 2 a file cannot be read.";

/// Arguments of `rules`.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files, directories (*.yaml, *.yml, *.json below them), patterns, or - for standard input.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<String>,

    /// Write `<service>.rules.yaml` for each service into this directory instead of standard output.
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,

    /// Also write `<service>.test.yaml` beside them, for promtool test rules; where steps are no minutes, the name has their
    /// length, as in `*.5m.test.yaml`.
    #[arg(long, requires = "output")]
    pub tests: bool,

    /// Form of the rules.
    #[arg(long, value_enum, default_value_t = Format::Prometheus)]
    pub format: Format,

    /// Namespace of a `PrometheusRule`.
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,

    /// Label of a `PrometheusRule`, by which an operator selects rules; may be given again.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,

    /// Burn-rate alerts ask for so many bad events in their long window.
    #[arg(long, value_name = "N", default_value_t = Limits::default().min_bad_events)]
    pub min_bad_events: u64,
}

/// Form of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Files for `rule_files` of Prometheus.
    Prometheus,
    /// Objects of kind `PrometheusRule` for the Prometheus Operator.
    Operator,
}

fn label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or("a label is written as KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Generates and prints or writes.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    check_usage(args)?;
    let (files, unreadable) = sources(&args.files);
    let all_readable = unreadable.is_empty();
    for error in unreadable {
        writeln!(stderr(), "error: {}", Failure::from(error))?;
    }
    let Reading {
        documents,
        mut findings,
        ..
    } = read(&files);
    let limits = Limits {
        min_bad_events: args.min_bad_events,
        ..Limits::default()
    };
    let bare: Vec<&Document> = documents.iter().map(|document| &document.value).collect();
    let (set, problems) = RuleSet::of(&bare, limits);
    findings.extend(problems.into_iter().filter_map(|problem| {
        let Problem {
            rule,
            document,
            path,
            message,
        } = problem;
        Some(Finding {
            rule: rule.id.to_owned(),
            level: rule.level,
            message,
            location: Some(documents.get(document)?.location(&path)),
        })
    }));
    sort(&mut findings, &files);
    for finding in &findings {
        writeln!(stderr(), "{}", line(finding))?;
    }
    write_rules(args, &set)?;
    let fails = findings.iter().any(|found| found.level == Level::Error) || set.is_empty();
    if set.is_empty() {
        writeln!(stderr(), "error: no SLO of these files has become rules")?;
    }
    Ok(if all_readable {
        ExitCode::from(u8::from(fails))
    } else {
        ExitCode::from(EXIT_USAGE)
    })
}

fn check_usage(args: &Args) -> Result<(), Usage> {
    let is_operator = args.format == Format::Operator;
    if is_operator && args.tests {
        let message = "--tests needs --format prometheus: promtool reads no PrometheusRule";
        return Err(Usage(message.to_owned()));
    }
    if !is_operator && (args.namespace.is_some() || !args.labels.is_empty()) {
        let message = "--namespace and --label belong to a PrometheusRule: add --format operator";
        return Err(Usage(message.to_owned()));
    }
    Ok(())
}

fn write_rules(args: &Args, set: &RuleSet) -> anyhow::Result<()> {
    if let Some(directory) = &args.output {
        return write_files(args, set, directory);
    }
    if set.is_empty() {
        return Ok(());
    }
    let text = match args.format {
        Format::Prometheus => rendered(args, set, None)?,
        Format::Operator => {
            let objects = set
                .services()
                .map(|service| rendered(args, set, Some(service)));
            objects
                .collect::<anyhow::Result<Vec<String>>>()?
                .join("---\n")
        }
    };
    stdout()
        .write_all(text.as_bytes())
        .context("cannot write the rules")
}

/// The rules of a service, or of all.
fn rendered(args: &Args, set: &RuleSet, service: Option<&str>) -> anyhow::Result<String> {
    let groups = set.groups(service);
    if let Some(defect) = groups.defects().first() {
        bail!("a rule would not be understood, which is a defect of slo-copilot: {defect}");
    }
    Ok(match (args.format, service) {
        (Format::Operator, Some(service)) => {
            let labels: BTreeMap<String, String> = args.labels.iter().cloned().collect();
            let placement = Placement {
                namespace: args.namespace.clone(),
                labels,
            };
            groups.to_operator_yaml(service, &placement)?
        }
        (Format::Prometheus, _) | (_, None) => groups.to_yaml()?,
    })
}

fn write_files(args: &Args, set: &RuleSet, directory: &Path) -> anyhow::Result<()> {
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        disk::replace(&path, text.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))
    };
    let mut written = 0;
    for service in set.services() {
        let rule_file = format!("{service}.rules.yaml");
        write(&rule_file, &rendered(args, set, Some(service))?)?;
        written += 1;
        if args.tests {
            let (tests, untested) = set.tests(service, &rule_file);
            for (suffix, test) in tests {
                write(&format!("{service}.{suffix}"), &test.to_yaml()?)?;
                written += 1;
            }
            for rules::Untested { name, reason } in untested {
                writeln!(
                    stderr(),
                    "note: not every alert of {name} is tested: {reason}"
                )?;
            }
        }
    }
    writeln!(
        stderr(),
        "{} for {} written to {}",
        counted(written, "file"),
        counted(set.len(), "SLO"),
        directory.display()
    )?;
    Ok(())
}
