//! A report for people: what was read, how each service stands, what to do next.

use std::fmt::Write as _;

use crate::exporter::ci::visible;
use crate::model::candidate::{Candidate, CandidateState};
use crate::model::input::{JudgedAgainst, TraceInputReport};
use crate::model::report::{Report, ServiceReport, Verdict, VerdictReport};
use crate::model::slo::Sli;
use crate::model::window::Window;
use crate::openslo::text::{cut, percent, threshold_label};

/// Services that are listed; the worst come first.
const SERVICES_SHOWN: usize = 30;

/// Characters of a service's name that are shown.
const NAME_WIDTH: usize = 28;

/// Reasons shown for one service.
const REASONS_SHOWN: usize = 3;

/// What was read, for a gate; ends with a newline.
pub(super) fn input_summary(input: &TraceInputReport) -> String {
    let mut text = String::new();
    let written = write_input(&mut text, input);
    debug_assert!(written.is_ok(), "a string takes whatever is written");
    text
}

/// The summary of a report on trace files; ends with a newline.
pub(super) fn summary(report: &Report) -> String {
    let mut text = String::new();
    let written = write_summary(&mut text, report);
    debug_assert!(written.is_ok(), "a string takes whatever is written");
    text
}

fn write_summary(out: &mut String, report: &Report) -> std::fmt::Result {
    if let Some(input) = &report.input {
        write_input(out, input)?;
    }
    let mut services: Vec<(&ServiceReport, Option<&VerdictReport>)> = report
        .services
        .iter()
        .map(|service| (service, report.verdict_of(&service.service)))
        .collect();
    services.sort_by_key(|(service, verdict)| {
        let verdict = verdict.map_or(Verdict::Inconclusive, |verdict| verdict.verdict);
        (std::cmp::Reverse(verdict), service.service.clone())
    });
    if !services.is_empty() {
        writeln!(
            out,
            "\n{:NAME_WIDTH$}  {:>9}  {:>7}  {:>8}  {:>13}  {:>16}  verdict",
            "service", "events", "errors", "p95", "availability?", "latency?"
        )?;
        for (service, verdict) in services.iter().take(SERVICES_SHOWN) {
            write_service(out, report, service, *verdict)?;
        }
        if services.len() > SERVICES_SHOWN {
            writeln!(out, "and {} more services", services.len() - SERVICES_SHOWN)?;
        }
        out.push_str("?: the objectives that these traces suggest; in parentheses where too few events carry them\n");
    }
    if let Some(coverage) = &report.coverage {
        let (seen, all) = (
            coverage.expected_signals.len() - coverage.missing_signals.len(),
            coverage.expected_signals.len(),
        );
        writeln!(
            out,
            "\ncoverage: {seen} of {all} expected signals were seen"
        )?;
        if let Some(next) = coverage.probes.first() {
            writeln!(out, "  instrument `{}` first: {}", next.target, next.reason)?;
        }
    }
    if let Some(telemetry) = &report.telemetry_recommendation {
        writeln!(
            out,
            "\ntelemetry: {}{}",
            telemetry.sampling_action.label(),
            if telemetry.budget_alert {
                ", the budget will not hold"
            } else {
                ""
            }
        )?;
        for note in &telemetry.notes {
            writeln!(out, "  {note}")?;
        }
    }
    write_candidates(out, report)
}

fn write_input(out: &mut String, input: &TraceInputReport) -> std::fmt::Result {
    let files = match input.files.as_slice() {
        [one] => one.file.clone(),
        several => format!("{} files", several.len()),
    };
    write!(
        out,
        "{} spans in {} traces from {files}: {} events",
        input.spans, input.traces, input.events
    )?;
    if let (Some(first), Some(last)) = (input.first_event, input.last_event) {
        write!(
            out,
            ", {} to {}",
            first.strftime("%Y-%m-%d %H:%M:%S"),
            last.strftime("%Y-%m-%d %H:%M:%S UTC")
        )?;
    }
    out.push('\n');
    let unreadable: u64 = input.files.iter().map(|file| file.unreadable_records).sum();
    let rejected: u64 = input.files.iter().map(|file| file.rejected_spans).sum();
    for (count, what) in [
        (unreadable, "records could not be read"),
        (
            rejected,
            "spans could not be used: they end before they start, or have no id",
        ),
        (
            input.excluded_events,
            "events of operations that sli.exclude names are left out",
        ),
        (
            input.too_old_events,
            "events are more than 30 days older than the newest one and in no window",
        ),
        (
            input.future_events,
            "events end far in the future, by a broken clock, and are in no window",
        ),
        (
            input.overflowed_events,
            "events went to `_other`: raise windows.max_series and its like",
        ),
    ] {
        if count > 0 {
            writeln!(out, "  {count} {what}")?;
        }
    }
    writeln!(out, "judged against {}", input.judged_against.text())
}

fn write_service(
    out: &mut String,
    report: &Report,
    service: &ServiceReport,
    verdict: Option<&VerdictReport>,
) -> std::fmt::Result {
    let longest = service.windows.iter().find(|sli| sli.window == Window::D30);
    let events = longest.map_or(0, |sli| sli.sums.observed_total);
    let errors = longest.and_then(|sli| sli.error_ratio);
    let errors = errors.map_or_else(String::new, |ratio| {
        format!("{} %", significant(100.0 * ratio))
    });
    let p95 = service.latency.iter().max_by_key(|latency| latency.window);
    let p95 = p95.map_or_else(String::new, |latency| {
        format!("{} ms", significant(latency.p95 * 1e3))
    });
    let own = |candidate: &&Candidate| {
        candidate.service == service.service && candidate.operation.is_none()
    };
    let (mut availability, mut latency) = (String::new(), String::new());
    for candidate in report.slo_candidates.iter().filter(own) {
        match candidate.sli {
            Sli::Availability => availability = suggestion(candidate),
            Sli::Latency { .. } => latency = suggestion(candidate),
            Sli::ErrorRate => {}
        }
    }
    let label = match verdict.map(|verdict| verdict.verdict) {
        // Nothing is unknown about traffic here; what is missing is an objective.
        Some(Verdict::Inconclusive) if is_fitted_on_itself(report) => "provisional",
        Some(verdict) => verdict.label(),
        None => "",
    };
    let name = cut(&visible(&service.service.name), NAME_WIDTH);
    writeln!(
        out,
        "{name:NAME_WIDTH$}  {events:>9}  {errors:>7}  {p95:>8}  {availability:>13}  {latency:>16}  {label}",
    )?;
    let reasons = match verdict {
        Some(verdict) if verdict.verdict >= Verdict::Warn => verdict.reasons.as_slice(),
        Some(_) | None => &[],
    };
    for reason in reasons.iter().take(REASONS_SHOWN) {
        writeln!(out, "  {}", reason.text)?;
    }
    if reasons.len() > REASONS_SHOWN {
        writeln!(out, "  and {} more", reasons.len() - REASONS_SHOWN)?;
    }
    Ok(())
}

/// The objective that a candidate suggests, in parentheses where too few events carry it.
fn suggestion(candidate: &Candidate) -> String {
    let target = percent(candidate.target);
    let text = match candidate.sli {
        Sli::Latency { threshold_micros } => {
            format!("{target} in {}", threshold_label(threshold_micros))
        }
        Sli::Availability | Sli::ErrorRate => target,
    };
    match candidate.state {
        CandidateState::Rejected => "none fits".to_owned(),
        _ if candidate.is_supported() => text,
        CandidateState::Provisional | CandidateState::Ready | CandidateState::Adopted => {
            format!("({text})")
        }
    }
}

fn write_candidates(out: &mut String, report: &Report) -> std::fmt::Result {
    let count = |state| {
        let candidates = report.slo_candidates.iter();
        candidates
            .filter(|candidate| candidate.state == state)
            .count()
    };
    let (ready, provisional, rejected) = (
        count(CandidateState::Ready),
        count(CandidateState::Provisional),
        count(CandidateState::Rejected),
    );
    writeln!(
        out,
        "\ncandidates, operations included: {ready} ready, {provisional} provisional, {rejected} rejected; slo_candidates in the report says why"
    )?;
    if is_fitted_on_itself(report) {
        writeln!(
            out,
            "next: write candidates down with --export-openslo-yaml, edit them, and judge other traces with --objectives"
        )?;
    }
    Ok(())
}

fn is_fitted_on_itself(report: &Report) -> bool {
    let against = report.input.as_ref().map(|input| input.judged_against);
    against == Some(JudgedAgainst::Itself)
}

/// About three significant digits.
fn significant(value: f64) -> String {
    if value >= 100.0 || value == 0.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else if value >= 0.1 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    }
}
