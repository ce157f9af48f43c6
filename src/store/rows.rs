//! How a minute of history stands in the store: small, since there are 50 000 of them a series.

use serde::{Deserialize, Serialize};

use crate::model::history::MinuteRow;
use crate::model::series::SeriesId;
use crate::model::window::WindowSums;

/// (series, minute, sequence), sorted as bytes. Late events make a second row of the same minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HistoryKey {
    series: SeriesId,
    minute: u32,
    sequence: u32,
}

impl HistoryKey {
    /// Bytes of a key.
    pub(super) const LEN: usize = 24;

    pub(super) fn new(series: SeriesId, minute: u32) -> Self {
        Self {
            series,
            minute,
            sequence: 0,
        }
    }

    pub(super) fn next(self) -> Self {
        Self {
            sequence: self.sequence + 1,
            ..self
        }
    }

    pub(super) fn range(series: SeriesId, from_minute: u32) -> (Self, Self) {
        let last = Self {
            series,
            minute: u32::MAX,
            sequence: u32::MAX,
        };
        (Self::new(series, from_minute), last)
    }

    pub(super) fn series(self) -> SeriesId {
        self.series
    }

    pub(super) fn minute(self) -> u32 {
        self.minute
    }

    pub(super) fn bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let parts = (
            self.series.0.to_be_bytes(),
            self.minute.to_be_bytes(),
            self.sequence.to_be_bytes(),
        );
        let all = parts.0.iter().chain(&parts.1).chain(&parts.2);
        for (to, from) in bytes.iter_mut().zip(all) {
            *to = *from;
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let number = |from: usize, len: usize| {
            bytes
                .iter()
                .skip(from)
                .take(len)
                .fold(0_u128, |number, byte| number << 8 | u128::from(*byte))
        };
        Self {
            series: SeriesId(number(0, 16)),
            minute: u32::try_from(number(16, 4)).unwrap_or(u32::MAX),
            sequence: u32::try_from(number(20, 4)).unwrap_or(u32::MAX),
        }
    }
}

/// Most minutes carry no weights: then the counts say it all.
#[derive(Serialize, Deserialize)]
enum Sums {
    Counts { total: u64, bad: u64 },
    Weighted(WindowSums),
}

#[derive(Serialize, Deserialize)]
struct Row {
    sums: Sums,
    /// (gap to the bucket before, count).
    latency: Vec<(u16, u64)>,
}

pub(super) fn encode_row(row: &MinuteRow) -> Vec<u8> {
    let WindowSums {
        observed_total,
        observed_bad,
        ..
    } = row.sums;
    let counts = counted(observed_total, observed_bad);
    let sums = if counts == row.sums {
        Sums::Counts {
            total: observed_total,
            bad: observed_bad,
        }
    } else {
        Sums::Weighted(row.sums)
    };
    let mut before = 0;
    let gaps = row.latency.iter().map(|(bucket, count)| {
        let gap = bucket - before;
        before = *bucket;
        (gap, *count)
    });
    let row = Row {
        sums,
        latency: gaps.collect(),
    };
    // Plain numbers always encode.
    postcard::to_stdvec(&row).unwrap_or_default()
}

pub(super) fn decode_row(minute: u32, bytes: &[u8]) -> Result<MinuteRow, postcard::Error> {
    let row: Row = postcard::from_bytes(bytes)?;
    let mut before = 0_u16;
    let latency = row.latency.into_iter().map(|(gap, count)| {
        before = before.saturating_add(gap);
        (before, count)
    });
    Ok(MinuteRow {
        minute,
        latency: latency.collect(),
        sums: match row.sums {
            Sums::Counts { total, bad } => counted(total, bad),
            Sums::Weighted(sums) => sums,
        },
    })
}

fn counted(total: u64, bad: u64) -> WindowSums {
    WindowSums {
        total: total as f64,
        bad: bad as f64,
        squared: total as f64,
        observed_total: total,
        observed_bad: bad,
    }
}
