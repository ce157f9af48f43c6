//! What a server says to a request, by the rules of OTLP: taken, come again, or never.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use reqwest::StatusCode;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::outgoing::causes;

/// The answer to one request.
#[derive(Debug, PartialEq)]
pub enum Answer {
    /// Taken, less what is rejected for good.
    Accepted {
        /// Spans that the server cannot use.
        rejected: u64,
    },
    /// The server asks to come back.
    Refused {
        /// What it said.
        said: String,
        /// When, if it says so.
        retry_after: Option<Duration>,
    },
    /// The connection broke; nobody knows whether the spans were counted.
    Lost(String),
    /// Trying again would not help.
    Failed(String),
    /// The server reports success, but not in the words of OTLP.
    Unreadable(String),
}

impl Answer {
    /// Of a call over gRPC.
    pub(super) fn from_result(result: Result<Bytes, Status>) -> Self {
        match result.map(ExportTraceServiceResponse::decode) {
            Ok(Ok(response)) => Self::from_response(&response),
            Ok(Err(error)) => Self::Unreadable(format!("the answer is no OTLP response: {error}")),
            Err(status) => Self::from_status(&status),
        }
    }

    /// Of an answer as JSON, where whole numbers are text or numbers.
    pub(super) fn from_json(response: &serde_json::Value) -> Self {
        let rejected = response.pointer("/partialSuccess/rejectedSpans");
        let number = rejected.and_then(|number| match number.as_str() {
            Some(text) => text.parse().ok(),
            None => number.as_u64(),
        });
        Self::Accepted {
            rejected: number.unwrap_or(0),
        }
    }

    fn from_response(response: &ExportTraceServiceResponse) -> Self {
        let partial = response.partial_success.as_ref();
        let rejected = partial.map_or(0, |partial| partial.rejected_spans);
        Self::Accepted {
            rejected: u64::try_from(rejected).unwrap_or(0),
        }
    }

    /// Of OTLP's retryable codes, `RESOURCE_EXHAUSTED` is one only if the server says when to come again.
    fn from_status(status: &Status) -> Self {
        let asked = status.get_details_retry_info();
        let retry_after = asked.as_ref().and_then(|info| info.retry_delay);
        // Only a status that was made on this side has a source.
        if let Some(source) = status.source().filter(|_| asked.is_none()) {
            return Self::Lost(format!("{:?}: {}", status.code(), causes(source)));
        }
        let may_come_again = matches!(
            status.code(),
            Code::Cancelled
                | Code::DeadlineExceeded
                | Code::Aborted
                | Code::OutOfRange
                | Code::Unavailable
                | Code::DataLoss
        );
        let said = format!("{:?}: {}", status.code(), status.message());
        if may_come_again || status.code() == Code::ResourceExhausted && asked.is_some() {
            Self::Refused { said, retry_after }
        } else {
            Self::Failed(said)
        }
    }

    /// Of a status of HTTP that is no success: 429, 502, 503 and 504 may be tried again, the others not.
    pub(super) fn from_http(status: StatusCode, retry_after: Option<Duration>) -> Self {
        let said = format!("HTTP {status}");
        match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Self::Refused { said, retry_after },
            _ => Self::Failed(said),
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn is_retried(answer: &Answer) -> bool {
        matches!(answer, Answer::Refused { .. } | Answer::Lost(_))
    }

    /// The table of the OTLP specification.
    #[test]
    fn codes_are_retried_as_the_specification_says() {
        let retried: Vec<i32> = (1..=16)
            .filter(|code| is_retried(&Answer::from_status(&Status::new(Code::from(*code), ""))))
            .collect();
        // CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS.
        assert_eq!(retried, [1, 4, 10, 11, 14, 15]);
        let retried: Vec<u16> = (300..600)
            .filter(|code| {
                is_retried(&Answer::from_http(
                    StatusCode::from_u16(*code).unwrap(),
                    None,
                ))
            })
            .collect();
        assert_eq!(retried, [429, 502, 503, 504]);
    }

    #[test]
    fn an_exhausted_server_is_asked_again_only_if_it_says_when() {
        let delay = Duration::from_secs(3);
        let details = ErrorDetails::with_retry_info(Some(delay));
        let status = Status::with_error_details(Code::ResourceExhausted, "full", details);
        assert_eq!(
            Answer::from_status(&status),
            Answer::Refused {
                said: "ResourceExhausted: full".to_owned(),
                retry_after: Some(delay)
            }
        );
        let status = Status::resource_exhausted("too large");
        assert!(matches!(Answer::from_status(&status), Answer::Failed(_)));
    }

    #[test]
    fn what_broke_on_this_side_is_lost_whatever_its_code() {
        for code in [Code::Unknown, Code::Internal, Code::Unavailable] {
            let mut status = Status::new(code, "broken");
            status.set_source(std::sync::Arc::new(std::io::Error::other("reset")));
            let Answer::Lost(said) = Answer::from_status(&status) else {
                panic!("{code:?}");
            };
            assert!(said.contains("reset"), "{said}");
        }
    }
}
