//! News out: what changed, to webhooks; what burns, to Alertmanager.
//!
//! Webhooks are fed by the stored transitions and remember where they have come to, so that a restart or a receiver that
//! is away loses nothing, short of `storage.max_transitions`. Alertmanager is fed by reports and told again and again.

mod alertmanager;
mod alerts;
mod signature;
mod webhook;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::evaluator::burn_rate::Limits;
use crate::model::record::{TRANSITION_KINDS, TransitionPage};
use crate::model::report::Report;
use crate::model::slug::is_rfc1123_label;
use crate::notify::alertmanager::Alertmanagers;
use crate::notify::webhook::Webhook;

pub use crate::outgoing::SettingError as NotifyError;
pub use crate::outgoing::text::Text;

/// Section `notifiers`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Certificates in PEM form that https trusts beside the system's. Default none.
    pub ca_file: Option<PathBuf>,
    /// Who is told of each transition. Default nobody.
    pub webhooks: Vec<WebhookConfig>,
    /// Who is told what burns.
    pub alertmanager: AlertmanagerConfig,
}

/// One webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// RFC 1123 label, unique: where it has come to is remembered under this name, and metrics show it.
    pub name: String,
    /// Where transitions are posted, http or https.
    pub url: Text,
    /// Kinds of transitions: verdict, action, canary, test, candidate, objective. Default all.
    #[serde(default)]
    pub events: Vec<String>,
    /// Services that it is told about, by `service.name`; `*` is all services together. Default all.
    #[serde(default)]
    pub services: Vec<String>,
    /// Signs each message; `{env: NAME}` or `{file: PATH}`. Default no signature.
    #[serde(default)]
    pub secret: Option<Text>,
    /// Further headers. Default none.
    #[serde(default)]
    pub headers: BTreeMap<String, Text>,
    /// A receiver that does not answer for so long has failed. Default 10s.
    #[serde(default = "default_timeout", with = "humantime_serde")]
    pub timeout: Duration,
    /// Attempts after the first one; then the message is given up. Default 10.
    #[serde(default = "default_retries")]
    pub retries: u32,
    /// Wait before the first retry; each further one is twice as long. Default 1s.
    #[serde(default = "default_retry_min", with = "humantime_serde")]
    pub retry_min: Duration,
    /// Longest wait, also where Retry-After asks for more. Default 5m.
    #[serde(default = "default_retry_max", with = "humantime_serde")]
    pub retry_max: Duration,
}

fn default_timeout() -> Duration {
    Duration::from_secs(10)
}

fn default_retries() -> u32 {
    10
}

fn default_retry_min() -> Duration {
    Duration::from_secs(1)
}

fn default_retry_max() -> Duration {
    Duration::from_mins(5)
}

/// Alertmanager as the receiver of burn rates and spent budgets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertmanagerConfig {
    /// Every Alertmanager of the cluster, for example `http://alertmanager-0:9093`. Default none.
    pub urls: Vec<Text>,
    /// Alerts are told again this often; one that is not renewed for four times as long ends by itself. Default 1m; at
    /// least 1s.
    #[serde(with = "humantime_serde")]
    pub resend_interval: Duration,
    /// An Alertmanager that does not answer for so long has failed. Default 10s.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Labels that every alert has besides its own. Default none.
    pub labels: BTreeMap<String, String>,
    /// Where people look: the page of this server as they reach it. Default none.
    pub generator_url: Option<String>,
    /// Headers of each request. Default none.
    pub headers: BTreeMap<String, Text>,
}

impl Default for AlertmanagerConfig {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            resend_interval: Duration::from_mins(1),
            timeout: default_timeout(),
            labels: BTreeMap::new(),
            generator_url: None,
            headers: BTreeMap::new(),
        }
    }
}

fn wrong<T>(key: impl Into<String>, message: impl Into<String>) -> Result<T, NotifyError> {
    Err(NotifyError {
        key: key.into(),
        message: message.into(),
    })
}

impl Config {
    /// What is wrong with it, whatever the environment and files say.
    pub fn check(&self) -> Result<(), NotifyError> {
        let mut names = BTreeSet::new();
        for (at, webhook) in self.webhooks.iter().enumerate() {
            let key = format!("notifiers.webhooks[{at}]");
            webhook.check(&key)?;
            if !names.insert(&webhook.name) {
                return wrong(key, format!("the name `{}` is used twice", webhook.name));
            }
        }
        if self.alertmanager.resend_interval < Duration::from_secs(1) {
            let key = "notifiers.alertmanager.resend_interval";
            return wrong(key, "must be at least 1s");
        }
        let labels = self.alertmanager.labels.keys();
        if let Some(label) = labels.into_iter().find(|label| !is_label_name(label)) {
            let key = format!("notifiers.alertmanager.labels.{label}");
            return wrong(
                key,
                "must be letters, digits and `_`, and not begin with a digit",
            );
        }
        Ok(())
    }
}

/// As Prometheus has them.
fn is_label_name(name: &str) -> bool {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    !name.is_empty()
        && name.chars().all(is_part)
        && !name.starts_with(|first: char| first.is_ascii_digit())
}

impl WebhookConfig {
    fn check(&self, key: &str) -> Result<(), NotifyError> {
        if !is_rfc1123_label(&self.name) {
            let message = format!(
                "`{}` is not an RFC 1123 label (lower-case letters, digits and `-`, at most 63)",
                self.name
            );
            return wrong(format!("{key}.name"), message);
        }
        let is_known = |event: &&String| TRANSITION_KINDS.contains(&event.as_str());
        if let Some(event) = self.events.iter().find(|event| !is_known(event)) {
            let message = format!(
                "`{event}` is no event; there are {}",
                TRANSITION_KINDS.join(", ")
            );
            return wrong(format!("{key}.events"), message);
        }
        if self.secret.as_ref().is_some_and(Text::is_plain) {
            let message = "a secret must not stand here: write {env: NAME} or {file: PATH}";
            return wrong(format!("{key}.secret"), message);
        }
        if self.retry_min.is_zero() || self.retry_min > self.retry_max {
            let message = "must be above 0s and at most retry_max";
            return wrong(format!("{key}.retry_min"), message);
        }
        Ok(())
    }
}

/// Why the transitions cannot be read now.
pub type LogError = Box<dyn std::error::Error + Send + Sync>;

/// The stored transitions. Calls block on the disk.
pub trait TransitionLog: Send + Sync {
    /// What changed after the transition of this number, the oldest first and at most `limit`.
    fn after(&self, cursor: u64, limit: usize) -> Result<TransitionPage, LogError>;

    /// Where a reader has come to; nothing of one that was never here.
    fn cursor(&self, reader: &str) -> Result<Option<u64>, LogError>;

    /// Remembers where a reader has come to.
    fn keep_cursor(&self, reader: &str, cursor: u64) -> Result<(), LogError>;
}

/// All notifiers of a configuration, ready to run.
#[derive(Debug)]
pub struct Notifiers {
    webhooks: Vec<Webhook>,
    alertmanagers: Option<Alertmanagers>,
}

impl Notifiers {
    /// Reads secrets and certificates; sends nothing yet. `limits` say when a budget counts as spent.
    pub fn new(config: &Config, limits: Limits, clock: &Clock) -> Result<Self, NotifyError> {
        config.check()?;
        let ca_file = config.ca_file.as_deref();
        let webhooks = config.webhooks.iter().enumerate().map(|(at, webhook)| {
            let key = format!("notifiers.webhooks[{at}]");
            Webhook::new(&key, webhook, ca_file, clock.clone())
        });
        Ok(Self {
            webhooks: webhooks.collect::<Result<_, _>>()?,
            alertmanagers: Alertmanagers::new(&config.alertmanager, ca_file, limits, clock)?,
        })
    }

    /// One future for each notifier, to be run as a task. Webhooks end after `stop` and one more look at the log;
    /// Alertmanager is told of the last report before its sender goes.
    pub fn run(
        self,
        log: &Arc<dyn TransitionLog>,
        told: &watch::Receiver<u64>,
        reports: &watch::Receiver<Option<Arc<Report>>>,
        stop: &CancellationToken,
    ) -> Vec<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> {
        let mut tasks: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
        for webhook in self.webhooks {
            let task = webhook.run(Arc::clone(log), told.clone(), stop.clone());
            tasks.push(Box::pin(task));
        }
        if let Some(alertmanagers) = self.alertmanagers {
            tasks.push(Box::pin(alertmanagers.run(reports.clone())));
        }
        tasks
    }
}
