//! `test --faults`: fault cases simulated on recorded traces, and who would notice.

use std::fmt::Write as _;
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use crate::cli::Usage;
use crate::cli::test::Format;
use crate::cli::test::source::SourceArgs;
use crate::cli::traces::{read_each, show_findings};
use crate::clock::Clock;
use crate::config::Config;
use crate::disk;
use crate::exporter::ci::{self, Case, Outcome, visible};
use crate::model::candidate::CandidateState;
use crate::model::simulation::{CaseEvaluation, CaseResult, FaultReport, time_text};
use crate::model::slo::{Objective, ObjectiveSource, Sli};
use crate::receiver::file::{STANDARD_INPUT, find_inputs};
use crate::service::analysis::Analysis;
use crate::service::objective_files;
use crate::service::simulation::Recording;
use crate::tracetest::fault::cases::FaultSuite;

/// Fault cases instead of suites.
#[derive(Debug, clap::Args)]
pub(super) struct FaultArgs {
    /// Simulate the fault cases of this file (YAML) on the traces, and tell which objectives notice, and how soon.
    #[arg(long, value_name = "FILE", conflicts_with = "suites")]
    pub(super) faults: Option<PathBuf>,

    /// OpenSLO files, directories or globs whose adopted objectives are to notice; without them, candidates that are
    /// fitted to the traces.
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "faults")]
    pub(super) objectives: Vec<PathBuf>,
}

/// Tries the cases of a file. The code is 1 if an expectation is not met, and 3 if a case with an expectation meets no
/// request.
pub(super) async fn run(
    suite: &Path,
    args: &FaultArgs,
    source: &SourceArgs,
    (format, report_file): (Format, Option<&Path>),
    clock: &Clock,
) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(suite)
        .with_context(|| format!("cannot read {}", suite.display()))?;
    let suite = FaultSuite::from_yaml(&suite.display().to_string(), &text)?;
    let config = source.load_config()?;
    let traces = source.traces(&config).await?;
    let objectives = objectives(args, source, &config, clock)?;
    let recording = Recording::new(traces, &config, suite.propagation_prior);
    let report = recording.try_cases(&suite, &objectives, |_| ());
    if let Some(path) = report_file {
        let json = serde_json::to_vec_pretty(&report)?;
        disk::replace(path, &json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let text = match format {
        Format::Text => text_of(&report),
        Format::Json => serde_json::to_string_pretty(&report)? + "\n",
        Format::Junit => ci::junit("slo-copilot test --faults", &cases(&report))?,
        Format::Sarif | Format::Github => {
            let said = "--faults answers in text, json or junit";
            return Err(Usage(said.to_owned()).into());
        }
    };
    stdout().lock().write_all(text.as_bytes())?;
    writeln!(stderr().lock(), "test: {}", summary(&report))?;
    Ok(exit_code(&report))
}

/// The objectives of files, or candidates fitted to the same traces.
fn objectives(
    args: &FaultArgs,
    source: &SourceArgs,
    config: &Config,
    clock: &Clock,
) -> anyhow::Result<Vec<Objective>> {
    if !args.objectives.is_empty() {
        let (objectives, findings) = objective_files::adopted(&args.objectives)?;
        show_findings(&findings)?;
        return Ok(objectives);
    }
    anyhow::ensure!(
        source.endpoint.is_none(),
        Usage("traces of a server are a sample to which no candidates are fitted; name objectives with --objectives".to_owned())
    );
    anyhow::ensure!(
        !source.traces.iter().any(|name| name == STANDARD_INPUT),
        Usage("standard input is read once; name objectives with --objectives, or put the traces into a file".to_owned())
    );
    let mut analysis = Analysis::new(config, &[], clock.now());
    let inputs = find_inputs(&source.traces)?;
    read_each(&inputs, |input, progress| analysis.read(input, progress))?;
    let candidates = analysis.candidates();
    let usable = candidates
        .iter()
        .filter(|own| own.sli != Sli::ErrorRate && own.state != CandidateState::Rejected);
    Ok(usable
        .map(|own| own.objective(ObjectiveSource::Fitted))
        .collect())
}

fn exit_code(report: &FaultReport) -> ExitCode {
    let expected = || {
        report
            .results
            .iter()
            .filter_map(|own| Some((own, own.expectation.as_ref()?)))
    };
    let is_untried = |own: &CaseResult| own.case.requests == 0 && !own.case.fault.is_none();
    if expected().any(|(own, expectation)| !expectation.met && !is_untried(own)) {
        ExitCode::FAILURE
    } else if expected().any(|(own, _)| is_untried(own)) {
        ExitCode::from(crate::cli::EXIT_INCONCLUSIVE)
    } else {
        ExitCode::SUCCESS
    }
}

fn summary(report: &FaultReport) -> String {
    let expectations = || {
        report
            .results
            .iter()
            .filter_map(|own| own.expectation.as_ref())
    };
    let met = expectations().filter(|own| own.met).count();
    let blind = report
        .results
        .iter()
        .filter(|own| own.is_blind_spot)
        .count();
    format!(
        "{} fault cases on {} traces: {met} of {} expectations met, {blind} blind spots",
        report.results.len(),
        report.traces,
        expectations().count()
    )
}

fn text_of(report: &FaultReport) -> String {
    let mut text = String::new();
    // Writing to a text cannot fail.
    let mut push = |line: &str| writeln!(text, "{line}").unwrap_or_default();
    push(&format!(
        "{} traces over {} min; the alerts see those minutes again and again, then the same with the fault\n",
        report.traces, report.minutes
    ));
    for result in &report.results {
        let mark = match &result.expectation {
            Some(expectation) if expectation.met => "ok  ",
            Some(_) => "FAIL",
            None if result.is_blind_spot => "?   ",
            None => "    ",
        };
        push(&format!(
            "{mark}  {}: {}",
            result.case.name,
            outcome(result)
        ));
        if let Some(expectation) = &result.expectation {
            push(&format!(
                "        expected: {}; {}",
                expectation.expect, expectation.text
            ));
        }
        for change in &result.services {
            let (before, after) = (change.before, change.after);
            push(&format!(
                "        {:<24} p95 {:.1} → {:.1} ms, errors {:.2} → {:.2} %, requests {} → {}",
                change.service,
                before.p95_ms,
                after.p95_ms,
                100.0 * before.error_ratio,
                100.0 * after.error_ratio,
                before.requests,
                after.requests
            ));
        }
        let touched = |own: &&CaseEvaluation| {
            own.healthy_value != own.observed_value || !own.noticed.is_nothing()
        };
        for own in result.evaluations.iter().filter(touched) {
            push(&format!("        {:<44} {}", own.slo, evaluation(own)));
        }
    }
    for name in &report.left_out {
        push(&format!("not simulated: {name} judges slices of time"));
    }
    visible(&text)
}

/// What became of a case, in half a sentence.
fn outcome(result: &CaseResult) -> String {
    if result.case.fault.is_none() {
        return "no fault".to_owned();
    }
    if result.case.requests == 0 {
        return "no request of the target is in the traces".to_owned();
    }
    let first = |severity, secs: Option<u64>| {
        secs.map(|secs| format!("{severity} after {}", time_text(secs)))
    };
    let noticed = [
        first("page", result.noticed.page_secs),
        first("ticket", result.noticed.ticket_secs),
    ];
    let noticed: Vec<String> = noticed.into_iter().flatten().collect();
    if noticed.is_empty() {
        "BLIND SPOT: no objective notices".to_owned()
    } else {
        noticed.join(", ")
    }
}

fn evaluation(own: &CaseEvaluation) -> String {
    let percent = |value: Option<f64>| {
        value.map_or_else(
            || "no events".to_owned(),
            |value| format!("{:.2} %", 100.0 * value),
        )
    };
    format!(
        "{} → {} of {:.2} %; {}",
        percent(own.healthy_value),
        percent(own.observed_value),
        100.0 * own.threshold,
        own.details
    )
}

/// A case for each expectation; cases without one are reported as skipped.
fn cases(report: &FaultReport) -> Vec<Case> {
    let cases = report.results.iter().map(|result| Case {
        suite: result
            .case
            .target
            .service
            .clone()
            .unwrap_or_else(|| "all services".to_owned()),
        name: result.case.name.clone(),
        outcome: match &result.expectation {
            Some(expectation) if expectation.met => Outcome::Passed,
            Some(expectation) => Outcome::Failed {
                message: format!("expected {}; {}", expectation.expect, expectation.text),
                text: told(&result.evaluations),
            },
            None => Outcome::Skipped {
                message: format!("{}; give it an `expect` to decide", outcome(result)),
            },
        },
        seconds: None,
    });
    cases.collect()
}

/// The objectives of a case, a line each.
fn told(evaluations: &[CaseEvaluation]) -> String {
    let lines: Vec<String> = evaluations
        .iter()
        .map(|own| format!("{}: {}", own.slo, evaluation(own)))
        .collect();
    lines.join("\n")
}
