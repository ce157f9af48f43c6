//! Rolling windows over event time.
//!
//! Invariant: nothing here reads a clock, does I/O or fails; `now` is an argument and what was refused is returned
//! as counts.

pub mod checkpoint;
pub mod cohort;
mod cut;
pub mod demand;
pub mod event;
mod guard;
pub mod latency;
pub mod ledger;
pub mod logged;
pub mod measure;
pub mod minutes;
pub mod operation;
pub mod rolling;
pub mod series;
pub mod settings;
pub mod sketch;
pub mod slices;
pub mod snapshot;
mod windows;

pub use windows::{Recorded, VERSIONS_MAX, Windows, selects};
