//! What the history knows beyond a checkpoint and its log, and what both know.
//!
//! Minutes that were open at the cut were closed and written after it. Rows of one minute are written in the order that they
//! left the series, so those after the cut hold all that the series still has of that minute exactly if they count at least
//! as many events.

use std::collections::BTreeMap;

use crate::model::history::{MinuteRow, SeriesMinute};
use crate::model::series::SeriesId;
use crate::window::windows::{Slot, Windows};

impl Windows {
    /// Takes the rows of one series that were written after the cut. Where they know more of a minute than the series has
    /// for the history, the series counts the rest and writes the minute no more; the other minutes it will write again, and
    /// their numbers are returned, so that the rows can go.
    pub fn reconcile(&self, id: SeriesId, rows: Vec<MinuteRow>) -> Vec<u32> {
        let mut slot = self.map.get_mut(&id);
        let Some(series) = slot.as_mut().and_then(|slot| slot.series_mut(&self.cut)) else {
            return Vec::new();
        };
        let mut by_minute: BTreeMap<u32, MinuteRow> = BTreeMap::new();
        for row in rows {
            match by_minute.get_mut(&row.minute) {
                Some(held) => held.merge(&row),
                None => {
                    by_minute.insert(row.minute, row);
                }
            }
        }
        let mut rewritten = Vec::new();
        for (minute, row) in by_minute {
            if series.knows_as_much(&row) {
                rewritten.push(minute);
            } else {
                series.take_over(&row);
            }
        }
        // What goes from the history comes back only if the series writes it.
        series.keeps_history |= !rewritten.is_empty();
        rewritten
    }

    /// Puts minutes back that had left a series for the history; those of series that are not held are returned.
    pub fn return_minutes(&self, minutes: Vec<SeriesMinute>) -> Vec<SeriesMinute> {
        let mut homeless = Vec::new();
        for minute in minutes {
            let mut slot = self.map.get_mut(&minute.series);
            match slot.as_mut().and_then(|slot| slot.series_mut(&self.cut)) {
                Some(series) => series.put_back(minute.row),
                None => homeless.push(minute),
            }
        }
        homeless
    }

    /// Begins all counters anew: what they had counted since the cut is not known, and Prometheus would take a counter that
    /// comes back a little lower for one that began anew.
    pub fn forget_counters(&self) {
        for mut slot in self.map.iter_mut() {
            if let Some(series) = slot.series_mut(&self.cut) {
                series.forget_counters();
            }
        }
    }

    /// Identities of all series.
    pub fn held_ids(&self) -> Vec<SeriesId> {
        let held = self.map.iter();
        held.filter(|slot| matches!(slot.value(), Slot::Series(_)))
            .map(|slot| *slot.key())
            .collect()
    }
}
