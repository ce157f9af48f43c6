//! One request to the backend, again until it is taken or given up.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::forward::settings::RetryConfig;
use crate::otlp::answer::Answer;
use crate::otlp::client::{Client, Encoding};
use crate::outgoing::backoff::delay;
use crate::telemetry::ForwardMetrics;

/// Failures of one kind are logged this often.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Numbers of requests that are done with, until the queue hears of them. Never more than the queue handed out.
#[derive(Debug)]
pub(super) struct Done {
    /// None once nobody listens any more: what is under way then stays in the queue.
    numbers: Mutex<Option<Vec<u64>>>,
    news: Notify,
}

impl Done {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            numbers: Mutex::new(Some(Vec::new())),
            news: Notify::new(),
        })
    }

    fn numbers(&self) -> MutexGuard<'_, Option<Vec<u64>>> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there are some.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Those that there are.
    pub(super) fn take(&self) -> Vec<u64> {
        self.numbers()
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Those that there are, and no further ones.
    pub(super) fn close(&self) -> Vec<u64> {
        self.numbers().take().unwrap_or_default()
    }
}

/// Tells the queue that a request is done with, when the last clone of it goes: one request may be sent in parts.
#[derive(Debug)]
pub(super) struct Receipt {
    sequence: u64,
    done: Arc<Done>,
}

impl Receipt {
    pub(super) fn new(sequence: u64, done: &Arc<Done>) -> Arc<Self> {
        let done = Arc::clone(done);
        Arc::new(Self { sequence, done })
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(numbers) = &mut *self.done.numbers() {
            numbers.push(self.sequence);
        }
        self.done.news.notify_one();
    }
}

/// What is sent: a request as it came, or what became of several.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) body: Bytes,
    pub(super) encoding: Encoding,
    pub(super) spans: u64,
    /// Those that it was made of.
    pub(super) receipts: Vec<Arc<Receipt>>,
}

/// How requests are sent, shared by all that are under way.
pub(super) struct Delivery {
    client: Client,
    retry: RetryConfig,
    metrics: ForwardMetrics,
    /// Whether the backend took nothing lately.
    is_away: AtomicBool,
    /// When, in milliseconds since `started`, a refusal was logged.
    logged: AtomicU64,
    started: Instant,
    seed: u64,
}

impl Delivery {
    /// `seed` is what waits differ by.
    pub(super) fn new(
        client: Client,
        retry: RetryConfig,
        metrics: ForwardMetrics,
        seed: u64,
    ) -> Self {
        Self {
            client,
            retry,
            metrics,
            is_away: AtomicBool::new(false),
            logged: AtomicU64::new(0),
            started: Instant::now(),
            seed,
        }
    }

    /// Whether the backend took nothing lately.
    pub(super) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Relaxed)
    }

    /// Ends when the request is done with. Dropped before, it is not.
    pub(super) async fn deliver(self: Arc<Self>, outgoing: Outgoing) {
        let began = Instant::now();
        let metrics = &self.metrics;
        let mut retry = 0;
        let number = outgoing
            .receipts
            .first()
            .map_or(0, |receipt| receipt.sequence);
        let mut jitter = StdRng::seed_from_u64(self.seed ^ number);
        loop {
            let body = outgoing.body.clone();
            let (said, asked) = match self.client.export(body, outgoing.encoding).await {
                Answer::Accepted { rejected } => return self.taken(&outgoing, rejected),
                Answer::Unreadable(said) => {
                    self.warn(
                        &said,
                        "The backend took a request, but its answer cannot be read.",
                    );
                    return self.taken(&outgoing, 0);
                }
                Answer::Failed(said) => {
                    metrics.dropped.refused.increment(outgoing.spans);
                    self.warn(
                        &said,
                        "The backend refused a request for good; its spans are lost to it.",
                    );
                    return;
                }
                Answer::Refused { said, retry_after } => (said, retry_after),
                Answer::Lost(said) => (said, None),
            };
            if !self.is_away.swap(true, Ordering::Relaxed) {
                tracing::warn!(error = said, "The backend takes no spans now; they wait.");
            }
            let RetryConfig {
                initial,
                max,
                max_elapsed,
            } = self.retry;
            let wait = delay(retry, initial, max, jitter.random());
            let wait = asked.map_or(wait, |asked| asked.max(wait)).min(max);
            if !max_elapsed.is_zero() && began.elapsed() + wait > max_elapsed {
                metrics.dropped.gave_up.increment(outgoing.spans);
                self.warn(&said, "A request is given up after retry.max_elapsed.");
                return;
            }
            retry += 1;
            sleep(wait).await;
            metrics.retries.increment(1);
        }
    }

    fn taken(&self, outgoing: &Outgoing, rejected: u64) {
        let rejected = rejected.min(outgoing.spans);
        self.metrics.requests.increment(1);
        self.metrics.bytes.increment(outgoing.body.len() as u64);
        self.metrics.spans.increment(outgoing.spans - rejected);
        self.metrics.rejected_spans.increment(rejected);
        if self.is_away.swap(false, Ordering::Relaxed) {
            tracing::info!("The backend takes spans again.");
        }
    }

    /// Counters tell how often; the log tells why, and not for each request.
    fn warn(&self, said: &str, message: &'static str) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let pause = u64::try_from(LOG_EVERY.as_millis()).unwrap_or(u64::MAX);
        let before = self.logged.load(Ordering::Relaxed);
        if before == 0 || now.saturating_sub(before) >= pause {
            self.logged.store(now.max(1), Ordering::Relaxed);
            tracing::warn!(error = said, "{message}");
        }
    }
}
