//! A whole server in this process, on free ports, with directories of its own and a clock that tests move.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use serde::Serialize;
use serde_json::Value;
use slo_copilot::clock::Clock;
use slo_copilot::config::{Config, ObjectiveConfig, SliKind};
use slo_copilot::model::period::Period;
use slo_copilot::model::report::{ObjectiveStatus, Report, ServiceReport};
use slo_copilot::model::slo::Budgeting;
use slo_copilot::model::window::{Window, WindowSums};
use slo_copilot::service::{Endpoints, Service};
use tempfile::TempDir;
use tokio::time::timeout;

use super::DEADLINE;
use super::grpc::{Client, client};
use super::page::Page;
use super::spans::NOW;

pub(crate) struct Server {
    pub(crate) endpoints: Endpoints,
    pub(crate) clock: Clock,
    pub(crate) service: Service,
    dir: Arc<TempDir>,
}

impl Server {
    /// With a clock that stands at [`NOW`].
    pub(crate) async fn start(adjust: impl FnOnce(&mut Config)) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Self::start_in(dir, Clock::manual(NOW), adjust).await
    }

    /// In the directory of a server before it.
    pub(crate) async fn start_in(
        dir: Arc<TempDir>,
        clock: Clock,
        adjust: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config::default();
        config.receivers.otlp.grpc.endpoint.set_port(0);
        config.receivers.otlp.http.endpoint.set_port(0);
        config.admin.endpoint.set_port(0);
        config.storage.dir = dir.path().join("data");
        config.output.dir = dir.path().join("out");
        config.evaluator.interval = Duration::from_millis(100);
        adjust(&mut config);
        let service = Service::start(config, clock.clone()).await.unwrap();
        Self {
            endpoints: service.endpoints,
            clock,
            service,
            dir,
        }
    }

    pub(crate) async fn client(&self) -> Client {
        client(self.endpoints.otlp_grpc).await
    }

    pub(crate) fn http_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.endpoints.otlp_http)
    }

    pub(crate) fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.endpoints.admin)
    }

    pub(crate) fn output(&self, path: &str) -> PathBuf {
        output_in(&self.dir, path)
    }

    /// A report that knows all that was acknowledged before the call: the first one from now on may have been under way.
    pub(crate) async fn fresh_report(&self) -> Arc<Report> {
        let mut reports = self.service.reports.clone();
        reports.borrow_and_update();
        for _ in 0..2 {
            let changed = timeout(DEADLINE, reports.changed()).await;
            changed.unwrap().unwrap();
            reports.borrow_and_update();
        }
        let report = reports.borrow().clone();
        report.unwrap()
    }

    /// `/metrics` with all that was acknowledged before the call.
    pub(crate) async fn fresh_page(&self) -> Page {
        self.fresh_report().await;
        let response = reqwest::get(self.admin_url("/metrics")).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        Page::parse(&response.text().await.unwrap())
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let response = reqwest::get(self.admin_url(path)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    /// Posts without a body.
    pub(crate) async fn post(&self, path: &str) -> (StatusCode, Value) {
        let client = reqwest::Client::new();
        let response = client.post(self.admin_url(path)).send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    /// Drains and stops; returns the last report and the directory for a server after it.
    pub(crate) async fn stop(self) -> (Arc<Report>, Arc<TempDir>) {
        let reports = self.service.reports.clone();
        let stopped = timeout(DEADLINE, self.service.stop()).await;
        stopped.unwrap().unwrap();
        let report = reports.borrow().clone();
        (report.unwrap(), self.dir)
    }
}

/// A file below `output.dir`.
pub(crate) fn output_in(dir: &TempDir, path: &str) -> PathBuf {
    dir.path().join("out").join(path)
}

/// A file that must be JSON.
pub(crate) fn read_json(path: &Path) -> Value {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// What a reader makes of a value's JSON, whose last digits `serde_json` does not keep.
pub(crate) fn as_read(value: &impl Serialize) -> Value {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

/// An objective of the configuration: this share of the service's requests succeeds over 30 days.
pub(crate) fn availability(service: &str, target: f64) -> ObjectiveConfig {
    ObjectiveConfig {
        name: format!("availability-{service}"),
        service: service.to_owned(),
        namespace: None,
        environment: None,
        operation: None,
        sli: SliKind::Availability,
        threshold: None,
        target,
        window: Period::DEFAULT,
        budgeting: Budgeting::Occurrences,
        composite: None,
        required: false,
        weight: 1.0,
        policy: None,
    }
}

/// The report's part about a service.
pub(crate) fn service_of<'a>(report: &'a Report, name: &str) -> Option<&'a ServiceReport> {
    let mut services = report.services.iter();
    services.find(|service| *service.service.name == *name)
}

/// The sums of a service over a window; nothing of a service that is not held.
pub(crate) fn sums(report: &Report, service: &str, window: Window) -> WindowSums {
    let windows = service_of(report, service).map(|service| &service.windows);
    let sli = windows.and_then(|windows| windows.iter().find(|sli| sli.window == window));
    sli.map(|sli| sli.sums).unwrap_or_default()
}

/// What was measured of an objective.
pub(crate) fn objective<'a>(report: &'a Report, name: &str) -> &'a ObjectiveStatus {
    let mut statuses = report.baseline_evaluations.iter();
    let found = statuses.find(|status| status.objective.name == name);
    found.unwrap_or_else(|| panic!("no objective {name}"))
}
