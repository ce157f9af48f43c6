//! Guardrail policies: an objective's verdict written as CEL, Rego and PromQL, and what decides by CEL and Rego files.
//!
//! # The input
//!
//! CEL and Rego policies see one document as `input`: the report's JSON with two keys more: `objectives`, which holds for
//! each objective by its name what [`input`] tells, and `composites_by_name` with the same of composites. [`document`] makes
//! it. Keys are added to it, never renamed.
//!
//! # The decision
//!
//! CEL: an expression that is `true` to allow and `false` to deny; or a list of messages, which allows when it is empty; or a
//! map `{"allow": bool, "messages": [string]}`. All numbers of the input are doubles, as CEL says of JSON: write `2.0`.
//!
//! Rego, version 1: the rule `deny` of the file's package, a set of messages (texts, or objects with a text `msg`) that
//! allows when it is empty, or true to deny; in a package without `deny` the rule `allow`, which must be true to allow.

mod promql;
mod render;
mod run;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::evaluator::burn_rate::Limits;
use crate::evaluator::composite::{Gating, gating};
use crate::model::report::{CompositeStatus, ObjectiveStatus, Report, WindowSli};
use crate::model::slo::exact_ratio;

pub use self::run::{Decision, Input, Language, POLICY_BYTES_MAX, PolicyError, Source, evaluate};

/// Most objectives whose policies a report carries; those of all are written to files.
const SNIPPET_OBJECTIVES_MAX: usize = 100;

/// The guardrail of one objective in each language. All decide as the objective's state does: they deny where it is fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The objective.
    pub name: String,
    /// CEL over [`document`]: true unless the objective fails.
    pub cel: String,
    /// Rego over [`document`]: `data.slo_copilot[NAME].deny`.
    pub rego: String,
    /// PromQL over `slo_copilot_slo_events_total`: a sample where the guardrail is broken, nothing where it holds.
    ///
    /// Prometheus counts events when they arrive and multiplies sampled ones, so late spans and sampling make it differ.
    pub promql: String,
}

/// The key of the input that objectives stand under.
const OBJECTIVES: &str = "objectives";

/// The key of the input that composites stand under; the report has them in a list under a shorter one.
const COMPOSITES: &str = "composites_by_name";

/// The policies of what gates. Members of a composite have none, since the composite is judged in their place; `statuses`
/// are theirs.
pub fn policies<'a>(
    gating: impl IntoIterator<Item = Gating<'a>>,
    statuses: &[ObjectiveStatus],
    limits: Limits,
) -> impl Iterator<Item = Policy> {
    let members = statuses.iter().map(|status| &status.objective);
    let members = members.filter(|objective| objective.composite.is_some());
    let members: render::ByName<'_> = members
        .map(|objective| (objective.name.as_str(), objective))
        .collect();
    gating
        .into_iter()
        .map(move |gating| render::policy(gating, &members, limits))
}

/// The policies of the first that gate for a report, by `<objective>.cel`, `<objective>.rego` and `<objective>.promql`.
pub fn snippets(
    statuses: &[ObjectiveStatus],
    composites: &[CompositeStatus],
    limits: Limits,
) -> BTreeMap<String, String> {
    let all: Vec<&ObjectiveStatus> = statuses.iter().collect();
    let gating = gating(&all, composites);
    let mut snippets = BTreeMap::new();
    for policy in policies(gating, statuses, limits).take(SNIPPET_OBJECTIVES_MAX) {
        let Policy {
            name,
            cel,
            rego,
            promql,
        } = policy;
        snippets.insert(format!("{name}.cel"), cel);
        snippets.insert(format!("{name}.rego"), rego);
        snippets.insert(format!("{name}.promql"), promql);
    }
    snippets
}

/// What policies see of one objective.
///
/// `objective` has the fields of [`crate::model::slo::Objective`] and `error_budget` (1 − target); `state` and `text` are the
/// evaluator's own answer; `windows` holds by label (`5m` … `30d`) the counts `total`, `bad`, `observed_total`,
/// `observed_bad` and `error_ratio`, null without events; `budget` is [`crate::model::report::ErrorBudget`] and
/// `burn_rates` are the rules, [`crate::model::report::BurnRateCheck`].
pub fn input(status: &ObjectiveStatus) -> Value {
    let mut objective = json!(status.objective);
    if let Some(fields) = objective.as_object_mut() {
        fields.insert("error_budget".to_owned(), json!(status.objective.budget()));
    }
    json!({
        "objective": objective,
        "state": status.state,
        "text": status.text,
        "windows": windows(&status.windows),
        "budget": status.budget,
        "burn_rates": status.burn_rates,
    })
}

/// What policies see of one composite: as [`input`], with `composite` in place of `objective`. Its windows and its budget are
/// those of one objective that burns as the members do together.
pub fn composite_input(status: &CompositeStatus) -> Value {
    json!({
        "composite": {
            "name": status.name,
            "services": status.services,
            "members": status.members,
            "budgeting": status.budgeting,
            "window": status.window,
            "target": status.target,
            "error_budget": exact_ratio(1.0 - status.target),
            "required": status.required,
            "weight": status.weight,
        },
        "state": status.state,
        "text": status.text,
        "windows": windows(&status.windows),
        "budget": status.budget,
        "burn_rates": status.burn_rates,
    })
}

fn windows(windows: &[WindowSli]) -> Map<String, Value> {
    windows.iter().map(window).collect()
}

fn window(sli: &WindowSli) -> (String, Value) {
    let counts = json!({
        "total": sli.sums.total,
        "bad": sli.sums.bad,
        "observed_total": sli.sums.observed_total,
        "observed_bad": sli.sums.observed_bad,
        "error_ratio": sli.error_ratio,
    });
    (sli.window.label().to_owned(), counts)
}

/// What [`input`] tells of each objective, by name.
pub fn objectives(statuses: &[ObjectiveStatus]) -> Map<String, Value> {
    let entry = |status: &ObjectiveStatus| (status.objective.name.clone(), input(status));
    statuses.iter().map(entry).collect()
}

/// What [`composite_input`] tells of each composite, by name.
pub fn composites(statuses: &[CompositeStatus]) -> Map<String, Value> {
    let entry = |status: &CompositeStatus| (status.name.clone(), composite_input(status));
    statuses.iter().map(entry).collect()
}

/// The whole document that policies see: the report, its `objectives` and its `composites_by_name`.
pub fn document(report: &Report) -> Result<Value, serde_json::Error> {
    let mut document = serde_json::to_value(report)?;
    if let Some(fields) = document.as_object_mut() {
        let objectives = objectives(&report.baseline_evaluations);
        fields.insert(OBJECTIVES.to_owned(), Value::Object(objectives));
        let composites = composites(&report.composites);
        fields.insert(COMPOSITES.to_owned(), Value::Object(composites));
    }
    Ok(document)
}

#[cfg(test)]
mod tests;
