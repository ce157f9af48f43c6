//! slo-copilot: proposes, checks and gates service level objectives from OpenTelemetry traces.

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod evaluator;
pub mod exporter;
pub mod model;
pub mod openslo;
pub mod otlp;
pub mod pipeline;
pub mod receiver;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod traffic;
pub mod window;
