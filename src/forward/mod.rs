//! Spans on to a backend: what was counted goes on as the bytes that came, so that slo-copilot can stand before any
//! receiver of OTLP.
//!
//! ```text
//! receiver ─ counted ─ Entrance ─┐ acknowledged
//!                                └ queue (memory, disk) ─ stage (nothing, or scrub and sample) ─ deliver ─ backend
//! ```
//!
//! **What acknowledged means.** With `queue.durable: false`, counted and in the queue: the backend may be away for as
//! long as the queue holds, and a regular stop writes what is left to `queue.dir`; a crash loses what was in memory, at
//! most `queue.memory_bytes`. With `queue.durable: true`, on the disk: those who wait at once share one write. If the disk
//! fails then, requests wait in memory, and `slo_copilot_forward_disk_errors_total` counts; they are acknowledged all the
//! same, since they are counted in the windows and would be counted twice if they came again.
//!
//! A request is done with when the backend takes it or refuses it for good, by the rules of OTLP. Until then it is in the
//! queue, so that after a crash it is sent again: twice at most where the answer did not arrive.

mod deliver;
mod entrance;
mod json;
mod queue;
mod sampler;
mod settings;
mod stage;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::forward::deliver::{Delivery, Done, Outgoing, Receipt};
pub use crate::forward::entrance::{Entrance, Full, Reservation};
use crate::forward::entrance::{Inner, Sent};
use crate::forward::queue::{Bounds, Queue, Recovered, Room};
use crate::forward::settings::SECTION;
pub use crate::forward::settings::{
    Config, QueueConfig, RetryConfig, SamplingConfig, Share, WhenFull,
};
use crate::forward::stage::Stage;
use crate::model::advice::Advice;
use crate::otlp::client::{Client, Target};
use crate::outgoing::{SettingError, text, url};
use crate::pii::Scrubber;
use crate::telemetry::ForwardMetrics;

/// Requests between the receivers and the queue, which share a write to the disk. Their bytes are those of the queue.
const ARRIVALS: usize = 256;

/// Time between looks at what is due.
const TICK: Duration = Duration::from_millis(200);

/// Why nothing can be forwarded.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// A key is wrong.
    #[error("{0}")]
    Setting(#[from] SettingError),
    /// The queue's directory cannot be used.
    #[error("exporters.forward.queue.dir: cannot use {path}: {source}")]
    Queue {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A task panicked: a defect.
    #[error("a task of the forwarder ended unexpectedly: {0}")]
    Task(#[from] JoinError),
}

/// The forwarder, ready to run.
pub struct Forwarder {
    works: Arc<Mutex<Works>>,
    inbox: mpsc::Receiver<Sent>,
    delivery: Arc<Delivery>,
    in_flight: usize,
    dir: Option<PathBuf>,
    clock: Clock,
    metrics: ForwardMetrics,
}

/// What may wait for the disk, or takes long.
struct Works {
    queue: Queue,
    stage: Stage,
}

impl Forwarder {
    /// The forwarder and its entrance; none without an endpoint. Makes and locks the queue's directory, and connects when
    /// there is something to send. `scrubber` takes personal data out, if that is asked for.
    pub fn new(
        config: &Config,
        scrubber: Option<Scrubber>,
        advice: watch::Receiver<Advice>,
        clock: &Clock,
    ) -> Result<Option<(Self, Entrance)>, ForwardError> {
        config.check()?;
        let Some(endpoint) = &config.endpoint else {
            return Ok(None);
        };
        let key = format!("{SECTION}.endpoint");
        let url = url(&key, endpoint)?;
        let target = Target {
            endpoint: url.as_str().trim_end_matches('/').to_owned(),
            protocol: config.protocol,
            compression: config.compression,
            headers: text::headers(SECTION, &config.headers)?,
            ca_file: config.ca_file.clone(),
            timeout: config.timeout,
        };
        let client = Client::new(&target, clock.clone()).map_err(|error| SettingError {
            key,
            message: error.to_string(),
        })?;
        let metrics = ForwardMetrics::new();
        let queue = &config.queue;
        let bounds = Bounds {
            held: Arc::new(AtomicU64::new(0)),
            max_bytes: match queue.dir {
                Some(_) => queue.max_bytes,
                None => queue.max_bytes.min(queue.memory_bytes),
            },
            drops_oldest: queue.when_full == WhenFull::DropOldest,
            is_durable: queue.durable,
            room: queue.dir.as_ref().map(|_| Room::new(queue.memory_bytes)),
        };
        let (sender, inbox) = mpsc::channel(ARRIVALS);
        let stage = Stage::new(
            &config.sampling,
            config.protocol,
            scrubber,
            advice,
            metrics.clone(),
        );
        let entrance = Entrance::new(Inner {
            kept: (config.sampling.share == Share::Plan).then(|| stage.kept()),
            sender,
            held: Arc::clone(&bounds.held),
            max_bytes: bounds.max_bytes,
            room: bounds.room.clone(),
            when_full: queue.when_full,
            is_durable: bounds.is_durable,
            clock: clock.clone(),
            metrics: metrics.clone(),
        });
        let dir = queue.dir.clone();
        let queue = Queue::open(dir.as_deref(), bounds, metrics.clone());
        let queue = queue.map_err(|source| queue_error(dir.as_ref(), source))?;
        let retry = config.retry.clone();
        let forwarder = Self {
            works: Arc::new(Mutex::new(Works { queue, stage })),
            inbox,
            delivery: Arc::new(Delivery::new(client, retry, metrics.clone(), clock.now())),
            in_flight: config.in_flight,
            dir,
            clock: clock.clone(),
            metrics,
        };
        Ok(Some((forwarder, entrance)))
    }

    /// Runs until `stop`, which comes after the last request was answered; then sends what it can within `limit`. What is
    /// left stays in the queue's directory.
    pub async fn run(self, stop: CancellationToken, limit: Duration) -> Result<(), ForwardError> {
        let dir = self.dir.clone();
        let recovered = self.work(|works| works.queue.recover()).await?;
        let recovered = recovered.map_err(|source| queue_error(dir.as_ref(), source))?;
        log_recovered(&recovered);
        let mut run = Run {
            forwarder: self,
            under_way: JoinSet::new(),
            ready: VecDeque::new(),
            done: Done::new(),
        };
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            run.send().await?;
            run.step(&mut ticks, Some(&stop)).await?;
        }
        run.stop(&mut ticks, limit).await
    }

    fn works(&self) -> MutexGuard<'_, Works> {
        self.works.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works where waiting holds nobody up.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Works) -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let works = Arc::clone(&self.works);
        spawn_blocking(move || work(&mut works.lock().unwrap_or_else(PoisonError::into_inner)))
            .await
    }
}

/// A forwarder that runs.
struct Run {
    forwarder: Forwarder,
    under_way: JoinSet<()>,
    /// What is to be sent next.
    ready: VecDeque<Outgoing>,
    done: Arc<Done>,
}

impl Run {
    /// Waits for the next thing to do and does it.
    async fn step(
        &mut self,
        ticks: &mut tokio::time::Interval,
        stop: Option<&CancellationToken>,
    ) -> Result<(), ForwardError> {
        let mut arrivals = Vec::new();
        let inbox = &mut self.forwarder.inbox;
        let stopped = async {
            match stop {
                Some(stop) => stop.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = inbox.recv_many(&mut arrivals, ARRIVALS), if !inbox.is_closed() => {
                self.store(arrivals).await
            }
            () = self.done.news() => self.finish(self.done.take()).await,
            Some(ended) = self.under_way.join_next() => Ok(ended?),
            _ = ticks.tick() => self.tick().await,
            () = stopped => Ok(()),
        }
    }

    /// Puts requests into the queue, and tells those who wait for the disk.
    async fn store(&mut self, sent: Vec<Sent>) -> Result<(), ForwardError> {
        let (arrivals, waiting): (Vec<_>, Vec<_>) = sent
            .into_iter()
            .map(|sent| (sent.arrival, sent.written))
            .unzip();
        let needs_disk = self.forwarder.works().queue.needs_disk();
        if needs_disk {
            let push = |works: &mut Works| works.queue.push(arrivals);
            self.forwarder.work(push).await?;
        } else {
            self.forwarder.works().queue.push(arrivals);
        }
        for written in waiting.into_iter().flatten() {
            // A sender that gave up hears nothing.
            written.send(()).ok();
        }
        Ok(())
    }

    /// Takes what is done with out of the queue.
    async fn finish(&self, sequences: Vec<u64>) -> Result<(), ForwardError> {
        let is_on_disk = self.forwarder.works().queue.is_on_disk(&sequences);
        if is_on_disk {
            let finish = move |works: &mut Works| works.queue.finish(&sequences);
            self.forwarder.work(finish).await?;
        } else {
            self.forwarder.works().queue.finish(&sequences);
        }
        Ok(())
    }

    async fn tick(&mut self) -> Result<(), ForwardError> {
        let holds = self.forwarder.works().stage.holds();
        if holds {
            let now = Instant::now();
            let due = move |works: &mut Works| works.stage.due(Some(now));
            let due = self.forwarder.work(due).await?;
            self.ready.extend(due);
        }
        self.observe();
        Ok(())
    }

    fn observe(&self) {
        let now = self.forwarder.clock.now();
        self.forwarder.works().queue.observe(now);
        let in_flight = self.under_way.len() as f64;
        self.forwarder.metrics.in_flight.set(in_flight);
    }

    /// Sends as many requests at once as may be.
    async fn send(&mut self) -> Result<(), ForwardError> {
        while self.under_way.len() < self.forwarder.in_flight {
            let Some(outgoing) = self.next().await? else {
                return Ok(());
            };
            let delivery = Arc::clone(&self.forwarder.delivery);
            self.under_way.spawn(delivery.deliver(outgoing));
        }
        Ok(())
    }

    /// What is to be sent next; takes requests from the queue until there is something.
    async fn next(&mut self) -> Result<Option<Outgoing>, ForwardError> {
        loop {
            if let Some(outgoing) = self.ready.pop_front() {
                return Ok(Some(outgoing));
            }
            if self.forwarder.works().queue.is_next_on_disk() {
                self.forwarder.work(|works| works.queue.load()).await?;
            }
            let Some(request) = self.forwarder.works().queue.pop() else {
                return Ok(None);
            };
            let receipt = Receipt::new(request.sequence, &self.done);
            let now = Instant::now();
            let passes = self.forwarder.works().stage.passes(request.encoding);
            let outgoing = if passes {
                self.forwarder.works().stage.take(&request, receipt, now)
            } else {
                let take = move |works: &mut Works| {
                    let outgoing = works.stage.take(&request, receipt, now);
                    works.queue.release(request.sequence);
                    outgoing
                };
                self.forwarder.work(take).await?
            };
            self.ready.extend(outgoing);
        }
    }

    /// Nothing comes any more: sends what is left, as far as the backend takes it.
    async fn stop(
        mut self,
        ticks: &mut tokio::time::Interval,
        limit: Duration,
    ) -> Result<(), ForwardError> {
        let deadline = Instant::now() + limit;
        let mut last = Vec::new();
        self.forwarder.inbox.close();
        while let Ok(sent) = self.forwarder.inbox.try_recv() {
            last.push(sent);
        }
        self.store(last).await?;
        self.flush(ticks, deadline).await?;
        // From here on nothing counts as done with: what is under way stays in the queue.
        self.finish(self.done.close()).await?;
        self.under_way.shutdown().await;
        self.ready.clear();
        let left = self.forwarder.work(|works| works.queue.close()).await?;
        if left > 0 {
            tracing::warn!(
                requests = left,
                "Not forwarded yet; they go on after the next start."
            );
        }
        Ok(())
    }

    /// Until all is sent, or the time is over. A queue that stays is not waited for while the backend is away.
    ///
    /// It is not cut short from outside: what a thread is at work on would count as done with.
    async fn flush(
        &mut self,
        ticks: &mut tokio::time::Interval,
        deadline: Instant,
    ) -> Result<(), ForwardError> {
        loop {
            self.send().await?;
            let held = self.forwarder.work(|works| works.stage.due(None)).await?;
            self.ready.extend(held);
            let (is_empty, keeps) = {
                let works = self.forwarder.works();
                (works.queue.is_empty(), works.queue.keeps())
            };
            let is_over = Instant::now() >= deadline;
            if is_empty || is_over || keeps && self.forwarder.delivery.is_away() {
                return Ok(());
            }
            self.step(ticks, None).await?;
        }
    }
}

fn queue_error(dir: Option<&PathBuf>, source: io::Error) -> ForwardError {
    ForwardError::Queue {
        path: dir.cloned().unwrap_or_default(),
        source,
    }
}

fn log_recovered(recovered: &Recovered) {
    if recovered.requests > 0 {
        tracing::info!(
            requests = recovered.requests,
            bytes = recovered.bytes,
            "Requests of an earlier run go on."
        );
    }
    if recovered.truncated > 0 {
        tracing::warn!(
            bytes = recovered.truncated,
            "A queue file was torn by a crash; its end is cut off."
        );
    }
}
