//! Small reports for the tests of the telemetry budget.

use std::sync::Arc;

use crate::model::rca::{Conclusion, RankedCause, RcaReport, TraceWindow};
use crate::model::report::{Report, SeriesCounters, Verdict, VerdictReport};
use crate::model::series::ServiceKey;
use crate::model::span::SpanKind;
use crate::openslo::fixture;

/// A report with these verdicts.
pub(super) fn report(verdicts: Vec<(ServiceKey, Verdict)>) -> Report {
    let services: Vec<ServiceKey> = verdicts.iter().map(|own| own.0.clone()).collect();
    let mut report = fixture::report(0, &services);
    let told = report.verdicts.iter().zip(verdicts);
    let told = told.map(|(own, (_, verdict))| VerdictReport {
        verdict,
        ..own.clone()
    });
    report.verdicts = told.collect();
    report
}

/// A service and its verdict.
pub(super) fn verdict(service: &str, verdict: Verdict) -> (ServiceKey, Verdict) {
    (ServiceKey::named(service), verdict)
}

/// A found cause of an incident that began at `from`.
pub(super) fn cause(service: &str, from: u64) -> Arc<RcaReport> {
    Arc::new(RcaReport {
        conclusion: Conclusion::Found,
        text: String::new(),
        ranked: vec![RankedCause {
            service: service.to_owned(),
            key: ServiceKey::named(service),
            score: 1.0,
            operations: Vec::new(),
            instances: Vec::new(),
            evidence: Vec::new(),
        }],
        changes: Vec::new(),
        baseline: TraceWindow::default(),
        incident: TraceWindow {
            from,
            ..TraceWindow::default()
        },
        similar: Vec::new(),
        explanation: None,
    })
}

/// Counters of an operation; of a whole service where it is empty.
pub(super) fn counters(service: &str, operation: &str, (ok, error): (f64, f64)) -> SeriesCounters {
    SeriesCounters {
        service: ServiceKey::named(service),
        operation: operation.to_owned(),
        kind: SpanKind::Server,
        ok,
        error,
        durations: None,
    }
}
