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

/// A row with the series that it belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesMinute {
    /// The series.
    pub series: SeriesId,
    /// Its row.
    pub row: MinuteRow,
}
