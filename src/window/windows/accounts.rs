//! Accounts that belong to no single series: slices of time, composites of them, and days of series that are not held.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard, PoisonError};

use crate::model::series::SeriesId;
use crate::model::slo::{Budgeting, Objective};
use crate::model::window::WindowSums;
use crate::model::{NANOS_PER_SEC, UnixNanos};
use crate::window::ledger::{ALL_SERIES, LedgerDay, LedgerRow};
use crate::window::slices::{JudgedSlice, SliceAccount, combine};
use crate::window::windows::Windows;

/// The slices of one objective that had events.
type Measured = BTreeMap<u32, WindowSums>;

#[derive(Debug, Default)]
pub(in crate::window) struct Accounts {
    /// By name of the objective.
    pub(in crate::window) slices: BTreeMap<Arc<str>, SliceAccount>,
    /// By name of the composite; only those that count slices.
    pub(in crate::window) composites: BTreeMap<String, Composite>,
    /// Days of series that are not held, by name of the objective.
    pub(in crate::window) dormant: BTreeMap<(Arc<str>, SeriesId), Vec<LedgerDay>>,
}

/// A composite that counts slices.
#[derive(Debug)]
pub(in crate::window) struct Composite {
    pub(in crate::window) slices: SliceAccount,
    budgeting: Budgeting,
    /// Members with their weights.
    members: Vec<(Arc<Objective>, f64)>,
}

impl Accounts {
    /// Makes the accounts of an objective, where it judges slices.
    pub(super) fn open(&mut self, objective: &Arc<Objective>) {
        let Some(slices) = SliceAccount::new(objective.account(), objective) else {
            return;
        };
        self.slices.insert(objective.name.as_str().into(), slices);
        let Some((member, key)) = objective
            .composite
            .as_ref()
            .zip(objective.composite_account())
        else {
            return;
        };
        let Some(slices) = SliceAccount::new(key, objective) else {
            return;
        };
        let composite = self
            .composites
            .entry(member.name.clone())
            .or_insert_with(|| Composite {
                slices,
                budgeting: objective.budgeting,
                members: Vec::new(),
            });
        let first = composite.members.first();
        if first.is_none_or(|(first, _)| first.agrees_with(objective).is_ok()) {
            composite
                .members
                .push((Arc::clone(objective), member.weight));
        }
    }

    /// The events since a day began, of series that are not held.
    pub(in crate::window) fn dormant_since(&self, objective: &str, first: u32) -> WindowSums {
        if self.dormant.is_empty() {
            return WindowSums::default();
        }
        let from = (Arc::from(objective), ALL_SERIES);
        let own = self.dormant.range(from..);
        own.take_while(|((name, _), _)| **name == *objective)
            .flat_map(|(_, days)| days)
            .filter(|day| day.day >= first)
            .fold(WindowSums::default(), |sums, day| sums.plus(day.sums))
    }

    fn judge(&mut self, mut measured: BTreeMap<Arc<str>, Measured>, until_secs: u64) {
        self.correct(&mut measured);
        let mut judged: BTreeMap<&str, Vec<JudgedSlice>> = BTreeMap::new();
        for (name, account) in &mut self.slices {
            let own = measured.remove(name).unwrap_or_default();
            let slices = account.judge(own, until_secs);
            account.record(slices.iter().copied(), until_secs);
            judged.insert(name, slices);
        }
        for composite in self.composites.values_mut() {
            let mut whole = BTreeMap::new();
            for (member, weight) in &composite.members {
                let own = judged.get(member.name.as_str());
                let own = own.map_or(&[][..], Vec::as_slice);
                combine(&mut whole, own, *weight, composite.budgeting);
            }
            composite.slices.record(whole.into_values(), until_secs);
        }
    }

    /// Takes the events of slices that are judged already, and judges those again.
    fn correct(&mut self, measured: &mut BTreeMap<Arc<str>, Measured>) {
        let mut late: BTreeMap<Arc<str>, Measured> = BTreeMap::new();
        for (name, own) in measured {
            if let Some(account) = self.slices.get(name) {
                late.insert(Arc::clone(name), account.take_late(own));
            }
        }
        late.retain(|_, own| !own.is_empty());
        if late.is_empty() {
            return;
        }
        let composites = self.composites.values();
        let before: Vec<_> = composites
            .map(|composite| composite.judged(&late, &self.slices))
            .collect();
        for (name, own) in &late {
            if let Some(account) = self.slices.get_mut(name) {
                account.add_late(own);
            }
        }
        for (composite, before) in self.composites.values_mut().zip(before) {
            let after = composite.judged(&late, &self.slices);
            for (before, after) in before.into_values().zip(after.into_values()) {
                composite.slices.correct(before, after);
            }
        }
    }
}

impl Windows {
    pub(in crate::window) fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges the slices of time that are over, once they have waited `windows.late_after` for their events.
    pub(in crate::window) fn judge_slices(&self, now: UnixNanos) {
        if self.accounts().slices.is_empty() {
            return;
        }
        let until_secs = (now / NANOS_PER_SEC).saturating_sub(self.config.late_after.as_secs());
        let mut measured: BTreeMap<Arc<str>, Measured> = BTreeMap::new();
        for mut slot in self.map.iter_mut() {
            if let Some(series) = slot.series_mut(&self.cut) {
                for (objective, slices) in series.take_slices(until_secs) {
                    let own = measured.entry(Arc::clone(objective)).or_default();
                    for (number, sums) in slices {
                        let slice = own.entry(number).or_default();
                        *slice = slice.plus(sums);
                    }
                }
            }
        }
        self.accounts().judge(measured, until_secs);
    }

    /// Gives an objective the days of an earlier run, of series that are held and of those that are not, and its composite
    /// those that belong to no series. `key` says whose they are: [`Objective::account`] or
    /// [`Objective::composite_account`].
    pub fn restore_days(
        &self,
        objective: &Objective,
        key: &str,
        stored: Vec<(SeriesId, Vec<LedgerDay>)>,
    ) {
        for (series, days) in stored {
            if series == ALL_SERIES {
                let mut accounts = self.accounts();
                let Accounts {
                    slices, composites, ..
                } = &mut *accounts;
                let composites = composites.values_mut();
                let all = composites.map(|composite| &mut composite.slices);
                for account in all.chain(slices.values_mut()) {
                    if account.key() == key {
                        account.restore(&days);
                    }
                }
            } else if !self.restore_series(&objective.name, series, &days) {
                let key = (objective.name.as_str().into(), series);
                self.accounts().dormant.insert(key, days);
            }
        }
    }

    fn restore_series(&self, objective: &str, series: SeriesId, days: &[LedgerDay]) -> bool {
        let mut slot = self.map.get_mut(&series);
        let series = slot.as_mut().and_then(|slot| slot.series_mut(&self.cut));
        let ledger = series.and_then(|series| series.ledger_mut(objective));
        ledger.is_some_and(|ledger| {
            ledger.restore_days(days.iter().copied());
            true
        })
    }

    /// The days of slices that changed since the last call.
    pub(super) fn take_slice_rows(&self) -> Vec<LedgerRow> {
        let mut accounts = self.accounts();
        let Accounts {
            slices, composites, ..
        } = &mut *accounts;
        let composites = composites.values_mut();
        let all = composites.map(|composite| &mut composite.slices);
        all.chain(slices.values_mut())
            .flat_map(SliceAccount::take_changed_days)
            .collect()
    }
}

impl Composite {
    /// What became of the slices that members have late events for.
    fn judged(
        &self,
        late: &BTreeMap<Arc<str>, Measured>,
        accounts: &BTreeMap<Arc<str>, SliceAccount>,
    ) -> BTreeMap<u32, JudgedSlice> {
        let names = self.members().map(|member| member.name.as_str());
        let late = names.filter_map(|name| late.get(name));
        let numbers: BTreeSet<u32> = late.flat_map(BTreeMap::keys).copied().collect();
        let mut whole = BTreeMap::new();
        for (member, weight) in &self.members {
            let Some(account) = accounts.get(member.name.as_str()) else {
                continue;
            };
            let slices = numbers.iter().filter_map(|number| account.judged(*number));
            let slices: Vec<JudgedSlice> = slices.collect();
            combine(&mut whole, &slices, *weight, self.budgeting);
        }
        whole
    }

    /// The objectives that it is made of.
    pub(in crate::window) fn members(&self) -> impl Iterator<Item = &Arc<Objective>> {
        self.members.iter().map(|(member, _)| member)
    }
}
