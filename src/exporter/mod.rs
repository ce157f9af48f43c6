//! Reports out.

pub mod prometheus;
