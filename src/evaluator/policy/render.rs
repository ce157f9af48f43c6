//! The texts of the policies. A condition is written once for each language; the numbers are those of the objective's status.

use std::collections::HashMap;

use crate::evaluator::budget::events_needed;
use crate::evaluator::burn_rate::Limits;
use crate::evaluator::composite::Gating;
use crate::evaluator::policy::promql::Counted;
use crate::evaluator::policy::{COMPOSITES, OBJECTIVES, Policy};
use crate::model::one_line;
use crate::model::period::Period;
use crate::model::report::{BurnRateCheck, CompositeStatus, ObjectiveStatus, Severity};
use crate::model::slo::{Budgeting, Objective, Sli, exact_ratio};
use crate::openslo::text::{percent, threshold_label};

/// A budget counts as spent when this ratio of it, or less, is left: a hair, since sums of doubles are not exact.
const SPENT_RATIO: f64 = 1e-9;

/// Objectives by name, for the members of composites.
pub(super) type ByName<'a> = HashMap<&'a str, &'a Objective>;

/// The policy of what gates.
pub(super) fn policy(gating: Gating<'_>, members: &ByName<'_>, limits: Limits) -> Policy {
    let guardrail = match gating {
        Gating::Objective(status) => Guardrail::of_objective(status, limits),
        Gating::Composite(status) => Guardrail::of_composite(status, members, limits),
    };
    Policy {
        name: guardrail.name.to_owned(),
        cel: guardrail.cel(),
        rego: guardrail.rego(),
        promql: guardrail.promql(),
    }
}

/// What fails an objective or a composite: a page, or a budget that is spent.
struct Guardrail<'a> {
    name: &'a str,
    /// The key of the input that it stands under.
    key: &'static str,
    /// What it is, in lines.
    description: Vec<String>,
    window: &'a Period,
    pages: Vec<&'a BurnRateCheck>,
    /// Bad events that must have been seen.
    min_bad_events: u64,
    /// Events or slices until the budget allows a bad one.
    min_events: f64,
    counted: Counted<'a>,
}

impl<'a> Guardrail<'a> {
    fn of_objective(status: &'a ObjectiveStatus, limits: Limits) -> Self {
        let objective = &status.objective;
        Self {
            name: &objective.name,
            key: OBJECTIVES,
            description: vec![format!("Objective: {}.", description(objective))],
            window: &objective.window,
            pages: pages(&status.burn_rates),
            min_bad_events: limits.min_bad_events,
            min_events: least_events(objective.budget()),
            counted: Counted {
                members: vec![(objective, 1.0)],
                is_composite: false,
                budgeting: objective.budgeting,
                budget: objective.budget(),
                window: &objective.window,
            },
        }
    }

    fn of_composite(status: &'a CompositeStatus, by_name: &ByName<'a>, limits: Limits) -> Self {
        let budget = exact_ratio(1.0 - status.target);
        let members = status.members.iter().filter_map(|member| {
            let objective = by_name.get(member.name.as_str())?;
            Some((*objective, member.weight))
        });
        let members: Vec<(&Objective, f64)> = members.collect();
        let together = match status.budgeting {
            Budgeting::Occurrences => "burn at the mean of their burn rates, by weight",
            Budgeting::Timeslices { .. } => "share slices, which are bad if any member's is",
            Budgeting::RatioTimeslices { .. } => {
                "share slices, whose error ratios add up by weight"
            }
        };
        let mut description = vec![format!("Composite: its members {together}.")];
        let lines = members.iter().map(|(objective, weight)| {
            format!(
                "- {}, weight {weight}: {}.",
                objective.name,
                self::description(objective)
            )
        });
        description.extend(lines);
        Self {
            name: &status.name,
            key: COMPOSITES,
            description,
            window: &status.window,
            pages: pages(&status.burn_rates),
            min_bad_events: limits.min_bad_events,
            min_events: least_events(budget),
            counted: Counted {
                members,
                is_composite: true,
                budgeting: status.budgeting,
                budget,
                window: &status.window,
            },
        }
    }
}

fn pages(burn_rates: &[BurnRateCheck]) -> Vec<&BurnRateCheck> {
    let checks = burn_rates.iter();
    checks
        .filter(|check| check.severity == Severity::Page)
        .collect()
}

/// Events until a budget allows a bad one, without the noise of binary arithmetic: 55 for 1/(1/55).
fn least_events(budget: f64) -> f64 {
    let needed = events_needed(budget);
    let whole = needed.round();
    if (needed - whole).abs() <= 1e-9 * needed {
        whole
    } else {
        needed
    }
}

impl Guardrail<'_> {
    fn cel(&self) -> String {
        let run = "True allows. Run: slo-copilot gate --policy FILE, or any CEL evaluator with input.json as `input`.";
        let pages = self.pages.iter().map(|page| self.cel_page(page));
        let conditions: Vec<String> = pages.chain([self.cel_spent()]).collect();
        format!(
            "{}\n[input.{}[{}]].all(slo,\n{}\n)\n",
            self.header("//", &[run]),
            self.key,
            quoted(self.name),
            conditions.join(" &&\n"),
        )
    }

    fn cel_page(&self, page: &BurnRateCheck) -> String {
        let (long, short) = (page.long_window.label(), page.short_window.label());
        let limit = double(page.error_ratio_limit);
        format!(
            "  // {}
  !(
    slo.windows[\"{long}\"].total > 0.0 && slo.windows[\"{long}\"].error_ratio > {limit} &&
    slo.windows[\"{short}\"].total > 0.0 && slo.windows[\"{short}\"].error_ratio > {limit} &&
    slo.windows[\"{long}\"].observed_bad >= {}
  )",
            page_comment(page),
            double(self.min_bad_events as f64),
        )
    }

    fn cel_spent(&self) -> String {
        format!(
            "  // {}
  !(
    slo.budget.total >= {} && slo.budget.observed_bad >= {} &&
    slo.budget.remaining_ratio <= {}
  )",
            self.budget_comment(),
            double(self.min_events),
            double(self.min_bad_events as f64),
            double(SPENT_RATIO),
        )
    }

    fn rego(&self) -> String {
        let name = quoted(self.name);
        let run = format!(
            "An empty set allows. Run: opa eval -i input.json -d FILE 'data.slo_copilot[{name}].deny'"
        );
        let package = format!(
            "package slo_copilot[{name}]\n\nimport rego.v1\n\nslo := input.{}[{name}]\n",
            self.key
        );
        let mut blocks = vec![self.header("#", &[&run]), package, self.rego_readable()];
        blocks.extend(self.pages.iter().map(|page| self.rego_page(page)));
        blocks.push(self.rego_spent());
        blocks.join("\n")
    }

    fn rego_readable(&self) -> String {
        let windows = self.pages.iter();
        let labels = windows.flat_map(|page| [page.long_window.label(), page.short_window.label()]);
        format!(
            "# What cannot be read is not allowed.
deny contains {} if not readable

readable if {{
\tevery label in [{}] {{
\t\tis_number(slo.windows[label].observed_bad)
\t}}
\tis_number(slo.budget.observed_bad)
}}
",
            self.message("is not in the input"),
            labels.map(quoted).collect::<Vec<_>>().join(", "),
        )
    }

    fn rego_page(&self, page: &BurnRateCheck) -> String {
        let (long, short) = (page.long_window.label(), page.short_window.label());
        let limit = page.error_ratio_limit;
        format!(
            "# {}
deny contains {} if {{
\tslo.windows[\"{long}\"].error_ratio > {limit}
\tslo.windows[\"{short}\"].error_ratio > {limit}
\tslo.windows[\"{long}\"].observed_bad >= {}
}}
",
            page_comment(page),
            self.message(&format!(
                "has an error ratio above {limit} over {long} and {short}"
            )),
            self.min_bad_events,
        )
    }

    fn rego_spent(&self) -> String {
        let spent = format!("has spent its error budget of {}", self.window.label());
        format!(
            "# {}
deny contains {} if {{
\tslo.budget.total >= {}
\tslo.budget.observed_bad >= {}
\tslo.budget.remaining_ratio <= {SPENT_RATIO}
}}
",
            self.budget_comment(),
            self.message(&spent),
            self.min_events,
            self.min_bad_events,
        )
    }

    fn promql(&self) -> String {
        let mut notes = vec![
            "A sample is a violation. Prometheus counts events when they arrive and multiplies sampled ones: late spans and",
            "sampling make it differ from the verdict, which goes by the time of the events.",
        ];
        let mut conditions: Vec<String> = self
            .pages
            .iter()
            .map(|page| self.promql_page(page))
            .collect();
        conditions.extend(self.counted.period().map(|_| self.promql_spent()));
        notes.extend(self.counted.missing());
        self.header("#", &notes) + "\n" + &conditions.join("or\n")
    }

    fn promql_page(&self, page: &BurnRateCheck) -> String {
        let (long, short) = (page.long_window.secs(), page.short_window.secs());
        let limit = page.error_ratio_limit;
        format!(
            "# {}\n(\n{}  and\n{}  and\n{})\n",
            page_comment(page),
            self.counted.ratio_is(long, ">", limit),
            self.counted.ratio_is(short, ">", limit),
            self.counted
                .events_are(Some("bad"), long, self.min_bad_events as f64),
        )
    }

    fn promql_spent(&self) -> String {
        let period = self.window.secs();
        format!(
            "# {}\n(\n{}  and\n{}  and\n{})\n",
            self.budget_comment(),
            self.counted.ratio_is(period, ">=", self.counted.budget),
            self.counted.events_are(None, period, self.min_events),
            self.counted
                .events_are(Some("bad"), period, self.min_bad_events as f64),
        )
    }

    /// Comment lines: what the policy decides, of which objective, and notes.
    fn header(&self, comment: &str, notes: &[&str]) -> String {
        let name = self.name;
        let what = format!(
            "Guardrail of {name}, written by slo-copilot and overwritten when the objective changes."
        );
        let rule = "It says no where the verdict is fail: a burn-rate rule that pages fires, or the error budget is spent.";
        let mut own = vec![what];
        own.extend(self.description.iter().cloned());
        own.push(rule.to_owned());
        let lines = own.iter().map(String::as_str).chain(notes.iter().copied());
        let mut header = lines
            .map(|line| format!("{comment} {}", one_line(line)))
            .collect::<Vec<_>>()
            .join("\n");
        header.push('\n');
        header
    }

    fn budget_comment(&self) -> String {
        format!(
            "Spent: the budget of {}, once it allows a bad event.",
            one_line(&self.window.label())
        )
    }

    /// A message about the objective as a literal.
    fn message(&self, text: &str) -> String {
        quoted(&format!("{} {text}", self.name))
    }
}

fn page_comment(page: &BurnRateCheck) -> String {
    let capped = if page.capped { ", capped" } else { "" };
    format!(
        "Page: {} times the budget{capped}, over {} and still over {}.",
        page.factor,
        page.long_window.label(),
        page.short_window.label(),
    )
}

fn description(objective: &Objective) -> String {
    let indicator = match objective.sli {
        Sli::Availability | Sli::ErrorRate => "without an error".to_owned(),
        Sli::Latency { threshold_micros } => {
            format!(
                "without an error within {}",
                threshold_label(threshold_micros)
            )
        }
    };
    let operation = objective.operation.as_deref();
    let of = operation.map_or(String::new(), |operation| format!("{operation} of "));
    let target = percent(objective.target);
    let promised = match objective.budgeting {
        Budgeting::Occurrences => target,
        Budgeting::Timeslices {
            slice,
            slice_target,
            ..
        } => format!(
            "in {target} of the slices of {slice}, {}",
            percent(slice_target)
        ),
        Budgeting::RatioTimeslices { slice, .. } => {
            format!("in the mean of the slices of {slice}, {target}")
        }
    };
    format!(
        "{promised} of the events of {of}{} over {} {indicator}",
        objective.service,
        objective.window.label(),
    )
}

/// A string literal of JSON, which CEL and Rego read alike.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A double of CEL, which tells doubles from integers.
fn double(number: f64) -> String {
    format!("{number:?}")
}
