//! Every Alertmanager of a cluster is told what fires: at once when something begins or ends, and again each interval.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;
use jiff::Timestamp;
use reqwest::header::HeaderMap;
use reqwest::{Client, Url};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::clock::Clock;
use crate::evaluator::burn_rate::Limits;
use crate::model::report::Report;
use crate::notify::alerts::{Alert, Alerts, Frame};
use crate::notify::{AlertmanagerConfig, NotifyError};
use crate::outgoing::{self, text, url};
use crate::telemetry::NotifierCounters;

/// Where alerts are posted, below the URL of an Alertmanager.
const PATH: [&str; 3] = ["api", "v2", "alerts"];

/// The Alertmanagers of a cluster.
#[derive(Debug)]
pub(super) struct Alertmanagers {
    alerts: Alerts,
    urls: Vec<Url>,
    headers: HeaderMap,
    client: Client,
    clock: Clock,
    config: AlertmanagerConfig,
}

/// One of them.
struct Target {
    url: Url,
    counters: NotifierCounters,
    /// Whether it does not know yet what fires.
    is_due: bool,
}

impl Alertmanagers {
    /// Nothing where there is none.
    pub(super) fn new(
        config: &AlertmanagerConfig,
        ca_file: Option<&Path>,
        limits: Limits,
        clock: &Clock,
    ) -> Result<Option<Self>, NotifyError> {
        const KEY: &str = "notifiers.alertmanager";
        if config.urls.is_empty() {
            return Ok(None);
        }
        let urls = config.urls.iter().enumerate().map(|(at, text)| {
            let mut url = url(&format!("{KEY}.urls[{at}]"), text)?;
            if let Ok(mut path) = url.path_segments_mut() {
                path.pop_if_empty().extend(PATH);
            }
            Ok(url)
        });
        let urls = urls.collect::<Result<Vec<_>, _>>()?;
        let client = outgoing::client(&urls, ca_file, config.timeout);
        let client = client.map_err(|error| NotifyError {
            key: KEY.to_owned(),
            message: error.to_string(),
        })?;
        let frame = Frame {
            labels: config.labels.clone(),
            generator_url: config.generator_url.clone(),
            resend: config.resend_interval,
            limits,
        };
        Ok(Some(Self {
            alerts: Alerts::new(frame),
            urls,
            headers: text::headers(KEY, &config.headers)?,
            client,
            clock: clock.clone(),
            config: config.clone(),
        }))
    }

    /// Runs until the sender of reports is gone and the last report is told. A stop resolves nothing: what burns goes on
    /// burning, and ends by itself if nobody comes back to renew it.
    pub(super) async fn run(mut self, mut reports: watch::Receiver<Option<Arc<Report>>>) {
        let targets = std::mem::take(&mut self.urls)
            .into_iter()
            .map(|url| Target {
                counters: NotifierCounters::new("alertmanager", &host(&url)),
                url,
                is_due: false,
            });
        let mut targets: Vec<Target> = targets.collect();
        let every = self.config.resend_interval;
        let mut resends = interval_at(Instant::now() + every, every);
        resends.set_missed_tick_behavior(MissedTickBehavior::Delay);
        reports.mark_changed();
        loop {
            let is_last = tokio::select! {
                changed = reports.changed() => changed.is_err(),
                _ = resends.tick() => {
                    for target in &mut targets {
                        target.is_due = true;
                    }
                    false
                }
            };
            let report = reports.borrow_and_update().clone();
            let now = self.now();
            if report.is_some_and(|report| self.alerts.update(&report, now)) {
                for target in &mut targets {
                    target.is_due = true;
                }
            }
            self.tell(&mut targets).await;
            if is_last {
                return;
            }
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_nanosecond(i128::from(self.clock.now())).unwrap_or_default()
    }

    /// Tells those who are due; one that fails stays due until the next report.
    async fn tell(&mut self, targets: &mut [Target]) {
        let now = self.now();
        let alerts = self.alerts.payload(now);
        let due = targets.iter_mut().filter(|target| target.is_due);
        if alerts.is_empty() {
            due.for_each(|target| target.is_due = false);
            return;
        }
        let (alerts, this) = (&alerts, &*self);
        join_all(due.map(|target| this.post(target, alerts))).await;
    }

    async fn post(&self, target: &mut Target, alerts: &[Alert]) {
        let request = self.client.post(target.url.clone());
        let sent = request
            .headers(self.headers.clone())
            .json(alerts)
            .send()
            .await;
        let failure = match sent {
            Ok(response) if response.status().is_success() => {
                target.is_due = false;
                target.counters.delivered.increment(1);
                return;
            }
            Ok(response) => {
                let status = response.status();
                let text = response.text().await.unwrap_or_default();
                let text: String = text.chars().take(200).collect();
                format!("{status} {text}")
            }
            Err(error) => outgoing::said(error),
        };
        target.counters.failed.increment(1);
        tracing::warn!(
            alertmanager = host(&target.url),
            error = failure,
            "Alerts not delivered; trying again."
        );
    }
}

/// Host and port, which may be shown.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{host}:{port}")
}
