//! From windows to verdicts.
pub mod candidate;
pub mod statistics;
