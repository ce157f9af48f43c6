//! OTLP in: gRPC and HTTP, let in by bytes, scanned, counted, then acknowledged. And trace files, in [`mod@file`].
//!
//! An acknowledged span is counted: the answer is written after the windows hold the request. A request that cannot be read
//! counts nothing.

pub mod collect;
pub mod file;
pub mod intake;
pub mod json;
pub mod otlp_grpc;
pub mod otlp_http;
pub mod respond;
pub mod scan;
pub mod whole;
pub mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::pipeline::{Consumed, Pipeline};
use crate::receiver::intake::{Intake, Refused};
use crate::telemetry::{ReceiverCounters, Transport};

/// Section `receivers`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The OTLP receivers.
    pub otlp: OtlpConfig,
}

/// Section `receivers.otlp`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpConfig {
    /// OTLP/gRPC.
    pub grpc: GrpcConfig,
    /// OTLP/HTTP.
    pub http: HttpConfig,
    /// Largest request in bytes, before and after decompression. Larger ones are refused for good. Default 64 MiB, as the
    /// OTLP specification recommends.
    pub max_request_bytes: u64,
    /// Bytes of all requests under way, and over HTTP of what they unpack to. Over it, requests are refused and told to come again. Default 256 MiB; one request of
    /// the largest size always fits, packed and unpacked.
    pub max_in_flight_bytes: u64,
    /// When a refused client may come again. Default 1s.
    #[serde(with = "humantime_serde")]
    pub retry_after: Duration,
    /// A request that takes longer to arrive is given up. Default 30s.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// A connection over HTTP without a request for so long is closed, and any whose first bytes do not come. Default 2m; at least 1s.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
}

impl Default for OtlpConfig {
    fn default() -> Self {
        Self {
            grpc: GrpcConfig::default(),
            http: HttpConfig::default(),
            max_request_bytes: 64 << 20,
            max_in_flight_bytes: 256 << 20,
            retry_after: Duration::from_secs(1),
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_mins(2),
        }
    }
}

/// Section `receivers.otlp.grpc`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrpcConfig {
    /// Address to listen on; port 0 takes a free one. Default 127.0.0.1:4317.
    pub endpoint: SocketAddr,
    /// Requests at once on one connection. Default 128; at least 1.
    pub max_concurrent_streams: u32,
    /// A quiet connection is asked for a sign of life this often. Default 30s.
    #[serde(with = "humantime_serde")]
    pub keepalive_interval: Duration,
    /// A connection that gives no sign of life for so long is closed. Default 20s.
    #[serde(with = "humantime_serde")]
    pub keepalive_timeout: Duration,
}

impl Default for GrpcConfig {
    fn default() -> Self {
        Self {
            endpoint: SocketAddr::from((Ipv4Addr::LOCALHOST, 4317)),
            max_concurrent_streams: 128,
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
        }
    }
}

/// Section `receivers.otlp.http`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Address to listen on; port 0 takes a free one. Default 127.0.0.1:4318.
    pub endpoint: SocketAddr,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            endpoint: SocketAddr::from((Ipv4Addr::LOCALHOST, 4318)),
        }
    }
}

/// What both receivers share.
#[derive(Clone)]
pub struct Receiver {
    pipeline: Arc<Pipeline>,
    intake: Intake,
    counters: ReceiverCounters,
    config: OtlpConfig,
}

impl Receiver {
    /// A receiver for one transport; `intake` is shared by all of them.
    pub fn new(
        pipeline: Arc<Pipeline>,
        intake: Intake,
        config: OtlpConfig,
        transport: Transport,
    ) -> Self {
        Self {
            pipeline,
            intake,
            counters: ReceiverCounters::new(transport),
            config,
        }
    }

    fn count(&self, consumed: &Consumed) {
        let counters = &self.counters;
        let [end_before_start, invalid_id] = consumed.rejected;
        counters.accepted.increment(consumed.accepted);
        counters.excluded.increment(consumed.recorded.excluded);
        counters.rejected.invalid_time.increment(end_before_start);
        counters.rejected.invalid_id.increment(invalid_id);
        counters.late.held.increment(consumed.recorded.late);
        counters.late.too_old.increment(consumed.recorded.too_old);
        counters.late.future.increment(consumed.recorded.too_new);
        counters.overflow.increment(consumed.recorded.overflowed);
    }

    fn count_refused(&self, refused: Refused) {
        match refused {
            Refused::Overload | Refused::Backlog => self.counters.refused.overload.increment(0),
            Refused::TooLarge { .. } => self.counters.refused.too_large.increment(0),
        }
    }
}
