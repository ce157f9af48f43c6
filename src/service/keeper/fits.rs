//! Candidates from the history: one group of series after the other, so that a fit holds little memory and few locks.

use std::sync::atomic::Ordering;

use crate::evaluator::candidate::{self, SeriesHistory, fit};
use crate::model::candidate::Candidate;
use crate::model::history::MinuteRow;
use crate::model::series::{OVERFLOW, SeriesId, SeriesKey, ServiceKey};
use crate::service::keeper::{Keeper, minute_before};
use crate::store::StoreError;
use crate::window::event::Sampling;

impl Keeper {
    /// Fits candidates to the history and the minutes that are not in it yet.
    pub(super) fn fit_candidates(&self) -> Result<Vec<Candidate>, StoreError> {
        let from_minute = minute_before(self.clock.now(), u64::from(self.history_days) * 86_400);
        let mut keys = self.windows.history_keys();
        keys.retain(|(_, key)| !is_overflow(key));
        let mut candidates = Vec::new();
        // Kinds of one operation are one candidate, since objectives do not tell them apart. Keys come sorted.
        keys.sort_unstable_by(|a, b| a.1.cmp(&b.1));
        for group in keys.chunk_by(|a, b| {
            a.1.service == b.1.service && a.1.operation_name() == b.1.operation_name()
        }) {
            if self.stopping.load(Ordering::Relaxed) {
                break;
            }
            let Some((_, key)) = group.first() else {
                continue;
            };
            let mut rows = Vec::new();
            for (id, _) in group {
                rows.extend(self.rows_of(*id, from_minute)?);
            }
            rows.sort_by_key(|row| row.minute);
            let history = SeriesHistory {
                service: &key.service,
                operation: key.operation_name(),
                rows: &rows,
                sampling: self.sampling_of(&key.service, &rows),
            };
            candidates.extend(fit(&history, &self.settings));
        }
        candidate::assign_names(&mut candidates);
        Ok(candidates)
    }

    /// The history of a series with what is not in it yet.
    fn rows_of(&self, series: SeriesId, from_minute: u32) -> Result<Vec<MinuteRow>, StoreError> {
        // The lock keeps a minute from being counted in the windows and in the store.
        let passage = self.passage();
        let mut rows = self.store.minutes(series, from_minute)?;
        rows.extend(passage.minutes_of(series));
        rows.extend(self.windows.unsaved_minutes(series));
        Ok(rows)
    }

    fn sampling_of(&self, service: &ServiceKey, rows: &[MinuteRow]) -> candidate::Sampling {
        match self.rules.sampling_of(service.name.as_bytes()) {
            Sampling::Unknown => candidate::Sampling::Unknown,
            Sampling::Ratio(ratio) => candidate::Sampling::Ratio(ratio),
            Sampling::Full => {
                let weighted = |row: &MinuteRow| row.sums.squared > row.sums.observed_total as f64;
                if rows.iter().any(weighted) {
                    candidate::Sampling::Tracestate
                } else {
                    candidate::Sampling::Full
                }
            }
        }
    }
}

/// Whether this is a reserved `_other` series, of which no objective makes sense.
fn is_overflow(key: &SeriesKey) -> bool {
    *key.service.name == *OVERFLOW || key.operation_name() == Some(OVERFLOW)
}
