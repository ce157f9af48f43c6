//! Coverage in `serve`: the traces of the newest window.

use std::sync::Arc;

use humantime_serde::re::humantime::format_duration;

use crate::adapter::Adapter;
use crate::adapter::coverage::host::{self, HostView};
use crate::adapter::coverage::observe::observe;
use crate::adapter::coverage::report::{Around, Terms, of_traces, summary};
use crate::adapter::coverage::signals::ObservedSignals;
use crate::adapter::coverage::tally::Rolling;
use crate::adapter::coverage::{Config, add_signals};
use crate::adapter::kubernetes::Inventory;
use crate::model::UnixNanos;
use crate::model::advice::Advice;
use crate::model::coverage::CoverageReport;
use crate::model::report::{OperationReport, Report, WindowSli};
use crate::model::trace::Trace;
use crate::model::window::Window;
use crate::telemetry::CoverageMetrics;

/// Name of coverage among the integrations of a report.
pub const INTEGRATION: &str = "ebpf-bot";

/// Time between two looks at this host.
const HOST_NANOS: u64 = 60_000_000_000;

/// Coverage of a running server.
pub struct Coverage {
    config: Config,
    inventory: Option<Inventory>,
    observed: ObservedSignals,
    rolling: Rolling,
    host: Option<Result<HostView, String>>,
    host_seen_at: UnixNanos,
    metrics: CoverageMetrics,
    report: Option<Arc<CoverageReport>>,
}

impl Coverage {
    /// Nothing seen yet. `inventory` is what the manifests of the configuration hold.
    pub fn new(config: &Config, inventory: Option<Inventory>) -> Self {
        Self {
            observed: ObservedSignals::new(config.max_signals),
            config: config.clone(),
            inventory,
            rolling: Rolling::default(),
            host: None,
            host_seen_at: 0,
            metrics: CoverageMetrics::new(),
            report: None,
        }
    }

    fn turn(&mut self, now: UnixNanos) {
        let window = u64::try_from(self.config.window.as_nanos()).unwrap_or(u64::MAX);
        for _ in 0..self.rolling.turn(now, window) {
            self.observed.turn();
        }
    }

    fn look_at_host(&mut self, now: UnixNanos) {
        let is_due = self.host.is_none() || now >= self.host_seen_at.saturating_add(HOST_NANOS);
        if self.config.host_peers && is_due {
            self.host = Some(host::observe().map_err(|error| error.to_string()));
            self.host_seen_at = now;
        }
    }

    fn host(&self) -> Option<&HostView> {
        self.host.as_ref()?.as_ref().ok()
    }
}

impl Adapter for Coverage {
    fn name(&self) -> &'static str {
        "coverage"
    }

    fn on_traces(&mut self, traces: &[Arc<Trace>], now: UnixNanos) {
        self.turn(now);
        let tally = self.rolling.newest();
        for trace in traces {
            observe(tally, trace, &self.config);
            add_signals(&mut self.observed, trace);
        }
    }

    fn on_report(&mut self, report: &Report, now: UnixNanos) {
        self.look_at_host(now);
        self.turn(now);
        // Operations are known of all traffic, not of the sample alone.
        let is_in_use = |operation: &&OperationReport| {
            let recent = |sli: &&WindowSli| sli.window <= Window::M30;
            let mut windows = operation.windows.iter().filter(recent);
            windows.any(|sli| sli.sums.total > 0.0)
        };
        let operations = report
            .services
            .iter()
            .flat_map(|service| &service.operations);
        for operation in operations.filter(is_in_use) {
            self.observed.hold(operation.operation.as_bytes());
        }
        let tally = self.rolling.both(&self.config);
        let refused = self.rolling.refused();
        self.metrics.services.absolute(refused.services);
        self.metrics.edges.absolute(refused.edges);
        self.metrics.names.absolute(refused.names);
        self.metrics.signals.absolute(self.observed.omitted());
        let around = Around {
            inventory: self.inventory.as_ref(),
            host: self.host(),
        };
        let terms = Terms {
            window: format!(
                "the last {} to {}",
                format_duration(self.config.window / 2),
                format_duration(self.config.window)
            ),
            sampling: "the sample of whole traces that trace_buffer keeps".to_owned(),
            refused,
        };
        let report = of_traces(&tally, &self.observed, &self.config, around, terms);
        self.report = Some(Arc::new(report));
    }

    fn advise(&self, advice: &mut Advice) {
        advice.coverage.clone_from(&self.report);
        let mut state = match &self.report {
            None => "on: it waits for the first evaluation".to_owned(),
            Some(report) => match &report.instrumentation {
                Some(seen) if seen.traces > 0 => {
                    format!("on: {}, of {} traces", summary(report), seen.traces)
                }
                _ => "on: no whole trace was seen yet (trace_buffer.enabled)".to_owned(),
            },
        };
        state.push_str(match &self.host {
            Some(Ok(_)) => "; listening processes of this host are looked at",
            Some(Err(error)) => {
                tracing::debug!(%error, "this host cannot be looked at");
                "; adapters.coverage.host_peers is on, and the sockets of this host cannot be read"
            }
            None => "",
        });
        advice.states.insert(INTEGRATION, state);
    }
}
