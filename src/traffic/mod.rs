//! Synthetic traffic: from a model of services to traces, sent over OTLP/gRPC.
//!
//! Two sources feed the same sender. The [`shop`] is a small, believable system whose health can be spoiled
//! on purpose; the [`batch`] templates are encoded once and only patched per request, so that a measurement
//! finds the limits of the server and not of its client.
//!
//! Invariant: no clock is read here apart from tokio's monotonic one; event times are arguments.

mod attribute;
pub mod batch;
pub mod report;
pub mod send;
pub mod shop;
pub mod workload;
