//! `sampling/sdk.env`: how SDKs are told where to ask, and what those get that cannot ask.

use std::fmt;

use super::{SamplingConfig, quoted};
use crate::model::sampling::SamplingPlan;

/// The file.
pub(super) struct Environment<'a>(pub(super) &'a SamplingPlan, pub(super) &'a SamplingConfig);

impl fmt::Display for Environment<'_> {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(plan, config) = self;
        let SamplingConfig {
            enabled: _,
            http_url,
            grpc_url,
        } = config;
        writeln!(
            text,
            "# Which share of their traces SDKs send: they ask sampling_server of slo-copilot, and follow the plan.
#
# Java, the SDK and the agent, asks over gRPC (sampling_server.grpc.enabled: true) once it has these variables:
OTEL_TRACES_SAMPLER=parentbased_jaeger_remote
OTEL_TRACES_SAMPLER_ARG=endpoint={grpc_url},pollingIntervalMs=60000,initialSamplingRate=1
#
# Go, JavaScript and Rust ask over HTTP (sampling_server.http.enabled: true), and are told so in code; they know no
# variable for it. The examples are in examples/sampling/README.md.
#   Go, go.opentelemetry.io/contrib/samplers/jaegerremote: {http_url}/sampling
#   JavaScript, @opentelemetry/sampler-jaeger-remote: {http_url}
#   Rust, opentelemetry_sdk with jaeger_remote_sampler: {http_url}/sampling
#
# What they send carries no ot=th: it is counted as it comes, and totals are too low by the share. Ratios of one operation
# stay right; sli.sampling says what else is true.
#
# C++, .NET, Erlang, PHP, Python, Ruby and Swift cannot ask. A Collector behind them samples for them, by
# collector-probabilistic.yaml or collector-tail.yaml; or they are given a share that holds until they start again, with
# OTEL_TRACES_SAMPLER=parentbased_traceidratio. Shares of operations do not exist there; it is that of the others:"
        )?;
        for service in &plan.services {
            let (name, ratio) = (quoted(&service.service), service.default_ratio);
            writeln!(text, "#   {name}: OTEL_TRACES_SAMPLER_ARG={ratio}")?;
        }
        Ok(())
    }
}
