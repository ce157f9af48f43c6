//! Answers that both transports give, in the messages of OTLP and `google.rpc`.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;

use crate::model::batch::Rejection;
use crate::pipeline::Consumed;

/// What to say about other signals than traces.
pub const TRACES_ONLY: &str =
    "slo-copilot takes traces only; send metrics, logs and profiles to another backend";

/// The response to a request that was counted; empty unless spans were rejected.
pub fn export_response(consumed: &Consumed) -> ExportTraceServiceResponse {
    let rejected: u64 = consumed.rejected.iter().sum();
    if rejected == 0 {
        return ExportTraceServiceResponse::default();
    }
    let reasons: Vec<String> = Rejection::ALL
        .iter()
        .zip(consumed.rejected)
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| match reason {
            Rejection::EndBeforeStart => format!("end before start: {count}"),
            Rejection::InvalidId => {
                format!("trace id not 16 bytes, span id not 8 bytes, or all zeros: {count}")
            }
        })
        .collect();
    ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: i64::try_from(rejected).unwrap_or(i64::MAX),
            error_message: format!("rejected spans by reason: {}", reasons.join("; ")),
        }),
    }
}

/// The same as protobuf; the common case costs nothing.
pub fn export_response_bytes(consumed: &Consumed) -> Bytes {
    if consumed.rejected == [0; 2] {
        return Bytes::new();
    }
    export_response(consumed).encode_to_vec().into()
}
