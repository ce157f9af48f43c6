//! `plan`: from Kubernetes manifests to zero-touch telemetry.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _, stderr, stdout};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};

use crate::adapter::kubernetes::DEFAULT_NAMESPACE;
use crate::adapter::zero_touch::{
    FileChange, Mode, Outcome, Plan, PlanError, Planned, Settings, Step, plan,
};
use crate::cli::Usage;
use crate::cli::documents::counted;
use crate::cli::manifests;
use crate::cli::text::{print, print_json, table};
use crate::disk;
use crate::exporter::ci::visible;

/// The plan itself, and what it changes in manifests, in the directory.
const PLAN_FILE: &str = "plan.json";
const DIFF_FILE: &str = "manifests.diff";

const EXAMPLES: &str = "\
Examples:
  slo-copilot plan k8s/
  slo-copilot plan k8s/ --backend tempo.monitoring.svc:4317 --backend-share 0.1 --format json | jq .outcomes
  helm template shop | slo-copilot plan - --namespace shop -o plan/
  kubectl get deployments,statefulsets,daemonsets -A -o yaml | slo-copilot plan - --slo-copilot slo-copilot.slo.svc:4317
  slo-copilot plan k8s/ --apply          # prints the kubectl commands
  slo-copilot plan k8s/ --apply --yes    # runs them
  slo-copilot plan k8s/ > change.diff && patch -p1 < change.diff

Languages are told by images, commands, variables and labels, with whole words; where they are not told, or told wrongly, the
label slo-copilot.dev/language on the pods says it. The OpenTelemetry Operator injects Java, Node.js, Python, .NET and Go; what is
said of other languages is in the table.

Exit codes: 0 something is traced or will be, 1 nothing can be, 2 usage, manifests that cannot be read, or a command that failed.";

/// Arguments of `plan`.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Kubernetes manifests: files, directories (*.yaml, *.yml, *.json below them), patterns, or - for standard input.
    #[arg(value_name = "MANIFEST", required = true)]
    pub manifests: Vec<String>,

    /// Namespace of what names none.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,

    /// Directory of plan.json, manifests.diff, the manifests of the Collector, and the patches.
    #[arg(
        short,
        long,
        value_name = "DIR",
        default_value = "slo-copilot-out/collector"
    )]
    pub output: PathBuf,

    /// Where Collectors run; chosen with reasons if nothing is said.
    #[arg(long, value_enum)]
    pub mode: Option<ModeArgument>,

    /// Namespace of the Collector, of the Instrumentation, and of an slo-copilot that the plan brings.
    #[arg(long, value_name = "NAME", default_value_t = Settings::default().namespace)]
    pub collector_namespace: String,

    /// An slo-copilot that runs already (OTLP over gRPC); else the plan brings one.
    #[arg(long, value_name = "HOST:PORT")]
    pub slo_copilot: Option<String>,

    /// Image of the slo-copilot that the plan brings.
    #[arg(long, value_name = "IMAGE", default_value_t = Settings::default().slo_copilot_image, conflicts_with = "slo_copilot")]
    pub image: String,

    /// A tracing backend that gets spans, too (OTLP over gRPC).
    #[arg(long, value_name = "HOST:PORT")]
    pub backend: Option<String>,

    /// Share of the traces that the backend gets; slo-copilot gets all.
    #[arg(
        long,
        value_name = "RATIO",
        default_value_t = 1.0,
        requires = "backend"
    )]
    pub backend_share: f64,

    /// A Jaeger remote sampler (gRPC) that applications ask; the injected agent of Java does.
    #[arg(long, value_name = "HOST:PORT")]
    pub remote_sampler: Option<String>,

    /// Without the OpenTelemetry Operator: environment variables only, for SDKs that are in the images.
    #[arg(long)]
    pub no_operator: bool,

    /// What is printed.
    #[arg(long, value_enum, default_value_t = Format::Diff, conflicts_with = "apply")]
    pub format: Format,

    /// Print the kubectl commands that carry the plan out.
    #[arg(long)]
    pub apply: bool,

    /// Run them, up to the first that fails.
    #[arg(long, requires = "apply")]
    pub yes: bool,
}

/// Where Collectors run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ModeArgument {
    /// One Deployment behind a Service.
    Gateway,
    /// One on every node.
    Daemonset,
    /// One in every pod; the Operator puts it there.
    Sidecar,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// What changes in the manifests, as a unified diff.
    Diff,
    /// The plan, as in plan.json.
    Json,
}

/// Plans, writes the files, prints, and applies if that is asked for.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let read = manifests::read(&args.manifests, &args.namespace)?;
    let planned =
        plan(&read.inventory, &read.files, &args.settings()).map_err(|error| match error {
            PlanError::Settings(error) => Usage(error.to_string()).into(),
            PlanError::Write(_) => anyhow::Error::from(error),
        })?;
    write(&args.output, &planned)?;
    stderr().write_all(summary(&planned.plan, &args.output).as_bytes())?;
    if args.apply {
        apply(&planned.plan.steps, &args.output, args.yes)?;
    } else {
        match args.format {
            Format::Diff => print_changes(&planned.changes)?,
            Format::Json => print_json(&planned.plan)?,
        }
    }
    Ok(ExitCode::from(u8::from(!planned.plan.traces_something())))
}

impl Args {
    fn settings(&self) -> Settings {
        Settings {
            mode: self.mode.map(|mode| match mode {
                ModeArgument::Gateway => Mode::Gateway,
                ModeArgument::Daemonset => Mode::Daemonset,
                ModeArgument::Sidecar => Mode::Sidecar,
            }),
            namespace: self.collector_namespace.clone(),
            slo_copilot: self.slo_copilot.clone(),
            slo_copilot_image: self.image.clone(),
            backend: self.backend.clone(),
            backend_share: self.backend_share,
            remote_sampler: self.remote_sampler.clone(),
            uses_operator: !self.no_operator,
        }
    }
}

/// Writes all files; what a former plan wrote and this one does not is removed.
fn write(directory: &Path, planned: &Planned) -> anyhow::Result<()> {
    let former = fs::read(directory.join(PLAN_FILE));
    let former: Option<Plan> = former
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok());
    for file in former.iter().flat_map(|plan| &plan.files) {
        let path = Path::new(&file.path);
        let is_below = path
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if is_below && !planned.files.contains_key(&file.path) {
            // Gone already is as good.
            let _gone = fs::remove_file(directory.join(path));
        }
    }
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        disk::replace(&path, text.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))
    };
    for (path, text) in &planned.files {
        write(path, text)?;
    }
    let applicable = planned
        .changes
        .iter()
        .filter(|change| change.text.is_some());
    let diff: String = applicable.map(|change| change.diff.as_str()).collect();
    write(DIFF_FILE, &diff)?;
    let json = serde_json::to_string_pretty(&planned.plan)? + "\n";
    write(PLAN_FILE, &json)
}

/// The plan for people.
fn summary(plan: &Plan, directory: &Path) -> String {
    let rows: Vec<[String; 5]> = plan
        .workloads
        .iter()
        .map(|workload| {
            let mut languages: Vec<&str> = workload
                .containers
                .iter()
                .filter_map(|container| Some(container.language?.label()))
                .collect();
            languages.dedup();
            let name = format!("{}/{}", workload.namespace, workload.name);
            [
                workload.outcome.to_string(),
                workload.kind.to_string(),
                name,
                languages.join(", "),
                visible(&workload.reason),
            ]
        })
        .collect();
    let mut text = table(["OUTCOME", "KIND", "WORKLOAD", "LANGUAGE", "WHY"], &rows);
    let mut say = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    say(String::new());
    let of = |outcome: &Outcome| plan.outcomes.get(outcome).copied().unwrap_or_default();
    say(format!(
        "{}: {} to instrument, {} to configure, {} already, {} blocked",
        counted(plan.workloads.len(), "workload"),
        of(&Outcome::Instrument),
        of(&Outcome::Configure),
        of(&Outcome::Already),
        of(&Outcome::Blocked),
    ));
    say(format!(
        "mode {}: {}",
        plan.mode,
        plan.mode_reasons.join("; ")
    ));
    if let (Some(backend), Some(sampling)) = (&plan.route.backend, &plan.route.backend_sampling) {
        say(format!("{backend} gets {sampling}"));
    }
    for note in &plan.notes {
        say(format!("note: {note}"));
    }
    // Besides the files of the plan: itself and the diff.
    let files = counted(plan.files.len() + 2, "file");
    say(format!("{files} written to {}", directory.display()));
    text
}

fn print_changes(changes: &[FileChange]) -> io::Result<()> {
    let diff: String = changes.iter().map(|change| change.diff.as_str()).collect();
    let is_coloured =
        stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    if is_coloured {
        print(&coloured(&diff))
    } else {
        print(&diff)
    }
}

/// A diff as terminals show it: manifests must not reach them as commands.
fn coloured(diff: &str) -> String {
    let mut text = String::new();
    for line in diff.lines() {
        let colour = match line.as_bytes().first() {
            Some(b'+') => "32",
            Some(b'-') => "31",
            Some(b'@') => "36",
            Some(_) | None => "0",
        };
        let _never_fails = writeln!(text, "\u{1b}[{colour}m{}\u{1b}[0m", visible(line));
    }
    text
}

/// Prints the commands, or runs them in the directory of the plan.
fn apply(steps: &[Step], directory: &Path, is_meant: bool) -> anyhow::Result<()> {
    if !is_meant {
        let mut script = format!("cd {}\n", quoted(&directory.to_string_lossy()));
        for step in steps {
            let words: Vec<String> = step.command.iter().map(|word| quoted(word)).collect();
            let _never_fails = writeln!(script, "# {}\n{}", visible(&step.does), words.join(" "));
        }
        print(&script)?;
        writeln!(
            stderr(),
            "nothing was changed: add --yes to run these commands"
        )?;
        return Ok(());
    }
    for step in steps {
        let Some((program, arguments)) = step.command.split_first() else {
            continue;
        };
        writeln!(stderr(), "{}: {}", step.does, step.command.join(" "))?;
        let status = Command::new(program)
            .args(arguments)
            .current_dir(directory)
            .status();
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => {
                let message = format!(
                    "`{}` ended with {status}; what stands before it is applied, and the plan can be applied again",
                    step.command.join(" ")
                );
                return Err(Usage(message).into());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let message = format!(
                    "{program} is not there: install it, or leave out --yes and run the commands where it is"
                );
                return Err(Usage(message).into());
            }
            Err(error) => bail!("cannot run {program}: {error}"),
        }
    }
    Ok(())
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/:=@%+,".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_a_shell_as_they_are() {
        for (word, wanted) in [
            (
                "patches/shop/deployment-cart.yaml",
                "patches/shop/deployment-cart.yaml",
            ),
            ("my dir", "'my dir'"),
            ("it's $(here)", r"'it'\''s $(here)'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), wanted);
        }
    }

    #[test]
    fn a_diff_is_coloured_and_cannot_command_the_terminal() {
        let text = coloured("--- a\n+++ b\n@@ -1 +1 @@\n-old\n+new \u{1b}[2J\n same\n");
        assert!(text.contains("\u{1b}[31m-old\u{1b}[0m\n"), "{text:?}");
        assert!(text.contains("\u{1b}[32m+new "), "{text:?}");
        assert!(!text.contains("\u{1b}[2J"), "{text:?}");
    }
}
