//! Load that goes on until the server is gone, and what became of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use slo_copilot::model::UnixNanos;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::DEADLINE;
use super::grpc::{client, export};
use super::spans::{request, spans};

pub(crate) const CLIENTS: u64 = 4;
pub(crate) const SPANS_PER_REQUEST: u64 = 50;

/// Clients that send one request after the other until the server is gone.
pub(crate) struct Load {
    sent: Arc<AtomicU64>,
    acknowledged: watch::Sender<u64>,
    clients: JoinSet<()>,
}

impl Load {
    pub(crate) async fn start(address: SocketAddr, end: UnixNanos) -> Self {
        let sent = Arc::new(AtomicU64::new(0));
        let acknowledged = watch::Sender::new(0);
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let mut client = client(address).await;
            let (sent, acknowledged) = (Arc::clone(&sent), acknowledged.clone());
            clients.spawn(async move {
                let batch = request("checkout", spans(SPANS_PER_REQUEST, end));
                loop {
                    sent.fetch_add(SPANS_PER_REQUEST, Ordering::SeqCst);
                    if export(&mut client, &batch).await.is_err() {
                        return;
                    }
                    acknowledged.send_modify(|spans| *spans += SPANS_PER_REQUEST);
                }
            });
        }
        Self {
            sent,
            acknowledged,
            clients,
        }
    }

    /// Waits until so many spans are acknowledged.
    pub(crate) async fn under_way(&self, enough: u64) {
        let mut acknowledged = self.acknowledged.subscribe();
        let enough = acknowledged.wait_for(|spans| *spans >= enough);
        timeout(DEADLINE, enough).await.unwrap().unwrap();
    }

    /// The spans acknowledged and sent, when no client sends any more.
    pub(crate) async fn finish(mut self) -> (u64, u64) {
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        let acknowledged = *self.acknowledged.borrow();
        (acknowledged, self.sent.load(Ordering::SeqCst))
    }
}
