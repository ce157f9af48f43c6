//! Section `exporters.forward`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::otlp::client::{Compression, Protocol};
use crate::outgoing::SettingError;
use crate::outgoing::text::Text;

/// Where configuration errors point.
pub(super) const SECTION: &str = "exporters.forward";

/// Section `exporters.forward`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The backend that traces go on to, for example `http://tempo:4317`; over HTTP without `/v1/traces`. Default none:
    /// nothing is forwarded.
    pub endpoint: Option<Text>,
    /// `grpc` (default) or `http`.
    pub protocol: Protocol,
    /// `none` (default), `gzip` or `zstd`.
    pub compression: Compression,
    /// Headers of each request. Default none.
    pub headers: BTreeMap<String, Text>,
    /// Certificates in PEM form that https trusts beside the system's. Default none.
    pub ca_file: Option<PathBuf>,
    /// A request without an answer by then is sent again. Default 10s.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Most requests that are sent and unanswered. Default 8; at least 1.
    pub in_flight: usize,
    /// When a request is sent again.
    pub retry: RetryConfig,
    /// What waits for the backend.
    pub queue: QueueConfig,
    /// Which traces go on.
    pub sampling: SamplingConfig,
    /// Whether personal data and secrets are taken out of spans before they go on, as section `pii` says. Default false.
    pub scrub: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoint: None,
            protocol: Protocol::default(),
            compression: Compression::default(),
            headers: BTreeMap::new(),
            ca_file: None,
            timeout: Duration::from_secs(10),
            in_flight: 8,
            retry: RetryConfig::default(),
            queue: QueueConfig::default(),
            sampling: SamplingConfig::default(),
            scrub: false,
        }
    }
}

/// Section `exporters.forward.retry`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// Wait before the first retry; each further one is twice as long, less up to a half by chance. Default 1s.
    #[serde(with = "humantime_serde")]
    pub initial: Duration,
    /// Longest wait, also where the backend asks for more. Default 30s.
    #[serde(with = "humantime_serde")]
    pub max: Duration,
    /// A request is given up after so long. Default 0s: never, the queue alone bounds what waits.
    #[serde(with = "humantime_serde")]
    pub max_elapsed: Duration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(30),
            max_elapsed: Duration::ZERO,
        }
    }
}

/// Section `exporters.forward.queue`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueConfig {
    /// Directory of what the memory has no room for and of what is left at the end, made if it is missing. One running
    /// slo-copilot each. null keeps all in memory. Default `./slo-copilot-forward`.
    pub dir: Option<PathBuf>,
    /// Whether a request is on the disk before it is acknowledged. Default false: a crash loses what waits in memory.
    pub durable: bool,
    /// Most bytes of requests that wait, in memory and on the disk. Default 1 GiB.
    pub max_bytes: u64,
    /// Most bytes of them in memory; from the half of it on, requests wait on the disk. Default 64 MiB.
    pub memory_bytes: u64,
    /// What happens to a request that there is no room for.
    pub when_full: WhenFull,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            dir: Some(PathBuf::from("./slo-copilot-forward")),
            durable: false,
            max_bytes: 1 << 30,
            memory_bytes: 64 << 20,
            when_full: WhenFull::default(),
        }
    }
}

/// What gives way when the queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The request is counted in the windows and not forwarded.
    #[default]
    DropNewest,
    /// The requests that wait longest go.
    DropOldest,
    /// The sender is told to come again; nothing is counted.
    Refuse,
}

/// Section `exporters.forward.sampling`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingConfig {
    /// Which share of the traces goes on.
    pub share: Share,
    /// Traces with an error go on whatever the share. Default true.
    pub keep_errors: bool,
    /// So do those with an entry span that took so long; null asks for none. Default 2s.
    #[serde(with = "humantime_serde")]
    pub keep_slower_than: Option<Duration>,
    /// How long the spans of a trace are held before it is decided. Default 10s.
    #[serde(with = "humantime_serde")]
    pub decision_wait: Duration,
    /// Most bytes of spans that are held; over it the oldest traces are decided early. Default 64 MiB.
    pub max_bytes: u64,
    /// Decisions that are kept for spans that come late. Default 100000.
    pub remembered_traces: usize,
}

impl Default for SamplingConfig {
    fn default() -> Self {
        Self {
            share: Share::Off,
            keep_errors: true,
            keep_slower_than: Some(Duration::from_secs(2)),
            decision_wait: Duration::from_secs(10),
            max_bytes: 64 << 20,
            remembered_traces: 100_000,
        }
    }
}

/// Which share of the traces goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Share {
    /// All, as they came.
    #[default]
    Off,
    /// As the newest sampling plan says, by the service and the operation of the root.
    Plan,
    /// This share of all, above 0 and at most 1.
    Ratio(f64),
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::Plan => serializer.serialize_str("plan"),
            Self::Ratio(ratio) => serializer.serialize_f64(*ratio),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "off" => Ok(Self::Off),
            "plan" => Ok(Self::Plan),
            ratio => match ratio.parse::<f64>() {
                Ok(ratio) if ratio > 0.0 && ratio <= 1.0 => Ok(Self::Ratio(ratio)),
                Ok(_) | Err(_) => Err(serde::de::Error::custom(format!(
                    "share `{text}` is not `off`, `plan` or a ratio above 0 and at most 1"
                ))),
            },
        }
    }
}

/// Memory that is enough for any request of the usual size.
const MEMORY_MIN: u64 = 1 << 20;

impl Config {
    /// What is wrong with it, whatever the environment and files say.
    pub fn check(&self) -> Result<(), SettingError> {
        let Self {
            retry,
            queue,
            sampling,
            ..
        } = self;
        let rules = [
            (self.in_flight > 0, "in_flight", "must be at least 1"),
            (!self.timeout.is_zero(), "timeout", "must be above 0s"),
            (
                !retry.initial.is_zero() && retry.initial <= retry.max,
                "retry.initial",
                "must be above 0s and at most retry.max",
            ),
            (
                queue.memory_bytes >= MEMORY_MIN,
                "queue.memory_bytes",
                "must be at least 1 MiB (1048576)",
            ),
            (
                queue.max_bytes > 0,
                "queue.max_bytes",
                "must be above 0; leave exporters.forward.endpoint out to forward nothing",
            ),
            (
                !queue.durable || queue.dir.is_some(),
                "queue.durable",
                "needs exporters.forward.queue.dir",
            ),
            (
                sampling.max_bytes > 0,
                "sampling.max_bytes",
                "must be above 0",
            ),
            (
                sampling.remembered_traces > 0,
                "sampling.remembered_traces",
                "must be at least 1",
            ),
        ];
        let broken = rules.into_iter().find(|(holds, _, _)| !holds);
        broken.map_or(Ok(()), |(_, key, message)| {
            Err(SettingError {
                key: format!("{SECTION}.{key}"),
                message: message.to_owned(),
            })
        })
    }
}
