//! Whole traces: what their spans say about each other, and which of them are kept.
//!
//! Invariant: pure. Nothing here reads a clock, does I/O or starts a task; `now` is an argument.

pub mod assemble;
pub mod buffer;
pub mod render;
pub mod sampling;
pub mod scrub;
pub mod tree;

#[cfg(test)]
pub(crate) mod fixture;
