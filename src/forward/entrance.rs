//! Where receivers hand requests over: an atomic addition, a permit and a channel, and no copy of the bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::forward::queue::{Arrival, Room};
use crate::forward::settings::WhenFull;
use crate::otlp::client::Encoding;
use crate::telemetry::ForwardMetrics;

/// What receivers send, and who waits for the disk.
pub(super) struct Sent {
    pub(super) arrival: Arrival,
    pub(super) written: Option<oneshot::Sender<()>>,
}

/// The queue is full, and its senders are to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The receivers' end of the forwarder. Clones are the same entrance.
#[derive(Clone)]
pub struct Entrance(Arc<Inner>);

pub(super) struct Inner {
    pub(super) sender: mpsc::Sender<Sent>,
    pub(super) held: Arc<AtomicU64>,
    pub(super) max_bytes: u64,
    pub(super) room: Option<Room>,
    pub(super) when_full: WhenFull,
    pub(super) is_durable: bool,
    /// Spans that went on so far, where it is the plan that decides which.
    pub(super) kept: Option<Arc<AtomicU64>>,
    pub(super) clock: Clock,
    pub(super) metrics: ForwardMetrics,
}

impl std::fmt::Debug for Entrance {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Entrance")
    }
}

impl Entrance {
    pub(super) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Spans that the sampling plan let through so far; none where it is not the plan that decides.
    pub fn kept_by_plan(&self) -> Option<u64> {
        let kept = self.0.kept.as_ref();
        kept.map(|kept| kept.load(Ordering::Relaxed))
    }

    /// Takes room for a request before it is counted. Where senders are not told to come again, there always is one.
    pub fn reserve(&self, bytes: usize) -> Result<Reservation, Full> {
        let bytes = bytes as u64;
        let inner = &self.0;
        let before = inner.held.fetch_add(bytes, Ordering::Relaxed);
        let is_full = before.saturating_add(bytes) > inner.max_bytes;
        let has_room = !is_full || inner.when_full == WhenFull::DropOldest;
        let reservation = Reservation {
            entrance: self.clone(),
            bytes,
            has_room,
        };
        if !has_room && inner.when_full == WhenFull::Refuse {
            inner.metrics.refused.increment(1);
            return Err(Full);
        }
        Ok(reservation)
    }
}

/// Room for one request; given back if it is not used.
#[derive(Debug)]
pub struct Reservation {
    entrance: Entrance,
    bytes: u64,
    has_room: bool,
}

impl Reservation {
    /// Hands a request over that was counted. Returns when it is in the queue, on the disk if that is asked for. It waits
    /// where the memory is full and the disk behind.
    pub async fn hand_over(mut self, body: Bytes, encoding: Encoding, spans: u64) {
        if spans == 0 {
            return;
        }
        let inner = Arc::clone(&self.entrance.0);
        if !self.has_room {
            inner.metrics.dropped.full.increment(spans);
            return;
        }
        let permit = match &inner.room {
            Some(room) => room.take(self.bytes).await,
            None => None,
        };
        let (written, wait) = if inner.is_durable {
            let (written, wait) = oneshot::channel();
            (Some(written), Some(wait))
        } else {
            (None, None)
        };
        let arrival = Arrival {
            at: inner.clock.now(),
            spans,
            encoding,
            body,
            permit,
        };
        if inner.sender.send(Sent { arrival, written }).await.is_err() {
            // The forwarder ended before the last request was read.
            inner.metrics.dropped.shutdown.increment(spans);
            return;
        }
        // From here on the queue gives the bytes back.
        self.bytes = 0;
        if let Some(wait) = wait {
            // A sender that is gone without a word did so after the queue was closed, and kept the request.
            wait.await.ok();
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.entrance
            .0
            .held
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
