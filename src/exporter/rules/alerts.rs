//! Alerting rules: one for each pair of windows, so that an alert says which of them burn; one for a budget that is spent;
//! two for metrics that are gone or contradict themselves.
//!
//! The burn-rate alerts have no `for`: the long window is the delay already, and `for` would start anew with every
//! evaluation that is missed. They have no `keep_firing_for` either: the short window ends an alert within its length
//! once the burning stops. The alerts about metrics wait for [`METRIC_HOLD`], longer than a restart takes.

use crate::evaluator::budget::events_needed;
use crate::exporter::rules::model::{Alert, Group, Labels, Rule};
use crate::exporter::rules::recording::{event_ratio, identity};
use crate::exporter::rules::slo::{Pair, Slo};
use crate::model::report::Severity;
use crate::model::slo::{Budgeting, EmptySlices};
use crate::model::window::Window;
use crate::openslo::text::{percent, promql_range};

/// Name of the alerts of pairs of windows.
pub(super) const BURN: &str = "SLOErrorBudgetBurn";
/// Name of the alert of a spent budget.
pub(super) const SPENT: &str = "SLOErrorBudgetSpent";
/// Name of the alert of a metric that is gone.
pub(super) const ABSENT: &str = "SLOMetricAbsent";
/// Name of the alert of a metric that contradicts itself.
pub(super) const INVALID: &str = "SLOMetricInvalid";

/// How long something is wrong with a metric before somebody is told, in seconds.
pub(super) const METRIC_HOLD: u64 = 15 * 60;

/// Windows are extrapolated, each series by itself: this much of the events may seem too many.
pub(super) const TOLERANCE: f64 = 0.01;

/// The alerts of an SLO.
pub(super) fn alerts(slo: &Slo) -> Group {
    let mut rules: Vec<Rule> = slo.pairs().iter().map(|pair| burn(slo, pair)).collect();
    rules.extend(slo.rolling_secs().map(|secs| spent(slo, secs)));
    if slo.counts_events() {
        rules.push(absent(slo));
        if !slo.is_coherent() {
            rules.push(invalid(slo));
        }
    }
    Group {
        name: format!("sloth-slo-alerts-{}", slo.id),
        interval: None,
        rules,
    }
}

pub(super) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Page => "page",
        Severity::Ticket => "ticket",
    }
}

/// A series without the label that tells windows apart, so that different ones can be compared.
fn any_window(series: &str) -> String {
    format!("max without (sloth_window) ({series})")
}

/// Both windows burn faster than the factor. The value is the burn rate over the long one.
fn burn(slo: &Slo, pair: &Pair) -> Rule {
    let (long, short) = (pair.rule.long, pair.rule.short);
    let (limit, budget) = (pair.limit.ratio, slo.budget());
    let (long_ratio, short_ratio) = (slo.ratio(long.secs()), slo.ratio(short.secs()));
    let mut expr = format!(
        "({} > {limit}) / {budget} and {} > {limit}",
        any_window(&long_ratio),
        any_window(&short_ratio),
    );
    if let Some(guard) = enough_bad_events(slo, long.secs()) {
        expr.push_str(&guard);
    }
    let (id, name) = (&slo.service, &slo.name);
    let factor = if pair.limit.capped {
        (limit / budget * 1e6).round() / 1e6
    } else {
        pair.rule.factor
    };
    let period = promql_range(slo.period.secs());
    let mut description = format!(
        "Over {} the error budget burns {{{{ $value | humanize }}}} times as fast as it may, over {}{{{{ with query {} }}}} \
         {{{{ . | first | value | humanize }}}} times{{{{ end }}}}; the limit is {factor}, {} of {}. \
         {} are promised over {period}; at the limit the whole budget is gone in {}.",
        long.label(),
        short.label(),
        template_string(&format!("{short_ratio} / {budget}")),
        ratio_of(slo.budgeting),
        percent(limit),
        promised(slo),
        hours(slo.period.secs() as f64 / factor),
    );
    if pair.limit.capped {
        let uncapped = format!(
            " {} times the budget would be {} of {}, which is hardly ever reached, so the limit is capped.",
            pair.rule.factor,
            ratio_of(slo.budgeting),
            percent(pair.rule.factor * budget)
        );
        description.push_str(&uncapped);
    }
    let summary = format!(
        "{id}: {name} burns its error budget too fast, over {} and still over {}.",
        long.label(),
        short.label()
    );
    let mut alert = alert(
        slo,
        BURN,
        severity(pair.rule.severity),
        expr,
        [summary, description],
    );
    alert
        .labels
        .insert("long".to_owned(), long.label().to_owned());
    alert
        .labels
        .insert("short".to_owned(), short.label().to_owned());
    Rule::Alert(alert)
}

/// What the ratio is that burns the budget.
fn ratio_of(budgeting: Budgeting) -> &'static str {
    match budgeting {
        Budgeting::Occurrences => "an error ratio",
        Budgeting::Timeslices { .. } => "a share of bad slices",
        Budgeting::RatioTimeslices { .. } => "a mean error ratio of slices",
    }
}

/// What is promised, for people: `99%`, `99% of the slices of 5m`.
fn promised(slo: &Slo) -> String {
    let target = percent(slo.target);
    match slo.budgeting {
        Budgeting::Occurrences => target,
        Budgeting::Timeslices { slice, .. } => format!("{target} of the slices of {slice}"),
        Budgeting::RatioTimeslices { slice, .. } => {
            format!("{target} in the mean of the slices of {slice}")
        }
    }
}

/// What an alert says besides ratios: that there are bad events enough. A slice that is bad for want of events stands for
/// one.
fn enough_bad_events(slo: &Slo, secs: u64) -> Option<String> {
    if !slo.counts_events() || slo.limits.min_bad_events == 0 {
        return None;
    }
    let bad = any_window(&slo.bad(secs));
    let all_bad = if slo.counts_empty_slices() {
        // Either may be missing, but not the ratio that burns.
        let none = format!("0 * {}", any_window(&slo.ratio(secs)));
        let empty = any_window(&slo.slices_empty(secs));
        format!("({bad} or {none}) + ({empty} or {none})")
    } else {
        bad
    };
    Some(format!(" and {all_bad} > {}", slo.bad_events_above()))
}

/// Nothing of the budget is left, once it allows a bad event at all: the same that makes a verdict fail. The value is what
/// is left, 0 or less.
fn spent(slo: &Slo, secs: u64) -> Rule {
    let budget = slo.budget();
    let mut expr = format!(
        "1 - ({} >= {budget}) / {budget}",
        any_window(&slo.ratio(secs))
    );
    if let Some(guard) = enough_bad_events(slo, secs) {
        let all = any_window(&slo.counted(secs));
        let enough = format!(" and {all} >= {}", least_events(budget));
        expr.push_str(&enough);
        expr.push_str(&guard);
    }
    let period = promql_range(secs);
    let (id, name) = (&slo.service, &slo.name);
    Rule::Alert(alert(
        slo,
        SPENT,
        "ticket",
        expr,
        [
            format!("{id}: {name} has spent its error budget of {period}."),
            format!(
                "{{{{ $value | humanizePercentage }}}} of the error budget is left: {} are promised over {period}. \
                 Releases that are not repairs should wait.",
                promised(slo)
            ),
        ],
    ))
}

/// Events until the budget allows a bad one.
pub(super) fn least_events(budget: f64) -> f64 {
    (events_needed(budget) - 1e-6).ceil()
}

/// Nothing is counted any more, which no other alert could see; or not twice in a slice.
fn absent(slo: &Slo) -> Rule {
    let (_, window) = slo.shortest();
    let parts = slo.parts().into_iter();
    let absent: Vec<String> = parts
        .map(|part| format!("absent({})", part.bad(window)))
        .collect();
    let expr = any_of(&absent);
    let (id, name) = (&slo.service, &slo.name);
    let mut alert = alert(
        slo,
        ABSENT,
        "ticket",
        expr,
        [
            format!("{id}: {name} is not measured."),
            format!(
                "The metrics of the indicator are gone or not numbers for {}. {} Are the targets scraped, twice in {} at \
                 least, and are the metrics still called so?",
                promql_range(METRIC_HOLD),
                while_absent(slo),
                promql_range(window),
            ),
        ],
    );
    alert.hold = Some(promql_range(METRIC_HOLD));
    Rule::Alert(alert)
}

/// What becomes of alerts while nothing is counted.
fn while_absent(slo: &Slo) -> &'static str {
    let empty = slo.budgeting.slice().map(|_| slo.budgeting.empty_slices());
    match empty {
        None | Some(EmptySlices::Excluded) => {
            "While they are, no alert of this objective can fire."
        }
        Some(EmptySlices::Good) => "While they are, slices count as good.",
        Some(EmptySlices::Bad) => "While they are, slices count as bad.",
    }
}

/// More good or bad events than events.
fn invalid(slo: &Slo) -> Rule {
    let hour = Window::H1.secs();
    let parts = slo.parts().into_iter().filter(|part| !part.is_coherent());
    let wrong = parts.map(|part| {
        let ratio = any_window(&event_ratio(part, hour));
        format!("{ratio} < -{TOLERANCE} or {ratio} > {}", 1.0 + TOLERANCE)
    });
    let expr = any_of(&wrong.collect::<Vec<_>>());
    let (id, name) = (&slo.service, &slo.name);
    let mut alert = alert(
        slo,
        INVALID,
        "ticket",
        expr,
        [
            format!("{id}: {name} counts more good or bad events than events."),
            "Over 1h the error ratio is {{ $value | humanizePercentage }}, which no events can have: the queries of the \
             indicator do not count the same events."
                .to_owned(),
        ],
    );
    alert.hold = Some(promql_range(METRIC_HOLD));
    Rule::Alert(alert)
}

/// One of these, as one alert.
fn any_of(conditions: &[String]) -> String {
    match conditions {
        [one] => one.clone(),
        all => format!("max({})", all.join(" or ")),
    }
}

fn alert(
    slo: &Slo,
    name: &str,
    severity: &str,
    expr: String,
    [summary, description]: [String; 2],
) -> Alert {
    // Prometheus expands the labels of alerts, but not those of recordings.
    let own = slo.labels.iter();
    let mut labels: Labels = own
        .map(|(label, value)| (label.clone(), literal(value)))
        .collect();
    labels.extend(identity(slo));
    labels.extend(
        ["severity", "sloth_severity"].map(|label| (label.to_owned(), severity.to_owned())),
    );
    let annotations = [
        ("title", literal(&slo.title)),
        ("summary", summary),
        ("description", description),
    ];
    Alert {
        name: name.to_owned(),
        expr,
        hold: None,
        labels,
        annotations: annotations.map(|(key, text)| (key.to_owned(), text)).into(),
    }
}

/// A text that a template of Prometheus leaves as it is.
fn literal(text: &str) -> String {
    text.replace("{{", "{{ \"{{\" }}")
}

/// A string inside a template.
fn template_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A length of time for people, in hours up to three days and in days beyond.
fn hours(secs: f64) -> String {
    let hours = secs / 3_600.0;
    if hours <= 72.0 {
        format!("{} h", (hours * 10.0).round() / 10.0)
    } else {
        format!("{} days", (hours / 2.4).round() / 10.0)
    }
}
