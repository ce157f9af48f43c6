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
use crate::exporter::rules::slo::{Counting, Indicator, Member, Slo, counting};
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
    let range = promql_range(secs);
    let mut of_members = Vec::new();
    let (bad, all) = match (&slo.indicator, counting(secs)) {
        (Indicator::Ratio { .. }, _) => return Vec::new(),
        (Indicator::Members(members), _) => {
            of_members.extend(members.iter().flat_map(|member| events(&member.slo, secs)));
            let sum = |count: &dyn Fn(&Slo) -> String| {
                let counts: Vec<String> = members.iter().map(|member| count(&member.slo)).collect();
                format!("sum({})", counts.join(" or "))
            };
            (sum(&|part| part.bad(secs)), sum(&|part| part.total(secs)))
        }
        (
            Indicator::Events {
                part_is,
                part,
                total,
            },
            Counting::Direct,
        ) => (
            direct_bad(slo, secs, *part_is, &part.over(&range)),
            format!("{} >= 0", total.over(&range)),
        ),
        (Indicator::Events { .. }, Counting::Summed { step_secs }) => {
            let step = promql_range(step_secs);
            // Summed up over what labels of the document have been meanwhile.
            let sum = |series: String| format!("sum(sum_over_time({series}[{range}:{step}]))");
            (sum(slo.bad(step_secs)), sum(slo.total(step_secs)))
        }
    };
    let own = [
        of_window(slo, "slo:events_total:increase", secs, all),
        of_window(slo, "slo:events_bad:increase", secs, bad),
    ];
    of_members.into_iter().chain(own).collect()
}

/// The error ratio of a window's events.
fn ratio(slo: &Slo, secs: u64) -> Rule {
    let expr = match &slo.indicator {
        Indicator::Events { .. } => event_ratio(slo, secs),
        Indicator::Members(members) => {
            let shares: f64 = members.iter().map(Member::share).sum();
            let terms = members.iter().map(|member| {
                let share = member.share() / shares;
                format!("{share} * {}", event_ratio(&member.slo, secs))
            });
            // One without events burns nothing.
            format!("sum({})", terms.collect::<Vec<_>>().join(" or "))
        }
        Indicator::Ratio { is, query } => error_ratio(*is, &query.over(&promql_range(secs))),
    };
    of_window(slo, "slo:sli_error:ratio_rate", secs, expr)
}

/// The bad events of a window over all of them; nothing without events.
pub(super) fn event_ratio(slo: &Slo, secs: u64) -> String {
    format!("{} / ({} > 0)", slo.bad(secs), slo.total(secs))
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
