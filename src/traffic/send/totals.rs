//! What the server answered, one by one and added up.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::otlp::answer::Answer;
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
            Answer::Lost(message) | Answer::Failed(message) | Answer::Unreadable(message) => {
                self.failed_requests += 1;
                self.failure.get_or_insert(message);
            }
        }
    }
}

/// How long to wait before the same spans may be sent again; none if they must not.
pub(super) fn retry_after(answer: &Answer) -> Option<Duration> {
    match answer {
        Answer::Refused { retry_after, .. } => Some(retry_after.unwrap_or(DEFAULT_PAUSE)),
        Answer::Lost(_) => Some(DEFAULT_PAUSE),
        Answer::Accepted { .. } | Answer::Failed(_) | Answer::Unreadable(_) => None,
    }
}

/// How long to wait before the next request, so that a server in trouble is not hammered.
pub(super) fn pause(answer: &Answer) -> Option<Duration> {
    match answer {
        Answer::Accepted { .. } => None,
        Answer::Refused { .. } | Answer::Lost(_) => retry_after(answer),
        Answer::Failed(_) | Answer::Unreadable(_) => Some(DEFAULT_PAUSE),
    }
}
