//! T-RAG: incidents, what they looked like, and what was their cause.

pub mod explain;
#[cfg(test)]
mod fixture;
pub mod memory;
