//! What the server answered, one by one and added up.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::traffic::send::SendError;

/// Pause after a refusal that does not say how long, and after a failure.
pub(super) const DEFAULT_PAUSE: Duration = Duration::from_millis(100);

/// The longest latency that is told apart, in microseconds.
const LONGEST_LATENCY_MICROS: u64 = 120_000_000;

/// What became of the requests.
#[derive(Clone, Debug)]
pub struct Totals {
    /// Requests that were sent.
    pub requests: u64,
    /// Spans that the server took.
    pub accepted_spans: u64,
    /// Spans that the server rejected for good, by partial success.
    pub rejected_spans: u64,
    /// Answers that asked to come back later. A load run does not offer these spans again;
    /// [`send_all`](crate::traffic::send::Sender::send_all) does.
    pub refused_requests: u64,
    /// Requests that failed for good.
    pub failed_requests: u64,
    /// The message of a failure, if there was any.
    pub failure: Option<String>,
    /// Latency of the requests of a load run that the server took, in microseconds: a failure may be quick. In
    /// an open loop a request that had to wait for one in flight counts from when it was due.
    pub latency_micros: Histogram<u64>,
    /// From sending to the answer of the same requests, in microseconds.
    pub answer_micros: Histogram<u64>,
    /// From the first request to the last answer.
    pub elapsed: Duration,
}

impl Totals {
    pub(in crate::traffic) fn empty() -> Result<Self, SendError> {
        Ok(Self {
            requests: 0,
            accepted_spans: 0,
            rejected_spans: 0,
            refused_requests: 0,
            failed_requests: 0,
            failure: None,
            latency_micros: Histogram::new_with_bounds(1, LONGEST_LATENCY_MICROS, 3)?,
            answer_micros: Histogram::new_with_bounds(1, LONGEST_LATENCY_MICROS, 3)?,
            elapsed: Duration::ZERO,
        })
    }

    /// Adds up what several tasks saw; the time is that of the last.
    pub(super) fn merge(&mut self, other: Self) {
        let Self {
            requests,
            accepted_spans,
            rejected_spans,
            refused_requests,
            failed_requests,
            failure,
            latency_micros,
            answer_micros,
            elapsed,
        } = other;
        self.requests += requests;
        self.accepted_spans += accepted_spans;
        self.rejected_spans += rejected_spans;
        self.refused_requests += refused_requests;
        self.failed_requests += failed_requests;
        self.failure = self.failure.take().or(failure);
        self.elapsed = self.elapsed.max(elapsed);
        // Cannot fail: all histograms have the same bounds.
        self.latency_micros.add(latency_micros).unwrap_or_default();
        self.answer_micros.add(answer_micros).unwrap_or_default();
    }

    /// Counts the last answer to a request of `spans`.
    pub(super) fn count(&mut self, answer: Answer, spans: u64) {
        self.requests += 1;
        match answer {
            Answer::Accepted { rejected } => {
                let rejected = rejected.min(spans);
                self.accepted_spans += spans - rejected;
                self.rejected_spans += rejected;
            }
            Answer::Refused { .. } => self.refused_requests += 1,
            Answer::Lost(message) | Answer::Failed(message) => {
                self.failed_requests += 1;
                self.failure.get_or_insert(message);
            }
        }
    }
}

/// The answer to one request.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    Accepted {
        rejected: u64,
    },
    /// The server asks to come back later.
    Refused {
        retry_after: Duration,
    },
    /// The connection broke; nobody knows whether the spans were counted.
    Lost(String),
    /// Trying again would not help.
    Failed(String),
}

impl Answer {
    pub(super) fn from_result(result: Result<Bytes, Status>) -> Self {
        match result.map(ExportTraceServiceResponse::decode) {
            Ok(Ok(response)) => Self::from_response(&response),
            Ok(Err(error)) => Self::Failed(format!("the answer is no OTLP response: {error}")),
            Err(status) => Self::from_status(&status),
        }
    }

    pub(super) fn from_response(response: &ExportTraceServiceResponse) -> Self {
        let partial = response.partial_success.as_ref();
        let rejected = partial.map_or(0, |partial| partial.rejected_spans);
        Self::Accepted {
            rejected: u64::try_from(rejected).unwrap_or(0),
        }
    }

    /// OTLP's rule: `UNAVAILABLE` may always be tried again, `RESOURCE_EXHAUSTED` only if the server says when.
    fn from_status(status: &Status) -> Self {
        let asked = status
            .get_details_retry_info()
            .map(|info| info.retry_delay.unwrap_or(DEFAULT_PAUSE));
        let message = || format!("{:?}: {}", status.code(), status.message());
        match (status.code(), asked) {
            // Only a status that was made on this side has a source.
            (Code::Unavailable, None) if status.source().is_some() => Self::Lost(message()),
            (Code::Unavailable, asked) => Self::Refused {
                retry_after: asked.unwrap_or(DEFAULT_PAUSE),
            },
            (Code::ResourceExhausted, Some(retry_after)) => Self::Refused { retry_after },
            _ => Self::Failed(message()),
        }
    }

    /// How long to wait before the same spans may be sent again; none if they must not.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after } => Some(*retry_after),
            Self::Lost(_) => Some(DEFAULT_PAUSE),
            Self::Accepted { .. } | Self::Failed(_) => None,
        }
    }

    /// How long to wait before the next request, so that a server in trouble is not hammered.
    pub(super) fn pause(&self) -> Option<Duration> {
        match self {
            Self::Accepted { .. } => None,
            Self::Refused { retry_after } => Some(*retry_after),
            Self::Lost(_) | Self::Failed(_) => Some(DEFAULT_PAUSE),
        }
    }
}
