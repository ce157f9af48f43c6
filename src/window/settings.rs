//! Configuration of windows and of what counts as an event.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::span::SpanKind;
use crate::window::event::Sampling;

/// Section `windows`: bounds of what is held. Every refusal is counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WindowsConfig {
    /// Most series held (a service, an operation and a version are one each). Over it, events go to the service's
    /// `_other` operation with their outcome. A warm series takes 8 to 100 KiB. Default 10000; at least 1.
    pub max_series: u64,
    /// Most services held. Over it, events go to the service `_other`. Default 1000; at least 1.
    pub max_services: u64,
    /// Most operations of one service. Over it, events go to its `_other` operation. Default 500; 0 keeps none.
    pub max_operations_per_service: u32,
    /// A series without events for so long is forgotten, unless an objective is attached to it. Default 7d.
    #[serde(with = "humantime_serde")]
    pub idle_expiry: Duration,
    /// An event that ended longer ago is counted as late; it still goes to its slot. Default 5m.
    #[serde(with = "humantime_serde")]
    pub late_after: Duration,
    /// An event that ends further ahead of our clock reaches the counters, but no window. Default 1m; at most 5m.
    #[serde(with = "humantime_serde")]
    pub future_tolerance: Duration,
    /// Duration histograms for operations too, not only for services. Default false: 60 series an operation.
    pub operation_durations: bool,
    /// Operations of each service, by traffic, whose minutes go to the history. Default 10; 0 keeps services alone.
    pub history_operations_per_service: usize,
}

impl Default for WindowsConfig {
    fn default() -> Self {
        Self {
            max_series: 10_000,
            max_services: 1_000,
            max_operations_per_service: 500,
            idle_expiry: Duration::from_hours(168),
            late_after: Duration::from_mins(5),
            future_tolerance: Duration::from_mins(1),
            operation_durations: false,
            history_operations_per_service: 10,
        }
    }
}

/// Section `sli`: which spans are events and what they weigh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SliConfig {
    /// Kinds of entry spans. `internal` counts only without a parent. Default server, consumer, unspecified, internal.
    pub span_kinds: Vec<SpanKind>,
    /// Operations that are no events, with or without their method; `*` stands for any text. Counted apart.
    /// Default: health, readiness, liveness and metrics routes and `grpc.health.v1`. Empty excludes nothing.
    pub exclude: Vec<String>,
    /// What is true of spans whose tracestate has no `ot=th`: `full`, a ratio such as 0.1, or `unknown` (then
    /// candidates never become ready). Default full, which is the default of every SDK; of services that were asked for less by
    /// our sampling server it is not believed.
    pub sampling: Sampling,
    /// The same for single services, by `service.name`.
    pub sampling_by_service: BTreeMap<String, Sampling>,
    /// Attribute of resources that tells the versions of a service apart, for example `k8s.pod.label.track`. Default
    /// service.version.
    pub version_attribute: String,
}

impl Default for SliConfig {
    fn default() -> Self {
        let exclude = [
            "/health",
            "/health/*",
            "/healthz",
            "/healthcheck",
            "/live",
            "/livez",
            "/liveness",
            "/ready",
            "/readyz",
            "/readiness",
            "/ping",
            "/metrics",
            "/actuator/*",
            "grpc.health.v1.Health/*",
        ];
        Self {
            span_kinds: vec![
                SpanKind::Server,
                SpanKind::Consumer,
                SpanKind::Unspecified,
                SpanKind::Internal,
            ],
            exclude: exclude.map(String::from).to_vec(),
            sampling: Sampling::Full,
            sampling_by_service: BTreeMap::new(),
            version_attribute: "service.version".to_owned(),
        }
    }
}
