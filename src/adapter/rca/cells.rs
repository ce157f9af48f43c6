//! Into which of sixteen parts a trace falls, and sums over chosen parts.
//!
//! Spans of one trace depend on each other, and so do traces of the same seconds. To see how much two times differ when
//! nothing is wrong, whole parts are dealt to two sides: four blocks of time, each split in four by the trace id.

use serde::{Deserialize, Serialize};

use crate::model::UnixNanos;
use crate::trace::sampling::Randomness;

/// How many there are.
pub const CELLS: usize = 16;

/// Blocks of time that are told apart; later ones begin again with the first.
const BLOCKS: u64 = 4;

/// One part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cell(u8);

impl Cell {
    /// Where a trace falls that starts then; blocks are so many nanoseconds long.
    #[expect(clippy::cast_possible_truncation, reason = "at most 15")]
    pub fn of(trace_id: &str, start: UnixNanos, block_nanos: u64) -> Self {
        let block = start / block_nanos.max(1) % BLOCKS;
        let deal = Randomness::of_text(trace_id).other().number() % (CELLS as u64 / BLOCKS);
        Self((block * (CELLS as u64 / BLOCKS) + deal) as u8)
    }
}

/// Some of the parts: one side of a deal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Half(u16);

impl Half {
    /// All of them.
    pub const ALL: Self = Self(u16::MAX);

    /// The parts whose bit is set.
    pub fn of_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// The parts of every second and of the first two blocks of time, and of the outer ones: each a side of a deal by time.
    pub fn by_time() -> [Self; 3] {
        [Self(0x00ff), Self(0x0f0f), Self(0xf00f)]
    }

    /// The rest.
    #[must_use]
    pub fn other(self) -> Self {
        Self(!self.0)
    }

    /// How many parts they are.
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a part is among them.
    pub fn holds(self, cell: Cell) -> bool {
        self.0 >> cell.0 & 1 == 1
    }
}

/// A sum for each part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cells([f64; CELLS]);

impl Cells {
    /// Adds to one part.
    pub fn add(&mut self, cell: Cell, amount: f64) {
        if let Some(sum) = self.0.get_mut(usize::from(cell.0)) {
            *sum += amount;
        }
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }

    /// Sum over some parts.
    pub fn sum(&self, half: Half) -> f64 {
        let cells = (0..).map(Cell).zip(self.0);
        cells
            .filter(|(cell, _)| half.holds(*cell))
            .map(|(_, sum)| sum)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_sides_of_a_deal_hold_each_part_once() {
        let mut cells = Cells::default();
        for number in 0..16_u8 {
            cells.add(Cell(number), f64::from(number));
        }
        for half in Half::by_time().into_iter().chain([Half::of_bits(0x1234)]) {
            let sum = cells.sum(half) + cells.sum(half.other());
            assert!((sum - 120.0).abs() < 1e-9);
        }
        assert!((cells.sum(Half::ALL) - 120.0).abs() < 1e-9);
        assert_eq!(Half::by_time().map(Half::len), [8; 3]);
    }

    #[test]
    fn a_part_is_a_block_of_time_and_a_fourth_of_the_trace_ids() {
        let block = 15_000_000_000;
        let cell = |id: &str, blocks: u64| Cell::of(id, blocks * block + 7, block).0;
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(cell(id, 5) - cell(id, 4), 4);
        assert_eq!(cell(id, 4), cell(id, 8));
        let mut seen: Vec<u8> = (0..64).map(|n| cell(&n.to_string(), 0)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [0, 1, 2, 3]);
    }
}
