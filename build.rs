//! Generates the gRPC code: our Guardrail API and Jaeger's remote sampling from `proto/`, and the OTLP trace service with a
//! codec that leaves the request as bytes. protox compiles the protos, so no `protoc` is needed.

use std::error::Error;
use std::path::PathBuf;

use tonic_prost_build::manual;

fn main() -> Result<(), Box<dyn Error>> {
    guardrail_api()?;
    remote_sampling()?;
    raw_otlp_service();
    Ok(())
}

fn guardrail_api() -> Result<(), Box<dyn Error>> {
    let proto = "proto/slo_copilot/v1/guardrail.proto";
    println!("cargo:rerun-if-changed={proto}");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_file(proto)?;
    // Generating from descriptors does not write them, and reflection serves them.
    let out_dir = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(
        out_dir.join("guardrail_descriptor.bin"),
        compiler.encode_file_descriptor_set(),
    )?;
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// `jaeger.api_v2.SamplingManager`; its messages are answered as JSON, too.
fn remote_sampling() -> Result<(), Box<dyn Error>> {
    let proto = "proto/jaeger/api_v2/sampling.proto";
    println!("cargo:rerun-if-changed={proto}");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).open_file(proto)?;
    let response = "jaeger.api_v2.SamplingStrategyResponse";
    let by_name = "#[serde(serialize_with = \"super::by_name\")]";
    let if_there = "#[serde(skip_serializing_if = \"Option::is_none\")]";
    let mut builder = tonic_prost_build::configure()
        .message_attribute(".", "#[derive(serde::Serialize)]")
        .message_attribute(".", "#[serde(rename_all = \"camelCase\")]")
        .field_attribute(format!("{response}.strategyType"), by_name);
    for field in [
        "probabilisticSampling",
        "rateLimitingSampling",
        "operationSampling",
    ] {
        builder = builder.field_attribute(format!("{response}.{field}"), if_there);
    }
    builder.compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// `opentelemetry.proto.collector.trace.v1.TraceService/Export`, with raw bytes on both sides.
fn raw_otlp_service() {
    let export = manual::Method::builder()
        .name("export")
        .route_name("Export")
        .input_type("bytes::Bytes")
        .output_type("bytes::Bytes")
        .codec_path("crate::otlp::RawCodec")
        .build();
    let service = manual::Service::builder()
        .name("TraceService")
        .package("opentelemetry.proto.collector.trace.v1")
        .method(export)
        .build();
    manual::Builder::new().compile(&[service]);
}
