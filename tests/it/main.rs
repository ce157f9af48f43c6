//! Black-box tests: real OTLP, gRPC and HTTP over the loopback interface against whole servers, in this process or as
//! the binary that users start.
//!
//! Tests wait for conditions and never for time; in this process the clock stands still until a test moves it. The
//! recorder of self-telemetry belongs to the process, so whatever reads its counters asks a server in a process of its own.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and helpers are part of it"
)]

mod analyze;
mod binary;
mod budget;
mod canary;
mod candidates;
mod contracts;
mod coverage;
mod dashboard;
mod exporters;
mod forward;
mod gate;
mod gate_live;
mod incidents;
mod limits;
mod loadgen;
mod notify;
mod otlp_grpc;
mod otlp_http;
mod plan;
mod rca;
mod restart;
mod rules;
mod sampling;
mod scrub;
mod shutdown;
mod simulation;
mod slices;
mod store;
mod support;
mod topology;
mod trace_tests;
mod validate;
mod verdict;
mod versions;
mod whole_traces;
