//! What one series did in one minute: the rows that candidates, replay and ledgers read.

use serde::{Deserialize, Serialize};

use crate::model::series::SeriesId;
use crate::model::window::WindowSums;

/// One minute of one series. Several rows may speak of the same minute (late spans); they add up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MinuteRow {
    /// Minutes since the Unix epoch.
    pub minute: u32,
    /// Events of the minute.
    pub sums: WindowSums,
    /// Durations of its events without an error: (bucket, count), see `window::sketch`.
    pub latency: Vec<(u16, u64)>,
}

impl MinuteRow {
    /// Adds another row of the same minute. Latency stays sorted by bucket.
    pub fn merge(&mut self, other: &Self) {
        self.sums = self.sums.plus(other.sums);
        for (bucket, count) in &other.latency {
            match self.latency.binary_search_by_key(bucket, |held| held.0) {
                Ok(at) => {
                    if let Some((_, held)) = self.latency.get_mut(at) {
                        *held += count;
                    }
                }
                Err(at) => self.latency.insert(at, (*bucket, *count)),
            }
        }
    }
}

/// A row with the series that it belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesMinute {
    /// The series.
    pub series: SeriesId,
    /// Its row.
    pub row: MinuteRow,
}
