//! `slo-copilot scrub`: files without personal data and secrets.

use std::collections::BTreeSet;
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use serde::Serialize;

use crate::cli::Usage;
use crate::cli::traces::read_each;
use crate::config::Config;
use crate::disk;
use crate::pii::{Counts, Scrubber};
use crate::receiver::file::scrub::{Scrubbed, scrub_file};
use crate::receiver::file::{FileError, FileSettings, STANDARD_INPUT, TraceInput, find_inputs};

/// Arguments of `scrub`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  slo-copilot scrub app.log > app.clean.log
  slo-copilot scrub traces/ -o clean/ --report findings.json
  slo-copilot scrub --check 'fixtures/**/*.json'
  slo-copilot scrub spans.jsonl.gz --in-place --set pii.actions.email=hash --set pii.hash_key=$KEY
  kubectl logs deploy/shop | slo-copilot scrub -

Exit codes: 0 done, or nothing found; 1 --check found something; 2 usage or broken input.")]
pub struct Args {
    /// Files, directories or globs; `-` reads standard input. Text, JSON, JSON lines, and traces as `analyze` takes them,
    /// each plain, gzip or zstd; told apart by content. A JSON document of several lines is read whole, at most 64 MiB.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,

    /// File for what is left, or directory where there are several; standard output if not said.
    #[arg(short, long, value_name = "FILE|DIR", conflicts_with_all = ["check", "in_place"])]
    output: Option<PathBuf>,

    /// Replace the files themselves, each at once and as a whole.
    #[arg(long, conflicts_with = "check")]
    in_place: bool,

    /// Write no scrubbed file; exit with 1 if anything is found.
    #[arg(long)]
    check: bool,

    /// Write what was found as JSON: kinds, actions, numbers, keys; no values.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// Configuration file (YAML), as `serve` takes it; section `pii` counts.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Set one configuration key; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

/// What `--report` writes.
#[derive(Debug, Default, Serialize)]
struct Findings {
    total: u64,
    #[serde(rename = "findings")]
    by_kind: Counts,
    files: Vec<FileFindings>,
}

#[derive(Debug, Serialize)]
struct FileFindings {
    file: String,
    format: &'static str,
    lines_not_json: u64,
    findings: Counts,
}

impl Findings {
    fn add(&mut self, input: &TraceInput, scrubbed: Scrubbed) {
        self.by_kind.merge(&scrubbed.counts);
        self.total = self.by_kind.total();
        self.files.push(FileFindings {
            file: input.name().to_owned(),
            format: scrubbed.format.label(),
            lines_not_json: scrubbed.lines_not_json,
            findings: scrubbed.counts,
        });
    }

    /// What was found, for people.
    fn show(&self) -> std::io::Result<()> {
        let mut out = stderr().lock();
        for file in self.files.iter().filter(|file| file.lines_not_json > 0) {
            let (name, lines) = (&file.file, file.lines_not_json);
            writeln!(
                out,
                "warning: {name}: {lines} lines are no JSON; they were taken for text, in which keys say less"
            )?;
        }
        for finding in self.by_kind.findings() {
            let action = finding.action.label();
            writeln!(out, "{:>8} {} ({action})", finding.count, finding.kind)?;
        }
        let (total, files) = (self.total, self.files.len());
        writeln!(out, "{total} findings in {files} files")
    }
}

/// Where what is left of a file goes.
enum Target {
    Nowhere,
    StandardOutput,
    File(PathBuf),
    Itself(PathBuf),
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut config = Config::load(args.config.as_deref(), std::env::vars(), &args.sets)?;
    // Whoever calls this wants it.
    config.pii.enabled = true;
    let scrubber = config.scrubber();
    let inputs = find_inputs(&args.files)?;
    let targets = targets(args, &inputs)?;
    let mut findings = Findings::default();
    let mut next = targets.iter();
    read_each(&inputs, |input, progress| {
        let target = next.next().unwrap_or(&Target::Nowhere);
        findings.add(input, scrub_to(input, target, &scrubber, progress)?);
        Ok(())
    })?;
    findings.show()?;
    if let Some(path) = &args.report {
        let report = serde_json::to_vec_pretty(&findings)?;
        let written = disk::replace(path, &report);
        written.with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(if args.check && findings.total > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn scrub_to(
    input: &TraceInput,
    target: &Target,
    scrubber: &Scrubber,
    progress: &mut dyn FnMut(u64),
) -> Result<Scrubbed, FileError> {
    let settings = FileSettings::default();
    let mut scrub = |out: &mut dyn Write| scrub_file(input, scrubber, &settings, out, progress);
    let path = match target {
        Target::Nowhere => return scrub(&mut std::io::sink()),
        Target::StandardOutput => return scrub(&mut stdout().lock()),
        Target::File(path) | Target::Itself(path) => path,
    };
    let not_written = |source| FileError::Open {
        name: path.display().to_string(),
        source,
    };
    let (staged, scrubbed) = disk::stage_by(path, not_written, scrub)?;
    match target {
        // It is as it should be.
        Target::Itself(_) if scrubbed.counts.is_empty() => return Ok(scrubbed),
        Target::Itself(_) => staged.with_permissions().and_then(disk::Staged::commit),
        Target::Nowhere | Target::StandardOutput | Target::File(_) => staged.commit(),
    }
    .map_err(not_written)?;
    Ok(scrubbed)
}

/// A target for each input.
fn targets(args: &Args, inputs: &[TraceInput]) -> Result<Vec<Target>, Usage> {
    if args.check {
        return Ok(inputs.iter().map(|_| Target::Nowhere).collect());
    }
    if args.in_place {
        return inputs.iter().map(itself).collect();
    }
    let Some(output) = &args.output else {
        let message = format!(
            "{} files: say by -o DIR where they go, or --in-place",
            inputs.len()
        );
        return match inputs {
            [_] => Ok(vec![Target::StandardOutput]),
            _ => Err(Usage(message)),
        };
    };
    let says_directory = output
        .as_os_str()
        .to_string_lossy()
        .ends_with(std::path::is_separator);
    let is_directory = inputs.len() > 1 || says_directory || output.is_dir();
    let mut taken: BTreeSet<PathBuf> = sources(inputs).collect();
    let mut targets = Vec::with_capacity(inputs.len());
    for input in inputs {
        let name = match input.name() {
            STANDARD_INPUT => "stdin".as_ref(),
            name => Path::new(name).file_name().unwrap_or_default(),
        };
        let path = if is_directory {
            output.join(name)
        } else {
            output.clone()
        };
        if !taken.insert(path.canonicalize().unwrap_or_else(|_| path.clone())) {
            let path = path.display();
            return Err(Usage(format!(
                "{path} is an input, or two inputs would go there; choose another -o, or --in-place"
            )));
        }
        targets.push(Target::File(path));
    }
    Ok(targets)
}

/// The files that are read, as the disk knows them.
fn sources(inputs: &[TraceInput]) -> impl Iterator<Item = PathBuf> {
    inputs
        .iter()
        .filter_map(|input| Path::new(input.name()).canonicalize().ok())
}

/// Through a link, the file that it names.
fn itself(input: &TraceInput) -> Result<Target, Usage> {
    if input.name() == STANDARD_INPUT {
        return Err(Usage("--in-place: standard input is no file".to_owned()));
    }
    let path = Path::new(input.name());
    Ok(Target::Itself(
        path.canonicalize().unwrap_or_else(|_| path.to_owned()),
    ))
}
