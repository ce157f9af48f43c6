//! A load run: which request is due when, and the tasks that send them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::model::UnixNanos;
use crate::otlp::answer::Answer;
use crate::traffic::send::client::Client;
use crate::traffic::send::count;
use crate::traffic::send::totals::{Totals, pause};
use crate::traffic::workload::{Request, Workload};

/// What a load run sends and when it ends.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Spans in each request but the last, at least 1.
    pub spans_per_request: usize,
    /// Spans per second of an open loop; none sends as fast as the server answers.
    pub spans_per_sec: Option<f64>,
    /// The run ends after exactly so many spans.
    pub max_spans: Option<u64>,
    /// The run ends after this time.
    pub max_duration: Option<Duration>,
    /// Event time at the start of the run; it goes on with the monotonic clock.
    pub started_at: UnixNanos,
}

/// A load run as its sending tasks share it.
pub(super) struct Run {
    workload: Arc<Workload>,
    load: Load,
    start: Instant,
    next_request: AtomicU64,
    accepted: Arc<AtomicU64>,
}

impl Run {
    pub(super) fn new(workload: Arc<Workload>, load: Load, accepted: Arc<AtomicU64>) -> Self {
        Self {
            workload,
            load,
            start: Instant::now(),
            next_request: AtomicU64::new(0),
            accepted,
        }
    }

    /// The time that `totals` took, which for an open loop is at least as long as was planned: the last request
    /// is due before the end of the time it stands for.
    pub(super) fn elapsed(&self, totals: &Totals) -> Duration {
        totals.elapsed.max(self.load.scheduled())
    }
}

/// One request to send.
struct Ticket {
    number: u64,
    spans: usize,
    /// When, after the start of the run; none for at once.
    due: Option<Duration>,
}

impl Run {
    /// The next request, or none if the run is over.
    fn next(&self) -> Option<Ticket> {
        let number = self.next_request.fetch_add(1, Ordering::Relaxed);
        let ticket = match self.workload.tick() {
            // The workload says what is due when.
            Some(tick) => Ticket {
                number,
                spans: 0,
                due: Some(tick.checked_mul(u32::try_from(number).ok()?)?),
            },
            None => self.load.ticket(number)?,
        };
        let over = self.load.max_duration.is_some_and(|end| {
            ticket.due.is_some_and(|due| due >= end) || self.start.elapsed() >= end
        });
        (!over).then_some(ticket)
    }

    /// Waits until the request is due; returns when its latency begins.
    async fn wait(&self, due: Option<Duration>) -> Instant {
        let now = Instant::now();
        match due.and_then(|due| self.start.checked_add(due)) {
            Some(due) if due > now => {
                sleep_until(due).await;
                // The timer wakes up to a millisecond late, which is not the server's latency.
                Instant::now()
            }
            Some(overdue) => overdue,
            None => now,
        }
    }

    fn event_time(&self) -> UnixNanos {
        let elapsed = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.load.started_at.saturating_add(elapsed)
    }
}

impl Load {
    /// How long an open loop takes if the server keeps up; zero for a closed loop.
    fn scheduled(&self) -> Duration {
        let all_spans = self
            .spans_per_sec
            .zip(self.max_spans)
            .and_then(|(rate, spans)| Duration::try_from_secs_f64(spans as f64 / rate).ok());
        match (self.spans_per_sec, all_spans, self.max_duration) {
            (Some(_), Some(all_spans), Some(end)) => all_spans.min(end),
            (Some(_), all_spans, end) => all_spans.or(end).unwrap_or_default(),
            (None, _, _) => Duration::ZERO,
        }
    }

    fn ticket(&self, number: u64) -> Option<Ticket> {
        let per_request = self.spans_per_request.max(1);
        let sent_before = number.saturating_mul(count(per_request));
        let left = match self.max_spans {
            Some(max_spans) => max_spans
                .checked_sub(sent_before)
                .filter(|left| *left > 0)?,
            None => u64::MAX,
        };
        let due = match self.spans_per_sec {
            Some(rate) => Some(Duration::try_from_secs_f64(sent_before as f64 / rate).ok()?),
            None => None,
        };
        Some(Ticket {
            number,
            spans: per_request.min(usize::try_from(left).unwrap_or(usize::MAX)),
            due,
        })
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Sends requests of the run, one at a time, until it is over.
pub(super) async fn send_load(client: Client, run: Arc<Run>, mut totals: Totals) -> Totals {
    while let Some(Ticket { number, spans, due }) = run.next() {
        let intended = run.wait(due).await;
        let Request { body, spans } = run.workload.request(number, spans, run.event_time());
        if spans == 0 {
            totals.elapsed = run.start.elapsed();
            continue;
        }
        let sent = Instant::now();
        let answer = client.export(body.clone()).await;
        run.workload.recycle(number, body);
        if matches!(answer, Answer::Accepted { .. }) {
            totals
                .latency_micros
                .saturating_record(micros(intended.elapsed()));
            totals
                .answer_micros
                .saturating_record(micros(sent.elapsed()));
        }
        totals.elapsed = run.start.elapsed();

        let pause = pause(&answer);
        let accepted_before = totals.accepted_spans;
        totals.count(answer, count(spans));
        let accepted = totals.accepted_spans - accepted_before;
        run.accepted.fetch_add(accepted, Ordering::Relaxed);
        if let Some(pause) = pause {
            sleep(pause).await;
        }
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::batch::BatchShape;

    fn load() -> Load {
        Load {
            spans_per_request: 100,
            spans_per_sec: Some(1_000.0),
            max_spans: Some(250),
            max_duration: None,
            started_at: 0,
        }
    }

    fn run(load: Load) -> Run {
        let workload = Arc::new(Workload::batch(BatchShape::default(), 1));
        Run::new(workload, load, Arc::default())
    }

    #[test]
    fn the_last_request_takes_what_is_left_and_each_is_due_when_its_first_span_is() {
        let tickets: Vec<(usize, Option<Duration>)> = (0..5)
            .map_while(|number| load().ticket(number))
            .map(|ticket| (ticket.spans, ticket.due))
            .collect();
        let due = |millis| Some(Duration::from_millis(millis));
        assert_eq!(tickets, [(100, due(0)), (100, due(100)), (50, due(200))]);
    }

    #[test]
    fn a_run_ends_at_its_time_even_if_spans_are_left() {
        let run = run(Load {
            max_spans: Some(100_000),
            max_duration: Some(Duration::from_secs(2)),
            ..load()
        });
        assert_eq!(std::iter::from_fn(|| run.next()).count(), 20);
    }

    #[test]
    fn no_rate_at_all_is_an_empty_run() {
        let rate = Some(0.0);
        assert!(
            run(Load {
                spans_per_sec: rate,
                ..load()
            })
            .next()
            .is_none()
        );
    }

    #[test]
    fn an_open_loop_stands_for_the_time_until_the_next_request_would_be_due() {
        assert_eq!(load().scheduled(), Duration::from_millis(250));
        let closed = Load {
            spans_per_sec: None,
            ..load()
        };
        assert_eq!(closed.scheduled(), Duration::ZERO);
    }

    #[tokio::test]
    async fn an_overdue_request_counts_from_when_it_was_due() {
        let run = run(load());
        assert_eq!(run.wait(Some(Duration::ZERO)).await, run.start);
        let soon = run.start.elapsed() + Duration::from_millis(2);
        assert!(run.wait(Some(soon)).await >= run.start + soon);
    }
}
