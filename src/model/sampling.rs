//! Which share of the traces is to be sampled: the plan that senders, the forwarder and written files follow.

use serde::{Deserialize, Serialize};

use crate::model::UnixNanos;

/// What came in so far, of every kind of span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TelemetryVolume {
    /// Spans.
    pub spans: u64,
    /// Bytes of the requests that brought them, unpacked.
    pub bytes: u64,
}

/// Sampling of all services.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SamplingPlan {
    /// Grows with every change.
    pub revision: u64,
    /// When it was made; 0 for the plan of the start, which samples all.
    pub made_at: UnixNanos,
    /// One a service, sorted by name. Services that are not there are sampled in full.
    pub services: Vec<ServiceSampling>,
}

/// Sampling of one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ServiceSampling {
    /// `service.name`.
    pub service: String,
    /// Share of the traces that begin in it with an operation that is not listed, above 0 and at most 1. Also that of all its
    /// traces for senders and Collectors that know no operations.
    pub default_ratio: f64,
    /// Operations with a share of their own, by the span name of the root, sorted.
    pub operations: Vec<OperationSampling>,
}

/// Sampling of the traces that begin with one operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OperationSampling {
    /// Name of the root span as its service says it, not templated.
    pub operation: String,
    /// Share of its traces, above 0 and at most 1.
    pub ratio: f64,
}

impl SamplingPlan {
    /// The plan of one service.
    pub fn service(&self, name: &str) -> Option<&ServiceSampling> {
        let at = self
            .services
            .binary_search_by(|own| own.service.as_str().cmp(name));
        at.ok().and_then(|at| self.services.get(at))
    }

    /// The share of the traces that begin with this operation of this service.
    pub fn ratio(&self, service: &str, operation: &str) -> f64 {
        self.service(service).map_or(1.0, |own| {
            let operations = own.operations.iter();
            let mut same = operations.filter(|known| known.operation == operation);
            same.next().map_or(own.default_ratio, |known| known.ratio)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_plan_names_is_sampled_in_full() {
        let plan = SamplingPlan {
            services: vec![ServiceSampling {
                service: "cart".to_owned(),
                default_ratio: 0.5,
                operations: vec![OperationSampling {
                    operation: "GET /cart".to_owned(),
                    ratio: 0.1,
                }],
            }],
            ..SamplingPlan::default()
        };
        assert!((plan.ratio("cart", "GET /cart") - 0.1).abs() < 1e-12);
        assert!((plan.ratio("cart", "POST /cart") - 0.5).abs() < 1e-12);
        assert!((plan.ratio("checkout", "GET /cart") - 1.0).abs() < 1e-12);
    }
}
