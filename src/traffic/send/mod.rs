//! Sends requests over OTLP/gRPC or OTLP/HTTP and counts what became of their spans.

mod client;
mod run;
#[cfg(test)]
mod tests;
mod totals;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::otlp::answer::Answer;
use crate::otlp::client::{ClientError, Compression};
use crate::traffic::generate::span_count;
use crate::traffic::send::client::Client;
use crate::traffic::send::run::{Run, send_load};
use crate::traffic::send::totals::retry_after;
use crate::traffic::workload::Workload;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep};

pub use client::Protocol;
pub use run::Load;
pub use totals::Totals;

/// How often [`Sender::send_all`] offers a request before it gives up.
const MAX_ATTEMPTS: u32 = 100;

/// Where to send and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// For example `http://127.0.0.1:4317`.
    pub endpoint: String,
    /// How to send.
    pub protocol: Protocol,
    /// Connections, at least 1.
    pub connections: usize,
    /// Requests in flight on each connection, at least 1.
    pub in_flight: usize,
    /// Compression of the requests.
    pub compression: Compression,
    /// A request without an answer by then has failed.
    pub timeout: Duration,
}

impl Target {
    /// One gRPC connection without compression, one request in flight, 30 s to answer.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            protocol: Protocol::Grpc,
            connections: 1,
            in_flight: 1,
            compression: Compression::None,
            timeout: Duration::from_secs(30),
        }
    }
}

/// Why nothing could be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Nobody can be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No histogram with these bounds.
    #[error("latency histogram")]
    Histogram(#[from] hdrhistogram::CreationError),
    /// A sending task was cancelled or panicked.
    #[error("a sending task ended early")]
    Task(#[from] JoinError),
}

/// Open connections to a server.
#[derive(Clone, Debug)]
pub struct Sender {
    clients: Vec<Client>,
    in_flight: usize,
}

impl Sender {
    /// Opens the connections of `target`.
    pub async fn connect(target: &Target) -> Result<Self, SendError> {
        let mut clients = Vec::new();
        for _ in 0..target.connections.max(1) {
            clients.push(Client::connect(target).await?);
        }
        Ok(Self {
            clients,
            in_flight: target.in_flight.max(1),
        })
    }

    /// Sends a load. `accepted` goes up with every answer, for those who watch.
    ///
    /// With a rate, requests are due at fixed times whatever the server does. When all in flight are slow the
    /// next ones are late, and their waiting counts as their latency, so that a stalling server cannot hide.
    pub async fn run(
        &self,
        workload: Arc<Workload>,
        load: Load,
        accepted: Arc<AtomicU64>,
    ) -> Result<Totals, SendError> {
        let run = Arc::new(Run::new(workload, load, accepted));
        let mut tasks = JoinSet::new();
        for client in &self.clients {
            for _ in 0..self.in_flight {
                tasks.spawn(send_load(
                    client.clone(),
                    Arc::clone(&run),
                    Totals::empty()?,
                ));
            }
        }
        let mut totals = Totals::empty()?;
        while let Some(task) = tasks.join_next().await {
            totals.merge(task?);
        }
        totals.elapsed = run.elapsed(&totals);
        Ok(totals)
    }

    /// Sends `requests` with the configured concurrency, each until it is accepted or fails for good: what the
    /// server refuses is offered again after the time it asks for.
    pub async fn send_all<I>(&self, requests: I) -> Result<Totals, SendError>
    where
        I: IntoIterator<Item = ExportTraceServiceRequest>,
    {
        let start = Instant::now();
        let mut totals = Totals::empty()?;
        let mut tasks = JoinSet::new();
        let mut clients = self.clients.iter().cycle();
        for request in requests {
            if tasks.len() >= self.clients.len() * self.in_flight
                && let Some(task) = tasks.join_next().await
            {
                totals.merge(task?);
            }
            if let Some(client) = clients.next() {
                let spans = count(span_count(&request));
                let body = Bytes::from(request.encode_to_vec());
                tasks.spawn(send_until_accepted(
                    client.clone(),
                    body,
                    spans,
                    Totals::empty()?,
                ));
            }
        }
        while let Some(task) = tasks.join_next().await {
            totals.merge(task?);
        }
        totals.elapsed = start.elapsed();
        Ok(totals)
    }
}

async fn send_until_accepted(
    client: Client,
    body: Bytes,
    spans: u64,
    mut totals: Totals,
) -> Totals {
    for _ in 0..MAX_ATTEMPTS {
        let answer = client.export(body.clone()).await;
        let Some(pause) = retry_after(&answer) else {
            totals.count(answer, spans);
            return totals;
        };
        totals.refused_requests += 1;
        sleep(pause).await;
    }
    totals.count(
        Answer::Failed(format!("refused {MAX_ATTEMPTS} times")),
        spans,
    );
    totals
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
