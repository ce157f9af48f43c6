//! `rca evaluate`: how often the cause of known incidents is ranked first, and whether nothing is found where nothing is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::adapter::rca::evaluate::{Accuracy, Judged, NullCheck, accuracy, judge, null_check};
use crate::cli::Usage;
use crate::cli::rca::{SettingsArgs, read};
use crate::cli::text::{print, print_json, table};
use crate::config::Config;
use crate::model::trace::Trace;

const EXAMPLES: &str = "\
Examples:
  slo-copilot rca evaluate incidents/
  slo-copilot rca evaluate incidents/ --null-deals 100 --json > accuracy.json

A case is a directory with
  normal.jsonl      traces of a time when all was well (any form that `analyze` reads; also .gz, .zst)
  abnormal.jsonl    traces of the incident
  label.json        {\"system\": \"shop\", \"root_cause_service\": \"payment\", \"fault_kind\": \"network_delay\"}";

/// Arguments of `rca evaluate`.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Directories of cases, or directories that hold such.
    #[arg(value_name = "DIR", required = true)]
    directories: Vec<PathBuf>,

    /// How often the normal traces of each system and day are dealt into two halves, between which nothing should be found.
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    null_deals: u32,

    /// JSON instead of tables, with every case.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    settings: SettingsArgs,
}

/// `label.json`; other keys are passed over.
#[derive(Debug, Deserialize)]
struct Label {
    system: String,
    root_cause_service: String,
    fault_kind: String,
}

#[derive(Debug)]
struct Case {
    name: String,
    label: Label,
    normal: PathBuf,
    abnormal: PathBuf,
}

#[derive(Debug, Serialize)]
struct Answer {
    accuracy: Vec<Accuracy>,
    nothing_wrong: Vec<NullCheck>,
    cases: Vec<Judged>,
}

/// Judges all cases.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = args.settings.load()?;
    let cases = cases(&args.directories)?;
    let bar = ProgressBar::new(cases.len() as u64);
    // The template is a constant, and a wrong one only costs the looks.
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    let mut judged = Vec::new();
    let mut normals: BTreeMap<Vec<Box<str>>, (String, Vec<Trace>)> = BTreeMap::new();
    for case in &cases {
        bar.set_message(case.name.clone());
        let normal = traces(&case.normal, &config)?;
        let abnormal = traces(&case.abnormal, &config)?;
        let label = (
            case.name.as_str(),
            case.label.system.as_str(),
            case.label.root_cause_service.as_str(),
            case.label.fault_kind.as_str(),
        );
        let began = Instant::now();
        let mut one = judge(label, (&normal, &abnormal), &config.adapters.rca);
        one.seconds = began.elapsed().as_secs_f64();
        judged.push(one);
        if args.null_deals > 0 {
            // Cases of one day share their normal traces; these are checked once.
            let ids = normal.iter().map(|trace| trace.trace_id.clone());
            normals
                .entry(ids.collect())
                .or_insert_with(|| (case.name.clone(), normal));
        }
        bar.inc(1);
    }
    let mut nothing_wrong = Vec::new();
    for (case, normal) in normals.values() {
        bar.set_message(format!("halves of the normal traces of {case}"));
        let deals = args.null_deals;
        nothing_wrong.push(null_check(case, normal, deals, &config.adapters.rca));
    }
    bar.finish_and_clear();
    let answer = Answer {
        accuracy: accuracy(&judged),
        nothing_wrong,
        cases: judged,
    };
    if args.json {
        print_json(&answer)?;
    } else {
        print(&text(&answer))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn traces(path: &Path, config: &Config) -> anyhow::Result<Vec<Trace>> {
    let traces = read(&[path.display().to_string()], config)?.traces;
    anyhow::ensure!(
        !traces.is_empty(),
        Usage(format!("{}: no traces with ids", path.display()))
    );
    Ok(traces)
}

/// The cases of directories, each a case or a directory of cases, by name.
fn cases(directories: &[PathBuf]) -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for directory in directories {
        if directory.join("label.json").exists() {
            cases.push(case(directory)?);
            continue;
        }
        let entries = fs::read_dir(directory)
            .with_context(|| format!("cannot read the directory {}", directory.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.join("label.json").exists() {
                cases.push(case(&path)?);
            }
        }
    }
    anyhow::ensure!(
        !cases.is_empty(),
        Usage("none of the directories holds a case: a directory with label.json, normal.jsonl and abnormal.jsonl".to_owned())
    );
    cases.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(cases)
}

fn case(directory: &Path) -> anyhow::Result<Case> {
    let label = directory.join("label.json");
    let text = fs::read_to_string(&label)?;
    let label: Label =
        serde_json::from_str(&text).with_context(|| format!("{} is no label", label.display()))?;
    let name = directory.file_name().unwrap_or(directory.as_os_str());
    Ok(Case {
        name: name.to_string_lossy().into_owned(),
        label,
        normal: file(directory, "normal")?,
        abnormal: file(directory, "abnormal")?,
    })
}

/// The file of this name, whatever its suffix.
fn file(directory: &Path, stem: &str) -> anyhow::Result<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.split('.').next() == Some(stem) {
            found.push(path);
        }
    }
    found.sort();
    found.into_iter().next().with_context(|| {
        format!(
            "{} holds no {stem}.jsonl (or .jsonl.gz …)",
            directory.display()
        )
    })
}

fn text(answer: &Answer) -> String {
    let heads = [
        "system",
        "fault",
        "cases",
        "AC@1",
        "AC@3",
        "Avg@5",
        "found",
        "found and first",
        "s/case",
    ];
    let rows: Vec<[String; 9]> = answer
        .accuracy
        .iter()
        .map(|row| {
            [
                row.system.clone(),
                row.fault_kind.clone().unwrap_or_else(|| "all".to_owned()),
                row.cases.to_string(),
                format!("{:.2}", row.ac1),
                format!("{:.2}", row.ac3),
                format!("{:.2}", row.avg5),
                format!("{:.2}", row.found),
                format!("{:.2}", row.found_first),
                format!("{:.3}", row.seconds),
            ]
        })
        .collect();
    let mut text = table(heads, &rows);
    for check in &answer.nothing_wrong {
        // Writing into a string does not fail.
        write!(
            text,
            "\nhalves of the {} normal traces of {}, dealt {} times: found something {} times",
            check.traces, check.case, check.deals, check.found
        )
        .unwrap_or_default();
    }
    text + "\n"
}
