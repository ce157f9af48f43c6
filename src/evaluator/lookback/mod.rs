//! A service, or one of its versions, over one window alone: what a rollout controller asks while it waits.
//!
//! Burn rates need two windows and budgets a whole period; both are slow to tell about the last minutes. Here each adopted
//! objective is held to its target over the window that was asked for, and what chance explains does not fail.

use crate::evaluator::budget::events_needed;
use crate::evaluator::burn_rate::Limits;
use crate::evaluator::composite::{Gating, gating};
use crate::evaluator::statistics::clopper_pearson_lower;
use crate::evaluator::verdict::{Opinion, weigh};
use crate::model::report::{
    CompositeStatus, ObjectiveStatus, Reason, Report, ServiceReport, Verdict, VerdictEvidence,
    VerdictReport, VersionReport, WindowSli,
};
use crate::model::series::ServiceKey;
use crate::model::slo::{Budgeting, Objective, Sli};
use crate::model::window::{Window, WindowSums};

/// One-sided confidence that a missed target is no chance.
const CONFIDENCE: f64 = 0.95;

/// A hair, since 1 − 0.99 is not exactly 0.01.
const HAIR: f64 = 1e-9;

/// How a target was met in one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attainment {
    /// `fail`: missed beyond chance; `warn`: missed within chance; `pass`: met; else `inconclusive`.
    pub state: Verdict,
    /// Bad over all; null without events.
    pub error_ratio: Option<f64>,
    /// Lower bound of it, with 95 % confidence.
    pub lower: f64,
    /// Effective events.
    pub events: f64,
    /// Effective events that are missing until the budget allows a bad one.
    pub missing: f64,
}

/// Holds the sums of a window to an error budget.
pub fn attainment(sums: &WindowSums, budget: f64, limits: Limits) -> Attainment {
    let events = sums.effective_events();
    let error_ratio = sums.error_ratio();
    let ratio = error_ratio.unwrap_or_default();
    let missing = (events_needed(budget) * (1.0 - HAIR) - events).max(0.0);
    let is_missed = ratio > budget * (1.0 + HAIR);
    let lower = if is_missed {
        clopper_pearson_lower(ratio * events, events, CONFIDENCE)
    } else {
        0.0
    };
    let state = if is_missed && sums.observed_bad >= limits.min_bad_events && lower > budget {
        Verdict::Fail
    } else if missing > 0.0 {
        Verdict::Inconclusive
    } else if is_missed {
        Verdict::Warn
    } else {
        Verdict::Pass
    };
    Attainment {
        state,
        error_ratio,
        lower,
        events,
        missing,
    }
}

/// The verdict over one window of a service, or of everything that is adopted.
pub fn judge_window(
    report: &Report,
    service: Option<&ServiceKey>,
    window: Window,
    limits: Limits,
) -> VerdictReport {
    let own = statuses_of(report, service);
    let opinions = gating(&own, &report.composites)
        .into_iter()
        .map(|gating| opinion(&Asked::from(gating), window, limits));
    let verdict = weigh(service, opinions.collect(), report.generated_at);
    let services = report.services.iter();
    let asked = services.filter(|seen| service.is_none_or(|service| seen.service == *service));
    let evidence = asked.map(|seen| evidence_of(&seen.windows, window));
    VerdictReport {
        window: Some(window.label().to_owned()),
        evidence: evidence.fold(VerdictEvidence::default(), |all, one| VerdictEvidence {
            spans: all.spans + one.spans,
            traces: None,
            n_eff: all.n_eff + one.n_eff,
        }),
        ..verdict
    }
}

/// The verdict over one window of a version. Its windows count the requests of the whole service and which of them
/// failed, so that availability is judged, and everything else is undecided.
///
/// `None` if the version, or the window of it, is not held.
pub fn judge_version(
    report: &Report,
    service: &ServiceKey,
    version: &str,
    window: Window,
    limits: Limits,
) -> Option<VerdictReport> {
    let held = version_of(report, service, version)?;
    let sums = held.windows.iter().find(|sli| sli.window == window)?.sums;
    let own = statuses_of(report, Some(service));
    let opinions = own.iter().map(|status| {
        let objective = &status.objective;
        match beyond_versions(objective) {
            Some(why) => undecided(objective, window, why),
            None => opinion(&Asked::of_version(objective, sums), window, limits),
        }
    });
    let verdict = weigh(Some(service), opinions.collect(), report.generated_at);
    Some(VerdictReport {
        version: Some(version.to_owned()),
        window: Some(window.label().to_owned()),
        evidence: evidence_of(&held.windows, window),
        ..verdict
    })
}

/// What is known of a version.
pub fn version_of<'a>(
    report: &'a Report,
    service: &ServiceKey,
    version: &str,
) -> Option<&'a VersionReport> {
    let is_asked = |seen: &&ServiceReport| seen.service == *service;
    let versions = &report.services.iter().find(is_asked)?.versions;
    versions.iter().find(|held| held.version == version)
}

fn statuses_of<'a>(report: &'a Report, service: Option<&ServiceKey>) -> Vec<&'a ObjectiveStatus> {
    let statuses = report.baseline_evaluations.iter();
    statuses
        .filter(|status| service.is_none_or(|service| status.objective.selects(service)))
        .collect()
}

/// Why the windows of a version do not tell about an objective.
fn beyond_versions(objective: &Objective) -> Option<&'static str> {
    if let Sli::Latency { .. } = objective.sli {
        return Some(
            "the comparison with the version before judges a version's latency: ask without window",
        );
    }
    if objective.operation.is_some() {
        return Some("the windows of a version count the whole service, not one operation");
    }
    (objective.budgeting != Budgeting::Occurrences)
        .then_some("the windows of a version count events, not slices of time")
}

fn undecided(objective: &Objective, window: Window, why: &str) -> Opinion {
    Opinion {
        // Nothing that can be waited for would decide it.
        required: false,
        weight: objective.weight,
        state: Verdict::Inconclusive,
        reason: Some(Reason {
            source: "objective".to_owned(),
            name: objective.name.clone(),
            window: Some(window.label().to_owned()),
            observed: None,
            limit: None,
            text: format!("{}: {why}", objective.name),
        }),
    }
}

/// An objective or a composite, as far as a window is asked about it.
struct Asked<'a> {
    name: &'a str,
    required: bool,
    weight: f64,
    budget: f64,
    unit: &'static str,
    windows: &'a [WindowSli],
    /// In place of the windows.
    sums: Option<WindowSums>,
}

impl<'a> Asked<'a> {
    fn of_version(objective: &'a Objective, sums: WindowSums) -> Self {
        Self {
            name: &objective.name,
            required: objective.required,
            weight: objective.weight,
            budget: objective.budget(),
            unit: objective.budgeting.unit(),
            windows: &[],
            sums: Some(sums),
        }
    }

    fn sums(&self, window: Window) -> WindowSums {
        let held = self.windows.iter().find(|sli| sli.window == window);
        let held = held.map(|sli| sli.sums);
        self.sums.or(held).unwrap_or_default()
    }
}

impl<'a> From<Gating<'a>> for Asked<'a> {
    fn from(gating: Gating<'a>) -> Self {
        match gating {
            Gating::Objective(ObjectiveStatus {
                objective, windows, ..
            }) => Self {
                windows,
                sums: None,
                ..Self::of_version(objective, WindowSums::default())
            },
            Gating::Composite(composite) => Self::from(composite),
        }
    }
}

impl<'a> From<&'a CompositeStatus> for Asked<'a> {
    fn from(composite: &'a CompositeStatus) -> Self {
        Self {
            name: &composite.name,
            required: composite.required,
            weight: composite.weight,
            budget: 1.0 - composite.target,
            unit: composite.budgeting.unit(),
            windows: &composite.windows,
            sums: None,
        }
    }
}

fn opinion(asked: &Asked<'_>, window: Window, limits: Limits) -> Opinion {
    let found = attainment(&asked.sums(window), asked.budget, limits);
    let (name, unit, label) = (asked.name, asked.unit, window.label());
    let percent = |ratio: f64| 100.0 * ratio;
    let bad = percent(found.error_ratio.unwrap_or_default());
    let allowed = percent(asked.budget);
    let missed = format!(
        "{name}: {bad:.3} % of {:.0} {unit} in {label} were bad, {allowed:.3} % are allowed",
        found.events
    );
    let text = match found.state {
        Verdict::Pass => None,
        Verdict::Fail => Some(format!(
            "{missed}; at least {:.3} % beyond chance",
            percent(found.lower)
        )),
        Verdict::Warn => Some(format!("{missed}, which chance explains")),
        Verdict::Inconclusive => Some(format!(
            "{name}: {:.0} {unit} in {label}, {:.0} more are needed until the target allows a bad one",
            found.events,
            found.missing.ceil()
        )),
    };
    let (observed, limit) = if found.state == Verdict::Inconclusive {
        (Some(found.events), events_needed(asked.budget))
    } else {
        (found.error_ratio, asked.budget)
    };
    Opinion {
        required: asked.required,
        weight: asked.weight,
        state: found.state,
        reason: text.map(|text| Reason {
            source: "objective".to_owned(),
            name: name.to_owned(),
            window: Some(label.to_owned()),
            observed,
            limit: Some(limit),
            text,
        }),
    }
}

fn evidence_of(windows: &[WindowSli], window: Window) -> VerdictEvidence {
    let held = windows.iter().find(|sli| sli.window == window);
    let sums = held.map(|sli| sli.sums).unwrap_or_default();
    VerdictEvidence {
        spans: sums.observed_total,
        traces: None,
        n_eff: sums.effective_events(),
    }
}

#[cfg(test)]
mod tests;
