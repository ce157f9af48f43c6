//! Objectives on the windows: their accounts, and the rows that go to the store.

use std::sync::{Arc, PoisonError};

use crate::model::UnixNanos;
use crate::model::history::{MinuteRow, SeriesMinute};
use crate::model::series::{SeriesId, SeriesKey, SeriesScope};
use crate::model::slo::Objective;
use crate::window::ledger::{Ledger, LedgerRow};
use crate::window::windows::Windows;

impl Windows {
    /// Adopts an objective: attaches an account to each series that it selects, now and later.
    ///
    /// Returns those series, each with the minutes that the history does not have yet. The caller replays the history
    /// and those minutes by [`Self::replay`], so that the account knows the past and counts nothing twice.
    pub fn adopt(
        &self,
        objective: &Arc<Objective>,
        now: UnixNanos,
    ) -> Vec<(SeriesId, Vec<MinuteRow>)> {
        {
            let mut objectives = self
                .objectives
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            if objectives.iter().all(|held| held.name != objective.name) {
                self.accounts().open(objective);
                objectives.push(Arc::clone(objective));
            }
        }
        let mut attached = Vec::new();
        for mut slot in self.map.iter_mut() {
            let id = *slot.key();
            if let Some(series) = slot.series_mut(&self.cut)
                && selects(objective, &series.key)
                && series.attach(Ledger::new(objective, now))
            {
                attached.push((id, series.unsaved_minutes()));
            }
        }
        attached.sort_unstable_by_key(|(id, _)| *id);
        attached
    }

    /// Adds past minutes to the account of an objective on a series.
    pub fn replay(&self, objective: &str, series: SeriesId, rows: &[MinuteRow]) {
        if let Some(mut slot) = self.map.get_mut(&series)
            && let Some(series) = slot.series_mut(&self.cut)
            && let Some(ledger) = series.ledger_mut(objective)
        {
            for row in rows {
                ledger.replay(row);
            }
        }
    }

    /// Takes the closed minutes that the history does not have yet, sorted, and how many were lost to its bound.
    pub fn take_history(&self) -> (Vec<SeriesMinute>, u64) {
        let (mut rows, mut lost) = (Vec::new(), 0);
        for mut slot in self.map.iter_mut() {
            let id = *slot.key();
            if let Some(series) = slot.series_mut(&self.cut) {
                let (minutes, lost_here) = series.take_outbox();
                lost += lost_here;
                rows.extend(
                    minutes
                        .into_iter()
                        .map(|row| SeriesMinute { series: id, row }),
                );
            }
        }
        rows.sort_by_key(|minute| (minute.series, minute.row.minute));
        (rows, lost)
    }

    /// Takes the days of all accounts that changed since the last call, to be kept.
    pub fn take_ledger_rows(&self) -> Vec<LedgerRow> {
        let mut rows = self.take_slice_rows();
        for mut slot in self.map.iter_mut() {
            let id = *slot.key();
            if let Some(series) = slot.series_mut(&self.cut) {
                rows.extend(series.take_changed_days(id));
            }
        }
        rows
    }
}

/// Whether an objective is measured on the series with this key.
pub fn selects(objective: &Objective, key: &SeriesKey) -> bool {
    let scope = match (&key.scope, &objective.operation) {
        (SeriesScope::Service, None) => true,
        (SeriesScope::Operation { operation, .. }, Some(wanted)) => **operation == **wanted,
        (SeriesScope::Service | SeriesScope::Operation { .. } | SeriesScope::Version { .. }, _) => {
            false
        }
    };
    scope && objective.selects(&key.service)
}
