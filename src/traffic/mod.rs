//! Synthetic traffic: from a model of services to traces, sent over OTLP or written to files.
//!
//! Two sources feed the same sender. A [`model`] is a system of services as data, from which [`generate`] makes
//! traces whose health can be spoiled on purpose; the [`shop`] is one that is built in, and [`learn`] makes one of real
//! traces. The [`batch`] templates are
//! encoded once and only patched per request, so that a measurement finds the limits of the server and not of its
//! client.
//!
//! Invariant: no clock is read here apart from tokio's monotonic one; event times are arguments.

mod attribute;
pub mod batch;
pub mod generate;
pub mod learn;
pub mod model;
pub mod report;
pub mod send;
pub mod shop;
pub mod workload;
pub mod write;
