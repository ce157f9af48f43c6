//! OpenSLO v1: the documents as data, reading and checking them, and writing a report's objectives as documents. Pure.

pub mod adopt;
mod annotation;
pub mod grouping;
pub mod read;
pub mod rules;
pub mod suggest;
pub mod text;
pub mod tree;
pub mod v1;
mod validate;
pub mod write;

#[cfg(test)]
pub(crate) mod check;
#[cfg(test)]
pub(crate) mod fixture;
