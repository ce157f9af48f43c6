//! Tests on whole traces.

pub mod fault;
