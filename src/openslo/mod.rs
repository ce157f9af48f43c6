//! OpenSLO v1: the documents as data, and writing a report's objectives as documents. Pure.

pub mod grouping;
pub mod text;
pub mod v1;
pub mod write;

#[cfg(test)]
pub(crate) mod check;
#[cfg(test)]
pub(crate) mod fixture;
