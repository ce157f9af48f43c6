//! The neighbours: what a report says beyond objectives.

pub mod coverage;
