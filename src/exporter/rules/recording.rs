//! Recording rules in the names and groups of Sloth, so that its Grafana dashboards work, with counts of events beside its
//! ratios.
//!
//! Every window sums events first and divides then. A window without events has no ratio, so that nothing is `NaN` and
//! no alert sees it. What is not a number never gets into a count, since one would spoil every sum over it.
//!
//! Where slices of time are counted, events are counted over single slices, and [`slices`] makes windows of these.
//!
//! A counter that is born with its first error is no increase to Prometheus: that error is not seen. The counters of
//! slo-copilot start at 0 for both results; others should be started at 0 by who exports them, or be scraped by a
//! Prometheus that ingests the zero of their created timestamp. To count a new counter from its first value would page
//! for every process that is scraped late.

use crate::exporter::rules::model::{Group, Labels, Recording, Rule};
use crate::exporter::rules::slices;
use crate::exporter::rules::slo::{Counting, Indicator, Slo, counting};
use crate::model::slo::exact_ratio;
use crate::openslo::text::{percent, promql_range};
use crate::openslo::v1::RawType;

/// The indicator over every window.
pub(super) fn indicators(slo: &Slo) -> Group {
    let mut rules: Vec<Rule> = Vec::new();
    for secs in slo.event_windows() {
        rules.extend(events(slo, secs));
        if slo.slice_secs().is_none() {
            rules.push(ratio(slo, secs));
        }
    }
    if slo.slice_secs().is_some() {
        rules.extend(slices::recordings(slo));
    }
    Group {
        name: format!("sloth-slo-sli-recordings-{}", slo.id),
        // A slice's end is seen by the next evaluation, and a point of a range looks back five minutes.
        interval: slo
            .slice_secs()
            .map(|_| promql_range(slices::EVALUATION_SECS)),
        rules,
    }
}

/// A recording about a window.
pub(super) fn of_window(slo: &Slo, metric: &str, secs: u64, expr: String) -> Rule {
    let range = promql_range(secs);
    let window = ("sloth_window".to_owned(), range.clone());
    recording(slo, format!("{metric}{range}"), expr, [window])
}

/// The counts of a window.
fn events(slo: &Slo, secs: u64) -> Vec<Rule> {
    let Indicator::Events {
        part_is,
        part,
        total,
    } = &slo.indicator
    else {
        return Vec::new();
    };
    let range = promql_range(secs);
    let (bad, all) = match counting(secs) {
        Counting::Direct => (
            direct_bad(slo, secs, *part_is, &part.over(&range)),
            format!("{} >= 0", total.over(&range)),
        ),
        Counting::Summed { step_secs } => {
            let step = promql_range(step_secs);
            // Summed up over what labels of the document have been meanwhile.
            let sum = |series: String| format!("sum(sum_over_time({series}[{range}:{step}]))");
            (sum(slo.bad(step_secs)), sum(slo.total(step_secs)))
        }
    };
    vec![
        of_window(slo, "slo:events_total:increase", secs, all),
        of_window(slo, "slo:events_bad:increase", secs, bad),
    ]
}

/// The error ratio of a window's events.
fn ratio(slo: &Slo, secs: u64) -> Rule {
    let expr = match &slo.indicator {
        Indicator::Events { .. } => format!("{} / ({} > 0)", slo.bad(secs), slo.total(secs)),
        Indicator::Ratio { is, query } => error_ratio(*is, &query.over(&promql_range(secs))),
    };
    of_window(slo, "slo:sli_error:ratio_rate", secs, expr)
}

/// The error ratio that a source computes. Both comparisons keep what is not a number out.
pub(super) fn error_ratio(is: RawType, ratio: &str) -> String {
    match is {
        RawType::Failure => format!("({ratio} >= 0) <= 1"),
        RawType::Success => format!("(1 - {ratio} >= 0) <= 1"),
    }
}

/// The bad events of a window, where the whole is recorded already. A part without any series is none: the first good or
/// bad event has still to come.
fn direct_bad(slo: &Slo, secs: u64, part_is: RawType, part: &str) -> String {
    let total = slo.total(secs);
    match part_is {
        RawType::Success => format!("{total} - on() ({part} or vector(0)) > -Inf"),
        RawType::Failure => format!("({part} or vector(0)) > -Inf and on() {total}"),
    }
}

/// What is promised, and how much of it is left.
pub(super) fn facts(slo: &Slo) -> Group {
    let plain = |record: &str, expr| recording(slo, record.to_owned(), expr, []);
    let budget = slo.budget();
    let days = slo.period.secs() / (24 * 3_600);
    let over_budget = |series: String| {
        let budget = slo.series("slo:error_budget:ratio");
        format!("{series} / on(sloth_id, sloth_slo, sloth_service) group_left {budget}")
    };
    let mut rules = vec![
        plain(
            "slo:objective:ratio",
            format!("vector({})", exact_ratio(slo.target)),
        ),
        plain("slo:error_budget:ratio", format!("vector({budget})")),
        plain("slo:time_period:days", format!("vector({days})")),
        plain(
            "slo:current_burn_rate:ratio",
            over_budget(slo.ratio(slo.shortest().0)),
        ),
    ];
    if let Some(secs) = slo.rolling_secs() {
        let spent = slo.series("slo:period_burn_rate:ratio");
        rules.extend([
            plain("slo:period_burn_rate:ratio", over_budget(slo.ratio(secs))),
            plain(
                "slo:period_error_budget_remaining:ratio",
                format!("1 - {spent}"),
            ),
        ]);
    }
    let info = [
        ("sloth_mode", "slo-copilot".to_owned()),
        ("sloth_objective", percent(slo.target).replace('%', "")),
        ("sloth_spec", "openslo/v1".to_owned()),
        ("sloth_version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let info = info.map(|(label, value)| (label.to_owned(), value));
    rules.push(recording(
        slo,
        "sloth_slo_info".to_owned(),
        "vector(1)".to_owned(),
        info,
    ));
    Group {
        name: format!("sloth-slo-meta-recordings-{}", slo.id),
        interval: None,
        rules,
    }
}

fn recording(
    slo: &Slo,
    record: String,
    expr: String,
    more: impl IntoIterator<Item = (String, String)>,
) -> Rule {
    let mut labels = slo.labels.clone();
    labels.extend(identity(slo));
    labels.extend(more);
    Rule::Recording(Recording {
        record,
        expr,
        labels,
    })
}

/// The identity as labels.
pub(super) fn identity(slo: &Slo) -> Labels {
    let pairs = slo.identity().into_iter();
    pairs
        .map(|(label, value)| (label.to_owned(), value.to_owned()))
        .collect()
}
