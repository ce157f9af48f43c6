//! The texts of the policies. A condition is written once for each language; the numbers are those of the objective's status.

use std::fmt::Write;

use crate::evaluator::budget::events_needed;
use crate::evaluator::burn_rate::Limits;
use crate::evaluator::policy::Policy;
use crate::model::period::Period;
use crate::model::report::{BurnRateCheck, ObjectiveStatus, Severity};
use crate::model::slo::{Budgeting, Objective, Sli};
use crate::openslo::text::{percent, promql_string, threshold_label};

/// A budget counts as spent when this ratio of it, or less, is left: a hair, since sums of doubles are not exact.
const SPENT_RATIO: f64 = 1e-9;

/// Counter of the good and bad events of each objective.
const EVENTS_METRIC: &str = "slo_copilot_slo_events_total";

pub(super) fn policy(status: &ObjectiveStatus, limits: Limits) -> Policy {
    let guardrail = Guardrail {
        objective: &status.objective,
        pages: status
            .burn_rates
            .iter()
            .filter(|check| check.severity == Severity::Page)
            .collect(),
        min_bad_events: limits.min_bad_events,
        min_events: events_needed(status.objective.budget()),
    };
    Policy {
        name: status.objective.name.clone(),
        cel: guardrail.cel(),
        rego: guardrail.rego(),
        promql: guardrail.promql(),
    }
}

/// What fails an objective: a page, or a budget that is spent.
struct Guardrail<'a> {
    objective: &'a Objective,
    pages: Vec<&'a BurnRateCheck>,
    /// Bad events that must have been seen.
    min_bad_events: u64,
    /// Events until the budget allows a bad one.
    min_events: f64,
}

impl Guardrail<'_> {
    fn cel(&self) -> String {
        let name = quoted(&self.objective.name);
        let enough = double(self.min_bad_events as f64);
        let mut text = self.header(
            "//",
            &[
                "True allows. Run: slo-copilot gate --policy FILE, or any CEL evaluator with input.json as `input`."
                    .to_owned(),
            ],
        );
        let mut conditions = String::new();
        for page in &self.pages {
            let (long, short) = (page.long_window.label(), page.short_window.label());
            let limit = double(page.error_ratio_limit);
            put(
                &mut conditions,
                format_args!(
                    "  // {}\n  !(\n    \
                     slo.windows[\"{long}\"].total > 0.0 && slo.windows[\"{long}\"].error_ratio > {limit} &&\n    \
                     slo.windows[\"{short}\"].total > 0.0 && slo.windows[\"{short}\"].error_ratio > {limit} &&\n    \
                     slo.windows[\"{long}\"].observed_bad >= {enough}\n  ) &&\n",
                    page_comment(page),
                ),
            );
        }
        put(
            &mut text,
            format_args!(
                "[input.objectives[{name}]].all(slo,\n{conditions}  // {}\n  !(\n    \
                 slo.budget.total >= {} && slo.budget.observed_bad >= {enough} &&\n    \
                 slo.budget.remaining_ratio <= {}\n  )\n)\n",
                self.budget_comment(),
                double(self.min_events),
                double(SPENT_RATIO),
            ),
        );
        text
    }

    fn rego(&self) -> String {
        let name = quoted(&self.objective.name);
        let enough = self.min_bad_events;
        let query = format!("data.slo_copilot[{name}].deny");
        let run = format!(
            "An empty set allows. Run: opa eval -i input.json -d FILE '{}'",
            one_line(&query)
        );
        let mut text = self.header("#", &[run]);
        let labels = self
            .pages
            .iter()
            .flat_map(|page| [page.long_window.label(), page.short_window.label()]);
        let labels: Vec<String> = labels.map(quoted).collect();
        put(
            &mut text,
            format_args!(
                "package slo_copilot[{name}]\n\nimport rego.v1\n\n\
                 slo := input.objectives[{name}]\n\n\
                 # What cannot be read is not allowed.\n\
                 deny contains {} if not readable\n\n\
                 readable if {{\n\tevery label in [{}] {{\n\t\tis_number(slo.windows[label].observed_bad)\n\t}}\n\t\
                 is_number(slo.budget.observed_bad)\n}}\n",
                self.message("is not in the input"),
                labels.join(", "),
            ),
        );
        for page in &self.pages {
            let (long, short) = (page.long_window.label(), page.short_window.label());
            let limit = page.error_ratio_limit;
            let message = self.message(&format!(
                "has an error ratio above {limit} over {long} and {short}"
            ));
            put(
                &mut text,
                format_args!(
                    "\n# {}\ndeny contains {message} if {{\n\tslo.windows[\"{long}\"].error_ratio > {limit}\n\t\
                     slo.windows[\"{short}\"].error_ratio > {limit}\n\t\
                     slo.windows[\"{long}\"].observed_bad >= {enough}\n}}\n",
                    page_comment(page),
                ),
            );
        }
        let spent = format!(
            "has spent its error budget of {}",
            self.objective.window.label()
        );
        put(
            &mut text,
            format_args!(
                "\n# {}\ndeny contains {} if {{\n\tslo.budget.total >= {}\n\t\
                 slo.budget.observed_bad >= {enough}\n\tslo.budget.remaining_ratio <= {SPENT_RATIO}\n}}\n",
                self.budget_comment(),
                self.message(&spent),
                self.min_events,
            ),
        );
        text
    }

    fn promql(&self) -> String {
        let mut notes = vec![
            "A sample is a violation. Prometheus counts events when they arrive and multiplies sampled ones: late spans and"
                .to_owned(),
            "sampling make it differ from the verdict, which goes by the time of the events.".to_owned(),
        ];
        let mut conditions: Vec<String> = self.pages.iter().map(|page| self.page(page)).collect();
        match self.period_in_promql() {
            Some(period) => conditions.push(self.spent(&period)),
            None => notes.push(
                "The budget itself is not part of it: no range of Prometheus counts slices or calendar periods."
                    .to_owned(),
            ),
        }
        self.header("#", &notes) + &conditions.join("or\n")
    }

    fn page(&self, page: &BurnRateCheck) -> String {
        let limit = page.error_ratio_limit;
        let (long, short) = (page.long_window.label(), page.short_window.label());
        format!(
            "# {}\n(\n  {} / {} > {limit}\n  and\n  {} / {} > {limit}\n  and\n  {} >= {}\n)\n",
            page_comment(page),
            self.bad(long),
            self.all(long),
            self.bad(short),
            self.all(short),
            self.bad(long),
            self.min_bad_events,
        )
    }

    fn spent(&self, period: &str) -> String {
        format!(
            "# {}\n(\n  {} / {} >= {}\n  and\n  {} >= {}\n  and\n  {} >= {}\n)\n",
            self.budget_comment(),
            self.bad(period),
            self.all(period),
            self.objective.budget(),
            self.all(period),
            self.min_events,
            self.bad(period),
            self.min_bad_events,
        )
    }

    fn bad(&self, range: &str) -> String {
        self.increase(",result=\"bad\"", range)
    }

    fn all(&self, range: &str) -> String {
        self.increase("", range)
    }

    fn increase(&self, result: &str, range: &str) -> String {
        let slo = promql_string(&self.objective.name);
        let service = promql_string(&self.objective.service);
        format!(
            "sum by (slo) (increase({EVENTS_METRIC}{{slo={slo},service={service}{result}}}[{range}]))"
        )
    }

    /// The period as a range of PromQL, if the budget is one of events over a range.
    fn period_in_promql(&self) -> Option<String> {
        match (&self.objective.window, self.objective.budgeting) {
            (Period::Rolling(duration), Budgeting::Occurrences) => {
                let minutes = duration.secs() / 60;
                Some(if minutes.is_multiple_of(24 * 60) {
                    format!("{}d", minutes / (24 * 60))
                } else {
                    format!("{minutes}m")
                })
            }
            (Period::Calendar(_), _)
            | (_, Budgeting::Timeslices { .. } | Budgeting::RatioTimeslices { .. }) => None,
        }
    }

    /// Comment lines, and an empty line after them.
    fn header(&self, comment: &str, notes: &[String]) -> String {
        let objective = self.objective;
        let lines = [
            format!("Guardrail of {}.", objective.name),
            format!("{}.", description(objective)),
            "Written by slo-copilot and overwritten when the objective changes. It says no where the verdict is fail:"
                .to_owned(),
            "a burn-rate rule that pages fires, or the error budget of the period is spent.".to_owned(),
        ];
        let mut header = String::new();
        for line in lines.iter().chain(notes) {
            put(&mut header, format_args!("{comment} {}\n", one_line(line)));
        }
        header.push('\n');
        header
    }

    fn budget_comment(&self) -> String {
        format!(
            "Spent: the budget of {}, once it allows a bad event.",
            one_line(&self.objective.window.label())
        )
    }

    /// A message about the objective as a literal.
    fn message(&self, text: &str) -> String {
        quoted(&format!("{} {text}", self.objective.name))
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
    format!(
        "Objective: {} of the events of {of}{} over {} {indicator}",
        percent(objective.target),
        objective.service,
        objective.window.label(),
    )
}

/// A text on one line, which no part of it leaves.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect()
}

/// A string literal of JSON, which CEL and Rego read alike.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A double of CEL, which tells doubles from integers.
fn double(number: f64) -> String {
    format!("{number:?}")
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    text.write_fmt(arguments).unwrap_or_default();
}
