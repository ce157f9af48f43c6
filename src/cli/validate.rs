//! `validate`: the strict OpenSLO v1 validator.

use std::fmt::Write as _;
use std::io::{Write as _, stderr, stdout};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use serde::Serialize;

use super::EXIT_USAGE;
use crate::cli::Failure;
use crate::cli::documents::{counted, line, sort, sources};
use crate::exporter::ci;
use crate::model::finding::{Finding, Level};
use crate::openslo::adopt;
use crate::openslo::read::{SourceFile, read};
use crate::openslo::rules;

const EXAMPLES: &str = "\
Examples:
  slo-copilot validate slos/
  slo-copilot validate 'slos/**/*.yaml' services.json --strict
  cat slo.yaml | slo-copilot validate -
  slo-copilot validate slos/ --format sarif > openslo.sarif
  slo-copilot validate 'slo-copilot-out/openslo/*.yaml' --adopt
  slo-copilot validate --rules

References hold between all files of one call. Exit codes: 0 no errors, 1 errors, 2 a file cannot be read.";

/// Arguments of `validate`.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files, directories (*.yaml, *.yml, *.json below them), patterns, or - for standard input.
    #[arg(value_name = "FILE", required_unless_present = "rules")]
    pub files: Vec<String>,

    /// How findings are printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,

    /// Let warnings fail too.
    #[arg(long)]
    pub strict: bool,

    /// Also say what keeps SLOs from being adopted by objectives.files.
    #[arg(long)]
    pub adopt: bool,

    /// Print the rules instead; with --format json, with an example that keeps and one that breaks each.
    #[arg(long, conflicts_with = "files")]
    pub rules: bool,
}

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people: one line a finding.
    Text,
    /// For programs: counts and findings.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// GitHub's workflow commands, which become annotations.
    Github,
}

/// What was looked at, and what was found.
#[derive(Debug, Serialize)]
struct Outcome {
    files: Vec<String>,
    documents: usize,
    errors: usize,
    warnings: usize,
    notes: usize,
    findings: Vec<Finding>,
}

/// Validates and prints.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.rules {
        let Some(table) = rule_table(args.format)? else {
            writeln!(stderr(), "error: --rules prints text or json")?;
            return Ok(ExitCode::from(EXIT_USAGE));
        };
        print(&table)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (files, unreadable) = sources(&args.files);
    let all_readable = unreadable.is_empty();
    for error in unreadable {
        writeln!(stderr(), "error: {}", Failure::from(error))
            .context("cannot write to standard error")?;
    }
    let outcome = Outcome::of(&files, args.adopt);
    print(&outcome.printed(args.format)?)?;
    let fails = outcome.errors > 0 || (args.strict && outcome.warnings > 0);
    Ok(if all_readable {
        ExitCode::from(u8::from(fails))
    } else {
        ExitCode::from(EXIT_USAGE)
    })
}

fn print(text: &str) -> anyhow::Result<()> {
    stdout()
        .write_all(text.as_bytes())
        .context("cannot write the findings")
}

impl Outcome {
    fn of(files: &[SourceFile], with_adoption: bool) -> Self {
        let reading = read(files);
        let mut findings = reading.findings;
        if with_adoption {
            let (_, adoption) = adopt::objectives(&reading.documents);
            findings.extend(adoption);
            sort(&mut findings, files);
        }
        let count = |level| findings.iter().filter(|found| found.level == level).count();
        Self {
            files: files.iter().map(|file| file.name.clone()).collect(),
            documents: reading.document_count,
            errors: count(Level::Error),
            warnings: count(Level::Warning),
            notes: count(Level::Note),
            findings,
        }
    }

    fn printed(&self, format: Format) -> anyhow::Result<String> {
        Ok(match format {
            Format::Text => self.text(),
            Format::Json => serde_json::to_string_pretty(self)? + "\n",
            Format::Sarif => {
                let rules: Vec<(&'static str, String)> = rules::all()
                    .map(|rule| (rule.id, rule.summary.to_owned()))
                    .collect();
                ci::sarif(&rules, &self.findings)?
            }
            Format::Github => ci::github(&self.findings),
        })
    }

    /// One line a finding, an empty line between files, and a summary.
    fn text(&self) -> String {
        let mut text = String::new();
        let file = |finding: &Finding| finding.location.as_ref().map(|found| found.file.clone());
        for findings in self.findings.chunk_by(|a, b| file(a) == file(b)) {
            for finding in findings {
                text.push_str(&line(finding));
                text.push('\n');
            }
            text.push('\n');
        }
        text.push_str(&self.summary());
        text.push('\n');
        text
    }

    fn summary(&self) -> String {
        let looked_at = format!(
            "{}, {}",
            counted(self.files.len(), "file"),
            counted(self.documents, "document")
        );
        if self.findings.is_empty() {
            return format!("{looked_at}: no findings");
        }
        format!(
            "{looked_at}: {}, {}, {}",
            counted(self.errors, "error"),
            counted(self.warnings, "warning"),
            counted(self.notes, "note")
        )
    }
}

/// The rules for people or for programs; other formats have no place for them.
fn rule_table(format: Format) -> anyhow::Result<Option<String>> {
    match format {
        Format::Text => {
            let mut table = String::new();
            for rule in rules::all() {
                let (id, level) = (rule.id, rule.level.to_string());
                writeln!(table, "{id:26} {level:8} {}", rule.summary)?;
                writeln!(table, "{:35} Basis: {}.", "", rule.basis)?;
            }
            Ok(Some(table))
        }
        Format::Json => {
            let rules: Vec<&rules::Rule> = rules::all().collect();
            Ok(Some(serde_json::to_string_pretty(&rules)? + "\n"))
        }
        Format::Sarif | Format::Github => Ok(None),
    }
}
