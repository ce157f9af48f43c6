//! OTLP over gRPC with the messages left as bytes, and the PII guardrail of decoded ones.
//!
//! The receiver scans requests without decoding them, and the traffic generator sends requests that it
//! encoded once; the forwarder passes on what came in. All need the service without the message types.

pub mod answer;
pub mod client;

pub mod scrub;

use bytes::{Buf, BufMut, Bytes};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

#[expect(
    clippy::pedantic,
    clippy::clone_on_ref_ptr,
    clippy::default_constructed_unit_structs,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    unused_qualifications,
    reason = "generated code"
)]
mod generated {
    include!(concat!(
        env!("OUT_DIR"),
        "/opentelemetry.proto.collector.trace.v1.TraceService.rs"
    ));
}

pub use generated::{trace_service_client, trace_service_server};

/// Hands messages through as they stand on the wire, after tonic took off framing and compression.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        *self
    }

    fn decoder(&mut self) -> Self::Decoder {
        *self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(source.copy_to_bytes(source.remaining())))
    }
}
