//! Rolling windows over event time.
pub mod sketch;
