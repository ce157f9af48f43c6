//! The rates of trace files: what a budget would allow of each root operation.

use std::sync::Arc;

use serde::Serialize;

use crate::adapter::sampling::allocate::{Division, LOG_SD_UNKNOWN, Stratum, allocate};
use crate::adapter::sampling::kept_anyway;
use crate::adapter::sampling::roots::Roots;
use crate::adapter::sampling::settings::Config;
use crate::model::sampling::{OperationSampling, SamplingPlan, ServiceSampling};

/// One root operation with its rate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// `service.name`.
    pub service: Arc<str>,
    /// Name of the root span.
    pub operation: Arc<str>,
    /// Traces of a day.
    pub traces_per_day: f64,
    /// Spans of each.
    pub spans_per_trace: f64,
    /// Share of them whose root failed.
    pub error_ratio: f64,
    /// Standard deviation of the logarithm of their duration.
    pub log_sd: f64,
    /// The share to sample, of those that are not kept for an error or their duration.
    pub ratio: f64,
    /// Spans of a day that are kept so.
    pub kept_spans_per_day: f64,
}

/// The rates that a budget of so many spans a day allows, where `roots` came within `days`.
pub fn rates(roots: &Roots, days: f64, budget_spans: f64, config: &Config) -> Vec<Rate> {
    let all: Vec<_> = roots.iter().collect();
    let strata: Vec<Stratum> = all
        .iter()
        .map(|(_, root)| {
            let error_ratio = (root.errors + 0.5) / (root.traces + 1.0);
            Stratum {
                traces: root.traces / days,
                spans_per_trace: root.spans_per_trace(),
                error_ratio,
                log_sd: root.log_sd().unwrap_or(LOG_SD_UNKNOWN),
                kept_anyway: kept_anyway(config.keep_errors_and_slow, error_ratio),
            }
        })
        .collect();
    let division = Division {
        spans: budget_spans,
        min_traces: config.min_traces_per_operation,
        latency_weight: config.latency_weight,
    };
    let ratios = allocate(&strata, &division);
    all.iter()
        .zip(strata.iter().zip(ratios))
        .map(|((name, root), (stratum, ratio))| Rate {
            service: Arc::clone(&name.0),
            operation: Arc::clone(&name.1),
            traces_per_day: stratum.traces,
            spans_per_trace: stratum.spans_per_trace,
            error_ratio: root.errors / root.traces.max(f64::MIN_POSITIVE),
            log_sd: stratum.log_sd,
            ratio,
            kept_spans_per_day: stratum.kept_spans(ratio),
        })
        .collect()
}

/// The same as a plan.
pub fn plan(rates: &[Rate]) -> SamplingPlan {
    let by_service = rates.chunk_by(|a, b| a.service == b.service);
    let services = by_service.map(|own| {
        let (kept, all) = own.iter().fold((0.0, 0.0), |(kept, all), rate| {
            (
                kept + rate.traces_per_day * rate.ratio,
                all + rate.traces_per_day,
            )
        });
        ServiceSampling {
            service: own
                .first()
                .map(|rate| rate.service.to_string())
                .unwrap_or_default(),
            default_ratio: if all > 0.0 { kept / all } else { 1.0 },
            operations: own
                .iter()
                .map(|rate| OperationSampling {
                    operation: rate.operation.to_string(),
                    ratio: rate.ratio,
                })
                .collect(),
        }
    });
    SamplingPlan {
        revision: 1,
        made_at: 0,
        services: services.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NANOS_PER_SEC;
    use crate::model::span::SpanKind;
    use crate::trace::fixture::{failed, span, trace};

    #[test]
    fn files_of_an_hour_speak_for_a_day() {
        let mut roots = Roots::new(10);
        let end = 2 * NANOS_PER_SEC;
        for number in 0..1_000 {
            let own = span("page", "", "shop", SpanKind::Server, (NANOS_PER_SEC, end));
            let work = span(
                "work",
                "page",
                "shop",
                SpanKind::Internal,
                (NANOS_PER_SEC, end),
            );
            let own = if number % 10 == 0 { failed(own) } else { own };
            roots.add(&trace(vec![own, work]));
        }
        let config = Config::default();
        // 24 000 traces, of which a tenth and a hundredth of the others are kept anyway.
        let made = rates(&roots, 1.0 / 24.0, 10_000.0, &config);
        assert!((made[0].traces_per_day - 24_000.0).abs() < 1e-6);
        assert!(
            (made[0].kept_spans_per_day - 10_000.0).abs() < 1.0,
            "{made:?}"
        );
        assert!((made[0].error_ratio - 0.1).abs() < 1e-9);
        let anyway = kept_anyway(true, 100.5 / 1_001.0);
        let ratio = (10_000.0 / 48_000.0 - anyway) / (1.0 - anyway);
        assert!((made[0].ratio - ratio).abs() < 1e-6, "{made:?}");
        let plan = plan(&made);
        assert!((plan.ratio("shop", "page") - ratio).abs() < 1e-6);
        assert!((plan.ratio("shop", "other") - ratio).abs() < 1e-6);
    }
}
