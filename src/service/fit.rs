//! Candidates of all series: which series are fitted together, and what is known about their sampling.

use std::collections::BTreeSet;

use crate::evaluator::candidate::{self, SeriesHistory, assign_names, fit};
use crate::model::candidate::Candidate;
use crate::model::history::MinuteRow;
use crate::model::series::{OVERFLOW, SeriesId, SeriesKey, ServiceKey};
use crate::window::event::{EventRules, Sampling};

/// Days since the Unix epoch on which spans were weighed by what their senders were asked, by service.
pub(super) type AssumedDays = BTreeSet<(String, u32)>;

/// Fits candidates to each service and each operation of `keys`, until `go_on` says no.
///
/// `rows_of` answers the minutes of a series, in any order; several rows of one minute add up.
pub(super) fn fit_all<E>(
    mut keys: Vec<(SeriesId, SeriesKey)>,
    (rules, settings): (&EventRules, &candidate::Settings),
    assumed: &AssumedDays,
    mut rows_of: impl FnMut(SeriesId) -> Result<Vec<MinuteRow>, E>,
    mut go_on: impl FnMut() -> bool,
) -> Result<Vec<Candidate>, E> {
    keys.retain(|(_, key)| !is_overflow(key));
    // Kinds of one operation are one candidate, since objectives do not tell them apart.
    keys.sort_unstable_by(|a, b| a.1.cmp(&b.1));
    let same = |a: &SeriesKey, b: &SeriesKey| {
        a.service == b.service && a.operation_name() == b.operation_name()
    };
    let mut candidates = Vec::new();
    for group in keys.chunk_by(|a, b| same(&a.1, &b.1)) {
        let Some((_, key)) = group.first().filter(|_| go_on()) else {
            break;
        };
        let mut rows = Vec::new();
        for (id, _) in group {
            rows.extend(rows_of(*id)?);
        }
        rows.sort_by_key(|row| row.minute);
        let history = SeriesHistory {
            service: &key.service,
            operation: key.operation_name(),
            rows: &rows,
            sampling: sampling_of((rules, assumed), &key.service, &rows),
        };
        candidates.extend(fit(&history, settings));
    }
    assign_names(&mut candidates);
    Ok(candidates)
}

fn sampling_of(
    (rules, assumed): (&EventRules, &AssumedDays),
    service: &ServiceKey,
    rows: &[MinuteRow],
) -> candidate::Sampling {
    let is_assumed = |row: &MinuteRow| {
        let day = (service.name.to_string(), row.minute / MINUTES_PER_DAY);
        assumed.contains(&day)
    };
    match rules.said(service.name.as_bytes()) {
        Some(Sampling::Unknown) => candidate::Sampling::Unknown,
        Some(Sampling::Ratio(ratio)) => candidate::Sampling::Ratio(ratio),
        None if !assumed.is_empty() && rows.iter().any(is_assumed) => candidate::Sampling::Assumed,
        Some(Sampling::Full) | None => {
            let weighted = |row: &MinuteRow| row.sums.squared > row.sums.observed_total as f64;
            if rows.iter().any(weighted) {
                candidate::Sampling::Tracestate
            } else {
                candidate::Sampling::Full
            }
        }
    }
}

const MINUTES_PER_DAY: u32 = 1_440;

/// Whether this is a reserved `_other` series, of which no objective makes sense.
fn is_overflow(key: &SeriesKey) -> bool {
    *key.service.name == *OVERFLOW || key.operation_name() == Some(OVERFLOW)
}
