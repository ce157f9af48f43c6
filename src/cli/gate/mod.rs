//! `gate`: may this go on? Trace files, or a running server → exit code.

mod endpoint;

use std::fs::OpenOptions;
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use tokio::runtime::Handle;

use crate::cli::Usage;
use crate::cli::gate::endpoint::EndpointArgs;
use crate::cli::summary::input_summary;
use crate::cli::test::output;
use crate::cli::test::source::{newest, read_files};
use crate::cli::traces::{TraceArgs, read_all};
use crate::cli::versions::{Versions, tables};
use crate::clock::Clock;
use crate::config::Config;
use crate::disk;
use crate::evaluator::gate::{
    FailOn, GatePart, GateReport, POLICY_SOURCE, UserPolicy, fail_on_actions, gate,
};
use crate::evaluator::policy::Language;
use crate::evaluator::trace_tests;
use crate::evaluator::verdict::timestamp;
use crate::exporter::ci::{self, Case, Outcome};
use crate::model::UnixNanos;
use crate::model::candidate::CandidateState;
use crate::model::finding::Finding;
use crate::model::input::JudgedAgainst;
use crate::model::report::{Report, Verdict};
use crate::model::slo::{Objective, ObjectiveSource, Sli};
use crate::model::test_result::{TEST_SOURCE, TestReport};
use crate::receiver::file::{STANDARD_INPUT, TraceInput, find_inputs};
use crate::service::analysis::{Analysis, Neighbours};
use crate::service::suite_files;
use crate::tracetest::Session;
use crate::tracetest::language::Variables;

const EXAMPLES: &str = "\
Examples:
  slo-copilot gate --trace after.jsonl --objectives slos.yaml
  slo-copilot gate --trace after.jsonl --baseline before.jsonl --format junit > gate.xml
  slo-copilot gate --trace traces/ --objectives slos.yaml --policy release.rego --fail-on guardrail
  slo-copilot gate --baseline old.jsonl --canary new.jsonl
  slo-copilot gate --trace traces/ --canary-version 2.1.0 --fail-on canary
  slo-copilot gate --endpoint 127.0.0.1:9464 --service checkout --wait 10m --hold 2m --fail-on-action freeze

Exit code: 0 pass or warn, 1 fail, 2 usage, broken input or an unreachable server, 3 inconclusive.

  --fail-on    objectives  trace tests  guardrail policies  versions
  any          decide      decide       decide              decide
  baseline     decide
  tests                    decide
  guardrail                             decide
  canary                                                    decide

With --canary, or --canary-version, the new version is compared with the old one: error ratios, latency and its tail, of the
service and of each operation, new ways of failing and changed dependencies (section canary of the configuration). Objectives
decide as well where there are any.";

/// What a gate is told whose baseline suggests nothing.
const BASELINE_TOO_THIN: &str = "the baseline has too few events to carry an objective; give it more traces, or name objectives";

/// What a gate is told whose traces say nothing.
const NO_EVENTS: &str = "the traces hold no event to judge; give traces with entry spans (kind SERVER or CONSUMER, or without a parent)";

/// Arguments of `gate`.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES, disable_version_flag = true)]
pub struct Args {
    #[command(flatten)]
    traces: TraceArgs,

    #[command(flatten)]
    live: EndpointArgs,

    /// Trace files of a time that was good: without objectives, candidates are fitted on them and the traces are judged
    /// by those. With --canary, the old version's.
    #[arg(long, value_name = "TRACE", num_args = 1..)]
    baseline: Vec<String>,

    /// Trace files of the new version, in place of --trace: they are compared with those of --baseline, whatever versions
    /// they say.
    #[arg(long, value_name = "TRACE", num_args = 1.., requires = "baseline", conflicts_with = "canary_version")]
    canary: Vec<String>,

    /// The new version in the traces of --trace: it is compared with the old one in them.
    #[arg(long, value_name = "VERSION", conflicts_with = "baseline")]
    canary_version: Option<String>,

    /// The old version, unless it is the one with the most requests beside the new one.
    #[arg(long, value_name = "VERSION", requires = "canary_version")]
    baseline_version: Option<String>,

    /// What decides.
    #[arg(long, value_name = "PART", default_value = "any")]
    fail_on: FailOnArg,

    /// An action of the error budget policy that fails the gate, for example freeze; may be repeated.
    #[arg(long, value_name = "ACTION")]
    fail_on_action: Vec<String>,

    /// A guardrail policy of your own, in CEL (.cel) or Rego (.rego); may be repeated.
    #[arg(long, value_name = "FILE")]
    policy: Vec<PathBuf>,

    /// Suites of trace tests (see `slo-copilot test`): files, directories or globs. They are judged on the same traces, which
    /// are read again for them.
    #[arg(long, value_name = "SUITE", num_args = 1..)]
    suite: Vec<PathBuf>,

    /// Form of the answer on standard output.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,

    /// Write the whole report as JSON, too.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FailOnArg {
    /// Any part that can decide.
    Any,
    /// Objectives.
    Baseline,
    /// Trace-based tests.
    Tests,
    /// Guardrail policies.
    Guardrail,
    /// The comparison of two versions.
    Canary,
}

impl From<FailOnArg> for FailOn {
    fn from(argument: FailOnArg) -> Self {
        match argument {
            FailOnArg::Any => Self::Any,
            FailOnArg::Baseline => Self::Baseline,
            FailOnArg::Tests => Self::Tests,
            FailOnArg::Guardrail => Self::Guardrail,
            FailOnArg::Canary => Self::Canary,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// The verdict with its parts.
    Json,
    /// `JUnit` XML: a case an objective, a policy and a service whose versions are compared.
    Junit,
    /// SARIF 2.1.0.
    Sarif,
    /// GitHub workflow commands, and a summary in `$GITHUB_STEP_SUMMARY`.
    Github,
}

/// Judges the traces; the exit code says how.
pub fn run(args: &Args, clock: &Clock, runtime: &Handle) -> anyhow::Result<ExitCode> {
    args.refuse_what_would_be_passed_over()?;
    if let Some(url) = &args.live.endpoint {
        return runtime.block_on(endpoint::run(args, url));
    }
    let config = args.traces.load_config()?;
    let inputs = args.inputs()?;
    let is_standard = |one: &String| one == STANDARD_INPUT;
    anyhow::ensure!(
        !((args.traces.reads_standard_input() || args.canary.iter().any(is_standard))
            && args.baseline.iter().any(is_standard)),
        Usage("traces and baseline cannot both come from standard input".to_owned())
    );
    let policies = args
        .policy
        .iter()
        .map(|path| read_policy(path))
        .collect::<anyhow::Result<Vec<UserPolicy>>>()?;
    let (objectives, against) = args.yardstick(&config, clock.now())?;
    let (mut analysis, notes) = if let Some(versions) = args.versions() {
        versions.read(&config, &objectives, &inputs, clock.now())?
    } else {
        let mut analysis = Analysis::new(&config, &objectives, clock.now());
        read_all(&mut analysis, &inputs)?;
        (analysis, String::new())
    };
    let candidates = analysis.candidates();
    let mut report = analysis.report(
        candidates,
        against,
        &Neighbours::default(),
        timestamp(clock.now()),
    );
    if let Some(tests) = args.tests(&config, &inputs)? {
        trace_tests::add(&mut report, tests);
    }
    let is_empty = report.input.as_ref().is_some_and(|input| input.events == 0);
    let instead = if is_empty && report.baseline_evaluations.is_empty() {
        Some(NO_EVENTS)
    } else if against == JudgedAgainst::Baseline && report.baseline_evaluations.is_empty() {
        Some(BASELINE_TOO_THIN)
    } else {
        None
    };
    if let Some(text) = instead {
        for reason in &mut report.verdict.reasons {
            text.clone_into(&mut reason.text);
        }
    }
    let decided = gate(
        &report,
        args.fail_on.into(),
        &policies,
        config.evaluator.limits(),
    )?;
    if !notes.is_empty() {
        writeln!(stderr().lock(), "{notes}")?;
    }
    finish(args, decided, &report, against.text())
}

/// Writes and prints what was decided; the exit code says it.
fn finish(
    args: &Args,
    decided: GateReport,
    report: &Report,
    against: &str,
) -> anyhow::Result<ExitCode> {
    let decided = fail_on_actions(decided, &args.fail_on_action);
    if let Some(path) = &args.report {
        let json = serde_json::to_vec_pretty(report)?;
        disk::replace(path, &json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    print(args.format, &decided, report)?;
    if let Some(input) = &report.input {
        stderr().lock().write_all(input_summary(input).as_bytes())?;
    }
    writeln!(
        stderr().lock(),
        "gate: {} (judged against {}); decided by {}",
        decided.verdict.verdict.label().to_uppercase(),
        against,
        decided.decided_by,
    )?;
    Ok(match decided.verdict.verdict {
        Verdict::Pass | Verdict::Warn => ExitCode::SUCCESS,
        Verdict::Fail => ExitCode::FAILURE,
        Verdict::Inconclusive => ExitCode::from(super::EXIT_INCONCLUSIVE),
    })
}

impl Args {
    /// Files and servers are judged with different options. One that is of the other kind must not be passed over, since
    /// it narrows or widens what decides. (An option that `requires` another one is let through by clap where something
    /// that conflicts with the other one is given.)
    fn refuse_what_would_be_passed_over(&self) -> anyhow::Result<()> {
        let of_files = [
            ("--baseline", !self.baseline.is_empty()),
            ("--canary", !self.canary.is_empty()),
            ("--canary-version", self.canary_version.is_some()),
            ("--baseline-version", self.baseline_version.is_some()),
            ("--suite", !self.suite.is_empty()),
        ];
        let (options, why) = if self.live.endpoint.is_some() {
            let why = "is for trace files; a server compares versions by itself (--service, --version), and judges the suites \
                of its own tests.suites";
            (of_files.to_vec(), why)
        } else {
            let why = "needs --endpoint: traces are judged as they are; give the traces of one service to ask about one";
            (self.live.given().to_vec(), why)
        };
        match options.iter().find(|(_, is_given)| *is_given) {
            Some((option, _)) => Err(Usage(format!("{option} {why}")).into()),
            None => Ok(()),
        }
    }

    /// The traces that are judged.
    fn inputs(&self) -> anyhow::Result<Vec<TraceInput>> {
        if self.canary.is_empty() {
            return self.traces.inputs();
        }
        anyhow::ensure!(
            self.traces.traces.is_empty() && self.traces.more_traces.is_empty(),
            Usage("--canary names the traces that are judged; leave --trace out".to_owned())
        );
        Ok(find_inputs(&self.canary)?)
    }

    /// The versions that are compared, if any are.
    fn versions(&self) -> Option<Versions<'_>> {
        if !self.canary.is_empty() {
            let baseline = &self.baseline;
            return Some(Versions::Sets { baseline });
        }
        let canary = self.canary_version.as_deref()?;
        let baseline = self.baseline_version.as_deref();
        Some(Versions::Split { canary, baseline })
    }

    /// The results of `--suite`, and of `tests.suites` of the configuration.
    fn tests(&self, config: &Config, inputs: &[TraceInput]) -> anyhow::Result<Option<TestReport>> {
        let suites = self.suite.iter().chain(&config.tests.suites);
        let paths: Vec<PathBuf> = suites.cloned().collect();
        if paths.is_empty() {
            return Ok(None);
        }
        anyhow::ensure!(
            !self.traces.reads_standard_input(),
            Usage("trace tests read the traces a second time, which standard input does not allow; save them to a file".to_owned())
        );
        let suites = suite_files::load(&paths)?;
        let traces = read_files(config, inputs)?;
        let variables = Variables::new(std::env::vars());
        let mut session = Session::new(suites, &variables, config.tests.limits_of_command());
        session.observe(&traces);
        Ok(Some(session.report(newest(&traces))))
    }

    /// What the traces are judged against: adopted objectives, else the baseline's candidates, else their own.
    fn yardstick(
        &self,
        config: &Config,
        now: UnixNanos,
    ) -> anyhow::Result<(Vec<Objective>, JudgedAgainst)> {
        let adopted = self.traces.adopted(config)?;
        let compares = self.versions().is_some();
        if !adopted.is_empty() {
            anyhow::ensure!(
                compares || self.baseline.is_empty(),
                Usage("--baseline is for traces without objectives, and there are objectives; leave one out".to_owned())
            );
            return Ok((adopted, JudgedAgainst::Objectives));
        }
        if compares {
            return Ok((Vec::new(), JudgedAgainst::OldVersion));
        }
        if self.baseline.is_empty() {
            return Ok((Vec::new(), JudgedAgainst::Itself));
        }
        let mut baseline = Analysis::new(config, &[], now);
        read_all(&mut baseline, &find_inputs(&self.baseline)?)?;
        let fitted = baseline.candidates();
        let usable = fitted
            .iter()
            .filter(|candidate| candidate.sli != Sli::ErrorRate && candidate.is_supported())
            .filter(|candidate| candidate.state != CandidateState::Rejected)
            .map(|candidate| {
                let objective = candidate.objective(ObjectiveSource::Fitted);
                let said = |part: &String| !part.is_empty();
                Objective {
                    namespace: objective.namespace.filter(said),
                    environment: objective.environment.filter(said),
                    ..objective
                }
            });
        Ok((usable.collect(), JudgedAgainst::Baseline))
    }
}

fn read_policy(path: &Path) -> anyhow::Result<UserPolicy> {
    let name = path.display().to_string();
    let language = Language::of_file(&name)?;
    let source = std::fs::read_to_string(path)
        .map_err(|error| Usage(format!("cannot read --policy {name}: {error}")))?;
    Ok(UserPolicy {
        name,
        language,
        source,
    })
}

fn print(format: Format, decided: &GateReport, report: &Report) -> anyhow::Result<()> {
    let text = match format {
        Format::Text => text(decided)?,
        Format::Json => serde_json::to_string_pretty(decided)? + "\n",
        Format::Junit => ci::junit("slo-copilot gate", &cases(decided, report))?,
        Format::Sarif => ci::sarif(&[], &findings(decided, report))?,
        Format::Github => {
            summarize_job(decided, report)?;
            ci::github(&ci::findings_of(&decided.verdict))
        }
    };
    stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

/// A case for each thing that decides: objectives, composites in place of their members, trace tests, and policies that
/// deny.
fn cases(decided: &GateReport, report: &Report) -> Vec<Case> {
    let mut cases = Vec::new();
    if decided.fail_on.includes(GatePart::Baseline) {
        let statuses = report.baseline_evaluations.iter();
        let alone = statuses.filter(|status| status.objective.composite.is_none());
        cases.extend(ci::cases_of(&alone.cloned().collect::<Vec<_>>()));
        cases.extend(report.composites.iter().map(|composite| {
            let (state, text) = (composite.state, composite.text.clone());
            case("composite", &composite.name, state, text)
        }));
    }
    if decided.fail_on.includes(GatePart::Canary) {
        cases.extend(report.canaries.iter().map(|canary| {
            let name = format!(
                "{} {} → {}",
                canary.service.name, canary.baseline.version, canary.canary.version
            );
            let suite = GatePart::Canary.label();
            case(suite, &name, canary.verdict, canary.text.clone())
        }));
    }
    let tests = report.test_results.as_ref();
    if let Some(tests) = tests.filter(|_| decided.fail_on.includes(GatePart::Tests)) {
        cases.extend(output::cases(tests));
    } else if decided.fail_on == FailOn::Tests {
        let tests = decided
            .parts
            .iter()
            .filter(|part| part.part == GatePart::Tests);
        cases.extend(
            tests.map(|part| case("tests", "trace-tests", part.verdict, part.text.clone())),
        );
    }
    let denied = decided.verdict.reasons.iter();
    let denied = denied.filter(|reason| reason.source == POLICY_SOURCE);
    cases.extend(denied.map(|reason| {
        let suite = GatePart::Guardrail.label();
        case(suite, &reason.name, Verdict::Fail, reason.text.clone())
    }));
    if let Some(action) = &decided.failed_action {
        cases.push(case(
            "error-budget-policy",
            action,
            Verdict::Fail,
            decided.decided_by.clone(),
        ));
    }
    if cases.is_empty() {
        // A live verdict may speak of a version, of which no objective speaks.
        let text = decided.decided_by.clone();
        cases.push(case("verdict", "verdict", decided.verdict.verdict, text));
    }
    cases
}

fn case(suite: &str, name: &str, state: Verdict, text: String) -> Case {
    let message = text.clone();
    Case {
        suite: suite.to_owned(),
        name: name.to_owned(),
        outcome: match state {
            Verdict::Pass | Verdict::Warn => Outcome::Passed,
            Verdict::Fail => Outcome::Failed { message, text },
            Verdict::Inconclusive => Outcome::Skipped { message },
        },
        seconds: None,
    }
}

/// Located at the first trace file, since code scanning refuses results without a place.
fn findings(decided: &GateReport, report: &Report) -> Vec<Finding> {
    let tests = report.test_results.as_ref();
    let tests = tests.filter(|_| decided.fail_on.includes(GatePart::Tests));
    let mut own = tests.map(output::findings).unwrap_or_default();
    let files = report.input.iter().flat_map(|input| &input.files);
    let first = files.map(|file| file.file.as_str()).next();
    let mut others = ci::findings_of(&decided.verdict);
    if !own.is_empty() {
        // The tests say it at their own lines.
        others.retain(|finding| finding.rule != TEST_SOURCE);
    }
    own.extend(ci::located(others, first.unwrap_or("-")));
    own
}

fn text(decided: &GateReport) -> Result<String, std::fmt::Error> {
    let mut lines = Vec::new();
    for part in &decided.parts {
        let mark = if part.decides {
            ""
        } else {
            " (does not decide)"
        };
        lines.push(format!(
            "{:<9}  {:<12}  {}{mark}",
            part.part.label(),
            part.verdict.label(),
            part.text,
        ));
    }
    for reason in &decided.verdict.reasons {
        lines.push(format!("  {}", reason.text));
    }
    for reason in &decided.verdict.undecided {
        lines.push(format!("  undecided: {}", reason.text));
    }
    Ok(lines.join("\n") + "\n" + &tables(&decided.canaries)?)
}

/// Appends to the job summary where GitHub says that there is one.
fn summarize_job(decided: &GateReport, report: &Report) -> anyhow::Result<()> {
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY") else {
        return Ok(());
    };
    let summary = ci::github_summary(&decided.verdict, &report.baseline_evaluations);
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .context("cannot open $GITHUB_STEP_SUMMARY")?;
    file.write_all(summary.as_bytes())?;
    Ok(())
}
