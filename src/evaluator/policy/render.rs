//! The texts of the policies. A condition is written once for each language; the numbers are those of the objective's status.

use crate::evaluator::budget::events_needed;
use crate::evaluator::burn_rate::Limits;
use crate::evaluator::policy::Policy;
use crate::model::one_line;
use crate::model::period::Period;
use crate::model::report::{BurnRateCheck, ObjectiveStatus, Severity};
use crate::model::slo::{Budgeting, Objective, Sli};
use crate::openslo::text::{events_selector, percent, promql_range, threshold_label};

/// A budget counts as spent when this ratio of it, or less, is left: a hair, since sums of doubles are not exact.
const SPENT_RATIO: f64 = 1e-9;

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
        let run = "True allows. Run: slo-copilot gate --policy FILE, or any CEL evaluator with input.json as `input`.";
        let pages = self.pages.iter().map(|page| self.cel_page(page));
        let conditions: Vec<String> = pages.chain([self.cel_spent()]).collect();
        format!(
            "{}\n[input.objectives[{}]].all(slo,\n{}\n)\n",
            self.header("//", &[run]),
            quoted(&self.objective.name),
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
        let name = quoted(&self.objective.name);
        let run = format!(
            "An empty set allows. Run: opa eval -i input.json -d FILE 'data.slo_copilot[{name}].deny'"
        );
        let package = format!(
            "package slo_copilot[{name}]\n\nimport rego.v1\n\nslo := input.objectives[{name}]\n"
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
        let spent = format!(
            "has spent its error budget of {}",
            self.objective.window.label()
        );
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
        match self.period_in_promql() {
            Some(period) => conditions.push(self.promql_spent(&period)),
            None => notes.push(
                "The budget itself is not part of it: no range of Prometheus counts slices or calendar periods.",
            ),
        }
        self.header("#", &notes) + "\n" + &conditions.join("or\n")
    }

    fn promql_page(&self, page: &BurnRateCheck) -> String {
        let (long, short) = (page.long_window.label(), page.short_window.label());
        let limit = page.error_ratio_limit;
        format!(
            "# {}
(
  {}
    / {} > {limit}
  and
  {}
    / {} > {limit}
  and
  {} >= {}
)
",
            page_comment(page),
            self.bad(long),
            self.all(long),
            self.bad(short),
            self.all(short),
            self.bad(long),
            self.min_bad_events,
        )
    }

    fn promql_spent(&self, period: &str) -> String {
        format!(
            "# {}
(
  {}
    / {} >= {}
  and
  {} >= {}
  and
  {} >= {}
)
",
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
        self.increase(Some("bad"), range)
    }

    fn all(&self, range: &str) -> String {
        self.increase(None, range)
    }

    fn increase(&self, result: Option<&str>, range: &str) -> String {
        let selector = events_selector(&self.objective.name, &self.objective.service, result);
        format!("sum by (slo) (increase({selector}[{range}]))")
    }

    /// The period as a range of PromQL, if the budget is one of events over a range.
    fn period_in_promql(&self) -> Option<String> {
        match (&self.objective.window, self.objective.budgeting) {
            (Period::Rolling(duration), Budgeting::Occurrences) => {
                Some(promql_range(duration.secs()))
            }
            (Period::Calendar(_), _)
            | (_, Budgeting::Timeslices { .. } | Budgeting::RatioTimeslices { .. }) => None,
        }
    }

    /// Comment lines: what the policy decides, of which objective, and notes.
    fn header(&self, comment: &str, notes: &[&str]) -> String {
        let name = &self.objective.name;
        let own = [
            format!("Guardrail of {name}, written by slo-copilot and overwritten when the objective changes."),
            format!("{}.", description(self.objective)),
            "It says no where the verdict is fail: a burn-rate rule that pages fires, or the error budget is spent."
                .to_owned(),
        ];
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

/// A string literal of JSON, which CEL and Rego read alike.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A double of CEL, which tells doubles from integers.
fn double(number: f64) -> String {
    format!("{number:?}")
}
